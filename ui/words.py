"""Text made fit to be shown: numbers and settings by their names, what is from outside safe."""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from polyp_core.config import SECTIONS
from polyp_core.words import Plain, make_visible, say_auc, say_percent

# What each number is called, and how it is said.
MEASURES: dict[str, tuple[str, Callable[[Plain], str]]] = {
    "accuracy": ("Accuracy", say_percent),
    "sensitivity": ("Sensitivity", say_percent),
    "specificity": ("Specificity", say_percent),
    "auc": ("AUC", say_auc),
}
_LABELS = {
    (section, item.name): item.metadata["label"]
    for section, kind in SECTIONS.items()
    for item in fields(kind)
}
_LABELS |= {("", name): label for (_, name), label in _LABELS.items()}
_NAMES = "|".join({name for _, name in _LABELS})
# Such as "training.seed", "training.seed=" and "seed="; no part of a path.
_SETTING = re.compile(rf"(?<![\w./\\-])(?:({'|'.join(SECTIONS)})\.)?({_NAMES})(=|\b(?!\.\w))")


def escape(text: str) -> str:
    """Markdown that shows the text literally; file names may hold anything."""
    special = "\\`*_{}[]()#+-.!<>|:$~&"
    return "".join(f"\\{mark}" if mark in special else mark for mark in make_visible(text))


def escape_figure(text: str) -> str:
    """Text of a Plotly figure that shows it literally; Plotly knows no `&quot;`."""
    return html.escape(make_visible(text), quote=False)


def name_settings(text: str) -> str:
    """A message with its settings called as the form calls them: "training.ema" by its label."""

    def name(found: re.Match[str]) -> str:
        section, setting, equals = found.groups(default="")
        label = _LABELS.get((section, setting))
        if label is None or not (section or equals):
            return found[0]
        return f"'{label}'{equals and ' = '}"

    return _SETTING.sub(name, text)


def say_temperature(calibration: Mapping[str, Any]) -> str:
    """What the temperature has changed, as `metrics.json` has it under "calibration"."""
    loss, temperature = calibration["log_loss"], calibration["temperature"]
    is_same = f"{loss['before']:.3f}" == f"{loss['after']:.3f}"
    if abs(temperature - 1) < 0.02 or is_same:
        return "The network was as sure of itself as its validation bears out."
    sure, way = ("too sure", "towards") if temperature > 1 else ("not sure enough", "away from")
    return (
        f"The network was {sure} of itself, so its probabilities are moved {way} "
        f"50\N{NO-BREAK SPACE}% (temperature {temperature:.2f}, fitted on the "
        f"{calibration['n']} validation images; log loss {loss['after']:.3f} instead of "
        f"{loss['before']:.3f})."
    )
