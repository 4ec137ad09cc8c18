"""Many answers at once: counts that filter, a table with thumbnails, pages of cards."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core.prediction import Classifier
from polyp_core.words import make_visible
from ui.predict_answers import Answer, say_answer, sort_out
from ui.words import escape

PER_PAGE = 10
_FILTER, _ROW_PX, _NUM_ROWS = "predict filter", 44, 6
_TITLES = {
    "all": "All", "unsure": "Not sure", "refused": "No answer", "unreadable": "Not readable",
    "differing": "The models differ",
}  # fmt: skip


def choose_answers(
    answers: Sequence[Answer], classifier: Classifier, names: tuple[str, str] | None, visit: str
) -> list[Answer]:
    """Which images are shown as cards: those of a group, or those picked in the table.

    Args:
        answers: Of all images.
        classifier: The model that answered.
        names: What the two models are called, where there are two.
        visit: Changes with the images, so that nothing that was picked among others stays.
    """
    chosen = _choose_group(answers, classifier)
    table = tabulate_shown(chosen, names)
    event = st.dataframe(
        table, hide_index=True, row_height=_ROW_PX, on_select="rerun", selection_mode="multi-row",
        height=_ROW_PX * min(len(table), _NUM_ROWS) + 38, alt="The answers to all images",
        key=f"predict table {visit} {st.session_state.get(_FILTER)}",
        column_config=_configure(classifier, names), placeholder="",
    )  # fmt: skip
    picked = [row for row in event["selection"]["rows"] if row < len(chosen)]
    return [chosen[row] for row in sorted(picked)] or chosen


def turn_pages(chosen: Sequence[Answer], visit: str) -> list[Answer]:
    """Those of the page that is turned to, and the way to the others."""
    if len(chosen) <= PER_PAGE:
        return list(chosen)
    num_pages = -(-len(chosen) // PER_PAGE)
    # A widget of its own for each choice: what is left of a longer one would be out of range.
    page = st.pagination(
        num_pages, key=f"predict page {visit} {st.session_state.get(_FILTER)} {len(chosen)}"
    )
    return list(chosen[(page - 1) * PER_PAGE : page * PER_PAGE])


def tabulate_shown(answers: Sequence[Answer], names: tuple[str, str] | None = None) -> pd.DataFrame:
    """One row an image, as the page shows it; a column that says nothing is left out."""
    rows = [_make_row(answer) for answer in answers]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    if names is None:
        table = table.drop(columns="second")
    for name in ("patient", "familiar"):
        if not (table[name] != "").any():
            table = table.drop(columns=name)
    return table


_COLUMNS = ("image", "file", "answer", "probability", "second", "familiar", "patient")


def _make_row(answer: Answer) -> tuple[str, str, str, float | None, str, str, str]:
    prediction = answer.prediction
    if prediction is None:
        return "", answer.name, "not readable", None, "", "", answer.item.patient
    percent = None if prediction.is_refused else min(max(100 * prediction.probability, 1), 99)
    verdict = prediction.verdict
    familiar = "" if verdict is None else "no" if verdict.is_stranger else "yes"
    return (
        answer.thumbnail, answer.name, say_answer(prediction), percent,
        say_answer(answer.other) if answer.other is not None else "", familiar,
        answer.item.patient,
    )  # fmt: skip


def _configure(classifier: Classifier, names: tuple[str, str] | None) -> dict[str, Any]:
    column = st.column_config
    first, second = names or ("Answer", "")
    return {
        "image": column.ImageColumn("", width=64),
        "file": column.TextColumn("File"),
        "answer": column.TextColumn(make_visible(first)),
        "probability": column.ProgressColumn(
            f"Probability of {make_visible(classifier.class_names[1])}", format="%.0f %%",
            min_value=0, max_value=100, color="gray",
        ),
        "second": column.TextColumn(make_visible(second)),
        "familiar": column.TextColumn(
            "Familiar", help="Whether the image is like the training images."
        ),
        "patient": column.TextColumn("Patient"),
    }  # fmt: skip


def _choose_group(answers: Sequence[Answer], classifier: Classifier) -> list[Answer]:
    groups = sort_out(answers, classifier.class_names)
    shown = [name for name in groups if groups[name]]
    if st.session_state.get(_FILTER) not in shown:
        st.session_state[_FILTER] = "all"
    negative, positive = (name[:1].upper() + name[1:] for name in classifier.class_names)
    titles = _TITLES | {"positive": positive, "negative": negative}
    chosen = st.segmented_control(
        "Show", shown, key=_FILTER, required=True, label_visibility="collapsed",
        format_func=lambda name: f"{escape(titles[name])} ({len(groups[name]):,})",
    )  # fmt: skip
    return groups[str(chosen or "all")]
