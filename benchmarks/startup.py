"""Seconds from pressing Train to the first finished step: `python -m benchmarks.startup [DATA …]`.

For each folder (made demo images, where none is given) and preset, in turns: a workspace that has
never seen the images, so that they are decoded, then a later run on them. Each is a real worker,
stopped after its first step. The times are the worker's own, from status.json:

- worker: from the call of `jobs.start_run` until the worker says its first word
- import: of TensorFlow, Keras and what trains
- data: decoding the images, or opening those that are decoded; it runs beside the import, and only
  what the import did not cover ("waited") adds to the whole
- build: network, optimizer and checkpoint
- first step: tracing the graph and the first batch
- rest: environment.json and other small things
- total: from the call until the first step is done; "pressed" is the part of it that the page waits

The file cache is warm, as it is right after the images were looked through on the data page.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from polyp_core import jobs
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from polyp_core.phantom import write_demo_data
from polyp_core.presets import PRESETS
from polyp_core.runs import FINAL_STATES, Run

_COLUMNS = (
    "pressed", "worker", "import", "data", "waited", "build", "first step", "rest", "total",
)  # fmt: skip
_TIMEOUT_S = 300.0


def main() -> None:
    """Print one table a folder and preset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--presets", nargs="+", default=["compact"], choices=list(PRESETS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        if not options.data:
            options.data = [Path(text, "demo")]
            write_demo_data(options.data[0])
        for folder in options.data:
            index = read_index(DataConfig(folder=str(folder.resolve())))
            for preset in options.presets:
                kinds: dict[str, list[dict[str, float]]] = {"new data": [], "later run": []}
                for _ in range(options.repeats):
                    with tempfile.TemporaryDirectory(dir=text) as workspace:
                        os.environ["POLYP_WORKSPACE"] = workspace
                        for times in kinds.values():
                            times.append(measure_start(index, preset, Path(workspace, "runs")))
                print_table(f"{folder.name}, {len(index.images)} images, {preset}", kinds)


def print_table(title: str, kinds: dict[str, list[dict[str, float]]]) -> None:
    """Median seconds of each part, with the least and the most of the whole, as Markdown."""
    print(f"\n**{title}** (s, median of {len(kinds['later run'])})\n")
    print("| | " + " | ".join(_COLUMNS) + " | min | max |")
    print("|---|" + "---:|" * (len(_COLUMNS) + 2))
    for kind, rows in kinds.items():
        medians = [statistics.median(row[name] for row in rows) for name in _COLUMNS]
        totals = [row["total"] for row in rows]
        cells = " | ".join(f"{value:.2f}" for value in [*medians, min(totals), max(totals)])
        print(f"| {kind} | {cells} |", flush=True)


def measure_start(index: Index, preset: str, runs_dir: Path) -> dict[str, float]:
    """Start a run, wait for its first step, stop it."""
    config = PRESETS[preset].config
    config = replace(config, data=replace(config.data, folder=str(index.folder)))
    started = time.perf_counter()
    run = jobs.start_run(config, index, runs_dir)
    pressed_s = time.perf_counter() - started
    timings = wait_for_step(run)
    jobs.stop_run(run)
    while run.is_alive():
        time.sleep(0.05)
    names = {"worker": "until the worker ran", "import": "import", "data": "data",
             "waited": "waited for data", "build": "build", "first step": "first step",
             "until": "until the first step"}  # fmt: skip
    parts = {short: timings.get(name, 0.0) for short, name in names.items()}
    # The worker's clock starts when its process is asked for, near the end of `start_run`.
    total = pressed_s + parts["worker"] + parts.pop("until")
    known = ("pressed", "worker", "import", "waited", "build", "first step")
    parts |= {"pressed": pressed_s, "total": total}
    return parts | {"rest": total - sum(parts[name] for name in known)}


def wait_for_step(run: Run) -> dict[str, float]:
    """What the worker has noted of its start, once a step is done."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        status = run.read_status()
        timings: dict[str, float] = status.get("timings", {})
        if "until the first step" in timings:
            return timings
        if status["state"] in FINAL_STATES:
            break
        time.sleep(0.1)
    raise SystemExit(f"{run.name}: {run.read_status()}, see {run.path('worker.log')}")


if __name__ == "__main__":
    main()
