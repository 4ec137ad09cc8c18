"""How fast the results page is: `python -m benchmarks.results_page`.

A made-up run of ten thousand validation images of two thousand patients, with the demo model and
its images under as many names. The page is run as the server runs it, without a browser:

- first: the first visitor opens it; nothing of the run has been read yet
- again: the same page once more, as for another visitor
- move: the threshold is moved by hand; the page is run whole, where the server runs a part of it
- purpose: another purpose of the threshold is chosen

Times are the server's, reading every element back included, on warm files, and beside them the time
of the processor, which others at work on the computer change little; the page of pictures
that the gallery shows changes with each move, so its pictures are read and classified anew.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.testing.v1 import AppTest

from polyp_core import workspace
from polyp_core.runs import Run

Times = dict[str, list[tuple[float, float]]]  # of each kind: passed, and of the processor
_ROOT = Path(__file__).parents[1]
_COPIED = ("serving.tflite", "serving.json", "status.json", "history.csv", "environment.json",
           "metrics.json")  # fmt: skip


def main() -> None:
    """Write the run, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        os.environ["POLYP_WORKSPACE"] = text
        write_run(options.images)
        times_ms: Times = {"first": [], "again": [], "move": [], "purpose": []}
        for _ in range(options.turns):
            measure(times_ms)
    print(f"{options.images:,} validation images\n")
    print("| | ms | min | max | ms of the processor |\n|---|---:|---:|---:|---:|")
    for name, found in times_ms.items():
        passed, used = zip(*found, strict=True)
        print(
            f"| {name} | {statistics.median(passed):.0f} | {min(passed):.0f} | "
            f"{max(passed):.0f} | {statistics.median(used):.0f} |"
        )


def measure(times_ms: Times) -> None:
    """Open the page, open it again, and move the threshold; add the milliseconds of each."""
    st.cache_data.clear()
    st.cache_resource.clear()
    page = AppTest.from_file(str(_ROOT / "app.py"), default_timeout=60).run()  # which links need
    page.query_params["run"] = "large"
    page.switch_page("pages/results.py")
    take(times_ms["first"], page.run)
    take(times_ms["again"], page.run)
    for percent in (30.0, 70.0, 45.5):
        take(times_ms["move"], page.slider(key="results threshold slider").set_value(percent).run)
    for goal in ("sensitivity", "youden"):
        choice = page.segmented_control(key="results goal")
        take(times_ms["purpose"], choice.set_value(goal).run)


def take(times_ms: list[tuple[float, float]], act: Callable[[], AppTest]) -> AppTest:
    """Do it, and note how long it took, and how long the processor was at work."""
    started, started_working = time.perf_counter(), time.process_time()
    page = act()
    worked_s = time.process_time() - started_working
    times_ms.append((1000 * (time.perf_counter() - started), 1000 * worked_s))
    assert not page.exception, page.exception
    assert not page.error, page.error
    return page


def write_run(num_images: int) -> None:
    """A finished run on the demo images, each under many names."""
    random = np.random.default_rng(0)
    pictures = sorted(workspace.ensure_demo_data().rglob("*.png"))
    folder = Path(os.environ["POLYP_WORKSPACE"], "images").absolute()
    folder.mkdir()
    run = Run(workspace.get_runs_dir() / "large")
    run.directory.mkdir(parents=True)
    labels = random.integers(0, 2, num_images)
    rows = pd.DataFrame(
        {
            "path": [f"{number:05}.png" for number in range(num_images)],
            "frame": 0,
            "label": labels,
            "group": [f"patient-{number // 10 * 2 + label:04}"
                      for number, label in enumerate(labels.tolist())],
            "split": "validation",
            "width_px": 302,
            "height_px": 258,
            "sha256": [f"{number:064x}" for number in range(num_images)],
        }
    )  # fmt: skip
    for number, path in enumerate(rows["path"]):
        os.link(pictures[number % len(pictures)], folder / path)
    logits = random.normal(2.5 * labels - 1.25, 1.5)
    predictions = rows[["path", "frame", "split", "group", "label"]].assign(
        probability=1 / (1 + np.exp(-logits)),
        brightness=random.normal(80, 15, num_images),
        contrast=random.normal(30, 8, num_images),
    )
    run.write_table("index.csv", rows)
    run.write_table("predictions.csv", predictions)
    for name in _COPIED:
        run.path(name).write_bytes(workspace.DEMO_RUN.path(name).read_bytes())
    config = json.loads(workspace.DEMO_RUN.path("config.json").read_text())
    run.write_json("config.json", config | {"folder": str(folder)})


if __name__ == "__main__":
    main()
