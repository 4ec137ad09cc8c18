"""Settings of the training."""

from dataclasses import dataclass

from polyp_core.config.settings import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the network is fitted and which of its states is kept."""

    epochs: int = setting(
        10, "How often every training image is seen.", label="Epochs", low=1, high=10_000
    )
    batch_size: int = setting(
        4, "Images a step. Small is noisy, large is smooth.", label="Batch size", low=1, high=512
    )
    optimizer: str = setting(
        "rmsprop",
        "The rule that turns gradients into steps.",
        label="Optimizer",
        choices=("rmsprop", "adam", "adamw"),
    )
    learning_rate: float = setting(
        1e-3,
        "Size of a step. Ten times too large: the loss jumps. Ten times too small: it creeps.",
        label="Learning rate",
        low=1e-7,
        high=1.0,
    )
    schedule: str = setting(
        "constant",
        "'cosine' lets the learning rate rise over the first tenth and then fall to zero.",
        label="Schedule",
        choices=("constant", "cosine"),
    )
    weight_decay: float = setting(
        0.0,
        "Pulls weights towards zero; used by AdamW alone.",
        label="Weight decay",
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
    early_stopping_patience: int = setting(
        0,
        "Stop after so many epochs without a lower validation loss; 0 never stops early.",
        label="Early stopping after",
        unit="epochs",
        low=0,
        high=10_000,
    )
    keep: str = setting(
        "last",
        "Which state becomes the model: the one with the lowest validation loss, or the last.",
        label="Keep",
        choices=("best", "last"),
    )
    seed: int = setting(
        0, "The same number gives the same run on the same machine.", label="Seed",
        low=0, high=2**31 - 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self, "training")
