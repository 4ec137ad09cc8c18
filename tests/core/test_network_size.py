"""The arithmetic is compared with Keras: it may not be wrong by a single weight."""

import math
import time

import pytest

from polyp_core.config import ModelConfig
from polyp_core.errors import ConfigError
from polyp_core.network_size import MAX_WEIGHTS, check_size, measure_network
from polyp_core.presets import PRESETS

keras = pytest.importorskip("keras")
from polyp_core.models import FEATURES, build_model  # noqa: E402

NETWORKS = {
    "thesis": ModelConfig(image_size_px=61),
    "one stage": ModelConfig(image_size_px=16, channels=1, filters=(3,), dense_units=0),
    "normalised": ModelConfig(
        image_size_px=50, filters=(4, 6, 8), padding="same", batch_normalization=True,
        head="average", dense_units=5,
    ),
    "normalised and flat": ModelConfig(
        image_size_px=45, filters=(4, 6), batch_normalization=True, dense_units=7
    ),
    "residual": ModelConfig(
        network="residual", image_size_px=47, channels=1, filters=(4, 4, 8), blocks=2
    ),
    "residual, pooled": ModelConfig(
        network="residual", image_size_px=33, filters=(4, 8), head="average", dense_units=0
    ),
}  # fmt: skip
BACKBONES = ("mobilenet-v3-small", "convnext-tiny")  # one that keeps odd pixels, one that does not


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_array_of_a_network_is_known_before_it_is_built(name):
    model, size = build_model(NETWORKS[name]), measure_network(NETWORKS[name])
    assert sorted(size.shapes) == sorted(tuple(weight.shape) for weight in model.weights)
    assert size.num_weights == sum(math.prod(weight.shape) for weight in model.weights)
    assert size.num_features == model.get_layer(FEATURES).output.shape[-1]
    maps = [math.prod(layer.output.shape[1:]) for layer in model.layers[2:]]
    assert size.largest_map == max(maps)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_transfer_network_is_known_by_the_sum_of_its_weights(backbone):
    config = ModelConfig(network="transfer", backbone=backbone, image_size_px=75, dense_units=3)
    model, size = build_model(config), measure_network(config)
    assert size.num_weights == sum(math.prod(weight.shape) for weight in model.weights)
    assert size.num_features == model.get_layer(FEATURES).output.shape[-1]


def test_the_multiplications_of_one_convolution_are_counted_by_hand():
    config = ModelConfig(image_size_px=18, channels=3, filters=(5,), dense_units=2)
    # 16 × 16 places of 3 × 3 × 3 each for 5 filters; then 8 × 8 × 5 numbers to 2 units to 1.
    assert measure_network(config).num_multiplications == 16 * 16 * 27 * 5 + 320 * 2 + 2


@pytest.mark.parametrize("preset", list(PRESETS))
def test_no_preset_is_too_large_at_the_largest_image(preset):
    model = PRESETS[preset].config.model
    largest = ModelConfig(**{**vars(model), "image_size_px": 1024})
    check_size(measure_network(largest))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"image_size_px": 1024, "filters": (2048,), "dense_units": 4096}, "weights"),
        ({"image_size_px": 1024, "filters": (100,), "head": "average"}, "numbers between"),
        (
            {"image_size_px": 1024, "filters": (60, 240, 1000, 2048), "head": "average"},
            "multiplications",
        ),
        ({"network": "transfer", "image_size_px": 1024, "dense_units": 4096}, "weights"),
    ],
)
def test_a_network_that_no_computer_should_build_is_refused_at_once(settings, what):
    started = time.monotonic()
    with pytest.raises(ConfigError, match=what):
        check_size(measure_network(ModelConfig(**settings)))
    assert time.monotonic() - started < 2  # a guard against building it after all
    assert MAX_WEIGHTS == 100_000_000
