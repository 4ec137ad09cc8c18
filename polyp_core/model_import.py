"""A run from another computer becomes a run here: its settings and its numbers, none of its code.

The network is built anew from the settings, which are our own kind and nobody else's, and given the
weights; what serves is made of them here. It happens in a process of its own, with limits, which
first looks at everything that can be looked at without TensorFlow. Until all is well the run lies
in a hidden folder; then it comes into its place at once, or nothing does.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polyp_core.access import check_writable
from polyp_core.archives import Member, open_members
from polyp_core.errors import ModelError, RunError
from polyp_core.files import sweep
from polyp_core.foreign_files import (
    TEXT_FILES,
    ForeignRun,
    read_config_file,
    refuse,
    translate_files,
)
from polyp_core.foreign_files.members import (
    FAMILIARITY,
    FEATURES,
    MODEL,
    MODEL_WEIGHTS,
    copy_member,
    list_folder,
    read_member,
    select_run,
    take_model,
)
from polyp_core.network_size import ROOM_BYTES, check_size, measure_network
from polyp_core.processes import check_name, refuse_taken, run_child
from polyp_core.runs import Run

_HIDDEN = ".bringing-"  # a run that is being brought in
PLAN, RESULT = "plan.json", "result.json"  # between this process and its child
WEIGHTS, RUN = "weights.h5", "run"
TIME_LIMIT_S = 900.0  # of the clock; on a busy computer others use the processor too
_MAX_FAMILIARITY_BYTES = 64 * 2**20
_MAX_MEMBERS = 20_000
Progress = Callable[[str], None]


def import_run(
    source: Path | BinaryIO, name: str, runs_dir: Path, on_progress: Progress | None = None
) -> Run:
    """Bring in a run that was trained on another computer.

    Takes about ten seconds, most of them TensorFlow's start and conversion.

    Args:
        source: A run's folder, or a zip of it, as a path or open for reading.
        name: Of the new run.
        runs_dir: Where runs lie; made if it is not there.
        on_progress: Called with what is being done; may raise, to cancel.

    Returns:
        The new run, finished. Its images are not here; it is looked at and predicts all the same.

    Raises:
        AccessError: On a shared demo.
        RunError: If the name cannot be used or is taken, or a file is missing, not what a run has,
            or holds what could do harm.
        ConfigError: If the network would be too large.
        ModelError: If the weights are not those of the network, or building it takes too much.
        DatasetError: If a zip is damaged, a bomb, or has a link or a name that leads outside.
    """
    check_writable("Bringing in a model")
    check_name(name, "run")
    target = runs_dir / name
    if target.exists():
        raise refuse_taken(runs_dir, name, "run")
    say = on_progress or (lambda _: None)
    say("Looking at its files")
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        sweep(runs_dir, f"{_HIDDEN}*")
        with tempfile.TemporaryDirectory(
            prefix=_HIDDEN, dir=runs_dir, ignore_cleanup_errors=True
        ) as text:
            staging = Path(text)
            with _open_source(source, name) as members:
                _stage(select_run(members), staging)
            _build(staging, say)
            if target.exists():  # somebody else was quicker
                raise refuse_taken(runs_dir, name, "run")
            (staging / RUN).rename(target)
    except OSError as error:
        raise RunError(
            f"The run cannot be written to '{runs_dir}' ({error.strerror or error}). Expected a "
            "folder that may be written to, with room. Make room, or choose another workspace."
        ) from error
    return Run(target)


def suggest_name(file_name: str, runs_dir: Path) -> str:
    """A name for a run that comes in a file of this name; one that is not taken."""
    last = file_name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    base = re.sub(r"[^\w.-]+", "-", re.sub(r"(?i)\.zip$", "", last)).strip(".-_")[:60] or "imported"
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 10_000))
    return next(free for free in names if not (runs_dir / free).exists())


@contextmanager
def _open_source(source: Path | BinaryIO, name: str) -> Iterator[list[Member]]:
    """The files of a folder or a zip, none of them read yet."""
    if isinstance(source, Path) and source.is_dir():
        yield list_folder(source, (*TEXT_FILES, MODEL, MODEL_WEIGHTS, FEATURES, FAMILIARITY))
        return
    shown = source.name if isinstance(source, Path) else name
    with open_members(source, shown) as members:
        if len(members) > _MAX_MEMBERS:
            raise refuse(shown, f"holds {len(members)} files", f"at most {_MAX_MEMBERS}")
        yield members


def _stage(members: dict[str, Member], staging: Path) -> None:
    """Read and judge all that needs no other process, and write what the child is to work on."""
    # The settings first: how large the rest may be follows from them.
    config, _ = read_config_file(read_member(members["config.json"], TEXT_FILES["config.json"]))
    size = measure_network(config.model)
    check_size(size)
    texts = {
        name: read_member(members[name], most)
        for name, most in TEXT_FILES.items()
        if name in members
    }
    foreign = translate_files(texts)
    weights_path, most = staging / WEIGHTS, size.num_bytes + ROOM_BYTES
    if MODEL in members:
        take_model(
            members[MODEL], staging, None if MODEL_WEIGHTS in members else weights_path, most
        )
    if MODEL_WEIGHTS in members:
        copy_member(members[MODEL_WEIGHTS], weights_path, most)
    if not weights_path.exists():
        raise refuse(MODEL, "is missing", f"{MODEL} or {MODEL_WEIGHTS}, the trained weights")
    if FEATURES in members:
        most = foreign.num_images * size.num_features * 4 + 4096
        copy_member(members[FEATURES], staging / FEATURES, most)
    if foreign.familiarity is not None and FAMILIARITY in members:
        copy_member(members[FAMILIARITY], staging / FAMILIARITY, _MAX_FAMILIARITY_BYTES)
    _write_staged(foreign, staging)


def _write_staged(foreign: ForeignRun, staging: Path) -> None:
    run = Run(staging / RUN)
    run.directory.mkdir()
    for name, content in foreign.texts.items():
        run.path(name).write_bytes(content.encode())
    if foreign.title or foreign.note:
        run.write_notes(foreign.title, foreign.note)
    plan = {
        "serving": foreign.serving, "decision": foreign.decision, "milestones": foreign.milestones,
        "num_images": foreign.num_images, "familiarity": foreign.familiarity,
    }  # fmt: skip
    (staging / PLAN).write_text(json.dumps(plan), encoding="utf-8")


def _build(staging: Path, say: Progress) -> None:
    """Let a child do the rest.

    Raises:
        ModelError: If it found something wrong, took too long, or ended without a word.
    """
    # Each thread of OpenBLAS lays out memory of its own.
    more = {"OPENBLAS_NUM_THREADS": "1"}
    code = run_child("polyp_core.import_worker", staging, say, TIME_LIMIT_S, **more)
    if code is None:
        raise ModelError(
            f"Building the model took longer than {TIME_LIMIT_S:.0f} s and was stopped. Expected a "
            "network that this computer can build. Bring in a smaller one."
        )
    try:
        result = json.loads((staging / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        result = {}
    if code == 0 and result == {"problem": ""}:
        return
    problem = result.get("problem") if isinstance(result, dict) else None
    raise ModelError(
        str(problem)[:2000] if problem else
        "Building the model took more memory or time than it may, or crashed "
        f"(exit status {code}). Expected a run as training wrote it. Bring in another, or a "
        "smaller network."
    )  # fmt: skip
