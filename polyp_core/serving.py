"""Trained keras models become one LiteRT file: probability and Grad-CAM in a single pass.

LiteRT has no gradient of ReLU among its built-ins, so the head's ReLU is replaced, for the
conversion alone, by one whose gradient is written with multiplication and comparison.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from polyp_core.errors import ModelError
from polyp_core.files import write_atomically
from polyp_core.models import FEATURES, LOGIT, build_model
from polyp_core.prediction import Predictor
from polyp_core.runs import Run

MAX_DIFFERENCE = 1e-4
MAX_ENSEMBLE_BYTES = 400_000_000  # converting takes nine times as much memory for a moment


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
    model = _load_in_32_bit(run)
    _write_checked(run, convert_model(model), [model], images, threshold=0.5)


def write_ensemble_model(run: Run, members: Sequence[Run], images: np.ndarray) -> None:
    """Convert the models of finished runs to one, and compare it with their mean in Keras.

    Writes the same files as `write_serving_model`.

    Args:
        run: Where to write.
        members: Runs of the same settings, but for the seed, with a serving.json.
        images: As for `write_serving_model`.

    Raises:
        ModelError: If the file would have more than 400 MB, or the two disagree by more than 1e-4.
    """
    num_bytes = sum(member.path("serving.tflite").stat().st_size for member in members)
    if num_bytes > MAX_ENSEMBLE_BYTES:
        raise ModelError(
            f"The ensemble of {len(members)} models would have {num_bytes / 1e6:.0f} MB. Expected "
            f"at most {MAX_ENSEMBLE_BYTES / 1e6:.0f} MB. Use a smaller network or fewer folds and "
            "seeds; the numbers of the study stand all the same."
        )
    models = [_load_in_32_bit(member) for member in members]
    serving = [member.read_serving() for member in members]
    content = convert_ensemble(models, [float(values["saliency_scale"]) for values in serving])
    threshold = float(np.mean([values["threshold"] for values in serving]))
    _write_checked(run, content, models, images, threshold)


def convert_model(model: keras.Model) -> bytes:
    """A LiteRT flatbuffer with input `(1, size, size, channels)` float32 in [0, 255].

    Its outputs are "probability" `(1,)` and "saliency" `(1, rows, columns)`: the signed Grad-CAM of
    the logit, above zero where the image speaks for the positive class.

    References: Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 (without the final ReLU, so that both
    directions can be shown).
    """
    return convert_ensemble([model], [1.0])


def convert_ensemble(models: Sequence[keras.Model], saliency_scales: Sequence[float]) -> bytes:
    """Several models as one LiteRT flatbuffer, with the interface of `convert_model`.

    The probability is the mean of the members' probabilities; the saliency the mean of their signed
    Grad-CAMs, each divided by its own scale, so that no member is louder than the others.

    Args:
        models: Of one input shape and one size of features.
        saliency_scales: Of each model, above 0.
    """
    explained = [_explain(model) for model in models]
    input_shape = (1, *models[0].input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(input_shape, tf.float32, "image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities, maps = zip(*[explain(image) for explain in explained], strict=True)
        scaled = [m / scale for m, scale in zip(maps, saliency_scales, strict=True)]
        return {
            "probability": tf.add_n(probabilities) / len(models),
            "saliency": tf.add_n(scaled) / len(models),
        }

    archive = keras.export.ExportArchive()
    for model in models:
        archive.track(model)
    archive.add_endpoint("serve", serve)
    with tempfile.TemporaryDirectory() as directory:
        archive.write_out(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        # Weights as constants: as variables they would arrive empty.
        converter.experimental_enable_resource_variables = False
        return bytes(converter.convert())


def _explain(model: keras.Model) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """What gives probability `(1,)` and signed Grad-CAM `(1, rows, columns)` of an image."""
    positions = {layer.name: number for number, layer in enumerate(model.layers)}
    backbone = keras.Model(model.input, model.get_layer(FEATURES).output)
    head = model.layers[positions[FEATURES] + 1 : positions[LOGIT] + 1]

    def explain(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = backbone(image, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            logit = _apply_head(head, features)
        gradient = tape.gradient(logit, features)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        return tf.sigmoid(logit)[:, 0], tf.reduce_sum(weights * features, axis=-1)

    return explain


def _load_in_32_bit(run: Run) -> keras.Model:
    """The kept model of a run; what was trained in mixed precision computes in 32 bit as well."""
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    if model.get_layer(FEATURES).compute_dtype == "float32":
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        plain = build_model(run.read_config().model)
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights(model.get_weights())
    return plain


def _write_checked(
    run: Run,
    content: bytes,
    models: Sequence[keras.Model],
    images: np.ndarray,
    threshold: float,
) -> None:
    """Compare a serving model with the mean of the Keras models, and write it if they agree."""
    predictor = Predictor(content)
    served = [predictor.predict(image) for image in images]
    probabilities = np.array([probability for probability, _ in served])
    expected = np.mean([_predict_with_keras(model, images) for model in models], axis=0)
    difference = float(np.abs(probabilities - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"The serving model disagrees with the trained one by {difference:.2g} in "
            f"probability. Expected at most {MAX_DIFFERENCE:g}. Train again; if it "
            "stays, this is a bug of the conversion."
        )
    strengths = np.abs(np.stack([saliency for _, saliency in served]))
    write_atomically(run.path("serving.tflite"), content)
    run.write_json(
        "serving.json",
        {
            "sha256": hashlib.sha256(content).hexdigest(),
            "threshold": threshold,
            "largest_difference": difference,
            "compared_images": len(images),
            # Full colour in an overlay: evidence as strong as the strongest half percent seen in
            # validation. One scale for all images, so that weak evidence looks weak.
            "saliency_scale": float(np.quantile(strengths, 0.995)) or 1.0,
        },
    )


def _predict_with_keras(model: keras.Model, images: np.ndarray) -> np.ndarray:
    starts = range(0, len(images), 32)
    parts = [model(images[start : start + 32], training=False).numpy() for start in starts]
    probabilities: np.ndarray = np.concatenate(parts)[:, 0]
    return probabilities


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
