"""The tables of a run from elsewhere: what reads a column reads every cell, none is copied."""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from polyp_core.dataset import FURTHER_PREFIX, SPLITS
from polyp_core.foreign_files.objects import MAX_TEXT, refuse
from polyp_core.runs import HISTORY_COLUMNS

_MAX_ROWS = 50_000
_MAX_COLUMNS = 24
_MAX_LINE = 16_000  # letters
_INDEX_KEYS = ("path", "frame", "split", "label")

Parse = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is to be written.

    Attributes:
        text: Its lines.
        num_rows: Without the header.
        keys: Path, frame, split and label of each row.
    """

    text: str
    num_rows: int
    keys: frozenset[tuple[object, ...]]


def read_history(data: bytes) -> str:
    """The content of a history.csv to write: numbers alone; what is none is not known.

    Raises:
        RunError: If it is no such table, or does not count the epochs from 1.
    """
    lines = [",".join(HISTORY_COLUMNS)]
    rows = _parse_rows("history.csv", data, {}, required=["epoch"]) if data else iter(())
    for number, row in enumerate(rows, start=1):
        values = [_parse_float(row.get(name, "")) for name in HISTORY_COLUMNS]
        if values[0] != number:
            raise refuse("history.csv", f"has epoch {row['epoch'][:20]} in line {number}", "each")
        lines.append(",".join([str(number), *map(repr, values[1:])]))
    return "\n".join([*lines, ""])


def read_index(data: bytes | None) -> Table:
    """The rows of an index.csv.

    Raises:
        RunError: If there is none, or a cell is not what its column holds.
    """
    if data is None:
        raise refuse("index.csv", "is missing", "the list of the images that a run has")
    parsers: dict[str, Parse] = {
        "path": _parse_path,
        "frame": _parse_count,
        "label": _parse_label,
        "group": _parse_text,
        "split": _parse_split,
        "width_px": _parse_count,
        "height_px": _parse_count,
        "sha256": _parse_sha256,
    }
    required = [name for name in parsers if name != "frame"]
    table = _translate("index.csv", data, parsers, required)
    if not table.num_rows:
        raise refuse("index.csv", "names no image", "the list of the images that a run has")
    return table


def read_predictions(data: bytes, index: Table) -> str:
    """The content of a predictions.csv to write; empty where nothing is predicted.

    Args:
        data: Its content; empty where there is none.
        index: That of the index; it may speak of these images alone.

    Raises:
        RunError: If a cell is not what its column holds, or an image is another's.
    """
    parsers: dict[str, Parse] = {
        "path": _parse_path,
        "frame": _parse_count,
        "split": _parse_split,
        "group": _parse_text,
        "label": _parse_label,
        "probability": _parse_share,
        "brightness": _parse_grey,
        "contrast": _parse_grey,
    }
    if not data:
        return ""
    required = ["path", "split", "group", "label", "probability"]
    table = _translate("predictions.csv", data, parsers, required)
    if len(table.keys) < table.num_rows or not index.keys >= table.keys:
        raise refuse("predictions.csv", "speaks of images that index.csv does not have", "its own")
    return table.text if table.num_rows else ""


def _translate(
    name: str, data: bytes, parsers: Mapping[str, Parse], required: Sequence[str]
) -> Table:
    """A table of the columns that are known, each value read by what reads its column.

    Written row by row as `Run.write_table` does, since all rows at once take a hundred times as
    much memory as their text.
    """
    target, keys, number = io.StringIO(newline=""), set(), 0
    writer = csv.writer(target, lineterminator="\r\n")
    for number, row in enumerate(_parse_rows(name, data, parsers, required), start=1):
        values: dict[str, object] = {}
        for column, text in row.items():
            try:
                values[column] = parsers.get(column, _parse_text)(text)
            except ValueError as error:
                raise refuse(
                    name, f"has {text[:40]!r} as '{column}' in line {number + 1}", str(error)
                ) from error
        values.setdefault("frame", 0)
        if number == 1:
            writer.writerow(values)
        writer.writerow(values.values())
        keys.add(tuple(values[key] for key in _INDEX_KEYS))
    return Table(text=target.getvalue(), num_rows=number, keys=frozenset(keys))


def _parse_rows(
    name: str, data: bytes, known: Mapping[str, Parse], required: Sequence[str]
) -> Iterator[dict[str, str]]:
    """The cells of each row as text; columns that nobody knows stay behind."""
    try:
        reader = csv.reader(_take_lines(name, data), strict=True)
        header = next(reader, [])
        is_sound = len({*header}) == len(header) <= _MAX_COLUMNS and {*required} <= {*header}
        kept = [
            (place, column)
            for place, column in enumerate(header)
            if not known or column in known or _is_further(column)
        ]
        for row in reader:
            if not is_sound or len(row) != len(header):
                break
            yield {column: row[place] for place, column in kept}
        else:
            if is_sound:
                return
    except (UnicodeError, csv.Error) as error:
        raise refuse(name, f"is no table ({str(error)[:100]})", "a CSV as the app writes it") from (
            error
        )
    expected = f"the columns {', '.join(required)}, and as many cells in each line"
    raise refuse(name, "has other columns", f"{expected}; at most {_MAX_COLUMNS}")


def _take_lines(name: str, data: bytes) -> Iterator[str]:
    """The lines, each a whole row: what spans several could have any number of cells."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    for number, line in enumerate(lines):
        if number > _MAX_ROWS:
            raise refuse(name, f"has more than {_MAX_ROWS} lines", "fewer images")
        if len(line) > _MAX_LINE:
            raise refuse(name, f"has a line of {len(line)} letters", f"at most {_MAX_LINE}")
        if line.count('"') % 2:
            raise refuse(name, f"has a break within a cell of line {number + 1}", "whole lines")
        yield line


def _is_further(column: str) -> bool:
    return column.startswith(FURTHER_PREFIX) and column.isprintable() and len(column) <= 100


def _parse_text(text: str) -> str:
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"at most {MAX_TEXT} letters that can be shown")
    return text


def _parse_path(text: str) -> str:
    """Of an image below a folder that is not here: it must not lead anywhere here either."""
    parts = re.split(r"[\\/]", _parse_text(text))
    if ":" in text or any(not part.strip(". ") for part in parts):
        raise ValueError("a path below the folder of the images, such as calcified/1.png")
    return text


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("a whole number")
    return int(text)


def _parse_label(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return int(text)


def _parse_split(text: str) -> str:
    if text not in SPLITS:
        raise ValueError(f"one of {', '.join(SPLITS)}")
    return text


def _parse_sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("the 64 digits of a sha256")
    return text


def _parse_share(text: str) -> float:
    return _parse_within(text, 1.0)


def _parse_grey(text: str) -> float:
    return _parse_within(text, 255.0)


def _parse_within(text: str, high: float) -> float:
    value = _parse_float(text)
    if not 0 <= value <= high:
        raise ValueError(f"a number from 0 to {high:g}")
    return value


def _parse_float(text: str) -> float:
    """NaN where it is none."""
    try:
        value = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
