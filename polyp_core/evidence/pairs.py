"""Two models on the same images become a difference with its interval and p value.

Images of one patient are not independent. Where patients are given, every interval and p value
takes whole patients as the units; with one image a patient it is the usual method exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from polyp_core import metrics
from polyp_core.clusters import (
    NOTHING,
    count_worth,
    find_auc_variance,
    find_wilson,
    number_clusters,
    place_rows,
)

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
_NO_CLASS = "There are no {} images among those that both judged."
_NO_VARIANCE = (
    "No interval can be computed: both put the images in the same order or divide the classes "
    "perfectly, or a class has a single image or patient."
)
_NO_IMAGES = "There is no image that both judged."
_ONE_PATIENT = "No interval can be computed: all images are of one patient."


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """What several models judged alike.

    Attributes:
        rows: One row an image that all judged, with `path`, `frame`, `group` and `label`; or one a
            patient, with `group`, `label` and `num_images`.
        probabilities: Of the same rows, one column a model.
        num_missing: Of each model, how many images any of the others judged and it did not.
        num_relabelled: Images that all judged, but that do not have the same label everywhere.
            They are left out.
    """

    rows: pd.DataFrame
    probabilities: pd.DataFrame
    num_missing: dict[str, int]
    num_relabelled: int

    @property
    def is_complete(self) -> bool:
        """Whether all judged the same images, with the same labels."""
        return not any(self.num_missing.values()) and not self.num_relabelled

    def pool_patients(self) -> "Matched | None":
        """One row a patient as in `metrics.pool_patients`; None where a patient is unknown."""
        pooled = {
            name: metrics.pool_patients(self.rows.assign(probability=self.probabilities[name]))
            for name in self.probabilities
        }
        first = next(iter(pooled.values()))
        if first is None:
            return None
        columns = {n: rows["probability"] for n, rows in pooled.items() if rows is not None}
        return Matched(
            rows=first.drop(columns="probability"),
            probabilities=pd.DataFrame(columns),
            num_missing=self.num_missing,
            num_relabelled=self.num_relabelled,
        )


def match_predictions(tables: Mapping[str, pd.DataFrame]) -> Matched:
    """Find the images that all models judged.

    An image is known again by its content where every table has `sha256` (see
    `slices.join_index`), so that runs on differently named folders can be compared; else by its
    path. Exact copies are matched one by one, in the order of their paths.

    Args:
        tables: At least one; the predictions of each model by its name: `path`, `label`,
            `probability`, and where known `frame`, `group` and `sha256`.
    """
    by_content = all("sha256" in rows and rows["sha256"].gt("").all() for rows in tables.values())
    keyed = {name: _key_rows(table, by_content=by_content) for name, table in tables.items()}
    first, *others = keyed.values()
    shared, every = first.index, first.index
    for table in others:
        shared = shared[shared.isin(table.index)]
        every = every.union(table.index)
    aligned = {name: table.loc[shared] for name, table in keyed.items()}
    labels = pd.DataFrame({name: table["label"] for name, table in aligned.items()})
    is_same = (labels.nunique(axis=1) == 1).to_numpy()
    rows = first.loc[shared][is_same].reset_index(drop=True)
    probabilities = pd.DataFrame(
        {name: table["probability"].to_numpy()[is_same] for name, table in aligned.items()}
    )
    return Matched(
        rows=rows[["path", "frame", "group", "label"]],
        probabilities=probabilities,
        num_missing={name: len(every) - len(table) for name, table in keyed.items()},
        num_relabelled=int((~is_same).sum()),
    )


def compare_auc(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """How much higher the AUC of `b` is than that of `a`, on the same images.

    Args:
        labels: `(n,)` of 0 and 1.
        a, b: `(n,)` probabilities of the two models; only their order counts.
        groups: `(n,)` patients, "" where unknown. None takes images as independent.

    Returns:
        `value` (of b less a), `low`, `high`, `n`, and `p_value` (two-sided, of no difference);
        None where undefined, then with `reason`.

    References: DeLong et al., Biometrics 44:837 (1988); with patients Obuchowski, Biometrics
    53:567 (1997), which is the former where each patient has one image.
    """
    is_positive = np.asarray(labels) == 1
    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if m == 0 or n == 0:
        reason = _NO_CLASS.format("negative" if m else "positive") if m + n else _NO_IMAGES
        return _describe(None, None, m + n, p_value=None, reason=reason)
    differences = place_rows(is_positive, np.asarray(b)) - place_rows(is_positive, np.asarray(a))
    value = float(differences[is_positive].mean())
    # What each row adds to the estimate, and what the rows of a patient add together.
    shares = (differences - value) / np.where(is_positive, m, n)
    variance = find_auc_variance(shares, is_positive, number_clusters(groups, m + n))
    if not variance > NOTHING:  # or not a number
        return _describe(value, None, m + n, p_value=None, reason=_NO_VARIANCE)
    error = float(np.sqrt(variance))
    interval = max(-1.0, value - _Z * error), min(1.0, value + _Z * error)
    return _describe(value, interval, m + n, p_value=2 * _NORMAL.cdf(-abs(value) / error))


def compare_decisions(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """How much more often `b` is right than `a`, on the same images.

    For sensitivity or specificity give the positive or the negative images alone.

    The p value is exact. Without patients it is McNemar's: each image that only one of them has
    right falls to either with a probability of one half. With patients each patient's surplus of
    right answers does so as a whole. The interval is Newcombe's method 10; with patients all
    counts are first scaled down to what they are worth, see `clusters.count_worth`.

    Args:
        labels: `(n,)` of 0 and 1.
        a, b: `(n,)` decisions of the two models, of bool (or 0 and 1).
        groups: `(n,)` patients, "" where unknown. None takes images as independent.

    Returns:
        `n`, `both_right`, `only_a`, `only_b`, `both_wrong`, `p_value`, and `difference` (of the
        accuracies, b less a): `value`, `low`, `high`, `n`, or None with `reason`.

    References: McNemar, Psychometrika 12:153 (1947); Newcombe, Stat Med 17:2635 (1998).
    """
    is_positive = np.asarray(labels) == 1
    right_a, right_b = np.asarray(a) == is_positive, np.asarray(b) == is_positive
    n = len(is_positive)
    counts = {
        "both_right": int((right_a & right_b).sum()),
        "only_a": int((right_a & ~right_b).sum()),
        "only_b": int((right_b & ~right_a).sum()),
        "both_wrong": int((~right_a & ~right_b).sum()),
    }
    if n == 0:
        difference = _describe(None, None, 0, reason=_NO_IMAGES)
        return {"n": 0, **counts, "p_value": None, "difference": difference}
    gains = right_b.astype(int) - right_a.astype(int)
    clusters = number_clusters(groups, n)
    value = (counts["only_b"] - counts["only_a"]) / n
    if groups is not None and n > 1 and clusters.max() == 0:
        difference = _describe(value, None, n, reason=_ONE_PATIENT)
    else:
        share = count_worth(gains, clusters) / n
        cells = np.array([counts[key] for key in ("both_right", "only_b", "only_a", "both_wrong")])
        difference = _describe(value, _find_paired_interval(cells * share), n)
    p_value = _flip_signs(np.bincount(clusters, gains).astype(int))
    return {"n": n, **counts, "p_value": p_value, "difference": difference}


def _key_rows(table: pd.DataFrame, *, by_content: bool) -> pd.DataFrame:
    """The rows known by what they show, each once."""
    rows = pd.DataFrame({"frame": 0, "group": ""}, index=table.index).assign(**table)
    if not by_content:
        keyed = rows.set_index(["path", "frame"], drop=False)
        return keyed[~keyed.index.duplicated()]
    rows = rows.sort_values(["path", "frame"], kind="stable")
    copy = rows.groupby(["sha256", "frame"]).cumcount().rename("copy")
    return rows.set_index(["sha256", "frame", copy], drop=False)


def _describe(
    value: float | None,
    interval: tuple[float, float] | None,
    n: int,
    *,
    reason: str = "",
    **further: float | None,
) -> dict[str, Any]:
    low, high = interval or (None, None)
    plain = {"value": value, "low": low, "high": high, "n": n, **further}
    return plain | {"reason": reason} if reason else plain


def _find_paired_interval(cells: np.ndarray) -> tuple[float, float]:
    """Newcombe's method 10 for what the first has right less what the second has.

    Args:
        cells: How often both are right, only the first, only the second, neither.
    """
    both, first, second, neither = cells.tolist()
    n = both + first + second + neither
    agreement = both * neither - first * second
    if agreement > 0:  # the correction that distinguishes method 10 from method 8
        agreement = max(0.0, agreement - n / 2)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    correlation = agreement / np.sqrt(margins) if margins else 0.0
    low_1, share_1, high_1 = find_wilson((both + first) / n, n)
    low_2, share_2, high_2 = find_wilson((both + second) / n, n)
    reaches = [
        np.sqrt(own**2 - 2 * correlation * own * other + other**2)
        for own, other in (
            (share_1 - low_1, high_2 - share_2),
            (high_1 - share_1, share_2 - low_2),
        )
    ]
    difference = share_1 - share_2
    return float(max(-1.0, difference - reaches[0])), float(min(1.0, difference + reaches[1]))


def _flip_signs(gains: np.ndarray) -> float:
    """How often the sum would lie as far from zero if each sign were drawn by a coin; exact."""
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    ways = np.ones(1)  # how probable each sum of those that came out positive is
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        odds = np.log(np.arange(count, 0, -1) / np.arange(1, count + 1))
        of_size = np.zeros(size * count + 1)
        of_size[::size] = np.exp(np.append(0, np.cumsum(odds)) - count * np.log(2))
        ways = np.convolve(ways, of_size)
    sums = 2 * np.arange(len(ways)) - (len(ways) - 1)
    return min(1.0, float(ways[np.abs(sums) >= abs(int(gains.sum()))].sum()))
