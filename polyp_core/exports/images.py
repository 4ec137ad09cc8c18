"""The images on which an export is compared: the run's own if they are here, synthetic ones if not.

A comparison proves little on a handful of images, or where the model answers all alike. Then
images of further kinds are taken too; where that does not help, it is said.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyp_core.access import check_file
from polyp_core.dataset import Index
from polyp_core.errors import PolypError
from polyp_core.images import Picture, decode_picture, fit_image, prepare_picture, read_file
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier
from polyp_core.runs import Run

MAX_IMAGES, MIN_IMAGES = 50, 10
_NUM_FURTHER = 10  # images of each kind after the first, and of synthetic ones
_OWN = {"validation": "validation images", "test": "test images", "train": "training images"}
_SYNTHETIC = "synthetic images of the app"
_AMONG_OTHERS = {
    _OWN["validation"]: "for validation",
    _OWN["test"]: "for testing",
    _OWN["train"]: "for training",
    _SYNTHETIC: "synthetic",
}
_ALIKE = ", which the model answers nearly alike, so that this proves little"
_LEAST_SPREAD, _LEAST_LOGIT_SPREAD = 0.01, 1.0
_LEAST_PROBABILITY = 1e-5  # below, or this near to 1, float32 tells no logits apart

Read = Callable[[int], Iterator[np.ndarray]]  # at most so many images


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Images to compare on.

    Attributes:
        pixels: `(n, size, size, channels)` uint8, as the network sees them.
        probabilities: `(n,)`, what the run's own serving model says of them.
        origin: What they are, in words.
    """

    pixels: np.ndarray
    probabilities: np.ndarray
    origin: str


def choose_sample(run: Run, classifier: Classifier) -> Sample:
    """At most 50 validation images, evenly chosen; of other kinds if they do not suffice.

    They suffice if they are ten and the model does not answer all alike. Else up to ten test
    images, training images (the whole of a study's ensemble) and synthetic ones are added in turn.
    A file that is gone, has changed since or may not be read is passed over.

    Args:
        run: A finished one.
        classifier: Of it.
    """
    images: list[np.ndarray] = []
    probabilities: list[float] = []
    counts: dict[str, int] = {}
    for kind, read in _offer_images(run, classifier):
        if len(images) >= MIN_IMAGES and not are_alike(probabilities):
            break
        added = list(read(_NUM_FURTHER if images else MAX_IMAGES))
        images += added
        probabilities += [classifier.predictor.predict(image)[0] for image in added]
        if added:
            counts[kind] = len(added)
    return Sample(
        pixels=np.stack(images),
        probabilities=np.array(probabilities, np.float64),
        origin=_say_origin(counts, alike=are_alike(probabilities)),
    )


def are_alike(probabilities: Sequence[float]) -> bool:
    """Whether a model answers so nearly alike that a wrong copy of it might answer as it does."""
    return bool(
        np.ptp(probabilities) < _LEAST_SPREAD
        and np.ptp(find_logits(np.asarray(probabilities))) < _LEAST_LOGIT_SPREAD
    )


def find_logits(probabilities: np.ndarray) -> np.ndarray:
    """The logits of probabilities, as far as float32 tells them apart."""
    sound = np.clip(probabilities.astype(np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.log(sound / (1 - sound))


def _say_origin(counts: dict[str, int], *, alike: bool) -> str:
    """Such as "validation images", or "images (4 for validation, 10 for training)"."""
    kinds = ", ".join(f"{number} {_AMONG_OTHERS[kind]}" for kind, number in counts.items())
    said = f"images ({kinds})" if len(counts) > 1 else next(iter(counts))
    return said + (_ALIKE if alike else "")


def _offer_images(run: Run, classifier: Classifier) -> Iterator[tuple[str, Read]]:
    """Kinds of images, the best first; what is not asked for is not read."""
    with suppress(PolypError):
        index = run.read_index()
        for split, kind in _OWN.items():
            yield kind, partial(_read_images, index, split, classifier)
    yield _SYNTHETIC, partial(_draw_images, classifier)


def _read_images(
    index: Index, split: str, classifier: Classifier, most: int
) -> Iterator[np.ndarray]:
    rows = index.select(split)
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    for row in rows.iloc[places].itertuples():
        picture = _read_picture(index.folder, row)
        if picture is not None:
            yield prepare_picture(picture, classifier.config.data, classifier.config.model)


def _read_picture(folder: Path, row: Any) -> Picture | None:  # noqa: ANN401 - a row of a table
    try:
        data = read_file(check_file(folder / row.path), row.path)
        if hashlib.sha256(data).hexdigest() == row.sha256:
            return decode_picture(data, row.path, row.frame)
    except PolypError:
        pass
    return None


def _draw_images(classifier: Classifier, most: int) -> Iterator[np.ndarray]:
    model = classifier.config.model
    for patient in range(1, min(most, _NUM_FURTHER) + 1):
        picture = render_phantom(draw_parameters(0, patient, 1))[..., np.newaxis]
        yield fit_image(picture, model.image_size_px, model.channels)
