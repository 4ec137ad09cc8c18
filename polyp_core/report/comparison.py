"""A study becomes a page: its members, what they say together, and which differences are real."""

from datetime import datetime
from typing import Any

import pandas as pd

from polyp_core import words
from polyp_core.decision import is_sound
from polyp_core.evidence.wording import NAMES, say_number
from polyp_core.learning_curve import METRICS, Learning, read_learning, say_learning_curve
from polyp_core.report.axes import make_axis, make_share_axis
from polyp_core.report.charts import BLUE, MUTED, Band, Line, Mark, Points, draw_chart, escape
from polyp_core.report.figures import Interval, draw_intervals
from polyp_core.report.page import (
    clip,
    write_figure,
    write_list,
    write_missing,
    write_note,
    write_page,
    write_paragraph,
    write_row,
    write_table,
    write_warning,
)
from polyp_core.report.pairing import write_differences
from polyp_core.report.repeating import DATA, WEIGHTS, write_command
from polyp_core.study import Study
from polyp_core.words import join_words

_SHOWN = ("accuracy", "sensitivity", "specificity", "auc")
_MOST_DRAWN = 30


def write_comparison(study: Study, *, made_at: datetime | None = None) -> str:
    """One self-contained HTML page that compares the members of a study.

    Args:
        study: Finished or not; what is missing is said in its place.
        made_at: Defaults to now, in local time.

    Raises:
        RunError: If its plan or its index cannot be read.
    """
    title = study.files.read_notes()["title"].strip() or study.name
    sections = {
        "summary": ("Summary", _write_summary(study)),
        "members": ("Members", _write_members(study)),
        "differences": ("Differences between seeds", write_differences(study)),
        "learning": ("What more images would give", _write_learning(study)),
        "limits": ("Limits", write_list(_list_limits(study))),
        "repeat": ("How to repeat it", _write_repeat(study)),
    }
    when = made_at or datetime.now().astimezone()
    return write_page(f"Comparison: {clip(title, 120)}", when, "", sections)


def _write_summary(study: Study) -> str:
    metrics, plan = _read_metrics(study), study.read_plan()
    shares = [f"{100 * share:g} %" for share in plan["shares"]]
    made = (
        f"{words.say_number(plan['num_folds'], 'fold')} × "
        f"{words.say_number(len(plan['seeds']), 'seed')}"
        + (f" × {len(shares)} shares of the training images ({', '.join(shares)})"
           if len(shares) > 1 else "")
    )  # fmt: skip
    differing = [
        name for name, is_many in (
            ("the images they were trained and judged on (fold)", plan["num_folds"] > 1),
            ("the seed of weights, order and augmentation", len(plan["seeds"]) > 1),
            ("how many images they were trained on (share)", len(shares) > 1),
        ) if is_many
    ]  # fmt: skip
    text = ""
    if metrics is None:
        text += write_missing("There are no numbers yet: no member is finished.")
    else:
        level, unit = words.get_main_level(metrics)
        said = f"Together: {words.say_worth(level, unit)}. {words.say_doubt(level)}".strip()
        text += f'<p class="lead">{escape(said)}</p>\n'
    text += write_paragraph(
        f"A study of {made}. Its members differ in "
        f"{join_words(differing) or 'nothing: there is one'}; all else is the same."
    )
    if metrics is None:
        return text
    text += write_paragraph(
        f"{metrics['num_finished']} of {metrics['num_members']} whole members are finished. "
        f"{metrics['level_note'][:1].upper()}{metrics['level_note'][1:]}. {metrics['caution']}"
    )
    if metrics["num_finished"] < metrics["num_members"]:
        text += write_warning("The study is not complete; the numbers will change.")
    return text + _tabulate_pooled(metrics)


def _tabulate_pooled(metrics: dict[str, Any]) -> str:
    units = [unit for unit in ("patient", "image") if unit in metrics]
    heads = ["Number"]
    for unit in units:
        heads += [f"Pooled, by {unit}", "n", f"Members, by {unit}: mean ± SD"]
    rows = []
    for name in (
        "accuracy",
        "majority_accuracy",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "auc",
    ):
        cells = [NAMES[name].title]
        for unit in units:
            metric = metrics[unit][name]
            spread = metrics["members"].get(unit, {}).get(name)
            cells += [say_number(metric, NAMES[name].form), f"{metric['n']:,}", _say_spread(spread)]
        rows.append(cells)
    return write_table(heads, rows) + write_note(
        "Pooled: every one judged once, with Wilson's or DeLong's 95 % interval, by image that of "
        "whole patients. The SD says how much a member's number varies. It is no standard error, "
        "since members share training images (Bengio and Grandvalet 2004)."
    )


def _say_spread(spread: dict[str, Any] | None) -> str:
    if spread is None or spread["mean"] is None:
        return ""
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.3f}"
    return f"{spread['mean']:.3f}{sd} (k = {spread['k']})"


def _write_members(study: Study) -> str:
    members = study.read_members()
    has_shares = members["share"].nunique() > 1
    rows: list[tuple[str, ...]] = []
    points: list[Interval] = []
    for row in members.to_dict("records"):
        numbers = {name: _take(row, name) for name in _SHOWN}
        n = numbers["accuracy"]["n"]
        rows.append(
            (str(row["fold"]), str(row["seed"]),
             *([f"{100 * row['share']:g} %"] if has_shares else []),
             row["state"], str(row["epochs"]),
             *(say_number(numbers[name], NAMES[name].form) if n else "" for name in _SHOWN),
             f"{n:,}" if n else "")
        )  # fmt: skip
        if n and row["share"] == 1:
            baseline = _find_baseline(study, row["name"])
            points.append(Interval(row["name"], numbers["accuracy"], baseline, row["level"]))
    unit = next((level for level in members["level"] if level), "images")
    heads = ("Fold", "Seed", *(["Share"] if has_shares else []), "State", "Epochs",
             *(NAMES[name].title for name in _SHOWN), f"n {unit}")  # fmt: skip
    text = write_table(heads, rows)
    if points:
        text += draw_intervals(points[:_MOST_DRAWN], "Accuracy of whole members")
        if len(points) > _MOST_DRAWN:
            text += write_note(f"The first {_MOST_DRAWN} of {len(points)} are drawn.")
    return text + write_note(
        "Members of different folds judged different images, so their numbers differ by that as "
        "well. The best of many members is not a better model: of 20 members about one has an "
        "interval that misses the truth by chance alone."
    )


def _find_baseline(study: Study, name: str) -> float | None:
    """The share of the more frequent class in what a member was judged on."""
    metrics = next(each.run.read_metrics() for each in study.members if each.run.name == name)
    if metrics is None or not is_sound(metrics):
        return None
    value: float | None = words.get_main_level(metrics)[0]["majority_accuracy"]["value"]
    return value


def _read_metrics(study: Study) -> dict[str, Any] | None:
    """The numbers of all members together; None before there are any, or where they are damaged."""
    metrics = study.read_metrics()
    if metrics is None or not is_sound(metrics):
        return None
    counts = [metrics.get(name) for name in ("num_finished", "num_members")]
    texts = [metrics.get(name) for name in ("level_note", "caution")]
    is_whole = all(isinstance(count, int) for count in counts) and all(
        isinstance(text, str) for text in texts
    )
    return metrics if is_whole and isinstance(metrics.get("members"), dict) else None


def _take(row: dict[Any, Any], name: str) -> dict[str, Any]:
    """A metric of a row of `Study.read_members`, None where it is NaN."""
    kept = {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
    plain = {key: None if pd.isna(value) else float(value) for key, value in kept.items()}
    n = row[f"{name}_n"]
    return plain | {"n": 0 if pd.isna(n) else int(n)}


def _write_learning(study: Study) -> str:
    learning = read_learning(study)
    if learning is None:
        return write_missing(
            "Not asked, or not finished: a learning curve needs members that were trained on fewer "
            "images. Start such a study with: python -m polyp_core study DATA --shares "
            "25,50,75,100."
        )
    said = [say_learning_curve(learning.curve, outlook) for outlook in learning.outlooks]
    return write_list(said) + write_row(_draw_learning(learning, name) for name in METRICS)


def _draw_learning(learning: Learning, name: str) -> str:
    curve, seeds = learning.curve, learning.seeds
    if curve[name].isna().all():
        return ""
    outlook = next(one for one in learning.outlooks if one.metric == name)
    x, y = curve["num_training"].tolist(), curve[name].tolist()
    low, high = curve[f"{name}_low"].tolist(), curve[f"{name}_high"].tolist()
    marks: list[Mark] = [
        Band(x=x, low=low, high=high),
        Points(x=seeds["num_training"].tolist(), y=seeds[name].tolist(), colour=MUTED, radius=2.5),
        Line(x=x, y=y, width=1.4),
        Points(x=x, y=y, colour=BLUE),
    ]
    right = [*x]
    if outlook.value is not None and outlook.low is not None and outlook.high is not None:
        right.append(float(outlook.num_training))
        marks += [
            Line(x=[x[-1], outlook.num_training], y=[y[-1], outlook.value], dash="4 3", width=1.2),
            Points(x=[outlook.num_training], y=[outlook.value], low=[outlook.low],
                   high=[outlook.high], colour=MUTED),
        ]  # fmt: skip
    title = METRICS[name][:1].upper() + METRICS[name][1:]
    upright = make_share_axis(title) if name == "accuracy" else make_axis(title, [0.4, 1.0, *low])
    drawing = draw_chart(
        make_axis("Training images", [0.0, *right]), upright, marks,
        f"{title} by the number of training images", width=340, height=250,
    )  # fmt: skip
    return write_figure(
        drawing, "Blue: mean over the seeds with the 95 % band of whom was judged. Grey: single "
        "seeds. Dashes: what the fitted law expects of twice as many.",
    )  # fmt: skip


def _list_limits(study: Study) -> list[str]:
    plan = study.read_plan()
    num_members = len(study.members)
    return [
        f"{num_members} members were looked at. Whoever picks the best of them afterwards picks "
        "chance as well; the pooled number is the one to quote.",
        "Folds share training images, so their numbers are not independent, and no test between "
        "folds is made here.",
        "All images are of the same source. Folds do not replace a test on images of another "
        "hospital or scanner.",
        *(["With one seed a fold, how much chance there is in training itself cannot be told."]
          if len(plan["seeds"]) == 1 else []),
        "For research and teaching, not for diagnosis.",
    ]  # fmt: skip


def _write_repeat(study: Study) -> str:
    config = study.read_config()
    command = write_command(config, study.read_index(), study.read_plan())
    weights = (
        f" {WEIGHTS} stands for the file of weights that the backbones began from."
        if config.model.backbone_weights else ""
    )  # fmt: skip
    return f"<pre>{escape(command)}</pre>\n" + write_paragraph(
        f"{DATA} stands for the folder or manifest of the images.{weights} The index.csv of the "
        "study names every image with its sha256, patient and fold."
    )
