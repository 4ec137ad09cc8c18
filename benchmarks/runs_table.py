"""How long a table of ten thousand runs takes: `python -m benchmarks.runs_table`.

The folder also holds some that are no runs and some that are damaged, and a few runs that were
killed. Every "cold" turn is a fresh process that has seen nothing of the folder, without its start;
"warm" is the next call in it, and "one changed" the call after one run has got a new note. The
system's file cache is warm, unless --drop-caches (as root, on Linux) empties it before each turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.metrics import evaluate_predictions
from polyp_core.presets import PRESETS
from polyp_core.runs import HISTORY_COLUMNS, Run
from polyp_core.summaries import summarise_run

_MEASURE = """
import json, sys, time
from pathlib import Path
from polyp_core.runs import Run
from polyp_core.summaries import list_summaries
folder, times = Path(sys.argv[1]), {}
for name in ("cold", "warm", "one changed"):
    if name == "one changed":
        Run(folder / sys.argv[2]).write_notes("", f"{time.time()}")
    started = time.perf_counter()
    table = list_summaries(folder)
    times[name] = time.perf_counter() - started
print(json.dumps({"times": times, "rows": len(table),
    "states": table["state"].value_counts().to_dict()}))
"""
_NUM_EPOCHS = 40
_STATES = ("finished",) * 17 + ("stopped", "stopped", "failed")


def main() -> None:
    """Write the folders, measure in fresh processes, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--drop-caches", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text, "runs")
        started = time.monotonic()
        write_runs(folder, options.runs)
        print(f"written in {time.monotonic() - started:.0f} s", flush=True)
        time.sleep(2.5)  # until no folder counts as just changed
        turns = []
        for _ in range(options.turns):
            if options.drop_caches:
                os.sync()
                Path("/proc/sys/vm/drop_caches").write_text("3")
            turns.append(measure(folder))
        print(f"\n{turns[-1]['rows']} rows: {turns[-1]['states']}\n")
        print("| | ms | min | max |")
        print("|---|---:|---:|---:|")
        for name in turns[0]["times"]:
            times_ms = [1000 * turn["times"][name] for turn in turns]
            print(
                f"| {name} | {statistics.median(times_ms):.0f} | {min(times_ms):.0f} | "
                f"{max(times_ms):.0f} |"
            )


def measure(folder: Path) -> dict[str, Any]:
    """Milliseconds of the calls in a fresh process, and what they found."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(folder), "run-00003"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_runs(folder: Path, num_runs: int) -> None:
    """Runs as a worker leaves them, and what else may lie there."""
    files = [draw_run(Path(folder.parent, "sample"), number) for number in range(20)]
    for number in range(num_runs):
        directory = folder / f"run-{number:05}"
        directory.mkdir(parents=True)
        for name, content in files[number % len(files)].items():
            (directory / name).write_text(content)
    for number in range(20):
        write_strangers(folder, number)


def write_strangers(folder: Path, number: int) -> None:
    """Folders that are no runs, damaged runs, and runs whose worker was killed."""
    config = json.dumps({"task": "train", "settings": PRESETS["compact"].config.to_dict()})
    strangers: dict[str, dict[str, str]] = {
        "holiday": {"beach.txt": "sun"},
        "empty": {},
        "no-json": {"config.json": "\x00\x00\x00", "status.json": "{"},
        "list": {"config.json": "[]", "status.json": "[1, 2]"},
        "odd-status": {"config.json": config, "status.json": '{"state": 7, "summary": "none"}'},
        "cut-status": {"config.json": config, "status.json": '{"state": "finis', "lock": ""},
        "killed": {"config.json": config, "status.json": '{"state": "running"}', "lock": ""},
        ".hidden": {"config.json": config},
    }
    for name, files in strangers.items():
        directory = folder / f"{name}-{number}"
        directory.mkdir()
        for file_name, content in files.items():
            (directory / file_name).write_text(content)
    (folder / f"file-{number}.txt").write_text("not a folder")
    (folder / f"folder-{number}" / "config.json").mkdir(parents=True)


def draw_run(directory: Path, number: int) -> dict[str, str]:
    """The texts of one run's files, with the summary that a worker would write."""
    random = np.random.default_rng(number)
    directory.mkdir(exist_ok=True)
    run, config = Run(directory), list(PRESETS.values())[number % len(PRESETS)].config
    state = _STATES[number % len(_STATES)]
    run.write_json(
        "config.json",
        {
            "task": "train",
            "settings": config.with_settings([f"data.folder=/data/set-{number}"]).to_dict(),
            "class_names": ["benign", "malignant"],
            "folder": f"/data/set-{number}",
        },
    )
    run.cut_history(0)
    for epoch in range(1, _NUM_EPOCHS + 1):
        run.append_history(dict.fromkeys(HISTORY_COLUMNS, random.random()) | {"epoch": epoch})
    if state == "finished":
        run.write_json("metrics.json", draw_metrics(random))
    status = {
        "state": state, "message": state.capitalize(), "started_at": 1.7e9 + number,
        "timings": {"import": 4.1, "data": 0.2, "waited for data": 0.0},
        "brightest_level": 255, "epoch": _NUM_EPOCHS, "epochs": _NUM_EPOCHS, "step": 30,
        "steps": 30, "learning_rate": 1e-6, "images_trained": 19200, "images_in_all": 19200,
        "images_per_s": 180.3, "remaining_s": 0, "batch_labels": [0, 1, 1, 0, 1, 0, 0, 1],
        "updated_at": 1.7e9 + number, "memory_mb": 1100, "elapsed_s": 120.2,
        "summary": summarise_run(run),
    }  # fmt: skip
    run.write_json("status.json", status)
    names = ("config.json", "status.json", "history.csv", "metrics.json")
    texts = {name: run.path(name).read_text() for name in names if run.path(name).exists()}
    for name in texts:
        run.path(name).unlink()
    return {**texts, "lock": "", "worker.log": ""}


def draw_metrics(random: np.random.Generator) -> dict[str, Any]:
    """Numbers of a made-up test on eighty images of twenty patients."""
    labels = np.arange(80) // 4 % 2
    predictions = pd.DataFrame(
        {
            "label": labels,
            "group": [f"patient {patient}" for patient in np.arange(80) // 4],
            "probability": np.clip(0.3 * labels + 0.7 * random.random(80), 0, 1),
        }
    )
    result: dict[str, Any] = evaluate_predictions(predictions, 0.5)
    return result


if __name__ == "__main__":
    main()
