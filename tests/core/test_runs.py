import json
import os
import time

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from polyp_core.errors import RunError
from polyp_core.runs import HISTORY_COLUMNS, Run, open_run
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
def test_a_damaged_status_is_that_of_a_worker_that_is_gone(run, text):
    run.path("status.json").write_text(text)
    assert run.read_status()["state"] == "interrupted"


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


def test_a_row_comes_back_as_the_very_numbers_that_were_written(run):
    row = dict(zip(HISTORY_COLUMNS, [1, 0.1 + 0.2, 1 / 3, 1e-300, 5e-324, float("nan"), 4, 0, 5, 1,
                                     0.0010000000474974513, 1.234], strict=True))  # fmt: skip
    run.cut_history(0)
    run.append_history(row)
    read = run.read_history().iloc[0]
    assert [repr(float(read[name])) for name in HISTORY_COLUMNS] == [
        repr(float(row[name])) for name in HISTORY_COLUMNS
    ]


def test_cutting_keeps_the_first_rows_to_the_byte_and_drops_an_unfinished_one(run):
    header = ",".join(HISTORY_COLUMNS)
    rows = [",".join([str(epoch), *["0.10"] * (len(HISTORY_COLUMNS) - 1)]) for epoch in (1, 2, 3)]
    path = run.path("history.csv")
    path.write_text("\n".join([header, *rows, "4,0.3"]))
    run.cut_history(9)
    assert path.read_text() == "\n".join([header, *rows, ""])
    run.cut_history(2)
    assert path.read_text() == "\n".join([header, *rows[:2], ""])
    path.unlink()
    run.cut_history(2)
    assert path.read_text() == header + "\n"


def test_a_history_of_an_older_version_has_its_columns_and_knows_no_others(run):
    run.path("history.csv").write_text("epoch,loss,warp\n1,0.5,9\n")
    history = run.read_history()
    assert list(history.columns) == list(HISTORY_COLUMNS)
    assert (history["loss"][0], history["val_auc"].isna()[0]) == (0.5, True)


def test_a_waiting_run_that_was_killed_is_interrupted_not_queued(run):
    run.write_json("status.json", {"state": "queued", "message": "Waiting for 1 run"})
    with FileLock(run.path("lock")):
        assert run.read_status()["state"] == "queued"
    assert run.read_status()["state"] == "interrupted"


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_a_run_that_has_spoken_its_last_is_about_to_end_as_long_as_it_lives(run, state):
    run.write_json("status.json", {"state": state, "message": ""})
    with FileLock(run.path("lock")):
        assert run.read_status()["state"] == "running"
    assert run.read_status()["state"] == state


def test_notes_are_kept_and_cut_to_a_length(run):
    assert run.read_notes() == {"title": "", "note": ""}
    run.write_notes("t" * 300, "n" * 20_000)
    assert {name: len(text) for name, text in run.read_notes().items()} == {
        "title": 200, "note": 10_000,
    }  # fmt: skip


def test_a_run_knows_its_task_milestones_and_rates(run):
    assert (run.read_task(), run.read_milestones(), len(run.read_rates())) == ("train", {}, 0)
    run.write_json("milestones.json", {"10": {"image": {}}})
    assert run.read_milestones() == {10: {"image": {}}}
    rates = pd.DataFrame({"rate": [1e-6], "loss": [0.7], "smooth": [0.7]})
    run.write_table("rates.csv", rates)
    pd.testing.assert_frame_equal(run.read_rates(), rates)


def test_checkpoints_are_deleted_with_all_that_is_in_them(run):
    run.delete_checkpoints()  # none yet
    run.path("checkpoints").mkdir()
    run.path("checkpoints").joinpath("best-00001.npz").touch()
    run.delete_checkpoints()
    assert not run.path("checkpoints").exists()


def test_features_are_a_table_of_32_bit_or_none(run):
    assert run.read_features() is None
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(run.path("features.npy"), table)
    read = run.read_features()
    assert np.array_equal(read, table)
    assert not read.flags.writeable
    for damage in (table[0], table.astype(np.float64), np.array([{}], dtype=object)):
        np.save(run.path("features.npy"), damage)
        assert run.read_features() is None
    run.path("features.npy").write_bytes(b"")
    assert run.read_features() is None


# --- files that somebody else has written, found by benchmarks/fuzz.py -----------------------


@pytest.mark.parametrize("names", [[], ["a"], "ab", 3, None, [1, 2], list("abc"), {"0": "a"},
                                   ["a", "\ud800"]])  # fmt: skip
def test_classes_that_are_not_two_names_are_refused(run, names):
    run.path("config.json").write_text(json.dumps({"settings": {}, "class_names": names}))
    with pytest.raises(RunError, match=r"classes of run 'one' cannot be read\. Expected the names"):
        run.read_class_names()


def test_half_a_character_in_a_note_is_replaced(run):
    run.path("notes.json").write_text('{"title": "a\\ud800", "note": "\\udfff\\nb"}')
    assert run.read_notes() == {"title": "a?", "note": "?\nb"}


@pytest.mark.parametrize("state", [["finished"], {}, 3, None, "gone", ""])
def test_an_unknown_state_is_that_of_a_worker_that_is_gone(run, state):
    run.write_json("status.json", {"state": state, "epoch": 3})
    assert run.read_status() == {"state": "interrupted", "message": "Starting", "epoch": 3}


@pytest.mark.parametrize("epoch", ["inf", "-inf", "nan", "1e300", ""])
def test_a_row_of_an_impossible_epoch_is_left_out(run, epoch):
    rows = [f"{number}{',0.5' * (len(HISTORY_COLUMNS) - 1)}\n" for number in ("1", epoch, "2")]
    run.path("history.csv").write_text(",".join(HISTORY_COLUMNS) + "\n" + "".join(rows))
    assert run.read_history()["epoch"].tolist() == [1, 2]


def test_a_history_that_names_a_column_twice_is_read(run):
    run.path("history.csv").write_text("epoch,other,other\n1,2,3\n")
    assert run.read_history()["epoch"].tolist() == [1]


def test_what_is_no_milestone_is_left_out(run):
    values = {"10": {"image": {}}, "C:\\x": {}, "": {}, "٣": {}, "-1": {}, "1_0": {}, "5": 3}
    run.write_json("milestones.json", values | {"9" * 5000: {}})
    assert run.read_milestones() == {10: {"image": {}}}


@pytest.mark.parametrize("text", ["", "rate,loss\n1,2\n", "rate,loss,smooth\n1,2,x\n", "a\0"])
def test_a_damaged_sweep_of_rates_is_empty(run, text):
    run.path("rates.csv").write_text("smooth,rate,loss\n3,1,2\n")
    assert run.read_rates().to_dict("list") == {"rate": [1.0], "loss": [2.0], "smooth": [3.0]}
    run.path("rates.csv").write_text(text)
    assert run.read_rates().to_dict("list") == {"rate": [], "loss": [], "smooth": []}


PREDICTIONS = pd.DataFrame(
    {"path": ["a.png", "b.png"], "frame": 0, "split": "validation", "group": "", "label": [0, 1],
     "probability": [0.2, 1.0]}
)  # fmt: skip


@pytest.mark.parametrize("column", ["path", "split", "group", "label", "probability"])
def test_predictions_without_a_column_are_refused(run, column):
    run.write_table("predictions.csv", PREDICTIONS.drop(columns=column))
    with pytest.raises(ValueError, match=f"it has no column '{column}'"):
        run.read_predictions()


@pytest.mark.parametrize(
    ("column", "value"),
    [("label", "x"), ("label", 2), ("label", 0.5), ("frame", "x"), ("probability", "high"),
     ("probability", 1.5), ("probability", np.nan), ("probability", np.inf)],
)  # fmt: skip
def test_predictions_that_cannot_be_counted_are_refused(run, column, value):
    run.write_table("predictions.csv", PREDICTIONS.assign(**{column: [value, 1]}))
    with pytest.raises(ValueError, match=r"neither 0 nor 1|no number from 0 to 1"):
        run.read_predictions()


def test_predictions_of_a_version_that_knew_no_frames_are_read(run):
    run.write_table("predictions.csv", PREDICTIONS.drop(columns="frame"))
    assert run.read_predictions()["frame"].tolist() == [0, 0]
    run.write_table("predictions.csv", PREDICTIONS[:0])
    assert run.read_predictions().empty


@pytest.mark.parametrize("change", [{"label": "x"}, {"label": 7}, {"frame": "x"}, {"split": None}])
def test_an_index_that_cannot_be_counted_is_refused(run, change):
    images = PREDICTIONS.assign(**change).drop(columns="probability").dropna(axis="columns")
    run.write_table("index.csv", images)
    with pytest.raises(RunError, match="index of run 'one' cannot be read"):
        run.read_index()


@pytest.mark.parametrize("folder", [3.5, [], {"a": 1}, None, ""])
def test_a_folder_that_is_no_path_is_not_taken_for_one(run, folder, data_dir):
    run.write_table("index.csv", PREDICTIONS.drop(columns="probability"))
    settings = make_config(data_dir).to_dict()
    run.write_json("config.json", {"settings": settings, "folder": folder})
    assert run.read_index().folder == data_dir


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (HEADER.replace("(2, 3)", "(3, 3)"), 24),
        (HEADER.replace("(2, 3)", "(999999999, 999999999)"), 24),
        (HEADER.replace("(2, 3)", "(2, 0)"), 0),
        (HEADER.replace("(2, 3)", "(2L, 3L)"), 24),  # which NumPy warns of
        (HEADER.replace("<f4", "|O"), 24),
        (HEADER.replace("}", "'"), 24),
        ("{" * 100, 24),
        ("", 24),
        (HEADER, 23),
        (HEADER, 25),
    ],
)
def test_features_of_another_shape_than_their_header_says_are_none(run, header, size):
    def write(header: str, size: int) -> None:
        start = b"\x93NUMPY\x01\x00" + (len(header)).to_bytes(2, "little") + header.encode()
        run.path("features.npy").write_bytes(start + bytes(size))

    write(HEADER, 24)
    assert run.read_features().shape == (2, 3)
    write(header, size)
    assert run.read_features() is None
    run.path("features.npy").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip: no array
    assert run.read_features() is None
