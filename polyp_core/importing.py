"""A zip, or files dragged into the browser, become a folder in the workspace."""

import bz2
import copy
import hashlib
import lzma
import os
import re
import shutil
import struct
import tempfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from polyp_core.access import check_writable
from polyp_core.errors import DatasetError

MAX_FILES, MAX_BYTES = 100_000, 20 * 2**30
MIN_FREE_BYTES = 2**30  # stays free on the disk
MAX_RATIO = 100  # unpacked to packed, of a file above the next size; a picture hardly shrinks
MAX_HARMLESS_BYTES = 2 * 2**20
MAX_DIRECTORY_BYTES = 320 * MAX_FILES  # a zip's table of contents, which is read in one piece
MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_DEPTH = 255, 1024, 16
_SWEEP_AFTER_S, BLOCK_BYTES = 24 * 3600, 2**20

_METHODS = {0: "stored", 8: "Deflate", 12: "bzip2", 14: "LZMA"}
_MAX_LZMA_BYTES = 256 * 2**20  # the dictionary, which is laid out in memory
_ENCRYPTED, _IS_UTF8 = 0x1 | 0x40 | 0x2000, 0x800  # flag bits of an entry
_HEADER_BYTES = 30  # before each entry, at the least
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, IndexError, OverflowError, NotImplementedError),
)
_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__"}
_JUNK |= {"@eadir", "$recycle.bin", "system volume information"}
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)")
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"  # C0, C1 and halves of a character
_UNWRITABLE = re.compile(f'[{_CONTROL}<>:"|?*]' if os.name == "nt" else f"[{_CONTROL}]")

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


@dataclass(frozen=True)
class Member:
    """One file to import; its place is empty where it is left out. `size` is what it claims."""

    entry: str
    place: tuple[str, ...]
    size: int
    read: Callable[[], Iterator[bytes]]


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


@contextmanager
def open_members(source: Path | BinaryIO, name: str) -> Iterator[list[Member]]:
    """The files of a zip, checked by the table of contents alone; each is checked again when read.

    Raises:
        DatasetError: As in `import_zip`, when it is opened or a file is read.
    """
    with ExitStack() as closing:
        archive = _open_archive(source, name, closing)
        _check_overlap(archive)
        members = []
        for info in archive.infolist():
            entry = _read_name(info)
            if not entry.endswith(("/", "\\")):  # a folder is made where a file needs it
                _check_entry(info, entry)
                read = partial(_read_entry, archive, info, entry)
                members.append(Member(entry, _find_place(entry), info.file_size, read))
        yield members


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
        Member(path, _find_place(path), file.seek(0, os.SEEK_END), partial(_read_file, file))
        for path, file in files
    ]
    return _import_members(members, name, imports_dir, on_progress)


def is_left_out(relative_path: str) -> bool:
    """Whether any part of a path is hidden or what a system leaves behind (Thumbs.db …)."""
    parts = relative_path.lower().replace("\\", "/").split("/")
    return any(part in _JUNK or (part[:1] == "." and part.strip(".")) for part in parts)


class _Archive:
    """What zipfile reads from; it would read a table of contents of any size in one piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its table of contents would take {_say_size(size)}")
        return self._file.read(size)


def _refuse(name: str, what: str, expected: str, remedy: str) -> DatasetError:
    return DatasetError(f"{_quote(name)} {what}. Expected {expected}. {remedy}")


def _open_archive(source: Path | BinaryIO, name: str, closing: ExitStack) -> zipfile.ZipFile:
    try:
        file = closing.enter_context(source.open("rb")) if isinstance(source, Path) else source
        return closing.enter_context(zipfile.ZipFile(_Archive(file)))
    except _DAMAGE as error:
        what = f"is no zip, or is damaged, cut short or not there ({_quote(str(error))})"
        remedy = "Pack or download it again; unpack other archives (rar, 7z, tar) yourself."
        raise _refuse(name, what, "a whole zip file", remedy) from error


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """Entries that share their bytes unpack to many times the size of the zip."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in infos[1:]), archive.start_dir]
    for info, end in zip(infos, ends, strict=False):
        if info.header_offset + _HEADER_BYTES + info.compress_size > end:
            what = "overlaps what follows it, as in a zip bomb or a damaged zip"
            remedy = "Do not unpack it; get the images from a source that you trust."
            raise _refuse(_read_name(info), what, "separate entries", remedy)


def _check_entry(info: zipfile.ZipInfo, entry: str) -> None:
    """Refuse what is not a plain file, readable without a password."""
    kind = info.external_attr >> 28  # the highest bits of a Unix mode; 0 where there is none
    expected = "plain files"
    remedy = "Replace it by the file that it stands for, or remove it, and pack again."
    if kind not in (0, 0o10):
        what = "is a symbolic link" if kind == 0o12 else "is a device, pipe, socket or folder"
    elif info.flag_bits & _ENCRYPTED:
        what, expected = "is encrypted", "a zip without a password"
        remedy = "Unpack it with the password first, then import the folder."
    elif info.compress_type not in _METHODS:
        what = f"is packed by a method that is not known here ({info.compress_type})"
        expected = "one of: " + ", ".join(_METHODS.values())
        remedy = "Unpack it yourself and import the folder, or pack it as an ordinary zip."
    else:
        return
    raise _refuse(entry, what, expected, remedy)


def _read_name(info: zipfile.ZipInfo) -> str:
    """An entry's name as it was meant: a Mac's zip holds UTF-8 without saying so."""
    with suppress(UnicodeError):  # then it is what zipfile took it for
        if not info.flag_bits & _IS_UTF8:
            return info.orig_filename.encode("cp437").decode("utf-8")
    return info.orig_filename


def _find_place(entry: str) -> tuple[str, ...]:
    """Where a file goes, by folder; empty if it is left out. Control characters become "_"."""
    path = entry.replace("\\", "/")
    parts = tuple(_UNWRITABLE.sub("_", part) for part in path.split("/") if part not in ("", "."))
    sizes = [len(part.encode()) for part in parts] or [0]
    if "\0" in entry:
        what = "has a NUL character in its name"
    elif path.startswith("/") or _DRIVE.match(path):
        what = "is an absolute path"
    elif any(not part.strip(". ") for part in parts):
        what = "leads outside of the folder"
    elif is_left_out(entry):
        return ()
    elif not parts:
        what = "has no name"
    elif len(parts) > MAX_DEPTH or max(sizes) > MAX_NAME_BYTES or sum(sizes) > MAX_PATH_BYTES:
        what = f"is too long: {len(parts)} deep, {sum(sizes)} bytes, {max(sizes)} of one name"
    elif any(part.endswith((".", " ")) or _RESERVED.match(part) for part in parts):
        what = "has a name that Windows cannot have (CON, NUL …, or a dot or space at the end)"
    else:
        return parts
    limits = f"at most {MAX_NAME_BYTES} bytes each, {MAX_DEPTH} deep, {MAX_PATH_BYTES} in all"
    expected = f"a path such as 'train/calcified/1.png', with names for every system ({limits})"
    raise _refuse(entry, what, expected, "Rename it, or pack the folder again; then import again.")


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
                what = f"and {_quote(member.entry)} come to the same place, or do on some systems"
                expected = "names that differ in more than upper and lower case"
                raise _refuse(other.entry, what, expected, "Rename one and import again.")


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
        _sweep(imports_dir)
        _check_amount(members, len(given), name, shutil.disk_usage(imports_dir).free)
        target = None
        # Only where it may be there already is everything read before anything is written.
        if any(path.name.lower().startswith(start.lower()) for path in imports_dir.iterdir()):
            target = imports_dir / (start + _copy_members(members, None, on_progress))
        if target is None or not target.exists():
            with tempfile.TemporaryDirectory(
                prefix=".importing-", dir=imports_dir, ignore_cleanup_errors=True
            ) as temporary:
                unpacked = Path(temporary, "unpacked")
                target = imports_dir / (start + _copy_members(members, unpacked, on_progress))
                if not target.exists():  # else somebody else has just imported the same
                    os.replace(unpacked, target)
    except OSError as error:
        what = f"cannot be written to '{imports_dir}' ({error.strerror})"
        expected = "a folder that may be written to, with room, and not too deep"
        raise _refuse(name, what, expected, "Make room or choose another workspace.") from error
    return Imported(folder=target, num_files=len(members), num_left_out=len(given) - len(members))


def _sweep(imports_dir: Path) -> None:
    """Remove what a killed import has left behind; one that still works is never a day old."""
    for path in imports_dir.glob(".importing-*"):
        if time.time() - path.stat().st_mtime > _SWEEP_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)


def _check_amount(members: list[Member], num_given: int, name: str, free: int) -> None:
    size = sum(member.size for member in members)
    remedy = "Import a part of it, or give the path of a folder on this computer instead."
    if not members:
        what, expected = "holds no file, hidden ones aside", "a folder of images"
        remedy = "Check what was packed or chosen."
    elif num_given > MAX_FILES:
        what, expected = f"holds {num_given} files", f"at most {MAX_FILES}"
    elif size > min(MAX_BYTES, free - MIN_FREE_BYTES):
        what = f"unpacks to {_say_size(size)} and the disk has {_say_size(free)} free"
        expected = f"at most {_say_size(MAX_BYTES)}, and {_say_size(MIN_FREE_BYTES)} to stay free"
    else:
        return
    raise _refuse(name, what, expected, remedy)


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


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, entry: str) -> Iterator[bytes]:
    """An entry's contents in blocks, checked; never more than it says it holds."""
    done = checksum = 0
    try:
        with _open_entry(archive, info) as stream:
            while done < info.file_size:
                block = stream.read(min(BLOCK_BYTES, info.file_size - done))
                if not block:
                    raise EOFError(f"it ends after {done} of {info.file_size} bytes")
                done, checksum = done + len(block), zlib.crc32(block, checksum)
                if done > max(MAX_HARMLESS_BYTES, MAX_RATIO * info.compress_size):
                    what = f"is a zip bomb: {info.compress_size} bytes unpack to over {done}"
                    expected = f"at most {MAX_RATIO} times the size"
                    raise _refuse(entry, what, expected, "Remove it from the zip.")
                yield block
        if checksum != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
    except _DAMAGE as error:
        what, expected = f"is damaged in the zip ({_quote(str(error))})", "an undamaged zip"
        raise _refuse(entry, what, expected, "Pack or download it again.") from error


def _open_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """As `archive.open`, which unpacks bzip2 and LZMA into memory without any limit."""
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return archive.open(info)
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC  # which is that of the unpacked contents
    stream = archive.open(packed)
    if info.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2File(stream)
    _, _, code, dictionary = struct.unpack("<HHBI", stream.read(9))
    lc, lp, pb = code % 9, code // 9 % 5, code // 45
    if dictionary > _MAX_LZMA_BYTES or lc + lp > 4 or pb > 4:
        raise zipfile.BadZipFile(f"its LZMA settings are out of bounds: {code}, {dictionary}")
    lzma1 = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMAFile(stream, format=lzma.FORMAT_RAW, filters=[lzma1])


def _make_stem(name: str) -> str:
    """A name that every system can have as the start of a folder's name."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^\w-]+", "_", re.sub(r"(?i)\.zip$", "", last))[:40].strip("_") or "images"


def _quote(name: str) -> str:
    """For a sentence on the screen: short, and nothing that breaks or turns the line."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in name[:120])
    return f"'{shown}{'…' if len(name) > 120 else ''}'"


def _say_size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
