"""Index and settings become batches: decoded once, augmented on the fly, ahead of training."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from polyp_core.augmentation import augment_image
from polyp_core.config import AugmentConfig, RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import DatasetError
from polyp_core.images import decode_pictures, prepare_picture

_BATCHES_AHEAD = 4
Batch = tuple[np.ndarray, np.ndarray]


def load_images(
    index: Index,
    rows: pd.DataFrame,
    config: RunConfig,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Decode the images of some rows to what the network sees.

    Args:
        index: Whose folder the rows belong to.
        rows: Rows of `index.images`.
        config: Gives region, size and channels.
        on_progress: Called with (images done, images in all).

    Returns:
        `(n, size, size, channels)` uint8, in the order of the rows.

    Raises:
        DatasetError: If a file is gone or is no longer the one that was indexed.
    """
    model = config.model
    shape = (len(rows), model.image_size_px, model.image_size_px, model.channels)
    images = np.empty(shape, dtype=np.uint8)
    positions = pd.Series(np.arange(len(rows)), index=rows.index)

    def load(path: str) -> int:
        """A file is read once, whatever number of its frames is wanted."""
        of_file = rows.loc[files[path]]
        data = _read_indexed(index.folder, path, of_file["sha256"].iloc[0])
        pictures = decode_pictures(data, path, of_file["frame"].tolist())
        for number, picture in zip(of_file.index, pictures, strict=True):
            images[positions[number]] = prepare_picture(picture, config.data, model)
        return len(of_file)

    files = rows.groupby("path", sort=False).groups
    num_done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for num_frames in pool.map(load, files):
            num_done += num_frames
            if on_progress is not None:
                on_progress(num_done, len(rows))
    return images


@dataclass(frozen=True, kw_only=True)
class TrainingBatches:
    """The training images, shuffled and augmented anew for every epoch.

    Attributes:
        images: `(n, size, size, channels)` uint8.
        labels: `(n,)` of 0 and 1.
        image_numbers: `(n,)` row of each image in the index; with seed and epoch it decides how
            an image is changed.
        augmentation: The bounds of the change; None leaves every image as it is.
        batch_size: Images a step; the last batch of an epoch may hold fewer.
        seed: Of the run.
    """

    images: np.ndarray
    labels: np.ndarray
    image_numbers: np.ndarray
    augmentation: AugmentConfig | None
    batch_size: int
    seed: int

    @property
    def num_steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.images) // self.batch_size)

    def iterate_epoch(self, epoch: int) -> Iterator[Batch]:
        """Every image once, in the epoch's own order.

        Yields:
            Images `(batch, size, size, channels)` uint8 and labels `(batch, 1)` float32.
        """
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
        parts = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for part in parts:
                    waiting.append(pool.submit(self._make_batch, part, epoch))
                    if len(waiting) > _BATCHES_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _make_batch(self, positions: np.ndarray, epoch: int) -> Batch:
        labels = self.labels[positions].astype(np.float32)[:, np.newaxis]
        if self.augmentation is None:
            return self.images[positions], labels
        images = np.empty((len(positions), *self.images.shape[1:]), dtype=np.uint8)
        for slot, position in enumerate(positions):
            images[slot] = augment_image(
                self.images[position],
                self.augmentation,
                seed=self.seed,
                epoch=epoch,
                image_number=int(self.image_numbers[position]),
            )
        return images, labels


def _read_indexed(folder: Path, path: str, sha256: str) -> bytes:
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        raise DatasetError(
            f"The image '{path}' of the run's index is gone from '{folder}' ({error.strerror}). "
            "Expected the files that were there when the run started. Put it back, or start a new "
            "run."
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(
            f"The image '{path}' in '{folder}' has changed since the run started. Expected the "
            "same content. Put the old file back, or start a new run."
        )
    return data
