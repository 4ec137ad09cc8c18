"""Seconds to audit a folder of images, beside CleanVision on the same files.

Run it as `python -m benchmarks.audit --cleanvision PYTHON`, where PYTHON is the interpreter of an
environment with the package cleanvision; without it only ours is measured. Each turn is a fresh
process that reads every file anew; the two take turns, so that a busy machine hurts both alike.
CleanVision is asked for what both look for: exact and near duplicates, odd sizes and aspects, dark,
light, blank and grey pictures, on all cores. Ours also looks for splits, patients, text, calipers
and shortcuts. Quote the ratio.

The last line is the second opening of the same folder, from the cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

_OURS = """
import json, resource, sys, time
from pathlib import Path
started = time.monotonic()
from polyp_core.audit import audit_index
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
cache = Path(sys.argv[2])
index = read_index(DataConfig(folder=sys.argv[1]), cache_dir=cache)
read_s = time.monotonic() - started
audit = audit_index(index, cache)
found = {f.kind: f.count for f in audit.findings}
print(json.dumps({"seconds": time.monotonic() - started, "read_s": read_s, "found": found,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
_CLEANVISION = """
import json, resource, sys, time
started = time.monotonic()
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1])
names = ("exact_duplicates", "near_duplicates", "odd_size", "odd_aspect_ratio", "dark", "light",
         "low_information", "grayscale")
lab.find_issues({name: {} for name in names}, verbose=False)
found = {row.issue_type: int(row.num_images) for row in lab.issue_summary.itertuples()}
sizes = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF,
         resource.RUSAGE_CHILDREN)]
print("\\n" + json.dumps({"seconds": time.monotonic() - started, "found": found,
    "peak_mb": max(sizes) / 1024}))
"""


def main() -> None:
    """Write the images, let both take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--cleanvision", metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text, "images")
        write_images(folder, options.images)
        results: dict[str, list[dict[str, float]]] = {"ours": [], "CleanVision": []}
        for turn in range(options.turns):
            results["ours"].append(measure(sys.executable, _OURS, folder, Path(text, f"{turn}")))
            if options.cleanvision:
                results["CleanVision"].append(measure(options.cleanvision, _CLEANVISION, folder))
        again = measure(sys.executable, _OURS, folder, Path(text, "0"))
        print_table({name: turns for name, turns in results.items() if turns}, options.images)
        print(
            f"\nsecond opening, from the cache: index {again['read_s']:.2f} s, with audit "
            f"{again['seconds']:.2f} s, imports included"
        )


def measure(python: str, script: str, *arguments: Path) -> dict[str, float]:
    """Run a script in a fresh process; its last line is the result."""
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def print_table(results: dict[str, list[dict[str, float]]], num_images: int) -> None:
    """Median seconds of each, the ratio to ours, images a second, memory and what was found."""
    print(f"{num_images} images of 512 × 512; median of {len(results['ours'])} turns")
    print(f"{'':<12} {'seconds':>8} {'ratio':>6} {'images/s':>9} {'peak MB':>8}  found")
    ours = statistics.median(turn["seconds"] for turn in results["ours"])
    for name, turns in results.items():
        seconds = statistics.median(turn["seconds"] for turn in turns)
        peak_mb = max(turn["peak_mb"] for turn in turns)
        print(
            f"{name:<12} {seconds:>8.1f} {seconds / ours:>6.2f} {num_images / seconds:>9.0f} "
            f"{peak_mb:>8.0f}  {turns[-1]['found']}"
        )


def write_images(folder: Path, num_images: int) -> None:
    """Grey PNG files with speckle; one in fifty is the one before it, rescaled and re-encoded."""

    def write(number: int) -> None:
        path = folder / ("no", "yes")[number % 2] / f"{number:05}.png"
        source = number - 1 if number % 50 == 49 else number
        image = draw_image(source)
        if source != number:
            small = cv2.resize(image, (460, 460), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (512, 512))
        cv2.imwrite(str(path), image)

    for name in ("no", "yes"):
        (folder / name).mkdir(parents=True)
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(num_images)))
    print(f"written in {time.monotonic() - started:.0f} s", flush=True)


def draw_image(seed: int) -> np.ndarray:
    """A picture with large structures and fine speckle, `(512, 512)` uint8."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(9, 9)).astype(np.float32)
    grain = random.rayleigh(size=(171, 256)).astype(np.float32)
    tissue: np.ndarray = 90 + 45 * cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC)
    speckle: np.ndarray = cv2.resize(grain, (512, 512)) / 1.25
    return np.asarray(np.clip(tissue * speckle, 0, 255), dtype=np.uint8)


if __name__ == "__main__":
    main()
