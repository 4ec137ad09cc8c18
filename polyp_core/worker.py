"""The process that works on one run: `python -m polyp_core.worker RUN_DIR`.

It waits for its turn, trains, converts and evaluates, and says in status.json how far it is. It
holds the run's lock for its whole life; no other proof of life exists. It may be killed at any
moment: every file is whole, and the next worker goes on exactly.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from filelock import Timeout

from polyp_core import queueing
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.environment import (
    choose_onednn,
    count_threads,
    describe_environment,
    switch_onednn,
)
from polyp_core.errors import PolypError
from polyp_core.image_store import open_images
from polyp_core.reporting import Reporter, WorkStopped
from polyp_core.runs import Run
from polyp_core.workspace import get_cache_dir, get_queue_dir

_WAIT_FOR_LOCK_S = 5.0  # a page that looks whether a worker lives holds it for a moment
_PATIENCE_S = 1.2  # after a stop, before the process ends without finishing its step
_ENDS_HARD_S = 30.0  # the same once the state is being written


def main(run_dir: Path) -> int:
    """Work on a run until it is finished, stopped or failed; 0 only if it is finished."""
    run = Run(run_dir)
    try:
        with run.lock().acquire(timeout=_WAIT_FOR_LOCK_S):
            try:
                if run.read_status()["state"] != "finished":
                    return _work(run)
                run.delete_checkpoints()  # should the worker have been killed before it did
                return 0
            finally:
                queueing.remove_ticket(get_queue_dir(), run)
    except Timeout:
        print(f"Another worker has the run '{run.name}'; nothing done.")
        return 1


def _work(run: Run) -> int:
    # Being asked politely to end is the same as being asked to stop.
    signal.signal(signal.SIGTERM, lambda *_: run.path("stop").touch())
    for left_over in run.directory.rglob(".writing-*"):  # of a worker that was killed
        if not left_over.name.endswith("-notes.json"):  # a page may be writing them
            left_over.unlink(missing_ok=True)
    reporter = Reporter(run)
    threading.Thread(target=_end_hard, args=(run, reporter), daemon=True).start()
    try:
        reporter.reserve_room()
        slots = int(os.environ.get("POLYP_SLOTS", "1"))
        if slots:
            slot = queueing.wait_for_slot(get_queue_dir(), run, slots, reporter.report_waiting)
            try:
                return _train_and_evaluate(run, reporter)
            finally:
                slot.release()
        return _train_and_evaluate(run, reporter)
    except WorkStopped:
        reporter.end("stopped", "Stopped" if reporter.has_begun else "Cancelled before it began")
    except PolypError as error:
        reporter.end("failed", str(error))
    except OSError as error:
        reporter.end("failed", _say_disk_error(run, error))
        _log_traceback()
    except Exception as error:  # a run must not end silently
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:500]
        reporter.end("failed", f"Unexpected error, see worker.log. {reason}")
        _log_traceback()
    return 1


def _train_and_evaluate(run: Run, reporter: Reporter) -> int:
    reporter.begin("Starting TensorFlow, about 5 s")
    config, index = run.read_config(), run.read_index()
    with ThreadPoolExecutor(1) as pool:  # the images are read while TensorFlow is imported
        opening = pool.submit(_open_images, index, config, reporter)
        started = time.monotonic()
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(count_threads(run))
        switch_onednn(run)
        gc.disable()  # an import makes half a million objects, none of which is ever garbage
        from polyp_core.evaluation import evaluate_run
        from polyp_core.serving import write_serving_model
        from polyp_core.training import Trainer

        gc.freeze()
        gc.enable()
        reporter.note_time("import", started)
        _note_environment(run)
        images = _wait_for(opening, reporter)
    if run.read_task() == "find-rate":
        from polyp_core.rate_finder import find_rate

        find_rate(run, config, index, images, reporter.report)
        reporter.end("finished", "Finished")
        return 0
    brightest = _find_brightest(images, index)
    reporter.report(brightest_level=brightest)
    Trainer(run, config, index, images, reporter.report).train()
    reporter.report_after_training("Converting the model for predictions")
    write_serving_model(run, images, index.select("validation"))
    reporter.report_after_training("Testing on the validation images")
    evaluate_run(run, index, images, partial(_show_testing, reporter))
    if not reporter.end("finished", "Finished"):
        return 1  # the checkpoints stay, for a resume
    run.delete_checkpoints()
    return 0


def _open_images(index: Index, config: RunConfig, reporter: Reporter) -> np.ndarray:
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        reporter.report(message=f"Reading the images, once: {done} of {total}")

    images = open_images(index, config, get_cache_dir(), show)
    reporter.note_time("data", started)
    return images


def _show_testing(reporter: Reporter, done: int, total: int) -> None:
    # All images, since the features of the training images are kept as well.
    reporter.report(message=f"Testing: {done} of {total} images judged")


def _wait_for(opening: "Future[np.ndarray]", reporter: Reporter) -> np.ndarray:
    started = time.monotonic()
    images = opening.result()
    reporter.note_time("waited for data", started)
    return images


def _find_brightest(images: np.ndarray, index: Index) -> int:
    """Of at most two hundred training images, so that it costs nothing."""
    numbers = index.select("train").index.to_numpy()
    return int(images[numbers[:: max(1, len(numbers) // 200)]].max())


def _note_environment(run: Run) -> None:
    """Written by the first worker; later ones add what is other with them."""
    import keras

    now = describe_environment() | {
        "threads": count_threads(run),
        "onednn": choose_onednn(run),
        "devices": sorted({name.split(":")[0] for name in keras.distribution.list_devices()}),
    }
    then = run.read_environment()
    if not then:
        run.write_json("environment.json", now)
        return
    known = then.get("resumed_with", [])
    then_all = {"onednn": "", **then, "resumed_with": 0}  # an older version does not say it
    if now not in known and then_all != {**now, "resumed_with": 0}:
        run.write_json("environment.json", {**then, "resumed_with": [*known, now]})


def _end_hard(run: Run, reporter: Reporter) -> None:
    """Obey a stop where the work cannot look up: TensorFlow's import, its conversion, a long step.

    Ending hard is safe at any moment; the next worker goes on from the newest checkpoint.
    """
    while not run.path("stop").exists():
        time.sleep(0.1)
    asked_at = time.monotonic()
    while time.monotonic() - asked_at < (_ENDS_HARD_S if reporter.is_stopping else _PATIENCE_S):
        time.sleep(0.05)
    reporter.end("stopped", "Stopped")
    queueing.remove_ticket(get_queue_dir(), run)
    os._exit(1)


def _log_traceback() -> None:
    with contextlib.suppress(OSError):  # a full disk does not take the log either
        traceback.print_exc()


def _say_disk_error(run: Run, error: OSError) -> str:
    reason = error.strerror or str(error)
    return (
        f"A file of run '{run.name}' cannot be written or read ({reason}). Expected room on the "
        "disk and a folder that may be written. Every finished epoch is kept: make room, then "
        "resume."
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
