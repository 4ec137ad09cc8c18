"""Whether a model looks where no disease can be: beside the scan, on writing, at the border."""

from typing import Any

import cv2
import numpy as np
import pandas as pd

from polyp_core.annotations import find_text
from polyp_core.checks.units import describe_auc, estimate_mean, split_units, to_plain
from polyp_core.clusters import number_clusters
from polyp_core.evidence.pairs import compare_auc
from polyp_core.images import Picture
from polyp_core.metrics import pool_patients
from polyp_core.region import Box, crop_region, find_region

BORDER = 0.1  # of the side: what is painted over
PLACES = ("outside", "text")


def measure_share(saliency: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How much of an image's saliency lies in a part of it.

    Args:
        saliency: `(rows, columns)`, signed; laid over the image with soft transitions, as the
            overlay on the screen is.
        mask: `(height, width)` in [0, 1], how much of each pixel belongs to the part.

    Returns:
        `area`, `saliency` (of its absolute value), `evidence` (of what speaks for the positive
        class): shares in [0, 1].
    """
    size = mask.shape[::-1]
    shares = {"area": float(mask.mean())}
    for name, amounts in (("saliency", np.abs(saliency)), ("evidence", np.maximum(saliency, 0))):
        laid = cv2.resize(amounts.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        total = float(laid.sum(dtype=np.float64))
        inside = float((laid * mask).sum(dtype=np.float64))
        shares[name] = inside / total if total > 0 else float("nan")
    return shares


def blank_border(image: np.ndarray) -> np.ndarray:
    """Paint the outermost tenth on each side in the mean grey of the rest.

    That of the whole image would still tell how bright the border was.

    Args:
        image: `(height, width, channels)` uint8.
    """
    high, wide = (max(1, round(BORDER * side)) for side in image.shape[:2])
    inner = image[high:-high, wide:-wide]
    blanked = np.empty_like(image)
    blanked[:] = np.rint(inner.mean(axis=(0, 1)))
    blanked[high:-high, wide:-wide] = inner
    return blanked


def describe_place(table: pd.DataFrame, place: str) -> dict[str, Any]:
    """How much of the saliency lies in a part of the images, and how much of their area it takes.

    Images without such a part tell nothing and are left out; where patients are known each counts
    once, by its mean.

    Args:
        table: Of `measure_image`, one row an image.
        place: "outside" or "text".

    Returns:
        `num_images`, `num_with` (images that have such a part), `unit` ("image" or "patient", what
        n counts), and as metrics `area`, `saliency` (share of its absolute value), `evidence`
        (share of what speaks for the positive class) and `excess` (saliency less area: above zero
        where the model looks there more than its area explains).
    """
    have = table[(table[f"{place} area"] > 0) & table[f"{place} saliency"].notna()]
    values = have[[f"{place} {name}" for name in ("area", "saliency", "evidence")]]
    values = values.set_axis(["area", "saliency", "evidence"], axis=1)
    values = values.assign(excess=values["saliency"] - values["area"])
    has_patients = pool_patients(table) is not None
    if has_patients:
        values = values.groupby(have["group"]).mean()
    reason = {"outside": "No image shows anything outside the scan area to the network.",
              "text": "No burned-in text was found in these images."}[place]  # fmt: skip
    return {
        "num_images": len(table),
        "num_with": len(have),
        "unit": "patient" if has_patients else "image",
        **{
            name: to_plain(estimate_mean(values[name], -1.0 if name == "excess" else 0.0), reason)
            for name in values
        },
    }


def describe_border(table: pd.DataFrame) -> dict[str, Any]:
    """How the AUC changes when the border is painted over, on the same images.

    Returns:
        `width` (of the side), `area` (of the image), and for "image" and, where patients are known,
        "patient": `auc`, `auc_blanked` and `difference` (blanked less as it is, with `p_value`).
    """
    described: dict[str, Any] = {"width": BORDER, "area": round(1 - (1 - 2 * BORDER) ** 2, 6)}
    for unit, rows in split_units(table, ["probability", "blanked"]).items():
        labels, before, after = (rows[name].to_numpy() for name in rows.columns[:3])
        groups = rows["group"].to_numpy()
        clusters = number_clusters(groups, len(rows))
        described[unit] = {
            "auc": describe_auc(labels, before, clusters),
            "auc_blanked": describe_auc(labels, after, clusters),
            "difference": compare_auc(labels, before, after, groups),
        }
    return described


def find_masks(picture: Picture, box: Box, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Of each place, `(height, width)` in [0, 1], how much of each pixel belongs to it."""
    outside = np.ones(picture.pixels.shape[:2], np.float32)
    left, top, right, bottom = picture.region or find_region(picture.pixels)
    outside[top:bottom, left:right] = 0
    masks = {"outside": outside, "text": find_text(picture.pixels).astype(np.float32)}
    return {
        place: np.asarray(
            cv2.resize(crop_region(mask, box), size[::-1], interpolation=cv2.INTER_AREA)
        )
        for place, mask in masks.items()
    }
