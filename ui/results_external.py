"""A finished model judged on the images of another folder: start, watch, open, delete."""

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.config import DataConfig
from polyp_core.dataset import find_group
from polyp_core.decision import read_decision, read_worth
from polyp_core.errors import ConfigError, DatasetError, PolypError, RunError
from polyp_core.evaluation import find_tested, list_left_out
from polyp_core.evaluation_jobs import (
    delete_evaluation,
    list_evaluations,
    restart_evaluation,
    start_evaluation,
    stop_evaluation,
)
from polyp_core.runs import ACTIVE_STATES, Run
from ui.frame import errors, say_off, show_problem, toast_next
from ui.known_folders import list_known_folders
from ui.results_link import KIND
from ui.scroll_up import ask_to_scroll_up
from ui.words import escape

_FOLDER, _PATTERN = "results external folder", "results external pattern"
_KNOWN = "results known folders"
_LOOK_EVERY_S = 1.0
_STATES = {"stopped": "Stopped", "interrupted": "Interrupted", "failed": "Failed"}
_DOUBTS = ("num_images", "num_images_of_training_patients", "num_validation_images")


def show_external(run: Run, shown: str = "", *, is_study: bool = False) -> None:
    """A form that starts judging another folder, and what was judged before.

    Args:
        run: Whose model; of a study, its ensemble.
        shown: The evaluation that is looked at above, if it is one.
        is_study: Whether the page shows a study, which cannot open an evaluation.
    """
    st.markdown(
        "Judge this model on images that played no part in making it, such as those of another "
        "hospital or scanner. That is the test which validation is not. The result is kept with "
        "the model, apart from its validation, and changes nothing of it."
    )
    if is_demo():
        say_off("Judging a model on another folder")
    else:
        _show_form(run)
    evaluations = list_evaluations(run)
    if not evaluations:
        st.caption("No other folder was judged yet. What comes out will stand here.")
        return
    is_live = any(_is_live(files) for files in evaluations)
    st.fragment(_show_list, run_every=_LOOK_EVERY_S if is_live else None)(
        run, is_live, shown, is_study
    )


def say_doubts(metrics: dict[str, Any]) -> list[str]:
    """As `evaluation.list_left_out`, but only what was counted with a doubt."""
    return list_left_out({name: metrics[name] for name in _DOUBTS if name in metrics})


def show_progress(status: dict[str, Any]) -> None:
    """The bar of a test at work: what it does, and how long that will take."""
    text = str(status["message"])
    if status.get("remaining_s"):
        text += f" · {words.say_duration(status['remaining_s'])} left"
    total = status.get("images_in_all") or math.inf
    st.progress(min(1.0, status.get("images_done", 0) / total), text=escape(text))


def _name_own(run: Run) -> tuple[str, str]:
    """The images of a run: as they were given, which may be a manifest, and their folder."""
    return str(run.read_config().data.folder), str(run.read_index().folder)


def _show_form(run: Run) -> None:
    pattern_about = DataConfig.__dataclass_fields__["group_pattern"].metadata
    own_pattern = run.read_config().data.group_pattern
    said, problem = "", ""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        folder = st.text_input(
            "Folder or CSV manifest", key=_FOLDER, width=380, placeholder="Type or paste a path",
            help="With the model's two classes as folders, or a CSV with the columns path, label "
            "and group (the patient). A split in it is passed over. Nothing in it is changed.",
        ).strip(" \"'")  # fmt: skip
        known = list_known_folders(*_name_own(run))
        if known:
            st.selectbox(
                "Known folders", known, key=_KNOWN, index=None, width=220,
                placeholder="Take one of them", on_change=_take_known,
            )  # fmt: skip
        pattern = st.text_input(
            pattern_about["label"], own_pattern, key=f"{_PATTERN} {run.directory}", width=220,
            help=pattern_about["help"], placeholder="as recognised",
        )  # fmt: skip
        if folder:
            try:
                said = _look(run, folder, pattern)
            except PolypError as error:
                problem = str(error)
        is_started = st.button(
            "Start", type="primary", icon=":material/play_arrow:", key="results external start",
            disabled=not folder or bool(problem),
        )  # fmt: skip
    if problem:
        show_problem(problem)
    elif said:
        st.caption(said)
    if is_started:
        with errors():
            start_evaluation(run, folder, group_pattern=pattern)
            toast_next("Judging has begun; it goes on when you close this page.", "play_arrow")
            st.rerun()


def _take_known() -> None:
    """Put the chosen folder into the field, where it can be changed."""
    if st.session_state[_KNOWN]:
        st.session_state[_FOLDER] = st.session_state[_KNOWN]
    st.session_state[_KNOWN] = None


@st.cache_data(
    ttl=10, max_entries=20, show_spinner="Looking at the folder …", hash_funcs={Run: str}
)
def _look(run: Run, folder: str, pattern: str) -> str:
    """What there is to judge, by the names alone.

    Raises:
        DatasetError: As `find_tested`; or if the pattern finds no patient in a name.
        ConfigError: If the pattern is no regular expression.
    """
    pattern = DataConfig(folder=folder, group_pattern=pattern).group_pattern
    sources = find_tested(run, folder)
    files, names = sources.files, " and ".join(map(escape, sources.class_names))
    said = f"{len(files):,} file{'' if len(files) == 1 else 's'} of {names}"
    if pattern and sources.manifest is None:
        groups = [find_group(file.name, pattern) for file in files]
        if "" in groups:
            raise DatasetError(
                f"The patient pattern finds no patient in {groups.count('')} of {len(files)} file "
                "names. Expected one in every name. Correct the pattern, or leave it empty. "
                f"Received: {files[groups.index('')].name!r}"
            )
        said += f", {words.say_number(len(set(groups)), 'patient')} by the pattern"
    return f":material/check: {said}. Each is opened when you start."


def _show_list(run: Run, was_live: bool, shown: str, is_study: bool) -> None:
    """Each evaluation with what can be done; a full rerun once the last one at work has ended."""
    with errors():
        evaluations = list_evaluations(run)
        if was_live and not any(_is_live(files) for files in evaluations):
            st.rerun()
        for files in evaluations:
            with st.container(border=True, key=f"results external {files.name}"):
                _show_evaluation(run, files, is_shown=files.name == shown, is_study=is_study)


def _show_evaluation(run: Run, files: Run, *, is_shown: bool, is_study: bool) -> None:
    status = files.read_status()
    state = status["state"]
    # At the threshold in use now, which may be another than on the day it was judged.
    metrics = read_worth(run, files) if state == "finished" else None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(files.name)}**", width="content")
        if state in _STATES:
            st.badge(_STATES[state], color="red" if state == "failed" else "gray")
        elif is_shown:
            st.badge("Shown above", icon=":material/visibility:", color="primary")
        st.space("stretch")
        act = _show_buttons(files, state, is_shown=is_shown, is_study=is_study)
    if act is not None:
        with errors():
            act(files)
            st.rerun()
    if state in ACTIVE_STATES:
        show_progress(status)
    elif state == "failed":
        show_problem(str(status["message"]))
    elif metrics is not None:
        level, unit = words.get_main_level(metrics)
        doubt = words.say_doubt(level, read_decision(run).goal.purpose, "look at its images")
        st.markdown(f"{words.say_worth(level, unit)}. {doubt}")
        for sentence in list_left_out(metrics):
            st.caption(f":material/info: {sentence}")
    st.caption(_say_origin(files))


def _show_buttons(
    files: Run, state: str, *, is_shown: bool, is_study: bool
) -> Callable[[Run], None] | None:
    """What to do, if a button was pressed that needs more than a note in the session."""
    name = files.name
    if state in ACTIVE_STATES and not is_demo():
        is_asked = files.path("stop").exists()
        is_stopped = st.button(
            "Stopping …" if is_asked else "Stop", icon=":material/stop:", disabled=is_asked,
            key=f"results external stop {name}",
        )  # fmt: skip
        return stop_evaluation if is_stopped else None
    if state == "finished":
        # The choice of predictions is drawn before this, and outside of any fragment.
        is_opened = st.button(
            "Open results", icon=":material/visibility:", key=f"results external open {name}",
            on_click=_open, args=(name,),
            disabled=is_shown or is_study,
            help="Shows these images in everything above: numbers, curves and mistakes."
            if not is_study
            else "Above, a study shows its own images alone, each judged by members that had not "
            "seen it.",
        )  # fmt: skip
        if is_opened:
            st.rerun()
    if is_demo():
        return None
    if state != "finished" and st.button(
        "Start anew", icon=":material/refresh:", key=f"results external again {name}"
    ):
        return restart_evaluation
    with st.popover("Delete", icon=":material/delete:"):
        st.write("The numbers, and marks and notes on its images, go for good. The images stay.")
        if st.button(
            "Delete for good", icon=":material/delete:", key=f"results external delete {name}"
        ):
            return delete_evaluation
    return None


def _open(name: str) -> None:
    st.session_state[KIND] = name
    ask_to_scroll_up()


def _say_origin(files: Run) -> str:
    """Of which folder it is, and when it was asked for."""
    try:
        folder = str(files.read_config().data.folder)
        folder = Path(folder).name if is_demo() else folder
        asked = datetime.fromtimestamp(files.path("config.json").stat().st_mtime)
    except (RunError, ConfigError, OSError):
        return "Its config.json cannot be read."
    return f"{escape(folder)} · {asked:%-d %b %Y, %H:%M}"


def _is_live(files: Run) -> bool:
    return files.read_status()["state"] in ACTIVE_STATES
