"""The doctor's word on a run, with its evidence and one suggestion."""

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.access import is_demo
from polyp_core.doctor import Diagnosis, diagnose, say_state
from polyp_core.doctor.checkup import gather_facts
from polyp_core.runs import Run
from ui.draft import use_settings
from ui.words import escape, name_settings


def show_doctor(run: Run, status: dict[str, Any], history: pd.DataFrame) -> None:
    """The gravest thing to say, with its evidence and one suggestion; the rest behind a click."""
    if status["state"] == "queued" and history.empty:
        return
    facts = gather_facts(run, status)
    found = diagnose(history, facts)
    if not found:
        if not history.empty:
            st.caption(f":material/stethoscope: {escape(say_state(history, facts))}")
        return
    _show_diagnosis(run, found[0])
    if len(found) > 1:
        label = f"{words.say_number(len(found) - 1, 'more finding')} of the doctor"
        with st.expander(label, icon=":material/stethoscope:", key=f"doctor {run.name}"):
            for diagnosis in found[1:]:
                _show_diagnosis(run, diagnosis)


def _show_diagnosis(run: Run, found: Diagnosis) -> None:
    show = st.info if found.severity == "note" else st.warning  # red is for errors alone
    with st.container(horizontal=True, vertical_alignment="center"):
        show(
            f"**{escape(found.title)}** {escape(found.evidence)} {escape(found.advice)}",
            icon=":material/stethoscope:",
        )
        if found.setting is not None and not is_demo() and st.button(
            "Set for the next run", key=f"try {run.name} {found.name}",
            help=name_settings(
                f"Takes this run's settings with {found.setting[0]}={found.setting[1]} into the "
                "form for a new run; this run stays as it is."
            ),
        ):  # fmt: skip
            _take_advice(run, *found.setting)


def _take_advice(run: Run, key: str, value: object) -> None:
    """This run's settings with one changed, for the next run."""
    config, (section, _, name) = run.read_config(), key.partition(".")
    changed: Any = {section: replace(getattr(config, section), **{name: value})}
    use_settings(replace(config, **changed))
