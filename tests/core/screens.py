"""Screenshots of an ultrasound machine, drawn from a seed: a phantom scan and its surround.

The tests of `region` and `annotations` use them. The true place of the scan is known.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.random import Generator

from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.region import Box

SIZES = ((640, 480), (720, 576), (800, 600), (1024, 768), (1280, 960), (1600, 1200))
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)
WORDS = (
    "PATIENT 0042", "12.05.2019", "10:47:31", "Abdomen", "C5-2", "FR 31Hz", "RS", "2D", "62%",
    "C 50", "P Low", "HGen", "Gn 44", "D 14.0cm", "MI 1.2", "TIS 0.4", "GB LONG", "Dist 1.24 cm",
    "+ 8.3 mm", "0", "5", "10", "15",
)  # fmt: skip
COLOURS = ((255, 255, 255), (230, 230, 90), (120, 230, 120), (170, 170, 170), (120, 190, 240))


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A screenshot, and where its scan lies."""

    picture: np.ndarray  # (height, width, 3) uint8
    box: Box


@cache
def render_scan(number: int) -> np.ndarray:
    """A phantom scan, (height, width) uint8; even numbers are sectors, odd ones linear."""
    for patient in range(number + 1, number + 1000):
        parameters = draw_parameters(number, patient, 1)
        if parameters.sector == (number % 2 == 0):
            scan = render_phantom(parameters)
            scan.flags.writeable = False
            return scan
    raise AssertionError("no such probe was drawn")


def draw_screen(seed: int) -> Screen:
    """A screenshot with text, a grey bar, a ruler, a logo, panels and calipers, as chance wills."""
    random = np.random.default_rng((5, seed))
    width_px, height_px = SIZES[random.integers(len(SIZES))]
    scan = _scale_scan(random, render_scan(seed % 24), width_px, height_px)
    high, wide = scan.shape
    left = int(random.integers(0.02 * width_px, 0.98 * width_px - wide + 1))
    top = int(random.integers(0.05 * height_px, 0.97 * height_px - high + 1))
    box = (left, top, left + wide, top + high)
    picture = _draw_background(random, width_px, height_px)
    _draw_surround(random, picture, box)
    inside = picture[top : box[3], left : box[2]]
    is_masked = random.random() < 0.5  # else the scan lies in a black window
    if is_masked:
        cover = cv2.dilate((scan > 0).astype(np.uint8), np.ones((9, 9))) > 0
        inside[cover] = scan[cover, None]
    else:
        inside[:] = scan[..., None]
    draw_calipers(random, picture, box, number=int(random.choice([0, 2, 4])))
    return Screen(picture=_compress(random, picture), box=box)


def _scale_scan(random: Generator, scan: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    limit = min(0.94 * width_px / scan.shape[1], 0.9 * height_px / scan.shape[0])
    scale = limit * random.uniform(0.5, 1.0)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(scan, None, fx=scale, fy=scale, interpolation=method)
    return np.asarray(cv2.convertScaleAbs(scaled, alpha=random.uniform(0.35, 1.1)))


def _draw_background(random: Generator, width_px: int, height_px: int) -> np.ndarray:
    level = int(random.choice([0, 0, 6, 16, 30, 44]))
    picture = np.full((height_px, width_px, 3), level, np.uint8)
    if random.random() < 0.2:  # a slow gradient
        ramp = np.linspace(0, random.uniform(5, 25), height_px).astype(np.uint8)
        picture += ramp[:, None, None]
    if random.random() < 0.15:  # grabbed from an analogue output
        noise = random.normal(0, 0.6, picture.shape[:2])
        picture = np.clip(np.rint(picture + noise[..., None]), 0, 255).astype(np.uint8)
    return picture


def _draw_surround(random: Generator, picture: np.ndarray, box: Box) -> None:
    height_px, width_px = picture.shape[:2]
    left, top, right, bottom = box
    if random.random() < 0.4:  # a panel along the top or the bottom
        thick = int(random.uniform(0.02, 0.05) * height_px)
        panel = picture[:thick] if random.random() < 0.7 else picture[height_px - thick :]
        panel[:] = random.integers(30, 130, 3)
    for _ in range(int(random.integers(2, 9))):
        x = int(random.choice([random.uniform(0, left), random.uniform(0.8 * right, width_px)]))
        draw_text(random, picture, x, int(random.uniform(0.04, 1) * height_px))
    size_px = random.uniform(8, 20)
    x = right + int(random.integers(12, 60)) if random.random() < 0.7 else 4
    for number in range(int(random.integers(0, 9))):  # the block of settings
        draw_text(random, picture, x, top + int(1.5 * size_px * (number + 1)), size_px)
    if random.random() < 0.5:
        _draw_grey_bar(random, picture, box)
    if random.random() < 0.7:
        _draw_ruler(random, picture, box)
    if random.random() < 0.5:
        _draw_logo(random, picture, box)
    if random.random() < 0.25:
        _draw_trace(random, picture, bottom)


def draw_text(
    random: Generator, picture: np.ndarray, x: int, y: int, size_px: float | None = None
) -> None:
    """One to three words, 8 to 30 px high."""
    words = random.choice(WORDS, int(random.integers(1, 4)))
    font = FONTS[random.integers(len(FONTS))]
    if size_px is None:
        size_px = random.uniform(8, 14) if random.random() < 0.7 else random.uniform(14, 30)
    scale = cv2.getFontScaleFromHeight(font, max(6, round(0.75 * size_px)), 1)
    weight = 1 if size_px < 14 else 2
    line = cv2.LINE_AA if random.random() < 0.6 else cv2.LINE_8
    colour = COLOURS[random.integers(len(COLOURS))]
    cv2.putText(picture, " ".join(words), (x, y), font, scale, colour, weight, line)


def draw_calipers(random: Generator, picture: np.ndarray, box: Box, number: int) -> None:
    """Crosses of 7 to 25 px inside the scan, two by two, perhaps with a dotted line between."""
    left, top, right, bottom = box
    low, high = (0.6 * left + 0.4 * right, 0.7 * top + 0.3 * bottom), (0.4, 0.35)
    for _ in range(number // 2):
        arm, kind = int(random.integers(3, 13)), random.choice(["+", "x"])
        colour = COLOURS[random.integers(len(COLOURS))]
        ends = np.array(low) + random.uniform(0, 1, (2, 2)) * high * np.array(
            [0.5 * (right - left), bottom - top]
        )
        for x, y in ends.astype(int).tolist():
            draw_cross(picture, x, y, arm, kind, colour)
        if random.random() < 0.5:
            for share in np.arange(0, 1, 6 / max(12, np.hypot(*(ends[1] - ends[0])))):
                x, y = (ends[0] + share * (ends[1] - ends[0])).astype(int).tolist()
                picture[y : y + 1, x : x + 2] = colour


def draw_cross(
    picture: np.ndarray, x: int, y: int, arm: int, kind: str, colour: tuple[int, ...]
) -> None:
    """A "+" or "x" of 2 * arm + 1 px."""
    weight = 1 if arm < 7 else 2
    if kind == "+":
        cv2.line(picture, (x - arm, y), (x + arm, y), colour, weight)
        cv2.line(picture, (x, y - arm), (x, y + arm), colour, weight)
    else:
        cv2.line(picture, (x - arm, y - arm), (x + arm, y + arm), colour, weight)
        cv2.line(picture, (x - arm, y + arm), (x + arm, y - arm), colour, weight)


def _draw_grey_bar(random: Generator, picture: np.ndarray, box: Box) -> None:
    width_px = int(random.integers(8, 22))
    gap = int(random.integers(6, 30))
    x = box[0] - gap - width_px if random.random() < 0.5 else box[2] + gap
    top, bottom = box[1], box[1] + int(random.uniform(0.3, 1) * (box[3] - box[1]))
    ramp = np.linspace(255, 0, bottom - top).astype(np.uint8)[:, None, None]
    picture[top:bottom, max(0, x) : max(0, x + width_px)] = ramp


def _draw_ruler(random: Generator, picture: np.ndarray, box: Box) -> None:
    gap, length = int(random.integers(3, 14)), int(random.integers(4, 12))
    x = box[2] + gap if random.random() < 0.6 else box[0] - gap - length
    step = random.uniform(8, 40)
    for number, y in enumerate(np.arange(box[1], box[3], step).astype(int).tolist()):
        long = length if number % 5 else length + 4
        cv2.line(picture, (x, y), (x + long, y), (200, 200, 200), 1)
    if random.random() < 0.4:
        cv2.line(picture, (x, box[1]), (x, box[3]), (200, 200, 200), 1)


def _draw_logo(random: Generator, picture: np.ndarray, box: Box) -> None:
    size = int(random.integers(8, 22))
    x, y = box[0] - 2 * size - 6, box[1] + size
    if random.random() < 0.5:
        x, y = box[0] + size, box[1] - size - 6
    colour = COLOURS[random.integers(len(COLOURS))]
    cv2.ellipse(picture, (x, y), (2 * size, size), 0, 0, 360, colour, -1)
    cv2.putText(picture, "US", (x - size, y + 6), FONTS[0], size / 22, (10, 10, 10), 1)


def _draw_trace(random: Generator, picture: np.ndarray, bottom: int) -> None:
    """A line as of an ECG below the scan."""
    height_px, width_px = picture.shape[:2]
    y = min(height_px - 4, bottom + int(random.integers(25, 60)))
    x = np.arange(0, width_px, 3)
    beat = 18 * np.exp(-(((x % 140) - 40) ** 2) / 18) + random.normal(0, 0.7, len(x))
    points = np.stack([x, y - beat], axis=1).astype(np.int32)
    cv2.polylines(picture, [points], False, (90, 220, 90), 1)


def _compress(random: Generator, picture: np.ndarray) -> np.ndarray:
    """Through JPEG, as many archives hold it, in a third of the cases."""
    if random.random() > 0.33:
        return picture
    quality = int(random.integers(75, 96))
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
