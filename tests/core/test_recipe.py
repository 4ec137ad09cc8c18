from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.errors import ConfigError
from polyp_core.presets import get_preset
from polyp_core.recipe import Facts, find_facts, fit_preset


def test_the_thesis_presets_stay_what_they_are():
    for name in ("thesis", "thesis-plus"):
        assert fit_preset(name, Facts(2000, 60)) == get_preset(name)


@pytest.mark.parametrize(
    ("side_px", "size_px"), [(28, 64), (64, 64), (65, 96), (100, 128), (128, 128), (900, 128)]
)
def test_the_network_sees_the_pixels_there_are_in_one_of_three_sizes(side_px, size_px):
    assert fit_preset("compact", Facts(500, side_px)).model.image_size_px == size_px


@pytest.mark.parametrize(
    ("num_training", "epochs", "batch_size"),
    [
        (60, 120, 16),
        (500, 120, 16),
        (999, 120, 16),
        (1000, 120, 32),
        (2964, 40, 32),
        (50_000, 20, 32),
    ],
)
def test_few_images_are_seen_more_often_and_in_smaller_batches(num_training, epochs, batch_size):
    training = fit_preset("compact", Facts(num_training, 60)).training
    assert (training.epochs, training.batch_size) == (epochs, batch_size)


def test_nothing_else_is_fitted():
    preset, fitted = get_preset("compact"), fit_preset("compact", Facts(500, 60))
    same = ("image_size_px", "epochs", "batch_size")
    assert replace(fitted.model, image_size_px=preset.model.image_size_px) == preset.model
    assert replace(
        fitted.training, **{name: getattr(preset.training, name) for name in same[1:]}
    ) == preset.training  # fmt: skip
    assert (fitted.augmentation, fitted.preset) == (preset.augmentation, "compact")


def test_without_a_training_image_there_is_nothing_to_fit_to():
    assert fit_preset("compact", Facts(0, 0)) == get_preset("compact")


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="There is no preset of that name"):
        fit_preset("best", Facts(500, 60))


def test_facts_are_of_the_training_images_alone(data_dir):
    index = read_index(DataConfig(folder=str(data_dir)))
    split = np.where(np.arange(len(index.images)) < 3, "train", "validation")
    sizes = pd.DataFrame({"width_px": 900, "height_px": 800}, index=index.images.index)
    sizes.iloc[:3] = [[50, 40], [30, 70], [61, 62]]
    index = replace(index, images=index.images.assign(split=split, **sizes))
    assert find_facts(index) == Facts(3, 40)
