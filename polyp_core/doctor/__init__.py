"""The doctor: says from a run's history, in plain words, why it does not learn.

Each rule asks for more than chance would give. A training loss is judged against the base: what
always answering the training images' own share of positives gives, with no look at any image.
"""

import numpy as np
import pandas as pd

from polyp_core import words
from polyp_core.doctor.case import FEW, Case, Diagnosis, Facts, say_loss
from polyp_core.doctor.training_rules import (
    find_dark_images,
    find_not_a_number,
    find_overfitting,
    find_rate_too_high,
    find_rate_too_low,
)
from polyp_core.doctor.validation_rules import (
    find_below_majority,
    find_missed_class,
    find_nothing_learned,
    find_one_class,
    find_small_validation,
    find_swapped_labels,
)

__all__ = ["Diagnosis", "Facts", "diagnose", "say_state"]

_DOUBT = ("nothing_learned", "note")
# What follows from a cause needs no word of its own. A mere note explains nothing.
_SYMPTOMS = "missed_class below_majority nothing_learned"
_EXPLAINS = {
    "double_rescale": f"rate_too_high rate_too_low one_class {_SYMPTOMS}",
    "rate_too_high": f"rate_too_low one_class {_SYMPTOMS} overfitting",
    "rate_too_low": f"one_class {_SYMPTOMS}",
    "swapped_labels": f"one_class {_SYMPTOMS} overfitting",
    "one_class": _SYMPTOMS,
    "nothing_learned": "below_majority overfitting",
}


def diagnose(history: pd.DataFrame, facts: Facts) -> list[Diagnosis]:
    """What is wrong with a run, the gravest first; nothing if all is well or it is too early.

    Nothing is said of the curves before 5 epochs, of a trend before 10, and of what is not learned
    yet before the run is over or a fifth of it is done, from 10 to 100 epochs. The history is that
    of `Run.read_history`, one row an epoch; any number may be NaN.
    """
    case = Case(history, facts)
    if (broken := find_not_a_number(case)) is not None:
        return [broken]
    # Of a control with shuffled labels nothing is expected but that it runs.
    rules = [find_dark_images, find_small_validation, find_rate_too_high]
    if not case.is_control:
        rules += [find_swapped_labels, find_one_class, find_rate_too_low]
        rules += [find_missed_class, find_nothing_learned, find_below_majority, find_overfitting]
    found = [item for item in (rule(case) for rule in rules) if item is not None]
    causes = [item.name for item in found if item.severity != "note"]
    explained = " ".join(_EXPLAINS.get(cause, "") for cause in causes).split()
    found = [item for item in found if item.name not in explained]
    if len(found) > 1:  # a mere doubt is not told where something is wrong for sure
        found = [item for item in found if (item.name, item.severity) != _DOUBT]
    return sorted(found, key=_rank)


def _rank(item: Diagnosis) -> tuple[bool, int]:
    """What the model does stands before what the images allow to say of it."""
    is_of_images = item.name == "small_validation"
    return is_of_images, ("serious", "warning", "note").index(item.severity)


def say_state(history: pd.DataFrame, facts: Facts) -> str:
    """One sentence on a run with which nothing is wrong."""
    case, done = Case(history, facts), words.say_number(len(history), "epoch")
    if facts.error:
        return f"It failed after {done}; the curves until then show nothing wrong."
    if case.n < FEW and case.is_over:
        return f"Too few epochs to tell whether it learns: {done} are all there are."
    if case.n < FEW or not np.isfinite(case.val_loss).all():
        return f"Too early to tell: {done} done."
    if case.is_control:
        return f"A control, its training labels dealt out at random: {done} done.{case.said_auc}"
    best = int(case.val_loss.argmin())
    first, lowest = say_loss(case.val_loss[0]), say_loss(case.val_loss[best])
    epoch = f"lowest in epoch {case.epoch[best]:.0f}"
    if case.val_loss[best] < 0.95 * case.val_loss[0]:
        return f"Learning: validation loss fell from {first} to {lowest} and was {epoch}."
    return f"Nothing wrong and little learned so far: validation loss was {epoch}, at {lowest}."
