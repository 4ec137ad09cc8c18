"""Two models' answers to the same image, side by side, and where they differ."""

import streamlit as st

from polyp_core.prediction import Classifier, Prediction
from ui.pictures import show_image
from ui.predict_answers import Answer, is_differing, say_answer
from ui.predict_cards import Look, Show, show_bar, show_heading, show_overlay, show_reasons
from ui.region import outline
from ui.words import escape


def show_pair(
    answer: Answer, classifiers: tuple[Classifier, Classifier], names: tuple[str, str],
    look: Look, offer: Show,
) -> None:  # fmt: skip
    """The picture, and beside it what each model says of it.

    Args:
        answer: That could be read by both.
        classifiers: The first and the second model.
        names: What they are called, literally.
        look: How the evidence is shown.
        offer: Offers what can be taken away of this image.
    """
    first, second = answer.prediction, answer.other
    if first is None or second is None:
        return
    picture, *columns = st.columns(3, gap="small")
    with picture:
        show_image(outline(first.picture, first.box), f"The image {answer.name}")
        st.caption(escape(answer.name))
        _show_difference(answer, names, classifiers)
        offer()
    for number, (column, prediction) in enumerate(zip(columns, (first, second), strict=True)):
        with column:
            _show_side(answer, prediction, classifiers[number], names[number], look, number)


def _show_side(
    answer: Answer, prediction: Prediction, classifier: Classifier, name: str, look: Look,
    number: int,
) -> None:  # fmt: skip
    if not prediction.is_refused:
        show_overlay(answer.name, prediction, classifier, look)
    with st.container(gap="xxsmall"):
        st.caption(escape(name))
        if prediction.is_refused:
            st.header(":material/block: No answer", anchor=False)
            show_reasons(prediction)
        else:
            show_heading(prediction, classifier)
            show_bar(prediction, classifier, key=f"bar {number} {answer.key}")


def _show_difference(
    answer: Answer, names: tuple[str, str], classifiers: tuple[Classifier, Classifier]
) -> None:
    if not is_differing(answer):
        st.caption(":material/check: Both models say the same.")
        return
    said = [
        f"**{escape(name)}** says {escape(say_answer(prediction))}"
        for name, prediction in zip(names, (answer.prediction, answer.other), strict=True)
    ]
    st.markdown(f":material/compare_arrows: They differ: {', '.join(said)}.")
    if set(classifiers[0].class_names) != set(classifiers[1].class_names):
        st.caption("They were trained to tell different classes apart.")
