"""The worker that judges and checks: by itself, and as a process that is stopped and killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from polyp_core import evaluation_jobs, evaluation_worker, jobs, processes
from polyp_core.errors import DatasetError
from polyp_core.evaluation_jobs import (
    restart_evaluation,
    start_checks,
    start_evaluation,
    stop_evaluation,
)
from polyp_core.evaluation_worker import main
from polyp_core.prediction import load_classifier
from polyp_core.reporting import WorkStopped
from polyp_core.runs import Run
from tests.conftest import wait_for_end, wait_until, write_classes, write_image

ROOT = Path(__file__).parents[2]
RESULTS = {"index.csv", "predictions.csv", "features.npy", "metrics.json"}


@pytest.fixture
def run(finished_run, tmp_path):
    shutil.copytree(finished_run.directory, tmp_path / "runs" / "mine")
    return Run(tmp_path / "runs" / "mine")


@pytest.fixture
def other_dir(tmp_path, finished_run):
    """Six images nobody has seen, one of a training patient, and one that was trained on."""
    folder = write_classes(tmp_path / "other", num_patients=0)
    trained_on = finished_run.read_index().select("train").iloc[0]
    for number in range(3):
        for name in ("calcified", "non-calcified"):
            path = folder / name / f"patient-{50 + number}_0.png"
            write_image(
                path, is_bright_spot=name == "calcified", seed=8000 + 2 * number + len(name)
            )
    known = folder / "calcified" / f"{trained_on['group']}_9.png"
    write_image(known, is_bright_spot=True, seed=8500)
    name = "calcified" if trained_on["label"] else "non-calcified"
    shutil.copy(
        finished_run.read_index().folder / trained_on["path"], folder / name / "patient-60_seen.png"
    )
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """The worker is this process, which keeps its own signals, and is started by hand."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(evaluation_jobs, "start_process", lambda *_, **__: None)


def test_it_writes_index_predictions_features_and_numbers(run, other_dir, in_process):
    files = start_evaluation(run, str(other_dir), "one")
    assert main(files.directory) == 0
    status, metrics = files.read_status(), files.read_metrics()
    assert (status["state"], status["message"]) == ("finished", "Finished")
    assert (status["images_done"], status["images_in_all"]) == (7, 7)
    index, predictions = files.read_index(), files.read_predictions()
    assert len(index.images) == len(predictions) == 7
    assert not predictions["path"].str.contains("seen").any()
    assert set(predictions["split"]) == {"test"}
    classifier = load_classifier(run)
    for row, features in zip(predictions.itertuples(), files.read_features(), strict=True):
        said = classifier.classify(index.folder / row.path)
        assert row.probability == pytest.approx(said.probability)
        assert len(features) == classifier.predictor.num_features
    assert metrics["num_images"] == metrics["image"]["accuracy"]["n"] == 7
    assert metrics["num_training_images_left_out"] == 1
    assert metrics["num_images_of_training_patients"] == 1
    assert metrics["num_validation_images"] == 0
    assert metrics["threshold"] == classifier.threshold


def test_its_numbers_by_patient_are_those_of_the_run_on_the_runs_own_folder(run, in_process):
    files = start_evaluation(run, str(run.read_index().folder), "own")
    assert main(files.directory) == 0
    own, here = run.read_metrics(), files.read_metrics()
    assert (here["image"], here["patient"]) == (own["image"], own["patient"])
    assert here["num_validation_images"] == here["num_images"]


def test_a_folder_that_was_trained_on_fails_in_words(run, tmp_path, in_process, capsys):
    index = run.read_index()
    for row in index.select("train").itertuples():
        target = tmp_path / "same" / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((index.folder / row.path).read_bytes())
    files = start_evaluation(run, str(tmp_path / "same"), "same")
    assert main(files.directory) == 1
    status = files.read_status()
    assert status["state"] == "failed"
    assert status["message"].startswith("Run 'mine' was trained on every image of '")
    assert "Traceback" not in capsys.readouterr().err
    assert not RESULTS & {path.name for path in files.directory.iterdir()}


def test_a_finished_evaluation_never_changes(run, other_dir, in_process):
    files = start_evaluation(run, str(other_dir), "one")
    main(files.directory)
    before = {path.name: path.stat().st_mtime_ns for path in files.directory.iterdir()}
    assert main(files.directory) == 0
    assert {path.name: path.stat().st_mtime_ns for path in files.directory.iterdir()} == before


def test_a_second_worker_leaves_it_alone(run, other_dir, in_process, monkeypatch, capsys):
    files = start_evaluation(run, str(other_dir), "one")
    monkeypatch.setattr(evaluation_worker, "_WAIT_FOR_LOCK_S", 0.1)
    with FileLock(files.path("lock")):
        assert main(files.directory) == 1
    assert capsys.readouterr().out == "Another worker has the test 'one'; nothing done.\n"
    assert not files.path("status.json").exists()


@pytest.mark.parametrize(
    ("error", "state", "message", "has_traceback"),
    [
        (WorkStopped(), "stopped", "Stopped", False),
        (DatasetError("An image is gone. Put it back."), "failed",
         "An image is gone. Put it back.", False),
        (OSError(28, "No space left on device"), "failed",
         "A file of the test 'one' cannot be written or read (No space left on device). Expected "
         "room on the disk and a folder that may be written. Make room, then start it again.",
         True),
        (ZeroDivisionError("a bug\non two lines"), "failed",
         "Unexpected error, see worker.log. ZeroDivisionError: a bug", True),
    ],
)  # fmt: skip
def test_however_it_ends_it_says_so(
    run, other_dir, in_process, monkeypatch, capsys, error, state, message, has_traceback
):
    def work(*_):
        raise error

    files = start_evaluation(run, str(other_dir), "one")
    monkeypatch.setattr(evaluation_worker, "_evaluate", work)
    assert main(files.directory) == 1
    status = files.read_status()
    assert (status["state"], status["message"]) == (state, message)
    assert ("Traceback" in capsys.readouterr().err) == has_traceback
    assert not files.path("reserve").exists()


def test_what_a_killed_worker_left_is_cleared_first(run, other_dir, in_process, monkeypatch):
    files = start_evaluation(run, str(other_dir), "one")
    for name in (".writing-1-x.json", *RESULTS):
        files.path(name).touch()
    monkeypatch.setattr(evaluation_worker, "_evaluate", lambda *_: None)
    assert main(files.directory) == 0
    left = {path.name for path in files.directory.iterdir()}
    assert left <= {"config.json", "worker.log", "status.json", "lock", "starting.lock"}


def test_the_checks_of_a_run_are_written_whole(run, in_process):
    files = start_checks(run)
    assert main(files.directory) == 0
    found = files.read_checks()
    assert found["num_images"] == len(run.read_index().select("validation"))
    assert [effect["effect"] for effect in found["robustness"]] == [
        "noise", "blur", "gain", "rotation", "jpeg",
    ]  # fmt: skip
    as_it_is = found["robustness"][0]["levels"][0]
    assert as_it_is["image"]["auc"] == run.read_metrics()["image"]["auc"]
    assert as_it_is["patient"]["accuracy"] == run.read_metrics()["patient"]["accuracy"]


def test_the_worker_needs_no_tensorflow():
    code = (
        "import sys, polyp_core.evaluation_worker, polyp_core.neighbours;"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_process_of_its_own_judges_the_folder(run, other_dir):
    files = start_evaluation(run, str(other_dir), "one")
    assert wait_for_end(files) == "finished"
    assert {path.name for path in files.directory.iterdir()} >= RESULTS
    assert not list(files.directory.glob(".writing-*"))


@pytest.fixture
def large_dir(tmp_path):
    """Enough images for a worker to be caught at work."""
    return write_classes(tmp_path / "large", num_patients=300, images_each=5)


def wait_for_progress(files):
    wait_until(lambda: "images_done" in files.read_status(), "the first word of progress")


def test_a_stop_is_obeyed_and_a_restart_begins_anew(run, large_dir):
    files = start_evaluation(run, str(large_dir), "large")
    wait_for_progress(files)
    stop_evaluation(files)
    assert wait_for_end(files) == "stopped"
    assert not files.path("metrics.json").exists()
    wait_until(lambda: not files.is_alive(), "the worker to end")
    shutil.rmtree(large_dir)
    write_classes(large_dir, num_patients=8, images_each=3)  # fewer, so that it is quick
    restart_evaluation(files)
    assert wait_for_end(files) == "finished"
    assert len(files.read_predictions()) == len(files.read_features())


@pytest.mark.skipif(os.name != "posix", reason="kills with POSIX signals")
def test_a_kill_leaves_whole_files_and_shows_as_interrupted(run, large_dir):
    files = start_evaluation(run, str(large_dir), "large")
    process = processes._started[-1]
    wait_for_progress(files)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert files.read_status()["state"] == "interrupted"
    num_judged = 1500 - len(run.read_index().select("train"))  # which are left out
    for name in RESULTS & {path.name for path in files.directory.iterdir()}:
        if name.endswith(".csv"):
            assert len(pd.read_csv(files.path(name))) == num_judged
    shutil.rmtree(large_dir)
    write_classes(large_dir, num_patients=8)
    restart_evaluation(files)
    assert wait_for_end(files) == "finished"
    assert files.read_metrics()["num_images"] <= 16
    assert not list(files.directory.glob(".writing-*"))


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_being_asked_politely_to_end_is_being_asked_to_stop(run, large_dir):
    files = start_evaluation(run, str(large_dir), "large")
    process = processes._started[-1]
    wait_for_progress(files)
    process.send_signal(signal.SIGTERM)
    assert wait_for_end(files) == "stopped"
    assert process.wait() == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps what is open")
def test_deleting_the_run_deletes_it_and_ends_its_worker(run, large_dir):
    start_evaluation(run, str(large_dir), "large")
    process = processes._started[-1]
    wait_for_progress(Run(run.directory / "evaluations" / "large"))
    jobs.delete_run(run)
    assert process.wait(timeout=60) == 1
    assert list(run.directory.parent.iterdir()) == []
