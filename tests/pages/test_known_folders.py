"""Which folders are offered again: never more, never elsewhere, never half a copy."""

import os

import pytest

from polyp_core import workspace
from polyp_core.runs import Run
from tests.conftest import make_config
from ui.known_folders import list_known_folders


def use(folder, number):
    """A run that was trained on a folder, the later the higher its number."""
    run = Run(workspace.get_runs_dir() / f"run-{number:02}")
    run.directory.mkdir(parents=True)
    run.write_json("config.json", {"task": "train", "settings": make_config(folder).to_dict()})
    run.write_json("status.json", {"state": "failed", "message": "", "started_at": float(number)})


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / f"images-{number:02}" for number in range(12)]
    for number, folder in enumerate(found):
        folder.mkdir()
        use(folder, number)
    return [str(folder) for folder in found]


def test_ten_of_the_latest_are_offered_and_those_that_are_gone_are_not(folders):
    assert list_known_folders() == folders[:1:-1]
    os.rmdir(folders[11])
    assert list_known_folders(folders[10]) == folders[9::-1]


def test_imported_ones_come_first_and_half_a_copy_never(folders):
    for name in ("whole", ".importing-1"):
        (workspace.get_imports_dir() / name).mkdir(parents=True)
    (workspace.get_imports_dir() / "loose.png").touch()
    whole = str((workspace.get_imports_dir() / "whole").absolute())
    assert list_known_folders() == [whole, *folders[:2:-1]]


def test_none_outside_of_the_roots_and_none_on_another_computer_is_looked_for(
    folders, tmp_path, monkeypatch
):
    use("//host/share/images", 20)
    assert list_known_folders() == folders[:1:-1]
    monkeypatch.setenv("POLYP_DATA_ROOTS", folders[3])
    assert list_known_folders() == [folders[3]]


def test_what_is_damaged_is_passed_over_and_the_demo_images_come_last(folders, demo_data):
    (workspace.get_runs_dir() / "run-11" / "config.json").write_text("{")
    demo = str(demo_data.absolute())
    assert list_known_folders() == [*folders[10:0:-1], demo]
    assert demo not in list_known_folders(demo)
