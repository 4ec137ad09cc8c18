"""Figures that compare: runs with each other, slices with each other, images with worse ones."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from polyp_core import words
from ui.chart_parts import get_ground, make_band, make_reference, mark_percents
from ui.charts import fade, get_layout, get_line_colours
from ui.compare_charts import list_lines
from ui.words import escape_figure

_SHARE = {"range": [-0.02, 1.03], "ticklabeloverflow": "allow", "tickangle": 0, **mark_percents()}
_ROW_PX = 34
_NUM_LETTERS = 26  # of a slice's name have room beside the dots


def draw_overlaid_roc(
    curves: Sequence[pd.DataFrame],
    names: Sequence[str],
    points: Sequence[tuple[float, float] | None],
    *,
    is_dark: bool,
) -> go.Figure:
    """ROC curves over each other, each in its own colour and dash; a dot where its threshold is.

    Args:
        curves: Columns `false_positive_rate`, `sensitivity`; as `list_lines` orders its looks.
        names: What the models are called.
        points: False positive rate and sensitivity at each one's threshold.
        is_dark: Of the visitor's theme.
    """
    figure = go.Figure(go.Scatter(make_reference([0, 1], [0, 1], is_dark)))
    lines = list(zip(curves, names, points, list_lines(is_dark), strict=False))
    # The shown one last, so that it lies on top where curves meet.
    for number, (curve, name, point, (colour, dash)) in reversed(list(enumerate(lines))):
        label = escape_figure(name)
        figure.add_scatter(
            x=curve["false_positive_rate"],
            y=curve["sensitivity"],
            mode="lines",
            line={"color": colour, "width": 2 if number else 3.5, "dash": dash},
            hovertemplate=f"{label}<br>sensitivity %{{y:.0%}}, specificity "
            "%{customdata:.0%}<extra></extra>",
            customdata=1 - curve["false_positive_rate"],
        )
        if point is not None:
            figure.add_scatter(
                x=[point[0]],
                y=[point[1]],
                mode="markers",
                marker={
                    "color": colour,
                    "size": 11,
                    "line": {"width": 2, "color": get_ground(is_dark)},
                },
                hovertemplate=f"{label} at its threshold<br>sensitivity %{{y:.0%}}, "
                f"specificity {1 - point[0]:.0%}<extra></extra>",
            )
    figure.update_layout(_lay_out(is_dark), height=380, showlegend=False)
    figure.update_xaxes(_SHARE, title="False alarms (1 − specificity)")
    figure.update_yaxes(_SHARE, title="Sensitivity")
    return figure


def draw_slices(
    rows: pd.DataFrame, overall: float | None, title: str, *, is_share: bool, is_dark: bool
) -> go.Figure:
    """A dot a slice with its interval, and a line where all images together are.

    Args:
        rows: Columns `name`, `value`, `low`, `high`, `n`, from the first slice to the last; NaN
            where a number is undefined.
        overall: Of all images.
        title: Of the horizontal axis.
        is_share: Whether the numbers are shares, to be shown in percent.
        is_dark: Of the visitor's theme.
    """
    accent, grey = get_line_colours(is_dark)
    form = ".0%" if is_share else ".2f"
    said = "" if overall is None else words.write_percent(overall) if is_share else f"{overall:.2f}"
    known = rows.dropna(subset="value")
    places = list(range(len(rows)))
    figure = go.Figure(
        go.Scatter(
            x=known["value"],
            y=[place for place, row in zip(places, rows["value"], strict=True) if pd.notna(row)],
            mode="markers",
            marker={"color": accent, "size": 10},
            error_x={
                "type": "data", "symmetric": False, "array": known["high"] - known["value"],
                "arrayminus": known["value"] - known["low"], "color": accent, "thickness": 2,
                "width": 5,
            },
            **_say_points(known, "name", f": %{{x:{form}}}", form),
        )
    )  # fmt: skip
    if overall is not None:
        figure.add_vline(
            x=overall,
            line={"color": grey, "width": 1.5, "dash": "dash"},
            annotation={
                "text": f"all {said}", "yanchor": "bottom", "y": 1, "yref": "paper",
                "xanchor": "center", "font": {"color": grey, "size": 12},
            },
        )  # fmt: skip
    figure.update_layout(
        _lay_out(is_dark),
        height=76 + _ROW_PX * len(rows),
        showlegend=False,
        margin={"l": 0, "r": 8, "t": 24, "b": 0},
    )
    figure.update_xaxes(
        _SHARE if is_share else _SHARE | {"ticktext": None, "tickformat": form}, title=title,
        showgrid=True, gridcolor=fade(grey, 0.25), zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=places, ticktext=[_name_row(row) for row in rows.itertuples()],
        range=[len(rows) - 0.5, -0.5], showgrid=False, automargin=True, zeroline=False,
    )  # fmt: skip
    return figure


def draw_robustness(
    rows: pd.DataFrame, title: str, measure: str, lowest: float, *, is_dark: bool
) -> go.Figure:
    """How a number falls as images get worse, with its interval as a band.

    Args:
        rows: Columns `tick`, `label`, `value`, `low`, `high`, `n`, by rising strength; the first is
            of the images as they are. Strengths stand at equal distances, whatever lies between.
        title: Of the horizontal axis, with its unit.
        measure: Of the vertical axis, "AUC" or "Accuracy".
        lowest: End of the vertical axis, so that figures side by side can be compared.
        is_dark: Of the visitor's theme.
    """
    accent, grey = get_line_colours(is_dark)
    is_auc = measure == "AUC"
    form = ".2f" if is_auc else ".0%"
    x = list(range(len(rows)))
    figure = go.Figure(go.Scatter(make_band(pd.Series(x), rows["low"], rows["high"], is_dark)))
    figure.add_hline(y=rows["value"].iloc[0], line={"color": grey, "width": 1, "dash": "dash"})
    figure.add_scatter(
        x=x,
        y=rows["value"],
        mode="lines+markers",
        line={"color": accent, "width": 3},
        marker={"size": 7},
        **_say_points(rows, "label", f"<br>{measure} %{{y:{form}}}", form),
    )
    figure.update_layout(_lay_out(is_dark), height=220, showlegend=False)
    figure.update_xaxes(title=title, tickvals=x, ticktext=rows["tick"], range=[-0.25, x[-1] + 0.25])
    figure.update_yaxes(title=measure, range=[lowest, 1.02], tickformat=".1f")
    if not is_auc:
        figure.update_yaxes(mark_percents(0.2))
    return figure


def _say_points(rows: pd.DataFrame, name: str, number: str, form: str) -> dict[str, Any]:
    """What is said of each point: its name, its number with interval, and n.

    Args:
        rows: Of the points.
        name: Of the column with their names.
        number: As a template of Plotly has it.
        form: Of the interval's ends, as d3-format has it.
    """
    details = rows[[name, "low", "high", "n"]].assign(**{name: rows[name].map(escape_figure)})
    said = f"(95 % interval %{{customdata[1]:{form}}} to %{{customdata[2]:{form}}})"
    return {"customdata": details, "hovertemplate": f"%{{customdata[0]}}{number} {said}, "
            "n = %{customdata[3]}<extra></extra>"}  # fmt: skip


def _name_row(row: object) -> str:
    """Such as "bright (90 to 120) · n = 34"; a long name gives way at its end."""
    name = str(row.name)  # type: ignore[attr-defined]
    short = name if len(name) <= _NUM_LETTERS else f"{name[: _NUM_LETTERS - 1]}…"
    return f"{escape_figure(short)}  <span style='opacity:0.7'>n = {row.n}</span>"  # type: ignore[attr-defined]


def _lay_out(is_dark: bool) -> dict[str, Any]:
    """On an opaque ground, so that a downloaded figure can be read wherever it is put."""
    ground = {"paper_bgcolor": get_ground(is_dark), "plot_bgcolor": get_ground(is_dark)}
    return get_layout(is_dark) | ground | {"dragmode": False, "uirevision": "fixed"}
