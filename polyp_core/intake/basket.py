"""Files are taken until a limit is met; an account is kept of what is left out."""

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from polyp_core.archives import Member, is_left_out, open_members
from polyp_core.errors import BusyError, DatasetError, ImageError
from polyp_core.images import SUFFIXES
from polyp_core.importing import Progress
from polyp_core.intake.formats import HEAD_BYTES, SAID, find_format
from polyp_core.intake.items import Intake, Item, Limits
from polyp_core.intake.patients import TakenFile, find_patients, order_files
from polyp_core.safe_decoding import read_facts
from polyp_core.words import say_number

_FOR_MANY = "For whole folders use the command line: python -m polyp_core predict."
_LOOKS = 10  # files in zips, in one and of all those looked into, for each that may be taken
_MAX_NAME = 200  # letters, the last ones
_MAX_PROBLEMS = 20  # of single files


class Basket:
    """Takes files until a limit is met, and keeps account of what it leaves out.

    Args:
        limits: How much is taken.
        on_progress: Called with (files done, files known of).
        num_files: How many will be given.
    """

    def __init__(self, limits: Limits, on_progress: Progress | None, num_files: int) -> None:
        self._limits, self._on_progress = limits, on_progress
        self._num_known, self._num_done, self._num_looks = num_files, 0, 0
        self._num_tried = 0  # images, those that turned out damaged included
        self._bytes_left, self._header_s = limits.max_total_bytes, 0.0
        self._was_busy = False
        self._files: list[TakenFile] = []
        self._names: Counter[str] = Counter()
        self._problems: list[tuple[str, str]] = []
        self._left_out: dict[str, list[str]] = {}  # by the reason

    def take(self, path: str, file: BinaryIO) -> None:
        """Take a file, or the images in a zip."""
        path = _shorten(path)
        file.seek(0)
        found = find_format(file.read(HEAD_BYTES))
        size = file.seek(0, os.SEEK_END)
        if is_left_out(path):
            pass  # what systems leave behind, such as Thumbs.db, is nothing to speak of
        elif found == "zip":
            self._take_zip(path, file, size)
        elif not found:
            self._leave_out_stranger(path, size)
        elif self._has_room(path, size):
            file.seek(0)
            source, _, below = path.partition("/") if "/" in path else ("", "", path)
            data = file.read()  # no copy, where it is whole in memory already
            self._keep(path, source, below, data)
        self._advance()

    def empty(self, group_pattern: str, *, are_numbered: bool) -> Intake:
        """All that was taken, in order, and what is to be said of the rest."""
        files = order_files(self._files)
        items: list[Item] = []
        patients = find_patients(files, group_pattern, are_numbered=are_numbered)
        for file, patient in zip(files, patients, strict=True):
            frames = self._choose_frames(file)
            if len(items) + len(frames) > self._limits.max_pictures:
                self._leave_out("pictures", file.name)
                continue
            sha256 = hashlib.sha256(file.data).hexdigest()
            items += [
                Item(
                    name=file.name, data=file.data, frame=frame, num_frames=file.facts.num_frames,
                    patient=patient, sha256=sha256,
                )
                for frame in frames
            ]  # fmt: skip
        shown, rest = self._problems[:_MAX_PROBLEMS], self._problems[_MAX_PROBLEMS:]
        if rest:
            what = f"There is something to say of {say_number(len(rest), 'more file')}."
            shown.append(("", f"{what} Drop fewer at once to read all of it."))
        problems = (*shown, *self._say_left_out())
        return Intake(items=tuple(items), problems=problems, was_busy=self._was_busy)

    def _take_zip(self, path: str, file: BinaryIO, size: int) -> None:
        if size > self._limits.max_total_bytes:
            self._leave_out("total", path)
            return
        if self._header_s > self._limits.max_header_s:
            self._leave_out("time", path)
            return
        source, started = self._make_unique(path), time.monotonic()
        try:
            with open_members(file, path, max_files=_LOOKS * self._limits.max_files) as members:
                self._header_s += time.monotonic() - started
                self._num_known += len(members)
                for member in sorted(members, key=_sort_naturally):
                    self._take_member(path, source, member)
                    self._advance()
                if not members:
                    self._note(path, f"'{path}' is an empty zip. Expected {SAID}. Pack it again.")
        except DatasetError as error:  # at the opening; what a member raises is noted there
            self._header_s += time.monotonic() - started
            self._note(path, str(error))

    def _take_member(self, zip_path: str, source: str, member: Member) -> None:
        path = _shorten(f"{zip_path}/{'/'.join(member.place)}")
        if not member.place:
            pass  # hidden, as in `take`
        elif self._num_looks >= _LOOKS * self._limits.max_files:
            self._leave_out("files", path)
        elif self._has_room(path, member.size):
            self._num_looks += 1
            try:
                self._read_member(path, source, member)
            except DatasetError as error:
                self._bytes_left -= member.size  # unpacking costs, whatever comes of it
                self._note(path, str(error))

    def _read_member(self, path: str, source: str, member: Member) -> None:
        blocks = member.read()
        head = next(blocks, b"")
        found = find_format(head)
        if found and found != "zip":
            data = b"".join((head, *blocks))
            self._keep(path, source, "/".join(member.place), data)
            return
        self._bytes_left -= len(head)
        if found:
            what = f"'{path}' is a zip within a zip and was left out. Expected images in it."
            self._note(path, f"{what} Unpack the outer one and drop what is in it.")
        else:
            self._leave_out_stranger(path, member.size)

    def _keep(self, path: str, source: str, below: str, data: bytes) -> None:
        self._bytes_left -= len(data)
        self._num_tried += 1
        started = time.monotonic()
        try:
            facts = read_facts(data, path)
        except ImageError as error:
            self._was_busy |= isinstance(error, BusyError)
            self._note(path, str(error))
            return
        finally:
            self._header_s += time.monotonic() - started
        name = self._make_unique(path)
        self._files.append(
            TakenFile(name=name, path=path, source=source, below=below, data=data, facts=facts)
        )

    def _make_unique(self, name: str) -> str:
        self._names[name] += 1
        if self._names[name] == 1:
            return name
        return self._make_unique(f"{name} ({self._names[name]})")

    def _has_room(self, path: str, size: int) -> bool:
        if self._num_tried >= self._limits.max_files:
            reason = "files"
        elif self._header_s > self._limits.max_header_s:
            reason = "time"
        elif size > self._limits.max_file_bytes:
            reason = "bytes"
        elif size > self._bytes_left:
            reason = "total"
        else:
            return True
        self._leave_out(reason, path)
        return False

    def _choose_frames(self, file: TakenFile) -> list[int]:
        num_frames, most = file.facts.num_frames, self._limits.max_frames
        if num_frames <= most:
            return list(range(num_frames))
        self._note(
            file.name,
            f"'{file.name}' has {num_frames} frames, of which {most}, evenly spaced, are judged. "
            "Export a shorter film to have every frame judged.",
        )
        return [int(frame) for frame in np.linspace(0, num_frames - 1, most).round()]

    def _leave_out_stranger(self, path: str, size: int) -> None:
        """What promises an image is told by its name; anything else is only counted."""
        if os.path.splitext(path)[1].lower() not in SUFFIXES:
            self._leave_out("no image", path)
            return
        what = "is empty (0 bytes)" if size == 0 else "is not an image, whatever its name says"
        self._note(path, f"'{path}' {what}. Expected {SAID}. Copy or export it again.")

    def _leave_out(self, reason: str, path: str) -> None:
        self._left_out.setdefault(reason, []).append(path)

    def _note(self, path: str, text: str) -> None:
        self._problems.append((path, text))

    def _advance(self) -> None:
        self._num_done += 1
        if self._on_progress is not None:
            self._on_progress(self._num_done, self._num_known)

    def _say_left_out(self) -> Iterator[tuple[str, str]]:
        limits = self._limits
        why = {
            "files": f"at most {say_number(limits.max_files, 'image')} "
            f"{'is' if limits.max_files == 1 else 'are'} taken at once. {_FOR_MANY}",
            "pictures": f"at most {say_number(limits.max_pictures, 'picture')}, frames of films "
            f"among them, {'is' if limits.max_pictures == 1 else 'are'} taken at once. "
            f"Drop them in parts. {_FOR_MANY}",
            "bytes": f"more than {limits.max_file_bytes / 1e6:g} MB a file. Export fewer frames, "
            f"or a packed format. {_FOR_MANY}",
            "total": f"at most {limits.max_total_bytes / 1e6:g} MB, unpacked, are taken at once. "
            f"Drop them in parts. {_FOR_MANY}",
            "time": f"the files before took longer than {limits.max_header_s:g} s to look into. "
            f"Drop them in parts. {_FOR_MANY}",
            "no image": f"what is no image is not judged. Expected {SAID}.",
        }
        for reason, text in why.items():
            paths = self._left_out.get(reason, [])
            if paths:
                examples = ", ".join(f"'{path}'" for path in paths[:2])
                verb, more = "was" if len(paths) == 1 else "were", ", …" if len(paths) > 2 else ""
                what = f"{say_number(len(paths), 'file')} {verb} left out ({examples}{more})"
                yield paths[0] if len(paths) == 1 else "", f"{what}: {text}"


def _shorten(path: str) -> str:
    return path if len(path) <= _MAX_NAME else f"…{path[1 - _MAX_NAME :]}"


def _sort_naturally(member: Member) -> tuple[list[tuple[int, str]], str]:
    """Numbers by their value, so that 2 comes before 10."""
    parts = [part.lstrip("0") for part in re.split(r"(\d+)", member.entry.lower())]
    return [(len(part) * (n % 2), part) for n, part in enumerate(parts)], member.entry
