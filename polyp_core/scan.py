"""Image files become rows of facts: size, fingerprint, patient, measures. Every file is read once.

What was read is kept in a small database, by path, size and time of change, so the next opening
reads nothing but what is new; what could not be read is tried again each time. A scan that is
cancelled keeps what it has done. Where nothing can be kept, everything is read.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from polyp_core.errors import ImageError
from polyp_core.images import decode_pictures, read_file
from polyp_core.measures import Measures, measure_picture

_VERSION = 2  # of what a scan finds; a higher one makes it read everything again
_FILES_A_COMMIT = 200


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one picture: a file, or one frame of a DICOM file.

    Attributes:
        frame: Counted from 0.
        width_px, height_px: Of the picture.
        sha256: Of the file.
        size_bytes: Of the file.
        patient: From DICOM, hashed; "" where unknown.
        measures: Of the picture.
    """

    frame: int
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    patient: str
    measures: Measures


Result = list[Facts] | str  # the pictures of a file, or why it cannot be used


def scan_files(
    folder: Path,
    paths: list[str],
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Read every file, or take what is known of it since the last time.

    Args:
        folder: What the paths are relative to.
        paths: Of the files, with "/".
        cache_dir: Where facts are kept; made if it is not there. None keeps nothing; so does a
            place that cannot be written.
        on_progress: Called with (files done, files in all). An exception it raises cancels.

    Returns:
        One result a path, in the same order.
    """
    stamps = [stamp_file(os.path.join(folder, path)) for path in paths]
    with closing(_Memory(cache_dir and cache_dir / "pictures.sqlite", folder)) as memory:
        results = memory.recall(paths, stamps)
        missing = [i for i, result in enumerate(results) if result is None]
        num_known = len(paths) - len(missing)
        for number, (i, result) in enumerate(
            zip(missing, _map(lambda i: _read(folder / paths[i], paths[i]), missing), strict=True),
            start=1,
        ):
            results[i] = result
            memory.keep(paths[i], stamps[i], result)
            if number % _FILES_A_COMMIT == 0:
                memory.commit()
            if on_progress is not None:
                on_progress(num_known + number, len(paths))
        memory.commit()
    return [result for result in results if result is not None]


def stamp_file(path: str | Path) -> tuple[int, int]:
    """Size in bytes and time of change in ns, by which a file is known again; -1 without it."""
    try:
        stat = os.stat(path)
    except OSError:  # not there; reading it will say so
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def show_path(path: str) -> str:
    """A path as text: bytes of a name that are no UTF-8 become escapes such as \\udcff."""
    return path.encode(errors="backslashreplace").decode()


def _map(read: Callable[[int], Result], numbers: Iterable[int]) -> Iterator[Result]:
    """In order, on all cores; leaving early drops what has not begun."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(read, numbers)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path, name: str) -> Result:
    try:
        _check_name(name)
        data = read_file(path, name)
        sha256 = hashlib.sha256(data).hexdigest()
        pictures = []
        for frame, picture in enumerate(decode_pictures(data, name)):
            height_px, width_px = picture.pixels.shape[:2]
            pictures.append(
                Facts(
                    frame=frame,
                    width_px=width_px,
                    height_px=height_px,
                    sha256=sha256,
                    size_bytes=len(data),
                    patient=picture.patient,
                    measures=measure_picture(picture.pixels),
                )
            )
    except ImageError as error:
        return str(error)
    return pictures


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImageError(
            f"The name of '{show_path(name)}' is no UTF-8 text. Expected a name that every "
            "system can show. Rename the file."
        ) from error


class _Memory:
    """The facts of one folder in the database. Where there can be none, nothing is kept."""

    def __init__(self, path: Path | None, folder: Path) -> None:
        self._path = path
        self._folder = show_path(str(folder))
        self._waiting: list[tuple[str, list[tuple[object, ...]]]] = []
        self._connection = None if path is None else _connect(path)

    def recall(self, paths: list[str], stamps: list[tuple[int, int]]) -> list[Result | None]:
        if self._connection is None:
            return [None] * len(paths)
        try:
            _forget_gone_folders(self._connection, self._folder)
            known = self._recall(self._connection, dict(zip(paths, stamps, strict=True)))
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._recover(self._connection, error)
            known = {}
        return [known.get(path) for path in paths]

    def _recall(
        self, connection: sqlite3.Connection, wanted: dict[str, tuple[int, int]]
    ) -> dict[str, list[Facts]]:
        known: dict[str, list[Facts]] = {}
        query = "SELECT * FROM pictures WHERE folder = ? ORDER BY path, frame"
        for _, path, size, time_ns, *row in connection.execute(query, (self._folder,)):
            if wanted.get(path) == (size, time_ns):
                known.setdefault(path, []).append(_restore(row, size))
        return known

    def keep(self, path: str, stamp: tuple[int, int], result: Result) -> None:
        if isinstance(result, str) or stamp == (-1, -1) or self._connection is None:
            return
        start = (self._folder, path, *stamp)
        self._waiting.append((path, [(*start, *_flatten(facts)) for facts in result]))

    def commit(self) -> None:
        """Write what waits, all at once: another scan need not wait for this one's pictures."""
        if self._connection is None:
            return
        marks = ", ".join("?" * _NUM_COLUMNS)
        try:
            for path, rows in self._waiting:
                self._connection.execute(
                    "DELETE FROM pictures WHERE folder = ? AND path = ?", (self._folder, path)
                )
                self._connection.executemany(f"INSERT INTO pictures VALUES ({marks})", rows)
            self._connection.commit()
        except sqlite3.Error as error:
            self._recover(self._connection, error)
        self._waiting.clear()

    def _recover(self, connection: sqlite3.Connection, error: Exception) -> None:
        """Make a damaged database anew; do without one that is held, full or not ours to write."""
        connection.close()
        assert self._path is not None
        is_sound = isinstance(error, sqlite3.OperationalError)
        self._connection = None if is_sound else _make_anew(self._path)

    def close(self) -> None:
        self.commit()
        if self._connection is not None:
            self._connection.close()


_OF_FACTS = ("frame", "width_px", "height_px", "sha256", "patient")
_OF_MEASURES = tuple(item.name for item in fields(Measures))
_NUM_COLUMNS = 4 + len(_OF_FACTS) + len(_OF_MEASURES)


def _connect(path: Path) -> sqlite3.Connection | None:
    """The database, made anew if it is none; None where there can be none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open(path)
    except (OSError, sqlite3.OperationalError):  # not ours to write, or held by another process
        return None
    except sqlite3.DatabaseError:
        return _make_anew(path)


def _make_anew(path: Path) -> sqlite3.Connection | None:
    """A damaged database holds nothing that cannot be read again."""
    try:
        path.unlink()
        return _open(path)
    except (OSError, sqlite3.Error):
        return None


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    connection.text_factory = bytes.decode  # a damaged text is then a ValueError
    try:
        _prepare(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        columns = ("folder", "path", "size_bytes", "time_ns", *_OF_FACTS, *_OF_MEASURES)
        connection.execute("DROP TABLE IF EXISTS pictures")
        connection.execute(f"CREATE TABLE pictures ({', '.join(columns)})")
        connection.execute("CREATE INDEX by_path ON pictures (folder, path)")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.commit()


def _forget_gone_folders(connection: sqlite3.Connection, kept: str) -> None:
    folders = [folder for (folder,) in connection.execute("SELECT DISTINCT folder FROM pictures")]
    gone = [(folder,) for folder in folders if folder != kept and not os.path.isdir(folder)]
    if gone:
        connection.executemany("DELETE FROM pictures WHERE folder = ?", gone)
        connection.commit()


def _flatten(facts: Facts) -> tuple[object, ...]:
    of_facts = tuple(getattr(facts, name) for name in _OF_FACTS)
    of_measures = tuple(getattr(facts.measures, name) for name in _OF_MEASURES[:-1])
    return *of_facts, *of_measures, _pack(facts.measures.descriptor)


def _restore(row: list[object], size_bytes: int) -> Facts:
    of_facts = dict(zip(_OF_FACTS, row, strict=False))
    of_measures = dict(zip(_OF_MEASURES, row[len(_OF_FACTS) :], strict=True))
    of_measures["is_colour"] = bool(of_measures["is_colour"])
    of_measures["descriptor"] = _unpack(of_measures["descriptor"])
    measures = Measures(**of_measures)  # type: ignore[arg-type]
    return Facts(**of_facts, size_bytes=size_bytes, measures=measures)  # type: ignore[arg-type]


def _pack(descriptor: np.ndarray) -> bytes:
    return descriptor.dtype.str.encode() + b" " + descriptor.tobytes()


def _unpack(packed: object) -> np.ndarray:
    if not isinstance(packed, bytes):
        raise TypeError("no descriptor")
    kind, _, content = packed.partition(b" ")
    return np.frombuffer(content, dtype=kind.decode())
