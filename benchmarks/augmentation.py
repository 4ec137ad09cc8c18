"""Images a second of augmentation on one core, beside the alternatives.

Run it as `python -m benchmarks.augmentation --albumentations PYTHON`, where PYTHON is an
interpreter of its own with albumentations installed; without it that column is "not measured".
All variants take turns on one core, with one thread each, and processor time is what counts, so
that a busy machine hurts them alike. Quote the ratios.

- ours: `augment_image`, numbers drawn anew for every image
- ImageDataGenerator: the thesis' own, `random_transform` of one image after another
- Keras layers: RandomFlip, -Rotation, -Translation, -Shear and -Zoom, compiled, batches of 32
- albumentations: HorizontalFlip and one Affine; for the ultrasound preset its nearest kin besides:
  brightness and contrast, linear illumination, multiplicative noise and blur. None of them knows
  decibels, grains of speckle or a focal depth; its fog is left out, as it takes no grey
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:  # the other environment has none of these
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from polyp_core.config import AugmentConfig

BATCH_SIZE = 32
PICTURES = {  # size in pixels, channels, whether a mark in colour stands on it
    "300×300 RGB, all grey": (300, 3, False),
    "300×300 RGB, a mark in colour": (300, 3, True),
    "224×224 grey": (224, 1, False),
}
PRESETS = ("thesis", "ultrasound")
Variants = dict[str, Callable[[], object]]


def main() -> None:
    """Print one table for each preset and kind of picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--albumentations", metavar="PYTHON", help="interpreter that has it")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_one_core()
    if options.answer:
        answer_for_albumentations()
        return
    rival = start_albumentations(options.albumentations) if options.albumentations else None
    for preset in PRESETS:
        for picture in PICTURES:
            variants = make_variants(preset, picture)
            if rival is not None:
                print_rates(preset, picture, variants, options.turns, rival)
            else:
                print_rates(preset, picture, variants, options.turns)
                print(f"{'albumentations':<20} {'not measured':>15}")
    if rival is not None and rival.stdin is not None:
        rival.stdin.close()
        rival.wait()


def use_one_core() -> None:
    """Keep this process, and those it starts, to one core and one thread."""
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = "1"


def print_rates(
    preset: str,
    picture: str,
    variants: Variants,
    turns: int,
    rival: subprocess.Popen[str] | None = None,
) -> None:
    """Let the variants take turns and print their medians."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    if rival is not None:
        rates["albumentations"] = []
    for turn in range(turns + 1):
        for name in rates:
            rate = measure_rate(variants[name]) if name in variants else ask(rival, preset, picture)
            if turn > 0:  # the first turn builds and warms up
                rates[name].append(rate)
    ours = statistics.median(rates["ours"])
    print(f"\n{preset}, {picture}, {turns} turns")
    print(f"{'':<20} {'images/s':>9} {'min':>7} {'max':>7} {'ms/image':>9} {'ours is':>8}")
    for name, values in rates.items():
        median = statistics.median(values)
        print(
            f"{name:<20} {median:>9.0f} {min(values):>7.0f} {max(values):>7.0f} "
            f"{1000 / median:>9.2f} {ours / median:>7.1f}×",
            flush=True,
        )


def measure_rate(change_batch: Callable[[], object]) -> float:
    """Images a second of a function that changes a batch, over at least half a second."""
    started, num_batches = time.process_time(), 0
    while time.process_time() - started < 0.5:
        change_batch()
        num_batches += 1
    return num_batches * BATCH_SIZE / (time.process_time() - started)


def make_images(picture: str) -> np.ndarray:
    """A batch of smooth noise, the same in every process."""
    size_px, channels, has_mark = PICTURES[picture]
    noise = np.random.default_rng(0).uniform(0, 255, (BATCH_SIZE, size_px, size_px))
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in noise.astype(np.float32)])
    images = np.repeat(smooth.astype(np.uint8)[..., np.newaxis], channels, axis=3)
    if has_mark:
        images[:, 10:20, 10:20, 0] = 255
    return images


def make_variants(preset: str, picture: str) -> Variants:
    """Name to a function that changes one batch."""
    from polyp_core.augmentation import augment_image
    from polyp_core.presets import AUGMENTATION_PRESETS

    config, images, drawn = AUGMENTATION_PRESETS[preset], make_images(picture), iter(range(10**9))

    def change_batch() -> None:
        epoch = next(drawn)
        for number, image in enumerate(images):
            augment_image(image, config, seed=0, epoch=epoch, image_number=number)

    if preset != "thesis":
        return {"ours": change_batch}
    floats = images.astype(np.float32)
    generator, layers = make_generator(config), make_layers(config)
    return {
        "ours": change_batch,
        "ImageDataGenerator": lambda: [generator.random_transform(image) for image in floats],
        "Keras layers": lambda: layers(floats),
    }


def make_generator(config: AugmentConfig) -> ImageDataGenerator:
    """The thesis' ImageDataGenerator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
    return ImageDataGenerator(
        rotation_range=config.rotation_deg,
        width_shift_range=config.width_shift,
        height_shift_range=config.height_shift,
        shear_range=config.shear_deg,
        zoom_range=config.zoom,
        horizontal_flip=config.horizontal_flip,
        fill_mode=config.fill_mode,
    )


def make_layers(config: AugmentConfig) -> Callable[[np.ndarray], object]:
    """The same changes as Keras' own layers, each with a pass of its own."""
    import keras
    import tensorflow as tf

    fill, shear = {"fill_mode": config.fill_mode}, config.shear_deg / 180
    chain = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(config.rotation_deg / 360, **fill),
            keras.layers.RandomTranslation(config.height_shift, config.width_shift, **fill),
            keras.layers.RandomShear(x_factor=shear, y_factor=shear, **fill),
            keras.layers.RandomZoom(config.zoom, config.zoom, **fill),
        ]
    )
    compiled: Callable[[np.ndarray], object] = tf.function(lambda x: chain(x, training=True))
    return compiled


def start_albumentations(python: str) -> subprocess.Popen[str]:
    """Run this very file in the other environment, where it answers a line with a rate."""
    return subprocess.Popen(
        [python, str(Path(__file__)), "--answer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONUTF8": "1"},
    )


def ask(rival: subprocess.Popen[str] | None, preset: str, picture: str) -> float:
    """Images a second of albumentations, measured while this process waits."""
    if rival is None or rival.stdin is None or rival.stdout is None:
        raise RuntimeError("albumentations was not started with pipes")
    rival.stdin.write(f"{preset}\t{picture}\n")
    rival.stdin.flush()
    return float(rival.stdout.readline())


def answer_for_albumentations() -> None:
    """Answer each line of preset and picture with images a second."""
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        if line not in known:
            preset, picture = line.rstrip("\n").split("\t")
            known[line] = make_albumentations(preset, make_images(picture))
        print(measure_rate(known[line]), flush=True)


def make_albumentations(preset: str, images: np.ndarray) -> Callable[[], object]:
    """Its own transforms, as near to the preset as it has them."""
    a = importlib.import_module("albumentations")
    is_thesis = preset == "thesis"
    turn, shift, slant, scale = (40, 0.2, 0.2, 0.2) if is_thesis else (15, 0.1, 5, 0.15)
    geometry = [
        a.HorizontalFlip(p=0.5),
        a.Affine(
            rotate=(-turn, turn),
            translate_percent={"x": (-shift, shift), "y": (-shift, shift)},
            shear={"x": (-slant, slant), "y": (0, 0)},
            scale={"x": (1 - scale, 1 + scale), "y": (1 - scale, 1 + scale)},
            border_mode=cv2.BORDER_REPLICATE if is_thesis else cv2.BORDER_CONSTANT,
            p=1.0,
        ),
    ]
    imaging = [
        a.RandomBrightnessContrast(0.07, 0.15, p=1.0),
        a.Illumination(mode="linear", intensity_range=(0.01, 0.1), p=1.0),
        a.MultiplicativeNoise((0.9, 1.1), per_channel=False, elementwise=True, p=0.5),
        a.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 1.2), p=0.3),
    ]
    chain = a.Compose(geometry if is_thesis else geometry + imaging)
    return lambda: [chain(image=image)["image"] for image in images]


if __name__ == "__main__":
    main()
