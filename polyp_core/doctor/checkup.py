"""A run's files become what the doctor looks at."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.doctor import Diagnosis, Facts, diagnose, say_state
from polyp_core.metrics import pool_patients
from polyp_core.runs import Run

Counts = tuple[int, int]


def examine_run(run: Run) -> tuple[list[Diagnosis], str]:
    """What the doctor finds in a run, gravest first, and one sentence for when that is nothing.

    Raises:
        RunError: If the run's files are damaged.
    """
    history, facts = run.read_history(), gather_facts(run, run.read_status())
    return diagnose(history, facts), say_state(history, facts)


def gather_facts(run: Run, status: dict[str, Any]) -> Facts:
    """What the doctor knows of a run besides its curves.

    Raises:
        RunError: If the run's files are damaged.
    """
    train, validation, units, unit = _count_images(run.directory.absolute())
    return Facts(
        config=run.read_config(),
        class_names=run.read_class_names(),
        train_counts=train,
        validation_counts=validation,
        validation_unit_counts=units,
        unit=unit,
        brightest_level=status.get("brightest_level"),
        error=str(status["message"]) if status["state"] == "failed" else "",
    )


@lru_cache(maxsize=64)
def _count_images(directory: Path) -> tuple[Counts, Counts, Counts, str]:
    """Images by class for training and validation, validation units, and what those are.

    Kept, because the index of a run never changes.
    """
    index = Run(directory).read_index()
    validation = index.select("validation")
    patients = pool_patients(validation.assign(probability=0.0))
    units = (validation, "images") if patients is None else (patients, "patients")
    return (
        _count(index.select("train")),
        _count(validation),
        _count(units[0]),
        units[1],
    )


def _count(rows: pd.DataFrame) -> Counts:
    positive = int((rows["label"] == 1).sum())
    return len(rows) - positive, positive
