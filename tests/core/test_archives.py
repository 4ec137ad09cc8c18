"""What may be in a zip; the files that import one hold more: tests/core/test_importing.py."""

import random
import tracemalloc

import pytest

from polyp_core import archives
from polyp_core.archives import find_place, open_members
from polyp_core.errors import DatasetError
from tests.core.test_importing import CLASSES, CRC, make_entry, pack, patch_directory


def refuse_zip(packed, **options):
    with pytest.raises(DatasetError) as caught, open_members(packed, "a.zip", **options):
        pytest.fail("it was opened")
    text = str(caught.value)
    assert "Expected" in text
    assert text.endswith(".")
    return text


def test_the_members_of_a_zip_are_read_one_by_one_into_memory():
    noise = random.Random(0).randbytes(1_200_000)  # two blocks
    files = CLASSES | {"calcified/noise.png": noise, ".hidden": b"x"}
    with open_members(pack(files), "polyps.zip") as members:
        read = {member.entry: b"".join(member.read()) for member in members}
        assert read == files
        assert [member.size for member in members] == [len(data) for data in files.values()]
        assert [member.entry for member in members if not member.place] == [".hidden"]


def test_a_zip_read_into_memory_is_checked_before_the_first_member():
    entries = [("a.png", b"1"), (make_entry("link", mode=0o120777), b"/etc/passwd")]
    with pytest.raises(DatasetError, match="symbolic link"), open_members(pack(entries), "a.zip"):
        pytest.fail("it was opened")


def test_a_member_that_is_damaged_is_refused_when_it_is_read():
    packed = patch_directory(pack({"a.png": b"one", "b.png": b"two"}), CRC, "<L", 1)
    with open_members(packed, "a.zip") as (damaged, sound):
        with pytest.raises(DatasetError, match="'a.png' is damaged in the zip"):
            b"".join(damaged.read())
        assert b"".join(sound.read()) == b"two"


def test_a_path_is_told_by_folder_and_what_a_system_leaves_behind_is_left_out():
    assert find_place("train\\a/1.png") == ("train", "a", "1.png")
    assert find_place("__MACOSX/1.png") == ()


# --- how much a zip may hold


def test_a_zip_of_just_as_many_files_as_allowed_is_opened():
    with open_members(pack(CLASSES), "a.zip", max_files=3) as members:
        assert len(members) == 3


def test_a_zip_of_too_many_files_is_refused_with_their_number():
    assert refuse_zip(pack(CLASSES | {"folder/": b""}), max_files=3) == (
        "'a.zip' holds 4 files and folders. Expected at most 3. Pack fewer into one zip, or give "
        "the path of a folder on this computer."
    )


def test_too_many_files_are_refused_before_the_table_of_contents_is_taken_apart(monkeypatch):
    packed = pack({f"{number}.png": b"" for number in range(5000)})

    def fail(*arguments, **options):
        raise AssertionError("an entry was taken apart")

    monkeypatch.setattr(archives.zipfile, "ZipInfo", fail)
    tracemalloc.start()
    assert "holds 5000 files and folders" in refuse_zip(packed, max_files=4999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_zip_that_lies_about_the_number_of_its_files_is_counted():
    packed = pack(CLASSES)
    end = packed.getvalue().rindex(b"PK\5\6")
    packed.getbuffer()[end + 8 : end + 12] = b"\1\0\1\0"
    assert "holds 3 files and folders" in refuse_zip(packed, max_files=2)


def test_the_number_of_files_has_a_limit_wherever_none_is_named():
    assert open_members.__wrapped__.__kwdefaults__ == {"max_files": archives.MAX_FILES}


def test_a_table_of_contents_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "BLOCK_BYTES", 1000)
    text = refuse_zip(pack({"a/" * 8 + f"{number:>0200}": b"" for number in range(8)}), max_files=2)
    assert "its table of contents takes 0.0 MiB. Expected at most 2 files and folders" in text
