import hashlib
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyp_core import scan
from polyp_core.errors import ImageError
from polyp_core.measures import measure_picture
from polyp_core.scan import Facts, scan_files
from tests.conftest import write_image
from tests.core.dicom_files import RAMP, write_dicom

NUM_FILES = 12


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(NUM_FILES):
        write_image(tmp_path / "data" / f"{number:02}.png", is_bright_spot=False, seed=number)
    return tmp_path / "data"


@pytest.fixture
def cache_dir(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of all files that are opened from now on."""
    names: list[str] = []
    read_file = scan.read_file

    def note(path: Path, name: str) -> bytes:
        names.append(name)
        return read_file(path, name)

    monkeypatch.setattr(scan, "read_file", note)
    return names


def list_paths(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def spell(results: list) -> list:
    """Results with their descriptors as bytes and type, so that == compares every bit."""
    return [
        result
        if isinstance(result, str)
        else [
            asdict(facts)
            | {"measures": {
                name: (value.tobytes(), value.dtype) if isinstance(value, np.ndarray)
                else (value, type(value))
                for name, value in asdict(facts.measures).items()
            }}
            for facts in result
        ]
        for result in results
    ]  # fmt: skip


def test_facts_are_those_of_the_file_and_its_picture(folder):
    data = (folder / "03.png").read_bytes()
    ((facts,),) = scan_files(folder, ["03.png"])
    pixels = np.asarray(Image.open(folder / "03.png"))[..., np.newaxis]
    expected = Facts(
        frame=0, width_px=40, height_px=40, sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data), patient="", measures=measure_picture(pixels),
    )  # fmt: skip
    assert spell([[facts]]) == spell([[expected]])


def test_results_stand_in_the_order_asked_for(folder):
    paths = list_paths(folder)[::-1]
    hashes = [hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in paths]
    assert [result[0].sha256 for result in scan_files(folder, paths)] == hashes


def test_the_second_scan_opens_no_file(folder, cache_dir, opened):
    paths = list_paths(folder)
    first = scan_files(folder, paths, cache_dir)
    assert sorted(opened) == paths
    opened.clear()
    told = []
    again = scan_files(folder, paths, cache_dir, lambda *counts: told.append(counts))
    assert (opened, told) == ([], [])
    assert spell(again) == spell(first)


def test_without_a_cache_nothing_is_kept(folder, opened, tmp_path):
    scan_files(folder, list_paths(folder))
    scan_files(folder, list_paths(folder))
    assert len(opened) == 2 * NUM_FILES
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("what", ["size", "time"])
def test_a_changed_file_alone_is_read_again(folder, cache_dir, opened, what):
    scan_files(folder, list_paths(folder), cache_dir)
    opened.clear()
    path, times = folder / "05.png", (folder / "05.png").stat()
    if what == "size":
        write_image(path, is_bright_spot=False, seed=99, size_px=41)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    results = scan_files(folder, list_paths(folder), cache_dir)
    assert opened == ["05.png"]
    assert results[5][0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    opened.clear()
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(results)
    assert opened == []


def test_a_file_that_is_gone_is_reported_and_not_remembered_as_gone(folder, cache_dir):
    paths = list_paths(folder)
    first = scan_files(folder, paths, cache_dir)
    moved = (folder / "05.png").rename(folder.parent / "05.png")
    assert scan_files(folder, paths, cache_dir)[5] == (
        "Cannot open '05.png': No such file or directory. Check that the file is there and may be "
        "read."
    )
    moved.rename(folder / "05.png")
    assert spell(scan_files(folder, paths, cache_dir)) == spell(first)


def test_a_file_no_longer_asked_for_is_left_out(folder, cache_dir):
    scan_files(folder, list_paths(folder), cache_dir)
    (folder / "05.png").unlink()
    assert len(scan_files(folder, list_paths(folder), cache_dir)) == NUM_FILES - 1


def test_a_file_that_could_not_be_read_is_tried_again(folder, cache_dir, opened, monkeypatch):
    """What kept it from being read may have been mended without a change of the file."""
    (folder / "05.png").write_text("no image")
    read_file = scan.read_file

    def refuse(path: Path, name: str) -> bytes:
        if name == "06.png":
            raise ImageError("A package is missing.")
        return read_file(path, name)

    with monkeypatch.context() as context:
        context.setattr(scan, "read_file", refuse)
        first = scan_files(folder, list_paths(folder), cache_dir)
    assert first[5].startswith("'05.png' is not an image that can be read")
    assert first[6] == "A package is missing."
    opened.clear()
    again = scan_files(folder, list_paths(folder), cache_dir)
    assert sorted(opened) == ["05.png", "06.png"]
    assert again[5] == first[5]
    assert again[6][0].sha256 == hashlib.sha256((folder / "06.png").read_bytes()).hexdigest()


def test_a_cancelled_scan_keeps_what_it_did_and_the_next_one_goes_on(folder, cache_dir, opened):
    def cancel(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_files(folder, list_paths(folder), cache_dir, cancel)
    opened.clear()
    told = []
    results = scan_files(folder, list_paths(folder), cache_dir, lambda *c: told.append(c))
    assert sorted(opened) == [f"{number:02}.png" for number in range(7, NUM_FILES)]
    assert told == [(done, NUM_FILES) for done in range(8, NUM_FILES + 1)]
    assert spell(results) == spell(scan_files(folder, list_paths(folder)))


def test_a_cancelled_scan_does_not_read_on_behind_the_scenes(tmp_path, monkeypatch):
    """All files but the first wait until what has not begun is cancelled, then may go on."""
    opened, is_cancelled = [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            is_cancelled.set()
            super().shutdown(wait=wait)

    def read_slowly(path: Path, name: str) -> bytes:
        opened.append(name)
        if name != "0.png":
            is_cancelled.wait(timeout=20)  # only a scan that is not cancelled waits so long
        return b""

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scan, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(scan, "read_file", read_slowly)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        scan_files(tmp_path, [f"{number}.png" for number in range(6)], None, cancel)
    assert set(threading.enumerate()) == before
    assert {"0.png"} <= set(opened) <= {"0.png", "1.png", "2.png"}  # two threads: two at a time


def test_progress_ends_at_the_total(folder):
    told = []
    scan_files(folder, list_paths(folder), None, lambda *counts: told.append(counts))
    assert told == [(done, NUM_FILES) for done in range(1, NUM_FILES + 1)]


def test_two_folders_with_the_same_names_are_not_mixed(tmp_path, cache_dir):
    for name, grey in (("a", 10), ("b", 20)):
        (tmp_path / name).mkdir()
        Image.new("L", (9, 9), grey).save(tmp_path / name / "x.png", compress_level=0)
        os.utime(tmp_path / name / "x.png", (1, 1))
    sizes = [(tmp_path / name / "x.png").stat().st_size for name in "ab"]
    assert sizes[0] == sizes[1]  # the same size and time: only the folder tells them apart
    for _ in range(2):
        greys = [scan_files(tmp_path / n, ["x.png"], cache_dir)[0][0].measures.brightness
                 for n in "ab"]  # fmt: skip
        assert greys == [10, 20]


# Where the cache is damaged


@pytest.mark.parametrize("place", ["all", "middle", "cut", "empty"])
def test_a_damaged_database_is_made_anew(folder, cache_dir, place, opened):
    first = scan_files(folder, list_paths(folder), cache_dir)
    database = cache_dir / "pictures.sqlite"
    data = database.read_bytes()
    garbage = np.random.default_rng(0).bytes(len(data))
    database.write_bytes({
        "all": garbage, "middle": data[:4096] + garbage[4096:], "cut": data[: len(data) // 2],
        "empty": b"",
    }[place])  # fmt: skip
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    opened.clear()
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    assert opened == []


def test_what_an_older_version_kept_is_read_again(folder, cache_dir, opened, monkeypatch):
    first = scan_files(folder, list_paths(folder), cache_dir)
    opened.clear()
    monkeypatch.setattr(scan, "_VERSION", 999)
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    assert len(opened) == NUM_FILES


def test_a_database_that_another_process_holds_is_done_without(folder, cache_dir, monkeypatch):
    first = scan_files(folder, list_paths(folder), cache_dir)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **_: connect(path, timeout=0))
    with closing(connect(cache_dir / "pictures.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    assert (cache_dir / "pictures.sqlite").stat().st_size > 10_000


def test_a_long_scan_does_not_keep_others_from_writing(folder, cache_dir):
    """Another scan writes while this one is under way."""
    (folder.parent / "other").mkdir()
    write_image(folder.parent / "other" / "x.png", is_bright_spot=False, seed=1)

    def scan_other(done: int, total: int) -> None:
        if done == 5:
            scan_files(folder.parent / "other", ["x.png"], cache_dir)

    scan_files(folder, list_paths(folder), cache_dir, scan_other)
    with closing(sqlite3.connect(cache_dir / "pictures.sqlite")) as connection:
        (num_rows,) = connection.execute("SELECT count(*) FROM pictures").fetchone()
    assert num_rows == NUM_FILES + 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pictures SET descriptor = 'x' WHERE path = '07.png'",
        "UPDATE pictures SET descriptor = x'3c66342000' WHERE path = '07.png'",
        "UPDATE pictures SET sha256 = CAST(x'ff' AS TEXT) WHERE path = '07.png'",
    ],
)
def test_rows_that_cannot_be_ours_are_read_anew(folder, cache_dir, damage, opened):
    first = scan_files(folder, list_paths(folder), cache_dir)
    with closing(sqlite3.connect(cache_dir / "pictures.sqlite")) as connection:
        connection.execute(damage)
        connection.commit()
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    opened.clear()
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)
    assert opened == []


def test_damage_that_is_met_in_writing_is_mended_for_the_next_time(folder, cache_dir, opened):
    paths = list_paths(folder)

    def damage(done: int, total: int) -> None:
        database = cache_dir / "pictures.sqlite"
        database.write_bytes(b"garbage" * 3000)

    first = scan_files(folder, paths, cache_dir, damage)
    assert spell(scan_files(folder, paths, cache_dir)) == spell(first)
    opened.clear()
    assert spell(scan_files(folder, paths, cache_dir)) == spell(first)
    assert opened == []


# Where nothing can be kept


@pytest.mark.parametrize("place", ["a file", "below a file", "a folder has the name"])
def test_a_place_that_cannot_be_written_is_done_without(folder, tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "full" / "pictures.sqlite").mkdir(parents=True)
    cache_dir = {
        "a file": tmp_path / "file", "below a file": tmp_path / "file" / "cache",
        "a folder has the name": tmp_path / "full",
    }[place]  # fmt: skip
    first = scan_files(folder, list_paths(folder))
    assert spell(scan_files(folder, list_paths(folder), cache_dir)) == spell(first)


def set_at_opening(monkeypatch, statement: str) -> None:
    connect = sqlite3.connect

    def connect_and_set(path: Path, **options: object) -> sqlite3.Connection:
        connection = connect(path, **options)
        connection.execute(statement)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_set)


def test_a_database_that_may_only_be_read_is_still_of_use(folder, cache_dir, opened, monkeypatch):
    paths = list_paths(folder)
    first = scan_files(folder, paths[:8], cache_dir)
    opened.clear()
    set_at_opening(monkeypatch, "PRAGMA query_only = 1")
    results = scan_files(folder, paths, cache_dir)
    assert sorted(opened) == paths[8:]  # on several threads
    assert spell(results[:8]) == spell(first)
    assert len(results) == NUM_FILES


def test_a_new_database_that_may_not_be_written_is_done_without(folder, cache_dir, monkeypatch):
    set_at_opening(monkeypatch, "PRAGMA query_only = 1")
    assert len(scan_files(folder, list_paths(folder), cache_dir)) == NUM_FILES


def test_a_full_disk_ends_keeping_but_not_the_scan(folder, cache_dir, monkeypatch):
    paths, told = list_paths(folder), []
    monkeypatch.setattr(scan, "_FILES_A_COMMIT", 2)
    with monkeypatch.context() as context:
        set_at_opening(context, "PRAGMA max_page_count = 5")
        first = scan_files(folder, paths, cache_dir, lambda *counts: told.append(counts))
    assert told[-1] == (NUM_FILES, NUM_FILES)
    assert (cache_dir / "pictures.sqlite").stat().st_size <= 5 * 4096
    assert spell(first) == spell(scan_files(folder, paths, cache_dir))


# What is no longer of use


def test_what_is_known_of_a_folder_goes_with_the_folder(folder, cache_dir, tmp_path, opened):
    def list_folders() -> list[str]:
        with closing(sqlite3.connect(cache_dir / "pictures.sqlite")) as connection:
            return [path for (path,) in connection.execute(
                "SELECT DISTINCT folder FROM pictures ORDER BY folder"
            )]  # fmt: skip

    (tmp_path / "other").mkdir()
    write_image(tmp_path / "other" / "x.png", is_bright_spot=False, seed=1)
    scan_files(folder, list_paths(folder), cache_dir)
    scan_files(tmp_path / "other", ["x.png"], cache_dir)
    assert list_folders() == [str(folder), str(tmp_path / "other")]
    (tmp_path / "other").rename(tmp_path / "moved")
    opened.clear()
    scan_files(folder, list_paths(folder), cache_dir)
    assert (list_folders(), opened) == ([str(folder)], [])


# DICOM


def test_a_dicom_file_gives_a_row_for_each_frame_with_one_patient(tmp_path, cache_dir, opened):
    frames = np.stack([RAMP, RAMP[::-1], RAMP // 2])
    data = write_dicom(
        frames.tobytes(), NumberOfFrames=3, Rows=16, Columns=16, SamplesPerPixel=1,
        BitsAllocated=8, BitsStored=8, PatientID="Ada",
    )  # fmt: skip
    (tmp_path / "loop").write_bytes(data)
    for _ in range(2):
        (pictures,) = scan_files(tmp_path, ["loop"], cache_dir)
        assert [facts.frame for facts in pictures] == [0, 1, 2]
        assert {facts.patient for facts in pictures} == {pictures[0].patient}
        assert pictures[0].patient.startswith("dicom-")
        assert {facts.sha256 for facts in pictures} == {hashlib.sha256(data).hexdigest()}
        # The ramp holds every grey level once: its mean is 127.5, of its halves 63.5.
        means = [facts.measures.brightness for facts in pictures]
        assert means == pytest.approx([127.5, 127.5, 63.5])
    assert opened == ["loop"]


def test_a_damaged_frame_makes_the_whole_file_unreadable(tmp_path):
    data = write_dicom(
        RAMP.tobytes(), NumberOfFrames=3, Rows=16, Columns=16, SamplesPerPixel=1,
        BitsAllocated=8, BitsStored=8,
    )  # fmt: skip
    (tmp_path / "loop").write_bytes(data)
    (reason,) = scan_files(tmp_path, ["loop"])
    assert isinstance(reason, str)
    assert reason.startswith("'loop'")


# Hostile files


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_name_that_is_no_text_is_a_reason_and_no_crash(tmp_path, cache_dir):
    write_image(tmp_path / "a.png", is_bright_spot=False, seed=1)
    name = os.fsdecode(b"\xff.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    for _ in range(2):
        assert scan_files(tmp_path, [name], cache_dir) == [
            "The name of '\\udcff.png' is no UTF-8 text. Expected a name that every system can "
            "show. Rename the file."
        ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_with_an_image_s_name_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert scan_files(tmp_path, ["a.png"]) == [
        "'a.png' is no file but a pipe or a device. Expected an image file. Remove it."
    ]
