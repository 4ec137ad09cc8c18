"""The ultrasound machine: from the tissue in probe coordinates to the picture.

Shadows and posterior enhancement are not painted: they follow from the attenuation along a beam.

    T. L. Szabo, Diagnostic Ultrasound Imaging, 2nd ed., 2014 (attenuation, beams, TGC).
    R. F. Wagner et al., IEEE Trans. Sonics Ultrason. 30(3), 1983 (speckle statistics).
    C. B. Burckhardt, IEEE Trans. Sonics Ultrason. 25(1), 1978 (the envelope is Rayleigh).
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from polyp_core.phantom.geometry import Floats, find_beam, find_frame, get_half_field
from polyp_core.phantom.parameters import TISSUE_ALPHA, PhantomParameters
from polyp_core.phantom.scene import BEAMS, DB, ROWS, Scene

_ZONES = 14  # of depth, each with its own width of the beam
_SOUND_MM_PER_US = 1.54
_FWHM = 2.355  # full width at half maximum of a Gaussian, in standard deviations
_ONE = np.ones((1, 1), np.float32)  # the kernel that leaves a direction as it is


def render_phantom(parameters: PhantomParameters) -> NDArray[np.uint8]:
    """Render one image: (height, width), 250 to 450 px a side, 0 outside the fan of a sector.

    The same bytes for the same parameters and the same versions of NumPy and OpenCV.
    """
    p = parameters
    level_db = 20 * np.log10(_insonify(p) + np.float32(1e-6))
    level_db = cv2.GaussianBlur(level_db, (3, 3), 0.8)  # machines smooth, too
    grey = np.clip(255 * (p.tissue_grey + level_db / p.dynamic_range_db), 0, 255)
    return _scan_convert(p, np.rint(grey).astype(np.uint8))


def form_envelope(
    amplitude: Floats, surface: Floats, *, axial_px: float, lateral_px: Floats, random: Generator
) -> Floats:
    """Return the echo envelope of a map (rows, beams) of scatterers.

    Args:
        amplitude: Strength of the random scatterers. There are many in a resolution cell: their
            envelope is Rayleigh, with mean square 2 * amplitude**2 (Burckhardt 1978).
        surface: Strength of smooth reflectors, all in phase.
        axial_px: Standard deviation of the pulse along the beam, in rows.
        lateral_px: (rows,); standard deviation of the beam's width, in beams.
        random: Draws the scatterers.
    """
    shape = (*amplitude.shape, 2)  # in phase and in quadrature
    echo: Any = random.standard_normal(shape, dtype=np.float32) * amplitude[..., None]
    echo[..., 0] += surface
    echo = _blur_across(echo, lateral_px, power=2)
    echo = cv2.sepFilter2D(echo, cv2.CV_32F, _ONE, _kernel(axial_px, power=2))
    return np.asarray(cv2.magnitude(echo[..., 0], echo[..., 1]), np.float32)


def _insonify(p: PhantomParameters) -> Floats:
    """Return the envelope (rows, beams) after the gain with depth; about 1.3 in plain scene."""
    random = np.random.default_rng(p.speckle_seed)
    scene = Scene(p, random)
    axial_px, lateral_px = _measure_blur(p, scene)
    decibels_per_row = 2 * p.frequency_mhz * scene.row_mm / 10
    loss_db = decibels_per_row * np.cumsum(scene.alpha, axis=0)
    across = np.linspace(0, 1, BEAMS, dtype=np.float32)
    loss_db += p.contact_loss_db * np.exp(-(((across - p.contact_beam) / 0.05) ** 2))
    gain_db: Floats = p.tgc_share * TISSUE_ALPHA * 2 * p.frequency_mhz / 10 * scene.depth_mm
    gain_db = gain_db + p.tgc_wave_db * np.sin(math.pi / p.depth_mm * scene.depth_mm)
    # The beam is wide, so a shadow has soft edges and one narrower than the beam fills in.
    passed = _blur_across(np.exp(-DB * loss_db), 1.3 * lateral_px, power=1)
    passed *= np.exp(DB * gain_db)
    amplitude = passed * np.exp(DB * scene.echo_db)
    power = (math.exp(DB * p.clutter_db) * np.asarray(cv2.blur(amplitude, (71, 51)))) ** 2
    power += np.exp(2 * DB * (p.noise_db + gain_db))  # noise is amplified with the echoes
    amplitude, surface = np.sqrt(amplitude**2 + power), passed * scene.surface
    return form_envelope(
        amplitude, surface, axial_px=axial_px, lateral_px=lateral_px, random=random
    )


def _measure_blur(p: PhantomParameters, scene: Scene) -> tuple[float, Floats]:
    """Return the standard deviations of the pulse in rows and, row by row, of the beam in beams."""
    wave_mm = _SOUND_MM_PER_US / p.frequency_mhz
    axial_px = p.pulse_cycles * wave_mm / 2 / _FWHM / scene.row_mm
    spread = (scene.depth_mm - p.focus_depth_mm) / (0.35 * p.depth_mm)
    width_mm = p.f_number * wave_mm * np.sqrt(1 + spread**2) / _FWHM
    beam_mm = scene.mm_per_beam * 2 * get_half_field(p) / (BEAMS - 1)
    return axial_px, (width_mm / beam_mm)[:, 0]


def _blur_across(image: Floats, sigma_px: Floats, power: int) -> Floats:
    """Blur across the beams; each zone of depth has its own width."""
    result, step = np.empty_like(image), len(image) // _ZONES
    for top in range(0, len(image), step):
        kernel = _kernel(float(sigma_px[top : top + step].mean()), power)
        zone = np.ascontiguousarray(image[top : top + step])
        result[top : top + step] = cv2.sepFilter2D(zone, cv2.CV_32F, kernel, _ONE)
    return result


def _kernel(sigma_px: float, power: int) -> Floats:
    """Return a Gaussian whose sum (power 1) or energy (power 2) is 1."""
    size = 2 * math.ceil(3 * sigma_px) + 1
    kernel = np.asarray(cv2.getGaussianKernel(size, sigma_px, cv2.CV_32F), np.float32)
    return kernel / np.sum(kernel**power) ** np.float32(1 / power)


def _scan_convert(p: PhantomParameters, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn (rows, beams) into the image."""
    left, top, height, width = find_frame(p)
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) * p.pixel_mm + left
    z = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * p.pixel_mm + top
    beam, depth = find_beam(p, *np.broadcast_arrays(x, z))
    column = (beam / get_half_field(p) + 1) * (BEAMS - 1) / 2
    row = depth * ((ROWS - 1) / p.depth_mm)
    image = cv2.remap(grey, column, row, cv2.INTER_LINEAR, borderValue=0.0)
    return np.asarray(image, np.uint8)
