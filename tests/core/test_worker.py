"""The worker's own decisions, without TensorFlow; what it does for real stands in test_kills."""

import os
import platform
import shutil
import signal
import subprocess
import sys

import filelock
import numpy as np
import pytest

from polyp_core import environment, worker
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError
from polyp_core.processes import list_variables
from polyp_core.queueing import add_ticket, list_tickets
from polyp_core.reporting import Reporter, WorkStopped
from polyp_core.runs import Run
from polyp_core.worker import main
from polyp_core.workspace import get_queue_dir
from tests.conftest import make_config


@pytest.fixture
def run(tmp_path, data_dir, monkeypatch):
    """A run that is asked to start; its worker is this process, which keeps its own signals."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run = Run(tmp_path / "one")
    run.directory.mkdir()
    run.path("worker.log").touch()
    run.write_json("config.json", {"settings": make_config(data_dir).to_dict()})
    add_ticket(get_queue_dir(), run)
    return run


class Nothing:
    """Stands in for whatever is not looked at."""

    def __call__(self, *_):
        return self

    def __getattr__(self, _):
        return self

    def __getitem__(self, _):
        return 0


def let_it(monkeypatch, error):
    """Let the work end with an error."""

    def work(*_):
        raise error

    monkeypatch.setattr(worker, "_train_and_evaluate", work)


def test_a_second_worker_leaves_the_run_and_its_place_in_the_queue_alone(run, monkeypatch, capsys):
    monkeypatch.setattr(worker, "_WAIT_FOR_LOCK_S", 0.1)
    with filelock.FileLock(run.path("lock")):
        assert main(run.directory) == 1
        assert [ticket.run.name for ticket in list_tickets(get_queue_dir())] == ["one"]
    assert capsys.readouterr().out == "Another worker has the run 'one'; nothing done.\n"
    assert not run.path("status.json").exists()


def test_a_bug_ends_as_failed_with_its_traceback_in_the_log(run, monkeypatch, capsys):
    let_it(monkeypatch, ZeroDivisionError("a bug\non two lines"))
    assert main(run.directory) == 1
    status = run.read_status()
    assert (status["state"], status["message"]) == (
        "failed", "Unexpected error, see worker.log. ZeroDivisionError: a bug",
    )  # fmt: skip
    assert "Traceback" in capsys.readouterr().err
    assert list_tickets(get_queue_dir()) == []


def test_what_a_user_can_repair_is_said_without_a_traceback(run, monkeypatch, capsys):
    let_it(monkeypatch, DatasetError("An image is gone. Put it back."))
    assert main(run.directory) == 1
    assert run.read_status()["message"] == "An image is gone. Put it back."
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("something"), "something"),
    ],
)
def test_a_disk_that_refuses_is_said_even_if_the_log_cannot_be_written(
    run, monkeypatch, error, reason
):
    def refuse():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.traceback, "print_exc", refuse)
    let_it(monkeypatch, error)
    assert main(run.directory) == 1
    status = run.read_status()
    assert (status["state"], status["message"]) == (
        "failed",
        f"A file of run 'one' cannot be written or read ({reason}). Expected room on the disk and "
        "a folder that may be written. Every finished epoch is kept: make room, then resume.",
    )


def test_a_stop_ends_as_stopped(run, monkeypatch):
    def work(_, reporter):
        reporter.begin("Starting")
        raise WorkStopped

    monkeypatch.setattr(worker, "_train_and_evaluate", work)
    assert main(run.directory) == 1
    assert (run.read_status()["state"], run.read_status()["message"]) == ("stopped", "Stopped")


def test_a_waiting_run_that_is_cancelled_never_works(run, monkeypatch):
    monkeypatch.setattr(worker, "_train_and_evaluate", lambda *_: pytest.fail("it worked"))
    monkeypatch.setattr(worker, "_end_hard", lambda *_: None)
    with filelock.FileLock(get_queue_dir() / "slot-0.lock"):
        run.path("stop").touch()
        assert main(run.directory) == 1
    status = run.read_status()
    assert (status["state"], status["message"]) == ("stopped", "Cancelled before it began")
    assert list_tickets(get_queue_dir()) == []


def test_it_works_while_it_holds_run_and_slot_and_gives_both_back(run, monkeypatch):
    seen = []

    def work(own, _):
        slot = filelock.FileLock(get_queue_dir() / "slot-0.lock")
        with pytest.raises(filelock.Timeout):
            slot.acquire(timeout=0)
        seen.append(own.is_alive())
        return 0

    monkeypatch.setattr(worker, "_train_and_evaluate", work)
    assert main(run.directory) == 0
    assert seen == [True]
    assert not run.is_alive()
    filelock.FileLock(get_queue_dir() / "slot-0.lock").acquire(timeout=0).lock.release()


def test_without_slots_nobody_waits(run, monkeypatch):
    monkeypatch.setenv("POLYP_SLOTS", "0")
    monkeypatch.setattr(worker, "_train_and_evaluate", lambda *_: 0)
    with filelock.FileLock(get_queue_dir() / "slot-0.lock"):
        assert main(run.directory) == 0


def test_what_a_killed_worker_left_half_written_is_cleared(run, monkeypatch):
    run.path("checkpoints").mkdir()
    left_over = [run.path(".writing-1-x.json"), run.path("checkpoints") / ".writing-2-y.npz"]
    for path in left_over:
        path.touch()
    monkeypatch.setattr(worker, "_train_and_evaluate", lambda *_: 0)
    main(run.directory)
    assert not any(path.exists() for path in left_over)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_being_asked_politely_to_end_is_being_asked_to_stop(run, monkeypatch):
    handlers = {}
    monkeypatch.setattr(
        signal, "signal", lambda number, handler: handlers.update({number: handler})
    )
    monkeypatch.setattr(worker, "_end_hard", lambda *_: None)
    monkeypatch.setattr(worker, "_train_and_evaluate", lambda *_: 0)
    main(run.directory)
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert run.path("stop").exists()


@pytest.mark.parametrize("keeps_state", [True, False])
def test_it_ends_hard_where_the_work_does_not_look_up_but_not_while_state_is_kept(
    run, monkeypatch, keeps_state
):
    ended = []
    monkeypatch.setattr(worker, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(worker, "_ENDS_HARD_S", 0.0 if not keeps_state else 0.2)
    monkeypatch.setattr(worker.os, "_exit", ended.append)
    reporter = Reporter(run)
    reporter.is_stopping = keeps_state
    run.path("stop").touch()
    worker._end_hard(run, reporter)
    assert ended == [1]
    assert run.read_status()["message"] == "Stopped"
    assert list_tickets(get_queue_dir()) == []


def test_later_workers_note_what_is_other_with_them(run, monkeypatch):
    pytest.importorskip("keras")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.setenv(environment.ONEDNN, "0")
    worker._note_environment(run)
    first = run.read_environment()
    assert first["devices"]
    assert (first["threads"], first["onednn"]) == (3, "0")
    worker._note_environment(run)
    assert run.read_environment() == first  # the same again is no news
    now = worker.describe_environment() | {"python": "3.99"}
    monkeypatch.setattr(worker, "describe_environment", lambda: dict(now))
    worker._note_environment(run)
    noted = run.read_environment()
    assert {**noted, "resumed_with": None} == {**first, "resumed_with": None}
    assert [other["python"] for other in noted["resumed_with"]] == ["3.99"]


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere TensorFlow chooses"
)
@pytest.mark.parametrize(("known", "is_on"), [({}, True), ({"onednn": "0"}, False)])
def test_onednn_is_switched_before_tensorflow_is_imported(run, data_dir, known, is_on):
    """TensorFlow itself says so; the run fails right after, for its images are gone."""
    run.write_table("index.csv", read_index(DataConfig(folder=str(data_dir))).images)
    shutil.rmtree(data_dir)
    if known:
        run.write_json("environment.json", known)
    variables = list_variables(TF_CPP_MIN_LOG_LEVEL="0")
    del variables[environment.ONEDNN]
    command = [sys.executable, "-m", "polyp_core.worker", str(run.directory)]
    worked = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert run.read_status()["state"] == "failed"
    assert ("oneDNN custom operations are on" in worked.stderr + worked.stdout) == is_on


def test_checkpoints_stay_where_the_last_word_could_not_be_written(run, monkeypatch):
    """Otherwise a resume would begin anew."""
    run.path("checkpoints").mkdir()
    # Whatever is done before the last word.
    for name in ("_wait_for", "_note_environment", "_find_brightest"):
        monkeypatch.setattr(worker, name, lambda *_: np.zeros((1, 1)))
    monkeypatch.setattr(worker, "_open_images", lambda *_: None)
    monkeypatch.setattr(Run, "read_index", lambda *_: Nothing())
    for module in ("training.Trainer", "serving.write_serving_model", "evaluation.evaluate_run"):
        monkeypatch.setattr(f"polyp_core.{module}", Nothing())
    monkeypatch.setattr(Reporter, "end", lambda *_: False)
    assert main(run.directory) == 1
    assert run.path("checkpoints").is_dir()


def test_checkpoints_that_a_killed_worker_left_behind_are_cleared(run):
    run.path("checkpoints").mkdir()
    run.write_json("status.json", {"state": "finished", "message": "Finished"})
    assert main(run.directory) == 0
    assert not run.path("checkpoints").exists()


def test_a_finished_run_never_changes(finished_run):
    before = {p.name: p.stat().st_mtime_ns for p in finished_run.directory.iterdir()}
    assert main(finished_run.directory) == 0
    assert {p.name: p.stat().st_mtime_ns for p in finished_run.directory.iterdir()} == before
