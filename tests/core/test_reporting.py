import os
import threading
import time

import cv2
import numpy as np
import pytest

from polyp_core.reporting import Pace, Reporter, WorkStopped
from polyp_core.runs import HISTORY_COLUMNS, Run
from tests.conftest import make_config


@pytest.fixture
def run(tmp_path, data_dir):
    run = Run(tmp_path / "run")
    run.directory.mkdir()
    run.write_json("config.json", {"settings": make_config(data_dir).to_dict()})
    return run


def read(run):
    return run.read_json("status.json")


def test_pace_counts_from_the_first_step_on_and_says_what_is_left():
    pace = Pace()
    assert pace.update(100.0, 10, 1000) == {}  # after the slow first step
    assert pace.update(102.0, 30, 1000) == {"images_per_s": 10.0, "remaining_s": 97.0}


def test_pace_says_nothing_where_nothing_was_trained():
    pace = Pace()
    pace.update(100.0, 10, 1000)
    assert pace.update(100.0, 20, 1000) == {}
    assert pace.update(101.0, 10, 1000) == {}


def test_pace_follows_the_last_ten_seconds():
    pace = Pace()
    for second in range(100):  # ten images a second, then one
        pace.update(float(second), 10 * second, 5000)
    for second in range(100, 130):
        last = pace.update(float(second), 1000 + (second - 100), 5000)
    assert last["images_per_s"] == pytest.approx(1.0, abs=0.1)


def test_what_is_reported_is_written_at_most_four_times_a_second(run):
    reporter = Reporter(run)
    reporter.write(state="running", message="a")
    reporter.report(message="b", epoch=3)
    assert read(run)["message"] == "a"
    reporter._written_at -= 0.5
    reporter.report(step=5)
    # Nothing that was reported in between is lost.
    assert (read(run)["message"], read(run)["epoch"], read(run)["step"]) == ("b", 3, 5)
    reporter.write(message="c")
    assert read(run)["message"] == "c"


def test_begin_says_when_and_how_long_it_took_to_come_so_far(run, monkeypatch):
    monkeypatch.setenv("POLYP_ASKED_AT", str(time.time() - 5))
    reporter = Reporter(run)
    reporter.begin("Starting")
    reporter.note_time("import", time.monotonic() - 3)
    reporter.report(images_trained=4, images_in_all=40)
    reporter.report(images_trained=8, images_in_all=40)
    reporter.write()
    status = read(run)
    assert (status["state"], status["message"]) == ("running", "Starting")
    assert status["started_at"] == pytest.approx(time.time(), abs=5)
    assert set(status["timings"]) == {"until the worker ran", "import", "until the first step"}
    assert status["timings"]["until the worker ran"] == pytest.approx(5, abs=1)
    assert status["timings"]["import"] == pytest.approx(3, abs=1)
    assert status["memory_mb"] > 10
    assert 0 <= status["elapsed_s"] < 60


def test_what_earlier_workers_took_counts_as_well(run):
    run.cut_history(0)
    for epoch in (1, 2):
        row = dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"epoch": epoch, "seconds": 100.0}
        run.append_history(row)
    reporter = Reporter(run)
    reporter.begin("Starting")
    assert read(run)["elapsed_s"] == pytest.approx(200, abs=60)


def test_after_training_no_time_is_left_over_from_it(run):
    reporter = Reporter(run)
    reporter.report(images_per_s=250.0, remaining_s=44.0)
    reporter.report_after_training("Converting")
    assert (read(run)["message"], read(run)["remaining_s"]) == ("Converting", 0)


@pytest.mark.parametrize(("num_before", "said"), [(1, "1 run"), (3, "3 runs")])
def test_a_waiting_run_says_for_how_many(run, num_before, said):
    Reporter(run).report_waiting(num_before)
    assert (read(run)["state"], read(run)["message"]) == ("queued", f"Waiting for {said}")


def test_a_new_place_in_the_queue_is_said_at_once_however_soon_it_comes(run):
    reporter = Reporter(run)
    for num_before, said in ((1, "1 run"), (2, "2 runs"), (1, "1 run")):
        reporter.report_waiting(num_before)
        assert read(run)["message"] == f"Waiting for {said}"


def test_a_stop_is_heard_at_the_next_report_but_one_look_at_the_disk_serves_for_a_while(run):
    reporter = Reporter(run)
    reporter.report(step=1)
    run.path("stop").touch()
    reporter.report(step=2)  # within a twentieth of a second nobody looks
    assert not reporter.is_stopping
    reporter._looked_at -= 0.05
    with pytest.raises(WorkStopped):
        reporter.report(step=3)
    assert reporter.is_stopping


def test_a_stop_heard_where_images_are_read_does_not_say_that_a_state_is_being_kept(run):
    """The main thread may be importing TensorFlow: the worker must end without waiting for it."""
    reporter, raised = Reporter(run), []
    run.path("stop").touch()

    def read_images():
        try:
            reporter.report(message="Reading")
        except WorkStopped:
            raised.append(True)

    thread = threading.Thread(target=read_images)
    thread.start()
    thread.join()
    assert raised == [True]
    assert not reporter.is_stopping


def test_the_strip_shows_the_first_images_as_the_network_saw_them(run):
    reporter = Reporter(run)
    images = np.zeros((10, 16, 16, 3), dtype=np.uint8)
    images[:, ..., 0] = np.arange(10)[:, None, None] * 20  # red, brighter from image to image
    reporter.report(batch=(images, [0, 1] * 5))
    reporter.write()
    strip = cv2.imread(str(run.path("batch.png")))[..., ::-1]
    assert strip.shape == (128, 8 * 128, 3)
    assert strip[64, 64::128].tolist() == [[20 * number, 0, 0] for number in range(8)]
    assert read(run)["batch_labels"] == [0, 1] * 4
    reporter.report(batch=(images[::-1], [1] * 10))  # too soon for another one
    reporter.write()
    assert read(run)["batch_labels"] == [0, 1] * 4


def test_the_strip_of_a_small_grey_batch_is_as_long_as_it_is(run):
    Reporter(run).report(batch=(np.full((3, 16, 16, 1), 77, dtype=np.uint8), [0, 1, 1]))
    strip = cv2.imread(str(run.path("batch.png")), cv2.IMREAD_UNCHANGED)
    assert strip.shape[:2] == (128, 3 * 128)
    assert (strip == 77).all()


def test_the_last_word_carries_the_summary_and_nothing_follows_it(run):
    reporter = Reporter(run)
    reporter.begin("Starting")
    run.cut_history(0)
    run.append_history(dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"epoch": 1})
    reporter.report(remaining_s=30.0)
    assert reporter.end("finished", "Finished")
    assert not reporter.end("stopped", "Stopped")
    reporter.write(message="late")
    status = read(run)
    assert (status["state"], status["message"], status["remaining_s"]) == (
        "finished", "Finished", 0,
    )  # fmt: skip
    assert (status["summary"]["epochs_done"], status["summary"]["curve"]) == (1, [0.5])


def test_the_last_word_finds_room_where_nothing_else_does(run, monkeypatch):
    """On a full disk the room that was held back is what the last word is written to."""
    reporter = Reporter(run)
    reporter.reserve_room()
    assert run.path("reserve").stat().st_size == 65536
    seen = []
    write_json = Run.write_json
    monkeypatch.setattr(
        Run, "write_json",
        lambda *args, **how: (seen.append(run.path("reserve").exists()), write_json(*args))[1],
    )  # fmt: skip
    reporter.write(message="a")
    reporter.end("failed", "The disk is full")
    assert seen == [True, False]
    assert read(run)["state"] == "failed"


def test_a_last_word_that_cannot_be_written_is_no_second_error(run, monkeypatch):
    def refuse(*_, **how):
        raise OSError("full")

    reporter = Reporter(run)
    monkeypatch.setattr(Run, "write_json", refuse)
    assert not reporter.end("failed", "The disk is full")
    with pytest.raises(OSError, match="full"):
        Reporter(run).write()


def test_a_waiting_run_writes_only_what_is_new(run):
    reporter = Reporter(run)
    reporter.report_waiting(2)
    written = run.path("status.json").stat().st_mtime_ns
    reporter._written_at = 0.0
    reporter.report_waiting(2)
    assert run.path("status.json").stat().st_mtime_ns == written
    run.path("stop").touch()
    with pytest.raises(WorkStopped):
        reporter.report_waiting(2)


def test_a_picture_of_a_batch_never_stands_beside_other_labels(run):
    reporter = Reporter(run)
    images = np.zeros((2, 16, 16, 1), np.uint8)
    reporter.report(message="a")  # written just now
    reporter.report(batch=(images, [1, 0]))
    assert read(run)["batch_labels"] == [1, 0]


@pytest.mark.skipif(os.name != "posix", reason="shared memory is counted apart there alone")
def test_mapped_images_do_not_count_as_memory(run, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.ones(60_000_000, dtype=np.uint8))
    reporter = Reporter(run)
    reporter.write()
    before = read(run)["memory_mb"]
    images = np.load(path, mmap_mode="r")
    assert int(images.sum()) == 60_000_000
    reporter.write()
    assert read(run)["memory_mb"] < before + 30
