"""Whether a model is worse on a part of the images: by size, brightness or a manifest's column."""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.evidence.slices import Slices, find_columns, list_slices
from polyp_core.evidence.wording import say_p
from polyp_core.metrics import evaluate
from ui.check_charts import draw_slices
from ui.downloads import show_figure
from ui.pictures import is_dark
from ui.results_source import Judged
from ui.words import MEASURES, escape

_COLUMNS, _MEASURE = "results slice columns", "results slice measure"
_NUM_FIRST = 2  # columns that are shown at first, where none differs


def show_slices(judged: Judged, threshold: float) -> None:
    """A figure for each chosen column and the table; a warning only beyond what chance would make.

    Args:
        judged: The predictions.
        threshold: Positive from this probability on.
    """
    titles = _read_columns(judged.key, judged.written_at_ns, judged.table)
    if not titles:
        st.info(
            "There is nothing to slice by: all images are of one size, their brightness was not "
            "kept when this was judged, and no manifest brings further columns. A CSV manifest "
            "with a column such as 'scanner' or 'hospital' does; a run that is trained now keeps "
            "brightness and contrast.",
            icon=":material/info:",
        )
        return
    found = {
        item.column: item
        for item in _read_slices(
            judged.key, judged.written_at_ns, threshold, tuple(titles), judged.table
        )
    }
    _say_verdict(list(found.values()))
    chosen, measure = _choose(judged, found)
    if not chosen:
        st.caption("Choose a column above.")
        return
    _show_charts(judged, [found[name] for name in chosen], measure, threshold)
    table = tabulate([found[name] for name in chosen])
    st.dataframe(table, hide_index=True, height="content", alt="Numbers of each slice")
    st.caption(
        "Counted by image, at the threshold shown above, with intervals of whole patients. The "
        "warning exchanges whole patients between the slices, 1,999 times, and is corrected for "
        f"the {words.say_number(len(titles), 'column')} that there "
        f"{'is' if len(titles) == 1 else 'are'}. Where slices are small, only a large difference "
        "can be seen."
    )


def say_difference(item: Slices, num_columns: int) -> str:
    """In what the slices of a column that differs do differ most, in Markdown."""
    corrected = f", corrected for {num_columns} columns" if num_columns > 1 else ""
    said = (
        f"**By {escape(item.title)} the wrong answers are spread more unevenly than chance would "
        f"make** ({say_p(item.corrected_p_value or 0.0)}{corrected})."
    )
    found = _find_extremes(item.rows)
    if found is None:
        return said
    measure, *pair = found
    low, high = (
        f"{words.say_percent(row[measure])} for {escape(row['slice'])} (n = {row[measure]['n']})"
        for row in pair
    )
    return f"{said} {measure.capitalize()} is {low}, but {high}."


def _find_extremes(rows: pd.DataFrame) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The two slices that differ most for what their intervals allow, and in which number."""
    best, found = 0.0, None
    records = rows.to_dict("records")
    for measure in ("sensitivity", "specificity", "accuracy"):
        for low, high in permutations(records, 2):
            a, b = low[measure], high[measure]
            if a["value"] is None or b["value"] is None:
                continue
            reach = math.hypot(a["high"] - a["low"], b["high"] - b["low"])
            distance = (b["value"] - a["value"]) / reach
            if distance > best:
                best, found = distance, (measure, low, high)
    return found


def tabulate(slices: Sequence[Slices]) -> pd.DataFrame:
    """One row a slice with its numbers in words."""
    rows = []
    for item in slices:
        for row in item.rows.to_dict("records"):
            said = {title: say(row[name]) for name, (title, say) in MEASURES.items()}
            rows.append(
                {"By": _capitalise(item.title), "Slice": row["slice"], "Images": row["n"],
                 "Patients": row["patients"], "Positive": row["positives"], **said}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _say_verdict(slices: Sequence[Slices]) -> None:
    differing = [item for item in slices if item.differs]
    for item in differing:
        st.warning(say_difference(item, len(slices)), icon=":material/warning:")
    if differing:
        return
    reasons = {item.reason for item in slices} - {""}
    if reasons:
        st.caption(f":material/info: {escape(' '.join(sorted(reasons)))}")
        return
    least = min(item.corrected_p_value or 0.0 for item in slices)
    names = [escape(item.title) for item in slices]
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    st.caption(
        f":material/check: By {listed} no slice is worse than chance would make "
        f"({'' if len(slices) == 1 else 'least corrected '}{say_p(least)})."
    )


def _choose(judged: Judged, found: dict[str, Slices]) -> tuple[list[str], str]:
    first = [name for name, item in found.items() if item.differs] or list(found)[:_NUM_FIRST]
    kept = [name for name in st.session_state.get(_COLUMNS, []) if name in found]
    if st.session_state.get("results slices of") != judged.key and not kept:
        kept = first
    st.session_state["results slices of"], st.session_state[_COLUMNS] = judged.key, kept
    if _MEASURE not in st.session_state:  # at first the number in which they differ
        extremes = [_find_extremes(item.rows) for item in found.values() if item.differs]
        st.session_state[_MEASURE] = next((one[0] for one in extremes if one), "accuracy")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = st.pills(
            "By", list(found), key=_COLUMNS, selection_mode="multi", persist_state="session",
            format_func=lambda name: escape(_capitalise(found[name].title)), wrap=True,
        )  # fmt: skip
        measure = st.segmented_control(
            "Number", list(MEASURES), key=_MEASURE, required=True,
            format_func=lambda name: MEASURES[name][0], persist_state="session",
        )  # fmt: skip
    return [name for name in found if name in chosen], str(measure)


def _show_charts(
    judged: Judged, slices: Sequence[Slices], measure: str, threshold: float
) -> None:  # fmt: skip
    title = MEASURES[measure][0]
    labels, probabilities = judged.table["label"].to_numpy(), judged.table["probability"].to_numpy()
    overall = evaluate(labels, probabilities, threshold)[measure].value
    grid = st.grid(2, min_column_width=340, gap="medium")
    for number, item in enumerate(slices):
        numbers = pd.DataFrame(
            [{"name": row["slice"]} | row[measure] for row in item.rows.to_dict("records")]
        ).astype({"value": float, "low": float, "high": float})
        with grid.cell():
            st.markdown(f"**{escape(_capitalise(item.title))}**")
            figure = draw_slices(
                numbers, overall, title, is_share=measure != "auc", is_dark=is_dark()
            )
            show_figure(
                figure, f"{title} by {item.title}", f"results slices {number}",
                stem=f"{judged.run.name}-{judged.kind}-by-{item.title}",
                numbers=numbers.rename(columns={"name": item.title, "value": measure}),
            )  # fmt: skip
            for reason in numbers.get("reason", pd.Series(dtype=str)).dropna().unique():
                st.caption(f":material/info: {escape(reason)}")


def _capitalise(title: str) -> str:
    return title[:1].upper() + title[1:]


@st.cache_resource(max_entries=20, show_spinner=False)
def _read_columns(key: str, written_at_ns: int, _table: pd.DataFrame) -> dict[str, str]:
    return find_columns(_table)


@st.cache_resource(max_entries=50, show_spinner="Comparing the slices …")
def _read_slices(
    key: str, written_at_ns: int, threshold: float, columns: tuple[str, ...], _table: pd.DataFrame
) -> list[Slices]:
    return list_slices(_table, columns, threshold)
