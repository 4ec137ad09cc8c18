"""Which of the judged images are shown, and in what order: by mistake, by confidence, by name."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from polyp_core.evidence.goals import Band
from polyp_core.reviews import Key, Review

NUM_UNSURE = 24  # images nearest to the threshold, where no band is in use
GROUPS = {
    "false positives": "False positives",
    "false negatives": "False negatives",
    "unsure": "Unsure",
    "right": "Right ones",
}
SORTS = {
    "most": "Most confident first",
    "least": "Least confident first",
    "patient": "By patient",
    "name": "By file name",
}
_CLIP = 1e-7


def sort_out(
    table: pd.DataFrame, threshold: float, band: Band | None = None
) -> dict[str, pd.DataFrame]:
    """The images of each group; those that are unsure stand in another group as well.

    Args:
        table: `label` and `probability`.
        threshold: Positive from this probability on.
        band: Those within are unsure; without, the `NUM_UNSURE` nearest to the threshold are.

    Returns:
        Rows by the keys of `GROUPS`.
    """
    is_called = table["probability"].to_numpy() >= threshold
    is_positive = table["label"].to_numpy() == 1
    if band is None:
        confidence = measure_confidence(table["probability"].to_numpy(), threshold)
        unsure = np.sort(np.argsort(confidence, kind="stable")[:NUM_UNSURE])
    else:
        unsure = np.flatnonzero(band.holds(table["probability"].to_numpy()))
    return {
        "false positives": table[is_called & ~is_positive],
        "false negatives": table[~is_called & is_positive],
        "unsure": table.iloc[unsure],
        "right": table[is_called == is_positive],
    }


def measure_confidence(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """How far probabilities lie from the threshold, in logits, so that both sides compare."""
    both = np.clip(np.append(probabilities, threshold).astype(float), _CLIP, 1 - _CLIP)
    logits = np.log(both / (1 - both))
    return np.asarray(np.abs(logits[:-1] - logits[-1]))


def arrange(table: pd.DataFrame, sort: str, threshold: float) -> pd.DataFrame:
    """Rows in the order of one of `SORTS`; a 9 in a name comes before a 10."""
    if sort in ("patient", "name"):
        numbers = {"pat": r"\d+", "repl": lambda found: found[0].zfill(12), "regex": True}
        table = table.iloc[np.argsort(table["path"].str.replace(**numbers), kind="stable")]
    if sort == "name":
        return table
    confidence = measure_confidence(table["probability"].to_numpy(), threshold)
    table = table.iloc[np.argsort(confidence if sort == "least" else -confidence, kind="stable")]
    if sort == "patient":
        table = table.iloc[np.argsort(table["group"].str.replace(**numbers), kind="stable")]
    return table


def find_images(
    table: pd.DataFrame, text: str, reviews: Mapping[Key, Review] | None = None
) -> pd.DataFrame:
    """Rows whose path or patient holds a text, whatever its case; of the reviewed ones if given."""
    is_found = np.ones(len(table), bool)
    if text:
        for column in ("path", "group"):
            lower = table[column].str.lower()
            holds = lower.str.contains(text.lower(), regex=False).to_numpy(bool)
            is_found = holds if column == "path" else is_found | holds
    if reviews is not None:
        keys = zip(table["path"], table["frame"], strict=True)
        is_found = is_found & np.array([key in reviews for key in keys], bool)
    return table[is_found]
