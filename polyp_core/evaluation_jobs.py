"""Judge a finished run on another folder, or put it to the test: start, stop, delete, list.

Each is a folder inside the run's own, with a process of its own, see `runs`. It needs no TensorFlow
and does not wait for its turn.
"""

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from polyp_core.access import check_writable, get_workspace_dir
from polyp_core.config import DataConfig
from polyp_core.errors import RunError
from polyp_core.evaluation import find_tested
from polyp_core.prediction import load_classifier
from polyp_core.processes import make_directory, start_process
from polyp_core.runs import ACTIVE_STATES, RESUMABLE_STATES, Run
from polyp_core.summaries import name_data
from polyp_core.workspace import DEMO_RUN

EVALUATIONS, CHECKS = "evaluations", "checks"
# What a worker writes; one that starts anew finds none of it.
RESULTS = ("index.csv", "predictions.csv", "features.npy", "metrics.json", "checks.json")
RESERVED = ("train", "validation", "test", "study")  # by which a run's own predictions are known
_DELETED = ".deleted-"  # what is on its way out


def start_evaluation(
    run: Run, folder: str, name: str | None = None, group_pattern: str | None = None
) -> Run:
    """Start judging a finished run on the images of another folder.

    Args:
        run: Whose model.
        folder: Two class folders or a manifest; no split is needed, and one that is there is
            passed over.
        name: Of the evaluation. Defaults to the folder's name and the time.
        group_pattern: As `DataConfig.group_pattern`; None is that of the run.

    Returns:
        The evaluation's folder, which is read with a run's own methods: status, index, predictions,
        features and metrics, which hold the `counts` of `evaluation.Unseen` too.

    Raises:
        RunError: If the run is not finished, or the name cannot be used or is taken.
        ModelError: If its model cannot be opened.
        DatasetError: If the folder is not there, or has other classes.
        ConfigError: If the pattern is no regular expression.
    """
    check_writable("Testing a model on other images")
    _check_finished(run)
    if name in RESERVED:
        raise RunError(
            f"The test cannot have this name. Expected another one than {', '.join(RESERVED)}, by "
            f"which the run's own images are known. Choose another. Received: name={name!r}"
        )
    config, sources = run.read_config(), find_tested(run, folder)
    data = DataConfig(
        folder=str(sources.manifest or sources.folder),
        positive_class=run.read_class_names()[1],
        group_pattern=config.data.group_pattern if group_pattern is None else group_pattern,
        region=config.data.region,
        region_box=config.data.region_box,
    )
    parent = get_home(run) / EVALUATIONS
    files = Run(make_directory(parent, name, name_data(data.folder), "test"))
    with _say_disk_errors(files):
        _write_plan(files, run, "evaluate", data, str(sources.folder))
        _start(files)
    return files


def start_checks(run: Run) -> Run:
    """Start the checks of robustness and shortcuts; what an earlier check has found goes.

    Returns:
        The checks' folder; `checks.json` in it holds what `checks.run_checks` gives.

    Raises:
        RunError: If the run is not finished or has no validation images, or its checks are running.
        ModelError: If its model cannot be opened.
    """
    check_writable("Checking a model")
    _check_finished(run)
    if run.read_index().select("validation").empty:
        raise RunError(
            f"Run '{run.name}' has no validation images, so there is nothing to check it on. "
            "Expected at least one. Check a run that was validated, such as a member of the study."
        )
    files = Run(get_home(run) / CHECKS)
    with _say_disk_errors(files):
        files.directory.mkdir(parents=True, exist_ok=True)
        with FileLock(files.path("starting.lock")):
            state = files.read_status()["state"] if files.path("config.json").is_file() else ""
            if state in ACTIVE_STATES:
                raise RunError(
                    f"The checks of run '{run.name}' are {state} already. Expected them to have "
                    "ended. Wait for them, or stop them first."
                )
            config = run.read_config()
            _clear(files)
            _write_plan(files, run, "checks", config.data, str(run.read_index().folder))
            _start(files)
    return files


def restart_evaluation(files: Run) -> None:
    """Begin an evaluation, or checks, anew that were stopped or interrupted or have failed.

    Raises:
        RunError: If they are running or finished.
    """
    check_writable("Testing a model")
    with _say_disk_errors(files), FileLock(files.path("starting.lock")):
        state = files.read_status()["state"]
        if state not in RESUMABLE_STATES:
            raise RunError(
                f"The test '{files.name}' is {state} and cannot be started again. Expected a "
                "stopped, interrupted or failed one. Start a new one instead."
            )
        _check_finished(find_judged_run(files))
        _clear(files)
        _start(files)


def stop_evaluation(files: Run) -> None:
    """Ask the worker of an evaluation, or of checks, to stop.

    Raises:
        RunError: If it is not running.
    """
    check_writable("Stopping a test")
    state = files.read_status()["state"]
    if state not in ACTIVE_STATES:
        raise RunError(
            f"The test '{files.name}' is {state}, so there is nothing to stop. Expected a running "
            "one."
        )
    with _say_disk_errors(files):
        files.path("stop").touch()


def delete_evaluation(files: Run) -> None:
    """Delete an evaluation, or checks, with all that was found; never while it is at work.

    Raises:
        RunError: If it is running, is no such folder, or cannot be deleted.
    """
    check_writable("Deleting a test")
    if files.read_task() not in ("evaluate", "checks"):
        raise RunError(
            f"'{files.directory}' is no test of a run and is not deleted. Expected a folder that "
            "testing a run has written. Delete it by hand, if you are sure."
        )
    # Out of the list at once, whatever the deleting then takes.
    doomed = files.directory.with_name(f"{_DELETED}{uuid.uuid4().hex}")
    with _say_disk_errors(files), FileLock(files.path("starting.lock")):
        state = files.read_status()["state"]
        if state in ACTIVE_STATES:
            raise RunError(
                f"The test '{files.name}' is {state} and is not deleted. Expected one that has "
                "ended. Stop it first."
            )
        files.directory.rename(doomed)
    for left_over in doomed.parent.glob(f"{_DELETED}*"):  # of earlier ones, which were held open
        shutil.rmtree(left_over, ignore_errors=True)


def list_evaluations(run: Run) -> list[Run]:
    """Every evaluation of a run on another folder, whatever its state, the newest first."""
    found = []
    for path in (get_home(run) / EVALUATIONS).glob("[!.]*/config.json"):
        with contextlib.suppress(OSError):  # deleted this very moment
            found.append((path.stat().st_mtime, path.parent))
    return [Run(directory) for _, directory in sorted(found, reverse=True)]


def find_checks(run: Run) -> Run | None:
    """The folder of a run's checks, whatever their state; None where they were never started."""
    files = Run(get_home(run) / CHECKS)
    return files if files.path("config.json").is_file() else None


def get_home(run: Run) -> Path:
    """Where the evaluations and checks of a run lie: in its folder.

    Those of the demo model lie in the workspace, since nothing is written beside the program.
    """
    is_demo = run.directory.resolve() == DEMO_RUN.directory.resolve()
    return get_workspace_dir() / "demo-run" if is_demo else run.directory


def find_judged_run(files: Run) -> Run:
    """The run that an evaluation, or checks, are of."""
    directory = files.directory.absolute()
    home = directory.parent if files.read_task() == "checks" else directory.parent.parent
    return Run(home) if (home / "config.json").is_file() else DEMO_RUN


def _check_finished(run: Run) -> None:
    state = run.read_status()["state"]
    if state != "finished":
        raise RunError(
            f"Run '{run.name}' is {state}, so it cannot be tested. Expected a finished one. Let it "
            "finish, or choose another."
        )
    load_classifier(run)  # which says what is wrong with its model


def _write_plan(files: Run, run: Run, task: str, data: DataConfig, folder: str) -> None:
    """Write config.json as a run has it, so that it is read as that of a run."""
    files.path("worker.log").touch()  # from now on it waits for its worker
    settings = replace(run.read_config(), data=data).to_dict()
    class_names = list(run.read_class_names())
    files.write_json(
        "config.json",
        {
            "task": task, "settings": settings, "class_names": class_names, "folder": folder,
            "asked_at": time.time(),
        },
    )  # fmt: skip


def _clear(files: Run) -> None:
    for name in ("stop", "status.json", *RESULTS):
        files.path(name).unlink(missing_ok=True)


def _start(files: Run) -> None:
    files.path("worker.log").touch()
    asked_at = str(time.time())
    start_process("polyp_core.evaluation_worker", files.directory, POLYP_ASKED_AT=asked_at)


@contextlib.contextmanager
def _say_disk_errors(files: Run) -> Iterator[None]:
    """What the file system refuses becomes a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"'{files.directory}' cannot be written to ({error.strerror}). Expected room on the "
            "disk and a folder that may be written. Make room, close what has its files open, or "
            "change its permissions."
        ) from error
