"""What is measured of one image, to tell whether it is like others: plain numbers, no model.

Greys are measured in the square that the network sees, so that the size of a file, its format and
a little cropping change next to nothing. Colour and aspect are lost there; they are measured in the
picture.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from polyp_core.region import Box, crop_region

FACTS = (
    "brightness", "contrast", "dark_grey", "middle_grey", "bright_grey", "black", "white",
    "greys", "flat", "detail_1", "detail_2", "detail_3", "detail_4", "detail_5",
    "across", "across_coarse", "straight", "leading", "leading_coarse", "aside", "aside_coarse",
    "grain", "grain_spread", "levels",
)  # fmt: skip
_MEASURED_PX = 128  # the longer side of what is measured, at most
_EDGES_PX = 64
_MANY_PLACES_PX = 64
CELLS, DIRECTIONS, LAYOUT_PX = 4, 8, 12
_CELL = np.arange(_EDGES_PX) * CELLS // _EDGES_PX
_PLACE = ((_CELL[:, np.newaxis] * CELLS + _CELL) * DIRECTIONS).ravel()  # of each pixel's edges
_COLOUR_PX = 320
_BLOCKS_PX, _LEAST_BLOCKS_PX = 512, 96
_CUT, _GAIN, _OFFSET = 0.1, (0.85, 1.15), (-8.0, 8.0)  # of copies: part of a side, factor, greys
_COLOURED = 40  # grey levels between the strongest and weakest channel; a tint stays below
_NUM_DETAILS = 5
_DETAIL_FLOOR = 0.05  # grey levels: less is rounding


class Measured(NamedTuple):
    """What is measured of one image, or of several (with a first axis more).

    Attributes:
        colour: The share of coloured pixels, in [0, 1].
        blocks: How much the squares of JPEG compression show, 0 for not at all.
        facts: `(k,)` float32, as `FACTS` names them.
        layout: `(d,)` float32: the image at 12 × 12, without its mean brightness and contrast.
        edges: `(d,)` float32: the directions of its edges at 4 × 4 places.
        features: `(d,)` float32, of the model; may be empty.
    """

    colour: np.ndarray
    blocks: np.ndarray
    facts: np.ndarray
    layout: np.ndarray
    edges: np.ndarray
    features: np.ndarray


def measure_image(pixels: np.ndarray, box: Box, seen: np.ndarray, features: np.ndarray) -> Measured:
    """Measure one image.

    Args:
        pixels: `(height, width, 1 or 3)` uint8, at its full size.
        box: The part that is used, in px: left, top, right, bottom.
        seen: `(size, size, 1 or 3)` uint8, as the network sees that part.
        features: `(d,)` float32.
    """
    used, grey = crop_region(pixels, box), make_grey(seen)
    return Measured(
        colour=np.array(measure_colour(used), np.float32),
        blocks=np.array(measure_blocks(used), np.float32),
        **_measure_grey(grey),
        features=np.asarray(features, np.float32),
    )


def measure_copy(measured: Measured, seen: np.ndarray, seed: int, can_mirror: bool) -> Measured:
    """Measure an image cut a little closer and with another gain, as another person saves it.

    Args:
        measured: Of the image itself.
        seen: `(size, size, 1 or 3)` uint8, as the network sees it.
        seed: Of how it is changed.
        can_mirror: Half of all copies are mirrored.
    """
    draw = np.random.default_rng(seed)
    grey = make_grey(seen)
    left, top, right, bottom = np.rint(draw.uniform(0, _CUT, 4) * len(grey)).astype(int)
    part = grey[top : len(grey) - bottom, left : len(grey) - right]
    part = cv2.resize(part.astype(np.float32), grey.shape, interpolation=cv2.INTER_LINEAR)
    part = part * np.float32(draw.uniform(*_GAIN)) + np.float32(draw.uniform(*_OFFSET))
    grey = np.clip(np.rint(part), 0, 255).astype(np.uint8)
    if can_mirror and draw.random() < 0.5:
        grey = np.ascontiguousarray(grey[:, ::-1])
    return measured._replace(**_measure_grey(grey))


def stack_measured(measured: Sequence[Measured]) -> Measured:
    """Several images' as one, with a first axis more."""
    return Measured(*[np.array(parts) for parts in zip(*measured, strict=True)])


def join_measured(first: Measured, second: Measured) -> Measured:
    """Those of several images and those of several others as one."""
    return Measured(*[np.concatenate(parts) for parts in zip(first, second, strict=True)])


def take_rows(measured: Measured, which: np.ndarray) -> Measured:
    """Those of some of several images."""
    return Measured(*[part[which] for part in measured])


def make_grey(seen: np.ndarray) -> np.ndarray:
    """The grey square that is measured, `(size, size)` uint8; at most 128 px."""
    grey = seen[..., 0] if seen.shape[-1] == 1 else cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
    if len(grey) > _MEASURED_PX:
        grey = cv2.resize(grey, (_MEASURED_PX, _MEASURED_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(grey)


def measure_colour(pixels: np.ndarray) -> float:
    """The share of pixels that are coloured; 0 for a grey picture.

    Args:
        pixels: `(height, width, 1 or 3)` uint8.
    """
    if pixels.shape[-1] == 1:
        return 0.0
    height_px, width_px = pixels.shape[:2]
    step = max(1, math.ceil(max(height_px, width_px) / (2 * _COLOUR_PX)))
    channels = [np.ascontiguousarray(pixels[::step, ::step, number]) for number in range(3)]
    if cv2.minMaxLoc(_measure_colourfulness(channels))[1] < _COLOURED - 1:  # 1 is for rounding
        return 0.0
    rows, columns = channels[0].shape
    shrink = min(1.0, _COLOUR_PX / max(rows, columns))
    size = (max(1, round(columns * shrink)), max(1, round(rows * shrink)))
    small = [cv2.resize(channel, size, interpolation=cv2.INTER_AREA) for channel in channels]
    return float(np.mean(_measure_colourfulness(small) >= _COLOURED))


def _measure_colourfulness(channels: list[np.ndarray]) -> np.ndarray:
    """Grey levels between the strongest and the weakest of three channels."""
    red, green, blue = channels
    low, high = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    return np.asarray(cv2.subtract(high, low))


def measure_blocks(pixels: np.ndarray) -> float:
    """How much larger steps between pixels are at the borders of 8 × 8 squares, in any phase.

    Args:
        pixels: `(height, width, 1 or 3)` uint8; of a large one the middle is measured.

    Returns:
        The logarithm of the ratio, of the weaker of both directions; 0 where it is too small.
    """
    height_px, width_px = pixels.shape[:2]
    if min(height_px, width_px) < _LEAST_BLOCKS_PX:
        return 0.0
    top, left = max(0, height_px - _BLOCKS_PX) // 2, max(0, width_px - _BLOCKS_PX) // 2
    part = pixels[top : top + _BLOCKS_PX, left : left + _BLOCKS_PX, -2 % pixels.shape[-1]]
    part = np.ascontiguousarray(part)
    ratios = []
    for axis in (0, 1):
        ahead, behind = (part[1:], part[:-1]) if axis == 0 else (part[:, 1:], part[:, :-1])
        steps = cv2.reduce(cv2.absdiff(ahead, behind), 1 - axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
        steps = steps.ravel()[: steps.size // 8 * 8].reshape(-1, 8)
        # The median of all squares, so that one straight line is not taken for a border.
        steps.sort(axis=0)
        means = np.sort(steps[(len(steps) - 1) // 2] + steps[len(steps) // 2]) / 2
        ratios.append(math.log((float(means[-1]) + 0.5) / (float(means[-2]) + 0.5)))
    return max(0.0, min(ratios))


def _measure_grey(grey: np.ndarray) -> dict[str, np.ndarray]:
    """The facts, layout and edges of a grey square, `(size, size)` uint8."""
    sizes: list[np.ndarray] = [grey.astype(np.float32)]  # each half as large as the one before
    for _ in range(_NUM_DETAILS):
        size = (max(1, (len(sizes[-1]) + 1) // 2),) * 2
        sizes.append(cv2.resize(sizes[-1], size, interpolation=cv2.INTER_AREA))
    return {
        "facts": _measure_facts(grey, sizes),
        "layout": _measure_layout(sizes[0]),
        "edges": _measure_edges(_take_size(sizes, _EDGES_PX)),
    }


def _take_size(sizes: list[np.ndarray], size_px: int) -> np.ndarray:
    """The square at a given size; not made again where it is one of those that there are."""
    for square in sizes:
        if len(square) == size_px:
            return square
    how = cv2.INTER_AREA if size_px < len(sizes[0]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(sizes[0], (size_px, size_px), interpolation=how))


def _measure_layout(grey: np.ndarray) -> np.ndarray:
    """Where it is bright and where dark, whatever the gain: `(144,)` float32."""
    weights = _find_weights(len(grey))
    small = (weights @ grey @ weights.T).ravel()
    mean, deviation = cv2.meanStdDev(small)
    return np.asarray((small - mean[0]) / (deviation[0] + 8), np.float32)


@lru_cache
def _find_weights(size_px: int) -> np.ndarray:
    """What turns a column of so many pixels into one of 12: `(12, size_px)` float32."""
    every = np.eye(size_px, dtype=np.float32)
    return np.asarray(cv2.resize(every, (size_px, LAYOUT_PX), interpolation=cv2.INTER_AREA))


def _measure_edges(grey: np.ndarray) -> np.ndarray:
    """How much edge runs in each of 8 directions, dark to bright, at each of 4 × 4 places.

    Args:
        grey: `(64, 64)` float32.

    Returns:
        `(128,)` float32; the square roots of shares of all edges.

    References: Dalal and Triggs, Histograms of oriented gradients, CVPR 2005.
    """
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    length, angle = (part.ravel() for part in cv2.cartToPolar(x, y))
    strength = np.sqrt(length)  # so that one bright line is not all
    angle = angle * (DIRECTIONS / (2 * np.pi))
    low = np.floor(angle)
    part = angle - low
    first = _PLACE + (low.astype(np.int64) & (DIRECTIONS - 1))  # a whole turn is none
    num_sums = CELLS * CELLS * DIRECTIONS
    sums = np.bincount(first, strength * (1 - part), num_sums).reshape(-1, DIRECTIONS)
    ahead = np.bincount(first, strength * part, num_sums).reshape(-1, DIRECTIONS)
    sums[:, 1:] += ahead[:, :-1]
    sums[:, 0] += ahead[:, -1]
    return np.asarray(np.sqrt(sums / (sums.sum() + 1)), np.float32).ravel()


def _measure_facts(grey: np.ndarray, sizes: list[np.ndarray]) -> np.ndarray:
    """Brightness, detail and grain of an image: `(k,)` float32, as `FACTS` names them."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    counts /= grey.size
    dark, middle, bright = np.cumsum(counts).searchsorted((0.1, 0.5, 0.9))
    used = counts[counts > 0]
    mean, spread = cv2.meanStdDev(grey)
    deviation = float(spread[0, 0])
    span = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.array(
        [
            mean[0, 0], math.log(deviation + 4), dark, middle, bright,
            math.sqrt(counts[:8].sum()), math.sqrt(counts[248:].sum()),
            -np.vdot(used, np.log2(used)), np.count_nonzero(span <= 2) / span.size,
            *_measure_detail(sizes, deviation),
            *_measure_directions(grey, sizes),
            *_measure_grain(sizes[0]),
            math.log(len(used)),
        ],
        np.float32,
    )  # fmt: skip


def _measure_detail(sizes: list[np.ndarray], deviation: float) -> list[float]:
    """How much detail there is at five sizes, finest first, against the contrast of the whole."""
    details = []
    for grey, half in pairwise(sizes):
        back = cv2.resize(half, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        rest = math.sqrt(cv2.norm(grey, back, cv2.NORM_L2SQR) / grey.size)
        details.append(math.log((rest + _DETAIL_FLOOR) / (deviation + 1)))
    return details


def _measure_directions(grey: np.ndarray, sizes: list[np.ndarray]) -> list[float]:
    """Whether edges lie across, lie exactly upright or level, and which side of them is bright."""
    x, y = cv2.spatialGradient(grey)  # exact, as int16
    coarse = _take_size(sizes, max(4, len(grey) // 4))
    coarse_x, coarse_y = cv2.Sobel(coarse, cv2.CV_32F, 1, 0), cv2.Sobel(coarse, cv2.CV_32F, 0, 1)
    across, leading, aside = [], [], []
    for level, upright in ((y, x), (coarse_y, coarse_x)):
        across.append(math.log(_measure_mean(level) / _measure_mean(upright)))
        leading.append(_measure_skew(level))
        aside.append(_measure_skew(upright))
    x, y = np.abs(x), np.abs(y)
    length = x + y
    slim = cv2.addWeighted(length, 3, cv2.min(x, y), -100, 0) > 0  # one is below 3 % of both
    straight = cv2.norm(length * slim, cv2.NORM_L1) / (cv2.norm(length, cv2.NORM_L1) + 1)
    return [*across, straight, *leading, *aside]


def _measure_mean(steps: np.ndarray) -> float:
    return cv2.norm(steps, cv2.NORM_L1) / steps.size + 0.5


def _measure_skew(steps: np.ndarray) -> float:
    """Which of rising and falling steps are the sharper ones."""
    steps = steps.astype(np.float32)
    deviation = math.sqrt(cv2.norm(steps, cv2.NORM_L2SQR) / steps.size)
    return float(np.vdot(steps * steps, steps)) / steps.size / (deviation**3 + 1)


def _measure_grain(grey: np.ndarray) -> list[float]:
    """Local deviation where there is something to see: its middle and its spread."""
    mean, squares = cv2.blur(grey, (5, 5)), cv2.blur(grey * grey, (5, 5))
    if min(grey.shape) >= _MANY_PLACES_PX:  # half of them tell as much
        mean, squares = mean[::2, ::2].copy(), squares[::2, ::2].copy()
    local = (squares - mean * mean)[(mean > 16) & (mean < 240)]
    if len(local) < 20:
        return [math.log(0.5), 0.0]
    places = [len(local) // 5, len(local) // 2, 4 * len(local) // 5]
    local.partition(places)
    low, middle, high = np.log(np.sqrt(np.maximum(local[places], 0)) + 0.5)
    return [float(middle), float(high - low)]
