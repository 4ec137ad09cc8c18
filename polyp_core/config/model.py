"""Settings of the network."""

from dataclasses import dataclass

from polyp_core.config.settings import check_settings, setting
from polyp_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What turns an image into a probability: a network, and a head with one sigmoid unit."""

    network: str = setting(
        "plain",
        "'plain' stacks convolution blocks; 'residual' adds shortcuts, which lets it be deeper; "
        "'transfer' starts from a network that has seen a million photographs.",
        label="Network",
        choices=("plain", "residual", "transfer"),
    )
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
        "One number a stage. Plain: a 3×3 convolution with so many filters, ReLU, 2×2 max-pooling. "
        "Residual: blocks of two such convolutions and a shortcut; each stage halves the picture.",
        label="Filters a stage",
    )
    blocks: int = setting(
        1, "Residual blocks a stage; used by 'residual' alone.", label="Blocks a stage", low=1,
        high=8,
    )  # fmt: skip
    padding: str = setting(
        "valid",
        "'same' keeps the size through a convolution, 'valid' loses its border; used by 'plain' "
        "alone.",
        label="Padding",
        choices=("valid", "same"),
    )
    batch_normalization: bool = setting(
        False,
        "Normalise after each convolution: learns faster, steadier. Used by 'plain'; 'residual' "
        "always does.",
        label="Batch normalisation",
    )
    backbone: str = setting(
        "mobilenet-v3-small",
        "The network to start from; used by 'transfer' alone. The smallest is the first.",
        label="Backbone",
        choices=(
            "mobilenet-v3-small", "mobilenet-v3-large", "efficientnet-v2-b0", "densenet-121",
            "convnext-tiny",
        ),
    )  # fmt: skip
    backbone_weights: str = setting(
        "",
        "A file with the backbone's weights as Keras has them (.h5, without the top). Empty "
        "fetches those for ImageNet once from Keras' own server. Used by 'transfer' alone.",
        label="Weights of the backbone",
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
    mirror: bool = setting(
        False,
        "When it is used, judge each picture and its mirror image and take the mean: a little "
        "better, twice the time. For pictures whose left and right mean nothing.",
        label="Judge the mirror image too",
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        if self.network == "transfer":
            if self.image_size_px < 32:
                raise ConfigError(
                    "The image is too small for a network that was trained on photographs. "
                    "Expected 32 px or more; it has seen 224. Raise model.image_size_px. "
                    f"Received: image_size_px={self.image_size_px}"
                )
            return
        if not self.filters or not all(1 <= number <= 2048 for number in self.filters):
            raise ConfigError(
                "model.filters holds a number that cannot be used. Expected at least one stage, of "
                f"1 to 2048 filters each, such as 32,32,64. Received: filters={self.filters}"
            )
        size_px = self.image_size_px
        for _ in self.filters:
            is_trimmed = self.network == "plain" and self.padding == "valid"
            size_px = (size_px - 2 if is_trimmed else size_px) // 2
        if size_px < 1:
            raise ConfigError(
                f"{len(self.filters)} stages do not fit an image of {self.image_size_px} px: each "
                "one halves it. Expected at least 1 px left. Use fewer stages, a larger "
                "model.image_size_px or model.padding=same. "
                f"Received: filters={self.filters}, image_size_px={self.image_size_px}"
            )
