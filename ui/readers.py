"""Cached readers of what lies on disk."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from polyp_core import workspace
from polyp_core.audit import Audit, audit_index
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, fingerprint_folder, read_index
from polyp_core.images import Picture, decode_picture
from polyp_core.prediction import Classifier, Prediction, load_classifier
from polyp_core.runs import Run, list_runs
from ui.pictures import shrink

_SHOW_EVERY_S = 0.2
_NUM_KNOWN = 4


def load_index(config: DataConfig) -> Index:
    """The index of a folder, read again only when its files change; a bar shows a long reading.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    if config.folder == str(workspace.get_demo_data_dir().absolute()):
        draw_demo_data()
    key, known = _name_state(config), _get_known_indexes()
    if key not in known:
        with _show_reading("Reading file {} of {} …") as show:
            _remember(known, key, read_index(config, show, cache_dir=workspace.get_cache_dir()))
    return known[key]


def load_audit(config: DataConfig) -> Audit:
    """The audit of a folder; a bar shows a long comparison.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    index, key, known = load_index(config), _name_state(config), _get_known_audits()
    if key not in known:
        with _show_reading("Comparing image {} of {} …") as show:
            _remember(known, key, audit_index(index, workspace.get_cache_dir(), show))
    return known[key]


def _name_state(config: DataConfig) -> tuple[DataConfig, int]:
    """What an index depends on: how it is read (the region plays no part), and the files."""
    config = replace(config, region="off", region_box=DataConfig().region_box)
    return config, _fingerprint(config.folder)


@contextmanager
def _show_reading(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, and a button that stops; what was read until then is kept."""
    place = st.empty()
    bar: DeltaGenerator | None = None
    shown_at = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown_at, bar
        if time.monotonic() - shown_at < _SHOW_EVERY_S and done < total:
            return
        shown_at = time.monotonic()
        if bar is None:
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.progress(0.0)
                st.button(
                    "Stop", icon=":material/stop:", on_click=_stop_reading, key=f"stop {text}"
                )
        bar.progress(done / total, text=text.format(done, total))

    if st.session_state.pop("stopped reading", False):
        st.info("Stopped. What was read is kept.", icon=":material/pause:")
        if not st.button("Go on reading", icon=":material/play_arrow:"):
            st.stop()
    with st.spinner("Reading the images …", show_time=True):
        yield show
    place.empty()


def _stop_reading() -> None:
    st.session_state["stopped reading"] = True


def _remember(known: dict[Any, Any], key: object, value: object) -> None:
    known[key] = value
    while len(known) > _NUM_KNOWN:
        known.pop(next(iter(known)), None)


@st.cache_resource(show_spinner=False)
def _get_known_indexes() -> dict[Any, Index]:
    return {}


@st.cache_resource(show_spinner=False)
def _get_known_audits() -> dict[Any, Audit]:
    return {}


@st.cache_data(ttl=2, max_entries=20, show_spinner=False)
def _fingerprint(folder: str) -> int:
    return fingerprint_folder(folder)


def draw_demo_data() -> None:
    """Draw the demo images on the first start, with a bar."""
    if workspace.has_demo_data():
        return
    bar = st.progress(0.0, text="Drawing the demo images, once …")

    def show(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Drawing demo image {done} of {total}, once …")

    workspace.ensure_demo_data(show)
    bar.empty()


def open_classifier(run: Run) -> Classifier:
    """A run's classifier, loaded once for all sessions.

    Raises:
        ModelError: As `prediction.load_classifier`.
    """
    return _load_classifier(str(run.directory), str(run.read_serving().get("sha256")))


@st.cache_resource(max_entries=3, show_spinner=False)
def _load_classifier(directory: str, sha256: str) -> Classifier:
    return load_classifier(Run(Path(directory)))


@st.cache_data(max_entries=100, show_spinner=False, scope="session")
def classify(directory: str, sha256: str, data: bytes, name: str) -> Prediction:
    """One upload's prediction, its picture made small enough for the page.

    Kept for the session, so that choosing a page or a model back costs nothing.
    """
    prediction = _load_classifier(directory, sha256).classify(data, name)
    picture = shrink(prediction.picture)
    factor = len(picture) / len(prediction.picture)
    left, top, right, bottom = (round(edge * factor) for edge in prediction.box)
    return replace(
        prediction, picture=picture, box=(left, top, max(right, left + 1), max(bottom, top + 1))
    )


def find_active_run() -> Run | None:
    """The run that trains now, whoever started it."""
    for run in list_runs(workspace.get_runs_dir()):
        if run.read_status()["state"] in ("queued", "running"):
            return run
    return None


def name_run(run: Run) -> str:
    """What a run is called on the screen."""
    if run == workspace.DEMO_RUN:
        return "Demo model (synthetic images)"
    return run.name


@st.cache_data(max_entries=200, max_size="200MB", show_spinner=False)
def read_picture(path: str, sha256: str, frame: int = 0) -> Picture:
    """A picture of the data set at its full size; the hash says which content is meant.

    Raises:
        ImageError: As `images.decode_picture`.
    """
    return decode_picture(Path(path), frame=frame)


def read_row(index: Index, number: int) -> Picture:
    """A picture of an index by its number.

    Raises:
        ImageError: As `images.decode_picture`.
    """
    row = index.images.loc[number]
    picture: Picture = read_picture(
        str(index.folder / row["path"]), row["sha256"], int(row["frame"])
    )
    return picture


def list_demo_pictures() -> list[Path]:
    """Images of the demo set that the demo model has never seen, the classes taking turns."""
    folder = workspace.get_demo_data_dir()
    rows = workspace.DEMO_RUN.read_index().select("validation")
    by_class = [rows[rows["label"] == label]["path"] for label in (1, 0)]
    paths = [folder / path for pair in zip(*by_class, strict=False) for path in pair]
    return [path for path in paths if path.is_file()]
