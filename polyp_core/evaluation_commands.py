"""The commands that say what a finished run is worth: evaluate and check."""

import argparse
import json
import sys
from typing import Any

from polyp_core import words
from polyp_core.checks.wording import choose_measure, list_shortcuts, say_robustness
from polyp_core.decision import is_threshold_chosen, read_decision
from polyp_core.errors import RunError
from polyp_core.evaluation import find_unseen, list_left_out, predict_index
from polyp_core.evaluation_jobs import start_checks, stop_evaluation
from polyp_core.evidence import describe_predictions, split_levels
from polyp_core.evidence.describe import check_prevalence
from polyp_core.evidence.goals import parse_goal
from polyp_core.evidence.thresholds import choose_threshold
from polyp_core.prediction import load_classifier
from polyp_core.run_commands import show_progress, wait_for_end
from polyp_core.runs import Run
from polyp_core.workspace import find_run, get_cache_dir

_SHARES = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv",
    "ppv_at_prevalence", "npv_at_prevalence", "majority_accuracy",
)  # fmt: skip


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to those of `python -m polyp_core`."""
    evaluate = commands.add_parser("evaluate", help="test a run on a folder it has not seen")
    evaluate.add_argument("run", help="a run's folder or name, or 'demo'")
    evaluate.add_argument("data", help="two class folders, or a manifest")
    evaluate.add_argument("--json", action="store_true", help="print everything as JSON")
    evaluate.add_argument(
        "--threshold-goal", metavar="GOAL",
        help="what the threshold is for, chosen on the run's own validation images: "
        "sensitivity=0.95, specificity=0.95, youden, cost=5 (a missed positive costs five false "
        "alarms) or hand=0.4; without it the run's own threshold is used",
    )  # fmt: skip
    evaluate.add_argument(
        "--prevalence", type=float, metavar="SHARE", help="give predictive values for it as well"
    )
    evaluate.set_defaults(command=_evaluate)

    check = commands.add_parser("check", help="test a run on worse images, and for shortcuts")
    check.add_argument("run", help="a run's folder or name, or 'demo'")
    check.add_argument("--json", action="store_true", help="print everything as JSON")
    check.set_defaults(command=_check)


def _evaluate(options: argparse.Namespace) -> int:
    check_prevalence(options.prevalence)  # before the work
    run = find_run(options.run)
    classifier = load_classifier(run)
    threshold, origin = choose_own_threshold(run, options.threshold_goal)
    with show_progress("Reading images") as progress:
        unseen = find_unseen(run, options.data, on_progress=progress, cache_dir=get_cache_dir())
    with show_progress("Testing") as progress:
        predictions = predict_index(classifier, unseen.index, on_progress=progress)
    negative, positive = classifier.class_names
    result = {
        "positive_class": positive,
        "negative_class": negative,
        "threshold": threshold,
        "threshold_origin": origin,
        **unseen.counts,
        **describe_predictions(predictions, threshold, prevalence=options.prevalence),
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        _print_evaluation(result)
    return 0


def choose_own_threshold(run: Run, goal_text: str | None) -> tuple[float, str]:
    """The threshold to test with, and where it comes from, in words.

    A goal is reached for on the run's own validation predictions, by patient where patients are
    known; were it chosen on the images tested, the numbers would be no test.

    Args:
        run: A finished one.
        goal_text: As for `parse_goal`; None takes the threshold that the run answers with.

    Raises:
        ConfigError: If there is no such goal.
        EvidenceError: If the validation predictions do not allow it.
        RunError: If there are none.
    """
    if goal_text is None:
        decision = read_decision(run)
        origin = decision.goal.say() if is_threshold_chosen(run) else "as the model came"
        return decision.threshold, f"that of the run, {origin}"
    goal = parse_goal(goal_text)
    if goal.kind == "hand":
        return goal.value, goal.say()
    try:
        own = run.read_predictions()
    except (OSError, ValueError) as error:
        raise RunError(
            f"The validation predictions of run '{run.name}' cannot be read ({error}), so no "
            "threshold can be chosen on them. Expected its predictions.csv. Give a threshold by "
            "hand (hand=0.5)."
        ) from error
    levels = split_levels(own[own["split"] != "test"])
    level = levels.get("patient", levels["image"])
    threshold = choose_threshold(level.labels, level.probabilities, goal)
    unit = words.say_number(len(level.labels), f"validation {level.unit}")
    return threshold, f"{goal.say()}, chosen on the run's own {unit}, not on these images"


def _print_evaluation(result: dict[str, Any]) -> None:
    print(f"{words.say_worth(*words.get_main_level(result))}.")
    for sentence in list_left_out(result):
        print(sentence)
    positive = words.make_visible(result["positive_class"])
    print(
        f"Positive: '{positive}' from probability {result['threshold']:.4g} on "
        f"({result['threshold_origin']})."
    )
    for level in ("image", "patient"):
        for name, metric in result.get(level, {}).items():
            said = say_metric(metric, is_share=name in _SHARES)
            print(f"  by {level:<8} {name:<27} {said:<22} n = {metric['n']}")


def say_metric(metric: dict[str, Any], *, is_share: bool) -> str:
    """Such as "84 % (76–90)" or "0.91 (0.84–0.97)"; what is undefined says why."""
    reason = metric.get("reason", "")
    if metric["value"] is None:
        return f"not defined: {reason}"
    if metric["low"] is not None:
        return words.say_percent(metric) if is_share else words.say_auc(metric)
    value = f"{words.write_percent(metric['value'])}" if is_share else f"{metric['value']:.2f}"
    return f"{value}, no interval: {reason}"


def _check(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    files = start_checks(run)
    with show_progress("Checking") as progress:

        def show() -> None:
            status = files.read_status()
            if "images_done" in status:
                progress(status["images_done"], status["images_in_all"])

        wait_for_end(files, show, stop_evaluation)
    status, found = files.read_status(), files.read_checks()
    if status["state"] != "finished" or found is None:
        print(f"The checks are {status['state']}: {status['message']}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1) if options.json else "\n".join(say_checks(found)))
    return 0


def say_checks(found: dict[str, Any]) -> list[str]:
    """What checks.json holds, in lines: a Markdown table, then what it means."""
    has_patients = "patient" in found["shortcuts"]["border"]
    unit = "patient" if has_patients else "image"
    left_out = f", {found['num_left_out']} cannot be read" * bool(found["num_left_out"])
    lines = [
        f"{found['num_images']} of {found['num_validation_images']} validation images{left_out}; "
        f"numbers by {unit}, 95 % intervals",
        "",
        "| | AUC | accuracy | mean change of probability |",
        "|---|---|---|---|",
    ]
    for effect in found["robustness"]:
        for level in effect["levels"]:
            numbers = level[unit]
            lines.append(
                f"| {effect['title']}: {level['label']} "
                f"| {say_metric(numbers['auc'], is_share=False)} "
                f"| {say_metric(numbers['accuracy'], is_share=True)} "
                f"| {say_metric(numbers['mean_change'], is_share=True)} |"
            )
    said = [say_robustness(found["robustness"], *choose_measure(found))]
    said += [sentence for _, sentence in list_shortcuts(found)]
    return [*lines, "", *map(words.make_visible, said)]
