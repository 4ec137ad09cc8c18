"""A CSV manifest becomes a list of files, and a list of files a manifest.

The columns are `path`, `label` and, where known, `group` (the patient) and `split`. Paths are
relative to the manifest's own folder, or absolute. Any further column with a name (scanner, age,
site …) is kept as text, so that results can be told apart by it.
"""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from polyp_core.access import check_writable, is_limited, leads_to_network
from polyp_core.errors import DatasetError
from polyp_core.files import write_atomically

OWN_MANIFEST = "manifest.csv"  # the name under which a folder brings its own
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_EXPECTED = (
    "Expected a first line with the columns path and label, and where they are known group (the "
    "patient) and split (train, validation or test)."
)
_NAMES = ("path", "label", "group", "split")
_MAX_BYTES = 100 * 2**20


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a data set.

    Attributes:
        path: Relative to the data set's folder, with "/".
        class_name: Of the image.
        name: The path below the class folder, which may tell the patient.
        split: "train", "validation", "test", or "" where it is not yet divided.
        group: The patient, or "" where the layout does not say.
        columns: Name and value of each further column of the manifest, the same names in the same
            order for every file.
    """

    path: str
    class_name: str
    name: str
    split: str = ""
    group: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def read_manifest(path: Path, *, may_lead_out: bool) -> tuple[Path, list[SourceFile]]:
    """Read a manifest.

    Args:
        path: The CSV file; comma, semicolon or tab between the columns.
        may_lead_out: Whether its paths may leave its own folder. A folder's own manifest, which
            may come out of somebody's zip, must not.

    Returns:
        The folder that holds all files, and the files sorted by path (relative to it). A file that
        is not there is listed all the same; reading it will say so.

    Raises:
        DatasetError: If it is no such table, has other than two labels, a split without a name,
            or a path twice or outside.
    """
    rows = _read_rows(path)
    _check_rows(path, rows)
    targets = _find_targets(path, rows, may_lead_out=may_lead_out)
    folder = _find_folder(path, targets)
    files = [
        SourceFile(
            path=Path(os.path.relpath(target, folder)).as_posix(),
            class_name=row["label"],
            name=Path(target).name,
            split=SPLIT_NAMES.get(row["split"].lower(), ""),
            group=row["group"],
            columns=tuple((name, value) for name, value in row.items() if name not in _NAMES),
        )
        for target, row in zip(targets, rows, strict=True)
    ]
    files.sort(key=lambda file: file.path)
    for first, second in zip(files, files[1:], strict=False):
        if first.path == second.path:
            raise DatasetError(
                f"'{path.name}' names the image '{first.path}' twice. Expected one line an image. "
                "Remove one of the two lines."
            )
    return folder, files


def write_manifest(path: Path, folder: Path, files: Iterable[SourceFile]) -> None:
    """Write a manifest that `read_manifest` reads back, whole or not at all.

    Args:
        path: The CSV file; its folder is made if it is not there.
        folder: What the files' paths are relative to.
        files: With class, patient, split and further columns.

    Raises:
        AccessError: On a shared demo.
    """
    check_writable("Writing a split")
    files = list(files)
    further = [name for name, _ in files[0].columns] if files else []
    path.parent.mkdir(parents=True, exist_ok=True)
    parent, folder = path.parent.absolute(), folder.absolute()
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow([*_NAMES, *further])
    for item in files:
        target = Path(os.path.normpath(folder / item.path))
        shown = target.relative_to(parent) if target.is_relative_to(parent) else target
        text = shown.as_posix()
        text = f"./{text}" if text[0].isspace() else text  # a bare blank would be stripped
        values = [value for _, value in item.columns]
        writer.writerow([text, item.class_name, item.group, item.split, *values])
    write_atomically(path, table.getvalue())


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetError(
                f"The manifest '{path.name}' is larger than {_MAX_BYTES // 2**20} MB. {_EXPECTED} "
                "Choose the right file."
            )
        # As bytes: a name within quotes may hold a line break, which must stay as it is.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"The manifest '{path}' cannot be opened ({error.strerror}). Expected a file that you "
            "may read. Change its permissions or choose another."
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"The manifest '{path.name}' is no UTF-8 text. {_EXPECTED} Save it as CSV (UTF-8)."
        ) from error
    head = (text.splitlines() or [""])[0]
    try:
        delimiter = max(",;\t", key=lambda mark: len(_find_names(head, mark)))
        # strict: a quote that never ends would swallow the rest of the file
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        table = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(
            f"The manifest '{path.name}' is no readable CSV ({error}). {_EXPECTED} Save it again."
        ) from error
    columns = [_clean_name(cell) for cell in table[0]] if table else []
    named = [name.lower() for name in columns if name]
    if not {"path", "label"} <= set(named) or len(set(named)) < len(named):
        raise DatasetError(
            f"The manifest '{path.name}' has no usable first line. {_EXPECTED} Received: "
            f"{head[:200].strip()!r}"
        )
    rows = []
    for number, cells in enumerate(table[1:], start=2):
        if len(cells) > len(columns):
            raise DatasetError(
                f"Row {number} of '{path.name}' has {len(cells)} cells, but there are "
                f"{len(columns)} columns. Put quotes around a path that holds a comma."
            )
        values = [cell.strip() for cell in cells] + [""] * (len(columns) - len(cells))
        found = dict(zip(columns, values, strict=True))
        found.pop("", None)
        rows.append(dict.fromkeys(_NAMES, "") | found)
    return rows


def _find_names(head: str, delimiter: str) -> set[str]:
    """Which of the columns that it knows a first line names, if this stands between them."""
    cells = next(csv.reader([head], delimiter=delimiter), [])
    return {_clean_name(cell) for cell in cells} & set(_NAMES)


def _clean_name(cell: str) -> str:
    """The name of a column; those that are known in small letters, others as they are written."""
    name = cell.strip()
    return name.lower() if name.lower() in _NAMES else name


def _turn_slashes(parent: Path, text: str) -> str:
    """A path as Windows writes it, with "/"; outside of Windows "\\" may be part of a name."""
    if "\\" in text and not os.path.lexists(os.path.join(parent, text)):
        return text.replace("\\", "/")
    return text


def _find_targets(path: Path, rows: list[dict[str, str]], *, may_lead_out: bool) -> list[str]:
    """Where the image of each row lies."""
    parent, targets = path.parent, []
    for number, row in enumerate(rows, start=2):
        target, is_inside = "", False
        # A network path is not even looked for where it may be somebody else's.
        if not leads_to_network(row["path"]) or (may_lead_out and not is_limited()):
            target = os.path.normpath(parent / _turn_slashes(parent, row["path"]))
            is_inside = may_lead_out or Path(target).is_relative_to(parent)
        if not is_inside:
            raise DatasetError(
                f"Row {number} of '{path.name}' leads out of its folder: '{row['path']}'. "
                "Expected paths inside the folder. Copy the image there and correct the line."
            )
        targets.append(target)
    return targets


def _find_folder(path: Path, targets: list[str]) -> Path:
    """The manifest's own folder if it holds all images, else the deepest one that does."""
    if all(Path(target).is_relative_to(path.parent) for target in targets):
        return path.parent
    try:
        return Path(os.path.commonpath([os.path.dirname(target) for target in targets]))
    except ValueError as error:  # two drives of a Windows computer
        raise DatasetError(
            f"The images of '{path.name}' lie on different drives. Expected one folder that "
            "holds all of them. Copy them together."
        ) from error


def _check_rows(path: Path, rows: list[dict[str, str]]) -> None:
    if not rows:
        raise DatasetError(f"The manifest '{path.name}' names no image. {_EXPECTED} Add them.")
    for number, row in enumerate(rows, start=2):
        if not row["path"] or not row["label"] or "\0" in row["path"]:
            raise DatasetError(
                f"Row {number} of '{path.name}' has no path or no label. Expected both in every "
                f"row. Complete it. Received: path={row['path']!r}, label={row['label']!r}"
            )
        if row["split"] and row["split"].lower() not in SPLIT_NAMES:
            raise DatasetError(
                f"Row {number} of '{path.name}' has an unknown split. Expected train, validation "
                f"or test. Received: split={row['split']!r}"
            )
    labels = sorted({row["label"] for row in rows})
    if len(labels) != 2:
        shown = ", ".join(f"'{label}'" for label in labels[:5]) + (", …" if len(labels) > 5 else "")
        raise DatasetError(
            f"The manifest '{path.name}' has {len(labels)} different labels ({shown}). Expected "
            "exactly two. Correct the column label."
        )
    splits = {bool(row["split"]) for row in rows}
    if len(splits) == 2:
        missing = sum(not row["split"] for row in rows)
        raise DatasetError(
            f"{missing} of {len(rows)} rows of '{path.name}' have no split. Expected one in every "
            "row, or in none. Complete the column split, or remove it."
        )
