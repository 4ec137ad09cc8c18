"""Is it learning, and when is it done?"""

from pathlib import Path
from typing import Any

import streamlit as st

import ui
from polyp_core import workspace
from polyp_core.access import is_demo
from polyp_core.runs import Run
from polyp_core.summaries import list_summaries

Status = dict[str, Any]


def find_shown_run(active: list[tuple[Run, Status]]) -> tuple[Run, Status] | None:
    """The run that this visitor started, watched or picked, or else the one that trains."""
    name = st.session_state.get("run")
    is_name = name is not None and name not in (".", "..") and Path(name).name == name
    if name is not None and not (is_name and Run(runs_dir / name).path("config.json").is_file()):
        st.toast(f"The run {ui.escape(name)} is not there.", icon=":material/delete:")
        del st.session_state["run"]
        name = None
    for run, status in active:
        if ui.is_listed(run) and name in (None, run.name):
            # So that its outcome stays on the screen when it has ended.
            st.session_state["run"] = run.name
            return run, status
    if name is None and not is_demo():
        return None
    run = workspace.DEMO_RUN if name is None else Run(runs_dir / name)
    return run, run.read_status()


ui.begin_page("Train")
ui.take_next_source()
ui.read_link()
ui.take_settings()
st.title("Train")
st.caption(
    "Is it learning, and when is it done?"
    + ("" if is_demo() else " A run goes on when you close this page.")
)
runs_dir = workspace.get_runs_dir()
active_runs = ui.list_active_runs()
shown = find_shown_run(active_runs)
ui.scroll_up()
is_study_first = ui.is_study_first(shown[0] if shown else None)
if is_study_first:
    ui.show_studies(is_first=True)
if shown is not None:
    ui.show_run(*shown)
ui.watch_queue(shown[0] if shown else None, active_runs)
if not is_study_first:
    ui.show_studies()
place = st.container()
if is_demo():
    ui.say_off("Training")
    st.caption(
        "Above is how a finished training looks. On your own computer the form for the next one "
        "stands here: a preset, the number of epochs, and the button that starts it."
    )
elif shown is not None:
    # Opened and closed by the visitor alone; anew where settings were handed over.
    num_given = st.session_state.get("settings given", 0)
    place = st.expander(
        "Train another", icon=":material/add:", expanded=num_given > 0, key=f"form {num_given}"
    )
if not is_demo():
    with place, ui.errors():
        ui.show_source_choice()
        if ui.has_folder():
            config = ui.get_data_config()
            index, audit = ui.load_index(config), ui.load_audit(config)
            ui.fit_draft(index)
            ui.show_verdict(index, audit)
            ui.show_form(index, is_busy=bool(active_runs))
            ui.write_link(with_view=False)
            ui.show_study_form(index, audit)
if len(list_summaries(runs_dir)):
    box = st.expander("All runs", icon=":material/list:", key="all runs", on_change="rerun")
    if box.open:
        with box:
            ui.show_runs(runs_dir)
elif not is_demo():
    st.caption("Your runs will stand here, with their curves.")
