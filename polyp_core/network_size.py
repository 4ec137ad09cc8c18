"""How large a network is, by arithmetic on its settings: nothing is built, so nothing can be hurt.

The numbers are those of `models.build_model`, weight for weight.
"""

import math
from dataclasses import dataclass, field

from polyp_core.config import ModelConfig
from polyp_core.errors import ConfigError
from polyp_core.words import say_count

MAX_WEIGHTS = 100_000_000
MAX_MAP = 64_000_000  # numbers between two layers, of one image: 256 MB
ROOM_BYTES = 8 * 2**20  # that a file of weights may have besides its numbers
MAX_MULTIPLICATIONS = 200e9  # of one image: some ten seconds on two cores
_BYTES = 4
# Of Keras' networks without their top: numbers in the weights file, features, multiplications of
# an image of 224 px, and how often the picture is halved with its odd pixel kept and then lost.
_BACKBONES = {
    "mobilenet-v3-small": (939_120, 576, 0.06e9, 5, 0),
    "mobilenet-v3-large": (2_996_352, 960, 0.22e9, 5, 0),
    "efficientnet-v2-b0": (5_919_312, 1280, 0.73e9, 5, 0),
    "densenet-121": (7_037_504, 1024, 2.9e9, 2, 3),
    "convnext-tiny": (27_820_128, 768, 4.5e9, 0, 5),
}

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What a network will take.

    Attributes:
        num_weights: All numbers of its weights file, running statistics included.
        num_features: What the head reads, as its mean over all places.
        largest_map: Numbers of the largest result of a layer, for one image; not counted within a
            backbone.
        num_multiplications: For one image, about.
        shapes: Of each array of its weights, in any order; None of a transfer network, whose
            backbone is known by its sum alone.
    """

    num_weights: int
    num_features: int
    largest_map: int
    num_multiplications: float
    shapes: tuple[Shape, ...] | None

    @property
    def num_bytes(self) -> int:
        """Of its weights, in 32 bit."""
        return _BYTES * self.num_weights


def measure_network(config: ModelConfig) -> NetworkSize:
    """The size of the network that `models.build_model` would build."""
    if config.network == "transfer":
        num_weights, features, multiplications, kept, lost = _BACKBONES[config.backbone]
        size_px = config.image_size_px
        multiplications *= (size_px / 224) ** 2
        for number in range(kept + lost):
            size_px = (size_px + (number < kept)) // 2
        head = _Layers(size_px=size_px, channels=features)
        head.add_head(config)
        return NetworkSize(
            num_weights=num_weights + head.num_weights,
            num_features=features,
            largest_map=size_px**2 * features,
            num_multiplications=multiplications + head.multiplications,
            shapes=None,
        )
    layers = _Layers(size_px=config.image_size_px, channels=config.channels)
    if config.network == "plain":
        layers.add_plain(config)
    else:
        layers.add_residual(config)
    num_features = layers.channels
    layers.add_head(config)
    return NetworkSize(
        num_weights=layers.num_weights,
        num_features=num_features,
        largest_map=layers.largest_map,
        num_multiplications=layers.multiplications,
        shapes=tuple(layers.shapes),
    )


def count_fetched_bytes(config: ModelConfig) -> int:
    """Of the weights that Keras fetches for a transfer network; its head has none of them."""
    return _BYTES * _BACKBONES[config.backbone][0]


def check_size(size: NetworkSize) -> None:
    """Refuse a network that would be too large to build from settings that somebody else wrote.

    Raises:
        ConfigError: If it has too many weights, or one image would take too much memory or time.
    """
    for number, most, what in (
        (size.num_weights, MAX_WEIGHTS, "weights"),
        (size.largest_map, MAX_MAP, "numbers between two layers"),
        (size.num_multiplications, MAX_MULTIPLICATIONS, "multiplications for one image"),
    ):
        if number > most:
            raise ConfigError(
                f"The network of these settings would have {say_count(int(number))} {what}. "
                f"Expected at most {say_count(int(most))}. Bring a run with a smaller image, fewer "
                "filters or model.head=average."
            )


@dataclass
class _Layers:
    """Counts what is put upon one another."""

    size_px: int
    channels: int
    shapes: list[Shape] = field(default_factory=list)
    largest_map: int = 0
    multiplications: float = 0.0

    @property
    def num_weights(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def add_plain(self, config: ModelConfig) -> None:
        for number, filters in enumerate(config.filters, start=1):
            self._convolve(filters, is_trimmed=config.padding == "valid")
            if config.batch_normalization:
                self._normalise()
            else:
                self.shapes.append((filters,))
            if number < len(config.filters) or config.head == "flatten":
                self.size_px //= 2

    def add_residual(self, config: ModelConfig) -> None:
        self._convolve(config.filters[0], strides=2)
        self._normalise()
        for stage, filters in enumerate(config.filters):
            for block in range(config.blocks):
                before = self.channels
                self._convolve(filters, strides=2 if stage and not block else 1)
                self._normalise()
                self._convolve(filters)
                self._normalise()
                if before != filters:
                    self._project(before, filters)

    def add_head(self, config: ModelConfig) -> None:
        size = self.channels * (self.size_px**2 if config.head == "flatten" else 1)
        for units in (config.dense_units, 1):
            if units:
                self.shapes += [(size, units), (units,)]
                self.multiplications += size * units
                size = units

    def _convolve(self, filters: int, *, strides: int = 1, is_trimmed: bool = False) -> None:
        self.size_px = self.size_px - 2 if is_trimmed else -(-self.size_px // strides)
        self.shapes.append((3, 3, self.channels, filters))
        self.multiplications += self.size_px**2 * 9 * self.channels * filters
        self.channels = filters
        self.largest_map = max(self.largest_map, self.size_px**2 * filters)

    def _project(self, before: int, filters: int) -> None:
        """The shortcut where the number of filters changes."""
        self.shapes.append((1, 1, before, filters))
        self.multiplications += self.size_px**2 * before * filters
        self._normalise()

    def _normalise(self) -> None:
        self.shapes += [(self.channels,)] * 4
