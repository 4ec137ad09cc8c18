"""Every mistake of a model as a picture, the most confident first."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.evidence.goals import Band
from polyp_core.reviews import Key, Review, read_reviews, tabulate_reviews
from ui.downloads import write_csv
from ui.frame import errors
from ui.results_dialog import (
    name_image,
    open_large,
    pool_by_patient,
    show_facts,
    show_large,
    show_mark,
    show_mark_problem,
    show_neighbour,
    take_last_place,
)
from ui.results_link import MISTAKES, write_mistakes
from ui.results_neighbours import Neighbour, find_neighbours
from ui.results_picture import Row, Shown, draw_images, find_aspect, find_files
from ui.results_sorting import GROUPS, SORTS, arrange, find_images, sort_out
from ui.results_source import Judged
from ui.words import escape

PER_PAGE = 6
_SORT, _FIND = "results sort", "results find"
_MARKED, _PAGE, _TURN = "results marked only", "results page", "results turn"


@st.fragment
def show_gallery(judged: Judged, threshold: float, band: Band | None = None) -> None:
    """Every mistake at a threshold as a card: the picture beside what the model saw in it.

    Only the images of the shown page are read and classified.

    Args:
        judged: The predictions.
        threshold: Positive from this probability on.
        band: Where no answer is given, if one is in use.
    """
    with errors():
        st.subheader("Every mistake", anchor=False)
        if judged.table.empty:
            st.caption("There are no images, so there are no mistakes to show.")
            return
        groups = sort_out(judged.table, threshold, band)
        name = _choose_group(groups)
        write_mistakes(name)
        reviews = read_reviews(find_files(judged).directory)
        chosen = _choose_images(judged, groups[name], threshold, reviews)
        st.caption(_say_group(judged, name, len(groups[name]), band))
        if chosen.empty:
            _show_nothing(groups[name], name)
        else:
            _show_page(judged, threshold, chosen, reviews)
        show_mark_problem()
        _show_download(judged, reviews)
        what = {"unsure": "unsure ones", "right": "right ones"}.get(name, name)
        show_large(judged, threshold, chosen, what)


def _choose_group(groups: Mapping[str, pd.DataFrame]) -> str:
    # At first one that has something to show; so too where the browser lost what was chosen.
    if st.session_state.get(MISTAKES) not in GROUPS:
        st.session_state[MISTAKES] = next(name for name in GROUPS if len(groups[name]))
    chosen = st.segmented_control(
        "Images", list(GROUPS), key=MISTAKES, required=True,
        format_func=lambda name: f"{GROUPS[name]} ({_say_images(len(groups[name]))})",
        on_change=_turn_to_first, persist_state="session",
    )  # fmt: skip
    return str(chosen or next(name for name in GROUPS if len(groups[name])))


def _say_images(number: int) -> str:
    """So called, since the numbers above may be of patients."""
    return words.say_number(number, "image").replace(",", " ")


def _turn_to(page: int) -> None:
    """Show a page that was not chosen below the cards."""
    st.session_state[_PAGE] = page
    # Another widget then, as that of the pages takes no number from outside without complaint.
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1


def _turn_to_first() -> None:
    _turn_to(1)


def _choose_images(
    judged: Judged, images: pd.DataFrame, threshold: float, reviews: Mapping[Key, Review]
) -> pd.DataFrame:
    """Search, filter and sort."""
    has_patients = bool((judged.table["group"] != "").any())
    sorts = [name for name in SORTS if name != "patient" or has_patients]
    if st.session_state.get(_SORT) not in sorts:
        st.session_state[_SORT] = sorts[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search", key=_FIND, type="search", live=True, width=240, max_chars=200,
            placeholder="Patient or file" if has_patients else "File",
            label_visibility="collapsed", on_change=_turn_to_first, persist_state="session",
        )  # fmt: skip
        sort = st.selectbox(
            "Order", sorts, format_func=lambda name: SORTS[name], key=_SORT, width=210,
            label_visibility="collapsed", on_change=_turn_to_first, persist_state="session",
        )  # fmt: skip
        is_limited = st.toggle(
            "Marked or noted only", key=_MARKED, on_change=_turn_to_first, persist_state="session"
        )
    found = find_images(images, (text or "").strip(), reviews if is_limited else None)
    return arrange(found, sort or sorts[0], threshold)


def _say_group(judged: Judged, name: str, num_images: int, band: Band | None) -> str:
    negative, positive = (escape(each) for each in judged.class_names)
    legend = "Right of each picture, what speaks for the answer: the brighter, the stronger."
    said = {
        "false positives": f"Called {positive}, but {negative} by their label.",
        "false negatives": f"Called {negative}, but {positive} by their label.",
        "unsure": "Within the band in which no answer is given; right and wrong ones."
        if band is not None
        else f"The {num_images} nearest to the threshold, right and wrong ones.",
        "right": "Called what their label says.",
    }[name]
    return f"{said} {legend}"


def _show_nothing(images: pd.DataFrame, name: str) -> None:
    """Why there is no card."""
    if images.empty:
        said = {
            "unsure": "No image lies within the band.",
            "right": "No image is right at this threshold.",
        }.get(name, f"There are no {name} at this threshold.")
        st.info(said, icon=":material/check_circle:" if "false" in name else ":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"None of these {words.say_number(len(images), 'image')} matches.", width="content"
        )
        st.button("Show all of them", key="results show all", on_click=_clear_filter)


def _clear_filter() -> None:
    st.session_state[_FIND], st.session_state[_MARKED] = "", False
    _turn_to_first()


def _show_page(
    judged: Judged, threshold: float, chosen: pd.DataFrame, reviews: Mapping[Key, Review]
) -> None:
    """The cards of a page, and below them the way to the others."""
    num_pages = -(-len(chosen) // PER_PAGE)
    place = take_last_place()
    wanted = st.session_state.get(_PAGE, 1)
    page = max(1, min(wanted if place is None else place // PER_PAGE + 1, num_pages))
    if page != wanted:
        _turn_to(page)
    rows = list(chosen.iloc[(page - 1) * PER_PAGE : page * PER_PAGE].itertuples(index=False))
    positives = [row.probability >= threshold for row in rows]
    shown = draw_images(judged, rows, positives, aspect=find_aspect(judged, rows))
    problems = {each.model_problem for each in shown.values()} - {""}
    for problem in sorted(problems):
        st.caption(f":material/info: No overlays here. {escape(problem)}")
    neighbours = find_neighbours(judged, [row.number for row in rows])
    if not neighbours:
        st.caption(
            ":material/info: The nearest training images are not known: this model was trained by "
            "an earlier version. Train anew to see them."
        )
    groups = {row.group for row in rows}
    patients = pool_by_patient(judged.table[judged.table["group"].isin(groups)])
    grid = st.grid(min_column_width=270, border=True, key="results cards")
    for row in rows:
        with grid, st.container(gap="xsmall"):
            _show_card(
                judged, row, shown[row.number], neighbours.get(row.number), threshold, patients,
                reviews.get((row.path, int(row.frame)), Review()),
            )  # fmt: skip
    if num_pages > 1:
        widget = f"results page {st.session_state.get(_TURN, 0)}"
        st.pagination(num_pages, default=page, key=widget, on_change=_take_page, args=(widget,))


def _take_page(widget: str) -> None:
    st.session_state[_PAGE] = st.session_state[widget]


def _show_card(
    judged: Judged, row: Row, shown: Shown, neighbour: Neighbour | None, threshold: float,
    patients: pd.DataFrame, review: Review,
) -> None:  # fmt: skip
    name = name_image(row.path, int(row.frame))
    if shown.picture is None:
        st.warning(escape(shown.file_problem), icon=":material/image_not_supported:")
    else:
        class_name = judged.class_names[row.probability >= threshold]
        with st.grid(2, min_column_width=60, gap="xxsmall"):
            st.image(shown.picture, width="stretch", output_format="PNG", alt=f"The image {name}")
            if shown.overlay is not None:
                alt = f"The image {name} with the evidence for {class_name} in colour"
                st.image(shown.overlay, width="stretch", output_format="PNG", alt=alt)
    show_facts(judged, row, threshold, patients, with_name=True)
    show_neighbour(judged, neighbour)
    with st.container(horizontal=True, vertical_alignment="center"):
        show_mark(judged, row, review, "card")
        st.space("stretch")
        st.button(
            "Open", icon=":material/open_in_full:", key=f"results open {row.number}",
            type="tertiary", on_click=open_large, args=(judged, row.number),
        )  # fmt: skip
    if review.note:
        st.caption(f":material/sticky_note_2: {escape(_shorten(review.note))}")


def _shorten(note: str, length: int = 120) -> str:
    note = " ".join(note.split())
    return note if len(note) <= length else f"{note[:length].rstrip()} …"


def _show_download(judged: Judged, reviews: Mapping[Key, Review]) -> None:
    """The marks and notes as a table."""
    table = tabulate_reviews(judged.table, reviews)
    if table.empty:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        said = words.say_number(len(table), "image")
        st.caption(
            f"{said} marked or noted. That changes neither the images nor a number.",
            width="content",
        )
        st.space("stretch")
        st.download_button(
            "Download marks and notes", write_csv(table),
            f"{judged.stem}-marks.csv", "text/csv", icon=":material/download:",
            on_click="ignore", key="results download marks",
        )  # fmt: skip
