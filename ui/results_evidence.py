"""What is computed once of what is judged, and kept for all sessions; no threshold changes it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core.evidence import Level, curves, describe_probabilities, split_levels
from polyp_core.metrics import estimate_auc, estimate_share
from ui.downloads import write_csv
from ui.results_source import Judged

Plain = dict[str, Any]  # one metric: value, low, high, n
UNITS = {"patient": "patients", "image": "images"}
_CURVES: dict[str, Callable[..., pd.DataFrame]] = {
    "roc": curves.roc_curve,
    "precision recall": curves.precision_recall_curve,
    "calibration": curves.calibration_curve,
    "decision": curves.decision_curve,
}


def read_levels(judged: Judged) -> Mapping[str, Level]:
    """Labels and probabilities by "image" and, where patients are known, by "patient"."""
    return _split(judged.key, judged.written_at_ns, judged.table)


def read_fixed_numbers(judged: Judged) -> dict[str, dict[str, Plain]]:
    """As `describe_probabilities`; takes a second the first time."""
    return _describe(judged.key, judged.written_at_ns, read_levels(judged))


def read_curve(judged: Judged, unit: str, name: str) -> pd.DataFrame:
    """The points of a curve of "image" or "patient"; not to be written into."""
    return _trace(judged.key, judged.written_at_ns, unit, name, read_levels(judged)[unit])[0]


def read_curve_csv(judged: Judged, unit: str, name: str) -> str:
    """The same as CSV."""
    return _trace(judged.key, judged.written_at_ns, unit, name, read_levels(judged)[unit])[1]


def read_auc(judged: Judged, unit: str) -> Plain:
    """With its interval."""
    return _rank(judged.key, judged.written_at_ns, unit, read_levels(judged)[unit])


def find_majority(level: Level) -> tuple[Plain, int]:
    """What always the same answer would get, and which answer that is."""
    label = int(2 * (level.labels == 1).sum() > len(level.labels))
    return asdict(estimate_share(level.labels == label, level.clusters)), label


@st.cache_resource(max_entries=20, show_spinner=False)
def _split(key: str, written_at_ns: int, _table: pd.DataFrame) -> Mapping[str, Level]:
    return split_levels(_table)


@st.cache_resource(max_entries=20, show_spinner="Drawing 2,000 samples for the intervals …")
def _describe(
    key: str, written_at_ns: int, _levels: Mapping[str, Level]
) -> dict[str, dict[str, Plain]]:
    return describe_probabilities(_levels)


@st.cache_resource(max_entries=200, show_spinner=False)
def _trace(
    key: str, written_at_ns: int, unit: str, name: str, _level: Level
) -> tuple[pd.DataFrame, str]:
    if name == "histogram":
        curve = curves.probability_histogram(_level.labels, _level.probabilities)
    else:
        curve = _CURVES[name](_level.labels, _level.probabilities, groups=_level.clusters)
    return curve, write_csv(curve)


@st.cache_resource(max_entries=40, show_spinner=False)
def _rank(key: str, written_at_ns: int, unit: str, _level: Level) -> Plain:
    return asdict(estimate_auc(_level.labels, _level.probabilities, _level.clusters))
