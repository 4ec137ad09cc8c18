"""The doctor: says from a run's history, in plain words, why it does not learn.

Each rule asks for more than chance would give. A training loss is judged against the base: what
always answering the training images' own share of positives gives, with no look at any image.
"""

from dataclasses import asdict, dataclass
from math import log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.config.augmentation import EFFECTS
from polyp_core.config.training import MONITORS
from polyp_core.metrics import estimate_proportion

_FEW = 5  # epochs; nothing is said of the curves before, and a median of so many stands for "now"
_TREND = 10  # epochs that a trend needs
_DOUBT = ("nothing_learned", "note")
_LOW = 0.35  # of the usual learning rate: 3e-4 with Adam is low where the loss creeps
_SURE_Z = NormalDist().inv_cdf(0.995)  # two-sided 1 %, since the doctor looks after every epoch
# What follows from a cause needs no word of its own. A mere note explains nothing.
_EXPLAINS = {
    "double_rescale": "rate_too_high rate_too_low one_class below_majority nothing_learned",
    "rate_too_high": "rate_too_low one_class below_majority nothing_learned overfitting",
    "rate_too_low": "one_class below_majority nothing_learned",
    "swapped_labels": "one_class below_majority nothing_learned overfitting",
    "one_class": "below_majority nothing_learned",
    "nothing_learned": "below_majority overfitting",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the doctor knows besides the curves. Counts are of negatives, then of positives."""

    config: RunConfig
    class_names: tuple[str, str]  # negative, positive
    train_counts: tuple[int, int]  # images
    validation_counts: tuple[int, int]  # images
    validation_unit_counts: tuple[int, int]  # patients where they are known, else images
    unit: str  # "patients" or "images"
    brightest_level: int | None  # of all training images, in [0, 255]; None before it is known
    error: str = ""  # the last message of a failed run


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that is wrong with a run."""

    name: str  # for machines, such as "one_class"
    severity: str  # "serious", "warning" or "note"
    title: str  # what is wrong, in one sentence
    evidence: str  # the numbers it rests on
    advice: str  # one suggestion
    setting: tuple[str, object] | None = None  # for a new run: ("training.learning_rate", 3e-4)


def diagnose(history: pd.DataFrame, facts: Facts) -> list[Diagnosis]:
    """What is wrong with a run, the gravest first; nothing if all is well or it is too early.

    Nothing is said of the curves before 5 epochs, of a trend before 10, and of what is not learned
    yet before the run is over or a fifth of it is done, from 10 to 100 epochs. The history is that
    of `Run.read_history`, one row an epoch; any number may be NaN.
    """
    case = _Case(history, facts)
    if (broken := _find_not_a_number(case)) is not None:
        return [broken]
    # Of a control with shuffled labels nothing is expected but that it runs.
    rules = [_find_dark_images, _find_small_validation, _find_rate_too_high]
    if not case.is_control:
        rules += [_find_swapped_labels, _find_one_class, _find_rate_too_low]
        rules += [_find_nothing_learned, _find_below_majority, _find_overfitting]
    found = [item for item in (rule(case) for rule in rules) if item is not None]
    causes = [item.name for item in found if item.severity != "note"]
    explained = " ".join(_EXPLAINS.get(cause, "") for cause in causes).split()
    found = [item for item in found if item.name not in explained]
    if len(found) > 1:  # a mere doubt is not told where something is wrong for sure
        found = [item for item in found if (item.name, item.severity) != _DOUBT]
    return sorted(found, key=lambda item: ("serious", "warning", "note").index(item.severity))


def say_state(history: pd.DataFrame, facts: Facts) -> str:
    """One sentence on a run with which nothing is wrong."""
    case, done = _Case(history, facts), words.say_number(len(history), "epoch")
    if facts.error:
        return f"It failed after {done}; the curves until then show nothing wrong."
    if case.n < _FEW or not np.isfinite(case.val_loss).all():
        return f"Too early to tell: {done} done."
    if case.is_control:
        return f"A control, its training labels dealt out at random: {done} done.{case.said_auc}"
    best = int(case.val_loss.argmin())
    first, lowest = _say_loss(case.val_loss[0]), _say_loss(case.val_loss[best])
    epoch = f"lowest in epoch {case.epoch[best]:.0f}"
    if case.val_loss[best] < 0.95 * case.val_loss[0]:
        return f"Learning: validation loss fell from {first} to {lowest} and was {epoch}."
    return f"Nothing wrong and little learned so far: validation loss was {epoch}, at {lowest}."


class _Case:
    """The history as arrays, and what several rules need of it."""

    def __init__(self, history: pd.DataFrame, facts: Facts) -> None:
        def read(name: str) -> np.ndarray:
            return np.array(history.get(name, [np.nan] * len(history)), dtype=float)

        settings = facts.config.training
        self.facts, self.settings, self.rate = facts, settings, settings.learning_rate
        self.n, self.is_control = len(history), bool(getattr(settings, "shuffled_labels", False))
        self.epoch, self.loss, self.val_loss = read("epoch"), read("loss"), read("val_loss")
        self.val_auc, self.val_accuracy = read("val_auc"), read("val_accuracy")
        self.positives = read("val_tp") + read("val_fp")
        self.negatives = read("val_tn") + read("val_fn")
        costs = read(settings.monitor) * (1 if MONITORS[settings.monitor] else -1)  # least is best
        self.best = int(np.where(np.isnan(costs), np.inf, costs).argmin()) if self.n else 0
        patience = settings.early_stopping_patience or self.n
        is_over = self.n >= settings.epochs or self.n - 1 - self.best >= patience or facts.error
        num_fair = _FEW if is_over else min(100, max(_TREND, settings.epochs // 5))
        self.is_ripe = self.n >= num_fair  # something should be learned by now
        # The loss, and what the best answer gives that looks at no image.
        self.loss_now = _median(self.loss[-_FEW:])
        share = facts.train_counts[1] / max(1, sum(facts.train_counts))
        answer = 0.5 if settings.class_weights == "balanced" else share
        answer += settings.label_smoothing * (0.5 - answer)
        self.base = float("nan")  # where training lacks a class
        if 0 < share < 1:
            self.base = -share * log(answer) - (1 - share) * log(1 - answer)
        self.said_base = f"Guessing without a look at the images gives {_say_loss(self.base)}."
        self.is_uneven = min(share, 1 - share) < 0.4 and settings.class_weights == "none"
        momentum = settings.momentum if settings.optimizer == "sgd" else 0.99
        self.usual_rate = max(1e-3, 0.1 * (1 - momentum))  # momentum makes steps longer
        # The AUC, and the spread that answers which know nothing have (Mann and Whitney, Ann Math
        # Stat 18:50, 1947), counted by units; NaN where validation lacks a class.
        m, n = facts.validation_unit_counts
        self.auc_spread = sqrt((m + n + 1) / (12 * m * n)) if m and n else float("nan")
        self.auc_now = _median(self.val_auc[-_FEW:]) if m and n else float("nan")
        self.said_auc = (
            f" AUC is {self.auc_now:.2f}; chance gives 0.50." if self.auc_now >= 0 else ""
        )
        negative, positive = facts.class_names
        self.said_units = f"with {m} {facts.unit} of '{negative}' and {n} of '{positive}'"
        self.sorts_well = self.auc_now - 0.5 > _SURE_Z * self.auc_spread
        self.is_dead = bool((self.val_auc[-_FEW:] == 0.5).all())  # one answer, to the last digit


def _find_not_a_number(case: _Case) -> Diagnosis | None:
    is_bad = ~np.isfinite(case.loss)
    if not np.isnan(case.val_loss).all():  # else it was never kept
        is_bad |= ~np.isfinite(case.val_loss)
    if not is_bad.any() and "not a number" not in case.facts.error.lower():
        return None
    num_good = int(is_bad.argmax()) if is_bad.any() else case.n
    last = f" Training loss was {_say_loss(case.loss[num_good - 1])} then." if num_good else ""
    return Diagnosis(
        name="not_a_number",
        severity="serious",
        title="The loss is not a number any more: the steps were too large.",
        evidence=f"It happened after {words.say_number(num_good, 'sound epoch')}.{last}",
        **_advise_rate(case.rate / 10),
    )


def _find_dark_images(case: _Case) -> Diagnosis | None:
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


def _find_small_validation(case: _Case) -> Diagnosis | None:
    """Fewer than 12 units of a class: even all of them right proves less than 75 %."""
    counts, unit = case.facts.validation_unit_counts, case.facts.unit
    n, name = min(counts), case.facts.class_names[int(counts[1] < counts[0])]
    if n >= 12:
        return None
    proven = estimate_proportion(n, n).low or 0.0
    return Diagnosis(
        name="small_validation",
        severity="serious" if proven < 0.5 else "warning",
        title=f"Validation has too few {unit} of '{name}' to tell how good the model is.",
        evidence=f"It has {words.say_number(n, unit.removesuffix('s'))} of '{name}'. {n} of {n} "
        f"right would prove at least {words.round_percent(proven)} %, not more (95 % interval).",
        advice=f"Put more {unit} of '{name}' into validation: 12 of 12 right would prove 75 %.",
    )


def _find_rate_too_high(case: _Case) -> Diagnosis | None:
    """The training loss has blown up, jumps, stays above the base, or has risen again."""
    if case.n < _FEW or np.isnan(case.base):
        return None
    loss, base, now, smooth = case.loss, case.base, case.loss_now, _smooth(case.loss)
    lowest, num_last = int(smooth.argmin()), max(_FEW, case.n // 10)
    gained, lost = base - smooth[lowest], _median(loss[-num_last:]) - smooth[lowest]
    jump = _median(np.abs(np.diff(loss[-2 * _FEW :], 2))) / 2  # back and forth, not along a slope
    few = max(1.0, sqrt(30 / sum(case.facts.train_counts)))  # few images jump by themselves
    if loss[0] > 2 * max(base, log(2)) and now > 0.97 * base:
        evidence = f"Training loss was {_say_loss(loss[0])} in the first epoch"
    elif jump > 0.4 * base * few:
        evidence = f"Training loss jumps by {_say_loss(jump)} from epoch to epoch"
    elif now > 1.15 * base and case.n >= _TREND and _measure_trend(loss[1:]) > -2:
        evidence = "Training loss does not come down"
    elif gained > 0.2 * base and lost > 0.7 * gained and case.n - lowest > num_last:
        evidence = f"Training loss was down to {_say_loss(smooth[lowest])} and has risen again"
    else:
        return None
    return Diagnosis(
        name="rate_too_high",
        severity="serious",
        title="The learning rate is too high: the training does not settle.",
        evidence=f"{evidence}; it is {_say_loss(now)} at a rate of {case.rate:g}. {case.said_base}",
        **_advise_rate(case.rate / 10),
    )


def _find_rate_too_low(case: _Case) -> Diagnosis | None:
    """The rate is low, and training loss falls too slowly to get to four fifths of the base."""
    loss, now, third = case.loss, case.loss_now, case.n // 3
    if case.n < _TREND or not now > 0.9 * case.base or not case.rate < _LOW * case.usual_rate:
        return None
    pace = (_median(loss[-2 * third : -third]) - _median(loss[-third:])) / third
    num_more = max(2 * case.n, case.settings.epochs - case.n)
    if now - pace * num_more <= 0.8 * case.base or _measure_trend(loss[1:]) > -2:
        return None
    return Diagnosis(
        name="rate_too_low",
        severity="warning",
        title="The learning rate is too low: the training loss creeps.",
        evidence=f"In {case.n} epochs training loss fell from {_say_loss(loss[0])} to "
        f"{_say_loss(now)}, at a learning rate of {case.rate:g}. {case.said_base}",
        **_advise_rate(case.usual_rate),
    )


def _find_one_class(case: _Case) -> Diagnosis | None:
    """One answer for all validation images over the last epochs: 5, in long runs up to 20."""
    if not case.is_ripe or min(case.facts.validation_counts) == 0:
        return None
    # After the last epoch with the other answer; where it was not counted it may have been other.
    others = [np.flatnonzero(counts != 0) for counts in (case.positives, case.negatives)]
    starts = [int(other[-1]) + 1 if len(other) else 0 for other in others]
    start, name = min(starts), case.facts.class_names[int(starts[1] < starts[0])]
    is_under_way = case.sorts_well and case.n < 0.75 * case.settings.epochs
    if is_under_way or case.n - start < min(case.n, 20, max(_FEW, case.settings.epochs // 8)):
        return None
    since = f"epoch {case.epoch[start]:.0f}" if start else "the first epoch"
    is_low = case.rate < _LOW * case.usual_rate  # untouched it needs larger steps, ruined smaller
    advice = _advise_rate(case.usual_rate if is_low else case.rate / 10)
    return Diagnosis(
        name="one_class",
        severity="warning" if case.sorts_well else "serious",
        title=f"It answers '{name}' whatever the image shows.",
        evidence=f"All {sum(case.facts.validation_counts)} validation images are called '{name}' "
        f"since {since}, for {words.say_number(case.n - start, 'epoch')}.{case.said_auc}",
        **(_BALANCE if case.is_uneven and not case.is_dead else advice),
    )


def _find_below_majority(case: _Case) -> Diagnosis | None:
    counts, n = case.facts.validation_counts, sum(case.facts.validation_counts)
    if not case.is_ripe or min(counts) == 0 or np.isnan(case.val_accuracy[case.best]):
        return None
    hits = round(case.val_accuracy[case.best] * n)
    if hits > max(counts):
        return None
    name = case.facts.class_names[int(counts[1] > counts[0])]
    return Diagnosis(
        name="below_majority",
        severity="note" if case.sorts_well else "warning",
        title=f"It is right no more often than always answering '{name}' would be.",
        evidence=f"In the best epoch, {case.epoch[case.best]:.0f}, {hits} of {n} validation images "
        f"are right: {words.say_percent(asdict(estimate_proportion(hits, n)))}. Always answering "
        f"'{name}' gets {max(counts)} of {n}.",
        **(_BALANCE if case.is_uneven else _LOOK_AGAIN),
    )


def _find_nothing_learned(case: _Case) -> Diagnosis | None:
    """Neither the kept AUC nor the best is clearly off 0.5; where units are few, in any way."""
    fewest, best = min(case.facts.validation_unit_counts), case.best
    around = _median(case.val_auc[max(0, best - _FEW // 2) : best + _FEW // 2 + 1])
    if not case.is_ripe or fewest < 4 or np.isnan(around + case.auc_now):
        return None
    # The best of many epochs is the best by luck as well; the median with its neighbours is less.
    kept, when = case.auc_now, f"in the last {_FEW} epochs"
    if case.settings.keep == "best":
        kept, when = around, f"around epoch {case.epoch[best]:.0f}"
    chance = 2 * NormalDist().cdf(-max(abs(around - 0.5), abs(kept - 0.5)) / case.auc_spread)
    if chance <= (0.05 if fewest >= 12 else 0.2):
        return None
    tries = f"{round(100 * chance)} of 100" if chance < 0.095 else f"{round(10 * chance)} of 10"
    return Diagnosis(
        name="nothing_learned",
        severity="warning" if chance > 0.2 else "note",
        title="So far, what it has learned cannot be told from chance.",
        evidence=f"AUC on validation {when}: {kept:.2f}, {case.said_units}. Labels dealt out at "
        f"random would do as well in {tries} tries.",
        advice="Run the control with shuffled labels, and compare.",
        setting=("training.shuffled_labels", True),
    )


def _find_swapped_labels(case: _Case) -> Diagnosis | None:
    reach, is_training_good = _SURE_Z * case.auc_spread, case.loss_now < 0.92 * case.base
    if not case.is_ripe or not case.auc_now < 0.5 - reach or not is_training_good:
        return None
    return Diagnosis(
        name="swapped_labels",
        severity="serious",
        title="Training and validation contradict each other: labels may be exchanged in one.",
        evidence=f"Training goes well, but AUC on validation is {case.auc_now:.2f}, "
        f"{case.said_units}. Chance gives {0.5 - reach:.2f} or more in 99 of 100 tries.",
        advice="Look at some images of each class, in training and in validation.",
    )


def _find_overfitting(case: _Case) -> Diagnosis | None:
    """Since its turn validation loss has risen, and training loss has fallen, beyond noise."""
    if case.n < _TREND or np.isnan(case.val_loss).any():
        return None
    smooth, num_last = _smooth(case.val_loss), max(_FEW, case.n // 10)
    turn = int(smooth.argmin())
    loss, val_loss = case.loss[turn:], case.val_loss[turn:]
    lowest, before = smooth[turn], _smooth(case.loss)[turn]
    if len(loss) <= num_last:
        return None
    now, val_now = _median(loss[-num_last:]), _median(val_loss[-num_last:])
    noise = _median(np.abs(np.diff(val_loss))) / sqrt(num_last)  # of such a median, about
    is_clear = val_now - lowest > max(0.05, 0.25 * lowest, 3 * noise) and now < 0.9 * before
    if not is_clear or _measure_trend(val_loss) < 2.5 or _measure_trend(loss) > -2.5:
        return None
    return Diagnosis(
        name="overfitting",
        severity="note" if case.settings.keep == "best" else "warning",
        title=f"Since about epoch {case.epoch[turn]:.0f} it learns the training images by heart.",
        evidence=f"Since then validation loss ({sum(case.facts.validation_counts)} images) rose "
        f"from {_say_loss(lowest)} to {_say_loss(val_now)} and training loss fell from "
        f"{_say_loss(before)} to {_say_loss(now)}: a gap of {_say_loss(val_now - now)}.",
        **_advise_overfitting(case.facts.config),
    )


def _advise(advice: str, name: str, value: object) -> dict[str, Any]:
    return {"advice": f"{advice} in a new run.", "setting": (name, value)}


_BALANCE = _advise("Let both classes count alike", "training.class_weights", "balanced")
_LOOK_AGAIN = {"advice": "Look at images of both classes: can a person tell them at this size?"}


def _advise_rate(rate: float) -> dict[str, Any]:
    rate = max(1e-7, float(f"{rate:.1g}"))
    return _advise(f"Try a learning rate of {rate:g}", "training.learning_rate", rate)


def _advise_overfitting(config: RunConfig) -> dict[str, Any]:
    if config.training.keep == "last":
        return _advise("Keep the best epoch, not the last,", "training.keep", "best")
    if not any(getattr(config.augmentation, name) for name, _ in EFFECTS):
        return _advise("Turn training images by up to 15°", "augmentation.rotation_deg", 15.0)
    if config.model.head == "flatten":
        return _advise("Use the head 'average' (fewer weights)", "model.head", "average")
    return {"advice": "Train on more patients: that helps most."}


def _say_loss(loss: float) -> str:
    return "under 0.01" if loss < 0.005 else f"{loss:.2f}" if loss < 100 else "over 100"


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running median over a tenth of the epochs, from 3 to 31; at the ends over what is there."""
    half = min(15, max(1, len(values) // 20))
    rolling = pd.Series(values).rolling(2 * half + 1, center=True, min_periods=half + 1)
    return np.asarray(rolling.median())


def _measure_trend(values: np.ndarray) -> float:
    """Spearman's correlation with the epoch, in standard deviations of no trend at all."""
    ranks = pd.Series(values).rank().to_numpy() - (len(values) + 1) / 2
    x = np.arange(len(values)) - (len(values) - 1) / 2
    spread = sqrt(float(ranks @ ranks) * float(x @ x))
    return float(ranks @ x) / spread * sqrt(len(values) - 1) if spread else 0.0
