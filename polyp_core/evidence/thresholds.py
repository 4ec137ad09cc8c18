"""A threshold is chosen by its purpose, and around it a band in which no answer is given.

Both are chosen on images whose labels are known, and look a little better there than on new ones:
a number at a chosen threshold is no test unless it is of other images.
"""

from typing import Any

import numpy as np
import pandas as pd

from polyp_core.calibration import compute_probabilities
from polyp_core.errors import EvidenceError
from polyp_core.evidence.goals import Band, Decision, Goal, check_target, parse_goal

__all__ = [
    "Band", "Decision", "Goal", "check_predictions", "choose_band", "choose_threshold",
    "explain_missing_band", "list_bands", "make_decision", "parse_goal",
]  # fmt: skip

_CLIP = 1e-7  # of probabilities before the logarithm, as everywhere
_SAME = 1e-8  # logits nearer than this are one place, so that rounding cannot divide them
_ROUNDING = 1e-9  # 0.07 of 100 images are 7, not a little more


def make_decision(
    labels: np.ndarray,
    probabilities: np.ndarray,
    goal: Goal,
    *,
    target_error: float | None = None,
    level: str = "image",
) -> Decision:
    """Choose threshold and, where a target is given, band; see `choose_threshold`, `choose_band`.

    Args:
        labels: `(n,)` of 0 and 1, of images or of patients.
        probabilities: `(n,)` of the positive class.
        goal: What the threshold is for.
        target_error: Share of wrong answers, in [0, 0.5]; None for no band.
        level: "image" or "patient": what the rows are.

    Raises:
        ConfigError, EvidenceError: As the two functions do.
    """
    threshold = choose_threshold(labels, probabilities, goal)
    band = None
    if target_error is not None:
        band = choose_band(labels, probabilities, threshold, target_error)
    return Decision(goal, threshold, band, target_error, level)


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, goal: Goal) -> float:
    """The threshold that serves a purpose on these images.

    It lies halfway between two neighbouring probabilities, or between the outermost one and 0
    or 1. For "sensitivity" it is the greatest that reaches it, for "specificity" the least; among
    thresholds that are equally good for "youden" or "cost" it is the least, which misses fewer.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        goal: What it is for.

    Returns:
        A probability. For "hand" the one that was given, whatever the images.

    Raises:
        EvidenceError: If a class is absent, all probabilities are equal, no threshold reaches the
            goal, or labels and probabilities are none.

    References: Youden, Cancer 3:32 (1950).
    """
    if goal.kind == "hand":
        return float(goal.value)
    labels, probabilities = check_predictions(labels, probabilities)
    num_positives = int(labels.sum())
    num_negatives = len(labels) - num_positives
    _check_both_classes(num_positives, num_negatives, probabilities)
    values, places = np.unique(probabilities, return_inverse=True)
    cuts = _place_cuts(values)
    # For each cut, from "all positive" to "none": the positives found and the false alarms.
    found = _sum_from_each_on(np.bincount(places[labels == 1], minlength=len(values)))[: len(cuts)]
    alarms = _sum_from_each_on(np.bincount(places[labels == 0], minlength=len(values)))[: len(cuts)]
    if goal.kind == "sensitivity":
        reached = np.flatnonzero(found >= goal.value * num_positives - _ROUNDING)
        return float(cuts[reached[-1]])
    if goal.kind == "specificity":
        reached = np.flatnonzero(num_negatives - alarms >= goal.value * num_negatives - _ROUNDING)
        if not len(reached):
            raise EvidenceError(
                f"No threshold reaches a specificity of {100 * goal.value:.4g} %: {alarms[-1]} of "
                f"{num_negatives} negatives have a probability of 1. Expected negatives of which "
                "the model is less sure. Choose a lower goal."
            )
        return float(cuts[reached[0]])
    if goal.kind == "youden":  # in whole numbers, so that equals are equal
        return float(cuts[np.argmax(found * num_negatives - alarms * num_positives)])
    saved = goal.value * found - alarms
    return float(cuts[np.flatnonzero(np.isclose(saved, saved.max(), rtol=1e-12, atol=1e-12))[0]])


def list_bands(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> pd.DataFrame:
    """Every band around a threshold that answers other images than the next, the narrowest first.

    A band reaches equally far to both sides, in logits: odds of 2 to 1 for and against are equally
    unsure, at whatever threshold. Probabilities are clipped by 1e-7 for that.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.

    Returns:
        distance (in logits, from the threshold to the ends), band_low, band_high, n (images that
        are answered, at least one), num_wrong (among those). The first row has distance 0 and
        answers all. No row without images.

    Raises:
        EvidenceError: If labels or probabilities are none.
    """
    labels, probabilities = check_predictions(labels, probabilities)
    is_wrong = (probabilities >= threshold) != (labels == 1)
    middle = _compute_logit(threshold)
    distances = np.abs(_compute_logit(probabilities) - middle)
    order = np.argsort(distances, kind="stable")
    distances, is_wrong = distances[order], is_wrong[order]
    first = np.flatnonzero(np.diff(distances) > _SAME) + 1  # answered from here on
    reach = (distances[first - 1] + distances[first]) / 2
    if len(labels):
        first, reach = np.append(0, first), np.append(0.0, reach)
    low, high = middle - reach, middle + reach
    # What is clipped lies at the limit, so an end beyond it holds all of that.
    limit = _compute_logit(1.0)
    bands = pd.DataFrame(
        {
            "distance": reach,
            "band_low": np.where(low <= -limit, 0.0, compute_probabilities(low, 1.0)),
            "band_high": np.where(high >= limit, 1.0, compute_probabilities(high, 1.0)),
            "n": len(labels) - first,
            "num_wrong": _sum_from_each_on(is_wrong.astype(np.int64))[first],
        }
    )
    bands.loc[bands["distance"] == 0, ["band_low", "band_high"]] = float(threshold)
    return bands


def choose_band(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, target_error: float
) -> Band | None:
    """The narrowest band outside of which no more than a share of the answers is wrong.

    It is chosen on the very images it is judged by, so on new ones expect a little more; see the
    interval that `curves.risk_coverage` gives.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.
        target_error: Share of wrong answers among those given, in [0, 0.5].

    Returns:
        The band; with both ends at the threshold, so that it holds nothing, where all answers
        together are good enough. None where no band with an answer outside reaches the target;
        `explain_missing_band` says so in words.

    Raises:
        ConfigError: If the target is out of bounds.
        EvidenceError: If labels or probabilities are none.

    References: El-Yaniv and Wiener, J Mach Learn Res 11:1605 (2010).
    """
    check_target(target_error)
    bands = list_bands(labels, probabilities, threshold)
    good = bands[bands["num_wrong"] <= target_error * bands["n"] + _ROUNDING]
    if good.empty:
        return None
    return Band(float(good["band_low"].iloc[0]), float(good["band_high"].iloc[0]))


def explain_missing_band(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, target_error: float
) -> str:
    """Why `choose_band` found none, in one sentence; "" where it found one."""
    if choose_band(labels, probabilities, threshold, target_error) is not None:
        return ""
    bands = list_bands(labels, probabilities, threshold)
    if bands.empty:
        return "No band can be chosen without images."
    best = bands.loc[(bands["num_wrong"] / bands["n"]).idxmin()]
    return (
        f"No band brings the error down to {100 * target_error:.4g} %: the best leaves "
        f"{best['num_wrong']:.0f} of {best['n']:.0f} answers wrong."
    )


def check_predictions(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as whole numbers and probabilities in 64 bit, if that is what they are.

    Raises:
        EvidenceError: If the two differ in length, a label is not 0 or 1, or a probability is not
            in [0, 1].
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.shape != probabilities.shape or labels.ndim != 1:
        raise EvidenceError(
            "Labels and probabilities do not belong together. Expected one of each an image. "
            f"Received: {labels.shape} and {probabilities.shape}. Evaluate the run again."
        )
    is_label = np.isin(labels, (0, 1))
    if not is_label.all():
        raise EvidenceError(
            f"{(~is_label).sum()} of {len(labels)} labels cannot be used. Expected 0 or 1. "
            f"Received: {labels[~is_label][0]}. Evaluate the run again."
        )
    is_probability = (probabilities >= 0) & (probabilities <= 1)  # which NaN is not
    if not is_probability.all():
        raise EvidenceError(
            f"{(~is_probability).sum()} of {len(labels)} probabilities cannot be used. Expected "
            f"0 to 1. Received: {probabilities[~is_probability][0]:g}. Evaluate the run again."
        )
    return labels.astype(np.int64), probabilities


def _check_both_classes(num_positives: int, num_negatives: int, values: np.ndarray) -> None:
    if not num_positives or not num_negatives:
        raise EvidenceError(
            "A threshold cannot be chosen with one class alone. Expected positives and negatives. "
            f"Received: {num_positives} and {num_negatives}. Set it by hand, or use other images."
        )
    if values.min() == values.max():
        raise EvidenceError(
            f"A threshold cannot be chosen: all {len(values)} have the same probability, "
            f"{values[0]:.4g}. Expected a model that tells them apart. Set it by hand, or train "
            "again."
        )


def _place_cuts(values: np.ndarray) -> np.ndarray:
    """Thresholds below, between and above rising values; none above a value of 1."""
    below, above = np.append(0.0, values), np.append(values, 1.0)
    cuts = (below + above) / 2
    # Two values may be so near that halfway is rounded to the lower one, which is not to count.
    cuts = np.where(cuts > below, cuts, above)
    return cuts[:-1] if values[-1] == 1 else cuts


def _sum_from_each_on(counts: np.ndarray) -> np.ndarray:
    return np.append(np.cumsum(counts[::-1])[::-1], 0)


def _compute_logit(probabilities: Any) -> Any:  # noqa: ANN401 - a number or an array
    clipped = np.clip(probabilities, _CLIP, 1 - _CLIP)
    return np.log(clipped / (1 - clipped))
