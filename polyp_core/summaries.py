"""One line a run for tables of many: from status.json alone where a worker has spoken its last."""

import json
import math
import os
import threading
import time
from pathlib import Path
from stat import S_ISDIR
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from polyp_core.errors import RunError
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.words import get_main_level, make_visible

_FACTS = ("preset", "data", "region", "unit")  # the texts of a summary
_NUMBERS = ("image_size_px", "epochs", "epochs_done")
_METRICS = (("accuracy", "value"), ("accuracy", "low"), ("accuracy", "high"), ("accuracy", "n"),
            ("auc", "value"), ("auc", "low"), ("auc", "high"))  # fmt: skip
_COLUMNS = (
    "name", "title", "note", "state", *_FACTS, "curve", "started_at", *_NUMBERS,
    "accuracy", "accuracy_low", "accuracy_high", "n", "auc", "auc_low", "auc_high",
)  # fmt: skip
_NUM_TEXTS = 9  # the first columns hold no numbers
_LAST_WORDS = ("finished", "stopped", "failed")
_NUM_POINTS = 24  # of a sparkline
_NUM_FOLDERS = 8  # of runs that are kept in memory
_SETTLED_NS = 2_000_000_000  # a younger change may bear the same time as the next one
_LATEST_S = 1e10  # in the year 2286
_DAMAGES = (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError)
Row = tuple[Any, ...]  # of _COLUMNS


class _Entry(NamedTuple):
    """What is known of a folder; its row is None where it holds no run."""

    changed_ns: int
    created_ns: int
    row: Row | None


class _Folder(NamedTuple):
    """What is known of a folder of runs."""

    entries: dict[str, _Entry]
    rows: list[Row]
    table: pd.DataFrame


_listing = threading.Lock()
_known: dict[str, _Folder] = {}


def list_summaries(runs_dir: Path) -> pd.DataFrame:
    """One row a run, the newest first; folders that hold no run are passed over.

    A run that has ended is read once, and again when something changes in its folder; one that has
    not is read at every call.

    Returns:
        name (of the folder), title and note (of people, "" at first), state, preset, data, region,
        unit ("images" or "patients", "" before it is evaluated), curve (a list of validation
        accuracies); and numbers, NaN where they are not known: started_at (s since 1970),
        image_size_px, epochs (planned), epochs_done, accuracy and auc with `_low` and `_high`, n.
    """
    key = os.path.abspath(runs_dir)
    with _listing:
        old = _known.pop(key, None)
        entries = _read_entries(key, old.entries if old else {})
        found = sorted((entry.created_ns, name) for name, entry in entries.items() if entry.row)
        rows = [row for _, name in reversed(found) if (row := entries[name].row)]
        table = old.table if old and rows == old.rows else _tabulate(rows)
        _known[key] = _Folder(entries, rows, table)
        while len(_known) > _NUM_FOLDERS:
            _known.pop(next(iter(_known)))
    return table.copy(deep=False)


def summarise_run(run: Run) -> dict[str, Any]:
    """What a table shows of a run.

    Returns:
        preset, data (the folder's name), region, image_size_px, epochs (planned), epochs_done,
        curve (at most 24 validation accuracies), unit, accuracy and auc (as in metrics.json, or
        None).
    """
    try:
        config = run.read_config()
    except RunError:
        return {}
    history, metrics = run.read_history(), run.read_metrics()
    try:
        level, unit = get_main_level(metrics or {})
    except KeyError:
        level, unit = {}, ""
    places = np.linspace(0, len(history) - 1, min(len(history), _NUM_POINTS)).astype(int)
    curve = history["val_accuracy"].to_numpy(dtype=float)[places].tolist()
    return {
        "preset": config.preset,
        "data": name_data(config.data.folder),
        "region": config.data.region,
        "image_size_px": config.model.image_size_px,
        "epochs": config.training.epochs,
        "epochs_done": len(history),
        "curve": [round(value, 4) for value in curve if 0 <= value <= 1],  # no NaN in JSON
        "unit": unit,
        "accuracy": level.get("accuracy") if isinstance(level, dict) else None,
        "auc": level.get("auc") if isinstance(level, dict) else None,
    }


def name_data(folder: str) -> str:
    """What a data set is called: its folder, or its manifest without the ending."""
    name = folder.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name.removesuffix(".csv") or folder


def _read_entries(runs_dir: str, known: dict[str, _Entry]) -> dict[str, _Entry]:
    """Every folder that may be a run; what has not changed is taken over."""
    entries: dict[str, _Entry] = {}
    settled_ns = time.time_ns() - _SETTLED_NS
    try:
        names = os.listdir(runs_dir)
    except OSError:
        return entries
    for name in names:
        directory = f"{runs_dir}{os.sep}{name}"
        try:
            found = os.stat(directory)  # before its files, so that a later change is seen
        except OSError:  # deleted this very moment
            continue
        if name.startswith(".") or not S_ISDIR(found.st_mode):
            continue
        entry = known.get(name)
        if entry is None or entry.changed_ns != found.st_mtime_ns:
            entry = _read_entry(directory, name)
            is_final = entry.row is None or entry.row[3] in FINAL_STATES
            if is_final and found.st_mtime_ns < settled_ns:
                entry = entry._replace(changed_ns=found.st_mtime_ns)
        entries[name] = entry
    return entries


def _read_entry(directory: str, name: str) -> _Entry:
    """A folder as it is now, to be read anew the next time."""
    files = f"{directory}{os.sep}"
    created_ns, spoken = _find_time(f"{files}config.json"), _read_object(f"{files}status.json")
    if created_ns < 0 or not (spoken or "settings" in _read_object(f"{files}config.json")):
        return _Entry(-1, created_ns, None)  # nobody's, or somebody else's
    state, summary = spoken.get("state"), spoken.get("summary")
    if state not in _LAST_WORDS or not isinstance(summary, dict):
        run = Run(Path(directory))
        try:
            state = run.read_status()["state"]
        except _DAMAGES:  # such as a lock that may not be touched
            state = state if state in FINAL_STATES else "interrupted"
        try:
            summary = summarise_run(run)
        except _DAMAGES:
            summary = {}
    notes = _read_object(f"{files}notes.json")
    started_at = _take_number(spoken.get("started_at"))
    return _Entry(
        -1,
        created_ns,
        (
            name,
            _take_text(notes.get("title")),
            _take_text(notes.get("note")),
            _take_text(state),
            *[_take_text(summary.get(fact)) for fact in _FACTS],
            _take_curve(summary.get("curve")),
            started_at if 0 < started_at < _LATEST_S else math.nan,
            *[_take_number(summary.get(number)) for number in _NUMBERS],
            *[_take_metric(summary.get(metric), part) for metric, part in _METRICS],
        ),
    )


def _read_object(path: str) -> dict[str, Any]:
    """A JSON object, or {} if it is missing or damaged."""
    try:
        with open(path, "rb", 0) as file:
            values = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _find_time(path: str) -> int:
    """When a file was written, in ns; -1 where it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


def _take_text(value: Any) -> str:  # noqa: ANN401 - anything JSON can hold
    """A text that can be shown, on one line."""
    if not isinstance(value, str):
        return ""
    return value if value.isprintable() else make_visible(" ".join(value.split()))


def _take_number(value: Any) -> float:  # noqa: ANN401 - anything JSON can hold
    is_number = type(value) in (int, float) and abs(value) < 1e300  # no infinity
    return float(value) if is_number else math.nan


def _take_metric(metric: Any, part: str) -> float:  # noqa: ANN401 - anything JSON can hold
    return _take_number(metric.get(part)) if isinstance(metric, dict) else math.nan


def _take_curve(values: Any) -> list[float]:  # noqa: ANN401 - anything JSON can hold
    if not isinstance(values, list):
        return []
    return [float(value) for value in values if type(value) in (int, float) and 0 <= value <= 1]


def _tabulate(rows: list[Row]) -> pd.DataFrame:
    # As objects: a folder's name may hold bytes that are no text, which Arrow refuses.
    columns = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
    kinds = [object] * _NUM_TEXTS + [float] * (len(_COLUMNS) - _NUM_TEXTS)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=kind)
            for name, kind, values in zip(_COLUMNS, kinds, columns, strict=True)
        }
    )
