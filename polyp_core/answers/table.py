"""One row a picture, and a CSV that a spreadsheet can open without harm."""

import re
from collections.abc import Iterable

import pandas as pd

from polyp_core.answers.wording import say_band
from polyp_core.errors import PolypError
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction

# What spreadsheets take for the start of a formula; the wide ones in East Asian settings. Where the
# settings are German, say, a cell ends at each ";", quotes or not, and then a line does as well.
_FORMULA = re.compile(r"""(^|[;\t\n])(?=[ "]*[=+\-@\uff1d\uff0b\uff0d\uff20])""")
_BLANKS = ("\t", "\r", "\n")
Subject = Item | tuple[str, int, str]  # a picture, or its file, frame and patient
Result = Prediction | PolypError


def tabulate(rows: Iterable[tuple[Subject, Result]], classifier: Classifier) -> pd.DataFrame:
    """A table of answers.

    Args:
        rows: A picture, and its prediction or the error that says why there is none.
        classifier: Whose threshold and band hold.

    Returns:
        `file`, `frame` (counted from 0), `patient`, `class` ("" where refused), `probability of …`
        (not a number where there is none), `sure` (yes, no), `familiar` (yes, no, unknown),
        `reason` (why there is no answer) and `error`.
    """
    table = [_describe(subject, result, classifier) for subject, result in rows]
    positive = f"probability of {classifier.class_names[1]}"
    columns = ["file", "frame", "patient", "class", positive]
    columns += ["sure", "familiar", "reason", "error"]
    return pd.DataFrame(table, columns=columns).astype({positive: float})


def write_csv(table: pd.DataFrame) -> str:
    """A table as CSV, in which a spreadsheet takes no text for a formula."""
    return str(table.map(guard_formula).rename(columns=guard_formula).to_csv(index=False))


def guard_formula(value: object) -> object:
    """A value for a cell of a CSV: what would start a formula gets an apostrophe before it.

    So does what would start one where the file is split at ";" or at tabs.
    """
    if not isinstance(value, str):
        return value
    # A lone carriage return is not put in quotes, and would begin a row with a formula in it.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    text = _FORMULA.sub(r"\1'", text)
    return f"'{text}" if value.startswith(_BLANKS) else text


def _describe(subject: Subject, result: Result, classifier: Classifier) -> list[object]:
    if isinstance(subject, Item):
        subject = subject.name, subject.frame, subject.patient
    if isinstance(result, PolypError):
        return [*subject, "", None, "", "", "", str(result)]
    verdict, reason = result.verdict, ""
    if result.is_refused:
        reason = "; ".join(verdict.reasons) if verdict is not None else ""
    elif not result.is_sure:
        reason = say_band(classifier).replace("\N{NO-BREAK SPACE}", " ")
    familiar = "unknown" if verdict is None else "no" if verdict.is_stranger else "yes"
    return [
        *subject,
        "" if result.is_refused else result.class_name,
        None if result.is_refused else round(result.probability, 4),  # it would mean nothing
        "yes" if result.is_sure and not result.is_refused else "no",
        familiar,
        reason,
        "",
    ]
