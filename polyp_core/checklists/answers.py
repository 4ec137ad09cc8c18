"""What people have answered: checklists.json, beside the run.

checklists.json            {"answers": {"claim": {"7": "…"}}}
checklists.lock            held for the moment of a change, so that two visitors do not lose each
                           other's
checklists.damaged-1.json  what was no answers when the next one was written; then -2, …
"""

import json
from collections.abc import Collection
from pathlib import Path

from polyp_core.access import check_writable
from polyp_core.files import change_alone, set_aside, write_atomically

MAX_ANSWER = 4_000  # characters
_FILE = "checklists.json"
_MAX_BYTES = 10 * 2**20
Answers = dict[str, dict[str, str]]  # by sheet and number


def read_answers(directory: Path, known: Collection[tuple[str, str]]) -> Answers:
    """All answers of people; what is missing, damaged or of no known item is passed over.

    Args:
        directory: Where they are kept.
        known: Sheet and number of every item there is.
    """
    try:
        values = _load(directory / _FILE) or {}
    except OSError:
        return {}
    return {
        sheet: {
            number: text[:MAX_ANSWER].encode(errors="replace").decode()
            for number, text in found.items()
            if (sheet, number) in known and text.strip()
        }
        for sheet, found in values.items()
    }


def change_answer(
    directory: Path, sheet: str, number: str, text: str, *, makes_folder: bool = False
) -> None:
    """Keep one answer and leave everything else as others have written it.

    Answers to what this version does not ask are kept too.

    Args:
        directory: Where they are kept.
        sheet: Of the item.
        number: Of the item.
        text: At most `MAX_ANSWER` characters; "" takes the answer back.
        makes_folder: Whether the folder may come with the first answer.

    Raises:
        AccessError: On a shared demo.
        RunError: If it cannot be written.
    """
    check_writable("Answering a checklist")
    path = directory / _FILE
    with change_alone(path, "answer", makes_folder=makes_folder):
        answers = _load(path)
        if answers is None:
            set_aside(path)
            answers = {}
        answers.setdefault(sheet, {}).pop(number, None)
        if text:
            answers[sheet][number] = text
        kept = {"answers": {name: found for name, found in answers.items() if found}}
        # Half a character, which JSON can hold, is no text that a page can show.
        text = json.dumps(kept, indent=1, ensure_ascii=False)
        write_atomically(path, text.encode(errors="replace"))


def _load(path: Path) -> Answers | None:
    """The texts in the file, whatever they answer; None if it is damaged.

    Raises:
        OSError: If it is there and cannot be read now, which does not make it damaged.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        values = dict(json.loads(path.read_text(encoding="utf-8"))["answers"])
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return {
        sheet: {number: text for number, text in found.items() if isinstance(text, str)}
        for sheet, found in values.items()
        if isinstance(found, dict)
    }
