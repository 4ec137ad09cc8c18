"""The images on which two models decide differently, each with both probabilities."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.answers import say_probability
from polyp_core.evidence.pairs import Matched
from ui.downloads import write_csv
from ui.results_dialog import name_image, say_class
from ui.results_picture import Row, Shown, draw_images, find_aspect
from ui.results_source import Judged
from ui.words import escape

PER_STEP = 12
_WITH, _WHO, _NUM = "results disagrees", "results who is right", "results num disagreements"


@st.fragment
def show_disagreements(judged: Judged, matched: Matched, thresholds: Sequence[float]) -> None:
    """A gallery of what the shown model and one of the others answer differently.

    Args:
        judged: The shown predictions.
        matched: The images that all judged; the first model is the shown one.
        thresholds: Of each model.
    """
    names = list(matched.probabilities)
    st.markdown("**Where they disagree**")
    other = names[1]
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(names) > 2:
            if st.session_state.get(_WITH) not in names[1:]:
                st.session_state[_WITH] = other
            other = st.segmented_control(
                f"{names[0]} and", names[1:], key=_WITH, required=True, format_func=escape,
                label_visibility="collapsed",
            )  # fmt: skip
        found = find_disagreements(judged.table, matched, names[0], other, thresholds)
        kinds = {
            "all": f"All ({len(found)})",
            "shown": f"{_shorten(names[0])} right ({int(found['is_shown_right'].sum())})",
            "other": f"{_shorten(other)} right ({int((~found['is_shown_right']).sum())})",
        }
        kind = st.segmented_control(
            "Who is right", list(kinds), key=_WHO, default="all", required=True,
            format_func=lambda kind: escape(kinds[kind]), label_visibility="collapsed",
        )  # fmt: skip
        st.space("stretch")
        _offer_table(judged, found, names[0], other)
    if found.empty:
        st.info(
            f"{escape(names[0])} and {escape(other)} answer all "
            f"{words.say_number(len(matched.rows), 'image')} alike.",
            icon=":material/check_circle:",
        )
        return
    if kind != "all":
        found = found[found["is_shown_right"] == (kind == "shown")]
    _show_cards(judged, found, (names[0], other), (thresholds[0], thresholds[names.index(other)]))


def find_disagreements(
    table: pd.DataFrame, matched: Matched, shown: str, other: str, thresholds: Sequence[float]
) -> pd.DataFrame:
    """The images that two models answer differently; first where they lie furthest apart.

    Args:
        table: Of the shown predictions; says which row of the index an image is.
        matched: The images that all judged.
        shown: The one model.
        other: The other.
        thresholds: Of all models of `matched`.

    Returns:
        `path`, `frame`, `group`, `label`, `number`, `probability` (of the shown one),
        `other_probability`, `is_shown_right`.
    """
    limits = dict(zip(matched.probabilities, thresholds, strict=True))
    own, others = (matched.probabilities[name].to_numpy() for name in (shown, other))
    rows = matched.rows.assign(probability=own, other_probability=others)
    rows["is_shown_right"] = (own >= limits[shown]) == (rows["label"] == 1)
    differs = (own >= limits[shown]) != (others >= limits[other])
    numbers = table[["path", "frame", "number"]].drop_duplicates(["path", "frame"])
    found = rows[differs].merge(numbers, on=["path", "frame"], how="left")
    distance = -(found["probability"] - found["other_probability"]).abs().to_numpy()
    return found.iloc[np.argsort(distance, kind="stable")].reset_index(drop=True)


def _offer_table(judged: Judged, found: pd.DataFrame, shown: str, other: str) -> None:
    """The disagreements as CSV."""
    table = found.drop(columns=["number", "is_shown_right"]).rename(
        columns={
            "probability": f"probability of {shown}",
            "other_probability": f"probability of {other}",
        }
    )
    st.download_button(
        "CSV", write_csv(table), f"{judged.stem}-disagreements.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key="results disagreements csv",
        disabled=found.empty, help="Every image they answer differently, with both probabilities.",
    )  # fmt: skip


def _show_cards(
    judged: Judged,
    found: pd.DataFrame,
    names: tuple[str, str],
    thresholds: tuple[float, float],
) -> None:
    num_shown = st.session_state.get(_NUM, PER_STEP)
    rows = list(found.head(num_shown).itertuples(index=False))
    pictures = draw_images(
        judged, rows, [row.probability >= thresholds[0] for row in rows],
        aspect=find_aspect(judged, rows), with_overlay=False,
    )  # fmt: skip
    with st.grid("auto", min_column_width=180, gap="small", key="results disagreements"):
        for row in rows:
            with st.container(gap="xxsmall"):
                _show_card(judged, row, pictures[row.number], names, thresholds)
    num_left = len(found) - len(rows)
    if num_left:
        st.button(
            f"Show {min(num_left, PER_STEP)} more of {num_left}", icon=":material/expand_more:",
            key="results more disagreements", on_click=_show_more,
        )  # fmt: skip


def _show_more() -> None:
    st.session_state[_NUM] = st.session_state.get(_NUM, PER_STEP) + PER_STEP


def _show_card(
    judged: Judged, row: Row, shown: Shown, names: tuple[str, str], thresholds: tuple[float, float]
) -> None:
    """The picture, its true class, and what both say of it; the one that is right bears a tick."""
    name = name_image(row.path, int(row.frame))
    if shown.picture is None:
        st.caption(f":material/image_not_supported: {escape(shown.file_problem)}")
    else:
        st.image(shown.picture, width="stretch", output_format="PNG", alt=f"The image {name}")
    lines = [say_class(judged, row.label)]
    for model, probability, threshold, is_right in (
        (names[0], row.probability, thresholds[0], row.is_shown_right),
        (names[1], row.other_probability, thresholds[1], not row.is_shown_right),
    ):
        mark = ":material/check:" if is_right else ":material/close:"
        said = f"{say_probability(probability, threshold)} {escape(_shorten(model))}"
        lines.append(f"{mark} **{said}**" if is_right else f"{mark} {said}")
    st.markdown("  \n".join(lines))
    known = [f"patient {escape(row.group)}"] if row.group and row.group != row.path else []
    st.caption(" · ".join([escape(name), *known]))


def _shorten(name: str, length: int = 15) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
