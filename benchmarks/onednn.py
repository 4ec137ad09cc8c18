"""How much faster oneDNN trains: `python -m benchmarks.onednn`.

Two processes train the same network on the same images by the worker's own epochs, one with
TensorFlow's switch for oneDNN on, one with it off; they take turns, so that one computes at a time,
and who begins changes. Quote the ratio: the median of what stands beside each other in one turn. On
a processor with AVX-512 VNNI or AMX TensorFlow switches it on by itself, elsewhere the worker does.
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

from polyp_core.environment import ONEDNN, describe_environment
from polyp_core.prediction.predictor import count_cores
from polyp_core.presets import PRESETS

_CASES = (  # preset, batch, px, images an epoch, of which the last batch is short
    ("compact", 16, 64, 150),
    ("compact", 16, 128, 90),
    ("residual", 32, 64, 150),
    ("thesis", 4, 300, 30),
    ("thesis-plus", 4, 300, 30),
)
_REST_S = 0.1  # so that the other's idle threads are asleep
_PROJECT_DIR = Path(__file__).parents[1]


def main() -> None:
    """Print one row a network and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--threads", type=int, default=count_cores())
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        preset, *numbers = options.child
        train_when_asked(preset, *map(int, numbers))
        return
    processor = describe_environment()["processor"]
    print(f"{processor}, {options.threads} threads, {options.turns} turns\n")
    print("| preset | px | batch | images/s without | with | times as fast (least to most) |")
    print("|---|---:|---:|---:|---:|---:|")
    for preset, batch_size, size_px, num_images in _CASES:
        off, on = take_turns((preset, batch_size, size_px, num_images), options)
        ratios = [slow / fast for slow, fast in zip(off, on, strict=True)]
        print(
            f"| `{preset}` | {size_px} | {batch_size} | {num_images / statistics.median(off):.1f} "
            f"| {num_images / statistics.median(on):.1f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}–{max(ratios):.2f}) |",
            flush=True,
        )


def take_turns(
    case: tuple[str, int, int, int], options: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Seconds an epoch, without and with oneDNN."""
    command = [sys.executable, "-m", "benchmarks.onednn", "--child", *map(str, case)]
    processes = [
        subprocess.Popen(
            command, cwd=_PROJECT_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {ONEDNN: switch, "TF_NUM_INTRAOP_THREADS": str(options.threads)},
        )
        for switch in "01"
    ]  # fmt: skip
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(options.turns + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            taken = ask(processes[which], turn + 1)
            if turn:  # the first builds and warms up
                seconds[which].append(taken)
    for process in processes:
        process.communicate()
    return seconds


def ask(process: "subprocess.Popen[str]", epoch: int) -> float:
    """Let a process train an epoch; how many seconds it took."""
    assert process.stdin is not None
    assert process.stdout is not None
    time.sleep(_REST_S)
    print(epoch, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit(f"A process ended with code {process.wait()}. Run it with --child.")
    return float(json.loads(answer))


def train_when_asked(preset: str, batch_size: int, size_px: int, num_images: int) -> None:
    """For every line read, the number of an epoch, train it and print the seconds."""
    import keras
    import tensorflow as tf

    from benchmarks.throughput import make_index, make_variants

    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    settings = (
        f"training.batch_size={batch_size}", "training.epochs=1000",
        f"model.image_size_px={size_px}",
    )  # fmt: skip
    config = PRESETS[preset].config.with_settings(list(settings))
    no_others = argparse.Namespace(loops_for=[], torch=None)
    with tempfile.TemporaryDirectory() as text:
        index = make_index(Path(text, "demo"), num_images)
        with make_variants(config, index, Path(text), no_others) as variants:
            for line in sys.stdin:
                started = time.perf_counter()
                variants["ours"](int(line))
                print(json.dumps(time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
