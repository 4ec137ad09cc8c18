"""Predictions become evidence: numbers with intervals, curves, thresholds, comparisons, slices."""

from polyp_core.evidence.describe import (
    INTERVALS,
    Level,
    describe_at_threshold,
    describe_predictions,
    describe_probabilities,
    split_levels,
)
from polyp_core.evidence.scores import compute_scores

__all__ = [
    "INTERVALS",
    "Level",
    "compute_scores",
    "describe_at_threshold",
    "describe_predictions",
    "describe_probabilities",
    "split_levels",
]
