"""How good each preset is: folds by patient, several seeds, intervals, and pairwise comparisons.

`python benchmarks/quality.py --data DIR --group-pattern RE --presets … --folds 5 --seeds 3`

Every preset is an ordinary study: the same folds for all (whole patients and near-copies on one
side), each seed a training of its own. Of each preset it prints

- single: the AUC of one model on the fold it has not seen, mean over folds and seeds
- ensemble: the same for the mean probability of a fold's seeds
- accuracy of single models at one half, beside the majority baseline
- time a member (start, training, conversion and evaluation), weights, and ms an image with LiteRT
  on one core

by patient where patients are known, a patient's probability being the mean over its images. The
intervals are percentiles of 1,000 bootstrap samples of the patients of every fold, class by class,
and of the seeds; so they hold what other patients and, as far as a few seeds show it, other seeds
would change, but not other folds or training images, nor another mixture of classes: with few
images look at several `--split-seed`. Two presets are compared on the same samples of patients; no
correction is made for how many are compared. The temperature is fitted on the fold that it is
judged on.

References: Efron and Tibshirani, An introduction to the bootstrap (1993), chapters 13 and 16.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file too

from polyp_core.audit import find_pairs
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from polyp_core.metrics import pool_patients
from polyp_core.presets import PRESETS
from polyp_core.recipe import find_facts, fit_preset
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.study import Study
from polyp_core.study_jobs import start_study
from polyp_core.workspace import get_cache_dir

_NUM_SAMPLES = 1000
_NUM_TIMED = 200
# What a preset says of each patient: a fold's labels, and for each seed the probabilities.
Fold = tuple[np.ndarray, np.ndarray]  # (n,) and (seeds, n)


def main() -> None:
    """Train every preset in every fold with every seed, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--group-pattern", default="", help="as data.group_pattern")
    parser.add_argument("--presets", nargs="+", default=["compact"], choices=list(PRESETS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split-seed", type=int, default=0, help="of the folds, as data.seed")
    parser.add_argument("--workers", type=int, default=1, help="members at once, a core each")
    parser.add_argument("--set", action="append", default=[], help="for all presets")
    parser.add_argument("--out", type=Path, help="keeps the studies there; what is there is used")
    parser.add_argument("--json", type=Path, help="writes the numbers there")
    options = parser.parse_args()
    if options.workers > 1:
        os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    data = DataConfig(
        folder=str(options.data.resolve()), group_pattern=options.group_pattern,
        seed=options.split_seed,
    )  # fmt: skip
    index = read_index(data, cache_dir=get_cache_dir())
    pairs = find_pairs(index, get_cache_dir())
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        results, folds, names = {}, {}, {}
        for name in options.presets:
            study = train(name, data, index, pairs, out, options)
            folds[name], names[name], unit = read_folds(study)
            if names[name] != names[options.presets[0]]:
                raise SystemExit(f"{name} was judged on others in its folds. Give another --out.")
            results[name] = describe(study, folds[name]) | {"unit": unit}
            print(f"{name} is done", file=sys.stderr)
    comparisons = compare_all(folds)
    print_tables(index, results, comparisons)
    if options.json:
        content = {"presets": results, "comparisons": comparisons}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


def train(
    name: str, data: DataConfig, index: Index, pairs: np.ndarray, out: Path,
    options: argparse.Namespace,
) -> Study:  # fmt: skip
    """A finished study of a preset."""
    study = Study(out / name)
    fitted = fit_preset(name, find_facts(index)).with_settings(options.set)
    config = replace(fitted, data=data)
    if study.directory.exists():
        plan = study.read_plan()
        is_same = plan["num_folds"] == options.folds and len(plan["seeds"]) == options.seeds
        if study.read_config() != config or not is_same:
            raise SystemExit(f"{study.directory} holds another study. Give another --out.")
    else:
        study = start_study(
            config, index, out, num_folds=options.folds, num_seeds=options.seeds, pairs=pairs,
            name=name, num_workers=options.workers,
        )  # fmt: skip
    while (status := study.read_status())["state"] not in FINAL_STATES:
        time.sleep(1)
    if status["state"] != "finished":
        raise SystemExit(f"The study of {name} is {status['state']}: {status['message']}")
    return study


def read_folds(study: Study) -> tuple[list[Fold], list[list[str]], str]:
    """Of each fold what was judged, by patient where they are known; the names; and the unit."""
    folds, names, unit = [], [], "images"
    plan = study.read_plan()
    for fold in range(1, plan["num_folds"] + 1):
        columns = []
        for member in study.members:
            if member.fold != fold:
                continue
            predictions = member.run.read_predictions()
            predictions = predictions[predictions["split"] == "validation"].sort_values("path")
            patients = pool_patients(predictions)
            if patients is not None:
                predictions, unit = patients, "patients"
            columns.append(predictions)
        labels = columns[0]["label"].to_numpy()
        folds.append((labels, np.stack([c["probability"].to_numpy() for c in columns])))
        names.append(columns[0]["group" if unit == "patients" else "path"].tolist())
    return folds, names, unit


def single(folds: list[Fold]) -> float:
    """Mean AUC over folds and seeds."""
    return float(np.mean([measure_auc(labels, p) for labels, seeds in folds for p in seeds]))


def ensemble(folds: list[Fold]) -> float:
    """Mean over folds of the AUC of the mean over seeds."""
    return float(np.mean([measure_auc(labels, seeds.mean(axis=0)) for labels, seeds in folds]))


def accuracy(folds: list[Fold]) -> float:
    """Of single models at one half, mean over folds and seeds."""
    return float(np.mean([np.mean((seeds >= 0.5) == labels) for labels, seeds in folds]))


def measure_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve; ties count half."""
    positive = labels == 1
    ranks = pd.Series(probabilities).rank().to_numpy()[positive]
    m, n = positive.sum(), (~positive).sum()
    return float((ranks.sum() - m * (m + 1) / 2) / (m * n))


def draw(labels: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """For each fold which patients a bootstrap sample holds, class by class."""
    drawn = []
    for fold in labels:
        classes = [np.flatnonzero(fold == label) for label in (0, 1)]
        drawn.append(np.concatenate([random.choice(rows, len(rows)) for rows in classes]))
    return drawn


def take(folds: list[Fold], rows: list[np.ndarray], random: np.random.Generator) -> list[Fold]:
    """The folds as a bootstrap sample has them, with the seeds drawn too."""
    sample = []
    for (labels, probabilities), chosen in zip(folds, rows, strict=True):
        num_seeds = len(probabilities)
        seeds = random.integers(0, num_seeds, num_seeds)
        sample.append((labels[chosen], probabilities[np.ix_(seeds, chosen)]))
    return sample


def resample(
    several: list[list[Fold]], compute: Callable[[list[Fold]], float]
) -> list[list[float]]:
    """A number of each of several presets, for every bootstrap sample of their common patients."""
    random, labels = np.random.default_rng(0), [labels for labels, _ in several[0]]
    values = []
    for _ in range(_NUM_SAMPLES):
        rows = draw(labels, random)
        values.append([compute(take(folds, rows, random)) for folds in several])
    return values


def estimate_interval(values: list[float]) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def describe(study: Study, folds: list[Fold]) -> dict[str, Any]:
    """All numbers of a preset."""
    result: dict[str, Any] = {"n": sum(len(labels) for labels, _ in folds)}
    for name, compute in (("single", single), ("ensemble", ensemble), ("accuracy", accuracy)):
        low, high = estimate_interval([value for (value,) in resample([folds], compute)])
        result[name] = {"value": compute(folds), "low": low, "high": high}
    labels = np.concatenate([labels for labels, _ in folds])
    result["majority"] = float(max(labels.mean(), 1 - labels.mean()))
    by_seed = [
        single([(labels, p[[seed]]) for labels, p in folds]) for seed in range(len(folds[0][1]))
    ]
    result["sd_of_seeds"] = statistics.stdev(by_seed) if len(by_seed) > 1 else None
    runs = [member.run for member in study.members]
    result["seconds"] = statistics.median(run.read_status()["elapsed_s"] for run in runs)
    result["num_seeds"] = len(by_seed)
    result["epochs"] = statistics.median(len(run.read_history()) for run in runs)
    result["image_size_px"] = study.read_config().model.image_size_px
    result["log_loss"] = {
        when: statistics.mean(
            (run.read_metrics() or {})["calibration"]["log_loss"][when] for run in runs
        )
        for when in ("before", "after")
    }
    result["ms_per_image"] = measure_latency(runs[0])
    result["serving_bytes"] = runs[0].path("serving.tflite").stat().st_size
    return result


def measure_latency(run: Run) -> float:
    """Median of LiteRT on one core, with probability and saliency map."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(run.path("serving.tflite")), num_threads=1)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]
    image = np.random.default_rng(0).integers(0, 256, place["shape"]).astype(np.float32)
    seconds = []
    for _ in range(_NUM_TIMED):
        started = time.perf_counter()
        interpreter.set_tensor(place["index"], image)
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def compare_all(folds: dict[str, list[Fold]]) -> list[dict[str, Any]]:
    """Every two presets, as single models and as ensembles."""
    names = list(folds)
    kinds: dict[str, Callable[[list[Fold]], float]] = {"single": single, "ensemble": ensemble}
    return [
        {"first": first, "second": second, "kind": kind}
        | compare(folds[first], folds[second], compute)
        for number, first in enumerate(names)
        for second in names[number + 1 :]
        for kind, compute in kinds.items()
    ]


def compare(
    first: list[Fold], second: list[Fold], compute: Callable[[list[Fold]], float]
) -> dict[str, Any]:
    """The difference of two presets on the same samples of patients, each with seeds of its own."""
    low, high = estimate_interval([a - b for a, b in resample([first, second], compute)])
    value = compute(first) - compute(second)
    return {
        "difference": value,
        "low": low,
        "high": high,
        "excludes_zero": low > 0 or high < 0,
    }


def print_tables(
    index: Index, results: dict[str, dict[str, Any]], comparisons: list[dict[str, Any]]
) -> None:
    """Both tables as Markdown."""
    unit = next(iter(results.values()))["unit"]
    print(f"\n{len(index.images)} images; numbers by {unit}.\n")
    print(
        "| preset | px | epochs | AUC, single model | AUC, ensemble | accuracy | majority | n | "
        "log loss before, after the temperature | a member | ms/image |"
    )
    print("|---|---:|---:|---|---|---|---:|---:|---|---:|---:|")
    for name, r in results.items():
        seeds = "" if r["sd_of_seeds"] is None else f", seeds ± {r['sd_of_seeds']:.4f}"
        print(
            f"| `{name}` | {r['image_size_px']} | {r['epochs']:.0f} | {_say(r['single'])}{seeds} | "
            f"of {r['num_seeds']}: {_say(r['ensemble'])} | {_say(r['accuracy'])} | "
            f"{r['majority']:.3f} | {r['n']} | {r['log_loss']['before']:.3f}, "
            f"{r['log_loss']['after']:.3f} | {r['seconds']:.0f} s | {r['ms_per_image']:.2f} |"
        )
    if comparisons:
        print(f"\n{len(comparisons)} comparisons, each at 95 %:\n")
        print("| difference in AUC | as | value (95 %) | interval excludes 0 |")
        print("|---|---|---|---|")
    for c in comparisons:
        answer = "yes" if c["excludes_zero"] else "no"
        print(
            f"| `{c['first']}` − `{c['second']}` | {c['kind']} | {c['difference']:+.4f} "
            f"({c['low']:+.4f} to {c['high']:+.4f}) | {answer} |"
        )


def _say(metric: dict[str, float]) -> str:
    return f"{metric['value']:.4f} ({metric['low']:.3f}–{metric['high']:.3f})"


if __name__ == "__main__":
    main()
