"""What several images of one patient do to a variance: they say less than as many patients."""

from statistics import NormalDist

import numpy as np
import pandas as pd

NOTHING = 1e-24  # of a variance: what rounding leaves of zero
_Z = NormalDist().inv_cdf(0.975)


def number_clusters(groups: np.ndarray | None, n: int) -> np.ndarray:
    """Of each of `n` images the number of its patient, from 0 on; an unknown patient is its own."""
    if groups is None:
        return np.arange(n)
    codes, names = pd.factorize(np.asarray(groups, dtype=object))
    is_unknown = np.isin(codes, np.flatnonzero(names == "")) | (codes < 0)
    _, clusters = np.unique(
        np.where(is_unknown, len(names) + np.arange(n), codes), return_inverse=True
    )
    return np.asarray(clusters)


def place_rows(is_positive: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each positive the share of negatives below it, for each negative of positives above.

    Ties count half. The mean of either is the AUC; these are the components of DeLong's method.
    """
    placed: np.ndarray = pd.Series(values).rank().to_numpy(copy=True)
    for own in (is_positive, ~is_positive):
        placed[own] = (placed[own] - pd.Series(values[own]).rank().to_numpy()) / (~own).sum()
    placed[~is_positive] = 1 - placed[~is_positive]
    return placed


def find_auc_variance(shares: np.ndarray, is_positive: np.ndarray, clusters: np.ndarray) -> float:
    """The variance of an AUC, or of a difference of two.

    Args:
        shares: `(n,)`, what each row adds to the estimate, around zero.
        is_positive: `(n,)` of bool.
        clusters: `(n,)`, the patient of each row, numbered from 0 on without gaps.

    References: Obuchowski, Biometrics 53:567 (1997); DeLong's where each patient has one image.
    """
    above = np.bincount(clusters, np.where(is_positive, shares, 0))
    below = np.bincount(clusters, np.where(is_positive, 0, shares))
    return float(
        (above**2).sum() * _correct(len(np.unique(clusters[is_positive])))
        + (below**2).sum() * _correct(len(np.unique(clusters[~is_positive])))
        + 2 * (above * below).sum() * _correct(len(above))
    )


def find_design_effect(gains: np.ndarray, clusters: np.ndarray) -> float:
    """By how much patients widen the variance of a mean of rows; rows a patient, if it is zero.

    Args:
        gains: `(n,)`, one number a row.
        clusters: `(n,)`, the patient of each row, numbered from 0 on without gaps.

    References: Rao and Scott, Biometrics 48:577 (1992).
    """
    n, sizes = len(gains), np.bincount(clusters)
    if len(sizes) == n:
        return 1.0
    if len(sizes) == 1:
        return float(n)
    mean = gains.mean()
    expected = ((gains - mean) ** 2).sum() * _correct(n)
    if expected == 0:
        return n / len(sizes)
    seen = ((np.bincount(clusters, gains) - sizes * mean) ** 2).sum() * _correct(len(sizes))
    return max(1.0, float(seen / expected))


def find_wilson(share: float, n: float) -> tuple[float, float, float]:
    """Low end, share and high end, of Wilson's score interval; `n` need not be a whole number."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, float(middle - reach)), share, min(1.0, float(middle + reach))


def _correct(num_units: int) -> float:
    """What makes a sum of squares around its mean an unbiased variance; one unit tells nothing."""
    return num_units / (num_units - 1) if num_units > 1 else float("nan")
