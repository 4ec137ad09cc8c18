"""Labels and probabilities become numbers with intervals. Knows no model.

Every interval is two-sided at 95 %. Where one patient has several images, the numbers by patient
are the ones to quote; the intervals by image are those of whole patients.
"""

from dataclasses import asdict, dataclass
from math import lgamma
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.clusters import (
    NOTHING,
    count_patients,
    count_worth,
    find_auc_variance,
    find_t_quantile,
    find_wilson,
    number_clusters,
    place_rows,
)

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Metric:
    """A number with its 95 % interval and the count it rests on; `None` where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def estimate_proportion(hits: int, n: int, worth: float | None = None) -> Metric:
    """A proportion with Wilson's score interval.

    Args:
        hits: How many of them.
        n: Of how many.
        worth: How many independent ones these are worth, see `count_worth`; None for all.

    References: Wilson, J Am Stat Assoc 22:209 (1927).
    """
    if n == 0:
        return Metric(None, None, None, 0)
    low, share, high = find_wilson(hits / n, n if worth is None else worth)
    return Metric(share, low if hits else 0.0, high if hits < n else 1.0, n)


def estimate_share(is_hit: np.ndarray, clusters: np.ndarray | None = None) -> Metric:
    """A proportion of rows with Wilson's interval, for as many rows as their patients are worth.

    Args:
        is_hit: `(n,)` of bool.
        clusters: `(n,)`, whose row it is; None where each is of somebody else.
    """
    worth = None
    if clusters is not None and len(is_hit):
        _, clusters = np.unique(clusters, return_inverse=True)
        worth = count_worth(is_hit.astype(float), clusters)
    return estimate_proportion(int(is_hit.sum()), len(is_hit), worth)


def estimate_auc(
    labels: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray | None = None
) -> Metric:
    """Area under the ROC curve with DeLong's interval, or Obuchowski's of whole patients.

    The latter is in logits, by Student's t with the patients of the smaller class: where these are
    few DeLong's way holds the truth far too seldom.

    Where the classes are divided perfectly the variance is zero, which would claim certainty;
    there the interval is Newcombe's method 5, by as many patients as there are.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)`; only their order counts.
        clusters: `(n,)`, whose row it is; None where each is of somebody else.

    References: DeLong et al., Biometrics 44:837 (1988); Obuchowski, Biometrics 53:567 (1997);
    Qin and Hotilovac, Stat Methods Med Res 17:207 (2008) for logits; Newcombe, Stat Med 25:559
    (2006).
    """
    is_positive = labels == 1
    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if m == 0 or n == 0:
        return Metric(None, None, None, m + n)
    if clusters is None:
        clusters = np.arange(m + n)
    else:
        _, clusters = np.unique(clusters, return_inverse=True)
    placed = place_rows(is_positive, probabilities)
    auc = float(placed[is_positive].mean())
    shares = (placed - auc) / np.where(is_positive, m, n)
    variance = find_auc_variance(shares, is_positive, clusters)
    counts = [count_patients(clusters[rows]) for rows in (is_positive, ~is_positive)]
    if not variance > NOTHING:  # or not a number, as of one patient of a class
        return Metric(auc, *_newcombe_interval(auc, *counts), m + n)
    error = float(np.sqrt(variance))
    if count_patients(clusters) < m + n:
        odds = auc / (1 - auc)
        factor = float(np.exp(find_t_quantile(min(counts) - 1) * error / (auc * (1 - auc))))
        return Metric(auc, odds / (odds + factor), odds / (odds + 1 / factor), m + n)
    reach = _Z * error
    return Metric(auc, max(0.0, auc - reach), min(1.0, auc + reach), m + n)


def estimate_p_value(labels: np.ndarray, values: np.ndarray) -> float:
    """How often values that know nothing of the labels would have an AUC as far from one half.

    The Wilcoxon-Mann-Whitney test, two-sided, by its normal approximation with ties. For the
    question whether there is anything at all it is safer than DeLong's interval, which is too
    narrow where a class has few images. For marks that are there or not, see
    `estimate_exact_p_value`.

    Args:
        labels: `(n,)` of 0 and 1.
        values: `(n,)`; only their order counts.

    References: Mann and Whitney, Ann Math Stat 18:50 (1947); ties as in Lehmann, Nonparametrics
    (1975), section 1.4.
    """
    ranks = pd.Series(values).rank()
    n, m = len(ranks), int((labels == 1).sum())
    ties = ranks.value_counts().to_numpy().astype(float)
    if n < 2:
        return 1.0
    variance = m * (n - m) / 12 * (n + 1 - (ties**3 - ties).sum() / (n * (n - 1)))
    if variance <= 0:  # one class alone, or a constant
        return 1.0
    distance = abs(ranks[labels == 1].sum() - m * (n + 1) / 2)
    return 2 * NormalDist().cdf(-distance / np.sqrt(variance))


def estimate_exact_p_value(labels: np.ndarray, is_marked: np.ndarray) -> float:
    """How often marks that know nothing of the labels would be as unevenly shared as these.

    Fisher's exact test, two-sided. For marks it is never wrong more often than it says, where the
    normal approximation of `estimate_p_value` is if marks or one of the labels are rare.

    Args:
        labels: `(n,)` of 0 and 1.
        is_marked: `(n,)` of bool.

    References: Fisher, J R Stat Soc 85:87 (1922).
    """
    n, m, k = len(labels), int((labels == 1).sum()), int(is_marked.sum())
    # Each number of positives that could be among the marked, and how probable it is.
    possible = np.arange(max(0, m + k - n), min(m, k) + 1)
    ways = [_log_choose(m, hits) + _log_choose(n - m, k - hits) for hits in possible.tolist()]
    probabilities = np.exp(np.array(ways) - _log_choose(n, k))
    seen = probabilities[possible == is_marked[labels == 1].sum()]
    # What differs by rounding alone counts as equally probable.
    return min(1.0, float(probabilities[probabilities <= seen * (1 + 1e-7)].sum()))


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    clusters: np.ndarray | None = None,
) -> dict[str, Metric]:
    """The numbers of one level (images, or patients).

    Args:
        labels: `(n,)` of 0 and 1; 1 is the positive class.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.
        clusters: `(n,)`, whose row it is; None where each is of somebody else.

    Returns:
        accuracy, sensitivity, specificity, ppv, npv, auc, majority_accuracy (of always answering
        the more frequent class).
    """
    labels, is_called = np.asarray(labels), np.asarray(probabilities) >= threshold
    is_positive = labels == 1

    def estimate(is_hit: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Metric:
        return estimate_share(is_hit[rows], None if clusters is None else clusters[rows])

    return {
        "accuracy": estimate(is_called == is_positive),
        "sensitivity": estimate(is_called, is_positive),
        "specificity": estimate(~is_called, ~is_positive),
        "ppv": estimate(is_positive, is_called),
        "npv": estimate(~is_positive, ~is_called),
        "auc": estimate_auc(labels, np.asarray(probabilities), clusters),
        "majority_accuracy": estimate(is_positive == (2 * is_positive.sum() > len(labels))),
    }


def evaluate_predictions(predictions: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """The numbers by image and, where patients are known, by patient.

    A patient's probability is the mean over the patient's images. A patient with images of both
    classes is left out.

    Args:
        predictions: Columns `label`, `probability`, `group`.
        threshold: Positive from this probability on.

    Returns:
        `{"image": {name: {"value", "low", "high", "n"}}, "patient": {...}}`, ready for JSON.
    """
    clusters = number_clusters(predictions["group"].to_numpy(), len(predictions))
    result = {"image": _to_plain(predictions, threshold, clusters)}
    patients = pool_patients(predictions)
    if patients is not None:
        result["patient"] = _to_plain(patients, threshold)
    return result


def pool_patients(predictions: pd.DataFrame) -> pd.DataFrame | None:
    """One row a patient: `group`, `label`, mean `probability`, `num_images`; or None if unknown.

    A patient with images of both classes has no label and is left out.
    """
    if predictions.empty or (predictions["group"] == "").any():
        return None
    labels = predictions.groupby("group")["label"].transform("nunique")
    if (labels > 1).all():
        return None
    return (
        predictions[labels == 1]
        .groupby("group")
        .agg(
            label=("label", "first"),
            probability=("probability", "mean"),
            num_images=("label", "size"),
        )
        .reset_index()
    )


def binary_crossentropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood; probabilities clipped by 1e-7 as in Keras."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(np.asarray(labels) == 1, np.log(clipped), np.log(1 - clipped))))


def _to_plain(
    rows: pd.DataFrame, threshold: float, clusters: np.ndarray | None = None
) -> dict[str, dict[str, Any]]:
    labels, probabilities = rows["label"].to_numpy(), rows["probability"].to_numpy()
    metrics = evaluate(labels, probabilities, threshold, clusters)
    return {name: asdict(metric) for name, metric in metrics.items()}


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _newcombe_interval(auc: float, m: int, n: int) -> tuple[float, float]:
    def reaches(candidate: float) -> bool:
        """Whether the interval around `auc` still holds `candidate`."""
        pairs = (m + n) / 2 - 1
        spread = 1 + pairs * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        return (candidate - auc) ** 2 <= _Z**2 * candidate * (1 - candidate) / (m * n) * spread

    def search(outside: float) -> float:
        inside = auc
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if reaches(middle) else (inside, middle)
        return inside

    low = 0.0 if auc == 0 else search(0.0)
    high = 1.0 if auc == 1 else search(1.0)
    return low, high
