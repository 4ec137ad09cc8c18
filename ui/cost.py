"""What a training takes, where the pace is known."""

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.presets import PRESETS, Preset

_SLOW = 3  # times as long as measured take two cores that others use as well
_START_S = 8.0  # of a run: TensorFlow's start, and the conversion at its end


def measure_pace_s(preset: Preset, config: RunConfig) -> float:
    """Seconds of training an image, by its pixels, from what was measured at the preset's size."""
    ratio = config.model.image_size_px / preset.config.model.image_size_px
    return preset.ms_per_image / 1000 * ratio**2


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
    run_s = _START_S + measure_pace_s(preset, draft) * num_images * draft.training.epochs
    slow = words.say_duration(_SLOW * num_runs * run_s).removeprefix("about ")
    return f", {words.say_duration(num_runs * run_s)}, on a slow computer {slow}"
