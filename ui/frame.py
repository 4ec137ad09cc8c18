"""The frame of every page: navigation, the one error box, the lines that stand everywhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import streamlit as st
from PIL import Image

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.decision import read_decision, read_worth
from polyp_core.errors import PolypError
from polyp_core.runs import Run
from ui.pictures import is_dark
from ui.readers import list_active_runs, name_run
from ui.sign_in import ask_to_sign_in, show_signed_in
from ui.words import escape, name_settings

PAGES = (
    ("app.py", "Home", ":material/home:"),
    ("pages/data.py", "Data", ":material/imagesmode:"),
    ("pages/train.py", "Train", ":material/model_training:"),
    ("pages/results.py", "Results", ":material/monitoring:"),
    ("pages/predict.py", "Predict", ":material/center_focus_strong:"),
)
NOTICE = "For research and teaching, not for diagnosis."
_LOOK_EVERY_S = 1.0  # as the cards and the train page do
_PRIVACY = ":material/lock: Nothing leaves this computer. Models and results stay in its folders."
_DEMO_PRIVACY = (
    ":material/lock: What you upload goes to the computer that runs this demo, stays in its memory "
    "and is gone when you close the page. Upload only images without names that may be shared."
)
_DEMO_BANNER = (
    "**A shared demo** of a program with which you train and test a classifier of ultrasound "
    "images. Look at everything, and try images of your own, without names and such as may be "
    "shared, on the predict page. Training and saving are off, and nothing you do here is kept. On "
    "your own computer it does everything: the project's README says how to start it."
)
# Streamlit writes white on a primary button. On the dark theme's accent, which must be bright
# enough for text on the dark ground, that is 2.9 to 1; the ground's own colour is 6.3 to 1.
_DARK_BUTTONS = """<style>
[data-testid^="stBaseButton-primary"]:not(:disabled),
[data-testid^="stBaseButton-primary"]:not(:disabled):is(:hover, :focus, :active) { color: #141414; }
</style>"""


def begin_page(title: str) -> None:
    """Frame and navigation, the same however the page was reached.

    Where the owner asks for it, the page ends here for whoever has not signed in.
    """
    st.set_page_config(page_title=f"{title} · Polyp", page_icon=_draw_icon(), layout="wide")
    if is_dark():
        st.html(_DARK_BUTTONS)
    ask_to_sign_in()
    if "toast" in st.session_state:
        text, icon = st.session_state.pop("toast")
        st.toast(text, icon=f":material/{icon}:")
    with st.sidebar:
        st.markdown("### Polyp")
        for path, name, page_icon in PAGES:
            st.page_link(path, label=name, icon=page_icon, width="stretch")
        st.space("small")
        if title != "Train":  # which shows it anyway
            run_every = _LOOK_EVERY_S if list_active_runs() else None
            st.fragment(_show_running_run, run_every=run_every)()
        st.caption(_DEMO_PRIVACY if is_demo() else _PRIVACY)
        show_signed_in()
    if is_demo():
        st.info(_DEMO_BANNER, icon=":material/public:")


@contextmanager
def errors() -> Iterator[None]:
    """Show what the user can repair as one calm box; let bugs through."""
    try:
        yield
    except PolypError as error:
        show_problem(str(error))


def show_problem(text: str) -> None:
    """The one error box. The text may hold file names, so it is shown literally.

    Settings are called by their labels, as the pages call them.
    """
    st.error(escape(name_settings(text)), icon=":material/error:")


def say_off(what: str) -> None:
    """One line where something would stand that a shared demo does not do."""
    st.caption(f":material/visibility: {what} is off on this shared demo.")


def toast_next(text: str, icon: str) -> None:
    """Say something once the page is drawn anew, which would take a toast of now away.

    Args:
        text: Markdown.
        icon: Of Material, without its colons: "delete".
    """
    st.session_state["toast"] = (text, icon)


def show_notice() -> None:
    """The one line that stands on every page with a prediction or a result."""
    st.caption(f":material/info: {NOTICE}")


def show_credentials(run: Run) -> None:
    """What a model's validation was at the threshold in use, in one sentence."""
    metrics = read_worth(run)
    if metrics is not None:
        level, unit = words.get_main_level(metrics)
        doubt = words.say_doubt(level, read_decision(run).goal.purpose)
        icon = "info" if doubt else "verified"
        st.caption(f":material/{icon}: Validation: {words.say_worth(level, unit)}. {doubt}")


@st.cache_data(show_spinner=False)
def _draw_icon() -> Image.Image:
    """The browser tab's icon, a scan sector; a Material icon would be fetched from outside."""
    icon = np.zeros((64, 64, 4), np.uint8)
    cv2.ellipse(icon, (32, 4), (54, 54), 0, 50, 130, (0, 119, 106, 255), -1, cv2.LINE_AA)
    cv2.circle(icon, (32, 40), 8, (230, 159, 0, 255), -1, cv2.LINE_AA)
    return Image.fromarray(icon)


def _show_running_run() -> None:
    for run, status in list_active_runs()[:1]:
        does = "is at work" if status["state"] == "running" else "waits"
        st.info(
            f"**{escape(name_run(run))}** {does}. {escape(str(status['message']))}",
            icon=":material/model_training:",
        )
        st.page_link("pages/train.py", label="Watch it", icon=":material/visibility:")
