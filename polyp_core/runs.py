"""The run directory: every file name, atomic writing, tolerant reading.

docs/run-directory.md says which files there are, what they hold and who writes each.
"""

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from polyp_core.access import check_writable
from polyp_core.config import RunConfig
from polyp_core.dataset import Index, read_images
from polyp_core.errors import ConfigError, RunError
from polyp_core.files import write_atomically

FINAL_STATES = ("finished", "stopped", "failed", "interrupted")
ACTIVE_STATES = ("queued", "running")
RESUMABLE_STATES = ("stopped", "interrupted", "failed")
HISTORY_COLUMNS = (
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_tp", "val_fp",
    "val_tn", "val_fn", "learning_rate", "seconds",
)  # fmt: skip
COUNT_COLUMNS = ("epoch", "val_tp", "val_fp", "val_tn", "val_fn")  # whole numbers
_INDEX_COLUMNS = ("path", "frame", "label", "group", "split")
_PREDICTION_COLUMNS = (*_INDEX_COLUMNS, "probability")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which is no text
_MAX_EPOCHS = 10**9
_NPY_HEADER_BYTES = 256
_FEATURES = re.compile(  # a table of float32, as NumPy writes it
    rb"\x93NUMPY\x01\x00(..)\{'descr': '<f4', 'fortran_order': False, "
    rb"'shape': \(([0-9]{1,9}), ([0-9]{1,9})\), \}",
    re.DOTALL,
)
_NEWS_S = 10.0
_probing = threading.Lock()
_seen_alive: dict[str, float] = {}  # by folder, when a worker was seen last


@dataclass(frozen=True)
class Run:
    """One run directory; reads what is there and owns every file name."""

    directory: Path

    @property
    def name(self) -> str:
        """The folder's name, which is the run's name."""
        return self.directory.name

    def path(self, file_name: str) -> Path:
        """A file of this run."""
        return self.directory / file_name

    def lock(self) -> FileLock:
        """The lock that the worker holds for its whole life."""
        return FileLock(self.path("lock"))

    def is_alive(self) -> bool:
        """Whether a worker holds the lock now."""
        if not self.path("lock").exists():
            return False
        # One probe at a time, so that two pages do not take each other for the worker.
        with _probing:
            key = str(self.directory)
            # Where "alive" is news, a second try tells a worker from another process that probes
            # at this very moment.
            is_news = time.monotonic() - _seen_alive.get(key, -_NEWS_S) >= _NEWS_S
            try:
                with self.lock().acquire(timeout=0.03 if is_news else 0, poll_interval=0.01):
                    _seen_alive.pop(key, None)
                    return False
            except Timeout:
                _seen_alive[key] = time.monotonic()
                return True

    def read_config(self) -> RunConfig:
        """The run's settings.

        Raises:
            RunError: If they are missing or damaged.
        """
        values = self.read_json("config.json")
        if not isinstance(values.get("settings"), dict):
            raise RunError(
                f"'{self.directory}' is not a run: it has no readable config.json. Expected a "
                "folder that training has written. Choose another, or train anew."
            )
        try:
            return RunConfig.from_dict(values["settings"])
        except (ConfigError, TypeError) as error:
            raise RunError(
                f"The settings of run '{self.name}' cannot be used: {error} Expected a config.json "
                "written by this version. Train anew with this version."
            ) from error

    def read_task(self) -> str:
        """What the worker does: "train" or "find-rate"; here also "evaluate" or "checks"."""
        return str(self.read_json("config.json").get("task", "train"))

    def read_rates(self) -> pd.DataFrame:
        """The sweep of a search for the learning rate: `rate`, `loss`, `smooth`."""
        columns = ["rate", "loss", "smooth"]
        try:
            return pd.read_csv(self.path("rates.csv"), usecols=columns, dtype=float)[columns]
        except (OSError, ValueError):
            return pd.DataFrame(columns=columns, dtype=float)

    def read_class_names(self) -> tuple[str, str]:
        """Negative class, positive class.

        Raises:
            RunError: If they are damaged.
        """
        match self.read_json("config.json").get("class_names", ["negative", "positive"]):
            case [str(negative), str(positive)] if not _SURROGATE.search(negative + positive):
                return negative, positive
        raise RunError(
            f"The classes of run '{self.name}' cannot be read. Expected the names of two in its "
            "config.json. Copy the run again, or train anew."
        )

    def read_index(self) -> Index:
        """The exact images of this run, with their split.

        Raises:
            RunError: If they, their folder or the classes are missing or damaged.
        """
        try:
            images = read_images(self.path("index.csv"))
            _check_table(images, _INDEX_COLUMNS)
        except (OSError, ValueError) as error:
            raise RunError(
                f"The index of run '{self.name}' cannot be read ({error}). Expected the index.csv "
                "that was written when it started. Train anew."
            ) from error
        folder = self.read_json("config.json").get("folder")
        if not isinstance(folder, str) or not folder:
            folder = self.read_config().data.folder
        return Index(
            folder=Path(folder),
            class_names=self.read_class_names(),
            images=images,
            unreadable=pd.DataFrame(columns=["path", "reason"]),
        )

    def read_status(self) -> dict[str, Any]:
        """The worker's last words; its state is checked against the lock.

        "queued" is a run whose worker waits for its turn or has not spoken yet, "interrupted" one
        whose worker is gone without a final word, which is never written.
        """
        if self.read_json("status.json").get("state") == "finished":
            return self.read_json("status.json")
        is_alive = self.is_alive()
        # Read after probing: a worker that has ended since has written its final state before.
        spoken = self.read_json("status.json")
        if spoken.get("state") not in (*FINAL_STATES, *ACTIVE_STATES):  # damaged
            spoken.pop("state", None)
        status = {"state": "queued", "message": "Starting"} | spoken
        state = status["state"]
        if is_alive and state in RESUMABLE_STATES:  # it is about to end
            status["state"] = "running"
        elif not is_alive and (state == "running" or (state == "queued" and self._is_overdue())):
            status["state"] = "interrupted"
        return status

    def read_history(self) -> pd.DataFrame:
        """One row an epoch; an unfinished last line is left out, what was not kept is NaN.

        The numbers are exactly those that were written.
        """
        try:
            lines = self.path("history.csv").read_text(errors="replace").split("\n")[:-1]
        except OSError:
            lines = []
        names = lines[0].split(",") if lines else []
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        table = [
            [_to_float(row.get(name, "")) for name in HISTORY_COLUMNS]
            for row, line in zip(rows, lines[1:], strict=True)
            if line.count(",") == len(names) - 1
        ]
        history = pd.DataFrame(table, columns=list(HISTORY_COLUMNS), dtype=float)
        return history[history["epoch"].abs() < _MAX_EPOCHS].astype({"epoch": int})

    def append_history(self, row: Mapping[str, float]) -> None:
        """Add a finished epoch, for good: it is on the disk when this returns."""
        with self.path("history.csv").open("a", encoding="utf-8") as file:
            file.write(",".join(repr(row[name]) for name in HISTORY_COLUMNS) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def cut_history(self, num_epochs: int) -> None:
        """Keep the first rows alone, as they were written; with none, the header."""
        try:
            lines = self.path("history.csv").read_text(errors="replace").split("\n")[1:-1]
        except OSError:
            lines = []
        text = "\n".join([",".join(HISTORY_COLUMNS), *lines[:num_epochs], ""])
        write_atomically(self.path("history.csv"), text)

    def cut_milestones(self, num_epochs: int) -> None:
        """Keep those of the first epochs alone."""
        known = self.read_milestones()
        kept = {str(epoch): value for epoch, value in known.items() if epoch <= num_epochs}
        if len(kept) < len(known):
            self.write_json("milestones.json", kept)

    def read_milestones(self) -> dict[int, dict[str, Any]]:
        """Validation result by epoch, each as in metrics.json."""
        known = self.read_json("milestones.json").items()
        return {
            int(epoch): value
            for epoch, value in known
            if re.fullmatch("[0-9]{1,9}", epoch) and isinstance(value, dict)
        }

    def read_environment(self) -> dict[str, Any]:
        """Versions and device of the worker that started the run."""
        return self.read_json("environment.json")

    def read_notes(self) -> dict[str, str]:
        """What people have written about the run: "title" and "note", both "" at first."""
        notes = self.read_json("notes.json")
        texts = {name: str(notes.get(name, "")) for name in ("title", "note")}
        return {name: text.encode(errors="replace").decode() for name, text in texts.items()}

    def write_notes(self, title: str, note: str) -> None:
        """Keep a title and a note; the folder keeps its name.

        Raises:
            AccessError: On a shared demo.
        """
        check_writable("Naming a run")
        self.write_json("notes.json", {"title": title[:200], "note": note[:10_000]})

    def read_metrics(self) -> dict[str, Any] | None:
        """Numbers with intervals, or None before the run is evaluated."""
        return self.read_json("metrics.json") or None

    def read_checks(self) -> dict[str, Any] | None:
        """What `checks.run_checks` found, or None before that; of a folder of checks."""
        return self.read_json("checks.json") or None

    def read_predictions(self) -> pd.DataFrame:
        """One row an image: path, frame, split, group, label, probability.

        And brightness and contrast, which earlier versions did not write.

        Raises:
            OSError, ValueError: If they are missing or damaged.
        """
        text = dict.fromkeys(("path", "split", "group"), str)
        predictions = pd.read_csv(self.path("predictions.csv"), dtype=text, keep_default_na=False)
        if "frame" not in predictions:  # as in `read_images`
            predictions = predictions.assign(frame=0)
        _check_table(predictions, _PREDICTION_COLUMNS)
        return predictions

    def read_features(self) -> np.ndarray | None:
        """What the model's head reads of each image, `(n, d)` float32, read-only; a memory map.

        Row i is row i of the index, training images included. None where there is none, as in a
        run of an earlier version, or where it is damaged.
        """
        path = self.path("features.npy")
        try:
            with path.open("rb") as file:
                # NumPy's own reader hands the header to Python's parser, which anything can upset.
                found = _FEATURES.match(file.read(_NPY_HEADER_BYTES))
            if found is None:
                return None
            size, shape = int.from_bytes(found[1], "little"), (int(found[2]), int(found[3]))
            if shape[1] == 0 or path.stat().st_size != 10 + size + 4 * shape[0] * shape[1]:
                return None
            return np.memmap(path, np.float32, "r", offset=10 + size, shape=shape)
        except (OSError, ValueError):
            return None

    def read_serving(self) -> dict[str, Any]:
        """What the serving model needs besides its weights."""
        return self.read_json("serving.json")

    def delete_checkpoints(self) -> None:
        """Delete what only a resume needs."""
        shutil.rmtree(self.path("checkpoints"), ignore_errors=True)

    def read_json(self, file_name: str) -> dict[str, Any]:
        """A JSON object, or {} if it is missing or damaged."""
        try:
            values = json.loads(self.path(file_name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    def write_json(
        self, file_name: str, values: dict[str, Any], *, is_durable: bool = True
    ) -> None:
        """Write a JSON file atomically; see `write_atomically`."""
        text = json.dumps(values, indent=1, ensure_ascii=False)
        write_atomically(self.path(file_name), text, is_durable=is_durable)

    def write_table(self, file_name: str, rows: pd.DataFrame) -> None:
        """Write a CSV file atomically."""
        # With this line end a name that holds any part of it is put in quotes.
        write_atomically(
            self.path(file_name),
            lambda path: rows.to_csv(path, index=False, lineterminator="\r\n"),
        )

    def _is_overdue(self) -> bool:
        """Whether a worker has spoken (if damaged since), or was asked more than a minute ago."""
        if self.path("status.json").exists():
            return True
        try:
            return abs(time.time() - self.path("worker.log").stat().st_mtime) > 60
        except OSError:
            return True


def open_run(directory: Path) -> Run:
    """A run by its folder.

    Raises:
        RunError: If the folder is not there or holds no run.
    """
    run = Run(Path(directory))
    if not run.directory.is_dir():
        raise RunError(
            f"There is no run at '{directory}'. Expected a folder written by training. "
            "`python -m polyp_core runs` lists the runs there are."
        )
    run.read_config()
    return run


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _check_table(rows: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Refuse a table that the rest of the app cannot count with.

    Raises:
        ValueError: If a column is missing, or holds what it cannot hold.
    """
    missing = [name for name in columns if name not in rows]
    if missing:
        raise ValueError(f"it has no column '{missing[0]}'")
    is_whole = [pd.api.types.is_integer_dtype(rows[name]) for name in ("frame", "label")]
    if len(rows) and not (all(is_whole) and rows["label"].isin((0, 1)).all()):
        raise ValueError("a label is neither 0 nor 1, or a frame is no whole number")
    if len(rows) and "probability" in columns:
        shares = rows["probability"]
        if not (pd.api.types.is_numeric_dtype(shares) and shares.between(0, 1).all()):
            raise ValueError("a probability is no number from 0 to 1")
