import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyp_core import dicom
from polyp_core.augmentation import augment_image
from polyp_core.config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError
from polyp_core.images import decode_image, fit_image
from polyp_core.pipeline import TrainingBatches, load_images
from tests.core.dicom_files import RAMP, write_dicom

CONFIG = RunConfig(model=ModelConfig(image_size_px=32, channels=1))
AUGMENTATION = AugmentConfig()


@pytest.fixture
def index(data_dir):
    return read_index(DataConfig(folder=str(data_dir)))


def make_batches(index, augmentation=AUGMENTATION, batch_size=4, config=CONFIG):
    rows = index.select("train")
    return rows, TrainingBatches(
        images=load_images(index, rows, config),
        labels=rows["label"].to_numpy(),
        image_numbers=rows.index.to_numpy(),
        augmentation=augmentation,
        batch_size=batch_size,
        seed=11,
    )


def test_the_preview_is_byte_for_byte_what_the_batch_holds(index):
    """What the data page draws: decode, fit, augment with (seed, epoch, row of the index)."""
    rows, batches = make_batches(index)
    preview = {
        augment_image(
            fit_image(decode_image(index.folder / row.path), 32, 1),
            AUGMENTATION,
            seed=11,
            epoch=5,
            image_number=row.Index,
        ).tobytes()
        for row in rows.itertuples()
    }
    trained = {image.tobytes() for images, _ in batches.iterate_epoch(5) for image in images}
    assert len(preview) == len(rows)
    assert trained == preview


def test_every_image_comes_once_an_epoch_with_its_own_label(index):
    rows, batches = make_batches(index, augmentation=None)
    label_of = dict(zip((i.tobytes() for i in batches.images), rows["label"], strict=True))
    seen = [
        (image.tobytes(), float(label))
        for images, labels in batches.iterate_epoch(1)
        for image, label in zip(images, labels[:, 0], strict=True)
    ]
    assert sorted(image for image, _ in seen) == sorted(label_of)
    assert all(label_of[image] == label for image, label in seen)


def test_the_last_batch_holds_what_is_left(index):
    rows, batches = make_batches(index, batch_size=5)
    sizes = [len(images) for images, _ in batches.iterate_epoch(1)]
    assert sizes == [5] * (len(rows) // 5) + [len(rows) % 5] * bool(len(rows) % 5)
    assert batches.num_steps == len(sizes)


def test_epochs_differ_and_the_same_epoch_repeats(index):
    _, batches = make_batches(index)
    first, again, second = (
        np.concatenate([images for images, _ in batches.iterate_epoch(epoch)])
        for epoch in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_an_epoch_that_is_left_early_leaves_no_thread_behind(index):
    _, batches = make_batches(index)
    before = threading.active_count()
    epoch = batches.iterate_epoch(1)
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_a_file_that_is_gone_names_itself(index):
    path = index.select("train")["path"].iloc[0]
    (index.folder / path).unlink()
    with pytest.raises(DatasetError) as raised:
        make_batches(index)
    assert str(raised.value) == (
        f"The image '{path}' of the run's index is gone from '{index.folder}' (No such file or "
        "directory). Expected the files that were there when the run started. Put it back, or "
        "start a new run."
    )


def test_a_file_that_has_changed_names_itself(index):
    path = index.select("train")["path"].iloc[0]
    other = index.select("train")["path"].iloc[1]
    (index.folder / path).write_bytes((index.folder / other).read_bytes())
    with pytest.raises(DatasetError) as raised:
        make_batches(index)
    assert str(raised.value) == (
        f"The image '{path}' in '{index.folder}' has changed since the run started. Expected the "
        "same content. Put the old file back, or start a new run."
    )


def test_the_region_is_cut_before_the_picture_is_fitted(index):
    data = DataConfig(region="box", region_box=(25, 0, 75, 50))
    config = replace(CONFIG, data=data)
    rows = index.select("train")
    images = load_images(index, rows, config)
    for image, path in zip(images, rows["path"], strict=True):
        pixels = decode_image(index.folder / path)  # 40 × 40 px: columns 10 to 30, rows 0 to 20
        assert np.array_equal(image, fit_image(pixels[:20, 10:30], 32, 1))
    assert not np.array_equal(images, load_images(index, rows, CONFIG))


def test_a_file_is_read_and_parsed_once_however_many_of_its_frames_are_wanted(
    tmp_path, monkeypatch
):
    for number, name in enumerate(("calcified", "non-calcified")):
        (tmp_path / name).mkdir()
        for file in range(4):
            frames = np.stack([np.roll(RAMP, 7 * file + n, axis=number) for n in range(3)])
            (tmp_path / name / f"{file}.dcm").write_bytes(
                write_dicom(
                    frames.tobytes(), NumberOfFrames=3, Rows=16, Columns=16, SamplesPerPixel=1,
                    BitsAllocated=8, BitsStored=8, PatientID=f"{name}{file}",
                )
            )  # fmt: skip
    index = read_index(DataConfig(folder=str(tmp_path)))
    # Shuffled, so that rows of one file stand apart and positions are not row numbers.
    rows = index.images.sample(frac=1, random_state=1)
    opened, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (opened.append(p), read_bytes(p))[1])
    parsed, read_picture = [], dicom.read_picture
    monkeypatch.setattr(
        dicom, "read_picture", lambda *args: (parsed.append(args), read_picture(*args))[1]
    )
    told = []
    images = load_images(index, rows, CONFIG, lambda *counts: told.append(counts))
    monkeypatch.undo()
    assert len(opened) == len(set(opened)) == len(parsed) == 8
    assert told[-1] == (24, 24)
    for image, row in zip(images, rows.itertuples(), strict=True):
        expected = decode_image(tmp_path / row.path, None, row.frame)
        assert np.array_equal(image, fit_image(expected, 32, 1))


def test_progress_counts_images_to_the_last(index):
    told = []
    rows = index.select("train")
    load_images(index, rows, CONFIG, lambda *counts: told.append(counts))
    assert told == [(number, len(rows)) for number in range(1, len(rows) + 1)]
