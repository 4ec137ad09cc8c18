"""What of a preset depends on the images: how large they are, and how many.

Sizes and epochs are measured, see benchmarks/RECIPES.md; batches and what few images are, are usual
values.
"""

from dataclasses import dataclass, replace

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.presets import PRESETS, get_preset
from polyp_core.words import say_number

# What is fitted: section and name.
FITTED = (("model", "image_size_px"), ("training", "epochs"), ("training", "batch_size"))
FEW_IMAGES = 100  # to train on; below that one training says little
_SIDES_PX = (64, 96, 128)
_IMAGES_SEEN = 120_000  # over the whole training
_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 120
_LARGE_BATCH_FROM = 1000  # images to train on


@dataclass(frozen=True)
class Facts:
    """What a preset is fitted to.

    Attributes:
        num_training: Images to train on.
        side_px: Their shorter side, in the middle.
    """

    num_training: int
    side_px: int


def find_facts(index: Index) -> Facts:
    """Of the training images."""
    train = index.select("train")
    sides = train[["width_px", "height_px"]].min(axis=1)
    return Facts(len(train), int(sides.median()) if len(train) else 0)


def fit_preset(name: str, facts: Facts) -> RunConfig:
    """A preset's settings for such images; those of the thesis stay what they are.

    The network sees the pixels there are, in one of three sizes: at least 64, where its first
    stages have something to halve, and at most 128. Few images are seen more often, and in smaller
    batches.

    Args:
        name: Of a preset.
        facts: Of the images.

    Raises:
        ConfigError: For a name that is no preset.
    """
    config = get_preset(name)
    if not PRESETS[name].is_fitted or not facts.num_training:
        return config
    size_px = next((side for side in _SIDES_PX if side >= facts.side_px), _SIDES_PX[-1])
    epochs = round(_IMAGES_SEEN / facts.num_training / 10) * 10
    batch_size = config.training.batch_size
    return replace(
        config,
        model=replace(config.model, image_size_px=size_px),
        training=replace(
            config.training,
            epochs=min(max(epochs, _FEWEST_EPOCHS), _MOST_EPOCHS),
            batch_size=2 * batch_size if facts.num_training >= _LARGE_BATCH_FROM else batch_size,
        ),
    )


def say_fitted(config: RunConfig) -> str:
    """What follows the images, in words such as "64 px, 40 epochs, batches of 32"."""
    training = config.training
    return (
        f"{config.model.image_size_px} px, {say_number(training.epochs, 'epoch')}, "
        f"batches of {training.batch_size}"
    )
