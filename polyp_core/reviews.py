"""What people say of single images: "label wrong", and a note. Kept beside the predictions.

reviews.json     written by whoever looks at the mistakes
reviews.lock     held for the moment of a change, so that two visitors do not lose each other's
reviews.damaged-1.json   what was no reviews when the next change was written; then -2, …

Nothing else reads them: a mark changes neither the images nor any number.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.access import check_writable
from polyp_core.files import change_alone, set_aside, write_atomically

MAX_NOTE = 2_000  # characters
COLUMNS = ["path", "frame", "label", "probability", "mark", "note"]
_FILE = "reviews.json"
_MAX_BYTES = 100 * 2**20
_MARKS = {False: "", True: "label wrong"}
Key = tuple[str, int]  # path and frame, as in the index beside which the reviews lie


@dataclass(frozen=True, kw_only=True)
class Review:
    """What was said of one image.

    Attributes:
        is_label_wrong: Whether somebody holds its label for wrong.
        note: At most `MAX_NOTE` characters.
    """

    is_label_wrong: bool = False
    note: str = ""


def read_reviews(directory: Path) -> dict[Key, Review]:
    """Every image that was marked or noted; what is missing or damaged is passed over."""
    try:
        return _parse(_load(directory / _FILE) or [])
    except OSError:
        return {}


def change_review(
    directory: Path,
    key: Key,
    *,
    is_label_wrong: bool | None = None,
    note: str | None = None,
) -> Review:
    """Change what is said of one image and leave everything else as others have written it.

    Args:
        directory: Of the run, study or evaluation that the predictions are of; made if it is not
            there.
        key: Path and frame of the image.
        is_label_wrong: None leaves it as it is.
        note: None leaves it as it is; spaces at its ends go, and what is over `MAX_NOTE`.

    Returns:
        What is said of it now.

    Raises:
        RunError: If it cannot be written.
        AccessError: On a shared demo.
    """
    check_writable("Marking an image")
    path = directory / _FILE
    with change_alone(path, "mark", makes_folder=True):
        values = _load(path)
        if values is None:
            set_aside(path)
        reviews = _parse(values or [])
        review = reviews.pop(key, Review())
        if is_label_wrong is not None:
            review = replace(review, is_label_wrong=bool(is_label_wrong))
        if note is not None:
            review = replace(review, note=note.strip()[:MAX_NOTE].rstrip())
        if review != Review():
            reviews[key] = review
        write_atomically(path, _write(reviews))
    return review


def tabulate_reviews(predictions: pd.DataFrame, reviews: Mapping[Key, Review]) -> pd.DataFrame:
    """One row a marked or noted image, ready for a CSV.

    Args:
        predictions: Columns `path`, `frame`, `label`, `probability`.
        reviews: As `read_reviews` gives them; of images that are not predicted here none is taken.

    Returns:
        `path`, `frame`, `label` (0 or 1), `probability`, `mark` ("label wrong" or ""), `note`.
    """
    keys = list(zip(predictions["path"], predictions["frame"], strict=True))
    is_reviewed = [key in reviews for key in keys]
    said = [reviews[key] for key in keys if key in reviews]
    return predictions.loc[is_reviewed, COLUMNS[:4]].assign(
        mark=[_MARKS[review.is_label_wrong] for review in said],
        note=[review.note for review in said],
    )


def _load(path: Path) -> list[Any] | None:
    """The list in the file; None if it is damaged.

    Raises:
        OSError: If it is there and cannot be read now, which does not make it damaged.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return list(values["reviews"]) if isinstance(values["reviews"], list) else None
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _parse(values: list[Any]) -> dict[Key, Review]:
    reviews = {}
    for value in values:
        try:
            key = str(value["path"]), int(value["frame"])
            # Half a character, which JSON can hold, is no text that a table or a page can show.
            note = str(value.get("note", ""))[:MAX_NOTE].encode(errors="replace").decode()
            review = Review(is_label_wrong=value.get("is_label_wrong") is True, note=note)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue
        if review != Review():
            reviews[key] = review
    return reviews


def _write(reviews: Mapping[Key, Review]) -> str:
    rows = [
        {"path": path, "frame": frame, **vars(review)}
        for (path, frame), review in sorted(reviews.items())
    ]
    return json.dumps({"reviews": rows}, indent=1, ensure_ascii=False)
