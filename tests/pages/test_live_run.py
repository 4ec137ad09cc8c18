"""Runs that train or wait, on the Train page."""

import json
import shutil

import pytest
from filelock import FileLock

from polyp_core import jobs, queueing, workspace
from polyp_core.errors import RunError
from polyp_core.runs import Run
from tests.conftest import list_runs, wait_for_end, wait_until
from tests.pages.conftest import click, hold, read_texts


def test_train_starts_a_real_worker_and_stop_stops_it(open_page):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(50).run()
    click(app, "Train")
    assert not app.exception
    (run,) = list_runs(workspace.get_runs_dir())
    assert run.read_config().training.epochs == 50
    assert run.is_alive()
    wait_until(lambda: "started_at" in run.read_status(), "the work to begin")
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


def test_after_training_the_bar_is_full_and_no_time_is_left(open_page, own_run):
    config = json.loads(own_run.path("config.json").read_text())
    config["settings"]["training"]["epochs"] = 6  # but it was finished after three
    own_run.write_json("config.json", config)
    own_run.write_json(
        "status.json",
        {"state": "running", "message": "Converting the model", "epoch": 3, "epochs": 6, "step": 4,
         "steps": 4, "images_per_s": 250.0, "remaining_s": 0},
    )  # fmt: skip
    with hold(own_run):
        app = open_page("Train")
        whole, epoch = app.get("progress")
        assert (whole.proto.text, whole.proto.value) == ("Converting the model", 100)
        assert (epoch.proto.text, epoch.proto.value) == ("3 of 6 epochs done", 100)
        assert "Finish now" not in [button.label for button in app.button]


def test_a_run_that_trains_is_named_beside_the_one_that_is_shown(open_page, own_run):
    training_run = Run(own_run.directory.with_name("training"))
    shutil.copytree(own_run.directory, training_run.directory)
    training_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    with hold(training_run):
        app = open_page("Train", run="own")
        assert app.header[0].value == "own"
        assert "**Queue:** 1 at work" in read_texts(app)
        click(app, "Watch")
        assert app.header[0].value == "training"


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


def test_a_press_is_not_lost_where_the_queue_has_changed_meanwhile(open_page, own_run, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start_run", lambda *given: started.append(given) or own_run)
    monkeypatch.setattr(jobs, "wait_for_worker", lambda _: None)
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    with hold(own_run):
        app = open_page("Train", run="own")
    own_run.write_json("status.json", {"state": "finished", "message": "Finished"})
    app.button(key="train").click().run()
    assert not app.exception
    assert len(started) == 1


def test_a_run_that_cannot_be_stopped_is_a_box_beside_the_title(open_page, own_run, monkeypatch):
    def refuse(run):
        raise RunError("It has ended already.")

    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    monkeypatch.setattr(jobs, "stop_run", refuse)
    with hold(own_run):
        app = open_page("Train", run="own")
        click(app, "Stop")
        assert app.title[0].value == "Train"
        assert app.error[0].value.replace("\\", "") == "It has ended already."
        assert len(app.get("progress")) == 2


def test_a_run_that_was_asked_to_stop_says_so(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    with hold(own_run):
        app = open_page("Train", run="own")
        click(app, "Stop")
        assert own_run.path("stop").exists()
        assert app.button(key="stop own").label == "Stopping …"
        assert app.button(key="stop own").disabled


def test_a_resumed_run_shows_the_epochs_it_has_until_the_worker_counts_steps(open_page, own_run):
    own_run.write_json("status.json", {"state": "queued", "message": "Waiting for 1 run"})
    config = json.loads(own_run.path("config.json").read_text())
    config["settings"]["training"]["epochs"] = 6
    own_run.write_json("config.json", config)
    with hold(own_run):
        whole, epoch = open_page("Train", run="own").get("progress")
        assert (whole.proto.text, whole.proto.value) == ("Waiting for 1 run", 50)
        assert (epoch.proto.text, epoch.proto.value) == ("3 of 6 epochs done", 0)


@pytest.mark.parametrize(
    ("keep", "words"), [("best", "of the best epoch (so far epoch "), ("last", "of the last epoch")]
)
def test_finish_now_says_which_epoch_becomes_the_model(open_page, own_run, keep, words):
    own_run.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    config = json.loads(own_run.path("config.json").read_text())
    config["settings"]["training"]["keep"] = keep
    own_run.write_json("config.json", config)
    text = open_page("Train", run="own").button(key="finish own").help
    assert text.startswith("Trains an epoch that is under way to its end, then makes a model ")
    assert words in text


def test_a_run_that_was_deleted_gives_way_to_the_one_that_trains(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    with hold(own_run):
        app = open_page("Train", run="deleted")
        assert app.header[0].value == "own"
        assert app.toast[0].value == "The run deleted is not there."
    app = open_page("Train", run="deleted")
    assert "run" not in app.session_state
    assert not app.error


def test_the_sidebar_names_a_member_with_its_study(open_page, own_run):
    member = Run(workspace.get_studies_dir() / "my_study" / "members" / "fold-1-seed-0")
    shutil.copytree(own_run.directory, member.directory)
    member.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    with hold(member):
        texts = read_texts(open_page("Predict")).replace("\\", "")
        assert "**my_study, fold-1-seed-0** is at work. Epoch 1 of 3" in texts
        assert "is at work. Epoch" not in read_texts(open_page("Train"))
