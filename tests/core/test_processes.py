import json
import os
import sys

import pytest

from polyp_core.errors import RunError
from polyp_core.processes import make_directory, start_process
from tests.conftest import wait_until


def test_a_process_has_its_output_in_the_folder_and_finds_the_project(tmp_path, monkeypatch):
    (tmp_path / "speaking.py").write_text(
        "import json, os, sys, polyp_core\n"
        "print(json.dumps([sys.argv[1], os.environ['COLOUR'], os.getsid(0) == os.getpid()]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start_process("speaking", tmp_path, COLOUR="grey")
    log = tmp_path / "worker.log"
    wait_until(lambda: log.read_text().count("\n") == 2, "the process to speak")
    asked, said = log.read_text().splitlines()
    assert asked.startswith("--- asked to start at ")
    # In a session of its own, so that it outlives the server's.
    assert json.loads(said) == [str(tmp_path.resolve()), "grey", True]


def test_folders_without_a_name_are_called_after_data_and_time(tmp_path):
    first, second = (make_directory(tmp_path, None, "my data/x-thesis", "run") for _ in range(2))
    assert first.name.startswith("my-data-x-thesis-20")
    assert second != first
    assert first.is_dir()
    assert second.is_dir()


def test_a_place_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as raised:
        make_directory(tmp_path / "file", "mine", "x", "study")
    reason = "it is a file" if sys.platform == "win32" else os.strerror(20)
    assert str(raised.value) in {
        f"No study can be written to '{tmp_path / 'file'}' ({why}). Expected a folder, or a place "
        "where one can be made. Choose another."
        for why in (reason, "it is a file")
    }
