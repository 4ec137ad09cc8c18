"""All answers of a visit: by patient, as a table, as cards, and what can be taken away."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from polyp_core.answers import say_known
from polyp_core.runs import Run
from ui.frame import errors
from ui.predict_answers import Answer, enlarge, open_both, was_trained_on
from ui.predict_cards import Look, choose_look, show_card
from ui.predict_compare import show_pair
from ui.predict_downloads import offer_all, offer_sheet, pool
from ui.predict_patients import show_patients
from ui.predict_table import choose_answers, turn_pages
from ui.readers import name_run


@st.fragment
def show_results(answers: Sequence[Answer], run: Run, other: Run | None, visit: str) -> None:
    """The answers; nothing that is moved here asks a model anew.

    Args:
        answers: Of all images, in their order.
        run: The model that answered.
        other: The second one, where there is one.
        visit: Changes with the images.
    """
    with errors():
        _show(answers, run, other, visit)


def _show(answers: Sequence[Answer], run: Run, other: Run | None, visit: str) -> None:
    classifier, second = open_both(run, other)
    names = None if other is None else (name_run(run), name_run(other))
    chosen, patients, is_alone = list(answers), pool(answers, classifier), len(answers) == 1
    if not is_alone:
        show_patients(answers, patients, classifier)
        chosen = choose_answers(answers, classifier, names, visit)
    look, is_void = Look(), all(map(_is_void, answers))
    if is_alone:  # the answer comes first, and what changes its look then
        cards = st.container()
        look = look if is_void else choose_look(classifier)
    else:
        if is_void:  # and no evidence whose look could be changed
            _say_void(answers)
            with st.container(horizontal=True):
                offer_all(answers, classifier, run)
        else:
            look = choose_look(classifier, partial(offer_all, answers, classifier, run))
        chosen = turn_pages(chosen, visit)
        cards = st.container()
    for answer in chosen:
        whole = enlarge(answer, run, other)
        offer = partial(offer_sheet, whole, classifier, run, patients)
        with cards, st.container(border=True):
            if names is not None and second is not None and whole.other is not None:
                show_pair(whole, (classifier, second), names, look, offer)
            else:
                show_card(whole, classifier, look, offer, is_alone=is_alone)
            asked = ((run, answer.prediction), (other, answer.other))
            known = [p for each, p in asked if each and p and was_trained_on(each, answer.item)]
            if known:
                one = next((p for p in known if p.is_refused), known[0])
                st.caption(f":material/school: {say_known(one)}")


def _is_void(answer: Answer) -> bool:
    """Whether there is no evidence to be looked at."""
    both = (answer.prediction, answer.other)
    return all(prediction is None or prediction.is_refused for prediction in both)


def _say_void(answers: Sequence[Answer]) -> None:
    """What follows when not one of several images gets an answer."""
    if any(answer.prediction is not None for answer in answers):
        st.info(
            "This model gives no answer to any of these images: it knows only images like those "
            "that it was trained on. Choose another model, or train one on images like yours.",
            icon=":material/school:",
        )


def find_visit(answers: Sequence[Answer], run: Run, other: Run | None) -> str:
    """A short name that changes with the images and the models."""
    images = [(answer.key, answer.item.sha256) for answer in answers]
    return f"{hash((tuple(images), run.directory, other and other.directory)):x}"
