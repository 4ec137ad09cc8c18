"""Where things lie: beams, outlines and the frame of the image, in mm from the probe's face."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyp_core.phantom.parameters import PhantomParameters

Floats = NDArray[np.float32]
Values = NDArray[Any]


def get_half_field(p: PhantomParameters) -> float:
    """Return half the field's opening: rad in a sector, else mm."""
    return math.radians(p.field_angle_deg) / 2 if p.sector else p.field_width_mm / 2


def find_beam(p: PhantomParameters, x_mm: Values, z_mm: Values) -> tuple[Values, Values]:
    """Return beam (mm, or rad in a sector) and depth in mm of points given in mm."""
    if not p.sector:
        return x_mm, z_mm
    down = z_mm + p.probe_radius_mm
    return np.arctan2(x_mm, down), np.hypot(x_mm, down) - p.probe_radius_mm


def find_frame(p: PhantomParameters) -> tuple[float, float, int, int]:
    """Return the image's left and top in mm, its height and width in px."""
    half, top = get_half_field(p), 0.0
    if p.sector:
        top = p.probe_radius_mm * (math.cos(half) - 1)
        half = (p.probe_radius_mm + p.depth_mm) * math.sin(half)
    height, width = math.ceil((p.depth_mm - top) / p.pixel_mm), math.ceil(2 * half / p.pixel_mm)
    return -half, top, height, width


def locate_polyp(parameters: PhantomParameters) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom) in px around the polyp's body and its foci.

    Right and bottom are one past the last pixel; the box is clipped to the image.
    """
    p = parameters
    left, top, height, width = find_frame(p)
    bulge = 1 + sum(abs(weight) for weight in p.polyp_ripple)
    discs = [(*p.polyp_center_mm, bulge * p.polyp_radius_mm)]
    discs += [(spot.x_mm, spot.z_mm, spot.radius_mm) for spot in p.foci]
    x, z, radius = np.array(discs).T
    low = np.array([min(x - radius) - left, min(z - radius) - top]) / p.pixel_mm
    high = np.array([max(x + radius) - left, max(z + radius) - top]) / p.pixel_mm
    box = np.clip([*np.floor(low), *np.ceil(high)], 0, [width, height, width, height])
    return int(box[0]), int(box[1]), int(box[2]), int(box[3])


def trace_lumen(angle: Values, lumen: Mapping[str, Any]) -> Values:
    """Return points (..., 2) in mm of the outline, from the lumen's centre."""
    u, v = np.cos(angle), np.sin(angle)
    v = v * (1 + lumen["lumen_taper"] * u) + lumen["lumen_bend"] * u * u
    half_length, half_height = lumen["lumen_axes_mm"]
    return np.stack(_turn(u * half_length, v * half_height, lumen["lumen_rotation_deg"]), axis=-1)


def measure_lumen(p: PhantomParameters, x_mm: Floats, z_mm: Floats) -> Floats:
    """Return the signed distance in mm to the lumen's outline, about; negative inside."""
    half_length, half_height = p.lumen_axes_mm
    x, z = x_mm - p.lumen_center_mm[0], z_mm - p.lumen_center_mm[1]
    along, aside = _turn(x, z, -p.lumen_rotation_deg)
    u, v = along / half_length, aside / half_height
    v = (v - p.lumen_bend * u * u) / np.clip(1 + p.lumen_taper * u, 0.4, 1.6)
    radius = np.sqrt(u * u + v * v)
    slope = np.sqrt((u / half_length) ** 2 + (v / half_height) ** 2) + 1e-6
    return np.asarray((radius - 1) * radius / slope, np.float32)


def measure_polyp(p: PhantomParameters, x_mm: Floats, z_mm: Floats) -> Floats:
    """Return the signed distance in mm to the polyp and its stalk, negative inside."""
    x, z = x_mm - p.polyp_center_mm[0], z_mm - p.polyp_center_mm[1]
    body: Values = np.sqrt(x * x + z * z) - p.polyp_radius_mm
    angle = np.arctan2(z, x)
    for number, weight in enumerate(p.polyp_ripple, start=2):  # lobes
        body -= p.polyp_radius_mm * weight * np.cos(number * angle + number**2)
    root_x, root_z = (a - b for a, b in zip(p.polyp_root_mm, p.polyp_center_mm, strict=True))
    share = np.clip((x * root_x + z * root_z) / (root_x**2 + root_z**2), 0, 1.2)
    stalk = np.sqrt((x - share * root_x) ** 2 + (z - share * root_z) ** 2) - p.stalk_mm
    return np.asarray(np.minimum(body, stalk), np.float32)


def _turn(x: Values, z: Values, angle_deg: float) -> tuple[Values, Values]:
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return cosine * x - sine * z, sine * x + cosine * z
