"""What an audit needs to know of a picture, measured once while it is decoded anyway."""

from dataclasses import dataclass

import cv2
import numpy as np

from polyp_core.annotations import find_annotations
from polyp_core.duplicates import describe_image

_WIDTH_OF_BORDER = 0.03  # of the shorter side


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Numbers of one picture.

    Attributes:
        brightness: Mean grey level, in [0, 255].
        contrast: Standard deviation of the grey levels.
        border: Mean grey level of the outermost 3 % on each side.
        is_colour: Whether red, green and blue differ visibly anywhere.
        text_share: Part of the area under text-like marks, in [0, 1].
        num_calipers: Small crosses, as set for measuring.
        descriptor: For `duplicates.find_near_duplicates`.
    """

    brightness: float
    contrast: float
    border: float
    is_colour: bool
    text_share: float
    num_calipers: int
    descriptor: np.ndarray


def measure_picture(picture: np.ndarray) -> Measures:
    """Measure a picture of `(height, width, 1 or 3)` uint8."""
    is_single = picture.shape[-1] == 1
    grey = picture[..., 0] if is_single else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    marks = find_annotations(picture)
    return Measures(
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        border=_measure_border(grey),
        is_colour=marks.has_colour,
        text_share=marks.text_share,
        num_calipers=marks.num_calipers,
        descriptor=describe_image(picture),
    )


def _measure_border(grey: np.ndarray) -> float:
    width_px = max(1, round(_WIDTH_OF_BORDER * min(grey.shape)))
    inner = grey[width_px:-width_px, width_px:-width_px]
    size = grey.size - inner.size
    return (float(cv2.sumElems(grey)[0]) - _sum(inner)) / size


def _sum(grey: np.ndarray) -> float:
    return float(cv2.sumElems(grey)[0]) if grey.size else 0.0
