import hashlib
import tempfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from polyp_core.config import ModelConfig, RunConfig
from polyp_core.errors import ModelError
from polyp_core.images import decode_picture, prepare_picture
from polyp_core.prediction import Predictor, load_classifier
from polyp_core.runs import Run
from polyp_core.weights import record_model
from tests.conftest import write_classes
from tests.core.attack_files import write_keras

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
        np.testing.assert_allclose(saliency / scale, expected_saliency / scale, atol=1e-4)


def explain_kept_model(run, image):
    """Grad-CAM of the model.keras of a run, of its logit, signed: with nothing of ours but names.

    Where a trained model is sure, its probability has no digits left to go back to the logit from.
    """
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    both = keras.Model(
        model.input, [model.get_layer("features").output, model.get_layer("logit").output]
    )
    with tf.GradientTape() as tape:
        features, logit = both(tf.constant(image[np.newaxis], tf.float32), training=False)
    gradients = tape.gradient(logit, features).numpy()[0].astype(np.float64)
    return (features.numpy()[0] * gradients.mean(axis=(0, 1))).sum(axis=-1)


def check_maps(run, paths):
    """What a run's classifier shows of images is Keras' map on the run's scale, both directions."""
    classifier, config = load_classifier(run), run.read_config()
    assert not config.model.mirror
    for path in paths:
        seen = prepare_picture(decode_picture(path), config.data, config.model)
        expected = explain_kept_model(run, seen)
        largest = np.abs(expected).max()
        assert largest > 0
        _, served = classifier.predictor.predict(seen)
        np.testing.assert_allclose(served / largest, expected / largest, atol=1e-4)
        shown = np.clip(expected / run.read_serving()["saliency_scale"], -1, 1)
        np.testing.assert_allclose(classifier.classify(path).saliency, shown, atol=1e-4)
        yield expected


def test_the_map_of_a_trained_compact_run_is_grad_cam_as_keras_computes_it(finished_run):
    index = finished_run.read_index()
    paths = [index.folder / path for path in index.images["path"]]
    maps = np.stack(list(check_maps(finished_run, paths)))
    assert maps.min() < 0 < maps.max()


def test_the_map_of_a_trained_flatten_dense_run_is_grad_cam_as_keras_computes_it(tmp_path):
    """The thesis' shape, small: flattened, a hidden layer, RMSprop."""
    (model,) = make_models("flatten", 1)
    paths = sorted(write_classes(tmp_path / "data").rglob("*.png"))
    labels = np.array([path.parent.name == "calcified" for path in paths], np.float32)
    config = RunConfig(model=HEADS["flatten"])
    images = np.stack(
        [prepare_picture(decode_picture(path), config.data, config.model) for path in paths]
    )
    model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="binary_crossentropy")
    for _ in range(30):
        model.train_on_batch(images.astype("float32"), labels)
    run = write_run(tmp_path / "run", "flatten", model)
    run.write_json("status.json", {"state": "finished"})
    write_serving_model(run, images, pd.DataFrame({"label": labels}))
    probabilities = [load_classifier(run).classify(path).probability for path in paths]
    assert np.mean((np.array(probabilities) > 0.5) == labels) > 0.9  # so it has learnt something
    maps = np.stack(list(check_maps(run, paths)))
    assert maps.min() < 0 < maps.max()


@pytest.mark.parametrize("mark", ["bright", "dark", "both"])
def test_each_planted_mark_speaks_for_its_own_class(mark):
    """Of a network made by hand: a bright spot speaks for the positive class, a dark one against.

    One filter answers to what is brighter than the grey around, the other to what is darker.
    """
    config = ModelConfig(
        image_size_px=32, channels=1, filters=(2,), padding="same", head="average", dense_units=0
    )
    model = build_model(config)
    (convolution,) = (x for x in model.layers if isinstance(x, keras.layers.Conv2D))
    kernel = np.zeros(convolution.kernel.shape, np.float32)
    kernel[1, 1, 0] = [1, -1]
    grey = model_input_of(model, convolution, 128)
    convolution.set_weights([kernel, np.array([-grey, grey], np.float32)])
    model.get_layer(LOGIT).set_weights([np.array([[1.0], [-1.0]]) * 50, np.zeros(1)])
    image = np.full((32, 32, 1), 128, np.uint8)
    if mark != "dark":
        image[4:8, 4:8] = 250
    if mark != "bright":
        image[20:24, 24:28] = 5
    probability, saliency = Predictor(convert_ensemble([Served(model=model)])).predict(image)
    rows, columns = saliency.shape
    bright = saliency[4 * rows // 32, 4 * columns // 32]
    dark = saliency[20 * rows // 32, 24 * columns // 32]
    largest = np.abs(saliency).max()
    expected = {"bright": (1, 0), "dark": (0, -1), "both": (1, -1)}[mark]
    np.testing.assert_allclose((bright / largest, dark / largest), expected, atol=0.06)
    assert ((saliency > 0.1 * largest).any(), (saliency < -0.1 * largest).any()) == (
        mark != "dark", mark != "bright",
    )  # fmt: skip
    if mark != "both":
        assert (probability > 0.5) == (mark == "bright")


def model_input_of(model, layer, grey):
    """What a layer is given where the image is of one grey level."""
    before = keras.Model(model.input, layer.input)
    return float(before(np.full((1, 32, 32, 1), grey, np.float32)).numpy()[0, 16, 16, 0])


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


def test_a_model_that_is_not_the_one_that_was_written_is_not_served(tmp_path):
    first, second = make_models("average", 2)
    run = write_run(tmp_path / "run", "average", first)
    record_model(run.directory)
    serving._load(run)
    second.save(run.path("model.keras"))
    with pytest.raises(ModelError, match="is not the file that training wrote"):
        serving._load(run)


def test_of_a_model_file_only_the_weights_are_taken(tmp_path):
    """Whatever its settings name is never made: the network is built from the run's own."""
    (model,) = make_models("average", 1)
    run = write_run(tmp_path / "run", "average", model)
    with zipfile.ZipFile(run.path("model.keras")) as archive:
        weights = archive.read("model.weights.h5")
    run.path("model.keras").write_bytes(write_keras(weights, [{"class_name": "Lambda"}]))
    rebuilt = serving._load(run).model
    for mine, theirs in zip(rebuilt.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
