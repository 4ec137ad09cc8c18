"""What a training takes, where the pace is known."""

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.presets import PRESETS

_START_S = 8.0  # of a run: TensorFlow's start, and the conversion at its end


def say_cost(draft: RunConfig, num_images: float, num_runs: int = 1) -> str:
    """Such as ", about 4 min on two cores"; nothing for another network than was measured.

    Args:
        draft: Of the runs.
        num_images: To train on, in each run.
        num_runs: One after the other.
    """
    preset = PRESETS[draft.preset]
    if draft.model != preset.config.model:
        return ""
    run_s = _START_S + preset.ms_per_image / 1000 * num_images * draft.training.epochs
    return f", {words.say_duration(num_runs * run_s)} on two cores"
