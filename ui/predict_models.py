"""Which model answers, by choice or by link, what it is worth, and what it is compared with."""

from contextlib import suppress
from pathlib import Path

import streamlit as st

from polyp_core import workspace
from polyp_core.answers import read_credentials
from polyp_core.errors import ModelError
from polyp_core.runs import Run
from ui import address
from ui.frame import show_credentials, show_problem
from ui.readers import is_synthetic, name_run, open_classifier
from ui.words import escape

MODEL, _OTHER, _COMPARES = "model", "predict other model", "predict compares"
_LINK, _PROBLEM, _MAX_LENGTH = "predict link", "predict link problem", 200


def choose_models() -> tuple[Run, Run | None]:
    """The model that answers and, where one is asked for, a second one beside it."""
    runs = workspace.list_models(workspace.get_runs_dir())
    _take_handover(runs)
    _take_link(runs)
    if _PROBLEM in st.session_state:  # until another is chosen: a page is often drawn twice
        show_problem(st.session_state[_PROBLEM])
    # What was chosen may be deleted since.
    if st.session_state.get(MODEL) not in runs:
        st.session_state[MODEL] = runs[0]
    model_column, worth_column = st.columns([2, 3], gap="medium", vertical_alignment="center")
    with model_column, st.container():
        run = st.selectbox(
            "Model", runs, format_func=name_run, key=MODEL, persist_state="session",
            on_change=_forget_problem,
        ) or runs[0]  # fmt: skip
        names = run.read_class_names()  # with other classes they answer different questions
        other = _choose_other(
            [each for each in runs if each != run and each.read_class_names() == names]
        )
    with worth_column, st.container(gap="xsmall"):
        for each in filter(None, (run, other)):
            _show_worth(each, is_named=other is not None)
    _write_link(run)
    return run, other


def _choose_other(runs: list[Run]) -> Run | None:
    """A second model, behind one click; nothing where there is none."""
    if not runs:
        return None
    if not st.toggle(
        "Compare with a second model", key=_COMPARES, persist_state="session",
        help="Both answers to each image, side by side, and where they differ.",
    ):  # fmt: skip
        return None
    if st.session_state.get(_OTHER) not in runs:
        st.session_state[_OTHER] = runs[0]
    chosen = st.selectbox(
        "Second model", runs, format_func=name_run, key=_OTHER, persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip
    return chosen or runs[0]


def _show_worth(run: Run, *, is_named: bool) -> None:
    """What it has learned from, what it is worth, and whether it knows a stranger."""
    if is_named:
        st.caption(f":material/model_training: {escape(name_run(run))}")
    if run == workspace.DEMO_RUN:
        st.caption(":material/science: Trained on synthetic images only, to show how this works.")
    elif training := _say_training(str(run.directory), str(run.read_serving().get("sha256"))):
        st.caption(f":material/school: {training}{' All are synthetic.' * is_synthetic(run)}")
    show_credentials(run)
    with suppress(ModelError):  # of which the page says more below
        if open_classifier(run).familiarity is None:
            st.caption(
                ":material/info: It cannot tell whether an image is like its training images: it "
                "was made by an earlier version. Train again to have strangers refused."
            )


@st.cache_data(max_entries=20, show_spinner=False)
def _say_training(directory: str, sha256: str) -> str:
    """Such as "Trained on 120 images of 40 patients."; a long index takes its time to be read."""
    return read_credentials(Run(Path(directory))).training


def _take_handover(runs: list[Run]) -> None:
    """The train page hands over the folder of the run that was looked at there."""
    wanted = st.session_state.pop("run to predict with", None)
    if wanted is not None:
        named = (run for run in runs if str(run.directory.absolute()) == wanted)
        st.session_state[MODEL] = next(named, runs[0])


def _take_link(runs: list[Run]) -> None:
    """Take the model that an opened link names; one that the page wrote itself says nothing."""
    given = st.query_params.get("model")
    if given is None or not address.is_opened(_LINK, given):
        return
    known = {_name(run): run for run in reversed(runs)}
    _forget_problem()
    if given in known:
        st.session_state[MODEL] = known[given]
    else:
        st.session_state[_PROBLEM] = (
            f"The link's model '{given[:_MAX_LENGTH]}' is not here. Expected a run that is "
            "finished, or 'demo'. Choose another."
        )


def _forget_problem() -> None:
    st.session_state.pop(_PROBLEM, None)


def _write_link(run: Run) -> None:
    """Put the model into the address bar, so that a copied link opens the page with it."""
    name = _name(run)
    address.note(_LINK, name)
    if st.query_params.get("model") != name:
        st.query_params["model"] = name


def _name(run: Run) -> str:
    """What a link calls a model; an ensemble by its study."""
    if run == workspace.DEMO_RUN:
        return "demo"
    if run.name == "ensemble":
        return f"{run.directory.parent.name}/ensemble"
    return run.name
