"""Real workers, killed and stopped at seeded moments: nothing is lost and nothing ends otherwise.

What an unbroken run gives is trained in this very process, which is a machine of its own to the
worker. `benchmarks/kills.py` does the same thirty times over and prints its table.
"""

import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from polyp_core import jobs, processes
from polyp_core.checkpoints import read_checkpoint, read_checkpoints
from polyp_core.dataset import read_index
from polyp_core.errors import RunError
from polyp_core.image_store import open_images
from polyp_core.images import decode_image
from polyp_core.prediction import load_classifier
from polyp_core.presets import get_preset
from polyp_core.queueing import list_active_runs, move_run
from polyp_core.runs import Run
from polyp_core.workspace import get_cache_dir, get_queue_dir
from tests.conftest import start_run, wait_for_end, wait_until, write_classes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with POSIX signals")
keras = pytest.importorskip("keras")

# Smaller than life, but with every kind of state: 45 images make eleven batches and a short one.
SETTINGS = {
    "thesis": (
        "model.image_size_px=32", "training.ema=0.9", "training.keep=best",
        "training.class_weights=balanced", "training.learning_rate=0.0003",
    ),
    "thesis-plus": (
        "model.image_size_px=32", "model.filters=16,16,32", "training.schedule=plateau",
        "training.decay_epochs=1", "training.early_stopping_patience=6", "training.gradient_clip=1",
    ),
    "compact": (
        "model.image_size_px=32", "model.filters=8,16", "training.milestones=2,5",
    ),
}  # fmt: skip


@pytest.fixture
def index_dir(tmp_path):
    """Sixty images of thirty patients: 45 to train on, 15 to validate on."""
    return write_classes(tmp_path / "images", num_patients=30)


def make_preset_run(preset, folder, runs_dir):
    config = get_preset(preset).with_settings(
        [f"data.folder={folder}", "training.batch_size=4", "training.epochs=24", *SETTINGS[preset]]
    )
    return jobs.prepare_run(config, read_index(config.data), runs_dir)


def train_unbroken(run):
    """The same training as a worker's, in this process and in one go."""
    from polyp_core.training import Trainer

    config, index = run.read_config(), run.read_index()
    images = open_images(index, config, get_cache_dir())
    Trainer(run, config, index, images, lambda **_: None).train()


def start(run):
    """Start a run's worker without a queue; its process."""
    jobs.start_worker(run, num_slots=0)
    return processes._started[-1]


def resume(run):
    jobs.resume_run(run, num_slots=0)
    return processes._started[-1]


def kill(process, run):
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.read_status()["state"] == "interrupted"


def wait_for_epochs(run, num_epochs):
    wait_until(lambda: len(run.read_history()) >= num_epochs, f"{num_epochs} epochs")


def wait_within_an_epoch(run, part):
    """Wait for a part of the time that the last epoch took; the first one is no measure."""
    time.sleep(part * run.read_history()["seconds"].iloc[-1])


def catch_writing(process, run):
    """Hold the worker still while a checkpoint is half written, and kill it there."""
    directory = run.path("checkpoints")
    while True:
        assert process.poll() is None, "the run has ended before a write was caught"
        if any(name.startswith(".writing-") for name in os.listdir(directory)):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            if list(directory.glob(".writing-*")):
                kill(process, run)
                return list(directory.glob(".writing-*"))
            process.send_signal(signal.SIGCONT)


def read_curves(run):
    """history.csv to the byte, but for the seconds."""
    return [line.rsplit(",", 1)[0] for line in run.path("history.csv").read_text().splitlines()]


def read_weights(run):
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    return [np.asarray(weight).tobytes() for weight in model.weights]


def assert_ends_as_unbroken(run):
    unbroken = jobs.prepare_run(
        run.read_config(), run.read_index(), run.directory.parent, f"{run.name}-unbroken"
    )
    train_unbroken(unbroken)  # while the worker imports TensorFlow
    assert wait_for_end(run) == "finished", run.path("worker.log").read_text()
    assert read_curves(run) == read_curves(unbroken)
    assert read_weights(run) == read_weights(unbroken)
    assert run.read_milestones() == unbroken.read_milestones()
    assert not list(run.directory.rglob(".writing-*"))
    assert not run.path("checkpoints").exists()


def assert_stopped_in_time(run):
    """Two seconds from the asking to the last word, by the clock of the machine."""
    asked_at = run.path("stop").stat().st_mtime
    assert wait_for_end(run) == "stopped"
    assert run.read_status()["updated_at"] - asked_at < 2


def test_thesis_killed_while_a_checkpoint_is_written_ends_as_unbroken(index_dir, tmp_path):
    run = make_preset_run("thesis", index_dir, tmp_path / "runs")
    process = start(run)
    wait_for_epochs(run, random.Random(1).randint(1, 4))
    known = read_curves(run)
    left_over = catch_writing(process, run)
    assert len(left_over) == 1
    resume(run)
    assert_ends_as_unbroken(run)
    assert read_curves(run)[: len(known)] == known


def test_thesis_plus_killed_within_an_epoch_and_resumed_elsewhere_ends_as_unbroken(
    index_dir, tmp_path, monkeypatch
):
    drawn = random.Random(2)
    run = make_preset_run("thesis-plus", index_dir, tmp_path / "runs")
    process = start(run)
    wait_for_epochs(run, drawn.randint(2, 5))
    wait_within_an_epoch(run, drawn.uniform(0.2, 0.6))
    kill(process, run)
    # As on a machine with more processors: the run keeps its own number of threads.
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TF_NUM_INTRAOP_THREADS", "5")
        resume(run)
    assert_ends_as_unbroken(run)


def test_compact_stopped_within_an_epoch_and_killed_at_any_time_ends_as_unbroken(
    index_dir, tmp_path
):
    drawn = random.Random(3)
    run = make_preset_run("compact", index_dir, tmp_path / "runs")
    start(run)
    wait_for_epochs(run, 2)
    wait_within_an_epoch(run, drawn.uniform(0.2, 0.6))
    jobs.stop_run(run)
    assert_stopped_in_time(run)
    # The state of this very step is kept.
    newest = read_checkpoint(read_checkpoints(run)[0])
    assert newest.step > 0
    assert newest.epoch == len(run.read_history())

    process = resume(run)
    wait_for_epochs(run, newest.epoch + 2)
    wait_within_an_epoch(run, drawn.uniform(0, 3))
    kill(process, run)
    resume(run)
    assert_ends_as_unbroken(run)


def test_one_run_works_the_others_wait_are_moved_cancelled_and_stopped_as_tensorflow_loads(
    data_dir, tmp_path
):
    runs_dir, endless = tmp_path / "runs", "training.epochs=10000"
    first = start_run(data_dir, runs_dir, "first", endless)
    working = processes._started[-1]
    wait_until(first.is_alive, "the first run's worker")
    too_late = start(first)
    second = start_run(data_dir, runs_dir, "second", endless)
    third = start_run(data_dir, runs_dir, "third", endless)
    for run, said in ((second, "Waiting for 1 run"), (third, "Waiting for 2 runs")):
        wait_until(lambda: run.read_status()["message"] == said, said)  # noqa: B023
        assert run.read_status()["state"] == "queued"
    move_run(get_queue_dir(), third, earlier=True)
    wait_until(lambda: third.read_status()["message"] == "Waiting for 1 run", "the new order")
    assert [run.name for run, _ in list_active_runs(get_queue_dir())] == [
        "first",
        "third",
        "second",
    ]
    with pytest.raises(RunError) as raised:
        jobs.delete_run(second)
    assert str(raised.value) == (
        "Run 'second' is queued and is not deleted. Expected one that has ended. Stop it first."
    )

    # Cancelled while it waits: it never began.
    jobs.stop_run(second)
    assert_stopped_in_time(second)
    assert "started_at" not in second.read_status()

    # Of two workers on one run exactly one works, and the other takes it no place in the queue.
    assert too_late.wait(60) == 1
    log = first.path("worker.log").read_text()
    assert log.count("Another worker has the run 'first'; nothing done.") == 1
    assert [run.name for run, _ in list_active_runs(get_queue_dir())] == ["first", "third"]

    # The next one starts when the first is gone, whatever ended it.
    wait_for_epochs(first, 2)
    kill(working, first)
    wait_until(lambda: third.read_status()["state"] == "running", "the third run to start")
    assert [run for run, _ in list_active_runs(get_queue_dir())] == [Run(third.directory.resolve())]
    time.sleep(random.Random(4).uniform(0, 2))  # TensorFlow is being imported
    jobs.stop_run(third)
    assert_stopped_in_time(third)
    assert third.read_history().empty
    assert list_active_runs(get_queue_dir()) == []

    # What was learned until the kill is a model.
    known = read_curves(first)
    jobs.finish_run(first)
    assert wait_for_end(first) == "finished"
    assert read_curves(first)[: len(known)] == known
    assert len(first.read_history()) <= len(known)  # the header, and at most the present epoch
    path = data_dir / first.read_index().images["path"][0]
    prediction = load_classifier(first).classify(path)
    assert 0 < prediction.probability < 1
    assert decode_image(path).shape[:2] == (40, 40)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="sets the limit of another process")
def test_a_full_disk_fails_with_a_sentence_and_two_resumes_at_once_start_one_worker(
    index_dir, tmp_path
):
    import resource

    run = make_preset_run("thesis-plus", index_dir, tmp_path / "runs")
    # The log is full as well: not even a traceback can be written.
    run.path("worker.log").write_bytes(b"-" * 30_000 + b"\n")
    process = start(run)
    wait_for_epochs(run, 2)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    assert wait_for_end(run) == "failed"
    assert run.read_status()["message"] == (
        f"A file of run '{run.name}' cannot be written or read (File too large). Expected room on "
        "the disk and a folder that may be written. Every finished epoch is kept: make room, then "
        "resume."
    )
    assert process.wait() == 1
    known = read_curves(run)
    assert read_checkpoint(read_checkpoints(run)[0]).epoch >= len(known) - 1 >= 2

    environment = run.read_environment()
    changed = {**environment, "packages": {**environment["packages"], "keras": "3.14.0"}}
    run.write_json("environment.json", changed)
    with pytest.raises(RunError, match="was started with other versions .keras 3.14.0 → "):
        jobs.resume_run(run)
    refused = []

    def press():
        try:
            jobs.resume_run(run, num_slots=0, accept_changes=True)
        except RunError as error:
            refused.append(str(error))

    presses = [threading.Thread(target=press) for _ in range(2)]
    for thread in presses:
        thread.start()
    for thread in presses:
        thread.join()
    assert len(refused) == 1
    assert "cannot be resumed. Expected a stopped, interrupted or failed one." in refused[0]
    assert_ends_as_unbroken(run)
    assert read_curves(run)[: len(known)] == known
    (noted,) = run.read_environment()["resumed_with"]
    assert noted["packages"]["keras"] == environment["packages"]["keras"]
