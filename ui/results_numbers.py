"""Every number in one table, by image and by patient, with n and interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.decision import Decision
from polyp_core.evidence import INTERVALS, describe_at_threshold
from polyp_core.evidence.wording import NAMES, Plain, list_reasons, say_number
from ui.downloads import write_csv
from ui.results_evidence import UNITS, read_fixed_numbers, read_levels
from ui.results_source import Judged
from ui.words import escape

_PREVALENCE = "results prevalence"


def show_numbers(judged: Judged, shown: Decision) -> None:
    """The table, the prevalence that predictive values are wanted for, and the CSV."""
    positive, threshold = escape(judged.class_names[1]), shown.threshold
    with st.container(horizontal=True, vertical_alignment="bottom"):
        percent = st.number_input(
            f"Predictive values where so many are {positive}, %", 0.1, 99.9, value=None, step=1.0,
            format="%g", key=_PREVALENCE, placeholder="as here", width=340,
            persist_state="session",
            help="How many are ill among those the model is meant for. PPV and NPV depend on it; "
            "sensitivity and specificity are taken to be the same there.",
        )  # fmt: skip
        st.space("stretch")
        place = st.empty()
    prevalence = None if percent is None else percent / 100
    levels, fixed = read_levels(judged), read_fixed_numbers(judged)
    moving = describe_at_threshold(levels, threshold, prevalence=prevalence)
    units = [unit for unit in UNITS if unit in levels]
    numbers = {unit: moving[unit] | fixed[unit] for unit in units}
    names = [name for name in INTERVALS if name in numbers[units[0]]]
    st.dataframe(
        pd.DataFrame([_describe(name, numbers) for name in names]), hide_index=True,
        height="content", alt="All numbers with their intervals",
        column_config=_describe_columns(units),
    )  # fmt: skip
    for reason in list_reasons(numbers):
        st.caption(f":material/info: {escape(reason)}")
    st.caption(
        f"At the threshold of {words.write_threshold(threshold)}"
        f"{'' if shown.band is None else ', with an answer for all'}. In brackets the 95 % "
        "interval: Wilson's for proportions, DeLong's for the AUC, for the others the middle 95 % "
        "of 2,000 bootstrap samples (for the calibration error less what chance adds to it); all "
        f"of whole {UNITS[levels[units[0]].cluster_unit]}."
    )
    place.download_button(
        "Download table", write_csv(tabulate(numbers, threshold, prevalence)),
        f"{judged.stem}-numbers.csv", "text/csv", icon=":material/download:",
        on_click="ignore", key="results numbers csv",
    )  # fmt: skip


def _describe_columns(units: Sequence[str]) -> dict[str, Any]:
    """At 1280 px all are seen at once."""
    text = st.column_config.TextColumn
    columns = {"Number": text(width=176), "What it says": text(width=220)}
    for unit in units:
        columns |= {f"By {unit}": text(width=140), f"n {UNITS[unit]}": text("n", width=52)}
    return columns


def tabulate(
    numbers: Mapping[str, Mapping[str, Plain]], threshold: float, prevalence: float | None
) -> pd.DataFrame:
    """One row a number and level, in full precision.

    Args:
        numbers: By level and name.
        threshold: Positive from this probability on.
        prevalence: Of the rows that are "at prevalence"; None where there are none.
    """
    return pd.DataFrame(
        [
            {
                "level": unit,
                "number": name,
                **{key: numbers[unit][name].get(key) for key in ("value", "low", "high", "n")},
                "interval": INTERVALS[name],
                "threshold": threshold,
                "prevalence": prevalence if name.endswith("at_prevalence") else None,
                "reason": numbers[unit][name].get("reason", ""),
            }
            for unit in numbers
            for name in INTERVALS
            if name in numbers[unit]
        ]
    )


def _describe(name: str, numbers: Mapping[str, Mapping[str, Plain]]) -> dict[str, str]:
    known = NAMES[name]
    row = {"Number": known.title}
    for unit, metrics in numbers.items():
        row[f"By {unit}"] = say_number(metrics[name], known.form)
        row[f"n {UNITS[unit]}"] = f"{metrics[name]['n']:,}"
    return row | {"What it says": known.meaning}
