"""Where things lie on this computer: runs, images, caches, the demo model that ships."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from polyp_core.access import get_demo_data_dir, get_imports_dir, get_splits_dir, get_workspace_dir
from polyp_core.errors import RunError
from polyp_core.phantom import write_demo_data
from polyp_core.runs import Run, open_run
from polyp_core.study import Study, list_studies, open_study
from polyp_core.summaries import list_summaries

__all__ = [
    "DEMO_RUN", "ensure_demo_data", "find_best_run", "find_run", "find_study", "get_cache_dir",
    "get_demo_data_dir", "get_imports_dir", "get_queue_dir", "get_rates_dir", "get_runs_dir",
    "get_splits_dir", "get_studies_dir", "has_demo_data", "list_finished_runs", "list_models",
]  # fmt: skip

_drawing = threading.Lock()
DEMO_RUN = Run(Path(__file__).parent / "demo_run")


def get_runs_dir() -> Path:
    """Where runs are written: $POLYP_RUNS, which defaults to `runs` in the workspace.

    Several servers may share it. Queue, studies, cache and uploads stay in each one's workspace.
    """
    shared = os.environ.get("POLYP_RUNS", "").strip()
    return Path(shared).expanduser() if shared else get_workspace_dir() / "runs"


def get_studies_dir() -> Path:
    """Where studies are written: many runs that belong together."""
    return get_workspace_dir() / "studies"


def get_rates_dir() -> Path:
    """Where searches for a learning rate are written."""
    return get_workspace_dir() / "rates"


def get_queue_dir() -> Path:
    """Where runs wait for their turn: in the workspace, since a queue is of one computer."""
    return get_workspace_dir() / "queue"


def get_cache_dir() -> Path:
    """Where what was read of images is kept; deleting it costs time alone."""
    return get_workspace_dir() / "cache"


def ensure_demo_data(on_progress: Callable[[int, int], None] | None = None) -> Path:
    """The demo images' folder; they are drawn on the first call, in a few seconds."""
    folder = get_demo_data_dir()
    with _drawing:  # a second visitor waits for the first one's
        if not has_demo_data():
            write_demo_data(folder, on_progress=on_progress)
    return folder


def has_demo_data() -> bool:
    """Whether the demo images are drawn; they come into their place all at once."""
    folder = get_demo_data_dir()
    return folder.is_dir() and any(folder.iterdir())


def list_finished_runs(runs_dir: Path) -> list[Run]:
    """Runs that can predict, the newest first, and last the demo model that ships."""
    return [*(Run(runs_dir / name) for name in _select_finished(runs_dir)["name"]), DEMO_RUN]


def list_models(runs_dir: Path) -> list[Run]:
    """All that can predict: finished runs and the ensembles of studies, last the demo model."""
    studies = list_studies(get_studies_dir())
    ensembles = [study.ensemble for study in studies]
    ready = [ensemble for ensemble in ensembles if ensemble.path("serving.tflite").is_file()]
    *own, demo = list_finished_runs(runs_dir)
    return [*own, *ready, demo]


def find_best_run(runs_dir: Path) -> Run:
    """The finished run with the highest lower bound of accuracy: good, and surely so."""
    finished = _select_finished(runs_dir)
    if finished.empty:
        return DEMO_RUN
    # Of equals one that was trained here, then the newest; a run that is not evaluated comes last.
    is_copy = [(runs_dir / name / "shared.json").is_file() for name in finished["name"]]
    ranked = finished.assign(low=finished["accuracy_low"].fillna(0.0), is_copy=is_copy)
    best = ranked.sort_values(["low", "is_copy"], ascending=[False, True], kind="stable")
    return Run(runs_dir / best["name"].iloc[0])


def find_run(text: str) -> Run:
    """A run by its folder, by its name in the workspace, or "demo" for the one that ships.

    Raises:
        RunError: If there is none.
    """
    candidates = [Path(text), get_runs_dir() / text]
    for directory in candidates:
        if (directory / "config.json").is_file():
            return open_run(directory)
    if text == "demo":
        return DEMO_RUN
    if candidates[0].is_dir():
        return open_run(candidates[0])  # which says what is missing
    raise RunError(
        f"There is no run '{text}', neither as a folder nor in '{get_runs_dir()}'. "
        "`python -m polyp_core runs` lists the runs there are; 'demo' is the model that ships."
    )


def find_study(text: str, studies_dir: Path | None = None) -> Study:
    """A study by its folder, or by its name among the studies (by default in the workspace).

    Raises:
        RunError: If there is none.
    """
    studies_dir = studies_dir or get_studies_dir()
    for directory in (Path(text), studies_dir / text):
        if (directory / "study.json").is_file():
            return open_study(directory)
    raise RunError(
        f"There is no study '{text}', neither as a folder nor in '{studies_dir}'. Expected one "
        "that `python -m polyp_core study` has started. Check its name."
    )


def _select_finished(runs_dir: Path) -> pd.DataFrame:
    summaries = list_summaries(runs_dir)
    return summaries[summaries["state"] == "finished"]
