"""The search for a learning rate: a button, a curve and a value to take."""

import streamlit as st

from polyp_core import jobs, workspace
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.runs import ACTIVE_STATES, Run
from ui import charts, training_charts
from ui.draft import put_setting
from ui.frame import errors, show_problem
from ui.pictures import is_dark
from ui.words import escape


def show_rate_finder(draft: RunConfig, index: Index) -> None:
    """Measure which learning rate suits the settings in the form."""
    with errors():
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Find a learning rate", icon=":material/query_stats:", key="find rate"):
                run = jobs.prepare_run(draft, index, workspace.get_rates_dir(), task="find-rate")
                jobs.start_worker(run)
                st.session_state["rate run"] = run.name
            st.caption(
                "Three short trainings in which the rate rises until the loss breaks: half a "
                "minute or so. Nothing of them is kept."
            )
        name = st.session_state.get("rate run")
        if name is not None:
            run = Run(workspace.get_rates_dir() / name)
            is_live = run.read_status()["state"] in ACTIVE_STATES
            st.fragment(_show_search, run_every=1.0 if is_live else None)(run, is_live)


def _show_search(run: Run, is_live: bool) -> None:
    status, rates = run.read_status(), run.read_rates()
    if is_live and status["state"] not in ACTIVE_STATES:
        st.rerun()
    suggested = status.get("suggested_rate")
    if is_live:
        done = (status.get("epoch", 1) - 1 + status.get("step", 0) / status.get("steps", 1)) / 3
        st.progress(min(done, 1.0), text=escape(str(status["message"])))
    elif status["state"] == "failed":
        show_problem(str(status["message"]))
    elif suggested is None:
        st.info(
            "The loss fell nowhere clearly, so there is no rate to suggest: the network learns "
            "little from so few steps. Try a larger batch, or another preset.",
            icon=":material/query_stats:",
        )
    else:
        st.button(
            f"Use {suggested:g}", icon=":material/check:", key="use rate",
            on_click=put_setting, args=("training", "learning_rate", suggested),
            help="Where the loss falls fastest. With a cosine schedule take it as it is; with a "
            "constant rate half of it is safer.",
        )  # fmt: skip
    if not rates.empty:
        current = run.read_config().training.learning_rate
        figure = training_charts.draw_rates(rates, suggested, current, is_dark=is_dark())
        st.plotly_chart(
            figure, config=charts.PLAIN, key="rates", alt="Loss against the learning rate"
        )
