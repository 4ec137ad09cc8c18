"""What can be wrong with the training itself: its numbers, its images, its steps."""

from math import log, sqrt

import numpy as np

from polyp_core import words
from polyp_core.doctor.advice import advise_overfitting, advise_rate
from polyp_core.doctor.case import (
    FEW,
    TREND,
    Case,
    Diagnosis,
    measure_trend,
    median,
    say_loss,
    smooth,
)

LOW = 0.35  # of the usual learning rate: 3e-4 with Adam is low where the loss creeps


def find_not_a_number(case: Case) -> Diagnosis | None:
    is_bad = ~np.isfinite(case.loss)
    if not np.isnan(case.val_loss).all():  # else it was never kept
        is_bad |= ~np.isfinite(case.val_loss)
    if not is_bad.any() and "not a number" not in case.facts.error.lower():
        return None
    num_good = int(is_bad.argmax()) if is_bad.any() else case.n
    last = f" Training loss was {say_loss(case.loss[num_good - 1])} then." if num_good else ""
    return Diagnosis(
        name="not_a_number",
        severity="serious",
        title="The loss is not a number any more: the steps were too large.",
        evidence=f"It happened after {words.say_number(num_good, 'sound epoch')}.{last}",
        **advise_rate(case.rate / 10),
    )


def find_dark_images(case: Case) -> Diagnosis | None:
    level = case.facts.brightest_level
    if level is None or level > 25:
        return None
    title = "The images are nearly black: they were divided by 255 before they were saved."
    if level != 1:
        title = "The images are very dark." if level else "The images are all black."
    return Diagnosis(
        name="double_rescale" if level <= 2 else "very_dark",
        severity="serious" if level <= 2 else "warning",
        title=title,
        evidence=f"The brightest grey level of all training images is {level}; white is 255. The "
        "network divides by 255 itself, so it sees next to nothing.",
        advice="Save the images again with grey levels that reach up to about 255.",
    )


def find_rate_too_high(case: Case) -> Diagnosis | None:
    """The training loss has blown up, jumps, stays above the base, or has risen again."""
    if case.n < FEW or np.isnan(case.base):
        return None
    loss, base, now, smoothed = case.loss, case.base, case.loss_now, smooth(case.loss)
    lowest, num_last = int(smoothed.argmin()), max(FEW, case.n // 10)
    gained, lost = base - smoothed[lowest], median(loss[-num_last:]) - smoothed[lowest]
    jump = median(np.abs(np.diff(loss[-2 * FEW :], 2))) / 2  # back and forth, not along a slope
    few = max(1.0, sqrt(30 / sum(case.facts.train_counts)))  # few images jump by themselves
    if loss[0] > 2 * max(base, log(2)) and now > 0.97 * base:
        evidence = f"Training loss was {say_loss(loss[0])} in the first epoch"
    elif jump > 0.4 * base * few:
        evidence = f"Training loss jumps by {say_loss(jump)} from epoch to epoch"
    elif now > 1.15 * base and case.n >= TREND and measure_trend(loss[1:]) > -2:
        evidence = "Training loss does not come down"
    elif gained > 0.2 * base and lost > 0.7 * gained and case.n - lowest > num_last:
        evidence = f"Training loss was down to {say_loss(smoothed[lowest])} and has risen again"
    else:
        return None
    return Diagnosis(
        name="rate_too_high",
        severity="serious",
        title="The learning rate is too high: the training does not settle.",
        evidence=f"{evidence}; it is {say_loss(now)} at a rate of {case.rate:g}. {case.said_base}",
        **advise_rate(case.rate / 10),
    )


def find_rate_too_low(case: Case) -> Diagnosis | None:
    """The rate is low, and training loss falls too slowly to get to four fifths of the base."""
    loss, now, third = case.loss, case.loss_now, case.n // 3
    if case.n < TREND or not now > 0.9 * case.base or not case.rate < LOW * case.usual_rate:
        return None
    pace = (median(loss[-2 * third : -third]) - median(loss[-third:])) / third
    num_more = max(2 * case.n, case.settings.epochs - case.n)
    if now - pace * num_more <= 0.8 * case.base or measure_trend(loss[1:]) > -2:
        return None
    return Diagnosis(
        name="rate_too_low",
        severity="warning",
        title="The learning rate is too low: the training loss creeps.",
        evidence=f"In {case.n} epochs training loss fell from {say_loss(loss[0])} to "
        f"{say_loss(now)}, at a learning rate of {case.rate:g}. {case.said_base}",
        **advise_rate(case.usual_rate),
    )


def find_overfitting(case: Case) -> Diagnosis | None:
    """Since its turn validation loss has risen, and training loss has fallen, beyond noise."""
    if case.n < TREND or np.isnan(case.val_loss).any():
        return None
    smoothed, num_last = smooth(case.val_loss), max(FEW, case.n // 10)
    turn = int(smoothed.argmin())
    loss, val_loss = case.loss[turn:], case.val_loss[turn:]
    lowest, before = smoothed[turn], smooth(case.loss)[turn]
    if len(loss) <= num_last:
        return None
    now, val_now = median(loss[-num_last:]), median(val_loss[-num_last:])
    noise = median(np.abs(np.diff(val_loss))) / sqrt(num_last)  # of such a median, about
    is_clear = val_now - lowest > max(0.05, 0.25 * lowest, 3 * noise) and now < 0.9 * before
    if not is_clear or measure_trend(val_loss) < 2.5 or measure_trend(loss) > -2.5:
        return None
    return Diagnosis(
        name="overfitting",
        severity="note" if case.settings.keep == "best" else "warning",
        title=f"Since about epoch {case.epoch[turn]:.0f} it learns the training images by heart.",
        evidence=f"Since then validation loss ({sum(case.facts.validation_counts)} images) rose "
        f"from {say_loss(lowest)} to {say_loss(val_now)} and training loss fell from "
        f"{say_loss(before)} to {say_loss(now)}: a gap of {say_loss(val_now - now)}.",
        **advise_overfitting(case.facts.config),
    )
