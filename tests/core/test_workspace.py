import json
import os
from pathlib import Path

import pytest

from polyp_core import workspace
from polyp_core.config import RunConfig
from polyp_core.errors import RunError
from polyp_core.runs import Run
from polyp_core.workspace import (
    DEMO_RUN,
    ensure_demo_data,
    find_best_run,
    find_run,
    get_demo_data_dir,
    get_runs_dir,
    list_finished_runs,
)


def write_run(
    name: str,
    *,
    state: str = "finished",
    image_low: float | None = None,
    patient_low: float | None = None,
    age_s: int = 0,
    parent: Path | None = None,
) -> Path:
    """A run directory with as much in it as the workspace reads."""
    directory = (parent or get_runs_dir()) / name
    directory.mkdir(parents=True)
    files = {
        "config.json": {"settings": RunConfig().to_dict(), "class_names": ["normal", "polyp"]},
        "status.json": {"state": state, "message": ""},
    }
    lows = {"image": image_low, "patient": patient_low}
    levels = {k: {"accuracy": {"low": low}} for k, low in lows.items() if low is not None}
    if levels:
        files["metrics.json"] = levels
    for file_name, values in files.items():
        (directory / file_name).write_text(json.dumps(values))
    written_at = 1_700_000_000 - age_s
    os.utime(directory / "config.json", (written_at, written_at))
    return directory


def test_workspace_is_where_the_environment_says(workspace_dir):
    assert get_runs_dir() == workspace_dir / "runs"
    assert get_demo_data_dir() == workspace_dir / "demo-data"


def test_workspace_lies_in_the_current_folder_otherwise(monkeypatch):
    monkeypatch.delenv("POLYP_WORKSPACE")
    assert get_runs_dir() == Path("workspace/runs")


def test_runs_may_lie_anywhere_and_nothing_else_moves_with_them(
    workspace_dir, tmp_path, monkeypatch
):
    monkeypatch.setenv("POLYP_RUNS", str(tmp_path / "shared"))
    assert get_runs_dir() == tmp_path / "shared"
    for get_dir in (
        workspace.get_queue_dir, workspace.get_studies_dir, workspace.get_rates_dir,
        workspace.get_cache_dir, workspace.get_imports_dir, get_demo_data_dir,
    ):  # fmt: skip
        assert get_dir().parent == workspace_dir
    assert not (tmp_path / "shared").exists()


def test_runs_folder_may_begin_with_the_home_folder_and_be_named_by_nothing(
    workspace_dir, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("POLYP_RUNS", "~/runs")
    assert get_runs_dir() == tmp_path / "home" / "runs"
    for nothing in ("", " "):
        monkeypatch.setenv("POLYP_RUNS", nothing)
        assert get_runs_dir() == workspace_dir / "runs"


def test_two_workspaces_see_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYP_RUNS", str(tmp_path / "shared"))
    write_run("common", image_low=0.8)
    monkeypatch.setenv("POLYP_WORKSPACE", str(tmp_path / "the other's"))
    assert [run.name for run in list_finished_runs(get_runs_dir())] == ["common", DEMO_RUN.name]
    assert find_run("common") == find_best_run(get_runs_dir()) == Run(tmp_path / "shared/common")


def test_demo_images_are_drawn_on_the_first_call_alone(workspace_dir, monkeypatch):
    calls = []

    def draw(folder, on_progress=None):
        calls.append(folder)
        folder.mkdir(parents=True)
        (folder / "README.txt").touch()
        on_progress(1, 1)

    monkeypatch.setattr(workspace, "write_demo_data", draw)
    told = []
    for _ in range(2):
        folder = ensure_demo_data(lambda *numbers: told.append(numbers))
        assert folder == workspace_dir / "demo-data"
    assert calls == [workspace_dir / "demo-data"]
    assert told == [(1, 1)]


def test_demo_run_ships_with_the_program():
    assert find_run("demo") == DEMO_RUN
    assert DEMO_RUN.read_status()["state"] == "finished"
    assert DEMO_RUN.path("serving.tflite").is_file()
    assert DEMO_RUN.read_config() == RunConfig.from_dict(DEMO_RUN.read_config().to_dict())


def test_finished_runs_come_newest_first_and_the_demo_last():
    write_run("old", age_s=60)
    write_run("new")
    for state in ("stopped", "failed", "running"):
        write_run(state, state=state)
    (get_runs_dir() / "no run").mkdir()
    names = [run.name for run in list_finished_runs(get_runs_dir())]
    assert names == ["new", "old", DEMO_RUN.name]


def test_demo_is_the_only_finished_run_at_first():
    assert list_finished_runs(get_runs_dir()) == [DEMO_RUN]
    assert find_best_run(get_runs_dir()) == DEMO_RUN


def test_best_run_has_the_highest_lower_bound_of_what_is_quoted():
    write_run("many images", image_low=0.95, patient_low=0.6)
    best = write_run("surely good", image_low=0.8, age_s=60)
    write_run("newest, not evaluated")
    write_run("unfinished", state="stopped", image_low=0.99)
    assert find_best_run(get_runs_dir()).directory == best


def test_best_run_is_found_from_the_last_words_of_the_workers_alone():
    good, fair = write_run("good", age_s=60), write_run("fair")
    for directory, low in ((good, 0.8), (fair, 0.7)):
        summary = {"accuracy": {"value": 0.9, "low": low, "high": 1.0, "n": 9}}
        status = {"state": "finished", "message": "", "summary": summary}
        (directory / "status.json").write_text(json.dumps(status))
    assert find_best_run(get_runs_dir()) == Run(good)


def test_of_equal_runs_the_newest_is_the_best():
    write_run("old", image_low=0.8, age_s=60)
    new = write_run("new", image_low=0.8)
    assert find_best_run(get_runs_dir()) == Run(new)


def test_of_equal_runs_the_one_that_was_trained_here_is_the_best():
    own, copy = write_run("own", image_low=0.8, age_s=60), write_run("copy", image_low=0.8)
    (copy / "shared.json").write_text("{}")
    assert find_best_run(get_runs_dir()) == Run(own)


def test_damaged_folders_hide_no_finished_run():
    own = write_run("own")
    (write_run("torn") / "status.json").write_text("{")
    (write_run("odd") / "config.json").write_text('{"settings": []}')
    (get_runs_dir() / "file").touch()
    assert Run(own) in list_finished_runs(get_runs_dir())
    assert find_best_run(get_runs_dir()).directory.parent == get_runs_dir()


def test_own_run_is_taken_before_the_demo_even_without_numbers():
    own = write_run("own")
    assert find_best_run(get_runs_dir()).directory == own


def test_run_is_found_by_folder_or_by_name(tmp_path):
    inside, outside = write_run("first"), write_run("second", parent=tmp_path / "elsewhere")
    assert find_run("first").directory == inside
    assert find_run(str(outside)).directory == outside


def test_own_run_may_be_called_demo():
    assert find_run("demo") == DEMO_RUN
    own = write_run("demo")
    assert find_run("demo").directory == own


@pytest.mark.parametrize("name", ["first", "demo"])
def test_folder_that_is_no_run_does_not_hide_the_run_of_its_name(tmp_path, monkeypatch, name):
    write_run("first")
    (tmp_path / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert find_run(name).read_status()["state"] == "finished"


def test_run_that_is_not_there_is_answered_with_where_to_look():
    with pytest.raises(RunError) as caught:
        find_run("third")
    assert str(caught.value) == (
        f"There is no run 'third', neither as a folder nor in '{get_runs_dir()}'. `python -m "
        "polyp_core runs` lists the runs there are; 'demo' is the model that ships."
    )


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError) as caught:
        find_run(str(tmp_path))
    assert str(caught.value) == (
        f"'{tmp_path}' is not a run: it has no readable config.json. Expected a folder that "
        "training has written. Choose another, or train anew."
    )


@pytest.mark.parametrize(
    ("get_dir", "name"),
    [
        (workspace.get_runs_dir, "runs"),
        (workspace.get_cache_dir, "cache"),
        (workspace.get_imports_dir, "imports"),
        (workspace.get_splits_dir, "splits"),
        (workspace.get_demo_data_dir, "demo-data"),
    ],
)
def test_everything_lies_in_the_workspace_and_asking_makes_nothing(workspace_dir, get_dir, name):
    assert get_dir() == workspace_dir / name
    assert not workspace_dir.exists()
