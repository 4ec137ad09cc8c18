"""Settings of the training."""

from dataclasses import dataclass

from polyp_core.config.settings import check_settings, setting
from polyp_core.errors import ConfigError

# What can be watched: the column of history.csv, and whether less of it is better.
MONITORS: dict[str, bool] = {
    "val_loss": True,
    "val_accuracy": False,
    "val_auc": False,
    "loss": True,
    "accuracy": False,
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the network is fitted and which of its states is kept."""

    epochs: int = setting(
        10, "How often every training image is seen.", label="Epochs", low=1, high=10_000
    )
    batch_size: int = setting(
        4,
        "Images a step. Small is noisy and slow, large is smooth; 16 is good for some hundred "
        "images. Worry when it nears the number of training images.",
        label="Batch size",
        low=1,
        high=512,
    )
    sampling: str = setting(
        "images",
        "What an epoch is made of: 'images' has every image once; 'patients' draws as many, every "
        "patient with the same chance, so that one with many images does not count more than one "
        "with a single image. The same where each patient has one.",
        label="An epoch draws",
        choices=("images", "patients"),
    )
    optimizer: str = setting(
        "rmsprop",
        "The rule that turns gradients into steps. AdamW is a good choice; SGD with momentum wants "
        "a learning rate about ten times as large.",
        label="Optimizer",
        choices=("rmsprop", "adam", "adamw", "sgd"),
    )
    learning_rate: float = setting(
        1e-3,
        "Size of a step. Ten times too large: the loss jumps. Ten times too small: it creeps. The "
        "finder below measures a good value.",
        label="Learning rate",
        low=1e-7,
        high=1.0,
    )
    momentum: float = setting(
        0.9,
        "How much of the last step goes on in the next; used by SGD alone.",
        label="Momentum",
        low=0.0,
        high=0.999,
    )
    schedule: str = setting(
        "constant",
        "How the learning rate changes: not at all; 'cosine' falls to zero; 'step' is multiplied "
        "by the decay after so many epochs; 'plateau' when the watched number has not become "
        "better for so many epochs.",
        label="Schedule",
        choices=("constant", "cosine", "step", "plateau"),
    )
    warm_up: float = setting(
        0.1,
        "Part of the training over which the rate rises from zero; used by the cosine schedule.",
        label="Warm-up",
        unit="part",
        low=0.0,
        high=0.5,
    )
    decay_epochs: int = setting(
        10,
        "After how many epochs the step and the plateau schedule lower the rate.",
        label="Decay after",
        unit="epochs",
        low=1,
        high=10_000,
    )
    decay_factor: float = setting(
        0.5,
        "What the step and the plateau schedule multiply the rate by.",
        label="Decay factor",
        low=0.01,
        high=1.0,
    )
    weight_decay: float = setting(
        0.0,
        "Pulls weights towards zero in every step, apart from the gradient: against over-fitting. "
        "0.01 is good with AdamW.",
        label="Weight decay",
        low=0.0,
        high=1.0,
    )
    gradient_clip: float = setting(
        0.0,
        "Longest gradient, all weights together; longer ones are shortened. 1 tames a loss that "
        "jumps; 0 clips nothing.",
        label="Gradient clipping",
        low=0.0,
        high=1000.0,
    )
    ema: float = setting(
        0.0,
        "Moving average of the weights: what is validated and kept is the average over about "
        "1 / (1 - value) steps, at the beginning over the last ninth of them. 0.99 smooths a noisy "
        "curve. 0 averages nothing.",
        label="Weight averaging",
        low=0.0,
        high=0.9999,
    )
    frozen_epochs: int = setting(
        5,
        "Epochs at the start in which the backbone stays as it is and only the head learns; used "
        "by the network 'transfer' alone.",
        label="Backbone at rest for",
        unit="epochs",
        low=0,
        high=10_000,
    )
    backbone_rate: float = setting(
        0.1,
        "The backbone's learning rate beside the head's, afterwards; used by the network "
        "'transfer' alone.",
        label="Rate of the backbone",
        unit="part",
        low=0.0,
        high=1.0,
    )
    label_smoothing: float = setting(
        0.0,
        "Trains towards 0.05 and 0.95 instead of 0 and 1 (for 0.1): less sure of itself.",
        label="Label smoothing",
        low=0.0,
        high=0.5,
    )
    class_weights: str = setting(
        "none",
        "'balanced' lets both classes count alike in the loss, however many images each has. It "
        "shifts the probabilities towards the rarer class.",
        label="Class weights",
        choices=("none", "balanced"),
    )
    monitor: str = setting(
        "val_loss",
        "The number that decides which epoch is the best, and when to stop early. The validation "
        "loss is the steadiest; with few validation images accuracy and AUC move in jumps.",
        label="Best by",
        choices=tuple(MONITORS),
    )
    early_stopping_patience: int = setting(
        0,
        "Stop after so many epochs in which the watched number has not become better; 0 never "
        "stops early.",
        label="Early stopping after",
        unit="epochs",
        low=0,
        high=10_000,
    )
    keep: str = setting(
        "last",
        "Which state becomes the model: the best one by the watched number, or the last.",
        label="Keep",
        choices=("best", "last"),
    )
    milestones: tuple[int, ...] = setting(
        (10, 100, 250),
        "Epochs whose validation result is kept for a table, as the thesis has one; those within "
        "the run count.",
        label="Milestones",
        unit="epochs",
    )
    mixed_precision: bool = setting(
        False,
        "Compute in 16 bit where the device profits: a graphics card does, a processor does not "
        "and goes on in 32 bit.",
        label="Mixed precision",
    )
    shuffled_labels: bool = setting(
        False,
        "A control: the training labels are dealt out at random, so there is nothing to learn. "
        "Such a run is one throw of the dice and can come out well or badly; a real run must be "
        "clearly better than several of them.",
        label="Shuffled labels",
    )
    seed: int = setting(
        0, "The same number gives the same run on the same machine.", label="Seed",
        low=0, high=2**31 - 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self, "training")
        if any(epoch < 1 for epoch in self.milestones):
            raise ConfigError(
                "training.milestones holds an epoch below 1. Expected epochs from 1 on, such as "
                f"10,100,250. Received: {self.milestones}"
            )
