"""All that a run knows of itself, read once for a sheet."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.decision import Decision, is_sound, read_decision, read_worth, was_ended_by_hand
from polyp_core.errors import RunError
from polyp_core.evaluation_jobs import find_checks, get_home, list_evaluations
from polyp_core.evidence.goals import Band
from polyp_core.origins import (
    Origin,
    StudyOrigin,
    are_patients_known,
    is_split_drawn,
    read_origin,
)
from polyp_core.runs import Run
from polyp_core.study import Study
from polyp_core.words import get_main_level, join_words, make_visible, say_number

Level = Mapping[str, Mapping[str, Any]]  # metrics by name: value, low, high, n


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the model was worth on the images of another folder.

    Attributes:
        name: Of the evaluation; fit to be shown.
        metrics: The numbers at the threshold in use.
        are_patients_known: Whether each of its images has a patient.
    """

    name: str
    metrics: Mapping[str, Any]
    are_patients_known: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What the sentences of a sheet are made of.

    Attributes:
        run: The run, or the ensemble of a study.
        origin: What it was made of, which its numbers alone do not tell.
        config: All settings.
        class_names: Negative class, positive class; fit to be shown.
        index: The images with their split; None where they cannot be read.
        metrics: The numbers at the threshold in use, or None before there are any.
        decision: Threshold and band in use.
        checks: What the checks of robustness and shortcuts have found, or None.
        evaluations: On other folders, those that are finished.
        history: One row an epoch.
        environment: Versions and machine of training.
        is_imported: Whether the run was trained on another computer.
    """

    run: Run
    origin: Origin
    config: RunConfig
    class_names: tuple[str, str]
    index: Index | None
    metrics: Mapping[str, Any] | None
    decision: Decision
    checks: Mapping[str, Any] | None
    evaluations: tuple[Evaluation, ...]
    history: pd.DataFrame
    environment: Mapping[str, Any]
    is_imported: bool

    @property
    def study(self) -> StudyOrigin | None:
        """The study whose ensemble the run is, or None."""
        return self.origin.ensemble_of

    @property
    def is_crossed(self) -> bool:
        """Whether the run is the ensemble of more than one fold: its images are in every role."""
        return self.study is not None and self.study.plan["num_folds"] > 1

    @property
    def is_trained(self) -> bool:
        """Whether a training has begun, as far as what it wrote is here."""
        return not self.history.empty or self.has_model

    @property
    def has_model(self) -> bool:
        """Whether there is a model, as far as what comes with it is here."""
        return self.metrics is not None or bool(self.run.read_serving())

    @cached_property
    def is_ended_by_hand(self) -> bool:
        """Whether somebody ended the training before its last epoch, and it counts all the same."""
        return was_ended_by_hand(self.run)

    @property
    def band(self) -> Band | None:
        """Where no answer is given; None for an answer everywhere."""
        band = self.decision.band
        return band if band is not None and band.low < band.high else None

    @property
    def level(self) -> tuple[Level, str] | None:
        """The numbers to quote, and what they count; None where there are none."""
        if not self.metrics:
            return None
        found = self.choose_level(self.metrics)
        return found if found[0]["accuracy"]["n"] else None

    def choose_level(
        self, metrics: Mapping[str, Any], *, are_patients_known: bool | None = None
    ) -> tuple[Level, str]:
        """The numbers to quote, and "patients", "cases" or "images".

        Args:
            metrics: Of the run's own images, or of an evaluation's.
            are_patients_known: Of these images; those of the run where it is not given. A file
                without a patient counts as a case of its own.
        """
        is_known = self.origin.are_patients_known if are_patients_known is None else (
            are_patients_known
        )  # fmt: skip
        level, unit = get_main_level(metrics)
        return level, "cases" if unit == "patients" and not is_known else unit

    @cached_property
    def is_drawn(self) -> bool:
        """Whether the program drew the split."""
        return self.index is not None and is_split_drawn(self.index.images, self.config.data)

    def say_seeds(self) -> str:
        """Such as "seed 5"; of an ensemble "seeds 5 and 6"."""
        seeds = [self.config.training.seed] if self.study is None else self.study.plan["seeds"]
        return f"seed{'s' * (len(seeds) > 1)} {join_words([*map(str, seeds)])}"

    def count_patients(self, rows: pd.DataFrame) -> int | None:
        """How many patients some of the run's images are of; None where not all are known."""
        if rows.empty or not self.origin.are_patients_known:
            return None
        return int(rows["group"].nunique())

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
        num_patients = self.count_patients(rows)
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
    index = None
    with suppress(RunError):
        index = run.read_index()
    checks = find_checks(run)
    negative, positive = run.read_class_names()
    environment = run.read_environment()
    study = _find_study_beside(run)
    if study is not None and not environment:
        with suppress(RunError):
            environment = study.whole_members[0].run.read_environment()
    return Facts(
        run=run,
        origin=read_origin(run),
        config=run.read_config(),
        class_names=(make_visible(negative), make_visible(positive)),
        index=index,
        metrics=_read_sound_worth(run),
        decision=read_decision(run),
        checks=checks.read_checks() if checks is not None else None,
        evaluations=tuple(_read_evaluations(run)),
        history=run.read_history(),
        environment=environment,
        is_imported="imported" in run.read_json("config.json"),
    )


def find_home(run: Run) -> Path:
    """Where a person's answers are kept.

    That of a study's ensemble is the study's own folder, since the ensemble is made anew with each
    member; that of the demo model the workspace, since nothing is written beside the program.
    """
    study = _find_study_beside(run)
    return study.directory if study is not None else get_home(run)


def _find_study_beside(run: Run) -> Study | None:
    """The study in whose folder an ensemble lies; None of one that was given away."""
    directory = run.directory.absolute().parent
    is_ensemble = run.directory.name == "ensemble" and (directory / "study.json").is_file()
    return Study(directory) if is_ensemble else None


def _read_evaluations(run: Run) -> list[Evaluation]:
    found: list[Evaluation] = []
    for files in list_evaluations(run):
        metrics = _read_sound_worth(run, files)
        if metrics is None:
            continue
        is_known = True
        with suppress(OSError, ValueError):
            is_known = are_patients_known(files.read_predictions())
        found.append(
            Evaluation(name=make_visible(files.name), metrics=metrics, are_patients_known=is_known)
        )
    return found


def _read_sound_worth(run: Run, files: Run | None = None) -> Mapping[str, Any] | None:
    """As `read_worth`; None too where what a sentence needs is not in it."""
    try:
        metrics = read_worth(run, files)
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged, or of another version
        return None
    return metrics if is_sound(metrics) else None
