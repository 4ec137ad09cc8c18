"""Pictures for a table and for a page: small, lossless, in the text itself."""

import base64
from dataclasses import replace

import cv2
import numpy as np

from polyp_core.prediction import Prediction
from polyp_core.region import Box

_OUTLINE = (47, 168, 152)
_THUMBNAIL_PX = 96  # the longer side


def encode_thumbnail(picture: np.ndarray) -> str:
    """A small PNG as a data URI.

    Args:
        picture: `(height, width, 1 or 3)` uint8.
    """
    return encode_picture(shrink(picture, _THUMBNAIL_PX))


def encode_picture(picture: np.ndarray) -> str:
    """A PNG as a data URI.

    Args:
        picture: `(height, width, 1 or 3)` uint8.
    """
    pixels = picture[..., ::-1] if picture.shape[-1] == 3 else picture
    content = cv2.imencode(".png", pixels)[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def shrink(picture: np.ndarray, longest_px: int) -> np.ndarray:
    """A picture whose longer side is at most so long; smaller ones stay as they are."""
    height, width = picture.shape[:2]
    factor = longest_px / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small.reshape(size[1], size[0], picture.shape[-1])


def shrink_prediction(prediction: Prediction, longest_px: int) -> Prediction:
    """The same prediction of a smaller picture, which takes less time to draw on."""
    height, width = prediction.picture.shape[:2]
    picture = shrink(prediction.picture, longest_px)
    rows, columns = picture.shape[:2]
    left, top, right, bottom = prediction.box
    left, right = _scale(left, right, columns / width, columns)
    top, bottom = _scale(top, bottom, rows / height, rows)
    return replace(prediction, picture=picture, box=(left, top, right, bottom))


def outline_region(picture: np.ndarray, box: Box) -> np.ndarray:
    """A picture with the part that the network saw outlined, and the rest darkened.

    Args:
        picture: `(height, width, 1 or 3)` uint8.
        box: In px: left, top, right, bottom.

    Returns:
        `(height, width, 3)` uint8.
    """
    height, width = picture.shape[:2]
    shown = np.array(np.broadcast_to(picture, (height, width, 3)))
    left, top, right, bottom = box
    if box == (0, 0, width, height):
        return shown
    inside = shown[top:bottom, left:right].copy()
    shown //= 3
    shown[top:bottom, left:right] = inside
    line_px = max(1, round(max(height, width) / 200))
    cv2.rectangle(shown, (left, top), (right - 1, bottom - 1), _OUTLINE, line_px)
    return shown


def _scale(low: int, high: int, factor: float, length: int) -> tuple[int, int]:
    low = min(round(low * factor), length - 1)
    return low, max(low + 1, min(length, round(high * factor)))
