"""What trains and what waits, the same for everybody who looks."""

import streamlit as st

from polyp_core import jobs, queueing, workspace
from polyp_core.runs import Run
from ui.frame import errors
from ui.readers import name_run
from ui.words import escape

_LOOK_EVERY_S = 2.0


def list_active_runs() -> list[Run]:
    """The runs that train, then those that wait, whoever started them."""
    return queueing.list_active_runs(workspace.get_queue_dir())


@st.fragment(run_every=_LOOK_EVERY_S)
def watch_queue() -> None:
    """Redraw the page when somebody else starts or ends a run; show what waits."""
    active = list_active_runs()
    names = [run.name for run in active]
    if st.session_state.setdefault("active runs", names) != names:
        st.session_state["active runs"] = names
        st.rerun()
    if len(active) < 2:
        return
    with st.container(border=True):
        st.markdown(f"**Queue** · one run trains at a time, {len(active) - 1} waiting")
        for position, run in enumerate(active):
            _show_place(run, position, len(active))


def _show_place(run: Run, position: int, num_active: int) -> None:
    status = run.read_status()
    is_waiting = status["state"] == "queued"
    with st.container(horizontal=True, vertical_alignment="center"):
        icon = ":material/hourglass_empty:" if is_waiting else ":material/model_training:"
        st.markdown(f"{icon} {escape(name_run(run))}", width="content")
        st.caption(escape(str(status["message"])))
        st.space("stretch")
        if is_waiting:
            for direction, arrow, is_possible in (
                ("earlier", ":material/arrow_upward:", position > 1),
                ("later", ":material/arrow_downward:", position < num_active - 1),
            ):
                st.button(
                    "", icon=arrow, key=f"{direction} {run.directory}",
                    help=f"Train it {direction}", disabled=not is_possible,
                    on_click=_move, args=(run, direction == "earlier"),
                )  # fmt: skip
        st.button(
            "Cancel" if is_waiting else "Stop", icon=":material/close:",
            key=f"cancel {run.directory}", on_click=_cancel, args=(run,),
        )  # fmt: skip


def _move(run: Run, earlier: bool) -> None:
    queueing.move_run(workspace.get_queue_dir(), run, earlier=earlier)


def _cancel(run: Run) -> None:
    with errors():
        jobs.stop_run(run)
