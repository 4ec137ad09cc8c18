"""A run's training images become a judge of other images, kept in two files of the run."""

import hashlib
import io
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.dataset import Index
from polyp_core.environment import count_threads
from polyp_core.errors import PolypError
from polyp_core.familiarity.distances import (
    cross_fit,
    find_levels,
    find_units,
    fit_distances,
    measure_distances,
)
from polyp_core.familiarity.measurements import (
    Measured,
    join_measured,
    measure_copy,
    measure_image,
    stack_measured,
)
from polyp_core.familiarity.reasons import find_reasons
from polyp_core.files import write_atomically
from polyp_core.images import Picture, decode_pictures, find_box, read_file
from polyp_core.region import Box
from polyp_core.runs import Run

FALSE_ALARMS = 0.05  # the part of familiar images that is to be refused
_FILE, _ARRAYS_FILE = "familiarity.json", "familiarity.npy"
_VERSION = 1  # of what is measured
_MAX_IMAGES = 2000
_USUAL = 0.85  # of the training images; only among these is a scan usual once it is turned back
_LEAST_IMAGES, _LEAST_PATIENTS = 16, 10  # with fewer one in six of the familiar was refused
_MANY_IMAGES, _MANY_PATIENTS = 40, 20  # with fewer the rate cannot be found, see `_find_limit`
_MOST_LIMIT = 1e6  # decades, far above any
_NEAR = 0.3  # decades above the limit: of the familiar images above it about half are
_MARGIN = 1.0  # decades beyond all training images: 2 to 6 % were refused of 10 to 16 patients
_DAMAGES = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError),
    ArithmeticError,
)
_FAILURES = (PolypError, OSError, ValueError, np.linalg.LinAlgError, MemoryError)  # of learning
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an image is like the training images.

    Attributes:
        p_value: The share of the training images that are at least as unusual, the image itself
            counted among them; in (0, 1].
        is_stranger: It is more unusual than the allowed rate of false alarms lets pass.
        reasons: Plain phrases, the most telling first, such as "it is smoother than the training
            images"; empty if it is no stranger.
        num_beyond: How many training images are at least as unusual, without the image itself.
        num_known: How many training images it was compared with; 0 if that is not known.
        is_near: It is a stranger, but close to the limit. Never where the limit lies far beyond
            all training images, since there were too few of them.
    """

    p_value: float
    is_stranger: bool
    reasons: tuple[str, ...] = ()
    num_beyond: int = 0
    num_known: int = 0
    is_near: bool = False


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """What is known of a model's training images; judges others. Safe to share between threads.

    Attributes:
        arrays: Of the fitted distances and their units, by name.
        usual: `(n,)` sorted: how unusual each training image is to a fit without its patient.
        limit: Images above it are strangers.
        num_patients: Of the training images that were measured.
        is_cautious: There were too few to find the limit for 5 % of false alarms, so only what
            is far beyond all of them is a stranger.
    """

    arrays: dict[str, np.ndarray]
    usual: np.ndarray
    limit: float
    num_patients: int
    is_cautious: bool

    def judge(self, picture: Picture, box: Box, seen: np.ndarray, features: np.ndarray) -> Verdict:
        """Judge one image.

        Args:
            picture: At its full size.
            box: The part that is used, in px: left, top, right, bottom.
            seen: `(size, size, 1 or 3)` uint8, as the network sees that part.
            features: `(d,)` float32, as the model reads it.
        """
        measured = stack_measured([measure_image(picture.pixels, box, seen, features)])
        levels = find_levels(self.arrays, measure_distances(self.arrays, measured))[0]
        level = float(levels.max())
        num_beyond = len(self.usual) - int(np.searchsorted(self.usual, level))
        is_stranger = level > self.limit
        return Verdict(
            p_value=(1 + num_beyond) / (1 + len(self.usual)),
            is_stranger=is_stranger,
            reasons=self._find_reasons(measured, levels) if is_stranger else (),
            num_beyond=num_beyond,
            num_known=len(self.usual),
            is_near=is_stranger and level <= self.limit + _NEAR and not self.is_cautious,
        )

    def _find_reasons(self, measured: Measured, levels: np.ndarray) -> tuple[str, ...]:
        usual = min(self.limit, float(np.quantile(self.usual, _USUAL)))
        return find_reasons(self.arrays, measured, levels, self.limit, usual)


def choose_rows(index: Index) -> np.ndarray:
    """Rows of the index that are learned from, `(n,)`: those of training, 2,000 at most, evenly."""
    numbers = index.select("train").index.to_numpy()
    return np.asarray(numbers[_take_evenly(len(numbers), _MAX_IMAGES)])


def write_familiarity(
    run: Run, index: Index, images: np.ndarray, features: np.ndarray | None = None
) -> None:
    """Measure a run's training images and keep what is needed to judge others.

    Those of `choose_rows`. Nothing is kept where there are too few images or patients, a file can
    no longer be read or has fewer frames, or the model gives no features or such as are no numbers:
    the run is as good without it.

    Args:
        run: With a serving model.
        index: Its images with their split; the files must still be there.
        images: `(n, size, size, channels)` uint8 of the whole index, as the network sees them.
        features: `(n, d)` float32; those of features.npy if None.
    """
    try:
        _remove(run)
        _learn(run, index, images, run.read_features() if features is None else features)
    except _FAILURES as error:
        _log.warning("What is usual was not learned for %s: %s", run.name, error, exc_info=True)
        with suppress(OSError):
            _remove(run)


def _remove(run: Run) -> None:
    for name in (_FILE, _ARRAYS_FILE):
        run.path(name).unlink(missing_ok=True)


def _learn(run: Run, index: Index, images: np.ndarray, features: np.ndarray | None) -> None:
    """Measure, fit and write; the files are of one write, or the caller removes them."""
    rows = index.images.loc[choose_rows(index)]
    groups = np.where(rows["group"] == "", "of its own " + rows.index.astype(str), rows["group"])
    num_patients = len(np.unique(groups))
    is_enough = len(rows) >= _LEAST_IMAGES and num_patients >= _LEAST_PATIENTS
    if features is None or len(features) != len(index.images) or not is_enough:
        return
    measured, copies = _measure_files(run, index, rows, images, features)
    if not np.isfinite(measured.features).all():
        raise ValueError("The features of the training images hold numbers that are none.")
    distances = cross_fit(measured, copies, groups)
    arrays = fit_distances(join_measured(measured, copies)) | find_units(distances)
    arrays["usual_colour"] = np.quantile(measured.colour, [0.95])
    arrays["usual"] = np.sort(find_levels(arrays, distances).max(axis=1))
    is_cautious = len(rows) < _MANY_IMAGES or num_patients < _MANY_PATIENTS
    limit = _find_limit(arrays["usual"], is_cautious)
    _write(run, arrays, limit=limit, num_patients=num_patients, is_cautious=is_cautious)


def read_familiarity(run: Run) -> Familiarity | None:
    """What a run keeps to judge images by, or None.

    None where there is nothing, as in a run of an earlier version or with too few images, and
    where it is damaged or belongs to another model.
    """
    try:
        values = json.loads(run.path(_FILE).read_text(encoding="utf-8"))
        content = run.path(_ARRAYS_FILE).read_bytes()
        if (
            values["version"] != _VERSION
            or values["model"] != run.read_serving()["sha256"]
            or values["arrays_sha256"] != hashlib.sha256(content).hexdigest()
        ):
            return None
        arrays = _split(np.load(io.BytesIO(content), allow_pickle=False), values["shapes"])
        familiarity = Familiarity(
            usual=arrays.pop("usual"),
            arrays=arrays,
            limit=float(values["limit"]),
            num_patients=int(values["num_patients"]),
            is_cautious=bool(values["is_cautious"]),
        )
        return familiarity if _can_judge(familiarity) else None
    except _DAMAGES:
        return None


def _can_judge(familiarity: Familiarity) -> bool:
    """Whether all arrays are there and fit together: a grey square is judged with them.

    Raises:
        ValueError, LookupError: If not.
    """
    arrays, square = familiarity.arrays, np.full((8, 8, 1), 90, np.uint8)
    # What is of another shape may fit all the same, but is not what was written.
    if any(array.ndim != 1 + name.endswith(".axes") for name, array in arrays.items()):
        return False
    features = np.zeros(len(arrays["features.mean"]) if "features.mean" in arrays else 0)
    verdict = replace(familiarity, limit=-math.inf).judge(
        Picture(pixels=square), (0, 0, 8, 8), square, features
    )
    is_usable = abs(familiarity.limit) < _MOST_LIMIT and familiarity.usual.ndim == 1
    return verdict.is_stranger and is_usable


def _find_limit(usual: np.ndarray, is_cautious: bool) -> float:
    """The level that 5 % of new images pass; with few training images, one that hardly any do."""
    if is_cautious:
        return float(usual[-1]) + _MARGIN
    # The k-th largest of n: passed with probability k / (n + 1), were all images exchangeable. They
    # are not quite (see the package), so that this is what is aimed at, and no promise.
    rank = math.floor(FALSE_ALARMS * (len(usual) + 1))
    return float(usual[-rank])


def _measure_files(
    run: Run, index: Index, rows: pd.DataFrame, images: np.ndarray, features: np.ndarray
) -> tuple[Measured, Measured]:
    """Measure images and a changed copy of each; a file is read once for all of its frames."""
    config = run.read_config()
    can_mirror = config.augmentation.horizontal_flip

    def measure(path: str, places: np.ndarray) -> list[tuple[int, Measured, Measured]]:
        found = []
        pictures = decode_pictures(
            read_file(index.folder / path, path), path, rows["frame"].iloc[places].tolist()
        )
        for place, picture in zip(places.tolist(), pictures, strict=True):
            number = int(rows.index[place])
            box, seen = find_box(picture, config.data), np.asarray(images[number])
            measured = measure_image(picture.pixels, box, seen, np.array(features[number]))
            copy = measure_copy(measured, seen, number, can_mirror)
            found.append((place, measured, copy))
        return found

    files = rows.groupby("path", sort=False).indices
    with ThreadPoolExecutor(count_threads(run)) as pool:
        parts = list(pool.map(measure, files.keys(), files.values()))
    found = sorted((one for part in parts for one in part), key=lambda one: one[0])
    return stack_measured([one[1] for one in found]), stack_measured([one[2] for one in found])


def _take_evenly(num: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, num - 1, min(num, most)).round().astype(int))


def _write(run: Run, arrays: dict[str, np.ndarray], **values: Any) -> None:  # noqa: ANN401 - plain JSON values
    """The numbers of all arrays one after the other, and what they are, bound to the model."""
    file = io.BytesIO()
    whole = np.concatenate([array.ravel() for array in arrays.values()]).astype("<f4")
    np.save(file, whole, allow_pickle=False)
    content = file.getvalue()
    write_atomically(run.path(_ARRAYS_FILE), content)
    run.write_json(
        _FILE,
        {
            "version": _VERSION,
            "model": run.read_serving().get("sha256"),
            "arrays_sha256": hashlib.sha256(content).hexdigest(),
            "num_images": len(arrays["usual"]),
            "false_alarms": FALSE_ALARMS,
            **values,
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
        },
    )


def _split(whole: np.ndarray, shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Undo `_write`.

    Raises:
        ValueError: If the numbers are not as many as the shapes say.
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    if whole.ndim != 1 or whole.dtype != np.float32 or sum(sizes) != len(whole):
        raise ValueError("The arrays are not those that were written.")
    if not np.isfinite(whole).all():
        raise ValueError("The arrays hold numbers that are none.")
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
