"""Images a second of training, beside its bound and the alternatives.

Run it as `python -m benchmarks.throughput`. All variants train the same network on the same images
in one process with deterministic operations, taking turns, so that a busy machine hurts all of them
alike. Quote the ratios.

- bound: ready batches from memory, no augmentation, nothing but training steps
- ours: the worker's own epoch, with augmentation, status, schedule and stop check
- ImageDataGenerator: the thesis' loop, `model.fit` from files
- Keras layers: RandomFlip, -Rotation, -Translation, -Shear and -Zoom, one after another
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.models import build_model, compile_model
from polyp_core.phantom import write_demo_data
from polyp_core.pipeline import Batch, TrainingBatches, load_images
from polyp_core.presets import PRESETS
from polyp_core.runs import Run
from polyp_core.training import train_epoch
from polyp_core.worker import StatusWriter


def main() -> None:
    """Print one table a preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["thesis"], choices=list(PRESETS))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--patients", type=int, default=16)
    options = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "demo"
        write_demo_data(folder, num_patients=options.patients)
        index = read_index(DataConfig(folder=str(folder)))
        for name in options.presets:
            print_table(PRESETS[name].config, index, options.turns)


def print_table(config: RunConfig, index: Index, turns: int) -> None:
    """Let the variants take turns and print their medians."""
    model = build_model(config.model)
    compile_model(model, config.training)
    variants = make_variants(config, index, model)
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(turns + 1):
        for name, train in variants.items():
            started = time.perf_counter()
            train(turn + 1)
            if turn > 0:  # the first turn builds and warms up
                rates[name].append(len(index.images) / (time.perf_counter() - started))
    bound = statistics.median(rates["bound"])
    print(f"\n{config.preset}: batch {config.training.batch_size}, {turns} turns")
    print(f"{'':<20} {'images/s':>9} {'min':>7} {'max':>7} {'of bound':>9} {'ms/image':>9}")
    for name, values in rates.items():
        median = statistics.median(values)
        print(
            f"{name:<20} {median:>9.1f} {min(values):>7.1f} {max(values):>7.1f} "
            f"{median / bound:>9.2f} {1000 / median:>9.2f}",
            flush=True,
        )


def make_variants(
    config: RunConfig, index: Index, model: keras.Model
) -> dict[str, Callable[[int], object]]:
    """Name to a function that trains one epoch, given its number."""
    rows = index.images
    ours = TrainingBatches(
        images=load_images(index, rows, config), labels=rows["label"].to_numpy(),
        image_numbers=rows.index.to_numpy(), augmentation=config.augmentation,
        batch_size=config.training.batch_size, seed=config.training.seed,
    )  # fmt: skip
    plain = replace(ours, augmentation=None)
    ready, layers = list(plain.iterate_epoch(1)), make_layers(config)
    run, flow = Run(Path(tempfile.mkdtemp())), make_flow(config, index)
    report = StatusWriter(run).report
    thesis_model = build_model(config.model)
    thesis_model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])

    def train_on(batches: Iterable[Batch]) -> None:
        for images, labels in batches:
            model.train_on_batch(images, labels)

    def train_chain(epoch: int) -> None:
        batches = plain.iterate_epoch(epoch)
        train_on((layers(x.astype(np.float32), training=True), y) for x, y in batches)

    return {
        "bound": lambda epoch: train_on(ready),
        "ours": lambda epoch: train_epoch(run, model, ours, epoch, config.training, report),
        "ImageDataGenerator": lambda epoch: thesis_model.fit(flow, verbose=0),
        "Keras layers": train_chain,
    }


def make_flow(config: RunConfig, index: Index) -> keras.utils.PyDataset:
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
    return generator.flow_from_directory(
        index.folder,
        target_size=(config.model.image_size_px,) * 2,
        color_mode="rgb" if config.model.channels == 3 else "grayscale",
        batch_size=config.training.batch_size,
        class_mode="binary",
    )


def make_layers(config: RunConfig) -> keras.Sequential:
    """The same changes as Keras' own layers, each with a pass of its own."""
    settings, layers = config.augmentation, keras.layers
    fill = {"fill_mode": settings.fill_mode}
    shear = settings.shear_deg / 180
    return keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(settings.rotation_deg / 360, **fill),
            layers.RandomTranslation(settings.height_shift, settings.width_shift, **fill),
            layers.RandomShear(x_factor=shear, y_factor=shear, **fill),
            layers.RandomZoom(settings.zoom, settings.zoom, **fill),
        ]
    )


if __name__ == "__main__":
    main()
