import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polyp_core import checklists, workspace
from polyp_core.checklists import (
    MAX_ANSWER,
    SHEETS,
    count_open,
    fill_sheet,
    write_answer,
    write_sheet_html_part,
    write_sheet_markdown,
)
from polyp_core.checklists.claim import CLAIM
from polyp_core.checklists.data_facts import say_balance
from polyp_core.checklists.facts import read_facts
from polyp_core.checklists.tripod import TRIPOD
from polyp_core.config import RunConfig
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.errors import AccessError, ConfigError, RunError
from polyp_core.exports.sharing import write_shared_run
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run
from polyp_core.study import Study, summarise
from tests.core.studies import finish_member, make_index, make_study
from tests.core.test_checks_wording import make_found, make_metric, make_place

# As the specification of the report has them, which the sheets refer to.
SECTIONS = [
    "summary", "data", "audit", "split", "preprocessing", "augmentation", "network", "training",
    "selection", "performance", "calibration", "threshold", "failures", "robustness", "saliency",
    "limits", "environment", "repeat", "checklists",
]  # fmt: skip


@pytest.fixture
def run(tmp_path) -> Run:
    """The model that ships, as a run of one's own that can be changed."""
    directory = tmp_path / "mine"
    shutil.copytree(workspace.DEMO_RUN.directory, directory)
    return Run(directory)


def change_config(run: Run, *settings: str, class_names=None) -> None:
    values = json.loads(run.path("config.json").read_text())
    values["settings"] = (
        RunConfig.from_dict(values["settings"]).with_settings([*settings]).to_dict()
    )
    values["class_names"] = class_names or values["class_names"]
    run.write_json("config.json", values)


def get_item(run: Run, sheet: str, number: str) -> checklists.Item:
    return next(item for item in fill_sheet(run, sheet) if item.number == number)


def test_a_sheet_has_every_item_of_its_publication_in_order():
    assert [question.number for question in CLAIM] == [str(number) for number in range(1, 45)]
    parts = Counter(re.sub("[a-z]", "", question.number) for question in TRIPOD)
    assert list(parts) == [str(number) for number in range(1, 28)]
    assert {number: n for number, n in parts.items() if n > 1} == {
        "3": 3, "5": 2, "6": 3, "8": 3, "9": 3, "12": 7, "18": 6, "20": 3, "23": 2, "27": 3,
    }  # fmt: skip
    assert len(TRIPOD) == 52


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_item_is_a_question_and_leads_to_a_section_that_there_is(run, sheet):
    for item in fill_sheet(run, sheet):
        assert item.sheet == sheet
        assert item.question.endswith("?")
        assert item.reference in ("", *SECTIONS)
        assert (item.answer == "") == (item.origin == "open")


def test_what_only_people_know_is_open(run):
    states = {item.number: item.origin for item in fill_sheet(run, "claim")}
    assert {states[number] for number in ("3", "8", "11", "15", "16", "18", "34", "44")} == {"open"}
    states = {item.number: item.origin for item in fill_sheet(run, "tripod")}
    assert {states[number] for number in ("3c", "6c", "17", "18a", "18d", "19")} == {"open"}


def test_the_run_tells_its_own_facts(run):
    """Counted in index.csv, read in config.json, metrics.json and environment.json."""
    said = {item.number: item.answer for item in fill_sheet(run, "claim")}
    assert "Training: 604 images of 148 patients (303 non-calcified, 301 calcified)." in said["19"]
    assert "Validation: 203 images of 52 patients (102 non-calcified, 101 calcified)." in said["19"]
    assert "no patient of training is in another partition" in said["20"]
    assert "resized to 128 × 128 px" in said["9"]
    assert "rotation up to 15°" in said["9"]
    assert "163,961 numbers" in said["22"]
    assert "tensorflow 2.21.0" in said["23"]
    assert "120 epochs of batches of 16; AdamW at a learning rate of 0.002" in said["25"]
    assert "(cosine, after a warm-up over 10 % of the training)" in said["25"]
    assert "epoch 120" in said["26"]
    assert "46 of 52 patients right, 88\xa0% (95 % interval 77 to 95)" in said["37"]
    assert "Sensitivity 76\xa0% (57–89)" in said["37"]
    assert "AUC 0.97 (0.92–1.00)" in said["37"]
    assert "Threshold 0.500: as it came with the model." in said["38"]
    failures = get_item(run, "claim", "39")
    assert "Of 52 patients 6 'calcified' were missed and 0 'non-calcified'" in failures.known
    assert failures.origin == "open"  # why, a run cannot know


def test_numbers_are_those_at_the_threshold_in_use(run):
    write_decision(run, Decision(Goal("sensitivity", 0.95), 0.2, Band(0.1, 0.3)))
    rows = run.read_predictions()
    is_right = (rows["probability"] >= 0.2) == (rows["label"] == 1)
    said = get_item(run, "claim", "37").answer
    assert f"{is_right.sum()} of 203 images right" in said
    said = get_item(run, "tripod", "15").answer
    assert "Threshold 0.200: at least 95 % sensitivity, on validation." in said
    assert "From 0.100 to 0.300 no answer is given" in said
    assert "the threshold was chosen and the band" in get_item(run, "claim", "32").answer


def test_patients_on_both_sides_and_copies_are_said(run):
    index = run.read_index().images
    first = index["split"].eq("train").idxmax()
    group, sha256 = index.loc[first, ["group", "sha256"]]
    others = index.index[index["split"] == "validation"][:2]
    index.loc[others, "group"], index.loc[others, "sha256"] = group, sha256
    run.write_table("index.csv", index)
    assert get_item(run, "claim", "20").answer == (
        "Not by patient: patients that are on both sides: 1. Images outside of training with an "
        "exact copy in it: 2."
    )
    index["group"] = ""
    run.write_table("index.csv", index)
    assert "disjoint by image alone" in get_item(run, "claim", "20").answer
    assert "patients" not in get_item(run, "claim", "7").known.replace("no patient", "")


def test_a_split_that_the_folders_bring_is_said_also_of_a_copy(run, tmp_path):
    index = run.read_index().images
    index.loc[index["split"].eq("train").idxmax(), "split"] = "validation"  # as no draw has it
    index["path"] = index["split"].replace("validation", "val") + "/" + index["path"]
    run.write_table("index.csv", index)
    assert "brings its own split" in get_item(run, "claim", "19").answer
    shared = write_shared_run(run, tmp_path / "shared")  # which names no folder
    assert get_item(shared, "claim", "19").answer.startswith(
        "The data set brings its own split, and it was kept."
    )
    index["path"] = "train/" + index["path"]
    run.write_table("index.csv", index)
    assert "brings its own split" not in get_item(run, "claim", "19").answer


def test_a_split_that_was_drawn_of_a_manifest_is_not_called_the_data_sets_own(run, tmp_path):
    change_config(run, "data.folder=list.csv")
    assert get_item(run, "claim", "19").answer.startswith("25 % of the images were drawn")
    shared = write_shared_run(run, tmp_path / "shared")
    assert not json.loads(shared.path("shared.json").read_text())["own_split"]
    assert "brings its own split" not in get_item(shared, "claim", "19").known


@pytest.mark.parametrize("damage", ["{", '{"answers": {"claim": 5}}', '{"answers": [1]}'])
def test_damaged_answers_do_not_go_into_a_copy(run, tmp_path, damage, caplog):
    run.path("checklists.json").write_text(damage)
    shared = write_shared_run(run, tmp_path / "shared")
    assert not shared.path("checklists.json").exists()
    assert "holds no answers and was left out" in caplog.text
    write_answer(run, "claim", "44", "A grant.")
    again = write_shared_run(run, tmp_path / "again")
    assert get_item(again, "claim", "44").answer == "A grant."


def test_other_settings_give_other_sentences(run):
    change_config(
        run, "model.network=transfer", "model.mirror=1", "training.ema=0", "data.region=box",
        "data.region_box=10,20,90,100", "training.keep=best", "training.early_stopping_patience=5",
        "training.class_weights=balanced", "training.shuffled_labels=1",
        "augmentation.gain_db=3", "augmentation.gain_probability=0.5",
        "augmentation.rotation_deg=0", "training.schedule=step",
    )  # fmt: skip
    said = {item.number: item.answer for item in fill_sheet(run, "claim")}
    assert "10–90 % of the width, 20–100 % of the height" in said["9"]
    assert "gain up to 3 dB in 50 % of the images" in said["9"]
    assert "rotation" not in said["9"]
    assert "the backbone mobilenet-v3-small" in said["22"]
    assert "Keras' weights for ImageNet" in said["24"]
    assert "backbone at rest for 5 epochs" in said["25"]
    assert "labels were dealt out at random" in said["25"]
    assert "times 0.5 every 10 epochs" in said["25"]
    assert "lowest validation loss" in said["26"]
    assert "mirror image" in said["27"]
    assert "the epoch was chosen" in said["32"]
    assert "weighted to count alike" in get_item(run, "tripod", "13").answer


def test_not_applicable_is_what_the_run_proves(run):
    assert get_item(run, "claim", "27").origin == "not applicable"
    assert get_item(run, "tripod", "24").origin == "run"  # a temperature was fitted
    metrics = run.read_metrics()
    del metrics["calibration"]
    run.write_json("metrics.json", metrics)
    assert get_item(run, "tripod", "24").origin == "not applicable"
    write_decision(run, Decision(Goal("hand", 0.3), 0.3))
    for number in ("12f", "24"):
        item = get_item(run, "tripod", number)
        assert item.origin == "run"
        assert "on the validation images the threshold was chosen" in item.answer
    run.path("decision.json").unlink()
    change_config(run, "model.network=transfer", "training.ema=0", "model.mirror=1")
    assert get_item(run, "tripod", "24").origin == "open"
    assert get_item(run, "claim", "27").origin == "run"


def test_what_was_not_tested_is_open_until_it_is(run):
    item = get_item(run, "claim", "33")
    assert (item.origin, item.reference) == ("open", "")
    assert "Other data" in item.known
    files = Run(run.directory / "evaluations" / "else*where")
    files.directory.mkdir(parents=True)
    shutil.copy(run.path("config.json"), files.path("config.json"))
    metrics = run.read_metrics() | {"num_validation_images": 3}
    files.write_json("metrics.json", metrics)
    item = get_item(run, "claim", "33")
    assert item.origin == "run"
    assert "On 'else*where': 46 of 52 patients right" in item.answer
    assert "3 of its images are images that the model was validated on" in item.answer


def test_the_checks_answer_for_robustness_and_shortcuts(run):
    assert get_item(run, "claim", "30").origin == "open"
    files = Run(run.directory / "checks")
    files.directory.mkdir()
    shutil.copy(run.path("config.json"), files.path("config.json"))
    nothing = make_place(num_with=0)
    nothing["all"]["saliency"] = make_metric(None, reason="No text was found.")
    files.write_json("checks.json", make_found(text=nothing))
    said = get_item(run, "claim", "30").answer
    assert said.startswith(
        "On 20 validation images, accuracy by image: 75\xa0% (53–89) as they are; "
    )
    assert "noise (40 of 255 grey levels) 75\xa0% (53–89)" in said
    said = get_item(run, "claim", "31").answer
    assert "31\xa0% (26–36) of the saliency lies outside the scan area, which takes 40\xa0%" in said
    assert "the AUC is 0.84 (0.70–0.90) instead of 0.90 (0.80–0.95)" in said
    assert "No text was found" not in said
    files.write_json("checks.json", make_found() | {"robustness": []})  # damaged in a part
    assert get_item(run, "claim", "30").origin == "open"
    assert "of the saliency" in get_item(run, "claim", "31").answer
    files.write_json("checks.json", {"robustness": []})  # of another version
    assert get_item(run, "claim", "30").origin == "open"
    assert "of the saliency" not in get_item(run, "claim", "31").answer


def test_a_persons_answer_comes_first_and_the_runs_stays_beside_it(run):
    before = count_open(fill_sheet(run, "claim"))
    write_answer(run, "claim", "44", "  A grant.\r\nNo part.  ")
    write_answer(run, "claim", "9", "Cropped by hand before.")
    own, known = get_item(run, "claim", "44"), get_item(run, "claim", "9")
    assert (own.origin, own.answer) == ("person", "A grant.\nNo part.")
    assert (known.origin, known.answer) == ("person", "Cropped by hand before.")
    assert "128 × 128 px" in known.known
    assert count_open(fill_sheet(run, "claim")) == before - 1
    assert get_item(run, "tripod", "9a").origin == "run"  # each sheet is its own
    write_answer(run, "claim", "44", "")
    write_answer(run, "claim", "9", " ")
    assert count_open(fill_sheet(run, "claim")) == before
    assert get_item(run, "claim", "9").origin == "run"
    assert json.loads(run.path("checklists.json").read_text()) == {"answers": {}}


def test_damaged_answers_are_passed_over_and_kept_aside(run):
    run.path("checklists.json").write_text('{"answers": {"claim": {"44": "half')
    assert get_item(run, "claim", "44").origin == "open"
    write_answer(run, "claim", "44", "A grant.")
    assert get_item(run, "claim", "44").answer == "A grant."
    assert "half" in run.path("checklists.damaged-1.json").read_text()
    run.path("checklists.json").write_text("[2]")
    write_answer(run, "claim", "44", "Again.")
    assert "half" in run.path("checklists.damaged-1.json").read_text()
    assert run.path("checklists.damaged-2.json").read_text() == "[2]"
    values = {"claim": {"44": 5, "99": "x", "11": "\ud800"}, "other": {"1": "x"}, "tripod": []}
    run.path("checklists.json").write_text(json.dumps({"answers": values}))
    assert get_item(run, "claim", "44").origin == "open"
    assert get_item(run, "claim", "11").answer == "?"
    assert count_open(fill_sheet(run, "tripod")) > 0


def test_an_answer_leaves_those_of_other_versions_as_they_are(run):
    others = {"claim": {"99": "of item 99", "3": "half a character: ?"}, "stard": {"1": "A"}}
    text = json.dumps({"answers": others}).replace(": ?", ": \\ud800")
    run.path("checklists.json").write_text(text)
    write_answer(run, "tripod", "17", "Yes.")
    kept = json.loads(run.path("checklists.json").read_text())["answers"]
    assert kept == others | {"tripod": {"17": "Yes."}}


def test_answers_that_cannot_be_read_for_once_are_not_moved_away(run, monkeypatch):
    write_answer(run, "claim", "44", "A grant.")
    read_text = Path.read_text

    def fail(path, **options):
        if path.name == "checklists.json":
            raise OSError(5, "Input/output error")
        return read_text(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fail)
        with pytest.raises(RunError, match="Input/output error"):
            write_answer(run, "claim", "3", "x")
        assert get_item(run, "claim", "44").origin == "open"
    assert get_item(run, "claim", "44").answer == "A grant."
    assert not list(run.directory.glob("checklists.damaged*"))


def test_an_answer_to_a_run_that_was_deleted_does_not_bring_it_back(run):
    shutil.rmtree(run.directory)
    with pytest.raises(RunError, match=r"cannot be written.*No such file"):
        write_answer(run, "claim", "44", "x")
    assert not run.directory.exists()


def test_an_answer_that_cannot_be_kept_says_why(run, monkeypatch):
    with pytest.raises(ConfigError, match=r"no such item.*44.*Received: '45'"):
        write_answer(run, "claim", "45", "x")
    with pytest.raises(ConfigError, match=r"no such checklist.*claim, tripod.*'stard'"):
        write_answer(run, "stard", "1", "x")
    with pytest.raises(ConfigError, match=r"too long.*at most 4,000.*Received: 4,001"):
        write_answer(run, "claim", "44", "x" * (MAX_ANSWER + 1))
    write_answer(run, "claim", "44", "x" * MAX_ANSWER)
    run.path("checklists.json").unlink()
    run.path("checklists.json").mkdir()
    with pytest.raises(RunError, match=r"cannot be written.*Expected a folder"):
        write_answer(run, "claim", "44", "x")
    monkeypatch.setenv("POLYP_DEMO", "1")
    with pytest.raises(AccessError, match="Answering a checklist is off on this shared demo"):
        write_answer(run, "claim", "44", "x")


def test_answers_for_the_demo_model_lie_in_the_workspace():
    write_answer(workspace.DEMO_RUN, "tripod", "17", "Not needed: synthetic.")
    assert get_item(workspace.DEMO_RUN, "tripod", "17").answer == "Not needed: synthetic."
    assert not workspace.DEMO_RUN.path("checklists.json").exists()
    assert list(workspace.get_workspace_dir().rglob("checklists.json"))


def test_a_run_that_failed_or_lost_its_files_has_a_sheet_all_the_same(run):
    for name in ("index.csv", "predictions.csv", "metrics.json", "history.csv", "status.json",
                 "serving.json", "environment.json", "familiarity.json"):  # fmt: skip
        run.path(name).unlink()
    items = {item.number: item for item in fill_sheet(run, "claim")}
    assert {items[number].origin for number in ("20", "23", "37")} == {"open"}
    assert items["22"].origin == "run"
    assert fill_sheet(run, "tripod")
    run.write_json("status.json", {"state": "failed", "message": "x", "elapsed_s": 3})
    claim = {item.number: item.origin for item in fill_sheet(run, "claim")}
    tripod = {item.number: item.origin for item in fill_sheet(run, "tripod")}
    told = {number for number, origin in claim.items() if origin != "open"}
    assert told == {"9", "12", "22", "24", "27"}  # what is settled before a training begins
    told = {number for number, origin in tripod.items() if origin != "open"}
    assert told == {"7", "9a", "11", "12b", "13"}
    run.path("metrics.json").write_text('{"image": 5, "threshold": 0.5}')
    run.path("environment.json").write_text('{"packages": 3, "devices": 4}')
    assert fill_sheet(run, "claim")
    run.path("config.json").write_text("{}")
    with pytest.raises(RunError, match="is not a run"):
        fill_sheet(run, "claim")


def test_without_a_single_validation_image_no_result_is_told(run):
    nothing = run.read_predictions().iloc[:0]
    run.write_table("predictions.csv", nothing)
    run.write_json("metrics.json", {"threshold": 0.5, **evaluate_predictions(nothing, 0.5)})
    for number in ("28", "29", "32", "37", "38"):
        assert get_item(run, "claim", number).origin == "open", number
    assert "no images to test on" not in write_sheet_markdown(run, "claim")


def test_how_the_images_were_divided_is_one_thing_or_open(run):
    assert get_item(run, "claim", "19").answer.startswith("25 % of the images were drawn")
    index = run.read_index().images
    first = index["split"].eq("train").idxmax()
    index.loc[first, "split"] = "validation"  # which no draw with these settings gives
    run.write_table("index.csv", index)
    assert get_item(run, "claim", "19").origin == "open"
    assert "Training: 603 images" in get_item(run, "claim", "19").known
    assert get_item(run, "tripod", "12a").origin == "open"
    change_config(run, "data.folder=list.csv")
    assert "The data set's manifest brings its own split" in get_item(run, "claim", "19").answer


def test_what_followed_validation_is_said(run):
    assert "the learning rate" not in get_item(run, "claim", "32").answer
    change_config(run, "training.schedule=plateau", "training.monitor=val_loss", "training.ema=0")
    said = get_item(run, "claim", "32").answer
    assert "on them the learning rate was lowered and the temperature was fitted" in said
    assert "no part" not in said
    history = run.read_history()
    run.write_table("history.csv", history.iloc[:30])
    assert "ended by hand after 30 of 120 epochs" in get_item(run, "claim", "26").answer
    assert "not chosen by its results" not in get_item(run, "claim", "26").answer
    assert "the end of training may have been chosen" in get_item(run, "claim", "32").answer
    change_config(run, "training.monitor=loss", "training.keep=best")  # which validation is not
    said = get_item(run, "claim", "32").answer
    assert "the learning rate" not in said
    assert "the epoch was chosen" not in said


def test_drawing_patients_alike_tells_what_that_makes_of_the_classes(run):
    """One positive patient with three images and one negative with one: 3 of 4, drawn 1 of 2."""
    change_config(run, "training.sampling=patients")
    index = run.read_index().images
    rows = (
        index[index["split"] == "train"]
        .iloc[:4]
        .assign(label=[1, 1, 1, 0], group=["a", "a", "a", "b"], sha256=["1", "2", "3", "4"])
    )
    run.write_table("index.csv", rows)
    said = say_balance(read_facts(run))
    assert said.startswith("75 % of the training images are 'calcified'; no class is weighted")
    assert "so that 50 % of the images drawn are 'calcified'" in said


def test_a_band_of_no_width_is_none(run):
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.5)))
    assert "no answer is given" not in get_item(run, "tripod", "15").answer
    assert "band" not in get_item(run, "claim", "32").answer
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.6)))
    assert "From 0.500 to 0.600 no answer is given" in get_item(run, "tripod", "15").answer
    assert "band" in get_item(run, "claim", "32").answer


def test_files_that_stand_for_themselves_are_no_patients_here_and_when_given_away(run, tmp_path):
    for name, table in (
        ("index.csv", run.read_index().images), ("predictions.csv", run.read_predictions())
    ):  # fmt: skip
        run.write_table(name, table.assign(group=table["path"]))
    metrics = evaluate_predictions(run.read_predictions(), 0.5)
    run.write_json("metrics.json", {**run.read_metrics(), **metrics})
    for which in (run, write_shared_run(run, tmp_path / "given")):
        assert "disjoint by image alone" in get_item(which, "claim", "20").answer
        assert "Patients are not known" in get_item(which, "claim", "40").known
        said = get_item(which, "claim", "37").answer
        assert "173 of 203 cases right" in said
        assert "patients right" not in said
        assert "by image instead" not in said  # it would be the same again
        assert "counted by case" in get_item(which, "claim", "29").answer


def test_the_demo_model_given_away_is_still_of_synthetic_images(tmp_path):
    shared = write_shared_run(workspace.DEMO_RUN, tmp_path / "given")
    assert "Synthetic ultrasound images" in get_item(shared, "claim", "7").known
    assert "All images are synthetic." in get_item(shared, "claim", "40").known
    assert get_item(shared, "claim", "19") == get_item(workspace.DEMO_RUN, "claim", "19")


def test_own_weights_of_a_backbone_stay_own_when_given_away(run, tmp_path):
    change_config(run, "model.network=transfer", "training.ema=0", "data.folder=/data/Meyer_Hans")
    change_config(run, "model.backbone_weights=/home/smith/own.h5")
    run.write_json("serving.json", run.read_serving() | {"sha256": "0" * 64})  # no demo model
    for which in (run, write_shared_run(run, tmp_path / "given")):
        assert "from a file of weights that was given" in get_item(which, "claim", "24").answer
    assert "'Meyer_Hans'" in get_item(run, "claim", "7").known
    said = get_item(which, "claim", "7").known
    assert said.startswith("What the data set is called was left out")


def make_ensemble(monkeypatch, tmp_path, num_folds: int) -> Study:
    """A finished study of two seeds and its ensemble, as the study's worker leaves it."""
    study = make_study(
        monkeypatch, tmp_path / "studies", make_index(tmp_path), "training.seed=5",
        num_folds=num_folds, num_seeds=2,
    )  # fmt: skip
    images = study.read_index().images
    for number, member in enumerate(study.members):
        guesses = {
            row.path: 0.9 if row.label else 0.1 + 0.01 * number for row in images.itertuples()
        }
        finish_member(study, member, guesses)
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    ensemble, plan = study.ensemble, study.read_plan()
    ensemble.directory.mkdir()
    kept = {key: plan[key] for key in ("settings", "class_names", "folder")}
    ensemble.write_json("config.json", {"task": "train", **kept})
    split = images["split"] if num_folds == 1 else "train"
    ensemble.write_table("index.csv", images.drop(columns="fold").assign(split=split))
    ensemble.write_table("predictions.csv", predictions)
    ensemble.write_json("metrics.json", metrics)
    ensemble.write_json("status.json", {"state": "finished", "message": "Finished"})
    return study


def test_a_study_answers_for_its_ensemble_here_and_when_given_away(monkeypatch, tmp_path):
    study = make_ensemble(monkeypatch, tmp_path, 2)
    study.members[0].run.write_json("environment.json", {"packages": {"keras": "3.x"}})
    write_answer(study.ensemble, "claim", "44", "Nobody.")
    assert (study.directory / "checklists.json").is_file()  # the ensemble is made anew at times
    for run in (study.ensemble, write_shared_run(study.ensemble, tmp_path / "given")):
        said = {item.number: item.answer for item in fill_sheet(run, "claim")}
        assert "dealt to 2 folds" in said["19"]
        assert "drawn for validation" not in said["19"]
        assert said["20"] == "By patient: all images of a patient are in one fold."
        assert "with seeds 5 and 6" in said["24"]
        assert said["25"].startswith("Each member: ")
        assert "seeds 5 and 6" in said["25"]
        assert "the mean of 4 networks" in said["27"]
        assert "By cross-validation" in said["32"]
        assert "Each member's temperature was fitted on the images that judge it" in said["32"]
        assert "In cross-validation 6 of 6 patients right" in said["37"]
        assert said["44"] == "Nobody."
        assert "keras 3.x" in get_item(run, "claim", "23").known
        assert "seeds 5 and 6" in get_item(run, "claim", "42").known
        events = get_item(run, "tripod", "21").answer
        assert "Fitted on all folds but one of 12 images of 6 patients" in events


def test_a_member_says_that_its_split_is_a_fold_here_and_when_given_away(monkeypatch, tmp_path):
    member = make_ensemble(monkeypatch, tmp_path, 2).members[2].run
    for run in (member, write_shared_run(member, tmp_path / "given")):
        said = get_item(run, "claim", "19").answer
        assert "This is 'fold-1-seed-6', one member of a cross-validation" in said
        assert "drawn for validation" not in said
        assert "with seed 6." in get_item(run, "claim", "24").answer
        assert get_item(run, "claim", "27").origin == "not applicable"


def test_the_members_of_one_fold_are_judged_on_validation(monkeypatch, tmp_path):
    ensemble = make_ensemble(monkeypatch, tmp_path, 1).ensemble
    index = ensemble.read_index().images
    said = get_item(ensemble, "claim", "32").answer
    assert "cross-validation" not in said
    assert "none of which was trained on. Each member's temperature was fitted" in said
    assert (
        "no patient of training is in another partition" in get_item(ensemble, "claim", "20").answer
    )
    index.loc[index["split"] == "validation", "group"] = index.loc[0, "group"]
    ensemble.write_table("index.csv", index)
    assert "patients that are on both sides: 1" in get_item(ensemble, "claim", "20").answer
    assert "Fitted on 8 images" in get_item(ensemble, "tripod", "21").answer


def test_a_member_on_a_share_of_the_images_says_so(monkeypatch, tmp_path):
    study = make_study(
        monkeypatch, tmp_path / "studies", make_index(tmp_path, 16), shares=(0.5, 1.0)
    )
    member = study.members[-1]
    finish_member(study, member, dict.fromkeys(study.read_index().images["path"], 0.5))
    said = get_item(member.run, "claim", "19").answer
    assert "was trained on 50 % of the images of the others" in said


class _Cells(HTMLParser):
    """What a page shows, and its elements that are open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.texts, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name == "href"]
        if tag not in ("br",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("sheet", SHEETS)
def test_the_section_of_the_report_holds_all_items_and_counts_the_open(run, sheet):
    write_answer(run, sheet, fill_sheet(run, sheet)[2].number, "First\nsecond <b>&")
    items, page = fill_sheet(run, sheet), write_sheet_html_part(run, sheet)
    parser = _Cells()
    parser.feed(page)
    shown = "".join(parser.texts).replace("\N{NO-BREAK SPACE}", " ")
    assert parser.open == []
    assert page.startswith(f'<section class="checklist" id="checklist-{sheet}">')
    for item in items:
        assert item.question in shown
        assert item.known.replace("\N{NO-BREAK SPACE}", " ") in shown
    assert "Firstsecond <b>&" in shown
    assert page.count('<tr class="open">') == count_open(items)
    assert f"{len(items)} items" in shown
    assert f"{count_open(items)} open" in shown
    assert {link.removeprefix("#") for link in parser.links} <= set(SECTIONS)
    assert not re.search("https?:|<script|javascript", page)


def test_names_from_outside_are_shown_and_do_nothing(run):
    evil = ["<img src=x onerror=alert(1)>", "*[a](http://b)\u202e`"]
    change_config(run, class_names=evil)
    write_answer(run, "claim", "3", "1. one\n# two\n<script>\u202e</script>")
    page, text = write_sheet_html_part(run, "claim"), write_sheet_markdown(run, "claim")
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\u202e" not in page + text
    assert r"\*\[a\](http://b)[U+202E]".replace("[U", r"\[U").replace("E]", r"E\]") in text
    assert "> 1\\. one  \n> \\# two  \n" in text
    assert "\n<img" not in text
    assert re.search(r"(?<!\\)<", text) is None


def test_the_markdown_holds_every_question_once(run):
    text = write_sheet_markdown(run, "tripod")
    assert text.startswith("# TRIPOD+AI: mine\n\n52 items: ")
    for item in fill_sheet(run, "tripod"):
        assert text.count(f"**{item.number}. {item.question}**") == 1
    assert text.count("**Open.**") == count_open(fill_sheet(run, "tripod"))
    assert "(report: performance)" in text
