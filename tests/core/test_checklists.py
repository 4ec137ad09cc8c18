import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

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
from polyp_core.checklists.tripod import TRIPOD
from polyp_core.config import RunConfig
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.errors import AccessError, ConfigError, RunError
from polyp_core.runs import Run
from polyp_core.study import summarise
from tests.core.studies import finish_member, make_index, make_study

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
    assert "46 of 52 patients right, 88 % (95 % interval 77 to 95)" in said["37"]
    assert "Sensitivity 76 % (57–89)" in said["37"]
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


def test_a_split_that_the_folders_bring_is_said(run):
    index = run.read_index().images
    index["path"] = index["split"].replace("validation", "val") + "/" + index["path"]
    run.write_table("index.csv", index)
    assert "brings its own split" in get_item(run, "claim", "19").answer
    index["path"] = "train/" + index["path"]
    run.write_table("index.csv", index)
    assert "brings its own split" not in get_item(run, "claim", "19").answer


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
    metric = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 40}
    level = {"patient": {"accuracy": metric, "auc": metric}}
    worse = {"patient": {"accuracy": {**metric, "value": 0.75}, "auc": metric}, "label": "SD 20"}
    place = {"all": {"saliency": metric, "area": {**metric, "value": 0.3}}}
    files = Run(run.directory / "checks")
    files.directory.mkdir()
    shutil.copy(run.path("config.json"), files.path("config.json"))
    found = {
        "num_images": 100, "num_patients": 40,
        "robustness": [{"title": "Noise", "levels": [level | {"label": "as it is"}, worse]}],
        "shortcuts": {
            "outside": place, "text": {"all": {"saliency": {"value": None, "reason": "none"}}},
            "border": {"patient": {"auc": metric, "auc_blanked": metric}},
        },
    }  # fmt: skip
    files.write_json("checks.json", found)
    assert get_item(run, "claim", "30").answer == (
        "On 100 validation images, accuracy by patient: 80 % (70–90) as they are; noise (SD 20) "
        "75 % (70–90)."
    )
    said = get_item(run, "claim", "31").answer
    assert "80 % (70–90) of the evidence lies outside the scan area, which takes 30 %" in said
    files.write_json("checks.json", {"robustness": []})  # of another version
    assert get_item(run, "claim", "30").origin == "open"


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
    assert "half" in run.path("checklists.damaged.json").read_text()
    values = {"claim": {"44": 5, "99": "x", "11": "\ud800"}, "other": {"1": "x"}, "tripod": []}
    run.path("checklists.json").write_text(json.dumps({"answers": values}))
    assert get_item(run, "claim", "44").origin == "open"
    assert get_item(run, "claim", "11").answer == "?"
    assert count_open(fill_sheet(run, "tripod")) > 0


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
    run.path("checklists.damaged.json").mkdir()
    (run.path("checklists.damaged.json") / "x").touch()
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
    run.path("metrics.json").write_text('{"image": 5, "threshold": 0.5}')
    run.path("environment.json").write_text('{"packages": 3, "devices": 4}')
    assert fill_sheet(run, "claim")
    run.path("config.json").write_text("{}")
    with pytest.raises(RunError, match="is not a run"):
        fill_sheet(run, "claim")


def test_a_study_answers_for_its_ensemble(monkeypatch, tmp_path):
    study = make_study(monkeypatch, tmp_path / "studies", make_index(tmp_path))
    index = study.read_index()
    for number, member in enumerate(study.members):
        guesses = {
            row.path: 0.9 if row.label else 0.1 + 0.01 * number for row in index.images.itertuples()
        }
        finish_member(study, member, guesses)
    metrics, predictions = summarise(study)
    ensemble = study.ensemble
    ensemble.directory.mkdir()
    plan = study.read_plan()
    ensemble.write_json(
        "config.json", {key: plan[key] for key in ("settings", "class_names", "folder")}
    )
    ensemble.write_table("index.csv", index.images.drop(columns="fold"))
    ensemble.write_table("predictions.csv", predictions)
    ensemble.write_json("metrics.json", metrics)
    said = {item.number: item.answer for item in fill_sheet(ensemble, "claim")}
    assert "dealt to 2 folds" in said["19"]
    assert said["20"] == "By patient: all images of a patient are in one fold."
    assert "the mean of 2 networks" in said["27"]
    assert "By cross-validation" in said["32"]
    assert "6 of 6 patients right" in said["37"]
    write_answer(ensemble, "claim", "44", "Nobody.")
    assert (study.directory / "checklists.json").is_file()  # the ensemble is made anew at times
    assert get_item(ensemble, "claim", "44").answer == "Nobody."


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
    assert all(item.question in shown and item.known in shown for item in items)
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
