"""Settings in words: their values, the choices by their usual names, what was changed."""

from dataclasses import fields
from typing import Any

from polyp_core.config import RunConfig
from polyp_core.presets import PRESETS
from polyp_core.recipe import FITTED

_CHOICES: dict[Any, str] = {
    "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "sgd": "SGD",
    "val_loss": "validation loss", "val_accuracy": "validation accuracy",
    "val_auc": "validation AUC", "loss": "training loss", "accuracy": "training accuracy",
    "plateau": "at a plateau", "step": "in steps", 1: "1 (grey)", 3: "3 (colour)",
}  # fmt: skip


def say_choice(value: Any) -> str:  # noqa: ANN401 - any plain type
    """A choice of a setting by its usual name, such as "AdamW"."""
    return _CHOICES.get(value, str(value))


def say_value(value: Any, unit: str) -> str:  # noqa: ANN401 - any plain type
    """A setting's value in words, such as "30 °" or "20 %"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return say_choice(value)
    if isinstance(value, tuple):
        return f"{', '.join(map(str, value))} {unit}".strip() if value else "none"
    if unit == "part":
        return f"{value * 100:g} %"
    return f"{value:g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()


def list_changes(config: RunConfig, base: RunConfig | None = None) -> list[str]:
    """What differs from the preset, in words such as "Rotation 30 °".

    Args:
        config: To be compared.
        base: The preset as it was fitted; where that is not known, what can be fitted is left out.
    """
    preset = PRESETS.get(config.preset, PRESETS["thesis"])
    left_out = FITTED if base is None and preset.is_fitted else ()
    base, changes = base or preset.config, []
    for section_name in ("augmentation", "model", "training"):
        section = getattr(config, section_name)
        for item in fields(section):
            value = getattr(section, item.name)
            if (section_name, item.name) in left_out:
                continue
            if value != getattr(getattr(base, section_name), item.name):
                changes.append(
                    f"{item.metadata['label']} {say_value(value, item.metadata['unit'])}"
                )
    return changes
