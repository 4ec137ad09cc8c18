"""Cached readers of what lies on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st

from polyp_core import workspace
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, fingerprint_folder, read_index
from polyp_core.images import decode_image
from polyp_core.prediction import Classifier, Prediction, load_classifier
from polyp_core.runs import Run, list_runs
from ui.pictures import shrink


def load_index(config: DataConfig) -> Index:
    """The index of a folder, read again only when its files change.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    with st.spinner("Reading the images …", show_time=True):
        if config.folder == str(workspace.get_demo_data_dir().absolute()):
            draw_demo_data()
        return _read_index(config, fingerprint_folder(config.folder))


def draw_demo_data() -> None:
    """Draw the demo images on the first start, with a bar."""
    if workspace.has_demo_data():
        return
    bar = st.progress(0.0, text="Drawing the demo images, once …")

    def show(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Drawing demo image {done} of {total}, once …")

    workspace.ensure_demo_data(show)
    bar.empty()


@st.cache_data(max_entries=4, show_spinner=False)
def _read_index(config: DataConfig, fingerprint: int) -> Index:
    return read_index(config)


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
    return replace(prediction, picture=shrink(prediction.picture))


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
def read_picture(path: str, sha256: str) -> np.ndarray:
    """An image file of the data set at its full size; the hash says which content is meant.

    Raises:
        ImageError: As `images.decode_image`.
    """
    return decode_image(Path(path))


def list_demo_pictures() -> list[Path]:
    """Images of the demo set that the demo model has never seen, the classes taking turns."""
    folder = workspace.get_demo_data_dir()
    rows = workspace.DEMO_RUN.read_index().select("validation")
    by_class = [rows[rows["label"] == label]["path"] for label in (1, 0)]
    paths = [folder / path for pair in zip(*by_class, strict=False) for path in pair]
    return [path for path in paths if path.is_file()]
