"""An index becomes findings: what makes a result on these images less than it seems."""

from dataclasses import dataclass

import pandas as pd

from polyp_core.dataset import Index
from polyp_core.metrics import estimate_proportion
from polyp_core.words import round_percent, say_number

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
_FEW = 12  # the thesis' own validation set: even 12 of 12 right only proves 76 % or more


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about the images that the user should know.

    Attributes:
        kind: "unreadable", "copy_across_splits", "copy_across_classes", "copy_across_patients",
            "patient_across_splits" or "few_validation".
        severity: "error" where a result would be wrong, "warning" where it needs care.
        title: What was found, with the count.
        advice: Why it matters and what to do.
        files: The images concerned, relative to the folder.
        reasons: One text a file; "" where the title says it all.
    """

    kind: str
    severity: str
    title: str
    advice: str
    files: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def find_findings(index: Index) -> list[Finding]:
    """Everything that is wrong with an index, the worst first."""
    findings = [
        _find_copies(
            index, "split", "copy_across_splits", "in {splits}",
            "The model would be tested on what it has learnt by heart. Remove the copies from all "
            "but one.",
        ),
        _find_copies(
            index, "label", "copy_across_classes", "in both classes",
            "One of the two labels is wrong. Look at them and remove the wrong ones.",
        ),
        _find_copies(
            index, "group", "copy_across_patients", "under more than one patient",
            "The patients are probably the same person, who may then be on both sides. Give them "
            "one name, or remove the copies.",
        ),
        _find_leaked_patients(index),
        _find_unreadable(index),
        _find_few(index),
    ]  # fmt: skip
    return sorted((f for f in findings if f is not None), key=lambda f: f.severity != "error")


def say_limit(index: Index) -> str:
    """The most that a flawless result on the validation set could prove, in words."""
    n, unit = _count_validation(index)
    low = round_percent(estimate_proportion(n, n).low or 0.0)
    return f"Even {n} of {n} validation {unit} right only proves {low} % or more."


def _count_validation(index: Index) -> tuple[int, str]:
    rows = index.select("validation")
    return (rows["group"].nunique(), "patients") if index.has_groups else (len(rows), "images")


def _say_splits(rows: pd.DataFrame) -> str:
    """The splits that the rows are in: "training and validation"."""
    names = [name for split, name in _SPLITS.items() if (rows["split"] == split).any()]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _find_copies(index: Index, column: str, kind: str, where: str, advice: str) -> Finding | None:
    spread = index.images.groupby("sha256")[column].transform("nunique") > 1
    copies = index.images[spread].sort_values(["sha256", "path"])
    if copies.empty:
        return None
    counted = say_number(copies["sha256"].nunique(), "image stands", "images stand")
    return Finding(
        kind=kind,
        severity="error",
        title=f"{counted} {where.format(splits=_say_splits(copies))}, byte for byte the same.",
        advice=advice,
        files=tuple(copies["path"]),
        reasons=tuple(f"copy {sha256[:6]}" for sha256 in copies["sha256"]),
    )


def _find_leaked_patients(index: Index) -> Finding | None:
    known: pd.DataFrame = index.images[index.images["group"] != ""]
    spread = known.groupby("group")["split"].transform("nunique") > 1
    leaked = known[spread].sort_values(["group", "path"])
    if leaked.empty:
        return None
    counted = say_number(leaked["group"].nunique(), "patient has", "patients have")
    return Finding(
        kind="patient_across_splits",
        severity="error",
        title=f"{counted} images in {_say_splits(leaked)}.",
        advice="The model would recognise the patient instead of the disease. Move each patient's "
        "images to one side, or give class folders without a split and let the app divide them.",
        files=tuple(leaked["path"]),
        reasons=tuple(leaked["group"]),
    )


def _find_unreadable(index: Index) -> Finding | None:
    n = len(index.unreadable)
    if n == 0:
        return None
    return Finding(
        kind="unreadable",
        severity="warning",
        title=say_number(n, "file cannot be read and is left out.",
                         "files cannot be read and are left out."),
        advice="Training goes on without it. Export it again if it matters." if n == 1
        else "Training goes on without them. Export them again if they matter.",
        files=tuple(index.unreadable["path"]),
        reasons=tuple(index.unreadable["reason"]),
    )  # fmt: skip


def _find_few(index: Index) -> Finding | None:
    if _count_validation(index)[0] > _FEW:
        return None
    return Finding(
        kind="few_validation",
        severity="warning",
        title="The validation set is very small.",
        advice=f"{say_limit(index)} Add images, or keep a larger part for validation.",
    )
