"""What the empty page shows: images to try, one of which is no ultrasound image at all."""

import cv2
import numpy as np
import streamlit as st

from polyp_core.images import decode_image
from polyp_core.workspace import DEMO_RUN
from ui.pictures import draw_demo_image, encode_png, shrink
from ui.predict_models import MODEL

STRANGER = "landscape.png"
_TRIES, _BEFORE, _THUMBNAIL_PX = "predict samples", "predict model before", 320
_NUM_EACH = 2  # patients of each class


def tries_samples() -> bool:
    """Whether this visitor tries the page with the images that ship."""
    return bool(st.session_state.get(_TRIES))


def forget_samples() -> None:
    """Put the images that ship aside, and take back the model that was chosen before."""
    st.session_state[_TRIES] = False
    if _BEFORE in st.session_state:
        st.session_state[MODEL] = st.session_state.pop(_BEFORE)


@st.cache_data(show_spinner=False)
def draw_samples() -> list[tuple[str, bytes]]:
    """Names and PNGs: four images that the demo model was not trained on, and a landscape.

    They are drawn anew and not read, so nothing is written for them.
    """
    rows = DEMO_RUN.read_index().select("validation").drop_duplicates("group")
    by_class = [rows[rows["label"] == label]["path"].head(_NUM_EACH) for label in (1, 0)]
    paths = [path for pair in zip(*by_class, strict=True) for path in pair]
    names = [path.rsplit("/", 1)[-1] for path in paths]
    samples = [(name, draw_demo_image(name)) for name in names]
    return [*samples, (STRANGER, encode_png(draw_landscape()))]


def draw_landscape(width_px: int = 400, height_px: int = 300) -> np.ndarray:
    """Hills under an evening sky, `(height, width, 3)` uint8: anything but an ultrasound image."""
    down = np.linspace(0, 1, height_px)[:, np.newaxis, np.newaxis]
    picture = (1 - down) * (70, 110, 190) + down * (250, 190, 130)
    picture = np.repeat(picture, width_px, axis=1).astype(np.uint8)
    cv2.circle(picture, (width_px * 7 // 10, height_px // 2), 34, (255, 235, 170), -1, cv2.LINE_AA)
    across = np.arange(width_px)
    for level, swing, colour in ((0.55, 60, (86, 110, 96)), (0.75, 95, (44, 74, 58))):
        ridge = height_px * (level + 0.07 * np.sin(across / swing) + 0.03 * np.sin(across / 23))
        picture[np.arange(height_px)[:, np.newaxis] > ridge] = colour
    grain = np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def show_empty() -> None:
    """What would stand here, and images to try at once."""
    with st.container(border=True, gap="small", key="predict empty"):
        st.markdown(
            "**Each image's answer will stand here**: the class in words, how probable it is, and "
            "which places of the picture speak for it and against it. Where an image is not like "
            "those the model has learned from, it gives no answer and says why."
        )
        with st.grid(5, min_column_width=56, gap="xsmall"):
            for name, data in draw_samples():
                st.image(_fit_thumbnail(data), output_format="PNG", alt=f"The sample {name}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Try these five", icon=":material/play_arrow:", type="primary", on_click=_try)
            st.caption(
                "No image at hand? Four are drawn by a computer, and the demo model was not "
                "trained on them; the fifth is no ultrasound image.",
                width="content",
            )


@st.cache_data(max_entries=5, show_spinner=False)
def _fit_thumbnail(data: bytes) -> bytes:
    """A small PNG in 4:3, so that all are of one height; what lacks is black, as the ground is."""
    image = decode_image(data)
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    height_px, width_px = image.shape[:2]
    high = max(height_px, round(width_px * 3 / 4))
    wide = max(width_px, round(high * 4 / 3))
    fitted = np.zeros((high, wide, 3), np.uint8)
    left = (wide - width_px) // 2
    fitted[:height_px, left : left + width_px] = image
    return encode_png(shrink(fitted, _THUMBNAIL_PX))


def _try() -> None:
    """With the model that they were drawn for; any other would rightly call them strangers."""
    if MODEL in st.session_state:
        st.session_state[_BEFORE] = st.session_state[MODEL]
    st.session_state[_TRIES], st.session_state[MODEL] = True, DEMO_RUN
