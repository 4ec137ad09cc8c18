"""What people have answered: checklists.json, beside the run.

checklists.json          {"answers": {"claim": {"7": "…"}}}
checklists.lock          held for the moment of a change, so that two visitors do not lose each
                         other's
checklists.damaged.json  what could not be read when the next answer was written
"""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from polyp_core.access import check_writable
from polyp_core.errors import RunError
from polyp_core.files import write_atomically

MAX_ANSWER = 4_000  # characters
_FILE, _LOCK, _DAMAGED = "checklists.json", "checklists.lock", "checklists.damaged.json"
_WAIT_S = 10.0
_MAX_BYTES = 10 * 2**20
Answers = dict[str, dict[str, str]]  # by sheet and number


def read_answers(directory: Path, known: Collection[tuple[str, str]]) -> Answers:
    """All answers of people; what is missing, damaged or of no known item is passed over.

    Args:
        directory: Where they are kept.
        known: Sheet and number of every item there is.
    """
    return _parse(_load(directory / _FILE), known)


def change_answer(
    directory: Path, sheet: str, number: str, text: str, known: Collection[tuple[str, str]]
) -> None:
    """Keep one answer and leave everything else as others have written it.

    Args:
        directory: Where they are kept; made if it is not there.
        sheet: Of the item.
        number: Of the item.
        text: At most `MAX_ANSWER` characters; "" takes the answer back.
        known: Sheet and number of every item there is.

    Raises:
        AccessError: On a shared demo.
        RunError: If it cannot be written.
    """
    check_writable("Answering a checklist")
    path = directory / _FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / _LOCK, timeout=_WAIT_S):
            values = _load(path)
            if values is None and path.exists():  # what it held is not thrown away
                os.replace(path, directory / _DAMAGED)
            answers = _parse(values, known)
            answers.setdefault(sheet, {}).pop(number, None)
            if text:
                answers[sheet][number] = text
            kept = {"answers": {name: found for name, found in answers.items() if found}}
            write_atomically(path, json.dumps(kept, indent=1, ensure_ascii=False))
    except (OSError, Timeout) as error:
        reason = "another change takes too long" if isinstance(error, Timeout) else error.strerror
        raise RunError(
            f"The answer cannot be written to '{path}' ({reason}). Expected a folder that may be "
            "written to. Check its rights and the room on the disk, then answer again."
        ) from error


def _load(path: Path) -> dict[str, Any] | None:
    """The answers in the file; None if it is missing or damaged."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return dict(values["answers"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _parse(values: dict[str, Any] | None, known: Collection[tuple[str, str]]) -> Answers:
    answers: Answers = {}
    for sheet, found in (values or {}).items():
        for number, text in found.items() if isinstance(found, dict) else ():
            if (sheet, number) in known and isinstance(text, str) and text.strip():
                # Half a character, which JSON can hold, is no text that a page can show.
                sound = text[:MAX_ANSWER].encode(errors="replace").decode()
                answers.setdefault(sheet, {})[number] = sound
    return answers
