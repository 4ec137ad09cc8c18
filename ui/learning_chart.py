"""What more images would give: a study's learning curve."""

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from polyp_core.learning_curve import METRICS, Learning, Outlook, read_learning, say_learning_curve
from polyp_core.study import Study
from ui.charts import get_layout, get_line_colours
from ui.downloads import show_figure
from ui.pictures import is_dark
from ui.readers import find_time

_LEAST_SPAN = 0.1  # of the vertical axis, so that small differences look small


def show_learning_curve(study: Study) -> None:
    """One sentence, and accuracy and AUC against the number of images; nothing without shares."""
    learning = _read_learning(
        str(study.directory.absolute()), find_time(study.files.path("metrics.json"))
    )
    if learning is None:
        return
    st.markdown("**What would more images give?**")
    is_known = learning.curve[list(METRICS)].notna().any()  # no AUC where there is one class alone
    for outlook in learning.outlooks[: 1 if is_known["auc"] else 2]:
        st.write(say_learning_curve(learning.curve, outlook))
    grid = st.grid(2, min_column_width=300)
    for outlook in (outlook for outlook in learning.outlooks if is_known[outlook.metric]):
        title = METRICS[outlook.metric]
        with grid:
            show_figure(
                draw_learning_curve(learning, outlook, is_dark=is_dark()),
                f"{title} by number of training images",
                f"learning {outlook.metric}",
                stem=f"{study.name}-{outlook.metric}",
                numbers=learning.curve,
            )
    st.caption(_explain(learning))


def draw_learning_curve(learning: Learning, outlook: Outlook, *, is_dark: bool) -> go.Figure:
    """A number against the training images: measured with intervals, expected dashed.

    Args:
        learning: The points.
        outlook: Of the metric to be drawn.
        is_dark: Of the visitor's theme.
    """
    accent, grey = get_line_colours(is_dark)
    curve, name = learning.curve.dropna(subset=outlook.metric), outlook.metric
    form = ".0%" if name == "accuracy" else ".2f"
    figure = go.Figure()
    lines = [("measured", accent)]
    if outlook.law is not None:
        _draw_outlook(figure, curve["num_training"].min(), outlook, grey, form)
        lines.append(("expected", grey))
    figure.add_scatter(
        x=curve["num_training"],
        y=curve[name],
        mode="lines+markers",
        line={"color": accent, "width": 3},
        marker={"size": 9},
        error_y=_make_bars(curve[f"{name}_low"], curve[name], curve[f"{name}_high"]),
        customdata=curve[[f"{name}_low", f"{name}_high", "n", "unit"]],
        hovertemplate=f"%{{x:.0f}} images: %{{y:{form}}} (%{{customdata[0]:{form}}} to "
        f"%{{customdata[1]:{form}}}), n = %{{customdata[2]}} %{{customdata[3]}}<extra></extra>",
    )
    if learning.seeds["seed"].nunique() > 1:
        figure.add_scatter(
            x=learning.seeds["num_training"], y=learning.seeds[name], mode="markers",
            marker={"color": grey, "size": 6}, customdata=learning.seeds["seed"],
            hovertemplate=f"seed %{{customdata}}: %{{y:{form}}}<extra></extra>",
        )  # fmt: skip
    names = [f'<span style="color:{colour}">{line}</span>' for line, colour in lines]
    figure.add_annotation(
        x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=-4, yshift=6,
        text=" &nbsp; ".join(names), showarrow=False,
    )  # fmt: skip
    lows = [*curve[f"{name}_low"], *([] if outlook.low is None else [outlook.low])]
    highest = curve["num_training"].max() if outlook.law is None else outlook.num_training
    low = min([*lows, 1 - _LEAST_SPAN]) - 0.02
    figure.update_layout(
        get_layout(is_dark), height=300, showlegend=False, margin={"l": 0, "r": 8, "t": 30, "b": 0}
    )
    ticks = {round(curve["num_training"].min()), round(curve["num_training"].max()), round(highest)}
    figure.update_xaxes(
        title="Training images", range=[0, 1.08 * highest], tickvals=sorted(ticks), tickformat="d"
    )
    figure.update_yaxes(
        title=METRICS[name][0].upper() + METRICS[name][1:],
        range=[max(0.0, low), 1.01],
        tickformat=".0%" if name == "accuracy" else ".2~f",
    )
    return figure


def _draw_outlook(
    figure: go.Figure, fewest: float, outlook: Outlook, colour: str, form: str
) -> None:
    """The fitted law as a dashed line, and what it expects at its end with the range."""
    if outlook.law is None or outlook.value is None:
        return
    if outlook.low is None or outlook.high is None:
        return
    along = np.linspace(fewest, outlook.num_training, 60)
    figure.add_scatter(
        x=along, y=1 - outlook.law.expect_error(along), mode="lines", hoverinfo="skip",
        line={"color": colour, "width": 2, "dash": "dash"},
    )  # fmt: skip
    figure.add_scatter(
        x=[outlook.num_training],
        y=[outlook.value],
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": "circle-open", "line": {"width": 2}},
        error_y=_make_bars(*map(np.array, ([outlook.low], [outlook.value], [outlook.high]))),
        hovertemplate=f"%{{x:.0f}} images: %{{y:{form}}} expected ({outlook.low:{form}} to "
        f"{outlook.high:{form}})<extra></extra>",
    )


def _make_bars(low: np.ndarray, value: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Of the intervals."""
    return {"type": "data", "array": high - value, "arrayminus": value - low, "width": 5,
            "thickness": 1.5}  # fmt: skip


def _explain(learning: Learning) -> str:
    """What is drawn, and what it cannot say."""
    last = learning.curve.iloc[-1]
    by, many = last["unit"], last["num_seeds"] > 1
    text = (
        f"Bars: 95 % intervals, by {by[:-1]}; every point judges the same {last['n']:.0f} {by}. "
        f"{'Dots: each seed. ' if many else ''}"
        "Fewer images were trained with the same settings, so in fewer steps."
    )
    if last["num_patients"] > 0:
        text += (
            " Whole patients were left out, so more images means more patients: "
            f"{learning.curve.iloc[0]['num_patients']:.0f} to {last['num_patients']:.0f} here."
        )
    if learning.outlooks[0].value is not None:
        text += (
            " Expected: an inverse power law of the error, if new images are like these and the "
            "curve goes on as it has begun."
        )
    return text


@st.cache_data(max_entries=8, show_spinner=False)
def _read_learning(directory: str, written_at: int) -> Learning | None:
    """Read anew when the study was summed up since."""
    return read_learning(Study(Path(directory)))
