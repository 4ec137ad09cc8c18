"""What a training takes, where the pace is known."""

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.presets import PRESETS, Preset

# By runs of 4 and 30 epochs at 64 and 96 px on two cores, 2026-11-30.
_START_S = 16.0  # of a run: TensorFlow's start, and what follows the last epoch
_AROUND_MS = 3.5  # of an image, whatever its size: augmentation, validation, the start of a step
_SLOW = 2  # times as long, where the two cores have other work as well


def estimate_run_s(preset: Preset, config: RunConfig, num_images: float) -> float:
    """Seconds of a run on so many images, from the preset's own pace and the pixels of an image."""
    ratio = config.model.image_size_px / preset.config.model.image_size_px
    image_ms = _AROUND_MS + preset.ms_per_image * ratio**2
    return _START_S + image_ms / 1000 * num_images * config.training.epochs


def say_cost(draft: RunConfig, num_images: float, num_runs: int = 1) -> str:
    """Such as ", about 4 min, on a slow computer 12 min"; nothing for a network not measured.

    Args:
        draft: Of the runs.
        num_images: To train on, in each run.
        num_runs: One after the other.
    """
    preset = PRESETS[draft.preset]
    same = {"image_size_px": 0}
    if vars(draft.model) | same != vars(preset.config.model) | same:
        return ""
    run_s = estimate_run_s(preset, draft, num_images)
    slow = words.say_duration(_SLOW * num_runs * run_s).removeprefix("about ")
    return f", {words.say_duration(num_runs * run_s)}, on a slow computer {slow}"
