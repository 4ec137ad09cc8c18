"""The sections on what the model is worth: numbers, calibration, threshold, mistakes."""

import numpy as np

from polyp_core import words
from polyp_core.decision import is_threshold_chosen, list_decided
from polyp_core.evaluation import list_left_out
from polyp_core.evidence.goals import Band
from polyp_core.evidence.wording import NAMES, Plain, list_reasons, say_number
from polyp_core.metrics import estimate_share
from polyp_core.report.facts import UNITS, Judged, RunFacts
from polyp_core.report.figures import (
    draw_calibration,
    draw_matrix,
    draw_precision_recall,
    draw_roc,
    draw_spread,
)
from polyp_core.report.gallery import NUM_MISTAKES, write_mistakes
from polyp_core.report.page import (
    clip,
    write_heading,
    write_list,
    write_missing,
    write_note,
    write_paragraph,
    write_row,
    write_table,
    write_warning,
)
from polyp_core.words import NBSP, join_words

_BASIC = ("accuracy", "majority_accuracy", "sensitivity", "specificity", "ppv", "npv", "auc")


def say_no_numbers(facts: RunFacts) -> str:
    """Why there is nothing to report on what the model is worth."""
    if facts.state == "finished":
        return "There are no predictions: predictions.csv is missing or damaged."
    return f"There are no numbers: the run is {facts.state}, and only a finished one is judged."


def say_standing(facts: RunFacts) -> str:
    """What validation images were used for before, and so what the numbers are not."""
    if facts.config is None:
        return ""
    chosen = facts.choices
    if facts.ensemble is not None:
        said = (
            f"Each image was judged by the members that had not seen it. {facts.ensemble.caution}"
        )
        decided = list_decided(facts.run)
        if decided:
            said = f"{said.strip()} On these same images {join_words(decided)}."
        return said.strip()
    if not chosen:
        return "This is validation. Neither epoch nor threshold was chosen on these images."
    return (
        f"This is validation, no test: on these same images {join_words(chosen)}, so the numbers "
        "lean to the good side."
    )


def write_performance(facts: RunFacts) -> str:
    """All numbers by image and by patient, with the figures of ranking and answers."""
    text = ""
    if facts.validation is not None:
        text += write_heading("Validation") + write_paragraph(say_standing(facts))
        text += _write_judged(facts, facts.validation)
    elif facts.metrics is not None:
        text += write_missing(
            "There are no predictions of single images, so there are no curves; the numbers are "
            "those that were written when the run finished."
        )
        text += _write_basic(facts.metrics)
    else:
        text += write_missing(say_no_numbers(facts))
    if facts.test is not None:
        text += write_heading("Test") + write_paragraph(
            "These images played no part in training, nor in choosing epoch or threshold. It stays "
            "a test as long as nothing is chosen by it."
        )
        text += _write_judged(facts, facts.test)
    elif facts.validation is not None:
        text += write_missing(
            "There are no test images: nothing here was judged on images that played no part."
        )
    text += _write_external(facts)
    return text


def write_calibration(facts: RunFacts) -> str:
    """Whether a probability is what it says, before and after the temperature."""
    judged = facts.validation
    if judged is None:
        return write_missing(say_no_numbers(facts))
    level, numbers = judged.levels["image"], judged.numbers["image"]
    known = (facts.metrics or {}).get("calibration")
    text, table = "", ""
    if known:
        text += write_paragraph(
            f"Every logit is divided by a temperature of {known['temperature']:.3f}, fitted on the "
            f"validation images. {_say_temperature(known['temperature'])}"
        )
        losses = [
            (title, f"{known[key]['before']:.3f}", f"{known[key]['after']:.3f}")
            for key, title in (("log_loss", "Log loss"), ("brier", "Brier score"))
        ]
        heads = (f"Of {known['n']:,} images", "Without", "With temperature")
        table = write_table(heads, losses)
    else:
        text += write_missing("Whether a temperature was fitted is not kept with this run.")
    text += write_row([draw_calibration(level, facts.class_names[1]), f"<div>{table}</div>"])
    names = (
        "expected_calibration_error", "calibration_slope", "calibration_intercept", "brier",
        "log_loss",
    )  # fmt: skip
    rows = [
        (NAMES[name].title, NAMES[name].meaning, say_number(numbers[name], NAMES[name].form),
         f"{numbers[name]['n']:,}")
        for name in names
    ]  # fmt: skip
    text += write_table(("Number", "What it says", "By image", "n"), rows, num_text=2)
    return text + write_note(
        "Temperature and curve rest on the same images, so calibration looks a little better here "
        "than on new ones."
    )


def _say_temperature(temperature: float) -> str:
    if abs(temperature - 1) < 0.0005:
        return "It changes nothing."
    if temperature > 1:
        return "It is above 1: the network was too sure of itself."
    return "It is below 1: the network was not sure enough of itself."


def write_threshold(facts: RunFacts) -> str:
    """What the threshold is for, and the band in which no answer is given."""
    decision, judged = facts.decision, facts.validation
    positive = clip(facts.class_names[1], 40)
    text = write_paragraph(
        f"An image is called {positive} from a probability of "
        f"{words.write_threshold(decision.threshold)} on{_say_purpose(facts)}."
    )
    text += write_paragraph(_say_band(decision.band, decision.target_error))
    if judged is None:
        return text + write_missing(say_no_numbers(facts))
    level, band = judged.main, decision.band
    if band is not None and band.low < band.high:
        is_answered = ~band.holds(level.probabilities)
        answered = estimate_share(is_answered, level.clusters)
        is_right = (level.probabilities >= decision.threshold) == (level.labels == 1)
        right = estimate_share(is_right[is_answered], level.clusters[is_answered])
        text += write_table(
            ("With the band", "Share (95 % interval)", "n"),
            [
                (f"Answered, of all {UNITS[judged.unit]}", words.say_percent(vars(answered)),
                 f"{answered.n:,}"),
                ("Right, of those answered", words.say_percent(vars(right)), f"{right.n:,}"),
            ],
        )  # fmt: skip
    names = facts.class_names
    return text + write_row(
        [
            draw_spread(level, names, decision.threshold, band),
            draw_matrix(level, names, decision.threshold),
        ]
    )


def _say_purpose(facts: RunFacts) -> str:
    """What the threshold is for, or that nobody chose it."""
    goal = facts.decision.goal
    if goal.kind != "hand":
        counted = "patients" if facts.decision.level == "patient" else "single images"
        return f": it is for {goal.say()}, and was chosen on {counted}"
    return f", {goal.say() if is_threshold_chosen(facts.run) else 'as the model came'}"


def write_failures(facts: RunFacts) -> str:
    """The mistakes the model was surest of."""
    if facts.validation is None:
        return write_missing(say_no_numbers(facts))
    negative, positive = (clip(name, 40) for name in facts.class_names)
    alarms, num_alarms = write_mistakes(facts, is_positive=False)
    misses, num_misses = write_mistakes(facts, is_positive=True)
    n, num_wrong = len(facts.validation.table), num_alarms + num_misses
    text = write_paragraph(
        f"{num_wrong:,} of {n:,} validation images were judged wrongly at the threshold: "
        f"{num_alarms:,} called {positive}, but {negative}; {num_misses:,} called {negative}, but "
        f"{positive}."
    )
    if num_wrong and not alarms and not misses:
        text += write_missing(
            "Their pictures would stand here. The images were not at hand when this was written, "
            "or the model cannot be opened."
        )
        return text + _list_worst(facts.validation)
    if alarms or misses:
        text += write_note(f"Below each its name, and the probability of {positive}.")
    for figures, number, title in (
        (alarms, num_alarms, f"Called {positive}, but {negative}"),
        (misses, num_misses, f"Called {negative}, but {positive}"),
    ):
        if figures:
            text += write_heading(title) + write_row(figures, "pictures")
        if figures and number > len(figures):
            text += write_note(
                f"Shown are {len(figures)} of {number:,}: those it was surest of, among the images "
                "that are still there."
            )
    return text


def _write_judged(facts: RunFacts, judged: Judged) -> str:
    level, numbers = judged.main, judged.numbers
    units = [unit for unit in ("patient", "image") if unit in numbers]
    heads = ["Number", "What it says"]
    for unit in units:
        heads += [f"By {unit}", "n"]
    rows = []
    for name, known in NAMES.items():
        if name not in numbers[units[0]]:  # what no prevalence was asked for
            continue
        cells = [known.title, known.meaning]
        for unit in units:
            metric = numbers[unit][name]
            cells += [say_number(metric, known.form), f"{metric['n']:,}"]
        rows.append(cells)
    text = write_table(heads, rows, num_text=2)
    cluster = UNITS[judged.levels[units[0]].cluster_unit]
    text += write_note(
        f"At the threshold of {words.write_threshold(judged.threshold)}, with an answer for all. "
        "In brackets the 95 % interval: Wilson's for proportions, DeLong's for the AUC, for the "
        f"others the middle 95 % of 2,000 bootstrap samples; all of whole {cluster}."
    )
    text += write_list(list_reasons(numbers))
    num_left = judged.table["group"].nunique() - len(level.labels)
    if judged.unit == "patient" and num_left:
        text += write_note(
            f"{words.say_number(num_left, 'patient')} with images of both classes left out of the "
            "numbers by patient."
        )
    of_level = numbers[judged.unit]
    return text + write_row(
        [
            draw_roc(level, of_level["auc"], judged.threshold),
            draw_precision_recall(level, of_level["average_precision"], judged.threshold),
        ]
    )


def _write_basic(metrics: Plain) -> str:
    units = [unit for unit in ("patient", "image") if unit in metrics]
    heads = ["Number", "What it says"]
    for unit in units:
        heads += [f"By {unit}", "n"]
    rows = []
    for name in _BASIC:
        cells = [NAMES[name].title, NAMES[name].meaning]
        for unit in units:
            metric = metrics[unit][name]
            cells += [say_number(metric, NAMES[name].form), f"{metric['n']:,}"]
        rows.append(cells)
    threshold = metrics.get("threshold")
    return write_table(heads, rows, num_text=2) + (
        write_note(f"At the threshold of {words.write_threshold(threshold)}.")
        if threshold is not None else ""
    )  # fmt: skip


def _write_external(facts: RunFacts) -> str:
    text = write_heading("Other data")
    if not facts.evaluations:
        return text + write_missing(
            "Not tested on images of another folder. Such a test is started on the results page, "
            "or by: python -m polyp_core evaluate RUN FOLDER."
        )
    for files, metrics in facts.evaluations:
        level, unit = words.get_main_level(metrics)
        text += write_paragraph(
            f"{clip(files.name, 80)}: {words.say_worth(level, unit)}. "
            f"{words.say_doubt(level, facts.decision.goal.purpose)}"
        )
        text += _write_basic(metrics)
        text += write_list(list_left_out(metrics))
    return text


def _say_band(band: Band | None, target_error: float | None) -> str:
    if band is None or band.low == band.high:
        return "Every image is answered; there is no band in which the model is to give none."
    target = (
        f", so that no more than {100 * target_error:.4g}{NBSP}% of the answers are wrong"
        if target_error is not None else ""
    )  # fmt: skip
    return f"From {100 * band.low:.3g} to {100 * band.high:.3g}{NBSP}% no answer is given{target}."


def _list_worst(judged: Judged) -> str:
    table = judged.table
    is_wrong = (table["probability"] >= judged.threshold) != (table["label"] == 1)
    wrong = table[is_wrong]
    far = np.argsort(-(wrong["probability"] - judged.threshold).abs().to_numpy(), kind="stable")
    rows = [
        (clip(row["path"], 60), f"{100 * row['probability']:.0f} %")
        for _, row in wrong.iloc[far[: 2 * NUM_MISTAKES]].iterrows()
    ]
    return write_table(("The mistakes it was surest of", "Probability"), rows)


def find_calibration(facts: RunFacts) -> Plain | None:
    """The expected calibration error by image; None where nothing was judged."""
    if facts.validation is None:
        return None
    found: Plain = facts.validation.numbers["image"]["expected_calibration_error"]
    return found


def warn_of_state(facts: RunFacts) -> str:
    """That a run is no finished one; nothing where it is."""
    if facts.state == "finished":
        return ""
    message = str(facts.status.get("message", "")).strip()
    return write_warning(f"This run is {facts.state}. {message}".strip())
