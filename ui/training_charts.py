"""The figures of a training: curves, confusion, schedule, search for a learning rate."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from polyp_core.config import TrainingConfig
from polyp_core.schedules import compute_rate
from ui.charts import fade, get_layout, get_line_colours, mark_epochs
from ui.words import escape_figure

_MAX_POINTS = 800  # more cannot be told apart, and the browser draws them every second


def draw_curves(
    history: pd.DataFrame,
    name: str,
    title: str,
    num_epochs: int,
    *,
    best_epoch: int | None,
    baseline: tuple[float, str] | None = None,
    is_dark: bool,
) -> go.Figure:
    """Training (thin) and validation (thick) over the epochs, the kept epoch marked.

    Args:
        history: As `Run.read_history`; may be empty.
        name: "loss", "accuracy" or "auc", which training has none of.
        title: Of the vertical axis.
        num_epochs: Of the whole run, so that the axis does not move while it trains.
        best_epoch: To be marked.
        baseline: A height to compare with and its name.
        is_dark: Of the visitor's theme.
    """
    accent, grey = get_line_colours(is_dark)
    form = {"loss": ".3f", "accuracy": ".0%", "auc": ".2f"}[name]
    figure = go.Figure()
    lines = [(f"val_{name}", "validation", accent, 3.0)]
    if name in history:
        lines.insert(0, (name, "training", grey, 1.5))
    shown = _thin(history)
    for column, label, colour, width in lines:
        figure.add_scatter(
            x=shown["epoch"],
            y=shown[column],
            mode="lines+markers" if len(shown) < 3 else "lines",
            line={"color": colour, "width": width},
            hovertemplate=f"epoch %{{x}}<br>{label} %{{y:{form}}}<extra></extra>",
        )
    _name_lines(figure, lines)
    if baseline is not None:
        _draw_baseline(figure, *baseline, grey)
    best = history[history["epoch"] == best_epoch]
    figure.add_scatter(
        x=best["epoch"],
        y=best[f"val_{name}"],
        mode="markers",
        cliponaxis=False,
        marker={"color": accent, "size": 11, "symbol": "circle-open", "line": {"width": 2.5}},
        hovertemplate="epoch %{x}: this state is kept<extra></extra>",
    )
    figure.update_layout(
        get_layout(is_dark),
        height=280,
        xaxis=mark_epochs(num_epochs),
        yaxis={"title": title, "tickformat": ".0%" if name == "accuracy" else ".2~f"},
        showlegend=False,
        margin={"l": 0, "r": 8, "t": 30, "b": 0},
        uirevision="fixed",
    )
    if name != "loss" or history.empty:
        figure.update_yaxes(range=[0, 1.02])
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def draw_confusion(
    history: pd.DataFrame,
    class_names: tuple[str, str],
    colours: tuple[str, str],
    num_epochs: int,
    *,
    is_dark: bool,
) -> go.Figure:
    """Validation images by class over the epochs: right ones full, wrong ones pale.

    Args:
        history: With `val_tp`, `val_fp`, `val_tn`, `val_fn`.
        class_names: Negative, positive.
        colours: Of the negative and the positive class.
        num_epochs: Of the whole run.
        is_dark: Of the visitor's theme.
    """
    figure, shown = go.Figure(), _thin(history)
    negative, positive = map(escape_figure, class_names)
    for column, colour, is_right, name in (
        ("val_tn", colours[0], True, f"{negative}, right"),
        ("val_fp", colours[0], False, f"{negative}, taken for {positive}"),
        ("val_fn", colours[1], False, f"{positive}, taken for {negative}"),
        ("val_tp", colours[1], True, f"{positive}, right"),
    ):
        figure.add_scatter(
            x=shown["epoch"],
            y=shown[column],
            stackgroup="images",
            mode="lines",
            line={"width": 0.5, "color": colour, "shape": "hvh"},
            fillcolor=fade(colour, 0.85 if is_right else 0.25),
            hovertemplate=f"epoch %{{x}}: %{{y}} {name}<extra></extra>",
        )
    figure.update_layout(
        get_layout(is_dark),
        height=200,
        xaxis=mark_epochs(num_epochs),
        yaxis={"title": "Validation images", "rangemode": "tozero", "tickformat": "d"},
        showlegend=False,
        uirevision="fixed",
    )
    return figure


def draw_schedule(settings: TrainingConfig, *, is_dark: bool) -> go.Figure:
    """The learning rate over the whole run; for a plateau schedule, if nothing ever improves."""
    accent, _ = get_line_colours(is_dark)
    progress = np.linspace(0, 1, 241)
    flat = pd.DataFrame({settings.monitor: np.zeros(settings.epochs)})
    rates = [
        compute_rate(settings, part, flat[: int(part * settings.epochs)])
        for part in progress.tolist()
    ]
    figure = go.Figure(
        go.Scatter(
            x=progress * settings.epochs,
            y=rates,
            line={"color": accent, "width": 2.5},
            hovertemplate="after %{x:.1f} epochs: %{y:.2g}<extra></extra>",
        )
    )
    figure.update_layout(get_layout(is_dark), height=170, showlegend=False)
    figure.update_xaxes(title="Epoch")
    figure.update_yaxes(title="Learning rate", rangemode="tozero", exponentformat="power")
    return figure


def draw_rates(
    rates: pd.DataFrame, suggested: float | None, current: float, *, is_dark: bool
) -> go.Figure:
    """Loss against the learning rate, raw and smooth, with the suggestion and the present one."""
    accent, grey = get_line_colours(is_dark)
    figure = go.Figure()
    for column, colour, width in (("loss", grey, 1.0), ("smooth", accent, 3.0)):
        figure.add_scatter(
            x=rates["rate"],
            y=rates[column],
            line={"color": colour, "width": width},
            hovertemplate="rate %{x:.1e}: loss %{y:.3f}<extra></extra>",
        )
    marks = [(current, "now", grey, "dot", "left")]
    if suggested:
        sides = ("right", "left") if current <= suggested else ("left", "right")
        marks = [
            (current, "now", grey, "dot", sides[0]),
            (suggested, "suggested", accent, "solid", sides[1]),
        ]
    for rate, name, colour, dash, side in marks:
        figure.add_vline(x=rate, line={"color": colour, "dash": dash})
        # On a logarithmic axis a line stands at the value itself, a text at its logarithm.
        figure.add_annotation(
            x=np.log10(rate), y=1, yref="paper", yanchor="bottom", text=f"{name} {rate:g}",
            font={"size": 12, "color": colour}, showarrow=False, xanchor=side,
        )  # fmt: skip
    figure.update_layout(
        get_layout(is_dark), height=230, showlegend=False, margin={"l": 0, "r": 8, "t": 24, "b": 0}
    )
    lowest = min(-6.2, np.log10(current) - 0.2)  # what a search sweeps, with room for the texts
    figure.update_xaxes(
        title="Learning rate", type="log", range=[lowest, 0.8], exponentformat="power"
    )
    figure.update_yaxes(title="Loss (cross-entropy)")
    return figure


def _thin(history: pd.DataFrame) -> pd.DataFrame:
    """At most some hundred of the epochs, the first and the last among them."""
    return history.iloc[_pick(len(history))]


def _pick(length: int) -> np.ndarray:
    places: np.ndarray = np.linspace(0, length - 1, min(length, _MAX_POINTS)).astype(int)
    return places


def _name_lines(figure: go.Figure, lines: list[tuple[str, str, str, float]]) -> None:
    """The names in the lines' colours above the plot, where they hide nothing and never move."""
    names = [f'<span style="color:{colour}">{label}</span>' for _, label, colour, _ in lines]
    figure.add_annotation(
        x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=-4, yshift=6,
        text=" &nbsp; ".join(reversed(names)), showarrow=False,
    )  # fmt: skip


def _draw_baseline(figure: go.Figure, height: float, name: str, colour: str) -> None:
    figure.add_hline(
        y=height,
        line={"color": colour, "width": 1, "dash": "dash"},
        annotation={
            "text": escape_figure(name),
            "font": {"color": colour, "size": 11},
            "x": 1,
            "xanchor": "right",
            "yanchor": "top",
        },
    )


def draw_band(
    histories: list[pd.DataFrame],
    name: str,
    title: str,
    num_epochs: int,
    *,
    baseline: tuple[float, str] | None = None,
    is_dark: bool,
) -> go.Figure:
    """Curves of several runs: each thin, their mean thick, one standard deviation as a band.

    Args:
        histories: As `Run.read_history`; they may be of different lengths.
        name: Of the column.
        title: Of the vertical axis.
        num_epochs: Of the whole runs.
        baseline: A height to compare with and its name.
        is_dark: Of the visitor's theme.
    """
    accent, grey = get_line_colours(is_dark)
    table = pd.concat([history.set_index("epoch")[name] for history in histories], axis=1)
    table = table.iloc[_pick(len(table))]
    mean, spread = table.mean(axis=1), table.std(axis=1).fillna(0)
    figure, is_share = go.Figure(), name == "val_accuracy"
    edges = [*(mean + spread), *(mean - spread)[::-1]]
    figure.add_scatter(
        x=[*table.index, *table.index[::-1]], y=edges, fill="toself", mode="none",
        fillcolor=fade(accent, 0.2), hoverinfo="skip",
    )  # fmt: skip
    for _, curve in table.items():
        figure.add_scatter(
            x=table.index, y=curve, mode="lines", line={"color": grey, "width": 0.7},
            opacity=0.6, hoverinfo="skip",
        )  # fmt: skip
    form = ".0%" if is_share else ".2f"
    if baseline is not None:
        _draw_baseline(figure, *baseline, grey)
    figure.add_scatter(
        x=table.index,
        y=mean,
        mode="lines",
        line={"color": accent, "width": 3},
        customdata=spread,
        hovertemplate=f"epoch %{{x}}: mean of {len(histories)} %{{y:{form}}} ± "
        f"%{{customdata:{form}}}<extra></extra>",
    )
    figure.update_layout(
        get_layout(is_dark),
        height=240,
        xaxis=mark_epochs(num_epochs),
        yaxis={"title": title, "tickformat": ".0%" if is_share else ".2~f"},
        showlegend=False,
        uirevision="fixed",
    )
    if name != "val_loss":
        figure.update_yaxes(range=[0, 1.02])
    return figure
