"""What the figures of the evidence are made of: traces, notes and shapes as plain dictionaries.

A figure is made of them in one go: adding to a figure bit by bit takes five times as long, and
these are drawn anew while somebody drags the threshold.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from polyp_core import words
from ui.charts import fade, get_layout, get_line_colours
from ui.words import escape_figure

HEIGHT_PX = 300
Point = tuple[float, float]
Part = dict[str, Any]  # of a figure: a trace, an annotation, a shape


def mark_percents(step: float = 0.25) -> Part:
    """The ticks of an axis of shares, written as the pages write them: "50 %"."""
    ticks = [number * step for number in range(round(1 / step) + 1)]
    return {"tickvals": ticks, "ticktext": [f"{100 * tick:.0f}{words.NBSP}%" for tick in ticks]}


def build_figure(
    traces: Sequence[Part],
    is_dark: bool,
    notes: Sequence[Part] = (),
    **layout: Any,  # noqa: ANN401 - whatever a layout may hold
) -> go.Figure:
    """A figure on an opaque ground, so that it can be read wherever a downloaded one is put.

    Args:
        traces: Scatter where nothing else is said.
        is_dark: Of the visitor's theme.
        notes: Annotations, without arrows.
        layout: What is other than in every figure.
    """
    ground = get_ground(is_dark)
    common = get_layout(is_dark) | {
        "height": HEIGHT_PX, "showlegend": False, "margin": {"l": 4, "r": 10, "t": 26, "b": 4},
        "paper_bgcolor": ground, "plot_bgcolor": ground, "hovermode": "closest", "dragmode": False,
        "annotations": [{"showarrow": False} | note for note in notes],
    }  # fmt: skip
    data = [{"type": "scatter"} | trace for trace in traces]
    return go.Figure(data=data, layout=common | layout)


def get_ground(is_dark: bool) -> str:
    """The colour of the page."""
    return "#141414" if is_dark else "#FFFFFF"  # as in .streamlit/config.toml


def get_ink(is_dark: bool) -> str:
    """The colour of text."""
    return "#E8E8E8" if is_dark else "#1F1F1F"


def make_reference(x: Sequence[float], y: Sequence[float], is_dark: bool) -> Part:
    """A thin dashed line to compare with."""
    line = {"color": get_line_colours(is_dark)[1], "width": 1, "dash": "dash"}
    return {"x": x, "y": y, "mode": "lines", "line": line, "hoverinfo": "skip"}


def make_band(x: pd.Series, low: pd.Series, high: pd.Series, is_dark: bool) -> Part:
    """What an interval covers along a line."""
    edges = np.concatenate([high, low[::-1]])
    return {"x": np.concatenate([x, x[::-1]]), "y": edges, "fill": "toself", "mode": "none",
            "fillcolor": fade(get_line_colours(is_dark)[0], 0.18), "hoverinfo": "skip"}  # fmt: skip


def make_line(
    x: pd.Series, y: pd.Series, is_dark: bool, details: np.ndarray | list[Any], said: str
) -> Part:
    """The line that the figure is about, with what is said of each of its points."""
    line = {"color": get_line_colours(is_dark)[0], "width": 2.5}
    return {"x": x, "y": y, "mode": "lines", "line": line, "customdata": details,
            "hovertemplate": f"{said}<extra></extra>"}  # fmt: skip


def make_point(point: Point | None, is_dark: bool, said: str) -> list[Part]:
    """A ring where the threshold stands, if it stands anywhere."""
    if point is None:
        return []
    line = {"color": get_ink(is_dark), "width": 3}
    marker = {"color": get_ground(is_dark), "size": 13, "line": line}
    return [
        {"x": point[:1], "y": point[1:], "mode": "markers", "cliponaxis": False, "marker": marker,
         "hovertemplate": f"at the threshold: {said}<extra></extra>"}
    ]  # fmt: skip


def make_upright(x: float, is_dark: bool, dash: str = "solid") -> Part:
    """A line over the whole height."""
    line = {"color": get_ink(is_dark), "width": 2, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def make_note(text: str, is_dark: bool, side: str = "right") -> Part:
    """A text in a lower corner, which a good curve leaves free."""
    return {"x": 0.98 if side == "right" else 0.02, "y": 0.02, "xref": "paper", "yref": "paper",
            "text": text, "align": side, "xanchor": side, "yanchor": "bottom",
            "bgcolor": fade(get_ground(is_dark), 0.7)}  # fmt: skip


def make_bars(
    histogram: pd.DataFrame,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    *,
    is_mirrored: bool = False,
) -> list[Part]:
    """How often each probability was given, a bar a bin and class.

    Args:
        histogram: As `evidence.curves.probability_histogram`.
        class_names: Negative, positive.
        colours: Of the negative and the positive class.
        is_mirrored: The positive class upwards, the negative one downwards, each as a share.
    """
    bars = []
    for label in (0, 1):
        rows = histogram[histogram["label"] == label]
        height = rows["count"]
        if is_mirrored:  # as a share of the class, or a rare one could not be seen
            height = (1 if label else -1) * height / rows["n"].clip(lower=1)
        bars.append(
            {"type": "bar", "x": rows["bin"], "y": height,
             "width": 0.92 * (rows["to_probability"] - rows["from_probability"]),
             "marker": {"color": colours[label], "line": {"width": 0}},
             "customdata": rows[["from_probability", "to_probability", "count", "n"]].to_numpy(),
             "hovertemplate": f"%{{customdata[2]}} of %{{customdata[3]}} "
             f"{escape_figure(class_names[label])}<br>probability %{{customdata[0]:.0%}} to "
             "%{customdata[1]:.0%}<extra></extra>"}
        )  # fmt: skip
    return bars


def list_details(curve: pd.DataFrame, *counts: str) -> list[Any]:
    """Counts of each point, and last in words from where on is called."""
    said = [f"from {value:.3f} on" if value <= 1 else "none is called"
            for value in curve["threshold"].tolist()]  # fmt: skip
    columns = [curve[name].astype(int).tolist() for name in counts]
    return list(zip(*columns, said, strict=True))


def shorten(name: str, num_letters: int = 18) -> str:
    """A name that has room on an axis."""
    name = words.make_visible(name)
    return name if len(name) <= num_letters else f"{name[: num_letters - 1]}…"
