"""Trained keras models become one LiteRT file: probability, Grad-CAM and features in one pass.

LiteRT has no gradient of ReLU among its built-ins, so the head's ReLU is replaced, for the
conversion alone, by one whose gradient is written with multiplication and comparison.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from polyp_core.calibration import compute_probabilities, fit_temperature
from polyp_core.config import ModelConfig
from polyp_core.errors import ModelError
from polyp_core.files import write_atomically
from polyp_core.models import FEATURES, LOGIT, build_model
from polyp_core.network_size import measure_network
from polyp_core.prediction import Predictor
from polyp_core.runs import Run
from polyp_core.weights import (
    check_recorded,
    check_weights,
    copy_weights,
    extract_weights,
    list_arrays,
)

MAX_DIFFERENCE = 1e-4
_NUM_COMPARED = 200
MAX_ENSEMBLE_BYTES = 400_000_000  # converting takes nine times as much memory for a moment


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as it is to predict.

    Attributes:
        model: Of `models.build_model`.
        is_mirrored: Whether it judges an image as the mean of it and its mirror image.
        temperature: Divides the logit.
        saliency_scale: Divides the map, above 0.
    """

    model: keras.Model
    is_mirrored: bool = False
    temperature: float = 1.0
    saliency_scale: float = 1.0

    def compute_logits(self, images: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """What Keras says of some of `(n, size, size, channels)`, before the temperature."""
        network = keras.Model(self.model.input, self.model.get_layer(LOGIT).output)
        parts = []
        for start in range(0, len(numbers), 32):
            part = images[numbers[start : start + 32]]
            logits = network.predict_on_batch(part)[:, 0]
            if self.is_mirrored:
                logits = (logits + network.predict_on_batch(part[:, :, ::-1])[:, 0]) / 2
            parts.append(logits)
        return np.concatenate(parts)


def write_serving_model(run: Run, images: np.ndarray, validation: pd.DataFrame) -> None:
    """Fit the temperature, convert model.keras, open the result again and compare it with Keras.

    Writes serving.tflite, and serving.json with its sha256, the temperature, the largest difference
    found and the scale of the saliency map.

    Args:
        run: A run with a model.keras.
        images: `(n, size, size, channels)` uint8 of the whole index.
        validation: At least one row of the index.

    Raises:
        ModelError: If the two disagree by more than 1e-4.
    """
    served = _load(run)
    numbers = validation.index.to_numpy()
    logits = served.compute_logits(images, numbers)
    temperature = fit_temperature(validation["label"].to_numpy(), logits)
    content = convert_ensemble([replace(served, temperature=temperature)])
    expected = compute_probabilities(logits[:_NUM_COMPARED], temperature)
    values = {"threshold": 0.5, "temperature": temperature}
    _write_checked(run, content, expected, images[numbers[:_NUM_COMPARED]], values)


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
    serving = [member.read_serving() for member in members]
    served = [
        replace(
            _load(member), temperature=values.get("temperature", 1.0),
            saliency_scale=values["saliency_scale"],
        )
        for member, values in zip(members, serving, strict=True)
    ]  # fmt: skip
    numbers = np.arange(len(images))
    each = [
        compute_probabilities(one.compute_logits(images, numbers), one.temperature)
        for one in served
    ]
    threshold = float(np.mean([values["threshold"] for values in serving]))
    _write_checked(
        run, convert_ensemble(served), np.mean(each, axis=0), images, {"threshold": threshold}
    )


def convert_ensemble(members: Sequence[Served]) -> bytes:
    """One or several models as a LiteRT flatbuffer.

    Its input is `(1, size, size, channels)` float32 in [0, 255]. Its outputs are "probability"
    `(1,)`, the mean of the members'; "saliency" `(1, rows, columns)`: the signed Grad-CAM of
    the logit, above zero where the image speaks for the positive class, the mean of the members',
    each on its own scale, so that no member is louder than the others; and "features" `(1, n)`:
    what the head reads, as its mean over all places (and over image and mirror image), of one
    member after the other.

    Args:
        members: Of one input shape and one size of features.

    References: Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 (without the final ReLU, so that both
    directions can be shown).
    """
    explained = [_explain(member) for member in members]
    input_shape = (1, *members[0].model.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(input_shape, tf.float32, "image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities, maps, pooled = zip(*[explain(image) for explain in explained], strict=True)
        return {
            "probability": tf.add_n(probabilities) / len(members),
            "saliency": tf.add_n(maps) / len(members),
            "features": tf.concat(pooled, axis=1),
        }

    archive = keras.export.ExportArchive()
    for member in members:
        archive.track(member.model)
    archive.add_endpoint("serve", serve)
    with tempfile.TemporaryDirectory() as directory:
        archive.write_out(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        # Weights as constants: as variables they would arrive empty.
        converter.experimental_enable_resource_variables = False
        return bytes(converter.convert())


def _explain(member: Served) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Gives probability `(1,)`, scaled Grad-CAM `(1, rows, columns)` and pooled features `(1, d)`.

    Of an image `(1, size, size, channels)`.
    """
    model = member.model
    positions = {layer.name: number for number, layer in enumerate(model.layers)}
    backbone = keras.Model(model.input, model.get_layer(FEATURES).output)
    head = model.layers[positions[FEATURES] + 1 : positions[LOGIT] + 1]

    def explain(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = tf.concat([image, tf.reverse(image, [2])], 0) if member.is_mirrored else image
        features = backbone(images, training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = _apply_head(head, features)
        gradient = tape.gradient(logits, features)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        maps = tf.reduce_sum(weights * features, axis=-1)
        if member.is_mirrored:  # the mirror image's map is turned back
            maps = (maps[:1] + tf.reverse(maps[1:], [2])) / 2
        logit = tf.reduce_mean(logits[:, 0], keepdims=True)
        pooled = tf.reduce_mean(features, axis=(0, 1, 2))[tf.newaxis]
        return tf.sigmoid(logit / member.temperature), maps / member.saliency_scale, pooled

    return explain


def rebuild_model(config: ModelConfig, weights_path: Path) -> keras.Model:
    """The network of some settings with weights from a file, which is looked at before Keras is.

    It computes in 32 bit, whatever it was trained in.

    Args:
        config: From which the network is built; none comes out of a file.
        weights_path: An HDF5 file of these weights and nothing else.

    Raises:
        ModelError: If the file holds anything else.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        model = build_model(config)
    finally:
        keras.config.set_dtype_policy(policy)
    with tempfile.TemporaryDirectory() as directory:
        # Keras itself says what there has to be; and what it reads is a file of its own making.
        own = Path(directory, "own.weights.h5")
        model.save_weights(own)
        check_weights(weights_path, list_arrays(own))
        copy_weights(weights_path, own)
        model.load_weights(own)
    return model


def write_rebuilt_model(
    run: Run, model: keras.Model, images: np.ndarray, values: Mapping[str, float]
) -> None:
    """Convert a model that was trained elsewhere, and compare the result with Keras.

    Writes the same files as `write_serving_model`.

    Args:
        run: Where to write; with a config.json.
        model: Of `rebuild_model`.
        images: `(n, size, size, channels)` uint8, to be compared on.
        values: threshold, temperature and saliency_scale, as they were fitted elsewhere.

    Raises:
        ModelError: If the two disagree by more than 1e-4.
    """
    served = Served(
        model=model, is_mirrored=run.read_config().model.mirror, temperature=values["temperature"]
    )
    logits = served.compute_logits(images, np.arange(len(images)))
    expected = compute_probabilities(logits, served.temperature)
    _write_checked(run, convert_ensemble([served]), expected, images, values)


def _load(run: Run) -> Served:
    """The kept model of a run, before its temperature is known."""
    return Served(model=load_network(run), is_mirrored=run.read_config().model.mirror)


def load_network(run: Run) -> keras.Model:
    """The network of a run's model.keras, built from the settings; of the file the weights alone.

    Raises:
        ModelError: If it is not the file that training wrote.
    """
    config = run.read_config().model
    check_recorded(run.directory)
    with tempfile.TemporaryDirectory() as directory:
        weights_path = Path(directory, "kept.weights.h5")
        max_bytes = measure_network(config).num_bytes
        extract_weights(run.path("model.keras"), weights_path, max_bytes)
        return rebuild_model(config, weights_path)


def _write_checked(
    run: Run, content: bytes, expected: np.ndarray, images: np.ndarray, values: Mapping[str, float]
) -> None:
    """Compare a serving model with the probabilities that Keras gives, and write it if they agree.

    Args:
        run: Where to write.
        content: The LiteRT flatbuffer.
        expected: `(n,)`.
        images: `(n, size, size, channels)` uint8.
        values: What else stands in serving.json.
    """
    predictor = Predictor(content)
    served = [predictor.predict(image) for image in images]
    probabilities = np.array([probability for probability, _ in served])
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
            "largest_difference": difference,
            "compared_images": len(images),
            # Full colour in an overlay: evidence as strong as the strongest half percent seen in
            # validation. One scale for all images, so that weak evidence looks weak.
            "saliency_scale": float(np.quantile(strengths, 0.995)) or 1.0,
            **values,
        },
    )


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
