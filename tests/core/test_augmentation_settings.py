"""The settings of the augmentation: rows, units, presets and what must be said beside them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from polyp_core.augmentation import (
    AugmentParameters,
    apply_parameters,
    augment_image,
    list_cautions,
)
from polyp_core.config import AugmentConfig, RunConfig
from polyp_core.config.augmentation import EFFECTS, GEOMETRY, IMAGING
from polyp_core.errors import ConfigError
from polyp_core.presets import AUGMENTATION_PRESETS, AUGMENTATION_TITLES

NONE = AUGMENTATION_PRESETS["none"]


@pytest.mark.parametrize(
    ("name", "harmless", "doubtful", "decisive"),
    [
        ("rotation_deg", {"rotation_deg": 30.0}, {"rotation_deg": 31.0}, "Depth has a direction"),
        ("width_shift", {"width_shift": 0.15}, {"width_shift": 0.2}, "smears its border"),
        ("width_shift", {"width_shift": 0.2, "fill_mode": "constant"},
         {"width_shift": 0.3, "fill_mode": "constant"}, "lesion may leave the picture"),
        ("height_shift", {"height_shift": 0.15}, {"height_shift": 0.2}, "smears its border"),
        ("height_shift", {"height_shift": 0.2, "fill_mode": "constant"},
         {"height_shift": 0.3}, "lesion may leave the picture"),
        ("shear_deg", {"shear_deg": 0.0}, {"shear_deg": 0.2}, "less than 1° cannot be seen"),
        ("shear_deg", {"shear_deg": 20.0}, {"shear_deg": 21.0}, "under no probe"),
        ("zoom", {"zoom": 0.15}, {"zoom": 0.2}, "smears its border"),
        ("zoom", {"zoom": 0.3, "fill_mode": "constant"}, {"zoom": 0.4}, "may leave the picture"),
        ("vertical_flip", {"vertical_flip": False}, {"vertical_flip": True}, "upside down"),
        ("vertical_flip", {"vertical_flip": True, "vertical_flip_probability": 0.0},
         {"vertical_flip": True}, "upside down"),
        ("elastic", {"elastic": 0.03}, {"elastic": 0.04}, "smooth outline may turn irregular"),
        ("fill_mode", {"fill_mode": "wrap", "horizontal_flip": True},
         {"fill_mode": "wrap", "zoom": 0.1}, "far side is repeated"),
        ("fill_mode", {"fill_mode": "constant", "zoom": 0.1},
         {"fill_mode": "reflect", "zoom": 0.1}, "seen twice"),
        ("gain_db", {"gain_db": 10.0}, {"gain_db": 11.0}, "tissue turns white"),
        ("dynamic_range_db", {"dynamic_range_db": 20.0}, {"dynamic_range_db": 21.0},
         "faint tissue turns black"),
        ("depth_gain_db", {"depth_gain_db": 15.0}, {"depth_gain_db": 16.0}, "lesion in the depth"),
        ("speckle", {"speckle": 0.5}, {"speckle": 0.6}, "no probe shows"),
        ("haze", {"haze": 0.3}, {"haze": 0.4}, "Fluid may look like tissue"),
        ("blur", {"blur": 0.01}, {"blur": 0.011}, "calcification may blur away"),
        ("shadow_db", {"shadow_db": 0.0}, {"shadow_db": 0.5}, "very sign of a calcification"),
        ("shadow_db", {"shadow_db": 9.0, "shadow_probability": 0.0}, {"shadow_db": 9.0},
         "very sign of a calcification"),
        ("erasing", {"erasing": 0.1}, {"erasing": 0.11}, "lesion may be covered"),
    ],
)  # fmt: skip
def test_a_caution_comes_with_its_setting_and_goes(name, harmless, doubtful, decisive):
    assert list_cautions(replace(NONE, **harmless)) == {}
    cautions = list_cautions(replace(NONE, **doubtful))
    assert list(cautions) == [name]
    assert decisive in cautions[name]
    assert cautions[name].endswith(".")


def test_the_thesis_has_its_cautions_and_the_other_presets_none():
    assert set(list_cautions(AUGMENTATION_PRESETS["thesis"])) == {
        "rotation_deg", "width_shift", "height_shift", "shear_deg", "zoom",
    }  # fmt: skip
    assert list_cautions(AUGMENTATION_PRESETS["none"]) == {}
    assert list_cautions(AUGMENTATION_PRESETS["ultrasound"]) == {}


def test_a_small_picture_when_zoomed_out_is_what_the_caution_speaks_of():
    striped = np.full((40, 40, 1), 90, np.uint8)
    striped[10, 0] = 200
    wider = apply_parameters(striped, AugmentParameters(zoom_x=1.5), "nearest")
    assert (wider[10, :5] == 200).all()  # one pixel of the border has become a streak


def test_presets_are_none_the_thesis_and_what_ultrasound_allows():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    none, thesis, ours = (AUGMENTATION_PRESETS[name] for name in ("none", "thesis", "ultrasound"))
    assert list(AUGMENTATION_TITLES) == list(AUGMENTATION_PRESETS)
    assert np.array_equal(augment_image(image, none, seed=0, epoch=1, image_number=0), image)
    assert thesis == AugmentConfig() == RunConfig().augmentation
    assert not ours.vertical_flip
    assert ours.shadow_db == ours.erasing == 0
    assert min(ours.gain_db, ours.dynamic_range_db, ours.depth_gain_db, ours.speckle) > 0


def test_a_configuration_of_before_loads_and_means_what_it_meant():
    before = {
        "rotation_deg": 40.0, "width_shift": 0.2, "height_shift": 0.2, "shear_deg": 0.2,
        "zoom": 0.2, "horizontal_flip": True, "fill_mode": "nearest",
    }  # fmt: skip
    config = RunConfig.from_dict({"augmentation": before}).augmentation
    assert config == AugmentConfig()
    on = {amount for amount, _ in EFFECTS if getattr(config, amount)}
    assert on == set(before) - {"fill_mode"}


def test_every_setting_stands_in_one_row_for_the_page():
    named = [name for row in GEOMETRY + IMAGING for name in row]
    assert len(named) == len(set(named))
    assert set(named) == {item.name for item in fields(AugmentConfig)}


def test_every_setting_has_a_unit_a_label_and_bounds():
    for item in fields(AugmentConfig):
        facts = item.metadata
        assert facts["label"], item.name
        assert facts["help"].endswith("."), item.name
        if item.type is float:
            unit = {"deg": "°", "db": "dB"}.get(item.name.rpartition("_")[2], "part")
            assert facts["unit"] == unit, item.name
            assert facts["low"] < facts["high"], item.name


def test_a_share_out_of_bounds_is_refused_without_its_unit():
    with pytest.raises(ConfigError) as caught:
        AugmentConfig(speckle=1.5)
    assert str(caught.value) == (
        "augmentation.speckle is out of bounds. Expected 0 to 1. Received: 1.5"
    )
