"""Does the model look where it should, and does it bear worse images? Started here, read here."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.checks import MAX_IMAGES
from polyp_core.checks.wording import (
    AXES,
    FINE,
    SIGN,
    choose_measure,
    is_sound,
    list_shortcuts,
    say_robustness,
)
from polyp_core.evaluation_jobs import (
    find_checks,
    restart_evaluation,
    start_checks,
    stop_evaluation,
)
from polyp_core.evidence.wording import NAMES
from polyp_core.runs import ACTIVE_STATES, Run
from ui.check_charts import draw_robustness
from ui.downloads import show_figure
from ui.frame import errors, say_off, show_problem
from ui.pictures import is_dark
from ui.results_external import show_progress
from ui.results_picture import STAYED, is_elsewhere
from ui.results_source import Judged
from ui.words import escape

_LOOK_EVERY_S = 1.0
_MEASURE = "results robustness measure"
_LOWEST = {"auc": 0.4, "accuracy": 0.0}  # where the axis ends, unless a number lies below
_AXES = AXES | {"jpeg": "Quality"}  # as the ticks have it
_WITHOUT = {  # why there is nothing to show
    "finished": "What the checks have found cannot be read: checks.json is missing, damaged "
    "or of another version.",
    "stopped": "The checks were stopped before they had found anything.",
    "interrupted": "The checks ended without a word, before they had found anything: the computer "
    "was restarted, or the process killed.",
}


def show_checks(judged: Judged) -> None:
    """Start the checks, watch them, and read what they have found.

    Args:
        judged: Whose model; it is always checked on its own validation images.
    """
    with errors():
        run, files = judged.run, find_checks(judged.run)
        if files is None:
            _show_start(run)
            return
        status = files.read_status()
        if status["state"] in ACTIVE_STATES:
            st.fragment(_show_work, run_every=_LOOK_EVERY_S)(files)
            return
        found = (files.read_checks() if status["state"] == "finished" else None) or {}
        if found and is_sound(found):
            _show_found(judged, found)
        elif status["state"] == "failed":
            show_problem(str(status["message"]))
        else:
            st.info(_WITHOUT[status["state"]], icon=":material/info:")
        is_away = is_elsewhere(run.read_index().folder)
        what = STAYED if is_away else "What stands here is thrown away, and found once more."
        if not is_demo() and st.button(
            "Check anew", icon=":material/refresh:", key="results checks again", disabled=is_away,
            help=what if found or is_away else None,
        ):  # fmt: skip
            if status["state"] == "finished":
                start_checks(run)
            else:
                restart_evaluation(files)
            st.rerun()


def tabulate_effect(effect: Mapping[str, Any], unit: str, measure: str) -> pd.DataFrame:
    """One row a strength: `strength`, `label`, `tick` (of an axis), `value`, `low`, `high`, `n`."""
    rows = []
    for level in effect["levels"]:
        number = re.search(r"[\d.]+", level["label"])
        rows.append(
            {"strength": level["strength"], "label": level["label"],
             "tick": number[0] if number else "as is"}
            | {key: level[unit][measure][key] for key in ("value", "low", "high", "n")}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _show_start(run: Run) -> None:
    st.write(
        "Two questions that a good number does not answer: does the model look at the organ, or at "
        "the ruler, the writing and the edge of the picture? And what is left of it under noise, "
        "blur, another gain, a small turn, or JPEG?"
    )
    if is_demo():
        say_off("Starting the checks")
        return
    index = run.read_index()
    num_images, is_away = len(index.select("validation")), is_elsewhere(index.folder)
    if not num_images:
        st.info(
            "This model has no validation images of its own, so there is nothing to check it on. "
            "Choose a single run that has some; for a study, train one with the same settings.",
            icon=":material/info:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Run the checks", icon=":material/troubleshoot:", key="results checks start",
            disabled=is_away,
        ):  # fmt: skip
            with errors():
                start_checks(run)
                st.rerun()
        st.caption(
            f"{STAYED} Only there can it be checked." if is_away
            else f"On {words.say_number(min(num_images, MAX_IMAGES), 'validation image')}, each "
            "asked about 22 times; some seconds to a few minutes. It goes on when you close this "
            "page.",
            width="content",
        )  # fmt: skip


def _show_work(files: Run) -> None:
    """The bar; a full rerun once the checks have ended."""
    with errors():
        status = files.read_status()
        if status["state"] not in ACTIVE_STATES:
            st.rerun()
        show_progress(status)
        if is_demo():
            return
        is_asked = files.path("stop").exists()
        if st.button(
            "Stopping …" if is_asked else "Stop", icon=":material/stop:", disabled=is_asked,
            key="results checks stop",
        ):  # fmt: skip
            stop_evaluation(files)
            st.rerun(scope="fragment")


def _show_found(judged: Judged, found: dict[str, Any]) -> None:
    st.markdown("**Does it look where it should?**")
    shortcuts = list_shortcuts(found)
    for verdict, sentence in shortcuts:
        if verdict == SIGN:
            st.warning(escape(sentence), icon=":material/warning:")
        else:
            icon = "check" if verdict == FINE else "info"
            st.markdown(f":material/{icon}: {escape(sentence)}")
    if any(verdict == SIGN for verdict, _ in shortcuts):
        st.caption(
            "Look at the overlays of the mistakes; cut the region to the scan if they shine "
            "beside it."
        )
    st.markdown("**Does it bear worse images?**")
    _show_robustness(judged, found)
    unit, _ = choose_measure(found)
    left = words.say_number(found["num_left_out"], "file")
    st.caption(
        f"On {found['num_images']} of {found['num_validation_images']} validation images"
        + (f" of {found['num_patients']} patients, counted by patient" if unit == "patient" else "")
        + (f"; {left} left out, gone or changed since" if found["num_left_out"] else "")
        + ". None of this proves that a model is sound; each can show that it is not."
    )


def _show_robustness(judged: Judged, found: dict[str, Any]) -> None:
    unit, best = choose_measure(found)
    effects = found["robustness"]
    measures = list(dict.fromkeys([best, "accuracy"]))
    if best != "auc":
        st.caption(f":material/info: {escape(effects[0]['levels'][0][unit]['auc']['reason'])}")
    measure = st.segmented_control(
        "Number", measures, key=f"{_MEASURE} {len(measures)}", default=measures[0], required=True,
        format_func=lambda name: NAMES[name].title, label_visibility="collapsed",
    )  # fmt: skip
    st.markdown(escape(say_robustness(effects, unit, str(measure))))
    grid = st.grid(3, min_column_width=250)
    tables = [tabulate_effect(effect, unit, str(measure)) for effect in effects]
    lowest = min(_LOWEST[str(measure)], *(float(rows["low"].min()) - 0.02 for rows in tables))
    for effect, rows in zip(effects, tables, strict=True):
        with grid.cell():
            st.markdown(f"**{escape(effect['title'])}**")
            figure = draw_robustness(
                rows, _AXES.get(effect["effect"], effect["unit"]), NAMES[str(measure)].title,
                lowest, is_dark=is_dark(),
            )  # fmt: skip
            show_figure(
                figure, f"{measure} under {effect['title']}",
                f"results robustness {effect['effect']}",
                stem=f"{judged.run.name}-{effect['effect']}-{measure}", numbers=rows,
            )  # fmt: skip
