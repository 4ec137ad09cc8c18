"""What a report and a card must not say, such as numbers of another threshold or other images."""

import html
import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from polyp_core import words
from polyp_core.audit import Audit
from polyp_core.audit.counts import find_counts
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.exports.sharing import write_shared_run
from polyp_core.metrics import evaluate_predictions
from polyp_core.origins import FILE
from polyp_core.presets import get_preset
from polyp_core.report import _WRITERS as WRITERS
from polyp_core.report import write_comparison, write_model_card, write_report
from polyp_core.report.auditing import Audited
from polyp_core.report.facts import RunFacts
from polyp_core.report.layers import list_layers
from polyp_core.report.page import hide_names
from polyp_core.report.repeating import write_command
from polyp_core.report.verdicts import list_limits
from polyp_core.runs import Run
from polyp_core.study import Study, summarise
from polyp_core.workspace import DEMO_RUN
from tests.core.studies import finish_member, make_index, make_study
from tests.core.test_checks_wording import make_border, make_found, make_place


def read_text(run: Run, *names: str) -> str:
    """What sections say, as text on one line."""
    facts = RunFacts(run)
    return to_text("".join(WRITERS[name](facts) for name in names))


def to_text(page: str) -> str:
    text = html.unescape(re.sub("<[^>]*>", " ", page)).replace("\N{NO-BREAK SPACE}", " ")
    return " ".join(text.split())


def copy_demo(folder) -> Run:
    return Run(shutil.copytree(DEMO_RUN.directory, folder / "run"))


def change_settings(run: Run, **sections) -> None:
    config = json.loads(run.path("config.json").read_text())
    for section, values in sections.items():
        config["settings"][section] |= values
    run.write_json("config.json", config)


def give_test_images(run: Run) -> pd.DataFrame:
    """Let a part of what was judged be test images."""
    predictions = run.read_predictions()
    predictions.loc[predictions["group"] < "patient-100", "split"] = "test"
    is_test = predictions["split"] == "test"
    run.write_table("predictions.csv", predictions)
    metrics = run.read_metrics() | evaluate_predictions(predictions[~is_test], 0.5)
    metrics["test"] = evaluate_predictions(predictions[is_test], 0.5)
    run.write_json("metrics.json", metrics)
    return predictions[is_test]


def make_ensemble(tmp_path, monkeypatch, *, num_patients=12, splits=None, **options) -> Run:
    """The run of all members of a study, as its worker leaves it, but without a model."""
    index = make_index(tmp_path / "data", num_patients, splits)
    study = make_study(
        monkeypatch, tmp_path / "studies", index, "training.seed=5", num_seeds=2, **options
    )
    labels = index.images.set_index("path")["label"]
    for member in study.whole_members:
        given = {path: 0.7 if label else 0.3 for path, label in labels.items()}
        finish_member(study, member, given)
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    ensemble, plan, images = study.ensemble, study.read_plan(), study.read_index().images
    ensemble.directory.mkdir()
    kept = {key: plan[key] for key in ("settings", "class_names", "folder")}
    ensemble.write_json("config.json", {"task": "train", **kept})
    if plan["num_folds"] > 1:
        images = images.assign(split="train")
    ensemble.write_table("index.csv", images.drop(columns="fold"))
    for name in ("metrics.json", "predictions.csv"):
        shutil.copy(study.files.path(name), ensemble.path(name))
    ensemble.write_json("status.json", {"state": "finished", "message": "Finished"})
    return ensemble


def test_one_threshold_counts_for_validation_and_test_alike(tmp_path):
    run = copy_demo(tmp_path)
    rows = give_test_images(run)
    write_decision(run, Decision(Goal("hand", 0.05), 0.05))
    at, before = (evaluate_predictions(rows, threshold)["patient"] for threshold in (0.05, 0.5))
    assert at["accuracy"]["value"] != before["accuracy"]["value"]

    card, page = write_model_card(run), read_text(run, "summary", "performance")

    sentence = words.say_worth(at, "patients")
    assert f"On test images {sentence}" in card
    assert f"On test images {to_text(sentence)}" in page
    assert card.count(words.say_percent(at["accuracy"]).split(" (")[0]) >= 2
    assert f"value: {at['accuracy']['value']!r}" in card
    assert f"value: {before['accuracy']['value']!r}" not in card
    assert f"Test {words.say_percent(at['accuracy'])}" in " ".join(
        re.findall('aria-label="([^"]*)"', WRITERS["summary"](RunFacts(run)))
    )


def test_numbers_that_cannot_be_counted_anew_name_their_own_threshold(tmp_path):
    run = copy_demo(tmp_path)
    give_test_images(run)
    write_decision(run, Decision(Goal("hand", 0.05), 0.05))
    run.path("predictions.csv").unlink()

    assert "At the threshold of 50.0 %" in read_text(run, "performance")
    assert "All at the threshold of 50.0\N{NO-BREAK SPACE}%" in write_model_card(run)


def test_other_data_stand_beside_their_own_baseline_with_their_own_unit(tmp_path):
    run = copy_demo(tmp_path)
    rows = run.read_predictions().assign(group="")
    most = rows["label"].eq(1).cumsum().le(4) | rows["label"].eq(0)
    other = rows[most].reset_index(drop=True)
    metrics = evaluate_predictions(other, 0.5)
    files = Run(run.directory / "evaluations" / "ward")
    files.directory.mkdir(parents=True)
    shutil.copy(run.path("config.json"), files.path("config.json"))
    files.write_json("metrics.json", metrics | {"threshold": 0.5})
    files.write_json("status.json", {"state": "finished", "message": "Finished"})

    chart = WRITERS["summary"](RunFacts(run))
    alt = html.unescape(re.search('aria-label="(Accuracy: [^"]*)"', chart)[1])

    baseline = words.round_percent(metrics["image"]["majority_accuracy"]["value"])
    of_validation = run.read_metrics()["patient"]["majority_accuracy"]["value"]
    assert baseline != words.round_percent(of_validation)
    said = words.say_percent(metrics["image"]["accuracy"])
    assert f"ward {said}, n = {len(other)} images, majority baseline {baseline} %" in alt
    assert f"majority baseline {words.round_percent(of_validation)} %;" in alt
    assert f"ward, {len(other)} images" in chart
    assert "At the threshold of 50.0 %" in read_text(run, "performance").split("Other data")[1]
    assert "by patient" not in chart.split("<dl")[0]
    lines = re.findall(r'<polyline points="([\d.]+),[\d.]+ ', chart)
    assert len(set(lines)) == 2  # each row has its own dashes


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_ensemble_tells_the_same_when_it_was_given_away(tmp_path, monkeypatch, is_shared):
    ensemble = make_ensemble(tmp_path, monkeypatch)
    run = write_shared_run(ensemble, tmp_path / "away") if is_shared else ensemble

    page, card = to_text(write_report(run)), write_model_card(run)

    assert "mine, all members together" in page
    assert "mean of the members of a study of 2 folds and 2 seeds" in page
    assert "were kept for validation" not in page
    assert "No epoch was finished" not in page
    assert "temperature was fitted on the images that judge it" in page
    assert "Neither epoch nor threshold" not in page
    assert "each judged by models that had not seen it" in html.unescape(write_report(run))
    assert "python -m polyp_core study DATA" in page
    assert "--folds 2 --seeds 2" in card
    assert "Seeds 5 and 6." in card
    assert "Seed 5 and 6" in page
    assert "library_name: litert\n" in card
    assert "keras" not in card.split("---")[1]
    assert "of each the last epoch is kept" in card or "of each the best epoch is kept" in card


def test_a_study_of_one_fold_says_what_its_split_is(tmp_path, monkeypatch):
    splits = ["train"] * 16 + ["validation"] * 8
    splits[15] = "validation"  # one patient on both sides
    ensemble = make_ensemble(tmp_path, monkeypatch, splits=splits, num_folds=1)

    page = to_text(write_report(ensemble))

    assert "a study of 1 fold and 2 seeds" in page
    assert "1 folds" not in page
    assert "1 patient with images on both sides" in page
    assert "1 patient on both sides" in page
    assert "by patient, in folds" not in page
    flow = re.search("Flow of the images[^>]*", WRITERS["data"](RunFacts(ensemble)))[0]
    assert "had not seen it" not in flow
    assert "Most members were trained" not in page


def test_a_member_of_a_study_says_so_and_repeats_the_study(tmp_path, monkeypatch):
    ensemble = make_ensemble(tmp_path, monkeypatch)
    run = Run(ensemble.directory.parent / "members" / "fold-2-seed-6")

    page, card = to_text(write_report(run)), write_model_card(run)

    assert "one training of the study 'mine' of 2 folds and 2 seeds: fold 2, seed 6." in page
    assert "were kept for validation" not in page
    assert "The folds were drawn with seed" in page
    assert "repeats the whole study, of which this training is the member 'fold-2-seed-6'" in page
    for text in (page, card):
        assert "polyp_core study DATA" in text
        assert "polyp_core train DATA" not in text
    assert "the member fold-2-seed-6 of the study 'mine'" in card


def test_the_demo_model_stays_synthetic_when_it_was_given_away(tmp_path):
    run = write_shared_run(DEMO_RUN, tmp_path / "away")

    page, card = to_text(write_report(run)), write_model_card(run)

    for text in (page, card):
        assert "Demo model (synthetic images)" in text
        assert "All images are synthetic" in text
    assert "python -m polyp_core demo DATA --patients 200" in page
    assert "predict demo IMAGE_OR_FOLDER" in card


def test_weights_that_were_given_are_told_and_their_place_is_not(tmp_path):
    run = copy_demo(tmp_path)
    transfer = replace(get_preset("transfer").model, backbone_weights="/home/smith/usfm.h5")
    change_settings(run, model=asdict(transfer), training={"ema": 0.0})
    config = run.read_config()
    assert "backbone_weights=WEIGHTS" in write_command(config)
    away = copy_demo(tmp_path / "away")
    without = asdict(replace(transfer, backbone_weights=""))
    change_settings(away, model=without, training={"ema": 0.0})
    away.write_json(FILE, {"own_backbone_weights": True, "patients_known": True, "study": None})

    for one in (run, away):
        page, card = read_text(one, "repeat", "network"), write_model_card(one)
        assert "smith" not in page + card
        for text in (page, card):
            assert "--set model.backbone_weights=WEIGHTS" in text
            assert "for the file of weights that the backbone began from" in text
        assert "begun from a file of weights that was given" in page
        assert "photographs" not in page
    assert "trained on photographs" in list_layers(transfer)[1].name


def test_a_card_names_no_pattern_of_patients(tmp_path):
    run = copy_demo(tmp_path)
    change_settings(run, data={"group_pattern": "(Schulz|Meyer)"})

    card = write_model_card(run)

    assert "Schulz" not in card
    assert "--set data.group_pattern=PATTERN" in card
    assert "PATTERN for the pattern that finds the patients in file names" in card


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_file_that_stands_for_itself_is_no_patient(tmp_path, is_shared):
    run = copy_demo(tmp_path)
    for name, rows in (("index.csv", run.read_index().images),
                       ("predictions.csv", run.read_predictions())):  # fmt: skip
        run.write_table(name, rows.assign(group=rows["path"]))
    run.write_json("metrics.json", run.read_metrics()
                   | evaluate_predictions(run.read_predictions(), 0.5))  # fmt: skip
    run = write_shared_run(run, tmp_path / "away") if is_shared else run

    page, card = to_text(write_report(run)), write_model_card(run)

    assert "The split is by patient" not in page
    assert "Patients are unknown, of all images or of some" in card
    assert "counts as a patient of its own" in page
    assert not re.search(r"\d+ images of \d+ patients", read_text(run, "data", "split"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'O'Brien_1.png' is of 'O'Brien'.", "(a name)."),
        ("3 files, such as 'a.png' of 'Meyer'.", "3 files, such as (a name) of (a name)."),
        ("Only 3 of class 'calcified' are there.", "Only 3 of class 'calcified' are there."),
        ("'Meyer' has no 'calcified' one", "(a name) has no 'calcified' one"),
        ("The patient 'D'Arco' is in 'calcified'", "The patient (a name)"),
        ("2 patients were found by names: 'a.png' is of 'a'.", "2 patients were found by names."),
        ("1 patient was found by names: 'O'B_1.png' is of 'O'B'.", "1 patient was found by names."),
        ("Only these: 'calcified' has 3.", "Only these: 'calcified' has 3."),
        ("No quotes", "No quotes"),
    ],
)
def test_names_with_an_apostrophe_are_hidden_as_well(text, expected):
    assert hide_names(text, ("none", "calcified")) == expected


def test_training_that_was_ended_by_hand_is_not_repeated_by_the_command_alone(tmp_path):
    run = copy_demo(tmp_path)
    change_settings(run, training={"keep": "last", "early_stopping_patience": 0})
    run.cut_history(30)

    page, card = read_text(run, "selection", "repeat", "performance"), write_model_card(run)

    assert "ended by hand, after 30 of 120 epochs, by someone who could see" in page
    assert "No result chose this epoch" not in page
    assert "Neither epoch nor threshold was chosen" not in page
    assert "on these same images the end of training may have been chosen" in page
    assert "end it by hand after epoch 30 as well" in page
    assert "kind of processor" in page
    assert "30 of 120 planned epochs of images (ended by hand)" in card


def test_early_stopping_is_no_hand_and_a_whole_training_no_end(tmp_path):
    run = copy_demo(tmp_path)
    change_settings(run, training={"keep": "last", "early_stopping_patience": 0})
    assert "No result chose this epoch" in read_text(run, "selection")
    assert "| 120 epochs" not in write_model_card(run)
    assert "120 epochs of images" in write_model_card(run)
    history = run.read_history()
    best = int(history["epoch"].iloc[history["val_loss"][:30].argmin()])
    change_settings(run, training={"monitor": "val_loss", "early_stopping_patience": 30 - best})
    run.cut_history(30)

    page, card = read_text(run, "selection", "repeat", "performance"), write_model_card(run)

    assert "by hand" not in page + card
    assert "30 of 120 planned epochs of images (ended early)" in card
    assert "the epoch was chosen" in page


def test_a_learning_rate_that_followed_validation_is_said(tmp_path):
    run = copy_demo(tmp_path)
    change_settings(
        run,
        training={"keep": "last", "early_stopping_patience": 0, "schedule": "plateau",
                  "monitor": "val_loss"},
    )  # fmt: skip
    page = read_text(run, "selection", "performance")
    assert "on these same images the learning rate was lowered" in page
    assert "validation images had a part in training" in page

    change_settings(run, training={"monitor": "loss", "keep": "best"})
    page = read_text(run, "selection", "performance")
    assert "learning rate was lowered" not in page
    assert "the epoch was chosen" not in page


def test_a_band_of_equal_ends_was_not_chosen(tmp_path):
    run = copy_demo(tmp_path)
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.5)))
    assert "the band was chosen" not in read_text(run, "performance")


@pytest.mark.parametrize(
    "metrics",
    [{"image": 5, "threshold": 0.5}, {"image": {}}, {"image": None, "threshold": "x"},
     {"threshold": 0.5}, {"image": {"accuracy": {"value": None}}, "threshold": 0.5}],
)  # fmt: skip
@pytest.mark.parametrize("has_predictions", [True, False])
def test_damaged_numbers_are_none_and_no_error(tmp_path, metrics, has_predictions):
    run = copy_demo(tmp_path)
    run.write_json("metrics.json", metrics)
    if not has_predictions:
        run.path("predictions.csv").unlink()

    page, card = to_text(write_report(run)), write_model_card(run)

    assert "There are no predictions" in page or has_predictions
    assert "model-index" not in card or has_predictions


@pytest.mark.parametrize(
    "checks",
    [dict.fromkeys(("shortcuts", "robustness", "num_patients", "num_images",
                    "num_validation_images", "num_left_out")),
     {"shortcuts": 5}],
)  # fmt: skip
def test_damaged_checks_are_said_and_no_error(tmp_path, checks):
    run = copy_demo(tmp_path)
    give_checks(run, checks)

    assert "damaged or of another version" in read_text(run, "robustness")
    assert "unknown" in read_text(run, "limits")
    assert "not tested" in read_text(run, "summary")


def test_seeds_of_equal_answers_have_no_p_for_the_auc(tmp_path, monkeypatch):
    ensemble = make_ensemble(tmp_path, monkeypatch)
    text = write_comparison(Study(ensemble.directory.parent))
    cells = re.findall("<td[^>]*>(.*?)</td>", re.search("<tr><td>seed 6</td>.*?</tr>", text)[0])

    assert cells[2] == "not defined"
    assert cells[4] == "1.00"  # McNemar of nothing against nothing
    assert "1 of 2 could not be tested" in to_text(text)
    assert "p (DeLong)" in text


def test_tests_by_image_are_named_after_what_they_are(tmp_path, monkeypatch):
    ensemble = make_ensemble(tmp_path, monkeypatch)
    for path in (ensemble.directory.parent / "members").glob("*/predictions.csv"):
        rows = Run(path.parent).read_predictions()
        rows.loc[rows["path"].isin(["p0_0.png", "p1_0.png"]), "group"] = ""
        Run(path.parent).write_table("predictions.csv", rows)
    text = write_comparison(Study(ensemble.directory.parent))

    assert "p (Obuchowski)" in text
    assert "p (sign flips)" in text
    assert "DeLong's paired" not in text
    assert "McNemar" not in text


def give_checks(run: Run, checks: dict) -> None:
    files = Run(run.path("checks"))
    files.directory.mkdir()
    shutil.copy(run.path("config.json"), files.path("config.json"))
    files.write_json("checks.json", checks)
    files.write_json("status.json", {"state": "finished", "message": "Finished"})


def test_a_threshold_for_sensitivity_is_no_failure_and_the_default_nobodys_choice(tmp_path):
    run = copy_demo(tmp_path)
    came = read_text(run, "threshold")
    assert "from a probability of 50.0 % on, as the model came." in came
    assert "set by hand" not in came

    write_decision(run, Decision(Goal("sensitivity", 1.0), 0.001))
    said = "This threshold is for at least 100 % sensitivity, and pays for it with right answers."
    for text in (read_text(run, "summary"), read_text(run, "limits"), write_model_card(run)):
        assert said in text
        assert "worse than that" not in text
    assert "it is for at least 100 % sensitivity, and was chosen on" in read_text(run, "threshold")

    write_decision(run, Decision(Goal("hand", 0.001), 0.001))
    assert "0.1 % on, set by hand." in read_text(run, "threshold")
    assert "It is worse than that" in write_model_card(run)


def test_what_the_checks_have_found_stands_among_the_limits(tmp_path):
    run = copy_demo(tmp_path)
    text = make_place(0.01, 0.01, (-1.0, 1.0), num_with=1)
    text["all"]["saliency"]["n"] = 1
    give_checks(run, make_found(text=text, border=make_border()))

    limits, card = read_text(run, "limits"), write_model_card(run)
    assert "AUC 0.90 (0.80–1.00) falls most under noise: to 0.50" in limits
    assert "falls most under noise" in card
    assert "too few images to tell" in card
    assert "is unknown" not in limits
    assert "no sign" not in limits
    summary = read_text(run, "summary")
    assert "too few images to tell in 2 of 3 checks, no sign in the others" in summary


def test_classes_of_very_different_size_stand_among_the_limits(tmp_path):
    facts = RunFacts(copy_demo(tmp_path))
    index = replace(facts.index, images=facts.index.images.assign(label=[1] + [0] * 806))
    findings = [finding for finding in find_counts(index) if finding]
    facts.audited = Audited(audit=Audit(findings=findings, pairs=np.empty((0, 2)), counts={}))
    assert "The audit found: 99 % of the images are of class 'non-calcified'." in list_limits(facts)


def test_it_is_said_what_the_epochs_took_and_what_all_took(tmp_path):
    run = copy_demo(tmp_path)
    seconds = run.read_history()["seconds"].sum()
    run.write_json("status.json", run.read_status() | {"elapsed_s": seconds + 3600})
    epochs, whole = words.say_duration(seconds), words.say_duration(seconds + 3600)
    said = f"120 epochs of 120 done: {epochs} for the epochs and {whole} in all."
    assert said in read_text(run, "training")


@pytest.mark.parametrize(
    ("is_own", "said"),
    [(True, "The data set brings its own split, and it was kept."),
     (False, "25 % were drawn for validation, class by class, with seed")],
)  # fmt: skip
def test_it_is_said_whose_split_it_is(tmp_path, is_own, said):
    run = copy_demo(tmp_path)
    if is_own:
        index = pd.read_csv(run.path("index.csv"), dtype=str, keep_default_na=False)
        run.write_table("index.csv", index.assign(path=index["split"] + "/" + index["path"]))
    text = read_text(run, "split")
    assert said in text
    assert "Where the folder" not in text


def test_damaged_numbers_of_a_member_leave_the_comparison_readable(tmp_path, monkeypatch):
    study = Study(make_ensemble(tmp_path, monkeypatch).directory.parent)
    study.members[0].run.write_json("metrics.json", {"image": 5})
    study.files.write_json("metrics.json", {"image": 5, "threshold": 0.5})

    assert "There are no numbers yet" in write_comparison(study)
