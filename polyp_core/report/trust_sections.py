"""The sections on how far to trust a model: summary, checks, saliency, limits, how to repeat."""

from polyp_core import words
from polyp_core.answers.drawing import draw_ramp
from polyp_core.checks.wording import AXES, SIGN, choose_measure, list_shortcuts, say_robustness
from polyp_core.errors import PolypError
from polyp_core.evidence.wording import Plain
from polyp_core.report.axes import make_axis, make_share_axis
from polyp_core.report.charts import BLUE, Line, Mark, Points, draw_chart, escape
from polyp_core.report.facts import RunFacts
from polyp_core.report.figures import Interval, draw_intervals
from polyp_core.report.gallery import write_panel
from polyp_core.report.page import (
    clip,
    write_facts,
    write_figure,
    write_heading,
    write_list,
    write_missing,
    write_note,
    write_paragraph,
    write_row,
    write_warning,
)
from polyp_core.report.repeating import DATA, WEIGHTS, check_command, write_command
from polyp_core.report.result_sections import say_no_numbers
from polyp_core.report.verdicts import (
    list_limits,
    list_verdicts,
)
from polyp_core.summaries import name_data

_NOT_TESTED = (
    "Not tested: nobody has run the checks of robustness and shortcuts. They are started on the "
    "results page, or by: python -m polyp_core check RUN."
)
_UNREADABLE = "The checks are damaged or of another version and cannot be read. Run them anew."


def write_summary(facts: RunFacts) -> str:
    """What the model is worth in one sentence, and the verdict on each question."""
    text = f'<p class="lead">{escape(_say_worth(facts))}</p>\n'
    if facts.config is not None and facts.config.training.shuffled_labels:
        text += write_warning("A control with shuffled labels: it is no model of anything.")
    if facts.metrics is not None:
        judged = [("Validation", facts.metrics)]
        if "test" in facts.metrics:
            judged.append(("Test", facts.metrics["test"]))
        judged += [(files.name, metrics) for files, metrics in facts.evaluations]
        rows = []
        for name, metrics in judged:
            level, unit = words.get_main_level(metrics)
            baseline = level["majority_accuracy"]["value"]
            rows.append(Interval(name, level["accuracy"], baseline, unit))
        text += draw_intervals(rows, "Accuracy")
    return text + write_facts(list_verdicts(facts))


def write_robustness(facts: RunFacts) -> str:
    """What the checks of shortcuts and of worse images have found."""
    checks = facts.checks
    if checks is None:
        return write_missing(_UNREADABLE if facts.has_damaged_checks else _NOT_TESTED)
    text = write_heading("Does it look where it should?")
    for verdict, said in list_shortcuts(checks):
        text += write_warning(said) if verdict == SIGN else write_paragraph(said)
    text += write_heading("Does it bear worse images?")
    effects, (unit, measure) = checks["robustness"], choose_measure(checks)
    text += write_paragraph(say_robustness(effects, unit, measure))
    text += write_row([_draw_effect(effect, unit, measure) for effect in effects], "charts three")
    left = words.say_number(checks["num_left_out"], "file")
    return text + write_note(
        f"On {checks['num_images']:,} of {checks['num_validation_images']:,} validation images"
        + (f" of {checks['num_patients']:,} patients, by patient" if unit == "patient" else "")
        + (f"; {left} left out, gone or changed since" if checks["num_left_out"] else "")
        + ". None of this proves that a model is sound; each can show that it is not."
    )


def write_saliency(facts: RunFacts) -> str:
    """Images of each class beside what the model saw in them."""
    text, has_any = "", False
    for label, name in enumerate(facts.class_names):
        figures = write_panel(facts, label)
        if figures:
            has_any = True
            text += write_heading(f"Truly {clip(name, 60)}")
            text += write_row(figures, "pictures wide")
    if not has_any:
        why = "the model cannot be opened" if facts.classifier is None else (
            "the validation images were not at hand"
        )  # fmt: skip
        return write_missing(f"Pictures with what the model saw would stand here, but {why}.")
    kind = "Validation images"
    if facts.ensemble is not None and facts.ensemble.has_folds:
        text = write_warning(
            "Most members were trained on these very images, so the probabilities here are those "
            "of the ensemble on images that it knows, not the ones that were judged above."
        ) + text  # fmt: skip
        kind = "Images"
    intro = write_paragraph(
        f"{kind} of each class, evenly over their probabilities, from the least to the "
        f"greatest probability of {clip(facts.class_names[1], 40)}. Beside each, bright: what "
        "speaks for the answer that was given."
    )
    return (
        intro
        + f'<div class="ramp">{draw_ramp()}</div>'
        + text
        + write_note(
            "The colours show what the model reacted to (Grad-CAM, Selvaraju et al. 2017). They do "
            "not show where a finding is, nor how large it is."
        )
    )


def write_limits(facts: RunFacts) -> str:
    """What must not be concluded."""
    return write_list(list_limits(facts))


def write_environment(facts: RunFacts) -> str:
    """Versions and device of the worker, and the fingerprint of the model."""
    known = facts.environment
    rows = [("Model (sha256)", facts.serving.get("sha256", "none") or "none")]
    largest = facts.serving.get("largest_difference")
    if isinstance(largest, float):
        rows.append(
            ("Conversion", f"LiteRT differs from Keras by at most {largest:.1e} on "
             f"{facts.serving.get('compared_images', 'some')} images")
        )  # fmt: skip
    names = {"polyp_core": "This program", "python": "Python", "platform": "System",
             "processor": "Processor", "threads": "Threads",
             "onednn": "TF_ENABLE_ONEDNN_OPTS"}  # fmt: skip
    rows += [(title, str(known[key])) for key, title in names.items() if known.get(key)]
    if isinstance(known.get("devices"), list):
        rows.append(("Devices", ", ".join(map(str, known["devices"]))))
    packages = known.get("packages")
    if isinstance(packages, dict):
        rows += [(str(name), str(version)) for name, version in packages.items() if version]
    text = write_facts((term, clip(str(said), 200)) for term, said in rows)
    if not known:
        text += write_missing("Which versions trained it was not kept with the run.")
    return text


def write_repeat(facts: RunFacts) -> str:
    """The exact command, and what else has to be the same."""
    if facts.config is None:
        return write_missing("The settings of this run cannot be read.")
    config, index, study = facts.config, facts.index, facts.origin.study
    has_own_weights = facts.origin.has_own_backbone_weights
    command = write_command(
        config, index, study.plan if study else None, has_own_weights=has_own_weights
    )
    text = ""
    if facts.member is not None:
        text += write_paragraph(
            "The command repeats the whole study, of which this training is the member "
            f"'{clip(facts.member.member, 80)}'."
        )
    if facts.origin.is_demo:
        text += write_paragraph("Draw the images first:")
        text += f"<pre>python -m polyp_core demo {DATA} --patients 200</pre>\n"
    text += f"<pre>{escape(command)}</pre>\n"
    text += write_paragraph(
        f"{DATA} stands for the folder or manifest of the images, here "
        f"'{clip(name_data(config.data.folder))}'. The index.csv of the run names every image with "
        "its sha256, patient and split; with the same images, versions, kind of processor and "
        "number of threads the result is the same to the last digit."
    )
    if has_own_weights:
        text += write_paragraph(
            f"{WEIGHTS} stands for the file of weights that the backbone began from. It is needed."
        )
    if facts.was_ended_by_hand:
        text += write_warning(
            f"Training was ended by hand after {len(facts.history)} of {config.training.epochs} "
            f"epochs. The command goes on to {config.training.epochs}: end it by hand after epoch "
            f"{len(facts.history)} as well, with Finish now on the page of the run."
        )
    if facts.origin.is_shared:
        text += write_note(
            "This copy was given away, and with it neither the folder of the images nor a pattern "
            "that finds the patients in file names. Where one was used the command needs it too."
        )
    if not check_command(config, index):
        text += write_warning(
            "Not every setting can be written in a command line. Take the config.json of the run."
        )
    return text


def write_checklists(facts: RunFacts) -> str:
    """The sheets of CLAIM and TRIPOD+AI, as far as the run and people have answered them."""
    from polyp_core.checklists import SHEETS, write_sheet_html_part

    try:
        return "".join(write_sheet_html_part(facts.run, sheet) for sheet in SHEETS)
    except PolypError as error:  # the files of the run are damaged
        return write_missing(f"The checklists cannot be filled in. {error}")


def _say_worth(facts: RunFacts) -> str:
    if facts.metrics is None:
        return say_no_numbers(facts)
    purpose = facts.decision.goal.purpose
    level, unit = words.get_main_level(facts.metrics)
    said = (
        f"On validation {words.say_worth(level, unit)}. {words.say_doubt(level, purpose)}".strip()
    )
    if "test" in facts.metrics:
        level, unit = words.get_main_level(facts.metrics["test"])
        doubt = words.say_doubt(level, purpose)
        said += f" On test images {words.say_worth(level, unit)}. {doubt}".rstrip()
    return said


def _draw_effect(effect: Plain, unit: str, measure: str) -> str:
    rows = [level[unit][measure] for level in effect["levels"]]
    strengths = [float(level["strength"]) for level in effect["levels"]]
    values = [float(row["value"]) for row in rows]
    low, high = ([float(row[end]) for row in rows] for end in ("low", "high"))
    x = make_axis(AXES.get(effect["effect"], str(effect["unit"])), strengths)
    y = make_share_axis("Accuracy") if measure == "accuracy" else make_axis(
        "AUC", [min(0.4, *low), 1.0]
    )  # fmt: skip
    marks: list[Mark] = [
        Line(x=strengths, y=values, width=1.2),
        Points(x=strengths, y=values, low=low, high=high, colour=BLUE, radius=3.5),
    ]
    alt = f"{measure} under {effect['title']}: from {values[0]:.2f} to {values[-1]:.2f}"
    drawing = draw_chart(x, y, marks, alt, width=230, height=190, left=48)
    return write_figure(drawing, str(effect["title"]))
