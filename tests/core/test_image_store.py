import os
import threading
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from polyp_core import dicom, image_store
from polyp_core.config import DataConfig, ModelConfig, RunConfig
from polyp_core.dataset import read_index
from polyp_core.errors import ConfigError, DatasetError
from polyp_core.image_store import get_limit_bytes, open_images
from polyp_core.images import decode_image, fit_image
from tests.core.dicom_files import RAMP, write_dicom

CONFIG = RunConfig(model=ModelConfig(image_size_px=32, channels=1))
SIZE_BYTES = 20 * 32 * 32  # of the twenty images of data_dir


@pytest.fixture
def index(data_dir):
    return read_index(DataConfig(folder=str(data_dir)))


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / "cache"


def list_files(cache_dir, ending=".npy"):
    return sorted((cache_dir / "decoded").glob(f"*{ending}"))


def watch_reading(monkeypatch):
    """The files that are read from now on."""
    opened, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (opened.append(p), read_bytes(p))[1])
    return opened


def test_row_i_is_image_i_as_the_one_decoder_gives_it(index, cache_dir):
    told = []
    images = open_images(index, CONFIG, cache_dir, lambda *counts: told.append(counts))
    assert (images.shape, images.dtype) == ((20, 32, 32, 1), np.uint8)
    for image, path in zip(images, index.images["path"], strict=True):
        assert np.array_equal(image, fit_image(decode_image(index.folder / path), 32, 1))
    assert told == [(number, 20) for number in range(1, 21)]


def test_the_images_lie_on_the_disk_and_cannot_be_changed(index, cache_dir):
    images = open_images(index, CONFIG, cache_dir)
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_a_second_opening_reads_no_image_at_all(index, cache_dir, monkeypatch):
    first = open_images(index, CONFIG, cache_dir)
    opened, told = watch_reading(monkeypatch), []
    again = open_images(index, CONFIG, cache_dir, lambda *counts: told.append(counts))
    assert np.array_equal(first, again)
    assert (opened, told) == ([], [])
    # Neither another split nor another augmentation or training needs other pixels.
    other = replace(index, images=index.images.assign(split="train"))
    training = CONFIG.with_settings(["training.epochs=7", "augmentation.zoom=0"])
    open_images(other, training, cache_dir)
    assert opened == []


@pytest.mark.parametrize(
    "setting",
    ["model.image_size_px=40", "model.channels=3", "data.region=box", "data.region=automatic"],
)
def test_another_region_or_size_is_decoded_apart(setting, index, cache_dir):
    open_images(index, CONFIG, cache_dir)
    config = CONFIG.with_settings([setting])
    size_px, channels = config.model.image_size_px, config.model.channels
    images = open_images(index, config, cache_dir)
    assert images.shape == (20, size_px, size_px, channels)
    assert len(list_files(cache_dir)) == 2


def test_another_version_of_a_file_is_decoded_apart(index, cache_dir):
    open_images(index, CONFIG, cache_dir)
    path = index.folder / index.images["path"][0]
    path.write_bytes((index.folder / index.images["path"][1]).read_bytes())
    changed = read_index(DataConfig(folder=str(index.folder)))
    images = open_images(changed, CONFIG, cache_dir)
    assert np.array_equal(images[0], images[1])
    assert len(list_files(cache_dir)) == 2


def test_the_region_is_cut_before_the_picture_is_fitted(index, cache_dir):
    data = DataConfig(region="box", region_box=(25, 0, 75, 50))
    images = open_images(index, replace(CONFIG, data=data), cache_dir)
    for image, path in zip(images, index.images["path"], strict=True):
        pixels = decode_image(index.folder / path)  # 40 × 40 px: columns 10 to 30, rows 0 to 20
        assert np.array_equal(image, fit_image(pixels[:20, 10:30], 32, 1))


def test_a_file_is_read_and_parsed_once_however_many_of_its_frames_are_wanted(
    tmp_path, cache_dir, monkeypatch
):
    for number, name in enumerate(("calcified", "non-calcified")):
        (tmp_path / "dicom" / name).mkdir(parents=True)
        for file in range(4):
            frames = np.stack([np.roll(RAMP, 7 * file + n, axis=number) for n in range(3)])
            (tmp_path / "dicom" / name / f"{file}.dcm").write_bytes(
                write_dicom(
                    frames.tobytes(), NumberOfFrames=3, Rows=16, Columns=16, SamplesPerPixel=1,
                    BitsAllocated=8, BitsStored=8, PatientID=f"{name}{file}",
                )
            )  # fmt: skip
    index = read_index(DataConfig(folder=str(tmp_path / "dicom")))
    # Shuffled, so that rows of one file stand apart.
    shuffled = index.images.sample(frac=1, random_state=1).reset_index(drop=True)
    index = replace(index, images=shuffled)
    opened = watch_reading(monkeypatch)
    parsed, read_picture = [], dicom.read_picture
    monkeypatch.setattr(
        dicom, "read_picture", lambda *args: (parsed.append(args), read_picture(*args))[1]
    )
    images = open_images(index, CONFIG, cache_dir)
    monkeypatch.undo()
    assert len(opened) == len(set(opened)) == len(parsed) == 8
    for image, row in zip(images, index.images.itertuples(), strict=True):
        expected = decode_image(index.folder / row.path, None, row.frame)
        assert np.array_equal(image, fit_image(expected, 32, 1))


def test_a_file_that_is_gone_names_itself_and_leaves_nothing_behind(index, cache_dir):
    path = index.images["path"][3]
    (index.folder / path).unlink()
    with pytest.raises(DatasetError) as raised:
        open_images(index, CONFIG, cache_dir)
    assert str(raised.value) == (
        f"The image '{path}' of the run's index is gone from '{index.folder}' (No such file or "
        "directory). Expected the files that were there when the run started. Put it back, or "
        "start a new run."
    )
    assert list_files(cache_dir) == list_files(cache_dir, ".part") == []


def test_a_file_that_has_changed_names_itself(index, cache_dir):
    path, other = index.images["path"][:2]
    (index.folder / path).write_bytes((index.folder / other).read_bytes())
    with pytest.raises(DatasetError) as raised:
        open_images(index, CONFIG, cache_dir)
    assert str(raised.value) == (
        f"The image '{path}' in '{index.folder}' has changed since the run started. Expected the "
        "same content. Put the old file back, or start a new run."
    )


def test_a_file_that_went_or_changed_after_it_was_decoded_is_told(index, cache_dir):
    first = np.array(open_images(index, CONFIG, cache_dir))
    gone, other, same = index.images["path"][:3]
    content = (index.folder / gone).read_bytes()
    (index.folder / gone).unlink()
    with pytest.raises(DatasetError, match="is gone from"):
        open_images(index, CONFIG, cache_dir)
    (index.folder / gone).write_bytes(content)
    before = (index.folder / other).read_bytes()
    (index.folder / other).write_bytes(content)
    with pytest.raises(DatasetError, match="has changed since the run started"):
        open_images(index, CONFIG, cache_dir)
    # Written anew with the same content it is still the same image.
    (index.folder / other).write_bytes(before)
    (index.folder / same).touch()
    assert np.array_equal(open_images(index, CONFIG, cache_dir), first)


def test_a_cancelled_decoding_leaves_nothing_and_the_next_one_begins_anew(index, cache_dir):
    def cancel(num_done, _):
        if num_done == 7:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        open_images(index, CONFIG, cache_dir, cancel)
    assert list_files(cache_dir) == list_files(cache_dir, ".part") == []
    assert open_images(index, CONFIG, cache_dir).all(axis=(1, 2, 3)).any()


def test_two_callers_decode_once(index, cache_dir):
    started, go_on, told, results = threading.Event(), threading.Event(), [], []

    def wait_at_the_first(num_done, _):
        told.append(num_done)
        started.set()
        go_on.wait(30)

    def open_for(on_progress):
        results.append(open_images(index, CONFIG, cache_dir, on_progress))

    first = threading.Thread(target=open_for, args=(wait_at_the_first,))
    second = threading.Thread(target=open_for, args=(lambda *_: told.append("second"),))
    first.start()
    assert started.wait(30)
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert told == list(range(1, 21))
    assert np.array_equal(*results)


def test_the_least_recently_used_goes_when_there_are_too_many(index, cache_dir, monkeypatch):
    monkeypatch.setenv("POLYP_CACHE_GB", str(3 * SIZE_BYTES / 1e9))
    sizes = [32, 31, 30]
    configs = [CONFIG.with_settings([f"model.image_size_px={size}"]) for size in sizes]
    paths = []
    for number, config in enumerate(configs):
        open_images(index, config, cache_dir)
        (new,) = set(list_files(cache_dir)) - set(paths)
        paths.append(new)
        os.utime(new.with_suffix(".lock"), (number, number))
    open_images(index, configs[0], cache_dir)  # used again: now the second is the oldest
    open_images(index, CONFIG.with_settings(["model.image_size_px=29"]), cache_dir)
    assert [path.exists() for path in paths] == [True, False, True]
    assert sum(path.stat().st_size for path in list_files(cache_dir)) <= get_limit_bytes()


def test_what_is_deleted_stays_readable_for_whoever_has_it_open(index, cache_dir, monkeypatch):
    images = open_images(index, CONFIG, cache_dir)
    before = np.array(images)
    monkeypatch.setenv("POLYP_CACHE_GB", "0")
    open_images(index, CONFIG.with_settings(["model.image_size_px=30"]), cache_dir)
    assert len(list_files(cache_dir)) == 1
    assert np.array_equal(images, before)


def test_what_a_killed_worker_left_is_cleared_but_not_what_another_one_writes(index, cache_dir):
    folder = cache_dir / "decoded"
    folder.mkdir(parents=True)
    (folder / "dead.part").write_bytes(b"x")
    (folder / "busy.part").write_bytes(b"x")
    with FileLock(folder / "busy.lock"):
        open_images(index, CONFIG, cache_dir)
        assert [path.name for path in list_files(cache_dir, ".part")] == ["busy.part"]


def test_what_is_in_use_counts_even_where_it_cannot_be_deleted(index, cache_dir, monkeypatch):
    monkeypatch.setenv("POLYP_CACHE_GB", str(2.1 * SIZE_BYTES / 1e9))
    for number, size in enumerate((32, 31)):
        open_images(index, CONFIG.with_settings([f"model.image_size_px={size}"]), cache_dir)
        (newest,) = [path for path in list_files(cache_dir) if find_last_use(path) > 10]
        os.utime(newest.with_suffix(".lock"), (number, number))
    oldest, newer = sorted(list_files(cache_dir), key=find_last_use)
    with FileLock(oldest.with_suffix(".lock")):  # somebody is just opening it
        open_images(index, CONFIG.with_settings(["model.image_size_px=30"]), cache_dir)
    assert (oldest.exists(), newer.exists()) == (True, False)


def find_last_use(path):
    return path.with_suffix(".lock").stat().st_mtime


def fill_disk(monkeypatch, cache_dir, free_bytes):
    """A disk with so much room, whose every decoded file gives a megabyte back when it goes."""
    usage, before = namedtuple("Usage", "total used free"), len(list_files(cache_dir))

    def measure(folder):
        assert folder == cache_dir / "decoded"
        num_deleted = before - len(list_files(cache_dir))
        return usage(0, 0, free_bytes + num_deleted * 1_000_000)

    monkeypatch.setattr(image_store.shutil, "disk_usage", measure)


def test_the_least_recently_used_goes_when_the_disk_has_no_room(index, cache_dir, monkeypatch):
    configs = [CONFIG.with_settings([f"model.image_size_px={size}"]) for size in (31, 30)]
    open_images(index, configs[0], cache_dir)
    (old,) = list_files(cache_dir)
    os.utime(old.with_suffix(".lock"), (1, 1))
    open_images(index, configs[1], cache_dir)
    (new,) = set(list_files(cache_dir)) - {old}
    fill_disk(monkeypatch, cache_dir, SIZE_BYTES - 1)
    open_images(index, CONFIG, cache_dir)
    assert (old.exists(), new.exists()) == (False, True)


def test_nothing_goes_while_the_disk_has_room(index, cache_dir, monkeypatch):
    open_images(index, CONFIG.with_settings(["model.image_size_px=31"]), cache_dir)
    fill_disk(monkeypatch, cache_dir, SIZE_BYTES)
    open_images(index, CONFIG, cache_dir)
    assert len(list_files(cache_dir)) == 2


def damage_end(path):
    os.truncate(path, path.stat().st_size - 1)


def damage_start(path):
    with path.open("r+b") as file:
        file.write(b"\0" * 80)


@pytest.mark.parametrize(
    "damage", [damage_end, damage_start, lambda path: os.truncate(path, 0)],
    ids=["cut off", "overwritten", "empty"],
)  # fmt: skip
def test_what_is_damaged_is_decoded_anew(index, cache_dir, damage):
    expected = np.array(open_images(index, CONFIG, cache_dir))
    (path,) = list_files(cache_dir)
    damage(path)
    assert np.array_equal(open_images(index, CONFIG, cache_dir), expected)
    assert list_files(cache_dir) == [path]


@pytest.mark.parametrize("package", ["pillow", "pydicom", "opencv-python-headless"])
def test_another_version_of_what_decodes_is_decoded_apart(index, cache_dir, monkeypatch, package):
    open_images(index, CONFIG, cache_dir)
    known = image_store.find_version
    monkeypatch.setattr(
        image_store, "find_version", lambda name: "0.1" if name == package else known(name)
    )
    open_images(index, CONFIG, cache_dir)
    assert len(list_files(cache_dir)) == 2


@pytest.mark.parametrize("text", ["much", "", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_told(index, cache_dir, monkeypatch, text):
    monkeypatch.setenv("POLYP_CACHE_GB", text)
    with pytest.raises(ConfigError) as raised:
        open_images(index, CONFIG, cache_dir)
    assert str(raised.value) == (
        "The limit of the decoded images cannot be used. Expected a number of gigabytes, 0 or "
        "more. Set the environment variable POLYP_CACHE_GB to one, such as 20, or leave it out. "
        f"Received: POLYP_CACHE_GB={text!r}"
    )


def test_the_limit_is_twenty_gigabytes_unless_it_is_set(monkeypatch):
    monkeypatch.delenv("POLYP_CACHE_GB", raising=False)
    assert get_limit_bytes() == 20_000_000_000
    monkeypatch.setenv("POLYP_CACHE_GB", "0.5")
    assert get_limit_bytes() == 500_000_000


def test_files_are_decoded_a_few_at_a_time(index, cache_dir, monkeypatch):
    """However many there are, no more than so many wait in memory to be written."""
    monkeypatch.setattr(image_store, "_FILES_AT_ONCE", 3)
    opened, waiting = watch_reading(monkeypatch), []
    open_images(index, CONFIG, cache_dir, lambda done, _: waiting.append(len(opened) - done))
    assert max(waiting) < 3
    assert len(opened) == 20
