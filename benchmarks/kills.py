"""Workers killed at any moment and resumed: does anything get lost, does anything end otherwise?

Run it as `python -m benchmarks.kills`. Each preset, at a smaller image size, trains once in one go
and once with SIGKILL after SIGKILL: at random times, within an epoch, while a checkpoint is half
written, and after training, at conversion and evaluation; each is followed by a resume. After
some of them the newest checkpoint is damaged besides, as by a failing disk: then its epoch has to
be trained again, otherwise none may be. At the end weights, history and predictions have to be
those of the unbroken run, to the bit. Linux and macOS; the seed decides when kills are aimed.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polyp_core import jobs, processes
from polyp_core.checkpoints import read_checkpoint, read_checkpoints
from polyp_core.config import RunConfig
from polyp_core.dataset import read_index
from polyp_core.phantom import write_demo_data
from polyp_core.presets import get_preset
from polyp_core.runs import FINAL_STATES, Run

Worker = subprocess.Popen[bytes]
_DAMAGED = ", then damaged"
_LOOK_EVERY_S = 0.002
# What each preset does not use by itself, so that every kind of state is killed.
EXTRA = {
    "thesis": ["training.keep=best", "training.ema=0.95", "training.class_weights=balanced"],
    "thesis-plus": ["training.schedule=plateau", "training.decay_epochs=2"],
    "compact": ["training.gradient_clip=1"],
}


@dataclass(frozen=True)
class Kill:
    """What one kill was aimed at, where it fell, and finished epochs that are trained again."""

    aim: str
    where: str
    num_again: int


def main() -> None:
    """Print a table of the presets, and one of all kills."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=list(EXTRA), choices=list(EXTRA))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=96, metavar="PX")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--patients", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        os.environ["POLYP_WORKSPACE"] = str(Path(text, "workspace"))
        write_demo_data(Path(text, "demo"), num_patients=options.patients)
        rows, kills = [], []
        for preset in options.presets:
            config = get_preset(preset).with_settings(
                [
                    f"data.folder={Path(text, 'demo')}",
                    f"model.image_size_px={options.size}",
                    f"training.epochs={options.epochs}",
                    # It counts, but ends nothing before the kills are done.
                    f"training.early_stopping_patience={options.epochs}",
                    "training.batch_size=8",
                    *EXTRA[preset],
                ]
            )
            drawn = random.Random(f"{options.seed} {preset}")
            row, fell = measure(config, Path(text, "runs"), options.kills, drawn)
            rows.append(row)
            kills += [
                f"| {preset} | {number} | {kill.aim} | {kill.where} | {kill.num_again} |"
                for number, kill in enumerate(fell, start=1)
            ]
        print_table(
            "preset | kills | lost epochs | trained again after damage | same weights | "
            "same history | same predictions | unbroken, s | with kills, s", rows,
        )  # fmt: skip
        print_table("preset | kill | aimed at | fell on | trained again", kills)


def print_table(header: str, rows: list[str]) -> None:
    """In Markdown."""
    print("\n".join(["", f"| {header} |", "|---" * (header.count("|") + 1) + "|", *rows]))


def measure(
    config: RunConfig, runs_dir: Path, num_kills: int, drawn: random.Random
) -> tuple[str, list[Kill]]:
    """Train in one go and with kills; a row of the table, and where each kill fell."""
    index = read_index(config.data)
    unbroken = jobs.prepare_run(config, index, runs_dir, f"{config.preset}-unbroken")
    seconds = finish(unbroken)
    print(f"{config.preset}: unbroken, {seconds:.0f} s", flush=True)
    broken = jobs.prepare_run(config, index, runs_dir, f"{config.preset}-killed")
    started = time.monotonic()
    kills = kill_often(broken, num_kills, config.training.epochs, drawn)
    finish(broken)
    same = [read(unbroken) == read(broken) for read in (hash_weights, read_curves, read_table)]
    again = {
        is_damaged: sum(kill.num_again for kill in kills if is_damaged == is_damage(kill.aim))
        for is_damaged in (False, True)
    }
    cells = [config.preset, len(kills), again[False], again[True]]
    cells += ["yes" if value else "NO" for value in same]
    cells += [round(seconds), round(time.monotonic() - started)]
    return f"| {' | '.join(map(str, cells))} |", kills


def kill_often(run: Run, num_kills: int, epochs: int, drawn: random.Random) -> list[Kill]:
    """Kill and resume, from the first epoch to the evaluation."""
    kinds = ["at random", "within an epoch", "half written", f"half written{_DAMAGED}"]
    last = ["at conversion", "at evaluation"][: max(0, num_kills - 1)]
    aims = [kinds[number % len(kinds)] for number in range(num_kills - len(last))] + last
    # So far the run has to be before the next kill is aimed; the rest is chance.
    far = [1 + number * (epochs - 10) // len(aims) for number in range(len(aims))]
    kills = []
    for aim, num_epochs in zip(aims, far, strict=True):
        worker = start(run)
        # One epoch more than is known, so that every worker gets on; none where training is over.
        wanted = min(max(num_epochs, len(run.read_history()) + 1), epochs - 1)
        if aim not in last:
            wait_for_epochs(run, wanted, worker)
        AIMS[aim.removesuffix(_DAMAGED)](run, worker, drawn)
        where = describe(run)
        if is_damage(aim):
            where += f"; {damage(run, drawn)}"
        kills.append(Kill(aim, where, count_again(run)))
        print(f"  {aim}: {where}", flush=True)
    return kills


def kill_at_random(run: Run, worker: Worker, drawn: random.Random) -> None:
    """Within the next two epochs, as long as the last one took."""
    time.sleep(drawn.uniform(0, 2) * run.read_history()["seconds"].iloc[-1])
    kill(worker)


def kill_within_an_epoch(run: Run, worker: Worker, drawn: random.Random) -> None:
    """At a random step that status.json shows."""
    part = drawn.uniform(0, 1)

    def is_there() -> bool:
        status = run.read_status()
        step, steps = status.get("step", 0), status.get("steps", 0)
        return bool(max(1, part * steps) <= step < steps)

    wait(is_there, worker)
    kill(worker)


def kill_half_written(run: Run, worker: Worker, drawn: random.Random) -> None:
    """While a checkpoint, or the best weights, are on their way to the disk."""
    directory = run.path("checkpoints")
    while True:
        wait(lambda: any(n.startswith(".writing-") for n in os.listdir(directory)), worker, 0)
        worker.send_signal(signal.SIGSTOP)  # and look whether it was caught in time
        time.sleep(0.01)
        if list(directory.glob(".writing-*")):
            kill(worker)
            return
        worker.send_signal(signal.SIGCONT)


def kill_at_conversion(run: Run, worker: Worker, drawn: random.Random) -> None:
    """After training, before there is a serving model."""
    wait(lambda: run.read_status()["message"].startswith("Converting"), worker)
    time.sleep(drawn.uniform(0, 0.3))
    kill(worker)


def kill_at_evaluation(run: Run, worker: Worker, drawn: random.Random) -> None:
    """With a serving model, without a result."""
    wait(lambda: run.path("serving.json").exists(), worker)
    kill(worker)


AIMS: dict[str, Callable[[Run, Worker, random.Random], None]] = {
    "at random": kill_at_random,
    "within an epoch": kill_within_an_epoch,
    "half written": kill_half_written,
    "at conversion": kill_at_conversion,
    "at evaluation": kill_at_evaluation,
}


def start(run: Run) -> Worker:
    """Start or resume a run's worker, without a queue."""
    if run.path("status.json").exists():
        jobs.resume_run(run, num_slots=0)
    else:
        jobs.start_worker(run, num_slots=0)
    return processes._started[-1]


def finish(run: Run) -> float:
    """Let a run go to its end; how long that took, in s."""
    started = time.monotonic()
    worker = start(run)
    while run.read_status()["state"] not in FINAL_STATES:
        time.sleep(0.05)
    worker.wait()
    if run.read_status()["state"] != "finished":
        raise SystemExit(f"{run.name}: {run.path('worker.log').read_text()}")
    return time.monotonic() - started


def wait(is_there: Callable[[], bool], worker: Worker, every_s: float = _LOOK_EVERY_S) -> None:
    """Look often, and no longer than the worker lives."""
    while not is_there():
        if worker.poll() is not None:
            raise SystemExit("The worker ended before it could be killed: use more --epochs.")
        time.sleep(every_s)


def wait_for_epochs(run: Run, num_epochs: int, worker: Worker) -> None:
    """Until the history has so many rows."""
    wait(lambda: len(run.read_history()) >= num_epochs, worker)


def kill(worker: Worker) -> None:
    """End a worker at once."""
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def damage(run: Run, drawn: random.Random) -> str:
    """Cut the newest checkpoint or turn one of its bits, as a failing disk does."""
    path = read_checkpoints(run)[0]
    content = bytearray(path.read_bytes())
    place = drawn.randrange(len(content))
    if drawn.random() < 0.5:
        path.write_bytes(content[:place])
        return "newest cut short"
    content[place] ^= 1 << drawn.randrange(8)
    path.write_bytes(content)
    return "a bit of the newest turned"


def describe(run: Run) -> str:
    """How far the run was by its own words, and what was being written."""
    status = run.read_status()
    where = str(status["message"])
    if "step" in status and where.startswith("Epoch"):
        where += f", step {status['step']} of {status['steps']}"
    half = [path.name.split("-", 2)[2] for path in run.directory.rglob(".writing-*")]
    return f"{where}, writing {', '.join(half)}" if half else where


def is_damage(aim: str) -> bool:
    """Whether more than a kill happened."""
    return aim.endswith(_DAMAGED)


def count_again(run: Run) -> int:
    """Epochs of the history that lie after the newest checkpoint that can be used."""
    for path in read_checkpoints(run):
        with contextlib.suppress(ValueError):
            return max(0, len(run.read_history()) - read_checkpoint(path).epoch)
    return len(run.read_history())


def hash_weights(run: Run) -> str:
    """Of the kept weights' file, which holds no date."""
    return hashlib.sha256(run.path("model.weights.h5").read_bytes()).hexdigest()


def read_curves(run: Run) -> list[str]:
    """history.csv to the byte, but for the seconds an epoch took."""
    return [line.rsplit(",", 1)[0] for line in run.path("history.csv").read_text().splitlines()]


def read_table(run: Run) -> str:
    """predictions.csv to the byte."""
    return run.path("predictions.csv").read_text()


if __name__ == "__main__":
    main()
