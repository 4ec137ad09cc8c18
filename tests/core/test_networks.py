"""Each network, and a backbone's weights from a file."""

import numpy as np
import pytest

from polyp_core.config import ModelConfig, RunConfig, TrainingConfig
from polyp_core.errors import ModelError

keras = pytest.importorskip("keras")
from polyp_core.models import FEATURES, build_model, make_model, make_step  # noqa: E402
from polyp_core.networks import get_backbone, load_backbone  # noqa: E402

# Keras' own, where it saves a model.
TRANSFER = ModelConfig(
    network="transfer", image_size_px=32, channels=1, head="average", dense_units=0
)
APPLICATIONS = {
    "mobilenet-v3-small": "MobileNetV3Small",
    "mobilenet-v3-large": "MobileNetV3Large",
    "efficientnet-v2-b0": "EfficientNetV2B0",
    "densenet-121": "DenseNet121",
    "convnext-tiny": "ConvNeXtTiny",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights for the smallest backbone, and the backbone it came from."""
    keras.utils.set_random_seed(5)
    backbone = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    backbone.save_weights(path)
    return path, backbone


def make_transfer(path, **training):
    model = ModelConfig(**{**vars(TRANSFER), "backbone_weights": str(path)})
    config = RunConfig(model=model, training=TrainingConfig(frozen_epochs=1, **training))
    keras.utils.set_random_seed(0)
    made = make_model(config)
    for variable in get_backbone(made).weights:
        if "moving_variance" in variable.path:  # or what random weights let through fades to naught
            variable.assign(np.full(variable.shape, 0.02))
    return made, config


@pytest.mark.parametrize(
    ("size_px", "filters", "blocks", "rows"),
    [(32, (4, 6, 8), 1, 4), (28, (4, 6), 2, 7), (61, (4, 6, 8), 1, 8)],
)
def test_a_residual_network_halves_the_picture_at_its_stem_and_at_each_further_stage(
    size_px, filters, blocks, rows
):
    config = ModelConfig(
        network="residual", image_size_px=size_px, channels=1, filters=filters, blocks=blocks,
        head="average", dense_units=0,
    )  # fmt: skip
    model = build_model(config)
    assert model.get_layer(FEATURES).output.shape == (None, rows, rows, filters[-1])
    images = np.random.default_rng(0).integers(0, 256, (3, size_px, size_px, 1))
    assert model(images.astype(np.float32), training=False).shape == (3, 1)


def test_a_residual_block_is_that_of_its_paper_counted_by_hand():
    config = ModelConfig(
        network="residual", image_size_px=16, channels=1, filters=(4, 6), head="average",
        dense_units=0,
    )  # fmt: skip
    stem = 9 * 1 * 4 + 4 * 4  # a convolution without bias, and four numbers a filter to normalise
    first = 2 * (9 * 4 * 4 + 4 * 4)
    second = (9 * 4 * 6 + 4 * 6) + (9 * 6 * 6 + 4 * 6) + (4 * 6 + 4 * 6)  # and a projection
    assert build_model(config).count_params() == stem + first + second + 6 + 1


@pytest.mark.parametrize("backbone", list(APPLICATIONS))
def test_a_backbone_gets_what_keras_own_preprocessing_would_give_it(backbone):
    config = ModelConfig(**{**vars(TRANSFER), "backbone": backbone, "dropout": 0.0})
    keras.utils.set_random_seed(1)
    model = build_model(config)
    inner = get_backbone(model)
    grey = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
    colour = np.repeat(grey, 3, axis=3)
    families = {"densenet-121": keras.applications.densenet}
    if backbone in families:
        colour = families[backbone].preprocess_input(colour.copy())
    features = keras.Model(model.input, model.get_layer(FEATURES).output)
    np.testing.assert_allclose(
        features(grey, training=False), inner(colour, training=False), rtol=1e-4, atol=1e-3
    )
    expected = getattr(keras.applications, APPLICATIONS[backbone])(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    assert [v.shape for v in inner.weights] == [v.shape for v in expected.weights]


def test_a_backbone_takes_its_weights_from_a_file(weights):
    path, backbone = weights
    model, config = make_transfer(path)
    load_backbone(model, config.model)
    for ours, theirs in zip(get_backbone(model).weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_file_that_is_not_there_or_of_another_network_is_refused(tmp_path, weights):
    model, config = make_transfer(tmp_path / "none.h5")
    with pytest.raises(ModelError, match=r"none\.h5': there is no such file\. Expected those of"):
        load_backbone(model, config.model)
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(other)
    for path in (other, tmp_path / "text.h5"):
        (tmp_path / "text.h5").write_text("no weights")
        model, config = make_transfer(path)
        with pytest.raises(ModelError, match="Expected those of Keras' MobileNetV3Small without"):
            load_backbone(model, config.model)


def test_without_file_or_connection_the_error_says_exactly_that(monkeypatch):
    def fetch(**options):
        if options["weights"] == "imagenet":
            raise Exception("URL fetch failure on https://…: None -- [Errno -3] no name")  # noqa: TRY002

    model, config = make_transfer("")
    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fetch)
    with pytest.raises(ModelError) as caught:
        load_backbone(model, config.model)
    assert "could not be fetched. Expected a connection" in str(caught.value)
    assert "In Keras' words: URL fetch failure" in str(caught.value)
    assert "with another preset, which fetches nothing" in str(caught.value)
    assert "fetched elsewhere (All settings, Network, model.backbone_weights)" in str(caught.value)


def take_step(model, config, *, is_resting):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.uint8)
    labels = np.array([[0.0], [1.0], [0.0], [1.0]], dtype=np.float32)
    make_step(model, config, is_resting=is_resting)(images, labels)


def copy_backbone(model):
    return [np.array(variable) for variable in get_backbone(model).trainable_variables]


def test_a_resting_backbone_stays_as_it_is_while_the_head_learns():
    model, config = make_transfer("", optimizer="adam")
    before, head = copy_backbone(model), np.array(model.layers[-2].kernel)
    take_step(model, config, is_resting=True)
    for value, variable in zip(before, copy_backbone(model), strict=True):
        np.testing.assert_array_equal(value, variable)
    assert not np.array_equal(head, np.array(model.layers[-2].kernel))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_backbone_moves_by_its_part_of_the_way_with_any_optimizer(optimizer):
    ways = {}
    for rate in (1.0, 0.25):
        model, config = make_transfer("", optimizer=optimizer, backbone_rate=rate)
        before = copy_backbone(model)
        take_step(model, config, is_resting=False)
        ways[rate] = [after - b for after, b in zip(copy_backbone(model), before, strict=True)]
    assert max(np.abs(way).max() for way in ways[1.0]) > 1e-4
    for whole, quarter in zip(ways[1.0], ways[0.25], strict=True):
        np.testing.assert_allclose(quarter, whole / 4, atol=1e-5)


def test_a_backbones_statistics_stay_those_it_came_with():
    model, config = make_transfer("")
    statistics = [v for v in get_backbone(model).weights if "moving" in v.path]
    before = [np.array(v) for v in statistics]
    take_step(model, config, is_resting=False)
    assert statistics
    for value, variable in zip(before, statistics, strict=True):
        np.testing.assert_array_equal(value, np.array(variable))
