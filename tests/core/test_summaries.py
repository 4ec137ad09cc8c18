import math
import os
import time

import pytest
from filelock import FileLock

from polyp_core import summaries
from polyp_core.runs import HISTORY_COLUMNS, Run
from polyp_core.summaries import list_summaries, name_data, summarise_run
from tests.conftest import make_config


@pytest.fixture
def run(tmp_path, data_dir):
    run = Run(tmp_path / "run")
    run.directory.mkdir()
    config = make_config(data_dir, "data.region=automatic")
    run.write_json("config.json", {"settings": config.to_dict()})
    return run


def write_epochs(run, accuracies):
    lines = [",".join(HISTORY_COLUMNS)]
    for epoch, accuracy in enumerate(accuracies, start=1):
        row = dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"epoch": epoch, "val_accuracy": accuracy}
        lines.append(",".join(str(row[name]) for name in HISTORY_COLUMNS))
    run.path("history.csv").write_text("\n".join(lines) + "\n")


def test_a_run_that_has_not_begun_is_what_it_plans(run):
    assert summarise_run(run) == {
        "preset": "compact", "data": "data", "region": "automatic", "image_size_px": 32,
        "epochs": 3, "epochs_done": 0, "curve": [], "unit": "", "accuracy": None, "auc": None,
    }  # fmt: skip


def test_a_short_curve_is_whole_and_a_long_one_keeps_both_ends(run):
    write_epochs(run, [0.25, 0.5, 0.123456, float("nan")])
    summary = summarise_run(run)
    assert (summary["epochs_done"], summary["curve"]) == (4, [0.25, 0.5, 0.1235])
    write_epochs(run, [number / 1000 for number in range(1, 1001)])
    curve = summarise_run(run)["curve"]
    assert len(curve) == 24
    assert (curve[0], curve[-1], curve) == (0.001, 1.0, sorted(curve))


def test_a_finished_run_has_its_worth_by_patients(finished_run):
    summary, metrics = summarise_run(finished_run), finished_run.read_metrics()
    assert summary["unit"] == "patients"
    assert (summary["accuracy"], summary["auc"]) == (
        metrics["patient"]["accuracy"],
        metrics["patient"]["auc"],
    )
    # The table reads it from status.json alone.
    assert finished_run.read_status()["summary"] == summary


def test_a_folder_that_is_no_run_has_no_summary(tmp_path):
    assert summarise_run(Run(tmp_path)) == {}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/gallbladder", "gallbladder"),
        ("/data/gallbladder/", "gallbladder"),
        (r"C:\data\gall", "gall"),
        ("splits/clean.csv", "clean"),
        ("demo", "demo"),
        ("/", "/"),
    ],
)
def test_a_data_set_is_called_by_its_folder_or_manifest(folder, name):
    assert name_data(folder) == name


SUMMARY = {
    "preset": "thesis", "data": "breast", "region": "off", "image_size_px": 96, "epochs": 40,
    "epochs_done": 12, "curve": [0.5, 0.75], "unit": "patients",
    "accuracy": {"value": 0.84, "low": 0.76, "high": 0.9, "n": 62},
    "auc": {"value": 0.91, "low": 0.84, "high": 0.97, "n": 62},
}  # fmt: skip


def write_run(runs_dir, name, *, state="finished", age_s=3600, config=None, **summary) -> Run:
    """A run that has ended some time ago, as its worker leaves it; with no state it never spoke."""
    run = Run(runs_dir / name)
    run.directory.mkdir(parents=True)
    run.write_json("config.json", {"settings": (config or make_config("breast")).to_dict()})
    if state is not None:
        spoken = {"state": state, "message": "", "started_at": 1_700_000_000.5}
        run.write_json("status.json", spoken | {"summary": SUMMARY | summary})
    age(run, age_s)
    return run


def age(run, age_s):
    """As if nothing had changed in the folder since."""
    then = time.time() - age_s
    for path in (run.path("config.json"), run.directory):
        os.utime(path, (then, then))


def test_a_run_that_has_ended_is_known_from_its_status_alone(tmp_path):
    run = write_run(tmp_path, "one")
    run.write_notes("A title", "with a note\nof two lines")
    (row,) = list_summaries(tmp_path).to_dict("records")
    assert row == {
        "name": "one", "title": "A title", "note": "with a note of two lines", "state": "finished",
        "preset": "thesis", "data": "breast", "region": "off", "unit": "patients",
        "curve": [0.5, 0.75], "started_at": 1_700_000_000.5, "image_size_px": 96, "epochs": 40,
        "epochs_done": 12, "accuracy": 0.84, "accuracy_low": 0.76, "accuracy_high": 0.9, "n": 62,
        "auc": 0.91, "auc_low": 0.84, "auc_high": 0.97,
    }  # fmt: skip


def test_a_run_of_a_version_without_summaries_is_read_from_its_files(tmp_path):
    run = write_run(tmp_path, "old", state=None)
    write_epochs(run, [0.25, 0.5])
    run.write_json("status.json", {"state": "stopped", "message": ""})
    row = list_summaries(tmp_path).iloc[0]
    assert (row["state"], row["preset"], row["epochs"], row["epochs_done"]) == (
        "stopped", "compact", 3, 2,
    )  # fmt: skip
    assert row["curve"] == [0.25, 0.5]
    assert math.isnan(row["accuracy"])
    assert math.isnan(row["started_at"])


def test_runs_come_the_newest_first(tmp_path):
    for name, age_s in (("b", 60), ("a", 10), ("c", 30)):
        write_run(tmp_path, name, age_s=age_s)
    assert list_summaries(tmp_path)["name"].tolist() == ["a", "c", "b"]


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_no_folder_holds_no_runs(tmp_path, folder):
    (tmp_path / "file").touch()
    table = list_summaries(tmp_path / folder)
    assert table.empty
    assert "accuracy_low" in table


def test_what_is_no_run_is_passed_over_and_the_rest_is_listed(tmp_path):
    write_run(tmp_path, "mine")
    write_run(tmp_path, ".deleted-1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text("{}")
    for name, text in (("model of others", '{"model_type": "bert"}'), ("torn", '{"sett')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / "lost config").mkdir()
    (tmp_path / "lost config" / "status.json").write_text('{"state": "finished"}')
    assert list_summaries(tmp_path)["name"].tolist() == ["mine"]


DAMAGED = [
    "",
    "{",
    "[]",
    "[" * 100_000,
    "null",
    '{"state": []}',
    '{"state": "finished"}',
    '{"state": "finished", "summary": 3, "started_at": "x"}',
    '{"state": "finished", "started_at": 1e400, "summary": {"curve": [1, "x", null, NaN]}}',
    '{"state": "stopped", "summary": {"epochs": true, "preset": ["a"], "accuracy": 0.5}}',
    '{"state": "failed", "title": 7, "summary": {"auc": {"value": "high", "low": null}}}',
    "\xff\xfe",
]


@pytest.mark.parametrize("name", ["status.json", "notes.json", "config.json", "metrics.json"])
@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_hides_no_run(tmp_path, name, text):
    write_run(tmp_path, "sound")
    run = write_run(tmp_path, "damaged", age_s=60)
    if name == "metrics.json":  # read where there is no summary
        run.write_json("status.json", {"state": "finished"})
    run.path(name).write_bytes(text.encode("latin-1"))
    age(run, 60)
    for _ in range(2):
        table = list_summaries(tmp_path)
        assert table["name"].tolist() == ["damaged", "sound"]
        assert table["accuracy"].dtype == float
        assert all(isinstance(value, float) for curve in table["curve"] for value in curve)


@pytest.mark.parametrize("metrics", [{"image": 3}, {"image": []}, {"patient": "x"}, {"a": {}}])
def test_numbers_of_another_shape_are_as_good_as_none(tmp_path, metrics):
    run = write_run(tmp_path, "damaged")
    run.write_json("metrics.json", metrics)
    summary = summarise_run(run)
    assert (summary["accuracy"], summary["auc"]) == (None, None)


def test_a_curve_of_impossible_accuracies_is_empty(tmp_path):
    run = write_run(tmp_path, "damaged")
    rows = [f"{epoch}{',1e308' * (len(HISTORY_COLUMNS) - 1)}\n" for epoch in (1, 2)]
    run.path("history.csv").write_text(",".join(HISTORY_COLUMNS) + "\n" + "".join(rows))
    assert summarise_run(run)["curve"] == []


@pytest.mark.parametrize("settings", [[], 5, "x", {"data": []}, {"training": {"epochs": -1}}])
def test_settings_that_make_no_sense_hide_no_run(tmp_path, settings):
    run = write_run(tmp_path, "damaged", state=None)
    run.write_json("config.json", {"settings": settings})
    row = list_summaries(tmp_path).iloc[0]
    assert (row["state"], row["preset"]) == ("interrupted", "")


def test_a_name_that_is_no_text_does_no_harm(tmp_path):
    try:
        write_run(tmp_path, os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("this file system knows no such name")
    run = write_run(tmp_path, "notes")
    run.path("notes.json").write_text('{"title": "\\ud800 and \\u202e", "note": 5}')
    table = list_summaries(tmp_path)
    assert [os.fsencode(name) for name in table["name"]] == [b"notes", b"caf\xe9"]
    assert table["title"].tolist() == ["[U+D800] and [U+202E]", ""]


def test_a_run_at_work_is_read_at_every_call(tmp_path):
    run = write_run(tmp_path, "live", state=None)
    write_epochs(run, [0.5])
    run.write_json("status.json", {"state": "running", "message": "Epoch 2"})
    with FileLock(run.path("lock")):
        age(run, 60)
        row = list_summaries(tmp_path).iloc[0]
        assert (row["state"], row["epochs_done"]) == ("running", 1)
        # A row more changes the file, but not the folder.
        run.append_history(dict.fromkeys(HISTORY_COLUMNS, 0.75) | {"epoch": 2})
        assert list_summaries(tmp_path).iloc[0]["curve"] == [0.5, 0.75]
    assert list_summaries(tmp_path).iloc[0]["state"] == "interrupted"


def test_a_run_that_has_ended_is_read_once_until_something_changes(tmp_path, monkeypatch):
    runs = [write_run(tmp_path, f"run {number}") for number in range(5)]
    read, opened = summaries._read_object, []
    monkeypatch.setattr(summaries, "_read_object", lambda path: opened.append(path) or read(path))
    first = list_summaries(tmp_path)
    assert len(opened) == 10  # a status and a note each
    opened.clear()
    assert list_summaries(tmp_path).equals(first)
    assert opened == []
    runs[3].write_notes("new", "")
    assert list_summaries(tmp_path).set_index("name").loc["run 3", "title"] == "new"
    assert {path.split(os.sep)[-2] for path in opened} == {"run 3"}


def test_a_change_within_the_same_moment_is_seen(tmp_path):
    run = write_run(tmp_path, "one", age_s=0)
    changed_ns = run.directory.stat().st_mtime_ns
    for title in ("first", "second"):
        run.write_notes(title, "")
        os.utime(run.directory, ns=(changed_ns, changed_ns))  # as a coarse clock would have it
        assert list_summaries(tmp_path)["title"].tolist() == [title]


def test_a_resumed_run_is_no_longer_what_it_was(tmp_path):
    run = write_run(tmp_path, "one", state="stopped")
    assert list_summaries(tmp_path)["state"].tolist() == ["stopped"]
    run.path("status.json").unlink()
    run.path("worker.log").touch()
    assert list_summaries(tmp_path)["state"].tolist() == ["queued"]


def test_a_deleted_run_is_gone_and_a_new_one_of_its_name_is_another(tmp_path):
    run = write_run(tmp_path, "one", age_s=60)
    assert len(list_summaries(tmp_path)) == 1
    run.directory.rename(tmp_path / ".gone")
    assert list_summaries(tmp_path).empty
    write_run(tmp_path, "one", age_s=30, preset="compact")
    assert list_summaries(tmp_path)["preset"].tolist() == ["compact"]


def test_what_is_done_to_the_table_stays_with_the_caller(tmp_path):
    write_run(tmp_path, "one")
    table = list_summaries(tmp_path)
    table.loc[0, "state"] = "spoilt"
    table["more"] = 1
    assert list_summaries(tmp_path)["state"].tolist() == ["finished"]


def test_few_folders_are_kept_in_memory(tmp_path):
    for number in range(20):
        list_summaries(tmp_path / str(number))
    assert len(summaries._known) == 8
