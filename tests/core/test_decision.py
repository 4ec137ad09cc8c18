import json
import shutil

import pandas as pd
import pytest

from polyp_core.decision import (
    Band,
    Decision,
    Goal,
    is_sound,
    list_choices,
    read_decision,
    read_worth,
    was_ended_by_hand,
    write_decision,
)
from polyp_core.evaluation import predict_index
from polyp_core.metrics import evaluate_predictions
from polyp_core.prediction import load_classifier
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN

DECISION = Decision(Goal("sensitivity", 0.95), 0.1 + 0.2, Band(0.2, 0.45), 0.05, "patient")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.directory.mkdir()
    run.write_json("serving.json", {"sha256": "ab" * 32, "threshold": 0.5})
    return run


def test_without_a_decision_the_threshold_is_the_serving_models(run):
    run.write_json("serving.json", {"threshold": 0.4})
    assert read_decision(run) == Decision(Goal("hand", 0.4), 0.4)


@pytest.mark.parametrize("threshold", [None, "0.4", 7, float("nan"), []])
def test_and_one_half_where_that_has_none(run, threshold):
    assert read_decision(Run(run.directory / "none")) == Decision(Goal("hand", 0.5), 0.5)
    run.write_json("serving.json", {"threshold": threshold})
    assert read_decision(run) == Decision(Goal("hand", 0.5), 0.5)


@pytest.mark.parametrize("decision", [DECISION, Decision(Goal("youden"), 0.0),
                                      Decision(Goal("hand", 1), 1)])  # fmt: skip
def test_a_decision_comes_back_to_the_last_digit(run, decision):
    write_decision(run, decision)
    assert read_decision(run) == decision
    assert read_decision(run).to_dict() == decision.to_dict()


def test_the_last_decision_holds_and_leaves_nothing_else_behind(run):
    write_decision(run, Decision(Goal("youden"), 0.7))
    write_decision(run, DECISION)
    assert read_decision(run) == DECISION
    assert sorted(path.name for path in run.directory.iterdir()) == [
        "decision.json", "serving.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}", b'{"threshold": 0.3}'],
)
def test_a_damaged_decision_is_as_good_as_none(run, content):
    write_decision(run, DECISION)
    run.path("decision.json").write_bytes(content)
    assert read_decision(run) == Decision(Goal("hand", 0.5), 0.5)


@pytest.mark.parametrize("change", [{"threshold": 40}, {"band": {"low": 0, "high": 0.1}},
                                    {"goal": None}, {"level": 3}])  # fmt: skip
def test_so_is_one_with_a_value_that_cannot_be(run, change):
    write_decision(run, DECISION)
    values = json.loads(run.path("decision.json").read_text())
    run.write_json("decision.json", values | change)
    assert read_decision(run) == Decision(Goal("hand", 0.5), 0.5)


def test_a_decision_for_another_model_does_not_hold(run):
    write_decision(run, DECISION)
    run.write_json("serving.json", {"sha256": "cd" * 32, "threshold": 0.5})
    assert read_decision(run) == Decision(Goal("hand", 0.5), 0.5)


def test_a_folder_in_the_place_of_the_file_is_passed_over(run):
    run.path("decision.json").mkdir()
    assert read_decision(run).threshold == 0.5


@pytest.fixture
def copy(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    return copy


def test_the_decision_is_applied_wherever_the_run_answers(copy):
    index = copy.read_index()
    before = load_classifier(copy)
    assert (before.threshold, before.band) == (0.5, None)
    probabilities = predict_index(before, index)["probability"]
    middle = float(probabilities.median())
    write_decision(
        copy, Decision(Goal("hand", middle), middle, Band(middle * 0.999, middle * 1.001), 0.1)
    )
    after = load_classifier(copy)
    assert after.threshold == middle
    answers = [after.classify(index.folder / path) for path in index.images["path"]]
    assert [answer.class_name for answer in answers] == [
        "calcified" if probability >= middle else "non-calcified" for probability in probabilities
    ]
    assert [answer.is_sure for answer in answers] == [
        not middle * 0.999 <= probability <= middle * 1.001 for probability in probabilities
    ]
    assert all(before.classify(index.folder / path).is_sure for path in index.images["path"])


def test_a_models_worth_is_told_at_the_threshold_in_use(run):
    assert read_worth(run) is None
    predictions = pd.DataFrame({
        "path": list("abcde"), "split": ["validation"] * 4 + ["test"], "group": "",
        "label": [0, 0, 1, 1, 1], "probability": [0.1, 0.3, 0.3, 0.9, 0.0],
    })  # fmt: skip
    run.write_json("metrics.json", {"threshold": 0.5, "note": "kept"}
                   | evaluate_predictions(predictions[:4], 0.5))  # fmt: skip
    assert read_worth(run) == run.read_metrics()
    write_decision(run, Decision(Goal("hand", 0.2), 0.2))
    assert read_worth(run) == run.read_metrics()  # there is nothing to count anew
    run.write_table("predictions.csv", predictions)
    worth = read_worth(run)
    assert (worth["threshold"], worth["note"]) == (0.2, "kept")
    assert worth["image"]["sensitivity"]["value"] == 1.0
    assert worth["image"]["specificity"]["value"] == 0.5
    assert worth["image"]["accuracy"]["n"] == 4


def test_what_an_older_version_counted_is_counted_anew(run):
    predictions = pd.DataFrame({
        "path": list("abcd"), "split": "validation", "group": ["p", "p", "q", "q"],
        "label": [0, 0, 1, 1], "probability": [0.1, 0.3, 0.3, 0.9],
    })  # fmt: skip
    alone = evaluate_predictions(predictions.assign(group=""), 0.5)  # images as independent
    run.write_json("metrics.json", {"threshold": 0.5, **alone})
    assert read_worth(run)["image"] == alone["image"]
    run.write_table("predictions.csv", predictions)
    assert read_worth(run) == {"threshold": 0.5, **evaluate_predictions(predictions, 0.5)}
    run.write_table("predictions.csv", predictions.assign(group=""))
    assert "patient" not in read_worth(run)
    run.write_table("predictions.csv", predictions[:0])
    assert read_worth(run) == run.read_metrics()


def test_test_images_are_told_at_the_same_threshold_as_validation(run):
    predictions = pd.DataFrame({
        "path": list("abcdef"), "split": ["validation"] * 3 + ["test"] * 3, "group": "",
        "label": [0, 1, 1, 0, 1, 1], "probability": [0.1, 0.9, 0.9, 0.3, 0.3, 0.9],
    })  # fmt: skip
    run.write_json("metrics.json", {"threshold": 0.5, **evaluate_predictions(predictions[:3], 0.5),
                                    "test": {"positive_class": "x", "threshold": 0.5}
                                    | evaluate_predictions(predictions[3:], 0.5)})  # fmt: skip
    run.write_table("predictions.csv", predictions)
    assert read_worth(run)["test"]["image"]["specificity"]["value"] == 1.0

    write_decision(run, Decision(Goal("hand", 0.2), 0.2))

    test = read_worth(run)["test"]
    assert (test["threshold"], test["positive_class"]) == (0.2, "x")
    assert test["image"]["specificity"]["value"] == 0.0
    assert test["image"]["sensitivity"]["value"] == 1.0
    assert read_worth(run)["image"]["accuracy"]["n"] == 3


@pytest.mark.parametrize(
    "change",
    [{"image": 5}, {"image": None}, {"patient": {}}, {"threshold": None}, {"test": {}},
     {"calibration": {}}, {"image": {"accuracy": {"value": 1.0}}}],
)  # fmt: skip
def test_numbers_that_lack_something_are_not_sound(change):
    metrics = DEMO_RUN.read_metrics()
    assert is_sound(metrics)
    assert not is_sound(metrics | change)
    broken = json.loads(json.dumps(metrics))
    broken["image"]["auc"]["low"] = "0.9"
    assert not is_sound(broken)
    broken["image"]["auc"] |= {"low": None, "n": None}
    assert not is_sound(broken)
    assert not is_sound(None)


@pytest.fixture
def demo(tmp_path):
    demo = Run(shutil.copytree(DEMO_RUN.directory, tmp_path / "demo"))

    def change(**training):
        config = json.loads(demo.path("config.json").read_text())
        config["settings"]["training"] |= training
        demo.write_json("config.json", config)
        return list_choices(demo)

    return demo, change


def test_what_was_chosen_by_validation_is_listed(demo):
    run, change = demo
    fitted = ["the temperature was fitted"]
    plain = {"keep": "last", "early_stopping_patience": 0, "monitor": "val_loss",
             "schedule": "constant"}  # fmt: skip
    assert change(**plain) == fitted
    assert change(**plain | {"keep": "best"}) == ["the epoch was chosen", *fitted]
    assert change(**plain | {"keep": "best", "monitor": "loss"}) == fitted
    assert change(**plain | {"schedule": "plateau"}) == ["the learning rate was lowered", *fitted]
    assert change(**plain | {"schedule": "plateau", "monitor": "loss"}) == fitted
    write_decision(run, Decision(Goal("youden"), 0.4, Band(0.3, 0.5)))
    assert change(**plain) == [*fitted, "the threshold was chosen", "the band was chosen"]
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.5)))
    assert change(**plain) == fitted
    values = run.read_metrics()
    del values["calibration"]
    run.write_json("metrics.json", values)
    assert change(**plain) == []


def test_fewer_epochs_than_planned_are_of_a_hand_unless_patience_was_lost(demo):
    run, change = demo
    change(keep="last", early_stopping_patience=0, monitor="val_loss")
    assert not was_ended_by_hand(run)
    run.cut_history(30)
    assert was_ended_by_hand(run)
    assert "the end of training may have been chosen" in list_choices(run)
    best = int(run.read_history()["val_loss"].argmin()) + 1
    change(early_stopping_patience=30 - best)
    assert not was_ended_by_hand(run)
    change(early_stopping_patience=31 - best)
    assert was_ended_by_hand(run)
    run.write_json("status.json", {"state": "failed", "message": ""})
    assert not was_ended_by_hand(run)
    run.path("history.csv").unlink()
    assert not was_ended_by_hand(run)
