"""Reporting checklists, filled in by the run where it knows and by a person where it does not.

CLAIM 2024 and TRIPOD+AI, each item as a question in our words. Its original wording, and what it
means in full, is in the publication, which a sheet does not replace: see `claim` and `tripod`.

    questions      one item, and who can answer it
    claim, tripod  all items of the two publications
    facts          a run → all that it knows of itself
    data_facts, model_facts, result_facts   that → sentences
    answers        what people have answered: checklists.json
    items          one item as it is filled in
    writing        a filled sheet → Markdown and HTML
"""

from collections.abc import Mapping

from polyp_core.checklists.answers import MAX_ANSWER, Answers, change_answer, read_answers
from polyp_core.checklists.claim import CLAIM
from polyp_core.checklists.facts import Facts, find_home, read_facts
from polyp_core.checklists.items import Item, count_open
from polyp_core.checklists.questions import Question
from polyp_core.checklists.tripod import TRIPOD
from polyp_core.checklists.writing import write_html_part, write_markdown
from polyp_core.errors import ConfigError
from polyp_core.runs import Run

__all__ = [
    "MAX_ANSWER", "SHEETS", "Item", "count_open", "fill_sheet", "list_answers",
    "write_answer", "write_sheet_html_part", "write_sheet_markdown",
]  # fmt: skip

SHEETS: Mapping[str, str] = {"claim": "CLAIM 2024", "tripod": "TRIPOD+AI"}
_QUESTIONS = {"claim": CLAIM, "tripod": TRIPOD}
_KNOWN = frozenset(
    (sheet, question.number) for sheet, questions in _QUESTIONS.items() for question in questions
)


def fill_sheet(run: Run, sheet: str) -> tuple[Item, ...]:
    """Every item of a sheet, with what the run and people say of it.

    A person's answer comes before the run's, which stays in `known`.

    Args:
        run: In any state; or the ensemble of a study.
        sheet: A key of `SHEETS`.

    Raises:
        ConfigError: If there is no such sheet.
        RunError: If the run's settings or classes cannot be read.
    """
    _check_sheet(sheet)
    facts = read_facts(run)
    answers = list_answers(run).get(sheet, {})
    return tuple(
        _fill(sheet, question, facts, answers.get(question.number, ""))
        for question in _QUESTIONS[sheet]
    )


def list_answers(run: Run) -> Answers:
    """What people have answered, by sheet and number of the item; what is damaged is left out."""
    return read_answers(find_home(run), _KNOWN)


def write_answer(run: Run, sheet: str, number: str, text: str) -> None:
    """Keep what a person answers to an item; it is in the run's checklists.json.

    Args:
        run: In any state; or the ensemble of a study, whose answers lie in the study's folder.
        sheet: A key of `SHEETS`.
        number: Of the item, such as "7a".
        text: At most `MAX_ANSWER` characters; "" takes the answer back.

    Raises:
        AccessError: On a shared demo.
        ConfigError: If there is no such item, or the text is too long.
        RunError: If it cannot be written, as where the run was deleted meanwhile.
    """
    _check_sheet(sheet)
    if (sheet, number) not in _KNOWN:
        raise ConfigError(
            f"{SHEETS[sheet]} has no such item. Expected one of: "
            f"{', '.join(question.number for question in _QUESTIONS[sheet])}. Received: {number!r}"
        )
    sound = text.replace("\r\n", "\n").strip()
    if len(sound) > MAX_ANSWER:
        raise ConfigError(
            f"The answer to item {number} of {SHEETS[sheet]} is too long. Expected at most "
            f"{MAX_ANSWER:,} characters. Shorten it, or refer to a document. "
            f"Received: {len(sound):,} characters"
        )
    is_there = run.directory.is_dir()
    change_answer(find_home(run), sheet, number, sound, makes_folder=is_there)


def write_sheet_markdown(run: Run, sheet: str) -> str:
    """A filled sheet as Markdown; raises as `fill_sheet`."""
    return write_markdown(fill_sheet(run, sheet), SHEETS[sheet], run)


def write_sheet_html_part(run: Run, sheet: str) -> str:
    """A filled sheet as a <section> of the report; raises as `fill_sheet`."""
    return write_html_part(fill_sheet(run, sheet), SHEETS[sheet])


def _fill(sheet: str, question: Question, facts: Facts, own: str) -> Item:
    excluded = question.explain(facts) if question.explain is not None else ""
    said = [say(facts) for say in question.says]
    is_enough = question.is_enough and all(said)
    told = " ".join(filter(None, [*said, *(say(facts) for say in question.adds)]))
    known = excluded or told
    answer, origin = "", "open"
    if own:
        answer, origin = own, "person"
    elif excluded:
        answer, origin = excluded, "not applicable"
    elif is_enough and known:
        answer, origin = known, "run"
    return Item(
        sheet=sheet,
        number=question.number,
        section=question.section,
        question=question.text,
        answer=answer,
        origin=origin,
        reference=question.reference if known else "",
        known=known or question.advice,
    )


def _check_sheet(sheet: str) -> None:
    if sheet not in SHEETS:
        raise ConfigError(
            f"There is no such checklist. Expected one of: {', '.join(SHEETS)}. Received: {sheet!r}"
        )
