"""One item of a checklist, and who can answer it."""

from collections.abc import Callable
from dataclasses import dataclass

from polyp_core.checklists.facts import Facts

Say = Callable[[Facts], str]


@dataclass(frozen=True)
class Question:
    """One item of a publication's checklist, asked in our words.

    Attributes:
        number: Of the item, as in the publication: "7" or "7a".
        section: Of the publication's checklist.
        text: A plain question.
        says: What the run can say of it, a function a sentence or two.
        reference: Where the report shows more: one of its ids, or "".
        is_enough: Whether that answers the question where each has something to say, so that nobody
            has to be asked.
        adds: What there may be to say besides.
        explain: Says why the question does not arise, or "" where it does.
        advice: What to do with this program for the run to know; said where it does not.
    """

    number: str
    section: str
    text: str
    says: tuple[Say, ...] = ()
    reference: str = ""
    is_enough: bool = False
    adds: tuple[Say, ...] = ()
    explain: Say | None = None
    advice: str = ""
