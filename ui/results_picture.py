"""Images that were judged: their pictures, and what the model saw in them.

A file is read and classified when its image is shown, and not before.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import streamlit as st

from polyp_core import workspace
from polyp_core.access import check_file
from polyp_core.errors import AccessError, ImageError, ModelError
from polyp_core.evaluation_jobs import EVALUATIONS, get_home
from polyp_core.foreign_files import ELSEWHERE
from polyp_core.images import decode_picture, read_file
from polyp_core.prediction import Prediction, draw_overlay
from polyp_core.runs import Run
from ui.pictures import draw_demo_image, has_evidence, shrink
from ui.readers import open_classifier
from ui.region import outline
from ui.results_source import Judged

OPACITY = 70  # percent, of the strongest evidence
CARD_PX, _LARGE_PX = 480, 1200  # of the longer side: enough for fine screens
_WIDEST, _NARROWEST = 16 / 9, 1.0  # width over height of a picture on a card
_DEMO_NAME = re.compile(r"patient-\d{3,5}_\d{1,3}\.png")
_NO_FILE = -1
STAYED = "This run's images stayed on the computer that it was trained on."
Row = Any  # a named tuple of one row of the judged table


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that the picture and the evidence of one image depend on.

    `changed_at_ns` is -1 where there is no file, but the image can be drawn. `sha256` is "" where
    any content is the one that is meant.
    """

    path: str
    sha256: str
    frame: int
    changed_at_ns: int
    model: str | None = None  # the folder of its run
    model_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What can be shown of an image.

    Attributes:
        picture: A PNG; None where the file cannot be shown.
        overlay: The same under the evidence for a class; None where there is no model to ask.
        has_evidence: Whether there is any that can be seen.
        file_problem: Why there is no picture, or "".
        model_problem: Why there is no overlay, or "".
    """

    picture: bytes | None = None
    overlay: bytes | None = None
    has_evidence: bool = False
    file_problem: str = ""
    model_problem: str = ""


def find_files(judged: Judged) -> Run:
    """Beside what the predictions lie: the run, the study or the evaluation.

    Of the demo model it is a folder of the workspace, since the model is a part of the program.
    """
    if judged.study is not None:
        return judged.study.files
    home = get_home(judged.run)
    return Run(home / EVALUATIONS / judged.kind if judged.is_external else home)


def find_models(judged: Judged) -> dict[int, Run]:
    """By fold, a finished model that has not seen the images of it; 0 stands for any fold."""
    if judged.study is None:
        return {0: judged.run}
    models: dict[int, Run] = {}
    for member in judged.study.whole_members:  # of equals the first seed
        if member.fold not in models and member.read_state() == "finished":
            models[member.fold] = member.run
    return models


def find_fold(judged: Judged, number: int) -> int:
    """The fold of an image of a study; else 0."""
    return 0 if judged.study is None else int(judged.index.images["fold"][number])


def find_aspect(judged: Judged, rows: Sequence[Row]) -> float:
    """Width over height of cards beside each other, so that their pictures are of one height."""
    images = judged.index.images.loc[[row.number for row in rows]]
    widths = images["width_px"] / images["height_px"]
    return float(min(_WIDEST, max([_NARROWEST, *widths])))


def draw_images(
    judged: Judged, rows: Sequence[Row], positives: Sequence[bool], *, opacity: int = OPACITY,
    aspect: float | None = None, is_large: bool = False, with_overlay: bool = True,
) -> dict[int, Shown]:  # fmt: skip
    """The pictures of some images, and the evidence laid over them.

    Args:
        judged: Whose images.
        rows: Of the judged table.
        positives: Of each, whether to show what speaks for the positive class, or for the other.
        opacity: In percent.
        aspect: Width over height of all; what a picture lacks is left transparent. None is that of
            each picture.
        is_large: At the size of the dialog, with the part outlined that the network saw.
        with_overlay: Whether the evidence is wanted, for which each image must be classified.

    Returns:
        By the image's number. What cannot be shown says why, and spoils no other.
    """
    models, shown = (find_models(judged) if with_overlay else {}), {}
    how = (opacity, 0.0 if aspect is None else round(aspect, 2))
    size_px = _LARGE_PX if is_large else CARD_PX
    pairs = zip(rows, positives, strict=True)
    # Model by model, as few of them are kept open.
    for row, positive in sorted(pairs, key=lambda pair: find_fold(judged, pair[0].number)):
        model = models.get(find_fold(judged, row.number))
        shown[row.number] = _draw(judged, row, model, (positive, *how, size_px))
    return shown


def _draw(judged: Judged, row: Row, model: Run | None, how: tuple[bool, int, float, int]) -> Shown:
    sha256 = judged.index.images["sha256"][row.number]
    try:
        source = locate(judged.index.folder, row.path, sha256, int(row.frame))
        if model is None:
            problem = "There is no finished model that has not seen them."
            return Shown(picture=encode_alone(source, *how[2:]), model_problem=problem)
        asked = replace(
            source, model=str(model.directory), model_sha256=str(model.read_serving().get("sha256"))
        )
        try:
            picture, overlay, has_evidence = _encode_pair(asked, *how)
        except ModelError as error:
            return Shown(picture=encode_alone(source, *how[2:]), model_problem=str(error))
        return Shown(picture=picture, overlay=overlay, has_evidence=has_evidence)
    except ImageError as error:
        return Shown(file_problem=str(error))


def is_elsewhere(folder: Path) -> bool:
    """Whether the images of a run that was brought in stayed where it was trained."""
    return folder.parts[:1] == (ELSEWHERE,)


def locate(folder: Path, path: str, sha256: str, frame: int) -> Source:
    """A file of a data set, or that it can be drawn.

    Raises:
        ImageError: If it is gone, or may not be shown.
    """
    file = folder / path
    if is_elsewhere(folder):
        raise ImageError(STAYED)
    try:
        check_file(file)
    except AccessError as error:
        raise ImageError(
            "The file lies outside of the folders that may be shown here. Whoever runs this server "
            "can open its folder (POLYP_DATA_ROOTS)."
        ) from error
    is_demo = folder.absolute() == workspace.get_demo_data_dir().absolute()
    is_drawn = is_demo and _DEMO_NAME.fullmatch(file.name) is not None
    if is_drawn:  # by this computer, whose processor may round a grey level otherwise
        sha256 = ""
    try:
        changed_at_ns = file.stat().st_mtime_ns
    except (OSError, ValueError) as error:
        # The demo model was trained on more patients than the demo set has; all can be drawn.
        if not is_drawn:
            raise ImageError(
                f"The file is no longer in '{file.parent}'. Put it back there to see it."
            ) from error
        changed_at_ns = _NO_FILE
    return Source(path=str(file), sha256=sha256, frame=frame, changed_at_ns=changed_at_ns)


def _read(source: Source) -> bytes:
    """The file's bytes, if they are still those that were judged."""
    name = Path(source.path).name
    if source.changed_at_ns == _NO_FILE:
        data = draw_demo_image(name)
    else:
        data = read_file(Path(source.path), name)
    if source.sha256 and hashlib.sha256(data).hexdigest() != source.sha256:
        raise ImageError(
            f"'{name}' has changed since it was judged, so it is not shown. Put the old file back "
            "to see it."
        )
    return data


@st.cache_data(max_entries=500, max_size="300MB", show_spinner=False)
def _classify(source: Source) -> Prediction:
    data, name = _read(source), Path(source.path).name
    prediction = open_classifier(Run(Path(str(source.model)))).classify(data, name, source.frame)
    return _shrink(prediction, _LARGE_PX)


@st.cache_data(max_entries=2000, max_size="200MB", show_spinner=False)
def _encode_pair(
    source: Source, positive: bool, opacity: int, aspect: float, size_px: int
) -> tuple[bytes, bytes, bool]:
    prediction = _shrink(_classify(source), size_px)
    overlay = draw_overlay(prediction, opacity / 100, positive=positive)
    if size_px == _LARGE_PX:
        overlay = outline(overlay, prediction.box)
    seen = has_evidence(prediction, positive=positive)
    return _encode(prediction.picture, aspect), _encode(overlay, aspect), seen


@st.cache_data(max_entries=2000, max_size="100MB", show_spinner=False)
def encode_alone(source: Source, aspect: float, size_px: int) -> bytes:
    """The picture as a PNG without evidence, `aspect` as in `pad`, its longer side at most so long.

    Raises:
        ImageError: If it cannot be read, or is not what was judged.
    """
    name = Path(source.path).name
    picture = decode_picture(_read(source), name, source.frame)
    return _encode(shrink(picture.pixels, size_px), aspect)


def _shrink(prediction: Prediction, longest_px: int) -> Prediction:
    picture = shrink(prediction.picture, longest_px)
    factor = len(picture) / len(prediction.picture)
    left, top, right, bottom = (round(edge * factor) for edge in prediction.box)
    box = (left, top, max(right, left + 1), max(bottom, top + 1))
    return replace(prediction, picture=picture, box=box)


def pad(image: np.ndarray, aspect: float) -> np.ndarray:
    """An image in the middle of one with this width over height, the rest transparent.

    Args:
        image: `(height, width, 1 or 3)` uint8.
        aspect: Width over height; 0 is that of the image.

    Returns:
        `(height, width, 4)` uint8 RGBA; the pixels of the image are as they were.
    """
    height_px, width_px = image.shape[:2]
    wide = max(width_px, round(height_px * aspect))
    high = max(height_px, round(width_px / aspect)) if aspect else height_px
    padded = np.zeros((high, wide, 4), np.uint8)
    top, left = (high - height_px) // 2, (wide - width_px) // 2
    inside = padded[top : top + height_px, left : left + width_px]
    inside[..., :3], inside[..., 3] = image, 255
    return padded


def _encode(image: np.ndarray, aspect: float) -> bytes:
    """A PNG of these proportions; compressed lightly, because speed counts more here."""
    pixels = pad(image, aspect)[..., [2, 1, 0, 3]]  # as OpenCV has them
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
