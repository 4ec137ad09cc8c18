"""What can be wrong with the answers on validation."""

from dataclasses import asdict
from statistics import NormalDist

import numpy as np

from polyp_core import words
from polyp_core.doctor.advice import BALANCE, LOOK_AGAIN, advise_rate
from polyp_core.doctor.case import FEW, SURE_Z, TREND, Case, Diagnosis, median
from polyp_core.doctor.training_rules import LOW
from polyp_core.metrics import estimate_proportion


def find_small_validation(case: Case) -> Diagnosis | None:
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
        advice=f"Put more {unit} of '{name}' into validation: 12 of 12 right would prove 75 %. Or "
        "train a study in folds, which validates every image.",
    )


def find_one_class(case: Case) -> Diagnosis | None:
    """One answer for all validation images: over the last epochs, or in the end in the kept one.

    The last epochs are 5, in long runs up to 20.
    """
    is_early = not case.is_ripe and not (case.is_over and case.n)
    if is_early or min(case.facts.validation_counts) == 0:
        return None
    # After the last epoch with the other answer; where it was not counted it may have been other.
    others = [np.flatnonzero(counts != 0) for counts in (case.positives, case.negatives)]
    starts = [int(other[-1]) + 1 if len(other) else 0 for other in others]
    start, answer = min(starts), int(starts[1] < starts[0])
    is_under_way = case.sorts_well and case.n < 0.75 * case.settings.epochs
    num_long = min(case.n, 20, max(FEW, case.settings.epochs // 8))
    if case.is_ripe and not is_under_way and case.n - start >= num_long:
        since = f"epoch {case.epoch[start]:.0f}" if start else "the first epoch"
        when = f"since {since}, for {words.say_number(case.n - start, 'epoch')}"
        return _say_one_class(case, answer, when)
    kept = (case.positives[case.kept], case.negatives[case.kept])
    if case.is_over and 0 in kept:
        when = f"in the epoch that is kept, {case.epoch[case.kept]:.0f}"
        return _say_one_class(case, int(kept[0] > 0), when)
    return None


def _say_one_class(case: Case, answer: int, when: str) -> Diagnosis:
    name = case.facts.class_names[answer]
    is_low = case.rate < LOW * case.usual_rate  # untouched it needs larger steps, ruined smaller
    advice = advise_rate(case.usual_rate if is_low else case.rate / 10)
    if case.is_uneven and not case.is_dead:
        advice = BALANCE
    if not case.is_ripe:  # over, after so few that nothing else can be told
        advice = {"advice": f"It had {words.say_number(case.n, 'epoch')}, which is few: give more."}
    return Diagnosis(
        name="one_class",
        severity="warning" if case.sorts_well else "serious",
        title=f"It answers '{name}' whatever the image shows.",
        evidence=f"All {sum(case.facts.validation_counts)} validation images are called '{name}' "
        f"{when}.{case.said_auc}",
        **advice,
    )


def find_missed_class(case: Case) -> Diagnosis | None:
    """At the end the kept state is wrong on most images of one class, beyond chance."""
    if not case.is_over or not case.n or min(case.facts.validation_counts) == 0:
        return None
    right = [hits[case.kept] for hits in case.right]
    counts = [images[case.kept] for images in case.counted]
    if not np.isfinite(counts).all() or min(counts) < FEW:
        return None
    shares = [estimate_proportion(int(hits), int(n)) for hits, n in zip(right, counts, strict=True)]
    worse = int((shares[1].value or 0.0) < (shares[0].value or 0.0))
    if (shares[worse].high or 0.0) >= 0.5:
        return None
    name, other = case.facts.class_names[worse], case.facts.class_names[1 - worse]
    few = {"advice": f"Train longer: {words.say_number(case.n, 'epoch')} are few."}
    return Diagnosis(
        name="missed_class",
        severity="warning",
        title=f"It misses most of '{name}'.",
        evidence=f"In the kept epoch, {case.epoch[case.kept]:.0f}, {right[worse]:.0f} of "
        f"{counts[worse]:.0f} validation images of '{name}' are found: "
        f"{words.say_percent(asdict(shares[worse]))}. The others are called '{other}'.",
        **(few if case.n < TREND else BALANCE if case.is_uneven else LOOK_AGAIN),
    )


def find_below_majority(case: Case) -> Diagnosis | None:
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
        **(BALANCE if case.is_uneven else LOOK_AGAIN),
    )


def find_nothing_learned(case: Case) -> Diagnosis | None:
    """Neither the kept AUC nor the best is clearly off 0.5; where units are few, in any way."""
    fewest, best = min(case.facts.validation_unit_counts), case.best
    around = median(case.val_auc[max(0, best - FEW // 2) : best + FEW // 2 + 1])
    if not case.is_ripe or fewest < 4 or np.isnan(around + case.auc_now):
        return None
    # With so few a slow learner looks the same for long.
    if fewest < 12 and not case.is_over and case.n < case.settings.epochs / 2:
        return None
    # The best of many epochs is the best by luck as well; the median with its neighbours is less.
    kept, when = case.auc_now, f"in the last {FEW} epochs"
    if case.settings.keep == "best":
        kept, when = around, f"around epoch {case.epoch[best]:.0f}"
    chance = 2 * NormalDist().cdf(-max(abs(around - 0.5), abs(kept - 0.5)) / case.auc_spread)
    if chance <= (0.05 if fewest >= 12 else 0.2):
        return None
    tries = f"{round(100 * chance)} of 100" if chance < 0.095 else f"{round(10 * chance)} of 10"
    return Diagnosis(
        name="nothing_learned",
        severity="warning" if chance > 0.2 else "note",
        title=("W" if case.is_over else "So far, w")
        + "hat it has learned cannot be told from chance.",
        evidence=f"AUC on validation {when}: {kept:.2f}, {case.said_units}. Labels dealt out at "
        f"random would do as well in {tries} tries.",
        advice="Run the control with shuffled labels, and compare.",
        setting=("training.shuffled_labels", True),
    )


def find_swapped_labels(case: Case) -> Diagnosis | None:
    reach, is_training_good = SURE_Z * case.auc_spread, case.loss_now < 0.92 * case.base
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
