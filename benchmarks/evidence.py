"""Cost of all numbers with intervals: `python -m benchmarks.evidence`.

What is printed is processor time, which other programs on the machine change little, of one core:
each measurement is a fresh process whose libraries may use one thread. The first column of times
is the work that moves with the threshold, for images and patients together; the second is what is
computed once; the third is `describe_predictions` from the table on. "Peak" is all memory of the
process, "of it before" what it needed with the table made and everything imported. Linux and macOS.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.evidence import (
    describe_at_threshold,
    describe_predictions,
    describe_probabilities,
    split_levels,
)

_CASES = ((300, 100), (10_000, 3_000), (10_000, 0), (100_000, 1_000), (100_000, 30_000),
          (100_000, 0))  # fmt: skip
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def main() -> None:
    """Measure every case in fresh processes and print one row each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--measure", nargs=2, type=int, metavar=("IMAGES", "PATIENTS"))
    options = parser.parse_args()
    if options.measure:
        num_images, num_patients = options.measure
        print(json.dumps(measure(num_images, num_patients, options.samples)))
        return
    print(f"{options.samples} bootstrap samples; processor time, median of {options.turns}.\n")
    print("| images | patients | at a threshold, ms | once, s | all, s | peak, MB | of it before |")
    print("|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for num_images, num_patients in _CASES:
        turns = [
            measure_apart(num_images, num_patients, options.samples) for _ in range(options.turns)
        ]
        middle = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        print(
            f"| {num_images} | {num_patients or 'unknown'} | {1000 * middle['threshold_s']:.0f} | "
            f"{middle['once_s']:.2f} | {middle['all_s']:.2f} | {middle['peak_mb']:.0f} | "
            f"{middle['before_mb']:.0f} |",
            flush=True,
        )


def measure_apart(num_images: int, num_patients: int, num_samples: int) -> dict[str, float]:
    """The numbers of `measure` in a fresh process with one thread."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.evidence", "--samples", str(num_samples),
         "--measure", str(num_images), str(num_patients)],
        env=os.environ | _ONE_THREAD,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(num_images: int, num_patients: int, num_samples: int) -> dict[str, float]:
    """Seconds and megabytes in this process."""
    table = draw_predictions(num_images, num_patients)
    before_mb = read_peak_mb()
    all_s = time_call(lambda: describe_predictions(table, 0.5, num_samples=num_samples))
    peak_mb, levels = read_peak_mb(), split_levels(table)
    return {
        "all_s": all_s,
        "threshold_s": statistics.median(
            time_call(
                lambda: describe_at_threshold(levels, 0.4, prevalence=0.1, num_samples=num_samples)
            )
            for _ in range(5)
        ),
        "once_s": time_call(lambda: describe_probabilities(levels, num_samples=num_samples)),
        "before_mb": before_mb,
        "peak_mb": peak_mb,
    }


def time_call(call: Callable[[], Any]) -> float:
    """Seconds of the processor that a call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started


def read_peak_mb() -> float:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def draw_predictions(num_images: int, num_patients: int) -> pd.DataFrame:
    """Images of patients of whom some have many, three in ten positive, no two alike."""
    random = np.random.default_rng(1)
    patients = np.arange(num_images)
    if num_patients:
        shares = random.dirichlet(np.full(num_patients, 2.0))
        patients = np.sort(random.choice(num_patients, num_images, p=shares))
    labels = (random.random(num_images) < 0.3).astype(int)[patients]
    logits = 1.6 * labels - 1.2 + random.normal(size=num_images)[patients]
    logits += random.normal(0, 0.8, num_images)
    return pd.DataFrame(
        {
            "label": labels,
            "probability": 1 / (1 + np.exp(-logits)),
            "group": [f"patient {patient}" if num_patients else "" for patient in patients],
        }
    )


if __name__ == "__main__":
    main()
