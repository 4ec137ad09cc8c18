"""Images a second of training, beside its bound and the alternatives.

Run it as `python -m benchmarks.throughput --torch PYTHON`, where PYTHON is the interpreter of an
environment with torch 2.13 and numpy, opencv-python-headless, pandas, pillow, pydicom and filelock;
without it PyTorch is left out. All train the same network on the same images with the same kind of
optimizer and deterministic operations, taking turns. What other programs took of the machine in the
meantime is measured: an epoch they disturb is repeated, and their share is printed. Quote the
ratios: each is the median of what stands beside each other in one turn.

- bound: ready batches from memory, no augmentation, nothing but Keras' `train_on_batch`
- step alone: the same with the worker's own step, which sets the rate and serves any batch size
- ours: the worker's own epoch, with augmentation, schedule, status and stop check
- model.fit: the thesis' loop, ImageDataGenerator from files
- Keras layers: RandomFlip, -Rotation, -Translation, -Shear and -Zoom behind `tf.data`
- torch bound, torch: the same as the first two, in PyTorch's own process
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as for a worker; read at the import
import keras
import numpy as np
import psutil
import tensorflow as tf

from polyp_core.checkpoints import Checkpoint
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.image_store import open_images
from polyp_core.jobs import prepare_run
from polyp_core.models import build_model, make_model
from polyp_core.phantom import write_demo_data
from polyp_core.pipeline import TrainingBatches
from polyp_core.presets import PRESETS
from polyp_core.reporting import Reporter
from polyp_core.training import Trainer

Epoch = Callable[[int], object]
_PLAIN = [name for name, p in PRESETS.items() if p.config.model.network == "plain"]
_PROJECT_DIR = Path(__file__).parents[1]
_REST_S = 0.1  # so that one's idle threads are asleep when the next one begins
_QUIET = 0.05  # part of the machine that others may take


class Measured(NamedTuple):
    """An epoch, and the part of the machine that other programs took meanwhile."""

    seconds: float
    disturbed: float


def main() -> None:
    """Print one table a preset and batch size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=_PLAIN, choices=list(PRESETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 16, 32])
    parser.add_argument("--images", type=int, default=160, help="an epoch")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--tries", type=int, default=4, help="of an epoch that is disturbed")
    parser.add_argument(
        "--patience", type=float, default=0.0, help="s to wait for a quiet machine before a try"
    )
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument(
        "--loops-for", nargs="*", default=["thesis"], metavar="PRESET",
        help="whose model.fit and Keras layers are measured too",
    )  # fmt: skip
    options = parser.parse_args()
    if options.torch and set(options.presets) - set(_PLAIN):
        parser.error(f"PyTorch's side knows {', '.join(_PLAIN)} alone. Leave --torch out.")
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as text:
        index = make_index(Path(text, "demo"), options.images)
        for name in options.presets:
            for batch_size in options.batches:
                config = PRESETS[name].config.with_settings(
                    [f"training.batch_size={batch_size}", "training.epochs=1000"]
                )
                with (
                    tempfile.TemporaryDirectory(dir=text) as place,
                    make_variants(config, index, Path(place), options) as variants,
                ):
                    epochs = take_turns(variants, options)
                print_table(f"{name}, batch {batch_size}", epochs, len(index.images))
                keras.utils.clear_session()


def make_index(folder: Path, num_images: int) -> Index:
    """Demo images, all of them to train on."""
    write_demo_data(folder, num_patients=num_images // 3)  # with three to five images each
    index = read_index(DataConfig(folder=str(folder)))
    positive = index.images[index.images["label"] == 1][: num_images // 2]
    negative = index.images[index.images["label"] == 0][: num_images - len(positive)]
    kept = set(positive.index) | set(negative.index)
    for number, path in index.images["path"].items():
        if number not in kept:  # the thesis' loop takes what lies there
            (index.folder / path).unlink()
    index = read_index(DataConfig(folder=str(folder)))
    return replace(index, images=index.images.assign(split="train"))


def take_turns(
    variants: dict[str, Epoch], options: argparse.Namespace
) -> dict[str, list[Measured]]:
    """Every variant's epochs, turn by turn; who begins changes."""
    names = list(variants)
    epochs: dict[str, list[Measured]] = {name: [] for name in names}
    for turn in range(options.turns + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if turn == 0:  # builds and warms up
                variants[name](1)
                continue
            tries = []
            for _ in range(options.tries):
                wait_until_quiet(options.patience)
                tries.append(measure(variants[name], turn + 1))
                if tries[-1].disturbed < _QUIET:
                    break
            epochs[name].append(min(tries, key=lambda measured: measured.disturbed))
    return epochs


def wait_until_quiet(patience_s: float) -> None:
    """Wait until the machine has been idle for a moment, or for so long."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if psutil.cpu_percent(0.5) < 100 * _QUIET:
            break


def measure(train: Epoch, epoch: int) -> Measured:
    """How long an epoch takes, and the part of the machine that others took meanwhile."""
    time.sleep(_REST_S)
    started, others = time.perf_counter(), measure_others_s()
    train(epoch)
    seconds = time.perf_counter() - started
    return Measured(seconds, (measure_others_s() - others) / seconds / (os.cpu_count() or 1))


def measure_others_s() -> float:
    """Processor time so far of all programs but this one and what it has started."""
    times = psutil.cpu_times()
    own = psutil.Process()
    processes = [own.cpu_times(), *(child.cpu_times() for child in own.children())]
    busy_s: float = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
    own_s: float = sum(process.user + process.system for process in processes)
    return busy_s - own_s


def print_table(title: str, epochs: dict[str, list[Measured]], num_images: int) -> None:
    """Medians, least and most, and the ratio to the bound, as Markdown."""
    shares = [measured.disturbed for values in epochs.values() for measured in values]
    print(
        f"\n**{title}**: {len(epochs['bound'])} turns; others took "
        f"{100 * statistics.median(shares):.0f} % of the machine, {100 * max(shares):.0f} % at "
        "most\n"
    )
    print("| | images/s | min | max | ms/image | of bound | ours is faster by |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rates = {
        name: [num_images / measured.seconds for measured in values]
        for name, values in epochs.items()
    }
    for name, values in rates.items():
        median = statistics.median(values)
        of_bound = compare(values, rates["bound"])
        print(
            f"| {name} | {median:.1f} | {min(values):.1f} | {max(values):.1f} | "
            f"{1000 / median:.2f} | {of_bound:.3f} | {compare(rates['ours'], values):.2f}× |",
            flush=True,
        )


def compare(values: list[float], others: list[float]) -> float:
    """The median ratio of what was measured in the same turn."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


@contextlib.contextmanager
def make_variants(
    config: RunConfig, index: Index, place: Path, options: argparse.Namespace
) -> Iterator[dict[str, Epoch]]:
    """Name to a function that trains one epoch, given its number."""
    both = index.images.assign(split=["train", "validation"] * (len(index.images) // 2))
    run = prepare_run(config, replace(index, images=both), place / "runs")
    images = open_images(index, config, place / "cache")
    reporter = Reporter(run)
    reporter.begin("Measuring")
    trainer = Trainer(run, config, index, images, reporter.report)
    model = trainer._model = make_model(config)
    plain = TrainingBatches(
        images=np.asarray(images), labels=index.images["label"].to_numpy(),
        image_numbers=index.images.index.to_numpy(), augmentation=None,
        batch_size=config.training.batch_size, seed=config.training.seed,
    )  # fmt: skip
    ready = list(plain.iterate_epoch(1))

    def train_bound(epoch: int) -> None:
        for batch in ready:
            model.train_on_batch(*batch)

    def train_ours(epoch: int) -> None:
        trainer._train_epoch(Checkpoint(epoch=epoch, step=0, variables=[], sums=np.zeros(3)))

    def train_steps(epoch: int) -> None:
        for step, batch in enumerate(ready):
            trainer.train_step(epoch, step, *batch)

    variants: dict[str, Epoch] = {
        "bound": train_bound,
        "step alone": train_steps,
        "ours": train_ours,
    }
    if config.preset in options.loops_for:
        variants["model.fit"] = make_thesis_loop(config, index)
        variants["Keras layers"] = make_layers_loop(config, plain)
    if not options.torch:
        yield variants
        return
    run.write_table("index.csv", index.images)
    with start_torch(options.torch, run.directory, place / "cache") as ask:
        variants["torch bound"] = lambda epoch: ask("bound", epoch)
        variants["torch"] = lambda epoch: ask("ours", epoch)
        yield variants


def make_thesis_loop(config: RunConfig, index: Index) -> Epoch:
    """The thesis' own way: files read, decoded, resized and augmented anew in every epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
    settings = config.augmentation
    generator = ImageDataGenerator(
        rotation_range=settings.rotation_deg,
        width_shift_range=settings.width_shift,
        height_shift_range=settings.height_shift,
        shear_range=settings.shear_deg,
        zoom_range=settings.zoom,
        horizontal_flip=settings.horizontal_flip,
        fill_mode=settings.fill_mode,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        flow = generator.flow_from_directory(
            index.folder,
            target_size=(config.model.image_size_px,) * 2,
            color_mode="rgb" if config.model.channels == 3 else "grayscale",
            batch_size=config.training.batch_size,
            class_mode="binary",
        )
    if flow.n != len(index.images):
        raise SystemExit(f"The thesis' loop sees {flow.n} images, not {len(index.images)}.")
    model = make_plain_model(config)
    return lambda epoch: model.fit(flow, verbose=0)


def make_layers_loop(config: RunConfig, plain: TrainingBatches) -> Epoch:
    """The same changes as Keras' own layers, each with a pass of its own, ahead of training."""
    settings, layers = config.augmentation, keras.layers
    fill = {"fill_mode": settings.fill_mode}
    shear = settings.shear_deg / 180
    chain = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(settings.rotation_deg / 360, **fill),
            layers.RandomTranslation(settings.height_shift, settings.width_shift, **fill),
            layers.RandomShear(x_factor=shear, y_factor=shear, **fill),
            layers.RandomZoom(settings.zoom, settings.zoom, **fill),
        ]
    )
    numbers = plain.image_numbers
    data = tf.data.Dataset.from_tensor_slices(
        (plain.images[numbers], plain.labels.astype(np.float32)[:, np.newaxis])
    )
    data = data.shuffle(len(numbers), seed=0).batch(plain.batch_size)
    data = data.map(
        lambda x, y: (chain(tf.cast(x, tf.float32), training=True), y),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)
    model = make_plain_model(config)
    return lambda epoch: model.fit(data, shuffle=False, verbose=0)


def make_plain_model(config: RunConfig) -> keras.Model:
    """The network as the thesis' program compiled it, with the preset's optimizer."""
    model = build_model(config.model)
    model.compile(
        optimizer=config.training.optimizer,
        loss=keras.losses.BinaryCrossentropy(label_smoothing=config.training.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


@contextlib.contextmanager
def start_torch(
    python: str, run_dir: Path, cache_dir: Path
) -> Iterator[Callable[[str, int], None]]:
    """A function that lets the other process train one epoch and waits until it has."""
    process = subprocess.Popen(
        [python, "-m", "benchmarks.throughput_torch", str(run_dir), str(cache_dir)],
        cwd=_PROJECT_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ | {"PYTHONPATH": str(_PROJECT_DIR)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def ask(what: str, epoch: int) -> None:
        print(json.dumps({"what": what, "epoch": epoch}), file=requests, flush=True)
        if json.loads(answers.readline() or "{}").get("done") != epoch:
            raise SystemExit("PyTorch's process has ended, see above.")

    try:
        yield ask
    finally:
        requests.close()  # which ends it
        process.wait()


if __name__ == "__main__":
    main()
