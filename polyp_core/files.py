"""Files that are there whole or not at all, and that one changes at a time."""

import itertools
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from polyp_core.errors import RunError

_WAIT_S = 10.0  # for somebody else's change
_SWEEP_AFTER_S = 24 * 3600


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], None], *, is_durable: bool = True
) -> None:
    """Write a temporary file beside `path`, then put it in place at once.

    A reader sees the old content or the new, never a part.

    Args:
        path: The file.
        content: What to write, text as UTF-8; or what fills the temporary file, given its path.
        is_durable: Wait until the content is on the disk, so that a power cut cannot take it.
    """
    temporary = path.with_name(f".writing-{uuid.uuid4().hex}-{path.name}")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        if is_durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def change_alone(path: Path, what: str, *, makes_folder: bool) -> Iterator[None]:
    """Hold the lock of a file that several people change, from reading it to writing it anew.

    Args:
        path: The file; its lock lies beside it.
        what: Is kept there, for the error: "mark".
        makes_folder: Whether its folder may come with it.

    Raises:
        RunError: If another change takes too long, or the file system refuses something inside.
    """
    try:
        if makes_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.stat()  # a lock would bring a folder back that somebody has deleted
        with FileLock(path.with_suffix(".lock"), timeout=_WAIT_S):
            yield
    except OSError as error:
        reason = "another change takes too long" if isinstance(error, Timeout) else error.strerror
        raise RunError(
            f"The {what} cannot be written to '{path}' ({reason}). Expected a folder that may be "
            "written to. Check its rights and the room on the disk, then try again."
        ) from error


def set_aside(path: Path) -> None:
    """Give a damaged file a name that no other has: what it holds is not thrown away."""
    names = (path.with_suffix(f".damaged-{number}{path.suffix}") for number in itertools.count(1))
    path.replace(next(name for name in names if not name.exists()))


def sweep(directory: Path, pattern: str) -> None:
    """Remove folders that a killed process has left half made; one at work is never a day old."""
    for path in directory.glob(pattern):
        with suppress(OSError):  # another process sweeps as well
            if time.time() - path.stat().st_mtime > _SWEEP_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; on Windows a file that somebody reads cannot be replaced for that moment."""
    for _ in range(20):
        try:
            os.replace(temporary, path)
        except PermissionError:
            time.sleep(0.02)
        else:
            return
    os.replace(temporary, path)
