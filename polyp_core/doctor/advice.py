"""What the doctor suggests: one thing, and where it can the setting that does it."""

from typing import Any

from polyp_core.config import RunConfig
from polyp_core.config.augmentation import EFFECTS


def advise(advice: str, name: str, value: object) -> dict[str, Any]:
    return {"advice": f"{advice} in a new run.", "setting": (name, value)}


BALANCE = advise("Let both classes count alike", "training.class_weights", "balanced")
LOOK_AGAIN = {"advice": "Look at images of both classes: can a person tell them at this size?"}


def advise_rate(rate: float) -> dict[str, Any]:
    rate = max(1e-7, float(f"{rate:.1g}"))
    return advise(f"Try a learning rate of {rate:g}", "training.learning_rate", rate)


def advise_overfitting(config: RunConfig) -> dict[str, Any]:
    if config.training.keep == "last":
        return advise("Keep the best epoch, not the last,", "training.keep", "best")
    if not any(getattr(config.augmentation, name) for name, _ in EFFECTS):
        return advise("Turn training images by up to 15°", "augmentation.rotation_deg", 15.0)
    if config.model.head == "flatten":
        return advise("Use the head 'average' (fewer weights)", "model.head", "average")
    return {"advice": "Train on more patients: that helps most."}
