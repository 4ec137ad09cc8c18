"""Real workers, started, stopped, killed and resumed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from polyp_core import jobs
from polyp_core.errors import RunError
from tests.conftest import make_config, start_run, wait_for_end, wait_until

LONG = "training.epochs=40"


def find_worker_pid(run) -> int:
    """The process whose command line names the run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(run.directory).encode() in path.read_bytes():
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError("no worker found")


def read_weights(run) -> list[np.ndarray]:
    import keras

    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    return [np.asarray(v) for v in model.variables if "seed" not in v.path]


def read_curves(run) -> str:
    return run.read_history().drop(columns="seconds").to_csv()


def test_a_run_has_every_file_that_repeats_and_serves_it(finished_run):
    names = {path.name for path in finished_run.directory.iterdir()}
    assert {
        "config.json", "index.csv", "environment.json", "status.json", "history.csv",
        "checkpoints", "model.keras", "model.weights.h5", "serving.tflite", "serving.json",
        "predictions.csv", "metrics.json", "worker.log",
    } <= names  # fmt: skip
    assert not [name for name in names if name.startswith(".writing")]
    assert finished_run.read_history()["epoch"].tolist() == [1, 2, 3]


def test_weights_alone_rebuild_the_model(finished_run):
    from polyp_core.models import build_model

    model = build_model(finished_run.read_config().model)
    model.load_weights(finished_run.path("model.weights.h5"))
    mine = [np.asarray(v) for v in model.variables if "seed" not in v.path]
    assert len(mine) == len(read_weights(finished_run))
    assert all(map(np.array_equal, mine, read_weights(finished_run)))


@pytest.mark.skipif(os.name != "posix", reason="kills with POSIX signals")
def test_a_killed_run_resumes_to_the_very_same_weights_and_curves(data_dir, tmp_path):
    unbroken = start_run(data_dir, tmp_path / "runs", "unbroken", LONG, "training.keep=last")
    assert wait_for_end(unbroken) == "finished"

    broken = start_run(data_dir, tmp_path / "runs", "broken", LONG, "training.keep=last")
    wait_until(lambda: len(broken.read_history()) >= 4, "four epochs")
    os.kill(find_worker_pid(broken), signal.SIGKILL)
    wait_until(lambda: not broken.is_alive(), "the worker to die")
    assert broken.read_status()["state"] == "interrupted"
    assert len(broken.read_history()) < 40

    jobs.resume_run(broken)
    assert wait_for_end(broken) == "finished"
    assert read_curves(broken) == read_curves(unbroken)
    for mine, theirs in zip(read_weights(broken), read_weights(unbroken), strict=True):
        assert np.array_equal(mine, theirs)


def test_stop_keeps_finished_epochs_and_resume_goes_on_after_them(data_dir, tmp_path):
    run = start_run(data_dir, tmp_path / "runs", "stopped", "training.epochs=300")
    wait_until(lambda: len(run.read_history()) >= 2, "two epochs")
    jobs.stop_run(run)
    assert wait_for_end(run) == "stopped"
    epochs = run.read_history()["epoch"].tolist()
    assert epochs == list(range(1, len(epochs) + 1))
    assert 2 <= len(epochs) < 300

    jobs.resume_run(run)
    wait_until(lambda: len(run.read_history()) > len(epochs), "one more epoch")
    jobs.stop_run(run)
    assert wait_for_end(run) == "stopped"
    again = run.read_history()["epoch"].tolist()
    assert again == list(range(1, len(again) + 1))


def test_a_data_set_that_changed_fails_with_a_sentence(data_dir, tmp_path):
    config = make_config(data_dir)
    from polyp_core.dataset import read_index

    index = read_index(config.data)
    path = data_dir / index.select("train")["path"].iloc[0]
    path.unlink()
    run = jobs.start_run(config, index, tmp_path / "runs", "gone")
    assert wait_for_end(run) == "failed"
    assert run.read_status()["message"].startswith("The image '")
    assert "Traceback" not in run.path("worker.log").read_text()


def test_a_finished_run_is_neither_stopped_nor_resumed(finished_run):
    with pytest.raises(RunError) as raised:
        jobs.stop_run(finished_run)
    assert str(raised.value) == (
        "Run 'small' is finished, so there is nothing to stop. Expected a running one. "
        "`python -m polyp_core runs` lists them."
    )
    with pytest.raises(RunError) as raised:
        jobs.resume_run(finished_run)
    assert str(raised.value) == (
        "Run 'small' is finished and cannot be resumed. Expected a stopped, interrupted or failed "
        "one. Start a new run instead."
    )


def test_a_name_is_never_taken_twice(finished_run):
    config, index = finished_run.read_config(), finished_run.read_index()
    runs_dir = finished_run.directory.parent
    with pytest.raises(RunError) as raised:
        jobs.start_run(config, index, runs_dir, "small")
    assert str(raised.value) == (
        f"There is already a run named 'small' in '{runs_dir}'. Expected a new name. Choose "
        "another one; a finished run is never overwritten."
    )


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x" * 81, "a\nb"])
def test_a_name_that_is_no_folder_name_is_refused(finished_run, name):
    config, index = finished_run.read_config(), finished_run.read_index()
    with pytest.raises(RunError) as raised:
        jobs.start_run(config, index, finished_run.directory.parent, name)
    assert str(raised.value) == (
        "The run's name cannot be a folder name. Expected letters, digits, space, '.', '_' and "
        f"'-', at most 80, the first a letter or digit. Received: name={name!r}"
    )
