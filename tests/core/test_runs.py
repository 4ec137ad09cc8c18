import json
import os
import time

import pandas as pd
import pytest
from filelock import FileLock

from polyp_core.errors import RunError
from polyp_core.runs import HISTORY_COLUMNS, Run, open_run, write_atomically
from tests.conftest import make_config


@pytest.fixture
def run(tmp_path, data_dir):
    """A run as it stands just after it was asked for, without a worker."""
    run = Run(tmp_path / "runs" / "one")
    run.directory.mkdir(parents=True)
    run.write_json(
        "config.json",
        {"settings": make_config(data_dir).to_dict(), "class_names": ["benign", "malignant"]},
    )
    run.path("worker.log").touch()
    return run


def test_config_comes_back_as_it_was_written(run, data_dir):
    assert run.read_config() == make_config(data_dir)
    assert run.read_class_names() == ("benign", "malignant")


def test_a_run_without_a_word_from_its_worker_is_queued(run):
    assert run.read_status()["state"] == "queued"


def test_a_run_whose_worker_never_came_is_interrupted_after_a_minute(run):
    long_ago = time.time() - 61
    os.utime(run.path("worker.log"), (long_ago, long_ago))
    assert run.read_status()["state"] == "interrupted"


def test_running_on_disk_counts_only_while_the_lock_is_held(run):
    run.write_json("status.json", {"state": "running", "message": "Epoch 1"})
    with FileLock(run.path("lock")):
        assert run.is_alive()
        assert run.read_status()["state"] == "running"
    assert not run.is_alive()
    assert run.read_status()["state"] == "interrupted"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_final_state_stays(run, state):
    run.write_json("status.json", {"state": state, "message": ""})
    assert run.read_status()["state"] == state


def test_history_leaves_out_an_unfinished_last_line(run):
    full = ",".join(["1", *["0.5"] * (len(HISTORY_COLUMNS) - 1)])
    run.path("history.csv").write_text(",".join(HISTORY_COLUMNS) + f"\n{full}\n2,0.4,0.")
    assert run.read_history()["epoch"].tolist() == [1]


def test_history_of_a_run_that_has_none_is_empty(run):
    assert list(run.read_history().columns) == list(HISTORY_COLUMNS)
    assert run.read_history().empty


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_status_is_read_as_none_yet(run, text):
    run.path("status.json").write_text(text)
    assert run.read_status()["state"] == "queued"


def test_open_says_that_there_is_no_run(tmp_path):
    with pytest.raises(RunError) as raised:
        open_run(tmp_path / "x")
    assert str(raised.value) == (
        f"There is no run at '{tmp_path / 'x'}'. Expected a folder written by training. "
        "`python -m polyp_core runs` lists the runs there are."
    )


def test_open_says_that_a_folder_is_no_run(tmp_path):
    with pytest.raises(RunError) as raised:
        open_run(tmp_path)
    assert str(raised.value) == (
        f"'{tmp_path}' is not a run: it has no readable config.json. Expected a folder that "
        "training has written. Choose another, or train anew."
    )


def test_open_refuses_settings_of_another_version(run):
    values = json.loads(run.path("config.json").read_text())
    values["settings"]["training"]["warp_factor"] = 9
    run.write_json("config.json", values)
    with pytest.raises(RunError) as raised:
        open_run(run.directory)
    assert str(raised.value).startswith(
        "The settings of run 'one' cannot be used: Unknown setting in 'training': warp_factor."
    )
    assert str(raised.value).endswith("Train anew with this version.")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="other systems forbid such names")
def test_hostile_names_come_back_from_the_index_literally(run, tmp_path):
    names = ["NA", "007", "", "1e3", 'a, "b"', "new\nline", "car\rriage", "=1+1", "\u2028", " x "]
    images = pd.DataFrame(
        {"path": [f"{name}.png" for name in names], "frame": 0, "label": 0, "group": names,
         "split": "train", "width_px": 1, "height_px": 1, "sha256": "0" * 64}
    )  # fmt: skip
    run.write_table("index.csv", images)
    pd.testing.assert_frame_equal(run.read_index().images, images, check_dtype=False)


def test_the_images_lie_where_the_config_says_even_if_a_manifest_lies_elsewhere(run, tmp_path):
    values = json.loads(run.path("config.json").read_text())
    run.path("index.csv").write_text("path,label,group,split,sha256\na.png,1,,train,00\n")
    old = run.read_index()
    assert str(old.folder) == values["settings"]["data"]["folder"]
    assert old.images["frame"].tolist() == [0]  # of a version that knew no frames
    run.write_json("config.json", values | {"folder": str(tmp_path / "images")})
    assert run.read_index().folder == tmp_path / "images"
