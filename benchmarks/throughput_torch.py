"""The same training in PyTorch: started by `benchmarks.throughput --torch PYTHON`, not by hand.

It runs in an environment of its own, without Keras. Network, first weights' distribution, loss,
optimizer and schedule are those of the run's settings; the images are the run's decoded ones and
the batches those of `polyp_core.pipeline`, so only the framework differs. It trains an epoch for
each line it reads: `{"what": "bound" or "ours", "epoch": 1}`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch  # type: ignore[import-not-found]  # it lies in an environment of its own
from torch import nn

from polyp_core.config import ModelConfig, RunConfig, TrainingConfig
from polyp_core.image_store import open_images
from polyp_core.pipeline import TrainingBatches
from polyp_core.runs import Run
from polyp_core.schedules import compute_rate

_NO_HISTORY = pd.DataFrame({"epoch": [], "val_loss": []})


def main(run_dir: Path, cache_dir: Path) -> None:
    """Train an epoch for every line that is read."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)  # as TensorFlow does
    run = Run(run_dir)
    config, index = run.read_config(), run.read_index()
    rows = index.select("train")
    settings = {
        "images": open_images(index, config, cache_dir),
        "image_numbers": rows.index.to_numpy(),
        "labels": rows["label"].to_numpy(),
        "batch_size": config.training.batch_size,
        "seed": config.training.seed,
    }
    ours = TrainingBatches(**settings, augmentation=config.augmentation)
    ready = [
        to_tensors(*batch)
        for batch in TrainingBatches(**settings, augmentation=None).iterate_epoch(1)
    ]
    trainer = TorchTrainer(config, ours.num_steps)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        epoch = request["epoch"]
        if request["what"] == "bound":
            for number, tensors in enumerate(ready):
                trainer.train_step(epoch, number, *tensors)
        else:
            for number, batch in enumerate(ours.iterate_epoch(epoch)):
                trainer.train_step(epoch, number, *to_tensors(*batch))
        print(json.dumps({"done": epoch}), flush=True)


def to_tensors(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Without a copy: the channels stay innermost in memory, which oneDNN likes best."""
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


class TorchTrainer:
    """Network, optimizer and schedule of a run's settings."""

    def __init__(self, config: RunConfig, num_steps: int) -> None:
        self._settings, self._num_steps = config.training, num_steps
        self._network = build_network(config.model).to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(self._network, config.training)
        self._loss = nn.BCEWithLogitsLoss()

    def train_step(
        self, epoch: int, step: int, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[float, float]:
        """One step of the optimizer; cross-entropy and accuracy of the batch before it."""
        progress = (epoch - 1 + (step + 0.5) / self._num_steps) / self._settings.epochs
        rate = compute_rate(self._settings, progress, _NO_HISTORY)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._network(images.float() / 255)
        smoothing = self._settings.label_smoothing
        loss = self._loss(logits, labels * (1 - smoothing) + smoothing / 2)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            cross_entropy = self._loss(logits, labels)
            accuracy = ((logits > 0) == (labels > 0.5)).float().mean()
        return cross_entropy.item(), accuracy.item()


def build_network(config: ModelConfig) -> nn.Sequential:
    """The layers of `polyp_core.models.build_model` up to the logit, scaling left out."""
    layers: list[nn.Module] = []
    channels, size_px = config.channels, config.image_size_px
    for number, filters in enumerate(config.filters, start=1):
        padding = "same" if config.padding == "same" else 0
        with_bias = not config.batch_normalization
        layers.append(nn.Conv2d(channels, filters, 3, padding=padding, bias=with_bias))
        if config.batch_normalization:
            layers.append(nn.BatchNorm2d(filters, eps=1e-3, momentum=0.1))
        layers.append(nn.ReLU(inplace=True))
        size_px -= 0 if config.padding == "same" else 2
        if not (number == len(config.filters) and config.head == "average"):
            layers.append(nn.MaxPool2d(2))
            size_px //= 2
        channels = filters
    if config.head == "average":
        layers.append(nn.AdaptiveAvgPool2d(1))
        size_px = 1
    layers.append(nn.Flatten())
    units = channels * size_px**2
    if config.dense_units:
        layers += [nn.Linear(units, config.dense_units), nn.ReLU(inplace=True)]
        units = config.dense_units
    layers += [nn.Dropout(config.dropout), nn.Linear(units, 1)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def make_optimizer(network: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """With Keras' constants, and in PyTorch's fastest form for the processor."""
    rate, weights = settings.learning_rate, network.parameters()
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(weights, rate, alpha=0.9, eps=1e-7, foreach=True)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(weights, rate, momentum=settings.momentum, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(weights, rate, eps=1e-7, fused=True)
    decay = settings.weight_decay
    return torch.optim.AdamW(weights, rate, eps=1e-7, weight_decay=decay, fused=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
