"""The runs table, as the train page shows it. Clicks on rows need a browser: see `choose`."""

import json

import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from polyp_core import workspace
from polyp_core.queueing import add_ticket
from polyp_core.runs import HISTORY_COLUMNS, Run
from tests.conftest import make_config
from tests.core.test_summaries import write_epochs, write_run
from tests.pages.conftest import read_texts


def script():
    import streamlit as st

    import ui
    from polyp_core import workspace

    st.caption(f"run: {st.session_state.get('run')}")
    ui.show_runs(workspace.get_runs_dir())


def show(**state) -> AppTest:
    app = AppTest.from_function(script, default_timeout=30)
    for key, value in state.items():
        app.session_state[key.replace("_", " ")] = value
    app.run()
    assert not app.exception, app.exception
    return app


def choose(app: AppTest, *names: str) -> AppTest:
    """As if the boxes of these rows had been clicked."""
    app.session_state["runs chosen"] = list(names)
    return app.run()


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception, app.exception
    return app


def read_table(app: AppTest):
    return app.dataframe[0].value


@pytest.fixture
def runs(workspace_dir):
    """Three runs that have ended, from the newest to the oldest."""
    runs_dir = workspace.get_runs_dir()
    made = [
        write_run(runs_dir, "new", age_s=10, state="failed", accuracy=None, auc=None),
        write_run(runs_dir, "middle", age_s=60, data="gallbladder", epochs_done=7),
        write_run(runs_dir, "old", age_s=90, accuracy={"value": 1, "low": 0.7, "high": 1, "n": 9}),
    ]
    made[1].write_notes("My *best* run", "with more rotation")
    return made


def write_images(run, contents, split="validation"):
    rows = [f"{number}.png,0,,{split},{sha256}" for number, sha256 in enumerate(contents)]
    run.path("index.csv").write_text("\n".join(["path,label,group,split,sha256", *rows, ""]))


def test_without_runs_a_sentence_says_what_will_stand_there(workspace_dir):
    app = show()
    assert "Your runs will stand here" in read_texts(app)
    assert not app.dataframe


def test_a_run_stands_in_words_with_its_curve(runs):
    table = read_table(show())
    assert table["Run"].tolist() == ["new", "My *best* run", "old"]
    assert table["State"].tolist() == [["Failed"], ["Finished"], ["Finished"]]
    row = table.iloc[1]
    assert row["Accuracy"] == " 84\xa0% (76–90), n = 62"
    assert row["AUC"] == "0.91 (0.84–0.97)"
    assert row["Epochs"] == " 7 of 40"
    assert (row["Data"], row["Preset"], row["Note"]) == (
        "gallbladder", "thesis", "with more rotation",
    )  # fmt: skip
    assert list(row["Learning"]) == [0.5, 0.75]
    assert table["Accuracy"][0] == table["AUC"][0] == ""


def test_long_names_that_differ_at_their_end_stay_apart(workspace_dir):
    runs_dir, long = workspace.get_runs_dir(), "a-long-name-of-a-folder-thesis-plus-20261124-1501"
    for seconds in ("07", "39"):
        write_run(runs_dir, long + seconds)
    shown = read_table(show())["Run"].tolist()
    assert {name[-6:] for name in shown} == {"150107", "150139"}
    assert {len(name) for name in shown} == {38}
    assert all(name.startswith("…") for name in shown)


def test_accuracies_sort_as_numbers_though_they_are_words(runs):
    for name, value in (("eight", 0.08), ("ninety", 0.9)):
        accuracy = {"value": value, "low": value, "high": value, "n": 9}
        write_run(workspace.get_runs_dir(), name, accuracy=accuracy)
    table = read_table(show())
    ordered = table.sort_values("Accuracy")["Run"].tolist()  # by code point, as the browser does
    assert ordered == ["new", "eight", "My *best* run", "ninety", "old"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["new", "My *best* run", "old"]),
        ("BEST", ["My *best* run"]),
        ("rotation gall", ["My *best* run"]),  # every word, wherever it stands
        ("middle", ["My *best* run"]),  # the folder's name as well
        ("thesis", ["new", "My *best* run", "old"]),
        ("nothing", []),
    ],
)
def test_the_table_is_filtered_by_words(runs, text, names):
    app = show()
    app.text_input(key="runs text").set_value(text).run()
    assert read_table(app)["Run"].tolist() == names
    assert f"{len(names)} of 3 runs" in read_texts(app)


def test_the_table_is_filtered_by_state(runs):
    app = show()
    app.get_by_key("runs states").set_value(["failed"]).run()
    assert read_table(app)["Run"].tolist() == ["new"]
    app.get_by_key("runs states").set_value(["failed", "finished"]).run()
    assert len(read_table(app)) == 3


def test_the_buttons_stand_there_always_and_can_be_pressed_where_they_make_sense(runs):
    app = show()

    def list_enabled():
        return {b.key.removeprefix("runs ") for b in app.button if not b.disabled}

    assert list_enabled() == set()
    choose(app, "old")
    assert list_enabled() == {"open", "edit", "use", "delete"}
    choose(app, "old", "new")
    assert list_enabled() == {"compare", "delete"}
    assert "2 runs selected" in read_texts(app)


def test_a_selection_means_the_runs_and_not_their_places(runs):
    app = choose(show(), "old")
    write_run(workspace.get_runs_dir(), "newest", age_s=0)
    app.run()
    assert read_table(app)["Run"].tolist()[0] == "newest"
    assert app.session_state["runs table"]["selection"]["rows"] == [3]
    assert app.session_state["runs chosen"] == ["old"]
    app.text_input(key="runs text").set_value("best").run()  # which hides it
    assert app.session_state["runs chosen"] == []


def test_open_hands_the_run_to_the_page(runs):
    app = click(choose(show(), "old"), "runs open")
    assert "run: old" in read_texts(app)
    assert "top of the page" in app.session_state["toast"][0]


def test_its_settings_are_handed_to_the_form(runs):
    app = click(choose(show(), "old"), "runs use")
    assert app.session_state["settings to load"] == (runs[2].read_config(), "above")


def test_settings_of_another_version_are_refused_with_the_reason(runs):
    runs[2].write_json("config.json", {"settings": {"training": {"epochs": -1}}})
    app = click(choose(show(), "old"), "runs use")
    assert "Train anew with this version" in app.error[0].value.replace("\\", "")
    assert "settings to load" not in app.session_state


def test_a_run_is_renamed_and_noted_and_keeps_its_folder(runs):
    app = click(choose(show(), "old"), "runs edit")
    app.text_input(key="title of old").set_value("  The <b>thesis</b>\tanew ")
    app.text_area(key="note of old").set_value("two\nlines\n")
    click(app, "runs save")
    assert runs[2].read_notes() == {"title": "The <b>thesis</b> anew", "note": "two\nlines"}
    assert runs[2].directory.is_dir()
    table = read_table(app)
    assert (table["Run"][2], table["Note"][2]) == ("The <b>thesis</b> anew", "two lines")
    assert not [b for b in app.button if b.key == "runs save"]  # the dialog is gone


def test_a_note_that_cannot_be_written_says_so_and_stays_open(runs, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "write_json", fail)
    app = click(choose(show(), "old"), "runs edit")
    click(app, "runs save")
    assert "No space left on device" in app.error[0].value
    assert app.button(key="runs save")


def test_a_deletion_asks_first_and_names_what_goes(runs):
    app = click(choose(show(), "middle", "old"), "runs delete")
    texts = read_texts(app).replace("\\", "")
    assert "- My *best* run (middle)\n- old" in texts
    assert "models, predictions and notes go (1 MB)" in texts
    assert all(run.directory.is_dir() for run in runs)
    click(app, "runs spare")
    assert all(run.directory.is_dir() for run in runs)
    assert len(read_table(app)) == 3


def test_a_confirmed_deletion_deletes_what_was_named_and_no_more(runs):
    app = click(choose(show(), "middle", "old"), "runs delete")
    assert app.button(key="runs doom").label == "Delete 2 runs"
    click(app, "runs doom")
    assert [run.directory.is_dir() for run in runs] == [True, False, False]
    assert read_table(app)["Run"].tolist() == ["new"]
    assert app.session_state["runs chosen"] == []
    assert app.session_state["toast"][0] == "2 runs were deleted."


def test_the_run_on_show_is_said_to_be_deleted_and_leaves_the_page(runs):
    app = click(click(choose(show(run="old"), "old"), "runs delete"), "runs doom")
    assert app.session_state["toast"][0] == "The run old was deleted."
    assert "run" not in app.session_state


def test_a_run_at_work_is_never_deleted(runs):
    live = runs[0]
    live.write_json("status.json", {"state": "running", "message": "Epoch 2"})
    with FileLock(live.path("lock")):
        app = click(choose(show(), "new", "old"), "runs delete")
        assert "new is at work or waits, so it is kept" in app.error[0].value
        assert app.button(key="runs doom").label == "Delete 1 run"
        # It ends while the question stands: it was not asked for, so it stays.
        live.write_json("status.json", {"state": "stopped", "message": ""})
    click(app, "runs doom")
    assert [run.directory.is_dir() for run in runs] == [True, True, False]


def test_a_run_that_is_resumed_while_the_question_stands_is_kept(runs):
    app = click(choose(show(), "new"), "runs delete")
    runs[0].write_json("status.json", {"state": "running", "message": "Epoch 2"})
    with FileLock(runs[0].path("lock")):
        click(app, "runs doom")
        assert "is running and is not deleted" in app.error[0].value
        assert runs[0].directory.is_dir()


def test_a_waiting_run_alone_leaves_nothing_to_delete(runs):
    run = write_run(workspace.get_runs_dir(), "waits", state=None)
    run.path("worker.log").touch()
    add_ticket(workspace.get_queue_dir(), run)
    app = click(choose(show(), "waits"), "runs delete")
    assert app.button(key="runs doom").disabled
    assert run.directory.is_dir()


@pytest.fixture
def compared(runs):
    """Two runs with curves that differ in two settings."""
    for run, rate in ((runs[1], "0.002"), (runs[2], "0.0005")):
        config = make_config(
            "breast", f"training.learning_rate={rate}", f"training.seed={rate[-1]}"
        )
        run.write_json("config.json", {"settings": config.to_dict()})
        write_epochs(run, [0.5, 0.6, 0.7])
        metric = {"value": 0.84, "low": 0.76, "high": 0.9, "n": 62}
        names = ("accuracy", "sensitivity", "specificity", "auc", "majority_accuracy")
        run.write_json("metrics.json", {"image": dict.fromkeys(names, metric)})
        write_images(run, ["a", "b"])
    return runs[1:]


def compare(app: AppTest) -> AppTest:
    return click(choose(app, "middle", "old"), "runs compare")


def test_compared_runs_lie_over_each_other_a_colour_each(compared):
    app = compare(show())
    figures = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    titles = [figure["layout"]["yaxis"]["title"]["text"] for figure in figures]
    assert titles == ["Validation loss", "Validation accuracy", "Validation AUC"]
    for figure in figures:
        colours = [line["line"]["color"] for line in figure["data"]]
        assert len(set(colours)) == 2
        assert not {"#E69F00", "#0072B2", "#56B4E9"} & set(colours)  # the classes' own
    assert "My *best* run" in figures[0]["data"][0]["hovertemplate"]


def test_compared_runs_have_their_numbers_and_their_differences_alone(compared):
    app = compare(show())
    worth, differences = (frame.value for frame in app.dataframe[1:])
    assert worth["Run"].tolist() == ["My *best* run", "old"]
    assert worth["Accuracy"].tolist() == ["84\xa0% (76–90)"] * 2
    assert worth["Of"].tolist() == ["62 images"] * 2
    assert differences.to_dict("list") == {
        "Setting": ["Training: learning rate", "Training: seed"],
        "My *best* run": ["0.002", "2"],
        "old": ["0.0005", "5"],
    }
    assert "2 runs were validated on the same 2 images" in read_texts(app)
    assert not app.warning


def test_runs_that_were_validated_on_other_images_are_not_to_be_compared(compared):
    write_images(compared[0], ["a", "b", "c"])
    app = compare(show())
    assert "their numbers cannot be compared: of 3 images in all, 2 are" in app.warning[0].value


def test_images_that_are_not_known_are_not_taken_for_the_same(compared):
    compared[1].path("index.csv").unlink()
    app = compare(show())
    assert "old was validated on is not known" in app.warning[0].value


def test_a_comparison_bears_runs_that_are_not_evaluated_or_damaged(compared):
    compared[0].path("metrics.json").unlink()
    compared[0].path("history.csv").write_text(",".join(HISTORY_COLUMNS) + "\n")
    damaged = {"settings": {"training": {"epochs": -1}}, "folder": "breast"}
    compared[1].write_json("config.json", damaged)
    compared[1].write_json("metrics.json", {"image": {"accuracy": 3}})
    app = compare(show())
    assert app.dataframe[1].value["Of"].tolist() == ["not evaluated"] * 2
    assert "validated on the same" not in read_texts(app)
    assert "cannot be used" in app.warning[0].value


def test_a_comparison_is_closed_by_its_button_or_when_its_runs_are_gone(compared):
    app = click(compare(show()), "runs close")
    assert len(app.dataframe) == 1
    compare(app)
    assert len(app.dataframe) == 3
    click(click(choose(app, "old"), "runs delete"), "runs doom")
    assert len(app.dataframe) == 1


def test_two_runs_of_one_title_are_told_apart_by_their_folders(compared):
    compared[1].write_notes("My *best* run", "")
    worth = compare(show()).dataframe[1].value
    assert worth["Run"].tolist() == ["My *best* run (middle)", "My *best* run (old)"]


def test_a_run_is_called_by_its_title_wherever_it_is_named(runs):
    from ui.readers import name_run

    assert name_run(runs[1]) == "My *best* run"
    assert name_run(runs[2]) == "old"
    runs[2].write_notes("left\u202eright", "")
    assert name_run(runs[2]) == "left[U+202E]right"


def test_the_active_run_is_the_first_of_the_queue(runs):
    from ui.readers import find_active_run

    assert find_active_run() is None
    for run in runs[:2]:
        run.write_json("status.json", {"state": "queued", "message": "Waiting"})
        add_ticket(workspace.get_queue_dir(), run)
    with FileLock(runs[0].path("lock")), FileLock(runs[1].path("lock")):
        assert find_active_run().name == "new"
        runs[1].write_json("status.json", {"state": "running", "message": "Epoch 1"})
        assert find_active_run().name == "middle"
