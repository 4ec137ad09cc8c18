"""The decoded images of an index, kept on disk as one memory map and shared by all its runs.

A data set is decoded once for each region and size; folds, seeds and later runs open the same file.
What is mapped counts as the system's file cache, so memory does not grow with the data set. The
disk has to hold it: a data set is decoded whole, even one that alone is larger than the limit.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.environment import find_version
from polyp_core.errors import ConfigError, DatasetError
from polyp_core.images import decode_pictures, prepare_picture

Progress = Callable[[int, int], None]
_VERSION = 1  # of what decoding gives; another number decodes everything anew
_DECODERS = ("pillow", "pydicom", "opencv-python-headless")  # and so does another version of one
_FILES_AT_ONCE = 256


def open_images(
    index: Index, config: RunConfig, cache_dir: Path, on_progress: Progress | None = None
) -> np.ndarray:
    """The images as the network sees them; decoded on the first call, mapped on every later one.

    Two callers decode once: the second waits for the first. What a crash of the computer has
    damaged is decoded anew. Files that were written since are read again, to be sure that they are
    still those of the index.

    Args:
        index: Of the images.
        config: Gives region, size and channels.
        cache_dir: Where the files lie; the least recently used go when they take more than
            `get_limit_bytes`, or the disk has no room for a new one.
        on_progress: Called with (images done, images in all). An exception it raises cancels.

    Returns:
        `(n, size, size, channels)` uint8, read-only; row i is image i of the index.

    Raises:
        DatasetError: If a file is gone or is no longer the one that was indexed.
        ConfigError: If $POLYP_CACHE_GB is no number.
    """
    folder = cache_dir / "decoded"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_name_content(index, config)}.npy"
    size_px, channels = config.model.image_size_px, config.model.channels
    shape = (len(index.images), size_px, size_px, channels)
    with FileLock(_name_lock(path)):
        if not _is_whole(path, shape):
            path.unlink(missing_ok=True)
            with FileLock(folder / "room.lock"):
                _make_room(folder, math.prod(shape))
            part = path.with_suffix(".part")
            try:
                _write(part, shape, _decode(index, config), on_progress)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        else:
            _check_files(index, path.stat().st_mtime_ns)
        # Still locked, so that nobody who makes room deletes it in between.
        os.utime(_name_lock(path))
        images: np.ndarray = np.load(path, mmap_mode="r")
    return images


def get_limit_bytes() -> int:
    """How much the decoded images may take together: $POLYP_CACHE_GB, which defaults to 20.

    A data set that is larger takes what it needs, since training needs it whole; nothing else is
    kept beside it then.

    Raises:
        ConfigError: If it is no number, or below 0.
    """
    text = os.environ.get("POLYP_CACHE_GB", "20")
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = math.nan
    if not 0 <= limit_gb < math.inf:
        raise ConfigError(
            "The limit of the decoded images cannot be used. Expected a number of gigabytes, 0 or "
            "more. Set the environment variable POLYP_CACHE_GB to one, such as 20, or leave it "
            f"out. Received: POLYP_CACHE_GB={text!r}"
        )
    return int(limit_gb * 1e9)


def _name_content(index: Index, config: RunConfig) -> str:
    """Of all that the decoded images depend on."""
    data, model = config.data, config.model
    images = index.images[["sha256", "frame"]].to_csv(index=False)
    rest = [_VERSION, data.region, data.region_box, model.image_size_px, model.channels]
    rest += [find_version(package) for package in _DECODERS]
    return hashlib.sha256((json.dumps(rest) + images).encode()).hexdigest()[:32]


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file is there and holds as much as it should."""
    header = _make_header(shape)
    try:
        with path.open("rb") as file:
            is_ours = file.read(len(header)) == header
        return is_ours and path.stat().st_size == len(header) + math.prod(shape)
    except FileNotFoundError:
        return False


def _make_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


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
        file.write(_make_header(shape))
        start, size = file.tell(), math.prod(shape[1:])
        for num_done, (number, image) in enumerate(images, start=1):
            file.seek(start + number * size)
            file.write(image.tobytes())
            if on_progress is not None:
                on_progress(num_done, shape[0])
        file.flush()
        os.fsync(file.fileno())


def _make_room(folder: Path, num_bytes: int) -> None:
    """Delete what was not used for longest, and what a killed worker left half written."""
    limit = get_limit_bytes()
    for part in folder.glob("*.part"):
        _delete_unused(part)
    known = sorted(folder.glob("*.npy"), key=_find_last_use)
    held = sum(path.stat().st_size for path in known)
    for path in known:
        if held + num_bytes <= limit and num_bytes <= shutil.disk_usage(folder).free:
            return
        size = path.stat().st_size
        if _delete_unused(path):
            held -= size


def _name_lock(path: Path) -> Path:
    """Held while a file is written or opened; its time is that of the last use."""
    return path.with_suffix(".lock")


def _find_last_use(path: Path) -> float:
    lock_path = _name_lock(path)
    return (lock_path if lock_path.exists() else path).stat().st_mtime


def _check_files(index: Index, decoded_ns: int) -> None:
    """That every file is there, and the same if it was written after it was decoded."""
    for path, sha256 in index.images.groupby("path", sort=False)["sha256"].first().items():
        try:
            is_older = (index.folder / str(path)).stat().st_mtime_ns < decoded_ns
        except OSError:
            is_older = False
        if not is_older:
            _read_indexed(index.folder, str(path), sha256)


def _delete_unused(path: Path) -> bool:
    """Delete a file that nobody is writing; who has it mapped keeps it until the end."""
    with (
        contextlib.suppress(Timeout, PermissionError),  # Windows keeps what is mapped
        FileLock(_name_lock(path)).acquire(timeout=0),
    ):
        path.unlink(missing_ok=True)
        return True
    return False


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
