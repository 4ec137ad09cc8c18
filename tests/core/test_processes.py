import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from polyp_core.errors import RunError
from polyp_core.processes import CHILD_LOG, make_directory, run_child, start_process
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


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Writes the module `child`, which runs this and finds its folder in `folder`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(text):
        (tmp_path / "child.py").write_text(
            "import os, subprocess, sys, time\n"
            "from pathlib import Path\n"
            "from polyp_core.processes import end_with_parent, say_stage\n"
            f"folder = Path(sys.argv[1])\n{text}\n"
        )
        return "child", tmp_path

    return write


# A grandchild, its number in a file.
_START = (
    "started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "(folder / 'new').write_text(str(started.pid))\n(folder / 'new').rename(folder / 'started')\n"
)


def is_alive(path):
    """Whether the process whose number is in a file is there, and no mere entry of a dead one."""
    try:
        state = Path(f"/proc/{path.read_text()}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_a_child_says_what_it_does_and_how_it_ended(child):
    said = []
    module, folder = child(
        "print(os.environ['COLOUR'], os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "say_stage(folder, 'Counting')\ntime.sleep(0.3)\nsys.exit(7)"
    )
    assert run_child(module, folder, said.append, 60, COLOUR="grey") == 7
    assert said == ["Counting"]
    assert (folder / CHILD_LOG).read_text() == "grey -1\n"
    assert run_child("nowhere", folder, said.append, 60) == 1
    assert said == ["Counting"]  # nothing of an earlier child


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Needs /proc.")
@pytest.mark.parametrize(
    ("then", "limit_s", "code"), [("sys.exit(0)", 60, 0), ("time.sleep(60)", 2, None)]
)
def test_whatever_a_child_has_started_is_gone_with_it(child, then, limit_s, code):
    module, folder = child(_START + then)
    assert run_child(module, folder, print, limit_s) == code
    wait_until(lambda: not is_alive(folder / "started"), "the grandchild to end", 10)


def test_who_listens_can_cancel_a_child(child):
    module, folder = child("say_stage(folder, 'Counting')\ntime.sleep(60)")

    def cancel(stage):
        raise KeyboardInterrupt(stage)

    with pytest.raises(KeyboardInterrupt, match="Counting"):
        run_child(module, folder, cancel, 60)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Needs /proc.")
def test_a_child_and_all_it_has_started_end_with_who_started_it(child):
    module, folder = child(
        f"end_with_parent()\n{_START}(folder / 'own').write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c",
         "import sys; from pathlib import Path; from polyp_core.processes import run_child; "
         f"run_child({module!r}, Path(sys.argv[1]), print, 60)", str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path.cwd())])},
    )  # fmt: skip
    wait_until((folder / "own").is_file, "the child to start")
    wait_until(lambda: is_alive(folder / "own"), "the child to be there")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for name in ("own", "started"):
        wait_until(lambda name=name: not is_alive(folder / name), f"{name} to end", 10)


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
