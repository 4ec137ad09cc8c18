"""One answer for each patient of whom there are several images."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from polyp_core.answers import PatientAnswer, say_level, say_pooling, say_probability
from polyp_core.prediction import Classifier
from polyp_core.words import make_visible, say_number
from ui.pictures import get_class_colours
from ui.predict_answers import Answer
from ui.results_dialog import name_patient
from ui.words import escape

_NUM_TOLD = 4  # more patients stand in a table


def show_patients(
    answers: Sequence[Answer], pooled: Sequence[PatientAnswer], classifier: Classifier
) -> None:
    """What the model says of each patient, and what that rests on; nothing where none has two.

    Args:
        answers: Of all images.
        pooled: The answers by patient.
        classifier: The model that answered.
    """
    if not pooled:
        return
    films = {a.item.name for a in answers if a.item.patient == a.item.name}
    with st.container(border=True, gap="xsmall", key="predict patients"):
        st.markdown(f"**{say_number(len(pooled), 'patient')} with several images**")
        if level := say_level(classifier, "patient"):
            st.caption(f"The threshold was {level} on the results page.")
        if len(pooled) > _NUM_TOLD:
            _show_table(pooled, classifier)
            return
        for answer in pooled:
            named = name_film(answer) if answer.patient in films else name_patient(answer.patient)
            st.markdown(f"{named}: {say_patient(answer, classifier)}")


def name_film(answer: PatientAnswer) -> str:
    """Markdown of a film whose patient nobody knows."""
    return f"Film {escape(answer.patient)}"


def say_patient(answer: PatientAnswer, classifier: Classifier) -> str:
    """Markdown such as "**calcified**, probability of calcified 83 % as the mean of 5 images"."""
    pooling = say_pooling(answer)
    if not answer.class_name:
        return f"**no answer**, {pooling}"
    said = (
        f"probability of {escape(classifier.class_names[1])} "
        f"{say_probability(answer.probability, classifier.threshold)} as the {pooling}"
    )
    if not answer.is_sure:
        return f"**not sure**, {said}"
    colour = get_class_colours()[classifier.class_names.index(answer.class_name)]
    dot = f':color[●]{{foreground="{colour}"}}'
    return f"{dot} **{escape(answer.class_name)}**, {said}"


def _show_table(pooled: Sequence[PatientAnswer], classifier: Classifier) -> None:
    positive = classifier.class_names[1]
    rows = [
        (
            each.patient,
            (each.class_name if each.is_sure else "not sure") if each.class_name else "no answer",
            min(max(100 * each.probability, 1), 99) if each.class_name else None,
            say_pooling(each),
        )
        for each in pooled
    ]
    st.dataframe(
        pd.DataFrame(rows, columns=["patient", "answer", "probability", "of"]),
        hide_index=True, height=38 + 35 * min(len(rows), 6), alt="The answers by patient",
        column_config={
            "patient": "Patient",
            "answer": "Answer",
            "probability": st.column_config.ProgressColumn(
                f"Probability of {make_visible(positive)}", format="%.0f %%", min_value=0,
                max_value=100, color="gray",
            ),
            "of": "Rests on",
        },
    )  # fmt: skip
