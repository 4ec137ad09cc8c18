"""Images are divided into training and validation, whole patients and whole copies at a time."""

import numpy as np
import pandas as pd

from polyp_core.duplicates import cluster_pairs


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
    is_test = (images["split"] == "test").to_numpy()
    is_test = np.isin(units, units[is_test])
    # Units go by the name of their first patient (or path), so that the draw does not depend on
    # where the images stand in the index.
    names = images["group"].where(images["group"] != "", images["path"])
    names = names.groupby(units).transform("min").reset_index(drop=True)
    labels = pd.Series(images["label"].to_numpy()[~is_test])
    by_unit = labels.groupby(names[~is_test].to_numpy()).agg(["size", "mean"])
    # A unit with images of both classes counts to the more frequent one, at a tie the positive.
    majority = (by_unit["mean"] >= 0.5).astype(int)
    generator = np.random.default_rng(seed)
    taken: set[str] = set()
    for _, members in by_unit.groupby(majority):
        taken |= _draw_units(members["size"], fraction, generator)
    split = np.where(names.isin(taken), "validation", "train")
    return list(np.where(is_test, "test", split))


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


def _draw_units(sizes: pd.Series, fraction: float, generator: np.random.Generator) -> set[str]:
    """Units whose images come nearest to a fraction of all; at least one, but never all."""
    wanted, held = fraction * sizes.sum(), 0
    taken: list[str] = []
    units = list(sizes.items())
    for position in generator.permutation(len(units)):
        name, size = units[position]
        if not taken or abs(held + size - wanted) < abs(held - wanted):
            taken.append(str(name))
            held += size
    return set(taken[:-1] if len(taken) == len(sizes) else taken)
