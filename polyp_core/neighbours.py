"""The training images that a model takes for the nearest to an image, by its own features.

Nearest is the smallest cosine distance of standardised features: each feature is taken as far from
its mean over the training images, in standard deviations, so that no feature is louder than others.
"""

import numpy as np
import pandas as pd

from polyp_core.runs import Run

_ROWS_AT_ONCE = 8192  # of the training images, so that memory does not grow with them


def find_nearest(run: Run, queries: np.ndarray, num_nearest: int = 1) -> pd.DataFrame | None:
    """The nearest training images of each of some images.

    An image is never its own neighbour; where it stands among the training images a second time,
    the copy is.

    Args:
        run: A finished one.
        queries: `(k,)` whole numbers: rows of the run's index; or `(k, d)` features of other
            images, such as `read_features` of an evaluation gives.
        num_nearest: How many for each, fewer where there are fewer training images.

    Returns:
        `query` (place in `queries`), `rank` (1 is the nearest), `number` (row of the index),
        `distance` (in [0, 2]; 1 where nothing is known) and the image's `path`, `frame`, `group`
        and `label`. Sorted by query and rank. None where the run has no features, as those of an
        earlier version, or the features are not of this model.
    """
    features, images = run.read_features(), run.read_index().images
    queries = np.asarray(queries)
    if features is None or len(features) != len(images):
        return None
    own = queries if queries.ndim == 1 else np.full(len(queries), -1)
    wanted = features[queries] if queries.ndim == 1 else queries
    if wanted.shape[1] != features.shape[1]:
        return None
    numbers = np.flatnonzero(images["split"] == "train")
    mean, scale = _measure(features, numbers)
    wanted = _standardise(wanted, mean, scale)
    nearest = np.empty((len(queries), 0), np.int64)
    distances = np.empty((len(queries), 0))
    for start in range(0, len(numbers), _ROWS_AT_ONCE):
        part = numbers[start : start + _ROWS_AT_ONCE]
        known = _standardise(features[part], mean, scale)
        found = np.clip(1 - wanted @ known.T, 0, 2)
        found[own[:, np.newaxis] == part] = np.inf
        both = np.concatenate([distances, found], axis=1)
        names = np.concatenate([nearest, np.broadcast_to(part, found.shape)], axis=1)
        order = np.argsort(both, axis=1, kind="stable")[:, :num_nearest]  # of equals the first
        distances = np.take_along_axis(both, order, axis=1)
        nearest = np.take_along_axis(names, order, axis=1)
    return _tabulate(nearest, distances, images)


def _measure(features: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature; infinite where it never changes.

    Such a feature tells nothing about nearness, so it counts for nothing.
    """
    total = np.zeros(features.shape[1])
    squares = np.zeros(features.shape[1])
    if len(numbers) == 0:
        return total, total + np.inf
    parts = [numbers[i : i + _ROWS_AT_ONCE] for i in range(0, len(numbers), _ROWS_AT_ONCE)]
    for part in parts:
        total += features[part].sum(axis=0, dtype=np.float64)
    mean = total / len(numbers)
    for part in parts:
        squares += np.square(features[part] - mean.astype(np.float32)).sum(axis=0)
    scale = np.sqrt(squares / len(numbers))
    # What differs by rounding alone is a constant.
    return mean, np.where(scale > 1e-6 * (np.abs(mean) + 1e-12), scale, np.inf)


def _standardise(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """In standard deviations, each row then of length 1; a row at the mean stays 0."""
    distances = (features - mean.astype(np.float32)) / scale.astype(np.float32)
    lengths = np.linalg.norm(distances, axis=1, keepdims=True)
    return np.asarray(distances / np.where(lengths > 0, lengths, 1))


def _tabulate(nearest: np.ndarray, distances: np.ndarray, images: pd.DataFrame) -> pd.DataFrame:
    queries, ranks = np.nonzero(np.isfinite(distances))
    numbers = nearest[queries, ranks]
    found = pd.DataFrame(
        {
            "query": queries, "rank": ranks + 1, "number": numbers,
            "distance": distances[queries, ranks],
        }
    )  # fmt: skip
    facts = images.loc[numbers, ["path", "frame", "group", "label"]].reset_index(drop=True)
    return pd.concat([found, facts], axis=1)
