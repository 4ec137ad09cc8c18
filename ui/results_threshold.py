"""The threshold: chosen by what it is for, moved by hand, kept with the run.

What is shown lives in the session as a goal and an exact threshold. The slider only shows that
threshold; whoever moves it sets the goal "by hand".
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.errors import PolypError
from polyp_core.evidence import Level
from polyp_core.evidence.thresholds import choose_band, choose_threshold, explain_missing_band
from polyp_core.metrics import estimate_share, evaluate
from polyp_core.workspace import DEMO_RUN
from ui import charts, evidence_charts
from ui.frame import show_problem, toast_next
from ui.pictures import get_class_colours, is_dark
from ui.results_evidence import UNITS, read_curve, read_levels
from ui.results_link import LINKED
from ui.results_source import STUDY, VALIDATION, Judged
from ui.words import escape

_GOALS = {
    "sensitivity": "High sensitivity",
    "specificity": "High specificity",
    "youden": "Balanced",
    "cost": "By cost",
    "hand": "By hand",
}
_GOAL, _SHARE, _COST, _SLIDER = (
    f"results {name}" for name in ("goal", "wanted share", "cost", "threshold slider")
)
_ABSTAIN, _ERROR = "results abstain", "results target error"
_CUT, _LOADED, _PROBLEM = "results cut", "results loaded", "results threshold problem"
_SAME = 1e-8  # of two thresholds, one of which was written into a link
_USUAL = {_SHARE: 95.0, _COST: 5.0, _ERROR: 5.0}


@dataclass(frozen=True)
class _Cut:
    """What is shown: a threshold, what it is for, and by what unit it was chosen."""

    goal: Goal
    threshold: float
    unit: str


def show_threshold(judged: Judged, unit: str) -> Decision:
    """The threshold with its controls, its rates, and the band without an answer.

    Returns:
        What is shown, which is not what is in use before somebody says so.
    """
    level = read_levels(judged)[unit]
    _load(judged, unit, level)
    can_choose = judged.kind in (VALIDATION, STUDY)
    if can_choose and st.session_state[_CUT].unit != unit:
        _choose(level)  # another purpose is served by another threshold
    with st.container(border=True):
        if can_choose:
            _show_goals(level)
        else:
            st.markdown(
                f"**Threshold** {_say_chosen(judged)}",
                help="A threshold is chosen on validation. Choosing it on these images would make "
                "them a test no more; the slider shows what another one would do.",
            )
        cut, places = st.session_state[_CUT], (st.container(), st.container(), st.container())
        with places[2]:
            band, target, said = (
                _show_band(judged, level, cut.threshold) if can_choose
                else _recall_band(judged, level, cut.threshold)
            )  # fmt: skip
        shown = Decision(cut.goal, cut.threshold, band, target, unit)
        with places[0]:
            _show_slider(judged, unit, shown)
            _show_use(judged, shown, can_choose=can_choose)
        with places[1]:
            _show_rates(judged, level, shown)
        if said:
            places[2].markdown(said)
    return shown


def _load(judged: Judged, unit: str, level: Level) -> None:
    """Show what is in use when another model is looked at, or what a link asks for."""
    token = (judged.key, judged.decision)
    linked = st.session_state.pop(LINKED, None)
    if st.session_state.get(_LOADED) != token or linked is not None:
        _show_decision(judged.decision, unit)
        if linked is not None:
            _show_linked(judged.decision, _Cut(linked[0], linked[1], unit), level)
        st.session_state[_LOADED] = token


def _show_linked(used: Decision, cut: _Cut, level: Level) -> None:
    """Show a link's threshold, and what it is for where these images still say so."""
    try:
        found = choose_threshold(level.labels, level.probabilities, cut.goal)
    except PolypError:
        found = math.nan
    if not math.isclose(found, cut.threshold, abs_tol=_SAME):
        cut = replace(cut, goal=Goal("hand", cut.threshold))
    is_other_goal = cut.goal.kind != "hand" and cut.goal != used.goal
    if is_other_goal or not math.isclose(cut.threshold, used.threshold, abs_tol=_SAME):
        _show_cut(cut)


def _show_decision(decision: Decision, unit: str) -> None:
    """Set the widgets to a decision."""
    _show_cut(_Cut(decision.goal, decision.threshold, unit))
    target = decision.target_error
    st.session_state[_ERROR] = _USUAL[_ERROR] if target is None else 100 * target
    st.session_state[_ABSTAIN] = decision.band is not None
    st.session_state.pop(_PROBLEM, None)


def _show_cut(cut: _Cut) -> None:
    goal = cut.goal
    st.session_state[_CUT], st.session_state[_GOAL] = cut, goal.kind
    wanted = {"sensitivity": _SHARE, "specificity": _SHARE, "cost": _COST}
    values = {key: _USUAL[key] for key in (_SHARE, _COST)}
    if goal.kind in wanted:
        values[wanted[goal.kind]] = goal.value * (1 if goal.kind == "cost" else 100)
    st.session_state.update(values)
    st.session_state[_SLIDER] = round(100 * cut.threshold, 1)


def _choose(level: Level) -> None:
    """Find the threshold that serves the chosen purpose; say so where there is none."""
    kind, before = st.session_state[_GOAL], st.session_state[_CUT]
    value = {
        "sensitivity": st.session_state.get(_SHARE, _USUAL[_SHARE]) / 100,
        "specificity": st.session_state.get(_SHARE, _USUAL[_SHARE]) / 100,
        "cost": st.session_state.get(_COST, _USUAL[_COST]),
        "hand": before.threshold,
    }.get(kind, 0.0)
    st.session_state.pop(_PROBLEM, None)
    try:
        goal = Goal(kind, value)
        threshold = choose_threshold(level.labels, level.probabilities, goal)
    except PolypError as error:
        st.session_state[_PROBLEM] = str(error)
        st.session_state[_CUT] = _Cut(Goal("hand", before.threshold), before.threshold, level.unit)
        return
    st.session_state[_CUT] = _Cut(goal, threshold, level.unit)
    st.session_state[_SLIDER] = round(100 * threshold, 1)


def _move(unit: str) -> None:
    threshold = round(st.session_state[_SLIDER] / 100, 6)
    st.session_state[_CUT] = _Cut(Goal("hand", threshold), threshold, unit)
    st.session_state[_GOAL] = "hand"
    st.session_state.pop(_PROBLEM, None)


def _show_goals(level: Level) -> None:
    """What the threshold is for, and how much of it is wanted."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Threshold for", list(_GOALS), key=_GOAL, format_func=_GOALS.__getitem__, required=True,
            persist_state="session", on_change=_choose, args=(level,), wrap=True,
            help="High sensitivity: miss few. High specificity: few false alarms. Balanced: the "
            "greatest sum of both (Youden). By cost: a miss is so many times as bad as a false "
            "alarm. The slider shows what comes of it; move it and it is set by hand.",
        )  # fmt: skip
        if kind in ("sensitivity", "specificity"):
            st.number_input(
                "At least, %", 1.0, 100.0, step=1.0, format="%g", key=_SHARE, width=130,
                persist_state="session", on_change=_choose, args=(level,),
            )  # fmt: skip
        elif kind == "cost":
            st.number_input(
                "A miss costs as much as so many false alarms", 0.001, 1000.0, step=1.0,
                format="%g", key=_COST, width=300, persist_state="session", on_change=_choose,
                args=(level,),
            )  # fmt: skip
    if _PROBLEM in st.session_state:
        show_problem(st.session_state[_PROBLEM])


def _show_slider(judged: Judged, unit: str, shown: Decision) -> None:
    """Both classes' probabilities, and right below them the slider that divides them."""
    band = None if shown.band is None else (shown.band.low, shown.band.high)
    figure = evidence_charts.draw_probabilities(
        read_curve(judged, unit, "histogram"), shown.threshold, band, judged.class_names,
        get_class_colours(), is_dark=is_dark(), is_small=True,
    )  # fmt: skip
    st.plotly_chart(
        figure, key="results strip", config=charts.PLAIN,
        alt="Probabilities of both classes, with the threshold",
    )  # fmt: skip
    st.slider(
        f"{escape(judged.class_names[1])} from a probability of "
        f"**{words.write_threshold(shown.threshold)}** on",
        0.0, 100.0, step=0.1, format="%.1f %%", key=_SLIDER, persist_state="session",
        on_change=_move, args=(unit,),
    )  # fmt: skip


def _show_use(judged: Judged, shown: Decision, *, can_choose: bool) -> None:
    """Whether this is the threshold in use, and the button that makes it so."""
    used = judged.decision
    is_same = abs(shown.threshold - used.threshold) < 1e-9 and shown.band == used.band
    hindrance = ""
    if is_demo():
        hindrance = "Keeping a threshold is off on this shared demo; look at any of them."
    elif judged.run == DEMO_RUN:
        hindrance = "The demo model keeps the threshold it ships with."
    elif not judged.run.path("serving.json").is_file():
        hindrance = (
            "The study has no model of all its members yet." if judged.study
            else "The run has no model: its serving.json is missing."
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", height=40, border=False):
        if is_same:
            st.caption(f":material/check: In use, {_say_chosen(judged)}: predictions decide by it.")
            return
        st.caption(f"Only looked at. In use is **{words.write_threshold(used.threshold)}**"
                   f"{' with a band' if used.band else ''}, {_say_chosen(judged)}.")  # fmt: skip
        st.space("stretch")
        st.button("Back", icon=":material/undo:", type="tertiary", on_click=_show_decision,
                  args=(used, shown.level), key="results back",
                  help="Show the threshold in use again.")  # fmt: skip
        if can_choose and st.button(
            "Use this threshold", icon=":material/check:", key="results use",
            disabled=bool(hindrance),
            help=hindrance or "Kept with the run: from now on its predictions decide by this one.",
        ):  # fmt: skip
            _use(judged, shown)


def _use(judged: Judged, shown: Decision) -> None:
    try:
        write_decision(judged.run, shown)
    except PolypError as error:
        show_problem(str(error))
        return
    except OSError as error:
        show_problem(
            f"The threshold cannot be kept ({error}). Expected a folder that can be written: "
            f"'{judged.run.directory}'. Free space there, or change its permissions."
        )
        return
    toast_next(f"In use from now on: {words.write_threshold(shown.threshold)}", "check")
    st.rerun()


def _show_rates(judged: Judged, level: Level, shown: Decision) -> None:
    """Five tiles, each with interval and n; with a band, of the answered alone."""
    is_answered = slice(None) if shown.band is None else ~shown.band.holds(level.probabilities)
    rows = (level.labels[is_answered], level.probabilities[is_answered])
    rates = evaluate(*rows, shown.threshold, level.clusters[is_answered])
    negative, positive = map(escape, judged.class_names)
    depends = "It depends on how many are here."
    with st.grid(5, min_column_width=132):
        for name, title, explained, missing in (
            ("sensitivity", "Sensitivity", f"Of all that are {positive}, how many are called so.",
             f"no {positive} here"),
            ("specificity", "Specificity", f"Of all that are {negative}, how many are called so.",
             f"no {negative} here"),
            ("ppv", "PPV", f"Of those called {positive}, how many are. {depends}",
             f"none called {positive}"),
            ("npv", "NPV", f"Of those called {negative}, how many are. {depends}",
             f"none called {negative}"),
            ("accuracy", "Accuracy", "Of all, how many are called what they are.", "none answered"),
        ):  # fmt: skip
            _show_rate(title, asdict(rates[name]), explained, missing)


def _show_rate(title: str, rate: dict[str, Any], explained: str, missing: str) -> None:
    """A number with its interval and n, or what is missing for it."""
    with st.container(border=True, height="stretch", gap="xxsmall"):
        if rate["value"] is None:
            st.metric(title, "–", help=explained)
            st.caption(missing)
            return
        low, high = words.round_percent(rate["low"]), words.round_percent(rate["high"])
        st.metric(
            title, words.write_percent(rate['value']),
            help=f"{explained} Below it stand the 95 % interval and n.",
        )  # fmt: skip
        st.caption(f"{low} to {high}, n = {rate['n']:,}")


def _show_band(
    judged: Judged, level: Level, threshold: float
) -> tuple[Band | None, float | None, str]:
    """The choice of leaving doubtful ones open; the band, its target, and what comes of it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        is_on = st.toggle(
            "Leave the doubtful open", key=_ABSTAIN, persist_state="session",
            help="No answer for probabilities near the threshold: the narrowest band that leaves "
            "so few wrong answers. It is chosen on these same images.",
        )  # fmt: skip
        if not is_on:
            return None, None, ""
        st.space("small")
        st.markdown(":small[so that at most]", width="content")
        percent = st.number_input(
            "Wrong answers, %", 0.0, 50.0, step=1.0, format="%g", key=_ERROR, width=120,
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        st.markdown(":small[% of the answers are wrong]", width="content")
    target = percent / 100
    band = choose_band(level.labels, level.probabilities, threshold, target)
    if band is None:
        reason = explain_missing_band(level.labels, level.probabilities, threshold, target)
        return None, None, f":material/info: {escape(reason)}"
    return band, target, _say_band(judged, level, threshold, band)


def _recall_band(
    judged: Judged, level: Level, threshold: float
) -> tuple[Band | None, float | None, str]:
    """The band in use, as long as its threshold is shown; none is chosen on these images."""
    used = judged.decision
    if used.band is None or abs(threshold - used.threshold) > 1e-9:
        return None, None, ""
    return used.band, used.target_error, _say_band(judged, level, threshold, used.band)


def _say_band(judged: Judged, level: Level, threshold: float, band: Band) -> str:
    """How many are answered, how many of those are wrong, and what is left."""
    is_open = band.holds(level.probabilities)
    n, num_open, units = len(level.labels), int(is_open.sum()), UNITS[level.unit]
    if not num_open:
        is_chosen_here = judged.kind in (VALIDATION, STUDY)
        why = "so few are wrong without a band" if is_chosen_here else "none lies within the band"
        return f"All {n:,} {units} are answered: {why}."
    is_right = (level.probabilities >= threshold) == (level.labels == 1)
    right = estimate_share(is_right[~is_open], level.clusters[~is_open])
    if right.value is None or right.low is None or right.high is None:
        return f"None of {n:,} {units} is answered."
    low, high = (words.round_percent(1 - end) for end in (right.high, right.low))
    return (
        f"**{n - num_open:,} of {n:,} {units} are answered** "
        f"({words.write_percent(1 - num_open / n)}), "
        f"{words.write_percent(1 - right.value)} of those wrongly ({low} to {high}). The other "
        f"{num_open:,}, from {words.write_threshold(band.low)} to "
        f"{words.write_threshold(band.high)}, are left to a person."
    )


def _say_chosen(judged: Judged) -> str:
    """How the threshold in use came about, such as "by patient, for at least 95 % sensitivity"."""
    used = judged.decision
    if used.goal.kind != "hand":
        where = "over all folds" if judged.study else "on validation"
        return f"chosen {where} by {used.level}, for {used.goal.say()}"
    if used.threshold == judged.run.read_serving().get("threshold", 0.5):
        return "as the model came"
    return used.goal.say()
