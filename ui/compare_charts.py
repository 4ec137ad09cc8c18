"""Some runs beside each other: their curves, what they are worth, and what differs."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from polyp_core import words
from polyp_core.config import SECTIONS, RunConfig
from polyp_core.decision import read_worth
from polyp_core.errors import RunError
from polyp_core.runs import Run
from ui.charts import PLAIN, get_layout, mark_epochs
from ui.pictures import is_dark
from ui.readers import find_time, name_run
from ui.results_candidates import MAX_OTHERS, compare_next
from ui.scroll_up import go_to
from ui.setting_words import say_value
from ui.words import MEASURES, escape, escape_figure

MAX_COMPARED = 6
_MAX_POINTS = 800  # more cannot be told apart
_SECTION_TITLES = {"data": "Data", "augmentation": "Augmentation", "model": "Network",
                   "training": "Training"}  # fmt: skip
DASHES = {"solid": "———", "dash": "– – –"}
_CURVES = (
    ("val_loss", "Validation loss", ".3f"),
    ("val_accuracy", "Validation accuracy", ".0%"),
    ("val_auc", "Validation AUC", ".2f"),
)


def show_comparison(runs: Sequence[Run], on_close: Callable[[], None]) -> None:
    """Curves overlaid, the numbers side by side, and the settings that differ.

    Args:
        runs: Two to `MAX_COMPARED`.
        on_close: Called when somebody has seen enough.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(runs)} runs compared**", width="content")
        st.space("stretch")
        st.button("Close", icon=":material/close:", key="runs close", on_click=on_close)
    labels = _label_runs(runs)
    _show_worth(runs, labels)
    _judge_images(runs)
    _offer_tests(runs)
    histories = [run.read_history() for run in runs]
    grid = st.grid(3, min_column_width=210)
    for column, title, form in _CURVES:
        figure = draw_overlaid(histories, labels, column, title, form, is_dark=is_dark())
        grid.plotly_chart(
            figure, config=PLAIN, key=f"compared {column}", alt=f"{title} by epoch, a line a run"
        )
    _show_differences(runs, labels)


def draw_overlaid(
    histories: Sequence[pd.DataFrame],
    labels: Sequence[str],
    column: str,
    title: str,
    form: str,
    *,
    is_dark: bool,
) -> go.Figure:
    """One curve a run, each in its own colour and dash.

    Args:
        histories: As `Run.read_history`, in the order of `list_lines`.
        labels: What the runs are called.
        column: Of the histories.
        title: Of the vertical axis.
        form: Of its numbers, as d3-format has it.
        is_dark: Of the visitor's theme.
    """
    figure = go.Figure()
    for history, label, (colour, dash) in zip(histories, labels, list_lines(is_dark), strict=False):
        shown = history.iloc[:: len(history) // _MAX_POINTS + 1]
        figure.add_scatter(
            x=shown["epoch"],
            y=shown[column],
            mode="lines+markers" if len(shown) < 3 else "lines",
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate=f"{escape_figure(label)}<br>epoch %{{x}}: %{{y:{form}}}<extra></extra>",
        )
    longest = max((len(history) for history in histories), default=0)
    figure.update_layout(
        get_layout(is_dark),
        height=260,
        showlegend=False,  # the table above names the lines
        xaxis=mark_epochs(longest),
        yaxis={"title": title, "tickformat": ".2~f" if form == ".3f" else form},
    )
    if column == "val_loss":
        figure.update_yaxes(rangemode="tozero")
    else:
        figure.update_yaxes(range=[0, 1.02])
    return figure


def list_lines(is_dark: bool) -> list[tuple[str, str]]:
    """Colour and dash of each compared run, safe for the colour-blind; never a class colour."""
    colours = ("#2DBE94", "#CC79A7", "#D8D8D8") if is_dark else ("#009E73", "#B8568C", "#3A3A3A")
    return [(colour, dash) for dash in DASHES for colour in colours]


def list_differences(configs: Sequence[RunConfig]) -> list[tuple[str, list[str]]]:
    """Settings in which runs differ: what each is called, and its value in every run, in words."""
    found = [("Preset", [config.preset for config in configs])]
    for name, section in SECTIONS.items():
        for item in fields(section):
            values = [getattr(getattr(config, name), item.name) for config in configs]
            label = f"{_SECTION_TITLES[name]}: {item.metadata['label'].lower()}"
            said = [say_value(value, item.metadata["unit"]) for value in values]
            found.append((label, [words.make_visible(text) for text in said]))
    return [(label, values) for label, values in found if len(set(values)) > 1]


def _label_runs(runs: Sequence[Run]) -> list[str]:
    """What each is called; where titles are alike, with its folder."""
    names = [name_run(run) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({words.make_visible(run.name)})"
        for run, name in zip(runs, names, strict=True)
    ]


def _show_worth(runs: Sequence[Run], labels: Sequence[str]) -> None:
    """The numbers side by side; the table is the curves' legend as well."""
    lines = list_lines(is_dark())[: len(runs)]
    looks = [f"color: {colour}; font-weight: bold" for colour, _ in lines]
    rows = [
        {"Line": DASHES[dash], "Run": label} | _say_worth(run)
        for run, label, (_, dash) in zip(runs, labels, lines, strict=True)
    ]
    table = pd.DataFrame(rows).style.apply(lambda _: looks, subset=["Line"])
    st.dataframe(
        table, hide_index=True, height="content", placeholder="", alt="What the runs are worth",
        column_order=["Line", "Run", "Accuracy", "Of", "AUC", "Sensitivity", "Specificity"],
        column_config={
            "Line": st.column_config.TextColumn(width=60),
            "Run": st.column_config.TextColumn(width=300),
        },
    )  # fmt: skip


def _say_worth(run: Run) -> dict[str, str]:
    metrics = read_worth(run) or {}
    try:
        level, unit = words.get_main_level(metrics)
        said = {title: say(level[name]) for name, (title, say) in MEASURES.items()}
        return said | {"Of": f"{level['accuracy']['n']} {unit}"}
    except (KeyError, TypeError):
        return {"Of": "not evaluated"}


def _judge_images(runs: Sequence[Run]) -> None:
    """Warn where numbers are of different images and so cannot be compared.

    A run that is not evaluated has no number to compare.
    """
    runs = [run for run in runs if "Accuracy" in _say_worth(run)]
    if len(runs) < 2:
        return
    images = [
        _read_validation(str(run.directory), find_time(run.path("index.csv"))) for run in runs
    ]
    unknown = [run for run, found in zip(runs, images, strict=True) if not found]
    if unknown:
        st.warning(
            f"Which images {escape(name_run(unknown[0]))} was validated on is not known, so its "
            "numbers cannot be compared.",
            icon=":material/warning:",
        )
        return
    num_all = len(frozenset().union(*images))
    num_common = len(images[0].intersection(*images[1:]))
    if num_all == num_common:
        st.caption(
            f"{len(runs)} runs were validated on the same {words.say_number(num_all, 'image')}."
        )
        return
    st.warning(
        "These runs were validated on different images, so their numbers cannot be compared: of "
        f"{words.say_number(num_all, 'image')} in all, {num_common} are in every run's validation.",
        icon=":material/warning:",
    )


def _offer_tests(runs: Sequence[Run]) -> None:
    """The way to the results page, which compares what was predicted."""
    judged = [run for run in runs if run.path("predictions.csv").is_file()][: MAX_OTHERS + 1]
    if len(judged) > 1 and st.button(
        "Test whether they differ by more than chance", icon=":material/compare_arrows:",
        key="runs tests", type="tertiary",
        help="On the results page: paired tests on the images that all judged, ROC curves over "
        "each other, and the images on which they disagree.",
    ):  # fmt: skip
        compare_next(judged)
        go_to("pages/results.py")


@st.cache_data(max_entries=50, show_spinner=False)
def _read_validation(directory: str, changed_ns: int) -> frozenset[str]:
    """The content of every validation image; nothing where that cannot be known."""
    try:
        rows = Run(Path(directory)).read_index().select("validation")
        return frozenset((rows["sha256"] + " " + rows["frame"].astype(str))[rows["sha256"] != ""])
    except (RunError, KeyError):
        return frozenset()


def _show_differences(runs: Sequence[Run], labels: Sequence[str]) -> None:
    configs = []
    for run in runs:
        try:
            configs.append(run.read_config())
        except RunError as error:
            st.warning(escape(str(error)), icon=":material/warning:")
            return
    found = list_differences(configs)
    rows = [{"Setting": name} | dict(zip(labels, values, strict=True)) for name, values in found]
    if not rows:
        st.caption("Their settings are all the same.")
        return
    st.dataframe(rows, hide_index=True, height="content", alt="The settings that differ")
