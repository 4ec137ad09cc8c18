"""What can be taken away: a table of all answers, a page an image, all pages as a zip."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

import streamlit as st

from polyp_core.answers import (
    MAX_SHEETS,
    PatientAnswer,
    pool_patients,
    read_credentials,
    tabulate,
    write_csv,
    write_sheet,
    write_sheets,
)
from polyp_core.errors import ImageError
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction
from polyp_core.runs import Run
from polyp_core.safe_decoding import decode_safely
from ui.predict_answers import Answer
from ui.readers import name_run

Row = tuple[Item, Prediction | ImageError]


def offer_all(answers: Sequence[Answer], classifier: Classifier, run: Run) -> None:
    """The table of all images as CSV, and a zip with it and a page an image."""
    st.download_button(
        "Table", partial(_write_table, answers, classifier), "predictions.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key="predict csv",
        help="All images as CSV, those without an answer and the reasons included.",
    )  # fmt: skip
    limit = f" For the first {MAX_SHEETS} images." if len(answers) > MAX_SHEETS else ""
    st.download_button(
        "Sheets", partial(_write_zip, answers, classifier, run), "sheets.zip", "application/zip",
        icon=":material/folder_zip:", on_click="ignore", key="predict sheets",
        help=f"A zip with a page for each image, to print or to pass on, and the table.{limit}",
    )  # fmt: skip


def offer_sheet(
    answer: Answer, classifier: Classifier, run: Run, patients: Sequence[PatientAnswer]
) -> None:
    """One page about one image, written when it is asked for.

    Args:
        answer: With a picture of the size of the page.
        classifier: The model that answered.
        run: Of the model.
        patients: The answers by patient.
    """
    if answer.prediction is None:
        return
    patient = next((each for each in patients if each.patient == answer.item.patient), None)
    stem = re.sub(r"[^\w-]+", "-", answer.name, flags=re.ASCII).strip("-")[-80:] or "image"
    st.download_button(
        "Sheet", partial(_write_sheet, answer, classifier, run, patient), f"{stem}.html",
        "text/html", icon=":material/description:", on_click="ignore", type="tertiary",
        key=f"sheet {answer.key}", help="One page to print or to pass on; opens in any browser.",
    )  # fmt: skip


def pool(answers: Sequence[Answer], classifier: Classifier) -> tuple[PatientAnswer, ...]:
    """The answers by patient, of those with several images."""
    pairs = [(a.item.patient, a.prediction) for a in answers if a.prediction is not None]
    return pool_patients(pairs, classifier)


def _write_table(answers: Sequence[Answer], classifier: Classifier) -> str:
    return write_csv(tabulate(map(_make_row, answers), classifier))


def _write_sheet(
    answer: Answer, classifier: Classifier, run: Run, patient: PatientAnswer | None
) -> str:
    if answer.prediction is None:  # which no button offers
        return ""
    return write_sheet(
        answer.prediction, classifier, read_credentials(run, name_run(run)), item=answer.item,
        patient=patient,
    )  # fmt: skip


def _write_zip(answers: Sequence[Answer], classifier: Classifier, run: Run) -> bytes:
    return write_sheets(
        _read_again(answers, classifier), classifier, read_credentials(run, name_run(run)),
        patients=pool(answers, classifier),
    )  # fmt: skip


def _read_again(answers: Sequence[Answer], classifier: Classifier) -> Iterator[Row]:
    """The answers with their pictures at full size, as far as there are sheets, one at a time.

    Written while the page goes on, where what is kept for the visit cannot be reached.
    """
    num_sheets = 0
    for answer in answers:
        item, result = _make_row(answer)
        if isinstance(result, Prediction) and num_sheets < MAX_SHEETS:
            num_sheets += 1
            try:
                picture = decode_safely(item.data, item.name, item.frame)
                result = classifier.classify_picture(picture, item.name, item.frame)
            except ImageError as error:
                result = error
        yield item, result


def _make_row(answer: Answer) -> Row:
    return answer.item, answer.prediction or ImageError(answer.problem)
