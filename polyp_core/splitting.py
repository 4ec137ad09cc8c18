"""Images are divided into training and validation, whole patients and whole copies at a time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from polyp_core.duplicates import cluster_pairs
from polyp_core.errors import DatasetError
from polyp_core.words import say_number


def divide(
    images: pd.DataFrame, fraction: float, seed: int, pairs: np.ndarray | None = None
) -> list[str]:
    """Draw the validation images class by class; test images stay as they are.

    Images of one patient, exact copies and given pairs are never parted. What is tied to a test
    image becomes a test image.

    Args:
        images: With `path`, `frame`, `label`, `group`, `split` and `sha256`.
        fraction: Part of the images for validation, in (0, 1).
        seed: Of the draw.
        pairs: `(num_pairs, 2)` positions of images that belong together, such as near-duplicates.

    Returns:
        "train", "validation" or "test" for each image.
    """
    units = find_units(images, pairs)
    is_test = find_tied_to_test(images, pairs)
    names = _name_units(images, units)
    generator = np.random.default_rng(seed)
    taken: set[str] = set()
    for sizes in _count_by_class(images["label"][~is_test], names[~is_test]):
        taken |= _draw_units(sizes, fraction, generator)
    split = np.where(np.isin(names, list(taken)), "validation", "train")
    return list(np.where(is_test, "test", split))


def draw_test(images: pd.DataFrame, seed: int, pairs: np.ndarray | None = None) -> list[str]:
    """Draw a test set of the same share anew, class by class, for a test set that is entangled.

    Units that are wholly in the present test set stay there first. Of each class two units are
    left, for training and for validation.

    Args:
        images: As for `divide`.
        seed: Of the draw.
        pairs: As for `divide`.

    Returns:
        "test" or "train" for each image, as `divide` expects it.
    """
    units = find_units(images, pairs)
    names = _name_units(images, units)
    is_test = (images["split"] == "test").to_numpy()
    is_whole = ~np.isin(units, units[~is_test])
    generator = np.random.default_rng(seed)
    taken: set[str] = set()
    for sizes in _count_by_class(images["label"], names):
        first = sizes.index.isin(names[is_whole])
        taken |= _draw_units(sizes, is_test.mean(), generator, first, num_left=2)
    return list(np.where(np.isin(names, list(taken)), "test", "train"))


def divide_folds(
    images: pd.DataFrame, num_folds: int, seed: int, pairs: np.ndarray | None = None
) -> list[int]:
    """Deal the images to folds of nearly equal size, each class by itself.

    Units in an order drawn by the seed, large ones first; each goes to the fold that has the fewest
    images of its class, at a tie the fewest images. The class that fewer units hold goes first, so
    that every fold has images of both classes even where a patient has both.

    Args:
        images: As for `divide`.
        num_folds: At least 2.
        seed: Of the draw.
        pairs: As for `divide`.

    Returns:
        For each image its fold, from 1 on; 0 for test images and what is tied to them.

    Raises:
        DatasetError: If fewer units than folds hold images of a class.
    """
    is_test = find_tied_to_test(images, pairs)
    names = _name_units(images, find_units(images, pairs))
    counts = pd.crosstab(names[~is_test], images["label"].to_numpy()[~is_test])
    counts = counts.reindex(columns=[0, 1], fill_value=0)
    num_units = (counts > 0).sum()
    if num_units.min() < num_folds:
        raise DatasetError(
            f"There are too few images for {num_folds} folds: those of one class come from "
            f"{say_number(int(num_units.min()), 'patient')} (or image, where patients are unknown; "
            "near-copies count as one). Expected at least one for each fold and class. Use fewer "
            f"folds, or add images. Received: num_folds={num_folds}"
        )
    shuffled = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
    held = np.zeros((num_folds, 2), int)
    folds: dict[str, int] = {}
    for label in num_units.sort_values(kind="stable").index:
        own = shuffled[(shuffled[label] > 0) & ~shuffled.index.isin(list(folds))]
        for name, sizes in own.sort_values(label, ascending=False, kind="stable").iterrows():
            fold = int(np.lexsort((held.sum(axis=1), held[:, label]))[0])
            held[fold] += sizes.to_numpy()
            folds[str(name)] = fold + 1
    return [0 if test else folds[name] for name, test in zip(names, is_test, strict=True)]


def draw_share(images: pd.DataFrame, share: float, seed: int | Sequence[int]) -> np.ndarray:
    """Draw a sample of the images, class by class; patients and exact copies stay whole.

    The units of a class are put in an order that the seed alone decides, and the first of them are
    taken: as many as come nearest to the share of the images, at least one. So a smaller sample
    lies within every larger one of the same seed.

    Args:
        images: As for `divide`.
        share: Part of the images, in (0, 1].
        seed: Of the draw.

    Returns:
        `(n,)` of bool: which images are in the sample.
    """
    names = _name_units(images, find_units(images))
    generator = np.random.default_rng(seed)
    taken: list[str] = []
    for sizes in _count_by_class(images["label"], names):
        held = sizes.iloc[generator.permutation(len(sizes))].cumsum()
        nearest = int(np.abs(held.to_numpy() - share * held.iloc[-1]).argmin())
        taken += list(held.index[: nearest + 1])
    sample: np.ndarray = np.isin(names, taken)
    return sample


def find_tied_to_test(images: pd.DataFrame, pairs: np.ndarray | None = None) -> np.ndarray:
    """Which images are test images, or of one unit with a test image: `(n,)` of bool."""
    units = find_units(images, pairs)
    return np.isin(units, units[(images["split"] == "test").to_numpy()])


def find_units(images: pd.DataFrame, pairs: np.ndarray | None = None) -> np.ndarray:
    """What must stay together: `(n,)` numbers, equal for images of one unit."""
    ties = [np.empty((0, 2), int) if pairs is None else pairs]
    positions = pd.Series(np.arange(len(images)))
    known = (images["group"] != "").to_numpy()
    ties.append(_tie(positions[known], images["group"].to_numpy()[known]))
    ties.append(_tie(positions, images["sha256"].to_numpy()))
    units: np.ndarray = cluster_pairs(np.concatenate(ties), len(images))
    return units


def _tie(positions: pd.Series, keys: np.ndarray) -> np.ndarray:
    """Pairs that chain all positions of one key to the first of them."""
    first = positions.groupby(keys).transform("first")
    pairs: np.ndarray = np.stack([first.to_numpy(), positions.to_numpy()], axis=1)
    apart: np.ndarray = pairs[pairs[:, 0] != pairs[:, 1]]
    return apart


def _name_units(images: pd.DataFrame, units: np.ndarray) -> np.ndarray:
    """Of each image the name of its unit's first patient (or path).

    So a draw does not depend on where the images stand in the index.
    """
    names = images["group"].where(images["group"] != "", images["path"])
    first: np.ndarray = names.groupby(units).transform("min").to_numpy()
    return first


def _count_by_class(labels: pd.Series, names: np.ndarray) -> list[pd.Series]:
    """For each class the number of images of its units, by their names in order."""
    by_unit = labels.groupby(names).agg(["size", "mean"])
    # A unit with images of both classes counts to the more frequent one, at a tie the positive.
    majority = (by_unit["mean"] >= 0.5).astype(int)
    return [members["size"] for _, members in by_unit.groupby(majority)]


def _draw_units(
    sizes: pd.Series,
    fraction: float,
    generator: np.random.Generator,
    first: np.ndarray | None = None,
    num_left: int = 1,
) -> set[str]:
    """Units that bring the number of images nearer to a fraction of all.

    At least one (the smallest, where every one is too large), but some are always left.

    Args:
        sizes: Number of images of each unit.
        fraction: Of the images.
        generator: Draws the order in which units are tried.
        first: `(num_units,)` of bool: units to be tried before all others.
        num_left: Units to leave.
    """
    order = generator.permutation(len(sizes))
    if first is not None:
        order = order[np.argsort(~first[order], kind="stable")]
    drawn = sizes.iloc[order]
    wanted, held = fraction * sizes.sum(), 0
    taken: list[str] = []
    for name, size in drawn.items():
        if abs(held + size - wanted) < abs(held - wanted):
            taken.append(str(name))
            held += size
    taken = taken or [str(drawn.idxmin())]
    return set(taken[: max(0, len(sizes) - num_left)])
