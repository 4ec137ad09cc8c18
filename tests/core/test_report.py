import base64
import json
import re
import shlex
import shutil
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from polyp_core import words
from polyp_core.answers.style import POLICY
from polyp_core.audit import audit_index
from polyp_core.augmentation import augment_image
from polyp_core.checks import run_checks
from polyp_core.config import ModelConfig, RunConfig
from polyp_core.dataset import read_index
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.images import decode_picture, prepare_picture
from polyp_core.metrics import evaluate_predictions, pool_patients
from polyp_core.network_size import measure_network
from polyp_core.presets import AUGMENTATION_PRESETS, PRESETS, get_preset
from polyp_core.recipe import find_facts, fit_preset
from polyp_core.report import _WRITERS as WRITERS
from polyp_core.report import SECTIONS, gallery, write_comparison, write_model_card, write_report
from polyp_core.report.axes import (
    Axis,
    find_ticks,
    make_axis,
    make_count_axis,
    write_number,
)
from polyp_core.report.charts import Line, Points, draw_chart
from polyp_core.report.facts import RunFacts
from polyp_core.report.flow import draw_flow
from polyp_core.report.layers import list_layers
from polyp_core.report.pairing import correct_by_holm
from polyp_core.report.repeating import check_command, write_command
from polyp_core.runs import Run
from polyp_core.study import summarise
from polyp_core.workspace import DEMO_RUN
from tests.core.studies import finish_curve, finish_member, make_index, make_study

MADE_AT = datetime(2026, 1, 2, 3, 4)
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e'


class Page(HTMLParser):
    """What a browser would make of a page: tags, their attributes, the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self._section = ""
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section" and dict(attrs).get("id") in SECTIONS:
            self._section = dict(attrs)["id"]
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.rows[self._section][-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data):
        self.texts[self._section] = self.texts.get(self._section, "") + data
        if self._cell is not None:
            self._cell.append(data)

    def select(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def find_row(self, section: str, first: str) -> list[str]:
        return next(row for row in self.rows[section] if row and row[0] == first)


@pytest.fixture(scope="module")
def demo_text(tmp_path_factory) -> str:
    """In a workspace without the demo images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYP_WORKSPACE", str(tmp_path_factory.mktemp("empty")))
        return write_report(DEMO_RUN, made_at=MADE_AT)


@pytest.fixture(scope="module")
def demo_page(demo_text) -> Page:
    return Page(demo_text)


@pytest.fixture(scope="module")
def finished_page(finished_run) -> Page:
    return Page(write_report(finished_run, made_at=MADE_AT))


def read_sections(run: Run, *names: str) -> Page:
    """Some sections alone, which is quicker."""
    facts = RunFacts(run)
    return Page("".join(f'<section id="{name}">{WRITERS[name](facts)}</section>' for name in names))


def copy_run(run: Run, folder) -> Run:
    return Run(shutil.copytree(run.directory, folder))


def change_config(run: Run, **values) -> None:
    config = json.loads(run.path("config.json").read_text())
    run.write_json("config.json", config | values)


def test_a_report_has_every_section_once_and_a_link_to_each(demo_page):
    ids = [one["id"] for one in demo_page.select("section") if one.get("id") in SECTIONS]
    links = [one["href"] for one in demo_page.select("a")]

    assert ids == list(SECTIONS)
    assert links[: len(ids)] == [f"#{name}" for name in SECTIONS]
    assert list(SECTIONS)[0] == "summary"
    assert {link[1:] for link in links} <= set(SECTIONS)  # checklists point into the report


def test_a_report_is_short_and_bears_its_time(demo_text):
    assert len(demo_text.encode()) < 3_000_000
    assert "2026-01-02 03:04" in demo_text


@pytest.mark.parametrize("page", ["demo_page", "finished_page"])
def test_a_report_loads_and_runs_nothing(page, request):
    found = request.getfixturevalue(page)
    metas = found.select("meta")
    tags = {tag for tag, _ in found.tags}

    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in metas
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert re.match(r"data:image/png;base64,|#", attributes.get(name) or "#"), tag


def test_a_report_names_no_address_outside_of_itself(demo_text):
    assert not re.findall(r"https?://", demo_text)


@pytest.mark.parametrize("level", ["patient", "image"])
@pytest.mark.parametrize(
    ("title", "name"),
    [("Accuracy", "accuracy"), ("Sensitivity", "sensitivity"), ("Specificity", "specificity"),
     ("PPV", "ppv"), ("NPV", "npv"), ("AUC", "auc"), ("Majority baseline", "majority_accuracy")],
)  # fmt: skip
def test_numbers_are_those_of_metrics_json(demo_page, level, title, name):
    metric = DEMO_RUN.read_metrics()[level][name]
    say = words.say_auc if name == "auc" else words.say_percent
    said, n = demo_page.find_row("performance", title)[2:][2 * (level == "image") :][:2]

    assert (said, n) == (say(metric), str(metric["n"]))


def test_the_summary_is_the_sentence_of_the_pages(demo_page):
    level, unit = words.get_main_level(DEMO_RUN.read_metrics())

    assert f"On validation {words.say_worth(level, unit)}." in demo_page.texts["summary"]


def test_the_confusion_matrix_by_hand(demo_text):
    patients = pool_patients(DEMO_RUN.read_predictions())
    is_called = patients["probability"] >= 0.5
    counts = pd.crosstab(patients["label"], is_called)

    assert (
        f"Confusion matrix: {counts.loc[1, True]} true positives, "
        f"{counts.to_dict().get(True, {}).get(0, 0)} false positives, {counts.loc[0, False]} true "
        f"negatives, {counts.loc[1, False]} false negatives" in demo_text
    )


def test_calibration_before_and_after_is_that_of_metrics_json(demo_page):
    known = DEMO_RUN.read_metrics()["calibration"]

    assert demo_page.find_row("calibration", "Log loss") == [
        "Log loss", f"{known['log_loss']['before']:.3f}", f"{known['log_loss']['after']:.3f}"
    ]  # fmt: skip
    assert f"temperature of {known['temperature']:.3f}" in demo_page.texts["calibration"]


def test_images_that_are_gone_are_said_in_every_place_of_a_picture(demo_page):
    for section in ("audit", "augmentation", "failures", "saliency"):
        assert "not at hand" in demo_page.texts[section], section
    assert not demo_page.select("img")


@pytest.mark.parametrize("variable", ["POLYP_DEMO", "POLYP_DATA_ROOTS"])
def test_pictures_that_may_not_be_shown_are_not(finished_run, tmp_path, monkeypatch, variable):
    """Those of the run lie outside of what a shared demo, or a server with roots, may read."""
    (tmp_path / "root").mkdir()
    monkeypatch.setenv(variable, "1" if variable == "POLYP_DEMO" else str(tmp_path / "root"))
    text = write_report(finished_run)
    assert "data:image/png" not in text
    assert "data:image/jpeg" not in text
    monkeypatch.delenv(variable)
    assert "data:image/" in write_report(finished_run)


def test_what_was_not_tested_is_said(demo_page):
    assert "Not tested" in demo_page.texts["robustness"]
    assert "no test images" in demo_page.texts["performance"]
    assert "none: there is validation alone" in demo_page.texts["summary"]
    assert "synthetic" in demo_page.texts["limits"]


def test_the_audit_is_that_of_the_very_images(finished_page, finished_run):
    config = finished_run.read_config().data
    audit = audit_index(read_index(config))

    assert f"split: {audit.verdict}." in finished_page.texts["audit"]
    said = [row[1] for row in finished_page.rows["audit"][1:]]
    assert said == [finding.title for finding in audit.findings]


def test_augmented_pictures_are_exactly_what_was_trained_on(finished_page, finished_run):
    config, index = finished_run.read_config(), finished_run.read_index()
    training = index.select("train")
    number = training[training["label"] == 0].index[0]
    path = index.folder / training["path"][number]
    original = prepare_picture(decode_picture(path, "x"), config.data, config.model)
    pictures = [one for one in finished_page.select("img") if one["alt"].startswith("Epoch 3:")]
    expected = augment_image(
        original, config.augmentation, seed=config.training.seed, epoch=3, image_number=int(number)
    )

    assert (decode_uri(pictures[0]["src"]) == expected[..., 0]).all()


def decode_uri(source: str) -> np.ndarray:
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_saliency_panel_has_up_to_six_images_of_each_class(finished_page, finished_run):
    validation = finished_run.read_predictions()
    num_shown = sum(min(6, int((validation["label"] == label).sum())) for label in (0, 1))
    overlays = [one for one in finished_page.select("img") if "what speaks for" in one["alt"]]

    assert len(overlays) == num_shown > 0
    assert all(one["alt"] for one in finished_page.select("img"))
    drawings = [one for one in finished_page.select("svg") if one.get("role") == "img"]
    assert all(one["aria-label"] for one in drawings)


def test_all_pictures_together_stay_below_three_megabytes_whatever_they_show():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    colour = len(gallery.encode_picture(noise))
    grey = len(gallery.encode_picture(noise[..., :1]))
    overlay = len(gallery.encode_picture(noise, gallery._OVERLAY_PX))
    num_small = 2 * (gallery._NUM_AUGMENTED + 1) + 2 * gallery.NUM_MISTAKES
    num_small_and_panel = num_small + 2 * gallery.NUM_PANEL

    assert num_small_and_panel * max(colour, grey) + 2 * gallery.NUM_PANEL * overlay < 2_900_000


def test_grey_in_three_channels_is_stored_as_grey_and_nothing_is_lost():
    grey = np.random.default_rng(0).integers(0, 256, (30, 40, 1), np.uint8)

    assert (decode_uri(gallery.encode_picture(np.repeat(grey, 3, axis=2))) == grey[..., 0]).all()


def test_hostile_names_of_classes_files_and_runs_stay_text(finished_run, tmp_path):
    folder = tmp_path / "data"
    old = finished_run.read_index()
    shutil.copytree(old.folder, folder)
    run = copy_run(finished_run, tmp_path / "runs" / "hostile")
    bad = "calcified/<img src=x onerror=alert(1)>_1.png"
    images, predictions = old.images.copy(), run.read_predictions()
    for path in images["path"]:
        if path.startswith("calcified/"):
            (folder / path).rename(folder / f"{bad}{path[10:]}")
    images["path"] = images["path"].str.replace("calcified/", bad).where(
        images["path"].str.startswith("calcified/"), images["path"]
    )  # fmt: skip
    predictions["path"] = predictions["path"].where(
        ~predictions["path"].str.startswith("calcified/"),
        predictions["path"].str.replace("calcified/", bad),
    )
    run.write_table("index.csv", images)
    run.write_table("predictions.csv", predictions)
    run.write_json("notes.json", {"title": HOSTILE, "note": HOSTILE})
    settings = run.read_config().to_dict() | {"preset": HOSTILE}
    settings["data"] |= {"folder": str(folder)}
    change_config(run, class_names=["a", HOSTILE], folder=str(folder), settings=settings)

    page = Page(text := write_report(run))

    assert not page.select("script")
    assert all(one["src"].startswith("data:image/png") for one in page.select("img"))
    assert all(not name.startswith("on") for _, found in page.tags for name in found)
    assert "\u202e" not in text
    assert "[U+202E]" in text
    assert any("<img src=x" in (one["alt"] or "") for one in page.select("img"))


def test_files_that_changed_since_are_counted_and_no_audit_is_claimed(finished_run, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(finished_run.read_index().folder, folder)
    run = copy_run(finished_run, tmp_path / "run")
    change_config(run, folder=str(folder))
    settings = run.read_config().to_dict()
    settings["data"]["folder"] = str(folder)
    change_config(run, settings=settings)
    path = folder / run.read_index().images["path"].iloc[0]
    cv2.imwrite(str(path), np.zeros((40, 40), np.uint8))

    page = read_sections(run, "audit", "augmentation")

    assert "1 image of 20 cannot be found as they were" in page.texts["audit"]
    assert page.select("img")


@pytest.mark.parametrize(
    "gone",
    [("predictions.csv",), ("metrics.json", "predictions.csv"), ("config.json",),
     ("index.csv", "history.csv", "serving.json", "serving.tflite", "environment.json")],
)  # fmt: skip
def test_a_run_that_lacks_files_is_reported_with_what_is_left(finished_run, tmp_path, gone):
    run = copy_run(finished_run, tmp_path / "run")
    for name in gone:
        run.path(name).unlink()

    page = Page(write_report(run))

    assert [one["id"] for one in page.select("section") if one.get("id") in SECTIONS] == list(
        SECTIONS
    )
    assert write_model_card(run)
    if gone == ("predictions.csv",):  # the numbers are known all the same
        metric = run.read_metrics()["patient"]["accuracy"]
        assert page.find_row("performance", "Accuracy")[2] == words.say_percent(metric)


def test_a_failed_run_says_so_and_claims_nothing(finished_run, tmp_path):
    run = Run(tmp_path / "failed")
    run.directory.mkdir()
    for name in ("config.json", "index.csv"):
        shutil.copy(finished_run.path(name), run.path(name))
    run.write_json("status.json", {"state": "failed", "message": "The disk is full."})

    page = Page(text := write_report(run))

    assert "This run is failed. The disk is full." in text
    assert "There are no numbers: the run is failed" in page.texts["summary"]
    assert "There are no numbers: the run is failed" in page.texts["performance"]
    assert "model-index" not in write_model_card(run)


def test_a_chosen_threshold_and_its_band_count_everywhere(tmp_path):
    run = copy_run(DEMO_RUN, tmp_path / "run")
    decision = Decision(Goal("sensitivity", 0.9), 0.3, Band(0.25, 0.6), 0.05, "patient")
    write_decision(run, decision)
    patients = pool_patients(run.read_predictions())
    is_open = patients["probability"].between(0.25, 0.6)
    metrics = evaluate_predictions(run.read_predictions(), 0.3)["patient"]

    page = read_sections(run, "threshold", "performance")

    texts = page.texts["threshold"].replace("\N{NO-BREAK SPACE}", " ")
    assert "at least 90 % sensitivity" in texts
    assert "From 25 to 60 % no answer is given" in texts
    assert page.rows["threshold"][1][2] == str(len(patients))
    assert page.rows["threshold"][2][2] == str(int((~is_open).sum()))
    said = words.say_percent(metrics["sensitivity"])
    assert page.find_row("performance", "Sensitivity")[2] == said
    assert "the threshold was chosen and the band was chosen" in page.texts["performance"]


def test_checks_and_tests_on_other_folders_are_told(finished_run, tmp_path):
    run = copy_run(finished_run, tmp_path / "run")
    found = run_checks(run, run.read_index())
    other = evaluate_predictions(run.read_predictions(), 0.5)
    extra = {"num_images": 10, "num_unreadable": 2, "threshold": 0.5}
    for name, file, values in (
        ("checks", "checks.json", found),
        ("evaluations/elsewhere", "metrics.json", other | extra),
    ):
        files = Run(run.directory / name)
        files.directory.mkdir(parents=True)
        shutil.copy(run.path("config.json"), files.path("config.json"))
        files.write_json(file, values)
        files.write_json("status.json", {"state": "finished", "message": "Finished"})

    page = read_sections(run, "robustness", "performance", "summary")

    assert "Not tested" not in page.texts["robustness"]
    levels = found["robustness"][0]["levels"]
    unit = "patient" if "patient" in levels[0] else "image"
    assert words.say_auc(levels[0][unit]["auc"]) in page.texts["robustness"]
    assert "elsewhere: " in page.texts["performance"]
    assert "2 files left out: they cannot be read." in page.texts["performance"]
    assert "1 other folder" in page.texts["summary"]
    assert '\n      name: "elsewhere"' in write_model_card(run)


def test_test_images_are_told_apart_from_validation(tmp_path):
    run = copy_run(DEMO_RUN, tmp_path / "run")
    predictions = run.read_predictions()
    predictions.loc[predictions["group"] < "patient-100", "split"] = "test"
    parts = dict(list(predictions.groupby("split")))
    run.write_table("predictions.csv", predictions)
    metrics = run.read_metrics() | evaluate_predictions(parts["validation"], 0.5)
    run.write_json("metrics.json", metrics | {"test": evaluate_predictions(parts["test"], 0.5)})

    page = read_sections(run, "performance", "summary")

    rows = [row for row in page.rows["performance"] if row and row[0] == "Accuracy"]
    for row, split in zip(rows, ("validation", "test"), strict=True):
        assert row[3] == str(parts[split]["group"].nunique())
    assert "On test images" in page.texts["summary"]


def test_an_ensemble_says_whose_numbers_it_shows(tmp_path, monkeypatch):
    study = make_finished_study(tmp_path, monkeypatch)
    ensemble = study.ensemble
    ensemble.directory.mkdir()
    plan = study.read_plan()
    kept = {key: plan[key] for key in ("settings", "class_names", "folder")}
    ensemble.write_json("config.json", {"task": "train", **kept})
    images = study.read_index().images
    ensemble.write_table("index.csv", images.drop(columns="fold").assign(split="train"))
    for name in ("metrics.json", "predictions.csv"):
        shutil.copy(study.files.path(name), ensemble.path(name))
    ensemble.write_json("status.json", {"state": "finished", "message": "Finished"})

    page = Page(text := write_report(ensemble))

    assert "mine, all members together" in text
    assert "judged by the members that had not seen it" in page.texts["split"]
    assert "polyp_core study DATA" in page.texts["repeat"]
    assert page.find_row("performance", "Accuracy")[3] == "12"


def make_finished_study(tmp_path, monkeypatch, **options):
    index = make_index(tmp_path / "data", 12)
    study = make_study(monkeypatch, tmp_path / "studies", index, **options)
    labels = index.images.set_index("path")["label"]
    for member in study.whole_members:
        wrong = {f"p{member.seed}_0.png", f"p{member.seed}_1.png"}
        given = {
            path: 0.8 if (label == 1) != (path in wrong) else 0.2 for path, label in labels.items()
        }
        finish_member(study, member, given)
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    return study


def test_seeds_are_compared_in_pairs_on_the_same_patients(tmp_path, monkeypatch):
    study = make_finished_study(tmp_path, monkeypatch, num_folds=2, num_seeds=3)

    text = write_comparison(study, made_at=MADE_AT)

    # Each seed is wrong about another patient: McNemar of 1 against 1, so p is 1.
    assert "No seed differs from the first" in text
    for seed in (1, 2):
        row = re.search(rf"<tr><td>seed {seed}</td>(.*?)</tr>", text)[1]
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        assert cells[2].startswith("0.0 (")
        assert cells[3:] == ["1.00", "12"]
    level = study.read_metrics()["patient"]["accuracy"]
    assert words.say_percent(level) in text
    assert "picks chance as well" in text
    page = Page(text)
    assert not page.select("script")
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.select("meta")


def test_a_study_of_one_seed_claims_no_difference_and_one_without_members_no_number(
    tmp_path, monkeypatch
):
    study = make_finished_study(tmp_path, monkeypatch)
    assert "There is no paired test" in write_comparison(study)

    index = make_index(tmp_path / "other")
    empty = make_study(monkeypatch, tmp_path / "studies", index, name="empty")
    empty.files.write_notes("<b>empty</b>", "")
    text = write_comparison(empty)
    assert "no member is finished" in text
    assert "<b>empty" not in text


def test_a_learning_curve_is_drawn_where_there_is_one(tmp_path, monkeypatch):
    index = make_index(tmp_path / "data", 12)
    study = make_study(monkeypatch, tmp_path / "studies", index, shares=(0.5, 1.0))
    finish_curve(study, {0.5: 4, 1.0: 2})
    text = write_comparison(study)

    assert "Accuracy by the number of training images" in text
    assert "--shares 50,100" in text


def test_corrected_p_values_by_hand():
    assert correct_by_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_by_holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert correct_by_holm([]) == []


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_gives_the_very_settings_of_a_run(name):
    data = ["data.group_pattern=^(\\d+)_ 'x'", "data.folder=/some where"]
    config = get_preset(name).with_settings(
        [*data, "training.seed=7", "augmentation.horizontal_flip=false", "model.dropout=0.25",
         "training.milestones=3,5"]
    )  # fmt: skip
    command = shlex.split(write_command(config))
    found = get_preset(command[command.index("--preset") + 1]).with_settings(
        [text for flag, text in zip(command, command[1:], strict=False) if flag == "--set"]
        + ["data.folder=/some where"]
    )

    assert command[:5] == ["python", "-m", "polyp_core", "train", "DATA"]
    assert found == config
    assert check_command(config)
    blank = replace(config, data=replace(config.data, group_pattern=" x"))
    assert not check_command(blank)  # the command line strips what is given


def test_the_command_gives_the_settings_also_where_a_preset_is_fitted_to_the_images(finished_run):
    index, facts = finished_run.read_index(), find_facts(finished_run.read_index())
    for config in (get_preset("compact"), fit_preset("compact", facts), finished_run.read_config()):
        command = shlex.split(write_command(config, index))
        given = [text for flag, text in zip(command, command[1:], strict=False) if flag == "--set"]
        found = fit_preset("compact", facts).with_settings(given)
        assert found.with_settings([f"data.folder={config.data.folder}"]) == config


@pytest.mark.parametrize(
    "config",
    [
        *(preset.config.model for preset in PRESETS.values()),
        ModelConfig(network="residual", filters=(8, 8, 16), blocks=2, image_size_px=65),
        ModelConfig(filters=(4, 8), padding="same", head="flatten", dense_units=0),
        ModelConfig(network="transfer", head="flatten", image_size_px=96, dense_units=5),
        ModelConfig(network="transfer", head="average", backbone="densenet-121", dense_units=0),
    ],
)
def test_the_layers_have_the_weights_of_the_network(config):
    layers = list_layers(config)

    assert sum(layer.num_weights for layer in layers) == measure_network(config).num_weights
    assert layers[-1].shape == (1,)


def test_the_shapes_of_the_compact_network_by_hand():
    shapes = [layer.shape for layer in list_layers(get_preset("compact").model)]

    assert shapes == [
        (128, 128, 1), (64, 64, 24), (32, 32, 48), (16, 16, 96), (16, 16, 128), (128,), (128,), (1,)
    ]  # fmt: skip


def test_the_flow_counts_by_split_class_and_patient(demo_text):
    images = DEMO_RUN.read_index().images
    validation = images[images["split"] == "validation"]
    positive = validation[validation["label"] == 1]
    drawing = draw_flow(RunFacts(DEMO_RUN))

    assert f"{len(images):,} images, {images['group'].nunique()} patients in this run" in drawing
    assert f"{len(validation):,} images, {validation['group'].nunique()} patients" in drawing
    assert f"{len(positive):,} calcified ({positive['group'].nunique()} pat.)" in drawing
    assert drawing in demo_text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 12, [0, 2.5, 5, 7.5, 10, 12.5]),
     (0.31, 0.38, [0.3, 0.32, 0.34, 0.36, 0.38]), (-3, 4, [-4, -2, 0, 2, 4])],
)  # fmt: skip
def test_ticks_are_round_and_hold_the_ends(low, high, expected):
    assert find_ticks(low, high) == pytest.approx(expected)


def test_ticks_of_epochs_are_whole_numbers():
    assert make_count_axis("Epoch", range(1, 13)).ticks == tuple(
        (float(n), str(n)) for n in (3, 6, 9, 12)
    )
    assert make_count_axis("Epoch", [1]).low < 1 < make_count_axis("Epoch", [1]).high


def test_numbers_of_an_axis_have_the_decimals_of_its_step():
    assert [write_number(0.5, 0.25), write_number(-2, 1), write_number(1e-3, 5e-4)] == [
        "0.50", "−2", "0.0010"
    ]  # fmt: skip


def test_an_axis_of_one_value_or_of_none_has_an_extent():
    for values in ([5.0], [0.0], [-3.0], [], [float("nan")]):
        axis = make_axis("x", values)
        assert axis.low < axis.high


def test_a_line_lies_where_its_numbers_are_and_is_broken_where_one_is_missing():
    axis = Axis(title="x", low=0, high=10, ticks=())
    drawing = draw_chart(
        axis, axis, [Line(x=[0, 10, 5, 4, 2], y=[0, 10, float("nan"), 5, 5])], "A chart",
        width=178, height=158, left=58,
    )  # fmt: skip
    lines = re.findall(r'<polyline points="([^"]*)"', drawing)

    # The plot is 100 px wide from 58 on, and 100 px high down to 112.
    assert lines == ["58.0,112.0 158.0,12.0", "98.0,62.0 78.0,62.0"]


def test_texts_and_descriptions_of_a_chart_are_escaped():
    axis = make_axis(HOSTILE, [0, 1])
    drawing = draw_chart(axis, axis, [Points(x=[0], y=[0])], HOSTILE, note=HOSTILE)

    assert "<script" not in drawing
    assert "<img" not in drawing
    assert Page(drawing).select("svg")[0]["aria-label"].startswith('"><img')


def read_header(card: str) -> str:
    assert card.startswith("---\n")
    return card.split("---\n")[1]


def test_the_header_of_a_card_holds_the_numbers_of_metrics_json():
    header, metrics = read_header(write_model_card(DEMO_RUN)), DEMO_RUN.read_metrics()["patient"]

    assert "library_name: keras\n" in header
    assert "pipeline_tag: image-classification\n" in header
    assert re.search("^license: unknown", header, re.MULTILINE)
    names = {"roc_auc": "auc"}
    found = re.findall(r"- type: (\w+)\n +name: .*\n +value: (\S+)\n +args: (.*)\n", header)
    assert [name for name, _, _ in found] == ["accuracy", "sensitivity", "specificity", "roc_auc"]
    for name, value, arguments in found:
        metric, kept = metrics[names.get(name, name)], json.loads(arguments)
        assert float(value) == metric["value"]
        assert {key: kept[key] for key in ("low", "high", "n")} == {
            key: metric[key] for key in ("low", "high", "n")
        }


def test_a_card_says_what_it_is_for_what_not_and_what_is_open():
    card = write_model_card(DEMO_RUN, made_at=MADE_AT)
    titles = re.findall(r"^## (.*)$", card, re.MULTILINE)

    assert titles == [
        "What it is for", "What it is not for", "Data", "Training", "Evaluation", "Limits",
        "How to use it", "Contact and open questions",
    ]  # fmt: skip
    level, unit = words.get_main_level(DEMO_RUN.read_metrics())
    assert words.say_worth(level, unit) in card
    assert "Written on 2026-01-02" in card


def test_hostile_names_in_a_card_become_neither_html_nor_links(tmp_path):
    run = copy_run(DEMO_RUN, tmp_path / "run")
    evil = "![x](http://evil.example/y) <script>a</script> `b` | c\n# d [e](javascript:f)"
    run.write_json("notes.json", {"title": evil})
    change_config(run, class_names=["none", evil])
    card = write_model_card(run)
    body = card.split("---\n", 2)[2]
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    tags = {tag for tag, _ in Page(rendered).tags}

    assert not tags & {"script", "img", "a"}
    assert rendered.count("<h1>") == 1
    assert read_header(card).count("\n- name: ") == 1


def test_a_card_names_no_file_and_no_patient(finished_run):
    images, card = finished_run.read_index().images, write_model_card(finished_run)

    assert "Audit: " in card
    for name in (*images["path"], *images["group"]):
        assert name.rpartition("/")[2] not in card


def test_a_run_without_augmentation_says_so(tmp_path):
    run = copy_run(DEMO_RUN, tmp_path / "run")
    settings = run.read_config().to_dict()
    off = RunConfig(augmentation=AUGMENTATION_PRESETS["none"]).to_dict()["augmentation"]
    change_config(run, settings=settings | {"augmentation": off})

    assert "augmentation was off" in read_sections(run, "augmentation").texts["augmentation"]
