import threading

import numpy as np
import pytest

from polyp_core.augmentation import augment_image
from polyp_core.config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from polyp_core.dataset import read_index
from polyp_core.image_store import open_images
from polyp_core.images import decode_image, fit_image
from polyp_core.pipeline import TrainingBatches, weigh_patients
from polyp_core.workspace import get_cache_dir

CONFIG = RunConfig(model=ModelConfig(image_size_px=32, channels=1))
AUGMENTATION = AugmentConfig()


@pytest.fixture
def index(data_dir):
    return read_index(DataConfig(folder=str(data_dir)))


def make_batches(index, augmentation=AUGMENTATION, batch_size=4):
    rows = index.select("train")
    return rows, TrainingBatches(
        images=open_images(index, CONFIG, get_cache_dir()),
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
    originals = [batches.images[number].tobytes() for number in rows.index]
    label_of = dict(zip(originals, rows["label"], strict=True))
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


@pytest.mark.parametrize("steps_done", [0, 1, 3, 4])
def test_an_epoch_goes_on_after_the_steps_that_are_done(index, steps_done):
    _, batches = make_batches(index)
    whole, rest = list(batches.iterate_epoch(3)), list(batches.iterate_epoch(3, steps_done))
    assert len(whole) == 4
    assert len(rest) == 4 - steps_done
    for mine, theirs in zip(rest, whole[steps_done:], strict=True):
        assert all(map(np.array_equal, mine, theirs))


def test_no_image_is_changed_where_it_lies(index):
    """What is mapped belongs to every run of the data set."""
    _, batches = make_batches(index)
    before = np.array(batches.images)
    list(batches.iterate_epoch(1))
    assert np.array_equal(batches.images, before)


def test_patients_have_the_same_chance_however_many_images_they_have():
    groups = np.array(["a", "a", "a", "b", "", ""])
    assert weigh_patients(groups).tolist() == pytest.approx([1 / 12] * 3 + [1 / 4] * 3)


def test_with_one_image_a_patient_every_image_comes_once():
    batches = TrainingBatches(
        images=np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1), image_numbers=np.arange(50),
        labels=np.zeros(50, int), augmentation=None, batch_size=50, seed=3,
        chances=weigh_patients(np.array([""] * 50)),
    )  # fmt: skip
    ((images, _),) = batches.iterate_epoch(4)
    assert sorted(images[:, 0, 0, 0].tolist()) == list(range(50))


def test_an_image_that_comes_again_in_an_epoch_is_augmented_otherwise():
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.uint8)
    batches = TrainingBatches(
        images=picture, image_numbers=np.array([0, 1]), labels=np.zeros(2, int),
        augmentation=AugmentConfig(), batch_size=2, seed=3, chances=np.array([1.0, 0.0]),
    )  # fmt: skip
    ((images, _),) = batches.iterate_epoch(1)
    first = augment_image(picture[0], AugmentConfig(), seed=3, epoch=1, image_number=0)
    second = augment_image(picture[0], AugmentConfig(), seed=3, epoch=1, image_number=2)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(images, [first, second])


def test_an_epoch_of_patients_is_as_long_and_draws_each_by_its_chance():
    groups = np.array(["a"] * 30 + [f"b{number}" for number in range(10)])
    batches = TrainingBatches(
        images=np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1), image_numbers=np.arange(40),
        labels=np.zeros(40, int), augmentation=None, batch_size=8, seed=3,
        chances=weigh_patients(groups),
    )  # fmt: skip

    def see(epoch):
        return np.concatenate([images[:, 0, 0, 0] for images, _ in batches.iterate_epoch(epoch)])

    epochs = [see(epoch) for epoch in range(1, 101)]
    counts = [np.bincount(epoch, minlength=40) for epoch in epochs]
    assert all(set(count[30:]) <= {3, 4} for count in counts)  # 40 draws of 11 patients
    assert {len(epoch) for epoch in epochs} == {40}
    share_of_a = np.mean(np.concatenate(epochs) < 30)
    assert share_of_a == pytest.approx(1 / 11, abs=0.02)  # not 3 / 4
    assert see(7).tolist() == epochs[6].tolist()
    assert epochs[0].tolist() != epochs[1].tolist()
