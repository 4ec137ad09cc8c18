"""The decoded images of an index, kept on disk as one memory map and shared by all its runs.

A data set is decoded once for each region and size; folds, seeds and later runs open the same file.
What is mapped counts as the system's file cache, so memory does not grow with the data set.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import DatasetError
from polyp_core.images import decode_pictures, prepare_picture

Progress = Callable[[int, int], None]
_VERSION = 1  # of what decoding gives; another number decodes everything anew
_FILES_AT_ONCE = 256


def open_images(
    index: Index, config: RunConfig, cache_dir: Path, on_progress: Progress | None = None
) -> np.ndarray:
    """The images as the network sees them; decoded on the first call, mapped on every later one.

    Two callers decode once: the second waits for the first. An image that was decoded before is
    taken as it was then, which is what the index's sha256 says, even if its file has changed since.

    Args:
        index: Of the images.
        config: Gives region, size and channels.
        cache_dir: Where the files lie; the least recently used go when there are too many.
        on_progress: Called with (images done, images in all). An exception it raises cancels.

    Returns:
        `(n, size, size, channels)` uint8, read-only; row i is image i of the index.

    Raises:
        DatasetError: If a file is gone or is no longer the one that was indexed.
    """
    folder = cache_dir / "decoded"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_name_content(index, config)}.npy"
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            model = config.model
            shape = (len(index.images), model.image_size_px, model.image_size_px, model.channels)
            with FileLock(folder / "room.lock"):
                _make_room(folder, int(np.prod(shape)))
            part = path.with_suffix(".part")
            try:
                _write(part, shape, _decode(index, config), on_progress)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        # Still locked, so that nobody who makes room deletes it in between.
        os.utime(path)
        images: np.ndarray = np.load(path, mmap_mode="r")
    return images


def get_limit_bytes() -> int:
    """How much all decoded images may take: $POLYP_CACHE_GB, which defaults to 20."""
    return int(float(os.environ.get("POLYP_CACHE_GB", "20")) * 1e9)


def _name_content(index: Index, config: RunConfig) -> str:
    """Of all that the decoded images depend on."""
    data, model = config.data, config.model
    images = index.images[["sha256", "frame"]].to_csv(index=False)
    rest = [_VERSION, data.region, data.region_box, model.image_size_px, model.channels]
    return hashlib.sha256((json.dumps(rest) + images).encode()).hexdigest()[:32]


def _decode(index: Index, config: RunConfig) -> Iterator[tuple[int, np.ndarray]]:
    """Number and pixels of every image. A file is read once for all of its frames."""
    # As plain arrays: to look a row up in the table takes as long as to decode a small picture.
    rows = index.images.sort_values("path", kind="stable")  # a file's frames side by side
    numbers, frames = rows.index.to_numpy(), rows["frame"].to_numpy()
    paths, sums = rows["path"].to_numpy(), rows["sha256"].to_numpy()
    starts = np.flatnonzero(np.append(True, paths[1:] != paths[:-1])).tolist()
    ends = [*starts[1:], len(paths)]

    def load(start: int, end: int) -> list[tuple[int, np.ndarray]]:
        path, part = paths[start], slice(start, end)
        data = _read_indexed(index.folder, path, sums[start])
        pictures = decode_pictures(data, path, frames[part].tolist())
        return [
            (int(number), prepare_picture(picture, config.data, config.model))
            for number, picture in zip(numbers[part], pictures, strict=True)
        ]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # A few at a time, so that what is decoded does not pile up before it is written.
        for first in range(0, len(starts), _FILES_AT_ONCE):
            some = slice(first, first + _FILES_AT_ONCE)
            for images in pool.map(load, starts[some], ends[some]):
                yield from images


def _write(
    path: Path,
    shape: tuple[int, ...],
    images: Iterator[tuple[int, np.ndarray]],
    on_progress: Progress | None,
) -> None:
    """Write by plain writes: through a map, a full disk would kill the process."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, size = file.tell(), int(np.prod(shape[1:]))
        for num_done, (number, image) in enumerate(images, start=1):
            file.seek(start + number * size)
            file.write(image.tobytes())
            if on_progress is not None:
                on_progress(num_done, shape[0])
        file.flush()
        os.fsync(file.fileno())


def _make_room(folder: Path, num_bytes: int) -> None:
    """Delete what was not used for longest, and what a killed worker left half written."""
    known = sorted(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime)
    for part in folder.glob("*.part"):
        _delete_unused(part)
    held = sum(path.stat().st_size for path in known)
    for path in known:
        if held + num_bytes <= get_limit_bytes():
            return
        held -= path.stat().st_size
        _delete_unused(path)


def _delete_unused(path: Path) -> None:
    """Delete a file that nobody is writing; who has it mapped keeps it until the end."""
    with (
        contextlib.suppress(Timeout, PermissionError),  # Windows keeps what is mapped
        FileLock(path.with_suffix(".lock")).acquire(timeout=0),
    ):
        path.unlink(missing_ok=True)


def _read_indexed(folder: Path, path: str, sha256: str) -> bytes:
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        raise DatasetError(
            f"The image '{path}' of the run's index is gone from '{folder}' ({error.strerror}). "
            "Expected the files that were there when the run started. Put it back, or start a new "
            "run."
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(
            f"The image '{path}' in '{folder}' has changed since the run started. Expected the "
            "same content. Put the old file back, or start a new run."
        )
    return data
