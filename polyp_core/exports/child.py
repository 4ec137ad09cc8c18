"""Work in a process of its own, which says in files what it does and what came of it."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from polyp_core import processes
from polyp_core.errors import ModelError
from polyp_core.words import make_visible

TIME_LIMIT_S = 900.0
PLAN, RESULT = "plan.json", "result.json"
Progress = Callable[[str], None]


def run_child(module: str, staging: Path, plan: dict[str, Any], say: Progress) -> dict[str, Any]:
    """Run `python -m module staging` to its end; it and all it starts are gone afterwards.

    Args:
        module: Such as "polyp_core.export_worker"; it reads plan.json and writes result.json.
        staging: A folder for both.
        plan: Plain values, what to do.
        say: Called with each stage that the child writes; may raise, to cancel.

    Returns:
        What result.json holds.

    Raises:
        ModelError: With the "problem" of result.json if it is not empty; or if the child crashed,
            or took longer than 15 minutes.
    """
    (staging / RESULT).unlink(missing_ok=True)  # of an earlier child
    (staging / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    code = processes.run_child(module, staging, say, TIME_LIMIT_S)
    if code is None:
        raise ModelError(
            f"Exporting took longer than {TIME_LIMIT_S:.0f} s and was stopped. Expected a model "
            "that this computer can convert. Try again when it has less to do, or choose LiteRT, "
            "which is there already."
        )
    return _read_result(staging, code)


def _read_result(staging: Path, code: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        result = json.loads((staging / RESULT).read_text(encoding="utf-8"))
    if problem := result.get("problem"):
        raise ModelError(str(problem))
    if code != 0 or not result:
        log = (staging / processes.CHILD_LOG).read_text(encoding="utf-8", errors="replace")
        last = next((line.strip() for line in reversed(log.split("\n")) if line.strip()), "no word")
        raise ModelError(
            f"Exporting crashed (exit status {code}); its last words: {make_visible(last)[:400]}. "
            "Expected a process that ends by itself. Try again; if it stays, choose another "
            "format: this may be for want of memory, or a bug."
        )
    return result
