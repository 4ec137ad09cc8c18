"""The 95 % bands of curves: Wilson's intervals at every threshold at once, and what they cover."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from polyp_core.clusters import FEWEST, count_patients, find_t_quantile

_Z = NormalDist().inv_cdf(0.975)


def count_worths(
    is_hit: np.ndarray, clusters: np.ndarray, *, is_growing: bool = False
) -> np.ndarray:
    """`clusters.count_worth` of a share, as it is after each of the rows has joined.

    A row changes the sums that it needs by what its own patient has so far, so one pass gives all
    thresholds exactly and none need be left out.

    Args:
        is_hit: `(n,)` of bool, in the order in which the rows join.
        clusters: `(n,)`, the patient of each, as numbers from 0 on.
        is_growing: Whether the share is of those that have joined, as a precision, or of all rows,
            of which none that is yet to join is a hit, as a sensitivity.

    Returns:
        `(n + 1,)`, the first before any has joined.
    """
    n, num_joined = len(clusters), np.arange(len(clusters) + 1)
    num_rows = num_joined.clip(min=1) if is_growing else np.full(n + 1, n)
    if count_patients(clusters) == n:
        return num_rows.astype(float)
    own = pd.Series(is_hit.astype(np.int64)).groupby(clusters)
    hits_before, rows_before = own.cumsum().to_numpy() - is_hit, own.cumcount().to_numpy()
    hits, hit_squares = _sum_up(is_hit), _sum_up(is_hit * (2 * hits_before + 1))
    if is_growing:
        num_patients = _sum_up(rows_before == 0)
        squares = _sum_up(2 * rows_before + 1).clip(min=1)
        with_misses = _sum_up(~is_hit & (rows_before == hits_before))
        products = _sum_up(hits_before + is_hit * (rows_before + 1))
    else:
        sizes = np.bincount(clusters)
        num_patients = np.full(n + 1, np.count_nonzero(sizes))
        squares = np.full(n + 1, (sizes**2).sum())
        with_misses = num_patients - _sum_up(is_hit & (hits_before + 1 == sizes[clusters]))
        products = _sum_up(is_hit * sizes[clusters])
    worths: np.ndarray = num_rows**2 / squares
    with_hits = _sum_up(is_hit & (hits_before == 0))
    standing_out = np.where(2 * hits <= num_rows, with_hits, with_misses)
    is_unsure = (num_patients < num_rows) & (standing_out >= FEWEST)
    least, rows, share = worths[is_unsure], num_rows[is_unsure], (hits / num_rows)[is_unsure]
    seen = hit_squares[is_unsure] - 2 * share * products[is_unsure] + share**2 * squares[is_unsure]
    expected = share * (1 - share) * rows**2 / (rows - 1)
    effects = np.maximum(1, seen * least / (least - 1) / expected)
    degrees, number = np.unique((least.astype(int) - 1).clip(min=1), return_inverse=True)
    quantiles = np.array([find_t_quantile(int(few)) for few in degrees])[number]
    worths[is_unsure] = np.maximum(least, rows / effects * (_Z / quantiles) ** 2)
    return worths


def _sum_up(values: np.ndarray) -> np.ndarray:
    """The sums of the first 0, 1, 2 … values."""
    return np.append(0, np.cumsum(values))


def find_intervals(
    hits: np.ndarray, n: np.ndarray | int, worth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's intervals of many proportions; see `metrics.estimate_proportion`.

    Args:
        hits: `(k,)`, how many of them.
        n: `(k,)` or one number, of how many; not 0.
        worth: `(k,)`, how many independent ones these are worth, as of `count_worths`.

    Returns:
        `(k,)` low and high, around `hits / n`.
    """
    share, square = hits / n, _Z**2 / worth
    middle = (share + square / 2) / (1 + square)
    reach = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return np.where(hits == 0, 0.0, middle - reach), np.where(hits == n, 1.0, middle + reach)


def make_rise(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The intervals of a rate that rises with each row called, so that their ends rise as well.

    What a rate is not above at a lower threshold it is not above at a higher one. Rows of one
    patient need that: where none is called, nothing tells how alike they are, and they are worth
    the least. The intervals of independent rows rise by themselves.

    Args:
        low: `(n,)`, of thresholds that fall.
        high: `(n,)`.
    """
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]


def cover(
    x: np.ndarray,
    y: np.ndarray,
    x_interval: tuple[np.ndarray, np.ndarray],
    y_interval: tuple[np.ndarray, np.ndarray],
    places: np.ndarray,
    *,
    are_related: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest point at some `x` of the ellipses whose axes are the intervals.

    Where the errors of both are related, which way is not known, it is of the rectangles. All take
    part, not only those whose points are kept: one between may reach further.

    Args:
        x: `(n,)`, rising, as the ends of its intervals do.
        y: `(n,)`.
        x_interval: `(n,)` low and high.
        y_interval: `(n,)` low and high.
        places: `(k,)` among `x`.
        are_related: Whether who is far out in the one is so in the other.

    Returns:
        `(k,)` low and high.
    """
    wanted, number = np.unique(places, return_inverse=True)
    (x_low, x_high), (y_low, y_high) = x_interval, y_interval
    first = np.searchsorted(x_high, wanted, side="left")
    last = np.searchsorted(x_low, wanted, side="right")
    low, high = np.empty(len(wanted)), np.empty(len(wanted))
    for row, (place, start, end) in enumerate(zip(wanted, first, last, strict=True)):
        part = slice(start, end)
        away = place - x[part]
        reach = np.where(away >= 0, x_high[part] - x[part], x[part] - x_low[part])
        # An interval that ends at its own middle, at 0 or 1, is met there alone, in full.
        away = np.divide(away, reach, out=np.zeros(end - start), where=reach > 0)
        height = np.sqrt(np.clip(1 - away**2 * (not are_related), 0, None))
        low[row] = (y[part] - height * (y[part] - y_low[part])).min()
        high[row] = (y[part] + height * (y_high[part] - y[part])).max()
    return low[number], high[number]


def subtract(
    hits: np.ndarray,
    alarms: np.ndarray,
    n: int,
    weights: np.ndarray,
    worths: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of `hits / n - weights * alarms / n`, two shares of the same images.

    Args:
        hits: `(k,)`.
        alarms: `(k,)`.
        n: Not 0.
        weights: `(k,)`.
        worths: `(k,)` each: how many rows all are worth for the hits, the alarms and both together.

    Returns:
        `(k,)` low and high.
    """
    of_hits, of_alarms, of_both = worths
    (a_low, a_high), (b_low, b_high) = (
        find_intervals(hits, n, of_hits),
        find_intervals(alarms, n, of_alarms),
    )
    a, b = hits / n, alarms / n
    # Shares that exclude each other are correlated: -1 where together they are all.
    rest = (1 - a) * (1 - b)
    correlation = -np.sqrt(np.divide(a * b, rest, out=np.ones_like(a), where=rest > 0))
    # Of patients by what the variance of the sum has more than both; as it is where all are n.
    spread = np.sqrt(a * b * rest)
    more = a * (1 - a) * (1 / of_both - 1 / of_hits) + b * (1 - b) * (1 / of_both - 1 / of_alarms)
    more = np.divide(more, 2 * spread, out=np.zeros_like(a), where=spread > 0)
    joint = np.sqrt(of_hits * of_alarms)
    # Never nearer to 0 than of independent rows, for few patients tell it roughly.
    least = np.minimum(-1, correlation)  # which rounding may have put a little below -1
    correlation = (correlation * (joint / of_both) + more * joint).clip(least, correlation)

    def combine(of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
        together: np.ndarray = np.sqrt(of_a**2 + of_b**2 - 2 * correlation * of_a * of_b)
        return together

    net = a - weights * b
    low = net - combine(a - a_low, weights * (b_high - b))
    return low, net + combine(a_high - a, weights * (b - b_low))
