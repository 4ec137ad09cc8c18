"""Patients: on both sides, in both classes, guessed or unknown."""

from typing import Any

import pandas as pd

from polyp_core.audit.finding import Finding, name_patients, point_at, say_splits
from polyp_core.dataset import Index
from polyp_core.words import say_number

_SOURCES = {
    "names": "the file names",
    "numbers": "the numbers before the file names",
    "files": "the files with several frames, each taken for one patient",
}
_UNSEEN = "If a patient has several of them, these may stand on both sides without being seen"


def find_patients(index: Index) -> list[Finding | None]:
    """What stands in the way of a result that holds for new patients."""
    return [
        _find_leaked(index), _find_in_both_classes(index), _find_unknown(index),
        _find_guessed(index),
    ]  # fmt: skip


def _find_leaked(index: Index) -> Finding | None:
    leaked = _find_spread(index, "split")
    if leaked.empty:
        return None
    counted = say_number(leaked["group"].nunique(), "patient has", "patients have")
    is_guess = index.group_source == "numbers"
    return Finding(
        kind="patient_across_splits",
        severity="warning" if is_guess else "error",
        title=f"{counted} images in {say_splits(leaked)}.",
        advice=("If the numbers before the file names are patients, the" if is_guess else "The")
        + " model would recognise the patient instead of the disease. A clean split keeps each "
        "patient on one side.",
        count=int(leaked["group"].nunique()),
        **_show_by_patient(index, leaked),
    )


def _find_in_both_classes(index: Index) -> Finding | None:
    both = _find_spread(index, "label")
    if both.empty:
        return None
    counted = say_number(both["group"].nunique(), "patient has", "patients have")
    return Finding(
        kind="patient_across_classes",
        severity="note",
        title=f"{counted} images in both classes.",
        advice="That can be right: a patient may have two polyps. If it cannot, a label is wrong.",
        count=int(both["group"].nunique()),
        **_show_by_patient(index, both),
    )


def _find_unknown(index: Index) -> Finding | None:
    """Patients that nobody can look for on both sides."""
    if not index.has_groups:
        return Finding(
            kind="patients_unknown",
            severity="warning",
            title="The patients are unknown.",
            advice=f"Each image is taken for a patient of its own. {_UNSEEN}, and the result is "
            "too good: give a pattern that finds the patient in the file names, or a manifest "
            "with the column group.",
            count=len(index.images),
        )
    silent = index.images[name_patients(index.images) == ""].drop_duplicates("path")
    if silent["path"].nunique() in (0, index.images["path"].nunique()):
        return None
    return Finding(
        kind="patients_missing",
        severity="warning",
        title=f"{say_number(len(silent), 'file tells', 'files tell')} no patient.",
        advice=f"Each is taken for a patient of its own. {_UNSEEN}: name them in a manifest with "
        "the column group.",
        count=len(silent),
        **point_at(index, silent),
    )


def _find_guessed(index: Index) -> Finding | None:
    if index.group_source not in _SOURCES:
        return None
    is_named = name_patients(index.images) != ""
    named = index.images[is_named] if is_named.any() else index.images
    row = named.iloc[0]
    name = row["path"].rsplit("/", 1)[-1]
    num_patients = int(named["group"].nunique())
    counted = say_number(num_patients, "patient was", "patients were")
    return Finding(
        kind="patients_guessed",
        severity="warning" if index.group_source == "files" else "note",
        title=f"{counted} found by {_SOURCES[index.group_source]}: '{name}' is of "
        f"'{row['group'].rsplit('/', 1)[-1]}'.",
        advice="If that is wrong, give a pattern that finds the patient in the file names.",
        count=num_patients,
    )


def _find_spread(index: Index, column: str) -> pd.DataFrame:
    known: pd.DataFrame = index.images[index.images["group"] != ""]
    spread = known.groupby("group")[column].transform("nunique") > 1
    return known[spread].sort_values(["group", "path"])


def _show_by_patient(index: Index, rows: pd.DataFrame) -> dict[str, Any]:
    sets = [tuple(map(int, numbers)) for numbers in rows.groupby("group").groups.values()]
    return point_at(index, rows, list(rows["group"])) | {"sets": tuple(sets)}
