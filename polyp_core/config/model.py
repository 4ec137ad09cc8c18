"""Settings of the network."""

from dataclasses import dataclass

from polyp_core.config.settings import check_settings, setting
from polyp_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A stack of convolution blocks and a head with one sigmoid unit."""

    image_size_px: int = setting(
        300,
        "Width and height the network sees. Small calcifications need pixels; time grows with the "
        "square.",
        label="Image size",
        unit="px",
        low=16,
        high=1024,
    )
    channels: int = setting(
        3, "1 is grey, 3 is colour. B-mode ultrasound is grey.", label="Channels", choices=(1, 3)
    )
    filters: tuple[int, ...] = setting(
        (32, 32, 64),
        "One number a block: a 3×3 convolution with so many filters, ReLU, 2×2 max-pooling.",
        label="Filters a block",
    )
    padding: str = setting(
        "valid",
        "'same' keeps the size through a convolution, 'valid' loses its border.",
        label="Padding",
        choices=("valid", "same"),
    )
    batch_normalization: bool = setting(
        False,
        "Normalise after each convolution: learns faster, steadier.",
        label="Batch normalisation",
    )
    head: str = setting(
        "flatten",
        "'flatten' keeps every place apart; 'average' pools over places: fewer weights, less "
        "over-fitting.",
        label="Head",
        choices=("flatten", "average"),
    )
    dense_units: int = setting(
        64, "Units of the dense layer before the last; 0 leaves it out.", label="Dense units",
        low=0, high=4096,
    )  # fmt: skip
    dropout: float = setting(
        0.5,
        "Part of the units switched off in each training step.",
        label="Dropout",
        low=0.0,
        high=0.9,
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        if not self.filters or not all(1 <= number <= 2048 for number in self.filters):
            raise ConfigError(
                "model.filters holds a number that cannot be used. Expected at least one block, of "
                f"1 to 2048 filters each, such as 32,32,64. Received: filters={self.filters}"
            )
        size_px = self.image_size_px
        for _ in self.filters:
            size_px = (size_px if self.padding == "same" else size_px - 2) // 2
        if size_px < 1:
            raise ConfigError(
                f"{len(self.filters)} convolution blocks do not fit an image of "
                f"{self.image_size_px} px: each one halves it. Expected at least 1 px left. "
                "Use fewer blocks, a larger model.image_size_px or model.padding=same. "
                f"Received: filters={self.filters}, image_size_px={self.image_size_px}"
            )
