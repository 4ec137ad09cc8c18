"""Studies on the train page, and their ensembles on the predict page."""

import json
import os
import shutil
from collections import Counter

import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import study_jobs, workspace
from polyp_core.errors import RunError
from polyp_core.runs import Run
from polyp_core.study import list_studies, summarise
from polyp_core.study_worker import prepare_member
from tests.core.studies import end_member, finish_member, make_index, make_study
from tests.pages.conftest import click, list_scrolls, read_texts
from ui import study_view
from ui.results_source import list_sources


@pytest.fixture
def study(monkeypatch, workspace_dir, tmp_path, finished_run):
    """Two folds; the first member is finished, the other is still to come."""
    index = make_index(tmp_path)
    folder = workspace.get_studies_dir()
    study = make_study(monkeypatch, folder, index, "training.keep=best", name="mine")
    right = {row.path: 0.9 if row.label else 0.2 for row in index.images.itertuples()}
    finish_member(study, study.members[0], right)
    shutil.copy(finished_run.path("history.csv"), study.members[0].run.path("history.csv"))
    write_summary(study)
    study.files.write_json(
        "status.json",
        {"state": "stopped", "message": "Stopped", "num_members": 2, "num_finished": 1},
    )
    return study


def write_summary(study):
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)


def test_a_study_shows_members_pooled_numbers_and_how_many_are_missing(open_page, study):
    app = open_page("Train", study="mine")
    texts = read_texts(app).replace("\\", "")
    assert "**mine**" in texts
    assert "So far: 1 of 2 members" in texts
    assert "Each image judged by members that had not seen it: " in texts
    assert "95 % interval" in texts
    assert "lean to the good side" in texts  # the best epoch is kept
    (table,) = [t.value for t in app.dataframe if "Fold" in t.value]
    assert table["State"].tolist() == ["Finished", "Waiting"]
    assert table["Accuracy"][0].startswith("100\xa0% (")
    assert table["Judged on"][0].endswith("patients")
    # One member has no spread.
    metric = next(m for m in app.metric if m.label.startswith("Accuracy, n = "))
    assert metric.delta == "members 100 %"
    assert "Resume" in [button.label for button in app.button]


def test_curves_of_members_become_a_mean_and_a_band(open_page, study, finished_run):
    index = study.read_index()
    right = {row.path: 0.9 if row.label else 0.2 for row in index.images.itertuples()}
    finish_member(study, study.members[1], right)
    lines = finished_run.path("history.csv").read_text().splitlines()
    study.members[1].run.path("history.csv").write_text("\n".join(lines[:3]) + "\n")
    app = open_page("Train", study="mine")
    charts = [json.loads(c.proto.spec) for c in app.get("plotly_chart")]
    (loss,) = [c for c in charts if c["layout"]["yaxis"].get("title", {}).get("text") ==
               "Validation loss"]  # fmt: skip
    band, first, second, mean = loss["data"]
    assert band["fill"] == "toself"
    assert "mean of 2" in mean["hovertemplate"]
    (accuracy,) = [c for c in charts if c["layout"]["yaxis"].get("title", {}).get("text") ==
                   "Validation accuracy"]  # fmt: skip
    assert accuracy["layout"]["annotations"][0]["text"] == "always the same class"
    assert "Thin: each member. Thick: their mean." in read_texts(app)


def test_the_form_starts_a_study_of_the_draft(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: started.append(given))
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(2).run()
    app.number_input(key="study folds").set_value(2).run()
    next(n for n in app.number_input if n.label == "Seeds").set_value(1).run()
    assert "2 runs, about" in read_texts(app)
    click(app, "Start the study")
    assert not app.exception
    (study,) = list_studies(workspace.get_studies_dir())
    assert app.toast[0].value.replace("\\", "") == f"{study.name} has begun."
    assert list_scrolls(app) == ["1"]  # to where it stands now
    assert started == [("polyp_core.study_worker", study.directory)]
    plan = study.read_plan()
    assert (plan["num_folds"], plan["seeds"]) == (2, [0])
    assert study.read_config().training.epochs == 2
    # No patient stands in two folds.
    images = study.read_index().images
    assert (images.groupby("group")["fold"].nunique() == 1).all()


def is_study_above_run(app):
    labels = [box.label for box in app.expander]
    return labels.index("Studies") < labels.index("Settings and log")


def test_a_study_stands_above_the_run_it_was_started_after_until_another_is_looked_at(
    open_page, own_run, monkeypatch
):
    monkeypatch.setattr(study_jobs, "start_process", lambda *_: None)
    shutil.copytree(own_run.directory, own_run.directory.with_name("other"))
    app = open_page("Train", run="own")
    app.number_input(key="study folds").set_value(2).run()
    click(app, "Start the study")
    assert is_study_above_run(app)
    assert next(box for box in app.expander if box.label == "Studies").proto.expanded
    app.session_state["run"] = "other"
    assert not is_study_above_run(app.run())


@pytest.mark.parametrize("is_newer", [False, True])
def test_at_the_first_look_what_is_newer_stands_above(open_page, own_run, study, is_newer):
    path = study.files.path("study.json")
    seconds = own_run.path("config.json").stat().st_mtime + (10 if is_newer else -10)
    os.utime(path, (seconds, seconds))
    app = open_page("Train", run="own")
    assert is_study_above_run(app) == is_newer
    os.utime(path, (1, 1) if is_newer else None)  # nothing jumps under a visitor's eyes
    assert is_study_above_run(app.run()) == is_newer


@pytest.mark.parametrize("is_newer", [False, True])
def test_the_results_page_has_first_what_was_tested_last(own_run, study, is_newer):
    seconds = own_run.path("predictions.csv").stat().st_mtime + (10 if is_newer else -10)
    os.utime(study.files.path("predictions.csv"), (seconds, seconds))
    first, second, _ = (source.directory.name for source in list_sources())
    assert (first, second) == (("mine", "own") if is_newer else ("own", "mine"))


def test_too_many_folds_for_the_patients_is_a_sentence(open_page):
    app = open_page("Train")
    app.number_input(key="study folds").set_value(20).run()
    click(app, "Start the study")
    assert not app.exception
    assert "folds" in app.error[0].value
    assert not list_studies(workspace.get_studies_dir())


@pytest.mark.parametrize("label", ["Folds", "Seeds"])
@pytest.mark.parametrize("number", [0, -2, 21])
def test_a_number_of_folds_or_seeds_out_of_bounds_is_told(open_page, label, number):
    app = open_page("Train")
    next(n for n in app.number_input if n.label == label).set_value(number).run()
    assert not app.exception
    assert "Folds and seeds go from 1 to 20" in read_texts(app).replace("\\", "")
    assert app.button(key="start study").disabled


def test_few_images_are_told_to_be_studied_and_many_are_not(open_page, monkeypatch):
    for few, num_seeds in ((10_000, 3), (1, 1)):
        for module in ("study_form", "settings_form"):
            monkeypatch.setattr(f"ui.{module}.FEW_IMAGES", few)
        app = open_page("Train")
        assert ("one training is a throw of the dice" in read_texts(app)) == (num_seeds == 3)
        assert next(n for n in app.number_input if n.label == "Seeds").value == num_seeds
        kinds = [app.button(key=key).proto.type for key in ("start study", "train")]
        assert kinds == (["primary", "secondary"] if num_seeds == 3 else ["secondary", "primary"])


def test_one_member_alone_is_no_study(open_page):
    app = open_page("Train")
    app.number_input(key="study folds").set_value(1).run()
    next(n for n in app.number_input if n.label == "Seeds").set_value(1).run()
    assert app.button(key="start study").disabled


def test_an_ensemble_can_be_chosen_for_predictions(open_page, study, finished_run):
    shutil.copytree(finished_run.directory, study.ensemble.directory)
    study.files.write_json(
        "status.json",
        {"state": "finished", "message": "Finished", "num_members": 2, "num_finished": 2},
    )
    app = open_page("Train", study="mine")
    click(app, "Classify images with all members together")
    app.switch_page("pages/predict.py").run()
    assert not app.exception
    assert app.selectbox(key="model").value.directory == study.ensemble.directory
    assert "mine, all members together" in app.selectbox(key="model").options


def show_alone(directory, is_live):
    """The part of the page that is drawn again every moment."""
    from pathlib import Path

    from polyp_core.study import Study
    from ui.study_view import _show_study

    _show_study(Study(Path(directory)), is_live)


def open_alone(study, *, is_live=False):
    arguments = (str(study.directory), is_live)
    return AppTest.from_function(show_alone, args=arguments, default_timeout=30)


def test_a_study_that_somebody_has_deleted_is_told(study):
    app = open_alone(study).run()
    shutil.rmtree(study.directory)
    app.run()
    assert not app.exception
    (error,) = app.error
    assert "is not a study: its study.json cannot be read" in error.value.replace("\\", "")


def test_every_history_is_read_once_and_predictions_only_when_it_has_ended(study, monkeypatch):
    monkeypatch.setattr(study_view.st, "page_link", lambda *_, **__: None)  # alone there is none
    num_read, known = Counter(), Run.read_history
    monkeypatch.setattr(
        Run, "read_history", lambda run: (num_read.update([run.name]), known(run))[1]
    )
    app = open_alone(study).run()
    assert not app.exception
    assert num_read == {member.run.name: 1 for member in study.members}
    assert len(app.get("download_button")) == 1

    study.files.write_json("status.json", {"state": "running", "message": ""})
    with study.files.lock():  # as its worker does
        app = open_alone(study, is_live=True).run()
    assert not app.exception
    labels = [metric.label for metric in app.metric]
    assert any(label.startswith("Sensitivity, n = ") for label in labels)
    assert not app.get("download_button")


def test_a_study_without_predictions_has_none_to_download(study):
    study.files.path("predictions.csv").unlink()
    app = open_alone(study).run()
    assert not app.exception
    assert not app.get("download_button")


def test_a_stop_that_comes_too_late_is_told_beside_the_study(study, monkeypatch):
    def refuse(_):
        raise RunError("There is nothing to stop.")

    monkeypatch.setattr(study_view, "stop_study", refuse)
    study.files.write_json("status.json", {"state": "running", "message": ""})
    with study.files.lock():  # as its worker does
        app = open_alone(study, is_live=True).run()
        click(app, "Stop")
    assert [error.value for error in app.error] == ["There is nothing to stop\\."]
    assert len(app.dataframe) == 1  # the rest is there as before


def test_a_study_of_other_versions_goes_on_when_somebody_says_so(open_page, study, monkeypatch):
    started = []
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: started.append(given))
    member = study.members[1]
    prepare_member(study, member)
    member.run.write_json("environment.json", {"polyp_core": "0.0.1", "packages": {}})
    end_member(member, "stopped")
    app = open_page("Train", study="mine")
    assert "Resume all the same" not in [button.label for button in app.button]
    click(app, "Resume")
    assert not app.exception
    (error,) = app.error
    assert "was started with other versions" in error.value
    assert started == []
    click(app, "Resume all the same")
    assert not app.exception
    assert started == [("polyp_core.study_worker", study.directory)]
    assert study.read_plan()["accept_changes"] is True
    assert "Resume all the same" not in [button.label for button in app.button]


def test_a_refusal_of_a_cluster_offers_the_same_choice(study, monkeypatch):
    message = "1 member of 2 did not finish. Run 'x' has other versions (--accept-changes)."
    study.files.write_json("status.json", {"state": "failed", "message": message})
    app = open_alone(study).run()
    assert "Resume all the same" in [button.label for button in app.button]
