"""The saliency map in colour, over the picture."""

import cv2
import numpy as np

from polyp_core.prediction.classifier import Prediction
from polyp_core.region import crop_region


def draw_overlay(prediction: Prediction, opacity: float, positive: bool = True) -> np.ndarray:
    """Lay one direction of the saliency map over the picture, in the inferno colours.

    The colour's opacity follows the evidence, so where there is none the picture stays untouched;
    so does what lies outside of the part that the network saw.

    Args:
        prediction: Of one picture.
        opacity: In [0, 1], of the strongest evidence.
        positive: Show what speaks for the positive class, or else for the negative one.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    picture, saliency = prediction.picture, prediction.saliency
    overlay = np.array(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    seen = crop_region(overlay, prediction.box)
    height_px, width_px = seen.shape[:2]
    strength = np.clip(saliency if positive else -saliency, 0, 1).astype(np.float32)
    strength = cv2.resize(strength, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    strength = strength[..., np.newaxis]
    colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = opacity * np.sqrt(strength)
    left, top, right, bottom = prediction.box
    overlay[top:bottom, left:right] = np.rint(seen * (1 - weight) + colours * weight)
    return overlay
