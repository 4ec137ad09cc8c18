"""What a run from elsewhere says of itself, which no number of it can prove or disprove.

shared.json      where it comes from, as `exports.sharing` writes and `origins` reads it
checklists.json  what people have answered to the checklists

A claim is taken where it has the right kind and bounds; what nobody here reads is left out.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from polyp_core.errors import RunError
from polyp_core.foreign_files.objects import MAX_TEXT, clean_text, refuse
from polyp_core.origins import ENSEMBLE, FILE, MEMBER, are_patients_known
from polyp_core.processes import NAME_PATTERN

_ANSWERS = "checklists.json"
_FACTS = ("synthetic", "demo", "patients_known", "own_backbone_weights", "own_split")
_MAX_NAME = 255  # letters of a folder
_MAX_FOLDS, _MAX_SEEDS, _MAX_SEED = 10_000, 1_000, 2**31 - 1
_ITEM = re.compile(r"[0-9]{1,3}[a-z]?", re.ASCII)


def read_origin_file(values: Mapping[str, Any], index: str) -> dict[str, Any]:
    """The content of a shared.json to write.

    Args:
        values: Of the one from elsewhere.
        index: The index.csv to write. Where an image of it has no patient, patients are unknown,
            whatever the other file says.

    Raises:
        RunError: If something known has another kind, or is out of its bounds.
    """
    told: dict[str, Any] = {name: values.get(name, False) for name in _FACTS}
    for name, value in told.items():
        if type(value) is not bool:
            raise _refuse_origin(name, value, "true or false")
    told["synthetic"] |= told["demo"]
    images = pd.read_csv(io.StringIO(index), dtype=str, keep_default_na=False)
    told["patients_known"] &= are_patients_known(images)
    study = values.get("study")
    if study is not None and not isinstance(study, dict):
        raise _refuse_origin("study", study, "null, or the study's name, plan, caution and member")
    return told | {"study": None if study is None else _read_study(study)}


def read_answers_file(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of a checklists.json to write, or None where nobody has answered.

    Raises:
        RunError: If it holds no answers by sheet and item, or one is longer than the app takes.
    """
    from polyp_core.checklists import MAX_ANSWER, SHEETS  # not loaded with the page

    sheets = values.get("answers", {})
    expected = "texts by sheet and number of the item"
    if not isinstance(sheets, dict):
        raise refuse(_ANSWERS, "holds no answers", expected)
    found: dict[str, dict[str, str]] = {}
    for sheet in SHEETS:
        answers = sheets.get(sheet, {})
        if not isinstance(answers, dict):
            raise refuse(_ANSWERS, f"holds no answers to '{sheet}'", expected)
        for number, text in answers.items():
            if not _ITEM.fullmatch(number):
                continue
            if not isinstance(text, str) or len(text) > MAX_ANSWER:
                raise refuse(
                    _ANSWERS, f"has an answer to item {number} of '{sheet}' that cannot be used",
                    f"a text of at most {MAX_ANSWER} letters",
                )  # fmt: skip
            shown = clean_text(text.replace("\t", " "), is_long=True).strip()
            if shown:
                found.setdefault(sheet, {})[number] = shown
    return {"answers": found} if found else None


def _read_study(study: Mapping[str, Any]) -> dict[str, Any]:
    plan = study.get("plan")
    if not isinstance(plan, dict):
        raise _refuse_origin("plan", plan, "num_folds, seeds and shares of the study")
    read = _read_plan(plan)
    name = _read_text("name", study.get("name"), _MAX_NAME)
    if not name:
        raise _refuse_origin("name", study.get("name"), "the name of the study")
    return {
        "name": name,
        "plan": read,
        "caution": _read_text("caution", study.get("caution", ""), MAX_TEXT),
        "member": _read_member(study.get("member"), read),
    }


def _read_text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise _refuse_origin(name, value, f"a text of at most {most} letters")
    return clean_text(value, is_long=True).replace("\n", " ").strip()


def _read_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Folds, seeds and shares, in the bounds in which a study can be started."""
    num_folds, seeds, shares = plan.get("num_folds"), plan.get("seeds"), plan.get("shares", [1.0])
    if type(num_folds) is not int or not 1 <= num_folds <= _MAX_FOLDS:
        raise _refuse_origin("num_folds", num_folds, f"a whole number from 1 to {_MAX_FOLDS}")
    found = _read_seeds(seeds)
    if not found:
        raise _refuse_origin(
            "seeds", seeds,
            f"1 to {_MAX_SEEDS} different whole numbers, each from 0 to {_MAX_SEED}",
        )  # fmt: skip
    percents = _read_percents(shares)
    if 100 not in percents or len({*percents}) < len(percents):
        raise _refuse_origin(
            "shares", shares,
            "different shares of whole percents, each from 0.01 to 1, with 1 among them",
        )  # fmt: skip
    return {
        "num_folds": num_folds,
        "seeds": found,
        "shares": [percent / 100 for percent in percents],
    }


def _read_seeds(seeds: object) -> list[int]:
    """Different seeds of a training; none where one is not."""
    if not isinstance(seeds, list) or len(seeds) > _MAX_SEEDS:
        return []
    are_seeds = all(type(seed) is int and 0 <= seed <= _MAX_SEED for seed in seeds)
    return list(seeds) if are_seeds and len({*seeds}) == len(seeds) else []


def _read_percents(shares: object) -> list[int]:
    """Whole percents; none where one is not."""
    if not isinstance(shares, list) or len(shares) > 100:
        return []
    if not all(type(share) in (int, float) and 0 < share <= 1 for share in shares):
        return []
    percents = [round(100 * share) for share in shares]
    are_whole = all(
        percent >= 1 and abs(percent - 100 * share) < 1e-6
        for percent, share in zip(percents, shares, strict=True)
    )
    return percents if are_whole else []


def _read_member(member: object, plan: Mapping[str, Any]) -> str:
    """The name of a training of the study, or that of all of them together."""
    expected = f"'{ENSEMBLE}', or a member that the plan has, such as fold-1-seed-5"
    if not isinstance(member, str) or not re.fullmatch(NAME_PATTERN, member):
        raise _refuse_origin("member", member, expected)
    if found := MEMBER.fullmatch(member):
        fold, seed, percent = int(found[1]), int(found[2]), int(found[3] or 100)
        if (
            not 1 <= fold <= plan["num_folds"]
            or seed not in plan["seeds"]
            or percent / 100 not in plan["shares"]
        ):
            raise _refuse_origin("member", member, expected)
    return member


def _refuse_origin(name: str, value: object, expected: str) -> RunError:
    # The start alone: the text of a stranger is as long as he likes.
    return refuse(FILE, f"has a {name} that cannot be used ({str(value)[:40]!r})", expected)
