"""A zip, or files dragged into the browser, become a folder in the workspace."""

import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from polyp_core.access import check_writable
from polyp_core.archives import (
    BLOCK_BYTES,
    MAX_FILES,
    Member,
    find_place,
    open_members,
    quote,
    refuse,
    say_size,
)
from polyp_core.files import sweep

MAX_BYTES = 20 * 2**30
MIN_FREE_BYTES = 2**30  # stays free on the disk
_HIDDEN = ".importing-"  # a folder that is being written

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import has brought.

    Attributes:
        folder: Where the files lie now.
        num_files: How many they are.
        num_left_out: Hidden files and what systems leave behind (Thumbs.db, __MACOSX …).
    """

    folder: Path
    num_files: int
    num_left_out: int


def import_zip(
    source: Path | BinaryIO, name: str, imports_dir: Path, on_progress: Progress | None = None
) -> Imported:
    """Unpack a zip into a folder of its own; all of it or nothing.

    Names are checked before anything is written, sizes while it is read. The same contents under
    the same name are the same folder. A folder around everything is taken off.

    Args:
        source: The zip, as a path or open for reading.
        name: What the zip is called, such as "polyps.zip".
        imports_dir: Where the folder is made; made itself where it is missing.
        on_progress: Called with (files done, files in all); may raise, to cancel.

    Raises:
        DatasetError: If it is no zip, is damaged or encrypted, or holds no file, a link, a name
            that leads outside or that some system cannot have, or too much.
    """
    with open_members(source, name) as members:
        return _import_members(members, name, imports_dir, on_progress)


def import_files(
    files: Sequence[tuple[str, BinaryIO]],
    name: str,
    imports_dir: Path,
    on_progress: Progress | None = None,
) -> Imported:
    """Copy files given by a browser into a folder of its own; all of them or nothing.

    Args:
        files: Relative path as the browser gave it ("polyps/train/calcified/1.png", also with
            backslashes) and the file, open for reading and able to seek.
        name: What the whole is called, such as "polyps".
        imports_dir, on_progress: As in `import_zip`.

    Raises:
        DatasetError: As in `import_zip`, as far as it can be the case.
    """
    members = [
        Member(path, find_place(path), file.seek(0, os.SEEK_END), partial(_read_file, file))
        for path, file in files
    ]
    return _import_members(members, name, imports_dir, on_progress)


def _check_places(members: list[Member]) -> None:
    """No two may come to the same place on any system: some fold case and accents."""
    known: dict[str, tuple[tuple[str, ...], Member]] = {}
    for member in members:
        for depth in range(1, len(member.place) + 1):
            place = member.place[:depth]
            folded = unicodedata.normalize("NFD", "/".join(place).casefold())
            taken, other = known.setdefault(folded, (place, member))
            is_file = depth in (len(member.place), len(other.place))
            if other is not member and (is_file or taken != place):
                what = f"and {quote(member.entry)} come to the same place, or do on some systems"
                expected = "names that differ in more than upper and lower case"
                raise refuse(other.entry, what, expected, "Rename one and import again.")


def _strip_wrapping(members: list[Member]) -> list[Member]:
    """Take off a folder around everything, unless the images lie directly in it."""
    while len({m.place[0] for m in members}) == 1 and all(len(m.place) > 1 for m in members):
        inner = [member.place[1:] for member in members]
        if not any(len(place) > 1 or place[0].lower().endswith(".csv") for place in inner):
            break
        members = [replace(member, place=member.place[1:]) for member in members]
    return members


def _import_members(
    given: list[Member], name: str, imports_dir: Path, on_progress: Progress | None
) -> Imported:
    """Write beside the target, then rename: a cancelled or failed import leaves nothing."""
    check_writable("Copying images to this server")
    _check_places(given)
    members = _strip_wrapping([member for member in given if member.place])
    start = f"{_make_stem(name)}-"
    try:
        imports_dir.mkdir(parents=True, exist_ok=True)
        sweep(imports_dir, f"{_HIDDEN}*")
        _check_amount(members, len(given), name, shutil.disk_usage(imports_dir).free)
        target = None
        # Only where it may be there already is everything read before anything is written.
        if any(path.name.lower().startswith(start.lower()) for path in imports_dir.iterdir()):
            target = imports_dir / (start + _copy_members(members, None, on_progress))
        if target is None or not target.exists():
            with tempfile.TemporaryDirectory(
                prefix=_HIDDEN, dir=imports_dir, ignore_cleanup_errors=True
            ) as temporary:
                unpacked = Path(temporary, "unpacked")
                target = imports_dir / (start + _copy_members(members, unpacked, on_progress))
                if not target.exists():  # else somebody else has just imported the same
                    os.replace(unpacked, target)
    except OSError as error:
        what = f"cannot be written to '{imports_dir}' ({error.strerror})"
        expected = "a folder that may be written to, with room, and not too deep"
        raise refuse(name, what, expected, "Make room or choose another workspace.") from error
    return Imported(folder=target, num_files=len(members), num_left_out=len(given) - len(members))


def _check_amount(members: list[Member], num_given: int, name: str, free: int) -> None:
    size = sum(member.size for member in members)
    remedy = "Import a part of it, or give the path of a folder on this computer instead."
    if not members:
        what, expected = "holds no file, hidden ones aside", "a folder of images"
        remedy = "Check what was packed or chosen."
    elif num_given > MAX_FILES:
        what, expected = f"holds {num_given} files", f"at most {MAX_FILES}"
    elif size > min(MAX_BYTES, free - MIN_FREE_BYTES):
        what = f"unpacks to {say_size(size)} and the disk has {say_size(free)} free"
        expected = f"at most {say_size(MAX_BYTES)}, and {say_size(MIN_FREE_BYTES)} to stay free"
    else:
        return
    raise refuse(name, what, expected, remedy)


def _copy_members(members: list[Member], folder: Path | None, on_progress: Progress | None) -> str:
    """Read everything and write it to a folder, or nowhere; a fingerprint of names and contents."""
    lines = []
    for done, member in enumerate(members, start=1):
        digest = hashlib.sha256()
        with nullcontext() if folder is None else _create_file(folder, member) as file:
            for block in member.read():
                digest.update(block)
                if file is not None:
                    file.write(block)
        lines.append(f"{'/'.join(member.place)}\0{digest.hexdigest()}\n")
        if on_progress is not None:
            on_progress(done, len(members))
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:8]


def _create_file(folder: Path, member: Member) -> BinaryIO:
    """A new file, never over one that is there; never executable, whatever the zip says."""
    path = folder.joinpath(*member.place)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "xb", opener=partial(os.open, mode=0o644))


def _read_file(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    yield from iter(partial(file.read, BLOCK_BYTES), b"")


def _make_stem(name: str) -> str:
    """A name that every system can have as the start of a folder's name."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^\w-]+", "_", re.sub(r"(?i)\.zip$", "", last))[:40].strip("_") or "images"
