"""Threshold and band of a run, as whoever reads it has set them: decision.json.

The file names the model it was chosen for. What was chosen for another, or cannot be read, is as
good as none: the threshold is then that of serving.json, and every image is answered.
"""

import json
from typing import Any

from polyp_core.access import check_writable
from polyp_core.errors import ConfigError
from polyp_core.evidence.goals import Band, Decision, Goal
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run

__all__ = ["Band", "Decision", "Goal", "read_decision", "read_worth", "write_decision"]

_FILE = "decision.json"


def read_decision(run: Run) -> Decision:
    """What was decided for a run's model; by default the threshold of serving.json, no band."""
    model = run.read_serving().get("sha256")
    values = _read_values(run)
    try:
        if values.get("model") != model:
            raise ConfigError("It was chosen for another model.")
        return Decision.from_dict(values)
    except ConfigError:
        return _get_default(run)


def write_decision(run: Run, decision: Decision) -> None:
    """Keep a decision beside the run's model; from now on it holds wherever the run answers.

    Raises:
        OSError: If the folder cannot be written.
        AccessError: On a shared demo.
    """
    check_writable("Keeping a threshold")
    run.write_json(_FILE, {"model": run.read_serving().get("sha256"), **decision.to_dict()})


def read_worth(run: Run, files: Run | None = None) -> dict[str, Any] | None:
    """The numbers of metrics.json, those of validation at the threshold that is in use now.

    Args:
        run: Whose decision it is.
        files: An evaluation of the run on other images, to be read instead of its validation.

    Returns:
        None before there are numbers. Where the predictions are gone the numbers are those that
        were written, and "threshold" says at which threshold.
    """
    where = files or run
    metrics, threshold = where.read_metrics(), read_decision(run).threshold
    if metrics is None or metrics.get("threshold") == threshold:
        return metrics
    try:
        predictions = where.read_predictions()
    except (OSError, ValueError):
        return metrics
    if files is None:
        predictions = predictions[predictions["split"] != "test"]
    return {**metrics, "threshold": threshold, **evaluate_predictions(predictions, threshold)}


def _get_default(run: Run) -> Decision:
    try:
        goal = Goal("hand", run.read_serving().get("threshold", 0.5))
    except ConfigError:
        goal = Goal("hand", 0.5)
    return Decision(goal, float(goal.value))


def _read_values(run: Run) -> dict[str, Any]:
    try:
        values = json.loads(run.path(_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
