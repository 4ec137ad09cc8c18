"""A finished run is put to the test: does it bear worse images, and does it look where it should?

Robustness: the same validation images with noise, blur, another gain, a small turn or JPEG, at the
size that the network sees. Shortcuts: how much of the saliency lies outside the scan area or on
burned-in text, beside the share of the area that these take; and how the AUC changes when the
border of the image is painted over. None of this proves that a model is sound; each can show that
it is not.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.checks.effects import EFFECTS, Effect
from polyp_core.checks.shortcuts import (
    PLACES,
    blank_border,
    describe_border,
    describe_place,
    find_masks,
    measure_share,
)
from polyp_core.checks.units import describe_auc, estimate_mean, split_units
from polyp_core.clusters import number_clusters
from polyp_core.dataset import Index
from polyp_core.errors import DatasetError, ImageError
from polyp_core.images import Picture, decode_picture, find_box, fit_image, read_file
from polyp_core.metrics import estimate_share, pool_patients
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.region import crop_region
from polyp_core.runs import Run

__all__ = ["EFFECTS", "MAX_IMAGES", "run_checks"]

Progress = Callable[[int, int], None]
MAX_IMAGES = 500


def run_checks(run: Run, index: Index, on_progress: Progress | None = None) -> dict[str, Any]:
    """Put a run to the test on its validation images, at most 500 of them, evenly chosen.

    Files that are gone or have changed since are left out and counted.

    Args:
        run: A finished one.
        index: Its images.
        on_progress: Called with (images done, images in all). An exception it raises cancels.

    Returns:
        What checks.json holds: `num_images`, `num_validation_images`, `num_left_out`,
        `num_patients` (None where unknown), `threshold`, and

        - `robustness`, an item an effect: `effect`, `title`, `unit`, `levels`, by rising strength,
          the first as they are: `strength`, `label`, and for "image" and, where patients are known,
          "patient": `auc`, `accuracy` and `mean_change` (of the probability, its absolute value);
        - `shortcuts`: for `outside` (of the scan area) and `text` a table for "all" and for each of
          the `classes`, see `describe_place`; and for `border` see `describe_border`.

    Raises:
        DatasetError: If there is no validation image that can be read.
        ModelError: As `load_classifier`.
    """
    classifier = load_classifier(run)
    validation = index.select("validation")
    chosen = choose_images(validation)
    measured: list[dict[str, Any]] = []
    for num_done, row in enumerate(chosen.itertuples(), start=1):
        picture = _read_picture(index, row)
        if picture is not None:
            known = {"label": row.label, "group": row.group}
            measured.append(known | measure_image(classifier, picture, len(measured)))
        if on_progress is not None:
            on_progress(num_done, len(chosen))
    if not measured:
        raise DatasetError(
            f"None of the {len(validation)} validation images of run '{run.name}' can be read from "
            f"'{index.folder}'. Expected the files that it was validated on. Put them back."
        )
    table = pd.DataFrame(measured)
    has_patients = pool_patients(table) is not None
    return {
        "num_images": len(table),
        "num_validation_images": len(validation),
        "num_left_out": len(chosen) - len(table),
        "num_patients": table["group"].nunique() if has_patients else None,
        "threshold": classifier.threshold,
        "robustness": [describe_effect(table, effect, classifier.threshold) for effect in EFFECTS],
        "shortcuts": {
            **{place: _describe_classes(table, place, classifier) for place in PLACES},
            "border": describe_border(table),
        },
    }


def choose_images(rows: pd.DataFrame) -> pd.DataFrame:
    """At most 500 rows, evenly spread over all."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES)).round().astype(int)
    return rows.iloc[places]


def measure_image(classifier: Classifier, picture: Picture, number: int) -> dict[str, float]:
    """All that is asked of the model about one image.

    Args:
        classifier: Of the run.
        picture: At its full size.
        number: Tells images apart: it decides the noise, and to which side gain and turn go.

    Returns:
        `probability`, `blanked` (with the border painted over), "noise 5" and so on (with each
        effect at each strength), and "outside area", "outside saliency", "outside evidence" and
        the same of "text": shares in [0, 1], see `describe_place`. NaN where there is no saliency.
    """
    model = classifier.config.model
    box = find_box(picture, classifier.config.data)
    image = fit_image(crop_region(picture.pixels, box), model.image_size_px, model.channels)
    probability, saliency = classifier.predictor.predict(image)
    values = {"probability": probability}
    for place, mask in find_masks(picture, box, image.shape[:2]).items():
        values |= {
            f"{place} {name}": value for name, value in measure_share(saliency, mask).items()
        }
    values["blanked"] = classifier.predictor.predict(blank_border(image))[0]
    for effect in EFFECTS:
        for strength in effect.strengths:
            changed = effect.apply(image, strength, number)
            values[f"{effect.name} {strength:g}"] = classifier.predictor.predict(changed)[0]
    return values


def describe_effect(table: pd.DataFrame, effect: Effect, threshold: float) -> dict[str, Any]:
    """What is left of AUC and accuracy at each strength of one effect, zero first."""
    columns = ["probability", *(f"{effect.name} {strength:g}" for strength in effect.strengths)]
    steps = zip((0.0, *effect.strengths), ("as it is", *effect.labels), columns, strict=True)
    return {
        "effect": effect.name,
        "title": effect.title,
        "unit": effect.unit,
        "levels": [
            {"strength": strength, "label": label, **_describe_change(table, column, threshold)}
            for strength, label, column in steps
        ],
    }


def _read_picture(index: Index, row: Any) -> Picture | None:  # noqa: ANN401 - a row of a table
    """An image of the index, or None where the file is gone or is another one now."""
    try:
        data = read_file(index.folder / row.path, row.path)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            return None
        return decode_picture(data, row.path, row.frame)
    except ImageError:
        return None


def _describe_classes(table: pd.DataFrame, place: str, classifier: Classifier) -> dict[str, Any]:
    return {
        "all": describe_place(table, place),
        "classes": {
            name: describe_place(table[table["label"] == label], place)
            for label, name in enumerate(classifier.class_names)
        },
    }


def _describe_change(table: pd.DataFrame, column: str, threshold: float) -> dict[str, Any]:
    described = {}
    for unit, rows in split_units(table, ["probability", column]).items():
        labels, before, after = (rows.iloc[:, place].to_numpy() for place in range(3))
        clusters = number_clusters(rows["group"].to_numpy(), len(rows))
        is_right = (after >= threshold) == (labels == 1)
        described[unit] = {
            "auc": describe_auc(labels, after, clusters),
            "accuracy": asdict(estimate_share(is_right, clusters)),
            "mean_change": asdict(estimate_mean(pd.Series(np.abs(after - before)))),
        }
    return described
