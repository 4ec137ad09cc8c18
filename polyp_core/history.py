"""The rows of history.csv: what validation gives, and whether training may go on from them."""

import math

import numpy as np
import pandas as pd

from polyp_core.config import TrainingConfig
from polyp_core.errors import RunError
from polyp_core.metrics import binary_crossentropy, estimate_auc
from polyp_core.runs import HISTORY_COLUMNS

THRESHOLD = 0.5  # of the history's decisions


def describe_validation(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The validation columns of the history; the AUC is NaN where a class is missing."""
    decisions, positive = probabilities >= THRESHOLD, labels == 1
    auc = estimate_auc(labels, probabilities).value
    return {
        "val_loss": binary_crossentropy(labels, probabilities),
        "val_accuracy": float((decisions == positive).mean()),
        "val_auc": math.nan if auc is None else auc,
        "val_tp": int((decisions & positive).sum()),
        "val_fp": int((decisions & ~positive).sum()),
        "val_tn": int((~decisions & ~positive).sum()),
        "val_fn": int((~decisions & positive).sum()),
    }


def append_row(history: pd.DataFrame, row: dict[str, float]) -> pd.DataFrame:
    """The history with one epoch more."""
    new = pd.DataFrame([row])[list(HISTORY_COLUMNS)]
    return new if history.empty else pd.concat([history, new], ignore_index=True)


def check_finite(row: dict[str, float], settings: TrainingConfig) -> None:
    """Refuse to go on with a loss that is no number.

    Raises:
        RunError: If it is none.
    """
    if not math.isfinite(row["loss"] + row["val_loss"]):
        raise RunError(
            f"The loss is not a number any more in epoch {row['epoch']}: the steps were too large. "
            "Expected a finite loss; the epochs before are kept. Start a new run with a lower "
            f"training.learning_rate. Received: learning_rate={settings.learning_rate:g}"
        )


def count_unbroken(history: pd.DataFrame) -> int:
    """How many epochs the history holds without a gap."""
    is_next = history["epoch"].to_numpy() == np.arange(1, len(history) + 1)
    return int(is_next.argmin()) if not is_next.all() else len(history)
