"""The networks, each a short function from grey levels to features."""

import warnings
from pathlib import Path

import keras

from polyp_core.config import ModelConfig
from polyp_core.errors import ModelError

_BACKBONES = {
    "mobilenet-v3-small": "MobileNetV3Small",
    "mobilenet-v3-large": "MobileNetV3Large",
    "efficientnet-v2-b0": "EfficientNetV2B0",
    "densenet-121": "DenseNet121",
    "convnext-tiny": "ConvNeXtTiny",
}
# Mean and standard deviation of red, green and blue in ImageNet, for what has no layer for it.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def extract_features(image: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """The part of a network before its head.

    The scaling of the grey levels is part of it, so nobody can forget it or do it twice.

    Args:
        image: `(batch, size, size, channels)` in [0, 255].
        config: Says which network.

    Returns:
        `(batch, rows, columns, features)`.
    """
    networks = {"plain": _stack_blocks, "residual": _stack_residuals, "transfer": _apply_backbone}
    return networks[config.network](image, config)


def load_backbone(model: keras.Model, config: ModelConfig) -> None:
    """Give a transfer network the weights it starts from: the user's file, or ImageNet's.

    Raises:
        ModelError: If the file does not fit, or there is none and no connection to fetch one.
    """
    backbone = get_backbone(model)
    if config.backbone_weights:
        _load_file(backbone, config)
        return
    application = getattr(keras.applications, _BACKBONES[config.backbone])
    try:
        fetched = application(include_top=False, weights="imagenet", input_shape=(None, None, 3))
    except Exception as error:
        if "URL fetch failure" not in str(error):  # what Keras says, in a bare Exception
            raise
        raise ModelError(
            f"What {config.backbone} has learned on photographs could not be fetched. Expected a "
            "connection the first time; what is fetched is kept. Connect this computer and resume; "
            "or start anew, with another preset, which fetches nothing, or with a file fetched "
            "elsewhere (All settings, Network, model.backbone_weights). "
            f"In Keras' words: {_shorten(error)}."
        ) from error
    backbone.set_weights(fetched.get_weights())


def get_backbone(model: keras.Model) -> keras.Model:
    """The part of a transfer network that it starts from."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def set_backbone_trainable(backbone: keras.Model, is_trainable: bool) -> None:
    """Let a backbone learn or rest, but never its batch normalisation.

    At rest that keeps the statistics it came with: those of a few batches would be worse.
    """
    backbone.trainable = is_trainable
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _load_file(backbone: keras.Model, config: ModelConfig) -> None:
    path = Path(config.backbone_weights)
    problem = "there is no such file"
    if path.is_file():
        try:
            with warnings.catch_warnings():
                # With a file of another network Keras may only warn, and leave random weights.
                warnings.simplefilter("error", UserWarning)
                backbone.load_weights(path)
        except (OSError, ValueError, KeyError, IndexError, UserWarning) as error:
            problem = _shorten(error)
        else:
            return
    raise ModelError(
        f"The weights of the backbone cannot be read from '{path}': {problem}. Expected those of "
        f"Keras' {_BACKBONES[config.backbone]} without its top, as an .h5 file. Choose that file, "
        "or another model.backbone."
    )


def _shorten(error: Exception) -> str:
    """The first line of an error without its last dot; Keras' own go over pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")[:200]


def _stack_blocks(image: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """Convolution, ReLU and pooling, stage by stage, as in the thesis.

    With the head "average" the last stage has no pooling, which leaves Grad-CAM a finer map.
    """
    layers = keras.layers
    x = layers.Rescaling(1 / 255)(image)
    for number, filters in enumerate(config.filters, start=1):
        if config.batch_normalization:
            x = _activate(_normalise(_convolve(x, filters, padding=config.padding)))
        else:
            x = layers.Conv2D(filters, 3, padding=config.padding, activation="relu")(x)
        if number < len(config.filters) or config.head == "flatten":
            x = layers.MaxPooling2D(2)(x)
    return x


def _stack_residuals(image: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """A stem, and blocks of two convolutions beside a shortcut; all stages but the first halve.

    References: He et al., Deep residual learning for image recognition, CVPR 2016; the shortcut
    that pools before it projects is of He et al., Bag of tricks, CVPR 2019 (ResNet-D).
    """
    x = keras.layers.Rescaling(1 / 255)(image)
    x = _activate(_normalise(_convolve(x, config.filters[0], strides=2)))
    for stage, filters in enumerate(config.filters):
        for block in range(config.blocks):
            x = _add_residual(x, filters, strides=2 if stage and not block else 1)
    return x


def _add_residual(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    y = _activate(_normalise(_convolve(x, filters, strides=strides)))
    y = _normalise(_convolve(y, filters))
    if strides > 1:
        x = keras.layers.AveragePooling2D(strides, padding="same")(x)
    if x.shape[-1] != filters:
        x = _normalise(_convolve(x, filters, size=1))
    return _activate(keras.layers.Add()([x, y]))


def _convolve(
    x: keras.KerasTensor, filters: int, *, size: int = 3, strides: int = 1, padding: str = "same"
) -> keras.KerasTensor:
    return keras.layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(x)


def _normalise(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def _activate(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.ReLU()(x)


def _apply_backbone(image: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """A network of Keras' own, without its top; grey is given to it three times over."""
    layers, size_px = keras.layers, config.image_size_px
    x = layers.Concatenate()([image] * 3) if config.channels == 1 else image
    if config.backbone == "densenet-121":  # the others scale by themselves
        mean, deviation = _IMAGENET
        scale = [1 / 255 / value for value in deviation]
        offset = [-m / s for m, s in zip(mean, deviation, strict=True)]
        x = layers.Rescaling(scale, offset)(x)
    application = getattr(keras.applications, _BACKBONES[config.backbone])
    backbone = application(include_top=False, weights=None, input_shape=(size_px, size_px, 3))
    set_backbone_trainable(backbone, is_trainable=True)
    return backbone(x)
