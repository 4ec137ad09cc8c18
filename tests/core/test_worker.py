import pytest

from polyp_core.runs import Run
from polyp_core.worker import Pace, StatusWriter, main
from tests.conftest import make_config


def test_pace_counts_from_the_first_step_on_and_says_what_is_left():
    pace = Pace()
    assert pace.update(100.0, 10, 1000) == {}  # after the slow first step
    assert pace.update(102.0, 30, 1000) == {"images_per_s": 10.0, "remaining_s": 97.0}


def test_pace_follows_the_last_ten_seconds():
    pace = Pace()
    for second in range(100):  # ten images a second, then one
        pace.update(float(second), 10 * second, 5000)
    for second in range(100, 130):
        last = pace.update(float(second), 1000 + (second - 100), 5000)
    assert last["images_per_s"] == pytest.approx(1.0, abs=0.1)


def test_status_is_not_written_more_than_four_times_a_second(tmp_path):
    run = Run(tmp_path)
    status = StatusWriter(run)
    status.write(state="running", message="a")
    status.report(message="b")
    assert run._read_json("status.json")["message"] == "a"
    status.write(message="c")
    assert run._read_json("status.json")["message"] == "c"


def test_a_second_worker_leaves_the_run_alone(tmp_path, data_dir, monkeypatch, capsys):
    import filelock

    run = Run(tmp_path)
    run.write_json("config.json", {"settings": make_config(data_dir).to_dict()})
    monkeypatch.setattr("polyp_core.worker._WAIT_FOR_LOCK_S", 0.1)
    with filelock.FileLock(run.path("lock")):
        assert main(run.directory) == 1
    assert "Another worker has the run" in capsys.readouterr().out
    assert not run.path("status.json").exists()


def test_a_bug_ends_as_failed_with_its_traceback_in_the_log(
    tmp_path, data_dir, monkeypatch, capsys
):
    run = Run(tmp_path)
    run.write_json("config.json", {"settings": make_config(data_dir).to_dict()})

    def break_down(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("polyp_core.worker._train_and_evaluate", break_down)
    assert main(run.directory) == 1
    status = run.read_status()
    assert status["state"] == "failed"
    assert status["message"] == ("Unexpected error, see worker.log. ZeroDivisionError: a bug")
    assert "Traceback" in capsys.readouterr().err


def test_a_finished_run_never_changes(finished_run):
    before = {p.name: p.stat().st_mtime_ns for p in finished_run.directory.iterdir()}
    assert main(finished_run.directory) == 0
    assert {p.name: p.stat().st_mtime_ns for p in finished_run.directory.iterdir()} == before
