"""What a model is worth: the results page, with runs that are made up on the disk."""

import hashlib
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import workspace
from polyp_core.config import RunConfig
from polyp_core.decision import Band, Decision, Goal, read_decision, write_decision
from polyp_core.evidence import Level
from polyp_core.presets import get_preset
from polyp_core.runs import Run
from polyp_core.study import summarise
from tests.conftest import write_image
from tests.core.studies import finish_member, make_index, make_study
from tests.pages.conftest import ROOT, hold, list_scrolls, read_texts
from ui import evidence_charts
from ui.results_curves import count_cells
from ui.results_numbers import tabulate
from ui.results_source import list_kinds, list_sources, read_judged

# Two images each of patients p0 to p9; the odd ones are calcified. By patient, at one half: p1 is
# missed, p0 is a false alarm, and 8 of 10 are right; Wilson's interval of that is 49 to 94 %.
MEANS = {"p0": 0.7, "p1": 0.3, "p2": 0.1, "p3": 0.9, "p4": 0.2, "p5": 0.8, "p6": 0.15, "p7": 0.85,
         "p8": 0.05, "p9": 0.6}  # fmt: skip


def make_table(splits=("validation",)) -> pd.DataFrame:
    rows = [
        {"path": f"{split}-{patient}_{image}.png", "frame": 0, "split": split,
         "group": f"{split}-{patient}", "label": int(patient[1]) % 2, "probability": mean + shift}
        for split in splits
        for patient, mean in MEANS.items()
        for image, shift in enumerate((-0.04, 0.04))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def make_run(name="mine", table=None, *, settings=(), folder=None) -> Run:
    """A finished run that judged these images, with the demo model."""
    table = make_table() if table is None else table
    run = Run(workspace.get_runs_dir() / name)
    run.directory.mkdir(parents=True)
    folder = folder or run.directory.parent.parent / f"images-{name}"
    for row in table.itertuples():
        write_image(folder / row.path, is_bright_spot=bool(row.label), seed=row.Index)
    index = table[["path", "frame", "label", "group", "split"]].assign(width_px=40, height_px=40)
    files = [(folder / path).read_bytes() for path in index["path"]]
    index["sha256"] = [hashlib.sha256(file).hexdigest() for file in files]
    config: RunConfig = get_preset("compact").with_settings([f"data.folder={folder}", *settings])
    run.write_json(
        "config.json",
        {"settings": config.to_dict(), "class_names": ["non-calcified", "calcified"],
         "folder": str(folder), "task": "train"},
    )  # fmt: skip
    run.write_table("index.csv", index)
    run.write_table("predictions.csv", table)
    for file_name in ("serving.tflite", "serving.json", "status.json", "history.csv",
                      "environment.json", "metrics.json"):  # fmt: skip
        shutil.copy(workspace.DEMO_RUN.path(file_name), run.path(file_name))
    return run


def open_results(**link) -> AppTest:
    """The page, as an address opens it."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.switch_page("pages/results.py").run()
    assert not app.exception, app.exception
    return app


def see(app) -> str:
    headers = [element.value for element in app.header]
    said = "\n".join([*headers, read_texts(app)])
    return said.replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def read_rates(app) -> dict[str, tuple[str, str]]:
    """The tiles: value, and what stands below."""
    captions = [caption.value for caption in app.caption]
    below = [text for text in captions if re.search(" to .*, n = |^no .* here$|^none ", text)]
    return {
        metric.label: (metric.value.replace("\N{NO-BREAK SPACE}", " "), text)
        for metric, text in zip(app.metric, below, strict=False)
    }  # fmt: skip


def find_figure(app, title: str) -> dict:
    """The figure whose horizontal axis is called so."""
    figures = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    return next(
        figure for figure in figures
        if figure["layout"].get("xaxis", {}).get("title", {}).get("text") == title
    )  # fmt: skip


def open_box(app, title: str) -> None:
    app.session_state[f"results box {title}"] = True
    app.run()
    assert not app.exception, app.exception


@pytest.fixture
def mine(demo_data) -> Run:
    return make_run()


def test_the_head_says_number_n_interval_baseline_and_level(mine):
    app = open_results(run="mine")
    texts = see(app)
    assert "8 of 10 patients right, 80 %" in texts
    assert "(95 % interval 49 to 94)" in texts
    assert "Always answering **non-calcified** would get 50 %." in texts
    assert "the interval still holds it" in texts
    assert app.title[0].value == "Results"
    assert not app.error


def test_counting_images_says_so(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results level").set_value("image").run()
    assert "16 of 20 images right" in see(app)


def test_validation_is_never_called_a_test(demo_data):
    make_run("best", settings=["training.keep=best"])
    assert "This is validation, no test: on these same images the epoch was chosen" in see(
        open_results(run="best")
    )


def test_test_images_are_called_a_test(demo_data):
    make_run(table=make_table(("validation", "test")))
    app = open_results(run="mine", kind="test")
    texts = see(app)
    assert "This is a test" in texts
    # No threshold is chosen here, only looked at.
    with pytest.raises(KeyError):
        app.segmented_control(key="results goal")
    app.slider(key="results threshold slider").set_value(65.0).run()
    assert "results use" not in [button.key for button in app.button]
    assert "Only looked at. In use is **50.0 %**" in see(app)


def test_a_move_of_the_threshold_moves_all_that_hangs_on_it(mine):
    app = open_results(run="mine")
    assert read_rates(app)["Sensitivity"] == ("80 %", "38 to 96, n = 5")
    app.slider(key="results threshold slider").set_value(25.0).run()
    # From 0.25 on all five are found; p0 is still a false alarm.
    assert read_rates(app)["Sensitivity"] == ("100 %", "57 to 100, n = 5")
    assert read_rates(app)["Specificity"] == ("80 %", "38 to 96, n = 5")
    assert "9 of 10 patients right" in see(app)
    texts = [trace["text"] for trace in find_figure(app, "Answer")["data"]]
    assert texts == ["<b>4</b><br>80\xa0%", "<b>1</b><br>20\xa0%", "<b>0</b><br>0\xa0%",
                     "<b>5</b><br>100\xa0%"]  # fmt: skip
    ring = find_figure(app, "False alarms (1 − specificity)")["data"][-1]
    assert (ring["x"], ring["y"]) == ([0.2], [1.0])
    assert app.segmented_control(key="results goal").value == "hand"
    assert app.query_params["threshold"] == "0.25"


def test_a_purpose_finds_its_threshold_and_the_slider_shows_it(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("sensitivity").run()
    # All five are wanted, so it lies between p1's 0.3 and the next below, p4's 0.2.
    assert app.slider(key="results threshold slider").value == 25.0
    assert read_rates(app)["Sensitivity"][0] == "100 %"
    app.number_input(key="results wanted share").set_value(80.0).run()
    # Four of five: between p9's 0.6 and p1's 0.3 lies no other calcified, but none either.
    assert app.slider(key="results threshold slider").value == 45.0
    app.segmented_control(key="results goal").set_value("specificity").run()
    app.number_input(key="results wanted share").set_value(95.0).run()
    assert app.slider(key="results threshold slider").value == 75.0
    assert "calcified from a probability of **75.0\xa0%** on" in [
        slider.label.replace("\\", "") for slider in app.slider
    ]


def test_a_miss_that_costs_much_lowers_the_threshold(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("cost").run()
    assert app.slider(key="results threshold slider").value == 25.0
    app.number_input(key="results cost").set_value(0.1).run()
    assert app.slider(key="results threshold slider").value == 75.0


def test_what_is_looked_at_is_in_use_only_when_somebody_says_so(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("sensitivity").run()
    assert "Only looked at. In use is **50.0 %**, as the model came." in see(app)
    assert read_decision(mine).threshold == 0.5
    app.button(key="results use").click().run()
    decision = read_decision(mine)
    assert decision.goal == Goal("sensitivity", 0.95)
    assert decision.threshold == pytest.approx(0.25)
    assert decision.level == "patient"
    texts = see(app)
    assert "In use, chosen on validation by patient, for at least 95 % sensitivity" in texts
    assert "the temperature was fitted and the threshold was chosen, so the numbers lean" in texts
    # Who comes next finds it.
    again = open_results(run="mine")
    assert again.segmented_control(key="results goal").value == "sensitivity"
    assert again.slider(key="results threshold slider").value == 25.0


def test_back_shows_the_threshold_in_use(mine):
    app = open_results(run="mine")
    app.slider(key="results threshold slider").set_value(10.0).run()
    app.button(key="results back").click().run()
    assert app.slider(key="results threshold slider").value == 50.0
    assert "In use, as the model came" in see(app)


def test_a_threshold_that_cannot_be_kept_is_told(mine, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr("ui.results_threshold.write_decision", refuse)
    app = open_results(run="mine")
    app.slider(key="results threshold slider").set_value(10.0).run()
    app.button(key="results use").click().run()
    assert not app.exception
    assert "The threshold cannot be kept (read-only)" in app.error[0].value.replace("\\", "")


def test_the_demo_model_keeps_its_threshold(demo_data):
    app = open_results()
    app.slider(key="results threshold slider").set_value(10.0).run()
    assert app.button(key="results use").disabled
    assert not workspace.DEMO_RUN.path("decision.json").exists()


def test_a_purpose_at_another_level_is_served_by_its_own_threshold(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("sensitivity").run()
    app.segmented_control(key="results level").set_value("image").run()
    # p1's lower image has 0.26, p4's higher one 0.24.
    assert app.slider(key="results threshold slider").value == 25.0
    app.number_input(key="results wanted share").set_value(90.0).run()
    # Nine of ten: p1's images have 0.26 and 0.34.
    assert app.slider(key="results threshold slider").value == 30.0


def test_the_doubtful_are_left_open_and_counted(mine):
    app = open_results(run="mine")
    app.toggle(key="results abstain").set_value(True).run()
    # Wrong are p0 (0.7) and p1 (0.3), equally far from one half; only what lies further out counts.
    texts = see(app)
    assert "**7 of 10 patients are answered** (70 %), 0 % of those wrongly" in texts
    assert "The other 3" in texts
    assert read_rates(app)["Accuracy"] == ("100 %", "65 to 100, n = 7")
    answers = find_figure(app, "Answer")
    assert answers["layout"]["xaxis"]["ticktext"] == ["non-calc…", "open", "calcified"]
    assert "Counted with an answer for all; the tiles below leave 3 open." in texts
    assert "the temperature was fitted and the band was chosen, so the numbers lean" in texts
    open_box(app, "All numbers")
    assert "At the threshold of 50.0 %, with an answer for all." in see(app)
    app.number_input(key="results target error").set_value(20.0).run()
    assert "All 10 patients are answered: so few are wrong without a band." in see(app)
    assert "Counted with an answer for all" not in see(app)


def test_a_band_that_cannot_be_had_says_why(demo_data):
    table = make_table()
    table["probability"] = 1 - table["probability"]  # the surest are wrong
    make_run(table=table)
    app = open_results(run="mine")
    app.toggle(key="results abstain").set_value(True).run()
    assert "No band brings the error down to 5 %" in see(app)
    assert read_rates(app)["Accuracy"][0] == "20 %"


def test_the_stored_band_holds_on_test_images_too(demo_data):
    run = make_run(table=make_table(("validation", "test")))
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.25, 0.75), 0.05, "patient"))
    app = open_results(run="mine", kind="test")
    assert "are left to a person" in see(app)
    app.slider(key="results threshold slider").set_value(40.0).run()
    assert "are left to a person" not in see(app)  # it belongs to the threshold it came with


def test_a_stored_band_that_holds_none_of_the_test_images_says_so(demo_data):
    run = make_run(table=make_table(("validation", "test")))
    write_decision(run, Decision(Goal("hand", 0.5), 0.5, Band(0.49, 0.51), 0.05, "patient"))
    texts = see(open_results(run="mine", kind="test"))
    assert "All 10 patients are answered: none lies within the band." in texts
    assert "Counted with an answer for all" not in texts


def test_a_threshold_set_by_hand_was_chosen_on_these_images(mine):
    metrics = mine.read_metrics()
    metrics.pop("calibration")  # no temperature was fitted
    mine.write_json("metrics.json", metrics)
    app = open_results(run="mine")
    assert "Neither epoch nor threshold was chosen on these images" in see(app)
    app.slider(key="results threshold slider").set_value(25.0).run()
    assert "on these same images the threshold was chosen, so the numbers lean" in see(app)
    app.button(key="results back").click().run()
    assert "Neither epoch nor threshold was chosen on these images" in see(app)


def test_other_data_that_were_partly_known_are_not_called_a_test(mine):
    files = Run(mine.directory / "evaluations" / "elsewhere")
    shutil.copytree(mine.directory, files.directory, ignore=lambda *_: ["evaluations"])
    files.write_table("predictions.csv", make_table().assign(split=""))
    files.write_json("metrics.json", {"num_images": 20, "num_validation_images": 4})
    texts = see(open_results(run="mine", kind="elsewhere"))
    assert "Images of another folder, elsewhere. 4 images counted that the model was" in texts
    assert "nothing of the model was chosen" not in texts
    files.write_json("metrics.json", {"num_images": 20, "num_validation_images": 0})
    texts = see(open_results(run="mine", kind="elsewhere"))
    assert "nothing of the model was chosen on them" in texts
    files.path("metrics.json").unlink()
    texts = see(open_results(run="mine", kind="elsewhere"))
    assert "Whether the model was made with any of them is not known" in texts


def test_a_run_without_patients_does_not_set_the_level_of_the_next(mine):
    make_run("alone", table=make_table().assign(group=""))
    app = open_results(run="mine")
    other, first = (
        next(option for option in list_sources() if option.name == name)
        for name in ("alone", "mine")
    )
    app.selectbox(key="results source").set_value(other).run()
    assert "16 of 20 images right" in see(app)
    app.selectbox(key="results source").set_value(first).run()
    assert "8 of 10 patients right" in see(app)


def test_a_link_opens_the_same(demo_data):
    make_run("other")
    make_run(table=make_table(("validation", "test")))
    link = {"run": "mine", "kind": "test", "level": "image", "threshold": "0.31"}
    app = open_results(**link, mistakes="right")
    assert app.selectbox(key="results source").value.name == "mine"
    assert app.segmented_control(key="results kind").value == "test"
    assert app.segmented_control(key="results level").value == "image"
    assert app.slider(key="results threshold slider").value == 31.0
    assert app.segmented_control(key="results group").value == "right"
    assert app.query_params == link | {"mistakes": "right"}


def test_a_link_keeps_what_the_threshold_is_for_and_the_mistakes_that_are_shown(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("sensitivity").run()
    app.number_input(key="results wanted share").set_value(90.0).run()
    link = {name: app.query_params[name] for name in ("run", "threshold", "goal")}
    app = open_results(**link)
    assert app.segmented_control(key="results goal").value == "sensitivity"
    assert app.number_input(key="results wanted share").value == 90.0
    threshold = app.slider(key="results threshold slider").value
    assert threshold == pytest.approx(100 * float(link["threshold"]), abs=0.05)
    app.segmented_control(key="results group").set_value("unsure").run()
    shown = app.query_params
    assert (shown["goal"], shown["mistakes"]) == ("sensitivity=0.9", "unsure")
    app.segmented_control(key="results goal").set_value("youden").run()
    assert app.query_params["goal"] == "youden"
    assert app.query_params["mistakes"] == "unsure"


def test_a_goal_that_a_links_threshold_does_not_serve_is_not_believed(mine):
    app = open_results(run="mine", threshold="0.9", goal="sensitivity=0.99")
    assert app.segmented_control(key="results goal").value == "hand"
    assert app.slider(key="results threshold slider").value == 90.0
    assert "goal" not in app.query_params


def test_a_links_goal_is_kept_where_its_threshold_is_in_use_already(mine):
    app = open_results(run="mine")
    app.segmented_control(key="results goal").set_value("youden").run()
    link = {name: app.query_params[name] for name in ("run", "threshold", "goal")}
    write_decision(mine, Decision(Goal("hand", 0.5), float(link["threshold"]), None, None, "image"))
    assert open_results(**link).query_params["goal"] == "youden"


def test_files_that_stand_for_their_patient_are_said(demo_data):
    table = make_table()
    table.loc[0, "group"] = table.loc[0, "path"]
    make_run(table=table)
    assert "1 file whose patient is not known counts as a patient." in see(open_results(run="mine"))
    assert "counts as a patient" not in see(open_results(run="mine", level="image"))


def test_what_the_temperature_changed_stands_below_the_calibration(mine):
    metrics = mine.read_metrics()
    losses = {"before": 0.5, "after": 0.4}
    metrics["calibration"] |= {"temperature": 2.0, "n": 20, "log_loss": losses}
    mine.write_json("metrics.json", metrics)
    said = "(temperature 2.00, fitted on the 20 validation images; log loss 0.400 instead of 0.500)"
    assert said in see(open_results(run="mine"))


def test_the_page_goes_to_its_beginning_once_where_that_was_asked_for(mine):
    app = open_results(run="mine")
    assert list_scrolls(app) == []
    app.session_state["scrolls up asked"] = 3
    # It stays with its number, by which the browser knows that it has been done.
    assert [list_scrolls(app.run()), list_scrolls(app.run())] == [["3"], ["3"]]


def test_a_goal_of_a_link_that_is_none_is_left_out(mine):
    app = open_results(run="mine", threshold="0.29", goal="fame=1", mistakes="<b>all</b>")
    assert "The goal of the threshold cannot be read" in app.error[0].value.replace("\\", "")
    assert app.segmented_control(key="results goal").value == "hand"
    assert app.slider(key="results threshold slider").value == 29.0
    assert "goal" not in app.query_params
    assert app.segmented_control(key="results group").value == "false positives"


@pytest.mark.parametrize("threshold", ["2", "-0.1", "nan", "half", ""])
def test_a_threshold_of_a_link_that_is_none_is_left_out(mine, threshold):
    app = open_results(run="mine", threshold=threshold)
    assert "The link's threshold is left out" in app.error[0].value.replace("\\", "")
    assert app.slider(key="results threshold slider").value == 50.0


def test_a_link_to_a_run_that_is_not_there_says_so_and_shows_no_others_numbers(mine):
    app = open_results(run="<b>gone</b>", kind="nowhere", level="room")
    assert "The link's run '<b>gone</b>' has no results here" in app.error[0].value.replace(
        "\\", ""
    )
    assert "patients right" not in see(app)
    app.selectbox(key="results source").select_index(0).run()
    assert not app.error
    assert "8 of 10 patients right" in see(app)


def test_a_link_to_a_run_that_still_trains_says_so_and_leads_to_it(mine):
    run = Run(mine.directory.with_name("young"))
    shutil.copytree(mine.directory, run.directory)
    run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    with hold(run):
        app = open_results(run="young")
        texts = see(app)
        assert "**young** is still training (epoch 2 of 3)" in texts
        assert "patients right" not in texts
        assert not app.error
        (link,) = (each for each in app.main.get("page_link") if each.proto.label == "Watch it")
        assert app.session_state["run"] == "young"
        app.selectbox(key="results source").set_value(mine).run()
        assert "still training" not in see(app)
        assert "8 of 10 patients right" in see(app)


@pytest.mark.parametrize("is_synthetic", [True, False])
def test_an_own_run_on_synthetic_images_says_so(mine, is_synthetic):
    mine.write_json("shared.json", {"synthetic": is_synthetic})
    texts = see(open_results(run="mine"))
    assert ("Trained on synthetic images only" in texts) == is_synthetic


def test_before_any_run_the_demo_model_is_judged(demo_data):
    app = open_results()
    texts = see(app)
    assert "Trained on synthetic images only" in texts
    assert "46 of 52 patients right" in texts
    assert app.query_params["run"] == "demo"


def test_one_class_alone_shows_what_can_be_shown(demo_data):
    table = make_table()
    make_run(table=table[table["label"] == 0])
    app = open_results(run="mine")
    texts = see(app)
    assert "4 of 5 patients right" in texts
    assert "all 5 patients are non-calcified, and this needs both classes" in texts
    assert read_rates(app)["Sensitivity"] == ("–", "no calcified here")
    assert read_rates(app)["Specificity"][0] == "80 %"
    app.segmented_control(key="results goal").set_value("sensitivity").run()
    assert "A threshold cannot be chosen with one class alone" in app.error[0].value
    for title in ("All numbers", "More curves"):
        open_box(app, title)
    (table,) = [table.value for table in app.dataframe if "By patient" in table.value]
    assert table.set_index("Number").loc["AUC", "By patient"] == "not defined"


def test_equal_probabilities_are_no_traceback(demo_data):
    make_run(table=make_table().assign(probability=0.4))
    app = open_results(run="mine")
    assert "5 of 10 patients right, 50 %" in see(app)
    app.segmented_control(key="results goal").set_value("youden").run()
    assert "all 10 have the same probability" in app.error[0].value
    for title in ("All numbers", "More curves"):
        open_box(app, title)


def test_one_patient_is_no_traceback(demo_data):
    table = make_table()
    make_run(table=table[table["group"] == "validation-p3"])
    app = open_results(run="mine")
    assert "1 of 1 patients right, 100 %" in see(app)
    for title in ("All numbers", "More curves"):
        open_box(app, title)


def test_a_run_without_validation_says_what_is_missing(demo_data):
    make_run(table=make_table().iloc[:0])
    app = open_results(run="mine")
    assert "it has neither validation nor test images" in see(app)
    assert not app.metric
    # Another folder would be a test all the same.
    assert "No other folder was judged yet." in see(app)
    assert "results external start" in [button.key for button in app.button]


def test_a_run_whose_predictions_are_gone_says_so(mine):
    mine.path("predictions.csv").unlink()
    app = open_results(run="mine")
    assert "its predictions.csv is missing" in see(app)


def test_predictions_that_cannot_be_read_are_a_sentence(mine):
    mine.path("predictions.csv").write_bytes(b"\x00\xff\x00")
    app = open_results(run="mine")
    assert not app.exception
    assert len(app.error) == 1


def test_a_run_of_an_older_version_is_judged(mine):
    """It kept neither frame nor brightness, and its settings are no longer known."""
    table = make_table().drop(columns="frame")
    mine.write_table("predictions.csv", table)
    config = json.loads(mine.path("config.json").read_text())
    config["settings"]["training"]["gone"] = 1
    mine.write_json("config.json", config)
    app = open_results(run="mine")
    texts = see(app)
    assert "8 of 10 patients right" in texts
    assert "what was chosen on these images is not known" in texts


def test_patients_of_both_classes_are_left_out_and_told(demo_data):
    table = make_table()
    table.loc[table["path"] == "validation-p2_1.png", "label"] = 1
    make_run(table=table)
    assert "1 patient with images of both classes left out" in see(open_results(run="mine"))


def test_unknown_patients_are_counted_as_images(demo_data):
    make_run(table=make_table().assign(group=""))
    app = open_results(run="mine")
    assert "16 of 20 images right" in see(app)
    with pytest.raises(KeyError):
        app.segmented_control(key="results level")


def test_a_study_is_judged_over_all_its_folds(monkeypatch, open_page, tmp_path):
    index = make_index(tmp_path)
    study = make_study(monkeypatch, workspace.get_studies_dir(), index, name="folds")
    right = {row.path: 0.9 if row.label else 0.2 for row in index.images.itertuples()}
    for member in study.members:
        finish_member(study, member, right)
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    study.files.write_json("status.json", {"state": "finished", "message": "Finished"})
    app = open_results(study="folds")
    texts = see(app)
    assert "6 of 6 patients right, 100 %" in texts
    assert "judged by the members of the study that had not seen it" in texts
    assert app.query_params["study"] == "folds"
    # Its own model is made last: until then there is nothing to keep a threshold with.
    assert "over these same folds" not in texts
    app.slider(key="results threshold slider").set_value(25.0).run()
    assert "But over these same folds the threshold was chosen" in see(app)
    use = app.button(key="results use")
    assert use.disabled
    assert use.help == "The study has no model of all its members yet."
    titles = [box.label for box in app.expander]
    assert "Slices" in titles
    assert not {"Shortcuts and robustness", "Other data"} & set(titles)
    links = [link.proto for link in open_page("Train", study="folds").main.get("page_link")]
    assert [link.query_string for link in links if link.label == "See the results"] == [
        "study=folds"
    ]


def test_all_numbers_stand_in_one_table_with_n_and_can_be_kept(mine):
    app = open_results(run="mine")
    open_box(app, "All numbers")
    (table,) = [table.value for table in app.dataframe if "By patient" in table.value]
    table = table.set_index("Number")
    assert table.loc["Accuracy", "By patient"] == "80\xa0% (49–94)"
    assert table.loc["Sensitivity", "n images"] == "10"
    # Of 25 pairs two are the wrong way round: p1 and p9 stand below p0.
    assert table.loc["AUC", "By patient"].startswith("0.92 (")
    assert "PPV at that prevalence" not in table.index
    app.number_input(key="results prevalence").set_value(10.0).run()
    (table,) = [table.value for table in app.dataframe if "By patient" in table.value]
    # Bayes by hand: 0.1 * 0.8 / (0.1 * 0.8 + 0.9 * 0.2) = 0.31.
    assert table.set_index("Number").loc["PPV at that prevalence", "By patient"][:6] == "30.8\xa0%"


def test_the_table_of_numbers_says_all_that_it_rests_on():
    metric = {"value": 0.5, "low": None, "high": None, "n": 3, "reason": "Too few."}
    text = tabulate({"image": {"ppv_at_prevalence": metric}}, 0.4, 0.1).to_csv(index=False)
    (row,) = pd.read_csv(io.StringIO(text), keep_default_na=False).to_dict("records")
    assert row == {
        "level": "image", "number": "ppv_at_prevalence", "value": 0.5, "low": "", "high": "",
        "n": 3, "interval": "bootstrap", "threshold": 0.4, "prevalence": 0.1,
        "reason": "Too few.",
    }  # fmt: skip


def test_more_curves_are_drawn_when_they_are_asked_for(mine):
    app = open_results(run="mine")
    num_figures = len(app.get("plotly_chart"))
    open_box(app, "More curves")
    assert len(app.get("plotly_chart")) == num_figures + 4
    for title in ("Recall (sensitivity)", "Acts from this probability on", "Answered"):
        assert find_figure(app, title)["data"]


def test_every_figure_brings_its_numbers(mine):
    app = open_results(run="mine")
    open_box(app, "More curves")
    components = app.get("bidi_component")  # one more copies the page's address
    links = [json.loads(one.proto.json) for one in components if one.proto.json]
    assert [link["figure"] for link in links] == [
        f"results-{name}" for name in ("roc", "calibration", "matrix", "precision-recall",
                                       "decision", "distribution", "coverage")
    ]  # fmt: skip
    tables = {link["figure"]: pd.read_csv(io.StringIO(link["csv"])) for link in links}
    assert tables["results-roc"]["sensitivity"].iloc[-1] == 1
    matrix = tables["results-matrix"].set_index(["truth", "answer"])["count"]
    assert matrix["calcified", "non-calcified"] == 1
    assert links[0]["stem"] == "mine-validation-patient-roc"


def test_other_parts_open_without_trouble(mine):
    app = open_results(run="mine")
    for title in ("Slices", "Shortcuts and robustness", "Compare with other runs", "Other data"):
        open_box(app, title)
    assert not app.error


def test_file_names_and_classes_are_shown_literally(demo_data):
    run = make_run("odd")
    config = json.loads(run.path("config.json").read_text())
    run.write_json("config.json", config | {"class_names": ["<b>no</b>", ":red[x] $y$"]})
    app = open_results(run="odd")
    open_box(app, "All numbers")
    assert "**\\<b\\>no\\</b\\>**" in read_texts(app)
    spec = json.dumps(find_figure(app, "Answer"))
    assert "<b>no" not in spec
    assert "&lt;b&gt;no" in spec


def test_the_train_page_leads_to_the_results_of_its_run(open_page, mine):
    app = open_page("Train", run="mine")
    links = [link.proto for link in app.main.get("page_link")]
    (link,) = [link for link in links if link.label == "See the results"]
    assert link.query_string == "run=mine"


def test_cells_by_hand():
    level = Level(
        unit="image", cluster_unit="image", labels=np.array([0, 0, 1, 1, 1]),
        probabilities=np.array([0.1, 0.5, 0.45, 0.9, 0.2]), clusters=np.arange(5),
    )  # fmt: skip
    cells = count_cells(level, 0.5, None).set_index(["truth", "answer"])["count"]
    assert cells.to_dict() == {(0, 0): 1, (0, 1): 1, (1, 0): 2, (1, 1): 1}
    cells = count_cells(level, 0.5, Band(0.4, 0.6)).set_index(["truth", "answer"])
    assert cells["count"].to_dict() == {
        (0, 0): 1, (0, 2): 1, (0, 1): 0, (1, 0): 1, (1, 2): 1, (1, 1): 1
    }  # fmt: skip
    assert cells.loc[(1, 1), "share"] == pytest.approx(1 / 3)


def test_a_missing_class_leaves_its_cells_without_a_share():
    level = Level(
        unit="image", cluster_unit="image", labels=np.array([0]), probabilities=np.array([0.1]),
        clusters=np.arange(1),
    )  # fmt: skip
    cells = count_cells(level, 0.5, None)
    figure = evidence_charts.draw_matrix(
        cells, ("no", "yes"), ("#0072B2", "#E69F00"), "images", is_dark=False
    )
    assert [trace.text for trace in figure.data][2:] == ["<b>0</b><br>"] * 2


def test_the_run_is_left_as_it_was(mine):
    before = {path.name: path.stat().st_mtime_ns for path in mine.directory.iterdir()}
    app = open_results(run="mine")
    for title in ("All numbers", "More curves"):
        open_box(app, title)
    after = {path.name: path.stat().st_mtime_ns for path in mine.directory.iterdir()}
    assert after == before


def test_only_what_can_be_judged_is_offered(demo_data):
    run = make_run(table=make_table(("validation", "test")))
    assert list_kinds(run) == ["validation", "test"]
    judged = read_judged(run, "test")
    assert set(judged.table["split"]) == {"test"}
