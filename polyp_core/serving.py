"""A trained keras.Model becomes one LiteRT file: probability and Grad-CAM in a single pass.

LiteRT has no gradient of ReLU among its built-ins, so the head's ReLU is replaced, for the
conversion alone, by one whose gradient is written with multiplication and comparison.
"""

import hashlib
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from polyp_core.errors import ModelError
from polyp_core.models import FEATURES, LOGIT
from polyp_core.prediction import Predictor
from polyp_core.runs import Run, write_atomically

MAX_DIFFERENCE = 1e-4


def write_serving_model(run: Run, images: np.ndarray) -> None:
    """Convert model.keras, open the result again and compare it with Keras.

    Writes serving.tflite, and serving.json with its sha256, the largest difference found and the
    scale of the saliency map.

    Args:
        run: A run with a model.keras.
        images: `(n, size, size, channels)` uint8, n >= 1: validation images to compare on.

    Raises:
        ModelError: If the two disagree by more than 1e-4.
    """
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    content = convert_model(model)
    predictor = Predictor(content)
    served = [predictor.predict(image) for image in images]
    probabilities = np.array([probability for probability, _ in served])
    expected = np.concatenate(
        [model.predict_on_batch(images[i : i + 32]) for i in range(0, len(images), 32)]
    )[:, 0]
    difference = float(np.abs(probabilities - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"The serving model disagrees with the trained one by {difference:.2g} in "
            f"probability. Expected at most {MAX_DIFFERENCE:g}. Train again; if it "
            "stays, this is a bug of the conversion."
        )
    strengths = np.abs(np.stack([saliency for _, saliency in served]))
    write_atomically(run.path("serving.tflite"), lambda path: _write(path, content))
    run.write_json(
        "serving.json",
        {
            "sha256": hashlib.sha256(content).hexdigest(),
            "threshold": 0.5,
            "largest_difference": difference,
            "compared_images": len(images),
            # Full colour in an overlay: evidence as strong as the strongest half percent seen in
            # validation. One scale for all images, so that weak evidence looks weak.
            "saliency_scale": float(np.quantile(strengths, 0.995)) or 1.0,
        },
    )


def convert_model(model: keras.Model) -> bytes:
    """A LiteRT flatbuffer with input `(1, size, size, channels)` float32 in [0, 255].

    Its outputs are "probability" `(1,)` and "saliency" `(1, rows, columns)`: the signed Grad-CAM of
    the logit, above zero where the image speaks for the positive class.

    References: Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 (without the final ReLU, so that both
    directions can be shown).
    """
    positions = {layer.name: number for number, layer in enumerate(model.layers)}
    backbone = keras.Model(model.input, model.get_layer(FEATURES).output)
    head = model.layers[positions[FEATURES] + 1 : positions[LOGIT] + 1]

    input_shape = (1, *model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(input_shape, tf.float32, "image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        features = backbone(image, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            logit = _apply_head(head, features)
        gradient = tape.gradient(logit, features)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        return {
            "probability": tf.sigmoid(logit)[:, 0],
            "saliency": tf.reduce_sum(weights * features, axis=-1),
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve)
    with tempfile.TemporaryDirectory() as directory:
        archive.write_out(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        # Weights as constants: as variables they would arrive empty.
        converter.experimental_enable_resource_variables = False
        return bytes(converter.convert())


def _apply_head(head: list[keras.Layer], x: tf.Tensor) -> tf.Tensor:
    for layer in head:
        if isinstance(layer, keras.layers.Dense):
            x = tf.matmul(x, layer.kernel) + layer.bias
            x = _relu(x) if layer.activation is keras.activations.relu else x
        else:
            x = layer(x, training=False) if isinstance(layer, keras.layers.Dropout) else layer(x)
    return x


@tf.custom_gradient
def _relu(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    return tf.nn.relu(x), lambda upstream: upstream * tf.cast(x > 0, x.dtype)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
