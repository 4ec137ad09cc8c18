"""One judged image, large: its evidence in both directions, and what people say of it."""

from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core.access import is_demo
from polyp_core.answers import say_probability
from polyp_core.errors import PolypError
from polyp_core.metrics import pool_patients
from polyp_core.reviews import MAX_NOTE, Key, Review, change_review, read_reviews
from ui.frame import show_problem
from ui.pictures import get_class_colours
from ui.results_neighbours import Neighbour, draw_neighbour, find_neighbours
from ui.results_picture import OPACITY, Row, draw_images, find_files
from ui.results_source import Judged
from ui.words import escape

_OPEN, _PLACE, _OPACITY = "results open", "results place", "results opacity"
_PROBLEM = "results mark problem"
_HIGH_PX = 440  # the large pictures, so that all fits on the screen


def name_image(path: str, frame: int) -> str:
    """The file's name, with the frame where it is not the first."""
    return PurePosixPath(path).name + (f", frame {frame + 1}" if frame else "")


def name_patient(group: str) -> str:
    """Markdown of a patient, such as "Patient 12"; a name that says so itself stays as it is."""
    is_said = group.lower().startswith(("patient", "pat-", "pat_", "pat ", "case", "subj"))
    return escape(group) if is_said else f"Patient {escape(group)}"


def say_class(judged: Judged, label: int) -> str:
    """Markdown of a class, with a square in its colour."""
    colour = get_class_colours()[label]
    return f':color[■]{{foreground="{colour}"}} {escape(judged.class_names[label])}'


def show_facts(
    judged: Judged, row: Row, threshold: float, patients: pd.DataFrame, *, with_name: bool
) -> None:
    """Probability, true class and patient, and what the file is called.

    Args:
        judged: Whose image.
        row: Of the judged table.
        threshold: Positive from this probability on.
        patients: As `metrics.pool_patients` gives them, by `group`.
        with_name: Whether to name the file.
    """
    said = say_probability(row.probability, threshold)
    st.markdown(
        f"Probability of {escape(judged.class_names[1])}: **{said}**  \n"
        f"True class: {say_class(judged, row.label)}"
    )
    known = []
    if row.group and row.group != row.path:
        pooled = ""
        if row.group in patients.index and patients["num_images"][row.group] > 1:
            patient = patients.loc[row.group]
            mean = say_probability(patient["probability"], threshold)
            pooled = f", {mean} over {patient['num_images']:.0f} images"
        known.append(f"{name_patient(row.group)}{pooled}")
    if with_name:
        known.append(escape(name_image(row.path, int(row.frame))))
    st.caption(" · ".join(known))


def show_mark(judged: Judged, row: Row, review: Review, place: str) -> None:
    """A box that marks the label as wrong, for everybody; on a shared demo, whether it is."""
    if is_demo():
        if review.is_label_wrong:
            st.caption(":material/flag: Label wrong", width="content")
        return
    widget = f"results wrong {place} {row.number}"
    st.session_state[widget] = review.is_label_wrong  # as it is on the disk by now
    st.checkbox(
        "Label wrong", key=widget, on_change=_keep, args=(judged, row, "is_label_wrong", widget)
    )


def show_mark_problem() -> None:
    """Why the last mark could not be kept, if so."""
    if _PROBLEM in st.session_state:
        show_problem(st.session_state.pop(_PROBLEM))


def _keep(judged: Judged, row: Row, name: str, widget: str) -> None:
    key: Key = (row.path, int(row.frame))
    change: dict[str, Any] = {name: st.session_state[widget]}
    try:
        change_review(find_files(judged).directory, key, **change)
    except PolypError as error:
        st.session_state[_PROBLEM] = str(error)


def open_large(judged: Judged, number: int) -> None:
    """Let the dialog show an image; to be called by a button."""
    st.session_state[_OPEN] = (judged.key, number)


def close_large() -> None:
    """Let no dialog be shown."""
    st.session_state.pop(_OPEN, None)


def take_last_place() -> int | None:
    """Where among its like the image stood that was large a moment ago; told once."""
    place: int | None = st.session_state.pop(_PLACE, None)
    return place


def show_large(judged: Judged, threshold: float, chosen: pd.DataFrame, what: str) -> None:
    """The dialog, if it was opened.

    Args:
        judged: Whose images.
        threshold: Positive from this probability on.
        chosen: Rows of the judged table, through which one can go.
        what: They are, such as "false positives".
    """
    key, _ = st.session_state.get(_OPEN, ("", 0))
    if key == judged.key:
        _show_dialog(judged, threshold, chosen, what)


@st.dialog("One image", width="large", icon=":material/zoom_in:", on_dismiss=close_large)
def _show_dialog(judged: Judged, threshold: float, chosen: pd.DataFrame, what: str) -> None:
    if _OPEN not in st.session_state:  # closed while a note was being kept, so only this redraws
        st.rerun()
    _, number = st.session_state[_OPEN]
    numbers = chosen["number"].tolist()
    if number not in numbers:  # such as one whose mark was taken back meanwhile
        st.info("This image is no longer among those that are shown.", icon=":material/info:")
        return
    place = st.session_state[_PLACE] = numbers.index(number)
    row = next(chosen.iloc[[place]].itertuples(index=False))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _show_steps(judged, numbers, place)
        st.markdown(f"{place + 1} of {len(numbers)} {what}", width="content")
        st.space("stretch")
        is_positive = _choose_direction(judged, row, threshold)
        opacity = st.slider(
            "Overlay", 0, 100, OPACITY, format="%d %%", width=200, key=_OPACITY,
            persist_state="session",
            help="How strongly the evidence is laid over the picture. Where there is no colour, "
            "there is no evidence.",
        )  # fmt: skip
    _show_pictures(judged, row, is_positive, opacity)
    facts, nearest, review = st.columns([4, 3, 5], gap="medium")
    with facts:
        of_patient = judged.table[judged.table["group"] == row.group] if row.group else chosen[:0]
        show_facts(judged, row, threshold, pool_by_patient(of_patient), with_name=False)
    with nearest:
        neighbour = find_neighbours(judged, [number]).get(number)
        show_neighbour(judged, neighbour, is_large=True)
    with review:
        _show_review(judged, row)


def _show_steps(judged: Judged, numbers: list[int], place: int) -> None:
    """To the image before and the one after, by mouse or arrow keys."""
    for label, icon, shortcut, step in (
        ("Previous", "chevron_left", "Left", -1),
        ("Next", "chevron_right", "Right", 1),
    ):
        there = place + step
        is_end = not 0 <= there < len(numbers)
        st.button(
            label, icon=f":material/{icon}:", shortcut=shortcut, disabled=is_end,
            key=f"results {label.lower()}", on_click=open_large,
            args=(judged, numbers[place if is_end else there]),
        )  # fmt: skip


def _choose_direction(judged: Judged, row: Row, threshold: float) -> bool:
    """Whether to show what speaks for the positive class; at first the class that was chosen."""
    names = judged.class_names
    widget = f"results direction {row.number}"
    st.session_state.setdefault(widget, int(row.probability >= threshold))
    chosen = st.segmented_control(
        "Evidence for", [1, 0], format_func=lambda label: escape(names[label]), required=True,
        key=widget,
        help="Grad-CAM: the places whose features raise or lower the probability. One scale for "
        "all images of a model, so weak evidence looks weak.",
    )  # fmt: skip
    return chosen == 1


def _show_pictures(judged: Judged, row: Row, is_positive: bool, opacity: int) -> None:
    size = judged.index.images.loc[row.number]
    aspect = size["width_px"] / size["height_px"]
    shown = draw_images(judged, [row], [is_positive], opacity=opacity, is_large=True)[row.number]
    if shown.picture is None:
        st.warning(escape(shown.file_problem), icon=":material/image_not_supported:")
        return
    picture, overlay = st.columns(2, gap="small")
    width_px = max(1, round(_HIGH_PX * aspect))  # or less, where the dialog is narrow
    name, class_name = name_image(row.path, int(row.frame)), judged.class_names[is_positive]
    with picture:
        st.image(shown.picture, width=width_px, output_format="PNG", alt=f"The image {name}")
        st.caption(f"{escape(row.path)}, {size['width_px']} × {size['height_px']} px")
    with overlay:
        if shown.overlay is None:
            st.info(f"No overlay. {escape(shown.model_problem)}", icon=":material/info:")
            return
        alt = f"The image {name} with the evidence for {class_name} in colour"
        st.image(shown.overlay, width=width_px, output_format="PNG", alt=alt)
        legend = "Bright: speaks for" if shown.has_evidence else "Nothing here speaks for"
        st.caption(f"{legend} {escape(class_name)}")


def show_neighbour(judged: Judged, neighbour: Neighbour | None, *, is_large: bool = False) -> None:
    """The nearest training image by the model's own features, and its class."""
    if neighbour is None:
        if is_large:
            st.caption("The nearest training image is not known.")
        return
    picture = draw_neighbour(neighbour, is_large=is_large)
    name = name_image(neighbour.path, neighbour.frame)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if picture is not None:
            st.image(
                picture, width=120 if is_large else 56, output_format="PNG",
                alt=f"The training image {name}",
            )  # fmt: skip
        known = [escape(name)]
        if neighbour.group and neighbour.group != neighbour.path:
            known.insert(0, name_patient(neighbour.group))
        st.markdown(
            f":small[Nearest in training: {say_class(judged, neighbour.label)}  \n"
            f":gray[{' · '.join(known)}]]",
            width="stretch",
        )


def _show_review(judged: Judged, row: Row) -> None:
    review = read_reviews(find_files(judged).directory).get((row.path, int(row.frame)), Review())
    show_mark(judged, row, review, "large")
    if is_demo():
        st.caption(escape(review.note) or "Marks and notes are off on this shared demo.")
        return
    widget = f"results note {row.number}"
    st.session_state[widget] = review.note
    st.text_area(
        "Note", key=widget, max_chars=MAX_NOTE, height=100, on_change=_keep,
        args=(judged, row, "note", widget), placeholder="What is seen here?",
        help="Kept in reviews.json beside the predictions, for everybody who opens them.",
    )  # fmt: skip
    show_mark_problem()


def pool_by_patient(images: pd.DataFrame) -> pd.DataFrame:
    """As `metrics.pool_patients`, by `group`; empty where no patient is known."""
    pooled = pool_patients(images[images["group"] != ""])
    columns = ["group", "probability", "num_images"]
    found = pd.DataFrame(columns=columns) if pooled is None else pooled[columns]
    return found.set_index("group")
