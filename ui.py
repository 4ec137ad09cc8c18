"""What the pages share: frame and navigation, the draft of a run, cached readers, pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import streamlit as st
from PIL import Image

from polyp_core import words, workspace
from polyp_core.config import DataConfig, RunConfig, Section
from polyp_core.dataset import Index, read_index
from polyp_core.errors import PolypError
from polyp_core.images import decode_image
from polyp_core.prediction import Classifier, Prediction, load_classifier
from polyp_core.presets import PRESETS
from polyp_core.runs import Run, list_runs

PAGES = (
    ("app.py", "Home", ":material/home:"),
    ("pages/data.py", "Data", ":material/imagesmode:"),
    ("pages/train.py", "Train", ":material/model_training:"),
    ("pages/predict.py", "Predict", ":material/center_focus_strong:"),
)
CHART = {"displayModeBar": False}
NOTICE = "For research and teaching, not for diagnosis."


def begin_page(title: str) -> None:
    """Frame and navigation, the same however the page was reached."""
    st.set_page_config(page_title=f"{title} · Polyp", page_icon=_draw_icon(), layout="wide")
    with st.sidebar:
        st.markdown("### Polyp")
        for path, name, page_icon in PAGES:
            st.page_link(path, label=name, icon=page_icon, width="stretch")
        st.space("small")
        _show_running_run(title)
        st.caption(
            ":material/lock: Nothing leaves this computer: images, models and results stay in its "
            "folders."
        )


@contextmanager
def errors() -> Iterator[None]:
    """Show what the user can repair as one calm box; let bugs through."""
    try:
        yield
    except PolypError as error:
        show_problem(str(error))


def show_problem(text: str) -> None:
    """The one error box. The text may hold file names, so it is shown literally."""
    st.error(escape(text), icon=":material/error:")


def escape(text: str) -> str:
    """Markdown that shows the text literally; file names may hold anything."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]()#+-.!<>|:$~&" else mark for mark in text)


# --- the draft: what the next run will be, kept in the session across pages


def get_preset_name() -> str:
    """The chosen preset."""
    name = st.session_state.get("preset", "compact")
    return name if name in PRESETS else "compact"


def choose_preset(name: str) -> None:
    """Choose a preset, which sets every setting to its value."""
    st.session_state["preset"] = name
    for key in [str(key) for key in st.session_state]:
        if key.startswith("setting ") and not key.startswith("setting data."):
            del st.session_state[key]


def get_draft() -> RunConfig:
    """The preset with the changes made on the pages."""
    config = PRESETS[get_preset_name()].config
    sections: dict[str, Any] = {"data": get_data_config()}
    for name in ("augmentation", "model", "training"):
        section = getattr(config, name)
        sections[name] = replace(section, **_get_changes(name, section))
    return replace(config, **sections)


def get_data_config() -> DataConfig:
    """The chosen images: the demo set, or the user's folder.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    folder = str(st.session_state.get("folder") or "").strip()
    if st.session_state.get("source", "demo") == "demo" or not folder:
        return DataConfig(folder=str(workspace.get_demo_data_dir().resolve()))
    config = DataConfig(folder=str(Path(folder).expanduser()))
    return replace(config, **_get_changes("data", config))


def show_preset_choice(label: str) -> None:
    """A select box of the presets; choosing one sets every setting to its value."""
    st.session_state["preset choice"] = get_preset_name()
    st.selectbox(
        label,
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        key="preset choice",
        on_change=lambda: choose_preset(st.session_state["preset choice"]),
    )


def show_source_choice() -> None:
    """The demo set, or a folder of the user's own."""
    st.session_state.setdefault("source", "demo")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Images",
            ["demo", "folder"],
            format_func=lambda name: {"demo": "Demo images", "folder": "My own folder"}[name],
            required=True,
            key="source",
            persist_state="session",
        )
        if st.session_state["source"] != "folder":
            return
        st.text_input(
            "Folder on this computer",
            key="folder",
            placeholder="such as C:\\ultrasound\\polyps or ~/polyps",
            help="With train/ and validation/, or with one folder per class. Nothing in it is "
            "changed.",
            persist_state="session",
        )
        with st.popover("How it is read", icon=":material/tune:"):
            for name in ("positive_class", "group_pattern", "validation_fraction"):
                show_setting("data", name)


def show_settings(section_name: str, leave_out: tuple[str, ...] = ()) -> None:
    """A widget for every setting of a section that has one."""
    grid = st.grid(3)
    for item in fields(getattr(RunConfig(), section_name)):
        if item.name not in leave_out:
            with grid:
                show_setting(section_name, item.name)


def show_setting(section_name: str, name: str) -> None:
    """A widget for one setting; label, bounds, unit and help come from the config."""
    section = getattr(get_draft(), section_name)
    item = {item.name: item for item in fields(section)}[name]
    limits, key = item.metadata, _setting_key(section_name, name)
    label = limits["label"] + (f" ({limits['unit']})" if limits["unit"] else "")
    st.session_state.setdefault(key, getattr(section, name))
    options: dict[str, Any] = {"key": key, "help": limits["help"], "persist_state": "session"}
    if item.type is bool:
        st.toggle(label, **options, wrap=True)
    elif limits["choices"]:
        st.selectbox(label, limits["choices"], **options)
    elif item.type is str:
        st.text_input(label, **options)
    elif item.type is int:
        st.number_input(label, int(limits["low"]), int(limits["high"]), step=1, **options)
    elif section_name == "training":
        st.number_input(label, limits["low"], limits["high"], format="%.4g", **options)
    elif item.type is float:
        step = 1.0 if limits["unit"] else 0.05
        st.slider(label, limits["low"], limits["high"], step=step, format="%.4g", **options)


def list_changes(config: RunConfig) -> list[str]:
    """What differs from the preset, in words such as "Rotation 30 °"."""
    preset, changes = PRESETS[config.preset].config, []
    for section_name in ("augmentation", "model", "training"):
        section = getattr(config, section_name)
        for item in fields(section):
            value = getattr(section, item.name)
            if value != getattr(getattr(preset, section_name), item.name):
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                changes.append(f"{item.metadata['label']} {shown} {item.metadata['unit']}".strip())
    return changes


def _get_changes(section_name: str, section: Section) -> dict[str, Any]:
    keys = {item.name: _setting_key(section_name, item.name) for item in fields(section)}
    return {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}


def _setting_key(section_name: str, name: str) -> str:
    return f"setting {section_name}.{name}"


# --- cached readers


def load_index(config: DataConfig) -> Index:
    """The index of a folder, read again only when its files change.

    Raises:
        DatasetError: As `dataset.read_index`.
    """
    with st.spinner("Reading the images …", show_time=True):
        if config.folder == str(workspace.get_demo_data_dir().resolve()):
            draw_demo_data()
        return _read_index(config, _fingerprint(Path(config.folder)))


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


def _fingerprint(folder: Path) -> int:
    """Changes when a file in the folder comes, goes or is written."""
    if not folder.is_dir():
        return 0
    stats = [(str(path), path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return hash(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))


def open_classifier(run: Run) -> Classifier:
    """A run's classifier, loaded once for all sessions.

    Raises:
        ModelError: As `prediction.load_classifier`.
    """
    return _load_classifier(str(run.directory), str(run.read_serving().get("sha256")))


@st.cache_resource(max_entries=3, show_spinner=False)
def _load_classifier(directory: str, sha256: str) -> Classifier:
    return load_classifier(Run(Path(directory)))


@st.cache_data(max_entries=50, show_spinner=False, scope="session")
def classify(directory: str, sha256: str, data: bytes, name: str) -> Prediction:
    """One upload's prediction, kept for the session so that moving a slider costs nothing."""
    return _load_classifier(directory, sha256).classify(data, name)


def find_active_run() -> Run | None:
    """The run that trains now, whoever started it."""
    for run in list_runs(workspace.get_runs_dir())[:20]:
        if run.read_status()["state"] in ("queued", "running"):
            return run
    return None


def name_run(run: Run) -> str:
    """What a run is called on the screen."""
    if run == workspace.DEMO_RUN:
        return "Demo model (synthetic images)"
    return run.name


@st.cache_data(max_entries=200, max_size="200MB", show_spinner=False)
def read_picture(path: str) -> np.ndarray:
    """An image file of the data set at its full size.

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


# --- pictures and colours


def is_dark() -> bool:
    """Whether the visitor's theme is dark."""
    return bool(st.context.theme.type == "dark")


def get_class_colours() -> tuple[str, str]:
    """The colours of the negative and the positive class, everywhere the same."""
    return ("#56B4E9" if is_dark() else "#0072B2"), "#E69F00"


def show_image(
    image: np.ndarray,
    alt: str,
    *,
    caption: str | None = None,
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """Show an array as it is, losslessly.

    Args:
        image: `(height, width, 1 or 3)` uint8.
        alt: What it shows, for those who cannot see it.
        caption: Shown below, literally.
        width: "stretch" fills the column.
    """
    caption = None if caption is None else escape(caption)
    st.image(encode_png(image), caption=caption, width=width, output_format="PNG", alt=alt)


def encode_png(image: np.ndarray) -> bytes:
    """A PNG of an RGB or grey array; compressed lightly, because speed counts more here."""
    pixels = image[..., ::-1] if image.shape[-1] == 3 else image
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def show_notice() -> None:
    """The one line that stands on every page with a prediction or a result."""
    st.caption(f":material/info: {NOTICE}")


def show_credentials(run: Run) -> None:
    """What a model's validation was, in one sentence."""
    metrics = run.read_metrics()
    if metrics is not None:
        level, unit = words.get_main_level(metrics)
        st.caption(
            f":material/verified: Validation: {words.say_worth(level, unit)}. "
            f"{words.say_doubt(level)}"
        )


@st.cache_data(show_spinner=False)
def _draw_icon() -> Image.Image:
    """The browser tab's icon, a scan sector; a Material icon would be fetched from outside."""
    icon = np.zeros((64, 64, 4), np.uint8)
    cv2.ellipse(icon, (32, 4), (54, 54), 0, 50, 130, (0, 119, 106, 255), -1, cv2.LINE_AA)
    cv2.circle(icon, (32, 40), 8, (230, 159, 0, 255), -1, cv2.LINE_AA)
    return Image.fromarray(icon)


def _show_running_run(title: str) -> None:
    run = find_active_run()
    if run is not None and title != "Train":
        status = run.read_status()
        st.info(
            f"**{escape(run.name)}** is training. {escape(status['message'])}",
            icon=":material/model_training:",
        )
        st.page_link("pages/train.py", label="Watch it", icon=":material/visibility:")
