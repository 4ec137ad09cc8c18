"""Pictures that are no familiar scans, drawn or made of scans, for `benchmarks.familiarity`.

`MADE` draws a picture from its number and a generator, `MADE_OF_SCANS` changes a scan so that it is
none of its kind any more, `RESAVED` as people do who hand scans on: it stays one of its kind. What
is named "late" was written after the judge was finished.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

_TEXT = (
    "the patient was seen on monday in good health no further examination needed please return "
    "this form signed page table total sum of all values report date"
)


def make_noise(number: int, draw: Generator) -> np.ndarray:
    """White, normal, coarse and coloured noise in turn."""
    height, width = draw.integers(150, 400, 2).tolist()
    if number % 4 == 0:
        pixels = draw.integers(0, 256, (height, width, 1))
    elif number % 4 == 1:
        mean, deviation = draw.uniform(60, 180), draw.uniform(10, 50)
        pixels = np.clip(draw.normal(mean, deviation, (height, width, 1)), 0, 255)
    elif number % 4 == 2:
        coarse = draw.integers(0, 256, (height // 4, width // 4, 1))
        pixels = coarse.repeat(4, axis=0).repeat(4, axis=1)
    else:
        pixels = draw.integers(0, 256, (height, width, 3))
    return pixels.astype(np.uint8)


def make_blank(number: int, draw: Generator) -> np.ndarray:
    """Black, white, grey, and gradients downwards and across in turn."""
    height, width = draw.integers(150, 500, 2).tolist()
    if number % 5 < 3:
        return np.full((height, width, 1), (0, 255, draw.integers(20, 235))[number % 5], np.uint8)
    length = height if number % 5 == 3 else width
    ramp = np.linspace(draw.integers(0, 80), draw.integers(150, 256), length)
    ramp = ramp[:, np.newaxis] if number % 5 == 3 else ramp[np.newaxis]
    return np.broadcast_to(ramp, (height, width))[..., np.newaxis].astype(np.uint8)


def make_text(_: int, draw: Generator) -> np.ndarray:
    """A page of dark writing."""
    height, width = draw.integers(400, 900, 2).tolist()
    size = int(draw.integers(10, 28))
    page = Image.new("L", (width, height), int(draw.integers(235, 256)))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for y in range(30, height - 30, int(1.5 * size)):
        if draw.random() < 0.85:
            pen.text((30, y), _say(draw, max(2, (width - 60) // (3 * size))), 30, font)
    return _to_array(page)


def make_drawing(number: int, draw: Generator) -> np.ndarray:
    """Ellipses, lines and boxes, dark on white or bright on black."""
    height, width = draw.integers(200, 600, 2).tolist()
    page = Image.new("L", (width, height), 20 if number % 3 == 0 else 250)
    pen = ImageDraw.Draw(page)
    for _ in range(int(draw.integers(4, 16))):
        x, y, reach = (int(draw.integers(width)), int(draw.integers(height)), draw.uniform(10, 150))
        grey = int(draw.integers(150, 255) if number % 3 == 0 else draw.integers(0, 120))
        box = (x - reach, y - reach, x + reach, y + reach * draw.uniform(0.3, 1))
        fill, line = (grey if draw.random() < 0.3 else None), int(draw.integers(1, 6))
        kind = draw.integers(3)
        if kind == 0:
            pen.ellipse(box, fill, grey, line)
        elif kind == 1:
            pen.line(box, grey, line)
        else:
            pen.rectangle(box, fill, grey, line)
    return _to_array(page)


def make_screenshot(number: int, draw: Generator) -> np.ndarray:
    """A window with a list, lines of writing and coloured buttons; bright or dark; half in grey."""
    height, width = int(draw.integers(500, 900)), int(draw.integers(800, 1400))
    is_dark = number % 2 == 0
    ground, ink = ((32, 33, 36), (220, 220, 220)) if is_dark else ((255, 255, 255), (40, 40, 40))
    page = Image.new("RGB", (width, height), ground)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(int(draw.integers(11, 18)))
    pen.rectangle((0, 0, width, 40), (60, 64, 70) if is_dark else (230, 232, 236))
    side = (45, 46, 50) if is_dark else (245, 246, 248)
    pen.rectangle((0, 40, width // 5, height), side)
    for y in range(60, height - 20, int(draw.integers(22, 40))):
        pen.text((12, y), _say(draw, 2), ink, font)
        if draw.random() < 0.75:
            pen.text((width // 5 + 20, y), _say(draw, int(draw.integers(3, 12))), ink, font)
    for _ in range(int(draw.integers(1, 5))):
        x, y = int(draw.uniform(0.2, 0.8) * width), int(draw.uniform(0.1, 0.8) * height)
        box = (x, y, x + int(draw.integers(60, 300)), y + int(draw.integers(20, 160)))
        red, green, blue = draw.integers(0, 255, 3).tolist()
        pen.rounded_rectangle(box, 6, (red, green, blue))
    return _to_array(page.convert("L") if number % 4 >= 2 else page)


def make_radiograph(number: int, draw: Generator) -> np.ndarray:
    """What looks like a chest, a hand, a long bone or a skull on film; half are negatives."""
    height, width = int(draw.integers(300, 700)), int(draw.integers(250, 600))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height, x / width - 0.5
    paint = (_paint_chest, _paint_hand, _paint_bone, _paint_skull)[number % 4]
    picture = np.asarray(cv2.GaussianBlur(paint(x, y, draw), (0, 0), 2.5))
    clouds = draw.normal(0, 1, picture.shape).astype(np.float32)
    picture = picture + 60 * np.asarray(cv2.GaussianBlur(clouds, (0, 0), 12))
    picture = picture + draw.normal(15, draw.uniform(1, 4), picture.shape)
    picture = np.clip(picture if number % 8 < 4 else 255 - picture, 0, 255)
    return picture.astype(np.uint8)[..., np.newaxis]


def make_section(_: int, draw: Generator) -> np.ndarray:
    """A section as computed tomography shows it: smooth discs with sharp borders on black."""
    size = int(draw.integers(256, 513))
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    picture = np.zeros((size, size), np.float32)
    discs = [(200, 0.46, 0.35, 0, 0), (-110, 0.43, 0.32, 0, 0)]
    discs += [
        (draw.uniform(-50, 80), *draw.uniform(0.03, 0.16, 2), *draw.uniform(-0.2, 0.2, 2))
        for _ in range(6)
    ]
    for grey, tall, wide, left, top in discs:
        picture[((y - top) / tall) ** 2 + ((x - left) / wide) ** 2 < 1] += grey
    picture += draw.normal(0, 6, picture.shape)
    picture = np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8), 0, 255)
    return picture.astype(np.uint8)[..., np.newaxis]


def make_chart(number: int, draw: Generator) -> np.ndarray:
    """Bars, squares of a board, or a wave on a grid as a monitor shows it."""
    height, width = draw.integers(250, 700, 2).tolist()
    page = Image.new("L", (width, height), 255 if number % 2 else 0)
    pen, ink = ImageDraw.Draw(page), 40 if number % 2 else 210
    step = int(draw.integers(20, 60))
    for place, x in enumerate(range(0, width, step)):
        if number % 3 == 0:
            pen.rectangle((x, int(draw.uniform(0.1, 0.9) * height), x + step // 2, height), ink)
        elif number % 3 == 1:
            for y in range((place % 2) * step, height, 2 * step):
                pen.rectangle((x, y, x + step, y + step), ink)
        else:
            pen.line((x, 0, x, height), 90)
            pen.line((0, x, width, x), 90)
    if number % 3 == 2:
        places = np.arange(width)
        wave = height * (0.5 + 0.35 * np.sin(places / step) ** 15 * np.cos(places / 9))
        pen.line(list(zip(places.tolist(), wave.tolist(), strict=True)), ink, 3)
    return _to_array(page)


def take_parts(
    photos: list[np.ndarray], num_parts: int, is_grey: bool, draw: Generator
) -> list[np.ndarray]:
    """Parts of photographs, of at least 40 % of each side."""
    parts = []
    for number in range(num_parts):
        photo = photos[number % len(photos)]
        height, width = (int(side * draw.uniform(0.4, 1)) for side in photo.shape[:2])
        top = int(draw.integers(photo.shape[0] - height + 1))
        left = int(draw.integers(photo.shape[1] - width + 1))
        part = np.ascontiguousarray(photo[top : top + height, left : left + width])
        if is_grey and part.shape[-1] == 3:
            part = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
        parts.append(part)
    return parts


def add_flow(scan: np.ndarray, draw: Generator) -> np.ndarray:
    """Lay a box of colour Doppler on a scan: red and blue where something flows."""
    picture = _to_colour(scan)
    height, width = picture.shape[:2]
    rows, columns = (max(4, int(side * draw.uniform(0.25, 0.5))) for side in (height, width))
    top, left = int(draw.integers(height - rows + 1)), int(draw.integers(width - columns + 1))
    noise = draw.normal(0, 1, (rows, columns)).astype(np.float32)
    flow = np.asarray(cv2.GaussianBlur(noise, (0, 0), max(1.2, min(rows, columns) / 9)))
    flow = flow / (flow.std() + 1e-6)
    least = draw.uniform(0.8, 1.4)
    fast = np.clip(2 * (np.abs(flow) - least), 0, 1)
    towards = np.stack([120 + 120 * fast, 120 * fast, 0 * fast], axis=-1)
    away = np.stack([0 * fast, 80 * fast, 120 + 130 * fast], axis=-1)
    colours = np.where(flow[..., np.newaxis] > 0, towards, away)
    part = picture[top : top + rows, left : left + columns]
    part[:] = np.where((np.abs(flow) > least)[..., np.newaxis], colours, part)
    return picture


def save_as_jpeg(scan: np.ndarray, quality: int) -> np.ndarray:
    """Save and load again."""
    _, data = cv2.imencode(".jpg", scan[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    loaded = cv2.imdecode(data, cv2.IMREAD_COLOR if scan.shape[-1] == 3 else cv2.IMREAD_GRAYSCALE)
    return _with_axis(np.asarray(loaded))[..., ::-1]


def resize(scan: np.ndarray, factor: float) -> np.ndarray:
    """As a viewer does."""
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return _with_axis(cv2.resize(scan, None, fx=factor, fy=factor, interpolation=how))


def crop(scan: np.ndarray, draw: Generator) -> np.ndarray:
    """Cut up to 8 % off each side."""
    height, width = scan.shape[:2]
    top, bottom = (int(draw.uniform(0, 0.08) * height) for _ in range(2))
    left, right = (int(draw.uniform(0, 0.08) * width) for _ in range(2))
    return np.asarray(scan[top : height - bottom, left : width - right])


def change_gain(scan: np.ndarray, draw: Generator) -> np.ndarray:
    """Up to 15 % and 6 grey levels."""
    changed = scan.astype(np.float32) * draw.uniform(0.85, 1.15) + draw.uniform(-6, 6)
    return np.asarray(np.clip(changed, 0, 255), np.uint8)


def blur(scan: np.ndarray, share: float) -> np.ndarray:
    """Blur with a deviation of a share of the longer side."""
    return _with_axis(cv2.GaussianBlur(scan, (0, 0), share * max(scan.shape[:2])))


def show_in_colours(scan: np.ndarray) -> np.ndarray:
    """The grey levels as a map of false colours."""
    return np.asarray(cv2.applyColorMap(scan[..., 0], cv2.COLORMAP_JET))[..., ::-1]


def lay_on_page(scan: np.ndarray) -> np.ndarray:
    """A scan as a small picture on a white page."""
    height, width = scan.shape[:2]
    page = np.full((2 * height, 2 * width, scan.shape[2]), 255, np.uint8)
    page[height // 3 : height // 3 + height, width // 4 : width // 4 + width] = scan
    return page


def draw_trace(scan: np.ndarray) -> np.ndarray:
    """One line of the scan over time, as in M-mode."""
    columns = np.arange(scan.shape[1])
    moved = [
        np.roll(scan[:, scan.shape[1] // 2], int(0.04 * len(scan) * np.sin(column / 15)), axis=0)
        for column in columns
    ]
    return np.stack(moved, axis=1)


def _paint_chest(x: np.ndarray, y: np.ndarray, _: Generator) -> np.ndarray:
    picture = 150 * np.exp(-((x / 0.42) ** 4 + ((y - 0.55) / 0.55) ** 6))
    for middle in (-0.2, 0.2):
        picture -= 95 * np.exp(-(((x - middle) / 0.14) ** 2 + ((y - 0.45) / 0.28) ** 2))
    for rib in range(8):
        picture += 18 * np.exp(-(((y - 0.15 - 0.08 * rib - 0.15 * x**2) / 0.01) ** 2))
    return np.asarray(picture + 70 * np.exp(-((x / 0.035) ** 2)))


def _paint_hand(x: np.ndarray, y: np.ndarray, _: Generator) -> np.ndarray:
    picture = 90 * np.exp(-((x / 0.28) ** 4 + ((y - 0.75) / 0.22) ** 4))
    for finger in range(5):
        aside, top = x + 0.3 - 0.15 * finger, 0.15 + 0.07 * abs(finger - 2)
        is_joint = np.abs((y - top) % 0.16 - 0.08) > 0.07
        bone = 60 * np.exp(-((aside / 0.05) ** 2))
        bone += 110 * np.exp(-((aside / 0.022) ** 2)) * np.where(is_joint, 0.5, 1)
        picture += np.where((y > top) & (y < 0.7), bone, 0)
    return np.asarray(picture)


def _paint_bone(x: np.ndarray, y: np.ndarray, draw: Generator) -> np.ndarray:
    angle = draw.uniform(-0.5, 0.5)
    aside = x * np.cos(angle) + (y - 0.5) * np.sin(angle)
    flesh, shaft = 80 * np.exp(-((aside / 0.3) ** 4)), 120 * np.exp(-((aside / 0.09) ** 4))
    return np.asarray(flesh + shaft - 50 * np.exp(-((aside / 0.04) ** 2)))


def _paint_skull(x: np.ndarray, y: np.ndarray, _: Generator) -> np.ndarray:
    radius = np.hypot(x / 0.38, (y - 0.45) / 0.38)
    picture = np.where(radius < 1, 90, 0) + 110 * np.exp(-(((radius - 1) / 0.05) ** 2))
    for middle in (-0.13, 0.13):
        picture -= 60 * np.exp(-(((x - middle) / 0.08) ** 2 + ((y - 0.45) / 0.07) ** 2))
    return np.asarray(picture, np.float32)


def _say(draw: Generator, num_words: int) -> str:
    return " ".join(draw.choice(_TEXT.split(), num_words))


def _to_array(picture: Image.Image) -> np.ndarray:
    return _with_axis(np.asarray(picture))


def _with_axis(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def _to_colour(scan: np.ndarray) -> np.ndarray:
    return np.array(np.broadcast_to(scan, (*scan.shape[:2], 3)))


Change = Callable[[np.ndarray, Generator], np.ndarray]
RESAVED: dict[str, Change] = {
    "at half the size": lambda scan, _: resize(scan, 0.5),
    "at 1.7 times the size": lambda scan, _: resize(scan, 1.7),
    "as JPEG of quality 75": lambda scan, _: save_as_jpeg(scan, 75),
    "up to 8 % cut off each side": crop,
    "with another gain": change_gain,
    "mirrored": lambda scan, _: scan[:, ::-1],
}
MADE_OF_SCANS: dict[str, Change] = {
    "with colour Doppler": add_flow,
    "turned by 90°": lambda scan, _: np.rot90(scan),
    "turned by 180°": lambda scan, _: np.rot90(scan, 2),
    "turned by 270°": lambda scan, _: np.rot90(scan, 3),
    "negative": lambda scan, _: 255 - scan,
    "blurred, 3 % of the side": lambda scan, _: blur(scan, 0.03),
    "blurred, 5 % of the side": lambda scan, _: blur(scan, 0.05),
    "as JPEG of quality 5": lambda scan, _: save_as_jpeg(scan, 5),
    "late: in false colours": lambda scan, _: show_in_colours(scan),
    "late: four in one": lambda scan, _: np.tile(scan, (2, 2, 1)),
    "late: small on a white page": lambda scan, _: lay_on_page(scan),
    "late: one line over time": lambda scan, _: draw_trace(scan),
    "late: turned by 45°": lambda scan, _: np.asarray(
        Image.fromarray(_to_colour(scan)).rotate(45, Image.Resampling.BILINEAR)
    ),
}
MADE: dict[str, Callable[[int, Generator], np.ndarray]] = {
    "noise": make_noise,
    "blank and gradients": make_blank,
    "pages of text": make_text,
    "drawings": make_drawing,
    "screenshots": make_screenshot,
    "like radiographs": make_radiograph,
    "late: like sections of CT": make_section,
    "late: charts and boards": make_chart,
}
