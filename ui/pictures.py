"""Pictures as they are, and the colours that are the same everywhere."""

import re
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import streamlit as st

from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Prediction
from ui.words import escape

_MIN_EVIDENCE = 0.05  # of full colour; less cannot be seen


def is_dark() -> bool:
    """Whether the visitor's theme is dark."""
    return bool(st.context.theme.type == "dark")


def get_class_colours() -> tuple[str, str]:
    """The colours of the negative and the positive class, everywhere the same."""
    return ("#56B4E9" if is_dark() else "#0072B2"), "#E69F00"


def has_evidence(prediction: Prediction, *, positive: bool) -> bool:
    """Whether any of what speaks for the positive class, or against it, can be seen."""
    return bool((prediction.saliency if positive else -prediction.saliency).max() >= _MIN_EVIDENCE)


def draw_demo_image(name: str) -> bytes:
    """A PNG of an image of the demo set, by the numbers in its name."""
    patient, image = map(int, re.findall(r"\d+", name))
    return encode_png(render_phantom(draw_parameters(0, patient, image))[..., np.newaxis])


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


def show_row(images: Sequence[np.ndarray], captions: Sequence[str], height_px: int = 140) -> None:
    """Pictures side by side, all of one height, each with its caption below, shown literally."""
    with st.container(horizontal=True, gap="small"):
        for image, caption in zip(images, captions, strict=True):
            height, width = image.shape[:2]
            width_px = max(24, min(3 * height_px, round(height_px * width / height)))
            with st.container(width=max(width_px, 100)):
                small = shrink(image, 2 * max(width_px, height_px))
                st.image(encode_png(small), width=width_px, output_format="PNG", alt=caption)
                st.caption(escape(caption))


def shrink(image: np.ndarray, longest_px: int = 800) -> np.ndarray:
    """A picture whose longer side is at most so long; smaller ones stay as they are."""
    factor = longest_px / max(image.shape[:2])
    if factor >= 1:
        return image
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], image.shape[-1])


def encode_png(image: np.ndarray) -> bytes:
    """A PNG of an RGB or grey array; compressed lightly, because speed counts more here."""
    pixels = image[..., ::-1] if image.shape[-1] == 3 else image
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
