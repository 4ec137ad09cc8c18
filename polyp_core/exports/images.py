"""The images on which an export is compared: those the run was validated on, if they are here."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyp_core.access import check_file
from polyp_core.errors import PolypError
from polyp_core.images import Picture, decode_picture, fit_image, prepare_picture, read_file
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier
from polyp_core.runs import Run

MAX_IMAGES = 50
_NUM_SYNTHETIC = 10
OWN = "validation images"
SYNTHETIC = "synthetic images of the app, since no validation image of the run is here"


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
    """At most 50 validation images, evenly chosen; synthetic ones where no file is here.

    A file that is gone, has changed since or may not be read is passed over.

    Args:
        run: A finished one.
        classifier: Of it.
    """
    images, origin = list(_read_validation(run, classifier)), OWN
    if not images:
        images, origin = list(_draw_images(classifier)), SYNTHETIC
    probabilities = [classifier.predictor.predict(image)[0] for image in images]
    return Sample(
        pixels=np.stack(images), probabilities=np.array(probabilities, np.float64), origin=origin
    )


def _read_validation(run: Run, classifier: Classifier) -> Iterator[np.ndarray]:
    try:
        index = run.read_index()
    except PolypError:
        return
    rows = index.select("validation")
    places = np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES)).round().astype(int)
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


def _draw_images(classifier: Classifier) -> Iterator[np.ndarray]:
    model = classifier.config.model
    for patient in range(1, _NUM_SYNTHETIC + 1):
        picture = render_phantom(draw_parameters(0, patient, 1))[..., np.newaxis]
        yield fit_image(picture, model.image_size_px, model.channels)
