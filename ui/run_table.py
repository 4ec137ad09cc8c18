"""All runs as a table: to find one again, name it, throw it away, or compare some."""

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.runs import Run
from polyp_core.summaries import list_summaries
from ui.compare_charts import MAX_COMPARED, show_comparison
from ui.draft import use_settings
from ui.frame import errors, toast_next
from ui.run_dialogs import ask_for_notes, ask_to_delete, show_dialog

_STATES = {  # and the colour of each
    "running": "primary", "queued": "gray", "finished": "green", "stopped": "gray",
    "interrupted": "yellow", "failed": "red",
}  # fmt: skip
_NUM_LETTERS = 38  # of a folder's name have room
_SEARCHED = ("name", "title", "note", "data", "preset")
_TABLE, _SHOWN, _CHOSEN = "runs table", "runs shown", "runs chosen"
_COMPARED = "runs compared"


@st.fragment
def show_runs(runs_dir: Path) -> None:
    """The runs of a folder with a filter, and what can be done with those that are selected.

    "Open" puts a run's name into `session_state["run"]`, "Use its settings" hands its settings to
    the form; both run the page anew.
    """
    summaries = list_summaries(runs_dir)
    if summaries.empty:
        st.caption("Your runs will stand here, with their curves.")
        return
    found = _filter(summaries)
    _show_table(found, len(summaries))
    chosen = _list_chosen()
    _show_actions(runs_dir, chosen)
    known = set(summaries["name"])
    compared = [name for name in st.session_state.get(_COMPARED, []) if name in known]
    if len(compared) > 1:
        with st.container(border=True, key="runs comparison"):
            show_comparison(
                [Run(runs_dir / name) for name in compared],
                on_close=lambda: st.session_state.pop(_COMPARED, None),
            )
    if not is_demo():
        show_dialog(runs_dir)


def _filter(summaries: pd.DataFrame) -> pd.DataFrame:
    """The runs that hold every typed word and are in one of the chosen states."""
    with st.container(horizontal=True):
        text = st.text_input(
            "Find", key="runs text", icon=":material/search:", width=280,
            placeholder="Name, note, data or preset",
        )  # fmt: skip
        states = st.pills(
            "State", list(_STATES), key="runs states", selection_mode="multi",
            format_func=str.capitalize, wrap=True,
        )  # fmt: skip
        st.space("stretch")
        count = st.empty()
    found = summaries[summaries["state"].isin(states)] if states else summaries
    wanted = text.casefold().split()
    if wanted:
        texts = zip(*(found[column] for column in _SEARCHED), strict=True)
        lines = ["\n".join(parts).casefold() for parts in texts]
        found = found[[all(word in line for word in wanted) for line in lines]]
    noun = "run" if len(summaries) == 1 else "runs"
    count.caption(f"{len(found):,} of {len(summaries):,} {noun}", width="content")
    return found


def _show_table(found: pd.DataFrame, num_all: int) -> None:
    """As high as with all runs, so that nothing moves while somebody types."""
    names = found["name"].tolist()
    if st.session_state.get(_SHOWN, names) != names:
        # The selection is kept by place: what was selected may stand elsewhere now.
        places = {name: place for place, name in enumerate(names)}
        rows = [places[name] for name in _list_chosen() if name in places]
        st.session_state[_TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
        st.session_state[_CHOSEN] = [names[row] for row in rows]
    st.session_state[_SHOWN] = names
    st.dataframe(
        _tabulate(found), hide_index=True, height=min(num_all, 10) * 35 + 38,  # rows and head
        key=_TABLE, on_select=_note_choice, selection_mode="multi-row", placeholder="",
        alt="All runs", column_config=_describe_columns(),
    )  # fmt: skip


def _describe_columns() -> dict[str, Any]:
    """At 1280 px the first five are seen at once; the rest is scrolled to."""
    text, column = st.column_config.TextColumn, st.column_config
    states = [state.capitalize() for state in _STATES]
    return {
        "State": column.MultiselectColumn(width=100, options=states, color=list(_STATES.values())),
        "Run": text(width=274),
        "Learning": column.LineChartColumn(
            width=84, y_min=0, y_max=1, help="Validation accuracy by epoch, from 0 to 100 %."
        ),
        "Accuracy": text(
            width=172,
            help="On the validation images, with its 95 % interval; n is how many patients, or "
            "images where patients are not known.",
        ),
        "AUC": text(width=114),
        "Epochs": text(width=84),
        "Data": text(width=140),
        "Preset": text(width=84),
        "Started": column.DatetimeColumn(width=132, format="D MMM YYYY, HH:mm"),
        "Note": text(width=240),
    }


def _note_choice() -> None:
    """Keep the names of what is selected; their places mean those that were last shown."""
    names = st.session_state.get(_SHOWN, [])
    rows = st.session_state[_TABLE]["selection"]["rows"]
    st.session_state[_CHOSEN] = [names[row] for row in sorted(rows) if row < len(names)]


def _list_chosen() -> list[str]:
    return list(st.session_state.get(_CHOSEN, []))


def _tabulate(found: pd.DataFrame) -> pd.DataFrame:
    """What the table shows of every run."""
    num_digits = len(f"{found['epochs_done'].max():.0f}")
    rows = list(found.itertuples(index=False))
    return pd.DataFrame(
        {
            "State": [[row.state.capitalize()] for row in rows],
            "Run": [row.title or _shorten(_make_visible(row.name)) for row in rows],
            "Learning": found["curve"].tolist(),
            "Accuracy": [_say_accuracy(row) for row in rows],
            "AUC": [_say_metric(words.say_auc, row.auc, row.auc_low, row.auc_high) for row in rows],
            "Epochs": [_say_epochs(row, num_digits) for row in rows],
            "Data": found["data"].tolist(),
            "Preset": found["preset"].tolist(),
            "Started": pd.Series([_tell_time(row.started_at) for row in rows], dtype="M8[s]"),
            "Note": found["note"].tolist(),
        }
    )


def _make_visible(name: str) -> str:
    return name if name.isprintable() else words.make_visible(name)  # ten thousand in a moment


def _shorten(name: str) -> str:
    """The end of a folder's name says when, so the beginning gives way."""
    return name if len(name) <= _NUM_LETTERS else f"…{name[1 - _NUM_LETTERS :]}"


def _say_accuracy(row: Any) -> str:  # noqa: ANN401 - a row of the summaries
    """Such as " 84 % (76–90), n = 62"; filled up, so that the table sorts it as a number."""
    text = _say_metric(words.say_percent, row.accuracy, row.accuracy_low, row.accuracy_high)
    return text and f"{' ' * (3 - text.index(words.NBSP))}{text}, n = {row.n:.0f}"


def _say_metric(say: Callable[[words.Plain], str], value: float, low: float, high: float) -> str:
    if math.isnan(value + low + high):
        return ""
    return say({"value": value, "low": low, "high": high})


def _say_epochs(row: Any, num_digits: int) -> str:  # noqa: ANN401 - a row of the summaries
    if math.isnan(row.epochs_done + row.epochs):
        return ""
    return f"{row.epochs_done:{num_digits}.0f} of {row.epochs:.0f}"


def _tell_time(seconds: float) -> datetime | None:
    """This computer's time, which is the visitor's own."""
    return None if math.isnan(seconds) else datetime.fromtimestamp(int(seconds))


def _show_actions(runs_dir: Path, names: list[str]) -> None:
    """Always the same row of buttons, so that nothing moves when a run is selected."""
    runs = [Run(runs_dir / name) for name in names]
    is_one, is_several = len(runs) == 1, 2 <= len(runs) <= MAX_COMPARED
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open", icon=":material/visibility:", disabled=not is_one, key="runs open"):
            st.session_state["run"] = names[0]
            toast_next("The run stands at the top of the page.", "arrow_upward")
            st.rerun()
        is_used = not is_demo() and _show_notes_and_use(names)
        if st.button(
            "Compare", icon=":material/compare_arrows:", disabled=not is_several,
            key="runs compare", help=f"Two to {MAX_COMPARED} runs beside each other.",
        ):  # fmt: skip
            st.session_state[_COMPARED] = names
        if not is_demo():
            st.button(
                "Delete", icon=":material/delete:", disabled=not runs, key="runs delete",
                on_click=ask_to_delete, args=(runs_dir, names),
            )  # fmt: skip
        st.caption(
            f"{words.say_number(len(runs), 'run')} selected" if runs
            else "Select runs by the boxes at their left.", width="content",
        )  # fmt: skip
    if is_used:
        with errors():
            use_settings(runs[0].read_config(), "above")


def _show_notes_and_use(names: list[str]) -> bool:
    """What changes or takes over one run; whether its settings are to be used."""
    is_one = len(names) == 1
    st.button(
        "Rename or note", icon=":material/edit_note:", disabled=not is_one, key="runs edit",
        on_click=ask_for_notes, args=(names,),
    )  # fmt: skip
    return st.button(
        "Use its settings", icon=":material/tune:", disabled=not is_one, key="runs use",
        help="Puts this run's settings into the form for the next run.",
    )  # fmt: skip
