"""Everything an exact resume needs, in one file that is there whole or not at all.

Arrays alone, in NumPy's own format without pickle, and behind them the SHA-256 of them all: the
format's own checksums leave a part of the file unguarded. The weights of the best epoch lie in a
file of their own, which is written only when an epoch is the best.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyp_core.files import write_atomically
from polyp_core.runs import COUNT_COLUMNS, HISTORY_COLUMNS, Run

_NUM_KEPT = 2  # the newest, and the one before should the newest be damaged
_DIGEST_BYTES = hashlib.sha256().digest_size
_EPOCHS = f"epoch-{'[0-9]' * 5}-step-{'[0-9]' * 7}.npz"
_BESTS = f"best-{'[0-9]' * 5}.npz"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where training stands.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps of the epoch after them.
        variables: Of the model and its optimizer, in their order, random states included.
        sums: Over the finished steps of the broken epoch: loss, right answers, images.
        row: The last finished epoch's line of history.csv; empty before the first.
        best_epoch: Whose weights are the best so far; 0 before there are any.
        best_weights: Of that epoch; None where the last state is what is kept.
    """

    epoch: int
    step: int
    variables: Sequence[np.ndarray]
    sums: np.ndarray
    row: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best_weights: Sequence[np.ndarray] | None = None


def write_checkpoint(run: Run, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and delete all but the newest two."""
    directory = run.path("checkpoints")
    directory.mkdir(exist_ok=True)
    if checkpoint.best_weights is not None:
        best_path = _name_best(directory, checkpoint.best_epoch)
        if not best_path.exists():
            _write_arrays(best_path, {}, checkpoint.best_weights)
    row = [checkpoint.row.get(name, np.nan) for name in HISTORY_COLUMNS] if checkpoint.row else []
    facts = {
        "sums": checkpoint.sums,
        "row": np.array(row, dtype=np.float64),
        "best_epoch": np.array(checkpoint.best_epoch if checkpoint.best_weights is not None else 0),
    }
    path = directory / f"epoch-{checkpoint.epoch:05d}-step-{checkpoint.step:07d}.npz"
    _write_arrays(path, facts, checkpoint.variables)
    _delete_old(directory)


def read_checkpoints(run: Run) -> list[Path]:
    """The files of a run's checkpoints, the newest first."""
    return sorted(run.path("checkpoints").glob(_EPOCHS), reverse=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint whole.

    Raises:
        ValueError: If it, or the best weights it names, are damaged or gone.
        OSError: If a file cannot be read at this moment.
    """
    try:
        epoch, step = _read_name(path)
        facts, variables = _read_arrays(path)
        best_epoch, best_weights = int(facts["best_epoch"]), None
        if best_epoch:
            _, best_weights = _read_arrays(_name_best(path.parent, best_epoch))
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    row = {
        name: int(value) if name in COUNT_COLUMNS else value
        for name, value in zip(HISTORY_COLUMNS, facts["row"].tolist(), strict=False)
    }
    return Checkpoint(
        epoch=epoch,
        step=step,
        variables=variables,
        sums=facts["sums"],
        row=row,
        best_epoch=best_epoch,
        best_weights=best_weights,
    )


def discard_newer(run: Run, checkpoint: Checkpoint) -> None:
    """Delete what lies after a checkpoint: it is damaged, or will be made again."""
    directory = run.path("checkpoints")
    for path in read_checkpoints(run):
        if _read_name(path) > (checkpoint.epoch, checkpoint.step):
            path.unlink()
    for path in directory.glob(_BESTS):
        if int(path.stem[5:]) > checkpoint.best_epoch:
            path.unlink()


def _read_name(path: Path) -> tuple[int, int]:
    """Epoch and step of a checkpoint."""
    return int(path.stem[6:11]), int(path.stem[17:])


def _name_best(directory: Path, epoch: int) -> Path:
    return directory / f"best-{epoch:05d}.npz"


def _write_arrays(path: Path, facts: dict[str, np.ndarray], arrays: Sequence[np.ndarray]) -> None:
    numbered = {f"{number:05d}": array for number, array in enumerate(arrays)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **facts, **numbered)
    content.write(hashlib.sha256(content.getbuffer()).digest())
    write_atomically(path, content.getvalue())


def _read_arrays(path: Path) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The named arrays, and the numbered ones in their order, if the file is as it was written."""
    data = path.read_bytes()
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"the checksum of {path.name} is not that of its content")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        names = sorted(archive.files)
        named = {name: archive[name] for name in names if not name.isdigit()}
        return named, [archive[name] for name in names if name.isdigit()]


def _delete_old(directory: Path) -> None:
    paths = sorted(directory.glob(_EPOCHS))
    for old in paths[:-_NUM_KEPT]:
        old.unlink()
    # The best weights that a kept checkpoint names are the newest two at most: an older best is
    # named by no checkpoint that is left.
    for old in sorted(directory.glob(_BESTS))[:-_NUM_KEPT]:
        old.unlink()
