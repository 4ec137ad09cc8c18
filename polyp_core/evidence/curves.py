"""Labels and probabilities become the points of figures, each with its 95 % band and its n.

Where patients are given, each interval is of as many rows as its own are worth at its place, see
`clusters.count_worth`; without them rows are taken as independent. With nothing to show, as without
images, or without one of the classes where both are needed, the table is empty. Labels and
probabilities that are none are an `EvidenceError`.
"""

import heapq

import numpy as np
import pandas as pd

from polyp_core.clusters import count_worth, number_clusters
from polyp_core.evidence.bands import count_worths, cover, find_intervals, make_rise, subtract
from polyp_core.evidence.thresholds import check_predictions, list_bands

NUM_POINTS = 400
# Points here stay when a curve is thinned: near its ends a band bends where the line is straight.
_NEAR_END = 0.5 ** np.arange(7, 20)
_PLACES = np.concatenate([np.linspace(0, 1, 65), _NEAR_END, 1 - _NEAR_END])


def roc_curve(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> pd.DataFrame:
    """Sensitivity against the rate of false positives, at every threshold.

    The band tells where the curve of all patients may run above each rate of false positives. It
    is not the interval of the sensitivity at a threshold, which takes that rate as known: of 40
    positives and 10 negatives such intervals hold the curve in 50 to 77 % of trials, not in 95 %.
    At each threshold both rates are unsure, so each has an ellipse with the two Wilson intervals as
    axes, and the band is what the ellipses cover. That is the sum of both variances that one would
    take if the slope of the curve were known, and it need not be. It holds the curve in 95 to
    100 % of trials (benchmarks/curve_bands.py, which also says where images of patients are much
    alike), and costs no bootstrap.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        groups: `(n,)` patients, "" where unknown. None takes rows as independent.

    Returns:
        threshold (falling; the first is infinite, where nothing is positive), false_positive_rate,
        sensitivity, low, high (of the band), num_true_positives, num_positives,
        num_false_positives, num_negatives. At most 400 points, each exact: first, last, the one of
        the greatest sum of sensitivity and specificity, and those without which the line would
        differ most. Empty where a class is absent.

    References: Hilgers, Methods Inf Med 30:96 (1991) for a band by two intervals at each threshold;
    the variance as in Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2.
    """
    is_hit, falling, clusters = _sort_falling(labels, probabilities, groups)
    thresholds, hits, alarms = _count_from_above(is_hit, falling)
    names = [
        "threshold", "false_positive_rate", "sensitivity", "low", "high", "num_true_positives",
        "num_positives", "num_false_positives", "num_negatives",
    ]  # fmt: skip
    if not hits[-1] or not alarms[-1]:
        return pd.DataFrame(columns=names, dtype=float)
    rates, sensitivities = alarms / alarms[-1], hits / hits[-1]
    kept = _thin(rates, sensitivities, [int(np.argmax(hits * alarms[-1] - alarms * hits[-1]))])
    worths = [
        count_worths(np.ones(rows.sum(), bool), clusters[rows])[counts]
        for rows, counts in ((~is_hit, alarms), (is_hit, hits))
    ]
    intervals = (
        make_rise(*find_intervals(alarms, alarms[-1], worths[0])),
        make_rise(*find_intervals(hits, hits[-1], worths[1])),
    )
    are_related = _share_patients(is_hit, clusters)
    low, high = cover(rates, sensitivities, *intervals, rates[kept], are_related=are_related)
    columns = (
        thresholds[kept], rates[kept], sensitivities[kept], low, high, hits[kept], hits[-1],
        alarms[kept], alarms[-1],
    )  # fmt: skip
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def precision_recall_curve(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> pd.DataFrame:
    """Precision (positive predictive value) against recall (sensitivity), at every threshold.

    Precision depends on how many of the images are positive, so the curve holds for such a share.
    The band is made as that of `roc_curve`, of Wilson's intervals of both.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        groups: `(n,)` patients, "" where unknown. None takes rows as independent.

    Returns:
        threshold (falling), recall, precision, low, high (of the band), num_true_positives,
        num_positives, n (answered "positive", of which precision is a share). At most 400 points,
        chosen as by `roc_curve`; no point is invented at a recall of 0. Empty without positives.
    """
    is_hit, falling, clusters = _sort_falling(labels, probabilities, groups)
    thresholds, hits, alarms = _count_from_above(is_hit, falling)
    names = [
        "threshold", "recall", "precision", "low", "high", "num_true_positives", "num_positives",
        "n",
    ]  # fmt: skip
    if not hits[-1]:
        return pd.DataFrame(columns=names, dtype=float)
    thresholds, hits, called = thresholds[1:], hits[1:], (hits + alarms)[1:]
    recalls, precisions = hits / hits[-1], hits / called
    kept = _thin(recalls, precisions)
    found = count_worths(np.ones(hits[-1], bool), clusters[is_hit])[hits]
    right = count_worths(is_hit, clusters, is_growing=True)[called]
    intervals = (
        make_rise(*find_intervals(hits, hits[-1], found)),
        find_intervals(hits, called, right),
    )
    are_related = _share_patients(is_hit, clusters)
    low, high = cover(recalls, precisions, *intervals, recalls[kept], are_related=are_related)
    columns = (
        thresholds[kept], recalls[kept], precisions[kept], low, high, hits[kept], hits[-1],
        called[kept],
    )  # fmt: skip
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def calibration_curve(
    labels: np.ndarray,
    probabilities: np.ndarray,
    num_bins: int = 10,
    *,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """The share of positives among images of like probability.

    Bins of equally many images, as for the expected calibration error, which is the mean distance
    of mean and observed over the images. Equal probabilities share a bin, so bins may be unequal
    or fewer.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        num_bins: At least 1; take fewer for few images.
        groups: `(n,)` patients, "" where unknown. None takes rows as independent.

    Returns:
        mean_probability, observed, low, high (Wilson), n, from_probability, to_probability (the
        least and greatest in the bin), num_positives. Of one class as well; empty without images.
    """
    labels, probabilities = check_predictions(labels, probabilities)
    table = pd.DataFrame({"label": labels, "probability": probabilities})
    edges = np.zeros(2)
    if len(table):
        edges = np.percentile(probabilities, np.linspace(0, 100, num_bins + 1))
    bins = np.searchsorted(edges[1:-1], probabilities)
    found = table.groupby(bins).agg(
        mean_probability=("probability", "mean"),
        n=("label", "size"),
        num_positives=("label", "sum"),
        from_probability=("probability", "min"),
        to_probability=("probability", "max"),
    )
    clusters, worths = number_clusters(groups, len(labels)), []
    for place in found.index:
        _, own = np.unique(clusters[bins == place], return_inverse=True)
        worths.append(count_worth(labels[bins == place].astype(float), own))
    counts = found["num_positives"].to_numpy(), found["n"].to_numpy()
    low, high = find_intervals(*counts, np.array(worths))
    found = found.assign(observed=found["num_positives"] / found["n"], low=low, high=high)
    names = [
        "mean_probability", "observed", "low", "high", "n", "from_probability", "to_probability",
        "num_positives",
    ]  # fmt: skip
    return found[names].reset_index(drop=True)


def decision_curve(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> pd.DataFrame:
    """Net benefit of the model, of treating all and of treating none, at each threshold.

    Who treats from a probability t on holds a missed positive for (1 - t) / t times as bad as a
    treated negative. Net benefit is the share of true positives, less the share of false positives
    times t / (1 - t): 0.1 is worth as much as 10 treated positives in 100 images and no treated
    negative.

    The band is of Wilson's intervals of both shares, put together as for a difference of two
    shares that exclude each other. The plain standard error would claim certainty where few images
    or none are treated.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1]; they must be calibrated.
        groups: `(n,)` patients, "" where unknown. None takes rows as independent.

    Returns:
        threshold (0.01 to 0.99), net_benefit, low, high (of the model's), net_benefit_of_all,
        net_benefit_of_none (0), num_true_positives, num_false_positives, n. Empty where a class is
        absent.

    References: Vickers and Elkin, Med Decis Making 26:565 (2006); for the band Zou, Psychol Methods
    12:399 (2007), the general form of Newcombe's, Stat Med 17:2635 (1998), method 10.
    """
    is_hit, falling, clusters = _sort_falling(labels, probabilities, groups)
    n, num_positives = len(is_hit), int(is_hit.sum())
    is_defined = 0 < num_positives < n
    thresholds = np.arange(1, 100) / 100 if is_defined else np.zeros(0)
    weights = thresholds / (1 - thresholds)
    hits, alarms = (
        len(values) - np.searchsorted(np.sort(values), thresholds, side="left")
        for values in (falling[is_hit], falling[~is_hit])
    )
    worths = [
        count_worths(rows, clusters)[hits + alarms] for rows in (is_hit, ~is_hit, np.ones(n, bool))
    ]
    low, high = subtract(hits, alarms, max(n, 1), weights, worths)
    share = num_positives / max(n, 1)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "net_benefit": (hits - weights * alarms) / max(n, 1),
            "low": low,
            "high": high,
            "net_benefit_of_all": share - weights * (1 - share),
            "net_benefit_of_none": np.zeros(len(thresholds)),
            "num_true_positives": hits,
            "num_false_positives": alarms,
            "n": n,
        }
    )


def probability_histogram(
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = 20
) -> pd.DataFrame:
    """How the probabilities of each class are spread.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        num_bins: Equally wide bins of [0, 1], at least 1.

    Returns:
        bin (its middle), from_probability, to_probability (itself in the next bin, but for the
        last), label, count, n (of the class): the bins of label 0, then those of label 1. Empty
        without images.
    """
    labels, probabilities = check_predictions(labels, probabilities)
    edges = np.arange(num_bins + 1) / num_bins
    tables = []
    for label in (0, 1):
        counts, _ = np.histogram(probabilities[labels == label], edges)
        tables.append(
            pd.DataFrame(
                {
                    "bin": (edges[:-1] + edges[1:]) / 2,
                    "from_probability": edges[:-1],
                    "to_probability": edges[1:],
                    "label": label,
                    "count": counts,
                    "n": int(counts.sum()),
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table if len(labels) else table.iloc[:0]


def risk_coverage(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    *,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """The share of wrong answers, if only those images are answered that lie farthest out.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.
        groups: `(n,)` patients, "" where unknown. None takes rows as independent.

    Returns:
        coverage (share of images answered, rising to 1), error, low, high (Wilson), distance (from
        the threshold to the ends of the band without an answer, in logits), band_low, band_high,
        n (answered), num_wrong. At most 400 points, chosen as by `roc_curve`. Of one class as well;
        empty without images.

    Raises:
        EvidenceError: If labels or probabilities are none.

    References: El-Yaniv and Wiener, J Mach Learn Res 11:1605 (2010).
    """
    bands = list_bands(labels, probabilities, threshold)
    labels, probabilities = check_predictions(labels, probabilities)
    # The further out, the more bands leave a row answered, and the earlier it joins.
    num_narrower = np.maximum(
        np.searchsorted(bands["band_high"], probabilities),
        np.searchsorted(-bands["band_low"], -probabilities),
    )
    order = np.argsort(-num_narrower, kind="stable")
    is_wrong = (probabilities >= threshold) != (labels == 1)
    clusters = number_clusters(groups, len(labels))
    worths = count_worths(is_wrong[order], clusters[order], is_growing=True)
    bands = bands.iloc[::-1].reset_index(drop=True)
    counts = bands["num_wrong"].to_numpy(), bands["n"].to_numpy()
    low, high = find_intervals(*counts, worths[bands["n"]])
    table = bands.assign(
        coverage=bands["n"] / max(len(labels), 1),
        error=bands["num_wrong"] / bands["n"],
        low=low,
        high=high,
    )
    kept = _thin(table["coverage"].to_numpy(), table["error"].to_numpy())
    names = [
        "coverage", "error", "low", "high", "distance", "band_low", "band_high", "n", "num_wrong",
    ]  # fmt: skip
    return table.loc[kept, names].reset_index(drop=True)


def _sort_falling(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows are positive, their falling probabilities, and whose rows they are."""
    labels, probabilities = check_predictions(labels, probabilities)
    clusters = number_clusters(groups, len(labels))
    order = np.argsort(-probabilities, kind="stable")
    return labels[order] == 1, probabilities[order], clusters[order]


def _share_patients(is_hit: np.ndarray, clusters: np.ndarray) -> bool:
    """Whether a patient has rows of both classes."""
    return bool(np.isin(clusters[is_hit], clusters[~is_hit]).any())


def _count_from_above(
    is_hit: np.ndarray, falling: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Falling thresholds, and the true and false positives from each on; the first is infinite."""
    last = np.flatnonzero(np.append(np.diff(falling) != 0, [True] * min(1, len(falling))))
    hits = np.append(0, np.cumsum(is_hit)[last])
    called = np.append(0, last + 1)
    return np.append(np.inf, falling[last]), hits, called - hits


def _thin(x: np.ndarray, y: np.ndarray, needed: list[int] | None = None) -> np.ndarray:
    """Numbers of at most 400 points whose line is nearest to the line of all.

    About 90 are spread over `x`. Then, again and again, the point is kept that lies farthest from
    the line of those kept so far, as Douglas and Peucker do; so a corner stays a corner.

    Args:
        x: `(n,)`, rising.
        y: `(n,)`.
        needed: Points that stay in any case, besides the first and the last.

    References: Douglas and Peucker, Cartographica 10:112 (1973).
    """
    if len(x) <= NUM_POINTS:
        return np.arange(len(x))
    x, y = x / (np.ptp(x) or 1.0), y / (np.ptp(y) or 1.0)
    spread = np.searchsorted(x, x[0] + _PLACES * (x[-1] - x[0]))
    kept = sorted({0, len(x) - 1, *(needed or []), *spread.clip(max=len(x) - 1).tolist()})
    waiting = [_find_farthest(x, y, *ends) for ends in zip(kept, kept[1:], strict=False)]
    heapq.heapify(waiting)
    while waiting and len(kept) < NUM_POINTS:
        nearness, point, start, end = heapq.heappop(waiting)
        if nearness == 0:
            break
        kept.append(point)
        for part in ((start, point), (point, end)):
            heapq.heappush(waiting, _find_farthest(x, y, *part))
    return np.array(sorted(kept))


def _find_farthest(
    x: np.ndarray, y: np.ndarray, start: int, end: int
) -> tuple[float, int, int, int]:
    """The point between two that lies farthest from their line: minus its distance first."""
    if end - start < 2:
        return 0.0, start, start, end
    right, up = x[end] - x[start], y[end] - y[start]
    inside = slice(start + 1, end)
    distances = np.abs(right * (y[inside] - y[start]) - up * (x[inside] - x[start]))
    farthest = int(distances.argmax())
    length = float(np.hypot(right, up)) or 1.0
    distance = float(distances[farthest]) / length
    return (-distance if distance > 1e-9 else 0.0), start + 1 + farthest, start, end
