"""All that a run knows of itself, read once for a sheet."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.decision import Decision, read_decision, read_worth
from polyp_core.errors import RunError
from polyp_core.evaluation_jobs import find_checks, get_home, list_evaluations
from polyp_core.runs import Run
from polyp_core.study import Study
from polyp_core.words import get_main_level, make_visible, say_number

METRICS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc", "majority_accuracy")
Level = Mapping[str, Mapping[str, Any]]  # metrics by name: value, low, high, n


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What the sentences of a sheet are made of.

    Attributes:
        run: The run, or the ensemble of a study.
        study: Whose ensemble the run is, or None.
        config: All settings.
        class_names: Negative class, positive class; fit to be shown.
        index: The images with their split; None where they cannot be read.
        metrics: The numbers at the threshold in use, or None before there are any.
        decision: Threshold and band in use.
        checks: What the checks of robustness and shortcuts have found, or None.
        evaluations: Name and numbers of each finished evaluation on another folder.
        environment: Versions and machine of training.
        is_imported: Whether the run was trained on another computer.
    """

    run: Run
    study: Study | None
    config: RunConfig
    class_names: tuple[str, str]
    index: Index | None
    metrics: Mapping[str, Any] | None
    decision: Decision
    checks: Mapping[str, Any] | None
    evaluations: tuple[tuple[str, Mapping[str, Any]], ...]
    environment: Mapping[str, Any]
    is_imported: bool

    @property
    def level(self) -> tuple[Level, str] | None:
        """The numbers to quote, and "patients" or "images"; None where there are none."""
        return get_main_level(self.metrics) if self.metrics else None

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """What was answered on validation images, or None."""
        try:
            predictions = self.run.read_predictions()
        except (OSError, ValueError):
            return None
        return predictions[predictions["split"] != "test"]

    def say_images(self, rows: pd.DataFrame) -> str:
        """Such as "60 images of 15 patients (28 benign, 32 calcified)"."""
        counts = [int((rows["label"] == label).sum()) for label in (0, 1)]
        num_patients = count_patients(rows)
        said = say_number(len(rows), "image")
        if num_patients is not None:
            said += f" of {say_number(num_patients, 'patient')}"
        negative, positive = self.class_names
        return f"{said} ({counts[0]} {negative}, {counts[1]} {positive})"


def read_facts(run: Run) -> Facts:
    """Read what a run knows; what is missing or damaged is left out.

    Raises:
        RunError: If its settings or classes cannot be read.
    """
    study = find_study(run)
    index = None
    with suppress(RunError):
        index = run.read_index()
    checks = find_checks(run)
    negative, positive = run.read_class_names()
    environment = run.read_environment()
    if study is not None and not environment:
        environment = study.whole_members[0].run.read_environment()
    return Facts(
        run=run,
        study=study,
        config=run.read_config(),
        class_names=(make_visible(negative), make_visible(positive)),
        index=index,
        metrics=_read_sound_worth(run),
        decision=read_decision(run),
        checks=checks.read_checks() if checks is not None else None,
        evaluations=tuple(_read_evaluations(run)),
        environment=environment,
        is_imported=_is_imported(run),
    )


def find_study(run: Run) -> Study | None:
    """The study whose ensemble a run is, or None."""
    directory = run.directory.absolute().parent
    is_ensemble = run.directory.name == "ensemble" and (directory / "study.json").is_file()
    return Study(directory) if is_ensemble else None


def find_home(run: Run) -> Path:
    """Where a person's answers are kept.

    That of a study's ensemble is the study's own folder, since the ensemble is made anew with each
    member; that of the demo model the workspace, since nothing is written beside the program.
    """
    study = find_study(run)
    return study.directory if study is not None else get_home(run)


def count_patients(rows: pd.DataFrame) -> int | None:
    """How many patients some images are of; None where they are not all known.

    A file that stands for itself, such as a film for its frames, is no patient known.
    """
    if rows.empty or (rows["group"] == "").any() or (rows["group"] == rows["path"]).any():
        return None
    return int(rows["group"].nunique())


def _is_imported(run: Run) -> bool:
    try:
        return "imported" in json.loads(run.path("config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _read_evaluations(run: Run) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for files in list_evaluations(run):
        metrics = _read_sound_worth(run, files)
        if metrics is not None:
            found.append((make_visible(files.name), metrics))
    return found


def _read_sound_worth(run: Run, files: Run | None = None) -> Mapping[str, Any] | None:
    """As `read_worth`; None too where what a sentence needs is not in it."""
    try:
        metrics = read_worth(run, files)
        if metrics is None:
            return None
        for part in (metrics, metrics.get("test", metrics)):
            for level in [part["image"], *([part["patient"]] if "patient" in part else [])]:
                for name in METRICS:
                    _ = [level[name][key] for key in ("value", "low", "high", "n")]
        if "calibration" in metrics:
            found = metrics["calibration"]
            _ = [found["temperature"], found["n"], *map(found["log_loss"].get, ("before", "after"))]
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged, or of another version
        return None
    return metrics
