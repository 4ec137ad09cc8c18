"""Whose predictions the results page judges, and all that is read for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from polyp_core import workspace
from polyp_core.dataset import Index
from polyp_core.decision import Decision, read_decision
from polyp_core.errors import RunError
from polyp_core.evaluation_jobs import list_evaluations
from polyp_core.evidence.slices import join_index
from polyp_core.runs import Run
from polyp_core.study import Study, list_studies
from ui.readers import find_time, name_run

VALIDATION, TEST, STUDY = "validation", "test", "study"
_NUM_KNOWN = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Predictions that are judged, read-only.

    Attributes:
        run: Whose model it is; its decision.json is the threshold. Of a study, its ensemble.
        study: Of whose members the predictions are, each image judged by those that had not seen
            it; or None.
        kind: "validation", "test", "study", or the name of an evaluation on another folder.
        index: The images.
        table: One row an image: `path`, `frame`, `split`, `group`, `label`, `probability`, what
            else the index knows of it, and `number`, its row in the index.
        class_names: Negative class, positive class.
        decision: Threshold and band in use.
        written_at_ns: When the predictions were written: with `key`, what anything that is
            computed of them can be kept under.
    """

    run: Run
    study: Study | None
    kind: str
    index: Index
    table: pd.DataFrame
    class_names: tuple[str, str]
    decision: Decision
    written_at_ns: int

    @property
    def key(self) -> str:
        """Different for everything that can be judged; fit for the key of a widget."""
        return f"{self.run.directory}|{self.kind}"

    @property
    def is_external(self) -> bool:
        """Whether the images are of another folder than the run's own."""
        return self.kind not in (VALIDATION, TEST, STUDY)

    @property
    def stem(self) -> str:
        """What files that are downloaded begin with."""
        return self.study.name if self.study else f"{self.run.name}-{self.kind}"


def list_sources() -> list[Run | Study]:
    """Finished runs and studies that have numbers, the newest of them first; last the demo."""
    *runs, demo = workspace.list_finished_runs(workspace.get_runs_dir())
    studies = list_studies(workspace.get_studies_dir())
    judged = [study for study in studies if study.files.path("predictions.csv").is_file()]
    # What was tested last stands first.
    newest = [find_time(source.path("predictions.csv")) for source in runs[:1]]
    is_study_newer = judged and newest < [find_time(judged[0].files.path("predictions.csv"))]
    return [*judged, *runs, demo] if is_study_newer else [*runs, *judged, demo]


def name_source(source: Run | Study) -> str:
    """What a run or a study is called on the screen."""
    if isinstance(source, Run):
        return name_run(source)
    return f"{name_run(source.files)} (study)"


def list_kinds(source: Run | Study) -> list[str]:
    """Which of its predictions can be judged: its own first, then those on other folders."""
    if isinstance(source, Study):
        return [STUDY]
    splits = _list_splits(source, find_time(source.path("predictions.csv")))
    own = [kind for kind in (VALIDATION, TEST) if kind in splits]
    finished = [
        evaluation.name
        for evaluation in list_evaluations(source)
        if evaluation.path("predictions.csv").is_file()
    ]
    return own + finished


def read_judged(source: Run | Study, kind: str) -> Judged:
    """Everything the page reads of one source.

    Raises:
        RunError: If its predictions or its index cannot be read, or there are none.
    """
    if isinstance(source, Study):
        return _judge_study(source)
    files = source
    if kind not in (VALIDATION, TEST):
        evaluations = {one.name: one for one in list_evaluations(source)}
        if kind not in evaluations:
            raise RunError(
                f"There is no evaluation '{kind}' of run '{source.name}' any more. Expected one "
                "that has not been deleted. Choose another, or judge the folder again."
            )
        files = evaluations[kind]
    written_at_ns, index, table = _read_joined(files, files.read_index)
    if files == source:
        table = table[table["split"] == kind]
    return Judged(
        run=source, study=None, kind=kind, index=index, table=table.reset_index(drop=True),
        class_names=source.read_class_names(), decision=read_decision(source),
        written_at_ns=written_at_ns,
    )  # fmt: skip


def _judge_study(study: Study) -> Judged:
    written_at_ns, index, table = _read_joined(study.files, study.read_index)
    table = table[table["split"] != "test"]
    return Judged(
        run=study.ensemble, study=study, kind=STUDY, index=index,
        table=table.reset_index(drop=True), class_names=index.class_names,
        decision=read_decision(study.ensemble),
        written_at_ns=written_at_ns,
    )  # fmt: skip


def _read_joined(files: Run, read_index: Callable[[], Index]) -> tuple[int, Index, pd.DataFrame]:
    """When they were written; the index; and the predictions with what it knows of each image."""
    key = (str(files.directory.absolute()), find_time(files.path("predictions.csv")))
    known = _get_known()
    found = known.get(key)
    if found is None:
        table, index = _read_table(files), read_index()
        found = index, join_index(table, index.images.assign(number=index.images.index))
        for old in list(known)[: max(0, len(known) + 1 - _NUM_KNOWN)]:
            known.pop(old, None)  # another visitor may have been faster
        known[key] = found
    index, table = found
    if files == workspace.DEMO_RUN:  # which ships without its images
        index = replace(index, folder=workspace.get_demo_data_dir())
    return key[1], index, table


@st.cache_resource(show_spinner=False)
def _get_known() -> dict[tuple[str, int], tuple[Index, pd.DataFrame]]:
    """What all sessions share; nobody writes into it."""
    return {}


@st.cache_resource(max_entries=500, show_spinner=False, hash_funcs={Run: str})
def _list_splits(files: Run, written_at_ns: int) -> frozenset[str]:
    """Of which splits there are predictions; 0 stands for no file."""
    return frozenset(_read_table(files)["split"]) if written_at_ns else frozenset()


def _read_table(files: Run) -> pd.DataFrame:
    try:
        return files.read_predictions()
    except (OSError, ValueError) as error:
        raise RunError(
            f"The predictions of '{files.name}' cannot be read ({error}). Expected the "
            "predictions.csv that was written when it finished. Train anew, or choose another run."
        ) from error
