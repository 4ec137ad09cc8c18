"""A ModelConfig becomes a keras.Model that takes grey levels 0 to 255 and gives a probability."""

import keras

from polyp_core.config import ModelConfig, TrainingConfig

FEATURES = "features"  # the layer whose output the head reads and Grad-CAM explains
LOGIT = "logit"


def build_model(config: ModelConfig) -> keras.Model:
    """Convolution blocks, then a head with one sigmoid unit.

    The scaling to [0, 1] is part of the model, so nobody can forget it or do it twice. With the
    head "average" the last block has no pooling, which leaves Grad-CAM a finer map.

    Returns:
        Input `(batch, size, size, channels)` in [0, 255]; output `(batch, 1)`, the probability of
        the positive class.
    """
    layers = keras.layers
    image = keras.Input((config.image_size_px, config.image_size_px, config.channels), name="image")
    x = layers.Rescaling(1 / 255)(image)
    for number, filters in enumerate(config.filters, start=1):
        is_last = number == len(config.filters)
        x = _convolve(x, filters, config)
        if not (is_last and config.head == "average"):
            x = layers.MaxPooling2D(2)(x)
    x = layers.Identity(name=FEATURES)(x)
    x = layers.Flatten()(x) if config.head == "flatten" else layers.GlobalAveragePooling2D()(x)
    if config.dense_units:
        x = layers.Dense(config.dense_units, activation="relu")(x)
    x = layers.Dropout(config.dropout)(x)
    x = layers.Dense(1, name=LOGIT)(x)
    return keras.Model(image, layers.Activation("sigmoid", name="probability")(x))


def compile_model(model: keras.Model, config: TrainingConfig) -> None:
    """Give the model its optimizer, loss and accuracy."""
    rate = config.learning_rate
    optimizer = {
        "rmsprop": lambda: keras.optimizers.RMSprop(rate),
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
    }[config.optimizer]()
    loss = keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing)
    # Without label smoothing, so that the curve can be compared with validation's.
    cross_entropy = keras.metrics.BinaryCrossentropy(name="cross_entropy")
    model.compile(
        optimizer=optimizer, loss=loss, metrics=["accuracy", cross_entropy], jit_compile=False
    )


def _convolve(x: keras.KerasTensor, filters: int, config: ModelConfig) -> keras.KerasTensor:
    layers = keras.layers
    if not config.batch_normalization:
        return layers.Conv2D(filters, 3, padding=config.padding, activation="relu")(x)
    x = layers.Conv2D(filters, 3, padding=config.padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
