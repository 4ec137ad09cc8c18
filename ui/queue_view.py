"""What trains and what waits, the same for everybody who looks."""

from typing import Any

import streamlit as st

from polyp_core import jobs, queueing, workspace
from polyp_core.access import is_demo
from polyp_core.runs import Run
from ui.frame import errors
from ui.readers import list_active_runs, name_run
from ui.words import escape

_LOOK_EVERY_S = 2.0


def is_listed(run: Run) -> bool:
    """Whether a run stands in the table of runs: no study's member, no search for a rate."""
    return run.directory.parent.absolute() == workspace.get_runs_dir().absolute()


def watch_queue(shown: Run | None, active: list[tuple[Run, dict[str, Any]]]) -> None:
    """What trains and waits besides the run that is shown; redraws the page when that changes.

    Args:
        shown: The run that is shown, if any.
        active: As `list_active_runs` gave them a moment ago.
    """
    st.fragment(_show_queue, run_every=_LOOK_EVERY_S)(shown, [active])


def _show_queue(shown: Run | None, read: list[list[tuple[Run, dict[str, Any]]]]) -> None:
    """`read` holds the active runs for the first time this is drawn; they are taken out."""
    with errors():
        is_first = bool(read)
        active = read.pop() if read else list_active_runs()
        names = [run.name for run, _ in active]
        known = st.session_state.get("active runs")
        st.session_state["active runs"] = names
        # Not while the page itself is drawn: it would be drawn twice, and forget a press.
        if not is_first and known is not None and set(known) != set(names):
            st.rerun()
        is_all_seen = shown is not None and names == [shown.name]
        if not active or is_all_seen:
            return
        num_waiting = sum(status["state"] == "queued" for _, status in active)
        num_working = len(active) - num_waiting
        with st.container(border=True):
            waiting = f", {num_waiting} waiting" if num_waiting else ""
            st.markdown(f"**Queue:** {num_working} at work{waiting}")
            for position, (run, status) in enumerate(active):
                _show_place(run, status, position - num_working, num_waiting)


def _show_place(run: Run, status: dict[str, Any], place: int, num_waiting: int) -> None:
    """One line; `place` counts the waiting ones from 0 and is below 0 for one at work."""
    with st.container(horizontal=True, vertical_alignment="center"):
        icon = ":material/hourglass_empty:" if place >= 0 else ":material/model_training:"
        st.markdown(f"{icon} {escape(name_run(run))}", width="content")
        st.caption(escape(str(status["message"])), width="content")
        st.space("stretch")
        if place >= 0 and not is_demo():
            for direction, arrow, is_possible in (
                ("earlier", ":material/arrow_upward:", place > 0),
                ("later", ":material/arrow_downward:", place < num_waiting - 1),
            ):
                st.button(
                    arrow, key=f"{direction} {run.directory}", help=f"Train it {direction}",
                    disabled=not is_possible, on_click=_move, args=(run, direction == "earlier"),
                )  # fmt: skip
        # Not in a callback: in a fragment that would redraw the fragment alone.
        elif (
            place < 0
            and is_listed(run)
            and st.button("Watch", icon=":material/visibility:", key=f"watch {run.directory}")
        ):
            st.session_state["run"] = run.name
            st.rerun()
        if is_demo():
            return
        is_asked = run.path("stop").exists()
        is_cancelled = st.button(
            "Stopping …" if is_asked else "Cancel" if place >= 0 else "Stop",
            icon=":material/close:", key=f"cancel {run.directory}", disabled=is_asked,
        )  # fmt: skip
    if is_cancelled:  # below the line, where an error has room
        with errors():
            jobs.stop_run(run)
            st.rerun()


def _move(run: Run, earlier: bool) -> None:
    queueing.move_run(workspace.get_queue_dir(), run, earlier=earlier)
