"""Patients: on both sides, in both classes, guessed or unknown."""

from typing import Any

import pandas as pd

from polyp_core.audit.finding import Finding, point_at, say_splits
from polyp_core.dataset import Index
from polyp_core.words import say_number

_SOURCES = {
    "names": "the file names",
    "files": "the files with several frames, each taken for one patient",
}


def find_patients(index: Index) -> list[Finding | None]:
    """What stands in the way of a result that holds for new patients."""
    return [_find_leaked(index), _find_in_both_classes(index), _find_doubtful(index)]


def _find_leaked(index: Index) -> Finding | None:
    leaked = _find_spread(index, "split")
    if leaked.empty:
        return None
    counted = say_number(leaked["group"].nunique(), "patient has", "patients have")
    return Finding(
        kind="patient_across_splits",
        severity="error",
        title=f"{counted} images in {say_splits(leaked)}.",
        advice="The model would recognise the patient instead of the disease. Use the clean split "
        "below, or move each patient's images to one side.",
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


def _find_doubtful(index: Index) -> Finding | None:
    if not index.has_groups:
        return Finding(
            kind="patients_unknown",
            severity="note",
            title="The patients are unknown.",
            advice="Each image is taken for a patient of its own. If patients have several images, "
            "give a pattern that finds them in the file names, or a manifest with the column "
            "group; else they end up on both sides and the result is too good.",
            count=len(index.images),
        )
    if index.group_source not in _SOURCES:
        return None
    is_own = index.images["group"] == index.images["path"]
    named = index.images if is_own.all() else index.images[~is_own]
    row = named.iloc[0]
    untold = int(is_own.sum()) if len(named) < len(index.images) else 0
    name = row["path"].rsplit("/", 1)[-1]
    num_patients = int(index.images["group"].nunique())
    counted = say_number(num_patients, "patient was", "patients were")
    return Finding(
        kind="patients_guessed",
        severity="note",
        title=f"{counted} found by {_SOURCES[index.group_source]}: '{name}' is of "
        f"'{row['group'].rsplit('/', 1)[-1]}'.",
        advice=f"{_say_untold(untold)}If that is wrong, give a pattern that finds the patient in "
        "the file names.",
        count=num_patients,
    )


def _say_untold(untold: int) -> str:
    if not untold:
        return ""
    counted = say_number(untold, "file tells", "files tell")
    return f"{counted} no patient and {'stands' if untold == 1 else 'stand'} for one each. "


def _find_spread(index: Index, column: str) -> pd.DataFrame:
    known: pd.DataFrame = index.images[index.images["group"] != ""]
    spread = known.groupby("group")[column].transform("nunique") > 1
    return known[spread].sort_values(["group", "path"])


def _show_by_patient(index: Index, rows: pd.DataFrame) -> dict[str, Any]:
    sets = [tuple(map(int, numbers)) for numbers in rows.groupby("group").groups.values()]
    return point_at(index, rows, list(rows["group"])) | {"sets": tuple(sets)}
