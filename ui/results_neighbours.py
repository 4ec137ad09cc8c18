"""The training images that a model holds for most like the judged ones."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from polyp_core import workspace
from polyp_core.errors import ImageError
from polyp_core.neighbours import find_nearest
from polyp_core.runs import Run
from ui.readers import find_time
from ui.results_picture import CARD_PX, encode_alone, find_files, find_fold, find_models, locate
from ui.results_source import Judged

_THUMBNAIL_PX = 160
_sharing = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training image."""

    folder: Path
    path: str
    sha256: str
    frame: int
    label: int
    group: str


def find_neighbours(judged: Judged, numbers: Sequence[int]) -> dict[int, Neighbour]:
    """The nearest training image of each of some images, by the features of its model.

    Of a study, the model is the one whose evidence is shown. An image is left out whose model tells
    no features, as that of an earlier version.
    """
    models = find_models(judged)
    found: dict[int, Neighbour] = {}
    for fold in sorted({find_fold(judged, number) for number in numbers} & models.keys()):
        asked = [number for number in numbers if find_fold(judged, number) == fold]
        found |= _find_nearest(judged, models[fold], asked)
    return found


def draw_neighbour(neighbour: Neighbour, *, is_large: bool = False) -> bytes | None:
    """Its picture as a PNG; None where the file cannot be shown."""
    try:
        source = locate(neighbour.folder, neighbour.path, neighbour.sha256, neighbour.frame)
        return encode_alone(source, 0.0, CARD_PX if is_large else _THUMBNAIL_PX)
    except ImageError:
        return None


def _find_nearest(judged: Judged, model: Run, numbers: list[int]) -> dict[int, Neighbour]:
    """As `find_neighbours`, of one model; what was asked before is known."""
    files = find_files(judged) if judged.is_external else model
    if not (find_time(files.path("features.npy")) and find_time(model.path("features.npy"))):
        return {}
    key = (
        str(files.directory),
        find_time(files.path("features.npy")),
        str(model.directory),
        find_time(model.path("features.npy")),
    )
    known = _get_known_neighbours(*key)
    missing = [number for number in numbers if number not in known]
    if missing:
        neighbours = _ask_for_nearest(judged, files, model, missing)
        with _sharing:
            known |= neighbours
    return {number: known[number] for number in numbers if number in known}


def _ask_for_nearest(
    judged: Judged, files: Run, model: Run, numbers: list[int]
) -> dict[int, Neighbour]:
    queries = np.array(numbers)
    if judged.is_external:  # whose images stand in no row of the run
        features = files.read_features()
        if features is None or len(features) != len(judged.index.images):
            return {}
        queries = features[queries]
    nearest = find_nearest(model, queries)
    if nearest is None:
        return {}
    index = model.read_index()
    is_demo = model == workspace.DEMO_RUN  # which ships without its images
    folder = workspace.get_demo_data_dir() if is_demo else index.folder
    sums = index.images["sha256"]
    return {
        numbers[each.query]: Neighbour(
            folder=folder, path=each.path, sha256=sums[each.number], frame=int(each.frame),
            label=int(each.label), group=each.group,
        )
        for each in nearest.itertuples()
    }  # fmt: skip


@st.cache_resource(max_entries=20, show_spinner=False)
def _get_known_neighbours(
    directory: str, changed_at_ns: int, model: str, model_changed_at_ns: int
) -> dict[int, Neighbour]:
    """What all sessions share, by the number of the image."""
    return {}
