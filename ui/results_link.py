"""The address of the results page: a copied link opens the same evidence."""

from collections.abc import Sequence

import streamlit as st

from polyp_core.decision import Decision
from polyp_core.evidence.goals import Goal, parse_goal
from polyp_core.runs import Run
from polyp_core.study import Study
from polyp_core.workspace import DEMO_RUN
from ui import address
from ui.frame import errors, show_problem
from ui.queue_view import is_listed
from ui.readers import list_active_runs, name_run
from ui.results_source import Judged
from ui.words import escape

SOURCE, KIND, LEVEL = "results source", "results kind", "results level"
MISTAKES = "results group"  # which of them are shown
LINKED = "results linked threshold"  # with its goal; waits for the run that it belongs to
COMPARISON_BOX = "Compare with other runs"  # as the page calls it
_WRITTEN = "results link"
_MAX_LENGTH = 200


def take_link(sources: Sequence[Run | Study]) -> bool:
    """Take what an opened link asks for; one that the page wrote itself says nothing.

    To be called before the widgets are drawn.

    Returns:
        False where what it asks for has no results; then this has been said.
    """
    given = st.query_params.to_dict()
    if not given or not address.is_opened(_WRITTEN, given):
        return True
    wanted = ("study", given["study"]) if "study" in given else ("run", given.get("run", ""))
    known = {_name(source): source for source in sources}
    if wanted in known:
        st.session_state[SOURCE] = known[wanted]
    elif wanted[1]:
        _say_missing(*wanted)
        return False
    for name, key in (("kind", KIND), ("level", LEVEL), ("mistakes", MISTAKES)):
        if name in given:
            st.session_state[key] = given[name][:_MAX_LENGTH]
        else:  # not those of what was looked at before
            st.session_state.pop(key, None)
    if "threshold" in given:
        _take_threshold(given["threshold"], given.get("goal", ""))
    return True


def write_link(judged: Judged, unit: str, decision: Decision) -> None:
    """Put what is looked at into the address bar."""
    kind, name = _name(judged.study or judged.run)
    shown = {kind: name, "kind": judged.kind, "level": unit}
    shown["threshold"] = f"{decision.threshold:.9g}"
    if decision.goal.kind != "hand":
        shown["goal"] = decision.goal.write()
    if MISTAKES in st.session_state:
        shown["mistakes"] = st.session_state[MISTAKES]
    elif not judged.table.empty:  # they are chosen below, and written then: once, for "Back"
        address.note(_WRITTEN, shown)
        return
    _write(shown)


def write_mistakes(group: str) -> None:
    """The same, where nothing but the group of the mistakes has changed."""
    # Not the address itself, which the browser may have sent before it had the last one.
    written, _ = st.session_state.get(_WRITTEN, ({}, []))
    _write(written | {"mistakes": group})


def _write(shown: dict[str, str]) -> None:
    address.note(_WRITTEN, shown)
    if st.query_params.to_dict() != shown:
        st.query_params.from_dict(shown)


def _name(source: Run | Study) -> tuple[str, str]:
    if isinstance(source, Study):
        return "study", source.name
    return "run", "demo" if source == DEMO_RUN else source.name


def _say_missing(kind: str, name: str) -> None:
    """That a run is still at work, with the way to it, or that there is none."""
    for run, status in list_active_runs():
        if is_listed(run) and _name(run) == (kind, name):
            does = "is still training" if status["state"] == "running" else "waits for its turn"
            message = str(status["message"])
            st.info(
                f"**{escape(name_run(run))}** {does} "
                f"({escape(message[:1].lower() + message[1:])}). Its results come when it ends.",
                icon=":material/model_training:",
            )
            st.session_state["run"] = run.name  # which the train page shows
            st.page_link("pages/train.py", label="Watch it", icon=":material/visibility:")
            return
    show_problem(
        f"The link's {kind} '{name[:_MAX_LENGTH]}' has no results here. Expected one that is "
        "finished. Choose another."
    )


def _take_threshold(text: str, goal_text: str) -> None:
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if 0 <= threshold <= 1:
        st.session_state[LINKED] = Goal("hand", threshold), threshold
        if goal_text:
            with errors():
                st.session_state[LINKED] = parse_goal(goal_text[:_MAX_LENGTH]), threshold
    else:
        show_problem(
            "The link's threshold is left out. Expected a probability from 0 to 1. Received: "
            f"{text[:40]!r}"
        )
