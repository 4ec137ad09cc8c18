"""Which learning rate? Measured by a few short trainings whose rate rises until the loss breaks."""

import keras
import numpy as np
import pandas as pd

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.graph import Step, compile_step, make_deterministic
from polyp_core.models import (
    assign_arrays,
    copy_arrays,
    is_backbone_resting,
    list_variables,
    make_model,
    make_step,
)
from polyp_core.networks import load_backbone
from polyp_core.pipeline import TrainingBatches
from polyp_core.runs import Run
from polyp_core.schedules import smooth_losses, suggest_rate
from polyp_core.training import Report, find_chances

LOWEST, HIGHEST = 1e-6, 1.0
_NUM_STEPS = 80
_NUM_SWEEPS = 3  # from the same weights with other images; their mean is less noisy
_BREAK = 4.0  # times the lowest loss so far: no use in going on


def find_rate(
    run: Run, config: RunConfig, index: Index, images: np.ndarray, report: Report
) -> None:
    """Sweep the learning rate and write rates.csv: `rate`, `loss` (the mean) and `smooth`.

    The rate that is suggested is reported as `suggested_rate`; None where the loss never fell.

    Args:
        run: Where to write.
        config: Network, augmentation, optimizer and batch size; nothing of it is trained for good.
        index: The images with their split.
        images: `(n, size, size, channels)` uint8 of the whole index.
        report: As for `training.Trainer`.

    References: Smith, Cyclical learning rates, WACV 2017, section 3.3.
    """
    keras.utils.set_random_seed(config.training.seed)
    make_deterministic()
    model = make_model(config)
    if config.model.network == "transfer":
        load_backbone(model, config.model)
    start = copy_arrays(list_variables(model))
    rows = index.select("train")
    batches = TrainingBatches(
        images=images,
        image_numbers=rows.index.to_numpy(),
        labels=rows["label"].to_numpy(),
        augmentation=config.augmentation,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        chances=find_chances(config.training, rows["group"].to_numpy()),
    )
    step = compile_step(
        make_step(model, config, is_resting=is_backbone_resting(config, epoch=1)),
        images.shape[1:],
        is_weighted=False,
    )
    rates = np.geomspace(LOWEST, HIGHEST, _NUM_STEPS)
    sweeps = []
    for sweep in range(_NUM_SWEEPS):
        assign_arrays(list_variables(model), start, "the first weights")
        sweeps.append(_sweep(model, step, batches, rates, sweep, report))
        num_common = min(map(len, sweeps))
        losses = np.mean([losses[:num_common] for losses in sweeps], axis=0)
        table = pd.DataFrame({"rate": rates[:num_common], "loss": losses})
        run.write_table("rates.csv", table.assign(smooth=smooth_losses(losses)))
        report(suggested_rate=suggest_rate(table["rate"].to_numpy(), losses))


def _sweep(
    model: keras.Model,
    step: Step,
    batches: TrainingBatches,
    rates: np.ndarray,
    sweep: int,
    report: Report,
) -> list[float]:
    """The loss before each step, until it breaks."""
    losses: list[float] = []
    epoch = 1 + sweep * (1 + len(rates) // batches.num_steps)
    while len(losses) < len(rates):
        for images, labels in batches.iterate_epoch(epoch):
            number = len(losses)
            report(
                message=f"Sweep {sweep + 1} of {_NUM_SWEEPS}",
                epoch=sweep + 1,
                epochs=_NUM_SWEEPS,
                step=number + 1,
                steps=len(rates),
            )
            model.optimizer.learning_rate = rates[number]
            model.reset_metrics()
            logs = step(images, labels)
            loss = float(logs["cross_entropy"])
            if not np.isfinite(loss) or (number > 10 and loss > _BREAK * max(min(losses), 0.1)):
                return losses
            losses.append(loss)
            if len(losses) == len(rates):
                break
        epoch += 1
    return losses
