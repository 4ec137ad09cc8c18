"""A run that was trained on another computer comes in as a zip of its folder."""

import streamlit as st

from polyp_core.access import is_demo
from polyp_core.model_import import import_run, suggest_name
from polyp_core.workspace import get_runs_dir
from ui.frame import errors, toast_next
from ui.words import escape

_FILE, _NAME = "bring model file", "bring model name"
_ROUND = "bring model round"  # counts, so that what brought a file in is closed and empty again


def show_import() -> None:
    """A popover to bring in a run; on a shared demo, which keeps nothing, there is none."""
    if is_demo():
        return
    number = st.session_state.setdefault(_ROUND, 0)
    with st.popover(
        "Bring a model from another computer", icon=":material/move_to_inbox:",
        key=f"bring model {number}",
    ):  # fmt: skip
        st.caption(
            "Drop the bundle that was made there (on the results page, under *Share*), or a zip of "
            "the run's folder (it lies in `workspace/runs`). Only its settings and numbers are "
            "taken: the network is built anew here, so a file from a stranger cannot run anything. "
            "Its images stay where they are."
        )
        file = st.file_uploader(
            "A bundle, or a zip of a run's folder", type="zip", key=f"{_FILE} {number}",
            help=f"At most {st.get_option('server.maxUploadSize')} MB; a larger file comes in with "
            "`python -m polyp_core import FILE`. Needed are `config.json`, `serving.json`, "
            "`index.csv` and one of `model.weights.h5` and `model.keras`; `predictions.csv` (for "
            "`metrics.json`), `history.csv`, `decision.json`, `features.npy` and `familiarity.*` "
            "make it whole. `serving.tflite` is made anew.",
        )  # fmt: skip
        if file is None:
            return
        runs_dir = get_runs_dir()
        name = st.text_input(
            "Name of the run here", suggest_name(file.name, runs_dir), max_chars=80,
            key=f"{_NAME} {number} {file.file_id}",
        )  # fmt: skip
        if not st.button("Bring it in", type="primary", icon=":material/move_to_inbox:"):
            return
        with errors(), st.spinner("The network is built anew …", show_time=True):
            said = st.empty()
            try:
                run = import_run(file, name.strip(), runs_dir, lambda stage: _say(said, stage))
            finally:
                said.empty()
            st.session_state[_ROUND] = number + 1
            st.session_state["run to predict with"] = str(run.directory.absolute())
            toast_next(f"**{escape(run.name)}** is here and can predict.", "move_to_inbox")
            st.rerun()


def _say(place: "st.delta_generator.DeltaGenerator", stage: str) -> None:
    place.caption(f"{escape(stage)} …")
