"""All runs as a table: to find one again, name it, throw it away, or compare some."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import jobs, words
from polyp_core.errors import RunError
from polyp_core.runs import ACTIVE_STATES, Run
from polyp_core.summaries import list_summaries
from ui.compare_charts import MAX_COMPARED, show_comparison
from ui.frame import errors, show_problem
from ui.readers import name_run
from ui.words import escape

_STATES = {
    "running": "primary",
    "queued": "gray",
    "finished": "green",
    "stopped": "gray",
    "interrupted": "yellow",
    "failed": "red",
}
_SEARCHED = ("name", "title", "note", "data", "preset")
_NUM_NAMED = 10  # runs in a question
_NUM_MEASURED = 50  # runs whose size is added up for a question
_TABLE, _SHOWN, _CHOSEN = "runs table", "runs shown", "runs chosen"
_COMPARED, _DIALOG = "runs compared", "runs dialog"


@st.fragment
def show_runs(runs_dir: Path) -> None:
    """The runs of a folder with a filter, and what can be done with those that are selected.

    "Open" puts a run's name into `session_state["run"]`, "Use its settings" its settings into
    `session_state["settings to load"]`; both run the page anew.
    """
    summaries = list_summaries(runs_dir)
    if summaries.empty:
        st.caption("Your runs will stand here, with their curves.")
        return
    found = _filter(summaries)
    _show_table(found)
    chosen = _list_chosen()
    _show_actions(runs_dir, chosen)
    known = set(summaries["name"])
    compared = [name for name in st.session_state.get(_COMPARED, []) if name in known]
    if len(compared) > 1:
        with st.container(border=True, key="runs comparison"):
            show_comparison([Run(runs_dir / name) for name in compared], _stop_comparing)
    kind, names = st.session_state.get(_DIALOG, (None, []))
    runs = [Run(runs_dir / name) for name in names if name in known]
    if kind == "edit" and runs:
        _edit_notes(runs[0])
    elif kind == "delete" and runs:
        _delete_runs(runs)


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
    count.caption(f"{len(found):,} of {words.say_number(len(summaries), 'run')}", width="content")
    return found


def _show_table(found: pd.DataFrame) -> None:
    names = found["name"].tolist()
    if st.session_state.get(_SHOWN, names) != names:
        # The selection is kept by place: what was selected may stand elsewhere now.
        places = {name: place for place, name in enumerate(names)}
        rows = [places[name] for name in _list_chosen() if name in places]
        st.session_state[_TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
        st.session_state[_CHOSEN] = [names[row] for row in rows]
    st.session_state[_SHOWN] = names
    column = st.column_config
    st.dataframe(
        _tabulate(found),
        hide_index=True,
        height=min(len(found), 10) * 35 + 38,  # a row's height, and the head's
        key=_TABLE,
        on_select=_note_choice,
        selection_mode="multi-row",
        placeholder="",
        alt="All runs",
        column_config={
            "State": column.MultiselectColumn(
                width=104, options=[s.capitalize() for s in _STATES], color=list(_STATES.values())
            ),
            "Run": column.TextColumn(width=236),
            "Learning": column.LineChartColumn(
                width=100, y_min=0, y_max=1, help="Validation accuracy by epoch, from 0 to 100 %."
            ),
            "Accuracy": column.TextColumn(
                width=172,
                help="On the validation images, with its 95 % interval; n is how many patients, "
                "or images where patients are not known.",
            ),
            "AUC": column.TextColumn(width=124),
            "Epochs": column.TextColumn(width=84),
            "Data": column.TextColumn(width=140),
            "Preset": column.TextColumn(width=84),
            "Started": column.DatetimeColumn(width=132, format="D MMM YYYY, HH:mm"),
            "Note": column.TextColumn(width=240),
        },
    )


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
    rows = found.to_dict("records")
    return pd.DataFrame(
        {
            "State": [[row["state"].capitalize()] for row in rows],
            "Run": [row["title"] or words.make_visible(row["name"]) for row in rows],
            "Learning": [row["curve"] for row in rows],
            "Accuracy": [_say_accuracy(row) for row in rows],
            "AUC": [_say_auc(row) for row in rows],
            "Epochs": [_say_epochs(row, num_digits) for row in rows],
            "Data": [row["data"] for row in rows],
            "Preset": [row["preset"] for row in rows],
            "Started": pd.Series([_tell_time(row["started_at"]) for row in rows], dtype="M8[s]"),
            "Note": [row["note"] for row in rows],
        }
    )


def _say_accuracy(row: dict[str, Any]) -> str:
    """Such as " 84 % (76–90), n = 62"; filled up, so that the table sorts it as a number."""
    value, low, high = row["accuracy"], row["accuracy_low"], row["accuracy_high"]
    if math.isnan(value + low + high):
        return ""
    text = words.say_percent({"value": value, "low": low, "high": high})
    text = " " * (3 - text.index(" ")) + text
    return text if math.isnan(row["n"]) else f"{text}, n = {row['n']:.0f}"


def _say_auc(row: dict[str, Any]) -> str:
    metric = {"value": row["auc"], "low": row["auc_low"], "high": row["auc_high"]}
    return "" if math.isnan(sum(metric.values())) else words.say_auc(metric)


def _say_epochs(row: dict[str, Any], num_digits: int) -> str:
    if math.isnan(row["epochs_done"] + row["epochs"]):
        return ""
    return f"{row['epochs_done']:{num_digits}.0f} of {row['epochs']:.0f}"


def _tell_time(seconds: float) -> datetime | None:
    """This computer's time, which is the visitor's own."""
    return None if math.isnan(seconds) else datetime.fromtimestamp(int(seconds))  # noqa: DTZ006


def _show_actions(runs_dir: Path, names: list[str]) -> None:
    """Always the same row of buttons, so that nothing moves when a run is selected."""
    runs = [Run(runs_dir / name) for name in names]
    is_one, is_several = len(runs) == 1, 2 <= len(runs) <= MAX_COMPARED
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Open", icon=":material/visibility:", disabled=not is_one, key="runs open"
        ):  # fmt: skip
            st.session_state["run"] = names[0]
            st.rerun()
        st.button(
            "Rename or note", icon=":material/edit_note:", disabled=not is_one, key="runs edit",
            on_click=_open_dialog, args=("edit", names),
        )  # fmt: skip
        is_used = st.button(
            "Use its settings", icon=":material/tune:", disabled=not is_one, key="runs use",
            help="Puts this run's settings into the form for the next run.",
        )  # fmt: skip
        if st.button(
            "Compare", icon=":material/compare_arrows:", disabled=not is_several,
            key="runs compare", help=f"Two to {MAX_COMPARED} runs beside each other.",
        ):  # fmt: skip
            st.session_state[_COMPARED] = names
        st.button(
            "Delete", icon=":material/delete:", disabled=not runs, key="runs delete",
            on_click=_open_dialog, args=("delete", names),
        )  # fmt: skip
        st.caption(
            f"{words.say_number(len(runs), 'run')} selected" if runs
            else "Select runs by the boxes at their left.", width="content",
        )  # fmt: skip
    if is_used:
        with errors():
            st.session_state["settings to load"] = runs[0].read_config().to_dict()
            st.rerun()


def _stop_comparing() -> None:
    st.session_state.pop(_COMPARED, None)


def _open_dialog(kind: str, names: list[str]) -> None:
    """Noted in the session, so that a page that is drawn anew meanwhile does not close it."""
    st.session_state[_DIALOG] = (kind, names)


def _close_dialog() -> None:
    st.session_state.pop(_DIALOG, None)


@st.dialog("Rename or note", icon=":material/edit_note:", on_dismiss=_close_dialog)
def _edit_notes(run: Run) -> None:
    notes = run.read_notes()
    st.caption(f"The folder keeps its name: {escape(run.name)}")
    title = st.text_input(
        "Title", notes["title"], max_chars=200, key=f"title of {run.name}", placeholder=run.name
    )
    note = st.text_area("Note", notes["note"], max_chars=10_000, key=f"note of {run.name}")
    if st.button("Save", type="primary", icon=":material/check:", key="runs save"):
        try:
            run.write_notes(" ".join(title.split()), note.strip())
        except OSError as error:
            show_problem(f"The note cannot be written to '{run.directory}' ({error.strerror}).")
            return
        _close_dialog()
        st.rerun()


@st.dialog("Delete for good?", icon=":material/delete:", on_dismiss=_close_dialog)
def _delete_runs(runs: list[Run]) -> None:
    active = [run for run in runs if run.read_status()["state"] in ACTIVE_STATES]
    doomed = [run for run in runs if run not in active]
    for run in active[:_NUM_NAMED]:
        with errors():
            jobs.delete_run(run)  # which says why it is not deleted
    if doomed:
        named = "\n".join(f"- {escape(name_run(run))}" for run in doomed[:_NUM_NAMED])
        more = len(doomed) - _NUM_NAMED
        st.markdown(named + (f"\n- and {more:,} more" if more > 0 else ""))
        st.write(
            f"Settings, curves, models, predictions and notes go{_say_size(doomed)}, and cannot be "
            "brought back. The images that were trained on stay."
        )
    with st.container(horizontal=True):
        is_sure = st.button(
            f"Delete {words.say_number(len(doomed), 'run')}", type="primary", key="runs doom",
            icon=":material/delete:", disabled=not doomed,
        )  # fmt: skip
        is_done = st.button("Cancel", key="runs spare")
    if is_done or (is_sure and _delete_all(doomed)):
        _close_dialog()
        st.rerun()


def _delete_all(runs: list[Run]) -> bool:
    """Whether all could be deleted; what could not says why."""
    problems = []
    bar = st.progress(0.0) if len(runs) > _NUM_NAMED else None
    for number, run in enumerate(runs, start=1):
        try:
            jobs.delete_run(run)
        except RunError as error:
            problems.append(str(error))
        if bar is not None:
            bar.progress(number / len(runs), text=f"Deleting run {number} of {len(runs)}")
    for problem in problems[:_NUM_NAMED]:
        show_problem(problem)
    return not problems


def _say_size(runs: list[Run]) -> str:
    """How much room the runs take, such as " (12 MB)"; nothing where that would take long."""
    if len(runs) > _NUM_MEASURED:
        return ""
    sizes = [path.lstat().st_size for run in runs for path in run.directory.rglob("*")]
    return f" ({max(1, round(sum(sizes) / 1e6)):,} MB)"
