"""What more images would give: asked for in the form of a study, and shown with the study."""

import base64
import json

import numpy as np
import pytest

from polyp_core import study_jobs, workspace
from polyp_core.learning_curve import read_learning
from polyp_core.presets import PRESETS
from polyp_core.study import list_studies, summarise
from polyp_core.study_jobs import LEARNING_CURVE
from tests.core.studies import end_member, finish_curve, make_index, make_study
from tests.pages.conftest import click, read_texts
from ui import cost
from ui.learning_chart import draw_learning_curve

# Of sixty patients; the error falls as 0.4 · 24 / n.
WRONG = {0.25: 24, 0.5: 12, 0.75: 8, 1.0: 6}


@pytest.fixture
def study(monkeypatch, workspace_dir, tmp_path):
    """Five folds and four shares, all of them finished."""
    study = make_study(
        monkeypatch, workspace.get_studies_dir(), make_index(tmp_path, 60), num_folds=5,
        shares=LEARNING_CURVE,
    )  # fmt: skip
    finish_curve(study, WRONG)
    sum_up(study)
    return study


def sum_up(study):
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    num = len(study.members)
    study.files.write_json(
        "status.json",
        {"state": "finished", "message": "Finished", "num_members": num, "num_finished": num},
    )


def read_charts(app):
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def decode(values):
    """Numbers as Plotly sends them."""
    if isinstance(values, dict):
        values = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
    return list(values)


def find_chart(app, title):
    (chart,) = [
        chart
        for chart in read_charts(app)
        if chart["layout"]["yaxis"].get("title", {}).get("text") == title
        and chart["layout"]["xaxis"]["title"]["text"] == "Training images"
    ]
    return chart


def test_a_study_with_shares_says_what_more_images_would_give(open_page, study):
    app = open_page("Train", study="mine")
    texts = read_texts(app).replace("\\", "")
    assert "5 folds, 1 seed, 4 shares" in texts
    assert "**What would more images give?**" in texts
    assert (
        "From 24 to 96 training images the AUC rose from 0.60 to 0.90; twice as many would give "
        "about 0.95 ("
    ) in texts
    assert "every point judges the same 60 patients" in texts
    assert "more images means more patients: 12 to 48 here" in texts
    assert "Dots: each seed" not in texts
    for title in ("AUC", "Accuracy"):
        expected, end, measured = find_chart(app, title)["data"]
        assert decode(measured["x"]) == [24, 48, 72, 96]
        assert decode(measured["y"]) == pytest.approx([0.6, 0.8, 52 / 60, 0.9])
        assert expected["line"]["dash"] == "dash"
        assert end["x"] == [192]
        assert end["y"] == pytest.approx([0.95], abs=0.005)
    (table,) = [t.value for t in app.dataframe if "Fold" in t.value]
    assert (
        table["Trained on"].tolist() == ["100 %"] * 5 + ["75 %"] * 5 + ["50 %"] * 5 + ["25 %"] * 5
    )
    links = [json.loads(links.proto.json) for links in app.get("bidi_component")]
    assert [link["stem"].rpartition("-")[2] for link in links] == ["auc", "accuracy"]
    assert all(
        {"share", "num_training", "auc"} <= set(link["csv"].split("\n")[0].strip().split(","))
        for link in links
    )


def test_bars_are_the_intervals_and_seeds_are_dots(monkeypatch, tmp_path):
    study = make_study(
        monkeypatch, tmp_path / "s", make_index(tmp_path, 60), num_folds=3, num_seeds=2,
        shares=LEARNING_CURVE,
    )  # fmt: skip
    finish_curve(study, WRONG)
    learning = read_learning(study)
    for is_dark in (False, True):
        figure = draw_learning_curve(learning, learning.outlooks[1], is_dark=is_dark)
        *_, measured, dots = figure.data
        top = [y + high for y, high in zip(measured.y, measured.error_y.array, strict=True)]
        bottom = [y - low for y, low in zip(measured.y, measured.error_y.arrayminus, strict=True)]
        assert top == pytest.approx(learning.curve["accuracy_high"].tolist())
        assert bottom == pytest.approx(learning.curve["accuracy_low"].tolist())
        assert len(dots.x) == 8
        low, high = figure.layout.yaxis.range
        assert low < min(bottom)
        assert max(top) < high


def test_a_curve_that_is_not_finished_shows_its_points_and_why_no_more(open_page, study):
    end_member(study.members[-1], "stopped")
    sum_up(study)
    app = open_page("Train", study="mine")
    texts = read_texts(app).replace("\\", "")
    assert "From 48 to 96 training images the AUC rose from 0.80 to 0.90." in texts
    assert "cannot be told: the members have to be finished first." in texts
    (measured,) = find_chart(app, "AUC")["data"]
    assert decode(measured["x"]) == [48, 72, 96]


def test_one_class_alone_shows_an_accuracy_and_why_there_is_no_auc(
    monkeypatch, workspace_dir, tmp_path, open_page
):
    index = make_index(tmp_path, 60)
    positive = index.images["label"] == 1
    index.images["split"] = "train"
    index.images.loc[positive & (index.images.index > 80), "split"] = "validation"
    study = make_study(
        monkeypatch, workspace.get_studies_dir(), index, "training.monitor=val_loss", num_folds=1,
        num_seeds=3, shares=LEARNING_CURVE,
    )  # fmt: skip
    finish_curve(study, {0.25: 58, 0.5: 54, 0.75: 50, 1.0: 46})
    sum_up(study)
    app = open_page("Train", study="mine")
    texts = read_texts(app).replace("\\", "")
    assert "The AUC cannot be told. It is not defined" in texts
    assert "training images the accuracy rose from" in texts
    assert find_chart(app, "Accuracy")["data"]


def test_a_study_without_shares_says_nothing_of_more_images(
    open_page, monkeypatch, workspace_dir, tmp_path
):
    index = make_index(tmp_path, 60)
    study = make_study(monkeypatch, workspace.get_studies_dir(), index)
    finish_curve(study, {1.0: 6})
    sum_up(study)
    app = open_page("Train", study="mine")
    texts = read_texts(app)
    assert "What would more images give?" not in texts
    assert "2 folds, 1 seed" in texts
    assert "shares" not in texts
    (table,) = [t.value for t in app.dataframe if "Fold" in t.value]
    assert "Trained on" not in table


def test_the_form_starts_a_learning_curve_and_tells_its_cost(open_page, monkeypatch):
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: None)
    # Eight starts, and 2.5 times the training of two members.
    monkeypatch.setattr(cost, "_AROUND_MS", 100.0)
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(2).run()
    app.number_input(key="setting training.batch_size").set_value(2).run()
    app.number_input(key="study folds").set_value(2).run()
    next(n for n in app.number_input if n.label == "Seeds").set_value(1).run()
    assert "2 runs, about " in read_texts(app)
    app.toggle(key="study learning curve").set_value(True).run()
    click(app, "Start the study")
    assert not app.exception
    (study,) = list_studies(workspace.get_studies_dir())
    assert study.read_plan()["shares"] == [0.25, 0.5, 0.75, 1.0]
    num_images = len(study.read_index().images)
    config = study.read_config()
    mean_s = cost.estimate_run_s(PRESETS["compact"], config, 0.625 * num_images / 2)
    total_s = 8 * mean_s
    assert f"8 runs, about {round(total_s / 60)} min, on a slow computer" in read_texts(app)


def test_one_fold_and_seed_with_shares_is_a_study(open_page):
    app = open_page("Train")
    app.number_input(key="study folds").set_value(1).run()
    next(n for n in app.number_input if n.label == "Seeds").set_value(1).run()
    assert app.button(key="start study").disabled
    app.toggle(key="study learning curve").set_value(True).run()
    assert not app.button(key="start study").disabled


def test_too_few_images_for_the_smallest_share_is_a_sentence(open_page):
    app = open_page("Train")
    app.number_input(key="setting training.batch_size").set_value(12).run()
    app.number_input(key="study folds").set_value(2).run()
    app.toggle(key="study learning curve").set_value(True).run()
    click(app, "Start the study")
    assert not app.exception
    said = app.error[0].value.replace("\\", "")
    assert said.startswith("With 25 % of the training images a member has too few of them.")
    assert "Or leave the small shares out." in said
    assert not list_studies(workspace.get_studies_dir())
