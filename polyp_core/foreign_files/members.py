"""Which files of a folder or a zip are taken for those of a run, and how much of each."""

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from polyp_core.archives import BLOCK_BYTES, Member, open_members
from polyp_core.foreign_files.objects import read_object, refuse

MODEL, MODEL_WEIGHTS = "model.keras", "model.weights.h5"
FEATURES, FAMILIARITY = "features.npy", "familiarity.npy"
_MAX_UNITS = 4096  # of one layer
_MAX_LAYERS_BYTES = 4 * 2**20  # of the settings inside a model.keras
# What may stand as "class_name" in a model.keras of ours: the layers of networks.py, and what
# Keras' five backbones are made of.
_LAYERS = {
    "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "DTypePolicy", "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "Functional",
    "GlobalAveragePooling2D", "GlorotUniform", "Identity", "InputLayer", "LayerNormalization",
    "LayerScale", "MaxPooling2D", "Multiply", "Normalization", "Ones", "ReLU", "Rescaling",
    "Reshape", "Sequential", "StochasticDepth", "VarianceScaling", "ZeroPadding2D", "Zeros",
    "__keras_tensor__",
}  # fmt: skip


def list_folder(folder: Path, names: Sequence[str]) -> list[Member]:
    """The files of a folder by these names; a link is refused, since it may lead anywhere.

    Raises:
        RunError: If one is no plain file.
    """
    members = []
    for name in names:
        path = folder / name
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise refuse(name, "is a link or no file", "plain files")
        members.append(Member(name, (name,), found.st_size, partial(_read_file, path)))
    return members


def _read_file(path: Path) -> Iterator[bytes]:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        yield from iter(partial(file.read, BLOCK_BYTES), b"")


def select_run(members: list[Member]) -> dict[str, Member]:
    """The files of the run itself by name, in the root or in one folder around everything.

    Raises:
        RunError: If there is no run, or more than one, or a file twice.
    """
    tops = {member.place[:-1] for member in members if member.place[-1:] == ("config.json",)}
    top = min(tops, key=len, default=())
    if len(top) > 1 or not tops or any(len(other) == len(top) for other in tops - {top}):
        raise refuse(
            "config.json", "is missing, or there are several",
            "one run: its folder, or a zip of it",
        )  # fmt: skip
    found: dict[str, Member] = {}
    for member in members:
        if member.place[:-1] == top and member.place:
            if member.place[-1] in found:
                raise refuse(member.place[-1], "is there twice", "each file once")
            found[member.place[-1]] = member
    return found


def take_model(member: Member, staging: Path, target: Path | None, max_bytes: int) -> None:
    """Take the weights out of a model.keras, if it names no other layers than ours have.

    Its own settings are never obeyed.

    Args:
        member: The model.keras.
        staging: A folder for it while it is looked at.
        target: Where to write the weights; None only looks.
        max_bytes: Of the file of weights.

    Raises:
        RunError: If it is larger, no such file, or names another layer.
        DatasetError: If it is damaged.
    """
    path = staging / MODEL
    copy_member(member, path, max_bytes + _MAX_LAYERS_BYTES)
    with open_members(path, MODEL) as members:
        inner = {part.place[0]: part for part in members if len(part.place) == 1}
        if len(inner) < len(members) or not {"config.json", MODEL_WEIGHTS} <= {*inner}:
            raise refuse(MODEL, "is no model of Keras", "a model.keras that training wrote")
        layers = read_object(
            MODEL, read_member(inner["config.json"], _MAX_LAYERS_BYTES), max_depth=60
        )
        _check_layers(layers)
        if target is not None:
            copy_member(inner[MODEL_WEIGHTS], target, max_bytes)
    path.unlink()


def _check_layers(value: object) -> None:
    """Refuse a description of layers that no model here can have written."""
    if isinstance(value, list):
        for item in value:
            _check_layers(item)
    if not isinstance(value, dict):
        return
    name = value.get("class_name", "Dense")
    if not isinstance(name, str) or name not in _LAYERS:
        what = f"names a layer that no network here has ({str(name)[:40]!r})"
        raise refuse(MODEL, what, "a model.keras that training wrote")
    for key in ("units", "filters"):
        number = value.get(key)
        if isinstance(number, int) and number > _MAX_UNITS:
            what = f"names a layer of {number} {key}, more than any network here has"
            raise refuse(MODEL, what, f"at most {_MAX_UNITS}")
    for item in value.values():
        _check_layers(item)


def read_member(member: Member, max_bytes: int) -> bytes:
    """The content of a file, up to a size.

    Raises:
        RunError: If it holds more, whatever it says.
    """
    return b"".join(_take_blocks(member, max_bytes))


def copy_member(member: Member, path: Path, max_bytes: int) -> None:
    """Write a file, up to a size.

    Raises:
        RunError: If it holds more, whatever it says.
    """
    with path.open("xb") as file:
        for block in _take_blocks(member, max_bytes):
            file.write(block)


def _take_blocks(member: Member, max_bytes: int) -> Iterator[bytes]:
    done = 0
    if member.size <= max_bytes:
        for block in member.read():
            done += len(block)
            if done > max_bytes:
                break
            yield block
        else:
            return
    raise refuse(
        member.place[-1], f"is too large ({max(done, member.size) / 1e6:.1f} MB)",
        f"at most {max_bytes / 1e6:.1f} MB, which is what a run with these settings needs",
    )  # fmt: skip
