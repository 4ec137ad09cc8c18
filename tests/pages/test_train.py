import base64
import json
import shutil

import numpy as np
import pytest
from filelock import FileLock

from polyp_core import jobs, queueing, workspace
from polyp_core.runs import Run
from tests.conftest import list_runs, wait_for_end
from tests.pages.conftest import read_texts


def read_values(values):
    """Plotly sends arrays as base64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return values


def hold(run):
    """Be the run's worker: its ticket and its lock."""
    queueing.add_ticket(workspace.get_queue_dir(), run)
    return FileLock(run.path("lock"))


def click(app, label):
    next(button for button in app.button if button.label == label).click().run()


def test_before_any_run_there_are_presets_and_one_button(open_page):
    app = open_page("Train")
    texts = read_texts(app)
    for title in ("Compact", "Thesis", "Thesis plus"):
        assert f"**{title}**" in texts
    assert "Your runs will stand here" in texts
    assert [b.label for b in app.button if b.key == "train"] == ["Train"]


def test_choosing_a_preset_sets_its_epochs(open_page):
    app = open_page("Train")
    app.button(key="choose thesis-plus").click().run()
    assert app.number_input(key="setting training.epochs").value == 100
    assert app.button(key="choose thesis-plus").label == "Chosen"


def test_train_starts_a_real_worker_and_stop_stops_it(open_page):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(50).run()
    click(app, "Train")
    assert not app.exception
    (run,) = list_runs(workspace.get_runs_dir())
    assert run.read_config().training.epochs == 50
    assert run.is_alive()
    next(b for b in app.button if b.label == "Stop").click().run()
    assert wait_for_end(run) == "stopped"
    app.run()
    assert "Every finished epoch is kept; Resume goes on exactly there" in read_texts(app)
    assert "Resume" in [button.label for button in app.button]


def test_a_running_run_shows_its_bars_to_whoever_opens_the_page(open_page, own_run):
    own_run.write_json(
        "status.json",
        {"state": "running", "message": "Epoch 2 of 3", "epoch": 2, "epochs": 3, "step": 3,
         "steps": 4, "images_per_s": 250.0, "remaining_s": 70.0, "elapsed_s": 61.0,
         "learning_rate": 0.00123, "memory_mb": 540},
    )  # fmt: skip
    with hold(own_run):
        app = open_page("Train")
        whole, epoch = app.get("progress")
        assert whole.proto.text == "Epoch 2 of 3 · about 1 min left"
        assert whole.proto.value == round(100 * 1.75 / 3)
        assert epoch.proto.text == "Step 3 of 4 in epoch 2"
        facts = "250 images/s · 1 min so far · learning rate 0.0012 · 540 MB of memory"
        assert facts in read_texts(app)
        assert [b.label for b in app.button if b.key == "train"] == ["Add to the queue"]


def test_the_curves_hold_the_history(open_page, own_run):
    app = open_page("Train", run="own")
    loss, accuracy, auc, confusion = (
        json.loads(chart.proto.spec) for chart in app.get("plotly_chart")[:4]
    )
    history = own_run.read_history()
    training, validation = loss["data"][:2]
    assert read_values(training["y"]) == pytest.approx(history["loss"].tolist())
    assert read_values(validation["y"]) == pytest.approx(history["val_loss"].tolist())
    assert loss["layout"]["xaxis"]["title"]["text"] == "Epoch"
    assert accuracy["layout"]["yaxis"]["title"]["text"] == "Accuracy"
    assert validation["line"]["width"] > training["line"]["width"]
    assert read_values(auc["data"][0]["y"]) == pytest.approx(history["val_auc"].tolist())
    counts = [read_values(line["y"]) for line in confusion["data"]]
    assert counts == history[["val_tn", "val_fp", "val_fn", "val_tp"]].T.to_numpy().tolist()


def test_a_finished_run_says_what_it_is_worth(open_page, own_run):
    texts = read_texts(open_page("Train", run="own"))
    assert "patients right" in texts
    assert "always answering the more frequent class" in texts


def test_a_failed_run_says_why(open_page, own_run):
    own_run.write_json("status.json", {"state": "failed", "message": "The image 'a' is gone."})
    app = open_page("Train", run="own")
    assert app.error[0].value.replace("\\", "") == "The image 'a' is gone."
    assert "Resume" in [button.label for button in app.button]


def test_an_interrupted_run_offers_to_go_on(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2"})
    app = open_page("Train", run="own")
    assert any("The worker ended without a word" in box.value for box in app.warning)
    assert "Resume" in [button.label for button in app.button]


@pytest.mark.parametrize("content", ["", "{", '{"settings": {"training": {"epochs": -1}}}'])
def test_a_damaged_run_does_not_hide_the_page(open_page, own_run, content):
    own_run.path("config.json").write_text(content)
    app = open_page("Train", run="own")
    assert len(app.error) == 1
    assert [b for b in app.button if b.key == "train"]


def test_settings_that_do_not_fit_together_can_be_mended_where_they_stand(open_page):
    app = open_page("Train")
    app.button(key="choose thesis-plus").click().run()
    app.number_input(key="setting model.image_size_px").set_value(16).run()
    assert not app.exception
    assert "do not fit an image of 16 px" in app.error[0].value.replace("\\", "")
    assert not [b for b in app.button if b.key == "train"]
    app.number_input(key="setting model.image_size_px").set_value(96).run()
    assert not app.error
    assert [b for b in app.button if b.key == "train"]


def test_the_estimate_is_given_only_for_the_network_it_was_measured_with(open_page):
    app = open_page("Train")
    assert "on two cores" in read_texts(app)
    app.number_input(key="setting model.image_size_px").set_value(64).run()
    assert "on two cores" not in read_texts(app)


def test_a_run_that_trains_is_named_beside_the_one_that_is_shown(open_page, own_run):
    training_run = Run(own_run.directory.with_name("training"))
    shutil.copytree(own_run.directory, training_run.directory)
    training_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    with hold(training_run):
        app = open_page("Train", run="own")
        assert app.subheader[0].value == "own"
        assert "**Queue:** 1 at work" in read_texts(app)
        click(app, "Watch")
        assert app.subheader[0].value == "training"


def test_waiting_runs_can_be_reordered_and_cancelled(open_page, own_run):
    runs = [own_run]
    for name in ("second", "third"):
        runs.append(Run(own_run.directory.with_name(name)))
        shutil.copytree(own_run.directory, runs[-1].directory)
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    for run in runs[1:]:
        run.write_json("status.json", {"state": "queued", "message": "Waiting for 1 run"})
    queue_dir = workspace.get_queue_dir()
    with hold(runs[0]), hold(runs[1]), hold(runs[2]):
        app = open_page("Train", run="own")
        assert "**Queue:** 1 at work, 2 waiting" in read_texts(app)
        app.button(key=f"earlier {runs[2].directory.absolute()}").click().run()
        order = [run.name for run, _ in queueing.list_active_runs(queue_dir)]
        assert order == ["own", "third", "second"]
        app.button(key=f"cancel {runs[1].directory.absolute()}").click().run()
        assert runs[1].path("stop").exists()
        assert not runs[2].path("stop").exists()


def test_another_run_that_is_started_while_one_trains_waits(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    slot = FileLock(workspace.get_queue_dir() / "slot-0.lock")
    with hold(own_run), slot:
        app = open_page("Train", run="own")
        click(app, "Add to the queue")
        assert not app.exception
        (other,) = [r for r in list_runs(workspace.get_runs_dir()) if r.name != "own"]
        assert other.read_status()["state"] == "queued"
        jobs.stop_run(other)
        assert wait_for_end(other) == "stopped"


def test_settings_come_back_from_a_file(open_page, tmp_path):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(7).run()
    app.selectbox(key="setting training.optimizer").set_value("sgd").run()
    saved = app.session_state["setting training.optimizer"]
    assert saved == "sgd"
    values = workspace.DEMO_RUN.read_config().to_dict() | {"preset": "thesis"}
    values["training"]["momentum"] = 0.5
    app.file_uploader(key="settings file").set_value(
        ("settings.json", json.dumps(values).encode(), "application/json")
    ).run()
    assert not app.exception
    assert app.session_state["preset"] == "thesis"
    assert app.number_input(key="setting training.momentum").value == 0.5
    assert app.number_input(key="setting training.epochs").value == 40
    assert "Momentum 0.5" in read_texts(app).replace("\\", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nonsense", "holds no settings. Expected JSON"),
        (b'{"training": {"epochs": -1}}', "training.epochs is out of bounds"),
        (b'{"what": 1}', "Unknown setting in the configuration: what"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_with_a_sentence(open_page, content, words):
    app = open_page("Train")
    app.file_uploader(key="settings file").set_value(
        ("settings.json", content, "application/json")
    ).run()
    assert not app.exception
    assert words in app.error[0].value.replace("\\", "")
    assert [b for b in app.button if b.key == "train"]


def test_milestones_are_a_number_or_a_sentence(open_page):
    app = open_page("Train")
    field = next(t for t in app.text_input if t.label == "Milestones (epochs)")
    assert field.value == "10, 100, 250"
    field.set_value("5, 6").run()
    assert app.session_state["setting training.milestones"] == (5, 6)
    next(t for t in app.text_input if t.label == "Milestones (epochs)").set_value("five").run()
    assert app.session_state["setting training.milestones"] == (5, 6)
    assert "cannot be read" in read_texts(app).replace("\\", "")


def test_milestones_stand_beside_the_thesis_own(open_page, own_run):
    metrics = own_run.read_metrics()
    own_run.write_json("milestones.json", {"10": metrics, "3": metrics})
    app = open_page("Train", run="own")
    (table,) = [t.value for t in app.dataframe if "The 2020 thesis" in t.value]
    assert table["Epoch"].tolist() == [3, 10]
    # 8 of 12, as Wilson's interval has it.
    assert table["The 2020 thesis"].tolist() == ["", "67 % (39–86)"]


def test_what_the_doctor_suggests_is_one_click_away(open_page, own_run):
    history = own_run.read_history()
    history["loss"] = history["val_loss"] = float("nan")
    history.to_csv(own_run.path("history.csv"), index=False)
    own_run.write_json(
        "status.json",
        {"state": "failed", "message": "The loss is not a number any more in epoch 3"},
    )
    app = open_page("Train", run="own")
    click(app, "Set for the next run")
    assert not app.exception
    rate = app.session_state["setting training.learning_rate"]
    assert rate < own_run.read_config().training.learning_rate


def test_other_versions_are_told_before_a_run_is_resumed(open_page, own_run):
    own_run.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    environment = own_run.read_environment()
    environment["packages"]["keras"] = "1.0"
    own_run.write_json("environment.json", environment)
    app = open_page("Train", run="own")
    click(app, "Resume")
    assert "keras 1.0 →" in app.error[0].value.replace("\\", "")
    assert own_run.read_status()["state"] == "stopped"
    assert "Resume all the same" in [button.label for button in app.button]


def test_a_search_for_a_rate_gives_one_to_take(open_page, finished_run):
    directory = workspace.get_rates_dir() / "search"
    shutil.copytree(finished_run.directory, directory)
    search = Run(directory)
    search.write_json(
        "status.json", {"state": "finished", "message": "Finished", "suggested_rate": 0.004}
    )
    search.path("rates.csv").write_text("rate,loss,smooth\n0.001,0.7,0.7\n0.01,0.5,0.6\n")
    app = open_page("Train", **{"rate run": "search"})
    click(app, "Use 0.004")
    assert app.session_state["setting training.learning_rate"] == 0.004
    assert "Learning rate 0.004" in read_texts(app).replace("\\", "")


def test_the_model_looked_at_is_the_one_that_predict_opens(open_page, own_run):
    other = own_run.directory.with_name("newer")
    shutil.copytree(own_run.directory, other)
    app = open_page("Train", run="own")
    click(app, "Classify images with it")
    app.switch_page("pages/predict.py").run()
    assert app.selectbox(key="model").value.name == "own"


def test_no_folder_typed_yet_is_no_error_and_never_the_demo_set(open_page):
    app = open_page("Train", source="folder")
    assert not app.error
    assert "Give the folder of your images above" in app.info[0].value
    assert not [b for b in app.button if b.key == "train"]
