"""Cached readers of what lies on disk."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from polyp_core import queueing, workspace
from polyp_core.answers.pictures import shrink_prediction
from polyp_core.audit import Audit, audit_index
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, fingerprint_folder, read_index
from polyp_core.decision import read_decision
from polyp_core.errors import BusyError, ImageError
from polyp_core.images import Picture, crop_picture, decode_picture, fit_image
from polyp_core.intake import Item
from polyp_core.origins import read_origin
from polyp_core.prediction import Classifier, Prediction, load_classifier
from polyp_core.runs import Run
from polyp_core.safe_decoding import decode_safely
from polyp_core.words import make_visible

_SHOW_EVERY_S = 0.2
_NUM_KNOWN = 8
_LARGE_PX, _SMALL_PX = 900, 96  # longer side of a picture on a card, and in a table
_DECODING_S = "seconds of decoding"
_sharing = threading.Lock()
State = tuple[DataConfig, int]  # how a folder is read, and its files
Known = TypeVar("Known")


def load_index(config: DataConfig) -> Index:
    """The index of a folder, read again only when its files change; a bar shows a long reading.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    if config.folder == str(workspace.get_demo_data_dir().absolute()):
        draw_demo_data()
    return _load_index(config, _name_state(config))


def load_audit(config: DataConfig) -> Audit:
    """The audit of a folder; a bar shows a long comparison.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    key = _name_state(config)
    index, known = _load_index(config, key), _get_known_audits()
    audit = _recall(known, key)
    if audit is None:
        with _show_reading(config.folder, "Comparing image {} of {} …") as show:
            audit = audit_index(index, workspace.get_cache_dir(), show)
        _remember(known, key, audit)
    return audit


def _load_index(config: DataConfig, key: State) -> Index:
    known = _get_known_indexes()
    index = _recall(known, key)
    if index is None:
        with _show_reading(config.folder, "Reading file {} of {} …") as show:
            index = read_index(config, show, cache_dir=workspace.get_cache_dir())
        _remember(known, key, index)
    return index


def _name_state(config: DataConfig) -> State:
    """What an index depends on: how it is read (the region plays no part), and the files."""
    config = replace(config, region="off", region_box=DataConfig().region_box)
    return config, _fingerprint(config.folder)


@contextmanager
def _show_reading(folder: str, text: str) -> Iterator[Callable[[int, int], None]]:
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
                    "Stop reading", icon=":material/stop:", key=f"stop {text}",
                    on_click=_stop_reading, args=(folder,),
                )  # fmt: skip
        bar.progress(done / total, text=text.format(done, total))

    if st.session_state.get("stopped reading") == folder:
        st.info("Stopped. What was read is kept.", icon=":material/pause:")
        st.button("Go on reading", icon=":material/play_arrow:", on_click=_stop_reading, args=("",))
        st.stop()
    try:
        with st.spinner("Reading the images …", show_time=True):
            yield show
    finally:
        place.empty()


def _stop_reading(folder: str) -> None:
    """Note which folder shall not be read on; "" is none."""
    st.session_state["stopped reading"] = folder


def _recall(known: dict[State, Known], key: State) -> Known | None:
    """What all sessions share; what was asked for last is kept longest."""
    with _sharing:
        value = known.pop(key, None)
        if value is not None:
            known[key] = value
        return value


def _remember(known: dict[State, Known], key: State, value: Known) -> None:
    with _sharing:
        known[key] = value
        while len(known) > _NUM_KNOWN:
            known.pop(next(iter(known)))


@st.cache_resource(show_spinner=False)
def _get_known_indexes() -> dict[State, Index]:
    return {}


@st.cache_resource(show_spinner=False)
def _get_known_audits() -> dict[State, Audit]:
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
    """A run's classifier, loaded once for all sessions, with the threshold that is in use now.

    Raises:
        ModelError: As `prediction.load_classifier`.
    """
    loaded = _load_classifier(str(run.directory), str(run.read_serving().get("sha256")))
    decision = read_decision(run)
    return replace(loaded, threshold=decision.threshold, band=decision.band)


@st.cache_resource(max_entries=10, show_spinner=False)  # a study has a model a fold
def _load_classifier(directory: str, sha256: str) -> Classifier:
    return load_classifier(Run(Path(directory)))


def classify(run: Run, item: Item, *, is_small: bool = False) -> Prediction | ImageError:
    """One image's prediction, or why there is none; kept for the visit, so that it costs once.

    What is kept is bounded: of thousands of images the small pictures, of the last ones also one
    of the size of the page. What was pushed out is read again when it is asked for.

    Args:
        run: Whose model is asked.
        item: The image, of whom nobody knows what it holds.
        is_small: With a picture for a table; else with one for a card.
    """
    ask = _classify_small if is_small else _classify
    key = (item.sha256, item.frame, item.name)
    try:
        result = ask(str(run.directory), str(run.read_serving().get("sha256")), *key, item.data)
    except BusyError as error:  # which is not kept, as the next try may succeed
        return error
    if isinstance(result, str):
        return ImageError(result)
    return replace(result, **open_classifier(run).decide(result.probability))


def get_decoding_time() -> float:
    """How long this visit has waited for the decoders so far, in seconds."""
    seconds: float = st.session_state.get(_DECODING_S, 0.0)
    return seconds


# Of both, underscored arguments play no part in the key: the sha256 says what the bytes are.
@st.cache_data(max_entries=5000, max_size="100MB", show_spinner=False, scope="session")
def _classify_small(
    directory: str, model_sha256: str, sha256: str, frame: int, name: str, _data: bytes
) -> Prediction | str:
    result = _classify(directory, model_sha256, sha256, frame, name, _data)
    return result if isinstance(result, str) else shrink_prediction(result, _SMALL_PX)


@st.cache_data(max_entries=60, max_size="100MB", show_spinner=False, scope="session")
def _classify(
    directory: str, model_sha256: str, sha256: str, frame: int, name: str, _data: bytes
) -> Prediction | str:
    started = time.monotonic()
    try:
        picture = decode_safely(_data, name, frame)
    except BusyError:
        raise
    except ImageError as error:
        return str(error)
    finally:
        st.session_state[_DECODING_S] = get_decoding_time() + time.monotonic() - started
    prediction = _load_classifier(directory, model_sha256).classify_picture(picture, name, frame)
    return shrink_prediction(prediction, _LARGE_PX)


def find_time(path: Path) -> int:
    """When a file was written, in ns: part of the key of what is remembered of it; 0 for none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def list_active_runs() -> list[tuple[Run, dict[str, Any]]]:
    """The runs that train, then those that wait, whoever started them, each with its status."""
    return queueing.list_active_runs(workspace.get_queue_dir())


def find_active_run() -> Run | None:
    """The run that trains now, whoever started it, or else the next in the queue."""
    return next((run for run, _ in list_active_runs()), None)


def is_synthetic(run: Run) -> bool:
    """Whether the images that a run was trained on were drawn by this program."""
    return _is_synthetic(str(run.directory), find_time(run.path("serving.json")))


@st.cache_data(max_entries=200, show_spinner=False)
def _is_synthetic(directory: str, changed_at_ns: int) -> bool:  # for which the index is read
    return read_origin(Run(Path(directory))).is_synthetic


def name_run(run: Run) -> str:
    """What a run is called on the screen: its title, where somebody gave it one."""
    if run == workspace.DEMO_RUN:
        return "Demo model (synthetic images)"
    above = run.directory.parent
    if run.name == "ensemble":
        return make_visible(f"{above.name}, all members together")
    if above.name == "members":
        return make_visible(f"{above.parent.name}, {run.name}")
    if above.absolute() == workspace.get_rates_dir().absolute():
        return "Search for a learning rate"
    return make_visible(run.read_notes()["title"].strip() or run.name)


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


@st.cache_data(max_entries=1000, max_size="200MB", show_spinner=False)
def _fit_picture(
    path: str, sha256: str, frame: int, data: DataConfig, size_px: int, channels: int
) -> np.ndarray:
    return fit_image(crop_picture(read_picture(path, sha256, frame), data), size_px, channels)


def read_fitted(index: Index, number: int, config: RunConfig) -> np.ndarray:
    """A picture of an index as the network sees it, `(size, size, channels)` uint8.

    Raises:
        ImageError: As `images.decode_picture`.
    """
    row = index.images.loc[number]
    region = DataConfig(region=config.data.region, region_box=config.data.region_box)
    fitted: np.ndarray = _fit_picture(
        str(index.folder / row["path"]), row["sha256"], int(row["frame"]), region,
        config.model.image_size_px, config.model.channels,
    )  # fmt: skip
    return fitted
