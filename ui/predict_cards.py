"""One image's answer: the picture, what speaks for and against, the class in words, the limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from polyp_core.answers import say_familiarity, say_level, say_probability
from polyp_core.prediction import Classifier, Prediction, draw_overlay
from ui import charts
from ui.frame import show_problem
from ui.pictures import get_class_colours, has_evidence, is_dark, show_image
from ui.predict_answers import Answer, say_unlike
from ui.region import outline
from ui.words import escape

_DIRECTIONS = ("answer", "positive", "negative")
Show = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the evidence is shown.

    Attributes:
        opacity: In [0, 1], of the strongest evidence.
        direction: "answer", "positive" or "negative": for which class.
    """

    opacity: float = 0.7
    direction: str = "answer"


def choose_look(classifier: Classifier, offer: Show | None = None) -> Look:
    """How strongly the evidence is laid over the pictures, and for which class.

    Args:
        classifier: The model that answered.
        offer: Shows what stands at the other end of the same row.
    """
    positive = escape(classifier.class_names[1])
    names = {
        "answer": "For its answer", "positive": f"For {positive}",
        "negative": f"Against {positive}",
    }  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        direction = st.segmented_control(
            "Heat map", _DIRECTIONS, default="answer", key="direction", required=True,
            format_func=lambda name: names[name],
            help="Grad-CAM: the places whose features raise (or lower) the probability. One scale "
            "for all images of a model, so weak evidence looks weak.",
        )  # fmt: skip
        opacity = st.slider(
            "Strength", 0, 100, 70, format="%d %%", width=150, key="opacity",
            help="How strongly the evidence is laid over the picture. Where there is no colour, "
            "there is no evidence.",
        )  # fmt: skip
        if offer is not None:
            st.space("stretch")
            with st.container(horizontal=True, width="content"):
                offer()
    return Look(opacity=opacity / 100, direction=str(direction or "answer"))


def show_card(
    answer: Answer, classifier: Classifier, look: Look, offer: Show, *, is_alone: bool
) -> None:
    """Picture, overlay, the answer in words and its probability.

    Args:
        answer: With a picture of the size of the page.
        classifier: The model that answered.
        look: How the evidence is shown.
        offer: Offers what can be taken away of this image.
        is_alone: Of one image alone, so larger.
    """
    prediction = answer.prediction
    if prediction is None:
        show_problem(answer.problem)
    elif prediction.is_refused:
        _show_refused(answer, prediction, classifier, look, offer)
    elif is_alone:
        words, bar = st.columns([1, 1], gap="small", vertical_alignment="center")
        with words:
            show_words(answer.name, prediction, classifier)
        with bar:
            show_bar(prediction, classifier, key=f"bar {answer.key}")
        _show_pair(answer.name, prediction, classifier, look, st.columns(2, gap="small"))
        with st.container(horizontal=True, vertical_alignment="center"):
            _show_familiar(prediction)
            st.space("stretch")
            offer()
    else:
        *pictures, words = st.columns([2, 2, 3], gap="small")
        _show_pair(answer.name, prediction, classifier, look, pictures)
        with words:
            show_words(answer.name, prediction, classifier)
            show_bar(prediction, classifier, key=f"bar {answer.key}")
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                _show_familiar(prediction)
                st.space("stretch")
                offer()


def show_heading(prediction: Prediction, classifier: Classifier) -> None:
    """The class with its colour, or that there is no sure answer."""
    if not prediction.is_sure:
        st.header(":material/contact_support: Not sure: show it to a person", anchor=False)
        return
    colour = get_class_colours()[classifier.class_names.index(prediction.class_name)]
    name = prediction.class_name[:1].upper() + prediction.class_name[1:]
    st.header(f':color[●]{{foreground="{colour}"}} {escape(name)}', anchor=False)


def show_bar(prediction: Prediction, classifier: Classifier, key: str) -> None:
    """The probability in words and as a bar, with the threshold and the band."""
    said = say_probability(prediction.probability, classifier.threshold)
    st.markdown(f"Probability of {escape(classifier.class_names[1])}: **{said}**")
    figure = charts.draw_probability(
        prediction.probability, classifier.threshold, classifier.class_names, get_class_colours(),
        band=classifier.band, is_dark=is_dark(),
    )  # fmt: skip
    st.plotly_chart(figure, config=charts.PLAIN, key=key, alt=f"Probability bar: {said}")


def show_overlay(name: str, prediction: Prediction, classifier: Classifier, look: Look) -> None:
    """The picture under the evidence in one direction, and what bright means."""
    is_positive = {"positive": True, "negative": False}.get(
        look.direction, prediction.class_name == classifier.class_names[1]
    )
    asked = classifier.class_names[int(is_positive)]
    overlay = draw_overlay(prediction, look.opacity, positive=is_positive)
    show_image(overlay, f"The image {name} with the evidence for {asked} in colour")
    is_seen = has_evidence(prediction, positive=is_positive)
    subject = "Bright: speaks" if is_seen else "Nothing here speaks"
    st.caption(
        f"{subject} {'for' if is_positive else 'against'} {escape(classifier.class_names[1])}"
    )


def show_words(name: str, prediction: Prediction, classifier: Classifier) -> None:
    """What it is called, the answer, and why there is none where the model is not sure."""
    with st.container(gap="xxsmall"):
        st.caption(escape(name))
        show_heading(prediction, classifier)
        if not prediction.is_sure and classifier.band is not None:
            low, high = 100 * classifier.band.low, 100 * classifier.band.high
            level = say_level(classifier, "image")
            st.caption(
                f"Between {low:.0f} and {high:.0f} %{level and f', {level},'} this model is to "
                "give no answer, as set on the results page."
            )


def show_refusal(name: str, prediction: Prediction) -> None:
    """That there is no answer, and why."""
    with st.container(gap="xxsmall"):
        st.caption(escape(name))
        st.header(":material/block: No answer: not like the training images", anchor=False)
        show_reasons(prediction)


def show_reasons(prediction: Prediction) -> None:
    """Why a picture is not like the training images, and how unusual it is."""
    reasons = prediction.verdict.reasons if prediction.verdict is not None else ()
    if reasons:
        st.markdown("\n".join(f"- {escape(_say(reason))}" for reason in reasons))
    st.caption(say_unlike(prediction))


def _show_refused(
    answer: Answer, prediction: Prediction, classifier: Classifier, look: Look, offer: Show
) -> None:
    """No class and no bar, unless somebody asks for them all the same."""
    picture, words = st.columns([2, 5], gap="small")
    with picture:
        show_image(outline(prediction.picture, prediction.box), f"The image {answer.name}")
    with words:
        show_refusal(answer.name, prediction)
        box = st.expander(
            "What the model would say all the same", key=f"anyway {answer.key}", on_change="rerun"
        )
        offer()
    if box.open:
        with box:
            st.warning(
                "This is a guess about an image of a kind that the model has never seen. Do not "
                "rely on it.",
                icon=":material/warning:",
            )
            overlay, bar = st.columns([1, 1], gap="small")
            with overlay:
                show_overlay(answer.name, prediction, classifier, look)
            with bar:
                st.markdown(f"It would say **{escape(prediction.class_name)}**.")
                show_bar(prediction, classifier, key=f"bar {answer.key}")


def _show_pair(
    name: str, prediction: Prediction, classifier: Classifier, look: Look,
    places: Sequence[DeltaGenerator],
) -> None:  # fmt: skip
    picture, overlay = places
    with picture:
        show_image(outline(prediction.picture, prediction.box), f"The image {name}")
        if said := _say_region(prediction):
            st.caption(said)
    with overlay:
        show_overlay(name, prediction, classifier, look)


def _say_region(prediction: Prediction) -> str:
    """Which part of the picture the model has looked at; nothing where it is the whole."""
    height_px, width_px = prediction.picture.shape[:2]
    left, top, right, bottom = prediction.box
    share = (right - left) * (bottom - top) / (width_px * height_px)
    if share > 0.995:
        return ""
    return f"The outlined part is used, {100 * share:.0f} % of the picture"


def _show_familiar(prediction: Prediction) -> None:
    if prediction.verdict is not None:
        st.caption(
            ":material/check: Not unlike the training images",
            width="content",
            help=say_familiarity(prediction),
        )


def _say(reason: str) -> str:
    return reason[:1].upper() + reason[1:]
