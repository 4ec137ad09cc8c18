"""The commands evaluate and check, in this process; as a user calls them they stand in test_cli."""

import json
import shutil

import pytest

from polyp_core import workspace
from polyp_core.__main__ import main
from polyp_core.decision import Decision, Goal, write_decision
from polyp_core.evaluation_commands import choose_own_threshold, say_checks, say_metric
from polyp_core.evaluation_jobs import find_checks
from polyp_core.evidence import INTERVALS, describe_predictions
from polyp_core.metrics import pool_patients
from polyp_core.runs import Run
from tests.conftest import write_image


@pytest.fixture
def run(finished_run, workspace_dir):
    """A finished run of the workspace."""
    copy = Run(workspace.get_runs_dir() / "mine")
    shutil.copytree(finished_run.directory, copy.directory)
    return copy


@pytest.fixture
def other_dir(tmp_path):
    for number in range(4):
        for name in ("calcified", "non-calcified"):
            path, is_positive = tmp_path / "x" / name / f"case{number}.png", name == "calcified"
            write_image(path, is_bright_spot=is_positive, seed=9000 + number + 50 * is_positive)
    return tmp_path / "x"


def evaluate(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_gives_every_number_of_the_evidence(run, capsys):
    result = evaluate(capsys, "mine", run.read_index().folder)
    expected = describe_predictions(run.read_predictions(), result["threshold"])
    assert result["image"] == expected["image"]
    assert result["patient"] == expected["patient"]
    without_prevalence = {name for name in INTERVALS if "prevalence" not in name}
    assert set(result["image"]) == without_prevalence
    assert result["threshold_origin"] == "that of the run, as the model came"
    assert result["num_validation_images"] == result["num_images"]


def test_predictive_values_are_given_at_a_prevalence(run, other_dir, capsys):
    result = evaluate(capsys, "mine", other_dir, "--prevalence", 0.1)
    assert "ppv_at_prevalence" in result["image"]
    assert main(["evaluate", "mine", str(other_dir), "--prevalence", "3"]) == 1
    assert capsys.readouterr().err.startswith("ConfigError: The prevalence ")


def test_a_goal_is_reached_for_on_validation_and_never_on_the_folder_tested(run, other_dir, capsys):
    predictions = run.read_predictions()
    patients = pool_patients(predictions)
    result = evaluate(capsys, "mine", other_dir, "--threshold-goal", "sensitivity=1")
    positives = patients.loc[patients["label"] == 1, "probability"]
    # The greatest threshold that finds every positive patient of validation.
    assert result["threshold"] <= positives.min()
    others = patients.loc[patients["probability"] < positives.min(), "probability"]
    assert (result["threshold"] > others).all()
    assert result["threshold_origin"] == (
        f"at least 100 % sensitivity, chosen on the run's own {len(patients)} validation patients, "
        "not on these images"
    )
    by_hand = evaluate(capsys, "mine", other_dir, "--threshold-goal", "hand=0.3")
    assert (by_hand["threshold"], by_hand["threshold_origin"]) == (0.3, "set by hand")


def test_without_patients_a_goal_is_reached_for_by_image(run):
    run.write_table("predictions.csv", run.read_predictions().assign(group=""))
    _, origin = choose_own_threshold(run, "youden")
    n = len(run.read_predictions())
    assert origin.endswith(f"chosen on the run's own {n} validation images, not on these images")


def test_the_stored_decision_is_the_threshold_unless_a_goal_is_given(run):
    write_decision(run, Decision(Goal("specificity", 0.95), 0.625))
    assert choose_own_threshold(run, None) == (
        0.625, "that of the run, at least 95 % specificity",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "error"),
    [
        ("speed=3", "ConfigError: The goal of the threshold cannot be read. Expected "),
        ("youden", "RunError: The validation predictions of run 'mine' cannot be read ("),
    ],
)
def test_a_goal_that_cannot_be_reached_for_says_so_before_the_work(
    run, other_dir, goal, error, capsys
):
    run.path("predictions.csv").unlink()
    assert main(["evaluate", "mine", str(other_dir), "--threshold-goal", goal]) == 1
    assert capsys.readouterr().err.startswith(error)


def test_evaluate_says_what_counts_and_what_does_not(run, capsys):
    assert main(["evaluate", "mine", str(run.read_index().folder)]) == 0
    text = capsys.readouterr().out
    num_train = len(run.read_index().select("train"))
    assert f"{num_train} images left out: the model was trained on them." in text
    assert "All are images that the model was validated on: this is no test." in text
    assert (
        "Positive: 'calcified' from probability 0.5 on (that of the run, as the model came)."
        in text
    )
    assert "by patient  auc " in text
    assert "by image    expected_calibration_error " in text


def test_a_number_says_interval_or_reason():
    metric = {"value": 0.84, "low": 0.7, "high": 0.9, "n": 9}
    assert say_metric(metric, is_share=True) == "84\xa0% (70–90)"
    assert say_metric(metric, is_share=False) == "0.84 (0.70–0.90)"
    alone = metric | {"low": None, "high": None, "reason": "There is one patient."}
    assert say_metric(alone, is_share=True) == "84\xa0%, no interval: There is one patient."
    assert say_metric(alone, is_share=False) == "0.84, no interval: There is one patient."
    nothing = alone | {"value": None}
    assert say_metric(nothing, is_share=True) == "not defined: There is one patient."


def test_check_prints_a_table_and_keeps_it_with_the_run(run, capsys):
    assert main(["check", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    num_validation = len(run.read_index().select("validation"))
    assert lines[0] == (
        f"{num_validation} of {num_validation} validation images; numbers by patient, 95 % "
        "intervals"
    )
    assert len([line for line in lines if line.startswith("| ")]) == 1 + 5 * 5
    assert any(line.startswith("| JPEG: quality 20 | ") for line in lines)
    assert "No image shows anything outside the scan area to the network." in lines
    assert lines[-1].startswith("With the outermost 10\xa0% on each side painted over the AUC is ")
    kept = find_checks(run).read_checks()
    assert say_checks(kept) == lines
    assert main(["check", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == kept


def test_checks_that_fail_say_why(run, capsys):
    values = run.read_json("config.json")
    run.write_json("config.json", values | {"folder": str(run.directory / "nowhere")})
    assert main(["check", "mine"]) == 1
    assert capsys.readouterr().err.startswith("The checks are failed: None of the ")


def test_what_cannot_be_checked_is_one_line(run, capsys):
    run.write_json("status.json", {"state": "stopped"})
    assert main(["check", "mine"]) == 1
    assert capsys.readouterr().err.startswith("RunError: Run 'mine' is stopped, so it cannot be ")
