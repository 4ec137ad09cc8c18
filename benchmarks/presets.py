"""What each preset gives and costs on a folder: `python -m benchmarks.presets DATA`.

Prints the median over split seeds of validation AUC and accuracy (by patient where known), beside
the majority baseline, and the wall time of the whole run, worker start and conversion included.
The table in docs/measurements.md is what it printed with its own defaults (30 epochs, 3 seeds) for
the demo images: `python -m benchmarks.presets workspace/demo-data`.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from polyp_core import jobs, words
from polyp_core.dataset import read_index
from polyp_core.presets import PRESETS, get_preset
from polyp_core.runs import FINAL_STATES

_PRESETS = [name for name in PRESETS if name != "transfer"]  # which needs weights from elsewhere


def main() -> None:
    """Train every preset with every seed, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--presets", nargs="+", default=_PRESETS)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    print(f"{'preset':<12} {'epochs':>6} {'AUC':>6} {'accuracy':>8} {'majority':>8} {'time':>8}")
    for name in options.presets:
        rows = [measure(name, seed, options) for seed in range(options.seeds)]
        auc, accuracy, majority, seconds = (
            statistics.median(column) for column in zip(*rows, strict=True)
        )
        print(
            f"{name:<12} {options.epochs:>6} {auc:>6.3f} {accuracy:>8.3f} {majority:>8.3f} "
            f"{seconds:>6.0f} s   (AUC {', '.join(f'{row[0]:.3f}' for row in rows)})",
            flush=True,
        )


def measure(name: str, seed: int, options: argparse.Namespace) -> tuple[float, ...]:
    """AUC, accuracy and majority accuracy on validation, and seconds, of one run."""
    config = get_preset(name).with_settings(
        [
            f"data.folder={options.data.resolve()}",
            f"data.seed={seed}",
            f"training.seed={seed}",
            f"training.epochs={options.epochs}",
            *options.set,
        ]
    )
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        run = jobs.start_run(config, read_index(config.data), Path(directory))
        jobs.wait_for_worker(run)
        while (state := run.read_status()["state"]) not in FINAL_STATES:
            time.sleep(0.2)
        seconds = time.monotonic() - started
        metrics = run.read_metrics()
        if metrics is None:
            raise SystemExit(f"{run.name} is {state}: {run.read_status()['message']}")
        level, _ = words.get_main_level(metrics)
        names = ("auc", "accuracy", "majority_accuracy")
        return (*(level[name]["value"] for name in names), seconds)


if __name__ == "__main__":
    main()
