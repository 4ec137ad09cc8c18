import math

import numpy as np
import pandas as pd
import pytest

from polyp_core.config import TrainingConfig
from polyp_core.schedules import (
    compute_rate,
    count_plateaus,
    find_best_epoch,
    find_kept_epoch,
    has_lost_patience,
    smooth_losses,
    suggest_rate,
)

EMPTY = pd.DataFrame({"epoch": [], "val_loss": [], "val_accuracy": [], "val_auc": []})


def make_history(values, column="val_loss"):
    return pd.DataFrame({"epoch": range(1, len(values) + 1), column: values})


def test_a_constant_rate_stays():
    settings = TrainingConfig(learning_rate=0.01)
    assert [compute_rate(settings, part, EMPTY) for part in (0.0, 0.5, 1.0)] == [0.01] * 3


def test_cosine_rises_for_a_tenth_and_falls_to_zero():
    settings = TrainingConfig(learning_rate=0.01, schedule="cosine")
    assert compute_rate(settings, 0.0, EMPTY) == 0.0
    halfway_up = 0.005 * 0.5 * (1 + math.cos(0.05 * math.pi))
    assert compute_rate(settings, 0.05, EMPTY) == pytest.approx(halfway_up)
    assert compute_rate(settings, 0.5, EMPTY) == pytest.approx(0.005)
    assert compute_rate(settings, 1.0, EMPTY) == pytest.approx(0.0)


def test_cosine_without_warm_up_begins_at_the_top():
    settings = TrainingConfig(learning_rate=0.01, schedule="cosine", warm_up=0.0)
    assert compute_rate(settings, 0.0, EMPTY) == 0.01


def test_step_halves_after_every_third_epoch_and_at_its_first_step_already():
    settings = TrainingConfig(
        learning_rate=0.8, schedule="step", epochs=10, decay_epochs=3, decay_factor=0.5
    )
    rates = [compute_rate(settings, epoch / 10, EMPTY) for epoch in range(10)]
    assert rates == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1])
    assert compute_rate(settings, 0.29999, EMPTY) == 0.8


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0),
        ([0.7, 0.6, 0.5, 0.4], 0),  # always better
        ([0.5, 0.6, 0.5], 1),  # the same again is not better
        ([0.5, 0.6, 0.6, 0.6, 0.6], 2),  # each time anew
        ([0.5, 0.6, 0.4, 0.6, 0.3], 0),  # never two in a row
        ([math.nan, math.nan], 1),  # what cannot be computed is not better
    ],
)
def test_plateaus_are_counted_each_time_anew(values, expected):
    settings = TrainingConfig(
        learning_rate=0.8, schedule="plateau", decay_epochs=2, decay_factor=0.5
    )
    history = make_history(values)
    assert count_plateaus(settings, history) == expected
    assert compute_rate(settings, 0.5, history) == pytest.approx(0.8 * 0.5**expected)


@pytest.mark.parametrize(
    ("monitor", "values", "expected"),
    [
        ("val_loss", [0.7, 0.5, 0.6, 0.5], 2),  # the first of equals
        ("val_accuracy", [0.7, 0.9, 0.8, 0.9], 2),  # more is better
        ("val_auc", [math.nan, 0.4, math.nan], 2),
        ("val_auc", [math.nan, math.nan], None),
        ("val_auc", [], None),
        ("loss", [0.3, 0.2], 2),
        ("accuracy", [0.3, 0.2], 1),
    ],
)
def test_the_best_epoch_is_the_first_with_the_best_watched_number(monitor, values, expected):
    history = make_history(values, monitor)
    assert find_best_epoch(TrainingConfig(monitor=monitor), history) == expected


@pytest.mark.parametrize(
    ("values", "patience", "expected"),
    [
        ([0.7, 0.5, 0.6, 0.6], 2, True),
        ([0.7, 0.5, 0.6, 0.6], 3, False),
        ([0.7, 0.6, 0.5], 1, False),
        ([0.7, 0.8, 0.9], 0, False),
        ([], 1, False),
    ],
)
def test_patience_counts_epochs_since_the_best(values, patience, expected):
    settings = TrainingConfig(early_stopping_patience=patience)
    assert has_lost_patience(settings, make_history(values)) is expected


def test_patience_is_not_lost_over_a_number_that_was_never_known():
    settings = TrainingConfig(early_stopping_patience=1, monitor="val_auc")
    assert not has_lost_patience(settings, make_history([math.nan] * 9, "val_auc"))


def test_kept_is_the_best_epoch_or_the_last():
    history = make_history([0.7, 0.5, 0.6])
    assert find_kept_epoch(TrainingConfig(keep="best"), history) == 2
    assert find_kept_epoch(TrainingConfig(keep="last"), history) == 3
    assert find_kept_epoch(TrainingConfig(keep="last"), make_history([])) is None


def test_smoothing_is_a_centred_mean_that_is_shorter_at_the_ends():
    assert smooth_losses(np.array([3.0, 0.0, 0.0, 6.0])).tolist() == [1.5, 1.0, 2.0, 3.0]


def test_the_suggested_rate_is_where_the_loss_has_come_half_the_way_down():
    """A fall like tanh around 10⁻³, then a break upwards near 1."""
    places = np.linspace(-6, 0, 80)
    losses = 0.7 - 0.3 * np.tanh(2 * (places + 3)) + 5 * np.maximum(0, places + 0.5) ** 2
    assert suggest_rate(10.0**places, losses) == pytest.approx(1e-3, rel=0.3)


@pytest.mark.parametrize(
    "losses",
    [
        np.full(80, 0.69),
        0.69 + 0.01 * np.sin(np.arange(80.0)),
        np.linspace(0.7, 5, 80),
        np.linspace(0.7, 0.1, 9),  # too few to say
    ],
    ids=["flat", "noise", "rises", "short"],
)
def test_nothing_is_suggested_where_the_loss_hardly_falls(losses):
    assert suggest_rate(np.geomspace(1e-6, 1, len(losses)), losses) is None


def test_noise_alone_suggests_a_rate_in_one_of_twenty_sweeps_at_most():
    rates = np.geomspace(1e-6, 1, 80)
    noise = np.random.default_rng(0).normal(0.7, 0.1, (500, 80))
    assert sum(suggest_rate(rates, losses) is not None for losses in noise) <= 25


def test_a_fall_in_noise_is_found_near_its_middle():
    places = np.linspace(-6, 0, 80)
    fall = 0.7 - 0.15 * np.tanh(2 * (places + 3)) + 5 * np.maximum(0, places + 0.5) ** 2
    noise = np.random.default_rng(0).normal(0, 0.1, (100, 80))
    found = [suggest_rate(10.0**places, fall + each) for each in noise]
    assert None not in found
    assert 3e-4 <= min(found) <= max(found) <= 5e-3
