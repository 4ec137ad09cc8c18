"""Files that are there whole or not at all."""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path


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
