"""The JSON files of a run from elsewhere and their texts, and the sentence that refuses a file."""

import json
import re
from typing import Any

from polyp_core.errors import RunError

MAX_TEXT = 1000  # letters of one text
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def read_object(name: str, data: bytes, max_depth: int = 8) -> dict[str, Any]:
    """A JSON object, neither deep nor with endless texts; no NaN and no infinity.

    Raises:
        RunError: If it is anything else.
    """

    def refuse_number(text: str) -> float:
        raise ValueError(f"{text} is no number")

    try:
        values = json.loads(data.decode("utf-8"), parse_constant=refuse_number)
    except (ValueError, RecursionError) as error:
        raise refuse(name, f"is no JSON ({str(error)[:100]})", "a file as the app writes it") from (
            error
        )
    if not isinstance(values, dict) or not _is_plain(values, max_depth):
        raise refuse(
            name, "is nested too deep, has a text or number that is too long, or half a character",
            f"an object of at most {max_depth} levels",
        )  # fmt: skip
    return values


def _is_plain(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(
            len(key) <= MAX_TEXT and _is_plain(key, levels) and _is_plain(item, levels - 1)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return levels > 0 and all(_is_plain(item, levels - 1) for item in value)
    if isinstance(value, str):
        # JSON can spell half a character, which cannot be written to a file.
        return len(value) <= 10 * MAX_TEXT and not _HALF_CHARACTER.search(value)
    return not isinstance(value, int | float) or abs(value) < 1e300


def clean_text(value: object, *, is_long: bool = False) -> str:
    """A text that can be shown; lines stay lines in a long one."""
    if not isinstance(value, str):
        return ""
    lines = value[: 10 * MAX_TEXT if is_long else 200].splitlines()
    shown = ["".join(mark for mark in line if mark.isprintable()) for line in lines]
    return ("\n" if is_long else " ").join(shown)


def refuse(name: str, what: str, expected: str) -> RunError:
    """The one sentence with which a file is refused."""
    return RunError(
        f"The run cannot be brought in: '{name}' {what}. Expected {expected}. Pack the run again "
        "where it was trained."
    )
