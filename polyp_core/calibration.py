"""Temperature scaling: a network's confidence is brought to what validation bears out.

One number that divides every logit. It moves no image across one half and changes no ranking of
images. What averages probabilities, such as a patient's or an ensemble's, may be ranked otherwise
with it, and since it is fitted on validation, such numbers of validation lean on that a little.
"""

from typing import Any

import numpy as np

from polyp_core.metrics import binary_crossentropy

_LIMIT = np.log(10.0)  # of the logarithm of the temperature, to either side
_GOLDEN = (np.sqrt(5) - 1) / 2


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature under which the labels are the most probable.

    A normal prior of standard deviation 1 on its logarithm keeps it finite where a few images are
    all right; against a hundred images it weighs nothing.

    Args:
        labels: `(n,)` of 0 and 1.
        logits: `(n,)` of the positive class.

    Returns:
        Above 1 where the network is too sure of itself; 1 where one class alone is known.

    References: Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    if len(np.unique(labels)) < 2:
        return 1.0
    # How far each image is on the wrong side; not by way of probabilities, which would be rounded
    # to 0 and 1 for the very networks that are far too sure.
    wrong = np.where(np.asarray(labels) == 1, -1.0, 1.0) * np.asarray(logits, dtype=np.float64)

    def cost(logarithm: float) -> float:
        losses = np.logaddexp(0.0, wrong / np.exp(logarithm))
        return float(losses.sum()) + logarithm**2 / 2

    low, high = -_LIMIT, _LIMIT
    for _ in range(60):  # golden section search
        reach = _GOLDEN * (high - low)
        left, right = high - reach, low + reach
        low, high = (low, right) if cost(left) < cost(right) else (left, high)
    return float(np.exp((low + high) / 2))


def describe_calibration(
    labels: np.ndarray, probabilities: np.ndarray, temperature: float
) -> dict[str, Any]:
    """Log loss and Brier score of images with the temperature and as they would be without.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)`, with the temperature.
        temperature: That was used.

    Returns:
        temperature, n, `log_loss` and `brier`, each with "before" and "after".
    """
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    logits = temperature * np.log(clipped / (1 - clipped))
    before = compute_probabilities(logits, 1.0)
    both = {"before": before, "after": clipped}
    return {
        "temperature": temperature,
        "n": len(labels),
        "log_loss": {name: binary_crossentropy(labels, values) for name, values in both.items()},
        "brier": {name: float(np.mean((values - labels) ** 2)) for name, values in both.items()},
    }


def compute_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The logistic function of `(n,)` logits divided by a temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    probabilities: np.ndarray = 1 / (1 + np.exp(-np.clip(scaled, -700, 700)))
    return probabilities
