"""Memory of a worker on few and on many images: `python -m benchmarks.memory`.

Each run is a real worker that trains, converts and evaluates: compact network, 128 px, grey, one
epoch, on synthetic PNG files that are deleted afterwards. What is sampled is RssAnon of /proc: the
memory that is the process' own. The decoded images are mapped from a file and count as the
system's cache, which it takes back when it needs room. Linux only.
"""

import argparse
import hashlib
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil

from polyp_core import jobs
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.presets import get_preset
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.workspace import get_cache_dir

_SIZE_PX = 128
_PHASES = ("decoding", "training", "validating", "afterwards")
Peaks = dict[str, float]


def main() -> None:
    """Print one row a number of images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", nargs="+", type=int, default=[5_000, 50_000])
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    print("| images | " + " | ".join(f"{phase}, MB" for phase in _PHASES), end=" | ")
    print("mapped, MB | decoded file, MB | index.csv, MB | s | state |")
    print("|---:|" + "---:|" * (len(_PHASES) + 4) + "---|", flush=True)
    for num_images in options.images:
        with tempfile.TemporaryDirectory() as text:
            os.environ["POLYP_WORKSPACE"] = text
            index = write_images(Path(text, "images"), num_images)
            config = get_preset("compact").with_settings(
                [
                    f"data.folder={index.folder}",
                    f"training.epochs={options.epochs}",
                    "training.batch_size=32",
                ]
            )
            print_row(config, index, Path(text, "runs"))


def print_row(config: RunConfig, index: Index, runs_dir: Path) -> None:
    """Train, and print the peaks of every phase as a Markdown row."""
    started = time.monotonic()
    run = jobs.start_run(config, index, runs_dir)
    peaks, mapped_mb = watch_memory(run)
    decoded_mb = sum(path.stat().st_size for path in get_cache_dir().rglob("*.npy")) / 1e6
    index_mb = run.path("index.csv").stat().st_size / 1e6
    cells = " | ".join(f"{peaks.get(phase, 0):.0f}" for phase in _PHASES)
    status = run.read_status()
    said = "" if status["state"] == "finished" else f": {status['message']}"
    print(
        f"| {len(index.images)} | {cells} | {mapped_mb:.0f} | {decoded_mb:.0f} | {index_mb:.1f} | "
        f"{time.monotonic() - started:.0f} | {status['state']}{said} |",
        flush=True,
    )


def watch_memory(run: Run) -> tuple[Peaks, float]:
    """Most of the worker's own memory in each phase, and most that was mapped, in MB."""
    worker = next(p for p in psutil.Process().children() if "polyp_core.worker" in p.cmdline())
    peaks: Peaks = {}
    mapped_mb = 0.0
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        status = run.read_status()
        sizes_mb = read_sizes_mb(worker.pid)
        phase = name_phase(str(status.get("message", "")))
        peaks[phase] = max(peaks.get(phase, 0.0), sizes_mb.get("RssAnon", 0.0))
        mapped_mb = max(mapped_mb, sizes_mb.get("RssFile", 0.0))
        if status["state"] in FINAL_STATES:
            break
        time.sleep(0.1)
    return peaks, mapped_mb


def name_phase(message: str) -> str:
    """Which part of the run the worker's message speaks of."""
    if message.startswith("Epoch"):
        return "validating" if message.endswith("validating") else "training"
    return "afterwards" if message.startswith(("Converting", "Testing", "Finished")) else "decoding"


def read_sizes_mb(pid: int) -> dict[str, float]:
    """The sizes in /proc of a process; none once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    sizes = [line.split() for line in lines if line.endswith("kB")]
    return {name.rstrip(":"): int(size) * 1024 / 1e6 for name, size, _ in sizes}


def write_images(folder: Path, num_images: int) -> Index:
    """Grey noise, with a bright spot in every second one; a quarter is for validation."""
    for name in ("no", "yes"):
        (folder / name).mkdir(parents=True)

    def write(number: int) -> str:
        random = np.random.default_rng(number)
        image = random.integers(20, 90, (_SIZE_PX, _SIZE_PX), dtype=np.uint8)
        if number % 2:
            x, y = random.integers(24, _SIZE_PX - 24, 2).tolist()
            cv2.circle(image, (x, y), 10, 200, -1)
        content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        (folder / name_file(number)).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor() as pool:
        sums = list(pool.map(write, range(num_images)))
    numbers = np.arange(num_images)
    images = pd.DataFrame(
        {
            "path": [name_file(number) for number in range(num_images)],
            "frame": 0,
            "label": numbers % 2,
            "group": [f"patient {number // 4}" for number in range(num_images)],
            "split": np.where(numbers // 4 % 4 == 0, "validation", "train"),
            "width_px": _SIZE_PX,
            "height_px": _SIZE_PX,
            "sha256": sums,
        }
    )
    return Index(
        folder=folder,
        class_names=("no", "yes"),
        images=images,
        unreadable=pd.DataFrame(columns=["path", "reason"]),
    )


def name_file(number: int) -> str:
    """Where an image lies in its folder."""
    return f"{('no', 'yes')[number % 2]}/{number:06}.png"


if __name__ == "__main__":
    main()
