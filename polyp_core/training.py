"""A run directory becomes a trained model: checkpoints, history.csv, model.keras.

Read `train` from top to bottom: it is the whole of training.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from polyp_core.config import RunConfig, TrainingConfig
from polyp_core.dataset import Index
from polyp_core.errors import RunError
from polyp_core.metrics import binary_crossentropy, estimate_auc
from polyp_core.models import build_model, compile_model
from polyp_core.pipeline import TrainingBatches, load_images
from polyp_core.runs import HISTORY_COLUMNS, Run, write_atomically

Report = Callable[..., None]
_NUM_CHECKPOINTS = 2  # the newest, and the one before should the newest be damaged


class TrainingStopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Somebody asked the run to stop."""


def train(run: Run, config: RunConfig, index: Index, report: Report) -> None:
    """Train a run, or go on with it after its last finished epoch.

    Writes history.csv, checkpoints/, model.keras and model.weights.h5 (the kept state).

    Args:
        run: Where to write.
        config: All settings.
        index: The images with their split.
        report: Called with what goes into status.json.

    Raises:
        TrainingStopped: When the run's stop file appears; finished epochs are kept.
        DatasetError: If an image is gone or has changed.
        RunError: If the loss is not a number any more.
    """
    settings = config.training
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()

    batches, validation_images, validation_labels = _load(config, index, report)
    model, finished_epochs = _restore(run, config, _count_unbroken(run.read_history()))
    history = _cut_history(run, finished_epochs)

    for epoch in range(finished_epochs + 1, settings.epochs + 1):
        if _has_lost_patience(history, settings):
            break
        started = time.monotonic()
        row = {"epoch": epoch} | train_epoch(run, model, batches, epoch, settings, report)
        report(message=f"Epoch {epoch}: validating")
        row |= _validate(model, validation_images, validation_labels)
        _check_finite(row, settings)
        row["seconds"] = round(time.monotonic() - started, 3)
        history = _append_history(run, history, row)
        if settings.keep == "last" or row["val_loss"] <= history["val_loss"].min():
            _save(model, run.path("model.keras"))
        _save_checkpoint(run, model, epoch)

    best_model = keras.saving.load_model(run.path("model.keras"), compile=False)
    write_atomically(_weights_path(run), lambda path: best_model.save_weights(path))


def compute_learning_rate(settings: TrainingConfig, progress: float) -> float:
    """The learning rate at a point of training.

    Args:
        settings: Peak rate and schedule.
        progress: Steps done of all steps, in [0, 1].
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    warm_up = min(1.0, progress / 0.1)
    return settings.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * progress))


def _load(
    config: RunConfig, index: Index, report: Report
) -> tuple[TrainingBatches, np.ndarray, np.ndarray]:
    def load(split: str) -> tuple[pd.DataFrame, np.ndarray]:
        rows = index.select(split)

        def show(done: int, total: int) -> None:
            report(message=f"Reading {split} images: {done} of {total}")

        return rows, load_images(index, rows, config, show)

    rows, images = load("train")
    batches = TrainingBatches(
        images=images,
        labels=rows["label"].to_numpy(),
        image_numbers=rows.index.to_numpy(),
        augmentation=config.augmentation,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
    )
    validation_rows, validation_images = load("validation")
    return batches, validation_images, validation_rows["label"].to_numpy()


def train_epoch(
    run: Run,
    model: keras.Model,
    batches: TrainingBatches,
    epoch: int,
    settings: TrainingConfig,
    report: Report,
) -> dict[str, float]:
    """One pass over the training images; what the history needs of it.

    Raises:
        TrainingStopped: When the run's stop file appears.
    """
    num_steps, stop_path = batches.num_steps, run.path("stop")
    _seed_dropout(model, settings.seed, epoch)
    sums, images_done = np.zeros(2), 0
    for step, (images, labels) in enumerate(batches.iterate_epoch(epoch), start=1):
        if stop_path.exists():
            raise TrainingStopped
        steps_done = (epoch - 1) * num_steps + step
        progress = steps_done / (settings.epochs * num_steps)
        model.optimizer.learning_rate = compute_learning_rate(settings, progress)
        logs = model.train_on_batch(images, labels, return_dict=True)
        sums += len(images) * np.array([float(logs["cross_entropy"]), float(logs["accuracy"])])
        images_done += len(images)
        report(
            message=f"Epoch {epoch} of {settings.epochs}",
            epoch=epoch,
            epochs=settings.epochs,
            step=step,
            steps=num_steps,
            images_trained=(epoch - 1) * len(batches.images) + images_done,
            images_in_all=settings.epochs * len(batches.images),
        )
    return {
        "loss": float(sums[0] / images_done),
        "accuracy": float(sums[1] / images_done),
        "learning_rate": float(model.optimizer.learning_rate),
    }


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Let dropout depend on (seed, epoch) alone; Keras does not save its generators' state."""
    for variable in model.non_trainable_variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(np.array([seed, epoch], dtype=np.uint32))


def _validate(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    parts = [model.predict_on_batch(images[i : i + 32]) for i in range(0, len(images), 32)]
    probabilities = np.concatenate(parts)[:, 0]
    return {
        "val_loss": binary_crossentropy(labels, probabilities),
        "val_accuracy": float(((probabilities >= 0.5) == labels).mean()),
        "val_auc": estimate_auc(labels, probabilities).value or 0.0,
    }


def _check_finite(row: dict[str, float], settings: TrainingConfig) -> None:
    if not math.isfinite(row["loss"] + row["val_loss"]):
        raise RunError(
            f"The loss is not a number any more in epoch {row['epoch']}: the steps were too large. "
            "Expected a finite loss; the epochs before are kept. Start a new run with a lower "
            f"training.learning_rate. Received: learning_rate={settings.learning_rate:g}"
        )


def _has_lost_patience(history: pd.DataFrame, settings: TrainingConfig) -> bool:
    if settings.early_stopping_patience == 0 or history.empty:
        return False
    best_epoch = int(history["epoch"][history["val_loss"].idxmin()])
    return int(history["epoch"].max()) - best_epoch >= settings.early_stopping_patience


def _count_unbroken(history: pd.DataFrame) -> int:
    """How many epochs the history holds without a gap."""
    is_next = history["epoch"].to_numpy() == np.arange(1, len(history) + 1)
    return int(is_next.argmin()) if not is_next.all() else len(history)


def _restore(run: Run, config: RunConfig, num_known_epochs: int) -> tuple[keras.Model, int]:
    """The model after its last finished epoch that the history knows, and how many those are."""
    for path in sorted(run.path("checkpoints").glob("epoch-*.keras"), reverse=True):
        epoch = int(path.stem.removeprefix("epoch-"))
        if epoch > num_known_epochs:
            continue
        try:
            model = keras.saving.load_model(path)
        except (OSError, ValueError, KeyError) as error:
            print(f"Checkpoint {path.name} is damaged, trying the one before: {error}")
            continue
        return model, epoch
    model = build_model(config.model)
    compile_model(model, config.training)
    return model, 0


def _save_checkpoint(run: Run, model: keras.Model, epoch: int) -> None:
    """Weights and optimizer; the file's name is the epoch, and all else follows from that."""
    directory = run.path("checkpoints")
    directory.mkdir(exist_ok=True)
    _save(model, directory / f"epoch-{epoch:05d}.keras")
    for old in sorted(directory.glob("epoch-*.keras"))[:-_NUM_CHECKPOINTS]:
        old.unlink()


def _save(model: keras.Model, path: Path) -> None:
    write_atomically(path, lambda temporary: model.save(temporary))


def _weights_path(run: Run) -> Path:
    return run.path("model.weights.h5")


def _cut_history(run: Run, finished_epochs: int) -> pd.DataFrame:
    """Drop rows of epochs that the checkpoint does not know; they are trained again."""
    history = run.read_history()
    history = history[history["epoch"] <= finished_epochs].reset_index(drop=True)
    write_atomically(run.path("history.csv"), lambda path: history.to_csv(path, index=False))
    return history


def _append_history(run: Run, history: pd.DataFrame, row: dict[str, float]) -> pd.DataFrame:
    with run.path("history.csv").open("a", encoding="utf-8") as file:
        file.write(",".join(repr(row[name]) for name in HISTORY_COLUMNS) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return pd.concat([history, pd.DataFrame([row])[list(HISTORY_COLUMNS)]], ignore_index=True)
