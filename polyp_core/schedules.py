"""The learning rate of every step, and what has happened so far; all from settings and history.

Nothing here keeps a state of its own: rate, best epoch and patience follow from history.csv, so a
resumed run goes on as an unbroken one.
"""

import math

import numpy as np
import pandas as pd

from polyp_core.config import TrainingConfig
from polyp_core.config.training import MONITORS

_FEWEST = 10  # steps of a sweep that can say anything
_START = 0.2  # of a sweep, where the rate is too small to change anything
_CLEAR = 4.0  # standard errors: the lowest of many means is low by chance already


def compute_rate(settings: TrainingConfig, progress: float, history: pd.DataFrame) -> float:
    """The learning rate at a point of training.

    Args:
        settings: Peak rate and schedule.
        progress: Epochs done, with the part of the present one, of all epochs; in [0, 1].
        history: Of the epochs before this one; only the plateau schedule reads it.

    References: Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5 (cosine).
    """
    peak = settings.learning_rate
    if settings.schedule == "cosine":
        warm_up = min(1.0, progress / settings.warm_up) if settings.warm_up else 1.0
        return peak * warm_up * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.schedule == "step":
        # A hair more than the product, so that the first step of an epoch is not rounded down.
        epochs_done = math.floor(progress * settings.epochs + 1e-9)
        return float(peak * settings.decay_factor ** (epochs_done // settings.decay_epochs))
    if settings.schedule == "plateau":
        return float(peak * settings.decay_factor ** count_plateaus(settings, history))
    return peak


def count_plateaus(settings: TrainingConfig, history: pd.DataFrame) -> int:
    """How often the watched number has stood still for `decay_epochs` epochs; each time anew."""
    best, waited, plateaus = math.inf, 0, 0
    for value in _as_costs(settings, history):
        waited = 0 if value < best else waited + 1
        best = min(best, value)
        if waited == settings.decay_epochs:
            waited, plateaus = 0, plateaus + 1
    return plateaus


def find_best_epoch(settings: TrainingConfig, history: pd.DataFrame) -> int | None:
    """The first epoch with the best watched number; None before any is known."""
    costs = _as_costs(settings, history)
    if not np.isfinite(costs).any():
        return None
    return int(history["epoch"].iloc[int(np.argmin(costs))])


def has_lost_patience(settings: TrainingConfig, history: pd.DataFrame) -> bool:
    """Whether early stopping ends the run after these epochs."""
    best = find_best_epoch(settings, history)
    if settings.early_stopping_patience == 0 or best is None:
        return False
    return int(history["epoch"].iloc[-1]) - best >= settings.early_stopping_patience


def find_kept_epoch(settings: TrainingConfig, history: pd.DataFrame) -> int | None:
    """The epoch whose state is the model."""
    if settings.keep == "best":
        return find_best_epoch(settings, history)
    return None if history.empty else int(history["epoch"].iloc[-1])


def _as_costs(settings: TrainingConfig, history: pd.DataFrame) -> np.ndarray:
    """The watched number of each epoch, turned so that less is better; unknown is worst."""
    sign = 1.0 if MONITORS[settings.monitor] else -1.0
    costs = sign * history[settings.monitor].to_numpy(dtype=float)
    return np.where(np.isnan(costs), math.inf, costs)


def smooth_losses(losses: np.ndarray) -> np.ndarray:
    """A centred mean over a tenth of the sweep, shorter at the ends."""
    reach = _get_reach(len(losses))
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    places = np.arange(len(losses))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(losses))
    smooth: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return smooth


def suggest_rate(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate at which the loss has come half the way down to its lowest point.

    That is where it falls fastest, found in a way that noise disturbs less than a slope.

    Args:
        rates: `(n,)`, rising by a constant factor.
        losses: `(n,)`.

    Returns:
        Rounded to one significant digit; None where the loss does not fall by clearly more than
        its own noise would make it seem.

    References: Smith, Cyclical learning rates, WACV 2017, section 3.3.
    """
    if len(losses) < _FEWEST:
        return None
    smooth, reach = smooth_losses(losses), _get_reach(len(losses))
    lowest = int(np.argmin(smooth))
    if lowest < 2 * _START * len(losses):
        return None
    # Of neighbours, so that a fall does not count as noise.
    noise = float(np.std(np.diff(losses))) / math.sqrt(2)
    start = float(np.mean(losses[: max(2, round(_START * len(losses)))]))
    if start - smooth[lowest] < max(0.02, _CLEAR * noise / math.sqrt(2 * reach + 1)):
        return None
    middle = (start + smooth[lowest]) / 2
    halfway = int(np.flatnonzero(smooth[: lowest + 1] >= middle)[-1])
    digits = -math.floor(math.log10(rates[halfway]))
    return round(float(rates[halfway]), digits)


def _get_reach(length: int) -> int:
    """Half the width of the mean that smooths a sweep."""
    return max(1, length // 20)
