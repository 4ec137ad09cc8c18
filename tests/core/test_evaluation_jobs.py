"""What is refused and what is written; the worker itself stands in test_evaluation_worker."""

import os
import shutil
import time

import pytest

from polyp_core import evaluation_jobs
from polyp_core.errors import ConfigError, DatasetError, ModelError, RunError
from polyp_core.evaluation_jobs import (
    delete_evaluation,
    find_checks,
    find_judged_run,
    get_home,
    list_evaluations,
    restart_evaluation,
    start_checks,
    start_evaluation,
    stop_evaluation,
)
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN
from tests.conftest import write_classes


@pytest.fixture
def started(monkeypatch):
    """The folders of the workers that were asked for; none is started."""
    asked = []

    def start(module, directory, **_):
        assert module == "polyp_core.evaluation_worker"
        asked.append(Run(directory))

    monkeypatch.setattr(evaluation_jobs, "start_process", start)
    return asked


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run of one's own."""
    shutil.copytree(finished_run.directory, tmp_path / "runs" / "mine")
    return Run(tmp_path / "runs" / "mine")


@pytest.fixture
def other_dir(tmp_path):
    return write_classes(tmp_path / "other images", num_patients=4)


def end(files, state):
    files.write_json("status.json", {"state": state, "message": ""})


def test_an_evaluation_is_a_folder_in_the_run_that_reads_as_a_run(run, other_dir, started):
    before = {path.name: path.stat().st_mtime_ns for path in run.directory.iterdir()}
    files = start_evaluation(run, str(other_dir), "elsewhere")
    assert files.directory == run.directory / "evaluations" / "elsewhere"
    assert started == [files]
    assert files.read_status()["state"] == "queued"
    assert files.read_task() == "evaluate"
    assert files.read_class_names() == ("non-calcified", "calcified")
    assert files.read_config().data.folder == str(other_dir)
    assert files.read_config().model == run.read_config().model
    assert find_judged_run(files) == run
    assert list_evaluations(run) == [files]
    # The files of the run itself never change.
    after = {path.name: path.stat().st_mtime_ns for path in run.directory.iterdir()}
    after.pop("evaluations")
    assert after == before


def test_without_a_name_it_is_called_after_folder_and_time(run, other_dir, started):
    files = start_evaluation(run, str(other_dir))
    assert files.name.startswith("other-images-20")
    assert start_evaluation(run, str(other_dir)).name != files.name


def test_the_patient_pattern_is_that_of_the_run_unless_one_is_given(run, other_dir, started):
    values = run.read_json("config.json")
    values["settings"]["data"]["group_pattern"] = r"(patient-\d+)"
    run.write_json("config.json", values)
    own = start_evaluation(run, str(other_dir), "own")
    assert own.read_config().data.group_pattern == r"(patient-\d+)"
    none = start_evaluation(run, str(other_dir), "none", group_pattern="")
    assert none.read_config().data.group_pattern == ""
    with pytest.raises(ConfigError, match="not a regular expression"):
        start_evaluation(run, str(other_dir), "bad", group_pattern="(")
    assert not (run.directory / "evaluations" / "bad").exists()


def test_the_newest_stands_first_and_what_is_being_deleted_does_not(run, other_dir, started):
    files = [start_evaluation(run, str(other_dir), name) for name in ("a", "b", "c")]
    for age, one in enumerate(files):
        os.utime(one.path("config.json"), (time.time() - age, time.time() - age))
    shutil.copytree(files[0].directory, files[0].directory.with_name(".deleted-x"))
    assert [one.name for one in list_evaluations(run)] == ["a", "b", "c"]


def test_a_run_that_was_never_tested_has_no_evaluations_and_no_checks(finished_run):
    assert list_evaluations(finished_run) == []
    assert find_checks(finished_run) is None


@pytest.mark.parametrize("name", ["validation", "test", "train", "study"])
def test_a_name_by_which_the_runs_own_images_are_known_is_refused(run, other_dir, name, started):
    with pytest.raises(RunError) as raised:
        start_evaluation(run, str(other_dir), name)
    assert str(raised.value) == (
        "The test cannot have this name. Expected another one than train, validation, test, "
        "study, by which the run's own images are known. Choose another. "
        f"Received: name={name!r}"
    )


def test_a_name_is_never_taken_twice(run, other_dir, started):
    start_evaluation(run, str(other_dir), "again")
    with pytest.raises(RunError, match=r"^There is already a test named 'again' in "):
        start_evaluation(run, str(other_dir), "again")


@pytest.mark.parametrize("start", [lambda run: start_evaluation(run, "x"), start_checks])
def test_a_run_that_is_not_finished_is_not_tested(run, start, started):
    end(run, "stopped")
    with pytest.raises(RunError) as raised:
        start(run)
    assert str(raised.value) == (
        "Run 'mine' is stopped, so it cannot be tested. Expected a finished one. Let it finish, or "
        "choose another."
    )
    end(run, "finished")
    run.path("serving.tflite").unlink()
    with pytest.raises(ModelError, match="has no model to predict with"):
        start(run)
    assert started == []


def test_a_folder_that_cannot_be_tested_on_leaves_nothing_behind(run, other_dir, started):
    with pytest.raises(DatasetError, match="does not exist"):
        start_evaluation(run, str(other_dir / "nowhere"))
    (other_dir / "calcified").rename(other_dir / "cyst")
    with pytest.raises(DatasetError, match="The classes of"):
        start_evaluation(run, str(other_dir))
    assert list_evaluations(run) == []
    assert not run.path("evaluations").exists()


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])  # running without a worker
def test_what_has_ended_without_a_result_begins_anew(run, other_dir, state, started):
    files = start_evaluation(run, str(other_dir), "one")
    for name in ("stop", "index.csv", "predictions.csv", "features.npy", "metrics.json"):
        files.path(name).touch()
    end(files, state)
    restart_evaluation(files)
    assert started == [files, files]
    assert files.read_status()["state"] == "queued"
    left = {path.name for path in files.directory.iterdir()}
    assert left == {"config.json", "worker.log", "lock", "starting.lock"} & left
    assert "config.json" in left


def test_what_is_finished_is_neither_begun_anew_nor_stopped(run, other_dir, started):
    files = start_evaluation(run, str(other_dir), "one")
    end(files, "finished")
    with pytest.raises(RunError) as raised:
        restart_evaluation(files)
    assert str(raised.value) == (
        "The test 'one' is finished and cannot be started again. Expected a stopped, interrupted "
        "or failed one. Start a new one instead."
    )
    with pytest.raises(RunError) as raised:
        stop_evaluation(files)
    assert str(raised.value) == (
        "The test 'one' is finished, so there is nothing to stop. Expected a running one."
    )


def test_a_stop_is_asked_for_by_a_file(run, other_dir, started):
    files = start_evaluation(run, str(other_dir), "one")
    stop_evaluation(files)
    assert files.path("stop").exists()


def test_only_what_has_ended_is_deleted(run, other_dir, started):
    files = start_evaluation(run, str(other_dir), "one")
    with pytest.raises(RunError) as raised:
        delete_evaluation(files)
    assert str(raised.value) == (
        "The test 'one' is queued and is not deleted. Expected one that has ended. Stop it first."
    )
    end(files, "failed")
    delete_evaluation(files)
    assert list(run.path("evaluations").iterdir()) == []
    with pytest.raises(RunError) as raised:
        delete_evaluation(run)
    assert str(raised.value) == (
        f"'{run.directory}' is no test of a run and is not deleted. Expected a folder that testing "
        "a run has written. Delete it by hand, if you are sure."
    )


def test_checks_lie_in_the_run_and_are_begun_anew(run, started):
    files = start_checks(run)
    assert (files.directory, files.read_task()) == (run.directory / "checks", "checks")
    assert (find_checks(run), find_judged_run(files)) == (files, run)
    with pytest.raises(RunError) as raised:
        start_checks(run)
    assert str(raised.value) == (
        "The checks of run 'mine' are queued already. Expected them to have ended. Wait for them, "
        "or stop them first."
    )
    end(files, "finished")
    files.write_json("checks.json", {})
    assert start_checks(run) == files
    assert not files.path("checks.json").exists()
    assert started == [files, files]
    assert list_evaluations(run) == []


def test_an_evaluation_may_be_called_checks(run, other_dir, started):
    files = start_evaluation(run, str(other_dir), "checks")
    assert find_judged_run(files) == run
    assert find_checks(run) is None


def test_a_run_without_validation_images_is_not_checked(run, started):
    run.write_table("index.csv", run.read_index().images.assign(split="train"))
    with pytest.raises(RunError) as raised:
        start_checks(run)
    assert str(raised.value) == (
        "Run 'mine' has no validation images, so there is nothing to check it on. Expected at "
        "least one. Check a run that was validated, such as a member of the study."
    )


def test_what_tests_the_demo_model_lies_in_the_workspace(workspace_dir, other_dir, started):
    files = start_evaluation(DEMO_RUN, str(other_dir), "mine")
    assert files.directory == workspace_dir / "demo-run" / "evaluations" / "mine"
    checks = start_checks(DEMO_RUN)
    assert checks.directory == workspace_dir / "demo-run" / "checks"
    assert find_judged_run(files) == find_judged_run(checks) == DEMO_RUN
    assert list_evaluations(DEMO_RUN) == [files]
    assert get_home(DEMO_RUN) == workspace_dir / "demo-run"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write")
def test_a_run_that_may_not_be_written_to_says_so(run, other_dir, started):
    run.directory.chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"^No test can be written to "):
            start_evaluation(run, str(other_dir))
    finally:
        run.directory.chmod(0o700)


def test_a_full_disk_is_said_in_words(run, other_dir, started, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "write_json", refuse)
    with pytest.raises(RunError) as raised:
        start_evaluation(run, str(other_dir), "one")
    assert str(raised.value) == (
        f"'{run.directory / 'evaluations' / 'one'}' cannot be written to (No space left on "
        "device). Expected room on the disk and a folder that may be written. Make room, close "
        "what has its files open, or change its permissions."
    )


def test_whoever_begins_anew_second_starts_no_second_worker(run, other_dir, started):
    files = start_evaluation(run, str(other_dir), "one")
    end(files, "failed")
    restart_evaluation(files)
    with pytest.raises(RunError, match="is queued and cannot be started again"):
        restart_evaluation(files)
    assert len(started) == 2
