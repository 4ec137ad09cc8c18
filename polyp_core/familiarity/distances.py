"""How far an image is from the training images, in several ways at once.

Each distance gets its own unit from training images that took no part in it (whole patients are
left out in turn), so that the farthest of them can be compared with the farthest of any other
image.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from polyp_core.familiarity.measurements import Measured, join_measured, take_rows
from polyp_core.familiarity.views import invert, list_rows, mirror, turn

KINDS = (
    "colour", "blocks", "facts", "layout", "edges", "features", "quarter", "half", "negative",
)  # fmt: skip
Arrays = Mapping[str, np.ndarray]
_CLOUDS = {"facts": 0.03, "layout": 0.05, "edges": 0.005, "features": 1e-6}  # least deviation
_VIEWS: dict[str, tuple[Callable[[Measured], Measured], ...]] = {
    "quarter": (lambda measured: turn(measured, 1), lambda measured: turn(measured, 3)),
    "half": (lambda measured: turn(measured, 2),),
    "negative": (invert,),
}
_NUM_FOLDS = 5
_MAX_AXES = 48
_SHRINKAGE = 0.1  # of each axis's variance towards the mean of all
_RIDGE = 0.5
_COLOUR_FLOOR = 0.002  # a share of coloured pixels below which all are alike
_TAIL = 0.8  # where the tail begins whose mean excess is the unit of a distance
_ROUNDING = 1e-10  # of the largest sum of squares: less is none
_LEAST_UNIT = {"colour": 0.5, "blocks": 0.1}  # where no training image has any
_OTHER_LEAST_UNIT = 0.02


def fit_distances(measured: Measured) -> dict[str, np.ndarray]:
    """Fit all that is needed to tell how far an image is: arrays by name."""
    arrays: dict[str, np.ndarray] = {}
    for name, least in _CLOUDS.items():
        rows = getattr(measured, name)
        if rows.shape[1]:
            arrays |= {f"{name}.{part}": x for part, x in _fit_cloud(rows, least).items()}
    for name, views in _VIEWS.items():
        weight, offset = _fit_separator(measured, views)
        arrays |= {f"{name}.weight": weight, f"{name}.offset": offset}
    return arrays


def measure_distances(arrays: Arrays, measured: Measured) -> np.ndarray:
    """The distances of images, `(n, 9)`, in the order of `KINDS`; larger is stranger.

    Args:
        arrays: Of `fit_distances`.
        measured: Of n images.
    """
    distances = dict.fromkeys(KINDS, np.zeros(len(measured.colour)))  # unless there are features
    distances["colour"] = np.log(measured.colour + _COLOUR_FLOOR)
    distances["blocks"] = measured.blocks
    for name in _CLOUDS:
        if f"{name}.mean" in arrays:
            distances[name] = _measure_cloud(arrays, name, getattr(measured, name))
    rows = list_rows(measured)
    for name in _VIEWS:
        distances[name] = arrays[f"{name}.offset"] - rows @ arrays[f"{name}.weight"]
    return np.array(list(distances.values())).T


def cross_fit(measured: Measured, copies: Measured, groups: np.ndarray) -> np.ndarray:
    """The distances of training images, each from a fit without its patient, `(n, 9)`.

    Only this fit is made without the patient; the network that gives the features knew all.

    Args:
        measured: Of n images.
        copies: Of the same images, changed a little, which the fit sees as well.
        groups: `(n,)`, the patient of each; at least two patients.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))
    folds = (order % min(_NUM_FOLDS, len(names)))[numbers]
    distances = np.empty((len(groups), len(KINDS)))
    for fold in np.unique(folds):
        rest, held_out = folds != fold, folds == fold
        arrays = fit_distances(join_measured(take_rows(measured, rest), take_rows(copies, rest)))
        distances[held_out] = measure_distances(arrays, take_rows(measured, held_out))
    return distances


def find_units(distances: np.ndarray) -> dict[str, np.ndarray]:
    """Where the tail of each distance begins, and its mean excess from there: `(9,)` each."""
    start = np.quantile(distances, _TAIL, axis=0)
    excess = np.maximum(distances - start, 0)
    mean = excess.sum(axis=0) / np.maximum(1, np.count_nonzero(excess, axis=0))
    least = np.array([_LEAST_UNIT.get(name, _OTHER_LEAST_UNIT) for name in KINDS])
    return {"start": start, "unit": np.maximum(mean, least)}


def find_levels(arrays: Arrays, distances: np.ndarray) -> np.ndarray:
    """Distances that can be compared with each other, `(n, 9)`.

    Minus the decimal logarithm of the share of training images that are farther, as if every
    distance had an exponential tail: 2 is one of a hundred.
    """
    above = (distances - arrays["start"]) / arrays["unit"]
    return np.asarray(above / math.log(10) - math.log10(1 - _TAIL))


def _fit_cloud(rows: np.ndarray, least_scale: float) -> dict[str, np.ndarray]:
    """Fit a distance of Mahalanobis along few axes; beside them all directions count alike.

    References: Tipping and Bishop, J. R. Stat. Soc. B 61(3), 1999 (probabilistic PCA); Lee et al.,
    NeurIPS 2018 (Mahalanobis distance of features to find strangers).
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = np.maximum(rows.std(axis=0, dtype=np.float64), least_scale)
    num_rows, num_columns = rows.shape
    num_axes = max(1, min(_MAX_AXES, num_rows // 8, num_columns - 1))
    standard, half = (rows - mean) / scale, num_rows // 2
    if np.array_equal(rows[:half], rows[half:]):  # features of copies are those of the images
        standard = math.sqrt(2) * standard[:half]
    variances, axes = _find_axes(standard, num_axes)
    variances /= max(1, num_rows - 1)
    average = variances.sum() / num_columns + 1e-9
    others = variances[num_axes:].sum() / max(1, num_columns - num_axes)
    return {
        "mean": mean,
        "scale": scale,
        "axes": axes,
        "weight": 1 / ((1 - _SHRINKAGE) * variances[:num_axes] + _SHRINKAGE * average),
        "rest": np.array([1 / ((1 - _SHRINKAGE) * others + _SHRINKAGE * average)]),
    }


def _find_axes(rows: np.ndarray, num_axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Along which axes rows vary the most.

    The smaller of the products of rows and of columns is taken apart: an ensemble has thousands of
    columns, and the time grows with the third power.

    Args:
        rows: `(n, d)` float64, with a mean of 0.
        num_axes: How many axes are wanted.

    Returns:
        The sums of squares, `(min(n, d),)`, the largest first, and the axes `(d, num_axes)`; an
        axis along which nothing varies may be 0.
    """
    if len(rows) >= rows.shape[1]:
        sums, axes = np.linalg.eigh(rows.T @ rows)
        return np.maximum(sums[::-1], 0), axes[:, ::-1][:, :num_axes]
    sums, places = np.linalg.eigh(rows @ rows.T)
    sums = np.maximum(sums[::-1], 0)
    axes = rows.T @ places[:, ::-1][:, :num_axes]
    lengths = np.linalg.norm(axes, axis=0)
    varies = sums[:num_axes] > _ROUNDING * sums[0]
    return sums, axes * np.divide(1, lengths, out=np.zeros_like(lengths), where=varies)


def _measure_cloud(arrays: Arrays, name: str, rows: np.ndarray) -> np.ndarray:
    """The logarithm of the mean squared distance, `(n,)`."""
    standard = (rows - arrays[f"{name}.mean"]) / arrays[f"{name}.scale"]
    along = standard @ arrays[f"{name}.axes"]
    beside = np.maximum(np.vecdot(standard, standard) - np.vecdot(along, along), 0)
    squares = along**2 @ arrays[f"{name}.weight"] + beside * arrays[f"{name}.rest"]
    return np.asarray(np.log(squares / rows.shape[1] + 1e-3))


def _fit_separator(
    measured: Measured, views: tuple[Callable[[Measured], Measured], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression: 1 for images and their mirror images, -1 for what `views` makes of them.

    Returns:
        Weights `(d,)` for rows of `list_rows`, and the offset `(1,)`.
    """
    usual = (measured, mirror(measured))
    parts = [list_rows(one) for one in usual]
    parts += [list_rows(view(one)) for view in views for one in usual]
    rows = np.concatenate(parts).astype(np.float64)
    is_usual = np.arange(len(rows)) < 2 * len(measured.facts)
    share = np.where(is_usual, 0.5 / is_usual.sum(), 0.5 / (~is_usual).sum())
    mean = share @ rows
    deviation = np.sqrt(share @ (rows - mean) ** 2)
    scale = np.hypot(deviation, 0.02 * np.abs(rows).max(axis=0) + 1e-6)
    standard = (rows - mean) / scale
    products = (standard * share[:, np.newaxis]).T @ standard
    products[np.diag_indices_from(products)] += _RIDGE
    target = share * np.where(is_usual, 1.0, -1.0)
    weight = np.linalg.solve(products, standard.T @ target) / scale
    return weight, np.array([mean @ weight])
