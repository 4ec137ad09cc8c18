import os
import threading
import time

import pytest

from polyp_core import files
from polyp_core.errors import RunError
from polyp_core.files import change_alone, set_aside, sweep, write_atomically


@pytest.mark.parametrize(("content", "expected"), [("ü", b"\xc3\xbc"), (b"\x00\n", b"\x00\n")])
@pytest.mark.parametrize("is_durable", [True, False])
def test_text_and_bytes_are_written_as_they_are(tmp_path, content, expected, is_durable):
    path = tmp_path / "file"
    write_atomically(path, content, is_durable=is_durable)
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["file"]


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


def test_one_changes_a_file_at_a_time(tmp_path):
    path = tmp_path / "new" / "count.txt"

    def add():
        for _ in range(20):
            with change_alone(path, "count", makes_folder=True):
                count = int(path.read_text()) if path.is_file() else 0
                time.sleep(0.001)
                path.write_text(str(count + 1))

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "60"


def test_a_change_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    path = tmp_path / "new" / "count.txt"
    with (
        pytest.raises(RunError, match="The count cannot be written to .*No such file"),
        change_alone(path, "count", makes_folder=False),
    ):
        pytest.fail("a folder that somebody has deleted came back")
    assert not path.parent.exists()
    monkeypatch.setattr(files, "_WAIT_S", 0.1)
    with (
        change_alone(path, "count", makes_folder=True),
        pytest.raises(RunError, match="another change takes too long"),
        change_alone(path, "count", makes_folder=True),
    ):
        pytest.fail("two at once")
    with (
        pytest.raises(RunError, match="disk full"),
        change_alone(path, "count", makes_folder=True),
    ):
        raise OSError(28, "disk full")


def test_damaged_files_are_kept_under_names_of_their_own(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "marks.json").write_text(content)
        set_aside(tmp_path / "marks.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "marks.damaged-1.json": "first", "marks.damaged-2.json": "second",
    }  # fmt: skip


def test_only_what_is_half_made_and_older_than_a_day_is_swept(tmp_path):
    for name, age_h in ((".making-old", 25), (".making-new", 23), ("old", 25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
        made = time.time() - 3600 * age_h
        os.utime(tmp_path / name, (made, made))
    sweep(tmp_path, ".making-*")
    assert sorted(os.listdir(tmp_path)) == [".making-new", "old"]
