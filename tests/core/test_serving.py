import hashlib

import numpy as np
import pytest

from polyp_core.config import ModelConfig
from polyp_core.prediction import Predictor

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402

from polyp_core.models import FEATURES, build_model  # noqa: E402
from polyp_core.serving import convert_model  # noqa: E402

HEADS = {
    "flatten": ModelConfig(image_size_px=40, channels=3, filters=(4, 8), dense_units=6),
    "average": ModelConfig(
        image_size_px=40, channels=1, filters=(4, 8), padding="same", batch_normalization=True,
        head="average", dense_units=0,
    ),
}  # fmt: skip


def explain_with_keras(model, image):
    """Grad-CAM straight from its paper, in Keras, on the logit of the probability."""
    both = keras.Model(model.input, [model.get_layer(FEATURES).output, model.output])
    with tf.GradientTape() as tape:
        features, probability = both(image[np.newaxis].astype("float32"), training=False)
        logit = tf.math.log(probability) - tf.math.log(1 - probability)
    weights = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2))
    return float(probability[0, 0]), tf.einsum("bhwc,bc->bhw", features, weights)[0].numpy()


@pytest.mark.parametrize("head", list(HEADS))
def test_serving_agrees_with_keras_and_with_grad_cam_written_anew(head):
    keras.utils.set_random_seed(3)
    config = HEADS[head]
    model = build_model(config)
    generator = np.random.default_rng(0)
    for variable in model.variables:  # so that moving averages are not those of a fresh model
        if "moving" in variable.path:
            low = 0.5 if "variance" in variable.path else -0.5
            variable.assign(generator.uniform(low, low + 1, variable.shape))
    predictor = Predictor(convert_model(model))
    for _ in range(5):
        image = generator.integers(0, 256, (40, 40, config.channels)).astype(np.uint8)
        probability, saliency = predictor.predict(image)
        expected_probability, expected_saliency = explain_with_keras(model, image)
        assert probability == pytest.approx(expected_probability, abs=1e-5)
        scale = np.abs(expected_saliency).max()
        assert scale > 0
        np.testing.assert_allclose(saliency / scale, expected_saliency / scale, atol=2e-3)


def test_the_written_model_is_known_by_its_hash_and_was_compared(finished_run):
    serving = finished_run.read_serving()
    content = finished_run.path("serving.tflite").read_bytes()
    assert serving["sha256"] == hashlib.sha256(content).hexdigest()
    assert serving["largest_difference"] < 1e-4
    assert serving["compared_images"] == len(finished_run.read_index().select("validation"))
