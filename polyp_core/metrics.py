"""Labels and probabilities become numbers with intervals. Knows no model.

Every interval is two-sided at 95 %. Intervals by image take images as independent; where one
patient has several images, the numbers by patient are the ones to quote.
"""

from dataclasses import asdict, dataclass
from math import lgamma
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

_Z = NormalDist().inv_cdf(0.975)
_T = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 4: 2.7764451}  # where the series is too rough


@dataclass(frozen=True)
class Metric:
    """A number with its 95 % interval and the count it rests on; `None` where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def estimate_proportion(hits: int, n: int) -> Metric:
    """A proportion with Wilson's score interval.

    References: Wilson, J Am Stat Assoc 22:209 (1927).
    """
    if n == 0:
        return Metric(None, None, None, 0)
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    low = 0.0 if hits == 0 else float(middle - reach)
    high = 1.0 if hits == n else float(middle + reach)
    return Metric(share, low, high, n)


def estimate_auc(labels: np.ndarray, probabilities: np.ndarray) -> Metric:
    """Area under the ROC curve with DeLong's interval.

    Where the classes are divided perfectly DeLong's variance is zero, which would claim certainty;
    there the interval is Newcombe's method 5, which stays honest.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)`; only their order counts.

    References: DeLong et al., Biometrics 44:837 (1988); Newcombe, Stat Med 25:559 (2006).
    """
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    m, n = len(positives), len(negatives)
    if m == 0 or n == 0:
        return Metric(None, None, None, m + n)
    ranks = pd.Series(np.concatenate([positives, negatives])).rank().to_numpy()
    # Share of negatives below each positive, and of positives above each negative; ties half.
    above = (ranks[:m] - pd.Series(positives).rank().to_numpy()) / n
    below = 1 - (ranks[m:] - pd.Series(negatives).rank().to_numpy()) / m
    auc = float(above.mean())
    variance = _variance_of_mean(above) + _variance_of_mean(below)
    return Metric(auc, *find_auc_interval(auc, variance, m, n), m + n)


def find_auc_interval(auc: float, variance: float, m: int, n: int) -> tuple[float, float]:
    """The interval of an AUC from its variance, or where that is none from the counts.

    Args:
        auc: In [0, 1].
        variance: Of it; zero or not a number where it cannot be known.
        m: Positives.
        n: Negatives.

    References: Newcombe, Stat Med 25:559 (2006), method 5.
    """
    if variance <= 0 or not np.isfinite(variance):
        return _newcombe_interval(auc, m, n)
    reach = _Z * float(np.sqrt(variance))
    return max(0.0, float(auc - reach)), min(1.0, float(auc + reach))


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


def evaluate(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, Metric]:
    """The numbers of one level (images, or patients).

    Args:
        labels: `(n,)` of 0 and 1; 1 is the positive class.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.

    Returns:
        accuracy, sensitivity, specificity, ppv, npv, auc, majority_accuracy (of always answering
        the more frequent class).
    """
    labels, decisions = np.asarray(labels), np.asarray(probabilities) >= threshold
    positive, n = labels == 1, len(labels)
    return {
        "accuracy": estimate_proportion(int((decisions == positive).sum()), n),
        "sensitivity": estimate_proportion(int(decisions[positive].sum()), int(positive.sum())),
        "specificity": estimate_proportion(
            int((~decisions)[~positive].sum()), int((~positive).sum())
        ),
        "ppv": estimate_proportion(int(positive[decisions].sum()), int(decisions.sum())),
        "npv": estimate_proportion(int((~positive)[~decisions].sum()), int((~decisions).sum())),
        "auc": estimate_auc(labels, np.asarray(probabilities)),
        "majority_accuracy": estimate_proportion(int(max(positive.sum(), (~positive).sum())), n),
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
    result = {"image": _to_plain(predictions, threshold)}
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


def _to_plain(rows: pd.DataFrame, threshold: float) -> dict[str, dict[str, Any]]:
    metrics = evaluate(rows["label"].to_numpy(), rows["probability"].to_numpy(), threshold)
    return {name: asdict(metric) for name, metric in metrics.items()}


def find_t_quantile(degrees: int) -> float:
    """Student's t that 2.5 % lie above, to 5e-4.

    References: the first from tables; then Abramowitz and Stegun, Handbook of mathematical
    functions (1964), 26.7.5.
    """
    if degrees in _T:
        return _T[degrees]
    terms = (
        (_Z**3 + _Z) / 4,
        (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96,
        (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384,
        (79 * _Z**9 + 776 * _Z**7 + 1482 * _Z**5 - 1920 * _Z**3 - 945 * _Z) / 92160,
    )
    return float(_Z + sum(term / degrees**power for power, term in enumerate(terms, start=1)))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _variance_of_mean(values: np.ndarray) -> float:
    return float(np.var(values, ddof=1) / len(values)) if len(values) > 1 else float("nan")


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
