"""The layers of a network by arithmetic on its settings, for a table; nothing is built.

The sum of the weights is that of `network_size.measure_network`, which is that of Keras.
"""

from typing import NamedTuple

from polyp_core.config import ModelConfig
from polyp_core.network_size import measure_network


class Layer(NamedTuple):
    """One row of the table.

    Attributes:
        name: What it does.
        shape: Height, width and channels of what it gives; units where places are gone.
        num_weights: Its own, running statistics included.
    """

    name: str
    shape: tuple[int, ...]
    num_weights: int


def list_layers(config: ModelConfig, *, has_own_weights: bool = False) -> list[Layer]:
    """From the image to the probability.

    Args:
        config: Of the network.
        has_own_weights: Whether its backbone began from a file of weights that was given.
    """
    size_px, channels = config.image_size_px, config.channels
    rows = [Layer("Image, grey levels divided by 255", (size_px, size_px, channels), 0)]
    if config.network == "plain":
        rows += _list_plain(config)
    elif config.network == "residual":
        rows += _list_residual(config)
    else:
        rows = [Layer("Image", (size_px, size_px, channels), 0), 
                _describe_backbone(config, has_own_weights)]  # fmt: skip
    return rows + _list_head(config, rows[-1].shape)


def _list_plain(config: ModelConfig) -> list[Layer]:
    size_px, channels, rows = config.image_size_px, config.channels, []
    for number, filters in enumerate(config.filters, start=1):
        size_px -= 2 if config.padding == "valid" else 0
        num_weights = 9 * channels * filters
        num_weights += 4 * filters if config.batch_normalization else filters
        normalised = ", batch normalisation" if config.batch_normalization else ""
        name = f"Stage {number}: convolution 3 × 3{normalised}, ReLU"
        if number < len(config.filters) or config.head == "flatten":
            size_px //= 2
            name += ", pooling 2 × 2"
        rows.append(Layer(name, (size_px, size_px, filters), num_weights))
        channels = filters
    return rows


def _list_residual(config: ModelConfig) -> list[Layer]:
    first = config.filters[0]
    size_px, channels = -(-config.image_size_px // 2), first
    rows = [
        Layer(
            "Stem: convolution 3 × 3 with stride 2, batch normalisation, ReLU",
            (size_px, size_px, first),
            9 * config.channels * first + 4 * first,
        )
    ]
    for stage, filters in enumerate(config.filters):
        for block in range(config.blocks):
            if stage and not block:
                size_px = -(-size_px // 2)
            num_weights = 9 * channels * filters + 9 * filters**2 + 8 * filters
            if channels != filters:
                num_weights += channels * filters + 4 * filters
            name = f"Stage {stage + 1}, block {block + 1}: two convolutions 3 × 3 and a shortcut"
            rows.append(Layer(name, (size_px, size_px, filters), num_weights))
            channels = filters
    return rows


def _describe_backbone(config: ModelConfig, has_own_weights: bool) -> Layer:
    size = measure_network(config)
    head = config.dense_units * (size.num_features + 1) + config.dense_units + 1
    if not config.dense_units:
        head = size.num_features + 1
    side = round((size.largest_map / size.num_features) ** 0.5)
    if config.head == "flatten":
        features = side**2 * size.num_features
        head = (
            config.dense_units * (features + 1) + config.dense_units + 1
            if config.dense_units else features + 1
        )  # fmt: skip
    begun = (
        "begun from a file of weights that was given" if has_own_weights
        else "trained on photographs"
    )  # fmt: skip
    return Layer(
        f"Backbone {config.backbone}, {begun}",
        (side, side, size.num_features),
        size.num_weights - head,
    )


def _list_head(config: ModelConfig, shape: tuple[int, ...]) -> list[Layer]:
    side, _, channels = shape
    is_flat = config.head == "flatten"
    size = side**2 * channels if is_flat else channels
    rows = [Layer("Every place by itself" if is_flat else "Mean over all places", (size,), 0)]
    if config.dense_units:
        units = config.dense_units
        rows.append(Layer("Dense, ReLU", (units,), units * (size + 1)))
        size = units
    if config.dropout:
        rows.append(Layer(f"Dropout of {100 * config.dropout:.3g} % in training", (size,), 0))
    return [*rows, Layer("Dense, sigmoid: the probability", (1,), size + 1)]
