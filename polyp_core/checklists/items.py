"""One item of a checklist as it is filled in."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a sheet.

    Attributes:
        sheet: "claim" or "tripod".
        number: Of the publication: "7" or "7a".
        section: Of the publication's checklist.
        question: In our words.
        answer: "" where it is open.
        origin: Who gave the answer: "run" or "person"; "not applicable" where the run proves that
            the question does not arise; else "open".
        reference: Where the report shows more: one of its ids, or "".
        known: What the run says of it, whoever answers; where that is no answer, a start of one.
    """

    sheet: str
    number: str
    section: str
    question: str
    answer: str
    origin: str
    reference: str = ""
    known: str = ""


def count_open(items: Iterable[Item]) -> int:
    """How many items nobody has answered."""
    return sum(item.origin == "open" for item in items)


def say_state(items: Iterable[Item]) -> str:
    """Such as "44 items: 21 answered by the run, 2 by a person, 1 not applicable, 20 open"."""
    counts = Counter(item.origin for item in items)
    titles = {"run": "answered by the run", "person": "by a person"}
    said = [
        f"{counts[origin]} {titles.get(origin, origin)}"
        for origin in ("run", "person", "not applicable", "open")
        if counts[origin] or origin in ("run", "open")
    ]
    return f"{counts.total()} items: {', '.join(said)}"
