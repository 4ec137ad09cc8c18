import shutil

import pandas as pd
import pytest

from polyp_core import jobs, workspace
from polyp_core.runs import Run
from tests.conftest import list_runs
from tests.pages.conftest import click, hold, read_texts
from ui.training_charts import draw_rates


@pytest.fixture
def search(finished_run, workspace_dir):
    """A search for a learning rate; a test writes how it ended."""
    directory = workspace.get_rates_dir() / "search"
    shutil.copytree(finished_run.directory, directory)
    return Run(directory)


def test_a_search_for_a_rate_gives_one_to_take(open_page, search):
    search.write_json(
        "status.json", {"state": "finished", "message": "Finished", "suggested_rate": 0.004}
    )
    search.path("rates.csv").write_text("rate,loss,smooth\n0.001,0.7,0.7\n0.01,0.5,0.6\n")
    app = open_page("Train", **{"rate run": "search"})
    click(app, "Use 0.004")
    assert not app.exception
    assert app.number_input(key="setting training.learning_rate").value == 0.004
    assert "Learning rate 0.004" in read_texts(app).replace("\\", "")
    # It is the form's rate that counts from now on, not the one of the search.
    assert app.button(key="use rate").label == "0.004 is in use"
    assert app.button(key="use rate").disabled
    charts = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert any("now 0.004" in chart for chart in charts)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("finished", "The loss fell nowhere clearly"),
        ("stopped", "The search was stopped"),
        ("running", "The search ended without a word"),  # and nobody holds its lock
        ("failed", "The disk is full."),
    ],
)
def test_a_search_without_a_rate_says_why(open_page, search, state, words):
    search.write_json("status.json", {"state": state, "message": "The disk is full."})
    texts = read_texts(open_page("Train", **{"rate run": "search"})).replace("\\", "")
    assert words in texts
    assert ("nowhere clearly" in texts) == (state == "finished")


def test_a_new_search_throws_away_those_that_have_ended(open_page, search, monkeypatch):
    busy = Run(search.directory.with_name("busy"))
    shutil.copytree(search.directory, busy.directory)
    busy.write_json("status.json", {"state": "running", "message": "Sweep 1 of 3"})
    monkeypatch.setattr(jobs, "start_worker", lambda run: None)
    with hold(busy):
        app = open_page("Train")
        app.button(key="find rate").click().run()
        assert not app.exception
        names = {run.name for run in list_runs(workspace.get_rates_dir())}
    assert names == {"busy", app.session_state["rate run"]}


def test_the_texts_of_both_rates_stand_at_their_lines():
    rates = pd.DataFrame({"rate": [1e-3, 1e-2], "loss": [0.7, 0.5], "smooth": [0.7, 0.6]})
    figure = draw_rates(rates, 0.01, 0.001, is_dark=False)
    # Plotly wants a line's place as it is and a text's as its logarithm.
    assert [line.x0 for line in figure.layout.shapes] == [0.001, 0.01]
    texts = {text.text: text for text in figure.layout.annotations}
    assert texts["now 0.001"].x == pytest.approx(-3)
    assert texts["suggested 0.01"].x == pytest.approx(-2)
    assert (texts["now 0.001"].xanchor, texts["suggested 0.01"].xanchor) == ("right", "left")
