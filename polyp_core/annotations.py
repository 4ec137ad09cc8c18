"""Marks burned into a picture: writing, calipers and colour.

Echoes are blurred across the beam, marks are drawn with sharp edges. So writing is found as bright
upright strokes, a few pixels wide and several in a row; a caliper as a thin cross.
"""

from dataclasses import dataclass

import cv2
import numpy as np

_MIN_PX = 100  # below, marks and echoes cannot be told apart
_MIN_CONTRAST = 40  # grey levels between a mark and its surround, at least
_CONTRAST_FACTOR = 2.0  # the same, times the picture's own contrast between near pixels
_STROKE_HIGH_PX, _STROKE_WIDE_PX = 2, 6  # at least, at most
_REACH_PX, _LINE_PX = 41, 5  # between the strokes of a word, sideways and upwards
_MIN_STROKES, _MIN_STROKE_AREA_PX = 5, 12  # of a word
_MAX_WORD_HIGH_PX = 40
_ARM_PX = 3  # the smallest cross is 7 px wide
_CROSS_PX = 27  # the largest, with its rim
_STRONG_COLOUR = 64  # levels between the channels; a tint of the whole picture stays below
_MIN_COLOUR = 0.0005  # of the area


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The marks found in a picture.

    Attributes:
        text_share: The part of the picture's area that writing covers, in [0, 1].
        num_calipers: Small crosses, "+" or "x", as used for measuring.
        has_colour: Whether at least 0.05 % of the area has a strong colour (Doppler, overlays).
    """

    text_share: float
    num_calipers: int
    has_colour: bool


def find_annotations(picture: np.ndarray) -> Annotations:
    """Find bright writing of 8 to 30 px, crosses of 7 to 25 px and strong colours.

    Made for few false alarms: faint, blurred or dark writing is missed. Pictures below 100 px
    have nothing that could be told from echoes; for them nothing is reported.

    Args:
        picture: `(height, width, 1 or 3)` uint8.
    """
    if min(picture.shape[:2]) < _MIN_PX:
        return Annotations(text_share=0.0, num_calipers=0, has_colour=False)
    grey, colour = _split_colour(picture)
    num_coloured = cv2.countNonZero((colour >= _STRONG_COLOUR).view(np.uint8))
    text, crosses = _find_marks(grey)
    crosses &= 1 - _widen(text, _REACH_PX, 1)  # a plus or an x in writing is no caliper
    return Annotations(
        text_share=cv2.countNonZero(text) / text.size,
        num_calipers=_count_separate(crosses),
        has_colour=num_coloured >= _MIN_COLOUR * grey.size,
    )


def find_text(picture: np.ndarray) -> np.ndarray:
    """The writing that `find_annotations` counts: `(height, width)` bool, in boxes around words.

    Args:
        picture: `(height, width, 1 or 3)` uint8.
    """
    if min(picture.shape[:2]) < _MIN_PX:
        return np.zeros(picture.shape[:2], bool)
    return np.asarray(_find_marks(_split_colour(picture)[0])[0] > 0)


def _split_colour(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The brightest channel of each pixel, and by how much it exceeds the darkest."""
    channels = cv2.split(picture)
    brightest, darkest = channels[0], channels[0]
    for channel in channels[1:]:
        brightest, darkest = cv2.max(brightest, channel), cv2.min(darkest, channel)
    return np.asarray(brightest), np.asarray(cv2.subtract(brightest, darkest))


def _find_marks(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 where there is writing, and 1 in the middle of each cross."""
    contrast = _choose_contrast(grey)
    crosses = _find_crosses(grey, contrast)
    strokes = _find_strokes(grey, contrast)
    return _find_words(strokes & (1 - _widen(crosses, _CROSS_PX, _CROSS_PX))), crosses


def _choose_contrast(grey: np.ndarray) -> float:
    """Grey levels by which a mark differs from its surround: more in a sharp or noisy picture."""
    some = grey[::8].astype(np.int16)
    usual = float(np.percentile(np.abs(some[:, 2::3] - some[:, :-2:3]), 90))
    return max(_MIN_CONTRAST, _CONTRAST_FACTOR * usual)


def _widen(mask: np.ndarray, wide_px: int, high_px: int) -> np.ndarray:
    if cv2.countNonZero(mask) == 0:
        return mask
    return np.asarray(cv2.dilate(mask, np.ones((high_px, wide_px), np.uint8)))


def _find_words(strokes: np.ndarray) -> np.ndarray:
    """1 within the box around each word, else 0."""
    text = np.zeros_like(strokes)
    if cv2.countNonZero(strokes) < _MIN_STROKE_AREA_PX:
        return text
    places = np.asarray(cv2.findNonZero(strokes)).reshape(-1, 2)
    columns, rows = places[:, 0], places[:, 1]
    padded = cv2.copyMakeBorder(strokes, 1, 0, 1, 1, cv2.BORDER_CONSTANT)
    before = [(0, 0), (0, 1), (0, 2), (1, 0)]  # above, and to the left
    is_tip = sum(padded[rows + y, columns + x] for y, x in before) == 0
    _, words = cv2.connectedComponents(_widen(strokes, _REACH_PX, _LINE_PX))
    owners = words[rows, columns]
    num_strokes = np.bincount(owners[is_tip])
    for word in np.flatnonzero(num_strokes >= _MIN_STROKES):
        left, top, width, height = cv2.boundingRect(places[owners == word])
        area_px = np.count_nonzero(owners == word)
        if area_px >= _MIN_STROKE_AREA_PX and height <= _MAX_WORD_HIGH_PX:
            text[max(0, top - 2) : top + height + 2, left : left + width + _STROKE_WIDE_PX] = 1
    return text


def _find_strokes(grey: np.ndarray, contrast: float) -> np.ndarray:
    """1 at the left edge of what is bright, upright, thin and sharp at both sides; else 0."""
    rise, fall = np.zeros_like(grey), np.zeros_like(grey)
    rise[:, 1:-1] = cv2.subtract(grey[:, 2:], grey[:, :-2])
    fall[:, 1:-1] = cv2.subtract(grey[:, :-2], grey[:, 2:])
    upright, wide = np.ones((_STROKE_HIGH_PX, 1), np.uint8), np.ones((1, _STROKE_WIDE_PX), np.uint8)
    starts = np.asarray(cv2.erode(rise, upright)) >= contrast
    ends = (np.asarray(cv2.erode(fall, upright)) >= contrast).astype(np.uint8)
    near = np.zeros_like(ends)  # an end lies 1 to 6 px to the right
    near[:, :-1] = cv2.dilate(ends, wide, anchor=(0, 0))[:, 1:]
    return near & starts


def _find_crosses(grey: np.ndarray, contrast: float) -> np.ndarray:
    """1 in the middle of each cross, upright or slanted; else 0."""
    size = 2 * _ARM_PX + 1
    line, slope = np.ones((1, size), np.uint8), np.eye(size, dtype=np.uint8)
    straight = cv2.min(cv2.erode(grey, line), cv2.erode(grey, line.T))
    slanted = cv2.min(cv2.erode(grey, slope), cv2.erode(grey, np.ascontiguousarray(slope[::-1])))
    upright = cv2.subtract(straight, _measure_gaps(grey, [(-2, -2), (2, -2), (-2, 2), (2, 2)]))
    tilted = cv2.subtract(slanted, _measure_gaps(grey, [(-3, 0), (3, 0), (0, -3), (0, 3)]))
    return (np.asarray(cv2.max(upright, tilted)) >= contrast).astype(np.uint8)


def _count_separate(crosses: np.ndarray) -> int:
    if cv2.countNonZero(crosses) == 0:
        return 0
    return cv2.connectedComponents(_widen(crosses, 2 * _ARM_PX + 1, 2 * _ARM_PX + 1))[0] - 1


def _measure_gaps(grey: np.ndarray, offsets: list[tuple[int, int]]) -> np.ndarray:
    """The second brightest of four pixels around each: through one gap a dotted line may run."""
    height, width = grey.shape
    margin = _ARM_PX
    wide = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    a, b, c, d = (
        wide[margin + y : margin + y + height, margin + x : margin + x + width] for x, y in offsets
    )
    second = cv2.max(cv2.min(cv2.max(a, b), cv2.max(c, d)), cv2.max(cv2.min(a, b), cv2.min(c, d)))
    return np.asarray(second)
