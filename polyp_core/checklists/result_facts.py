"""What a run knows of its worth, in sentences; "" where it does not know."""

from collections.abc import Mapping
from typing import Any

from polyp_core.checklists.facts import Facts, Level
from polyp_core.checklists.model_facts import say_calibration, say_output
from polyp_core.checks.wording import UNKNOWN, list_shortcuts
from polyp_core.decision import is_threshold_chosen, list_choices, list_decided
from polyp_core.metrics import pool_patients
from polyp_core.words import (
    join_words,
    make_visible,
    say_auc,
    say_number,
    say_percent,
    say_worth,
)

_PERCENTS = {
    "accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity",
    "ppv": "positive predictive value", "npv": "negative predictive value",
}  # fmt: skip
_CASE = "A case is a patient or, where a file's patient is not known, a file."
NO_CHECKS = "Not tested so far with this program: Results, 'Shortcuts and robustness'."
NO_EXTERNAL = "Not judged so far on another folder with this program: Results, 'Other data'."


def say_performance(facts: Facts) -> str:
    """The numbers to quote, with n, interval and baseline."""
    if facts.level is None:
        return ""
    level, unit = facts.level
    note = f" {_CASE}" if unit == "cases" else ""
    start = "In cross-validation" if facts.is_crossed else "On validation"
    return f"{start} {_say_level(level, unit)}{note}"


def say_other_level(facts: Facts) -> str:
    """Where the same stands by image, where patients are what is quoted."""
    if facts.level is None or facts.level[1] == "images" or facts.metrics is None:
        return ""
    images = facts.metrics["image"]
    if facts.level[0]["accuracy"]["n"] == images["accuracy"]["n"]:  # one of each: the same again
        return ""
    accuracy = images["accuracy"]
    num_right = round(accuracy["value"] * accuracy["n"])
    return (
        f"Counted by image instead: {num_right} of {accuracy['n']} images right; every number, "
        "with intervals of whole patients, stands in the report."
    )


def say_measures(facts: Facts) -> str:
    """What was measured."""
    if facts.level is None:
        return ""
    return (
        "Sensitivity, specificity and predictive values for what is missed and falsely called at "
        "the threshold; accuracy, beside the majority baseline, for all of it in one; AUC, ROC and "
        "precision-recall curves for the ranking whatever the threshold; calibration curve, log "
        "loss and Brier score for the probabilities themselves."
    )


def say_intervals(facts: Facts) -> str:
    """How sure the numbers are, by which methods."""
    if facts.level is None:
        return ""
    units = facts.level[1]
    return (
        f"95 % intervals, counted by {units.removesuffix('s')}: Wilson's for proportions, DeLong's "
        "for the AUC (Newcombe's where the classes are divided perfectly), bootstrap of "
        f"{units} for the others; paired tests where models are compared."
    )


def say_internal(facts: Facts) -> str:
    """On which images of its own the model was judged, and what was chosen on them."""
    if facts.metrics is None:
        return ""
    said = []
    if facts.level is not None:
        said = [_say_judged(facts), facts.study.caution if facts.study is not None else ""]
    test = facts.metrics.get("test")
    if isinstance(test, dict):
        level, unit = facts.choose_level(test)
        said.append(f"On test images, which were kept apart: {_say_level(level, unit)}")
    return " ".join(filter(None, said))


def _say_judged(facts: Facts) -> str:
    chosen = _list_chosen(facts)
    if facts.is_crossed:
        start = (
            "By cross-validation: each image was judged by the members that had not seen it, so "
            "the numbers are of the members, not of their mean"
        )
    elif chosen or (facts.study is not None and facts.study.caution):
        start = "On validation images, none of which was trained on"
    else:
        start = "On validation images, which played no part in making the model"
    if chosen:
        start += f"; but on them {join_words(chosen)}, so the numbers lean to the good side"
    return f"{start}."


def _list_chosen(facts: Facts) -> list[str]:
    """What was chosen on the very images that the numbers are of."""
    is_told = facts.study is not None and bool(facts.study.caution)  # which says it of each member
    return list_decided(facts.run) if is_told else list_choices(facts.run)


def say_threshold(facts: Facts) -> str:
    """From which probability on it is positive, and why there."""
    if not facts.has_model:
        return ""
    decision, band = facts.decision, facts.band
    why = (
        f"{decision.goal.say()}, on validation"
        if is_threshold_chosen(facts.run)
        else "as it came with the model"
    )
    said = f"Threshold {decision.threshold:.3f}: {why}."
    if band is not None:
        said += (
            f" From {band.low:.3f} to {band.high:.3f} no answer is given; the numbers above count "
            "an answer for all."
        )
    return said


def say_computation(facts: Facts) -> str:
    """How the probabilities came about that the numbers are of."""
    return say_output(facts) if facts.level is not None else ""


def say_update(facts: Facts) -> str:
    """What of the model was changed once it could be judged."""
    chosen = join_words(list_decided(facts.run)) if facts.level is not None else ""
    start = "No weight was changed after the evaluation; but on the validation images"
    return " ".join(filter(None, [say_calibration(facts), chosen and f"{start} {chosen}."]))


def explain_no_update(facts: Facts) -> str:
    """Why the question of updating a model does not arise; "" where it does."""
    is_new = facts.config.model.network != "transfer" and not facts.is_imported
    is_kept = is_new and facts.study is None and not say_update(facts)
    if facts.level is None or not is_kept:
        return ""
    return "The network was made anew, and nothing of it was changed after its evaluation."


def say_robustness(facts: Facts) -> str:
    """What is left of the accuracy on worse images, each effect at its strongest."""
    if not facts.checks:
        return ""
    try:
        unit = "patient" if facts.checks["num_patients"] is not None else "image"
        counted = "case" if unit == "patient" and not facts.origin.are_patients_known else unit
        effects = facts.checks["robustness"]
        begun = say_percent(effects[0]["levels"][0][unit]["accuracy"])
        drops = ", ".join(
            f"{make_visible(str(effect['title']).lower())} ({effect['levels'][-1]['label']}) "
            f"{say_percent(effect['levels'][-1][unit]['accuracy'])}"
            for effect in effects
        )
        num_images = facts.checks["num_images"]
    except (KeyError, IndexError, TypeError):  # damaged, or of another version
        return ""
    return (
        f"On {say_number(num_images, 'validation image')}, accuracy by {counted}: {begun} as they "
        f"are; {drops}."
    )


def say_shortcuts(facts: Facts) -> str:
    """Whether it looks where no disease is."""
    if not facts.checks:
        return ""
    try:
        found = list_shortcuts(facts.checks)
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged, or of another version
        return ""
    return " ".join(make_visible(said) for verdict, said in found if verdict != UNKNOWN)


def say_saliency(facts: Facts) -> str:
    """By what an answer is explained."""
    if not facts.has_model:
        return ""
    return (
        "Grad-CAM of the last features, for and against the positive class, on one scale for all "
        "images; laid over each picture that is judged. It shows where evidence lies, not why, and "
        "was not compared with marks that a reader made."
    )


def say_external(facts: Facts) -> str:
    """What it was worth on the images of another folder."""
    said = []
    for found in facts.evaluations:
        level, unit = facts.choose_level(found.metrics, are_patients_known=found.are_patients_known)
        sentence = f"On '{found.name}': {_say_level(level, unit)}"
        doubts = _list_doubts(found.metrics)
        said.append(f"{sentence} {' '.join(doubts)}".strip())
    return " ".join(said)


def say_failures(facts: Facts) -> str:
    """How many are called wrongly, and which way."""
    rows, threshold = facts.predictions, facts.decision.threshold
    if rows is None or rows.empty:
        return ""
    negative, positive = facts.class_names
    said = []
    by = "patient" if facts.origin.are_patients_known else "case"
    for table, unit in ((pool_patients(rows), by), (rows, "image")):
        if table is not None and (table is rows or len(table) < len(rows)):
            is_called = table["probability"] >= threshold
            num_missed = int((~is_called & (table["label"] == 1)).sum())
            num_alarms = int((is_called & (table["label"] == 0)).sum())
            said.append(
                f"Of {say_number(len(table), unit)} {num_missed} '{positive}' were missed and "
                f"{num_alarms} '{negative}' were called '{positive}'."
            )
    return f"{' '.join(said)} The report shows the worst mistakes."


def say_events(facts: Facts) -> str:
    """How many there were to learn from and to judge by, and how many of these were positive."""
    if facts.index is None or facts.level is None:
        return ""
    level, unit = facts.level
    training = facts.say_images(facts.index.select("train"))
    if facts.is_crossed:
        training = f"all folds but one of {training}, by each member"
    return (
        f"Fitted on {training}; judged on {level['accuracy']['n']} {unit}, of "
        f"which {level['sensitivity']['n']} '{facts.class_names[1]}'."
    )


def say_unfamiliar(facts: Facts) -> str:
    """What happens with a picture that is unlike those of training."""
    if not facts.run.path("familiarity.json").is_file():
        return ""
    return (
        "A file that cannot be decoded is refused with the reason. A picture that is less like the "
        "training images than 95 % of these are themselves gets no class, and the predict page "
        "says what is unusual about it."
    )


def say_limits(facts: Facts) -> str:
    """What the numbers do not allow to claim."""
    said = ["For research and teaching, not for diagnosis."]
    if facts.origin.is_synthetic:
        said.append("All images are synthetic.")
    if facts.index is not None and not facts.origin.are_patients_known:
        said.append("Patients are not known for all images.")
    if facts.level is not None:
        level, unit = facts.level
        said.append(f"Judged on {say_number(level['accuracy']['n'], unit.removesuffix('s'))}.")
    if not facts.evaluations:
        said.append("Not judged on data of another place.")
    if not facts.checks:
        said.append("Not tested against worse images or shortcuts.")
    chosen = _list_chosen(facts)
    if chosen and facts.level is not None:
        said.append(f"On the validation images {join_words(chosen)}.")
    if facts.study is not None:
        said.append(facts.study.caution)
    return " ".join(filter(None, said))


def _say_level(level: Level, unit: str) -> str:
    said = f"{say_worth(level, unit)}."
    if level["accuracy"]["n"] == 0:
        return said
    numbers = [f"{title} {say_percent(level[name])}" for name, title in _PERCENTS.items()][1:]
    return f"{said} {_capitalise(', '.join(numbers))}, AUC {say_auc(level['auc'])}."


def _list_doubts(metrics: Mapping[str, Any]) -> list[str]:
    known = {
        "num_images_of_training_patients": "bear the name of a patient of training",
        "num_validation_images": "are images that the model was validated on",
    }
    return [
        f"{say_number(int(metrics[name]), 'of its images', 'of its images')} {what}."
        for name, what in known.items()
        if metrics.get(name)
    ]


def _capitalise(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
