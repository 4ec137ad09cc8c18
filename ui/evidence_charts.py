"""The figures of the evidence: a function a figure. Numbers come from polyp_core.evidence.

The parts they are made of stand in chart_parts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from polyp_core import words
from ui.chart_parts import (
    Part,
    Point,
    build_figure,
    get_ground,
    get_ink,
    list_details,
    make_band,
    make_bars,
    make_line,
    make_note,
    make_point,
    make_reference,
    make_upright,
    mark_percents,
    shorten,
)  # fmt: skip
from ui.charts import fade, get_line_colours
from ui.words import escape_figure

_SHARE = {"range": [-0.02, 1.02], **mark_percents()}
_BARE = {"showgrid": False, "zeroline": False, "fixedrange": True}
Plain = Mapping[str, Any]  # value, low, high, n


def draw_worth(accuracy: Plain, majority: float, majority_name: str, *, is_dark: bool) -> go.Figure:
    """The accuracy and its interval on a ruler, with what always the same answer would get.

    Args:
        accuracy: With its interval.
        majority: Share of the more frequent class.
        majority_name: Its name.
        is_dark: Of the visitor's theme.
    """
    (accent, grey), ground, ink = get_line_colours(is_dark), get_ground(is_dark), get_ink(is_dark)
    n, low, high = accuracy["n"], accuracy["low"], accuracy["high"]
    name, is_right = escape_figure(shorten(majority_name)), majority > 0.6
    traces: list[Part] = [
        {"x": [0, 1], "y": [0, 0], "mode": "lines", "hoverinfo": "skip",
         "line": {"color": fade(grey, 0.45), "width": 3}},
        {"x": np.linspace(low, high, 20), "y": [0] * 20, "mode": "lines",
         "line": {"color": fade(accent, 0.5), "width": 16},
         "hovertemplate": f"95 % interval {low:.1%} to {high:.1%}, n = {n}<extra></extra>"},
        {"x": [accuracy["value"]], "y": [0], "mode": "markers",
         "marker": {"color": accent, "size": 18, "line": {"color": ground, "width": 2}},
         "hovertemplate": f"%{{x:.1%}} right, n = {n}<extra></extra>"},
        {"x": [majority], "y": [0], "mode": "markers",
         "marker": {"symbol": "line-ns", "size": 26, "line": {"color": ink, "width": 2}},
         "hovertemplate": f"always {name}: %{{x:.1%}}<extra></extra>"},
    ]  # fmt: skip
    label = {"x": majority, "y": 1, "yref": "paper", "text": f"always {name}", "yanchor": "bottom",
             "xanchor": "right" if is_right else "center", "xshift": 4 if is_right else 0,
             "font": {"size": 12}}  # fmt: skip
    return build_figure(
        traces, is_dark, [label], height=96, margin={"l": 14, "r": 20, "t": 24, "b": 24},
        xaxis=_SHARE | _BARE | {"range": [0, 1], "ticklabeloverflow": "allow"},
        yaxis={"visible": False, "range": [-1, 1], "fixedrange": True},
    )  # fmt: skip


def draw_roc(curve: pd.DataFrame, auc: Plain, point: Point | None, *, is_dark: bool) -> go.Figure:
    """Sensitivity against false alarms, with its band and where the threshold stands.

    Args:
        curve: As `evidence.curves.roc_curve`.
        auc: With its interval.
        point: False positive rate and sensitivity at the threshold.
        is_dark: Of the visitor's theme.
    """
    x = curve["false_positive_rate"]
    traces = [
        make_reference([0, 1], [0, 1], is_dark),
        make_band(x, curve["low"], curve["high"], is_dark),
        make_line(
            x, curve["sensitivity"], is_dark,
            list_details(curve, "num_true_positives", "num_positives", "num_false_positives",
                          "num_negatives"),
            "%{customdata[4]}<br>sensitivity %{y:.0%} (%{customdata[0]} of %{customdata[1]})<br>"
            "false alarms %{x:.0%} (%{customdata[2]} of %{customdata[3]})",
        ),
        *make_point(point, is_dark, "sensitivity %{y:.0%}, false alarms %{x:.0%}"),
    ]  # fmt: skip
    text = f"AUC <b>{words.say_auc(auc)}</b><br>n = {auc['n']:,}"
    return build_figure(
        traces, is_dark, [make_note(text, is_dark)],
        xaxis=_SHARE | {"title": {"text": "False alarms (1 − specificity)"}},
        yaxis=_SHARE | {"title": {"text": "Sensitivity"}},
    )  # fmt: skip


def draw_precision_recall(
    curve: pd.DataFrame, average: Plain, share: float, point: Point | None, *, is_dark: bool
) -> go.Figure:
    """How many of the called are positive, against how many of the positive are called.

    Args:
        curve: As `evidence.curves.precision_recall_curve`.
        average: The average precision with its interval.
        share: Of positives, which is what guessing would get.
        point: Recall and precision at the threshold.
        is_dark: Of the visitor's theme.
    """
    x, grey = curve["recall"], get_line_colours(is_dark)[1]
    traces = [
        make_reference([0, 1], [share, share], is_dark),
        make_band(x, curve["low"], curve["high"], is_dark),
        make_line(
            x, curve["precision"], is_dark,
            list_details(curve, "num_true_positives", "n", "num_positives"),
            "%{customdata[3]}<br>precision %{y:.0%} (%{customdata[0]} of %{customdata[1]})<br>"
            "recall %{x:.0%} (%{customdata[0]} of %{customdata[2]})",
        ),
        *make_point(point, is_dark, "precision %{y:.0%}, recall %{x:.0%}"),
    ]  # fmt: skip
    text = f"Average precision <b>{words.say_auc(average)}</b><br>n = {average['n']:,}"
    guess = {"x": 1, "y": share, "text": f"guessing {words.write_percent(share)}",
             "xanchor": "right", "yanchor": "bottom",
             "font": {"color": grey, "size": 12}}  # fmt: skip
    return build_figure(
        traces, is_dark, [make_note(text, is_dark, "left"), guess],
        xaxis=_SHARE | {"title": {"text": "Recall (sensitivity)"}},
        yaxis=_SHARE | {"title": {"text": "Precision (PPV)"}},
    )  # fmt: skip


def draw_calibration(
    curve: pd.DataFrame,
    histogram: pd.DataFrame,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    *,
    is_dark: bool,
) -> go.Figure:
    """What was observed against what was promised, and below it how often each was promised.

    Args:
        curve: As `evidence.curves.calibration_curve`.
        histogram: As `evidence.curves.probability_histogram`.
        class_names: Negative, positive.
        colours: Of the negative and the positive class.
        is_dark: Of the visitor's theme.
    """
    accent, positive = get_line_colours(is_dark)[0], escape_figure(class_names[1])
    reach = {"type": "data", "symmetric": False, "array": curve["high"] - curve["observed"],
             "arrayminus": curve["observed"] - curve["low"], "thickness": 1.5, "width": 0,
             "color": fade(accent, 0.6)}  # fmt: skip
    dots = {
        "x": curve["mean_probability"], "y": curve["observed"], "mode": "lines+markers",
        "line": {"color": accent, "width": 2}, "marker": {"size": 8}, "error_y": reach,
        "customdata": curve[["low", "high", "n"]].to_numpy(),
        "hovertemplate": f"promised %{{x:.0%}}<br>{positive}: %{{y:.0%}} (%{{customdata[0]:.0%}} "
        "to %{customdata[1]:.0%}, n = %{customdata[2]})<extra></extra>",
    }  # fmt: skip
    bars = make_bars(histogram, class_names, colours)
    short = escape_figure(shorten(class_names[1]))
    return build_figure(
        [make_reference([0, 1], [0, 1], is_dark), dots, *(bar | {"yaxis": "y2"} for bar in bars)],
        is_dark, barmode="stack",
        yaxis=_SHARE | {"domain": [0.3, 1], "title": {"text": f"Observed {short}"}},
        yaxis2={"domain": [0, 0.2], "anchor": "x", "nticks": 3, "tickformat": "d"},
        xaxis=_SHARE | {"title": {"text": f"Probability of {short}"}, "anchor": "y2"},
    )  # fmt: skip


def draw_matrix(
    cells: pd.DataFrame,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    unit: str,
    *,
    is_dark: bool,
) -> go.Figure:
    """How often which class was answered which way: right ones full, wrong ones pale.

    Args:
        cells: One row a cell: `truth` (0 or 1), `answer` (0, 1, or 2 for none), `count`, and of
            all of that truth `share`, `low`, `high`.
        class_names: Negative, positive.
        colours: Of the negative and the positive class.
        unit: What is counted, in the plural.
        is_dark: Of the visitor's theme.
    """
    columns = [0, 2, 1] if (cells["answer"] == 2).any() else [0, 1]
    num_letters = 18 if len(columns) == 2 else 9  # as many as have room
    names = [escape_figure(shorten(name)) for name in class_names]
    titles = {0: escape_figure(shorten(class_names[0], num_letters)),
              1: escape_figure(shorten(class_names[1], num_letters)), 2: "open"}  # fmt: skip
    traces, shapes = [], []
    for cell in cells.to_dict("records"):
        x, y = columns.index(cell["answer"]), cell["truth"]
        opacity = {y: 0.85, 2: 0.1}.get(cell["answer"], 0.3)
        shapes.append(
            {"type": "rect", "x0": x - 0.48, "x1": x + 0.48, "y0": y - 0.47, "y1": y + 0.47,
             "line": {"width": 0}, "fillcolor": fade(colours[y], opacity), "layer": "below"}
        )  # fmt: skip
        ink = get_ink(is_dark)
        if opacity > 0.5:
            ink = "#FFFFFF" if colours[y] == "#0072B2" else "#141414"
        share = "" if np.isnan(cell["share"]) else words.write_percent(cell["share"])
        traces.append(
            {"x": [x], "y": [y], "mode": "text", "text": f"<b>{cell['count']:,}</b><br>{share}",
             "textfont": {"size": 17 if len(columns) == 2 else 15, "color": ink},
             "hovertemplate": _say_cell(cell, names, unit) + "<extra></extra>"}
        )  # fmt: skip
    places = list(range(len(columns)))
    return build_figure(
        traces, is_dark, shapes=shapes,
        xaxis=_BARE | {"title": {"text": "Answer"}, "tickvals": places, "tickangle": 0,
                       "ticktext": [titles[c] for c in columns], "range": [-0.5, places[-1] + 0.5]},
        yaxis=_BARE | {"title": {"text": "Truth"}, "tickvals": [0, 1], "ticktext": names,
                       "tickangle": -90, "range": [1.5, -0.5]},
    )  # fmt: skip


def draw_decision(curve: pd.DataFrame, threshold: float, *, is_dark: bool) -> go.Figure:
    """Net benefit of following the model, of acting on all and of acting on nobody.

    Args:
        curve: As `evidence.curves.decision_curve`.
        threshold: In use.
        is_dark: Of the visitor's theme.
    """
    grey, x = get_line_colours(is_dark)[1], curve["threshold"]
    top = max(0.02, float(curve["net_benefit"].max()))
    traces, notes = [make_band(x, curve["low"], curve["high"], is_dark)], []
    share = float(curve.loc[curve["net_benefit_of_all"] >= 0, "threshold"].max())  # of positives
    for column, name, dash, side in (
        ("net_benefit_of_all", "acting on all", "dash", "all"),
        ("net_benefit_of_none", "on nobody", "dot", "nobody"),
    ):
        traces.append(
            {"x": x, "y": curve[column], "mode": "lines",
             "line": {"color": grey, "width": 1.5, "dash": dash},
             "hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>"}
        )  # fmt: skip
        notes.append(
            {"x": share if side == "all" else 1, "y": 0, "text": name, "yanchor": "top",
             "xanchor": "right" if side == "nobody" or share > 0.5 else "left",
             "xshift": 0 if side == "nobody" else -8 if share > 0.5 else 8,
             "font": {"color": grey, "size": 12}}
        )  # fmt: skip
    traces.append(
        make_line(
            x, curve["net_benefit"], is_dark, curve[["low", "high", "n"]].to_numpy(),
            "acting from %{x:.0%} on: net benefit %{y:.3f} (%{customdata[0]:.3f} to "
            "%{customdata[1]:.3f}, n = %{customdata[2]})",
        )
    )  # fmt: skip
    return build_figure(
        traces, is_dark, notes, shapes=[make_upright(threshold, is_dark, "dot")],
        xaxis=_SHARE | {"title": {"text": "Acts from this probability on"}},
        yaxis={"title": {"text": "Net benefit"}, "range": [-0.2 * top, 1.3 * top]},
    )  # fmt: skip


def draw_probabilities(
    histogram: pd.DataFrame,
    threshold: float,
    band: Point | None,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    *,
    is_dark: bool,
    is_small: bool = False,
) -> go.Figure:
    """How probabilities are spread: the positive class upwards, the negative one downwards.

    Args:
        histogram: As `evidence.curves.probability_histogram`.
        threshold: In use.
        band: Between which probabilities there is no answer.
        class_names: Negative, positive.
        colours: Of the negative and the positive class.
        is_dark: Of the visitor's theme.
        is_small: Without axes, to stand above a slider of the same width.
    """
    ink, shapes = get_ink(is_dark), [make_upright(threshold, is_dark)]
    if band is not None:
        shapes.insert(
            0, {"type": "rect", "x0": band[0], "x1": band[1], "y0": 0, "y1": 1, "yref": "paper",
                "fillcolor": fade(ink, 0.14), "line": {"width": 0}, "layer": "below"}
        )  # fmt: skip
    notes = [
        {"x": 1 - label, "xref": "paper", "y": label, "yref": "paper",
         "text": f"<b>{escape_figure(shorten(class_names[label], 40))}</b>",
         "font": {"color": colours[label], "size": 12}, "bgcolor": fade(get_ground(is_dark), 0.75),
         "xanchor": "left" if label else "right",
         "yanchor": "top" if label else "bottom"}
        for label in (0, 1)
    ]  # fmt: skip
    highest = 1.15 * max(0.05, float((histogram["count"] / histogram["n"].clip(lower=1)).max()))
    ticks = [tick / 5 for tick in range(-5, 6)]
    xaxis: Part = _SHARE | {
        "title": {"text": f"Probability of {escape_figure(shorten(class_names[1]))}"}
    }
    yaxis = {"title": {"text": "Share of a class"}, "range": [-highest, highest],
             "tickvals": ticks, "zeroline": True,
             "ticktext": [f"{100 * abs(tick):.0f}{words.NBSP}%" for tick in ticks],
             "zerolinecolor": fade(ink, 0.4), "zerolinewidth": 1}  # fmt: skip
    small: Part = {}
    if is_small:
        small = {"height": 110, "margin": {"l": 8, "r": 8, "t": 0, "b": 0}}
        xaxis = {"visible": False, "range": [0, 1], "fixedrange": True}
        yaxis |= {"showticklabels": False, "showgrid": False, "fixedrange": True, "title": None}
    bars = make_bars(histogram, class_names, colours, is_mirrored=True)
    return build_figure(
        bars, is_dark, notes, shapes=shapes, barmode="overlay", xaxis=xaxis, yaxis=yaxis, **small
    )


def draw_coverage(
    curve: pd.DataFrame, target_error: float | None, point: Point | None, *, is_dark: bool
) -> go.Figure:
    """How often an answer is wrong, against how many are answered, the surest first.

    Args:
        curve: As `evidence.curves.risk_coverage`.
        target_error: What is allowed.
        point: Coverage and error of the band in use.
        is_dark: Of the visitor's theme.
    """
    x, notes = curve["coverage"], []
    traces = [make_band(x, curve["low"], curve["high"], is_dark)]
    if target_error is not None:
        traces.append(make_reference([0, 1], [target_error] * 2, is_dark))
        notes = [{"x": 1, "y": target_error, "text": f"at most {100 * target_error:g}{words.NBSP}%",
                  "xanchor": "right", "yanchor": "bottom",
                  "font": {"color": get_line_colours(is_dark)[1], "size": 12}}]  # fmt: skip
    traces += [
        make_line(
            x, curve["error"], is_dark, curve[["num_wrong", "n"]].to_numpy(),
            "answers %{x:.0%} (n = %{customdata[1]})<br>wrong %{y:.1%} (%{customdata[0]} of "
            "%{customdata[1]})",
        ),
        *make_point(point, is_dark, "answers %{x:.0%}, wrong %{y:.1%}"),
    ]  # fmt: skip
    top = min(1.02, 1.5 * max(0.05, float(curve["error"].max()), target_error or 0))
    step = next(step for step in (0.02, 0.05, 0.1, 0.25) if top < 5 * step)
    return build_figure(
        traces, is_dark, notes, xaxis=_SHARE | {"title": {"text": "Answered"}},
        yaxis={"title": {"text": "Wrong among these"}, **mark_percents(step),
               "range": [-0.02 * top, top]},
    )  # fmt: skip


def _say_cell(cell: Mapping[str, Any], names: Sequence[str], unit: str) -> str:
    """Such as "10 patients are normal, answered atresia: 5 % (3 % to 9 %) of 206", in lines."""
    answer = "left open" if cell["answer"] == 2 else f"answered {names[cell['answer']]}"
    said = f"{cell['count']:,} {unit}<br>are {names[cell['truth']]}<br>{answer}"
    if not cell["share"] > 0:
        return said
    total = round(cell["count"] / cell["share"])
    low, high = (words.round_percent(cell[name]) for name in ("low", "high"))
    share = words.write_percent(cell["share"])
    return f"{said}<br>{share} ({low} to {high}) of {total:,}"
