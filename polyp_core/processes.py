"""New folders for runs and studies, and the processes that work in them."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from polyp_core.access import check_writable
from polyp_core.errors import RunError
from polyp_core.files import write_atomically

NAME_PATTERN = r"\w[\w .-]{0,79}"  # of what somebody names
CHILD_LOG, _STAGE = "child.log", "stage.txt"  # of `run_child`
_PROJECT_DIR = Path(__file__).parents[1]
_LOOK_EVERY_S = 0.05
_started: list[subprocess.Popen[bytes]] = []


def start_process(module: str, directory: Path, **environment: str) -> None:
    """Start `python -m module directory` as a fresh interpreter that outlives this process.

    Its output goes to worker.log in the directory. It is never waited for: whether it lives is
    known by the lock it holds.

    Args:
        module: Such as "polyp_core.worker".
        directory: What it works in.
        **environment: Variables besides those of this process.

    Raises:
        AccessError: On a shared demo.
    """
    check_writable("Starting work on this server")
    # Polling buries those that have ended.
    _started[:] = [process for process in _started if process.poll() is None]
    with (directory / "worker.log").open("ab") as log:
        log.write(f"--- asked to start at {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(directory.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # on Windows
            env=list_variables(TF_CPP_MIN_LOG_LEVEL="2", PYTHONUNBUFFERED="1", **environment),
        )
    _started.append(process)


def list_variables(**more: str) -> dict[str, str]:
    """Those of this process, for a child that finds this project whatever folder it starts in."""
    python_path = filter(None, [str(_PROJECT_DIR), os.environ.get("PYTHONPATH")])
    return os.environ | {"PYTHONPATH": os.pathsep.join(python_path), **more}


def run_child(
    module: str, directory: Path, say: Callable[[str], None], limit_s: float, **environment: str
) -> int | None:
    """Run `python -m module directory` to its end; it and all it starts are gone afterwards.

    It computes on the processor, prints to child.log in the directory, says by `say_stage` what it
    is doing, and should call `end_with_parent`.

    Args:
        module: Such as "polyp_core.export_worker".
        directory: What it works in.
        say: Called with what it is doing, each time that is something else; may raise, to cancel.
        limit_s: By the clock.
        **environment: Variables besides those of this process.

    Returns:
        What it ended with; None if it took longer.
    """
    (directory / _STAGE).unlink(missing_ok=True)  # of an earlier child
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **environment}
    with (
        (directory / CHILD_LOG).open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", module, str(directory.resolve())],
            stdin=subprocess.PIPE,  # which closes with this process
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=list_variables(**variables),
        ) as process,
    ):
        try:
            is_in_time = _wait_for(process, directory / _STAGE, say, limit_s)
        finally:
            _kill_group(process)
    return process.returncode if is_in_time else None


def end_with_parent() -> None:
    """End this process with the one that started it, whose end closes what this one reads from.

    All that a child of `run_child` has started ends as well.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(2)

    threading.Thread(target=watch, daemon=True).start()


def say_stage(directory: Path, stage: str) -> None:
    """Tell whoever runs this child what it is doing now, in a few words."""
    write_atomically(directory / _STAGE, stage, is_durable=False)


def _wait_for(
    process: "subprocess.Popen[bytes]", stage_path: Path, say: Callable[[str], None], limit_s: float
) -> bool:
    """Pass on what a child says it is doing; whether it has ended in time."""
    deadline, said = time.monotonic() + limit_s, ""
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            return True
        with suppress(OSError, ValueError):
            stage = stage_path.read_text(encoding="utf-8")[:200]
            if stage != said:
                said = stage
                say(stage)
    return False


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End a child of its own session, and all that it has started."""
    with suppress(OSError):  # nothing of it is left
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows
            process.kill()
    process.wait()


def make_directory(parent: Path, name: str | None, default: str, noun: str) -> Path:
    """Make a new folder.

    Args:
        parent: Where; made if it is not there.
        name: Of the folder. Defaults to `default` and the time, with a number if that is taken.
        default: Beginning of the name where none is given.
        noun: What the folder will be, for the errors: "run" or "study".

    Raises:
        RunError: If the name cannot be used or is taken, or nothing can be written there.
        AccessError: On a shared demo.
    """
    check_writable(f"Making a {noun}")
    if name is not None:
        check_name(name, noun)
    base = name or f"{_clean(default)}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000 if name is None else 2):
        directory = parent / (base if number == 1 else f"{base}-{number}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError as error:
            if parent.is_dir():
                continue
            raise _say_unwritable(parent, noun, "it is a file") from error
        except OSError as error:
            raise _say_unwritable(parent, noun, str(error.strerror)) from error
        return directory
    raise refuse_taken(parent, base, noun)


def check_name(name: str, noun: str) -> None:
    """Refuse a name that no folder may have.

    Raises:
        RunError: If it is one.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise RunError(
            f"The {noun}'s name cannot be a folder name. Expected letters, digits, space, '.', '_' "
            f"and '-', at most 80, the first a letter or digit. Received: name={name[:100]!r}"
        )


def refuse_taken(parent: Path, name: str, noun: str) -> RunError:
    """The error of a name that is taken."""
    return RunError(
        f"There is already a {noun} named '{name}' in '{parent}'. Expected a new name. Choose "
        f"another one; a {noun} is never overwritten."
    )


def _say_unwritable(parent: Path, noun: str, reason: str) -> RunError:
    return RunError(
        f"No {noun} can be written to '{parent}' ({reason}). Expected a folder, or a place where "
        "one can be made. Choose another."
    )


def _clean(text: str) -> str:
    """Any text as a part of a folder's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip(".-")[:60] or "images"
