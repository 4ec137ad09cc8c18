"""A ModelConfig becomes a keras.Model that takes grey levels 0 to 255 and gives a probability."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from polyp_core.config import ModelConfig, RunConfig, TrainingConfig
from polyp_core.errors import ModelError
from polyp_core.networks import extract_features, get_backbone, set_backbone_trainable

FEATURES = "features"  # the layer whose output the head reads and Grad-CAM explains
LOGIT = "logit"


def build_model(config: ModelConfig) -> keras.Model:
    """A network with its head of one sigmoid unit, and random weights.

    Returns:
        Input `(batch, size, size, channels)` in [0, 255]; output `(batch, 1)`, the probability of
        the positive class.
    """
    layers = keras.layers
    image = keras.Input((config.image_size_px, config.image_size_px, config.channels), name="image")
    x = layers.Identity(name=FEATURES)(extract_features(image, config))
    x = layers.Flatten()(x) if config.head == "flatten" else layers.GlobalAveragePooling2D()(x)
    if config.dense_units:
        x = layers.Dense(config.dense_units, activation="relu")(x)
    x = layers.Dropout(config.dropout)(x)
    # In 32 bit whatever the rest computes in.
    x = layers.Dense(1, name=LOGIT, dtype="float32")(x)
    probability = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(image, probability)


def compile_model(model: keras.Model, config: TrainingConfig) -> None:
    """Give the model its optimizer, loss and accuracy."""
    loss = keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing)
    # Without label smoothing, so that the curve can be compared with validation's.
    cross_entropy = keras.metrics.BinaryCrossentropy(name="cross_entropy")
    model.compile(
        optimizer=_make_optimizer(config),
        loss=loss,
        # Made here, not by its name: one made in the first step has its graph traced twice.
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy"), cross_entropy],
        jit_compile=False,
    )


def _make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    kinds = {
        "rmsprop": keras.optimizers.RMSprop,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
    }
    special = {"momentum": config.momentum} if config.optimizer == "sgd" else {}
    # AdamW wants a number; to the others 0 would mean a computation for nothing.
    decay = config.weight_decay if config.optimizer == "adamw" else config.weight_decay or None
    kind = kinds[config.optimizer]
    return (_with_short_average(kind) if config.ema else kind)(
        learning_rate=config.learning_rate,
        weight_decay=decay,
        global_clipnorm=config.gradient_clip or None,
        use_ema=config.ema > 0,
        ema_momentum=config.ema or 0.99,
        **special,
    )


def _with_short_average(kind: type[keras.optimizers.Optimizer]) -> Any:  # noqa: ANN401 - a class
    """An optimizer whose moving average spans a ninth of the steps so far, while that is less.

    Keras' own begins with the first step's weights, which weigh on it for some hundred steps: all
    of a small training. The rule is that of TensorFlow's ExponentialMovingAverage.
    """

    class ShortAverage(kind):  # type: ignore[misc]
        @property
        def ema_momentum(self) -> Any:  # noqa: ANN401 - a tensor of any backend
            steps = keras.ops.cast(self.iterations, "float32")
            return keras.ops.minimum(self._longest, (1 + steps) / (10 + steps))

        @ema_momentum.setter
        def ema_momentum(self, value: float) -> None:
            self._longest = value

    return ShortAverage


def is_backbone_resting(config: RunConfig, epoch: int) -> bool:
    """Whether only the head learns in an epoch, counted from 1."""
    return config.model.network == "transfer" and epoch <= config.training.frozen_epochs


def make_step(
    model: keras.Model, config: RunConfig, *, is_resting: bool
) -> Callable[..., dict[str, Any]]:
    """Keras' own training step, for a backbone with a rate of its own.

    An optimizer has one rate, so what a step does to the backbone is shortened afterwards; that
    holds for every kind of optimizer, also for those to which the length of a gradient is nothing.

    Args:
        model: As `make_model` made it.
        config: All settings.
        is_resting: Whether the backbone stays as it is.

    Returns:
        A function of a batch that gives the metrics before the step.
    """
    if config.model.network != "transfer":
        return lambda *batch: model.train_step(batch)
    backbone, rate = get_backbone(model), config.training.backbone_rate

    def train_step(*batch: Any) -> dict[str, Any]:  # noqa: ANN401 - a tensor of any backend
        set_backbone_trainable(backbone, is_trainable=not is_resting)
        slow = backbone.trainable_variables
        before = [keras.ops.copy(variable) for variable in slow]
        logs = model.train_step(batch)
        for variable, value in zip(slow, before, strict=True):
            variable.assign(value + rate * (variable - value))
        set_backbone_trainable(backbone, is_trainable=True)
        return dict(logs)

    return train_step


def make_model(config: RunConfig) -> keras.Model:
    """A new model, compiled, with all its variables and those of its optimizer."""
    with precision(config.training):
        model = build_model(config.model)
        compile_model(model, config.training)
    model.optimizer.build(model.trainable_variables)
    return model


@contextlib.contextmanager
def precision(settings: TrainingConfig) -> Iterator[None]:
    """Compute in 16 bit inside, if that is wanted and there is a graphics card."""
    before = keras.config.dtype_policy()
    if settings.mixed_precision and keras.distribution.list_devices("gpu"):
        keras.config.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def averaged_weights(model: keras.Model, is_wanted: bool) -> Iterator[None]:
    """Put the moving average in the weights' place, and the weights back afterwards."""
    if not is_wanted:
        yield
        return
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    weights = copy_arrays(model.trainable_variables)
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        assign_arrays(model.trainable_variables, weights, "the weights")


def copy_arrays(
    variables: Sequence[keras.Variable], into: list[np.ndarray] | None = None
) -> list[np.ndarray]:
    """The variables' values, independent of what training does to them afterwards.

    Args:
        variables: Whose values.
        into: Arrays of an earlier copy, to be filled again.

    Returns:
        The arrays filled, new ones without `into`.
    """
    if into is None:
        return [np.asarray(variable).copy() for variable in variables]
    for array, variable in zip(into, variables, strict=True):
        np.copyto(array, np.asarray(variable))
    return into


def list_variables(model: keras.Model) -> list[keras.Variable]:
    """All that a step changes: weights, statistics, dropout's random state, the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def assign_arrays(
    variables: Sequence[keras.Variable], values: Sequence[np.ndarray], what: str
) -> None:
    """Set variables to values.

    Raises:
        ModelError: If they do not fit.
    """
    if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        raise ModelError(
            f"{what} does not fit the network of this version. Expected the shapes that were "
            "written. Resume with the version that wrote it, or train anew."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
