"""Random changes of an image: the numbers are drawn in one function and applied in another.

The numbers depend on (seed, epoch, image number) alone. So the preview is exactly what training
sees, a resumed run draws what the unbroken one would have drawn, and threads change nothing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from polyp_core.config import AugmentConfig

_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}


@dataclass(frozen=True, kw_only=True)
class AugmentParameters:
    """The numbers drawn for one image in one epoch.

    Signs and order are those of Keras' `apply_affine_transform`: they describe where the result
    looks in the original, so a zoom of 1.2 shows more of it (smaller), a zoom of 0.8 less.
    """

    rotation_deg: float = 0.0
    shift_x: float = 0.0  # part of the width
    shift_y: float = 0.0  # part of the height
    shear_deg: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    flip: bool = False


def draw_parameters(
    config: AugmentConfig, *, seed: int, epoch: int, image_number: int
) -> AugmentParameters:
    """Draw how one image is changed in one epoch; every number uniform within its bounds.

    Args:
        config: The bounds.
        seed: The run's seed.
        epoch: Counted from 1.
        image_number: The image's row in the index.
    """
    unit = np.random.default_rng((seed, epoch, image_number)).uniform(-1, 1, size=7)
    return AugmentParameters(
        rotation_deg=config.rotation_deg * unit[0],
        shift_x=config.width_shift * unit[1],
        shift_y=config.height_shift * unit[2],
        shear_deg=config.shear_deg * unit[3],
        zoom_x=1 + config.zoom * unit[4],
        zoom_y=1 + config.zoom * unit[5],
        flip=bool(config.horizontal_flip and unit[6] < 0),
    )


def apply_parameters(
    image: np.ndarray, parameters: AugmentParameters, fill_mode: str = "nearest"
) -> np.ndarray:
    """Change an image by the drawn numbers, in one warp with bilinear interpolation.

    Args:
        image: `(height, width, channels)` uint8.
        parameters: From `draw_parameters`.
        fill_mode: What stands beyond the border: "nearest", "reflect", "wrap" or "constant" (0).

    Returns:
        An array of the same shape and type; the input is not changed.
    """
    if parameters == AugmentParameters():
        return image.copy()
    height_px, width_px = image.shape[:2]
    matrix = _look_up_matrix(parameters, width_px, height_px)
    warped = cv2.warpAffine(
        image,
        matrix[:2],
        (width_px, height_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=_BORDERS[fill_mode],
    )
    return warped.reshape(image.shape)


def augment_image(
    image: np.ndarray, config: AugmentConfig, *, seed: int, epoch: int, image_number: int
) -> np.ndarray:
    """What training sees of an image in an epoch: draw, then apply."""
    parameters = draw_parameters(config, seed=seed, epoch=epoch, image_number=image_number)
    return apply_parameters(image, parameters, config.fill_mode)


def _look_up_matrix(parameters: AugmentParameters, width_px: int, height_px: int) -> np.ndarray:
    """The 3×3 matrix from a pixel (x, y, 1) of the result to its place in the original."""
    angle, shear = np.deg2rad(parameters.rotation_deg), np.deg2rad(parameters.shear_deg)
    rotation = _affine(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    shift = _affine(x=parameters.shift_x * width_px, y=parameters.shift_y * height_px)
    slant = _affine(b=-np.sin(shear), d=np.cos(shear))
    zoom = _affine(a=parameters.zoom_x, d=parameters.zoom_y)
    center_x, center_y = (width_px - 1) / 2, (height_px - 1) / 2
    around_center: np.ndarray = (
        _affine(x=center_x, y=center_y)
        @ (rotation @ shift @ slant @ zoom)
        @ _affine(x=-center_x, y=-center_y)
    )
    if parameters.flip:
        around_center = around_center @ _affine(a=-1.0, x=width_px - 1)
    return around_center


def _affine(
    a: float = 1.0, b: float = 0.0, c: float = 0.0, d: float = 1.0, x: float = 0.0, y: float = 0.0
) -> np.ndarray:
    return np.array([[a, b, x], [c, d, y], [0.0, 0.0, 1.0]])
