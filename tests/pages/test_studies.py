"""Studies on the train page, and their ensembles on the predict page."""

import json
import shutil

import pytest

from polyp_core import study_jobs, workspace
from polyp_core.study import list_studies, summarise
from tests.core.studies import finish_member, make_index, make_study
from tests.pages.conftest import read_texts
from tests.pages.test_train import click


@pytest.fixture
def study(monkeypatch, workspace_dir, tmp_path, finished_run):
    """Two folds; the first member is finished, the other is still to come."""
    index = make_index(tmp_path)
    study = make_study(monkeypatch, workspace.get_studies_dir(), index, name="mine")
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
    assert "lean to the good side" in texts  # the compact preset keeps the best epoch
    (table,) = [t.value for t in app.dataframe if "Fold" in t.value]
    assert table["State"].tolist() == ["Finished", "Waiting"]
    assert table["Accuracy"][0].startswith("100 % (")
    assert table["Judged on"][0].endswith("patients")
    # One member has no spread.
    metric = next(m for m in app.metric if m.label == "Accuracy, pooled")
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


def test_the_form_starts_a_study_of_the_draft(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: started.append(given))
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(2).run()
    app.number_input(key="study folds").set_value(2).run()
    assert "2 runs, about" in read_texts(app)
    click(app, "Start the study")
    assert not app.exception
    (study,) = list_studies(workspace.get_studies_dir())
    assert started == [("polyp_core.study_worker", study.directory)]
    plan = study.read_plan()
    assert (plan["num_folds"], plan["seeds"]) == (2, [0])
    assert study.read_config().training.epochs == 2
    # No patient stands in two folds.
    images = study.read_index().images
    assert (images.groupby("group")["fold"].nunique() == 1).all()


def test_too_many_folds_for_the_patients_is_a_sentence(open_page):
    app = open_page("Train")
    app.number_input(key="study folds").set_value(20).run()
    click(app, "Start the study")
    assert not app.exception
    assert "folds" in app.error[0].value
    assert not list_studies(workspace.get_studies_dir())


def test_one_member_alone_is_no_study(open_page):
    app = open_page("Train")
    app.number_input(key="study folds").set_value(1).run()
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
