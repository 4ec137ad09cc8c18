"""Start, stop and resume the worker of a run. Knows processes, not training."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import RunError
from polyp_core.runs import Run

_PROJECT_DIR = Path(__file__).parents[1]
_started: list[subprocess.Popen[bytes]] = []


def start_run(config: RunConfig, index: Index, runs_dir: Path, name: str | None = None) -> Run:
    """Write config.json and index.csv of a new run and start its worker.

    Args:
        config: All settings.
        index: The images, as `dataset.read_index` found them.
        runs_dir: Where runs lie; made if it is not there.
        name: Of the run. Defaults to the preset and the time.

    Raises:
        RunError: If the name cannot be used or is taken.
    """
    run = Run(_make_directory(runs_dir, name, config.preset))
    run.path("worker.log").touch()  # from now on the run is waiting for its worker
    source = index.manifest or index.folder
    data = replace(config.data, folder=str(source))
    run.write_table("index.csv", index.images)
    run.write_json(
        "config.json",
        {
            "settings": replace(config, data=data).to_dict(),
            "class_names": list(index.class_names),
            "folder": str(index.folder),
        },
    )
    _start_worker(run)
    return run


def stop_run(run: Run) -> None:
    """Ask the worker to stop at its next step.

    Raises:
        RunError: If it is not running.
    """
    state = run.read_status()["state"]
    if state not in ("queued", "running"):
        raise RunError(
            f"Run '{run.name}' is {state}, so there is nothing to stop. Expected a running one. "
            "`python -m polyp_core runs` lists them."
        )
    run.path("stop").touch()


def resume_run(run: Run) -> None:
    """Start the worker again; it goes on after the last finished epoch.

    Raises:
        RunError: If the run is finished, or a worker already has it.
    """
    state = run.read_status()["state"]
    if state not in ("stopped", "interrupted", "failed"):
        raise RunError(
            f"Run '{run.name}' is {state} and cannot be resumed. Expected a stopped, interrupted "
            "or failed one. Start a new run instead."
        )
    run.path("stop").unlink(missing_ok=True)
    run.path("status.json").unlink(missing_ok=True)
    _start_worker(run)


def wait_for_worker(run: Run, timeout_s: float = 20.0) -> None:
    """Wait until the worker has said its first word (or has ended)."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not run.is_alive():
        if run.read_status()["state"] in ("finished", "failed", "stopped"):
            return
        time.sleep(0.05)


def _make_directory(runs_dir: Path, name: str | None, preset: str) -> Path:
    if name is not None and not re.fullmatch(r"[\w][\w .-]{0,79}", name):
        raise RunError(
            "The run's name cannot be a folder name. Expected letters, digits, space, '.', '_' "
            f"and '-', at most 80, the first a letter or digit. Received: name={name!r}"
        )
    base = name or f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000):
        directory = runs_dir / (base if number == 1 else f"{base}-{number}")
        try:
            directory.mkdir(parents=True)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise RunError(
                f"No run can be written to '{runs_dir}' ({error.strerror}). Expected a folder, or "
                "a place where one can be made. Choose another."
            ) from error
        except FileExistsError:
            if runs_dir.is_file():
                raise RunError(
                    f"No run can be written to '{runs_dir}' (it is a file). Expected a folder, or "
                    "a place where one can be made. Choose another."
                ) from None
            if name is not None:
                raise RunError(
                    f"There is already a run named '{name}' in '{runs_dir}'. Expected a new name. "
                    "Choose another one; a finished run is never overwritten."
                ) from None
            continue
        return directory
    raise RunError(f"There are a thousand runs named '{base}' in '{runs_dir}'. Choose a name.")


def _start_worker(run: Run) -> None:
    """A fresh interpreter in its own session: it outlives the server and the browser."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(_PROJECT_DIR), os.environ.get("PYTHONPATH")])
        ),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }
    # Never waited for: whether a worker lives is known by its lock. Polling buries the dead ones.
    _started[:] = [process for process in _started if process.poll() is None]
    with run.path("worker.log").open("ab") as log:
        log.write(f"--- asked to start at {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "polyp_core.worker", str(run.directory.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # its like on Windows
            env=environment,
        )
    _started.append(process)
