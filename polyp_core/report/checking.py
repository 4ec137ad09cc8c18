"""What the checks of a run say, read with care: the file may be damaged or of another version."""

from collections.abc import Mapping
from typing import Any

from polyp_core.report.wording import Plain, say_border, say_place, say_robustness

_COUNTS = ("num_images", "num_validation_images", "num_left_out")


def is_sound(checks: Mapping[str, Any]) -> bool:
    """Whether all is there that a report says and draws of the checks."""
    try:
        counts = [checks[name] for name in _COUNTS]
        if checks["num_patients"] is not None:
            counts.append(checks["num_patients"])
        if not all(type(number) is int for number in counts):
            return False
        list_shortcuts(checks)
        unit, measure = choose_measure(checks)
        say_robustness(checks["robustness"], unit, measure)
        for effect in checks["robustness"]:
            for level in effect["levels"]:
                row = level[unit][measure]
                _ = [float(number) for number in (level["strength"], row["low"], row["high"])]
            _ = [effect[name] for name in ("effect", "title", "unit")]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return True


def choose_measure(checks: Plain) -> tuple[str, str]:
    """What is counted, and the number that is looked at: the AUC where there is one."""
    unit = "patient" if checks["num_patients"] is not None else "image"
    auc = checks["robustness"][0]["levels"][0][unit]["auc"]
    return unit, "auc" if auc["value"] is not None else "accuracy"


def list_shortcuts(checks: Plain) -> list[tuple[str, str]]:
    """What the checks say of each place and of the border, as `wording.say_place`."""
    shortcuts = checks["shortcuts"]
    places = [say_place(place, shortcuts[place]) for place in ("outside", "text")]
    return [*places, say_border(shortcuts["border"])]
