"""The dialogs of the runs table: name a run, delete some."""

from pathlib import Path

import streamlit as st

from polyp_core import jobs, words
from polyp_core.errors import PolypError
from polyp_core.runs import ACTIVE_STATES, Run
from polyp_core.summaries import list_summaries
from ui.frame import show_problem, toast_next
from ui.readers import name_run
from ui.words import escape

_NUM_NAMED = 10  # runs in a question
_NUM_MEASURED = 50  # runs whose size is added up for a question
_DIALOG = "runs dialog"


def show_dialog(runs_dir: Path) -> None:
    """The one that was asked for, if any.

    It is noted in the session, so that a page that is drawn anew meanwhile does not close it.
    """
    kind, *lists = st.session_state.get(_DIALOG, ("",))
    runs = [[Run(runs_dir / name) for name in names] for names in lists]
    if kind == "edit":
        _edit_notes(*runs[0])
    elif kind == "delete":
        _delete_runs(*runs)


def ask_for_notes(names: list[str]) -> None:
    """Open the dialog that names a run; to be called by a button."""
    st.session_state[_DIALOG] = ("edit", names)


def ask_to_delete(runs_dir: Path, names: list[str]) -> None:
    """Open the dialog that deletes runs; to be called by a button.

    What may go is settled before the question: a run that ends meanwhile was not asked for.
    """
    states = dict(list_summaries(runs_dir)[["name", "state"]].itertuples(index=False))
    busy = [name for name in names if states.get(name) in ACTIVE_STATES]
    st.session_state[_DIALOG] = ("delete", [name for name in names if name not in busy], busy)


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
        except PolypError as error:
            show_problem(str(error))
            return
        except OSError as error:
            show_problem(f"The note cannot be written to '{run.directory}' ({error.strerror}).")
            return
        _close_dialog()
        st.rerun()


@st.dialog("Delete for good?", icon=":material/delete:", on_dismiss=_close_dialog)
def _delete_runs(doomed: list[Run], busy: list[Run]) -> None:
    for run in busy[:_NUM_NAMED]:
        show_problem(f"{_name_surely(run)} is at work or waits, so it is kept. Stop it first.")
    doomed = [run for run in doomed if run.directory.is_dir()]
    if doomed:
        names = [escape(_name_surely(run)) for run in doomed[:_NUM_NAMED]]
        if len(doomed) > _NUM_NAMED:
            names.append(f"and {len(doomed) - _NUM_NAMED:,} more")
        st.markdown("\n".join(f"- {name}" for name in names))
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
        except (PolypError, OSError) as error:
            problems.append(str(error))
        if bar is not None:
            bar.progress(number / len(runs), text=f"Deleting run {number} of {len(runs)}")
    for problem in problems[:_NUM_NAMED]:
        show_problem(problem)
    if not problems:
        one = f"The run {escape(_name_surely(runs[0]))} was deleted."
        toast_next(one if len(runs) == 1 else f"{len(runs):,} runs were deleted.", "delete")
    if st.session_state.get("run") in [run.name for run in runs if not run.directory.exists()]:
        del st.session_state["run"]  # the one on show
    return not problems


def _name_surely(run: Run) -> str:
    """A title may be another run's as well; the folder's name is its own."""
    name = name_run(run)
    return run.name if name == run.name else f"{name} ({run.name})"


def _say_size(runs: list[Run]) -> str:
    """How much room the runs take, such as " (12 MB)"; nothing where that would take long."""
    if len(runs) > _NUM_MEASURED:
        return ""
    try:
        sizes = [path.lstat().st_size for run in runs for path in run.directory.rglob("*")]
    except OSError:
        return ""
    return f" ({max(1, round(sum(sizes) / 1e6)):,} MB)"
