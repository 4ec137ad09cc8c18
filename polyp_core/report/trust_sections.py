"""The sections on how far to trust a model: summary, checks, saliency, limits, how to repeat."""

from polyp_core import words
from polyp_core.answers.drawing import draw_ramp
from polyp_core.errors import PolypError
from polyp_core.report.axes import make_axis, make_share_axis
from polyp_core.report.charts import BLUE, Line, Mark, Points, draw_chart, escape
from polyp_core.report.facts import RunFacts
from polyp_core.report.figures import draw_intervals
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
from polyp_core.report.repeating import DATA, check_command, write_command
from polyp_core.report.result_sections import say_no_numbers
from polyp_core.report.verdicts import (
    CHECKS,
    choose_measure,
    list_limits,
    list_shortcuts,
    list_verdicts,
)
from polyp_core.report.wording import (
    SIGN,
    Plain,
    say_robustness,
)
from polyp_core.summaries import name_data

_NOT_TESTED = (
    "Not tested: nobody has run the checks of robustness and shortcuts. They are started on the "
    "results page, or by: python -m polyp_core check RUN."
)
_AXES = {
    "noise": "SD (of 255 grey levels)", "blur": "SD (% of the width)", "gain": "dB, up or down",
    "rotation": "Degrees, left or right", "jpeg": "100 less the quality",
}  # fmt: skip


def write_summary(facts: RunFacts) -> str:
    """What the model is worth in one sentence, and the verdict on each question."""
    text = f'<p class="lead">{escape(_say_worth(facts))}</p>\n'
    if facts.config is not None and facts.config.training.shuffled_labels:
        text += write_warning("A control with shuffled labels: it is no model of anything.")
    rows = []
    if facts.metrics is not None:
        level, unit = words.get_main_level(facts.metrics)
        rows.append(("Validation", level["accuracy"]))
        if "test" in facts.metrics:
            rows.append(("Test", words.get_main_level(facts.metrics["test"])[0]["accuracy"]))
        for files, metrics in facts.evaluations:
            rows.append((files.name, words.get_main_level(metrics)[0]["accuracy"]))
        baseline = level["majority_accuracy"]["value"]
        text += draw_intervals(rows, baseline or 0.0, f"Accuracy, by {unit[:-1]}")
    return text + write_facts(list_verdicts(facts))


def write_robustness(facts: RunFacts) -> str:
    """What the checks of shortcuts and of worse images have found."""
    checks = facts.checks
    if checks is None:
        return write_missing(_NOT_TESTED)
    if not checks.keys() >= CHECKS:
        return write_missing("The checks are of another version and cannot be read. Run them anew.")
    text = write_heading("Does it look where it should?")
    for verdict, said in list_shortcuts(checks):
        text += write_warning(f"A sign of a shortcut. {said}") if verdict == SIGN else (
            write_paragraph(said)
        )  # fmt: skip
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
    intro = write_paragraph(
        "Validation images of each class, evenly over their probabilities, from the least to the "
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
             "processor": "Processor", "threads": "Threads"}  # fmt: skip
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
    config, index = facts.config, facts.index
    command = write_command(config, index, facts.study)
    text = ""
    if facts.is_demo:
        text += write_paragraph("Draw the images first:")
        text += f"<pre>python -m polyp_core demo {DATA} --patients 200</pre>\n"
    text += f"<pre>{escape(command)}</pre>\n"
    text += write_paragraph(
        f"{DATA} stands for the folder or manifest of the images, here "
        f"'{clip(name_data(config.data.folder))}'. The index.csv of the run names every image with "
        "its sha256, patient and split; with the same images, versions and number of threads the "
        "result is the same to the last digit."
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
    level, unit = words.get_main_level(facts.metrics)
    said = f"On validation {words.say_worth(level, unit)}. {words.say_doubt(level)}".strip()
    if "test" in facts.metrics:
        level, unit = words.get_main_level(facts.metrics["test"])
        said += f" On test images {words.say_worth(level, unit)}. {words.say_doubt(level)}".rstrip()
    return said


def _draw_effect(effect: Plain, unit: str, measure: str) -> str:
    rows = [level[unit][measure] for level in effect["levels"]]
    strengths = [float(level["strength"]) for level in effect["levels"]]
    values = [float(row["value"]) for row in rows]
    low, high = ([float(row[end]) for row in rows] for end in ("low", "high"))
    x = make_axis(_AXES.get(effect["effect"], str(effect["unit"])), strengths)
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
