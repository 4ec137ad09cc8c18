"""The process that judges a run on another folder, or checks it.

`python -m polyp_core.evaluation_worker DIR`, where DIR is what `evaluation_jobs` has written. It
holds the folder's lock for its whole life and needs no TensorFlow. It may be killed at any moment:
every file is whole, and the next worker begins anew.
"""

import contextlib
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from filelock import Timeout

from polyp_core.checks import run_checks
from polyp_core.errors import PolypError
from polyp_core.evaluation import Progress, describe, find_unseen, predict_index
from polyp_core.evaluation_jobs import RESULTS, find_judged_run
from polyp_core.prediction import load_classifier
from polyp_core.reporting import Pace, Reporter, WorkStopped
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN, ensure_demo_data, get_cache_dir

_WAIT_FOR_LOCK_S = 5.0  # a page that looks whether a worker lives holds it for a moment


def main(directory: Path) -> int:
    """Work on an evaluation, or checks, until it is finished, stopped or failed; 0 if finished."""
    files = Run(directory)
    try:
        with files.lock().acquire(timeout=_WAIT_FOR_LOCK_S):
            return 0 if files.read_status()["state"] == "finished" else _work(files)
    except Timeout:
        print(f"Another worker has the test '{files.name}'; nothing done.")
        return 1


def _work(files: Run) -> int:
    # Being asked politely to end is the same as being asked to stop.
    signal.signal(signal.SIGTERM, lambda *_: files.path("stop").touch())
    reporter = Reporter(files)
    try:
        _clear(files)
        reporter.reserve_room()
        reporter.begin("Starting")
        run = find_judged_run(files)
        {"evaluate": _evaluate, "checks": _check}[files.read_task()](files, run, reporter)
        return 0 if reporter.end("finished", "Finished") else 1
    except WorkStopped:
        reporter.end("stopped", "Stopped")
    except PolypError as error:
        reporter.end("failed", str(error))
    except OSError as error:
        reporter.end("failed", _say_disk_error(files, error))
        _log_traceback()
    except Exception as error:  # noqa: BLE001 - it must not end silently
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:500]
        reporter.end("failed", f"Unexpected error, see worker.log. {reason}")
        _log_traceback()
    return 1


def _evaluate(files: Run, run: Run, reporter: Reporter) -> None:
    """Write index.csv, features.npy, predictions.csv, and last metrics.json."""
    data = files.read_config().data
    show = _make_progress(reporter, "Reading the images")
    unseen = find_unseen(run, data.folder, data.group_pattern, show, get_cache_dir())
    files.write_table("index.csv", unseen.index.images)
    classifier, show = load_classifier(run), _make_progress(reporter, "Judging the images")
    predictions = predict_index(classifier, unseen.index, files, show)
    files.write_table("predictions.csv", predictions)
    files.write_json("metrics.json", describe(predictions, classifier) | unseen.counts)


def _check(files: Run, run: Run, reporter: Reporter) -> None:
    """Write checks.json."""
    index = run.read_index()
    if run == DEMO_RUN:  # which ships without its images
        reporter.write(message="Drawing the demo images")
        index = replace(index, folder=ensure_demo_data())
    found = run_checks(run, index, _make_progress(reporter, "Checking the images"))
    files.write_json("checks.json", found)


def _make_progress(reporter: Reporter, what: str) -> Progress:
    """What tells the reporter how far it is; it raises when somebody wants the work to stop."""
    pace = Pace()

    def show(done: int, total: int) -> None:
        reporter.report(
            message=f"{what}: {done} of {total}",
            images_done=done,
            images_in_all=total,
            **pace.update(time.monotonic(), done, total),
        )

    return show


def _clear(files: Run) -> None:
    """Remove what a worker that was killed has left."""
    for left_over in [*files.directory.glob(".writing-*"), *map(files.path, RESULTS)]:
        left_over.unlink(missing_ok=True)


def _log_traceback() -> None:
    with contextlib.suppress(OSError):  # a full disk does not take the log either
        traceback.print_exc()


def _say_disk_error(files: Run, error: OSError) -> str:
    reason = error.strerror or str(error)
    return (
        f"A file of the test '{files.name}' cannot be written or read ({reason}). Expected room on "
        "the disk and a folder that may be written. Make room, then start it again."
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
