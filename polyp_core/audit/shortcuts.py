"""Shortcuts: things beside the disease from which the label could be told."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from polyp_core.audit.finding import Finding
from polyp_core.dataset import Index
from polyp_core.metrics import estimate_auc, estimate_exact_p_value, estimate_p_value
from polyp_core.words import say_auc

_WRONG = 0.05  # of all data sets without a shortcut
_STRONG = 0.7
_MARKS = ("text", "calipers", "colour")  # there or not; the other signs are measured
_SIGNS = {
    "text": "burned-in text",
    "calipers": "calipers",
    "colour": "colour",
    "file_size": "the size of the file",
    "image_size": "the size of the picture",
    "brightness": "the mean brightness",
    "border": "the brightness of the border",
}
_ADVICE = {
    "text": "Cut it away with a region, or use images without it.",
    "calipers": "Somebody measured one class and not the other. Use images without calipers.",
    "colour": "Use a network that sees grey alone, or images without coloured marks.",
    "file_size": "It may follow from the pictures themselves, or the classes were exported in "
    "different ways; then export both alike.",
    "image_size": "The classes probably come from different scanners or screens. Cut a region, or "
    "take both from the same source.",
    "brightness": "It may belong to the disease, or to another scanner or gain. Look at both "
    "classes side by side, and train with changes of gain.",
    "border": "The classes were probably cut or framed in different ways. Cut a region.",
}


def find_shortcuts(index: Index) -> list[Finding | None]:
    """Each sign that tells the label better than chance, with its AUC.

    With m signs tried, each may be wrong in 0.05/m of all data sets that have no shortcut, so that
    all together are wrong in no more than one of twenty (Bonferroni). Marks that are there or not
    are judged by Fisher's exact test, what is measured by the Wilcoxon-Mann-Whitney test. Where
    patients are known, each counts once: marked if one of the images is, else by the mean; a
    patient with images of both classes is left out.
    """
    signs, labels = _collect_signs(index), index.images["label"]
    if index.has_groups:
        signs, labels = _pool_by_patient(signs, labels, index.images["group"])
    return [_judge(index, name, labels.to_numpy(), signs[name].to_numpy(float)) for name in _SIGNS]


def _collect_signs(index: Index) -> pd.DataFrame:
    measures = index.measures
    return pd.DataFrame(
        {
            "text": measures["text_share"] > 0,
            "calipers": measures["num_calipers"] > 0,
            "colour": measures["is_colour"].astype(bool),
            "file_size": measures["size_bytes"],
            "image_size": index.images["width_px"] * index.images["height_px"],
            "brightness": measures["brightness"],
            "border": measures["border"],
        }
    ).astype(float)


def _pool_by_patient(
    signs: pd.DataFrame, labels: pd.Series, patients: pd.Series
) -> tuple[pd.DataFrame, pd.Series]:
    is_of_one_class = labels.groupby(patients).transform("nunique") == 1
    patients = patients[is_of_one_class]
    how = {name: "max" if name in _MARKS else "mean" for name in _SIGNS}
    pooled: pd.DataFrame = signs[is_of_one_class].groupby(patients).agg(how)
    return pooled, labels[is_of_one_class].groupby(patients).first()


def _judge(index: Index, name: str, labels: np.ndarray, values: np.ndarray) -> Finding | None:
    positive = index.class_names[1]
    is_mark = name in _MARKS
    estimate = estimate_exact_p_value if is_mark else estimate_p_value
    if estimate(labels, values) >= _WRONG / len(_SIGNS):
        return None
    is_higher = (estimate_auc(labels, values).value or 0.0) > 0.5
    auc = estimate_auc(labels, values if is_higher else -values)
    assert auc.value is not None
    is_strong = auc.value >= _STRONG
    if is_mark:
        verb, how = "are" if name == "calipers" else "is", "more" if is_higher else "less"
        seen = f"{_SIGNS[name].capitalize()} {verb} {how} frequent in '{positive}'"
    else:
        is_size = name.endswith("_size")
        how = (("smaller", "larger") if is_size else ("darker", "brighter"))[is_higher]
        what = {"border": "Borders", "file_size": "Files"}.get(name, "Pictures")
        seen = f"{what} of '{positive}' are {how}"
    unit = "patients" if index.has_groups else "images"
    return Finding(
        kind=f"shortcut_{name}",
        severity="warning" if is_strong else "note",
        title=f"{seen}: {_SIGNS[name]} alone tells the classes apart with an AUC of "
        f"{say_auc(asdict(auc))} over {auc.n} {unit}.",
        advice=f"A network may learn that instead of the disease. {_ADVICE[name]}",
        count=auc.n,
    )
