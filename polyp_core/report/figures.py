"""The figures of predictions: ROC, precision and recall, calibration, spread, confusion matrix."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polyp_core import words
from polyp_core.evidence import Level
from polyp_core.evidence.curves import (
    calibration_curve,
    precision_recall_curve,
    probability_histogram,
    roc_curve,
)
from polyp_core.evidence.goals import Band as NoAnswer
from polyp_core.evidence.scores import count_answers
from polyp_core.evidence.wording import NAMES, Plain, say_number
from polyp_core.report.axes import Axis, make_axis, make_share_axis
from polyp_core.report.charts import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    Band,
    Bars,
    Line,
    Mark,
    Points,
    draw_chart,
    escape,
)
from polyp_core.report.page import clip, write_figure

_DASH = "4 3"
_FEW = 100  # images from which on there are ten bins


def draw_roc(level: Level, auc: Plain, threshold: float) -> str:
    """Sensitivity against false alarms, with its band; "" where a class is absent."""
    curve = roc_curve(level.labels, level.probabilities, level.clusters)
    if curve.empty:
        return ""
    x = curve["false_positive_rate"].tolist()
    is_positive, is_called = level.labels == 1, level.probabilities >= threshold
    point = float(is_called[~is_positive].mean()), float(is_called[is_positive].mean())
    marks: list[Mark] = [
        Line(x=[0, 1], y=[0, 1], colour=MUTED, width=1, dash=_DASH),
        Band(x=x, low=curve["low"].tolist(), high=curve["high"].tolist()),
        Line(x=x, y=curve["sensitivity"].tolist()),
        Points(x=[point[0]], y=[point[1]], colour=INK),
    ]
    said = say_number(auc, NAMES["auc"].form)
    drawing = draw_chart(
        make_share_axis("False alarms (1 − specificity)"), make_share_axis("Sensitivity"), marks,
        f"ROC curve, AUC {said}, n = {auc['n']}", note=f"AUC {said}\nn = {auc['n']:,}",
    )  # fmt: skip
    return write_figure(
        drawing, "ROC curve with its 95 % band; the dot is the threshold, the dashes are guessing."
    )


def draw_precision_recall(level: Level, average: Plain, threshold: float) -> str:
    """How many of the called are positive; "" without positives."""
    curve = precision_recall_curve(level.labels, level.probabilities, level.clusters)
    if curve.empty:
        return ""
    x, share = curve["recall"].tolist(), float(level.labels.mean())
    is_positive, is_called = level.labels == 1, level.probabilities >= threshold
    marks: list[Mark] = [
        Line(x=[0, 1], y=[share, share], colour=MUTED, width=1, dash=_DASH),
        Band(x=x, low=curve["low"].tolist(), high=curve["high"].tolist()),
        Line(x=x, y=curve["precision"].tolist()),
    ]
    if is_called.any():
        point = float(is_called[is_positive].mean()), float(is_positive[is_called].mean())
        marks.append(Points(x=[point[0]], y=[point[1]], colour=INK))
    said = say_number(average, NAMES["average_precision"].form)
    drawing = draw_chart(
        make_share_axis("Sensitivity (recall)"), make_share_axis("PPV (precision)"), marks,
        f"Precision against recall, average precision {said}",
    )  # fmt: skip
    return write_figure(
        drawing, f"Precision and recall, average {said}. Dashes: the share of positives."
    )


def draw_calibration(level: Level, positive: str) -> str:
    """The share of positives among those of like probability; "" where there are none."""
    n = len(level.labels)
    num_bins = 10 if n >= _FEW else 5
    curve = calibration_curve(level.labels, level.probabilities, num_bins, groups=level.clusters)
    if curve.empty:
        return ""
    marks: list[Mark] = [
        Line(x=[0, 1], y=[0, 1], colour=MUTED, width=1, dash=_DASH),
        Line(x=curve["mean_probability"].tolist(), y=curve["observed"].tolist(), width=1),
        Points(
            x=curve["mean_probability"].tolist(), y=curve["observed"].tolist(),
            low=curve["low"].tolist(), high=curve["high"].tolist(),
        ),
    ]  # fmt: skip
    drawing = draw_chart(
        make_share_axis(f"Mean probability of {clip(positive, 24)}"),
        make_share_axis("Share that is positive"), marks,
        f"Calibration in {len(curve)} bins of {level.unit}s, n = {n}",
    )  # fmt: skip
    return write_figure(
        drawing, f"Reliability in {len(curve)} bins of about equally many {level.unit}s, with 95 % "
        "intervals. On the dashes a probability is what it says.",
    )  # fmt: skip


def draw_spread(
    level: Level, names: tuple[str, str], threshold: float, band: NoAnswer | None
) -> str:
    """How the probabilities of both classes are spread, with threshold and band."""
    table = probability_histogram(level.labels, level.probabilities)
    if table.empty:
        return ""
    most = float(table["count"].max())
    x = make_share_axis(f"Probability of {clip(names[1], 24)}")
    y = make_axis(f"{level.unit.capitalize()}s", [most], from_zero=True)
    marks: list[Mark] = []
    if band is not None and band.low < band.high:
        ends = [band.low, band.high]
        marks.append(Band(x=ends, low=[0, 0], high=[y.high] * 2, colour=MUTED))
    for label, colour in ((0, BLUE), (1, ORANGE)):
        rows = table[table["label"] == label]
        middle = ((rows["from_probability"] + rows["to_probability"]) / 2).tolist()
        starts, ends = (rows[f"{end}_probability"].tolist() for end in ("from", "to"))
        # Side by side within a bin, so that none hides the other.
        bars = (starts, middle) if label == 0 else (middle, ends)
        marks.append(
            Bars(starts=bars[0], ends=bars[1], heights=rows["count"].tolist(), colour=colour)
        )
    marks.append(Line(x=[threshold] * 2, y=[0, y.high], colour=INK, width=1.2, dash=_DASH))
    drawing = draw_chart(
        x, y, marks, f"Spread of the probabilities of {names[0]} and {names[1]}, n = "
        f"{len(level.labels)}",
    )  # fmt: skip
    grey = " Grey: no answer." if band is not None and band.low < band.high else ""
    return write_figure(
        drawing, f"Blue: {clip(names[0], 30)}; orange: {clip(names[1], 30)}. Dashes: the "
        f"threshold.{grey}",
    )  # fmt: skip


def draw_matrix(level: Level, names: tuple[str, str], threshold: float) -> str:
    """Answers against truth, with counts; the right ones in the colour of their class."""
    counts = count_answers(level.labels, level.probabilities, threshold, np.ones(len(level.labels)))
    hits, alarms, rejections, misses = (round(float(count)) for count in counts)
    negative, positive = (clip(name, 22) for name in names)
    cells = (
        (0, 0, rejections, BLUE, "true negative"), (1, 0, alarms, "", "false positive"),
        (0, 1, misses, "", "false negative"), (1, 1, hits, ORANGE, "true positive"),
    )  # fmt: skip
    parts = []
    for column, row, count, colour, kind in cells:
        x, y = 96 + column * 118, 42 + row * 88
        fill = f'fill="{colour}" fill-opacity="0.28"' if colour else 'fill="#f3f4f6"'
        parts.append(
            f'<rect x="{x}" y="{y}" width="114" height="84" {fill} stroke="#c9cdd2"/>'
            f'<text x="{x + 57}" y="{y + 42}" text-anchor="middle" font-size="22" '
            f'font-weight="650" fill="{INK}">{count:,}</text>'
            f'<text x="{x + 57}" y="{y + 64}" text-anchor="middle" fill="{MUTED}">{kind}</text>'
        )
    for place, name in enumerate((negative, positive)):
        parts.append(
            f'<text x="{153 + place * 118}" y="34" text-anchor="middle" fill="{INK}">'
            f"{escape(name)}</text>"
        )
        size = min(11.0, 140 / max(1, len(name)))  # so that a long name has room
        parts.append(
            f'<text x="90" y="{84 + place * 88}" text-anchor="end" fill="{INK}" '
            f'font-size="{size:.1f}">{escape(name)}</text>'
        )
    parts.append(f'<text x="214" y="14" text-anchor="middle" fill="{MUTED}">Answer</text>')
    parts.append(f'<text x="90" y="34" text-anchor="end" fill="{MUTED}">Truth</text>')
    alt = (
        f"Confusion matrix: {hits} true positives, {alarms} false positives, {rejections} true "
        f"negatives, {misses} false negatives"
    )
    drawing = (
        f'<svg viewBox="0 0 340 230" role="img" aria-label="{escape(alt)}" font-family="inherit" '
        f'font-size="11">{"".join(parts)}</svg>'
    )
    return write_figure(drawing, f"Counted by {level.unit}, at the threshold.")


class Interval(NamedTuple):
    """A row of `draw_intervals`: what was judged, its accuracy, its own baseline, what is counted.

    Attributes:
        name: Stands at its left.
        metric: The accuracy.
        baseline: Of the majority in these very images; None where there is none.
        unit: "images" or "patients".
    """

    name: str
    metric: Plain
    baseline: float | None
    unit: str


def draw_intervals(rows: Sequence[Interval], title: str) -> str:
    """Accuracies with their intervals below each other, each beside its own majority baseline."""
    known = [row for row in rows if row.metric["value"] is not None]
    if not known:
        return ""
    n = len(known)
    names = [
        f"{clip(row.name, 17)}, {row.metric['n']:,} "
        f"{row.unit if row.metric['n'] != 1 else row.unit[:-1]}"
        for row in known
    ]
    ticks = tuple((float(n - place), name) for place, name in enumerate(names))
    y = Axis(title="", low=0.4, high=n + 0.6, ticks=ticks)
    marks: list[Mark] = [
        Line(
            x=[row.baseline] * 2, y=[n - place - 0.45, n - place + 0.45], colour=MUTED, width=1.4,
            dash="3 2",
        )
        for place, row in enumerate(known)
        if row.baseline is not None
    ]  # fmt: skip
    marks.append(
        Points(
            x=[row.metric["value"] for row in known],
            y=[float(n - place) for place in range(n)],
            low=[math.nan if row.metric["low"] is None else row.metric["low"] for row in known],
            high=[math.nan if row.metric["high"] is None else row.metric["high"] for row in known],
            is_level=True,
        )
    )
    alt = f"{title}: " + "; ".join(_say_interval(row) for row in known)
    drawing = draw_chart(
        make_share_axis(title), y, marks, alt, width=680, height=70 + 24 * n, left=205
    )
    return write_figure(
        drawing, "With 95 % intervals. Dashes: the majority baseline of these very images."
    )


def _say_interval(row: Interval) -> str:
    said = f"{row.name} {words.say_percent(row.metric)}, n = {row.metric['n']} {row.unit}"
    if row.baseline is None:
        return said
    return f"{said}, majority baseline {words.round_percent(row.baseline)} %"
