"""Threshold and band of a run, as whoever reads it has set them: decision.json.

The file names the model it was chosen for. What was chosen for another, or cannot be read, is as
good as none: the threshold is then that of serving.json, and every image is answered.
"""

import json
from collections.abc import Mapping
from typing import Any

from polyp_core.access import check_writable
from polyp_core.errors import ConfigError
from polyp_core.evidence.goals import Band, Decision, Goal
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run
from polyp_core.schedules import has_lost_patience

__all__ = [
    "Band", "Decision", "Goal", "count_anew", "is_sound", "is_threshold_chosen", "list_choices",
    "list_decided", "read_decision", "read_worth", "was_ended_by_hand", "write_decision",
]  # fmt: skip

_FILE = "decision.json"
_NUMBERS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc", "majority_accuracy")


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
    """The numbers of metrics.json, all of them at the threshold that is in use now.

    Args:
        run: Whose decision it is.
        files: An evaluation of the run on other images, to be read instead of its validation.

    Returns:
        None before there are numbers. "test" as well, where there are test images. Counted anew
        from the predictions; where these are gone the numbers are those that were written, and
        "threshold" says at which threshold.
    """
    metrics = (files or run).read_metrics()
    if metrics is None:
        return None
    return count_anew(files or run, metrics, read_decision(run).threshold, has_test=files is None)


def count_anew(
    files: Run, metrics: dict[str, Any], threshold: float, *, has_test: bool = True
) -> dict[str, Any]:
    """The numbers of a metrics.json by the predictions beside it; without these as they are.

    Args:
        files: Where the predictions are.
        metrics: Of metrics.json. What is not counted stays.
        threshold: Positive from this probability on.
        has_test: Whether those of test images are numbers of their own.
    """
    try:
        predictions = files.read_predictions()
    except (OSError, ValueError):
        return metrics
    is_test = (predictions["split"] == "test") & has_test
    if is_test.all():
        return metrics
    counted = evaluate_predictions(predictions[~is_test], threshold)
    kept = {name: part for name, part in metrics.items() if name not in ("patient", "test")}
    worth, of_test = {**kept, "threshold": threshold, **counted}, metrics.get("test")
    if isinstance(of_test, dict) and is_test.any():  # without them they are of another threshold
        counted = evaluate_predictions(predictions[is_test], threshold)
        worth["test"] = {**of_test, "threshold": threshold, **counted}
    return worth


def is_sound(metrics: Any) -> bool:  # noqa: ANN401 - of a file
    """Whether all is there that can be quoted of a metrics.json, each number being one or None."""
    if not isinstance(metrics, Mapping) or not _is_number(metrics.get("threshold", 0.5)):
        return False
    levels = [metrics.get("image"), *([metrics["patient"]] if "patient" in metrics else [])]
    if not all(isinstance(level, Mapping) and _is_level(level) for level in levels):
        return False
    if "test" in metrics and not is_sound(metrics["test"]):
        return False
    return "calibration" not in metrics or _is_calibration(metrics["calibration"])


def list_choices(run: Run) -> list[str]:
    """What was chosen by the validation images, such as "the epoch was chosen".

    Empty where they played no part in making the model; each says by itself what was done.

    Raises:
        RunError: If the settings cannot be read.
    """
    return list_chosen_in_training(run) + list_decided(run)


def list_chosen_in_training(run: Run) -> list[str]:
    """As `list_choices`, of what made the model alone.

    Raises:
        RunError: If the settings cannot be read.
    """
    training, chosen = run.read_config().training, []
    is_watched = training.monitor.startswith("val_")
    if is_watched and (training.keep == "best" or training.early_stopping_patience):
        chosen.append("the epoch was chosen")
    if is_watched and training.schedule == "plateau":
        chosen.append("the learning rate was lowered")
    if was_ended_by_hand(run):
        chosen.append("the end of training may have been chosen")
    if "calibration" in (run.read_metrics() or {}):
        chosen.append("the temperature was fitted")
    return chosen


def list_decided(run: Run) -> list[str]:
    """As `list_choices`, of threshold and band alone."""
    chosen = ["the threshold was chosen"] if is_threshold_chosen(run) else []
    band = read_decision(run).band
    if band is not None and band.low < band.high:
        chosen.append("the band was chosen")
    return chosen


def is_threshold_chosen(run: Run) -> bool:
    """Whether the threshold in use did not come with the model."""
    decision = read_decision(run)
    return decision.goal.kind != "hand" or decision.threshold != _get_default(run).threshold


def was_ended_by_hand(run: Run) -> bool:
    """Whether a finished run has fewer epochs than planned, and early stopping did not end it.

    Raises:
        RunError: If the settings cannot be read.
    """
    training, history = run.read_config().training, run.read_history()
    if history.empty or run.read_status()["state"] != "finished":
        return False
    return len(history) < training.epochs and not has_lost_patience(training, history)


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


def _is_level(level: Mapping[str, Any]) -> bool:
    for name in _NUMBERS:
        metric = level.get(name)
        if not isinstance(metric, Mapping) or not {"value", "low", "high", "n"} <= metric.keys():
            return False
        if type(metric["n"]) is not int:
            return False
        if not all(
            metric[key] is None or _is_number(metric[key]) for key in ("value", "low", "high")
        ):
            return False
    return True


def _is_calibration(known: Any) -> bool:  # noqa: ANN401 - of a file
    if not isinstance(known, Mapping) or type(known.get("n")) is not int:
        return False
    losses = [known.get(name) for name in ("log_loss", "brier")]
    return _is_number(known.get("temperature")) and all(
        isinstance(loss, Mapping)
        and _is_number(loss.get("before"))
        and _is_number(loss.get("after"))
        for loss in losses
    )


def _is_number(value: Any) -> bool:  # noqa: ANN401 - of a file
    return isinstance(value, int | float) and not isinstance(value, bool)
