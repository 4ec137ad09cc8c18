"""The near-copies that were found are kept; where they cannot be, nothing breaks."""

import os
from pathlib import Path

import numpy as np
import pytest

from polyp_core import audit
from polyp_core.audit import find_pairs
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from tests.conftest import write_image


@pytest.fixture
def index(tmp_path) -> Index:
    for number, place in enumerate(("train/a", "train/b", "validation/a", "validation/b")):
        path = tmp_path / "data" / place / "x.png"
        write_image(path, is_bright_spot=False, seed=min(number, 2))  # the last two are equal
    return read_index(DataConfig(folder=str(tmp_path / "data")))


@pytest.mark.parametrize("place", ["file", "file/cache"])
def test_a_place_that_cannot_be_written_is_done_without(index, tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    assert find_pairs(index, tmp_path / place).tolist() == [[2, 3]]


def test_a_full_disk_leaves_nothing_half_written(index, tmp_path, monkeypatch):
    def write_half(path: Path, pairs: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", write_half)
    assert find_pairs(index, tmp_path / "cache").tolist() == [[2, 3]]
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_newest_twenty_are_kept(index, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    for number in range(25):  # of an older version as well
        (folder / f"pairs-0-{number}.npy").write_bytes(b"old")
        os.utime(folder / f"pairs-0-{number}.npy", (number, number))
    (folder / "pictures.sqlite").write_bytes(b"")
    first = find_pairs(index, folder)
    names = {path.name for path in folder.iterdir()}
    assert {f"pairs-0-{number}.npy" for number in range(6, 25)} | {"pictures.sqlite"} < names
    assert len(names) == 21
    monkeypatch.setattr(audit, "find_near_duplicates", lambda *_: pytest.fail("compared again"))
    assert np.array_equal(find_pairs(index, folder), first)
