"""What several images of one patient do to a variance: they say less than as many patients."""

from statistics import NormalDist

import numpy as np
import pandas as pd

NOTHING = 1e-24  # of a variance: what rounding leaves of zero
FEWEST = 3  # patients that stand out, from whom on they tell how alike the images of one are
_Z = NormalDist().inv_cdf(0.975)
_T = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 4: 2.7764451}  # where the series is too rough


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


def count_patients(clusters: np.ndarray) -> int:
    """How many there are among numbers of patients; without sorting them."""
    return int(np.count_nonzero(np.bincount(clusters)))


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
        (above**2).sum() * _correct(count_patients(clusters[is_positive]))
        + (below**2).sum() * _correct(count_patients(clusters[~is_positive]))
        + 2 * (above * below).sum() * _correct(len(above))
    )


def count_worth(gains: np.ndarray, clusters: np.ndarray) -> float:
    """How many rows of as many patients would tell the mean of these rows as surely.

    They are divided by the design effect and, since few patients tell that roughly, by the square
    of Student's t over the normal quantile. At the least they are as many as they would be if all
    rows of a patient were alike: the patients, or fewer where these have unequally many rows. That
    is what is taken where all numbers are equal but for those of one or two patients, which cannot
    tell: or the first mistake would make an interval narrower.

    Args:
        gains: `(n,)`, one number a row; not empty.
        clusters: `(n,)`, the patient of each row, numbered from 0 on without gaps.

    References: Rao and Scott, Biometrics 48:577 (1992) for the design effect; Korn and Graubard,
    Surv Methodol 24:193 (1998) for t; Kish, Survey sampling (1965) for unequal sizes.
    """
    n, sizes = len(gains), np.bincount(clusters)
    num_patients = float(n**2 / (sizes**2).sum())
    if len(sizes) in (1, n):
        return num_patients
    values, counts = np.unique(gains, return_counts=True)
    if count_patients(clusters[gains != values[counts.argmax()]]) < FEWEST:
        return num_patients
    expected = gains.var() * n * _correct(n)
    seen = ((np.bincount(clusters, gains) - sizes * gains.mean()) ** 2).sum()
    effect = max(1.0, seen * _correct(num_patients) / expected)
    quantile = find_t_quantile(max(1, int(num_patients) - 1))
    return max(num_patients, float(n / effect * (_Z / quantile) ** 2))


def find_wilson(share: float, n: float) -> tuple[float, float, float]:
    """Low end, share and high end, of Wilson's score interval; `n` need not be a whole number."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, float(middle - reach)), share, min(1.0, float(middle + reach))


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


def _correct(num_units: float) -> float:
    """What makes a sum of squares around its mean an unbiased variance; one unit tells nothing."""
    return num_units / (num_units - 1) if num_units > 1 else float("nan")
