"""What stands behind a click on the results page: pairs, other data, slices, checks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from polyp_core import evaluation_jobs, workspace
from polyp_core.checks import EFFECTS
from polyp_core.decision import Decision, Goal, write_decision
from polyp_core.evaluation_jobs import find_checks, list_evaluations
from polyp_core.evidence.pairs import match_predictions
from polyp_core.evidence.slices import list_slices
from polyp_core.evidence.wording import say_p
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run
from tests.conftest import wait_for_end, write_classes
from tests.core.studies import make_index, make_study
from tests.core.test_checks_wording import make_border, make_found, make_place
from tests.pages.conftest import click, read_texts
from tests.pages.test_results import make_run, make_table
from ui.check_charts import draw_overlaid_roc, draw_robustness, draw_slices
from ui.results_checks import tabulate_effect
from ui.results_disagreements import find_disagreements
from ui.results_pair_words import say_auc_difference, say_decisions
from ui.results_slices import say_difference

SCRIPT = """
import streamlit as st
from polyp_core.runs import Run
from polyp_core.study import Study
from ui.results_checks import show_checks
from ui.results_external import show_external
from ui.results_pairs import show_pairs
from ui.results_slices import show_slices
from ui.results_source import read_judged

kind, directory = st.session_state["test source"]
judged = read_judged({"run": Run, "study": Study}[kind](directory), st.session_state["test kind"])
if st.session_state["test part"] == "pairs":
    show_pairs(judged, st.session_state["test level"])
elif st.session_state["test part"] == "slices":
    show_slices(judged, 0.5)
elif st.session_state["test part"] == "checks":
    show_checks(judged)
else:
    show_external(judged.run, judged.kind, is_study=judged.study is not None)
"""


def show(part, source, level="patient", kind="validation", **state) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=60)
    app.session_state["test source"] = (type(source).__name__.lower(), source.directory)
    app.session_state["test part"], app.session_state["test level"] = part, level
    app.session_state["test kind"] = kind
    for key, value in state.items():
        app.session_state[key.replace("_", " ")] = value
    return run(app)


def run(app) -> AppTest:
    app.run()
    assert not app.exception, app.exception
    return app


def see(app) -> str:
    return read_texts(app).replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def compare(shown, *others, level="patient") -> AppTest:
    chosen = [str(other.directory) for other in others]
    return show("pairs", shown, level, results_compared_with=chosen)


def read_figures(app) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


# --- pairs -----------------------------------------------------------------------------------


@pytest.fixture
def mine(demo_data) -> Run:
    """8 of 10 patients right: p0 is a false alarm, p1 is missed."""
    return make_run("mine", folder=demo_data.parent / "images")


def make_other(mine: Run, name="other", change=None, **options) -> Run:
    """Another model on the same folder, with other probabilities or fewer images."""
    table = make_table() if change is None else change(make_table())
    return make_run(name, table, folder=mine.read_index().folder, **options)


def set_all_right(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(probability=np.where(table["label"] == 1, 0.9, 0.1))


def test_with_nothing_else_there_it_says_what_a_comparison_needs(demo_data):
    app = show("pairs", workspace.DEMO_RUN)
    assert "nothing to compare with yet. Train a second run" in see(app)
    assert not app.multiselect


def test_those_judged_on_the_same_images_are_offered_first(mine):
    make_other(mine, "half", lambda table: table.iloc[:10])
    make_other(mine, "same")
    options = show("pairs", mine).multiselect[0].options
    assert options == [
        "same · the same 20 images", "half · 10 of the 20 images",
        "Demo model (synthetic images) · no image in common",
    ]  # fmt: skip


def test_two_models_stand_side_by_side_with_their_paired_tests(mine):
    other = make_other(mine, change=set_all_right)
    app = compare(mine, other)
    texts, table = see(app), app.dataframe[0].value
    assert "All judged the same 20 images" in texts
    assert table["Model"].tolist() == ["mine", "other"]
    assert table["Accuracy"].tolist() == ["80\xa0% (49–94)", "100\xa0% (72–100)"]
    # 2 of 10 only for the other, none for the shown one: McNemar's exact p is 2 / 2**2.
    assert (
        "On 2 of 10 patients other alone is right, on 0 mine alone: **no more than chance**"
        in texts
    )
    assert "p = 0.50)" in texts
    tests = app.dataframe[1].value.iloc[0]
    assert (tests["Both right"], tests["Only it right"], tests["Both wrong"]) == (8, 2, 0)
    assert tests["p (McNemar)"] == "0.50"
    assert not app.warning


def test_by_image_patients_count_together_in_the_tests(mine):
    app = compare(mine, make_other(mine, change=set_all_right), level="image")
    texts = see(app)
    assert "On 4 of 20 images other alone is right, on 0 mine alone" in texts
    # Four images of two patients are two coins, not four.
    assert "p = 0.50)" in texts
    assert "Images of one patient count together." in texts


def test_the_roc_curves_lie_over_each_other(mine):
    app = compare(mine, make_other(mine, change=set_all_right))
    figure = read_figures(app)[0]
    labels = [trace["hovertemplate"] for trace in figure["data"] if "hovertemplate" in trace]
    assert any(label.startswith("mine<br>") for label in labels)
    assert any(label.startswith("other at its threshold") for label in labels)
    assert figure["layout"]["xaxis"]["title"]["text"] == "False alarms (1 − specificity)"


def test_numbers_of_different_images_are_of_the_common_ones_and_say_so(mine):
    half = make_other(mine, "half", lambda table: table.iloc[:10])
    app = compare(mine, half)
    warning = app.warning[0].value
    assert "**They judged different images**: mine 20, half 10; all of them 10." in warning
    assert "Every number here is of the 10 images that all judged" in warning
    # Of p0 to p4 the first two are wrong.
    assert app.dataframe[0].value["Accuracy"].tolist() == ["60\xa0% (23–88)"] * 2
    assert "are right on the same patients, all 5 of them counted." in see(app)


def test_without_a_common_image_there_is_no_test_and_it_says_so(mine):
    stranger = make_run("stranger", make_table().assign(path=lambda t: "x" + t["path"])[::-1])
    for number, path in enumerate(sorted(stranger.read_index().folder.iterdir())):
        path.write_bytes(path.read_bytes() + bytes([number]))
    index = stranger.read_index().images
    stranger.write_table("index.csv", index.assign(sha256=[f"{i:064}" for i in range(len(index))]))
    app = compare(mine, stranger)
    assert "**stranger is left out**: there is no image that it and mine both judged" in see(app)
    assert "no paired test" in app.warning[0].value
    assert not app.dataframe


def test_one_that_cannot_be_compared_does_not_hinder_the_others(mine):
    other, strange = make_other(mine), make_other(mine, "strange")
    values = json.loads(strange.path("config.json").read_text())
    strange.write_json("config.json", values | {"class_names": ["cat", "*dog*"]})
    app = compare(mine, other, strange)
    assert "**strange is left out**: it tells other classes apart, cat and *dog*." in see(app)
    assert app.dataframe[0].value["Model"].tolist() == ["mine", "other"]


def test_more_than_three_are_not_taken(mine):
    others = [make_other(mine, name) for name in ("a", "b", "c", "d")]
    app = compare(mine, *others)
    assert len(app.multiselect[0].value) == 3
    assert "The 3 p values are not corrected for being 3." in see(app)


def test_one_class_alone_has_no_auc_but_the_rest(demo_data):
    positives = make_table()[make_table()["label"] == 1]
    folder = demo_data.parent / "images"
    mine = make_run("mine", positives, folder=folder)
    app = compare(mine, make_run("other", set_all_right(positives), folder=folder))
    texts = see(app)
    assert "AUC of other and mine cannot be compared. There are no negative images" in texts
    assert "There is no ROC curve: all of these are of one class." in texts
    assert "On 1 of 5 patients other alone is right" in texts


def test_a_study_is_compared_by_its_folds(mine, monkeypatch):
    index = mine.read_index()
    images = index.images.assign(split="train")
    study = make_study(monkeypatch, workspace.get_studies_dir(), make_index(index.folder))
    study.files.write_table("index.csv", images.assign(fold=1))
    study.files.write_table("predictions.csv", set_all_right(make_table()).assign(num_members=1))
    app = show("pairs", mine)
    assert app.multiselect[0].options[0] == "mine (study) · the same 20 images"
    app.session_state["results compared with"] = [str(study.directory)]
    assert run(app).dataframe[0].value["Judged as"].tolist() == ["validation", "folds of the study"]


def test_a_run_whose_predictions_are_damaged_is_not_offered(mine):
    other = make_other(mine)
    other.path("predictions.csv").write_bytes(b"\xff\x00")
    assert all("other" not in option for option in show("pairs", mine).multiselect[0].options)


def test_titles_are_shown_literally(mine):
    other = make_other(mine, change=set_all_right)
    other.write_notes("*not* [bold](x)", "")
    app = compare(mine, other)
    assert "\\*not\\* \\[bold\\]\\(x\\) alone is right" in read_texts(app)


def test_the_images_on_which_they_disagree_stand_with_both_probabilities(mine):
    app = compare(mine, make_other(mine, change=set_all_right))
    texts = see(app)
    assert app.get("button_group")
    assert len(app.get("image")) == 4
    assert ":material/close: 74 % mine" in texts  # p0's second image, 0.7 + 0.04
    assert ":material/check: **10 % other**" in texts
    app.session_state["results who is right"] = "shown"
    assert len(run(app).get("image")) == 0


def test_alike_models_disagree_nowhere(mine):
    app = compare(mine, make_other(mine))
    assert "mine and other answer all 20 images alike." in see(app)


def test_disagreements_come_with_the_widest_first():
    table = pd.DataFrame(
        {"path": list("abcd"), "frame": 0, "group": "", "label": [1, 0, 1, 0],
         "probability": [0.9, 0.2, 0.6, 0.6], "number": [3, 5, 7, 9]}
    )  # fmt: skip
    other = table.assign(probability=[0.3, 0.1, 0.5, 0.1])
    matched = match_predictions({"one": table, "two": other})
    found = find_disagreements(table, matched, "one", "two", [0.5, 0.55])
    # a lies 0.6 apart, d 0.5 and c, which the second takes for negative by its threshold, 0.1.
    assert found["path"].tolist() == ["a", "d", "c"]
    assert found["number"].tolist() == [3, 9, 7]
    assert found["is_shown_right"].tolist() == [True, False, True]


def test_runs_of_the_table_are_handed_over(mine):
    others = [make_other(mine, name) for name in ("a", "b", "c", "d")]

    def script():
        from polyp_core import workspace
        from polyp_core.runs import Run
        from ui.results_candidates import compare_next

        compare_next([Run(workspace.get_runs_dir() / name) for name in ("mine", *"abcd")])

    app = run(AppTest.from_function(script))
    assert app.session_state["results source"] == mine
    chosen = app.session_state["results compared with"]
    assert chosen == [str(other.directory) for other in others[:3]]


def test_the_table_of_runs_leads_there_where_two_were_judged(mine):
    make_other(mine)
    bare = make_other(mine, "bare")
    bare.path("predictions.csv").unlink()

    def script():
        import ui
        from polyp_core import workspace

        ui.show_runs(workspace.get_runs_dir())

    for names, is_offered in ((["mine", "bare"], False), (["mine", "bare", "other"], True)):
        app = AppTest.from_function(script, default_timeout=60)
        app.session_state["runs compared"] = names
        labels = [button.label for button in run(app).button]
        assert ("Test whether they differ by more than chance" in labels) == is_offered


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "said"),
    [
        (0.12, 0.07, 0.16, 0.0001, "**b ranks better than a**: its AUC is higher by 0.12 "
         "(95 % interval 0.07 to 0.16, p < 0.001)."),
        (-0.12, -0.16, -0.07, 0.02, "**a ranks better than b**: its AUC is higher by 0.12 "
         "(95 % interval 0.07 to 0.16, p = 0.020)."),
        (-0.02, -0.06, 0.02, 0.31, "The AUC of b and a **does not differ by more than chance** "
         "would make: −0.02 for b (95 % interval −0.06 to +0.02, p = 0.31)."),
    ],
)  # fmt: skip
def test_a_difference_of_auc_in_words(value, low, high, p, said):
    result = {"value": value, "low": low, "high": high, "p_value": p}
    assert say_auc_difference(result, "b", "a") == said


def test_a_difference_of_answers_in_words():
    result = {"n": 50, "only_a": 2, "only_b": 14, "both_right": 30, "both_wrong": 4,
              "p_value": 0.004,
              "difference": {"value": 0.24, "low": 0.08, "high": 0.38}}  # fmt: skip
    assert say_decisions(result, "b", "a", "patients") == (
        "On 14 of 50 patients b alone is right, on 2 a alone: **b is right more often**, by 24 "
        "percentage points (95 % interval 8 to 38, p = 0.004)."
    )
    turned = result | {"difference": {"value": -0.24, "low": -0.38, "high": -0.08}}
    assert "**a is right more often**, by 24" in say_decisions(turned, "b", "a", "patients")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0004, "p < 0.001"), (0.0213, "p = 0.021"), (0.0996, "p = 0.10"), (1.0, "p = 1.00")],
)
def test_a_p_value_in_words(value, said):
    assert say_p(value) == said


def test_curves_of_a_comparison_differ_in_colour():
    curve = pd.DataFrame({"false_positive_rate": [0, 1.0], "sensitivity": [0, 1.0]})
    figure = draw_overlaid_roc([curve] * 4, ["<b>", "b", "c", "d"], [None] * 4, is_dark=True)
    lines = [(trace.line.color, trace.line.dash) for trace in figure.data[1:]]
    assert len(set(lines)) == 4
    assert figure.data[-1].hovertemplate.startswith("&lt;b&gt;<br>")  # the shown one on top


# --- slices ----------------------------------------------------------------------------------


def make_sliced(num_wrong_dark: int, num_wrong_bright: int) -> pd.DataFrame:
    """60 dark and 60 bright images, each of its own patient, half of either positive."""
    rows = []
    for brightness, num_wrong in ((20.0, num_wrong_dark), (90.0, num_wrong_bright)):
        for number in range(60):
            label = number % 2
            is_right = number >= num_wrong
            rows.append(
                {"path": f"{brightness:.0f}-{number}.png", "frame": 0, "split": "validation",
                 "group": f"{brightness:.0f}-{number}", "label": label,
                 "probability": 0.9 if (label == 1) == is_right else 0.1,
                 "brightness": brightness}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_without_a_column_it_says_where_columns_come_from(mine):
    app = show("slices", mine)
    assert "There is nothing to slice by" in see(app)
    assert "A CSV manifest with a column such as 'scanner'" in see(app)


def test_a_slice_that_differs_more_than_chance_is_warned_of_in_words(demo_data):
    app = show("slices", make_run("mine", make_sliced(24, 2)))
    warning = app.warning[0].value.replace("\\", "")
    assert "**By brightness the wrong answers are spread more unevenly than chance" in warning
    assert "60\xa0% (" in warning
    assert "for 20 (n = " in warning
    assert "columns" not in warning  # there is but one
    table = app.dataframe[0].value
    assert table["Accuracy"].str[:4].tolist() == ["60\xa0%", "97\xa0%"]
    assert table["Images"].tolist() == [60, 60]


def test_without_such_a_slice_there_is_no_warning(demo_data):
    app = show("slices", make_run("mine", make_sliced(7, 6)))
    assert not app.warning
    assert "By brightness no slice is worse than chance would make" in see(app)


def test_without_a_mistake_the_numbers_stand_without_a_test(demo_data):
    app = show("slices", make_run("mine", make_sliced(0, 0)))
    assert not app.warning
    assert "No image is judged wrongly, so no slice can differ." in see(app)
    assert app.dataframe[0].value["Accuracy"].str.startswith("100\xa0%").all()


def test_a_figure_has_a_dot_a_slice_and_another_number_on_demand(demo_data):
    app = show("slices", make_run("mine", make_sliced(24, 2)))
    figure = read_figures(app)[0]
    assert [label.split(" ")[0] for label in figure["layout"]["yaxis"]["ticktext"]] == ["20", "90"]
    assert "n = 60" in figure["layout"]["yaxis"]["ticktext"][0]
    app.session_state["results slice measure"] = "auc"
    assert read_figures(run(app))[0]["layout"]["xaxis"]["title"]["text"] == "AUC"


def test_the_number_in_which_slices_differ_is_shown_first(demo_data):
    table = make_sliced(0, 0)
    table.loc[(table["brightness"] < 50) & (table["label"] == 0), "probability"] = 0.9
    figure = read_figures(show("slices", make_run("mine", table)))[0]
    assert figure["layout"]["xaxis"]["title"]["text"] == "Specificity"


def test_with_no_column_chosen_it_asks_for_one(demo_data):
    app = show("slices", make_run("mine", make_sliced(24, 2)))
    app.session_state["results slice columns"] = []
    assert "Choose a column above." in see(run(app))


def test_the_difference_names_the_number_that_differs_most():
    table = make_sliced(0, 0)
    # All dark negatives are wrong: specificity, not sensitivity.
    is_wrong = (table["brightness"] < 50) & (table["label"] == 0)
    table.loc[is_wrong, "probability"] = 0.9
    (found,) = list_slices(table, ["brightness"], 0.5)
    said = say_difference(found, 3).replace("\\", "")
    assert "is 0\xa0% (0–11) for 20 (n = 30), but 100\xa0% (89–100) for 90 (n = 30)." in said
    assert "corrected for 3 columns" in said


def test_slices_without_a_number_keep_their_place_in_the_figure():
    rows = pd.DataFrame(
        {"name": ["<i>", "b", "c"], "value": [0.5, np.nan, 0.7], "low": [0.4, np.nan, 0.6],
         "high": [0.6, np.nan, 0.8], "n": [9, 0, 8]}
    )  # fmt: skip
    figure = draw_slices(rows, 0.6, "Sensitivity", is_share=True, is_dark=False)
    assert list(figure.data[0].y) == [0, 2]
    assert "&lt;i&gt;" in figure.layout.yaxis.ticktext[0]
    assert "n = 0" in figure.layout.yaxis.ticktext[1]


# --- other data ------------------------------------------------------------------------------


@pytest.fixture
def clinic(workspace_dir) -> Path:
    """A folder that is offered, since it was imported; AppTest cannot follow one that is typed."""
    return write_classes(workspace.get_imports_dir() / "clinic")


@pytest.fixture
def no_worker(monkeypatch):
    """Workers are asked for, but never start."""
    monkeypatch.setattr(evaluation_jobs, "start_process", lambda *args, **options: None)


def make_evaluation(of: Run, state="finished", name="elsewhere", message="", **counts) -> Run:
    """An evaluation as a worker leaves it."""
    files = Run(of.directory / "evaluations" / name)
    files.directory.mkdir(parents=True)
    config = json.loads(of.path("config.json").read_text())
    files.write_json("config.json", config | {"task": "evaluate"})
    files.path("worker.log").touch()
    if state != "queued":
        files.write_json("status.json", {"state": state, "message": message})
    if state == "finished":
        table = of.read_predictions().drop(columns=["split"]).assign(split="")
        shutil.copy(of.path("index.csv"), files.path("index.csv"))
        files.write_table("predictions.csv", table)
        files.write_json("metrics.json", {**evaluate_predictions(table, 0.5), **counts})
    return files


def test_other_data_says_that_it_is_apart_from_validation(mine):
    app = show("external", mine)
    assert "apart from its validation" in see(app)
    assert "No other folder was judged yet." in see(app)
    assert next(b for b in app.button if b.label == "Start").disabled


def test_a_folder_that_is_not_there_is_told_at_once(mine):
    app = show("external", mine, results_external_folder="/nowhere at all")
    assert "The folder '/nowhere at all' does not exist." in app.error[0].value.replace("\\", "")
    assert not list_evaluations(mine)


def test_folders_of_other_runs_are_offered(mine, tmp_path):
    other = make_run("other", folder=tmp_path / "elsewhere")
    options = show("external", mine).selectbox[0].options
    assert str(other.read_index().folder) in options
    assert str(mine.read_index().folder) not in options


def test_a_known_folder_is_put_into_the_field_where_it_can_be_changed(mine, tmp_path):
    other = make_run("other", folder=tmp_path / "elsewhere")
    app = show("external", mine)
    app.selectbox[0].select(str(other.read_index().folder))
    run(app)
    assert app.text_input[0].value == str(other.read_index().folder)
    assert app.selectbox[0].value is None
    app.text_input[0].set_value("/elsewhere/deeper")
    assert "'/elsewhere/deeper' does not exist" in run(app).error[0].value.replace("\\", "")


def test_what_is_in_the_folder_is_told_before_the_start(mine, clinic):
    app = show("external", mine, results_external_folder=str(clinic))
    assert "20 files of calcified and non-calcified" in see(app)


def test_a_pattern_that_finds_no_patient_is_told_with_a_name(mine, clinic):
    app = show("external", mine, results_external_folder=str(clinic))
    app.text_input[1].set_value("^scan-([0-9]+)")
    run(app)
    said = app.error[0].value.replace("\\", "")
    assert "finds no patient in 20 of 20 file names" in said
    assert "Received: 'patient-" in said
    assert next(b for b in app.button if b.label == "Start").disabled
    app.text_input[1].set_value("patient-([0-9]+)")
    assert "10 patients by the pattern" in see(run(app))


def test_a_started_one_shows_its_progress_and_can_be_stopped(mine, clinic, no_worker):
    app = show("external", mine, results_external_folder=str(clinic))
    click(app, "Start")
    assert not app.exception
    (files,) = list_evaluations(mine)
    assert files.read_config().data.folder == str(clinic)
    with FileLock(files.path("lock")):
        status = {"state": "running", "message": "Judging the images: 5 of 20",
                  "images_done": 5, "images_in_all": 20, "remaining_s": 130}  # fmt: skip
        files.write_json("status.json", status)
        run(app)
        bar = app.get("progress")[0]
        assert bar.proto.value == 25
        assert bar.proto.text.replace("\\", "") == "Judging the images: 5 of 20 · about 2 min left"
        click(app, "Stop")
        assert files.path("stop").exists()
        assert next(b for b in run(app).button if b.label == "Stopping …").disabled


def test_a_finished_one_says_what_it_is_worth_and_what_was_left_out(mine):
    make_evaluation(
        mine, num_images=20, num_training_images_left_out=1200, num_unreadable=1,
        num_images_of_training_patients=3, num_validation_images=0,
    )  # fmt: skip
    texts = see(show("external", mine))
    assert "8 of 10 patients right, 80 %" in texts
    assert "1,200 images left out: the model was trained on them." in texts
    assert "1 file left out: it cannot be read." in texts
    assert "3 images counted, but of a patient named as one of training." in texts


def test_a_finished_one_is_counted_at_the_threshold_in_use(mine):
    make_evaluation(mine)
    write_decision(mine, Decision(Goal("hand", 0.25), 0.25))
    # p1, missed at one half, is found.
    assert "9 of 10 patients right, 90 %" in see(show("external", mine))


def test_one_click_opens_it(mine):
    make_evaluation(mine)
    app = show("external", mine)
    click(app, "Open results")
    assert app.session_state["results kind"] == "elsewhere"
    assert app.session_state["scrolls up asked"] == 1  # to where it stands
    app.session_state["test kind"] = "elsewhere"
    run(app)
    assert next(b for b in app.button if b.label == "Open results").disabled


def test_it_is_deleted_after_a_question(mine):
    make_evaluation(mine)
    app = show("external", mine)
    assert "go for good. The images stay." in see(app)
    click(app, "Delete for good")
    assert not list_evaluations(mine)
    assert "No other folder was judged yet." in see(run(app))


def test_a_failed_one_says_why_and_can_be_started_anew(mine, no_worker):
    files = make_evaluation(mine, "failed", message="The file *x* is gone. Put it back.")
    app = show("external", mine)
    assert "The file *x* is gone. Put it back." in app.error[0].value.replace("\\", "")
    click(app, "Start anew")
    assert files.read_status()["state"] == "queued"


def test_what_cannot_be_deleted_any_more_says_why(mine):
    files = make_evaluation(mine)
    app = show("external", mine)
    shutil.rmtree(files.directory)
    click(app, "Delete for good")
    assert not app.exception
    assert "No other folder was judged yet." in see(app)


def test_a_real_worker_judges_a_folder_for_the_page(mine, clinic):
    app = show("external", mine, results_external_folder=str(clinic))
    click(app, "Start")
    (files,) = list_evaluations(mine)
    assert wait_for_end(files) == "finished", files.path("worker.log").read_text()
    assert " right, " in see(run(app))


# --- checks ----------------------------------------------------------------------------------


def write_checks(of: Run, state="finished", found=None, message="") -> Run:
    files = Run(of.directory / "checks")
    files.directory.mkdir(exist_ok=True)
    config = json.loads(of.path("config.json").read_text())
    files.write_json("config.json", config | {"task": "checks"})
    files.path("worker.log").touch()
    files.write_json("status.json", {"state": state, "message": message})
    if found is not None:
        files.write_json("checks.json", found)
    return files


def test_before_the_checks_it_says_what_they_ask_and_starts_them(mine, no_worker):
    app = show("checks", mine)
    assert "On 20 validation images, each asked about 22 times" in see(app)
    assert sum(len(effect.strengths) for effect in EFFECTS) + 2 == 22
    click(app, "Run the checks")
    files = find_checks(mine)
    assert files is not None
    assert files.read_status()["state"] == "queued"
    assert app.get("progress")


@pytest.mark.parametrize("state", ["", "stopped"])
def test_a_model_whose_images_stayed_elsewhere_cannot_be_checked_here(mine, state):
    if state:
        write_checks(mine, state)
    config = json.loads(mine.path("config.json").read_text())
    mine.write_json("config.json", config | {"folder": "another computer/images"})
    app = show("checks", mine)
    (button,) = app.button
    assert button.label == ("Check anew" if state else "Run the checks")
    assert button.disabled
    assert "images stayed on the computer that it was trained on" in see(app) + button.help


def test_a_model_without_validation_images_cannot_be_checked(demo_data):
    app = show("checks", make_run("mine", make_table(("test",))), kind="test")
    assert "has no validation images of its own" in see(app)
    assert not app.button


def test_running_checks_can_be_stopped(mine):
    files = write_checks(mine, "running", message="Checking the images: 3 of 20")
    with FileLock(files.path("lock")):
        app = show("checks", mine)
        assert "3 of 20" in app.get("progress")[0].proto.text
        click(app, "Stop")
        assert files.path("stop").exists()


def test_what_the_checks_found_stands_in_sentences_and_five_figures(mine):
    write_checks(mine, found=make_found())
    app = show("checks", mine)
    texts = see(app)
    assert "31 % (26–36) of the saliency lies outside the scan area, which takes 40 %" in texts
    assert texts.count("no sign of a shortcut") == 2
    assert "AUC is 0.84 (0.70–0.90) instead of 0.90 (0.80–0.95)" in texts
    assert not app.warning
    figures = read_figures(app)
    assert len(figures) == 5
    assert figures[0]["layout"]["xaxis"]["ticktext"] == ["as is", "5", "10", "20", "40"]
    assert figures[4]["layout"]["xaxis"]["ticktext"] == ["as is", "90", "70", "50", "20"]
    # All five end at the same height, so that they can be compared.
    assert len({tuple(figure["layout"]["yaxis"]["range"]) for figure in figures}) == 1
    app.session_state["results robustness measure 2"] = "accuracy"
    assert read_figures(run(app))[0]["layout"]["yaxis"]["title"]["text"] == "Accuracy"


def test_signs_of_a_shortcut_are_warnings(mine):
    outside = make_place(saliency=0.6, excess=(0.1, 0.3))
    write_checks(mine, found=make_found(outside=outside, border=make_border(high=-0.01)))
    warnings = [warning.value for warning in show("checks", mine).warning]
    assert len(warnings) == 2
    assert "This can be a shortcut" in warnings[0]
    assert "The border carries a part of the answer" in warnings[1]


@pytest.mark.parametrize("state", ["failed", "stopped", "interrupted", "finished"])
def test_checks_without_a_result_say_so_and_start_anew(mine, state, no_worker):
    files = write_checks(mine, state, message="None of the 20 images can be read.")
    app = show("checks", mine)
    assert ("None of the 20 images can be read." in see(app)) == (state == "failed")
    click(app, "Check anew")
    assert not app.exception
    assert files.read_status()["state"] == "queued"


def test_a_damaged_result_is_no_traceback(mine):
    write_checks(mine).path("checks.json").write_text("[1, 2")
    assert "cannot be read" in see(show("checks", mine))
    write_checks(mine, found={"robustness": [], "borders": {}})  # of another version
    assert "cannot be read" in see(show("checks", mine))


def test_a_curve_of_robustness_shows_its_interval():
    rows = tabulate_effect(make_found()["robustness"][0], "image", "auc")
    assert rows["value"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    figure = draw_robustness(rows, "SD", "AUC", 0.4, is_dark=False)
    band, line = figure.data
    assert max(band.y) == pytest.approx(1.0)
    assert min(band.y) == pytest.approx(0.4)
    assert list(line.y) == rows["value"].tolist()
