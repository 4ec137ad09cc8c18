"""The scan area in a picture: what the probe saw, without the screen around it.

Echoes vary from pixel to pixel; the screen around them is flat, and what is written on it is thin
or small. So the scan is the largest solid area of variation. Where that is not clear, more is kept:
a border left on does little harm, tissue cut away does.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

Box = tuple[int, int, int, int]  # left, top, right, bottom in px; right and bottom exclusive

_MAP_PX = 512  # the longer side of the maps
_MIN_PX = 64  # smaller pictures have been cut out and shrunk already
_VARIATION = 2  # grey levels within 3 × 3 px: the least of a scan where the screen has no noise
_MAX_NOISE = 6  # the same: the most that the noise of a screen reaches
_FAINT, _STRONG = 40, 80  # the same: the most in dark echoes, the least along writing
_MIN_VARIED, _MIN_FAINT = 0.75, 0.4  # the part of pixels that vary in a scan, in a dark one
_MIN_STRONG = 0.6  # the part of strong edges in writing; in a scan it is lower
_SOLID = 0.04  # of the shorter side: what is thinner is no scan
_MIN_AREA = 0.04  # of the picture: what is smaller is no scan
_RECTANGLE = 0.88  # of its box: what fills less is a fan, or a scan with shadows
_TIP = 5  # places that opening takes off the tip of a fan, at most
_SECOND_SCAN = 0.4  # of the largest area: kept as well, such as the other half of a dual view
_MAX_SCREEN_GREY = 72  # half of what is cut away is no brighter
_MIN_FLAT = 0.4  # the flat part of what is cut away, at least
_MIN_MARGIN = 0.025  # of the side: less is not worth cutting


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """What is measured at each place: (rows, columns), at most 512 a side.

    Attributes:
        varied: 255 where a pixel differs from its neighbours; at the picture's full size.
        grey: Mean grey level, uint8.
        flat: True where nothing changes over several places, noise apart.
        dense: 1 where most pixels vary, as in a scan and in what is written.
        writing: 1 where most pixels lie at strong edges.
    """

    varied: np.ndarray
    grey: np.ndarray
    flat: np.ndarray
    dense: np.ndarray
    writing: np.ndarray


def find_region(picture: np.ndarray) -> Box:
    """Find the scan area of a screenshot: the box around a fan or a rectangle of echoes.

    Args:
        picture: `(height, width, 1 or 3)` uint8.

    Returns:
        The box, in px of the picture. The whole picture where nothing can be cut away: it is
        smaller than 64 px, is a scan already, has no clear scan area or no dark surround.
    """
    height_px, width_px = picture.shape[:2]
    whole = (0, 0, width_px, height_px)
    if min(height_px, width_px) < _MIN_PX:
        return whole
    maps = _measure_maps(picture)
    scan = _find_scan(maps)
    return whole if scan is None else _enlarge_box(_keep_doubtful(scan, maps), maps)


def crop_region(picture: np.ndarray, box: Box) -> np.ndarray:
    """The part of a picture inside a box; a view."""
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


def box_from_percent(percent: tuple[int, int, int, int], width_px: int, height_px: int) -> Box:
    """Turn left, top, right and bottom in percent of a picture into a box of at least 1 px."""
    left, right = _place_sides(percent[0], percent[2], width_px)
    top, bottom = _place_sides(percent[1], percent[3], height_px)
    return left, top, right, bottom


def _place_sides(low_percent: int, high_percent: int, length_px: int) -> tuple[int, int]:
    low = min(round(low_percent * length_px / 100), length_px - 1)
    return low, max(low + 1, round(high_percent * length_px / 100))


def _measure_maps(picture: np.ndarray) -> _Maps:
    height_px, width_px = picture.shape[:2]
    shrink = min(1.0, _MAP_PX / max(height_px, width_px))
    size = (max(1, round(width_px * shrink)), max(1, round(height_px * shrink)))
    grey = picture[..., 0] if picture.shape[2] == 1 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    variation = _measure_span(grey, 3)
    small_grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    flat = _measure_span(cv2.blur(small_grey, (3, 3)), 5) < _VARIATION
    least = _find_noise(cv2.resize(variation, size, interpolation=cv2.INTER_NEAREST), flat) + 1
    varied = _select(variation, least, 255)
    dense = _is_common(varied, size, 3, _MIN_VARIED)
    dense |= _is_common(_select(variation, least, _FAINT), size, 7, _MIN_FAINT)
    if least > _VARIATION:  # few echoes stand out of the noise
        dense |= _grow(~flat, -7) > 0
    writing = _grow(_is_common(_select(variation, _STRONG, 255), size, 5, _MIN_STRONG), 5)
    return _Maps(
        varied=varied, grey=small_grey, flat=flat, dense=dense.astype(np.uint8), writing=writing
    )


def _measure_span(grey: np.ndarray, window_px: int) -> np.ndarray:
    """The span of grey levels around each pixel."""
    kernel = np.ones((window_px, window_px), np.uint8)
    return np.asarray(cv2.subtract(cv2.dilate(grey, kernel), cv2.erode(grey, kernel)))


def _find_noise(variation: np.ndarray, flat: np.ndarray) -> int:
    """The most variation that the noise of a screen reaches, judged by the picture's border."""
    border = np.ones_like(flat)
    border[2:-2, 2:-2] = False
    if flat[border].mean() < _MIN_FLAT:
        return _VARIATION - 1
    noise = int(np.percentile(variation[border & flat], 95))
    return noise if _VARIATION <= noise <= _MAX_NOISE else _VARIATION - 1


def _select(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """255 where a value lies within the bounds, which are part of it; else 0."""
    return np.asarray(cv2.inRange(values, np.array(low), np.array(high)))


def _is_common(mask: np.ndarray, size: tuple[int, int], window_px: int, part: float) -> np.ndarray:
    """True at the places of a map around which at least a part of a mask (0 or 255) is set."""
    share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(share, (window_px, window_px)) >= math.ceil(255 * part))


def _grow(mask: np.ndarray, window_px: int) -> np.ndarray:
    """Widen a mask by half a window; a negative one thins it."""
    kernel = np.ones((abs(window_px), abs(window_px)), np.uint8)
    change = cv2.dilate if window_px > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel))


def _find_scan(maps: _Maps) -> Box | None:
    """The box around the largest solid area of variation, in the maps."""
    echoes = maps.dense & (1 - maps.writing)
    side = max(9, 2 * round(_SOLID * min(echoes.shape) / 2) + 1)
    solid = _grow(_grow(echoes, -side), side)
    half = np.ascontiguousarray(solid[::2, ::2])  # nothing solid is as thin as that
    _, labels, stats, _ = cv2.connectedComponentsWithStats(half, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if len(areas) == 0 or areas.max() < _MIN_AREA * half.size:
        return None
    scan = np.zeros_like(half)
    for number in np.flatnonzero(areas >= _SECOND_SCAN * areas.max()) + 1:
        scan |= labels == number
    scan = np.asarray(cv2.resize(scan, solid.shape[::-1], interpolation=cv2.INTER_NEAREST))
    left, top, width, height = cv2.boundingRect(scan)
    is_rectangle = cv2.countNonZero(scan) >= _RECTANGLE * width * height
    for _ in range(1 if is_rectangle else _TIP):
        scan |= _grow(scan, 3) & echoes
    left, top, width, height = cv2.boundingRect(scan)
    return left, top, left + width, top + height


def _keep_doubtful(box: Box, maps: _Maps) -> Box:
    """Cut a side only where it is surely screen: wide enough, dark and flat.

    A picture filled to three sides is a scan already; its fourth side is a shadow.
    """
    height, width = maps.grey.shape
    left, top, right, bottom = box
    outside = np.ones_like(maps.flat)
    outside[top:bottom, left:right] = False
    if not outside.any() or (maps.grey[outside] <= _MAX_SCREEN_GREY).mean() < 0.5:
        return 0, 0, width, height
    left = left if _is_screen(maps.flat[:, :left], width) else 0
    right = right if _is_screen(maps.flat[:, right:], width) else width
    top = top if _is_screen(maps.flat[:top].T, height) else 0
    bottom = bottom if _is_screen(maps.flat[bottom:].T, height) else height
    if (left == 0) + (top == 0) + (right == width) + (bottom == height) >= 3:
        return 0, 0, width, height
    return left, top, right, bottom


def _is_screen(flat: np.ndarray, length: int) -> bool:
    return bool(flat.shape[1] >= _MIN_MARGIN * length and flat.mean() >= _MIN_FLAT)


def _enlarge_box(box: Box, maps: _Maps) -> Box:
    """Bring a box from the maps to the picture; the sides that are cut are exact to the pixel."""
    rows, columns = maps.grey.shape
    height_px, width_px = maps.varied.shape
    x_scale, y_scale = width_px / columns, height_px / rows
    left, right = int((box[0] - 1) * x_scale), math.ceil((box[2] + 1) * x_scale)
    top, bottom = int((box[1] - 1) * y_scale), math.ceil((box[3] + 1) * y_scale)
    left, top = max(0, left), max(0, top)
    x, y, width, height = cv2.boundingRect(maps.varied[top:bottom, left:right])
    # A pixel varies already where its neighbour belongs to the scan: one less on each side.
    return (
        left + x + 1 if box[0] > 0 else 0,
        top + y + 1 if box[1] > 0 else 0,
        left + x + width - 1 if box[2] < columns else width_px,
        top + y + height - 1 if box[3] < rows else height_px,
    )
