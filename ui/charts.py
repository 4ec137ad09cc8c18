"""The figures of the pages, in one look. A function a figure; numbers come from polyp_core."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from polyp_core.dataset import Index
from polyp_core.evidence.goals import Band
from ui.words import escape_figure

PLAIN = {"displayModeBar": False}  # how every Plotly chart is shown
DRAWING_PX = 340
_SPLIT_NAMES = {"train": "Training", "validation": "Validation", "test": "Test"}


def draw_small_curve(history: pd.DataFrame, num_epochs: int, *, is_dark: bool) -> go.Figure:
    """Validation accuracy over the epochs.

    Args:
        history: As `Run.read_history`; may be empty.
        num_epochs: Of the whole run, so that the axis does not move while it trains.
        is_dark: Of the visitor's theme.
    """
    accent, _ = get_line_colours(is_dark)
    figure = go.Figure(
        go.Scatter(
            x=history["epoch"],
            y=history["val_accuracy"],
            mode="lines+markers" if len(history) < 3 else "lines",  # one value draws no line
            line={"color": accent, "width": 3},
            hovertemplate="epoch %{x}: validation accuracy %{y:.0%}<extra></extra>",
        )
    )
    figure.update_layout(
        get_layout(is_dark), height=230, showlegend=False, xaxis=mark_epochs(num_epochs, most=5)
    )
    figure.update_yaxes(title="Validation accuracy", tickformat=".0%", range=[0, 1.02])
    return figure


def draw_counts(
    index: Index, colours: tuple[str, str], *, is_dark: bool, narrow: float = 0.15
) -> go.Figure:
    """Images by split and class, one bar a split.

    Args:
        index: Of the images.
        colours: Of the negative and the positive class.
        is_dark: Of the visitor's theme.
        narrow: Part of the width below which a bar bears its number without the class.
    """
    figure = go.Figure()
    splits = [s for s in reversed(_SPLIT_NAMES) if (index.images["split"] == s).any()]
    widest = max(len(index.select(split)) for split in splits)
    for label, name in reversed(list(enumerate(index.class_names))):
        counts = [len(rows[rows["label"] == label]) for rows in map(index.select, splits)]
        figure.add_bar(
            y=[_SPLIT_NAMES[split] for split in splits],
            x=counts,
            orientation="h",
            marker={"color": colours[label], "line": {"width": 0}},
            text=[_name_bar(count, name, count / widest, narrow) for count in counts],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            insidetextfont={"color": "#FFFFFF" if colours[label] == "#0072B2" else "#141414"},
            hovertemplate=f"%{{y}}: %{{x}} {escape_figure(name)}<extra></extra>",
        )
    figure.update_layout(
        get_layout(is_dark),
        barmode="stack",
        bargap=0.25,
        height=40 + 44 * len(splits),
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 4, "b": 4},
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(showgrid=False, automargin=True)
    return figure


def _name_bar(count: int, name: str, share: float, narrow: float) -> str:
    """A bar too narrow for the class bears its number alone; the colour says the rest."""
    if share > narrow:
        return f"{count} {escape_figure(name)}"
    return str(count) if share > narrow / 4 else ""


def draw_picture(picture: np.ndarray, *, is_dark: bool) -> go.Figure:
    """A picture to draw a box on; both axes run from 0 to 100 %, the vertical one downwards."""
    height_px, width_px = picture.shape[:2]
    shown = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    figure = go.Figure()
    # A selection needs points to select from; these are not seen.
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="markers", marker={"opacity": 0}, hoverinfo="skip"
    )
    figure.add_layout_image(
        source=shown, x=0, y=0, sizex=100, sizey=100, xref="x", yref="y", sizing="stretch",
        layer="below", yanchor="top",
    )  # fmt: skip
    figure.update_layout(
        get_layout(is_dark),
        dragmode="select",
        newselection={"line": {"color": "#2FA898", "width": 3, "dash": "solid"}},
        activeselection={"fillcolor": "#2FA898", "opacity": 0.15},
        width=DRAWING_PX,
        height=max(80, round(DRAWING_PX * height_px / width_px)),
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
    )
    figure.update_xaxes(range=[0, 100], visible=False, fixedrange=True)
    figure.update_yaxes(range=[100, 0], visible=False, fixedrange=True)
    return figure


def draw_probability(
    probability: float,
    threshold: float,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    *,
    band: Band | None = None,
    is_dark: bool,
) -> go.Figure:
    """One bar from 0 to 100 % with the threshold as a mark, and the band where none is sure."""
    is_open = band is not None and band.holds(probability)
    colour = get_line_colours(is_dark)[1] if is_open else colours[int(probability >= threshold)]
    ground = "#333333" if is_dark else "#E4E4E4"
    figure = go.Figure()
    figure.add_bar(
        x=[1], y=[""], orientation="h", marker={"color": ground}, hoverinfo="skip", width=0.5
    )
    figure.add_bar(
        x=[probability],
        y=[""],
        orientation="h",
        marker={"color": colour},
        width=0.5,
        hovertemplate=f"probability of {escape_figure(class_names[1])}: %{{x:.1%}}<extra></extra>",
    )
    if band is not None and band.low < band.high:
        line = {"color": "#8A8A8A", "width": 1, "dash": "dot"}
        figure.add_vrect(band.low, band.high, fillcolor="#8A8A8A", opacity=0.35, line=line)
    figure.add_vline(
        x=threshold, line={"color": "#E8E8E8" if is_dark else "#1F1F1F", "width": 2, "dash": "dot"}
    )
    figure.update_layout(
        get_layout(is_dark),
        barmode="overlay",
        height=70,
        showlegend=False,
        margin={"l": 16, "r": 20, "t": 0, "b": 24},
    )
    # An end gives way to a threshold beside it.
    ends = [(end, name) for end, name in ((0, "0 %"), (1, "100 %")) if abs(end - threshold) > 0.25]
    ticks = [(threshold, f"{100 * threshold:.3g} % decides"), *ends]
    figure.update_xaxes(
        range=[0, 1],
        tickvals=[place for place, _ in ticks],
        ticktext=[name for _, name in ticks],
        showgrid=False,
        ticklabeloverflow="allow",
    )
    figure.update_yaxes(visible=False)
    return figure


def get_line_colours(is_dark: bool) -> tuple[str, str]:
    """The accent (validation) and a grey (training); never a class colour."""
    return ("#2FA898", "#9A9A9A") if is_dark else ("#00776A", "#8A8A8A")


def fade(colour: str, opacity: float) -> str:
    """A colour such as "#0072B2", so that what lies below shines through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def mark_epochs(num_epochs: int, most: int = 10) -> dict[str, object]:
    """The axis of a training's epochs with about so many ticks, at whole ones; room for two."""
    shown = max(num_epochs, 2)
    return {"title": "Epoch", "range": [0.5, shown + 0.5], "tickformat": "d",
            "nticks": min(shown, most) + 1}  # fmt: skip


def get_layout(is_dark: bool) -> dict[str, object]:
    """What all figures have in common."""
    return {
        "margin": {"l": 0, "r": 8, "t": 8, "b": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#E8E8E8" if is_dark else "#1F1F1F", "size": 13},
        "hoverlabel": {"font": {"size": 13}},
    }
