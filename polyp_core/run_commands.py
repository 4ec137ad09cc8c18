"""The commands about one run: train, find-rate, resume, stop, finish, delete; and the list."""

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from polyp_core import jobs, words
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.doctor.checkup import examine_run
from polyp_core.errors import RunError
from polyp_core.presets import PRESETS, get_preset
from polyp_core.recipe import find_facts, fit_preset, say_fitted
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.summaries import list_summaries
from polyp_core.workspace import find_run, get_cache_dir, get_rates_dir, get_runs_dir

Progress = Callable[[int, int], None]


class show_progress:  # noqa: N801 - used like a function
    """A progress bar on a terminal, nothing otherwise."""

    def __init__(self, description: str) -> None:
        self._bar = tqdm(desc=description, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Progress:
        def show(done: int, total: int) -> None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

        return show

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to those of `python -m polyp_core`."""
    train = commands.add_parser("train", help="train on a folder of images")
    find = commands.add_parser("find-rate", help="measure which learning rate suits")
    for sub, command in ((train, _train), (find, _find_rate)):
        sub.add_argument("data", help="train/ and validation/, two class folders, or a manifest")
        sub.add_argument("--preset", default="compact", help=f"one of {', '.join(PRESETS)}")
        sub.add_argument("--set", action="append", default=[], metavar="section.key=value")
        sub.set_defaults(command=command)
    train.add_argument("--runs", type=Path, metavar="DIR", help="where runs are written")
    train.add_argument("--name", help="of the run")

    runs = commands.add_parser("runs", help="list the runs")
    runs.add_argument("--runs", type=Path, metavar="DIR")
    runs.set_defaults(command=_runs)

    for name, command, help_text in (
        ("stop", _stop, "ask a run to stop, or to leave the queue"),
        ("finish", _finish, "end training now and make a model of the best epoch so far"),
        ("resume", _resume, "go on with a stopped, interrupted or failed run"),
        ("delete", _delete, "delete a run that has ended, for good"),
    ):
        sub = commands.add_parser(name, help=help_text)
        sub.add_argument("run")
        sub.set_defaults(command=command)
        if command is _resume:
            sub.add_argument(
                "--accept-changes", action="store_true", help="also with other versions"
            )


def read_and_list(config: DataConfig) -> Index:
    """The images, with a bar on a terminal; what cannot be read is listed there."""
    with show_progress("Reading images") as progress:
        index = read_index(config, progress, cache_dir=get_cache_dir())
    for path, reason in index.unreadable.itertuples(index=False):
        print(f"Left out: {path}: {reason}", file=sys.stderr)
    return index


def show_stage(stage: str) -> None:
    """Say on the terminal what is being done."""
    print(f"{stage} …", file=sys.stderr, flush=True)


def _read(options: argparse.Namespace) -> tuple[RunConfig, Index]:
    config = get_preset(options.preset).with_settings(options.set)
    config = replace(config, data=replace(config.data, folder=options.data))
    index = read_and_list(config.data)
    counts = index.images["split"].value_counts()
    print(
        f"{counts['train']} images to train on, {counts['validation']} to validate on; "
        f"positive class '{index.class_names[1]}', negative '{index.class_names[0]}'"
    )
    fitted = fit_preset(options.preset, find_facts(index)).with_settings(options.set)
    print(f"Preset {options.preset}: {say_fitted(fitted)}")
    return replace(fitted, data=config.data), index


def _train(options: argparse.Namespace) -> int:
    config, index = _read(options)
    run = jobs.start_run(config, index, options.runs or get_runs_dir(), options.name)
    return _follow(run, num_known_epochs=0)


def _find_rate(options: argparse.Namespace) -> int:
    config, index = _read(options)
    run = jobs.prepare_run(config, index, get_rates_dir(), task="find-rate")
    jobs.start_worker(run)
    wait_for_end(run, lambda: None)
    status = run.read_status()
    if status["state"] != "finished":
        print(f"The search is {status['state']}: {status['message']}", file=sys.stderr)
        return 1
    for row in run.read_rates().itertuples():
        print(f"rate {row.rate:.2e}: loss {row.loss:.4f}, smooth {row.smooth:.4f}")
    rate = status.get("suggested_rate")
    if rate is None:
        print("The loss fell nowhere clearly, so there is no rate to suggest")
    else:
        print(f"Suggested: --set training.learning_rate={rate:g}")
    return 0


def _resume(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    num_known_epochs = len(run.read_history())
    jobs.resume_run(run, accept_changes=options.accept_changes)
    return _follow(run, num_known_epochs)


def _stop(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    jobs.stop_run(run)
    print(f"Asked '{run.name}' to stop")
    return 0


def _finish(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    num_known_epochs = len(run.read_history())
    jobs.finish_run(run)
    return _follow(run, num_known_epochs)


def _delete(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    jobs.delete_run(run)
    print(f"Deleted '{run.name}'")
    return 0


def _follow(run: Run, num_known_epochs: int) -> int:
    """Show a run's progress until it ends; Ctrl-C asks it to stop."""
    _show_epochs(run, num_known_epochs)
    status, metrics = run.read_status(), run.read_metrics()
    if status["state"] == "finished" and metrics is not None:
        _print_milestones(run)
        print(f"Validation: {words.say_worth(*words.get_main_level(metrics))}")
    else:
        print(f"The run is {status['state']}: {status['message']}", file=sys.stderr)
    for found in examine_run(run)[0]:
        print(f"Doctor: {found.title} {found.evidence} {found.advice}")
    print(run.directory)
    return 0 if status["state"] == "finished" else 1


def _print_milestones(run: Run) -> None:
    milestones = run.read_milestones()
    if milestones:
        print("| epoch | validation accuracy | n | always the same class | AUC |")
        print("|---|---|---|---|---|")
    for epoch, metrics in sorted(milestones.items()):
        level, unit = words.get_main_level(metrics)
        print(
            f"| {epoch} | {words.say_percent(level['accuracy'])} | {level['accuracy']['n']} {unit} "
            f"| {words.say_percent(level['majority_accuracy'])} | {words.say_auc(level['auc'])} |"
        )


def _show_epochs(run: Run, num_known_epochs: int) -> None:
    shown = num_known_epochs
    bar: Any = None

    def show() -> None:
        nonlocal shown, bar
        status, history = run.read_status(), run.read_history()
        if sys.stderr.isatty():
            total = status.get("epochs", 0) * status.get("steps", 0)
            bar = bar or (tqdm(total=total, unit="step") if total else None)
            if bar is not None:
                bar.n = (status["epoch"] - 1) * status["steps"] + status["step"]
                bar.set_description(status["message"])
            return
        for row in history.iloc[shown:].to_dict("records"):
            print(
                f"epoch {row['epoch']}: loss {row['loss']:.4f}, accuracy "
                f"{row['accuracy']:.3f}, validation loss {row['val_loss']:.4f}, accuracy "
                f"{row['val_accuracy']:.3f}, AUC {row['val_auc']:.3f}, {row['seconds']:.1f} s",
                flush=True,
            )
        shown = max(shown, len(history))

    wait_for_end(run, show)
    if bar is not None:
        bar.close()


def wait_for_end(
    run: Run, show: Callable[[], None], stop: Callable[[Run], None] = jobs.stop_run
) -> None:
    """Call `show` until the run has ended, and once more then; Ctrl-C asks it to stop."""
    try:
        jobs.wait_for_worker(run)
        while run.read_status()["state"] not in FINAL_STATES:
            show()
            time.sleep(0.3)
    except KeyboardInterrupt:
        with contextlib.suppress(RunError):  # it may have ended at this very moment
            stop(run)
        while run.read_status()["state"] not in FINAL_STATES:
            time.sleep(0.1)
    show()


def _runs(options: argparse.Namespace) -> int:
    for row in list_summaries(options.runs or get_runs_dir()).to_dict("records"):
        epochs, worth = f"{row['epochs_done']:.0f} of {row['epochs']:.0f} epochs", ""
        if not math.isnan(row["accuracy"]):
            metric = {"value": row["accuracy"], "low": row["accuracy_low"],
                      "high": row["accuracy_high"]}  # fmt: skip
            worth = f"{words.say_percent(metric)}, n = {row['n']:.0f} {row['unit']}"
        title = f"  {words.make_visible(row['title'])}" if row["title"] else ""
        print(f"{row['name']:<44} {row['state']:<12} {epochs:<20} {worth}{title}")
    return 0
