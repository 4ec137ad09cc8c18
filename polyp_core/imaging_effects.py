"""What another machine, another knob or another contact would have made of the same tissue.

A B-mode picture shows echoes log-compressed over its dynamic range:

    grey = 255 · (1 + level / dynamic range),  level in dB, 0 for the strongest echo shown

So whatever multiplies an echo (gain, attenuation, shadow, speckle) adds to a grey, and all of it
together is one multiplication and one addition a pixel. The range of the given picture is taken
as 60 dB; it stands nowhere in a PNG. Depth is the vertical of the picture, downwards.

The surround of a scan, the black that reaches the picture's border, holds no echo and is left
alone. Black within the scan is an echo at the end of the range, and more gain does show it.

References:
    T. L. Szabo, Diagnostic Ultrasound Imaging, 2nd ed., 2014 (compression, TGC, beams).
    R. F. Wagner et al., IEEE Trans. Sonics Ultrason. 30(3), 1983 (speckle statistics).
    Z. Zhong et al., Random Erasing Data Augmentation, AAAI 2020.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, reduce

import cv2
import numpy as np

NOMINAL_RANGE_DB = 60.0
_WHITE = 255.0
_BLACK = 5  # the surround may be as grey as this where a JPEG left its noise
_ZONES = 16  # of depth, each with its own width of the beam
_FWHM = 2.355  # full width at half maximum of a Gaussian, in standard deviations
_DB_PER_NEPER = 20 / math.log(10)
_GREYS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class ImagingParameters:
    """The numbers drawn for the imaging of one picture; the defaults change nothing.

    Places are parts of the width or of the height, from the left and from the top.
    """

    gain_db: float = 0.0
    dynamic_range_db: float = NOMINAL_RANGE_DB
    depth_gain_db: float = 0.0  # at the bottom; 0 at the top
    speckle: float = 0.0  # standard deviation of an echo's amplitude over its mean
    speckle_size: float = 0.015  # part of the width
    haze: float = 0.0  # share of white where the veil is densest
    haze_depth: float = 0.5
    blur: float = 0.0  # standard deviation farthest from the focus, part of the width
    focus_depth: float = 0.5
    shadow_db: float = 0.0
    shadow_x: float = 0.5
    shadow_depth: float = 0.5  # where it begins
    shadow_width: float = 0.1
    erasing: float = 0.0  # part of the area
    erasing_x: float = 0.5  # 0 leftmost, 1 rightmost
    erasing_y: float = 0.5
    erasing_aspect: float = 1.0  # width over height, both as parts of the picture
    texture_seed: int = 0

    def acts(self) -> bool:
        """Whether any pixel may change."""
        amounts = (
            self.gain_db, self.depth_gain_db, self.speckle, self.haze, self.blur, self.shadow_db,
            self.erasing,
        )  # fmt: skip
        return any(amounts) or self.dynamic_range_db != NOMINAL_RANGE_DB


def apply_imaging(planes: list[np.ndarray], parameters: ImagingParameters) -> list[np.ndarray]:
    """Change how tissue is shown: first the beam, then the echoes, then what lies on the picture.

    Args:
        planes: The channels, each `(height, width)` uint8; all are changed alike.
        parameters: The drawn numbers.

    Returns:
        As many arrays of the same shape and type; the very inputs where nothing acts.
    """
    if parameters.blur > 0:
        planes = [blur_by_focus(plane, parameters.blur, parameters.focus_depth) for plane in planes]
    planes = change_echoes(planes, parameters)
    return [erase_part(plane, parameters) for plane in planes] if parameters.erasing > 0 else planes


def blur_by_focus(plane: np.ndarray, blur: float, focus_depth: float) -> np.ndarray:
    """Widen the beam away from its focus: a blur across it alone, as depth is told by the pulse.

    Args:
        plane: `(height, width)` uint8.
        blur: Standard deviation where the focus is farthest, as a part of the width.
        focus_depth: Where the picture stays sharp, as a part of the height.
    """
    height_px, width_px = plane.shape
    edges = np.linspace(0, height_px, min(_ZONES, height_px) + 1).astype(int).tolist()
    farthest = max(focus_depth, 1 - focus_depth)
    blurred = plane.copy()
    for top, bottom in zip(edges[:-1], edges[1:], strict=True):
        distance = abs((top + bottom) / 2 / height_px - focus_depth) / farthest
        sigma_px = blur * width_px * distance
        if sigma_px >= 0.25:  # less moves no grey worth the name
            size_px = 2 * int(3 * sigma_px + 0.5) + 1
            blurred[top:bottom] = cv2.GaussianBlur(plane[top:bottom], (size_px, 1), sigma_px)
    return blurred


def change_echoes(planes: list[np.ndarray], parameters: ImagingParameters) -> list[np.ndarray]:
    """Apply gain, dynamic range, depth gain, speckle, shadow and haze, rounded once at the end.

    Args:
        planes: The channels, each `(height, width)` uint8.
        parameters: The drawn numbers.
    """
    p = parameters
    slope = NOMINAL_RANGE_DB / p.dynamic_range_db
    greys = slope * (_GREYS - _WHITE) + _WHITE * (1 + p.gain_db / p.dynamic_range_db)
    if p.depth_gain_db or p.speckle or p.shadow_db or p.haze:
        offset = make_level_map(planes[0].shape, p)
        offset *= _WHITE / p.dynamic_range_db
        veil = make_veil(planes[0].shape, p) if p.haze > 0 else None
        if veil is not None:
            offset += veil * (_WHITE - offset)
        changed = [_recolour(plane, greys.astype(np.float32), offset, veil) for plane in planes]
    elif p.gain_db or slope != 1:
        table = np.clip(np.rint(greys), 0, _WHITE).astype(np.uint8)
        changed = [cv2.LUT(plane, table) for plane in planes]
    else:
        return planes
    surround = find_surround(reduce(cv2.max, planes))
    return [cv2.copyTo(plane, surround, new) for plane, new in zip(planes, changed, strict=True)]


def _recolour(
    plane: np.ndarray, greys: np.ndarray, offset: np.ndarray, veil: np.ndarray | None
) -> np.ndarray:
    shown = cv2.LUT(plane, greys)
    if veil is not None:
        shown *= 1 - veil
    return cv2.add(shown, offset, dtype=cv2.CV_8U)


def find_surround(plane: np.ndarray) -> np.ndarray:
    """The black around a scan: what is connected with the border through black alone.

    Args:
        plane: `(height, width)` uint8.

    Returns:
        `(height, width)` uint8: 255 in the surround, 0 in the scan.
    """
    height_px, width_px = plane.shape
    framed = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    mask = np.zeros((height_px + 4, width_px + 4), np.uint8)  # OpenCV wants one pixel more a side
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 255 << 8
    cv2.floodFill(framed, mask, (0, 0), 0, 0, _BLACK, flags)
    return mask[2:-2, 2:-2]


def make_level_map(shape: tuple[int, int], parameters: ImagingParameters) -> np.ndarray:
    """By how many decibels the echo of each pixel changes, without the overall gain.

    Args:
        shape: Height and width in pixels.
        parameters: The drawn numbers.

    Returns:
        `(height, width)` float32, in dB.
    """
    p = parameters
    height_px, width_px = shape
    level_db = np.zeros(shape, np.float32)
    if p.speckle > 0:
        # Log-normal: the amplitude has mean 1 and the asked spread, and its level is Gaussian.
        variance = math.log1p(p.speckle**2)
        texture = find_texture(shape, p.speckle_size * width_px, p.texture_seed)
        level_db += (texture * math.sqrt(variance) - variance / 2) * _DB_PER_NEPER
    if p.depth_gain_db != 0:
        level_db += np.linspace(0, p.depth_gain_db, height_px, dtype=np.float32)[:, None]
    if p.shadow_db > 0:
        level_db -= p.shadow_db * make_shadow(shape, p)
    return level_db


def make_shadow(shape: tuple[int, int], parameters: ImagingParameters) -> np.ndarray:
    """How much of a shadow lies on each pixel: soft at the sides, round at the top.

    Args:
        shape: Height and width in pixels.
        parameters: Gives place and width.

    Returns:
        `(height, width)` float32: 0 above `shadow_depth`, 1 in the core.
    """
    p = parameters
    across = (_place_pixels(shape[1]) - p.shadow_x) / (p.shadow_width / 2)
    core = np.exp2(-(np.abs(across) ** 3))
    begin = p.shadow_depth + 0.3 * p.shadow_width * across**2
    below = (_place_pixels(shape[0])[:, np.newaxis] - begin) / 0.08
    return np.asarray(np.clip(below, 0, 1) * core)


def make_veil(shape: tuple[int, int], parameters: ImagingParameters) -> np.ndarray:
    """The share of white laid over each pixel: an uneven cloud in a band of depth.

    Args:
        shape: Height and width in pixels.
        parameters: The drawn numbers.

    Returns:
        `(height, width)` float32, at most `parameters.haze`.
    """
    height_px, width_px = shape
    distance = (_place_pixels(height_px) - parameters.haze_depth) / 0.2
    band = parameters.haze * np.exp(-(distance**2) / 2)
    cloud = 0.75 + 0.25 * make_soft_field(parameters.texture_seed, 1)[..., 0]
    return np.asarray(cv2.resize(cloud, (width_px, height_px)) * band[:, np.newaxis])


def erase_part(plane: np.ndarray, parameters: ImagingParameters) -> np.ndarray:
    """Paint a rectangle over with the plane's mean.

    Args:
        plane: `(height, width)` uint8.
        parameters: Gives area, aspect and place.
    """
    p = parameters
    height_px, width_px = plane.shape
    across_px = min(width_px, round(width_px * (p.erasing * p.erasing_aspect) ** 0.5))
    down_px = min(height_px, round(height_px * (p.erasing / p.erasing_aspect) ** 0.5))
    left = round(p.erasing_x * (width_px - across_px))
    top = round(p.erasing_y * (height_px - down_px))
    erased = plane.copy()
    erased[top : top + down_px, left : left + across_px] = round(cv2.mean(plane)[0])
    return erased


def make_soft_field(seed: int, num_values: int) -> np.ndarray:
    """Smooth random vectors over the picture, about four waves across.

    Args:
        seed: Of the picture.
        num_values: Length of each vector.

    Returns:
        `(40, 40, num_values)` float32 to be resized; mean 0, the longest vector has length 1.
    """
    nodes = np.random.default_rng(seed).standard_normal((5, 5, num_values), dtype=np.float32)
    field = cv2.resize(nodes, (40, 40), interpolation=cv2.INTER_CUBIC).reshape(40, 40, num_values)
    field -= field.mean(axis=(0, 1))
    return np.asarray(field / np.sqrt((field**2).sum(axis=2).max()))


def find_texture(shape: tuple[int, int], grain_px: float, seed: int) -> np.ndarray:
    """A window of its own onto grainy noise that is made once for a size.

    Args:
        shape: Height and width in pixels.
        grain_px: Width of a grain at half its height; in depth it is half as long.
        seed: Chooses the window; there are two for each pixel of the picture.

    Returns:
        `(height, width)` float32 of mean 0 and standard deviation 1.
    """
    height_px, width_px = shape
    tile = _make_tile(height_px, width_px, round(grain_px, 2))
    seed, is_mirrored = divmod(seed, 2)
    seed, top = divmod(seed, height_px)
    left = seed % width_px
    window: np.ndarray = tile[top : top + height_px, left : left + width_px]
    return window[:, ::-1] if is_mirrored else window


@lru_cache(maxsize=4)
def _make_tile(height_px: int, width_px: int, grain_px: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((2 * height_px, 2 * width_px), np.float32)
    sigma_px = grain_px / _FWHM
    grains = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma_px, sigmaY=sigma_px / 2)
    tile: np.ndarray = (grains - grains.mean()) / grains.std()
    tile.flags.writeable = False
    return tile


def _place_pixels(num_px: int) -> np.ndarray:
    """Where the pixels' centres lie, as parts of the whole."""
    return (np.arange(num_px, dtype=np.float32) + 0.5) / num_px
