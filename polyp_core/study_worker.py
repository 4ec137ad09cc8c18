"""The process that works on one study: `python -m polyp_core.study_worker STUDY_DIR`.

It starts the members, sums up after each one that ends, and makes the ensemble of those that were
trained on all images. It trains nothing itself: every member has a worker of its own. It may be
killed at any moment; the next one goes on with what it finds.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import Timeout

from polyp_core import jobs
from polyp_core.dataset import Index
from polyp_core.environment import count_threads
from polyp_core.errors import ModelError, PolypError
from polyp_core.runs import FINAL_STATES, RESUMABLE_STATES, Run
from polyp_core.study import Member, Study, select_fold, select_share, summarise
from polyp_core.words import say_number

_WAIT_FOR_LOCK_S = 5.0  # a page that looks whether a worker lives holds it for a moment
_LOOK_EVERY_S = 0.2
_WRITE_EVERY_S = 1.0
_NUM_COMPARED = 100  # images on which the ensemble is compared with its members

# Starts a member. What it gives is asked again and again: None while the member is at work, then
# what went wrong outside of the run, "" if nothing did.
Start = Callable[[Member], Callable[[], str | None]]


class StatusWriter:
    """Keeps what is said of the study and writes it to status.json."""

    def __init__(self, study: Study) -> None:
        self._files = study.files
        self._values: dict[str, Any] = {"started_at": time.time()}
        self._written_at = 0.0

    def write(self, **values: Any) -> None:  # noqa: ANN401 - plain JSON values
        """Update some values and write now."""
        self._values |= values | {"updated_at": time.time()}
        self._files.write_json("status.json", self._values)
        self._written_at = time.monotonic()

    def report(self, **values: Any) -> None:  # noqa: ANN401 - plain JSON values
        """Update some values; they are written at most once a second."""
        self._values |= values
        if time.monotonic() - self._written_at >= _WRITE_EVERY_S:
            self.write()


def main(study_dir: Path) -> int:
    """Work on a study until it is finished, stopped or failed; 0 only if it is finished."""
    study = Study(study_dir)
    try:
        with study.files.lock().acquire(timeout=_WAIT_FOR_LOCK_S):
            is_finished = study.read_status()["state"] == "finished"
            return 0 if is_finished else _work(study)
    except Timeout:
        print(f"Another worker has the study '{study.name}'; nothing done.")
        return 1


def _work(study: Study) -> int:
    # Being asked politely to end is the same as being asked to stop.
    signal.signal(signal.SIGTERM, lambda *_: study.files.path("stop").touch())
    for left_over in study.directory.glob(".writing-*"):  # of a worker that was killed
        left_over.unlink(missing_ok=True)
    status = StatusWriter(study)
    try:
        return _run_study(study, status)
    except PolypError as error:
        status.write(state="failed", message=str(error))
    except Exception as error:  # a study must not end silently
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:500]
        status.write(state="failed", message=f"Unexpected error, see worker.log. {reason}")
    return 1


def _run_study(study: Study, status: StatusWriter) -> int:
    status.write(state="running", message="Starting", num_members=len(study.members))
    plan = study.read_plan()
    if plan["ray_address"] is None:
        num_at_once = plan["num_workers"]
        share_processors(study, num_at_once)
        start: Start = partial(
            start_locally, num_slots=num_at_once, accept_changes=plan["accept_changes"]
        )
    else:
        from polyp_core.study_cluster import connect

        status.write(message="Connecting to the Ray cluster")
        start, num_at_once = connect(study), len(study.members)
    problems = run_members(study, start, num_at_once, status)
    _write_summary(study)
    if study.files.path("stop").exists():
        status.write(state="stopped", message="Stopped")
        return 1
    if problems:
        status.write(state="failed", message=_say_problems(study, problems))
        return 1
    status.write(message="Making one model of all members")
    with _end_hard_on_stop(study, status):
        message = _build_ensemble(study)
    status.write(state="finished", message=message, remaining_s=0)
    return 0


def share_processors(study: Study, num_workers: int) -> None:
    """Let workers at once divide the processors, unless somebody has said how many threads."""
    if num_workers > 1:
        num_threads = max(1, count_threads(study.files) // num_workers)
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(num_threads))  # which they inherit


def run_members(
    study: Study, start: Start, num_at_once: int, status: StatusWriter
) -> dict[str, str]:
    """Let every member that is not finished be trained; a stop is passed on to those at work.

    Args:
        study: Whose members.
        start: Starts one.
        num_at_once: Members.
        status: Is told how far it is.

    Returns:
        What went wrong with a member, by its name.
    """
    members = study.members
    waiting = deque(member for member in members if member.read_state() != "finished")
    at_work: dict[Member, Callable[[], str | None]] = {}
    problems: dict[str, str] = {}
    # A member takes as long as it has images to train on.
    ended, started_at = 0.0, time.monotonic()
    ended_at = started_at
    num_finished = len(members) - len(waiting)
    while waiting or at_work:
        if study.files.path("stop").exists():
            waiting.clear()
            for member in at_work:
                member.run.path("stop").touch()
        while waiting and len(at_work) < num_at_once:
            member = waiting.popleft()
            try:
                prepare_member(study, member)
                at_work[member] = start(member)
            except PolypError as error:
                problems[member.run.name] = str(error)
        for member in [member for member, ask in at_work.items() if ask() is not None]:
            problem = at_work.pop(member)() or _find_problem(member)
            num_finished += not problem
            ended += member.share
            ended_at = time.monotonic()
            if problem and not study.files.path("stop").exists():
                problems[member.run.name] = problem
            _write_summary(study)
        left = sum(member.share for member in (*waiting, *at_work))
        rest_s = _estimate_rest_s(ended_at - started_at, ended, left)
        status.report(
            message=f"{num_finished} of {say_number(len(members), 'member')} finished",
            num_finished=num_finished,
            num_failed=len(problems),
            # Counted down from the last that ended.
            remaining_s=rest_s and round(max(1.0, rest_s - (time.monotonic() - ended_at)), 1),
        )
        time.sleep(_LOOK_EVERY_S)
    return problems


def prepare_member(study: Study, member: Member) -> None:
    """Write a member's run, if it is not there."""
    if member.run.path("config.json").is_file():
        return
    shutil.rmtree(member.run.directory, ignore_errors=True)  # half written by a killed worker
    config = study.read_config()
    config = replace(config, training=replace(config.training, seed=member.seed))
    index = select_fold(study.read_index(), member.fold, study.read_plan()["num_folds"])
    index = select_share(index, member.share, config.data.seed, member.seed)
    jobs.prepare_run(config, index, member.run.directory.parent, member.run.name)


def start_locally(member: Member, num_slots: int, accept_changes: bool) -> Callable[[], str | None]:
    """Start or resume a member's worker on this computer, in the queue with all other runs."""
    run = member.run
    if not run.is_alive():  # a worker that has outlived the last study worker goes on
        if run.read_status()["state"] in RESUMABLE_STATES:
            jobs.resume_run(run, num_slots=num_slots, accept_changes=accept_changes)
        else:
            jobs.start_worker(run, num_slots)
    return lambda: "" if run.read_status()["state"] in FINAL_STATES else None


def _find_problem(member: Member) -> str:
    status = member.run.read_status()
    if status["state"] == "finished":
        return ""
    return str(status["message"]) if status["state"] == "failed" else f"It is {status['state']}."


def _estimate_rest_s(elapsed_s: float, ended: float, left: float) -> float | None:
    """As if the others took as long as those that have ended until now; None before one has.

    Both are counted in members that are trained on all images.
    """
    return round(elapsed_s / ended * left, 1) if ended else None


def _say_problems(study: Study, problems: dict[str, str]) -> str:
    named = " ".join(f"{name}: {problem}" for name, problem in sorted(problems.items()))
    return (
        f"{say_number(len(problems), 'member')} of {len(study.members)} did not finish; the "
        f"numbers are those of the others. Resume tries again. {named}"
    )


def _write_summary(study: Study) -> None:
    summary = summarise(study)
    if summary is not None:
        metrics, predictions = summary
        study.files.write_table("predictions.csv", predictions)
        study.files.write_json("metrics.json", metrics)


@contextlib.contextmanager
def _end_hard_on_stop(study: Study, status: StatusWriter) -> Iterator[None]:
    """Obey a stop where the work cannot look up, such as TensorFlow's conversion.

    All members are finished then, and what is being made is made anew by the next worker.
    """
    is_done = threading.Event()

    def watch() -> None:
        while not study.files.path("stop").exists():
            if is_done.wait(0.1):
                return
        status.write(state="stopped", message="Stopped")
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_done.set()


def _build_ensemble(study: Study) -> str:
    """Make the run directory that predicts as the mean of all members; the last message."""
    from polyp_core.image_store import open_images
    from polyp_core.serving import write_ensemble_model
    from polyp_core.workspace import get_cache_dir

    # It comes into its place whole, so that nobody predicts with a half.
    ensemble = Run(study.directory / ".ensemble")
    index, config, plan = study.read_index(), study.read_config(), study.read_plan()
    for directory in (ensemble.directory, study.ensemble.directory):
        shutil.rmtree(directory, ignore_errors=True)  # of a worker that was killed
    images = index.images
    judged = np.flatnonzero(images["fold"] > 0)
    split = images["split"]
    if plan["num_folds"] > 1:  # whatever is judged here was trained on there
        split = pd.Series(np.where(images["fold"] > 0, "train", "test"))
    whole = replace(index, images=images.drop(columns="fold").assign(split=split))
    ensemble.directory.mkdir()
    ensemble.write_table("index.csv", whole.images)
    kept = {key: plan[key] for key in ("settings", "class_names", "folder")}
    ensemble.write_json("config.json", {"task": "train", **kept})
    pixels = open_images(whole, config, get_cache_dir())
    compared = judged[:: max(1, len(judged) // _NUM_COMPARED)]
    try:
        write_ensemble_model(
            ensemble, [member.run for member in study.whole_members], np.asarray(pixels[compared])
        )
    except ModelError as error:
        shutil.rmtree(ensemble.directory)
        return f"Finished, but without a model of all members. {error}"
    for name in ("predictions.csv", "metrics.json"):
        shutil.copyfile(study.files.path(name), ensemble.path(name))
    _keep_familiarity(ensemble, whole, pixels)
    ensemble.write_json("status.json", {"state": "finished", "message": "Finished"})
    ensemble.directory.rename(study.ensemble.directory)
    return "Finished"


def _keep_familiarity(ensemble: Run, index: Index, pixels: np.ndarray) -> None:
    """What the ensemble judges images by that are not like those its members were trained on."""
    from polyp_core.familiarity import choose_rows, write_familiarity
    from polyp_core.prediction import load_classifier

    predictor = load_classifier(ensemble).predictor
    numbers = choose_rows(index)
    examined = [predictor.examine(pixels[number]).features for number in numbers]
    features = [each for each in examined if each is not None]  # members of an earlier version
    if len(features) == len(numbers) > 0:
        some = replace(index, images=index.images.loc[numbers].reset_index(drop=True))
        write_familiarity(ensemble, some, np.asarray(pixels[numbers]), np.stack(features))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
