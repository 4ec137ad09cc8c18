"""Does the model look where it should, and does it bear worse images? Started here, read here."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.checks import MAX_IMAGES
from polyp_core.evaluation_jobs import (
    find_checks,
    restart_evaluation,
    start_checks,
    stop_evaluation,
)
from polyp_core.runs import ACTIVE_STATES, Run
from ui.check_charts import draw_robustness
from ui.downloads import show_figure
from ui.frame import errors, say_off, show_problem
from ui.pictures import is_dark
from ui.results_external import show_progress
from ui.results_pair_words import say_p
from ui.results_source import Judged
from ui.words import escape

_LOOK_EVERY_S = 1.0
SIGN, FINE, UNKNOWN = "sign", "fine", "unknown"  # of a shortcut
_KEYS = {"shortcuts", "robustness", "num_patients", "num_images", "num_validation_images",
         "num_left_out"}  # fmt: skip
_MEASURE = "results robustness measure"
_MEASURES = {"auc": ("AUC", words.say_auc), "accuracy": ("Accuracy", words.say_percent)}
_LOWEST = {"auc": 0.4, "accuracy": 0.0}  # where the axis ends, unless a number lies below
_MIN_SALIENCY = 0.05  # less is no weight to speak of, whatever its area
_MIN_DROP = 0.02  # less is hardly a change
_AXES = {
    "noise": "SD (of 255 grey levels)",
    "blur": "SD (% of the width)",
    "gain": "dB, up or down",
    "rotation": "Degrees, left or right",
    "jpeg": "Quality",
}
_WITHOUT = {  # why there is nothing to show
    "finished": "What the checks have found cannot be read: checks.json is missing, damaged "
    "or of another version.",
    "stopped": "The checks were stopped before they had found anything.",
    "interrupted": "The checks ended without a word, before they had found anything: the computer "
    "was restarted, or the process killed.",
}
_PLACES = {  # where, and what lies there
    "outside": ("outside the scan area", "the ground, the ruler or the logo of the machine"),
    "text": ("on burned-in text", "the writing, which differs between hospitals and years"),
}
Plain = Mapping[str, Any]


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
        if not found.keys() >= _KEYS:  # damaged, or of another version
            found = {}
        if found:
            _show_found(judged, found)
        elif status["state"] == "failed":
            show_problem(str(status["message"]))
        else:
            st.info(_WITHOUT[status["state"]], icon=":material/info:")
        if not is_demo() and st.button(
            "Check anew", icon=":material/refresh:", key="results checks again",
            help="What stands here is thrown away, and found once more." if found else None,
        ):  # fmt: skip
            if status["state"] == "finished":
                start_checks(run)
            else:
                restart_evaluation(files)
            st.rerun()


def say_place(place: str, described: Mapping[str, Any]) -> tuple[str, str]:
    """How much of the evidence lies in a place where no disease is.

    Args:
        place: "outside" or "text".
        described: Of checks.json, with "all" and "classes".

    Returns:
        SIGN (of a shortcut), FINE or UNKNOWN, and the sentence, in Markdown.
    """
    where, what = _PLACES[place]
    found = described["all"]
    if found["saliency"]["value"] is None:
        return UNKNOWN, escape(found["saliency"]["reason"])
    part = (
        "" if found["num_with"] == found["num_images"]
        else f", in the {found['num_with']} of {found['num_images']} images that have any"
    )  # fmt: skip
    said = (
        f"On average **{words.say_percent(found['saliency'])} of the evidence lies {where}**, "
        f"which takes {_say_share(found['area']['value'])} of the picture{part}"
    )
    suspects = [
        escape(name) for name, one in described["classes"].items() if _is_suspect(one)
    ]  # fmt: skip
    if _is_suspect(found):
        return SIGN, (
            f"{said}: more than its area explains. **This can be a shortcut**: the model may go by "
            f"{what}. Look at the overlays of the mistakes, and cut the region to the scan."
        )
    if suspects:
        return SIGN, (
            f"{said}; but in images of {' and of '.join(suspects)} it is more than its area "
            f"explains. **This can be a shortcut**: the model may go by {what}."
        )
    if found["excess"]["low"] is not None and found["excess"]["low"] > 0:
        return FINE, f"{said}: more than its area explains, but too little to carry an answer."
    return FINE, f"{said}: no sign of a shortcut."


def say_border(described: Mapping[str, Any]) -> tuple[str, str]:
    """What the AUC is with the border painted over; returns as `say_place`."""
    found = described.get("patient") or described["image"]
    before, after, difference = found["auc"], found["auc_blanked"], found["difference"]
    if before["value"] is None:
        return UNKNOWN, f"The border cannot be judged: {escape(before['reason'])}"
    said = (
        f"With the outermost {_say_share(described['width'])} on each side painted over the AUC is "
        f"**{words.say_auc(after)}** instead of {words.say_auc(before)}"
    )
    if difference["low"] is None:
        return UNKNOWN, f"{said}. {escape(difference['reason'])}"
    interval = (
        f"difference {difference['value']:+.2f}, 95 % interval {difference['low']:+.2f} to "
        f"{difference['high']:+.2f}, {say_p(difference['p_value'])}"
    ).replace("-", "−")
    if difference["high"] < 0:
        return SIGN, (
            f"{said} ({interval}). **The border carries a part of the answer**: fine if it shows "
            "anatomy, a shortcut if it does not."
        )
    return FINE, f"{said} ({interval}): no sign that the model goes by the border."


def say_robustness(effects: list[dict[str, Any]], unit: str, measure: str) -> str:
    """Under what the number falls most, and under what it hardly changes; in Markdown."""
    title, say = _MEASURES[measure]
    drops = []
    for effect in effects:
        first, last = (effect["levels"][place] for place in (0, -1))
        drops.append((first[unit][measure]["value"] - last[unit][measure]["value"], effect, last))
    calm = [_name_effect(effect) for drop, effect, _ in drops if abs(drop) < _MIN_DROP]
    drop, worst, last = max(drops, key=lambda item: float(item[0]))
    begun = say(worst["levels"][0][unit][measure])
    if drop < _MIN_DROP:
        return f"{title} {begun} hardly falls under any of these, even at their strongest."
    said = (
        f"{title} {begun} falls most under **{_name_effect(worst)}**: "
        f"to {say(last[unit][measure])} at {escape(last['label'])}."
    )
    if calm:
        listed = " and ".join(filter(None, [", ".join(calm[:-1]), calm[-1]]))
        said += f" It hardly changes under {listed}."
    return said


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
    num_images = len(run.read_index().select("validation"))
    if not num_images:
        st.info(
            "This model has no validation images of its own, so there is nothing to check it on. "
            "Choose a single run that has some; for a study, train one with the same settings.",
            icon=":material/info:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Run the checks", icon=":material/troubleshoot:", key="results checks start"):
            with errors():
                start_checks(run)
                st.rerun()
        st.caption(
            f"On {words.say_number(min(num_images, MAX_IMAGES), 'validation image')}, each asked "
            "about 22 times; some seconds to a few minutes. It goes on when you close this page.",
            width="content",
        )


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
    shortcuts = found["shortcuts"]
    for verdict, sentence in (
        *(say_place(place, shortcuts[place]) for place in _PLACES),
        say_border(shortcuts["border"]),
    ):
        if verdict == SIGN:
            st.warning(sentence, icon=":material/warning:")
        else:
            icon = "check" if verdict == FINE else "info"
            st.markdown(f":material/{icon}: {sentence}")
    st.markdown("**Does it bear worse images?**")
    _show_robustness(judged, found)
    unit = "patient" if found["num_patients"] is not None else "image"
    left = words.say_number(found["num_left_out"], "file")
    st.caption(
        f"On {found['num_images']} of {found['num_validation_images']} validation images"
        + (f" of {found['num_patients']} patients, counted by patient" if unit == "patient" else "")
        + (f"; {left} left out, gone or changed since" if found["num_left_out"] else "")
        + ". None of this proves that a model is sound; each can show that it is not."
    )


def _show_robustness(judged: Judged, found: dict[str, Any]) -> None:
    unit = "patient" if found["num_patients"] is not None else "image"
    effects = found["robustness"]
    measures = ["auc", "accuracy"]
    if effects[0]["levels"][0][unit]["auc"]["value"] is None:
        st.caption(f":material/info: {escape(effects[0]['levels'][0][unit]['auc']['reason'])}")
        measures = ["accuracy"]
    measure = st.segmented_control(
        "Number", measures, key=f"{_MEASURE} {len(measures)}", default=measures[0], required=True,
        format_func=lambda name: _MEASURES[name][0], label_visibility="collapsed",
    )  # fmt: skip
    st.markdown(say_robustness(effects, unit, str(measure)))
    grid = st.grid(3, min_column_width=250)
    tables = [tabulate_effect(effect, unit, str(measure)) for effect in effects]
    lowest = min(_LOWEST[str(measure)], *(float(rows["low"].min()) - 0.02 for rows in tables))
    for effect, rows in zip(effects, tables, strict=True):
        with grid.cell():
            st.markdown(f"**{escape(effect['title'])}**")
            figure = draw_robustness(
                rows, _AXES.get(effect["effect"], effect["unit"]), _MEASURES[str(measure)][0],
                lowest, is_dark=is_dark(),
            )  # fmt: skip
            show_figure(
                figure, f"{measure} under {effect['title']}",
                f"results robustness {effect['effect']}",
                stem=f"{judged.run.name}-{effect['effect']}-{measure}", numbers=rows,
            )  # fmt: skip


def _name_effect(effect: Mapping[str, Any]) -> str:
    """Such as "gain" for "Gain, up and down"; what is all capitals stays."""
    name = str(effect["title"]).split(",")[0]
    return escape(name if name.isupper() else name.lower())


def _is_suspect(found: Mapping[str, Any]) -> bool:
    """Whether the model looks at a place surely more than its area explains, and not just a bit."""
    low, saliency = found["excess"]["low"], found["saliency"]["value"]
    return low is not None and low > 0 and saliency >= _MIN_SALIENCY


def _say_share(share: float) -> str:
    return f"{words.round_percent(share)} %"
