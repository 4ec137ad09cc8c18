"""Images and settings become batches: shuffled and augmented on the fly, ahead of training."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polyp_core.augmentation import augment_image
from polyp_core.config import AugmentConfig

_BATCHES_AHEAD = 4
_NUM_THREADS = max(1, (os.cpu_count() or 1) // 2)  # training itself wants all of them
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class TrainingBatches:
    """The training images, shuffled and augmented anew for every epoch.

    Attributes:
        images: `(n, size, size, channels)` uint8, all images of the index; may be a memory map.
        image_numbers: `(m,)` which of them are trained on; with seed and epoch the number decides
            how an image is changed.
        labels: `(m,)` of 0 and 1.
        augmentation: The bounds of the change; None leaves every image as it is.
        batch_size: Images a step; the last batch of an epoch may hold fewer.
        seed: Of the run.
        chances: `(m,)` of each image to be drawn, summing to 1; None takes every image once.
    """

    images: np.ndarray
    image_numbers: np.ndarray
    labels: np.ndarray
    augmentation: AugmentConfig | None
    batch_size: int
    seed: int
    chances: np.ndarray | None = None

    @property
    def num_steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.image_numbers) // self.batch_size)

    def iterate_epoch(self, epoch: int, steps_done: int = 0) -> Iterator[Batch]:
        """As many images as there are, in the epoch's own order.

        Args:
            epoch: Counted from 1.
            steps_done: Batches to pass over, for an epoch that was broken off.

        Yields:
            Images `(batch, size, size, channels)` uint8 and labels `(batch, 1)` float32.
        """
        order = self._draw_order(epoch)
        repeats = pd.Series(order).groupby(order).cumcount().to_numpy()
        starts = range(steps_done * self.batch_size, len(order), self.batch_size)
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for start in starts:
                    part = slice(start, start + self.batch_size)
                    batch = pool.submit(self._make_batch, order[part], repeats[part], epoch)
                    waiting.append(batch)
                    if len(waiting) > _BATCHES_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _draw_order(self, epoch: int) -> np.ndarray:
        random, num_images = np.random.default_rng((self.seed, epoch)), len(self.image_numbers)
        if self.chances is None:
            return random.permutation(num_images)
        # Each as often as its chance says, rounded up or down: one throw places a comb of draws.
        places = (np.arange(num_images) + random.random()) / num_images
        shuffled = random.permutation(num_images)
        drawn = np.searchsorted(np.cumsum(self.chances[shuffled]), places)
        return random.permutation(shuffled[np.minimum(drawn, num_images - 1)])

    def _make_batch(self, positions: np.ndarray, repeats: np.ndarray, epoch: int) -> Batch:
        """The images at these positions; one that comes again is augmented otherwise."""
        labels = self.labels[positions].astype(np.float32)[:, np.newaxis]
        numbers = self.image_numbers[positions]
        if self.augmentation is None:
            return self.images[numbers], labels
        images = np.empty((len(positions), *self.images.shape[1:]), dtype=np.uint8)
        draws = numbers + repeats * len(self.images)
        for slot, (number, draw) in enumerate(zip(numbers.tolist(), draws.tolist(), strict=True)):
            images[slot] = augment_image(
                np.asarray(self.images[number]),
                self.augmentation,
                seed=self.seed,
                epoch=epoch,
                image_number=draw,
            )
        return images, labels


def weigh_patients(groups: np.ndarray) -> np.ndarray:
    """Each image's chance to be drawn if every patient has the same.

    Args:
        groups: `(m,)` patient of each image; "" is a patient of its own.

    Returns:
        `(m,)`, summing to 1.
    """
    names = [group or f"\0{number}" for number, group in enumerate(groups.tolist())]
    _, places, counts = np.unique(names, return_inverse=True, return_counts=True)
    chances = 1 / counts[places]
    return np.asarray(chances / chances.sum())
