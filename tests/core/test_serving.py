import hashlib
import tempfile

import numpy as np
import pandas as pd
import pytest

from polyp_core.config import ModelConfig, RunConfig
from polyp_core.errors import ModelError
from polyp_core.prediction import Predictor
from polyp_core.runs import Run

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402

from polyp_core import serving  # noqa: E402
from polyp_core.models import FEATURES, LOGIT, build_model  # noqa: E402
from polyp_core.serving import (  # noqa: E402
    Served,
    convert_ensemble,
    write_ensemble_model,
    write_serving_model,
)  # fmt: skip

SAVING = "ignore:__array__ implementation:DeprecationWarning"  # of TensorFlow, in Keras
VALIDATION = pd.DataFrame({"label": [0, 1, 0, 1, 0, 1]})
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
    predictor = Predictor(convert_ensemble([Served(model=model)]))
    for _ in range(5):
        image = generator.integers(0, 256, (40, 40, config.channels)).astype(np.uint8)
        probability, saliency = predictor.predict(image)
        expected_probability, expected_saliency = explain_with_keras(model, image)
        assert probability == pytest.approx(expected_probability, abs=1e-5)
        scale = np.abs(expected_saliency).max()
        assert scale > 0
        np.testing.assert_allclose(saliency / scale, expected_saliency / scale, atol=2e-3)


@pytest.mark.parametrize("head", list(HEADS))
def test_the_mirror_image_counts_as_much_as_the_image(head):
    (model,) = make_models(head, 1)
    member = Served(model=model, is_mirrored=True, temperature=2.0, saliency_scale=4.0)
    predictor = Predictor(convert_ensemble([member]))
    shape = (40, 40, HEADS[head].channels)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    probability, saliency = predictor.predict(image)
    each = [explain_with_keras(model, side) for side in (image, image[:, ::-1])]
    logits = [np.log(p / (1 - p)) for p, _ in each]
    assert probability == pytest.approx(1 / (1 + np.exp(-np.mean(logits) / 2)), abs=1e-4)
    assert member.compute_logits(image[np.newaxis], np.array([0])) == pytest.approx(
        np.mean(logits), abs=1e-4
    )
    expected = (each[0][1] + each[1][1][:, ::-1]) / 2 / 4
    largest = np.abs(expected).max()
    np.testing.assert_allclose(saliency / largest, expected / largest, atol=2e-3)
    mirrored, turned = predictor.predict(image[:, ::-1])
    assert mirrored == pytest.approx(probability, abs=1e-5)
    np.testing.assert_allclose(turned[:, ::-1] / largest, saliency / largest, atol=2e-3)


def test_a_finished_run_says_what_its_temperature_changed(finished_run):
    calibration = finished_run.read_metrics()["calibration"]
    assert calibration["temperature"] == finished_run.read_serving()["temperature"]
    assert calibration["n"] == len(finished_run.read_predictions())
    assert calibration["log_loss"]["after"] <= calibration["log_loss"]["before"]


def test_the_written_model_is_known_by_its_hash_and_was_compared(finished_run):
    serving = finished_run.read_serving()
    content = finished_run.path("serving.tflite").read_bytes()
    assert serving["sha256"] == hashlib.sha256(content).hexdigest()
    assert serving["largest_difference"] < 1e-4
    assert serving["compared_images"] == len(finished_run.read_index().select("validation"))


def pool_with_keras(model, image):
    """What the head reads, as its mean over all places."""
    network = keras.Model(model.input, model.get_layer(FEATURES).output)
    features = network(image[np.newaxis].astype("float32"), training=False)[0]
    return features.numpy().astype(np.float64).mean(axis=(0, 1))


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("head", list(HEADS))
def test_the_features_are_those_of_keras_pooled_over_all_places(head, is_mirrored):
    (model,) = make_models(head, 1)
    predictor = Predictor(convert_ensemble([Served(model=model, is_mirrored=is_mirrored)]))
    shape = (40, 40, HEADS[head].channels)
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    sides = [image, image[:, ::-1]] if is_mirrored else [image]
    expected = np.mean([pool_with_keras(model, side) for side in sides], axis=0)
    examined = predictor.examine(image)
    assert examined.features.dtype == np.float32
    np.testing.assert_allclose(examined.features, expected, atol=1e-4 * np.abs(expected).max())
    assert (examined.probability, examined.saliency.shape) == (
        predictor.predict(image)[0], predictor.predict(image)[1].shape,
    )  # fmt: skip


def test_the_pooled_features_of_a_plain_head_give_back_its_probability():
    """With the head "average" and no dense layer the last unit reads nothing else."""
    (model,) = make_models("average", 1)
    predictor = Predictor(convert_ensemble([Served(model=model, temperature=1.5)]))
    image = np.random.default_rng(2).integers(0, 256, (40, 40, 1)).astype(np.uint8)
    examined = predictor.examine(image)
    kernel, bias = model.get_layer(LOGIT).get_weights()
    logit = (examined.features @ kernel[:, 0] + bias[0]) / 1.5
    assert examined.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_the_features_of_an_ensemble_are_those_of_its_members_one_after_the_other():
    models = make_models("average", 3)
    predictor = Predictor(convert_ensemble([Served(model=model) for model in models]))
    image = np.random.default_rng(3).integers(0, 256, (40, 40, 1)).astype(np.uint8)
    expected = np.concatenate([pool_with_keras(model, image) for model in models])
    features = predictor.examine(image).features
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_a_transfer_network_gives_its_features_too():
    keras.utils.set_random_seed(5)
    model = build_model(
        ModelConfig(image_size_px=32, channels=1, network="transfer", head="average", dense_units=0)
    )
    predictor = Predictor(convert_ensemble([Served(model=model)]))
    image = np.random.default_rng(4).integers(0, 256, (32, 32, 1)).astype(np.uint8)
    expected = pool_with_keras(model, image)
    features = predictor.examine(image).features
    np.testing.assert_allclose(features, expected, atol=1e-3 * np.abs(expected).max())


def test_one_feature_alone_is_not_taken_for_the_probability():
    model = build_model(ModelConfig(image_size_px=16, channels=1, filters=(1,), head="average"))
    predictor = Predictor(convert_ensemble([Served(model=model)]))
    examined = predictor.examine(np.full((16, 16, 1), 200, np.uint8))
    assert examined.features.shape == (1,)
    assert 0 < examined.probability < 1
    assert examined.saliency.ndim == 2


def convert_without_features(model):
    """A serving model as earlier versions wrote it."""

    @tf.function(input_signature=[tf.TensorSpec((1, 40, 40, 1), tf.float32, "image")])
    def serve(image):
        return {"probability": model(image)[0], "saliency": tf.reduce_mean(image, -1)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve)
    with tempfile.TemporaryDirectory() as directory:
        archive.write_out(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        converter.experimental_enable_resource_variables = False
        return bytes(converter.convert())


def test_a_file_of_an_earlier_version_predicts_without_features():
    (model,) = make_models("average", 1)
    image = np.random.default_rng(4).integers(0, 256, (40, 40, 1)).astype(np.uint8)
    examined = Predictor(convert_without_features(model)).examine(image)
    assert examined.features is None
    assert examined.probability == pytest.approx(explain_with_keras(model, image)[0], abs=1e-5)
    np.testing.assert_allclose(examined.saliency, image[..., 0])


def make_models(head, num_models, policy="float32"):
    models = []
    for seed in range(num_models):
        keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy(policy)
        try:
            models.append(build_model(HEADS[head]))
        finally:
            keras.config.set_dtype_policy("float32")
    return models


@pytest.mark.parametrize("head", list(HEADS))
def test_an_ensemble_is_the_mean_of_its_members_each_map_on_its_own_scale(head):
    models, scales = make_models(head, 3), [0.5, 1.0, 4.0]
    members = [
        Served(model=model, saliency_scale=scale)
        for model, scale in zip(models, scales, strict=True)
    ]
    predictor = Predictor(convert_ensemble(members))
    generator = np.random.default_rng(0)
    for _ in range(5):
        shape = (40, 40, HEADS[head].channels)
        image = generator.integers(0, 256, shape).astype(np.uint8)
        probability, saliency = predictor.predict(image)
        each = [explain_with_keras(model, image) for model in models]
        assert probability == pytest.approx(np.mean([p for p, _ in each]), abs=1e-5)
        expected = np.mean([m / scale for (_, m), scale in zip(each, scales, strict=True)], axis=0)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(saliency / largest, expected / largest, atol=2e-3)


def write_run(directory, head, model):
    """A run directory with a model, as training leaves it."""
    run = Run(directory)
    directory.mkdir()
    settings = RunConfig(model=HEADS[head]).to_dict()
    run.write_json("config.json", {"settings": settings, "class_names": ["a", "b"]})
    model.save(run.path("model.keras"))
    return run


@pytest.mark.filterwarnings(SAVING)
def test_what_was_trained_in_16_bit_is_served_in_32_bit(tmp_path):
    (model,) = make_models("average", 1, "mixed_bfloat16")
    run = write_run(tmp_path / "run", "average", model)
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 1)).astype(np.uint8)
    write_serving_model(run, images, VALIDATION)
    plain = build_model(HEADS["average"])
    plain.set_weights(model.get_weights())
    predictor = Predictor(run.path("serving.tflite").read_bytes())
    temperature = run.read_serving()["temperature"]
    for image in images:
        plain_probability, _ = explain_with_keras(plain, image)
        logit = np.log(plain_probability / (1 - plain_probability)) / temperature
        assert predictor.predict(image)[0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


@pytest.mark.filterwarnings(SAVING)
def test_an_ensemble_is_written_with_the_mean_threshold_and_refused_if_too_large(
    tmp_path, monkeypatch
):
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 1)).astype(np.uint8)
    members = []
    for number, model in enumerate(make_models("average", 2)):
        run = write_run(tmp_path / f"run-{number}", "average", model)
        write_serving_model(run, images, VALIDATION)
        run.write_json("serving.json", run.read_serving() | {"threshold": 0.4 + 0.2 * number})
        members.append(run)
    whole = Run(tmp_path / "whole")
    whole.directory.mkdir()
    write_ensemble_model(whole, members, images)
    values = whole.read_serving()
    content = whole.path("serving.tflite").read_bytes()
    assert values["sha256"] == hashlib.sha256(content).hexdigest()
    assert values["threshold"] == pytest.approx(0.5)
    assert values["largest_difference"] <= 1e-4
    assert 0.2 < values["saliency_scale"] < 1.5  # of maps that are about 1 at their strongest

    monkeypatch.setattr(serving, "MAX_ENSEMBLE_BYTES", 1000)
    with pytest.raises(ModelError, match=r"^The ensemble of 2 models would have 0 MB\. Expected"):
        write_ensemble_model(whole, members, images)
