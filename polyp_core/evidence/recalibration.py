"""How probabilities would have to be stretched and moved to fit the labels, and where none can say.

The model is logit(share of positives) = intercept + slope * logit(probability).
"""

import numpy as np

from polyp_core.calibration import compute_probabilities

_LONGEST_STEP = 20.0  # of Newton's method, which may otherwise leap out of what floats can hold


def compute_logits(probabilities: np.ndarray) -> np.ndarray:
    """`(n,)` of log p / (1 - p); infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        logits: np.ndarray = np.log(probabilities) - np.log1p(-probabilities)
    return logits


def fit_calibration(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Calibration slope, and calibration in the large; each NaN where it is undefined.

    Args:
        labels: `(n,)` of 0 and 1.
        probabilities: `(n,)` in [0, 1].
        weights: `(n,)`; rows of weight 0 do not count.
    """
    counted = weights > 0
    labels, probabilities, weights = labels[counted], probabilities[counted], weights[counted]
    if explain_intercept(labels, probabilities):
        return np.nan, np.nan
    logits = compute_logits(probabilities)
    in_the_large = fit_in_the_large(labels, logits, weights)
    if explain_slope(labels, probabilities):
        return np.nan, in_the_large
    return fit_line(labels, logits, weights)[1], in_the_large


def fit_in_the_large(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """The intercept with the slope fixed at 1; both classes and finite logits are needed."""
    return float(fit_logistic(np.ones((len(labels), 1)), labels, weights, logits)[0])


def fit_line(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Intercept and slope together; the logits must not divide the classes."""
    # Neither moving nor stretching the logits changes the fit, but Newton's method is safer so.
    middle, spread = logits.mean(), logits.std()
    columns = np.column_stack([np.ones(len(labels)), (logits - middle) / spread])
    height, slope = fit_logistic(columns, labels, weights, np.zeros(len(labels)))
    return float(height - slope * middle / spread), float(slope / spread)


def explain_intercept(labels: np.ndarray, probabilities: np.ndarray, unit: str = "image") -> str:
    """Why calibration in the large is undefined; "" where it is not."""
    if reason := explain_classes(labels, unit):
        return reason
    num_certain = int(np.isin(probabilities, (0.0, 1.0)).sum())
    if num_certain:
        return (
            f"{num_certain} of {len(labels)} probabilities are exactly 0 or 1 and have no finite "
            "logit."
        )
    return ""


def explain_slope(labels: np.ndarray, probabilities: np.ndarray, unit: str = "image") -> str:
    """Why the calibration slope is undefined; "" where it is not."""
    if reason := explain_intercept(labels, probabilities, unit):
        return reason
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    if np.ptp(compute_logits(probabilities)) < 1e-9:
        return "All probabilities are the same, so that there is no slope to find."
    if positives.min() >= negatives.max() or positives.max() <= negatives.min():
        return "The probabilities divide the classes without overlap: the slope is infinite."
    return ""


def explain_classes(labels: np.ndarray, unit: str = "image") -> str:
    """Why a score that compares the two classes is undefined; "" where it is not.

    Args:
        labels: `(n,)` of 0 and 1.
        unit: What is counted, in the singular: "image" or "patient".
    """
    if not len(labels):
        return f"There are no {unit}s to judge."
    if labels.min() == labels.max():
        kind = "positive" if labels.max() == 1 else "negative"
        return f"All {unit}s are {kind}: this needs both classes."
    return ""


def fit_logistic(
    columns: np.ndarray, labels: np.ndarray, weights: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    """Coefficients of a weighted logistic regression, by Newton's method with halved steps.

    Args:
        columns: `(n, k)`, which do not divide the labels: else nothing finite would be the answer.
        labels: `(n,)` of 0 and 1.
        weights: `(n,)`.
        offset: `(n,)`, added to the linear part as it is.

    Returns:
        `(k,)`.
    """
    found = np.zeros(columns.shape[1])
    signs = np.where(labels == 1, -1.0, 1.0)

    def cost(candidate: np.ndarray) -> float:
        return float(weights @ np.logaddexp(0.0, signs * (offset + columns @ candidate)))

    lowest = cost(found)
    for _ in range(200):
        probabilities = compute_probabilities(offset + columns @ found, 1.0)
        score = columns.T @ (weights * (labels - probabilities))
        spread = weights * probabilities * (1 - probabilities)
        information = (columns * spread[:, None]).T @ columns
        # So little that it changes no answer, and enough that none is divided by 0.
        information += np.eye(len(found)) * (1e-13 * np.trace(information) + 1e-200)
        step = np.clip(np.linalg.solve(information, score), -_LONGEST_STEP, _LONGEST_STEP)
        # A rise by rounding alone is none: near the minimum the cost is flatter than floats show.
        while (reached := cost(found + step)) > lowest + 1e-12 * (1 + lowest):
            step = step / 2
        found, lowest = found + step, reached
        if np.abs(step).max() < 1e-10:
            break
    return found
