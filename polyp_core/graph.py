"""What is TensorFlow's own in training: operations in a fixed order, and a step compiled once."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Step = Callable[..., Mapping[str, Any]]


def make_deterministic() -> None:
    """From now on the same operations give the same bits."""
    tf.config.experimental.enable_op_determinism()


def compile_step(step: Step, image_shape: tuple[int, ...], *, is_weighted: bool) -> Step:
    """A step as one graph, for batches of any size.

    `train_on_batch` compiles the shorter last batch apart; which of the two serves a batch, and so
    the last bit of the result, depends on which came first, as after a resume.

    Args:
        step: Takes images `(batch, *image_shape)` uint8, labels `(batch, 1)` float32 and, if
            weighted, weights `(batch,)` float32.
        image_shape: Height, width, channels.
        is_weighted: Whether there are weights.
    """
    batch = [tf.TensorSpec((None, *image_shape), tf.uint8), tf.TensorSpec((None, 1), tf.float32)]
    if is_weighted:
        batch.append(tf.TensorSpec((None,), tf.float32))
    compiled: Step = tf.function(step, input_signature=batch, autograph=False)
    return compiled
