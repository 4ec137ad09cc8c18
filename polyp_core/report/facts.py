"""All that a report reads of a run, once; what is missing or damaged is None, never an error."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.access import check_file
from polyp_core.checks import wording
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.decision import (
    Decision,
    is_sound,
    list_choices,
    read_decision,
    read_worth,
    was_ended_by_hand,
)
from polyp_core.errors import AccessError, ImageError, PolypError
from polyp_core.evaluation_jobs import find_checks, list_evaluations
from polyp_core.evidence import Level, describe_predictions, split_levels
from polyp_core.evidence.slices import join_index
from polyp_core.images import Picture, decode_picture, read_file
from polyp_core.origins import Origin, StudyOrigin, read_origin
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.report.auditing import Audited, audit_images
from polyp_core.runs import Run
from polyp_core.workspace import get_demo_data_dir

Plain = Mapping[str, Any]  # one metric: value, low, high, n
UNITS = {"image": "images", "patient": "patients"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Predictions of one kind of images.

    Attributes:
        table: As of `Run.read_predictions`, with what the index knows of each image.
        levels: By "image" and, where patients are known, "patient".
        threshold: Positive from this probability on.
    """

    table: pd.DataFrame
    levels: dict[str, Level]
    threshold: float

    @property
    def unit(self) -> str:
        """The level to quote: "patient" where patients are known."""
        return "patient" if "patient" in self.levels else "image"

    @property
    def main(self) -> Level:
        """That level."""
        return self.levels[self.unit]

    @cached_property
    def numbers(self) -> dict[str, dict[str, Plain]]:
        """Every number by level and name, as of `evidence.describe_predictions`."""
        described = describe_predictions(self.table, self.threshold)
        return {level: dict(numbers) for level, numbers in described.items()}


class RunFacts:
    """A run as a report sees it; each thing is read when it is first asked for.

    Args:
        run: Finished or not.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.origin: Origin = read_origin(run)
        self.status = run.read_status()
        self.decision: Decision = read_decision(run)
        self.history = run.read_history()
        self.environment = run.read_environment()
        self.serving = run.read_serving()
        self.config: RunConfig | None = _try(run.read_config)
        self.class_names: tuple[str, str] = _try(run.read_class_names) or ("negative", "positive")

    @property
    def title(self) -> str:
        """What people call the run: its title, or its folder's name, as on the pages."""
        if self.origin.is_demo:
            return "Demo model (synthetic images)"
        if self.ensemble is not None:
            return f"{self.ensemble.name}, all members together"
        if self.member is not None:
            return f"{self.member.name}, {self.member.member}"
        return self.run.read_notes()["title"].strip() or self.run.name

    @property
    def state(self) -> str:
        """Of the run, such as "finished"."""
        return str(self.status["state"])

    @property
    def ensemble(self) -> StudyOrigin | None:
        """The study whose ensemble this is, if it is one."""
        return self.origin.ensemble_of

    @property
    def member(self) -> StudyOrigin | None:
        """The study of which this is one training, if it is."""
        return self.origin.member_of

    @property
    def choices(self) -> list[str]:
        """What was chosen by the validation images, as of `decision.list_choices`."""
        return list_choices(self.run) if self.config else []

    @cached_property
    def was_ended_by_hand(self) -> bool:
        """Whether someone ended training before it was through."""
        return self.config is not None and was_ended_by_hand(self.run)

    @cached_property
    def index(self) -> Index | None:
        """The images, where they lie now; the demo model's are drawn into the workspace."""
        index: Index | None = _try(self.run.read_index)
        if index is not None and self.origin.is_demo:
            return replace(index, folder=get_demo_data_dir())
        return index

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """At the threshold in use, as of `decision.read_worth`."""
        metrics = read_worth(self.run)
        return metrics if is_sound(metrics) else None

    @cached_property
    def validation(self) -> Judged | None:
        """What was judged while the model was made; of an ensemble what no member had seen."""
        return self._select(lambda splits: splits != "test")

    @cached_property
    def test(self) -> Judged | None:
        """What played no part in making the model."""
        return self._select(lambda splits: splits == "test")

    @cached_property
    def num_present(self) -> int:
        """How many of the index' images have a file now."""
        if self.index is None:
            return 0
        there = {
            path: _is_file(self.index.folder / path) for path in self.index.images["path"].unique()
        }
        return int(self.index.images["path"].map(there).sum())

    @cached_property
    def audited(self) -> Audited:
        """The audit of the images, or why there is none."""
        if self.index is None or self.config is None:
            return Audited(reason="Which images this run has cannot be read.")
        data = self.config.data
        if self.origin.is_demo:
            data = replace(data, folder=str(self.index.folder))
        return audit_images(self.index, data, self.num_present)

    @cached_property
    def classifier(self) -> Classifier | None:
        """The model, ready to answer."""
        try:
            return load_classifier(self.run)
        except PolypError:
            return None

    @cached_property
    def checks(self) -> dict[str, Any] | None:
        """What the checks have found, once they are finished; None where that cannot be read."""
        found = self._checks
        return found if found is not None and wording.is_sound(found) else None

    @property
    def has_damaged_checks(self) -> bool:
        """Whether there are checks that cannot be read."""
        return self._checks is not None and self.checks is None

    @cached_property
    def _checks(self) -> dict[str, Any] | None:
        files = find_checks(self.run)
        if files is None or files.read_status()["state"] != "finished":
            return None
        return files.read_checks()

    @cached_property
    def evaluations(self) -> list[tuple[Run, dict[str, Any]]]:
        """The tests on other folders that are finished, each with its numbers."""
        found = []
        for files in list_evaluations(self.run):
            metrics = read_worth(self.run, files)
            if (
                metrics is not None
                and is_sound(metrics)
                and files.read_status()["state"] == "finished"
            ):
                found.append((files, metrics))
        return found

    def count_patients(self, rows: pd.DataFrame) -> int | None:
        """How many patients images are of; None where that is not known of all of the run."""
        if not self.origin.are_patients_known or not len(rows):
            return None
        return int(rows["group"].nunique())

    def say_images(self, rows: pd.DataFrame) -> str:
        """Such as "75 images of 60 patients"."""
        said = f"{len(rows):,} {'image' if len(rows) == 1 else 'images'}"
        patients = self.count_patients(rows)
        if patients is None:
            return said
        return f"{said} of {patients:,} {'patient' if patients == 1 else 'patients'}"

    def read_picture(self, path: str, frame: int, sha256: str) -> Picture | None:
        """An image at its full size; None where the file is gone or is another one now."""
        if self.index is None:
            return None
        try:
            data = read_file(check_file(self.index.folder / path), path)
            if hashlib.sha256(data).hexdigest() != sha256:
                return None
            return decode_picture(data, path, frame)
        except (ImageError, AccessError, MemoryError):
            return None

    @cached_property
    def _predictions(self) -> pd.DataFrame | None:
        try:
            table = self.run.read_predictions()
        except (OSError, ValueError):
            return None
        if self.index is not None:
            images = self.index.images
            table = join_index(table, images.assign(number=images.index))
        return table

    def _select(self, is_wanted: Any) -> Judged | None:  # noqa: ANN401 - of a column
        if self._predictions is None:
            return None
        table = self._predictions[is_wanted(self._predictions["split"])].reset_index(drop=True)
        if table.empty:
            return None
        return Judged(table=table, levels=split_levels(table), threshold=self.decision.threshold)


def _is_file(path: Path) -> bool:
    """Whether it is there and may be read; on a shared demo not even the first is told."""
    try:
        return check_file(path).is_file()
    except (AccessError, OSError, ValueError):
        return False


def _try(read: Any) -> Any:  # noqa: ANN401 - whatever is read
    try:
        return read()
    except PolypError:
        return None
