import pytest

from polyp_core.config import AugmentConfig, ModelConfig, RunConfig
from polyp_core.errors import ConfigError
from polyp_core.presets import PRESETS, get_preset


def test_thesis_preset_has_the_numbers_of_the_thesis():
    thesis = get_preset("thesis")
    assert thesis.model == ModelConfig(
        image_size_px=300,
        channels=3,
        filters=(32, 32, 64),
        padding="valid",
        batch_normalization=False,
        head="flatten",
        dense_units=64,
        dropout=0.5,
    )
    assert thesis.augmentation == AugmentConfig(
        rotation_deg=40.0,
        width_shift=0.2,
        height_shift=0.2,
        shear_deg=0.2,
        zoom=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    training = thesis.training
    assert (training.optimizer, training.learning_rate, training.batch_size) == ("rmsprop", 1e-3, 4)
    assert (training.schedule, training.weight_decay, training.label_smoothing) == (
        "constant",
        0.0,
        0.0,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_known_by_the_name_it_carries(name):
    assert PRESETS[name].name == name
    assert get_preset(name).preset == name


def test_config_without_a_choice_is_the_preset_it_names():
    assert RunConfig() == get_preset(RunConfig().preset)


def test_thesis_network_has_five_million_weights():
    # By hand: 300 → 149 → 73 → 35 px; a convolution has 9 · inputs + 1 weights a filter.
    convolutions = 32 * (9 * 3 + 1) + 32 * (9 * 32 + 1) + 64 * (9 * 32 + 1)
    assert PRESETS["thesis"].num_weights == convolutions + 64 * (35 * 35 * 64 + 1) + 65


def test_thesis_plus_network_has_one_million_weights():
    convolutions = 32 * (9 * 3 + 1) + 32 * (9 * 32 + 1) + 64 * (9 * 32 + 1) + 64 * (9 * 64 + 1)
    assert PRESETS["thesis-plus"].num_weights == convolutions + 64 * (16 * 16 * 64 + 1) + 65


def test_compact_network_has_164_thousand_weights():
    # By hand: convolutions without bias, four numbers a filter of normalisation, one dense unit.
    convolutions = 9 * (1 * 24 + 24 * 48 + 48 * 96 + 96 * 128)
    assert PRESETS["compact"].num_weights == convolutions + 4 * (24 + 48 + 96 + 128) + 128 + 1


def test_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(ConfigError) as caught:
        get_preset("Thesis")
    assert str(caught.value) == (
        "There is no preset of that name. Expected one of: compact, residual, transfer, thesis, "
        "thesis-plus. "
        "Received: preset='Thesis'"
    )
