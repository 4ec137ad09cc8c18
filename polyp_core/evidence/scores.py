"""Scores of labels and probabilities that are no plain proportion; without intervals.

Where a score is undefined it is NaN here, or None in `compute_scores`; nothing warns.
"""

from dataclasses import dataclass

import numpy as np

from polyp_core.evidence.recalibration import fit_calibration

NUM_BINS = 10
_CLIP = 1e-7  # for the logarithms of the log loss, as in Keras and `metrics.binary_crossentropy`


def compute_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    weights: np.ndarray | None = None,
) -> dict[str, float | None]:
    """All scores of one level (images, or patients) that are no plain proportion.

    Args:
        labels: `(n,)` of 0 and 1; 1 is the positive class.
        probabilities: `(n,)` of the positive class, in [0, 1].
        threshold: Positive from this probability on.
        weights: `(n,)`, how many times each row counts; once, where not given. The bins of the
            calibration error are those of the rows, however they are weighted.

    Returns:
        Each None where it is undefined:
        balanced_accuracy: mean of sensitivity and specificity.
        f1: harmonic mean of sensitivity and positive predictive value.
        mcc: Matthews' correlation of answers and labels; 0 where all answers are the same.
        average_precision: precision at every positive, averaged; without interpolation.
        brier: mean squared distance of probability and label.
        log_loss: mean negative log-likelihood, probabilities clipped by 1e-7.
        calibration_slope: of a logistic regression of the labels on the logits. Below 1 the
            probabilities are too extreme.
        calibration_intercept: of the same regression with the slope fixed at 1, which is called
            calibration in the large. Below 0 the probabilities are too high.
        expected_calibration_error: mean over ten bins of equally many rows of the distance
            between mean probability and share of positives, weighted by rows.

    References: Van Calster et al., BMC Med 17:230 (2019) for slope and intercept; Naeini et al.,
    AAAI 2015 for the calibration error; Chicco and Jurman, BMC Genomics 21:6 (2020) for MCC.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    ranking = rank_rows(labels, probabilities)
    slope, intercept = fit_calibration(labels, probabilities, weights)
    found = {
        **score_counts(count_answers(labels, probabilities, threshold, weights)),
        "average_precision": average_precision(ranking, weights[None, ranking.order])[0],
        **score_losses(weights @ tabulate_losses(labels, probabilities), weights.sum()),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }
    return {name: to_number(value) for name, value in found.items()}


def to_number(value: float) -> float | None:
    """A plain float; None for what is not a finite number."""
    return float(value) if np.isfinite(value) else None


def count_answers(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, weights: np.ndarray
) -> np.ndarray:
    """True positives, false positives, true negatives, false negatives: `(4,)`."""
    places = place_answers(labels, probabilities, threshold)
    return np.bincount(places, weights=weights, minlength=4)


def place_answers(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """`(n,)` of the column of `count_answers` in which each row is counted."""
    is_wrong = (np.asarray(probabilities) >= threshold) != (np.asarray(labels) == 1)
    is_called = np.asarray(probabilities) >= threshold
    # A wrong "yes" is a false positive, a wrong "no" a false negative.
    places: np.ndarray = np.where(is_called, 0, 2) + is_wrong
    return places


def score_counts(counts: np.ndarray, prevalence: float | None = None) -> dict[str, np.ndarray]:
    """The scores that need only the four counts; NaN where a class is absent.

    Args:
        counts: `(..., 4)` as of `count_answers`.
        prevalence: Share of positives for which predictive values are wanted as well, in (0, 1).

    Returns:
        balanced_accuracy, f1, mcc, and with a prevalence ppv_at_prevalence and npv_at_prevalence:
        `(...)` each.
    """
    hits, alarms, rejections, misses = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    num_positives, num_negatives = hits + misses, alarms + rejections
    sensitivity = divide(hits, num_positives)
    specificity = divide(rejections, num_negatives)
    spread = num_positives * num_negatives * (hits + alarms) * (rejections + misses)
    products = hits * rejections - alarms * misses
    has_both = (num_positives > 0) & (num_negatives > 0)
    # All answers the same say nothing about the labels, whatever the limit is taken over.
    mcc = np.where(spread > 0, divide(products, np.sqrt(spread)), 0.0)
    scores = {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "f1": np.where(has_both, divide(2 * hits, 2 * hits + alarms + misses), np.nan),
        "mcc": np.where(has_both, mcc, np.nan),
    }
    if prevalence is not None:
        ill, well = prevalence, 1 - prevalence
        found, passed = sensitivity * ill, specificity * well
        scores["ppv_at_prevalence"] = divide(found, found + (1 - specificity) * well)
        scores["npv_at_prevalence"] = divide(passed, passed + (1 - sensitivity) * ill)
    return scores


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; NaN where it would be divided by 0, or by what is undefined itself."""
    quotient = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=quotient, where=np.asarray(below) > 0)
    return quotient


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows from the most to the least probable, and where the positives stand.

    Attributes:
        order: `(n,)` row numbers, most probable first.
        positives: `(p,)` places of the positives in that order.
        last: `(p,)` the last place with the same probability as each positive.
        last_positive: `(p,)` the same counted among the positives.
    """

    order: np.ndarray
    positives: np.ndarray
    last: np.ndarray
    last_positive: np.ndarray


def rank_rows(labels: np.ndarray, probabilities: np.ndarray) -> Ranking:
    """What `average_precision` needs of `(n,)` labels and probabilities, whatever the weights."""
    order = np.argsort(-probabilities, kind="stable")
    falling = -probabilities[order]
    positives = np.flatnonzero(labels[order] == 1)
    last = np.searchsorted(falling, falling[positives], side="right") - 1
    return Ranking(order, positives, last, np.searchsorted(positives, last, side="right") - 1)


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Average precision under several weightings of the same rows; NaN where a class is absent.

    Args:
        ranking: Of the rows.
        weights: `(s, n)` in the order of the ranking, counts as a rule. In float32 their sums stay
            exact up to 16 million.

    Returns:
        `(s,)`.
    """
    if not len(ranking.positives):
        return np.full(len(weights), np.nan)
    seen = np.cumsum(weights, axis=1)
    own = weights.take(ranking.positives, axis=1)
    found = np.cumsum(own, axis=1)
    # Where nothing has been seen nothing has been found either, and 0 / 1 adds nothing.
    below = seen.take(ranking.last, axis=1)
    below[below == 0] = 1
    precision = found.take(ranking.last_positive, axis=1)
    precision /= below
    sums = np.einsum("ij,ij->i", own, precision, dtype=np.float64)
    num_positives = found[:, -1].astype(np.float64)
    return divide(np.where(seen[:, -1] > num_positives, sums, np.nan), num_positives)


def assign_bins(probabilities: np.ndarray) -> np.ndarray:
    """`(n,)` of 0 to 9: ten bins of equally many rows; equal probabilities share a bin."""
    if not len(probabilities):
        return np.zeros(0, dtype=np.int64)
    edges = np.percentile(probabilities, np.linspace(0, 100, NUM_BINS + 1))
    return np.searchsorted(edges[1:-1], probabilities)


def tabulate_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`(n, 12)`: squared error, negative log-likelihood, and label - probability by bin."""
    residuals = labels - probabilities
    clipped = np.clip(probabilities, _CLIP, 1 - _CLIP)
    gaps = np.zeros((len(labels), NUM_BINS))
    gaps[np.arange(len(labels)), assign_bins(probabilities)] = residuals
    losses = -np.log(np.where(labels == 1, clipped, 1 - clipped))
    return np.column_stack([residuals**2, losses, gaps])


def score_losses(sums: np.ndarray, num_rows: np.ndarray) -> dict[str, np.ndarray]:
    """Brier score, log loss and expected calibration error of `(..., 12)` summed losses."""
    sums = np.asarray(sums, dtype=np.float64)
    return {
        "brier": divide(sums[..., 0], num_rows),
        "log_loss": divide(sums[..., 1], num_rows),
        "expected_calibration_error": divide(np.abs(sums[..., 2:]).sum(axis=-1), num_rows),
    }
