"""Zips from strangers: what is in them is told, and read, without a byte on the disk."""

import bz2
import copy
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from polyp_core.access import DEVICE
from polyp_core.errors import DatasetError

MAX_FILES = 100_000
MAX_RATIO = 100  # unpacked to packed, of a file above the next size; a picture hardly shrinks
MAX_HARMLESS_BYTES = 2 * 2**20
MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_DEPTH = 255, 1024, 16
BLOCK_BYTES = 2**20

_ENTRY_BYTES = 320  # allowed for each file in a zip's table of contents, read in one piece
_ENTRY_MARK = b"PK\1\2"  # begins each entry of it
_PACK_FEWER = "Pack fewer into one zip, or give the path of a folder on this computer."
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
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"  # C0, C1 and halves of a character
_UNWRITABLE = re.compile(f'[{_CONTROL}<>:"|?*]' if os.name == "nt" else f"[{_CONTROL}]")


@dataclass(frozen=True)
class Member:
    """One file of a zip, or to import; its place is empty where it is left out.

    `size` is what it claims.
    """

    entry: str
    place: tuple[str, ...]
    size: int
    read: Callable[[], Iterator[bytes]]


@contextmanager
def open_members(
    source: Path | BinaryIO, name: str, *, max_files: int = MAX_FILES
) -> Iterator[list[Member]]:
    """The files of a zip, checked by the table of contents alone; each is checked again when read.

    Args:
        source: The zip, as a path or open for reading.
        name: What to call it in an error.
        max_files: Of which it may hold no more, folders among them; it is counted before the
            table of contents is taken apart, which would take time and memory for each.

    Raises:
        DatasetError: If it is no zip, is damaged, holds too many files, a link, a device, what is
            encrypted or overlaps, or a name that leads outside or that some system cannot have;
            when a file is read, if that is damaged or a bomb.
    """
    with ExitStack() as closing:
        archive = _open_archive(source, name, max_files, closing)
        _check_overlap(archive)
        members = []
        for info in archive.infolist():
            entry = _read_name(info)
            if not entry.endswith(("/", "\\")):  # a folder is made where a file needs it
                _check_entry(info, entry)
                read = partial(_read_entry, archive, info, entry)
                members.append(Member(entry, find_place(entry), info.file_size, read))
        yield members


def is_left_out(relative_path: str) -> bool:
    """Whether any part of a path is hidden or what a system leaves behind (Thumbs.db …)."""
    parts = relative_path.lower().replace("\\", "/").split("/")
    return any(part in _JUNK or (part[:1] == "." and part.strip(".")) for part in parts)


class _Archive:
    """What zipfile reads from; it would take a table of contents of any size apart."""

    def __init__(self, file: BinaryIO, name: str, max_files: int) -> None:
        self._file, self._name, self._max_files = file, name, max_files
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        most = max(BLOCK_BYTES, _ENTRY_BYTES * self._max_files)
        if size > most:
            what = (
                f"is damaged or holds too many files: its table of contents takes {say_size(size)}"
            )
            expected = f"at most {self._max_files} files and folders, listed in {say_size(most)}"
            raise refuse(self._name, what, expected, _PACK_FEWER)
        data = self._file.read(size)
        # What the zip says of their number is not to be believed; zipfile does not look at it.
        if data.startswith(_ENTRY_MARK) and data.count(_ENTRY_MARK) > self._max_files:
            what = f"holds {data.count(_ENTRY_MARK)} files and folders"
            raise refuse(self._name, what, f"at most {self._max_files}", _PACK_FEWER)
        return data


def refuse(name: str, what: str, expected: str, remedy: str) -> DatasetError:
    """The error of a file or a zip, in the usual order."""
    return DatasetError(f"{quote(name)} {what}. Expected {expected}. {remedy}")


def _open_archive(
    source: Path | BinaryIO, name: str, max_files: int, closing: ExitStack
) -> zipfile.ZipFile:
    try:
        file = closing.enter_context(source.open("rb")) if isinstance(source, Path) else source
        return closing.enter_context(zipfile.ZipFile(_Archive(file, name, max_files)))
    except _DAMAGE as error:
        what = f"is no zip, or is damaged, cut short or not there ({quote(str(error))})"
        remedy = "Pack or download it again; unpack other archives (rar, 7z, tar) yourself."
        raise refuse(name, what, "a whole zip file", remedy) from error


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """Entries that share their bytes unpack to many times the size of the zip."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in infos[1:]), archive.start_dir]
    for info, end in zip(infos, ends, strict=False):
        if info.header_offset + _HEADER_BYTES + info.compress_size > end:
            what = "overlaps what follows it, as in a zip bomb or a damaged zip"
            remedy = "Do not unpack it; get the images from a source that you trust."
            raise refuse(_read_name(info), what, "separate entries", remedy)


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
    raise refuse(entry, what, expected, remedy)


def _read_name(info: zipfile.ZipInfo) -> str:
    """An entry's name as it was meant: a Mac's zip holds UTF-8 without saying so."""
    with suppress(UnicodeError):  # then it is what zipfile took it for
        if not info.flag_bits & _IS_UTF8:
            return info.orig_filename.encode("cp437").decode("utf-8")
    return info.orig_filename


def find_place(entry: str) -> tuple[str, ...]:
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
    elif any(part.endswith((".", " ")) or DEVICE.fullmatch(part) for part in parts):
        what = "has a name that Windows cannot have (CON, NUL …, or a dot or space at the end)"
    else:
        return parts
    limits = f"at most {MAX_NAME_BYTES} bytes each, {MAX_DEPTH} deep, {MAX_PATH_BYTES} in all"
    expected = f"a path such as 'train/calcified/1.png', with names for every system ({limits})"
    raise refuse(entry, what, expected, "Rename it, or pack the folder again; then import again.")


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
                    raise refuse(entry, what, expected, "Remove it from the zip.")
                yield block
        if checksum != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
    except _DAMAGE as error:
        what, expected = f"is damaged in the zip ({quote(str(error))})", "an undamaged zip"
        raise refuse(entry, what, expected, "Pack or download it again.") from error


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


def quote(name: str) -> str:
    """For a sentence on the screen: short, and nothing that breaks or turns the line."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in name[:120])
    return f"'{shown}{'…' if len(name) > 120 else ''}'"


def say_size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
