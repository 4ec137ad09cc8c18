"""Complete choices of settings, each with what it costs and gives."""

from dataclasses import dataclass, replace

from polyp_core.config import AugmentConfig, ModelConfig, RunConfig, TrainingConfig
from polyp_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named, complete choice of settings, with what it costs and gives.

    Attributes:
        name: As the command line knows it.
        title: As the pages call it.
        summary: One line on what it is for.
        num_weights: Of the network.
        ms_per_image: Of a training step, on two cores; from benchmarks/throughput.py.
        is_fitted: Whether image size, epochs and batch follow the images, see recipe.py.
        config: The settings.
    """

    name: str
    title: str
    summary: str
    num_weights: int
    ms_per_image: float
    config: RunConfig
    is_fitted: bool = False


_MODERATE = AugmentConfig(
    rotation_deg=15.0, width_shift=0.1, height_shift=0.1, shear_deg=5.0, zoom=0.15
)
# Augmentation, size and epochs are measured, see benchmarks/RECIPES.md; the rest are usual values.
# The last state is kept, averaged and at the end of its cosine, so that its epoch is not chosen on
# validation.
_RECIPE = TrainingConfig(
    epochs=40,
    batch_size=16,
    optimizer="adamw",
    learning_rate=2e-3,
    schedule="cosine",
    weight_decay=0.01,
    label_smoothing=0.1,
    ema=0.99,
    keep="last",
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="compact",
            is_fitted=True,
            title="Compact",
            summary="Our default: small, grey, ahead of the thesis on our data. Start here.",
            num_weights=163_961,
            ms_per_image=6.5,
            config=RunConfig(
                preset="compact",
                augmentation=_MODERATE,
                model=ModelConfig(
                    image_size_px=128,
                    channels=1,
                    filters=(24, 48, 96, 128),
                    padding="same",
                    batch_normalization=True,
                    head="average",
                    dense_units=0,
                    dropout=0.2,
                ),
                training=_RECIPE,
            ),
        ),
        Preset(
            name="residual",
            is_fitted=True,
            title="Residual",
            summary="More layers, with paths around them. No clear gain in our trials: try it.",
            num_weights=308_817,
            ms_per_image=4.0,
            config=RunConfig(
                preset="residual",
                augmentation=_MODERATE,
                model=ModelConfig(
                    network="residual",
                    image_size_px=128,
                    channels=1,
                    filters=(16, 32, 64, 128),
                    head="average",
                    dense_units=0,
                    dropout=0.2,
                ),
                training=_RECIPE,
            ),
        ),
        Preset(
            name="transfer",
            title="Transfer",
            summary="Starts from a network that knows photographs; fetches it from the internet.",
            num_weights=939_697,
            ms_per_image=5.5,
            config=RunConfig(
                preset="transfer",
                augmentation=_MODERATE,
                model=ModelConfig(
                    network="transfer",
                    image_size_px=128,
                    channels=1,
                    head="average",
                    dense_units=0,
                    dropout=0.2,
                ),
                training=replace(_RECIPE, ema=0.0, learning_rate=1e-3),
            ),
        ),
        Preset(
            name="thesis",
            title="Thesis",
            summary="The 2020 thesis' own network, to repeat its numbers.",
            num_weights=5_046_369,
            ms_per_image=15.0,
            config=RunConfig(preset="thesis"),
        ),
        Preset(
            name="thesis-plus",
            title="Thesis plus",
            summary="What the thesis wished for: Adam, early stopping, one more block.",
            num_weights=1_114_273,
            ms_per_image=14.0,
            config=RunConfig(
                preset="thesis-plus",
                model=ModelConfig(filters=(32, 32, 64, 64)),
                training=TrainingConfig(
                    epochs=100, optimizer="adam", early_stopping_patience=15, keep="best"
                ),
            ),
        ),
    )
}

AUGMENTATION_TITLES: dict[str, str] = {
    "none": "None",
    "thesis": "Thesis",
    "ultrasound": "Ultrasound",
}
AUGMENTATION_PRESETS: dict[str, AugmentConfig] = {
    "none": AugmentConfig(
        rotation_deg=0.0,
        width_shift=0.0,
        height_shift=0.0,
        shear_deg=0.0,
        zoom=0.0,
        horizontal_flip=False,
    ),
    "thesis": AugmentConfig(),
    # What a probe and its knobs do, and nothing that makes or hides the sign of a calcification.
    # Gaps are black, as beside any scan: a smeared border looks like a shadow.
    "ultrasound": AugmentConfig(
        rotation_deg=15.0,
        width_shift=0.1,
        height_shift=0.1,
        shear_deg=5.0,
        zoom=0.15,
        fill_mode="constant",
        gain_db=4.0,
        dynamic_range_db=6.0,
        depth_gain_db=6.0,
        speckle=0.2,
        haze=0.15,
        haze_probability=0.3,
        blur=0.004,
        blur_probability=0.3,
    ),
}


def get_preset(name: str) -> RunConfig:
    """The configuration of a preset.

    Raises:
        ConfigError: For a name that is no preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"There is no preset of that name. Expected one of: {', '.join(PRESETS)}. "
            f"Received: preset={name!r}"
        )
    return PRESETS[name].config
