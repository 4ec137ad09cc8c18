import os

import pytest

from polyp_core.files import write_atomically


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
