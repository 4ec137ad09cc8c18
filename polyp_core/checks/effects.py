"""The ways in which an image may be worse, as another scanner, archive or hand would make it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from polyp_core.augmentation import AugmentParameters, apply_parameters
from polyp_core.imaging_effects import ImagingParameters


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One way in which an image may be worse.

    Attributes:
        name: Of the file.
        title: On the screen.
        unit: Of the strengths.
        strengths: Rising.
        labels: Of each strength, in words.
        apply: Of `(image, strength, number)`, where the number tells images apart.
    """

    name: str
    title: str
    unit: str
    strengths: tuple[float, ...]
    labels: tuple[str, ...]
    apply: Callable[[np.ndarray, float, int], np.ndarray]


def _add_noise(image: np.ndarray, deviation: float, number: int) -> np.ndarray:
    """The same grains at every strength, in all channels alike: a grey picture stays grey."""
    grains = np.random.default_rng(number).standard_normal((*image.shape[:2], 1), np.float32)
    noisy: np.ndarray = np.clip(np.rint(image + deviation * grains), 0, 255).astype(np.uint8)
    return noisy


def _blur(image: np.ndarray, percent: float, number: int) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (0, 0), percent / 100 * image.shape[1])
    return np.asarray(blurred).reshape(image.shape)


def _change_gain(image: np.ndarray, gain_db: float, number: int) -> np.ndarray:
    gain = ImagingParameters(gain_db=gain_db if number % 2 else -gain_db)
    return apply_parameters(image, AugmentParameters(imaging=gain))


def _turn(image: np.ndarray, angle: float, number: int) -> np.ndarray:
    return apply_parameters(image, AugmentParameters(rotation_deg=angle if number % 2 else -angle))


def _compress(image: np.ndarray, loss: float, number: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100 - int(loss)])
    is_grey = image.shape[-1] == 1
    read = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if is_grey else cv2.IMREAD_COLOR)
    return np.asarray(read).reshape(image.shape)[..., ::-1]


def _label(form: str, strengths: Sequence[float]) -> dict[str, Any]:
    texts = tuple(form.format(strength, quality=100 - strength) for strength in strengths)
    return {"strengths": tuple(strengths), "labels": texts}


# Gain and turn go to either side in turn, as they do among scanners and hands.
EFFECTS = (
    Effect(name="noise", title="Noise", unit="grey levels, standard deviation", apply=_add_noise,
           **_label("{:g} of 255 grey levels", (5, 10, 20, 40))),
    Effect(name="blur", title="Blur", unit="% of the width, standard deviation", apply=_blur,
           **_label("{:g} % of the width", (0.25, 0.5, 1, 2))),
    Effect(name="gain", title="Gain, up and down", unit="dB of a display of 60 dB",
           apply=_change_gain, **_label("{:g} dB up or down", (3, 6, 9, 12))),
    Effect(name="rotation", title="Turn, left and right", unit="degrees", apply=_turn,
           **_label("{:g}° left or right", (5, 10, 15, 20))),
    Effect(name="jpeg", title="JPEG", unit="100 less the quality", apply=_compress,
           **_label("quality {quality:g}", (10, 30, 50, 80))),
)  # fmt: skip
