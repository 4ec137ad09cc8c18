"""Weights come out of a file of arrays, and nothing else does: no code, no path, no surprise.

A `.keras` file and an HDF5 file may both name code to run and other files to read. So of the first
only the arrays inside are taken, its settings are never obeyed; and of the second everything is
looked at before the first number is read. Only then does Keras see it.

model.json    the sha256 of model.keras, written with it by training
"""

import contextlib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from polyp_core.archives import Member, open_members
from polyp_core.errors import DatasetError, ModelError
from polyp_core.files import write_atomically
from polyp_core.network_size import ROOM_BYTES, NetworkSize, Shape

MODEL, HASHES = "model.keras", "model.json"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_DEPTH = 12
_MAX_OBJECTS = 5_000
_MAX_ATTRIBUTES = 8  # of one group or array
_MAX_ATTRIBUTE_BYTES = 4096
_OPTIMIZER = "optimizer"  # what it remembers is never read; up to twice as much as the weights
_TIMES_BYTES = 3
_NAME = re.compile(r"[a-z0-9_]{1,100}")
_BLOCK = 2**20  # numbers that are read at once
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, NotImplementedError, OverflowError,
)  # fmt: skip

Kinds = dict[str, tuple[Shape, str]]


def check_weights(
    path: Path,
    expected: Mapping[str, tuple[Shape, str]] | None = None,
    size: NetworkSize | None = None,
) -> None:
    """Look at a file of weights, as at something a stranger sent, and read all of its numbers.

    Args:
        path: An HDF5 file.
        expected: Name of each array in it, with its shape and its type such as "float32", as
            `list_arrays` gives them: these, all of them and no other.
        size: Where the names are not known yet: the arrays must be what such a network has.

    Raises:
        ModelError: If it is no such file, leads to another file or another place in it, packs its
            arrays, holds anything else than expected, or a number that is not finite.
    """
    with _open_weights(path, _count_bytes(expected, size)) as file:
        arrays = dict(_walk(file, "", 0, set(), itertools.count()))
        kinds = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
        if expected is not None:
            _compare(kinds, expected)
        if size is not None:
            _compare_sizes(kinds, size)
        for name, array in arrays.items():
            for block in _read_blocks(array):
                if not np.isfinite(block).all():
                    raise _refuse(f"holds numbers in '{name}' that are not finite", "numbers alone")


def list_arrays(path: Path) -> Kinds:
    """Name, shape and type of every array in a file that Keras has just written here."""
    kinds: Kinds = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            kinds[name] = (item.shape, str(item.dtype))

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return kinds


def copy_weights(path: Path, target: Path) -> None:
    """Put the arrays of a checked file into one that Keras has written here, which has the same."""
    with h5py.File(path, "r") as source, h5py.File(target, "r+") as file:
        for name in list_arrays(target):
            array, place = source[name], file[name]
            if not array.shape:
                place[()] = array[()]
                continue
            step = _count_rows(array)
            for start in range(0, array.shape[0], step):
                place[start : start + step] = array[start : start + step]


def extract_weights(path: Path, target: Path, max_bytes: int) -> None:
    """Take the arrays, as a file of their own, out of a `.keras` file; its settings are not read.

    Args:
        path: The `.keras` file.
        target: Where to write.
        max_bytes: Of the weights alone.

    Raises:
        ModelError: If it is no such file, or holds more.
    """
    try:
        with open_members(path, path.name) as members:
            found = [member for member in members if member.place == ("model.weights.h5",)]
            if len(found) != 1:
                raise _refuse("holds no weights, or twice", "a .keras file that training wrote")
            _copy_member(found[0], target, _TIMES_BYTES * max_bytes + ROOM_BYTES)
    except DatasetError as error:
        raise ModelError(f"The model cannot be read: {error}") from error


def _copy_member(member: Member, target: Path, max_bytes: int) -> None:
    """Write one file of a zip, up to a size.

    Raises:
        ModelError: If it holds more.
        DatasetError: If it is damaged or a zip bomb.
    """
    done = 0
    with target.open("xb") as file:
        for block in member.read():
            done += len(block)
            if done > max_bytes:
                raise _refuse(
                    f"takes more than {max_bytes / 1e6:.1f} MB", "what its network's weights take"
                )
            file.write(block)


def record_model(directory: Path) -> None:
    """Keep the sha256 of the model.keras that has just been written there."""
    values = {MODEL: _hash_file(directory / MODEL)}
    write_atomically(directory / HASHES, json.dumps(values, indent=1))


def check_recorded(directory: Path) -> None:
    """Compare a model.keras with what was recorded; an earlier version recorded nothing.

    Raises:
        ModelError: If it is not there, or not the file that was written.
    """
    path = directory / MODEL
    if not path.is_file():
        raise ModelError(
            f"There is no '{path}'. Expected the model that training has written. Train again."
        )
    try:
        recorded = json.loads((directory / HASHES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        recorded = None
    if not isinstance(recorded, dict) or recorded.get(MODEL) != _hash_file(path):
        raise ModelError(
            f"'{path}' is not the file that training wrote: its sha256 is not the one in "
            f"{HASHES}. Expected both as they were written. Copy the run again, or train anew."
        )


@contextlib.contextmanager
def _open_weights(path: Path, max_bytes: int) -> Iterator[h5py.File]:
    """Open a file of plausible first bytes and size; what HDF5 refuses becomes a sentence."""
    try:
        with path.open("rb") as plain:
            signature = plain.read(len(_SIGNATURE))
        num_bytes = path.stat().st_size
        if signature != _SIGNATURE:
            raise _refuse("is no HDF5 file", "weights as Keras saves them")
        if num_bytes > max_bytes:
            raise _refuse(
                f"has {num_bytes / 1e6:.1f} MB", f"at most {max_bytes / 1e6:.1f} MB of this network"
            )
        with h5py.File(path, "r") as file:
            yield file
    except _DAMAGE as error:
        raise _refuse(f"is damaged ({str(error)[:200]})", "a whole HDF5 file") from error


def _count_bytes(expected: Mapping[str, tuple[Shape, str]] | None, size: NetworkSize | None) -> int:
    num_bytes = size.num_bytes if size is not None else 0
    for shape, kind in (expected or {}).values():
        num_bytes += math.prod(shape) * np.dtype(kind).itemsize
    return _TIMES_BYTES * num_bytes + ROOM_BYTES


def _walk(
    group: h5py.Group, above: str, depth: int, seen: set[int], counter: Iterator[int]
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every array below a group, none of them opened before its link was looked at."""
    _check_attributes(group, above or "its root")
    if depth > _MAX_DEPTH:
        raise _refuse("is nested too deep", f"at most {_MAX_DEPTH} groups in one another")
    for name in group:
        path = f"{above}/{name}" if above else name
        if next(counter) >= _MAX_OBJECTS:
            raise _refuse("holds too many groups", f"at most {_MAX_OBJECTS}")
        if not _NAME.fullmatch(name):
            raise _refuse(f"has an odd name in it ({name[:40]!r})", "the names that Keras gives")
        kind = group.get(name, getclass=True, getlink=True)
        if kind is not h5py.HardLink:
            raise _refuse(f"has a link in it that leads elsewhere ('{path}')", "arrays alone")
        if path == _OPTIMIZER:
            continue
        item = group[name]
        if not isinstance(item, h5py.Group | h5py.Dataset):
            raise _refuse(f"holds something else ('{path}')", "groups and arrays")
        place = h5py.h5o.get_info(item.id).addr
        if place in seen:
            raise _refuse(f"names one thing twice ('{path}')", "each array once")
        seen.add(place)
        if isinstance(item, h5py.Group):
            yield from _walk(item, path, depth + 1, seen, counter)
        else:
            _check_array(item, path)
            yield path, item


def _check_array(array: h5py.Dataset, name: str) -> None:
    """Numbers that lie in the file itself, one after the other, and take what they say."""
    _check_attributes(array, name)
    plan = array.id.get_create_plist()
    layout = plan.get_layout()
    if plan.get_external_count() or layout == h5py.h5d.VIRTUAL:
        raise _refuse(f"takes '{name}' from another file", "numbers that lie in it")
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or plan.get_nfilters():
        # What is packed can unpack to any size, whatever it says.
        raise _refuse(f"has '{name}' packed or in pieces", "arrays as Keras saves them")
    if array.id.get_type().get_class() not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
        raise _refuse(f"holds no numbers in '{name}'", "numbers")
    if array.shape is None or array.id.get_storage_size() != array.nbytes:
        raise _refuse(f"says that '{name}' is larger than it is", "all of its numbers")


def _check_attributes(item: h5py.Group | h5py.Dataset, name: str) -> None:
    number = h5py.h5a.get_num_attrs(item.id)
    if number > _MAX_ATTRIBUTES:
        raise _refuse(f"has {number} notes on '{name}'", f"at most {_MAX_ATTRIBUTES}")
    for place in range(number):
        size = h5py.h5a.open(item.id, index=place).get_storage_size()
        if size > _MAX_ATTRIBUTE_BYTES:
            raise _refuse(f"has a note of {size} bytes on '{name}'", f"{_MAX_ATTRIBUTE_BYTES}")


def _compare(kinds: Kinds, expected: Mapping[str, tuple[Shape, str]]) -> None:
    for name in sorted({*kinds, *expected}):
        if kinds.get(name) != expected.get(name):
            raise _refuse(
                f"has {_say_kind(kinds.get(name))} as '{name}'",
                f"{_say_kind(expected.get(name))}, as the network of the run's settings has",
            )


def _compare_sizes(kinds: Kinds, size: NetworkSize) -> None:
    """Whether it can be the weights of a network, before that is built."""
    types = {kind for _, kind in kinds.values()}
    if types - {"float32"}:
        raise _refuse(f"holds numbers of another kind ({', '.join(sorted(types))})", "float32")
    shapes = sorted(shape for shape, _ in kinds.values())
    num_weights = sum(map(math.prod, shapes))
    is_fitting = size.shapes is None or shapes == sorted(size.shapes)
    if num_weights != size.num_weights or not is_fitting:
        raise _refuse(
            f"holds {num_weights} numbers in {len(shapes)} arrays that are not those of the "
            "network that the run's settings describe",
            f"the {size.num_weights} weights of that network",
        )


def _read_blocks(array: h5py.Dataset) -> Iterator[np.ndarray]:
    if not array.shape:
        yield np.asarray(array[()])
        return
    step = _count_rows(array)
    for start in range(0, array.shape[0], step):
        yield array[start : start + step]


def _count_rows(array: h5py.Dataset) -> int:
    return int(max(1, _BLOCK // max(1, math.prod(array.shape[1:]))))


def _say_kind(kind: tuple[Shape, str] | None) -> str:
    if kind is None:
        return "nothing"
    shape, name = kind
    return f"{'×'.join(map(str, shape)) or 'one'} {name}"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse(what: str, expected: str) -> ModelError:
    return ModelError(
        f"The file of weights {what}. Expected {expected}. Use the run as training wrote it, or "
        "train anew."
    )
