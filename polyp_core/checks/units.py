"""Numbers by image and, where patients are known, by patient."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.clusters import find_t_quantile
from polyp_core.metrics import Metric, estimate_auc, pool_patients


def split_units(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The label, the columns and the group of each image and, where known, of each patient."""
    units = {"image": pd.concat([table["label"], table[list(columns)], table["group"]], axis=1)}
    pooled = [pool_patients(table.assign(probability=table[name])) for name in columns]
    known = [patients for patients in pooled if patients is not None]
    if known:
        parts = [patients["probability"] for patients in known]
        units["patient"] = pd.concat([known[0]["label"], *parts, known[0]["group"]], axis=1)
        units["patient"].columns = units["image"].columns
    return units


def describe_auc(
    labels: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray
) -> dict[str, Any]:
    found = estimate_auc(labels, probabilities, clusters)
    return to_plain(found, "All of these are of one class.")


def estimate_mean(values: pd.Series, least: float = 0.0) -> Metric:
    """A mean with Student's interval, within the bounds `least` and 1 that every value keeps to."""
    n = len(values)
    if n == 0:
        return Metric(None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Metric(mean, least, 1.0, 1)
    reach = find_t_quantile(n - 1) * float(values.std(ddof=1)) / np.sqrt(n)
    return Metric(mean, max(least, float(mean - reach)), min(1.0, float(mean + reach)), n)


def to_plain(metric: Metric, reason: str) -> dict[str, Any]:
    plain = asdict(metric)
    return plain | {"reason": reason} if metric.value is None else plain
