"""Start, stop, resume and delete a run. Knows processes, not training."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from polyp_core.access import check_file, check_writable
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.environment import check_unchanged
from polyp_core.errors import ConfigError, DatasetError, RunError
from polyp_core.processes import make_directory, start_process
from polyp_core.queueing import add_ticket, remove_ticket
from polyp_core.runs import ACTIVE_STATES, RESUMABLE_STATES, Run
from polyp_core.summaries import name_data
from polyp_core.workspace import DEMO_RUN, get_queue_dir

_DELETED = ".deleted-"  # a run that is on its way out


def start_run(config: RunConfig, index: Index, runs_dir: Path, name: str | None = None) -> Run:
    """Write config.json and index.csv of a new run and start its worker, which waits for its turn.

    Args:
        config: All settings.
        index: The images, as `dataset.read_index` found them.
        runs_dir: Where runs lie; made if it is not there.
        name: Of the run. Defaults to the data, the preset and the time.

    Raises:
        RunError: If the name cannot be used or is taken.
        ConfigError: If the settings do not fit the images.
    """
    run = prepare_run(config, index, runs_dir, name)
    with _say_disk_errors(run):
        start_worker(run)
    return run


def prepare_run(
    config: RunConfig, index: Index, runs_dir: Path, name: str | None = None, task: str = "train"
) -> Run:
    """Write config.json and index.csv of a new run, without starting it.

    Args:
        config: All settings.
        index: The images.
        runs_dir: Where runs lie; made if it is not there.
        name: Of the run. Defaults to the data, the preset and the time.
        task: What the worker does: "train", or "find-rate" for a search of the learning rate.

    Raises:
        RunError: If the name cannot be used or is taken.
        ConfigError: If the settings do not fit the images.
    """
    check_writable("Training")
    check_fit(config, index)
    source = index.manifest or index.folder
    default = f"{name_data(str(source))}-{config.preset}"
    run = Run(make_directory(runs_dir, name, default, "run"))
    with _say_disk_errors(run):
        run.path("worker.log").touch()  # from now on the run is waiting for its worker
        data = replace(config.data, folder=str(source))
        run.write_table("index.csv", index.images)
        run.write_json(
            "config.json",
            {
                "task": task,
                "settings": replace(config, data=data).to_dict(),
                "class_names": list(index.class_names),
                "folder": str(index.folder),
            },
        )
    return run


def check_fit(config: RunConfig, index: Index) -> None:
    """Refuse settings that these images cannot be trained with.

    Raises:
        AccessError: If the backbone's weights lie where this server reads nothing.
        ConfigError: If a batch is larger than the data set, or the watched number cannot be known.
        DatasetError: If there is nothing to train or to validate on.
    """
    labels = {split: index.select(split)["label"] for split in ("train", "validation")}
    for split, what in (("train", "train"), ("validation", "validate")):
        if labels[split].empty:
            raise DatasetError(
                f"There is no image to {what} on. Expected images in both splits. Put some into "
                f"{split}/, or let the app divide the images."
            )
    weights = config.model.backbone_weights
    if config.model.network == "transfer" and weights:
        check_file(weights)
        if not Path(weights).is_file():
            raise ConfigError(
                f"There is no file '{weights}'. Expected the weights of a backbone as Keras has "
                "them. Set model.backbone_weights to one, or to nothing, which fetches ImageNet's. "
                f"Received: backbone_weights={weights!r}"
            )
    num_train, settings = len(labels["train"]), config.training
    if settings.batch_size > num_train:
        raise ConfigError(
            f"A batch is larger than the data set: {num_train} images to train on. Expected at "
            "most as many. Lower training.batch_size. "
            f"Received: batch_size={settings.batch_size}"
        )
    if labels["train"].nunique() < 2:
        raise DatasetError(
            "All training images are of one class, so there is nothing to tell apart. Expected "
            "both classes. Add images of the other class to train/."
        )
    if labels["validation"].nunique() < 2 and settings.monitor == "val_auc":
        raise ConfigError(
            "The AUC cannot be computed: all validation images are of one class. Expected both, or "
            "another number to watch. Choose training.monitor=val_loss. "
            f"Received: monitor={settings.monitor!r}"
        )


def stop_run(run: Run) -> None:
    """Ask the worker to stop at its next step; a waiting run leaves the queue.

    Raises:
        RunError: If it is not running.
    """
    check_writable("Stopping a run")
    state = run.read_status()["state"]
    if state not in ACTIVE_STATES:
        raise RunError(
            f"Run '{run.name}' is {state}, so there is nothing to stop. Expected a running one. "
            "`python -m polyp_core runs` lists them."
        )
    with _say_disk_errors(run):
        run.path("stop").touch()


def finish_run(run: Run) -> None:
    """End training after the present epoch and make a model of what is kept so far.

    Raises:
        RunError: If there is no finished epoch, or the run is finished.
    """
    check_writable("Finishing a run")
    state = run.read_status()["state"]
    if state == "finished" or run.read_history().empty:
        raise RunError(
            f"Run '{run.name}' is {state} and has no epoch to make a model of, or has its model. "
            "Expected a run with at least one finished epoch. Let it train longer, or start anew."
        )
    if state in ACTIVE_STATES:
        with _say_disk_errors(run):
            run.path("finish").touch()
    else:
        _start_again(run, num_slots=1, is_to_finish=True)


def resume_run(run: Run, *, num_slots: int = 1, accept_changes: bool = False) -> None:
    """Start the worker again; it goes on exactly where the newest checkpoint stands.

    Args:
        run: A stopped, interrupted or failed run.
        num_slots: As for `start_worker`.
        accept_changes: Also where other versions than at the start would compute the rest.

    Raises:
        RunError: If the run is finished, a worker already has it, or versions have changed.
    """
    if not accept_changes:
        check_unchanged(run)
    _start_again(run, num_slots)


def _start_again(run: Run, num_slots: int, *, is_to_finish: bool = False) -> None:
    check_writable("Resuming a run")
    # Two who press at once start one worker.
    with _say_disk_errors(run), FileLock(run.path("starting.lock")):
        state = run.read_status()["state"]
        if state not in RESUMABLE_STATES:
            raise RunError(
                f"Run '{run.name}' is {state} and cannot be resumed. Expected a stopped, "
                "interrupted or failed one. Start a new run instead."
            )
        # What was asked of the worker before this one is not asked of the next.
        run.path("stop").unlink(missing_ok=True)
        run.path("finish").unlink(missing_ok=True)
        if is_to_finish:
            run.path("finish").touch()
        run.path("worker.log").touch()  # refused by a full disk while the last word still stands
        run.path("status.json").unlink(missing_ok=True)
        start_worker(run, num_slots)


def delete_run(run: Run) -> None:
    """Delete a run's folder with all that is in it, never one that is at work.

    Raises:
        RunError: If it is running or waiting, is no run of the workspace, or cannot be deleted.
    """
    check_writable("Deleting a run")
    is_demo_model = run.directory.resolve() == DEMO_RUN.directory.resolve()
    if not run.path("config.json").is_file() or is_demo_model:
        raise RunError(
            f"'{run.directory}' is not a run of yours and is not deleted. Expected a folder that "
            "training has written. Delete it by hand, if you are sure."
        )
    # Out of the list at once, whatever the deleting then takes.
    doomed = run.directory.with_name(f"{_DELETED}{uuid.uuid4().hex}")
    with _say_disk_errors(run), FileLock(run.path("starting.lock")):  # nobody resumes it meanwhile
        state = run.read_status()["state"]
        if state in ACTIVE_STATES:
            raise RunError(
                f"Run '{run.name}' is {state} and is not deleted. Expected one that has ended. "
                "Stop it first."
            )
        remove_ticket(get_queue_dir(), run)
        run.directory.rename(doomed)
    for left_over in doomed.parent.glob(f"{_DELETED}*"):  # of earlier ones, which were held open
        shutil.rmtree(left_over, ignore_errors=True)


@contextlib.contextmanager
def _say_disk_errors(run: Run) -> Iterator[None]:
    """What the file system refuses becomes a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Run '{run.name}' cannot be written to ({error.strerror}). Expected room on the disk "
            "and a folder that may be written. Make room, close what has its files open, or change "
            "its permissions."
        ) from error


def wait_for_worker(run: Run) -> None:
    """Wait until the worker has said its first word (or has ended), 20 s at most."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not run.is_alive():
        if run.read_status()["state"] in ("finished", "failed", "stopped"):
            return
        time.sleep(0.05)


def start_worker(run: Run, num_slots: int = 1) -> None:
    """Start a run's worker: a fresh interpreter in its own session, it outlives the server.

    Args:
        run: A run that `prepare_run` has written.
        num_slots: How many runs may train at once; 0 does not wait for a turn.
    """
    check_writable("Training")
    if num_slots:
        add_ticket(get_queue_dir(), run)
    slots = num_slots and max(num_slots, int(os.environ.get("POLYP_SLOTS", "1")))
    start_process(
        "polyp_core.worker", run.directory, POLYP_SLOTS=str(slots), POLYP_ASKED_AT=str(time.time())
    )
