"""The search for a learning rate: a button, a curve and a value to take."""

import contextlib
from typing import Any

import streamlit as st

from polyp_core import jobs, workspace
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import RunError
from polyp_core.runs import ACTIVE_STATES, Run
from ui import charts, training_charts
from ui.draft import find_draft, hand_over
from ui.frame import errors, show_problem
from ui.pictures import is_dark
from ui.words import escape

_NO_RATE = {
    "finished": "The loss fell nowhere clearly, so there is no rate to suggest: the network learns "
    "little from so few steps. Try a larger batch, or another preset.",
    "stopped": "The search was stopped before it had a rate to suggest.",
    "interrupted": "The search ended without a word, before it had a rate to suggest: the computer "
    "was restarted, or the process killed. Start it once more.",
}


def show_rate_finder(draft: RunConfig, index: Index, problem: str) -> None:
    """Measure which learning rate suits the settings in the form.

    Args:
        draft: These settings.
        index: The images.
        problem: Why the settings cannot be used, or nothing.
    """
    with errors():
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(
                "Find a learning rate", icon=":material/query_stats:", key="find rate",
                disabled=bool(problem),
            ):  # fmt: skip
                _start_search(draft, index)
            st.caption(
                "Three short trainings in which the rate rises until the loss breaks: about a "
                "minute. Only the curve is kept, until the next search."
            )
        run = Run(workspace.get_rates_dir() / st.session_state.get("rate run", ""))
        if run.path("config.json").is_file():  # or else the next search has thrown it away
            is_live = run.read_status()["state"] in ACTIVE_STATES
            st.fragment(_show_search, run_every=1.0 if is_live else None)(run, is_live)


def _start_search(draft: RunConfig, index: Index) -> None:
    """The searches that have ended before are of no more use."""
    folder = workspace.get_rates_dir()
    earlier = [Run(path) for path in folder.iterdir()] if folder.is_dir() else []
    run = jobs.prepare_run(draft, index, folder, task="find-rate")
    jobs.start_worker(run)
    st.session_state["rate run"] = run.name
    for ended in earlier:
        with contextlib.suppress(RunError):  # it is at work, for somebody else
            jobs.delete_run(ended)


def _show_search(run: Run, is_live: bool) -> None:
    """Asks for a full rerun once the search has ended, or somebody's next one threw it away."""
    with errors():
        status, rates = run.read_status(), run.read_rates()
        has_ended = is_live and status["state"] not in ACTIVE_STATES
        if has_ended or not run.path("config.json").is_file():
            st.rerun()
        suggested = status.get("suggested_rate")
        current = find_draft()[0].training.learning_rate
        _show_state(status, suggested, current)
        if not rates.empty:
            figure = training_charts.draw_rates(rates, suggested, current, is_dark=is_dark())
            st.plotly_chart(
                figure, config=charts.PLAIN, key="rates", alt="Loss against the learning rate"
            )


def _show_state(status: dict[str, Any], suggested: float | None, current: float) -> None:
    """How far the search is, or what came of it."""
    state = status["state"]
    if state in ACTIVE_STATES:
        done = (status.get("epoch", 1) - 1 + status.get("step", 0) / status.get("steps", 1)) / 3
        st.progress(min(done, 1.0), text=escape(str(status["message"])))
    elif state == "failed":
        show_problem(str(status["message"]))
    elif suggested is None:
        st.info(_NO_RATE[state], icon=":material/query_stats:")
    # Not in a callback: in a fragment that would redraw the fragment alone, and not the field.
    elif st.button(
        f"{suggested:g} is in use" if suggested == current else f"Use {suggested:g}",
        icon=":material/check:", key="use rate", disabled=suggested == current,
        help="Where the loss falls fastest. With a cosine schedule take it as it is; with a "
        "constant rate half of it is safer.",
    ):  # fmt: skip
        hand_over("training", "learning_rate", suggested)
