"""All numbers of a table of predictions, by image and by patient, each with its 95 % interval.

What moves with the threshold and what does not are described apart, so that a page can move the
threshold at once: `describe_at_threshold` and `describe_probabilities`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.clusters import number_clusters
from polyp_core.errors import ConfigError
from polyp_core.evidence import bootstrap
from polyp_core.evidence.recalibration import (
    explain_classes,
    explain_intercept,
    explain_slope,
)
from polyp_core.evidence.scores import (
    compute_scores,
    count_answers,
    score_counts,
    to_number,
)
from polyp_core.metrics import Metric, estimate_auc, estimate_share, evaluate, pool_patients

# Every number in the order of a page, and how its interval is found. Where patients have several
# images, Wilson's and DeLong's are those of whole patients (design effect; Obuchowski 1997).
INTERVALS = {
    "accuracy": "Wilson",
    "balanced_accuracy": "bootstrap",
    "sensitivity": "Wilson",
    "specificity": "Wilson",
    "ppv": "Wilson",
    "npv": "Wilson",
    "ppv_at_prevalence": "bootstrap",
    "npv_at_prevalence": "bootstrap",
    "f1": "bootstrap",
    "mcc": "bootstrap",
    "auc": "DeLong",
    "average_precision": "bootstrap",
    "brier": "bootstrap",
    "log_loss": "bootstrap",
    "calibration_slope": "bootstrap",
    "calibration_intercept": "bootstrap",
    "expected_calibration_error": "bootstrap",
    "majority_accuracy": "Wilson",
}
_EMPTY = {  # why a share of nothing is undefined
    "accuracy": "There are no {unit}s to judge.",
    "sensitivity": "No {unit} is positive.",
    "specificity": "No {unit} is negative.",
    "ppv": "No {unit} is called positive at this threshold.",
    "npv": "No {unit} is called negative at this threshold.",
}
_CERTAIN = "Every probability is 0 or 1 and right, so that no resample shows an error."
_UNDECIDED = "In most resamples it is undefined."
Plain = dict[str, Any]  # value, low, high, n; with "reason" where one of the first three is None


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """What is judged one by one: images, or patients.

    Attributes:
        unit: "image" or "patient".
        cluster_unit: What is drawn whole by the bootstrap: "patient" where patients are known.
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` in [0, 1].
        clusters: `(n,)` of 0 to c - 1: whose row it is.
    """

    unit: str
    cluster_unit: str
    labels: np.ndarray
    probabilities: np.ndarray
    clusters: np.ndarray

    def count_clusters(self, label: int | None = None) -> int:
        """How many clusters there are, or how many with rows of a label."""
        return len(
            np.unique(self.clusters if label is None else self.clusters[self.labels == label])
        )


def describe_predictions(
    predictions: pd.DataFrame,
    threshold: float,
    *,
    prevalence: float | None = None,
    num_samples: int = bootstrap.NUM_SAMPLES,
) -> dict[str, dict[str, Plain]]:
    """Every number of a table of predictions.

    Args:
        predictions: Columns `label`, `probability` and, where known, `group` ("" unknown). Rows
            without a label of 0 or 1 or without a probability in [0, 1] do not count.
        threshold: Positive from this probability on.
        prevalence: Share of positives, in (0, 1), for which predictive values are wanted as well.
        num_samples: How many bootstrap samples.

    Returns:
        `{"image": {name: {"value", "low", "high", "n"}}, "patient": {...}}`, ready for JSON, names
        as in `INTERVALS`; "patient" only where every image's patient is known. Where a value or
        its interval is undefined it is None, and "reason" is a sentence that says why.

    Raises:
        ConfigError: If the prevalence is not between 0 and 1.
    """
    levels = split_levels(predictions)
    moving = describe_at_threshold(
        levels, threshold, prevalence=prevalence, num_samples=num_samples
    )
    fixed = describe_probabilities(levels, num_samples=num_samples)
    return {name: _sort(moving[name] | fixed[name]) for name in levels}


def split_levels(predictions: pd.DataFrame) -> dict[str, Level]:
    """What is judged by image and, where every image's patient is known, by patient.

    Args:
        predictions: As for `describe_predictions`.

    Returns:
        "image", and "patient" as pooled by `metrics.pool_patients`.
    """
    groups = predictions.get("group", "")
    rows = pd.DataFrame(
        {
            "label": pd.to_numeric(predictions["label"], errors="coerce"),
            "probability": pd.to_numeric(predictions["probability"], errors="coerce"),
            "group": groups,
        },
        index=predictions.index,
    )
    rows["group"] = rows["group"].fillna("").astype(str)
    rows = rows[rows["label"].isin((0, 1)) & rows["probability"].between(0, 1)]
    levels = {"image": _make_level("image", rows, rows["group"])}
    patients = pool_patients(rows)
    if patients is not None:
        levels["patient"] = _make_level("patient", patients, patients["group"])
    return levels


def describe_at_threshold(
    levels: Mapping[str, Level],
    threshold: float,
    *,
    prevalence: float | None = None,
    num_samples: int = bootstrap.NUM_SAMPLES,
) -> dict[str, dict[str, Plain]]:
    """The numbers of each level that move with the threshold; fast.

    Args:
        levels: From `split_levels`.
        threshold: Positive from this probability on.
        prevalence: As for `describe_predictions`.
        num_samples: How many bootstrap samples.

    Raises:
        ConfigError: If the prevalence is not between 0 and 1.
    """
    check_prevalence(prevalence)
    return {
        name: _describe_answers(level, threshold, prevalence, num_samples)
        for name, level in levels.items()
    }


def check_prevalence(prevalence: float | None) -> None:
    """Refuse what is no share.

    Raises:
        ConfigError: If it is not between 0 and 1.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise ConfigError(
            "The prevalence has to lie between 0 and 1, both left out: it is the share of "
            f"positives, such as 0.1 for one in ten. It was {prevalence}. Enter another share."
        )


def describe_probabilities(
    levels: Mapping[str, Level], *, num_samples: int = bootstrap.NUM_SAMPLES
) -> dict[str, dict[str, Plain]]:
    """The numbers of each level that no threshold changes; to be computed once.

    Args:
        levels: From `split_levels`.
        num_samples: How many bootstrap samples.
    """
    return {name: _describe_ranking(level, num_samples) for name, level in levels.items()}


def _make_level(unit: str, rows: pd.DataFrame, groups: pd.Series) -> Level:
    has_group = (groups != "").to_numpy()
    clusters = number_clusters(groups.to_numpy(), len(rows))
    return Level(
        unit=unit,
        cluster_unit="patient" if has_group.any() else "image",
        labels=rows["label"].to_numpy(np.int64),
        probabilities=rows["probability"].to_numpy(np.float64),
        clusters=clusters,
    )


def _describe_answers(
    level: Level, threshold: float, prevalence: float | None, num_samples: int
) -> dict[str, Plain]:
    labels, probabilities, n = level.labels, level.probabilities, len(level.labels)
    described = {
        name: _to_plain(metric, _EMPTY[name].format(unit=level.unit))
        for name, metric in evaluate(labels, probabilities, threshold, level.clusters).items()
        if name in _EMPTY
    }
    counts = count_answers(labels, probabilities, threshold, np.ones(n))
    undefined, few = explain_classes(labels, level.unit), _explain_few_of_a_class(level)
    intervals: dict[str, bootstrap.Interval | None] = {}
    if not undefined and not few:
        samples = bootstrap.resample_counts(
            labels, probabilities, threshold, level.clusters, num_samples
        )
        num_clusters = level.count_clusters(0), level.count_clusters(1)
        intervals = bootstrap.find_count_intervals(counts, samples, num_clusters, prevalence)
    for name, value in score_counts(counts, prevalence).items():
        reason = undefined or few or _UNDECIDED
        if not undefined and not np.isfinite(value):  # a predictive value: "ppv" or "npv"
            reason = _EMPTY[name[:3]].format(unit=level.unit)
        described[name] = _join(to_number(float(value)), intervals.get(name), n, reason)
    return described


def _describe_ranking(level: Level, num_samples: int) -> dict[str, Plain]:
    labels, probabilities, unit = level.labels, level.probabilities, level.unit
    one_class, n = explain_classes(labels, unit), len(labels)
    is_majority = labels == int(2 * (labels == 1).sum() > n)
    described = {
        "auc": _to_plain(estimate_auc(labels, probabilities, level.clusters), one_class),
        "majority_accuracy": _to_plain(estimate_share(is_majority, level.clusters), one_class),
    }
    few, few_of_a_class = _explain_few(level), _explain_few_of_a_class(level)
    reasons = {
        "average_precision": one_class or few_of_a_class,
        "brier": few,
        "log_loss": few,
        "calibration_slope": explain_slope(labels, probabilities, unit) or few_of_a_class,
        "calibration_intercept": explain_intercept(labels, probabilities, unit) or few_of_a_class,
        "expected_calibration_error": few,
    }
    samples = {}
    if not few:
        samples = bootstrap.resample_scores(labels, probabilities, level.clusters, num_samples)
    sizes = level.count_clusters(), level.count_clusters(1)
    scores = compute_scores(labels, probabilities, threshold=0.5)
    for name, reason in reasons.items():
        value, interval = scores[name], None
        if value is not None and not reason:
            interval = bootstrap.find_score_interval(name, value, samples, *sizes)
        unsaid = _CERTAIN if name == "log_loss" else _UNDECIDED
        described[name] = _join(value, interval, n, reason or unsaid)
    return described


def _explain_few(level: Level) -> str:
    """Why no interval can be had by resampling; "" where one can."""
    if not len(level.labels):
        return explain_classes(level.labels, level.unit)
    if level.count_clusters() > 1:
        return ""
    return f"There is only one {level.cluster_unit}; an interval needs at least two."


def _explain_few_of_a_class(level: Level) -> str:
    """The same for what compares the two classes."""
    negatives, positives = level.count_clusters(0), level.count_clusters(1)
    if min(negatives, positives) > 1:
        return ""
    return (
        f"An interval needs at least two {level.cluster_unit}s of each class; there are "
        f"{positives} positive and {negatives} negative."
    )


def _to_plain(metric: Metric, reason: str) -> Plain:
    return asdict(metric) | ({"reason": reason} if metric.value is None else {})


def _join(value: float | None, interval: bootstrap.Interval | None, n: int, reason: str) -> Plain:
    low, high = interval or (None, None)
    plain: Plain = {"value": value, "low": low, "high": high, "n": n}
    return plain | ({"reason": reason} if low is None else {})


def _sort(numbers: Mapping[str, Plain]) -> dict[str, Plain]:
    return {name: numbers[name] for name in INTERVALS if name in numbers}
