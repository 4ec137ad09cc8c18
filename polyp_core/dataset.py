"""A folder becomes an index: one row an image, with its label, patient, split and fingerprint."""

import hashlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from polyp_core.config import DataConfig
from polyp_core.errors import DatasetError, ImageError
from polyp_core.images import SUFFIXES, decode_image
from polyp_core.words import say_number

SPLITS = ("train", "validation", "test")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_NEGATIVE = re.compile(r"(^non)|(^|[^a-z])(non|not|no|normal|benign|negative|healthy)([^a-z]|$)")
_AUTOMATIC_GROUP = re.compile(r"(?i)^((?:patient|pat|case|subject|subj)[-_ ]?\d+)")
_LAYOUT = (
    "Expected two class folders, such as 'calcified' and 'non-calcified', either in the folder "
    "itself or in its 'train' and 'validation' folders."
)


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a folder holds.

    Attributes:
        folder: Where the images lie.
        class_names: Negative class (label 0), positive class (label 1).
        images: One row an image, sorted by path: `path` (relative, with "/"), `label` (0 or 1),
            `group` (the patient, or "" where unknown), `split` ("train", "validation" or "test"),
            `width_px`, `height_px`, `sha256`.
        unreadable: `path` and `reason` of each file that was left out.
        num_other_files: Files that are no images by their extension, left out too.
    """

    folder: Path
    class_names: tuple[str, str]
    images: pd.DataFrame
    unreadable: pd.DataFrame
    num_other_files: int = 0

    @property
    def has_groups(self) -> bool:
        """Whether every image has a known patient."""
        return bool((self.images["group"] != "").all())

    def select(self, split: str) -> pd.DataFrame:
        """The rows of one split; their index is the image number in the whole data set."""
        return self.images[self.images["split"] == split]


def read_index(
    config: DataConfig,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    is_for_testing: bool = False,
) -> Index:
    """Look through a folder, decode every image once and divide the images.

    A file that cannot be decoded is listed in `unreadable` and left out.

    Args:
        config: The folder, the positive class, the patient pattern and the split.
        on_progress: Called with (images done, images in all).
        is_for_testing: Take every image as a test image; no split is needed and none is made.

    Raises:
        DatasetError: If the folder is not there or not in a known layout, has not exactly two
            classes with readable images each, or cannot be divided.
    """
    folder = _resolve_folder(config.folder)
    files, num_other_files, is_split = _find_files(folder, needs_train=not is_for_testing)
    classes = sorted({file.class_name for file in files})
    positive_class = choose_positive_class(classes, config.positive_class)
    negative_class = next(name for name in classes if name != positive_class)

    rows, unreadable = _read_files(folder, files, on_progress)
    images = pd.DataFrame(
        rows, columns=["path", "class_name", "split", "width_px", "height_px", "sha256"]
    )
    for name in classes:
        if not (images["class_name"] == name).any():
            reason = unreadable["reason"][unreadable.pop("class_name") == name].iloc[0]
            raise DatasetError(
                f"None of the images of class '{name}' in '{folder}' can be read. The first one: "
                f"{reason}"
            )
    unreadable = unreadable.drop(columns="class_name")
    images["label"] = (images.pop("class_name") == positive_class).astype(int)
    images["group"] = _find_groups(images["path"], config.group_pattern)
    if is_for_testing:
        images["split"] = "test"
    else:
        if not is_split:
            images["split"] = _divide(images, config)
        _check_split(images, unreadable, (negative_class, positive_class), is_split)
    order = ["path", "label", "group", "split", "width_px", "height_px", "sha256"]
    return Index(
        folder=folder,
        class_names=(negative_class, positive_class),
        images=images[order],
        unreadable=unreadable,
        num_other_files=num_other_files,
    )


def fingerprint_folder(folder: str) -> int:
    """A number that changes when an image comes, goes or is written; no file is opened.

    Raises:
        DatasetError: If the folder is not there or not in a known layout.
    """
    root = _resolve_folder(folder)
    files, _, _ = _find_files(root, needs_train=True)
    return hash(tuple((file.path, *_stat_file(root / file.path)) for file in files))


def _stat_file(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:  # gone since it was found
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def choose_positive_class(classes: list[str], wanted: str = "") -> str:
    """Which of two class names is the positive one.

    Where exactly one name speaks of absence (non-, not_, no_, normal, benign, negative, healthy)
    it is the other one; otherwise the second in alphabetical order, as in Keras.

    Raises:
        DatasetError: If `wanted` is given and is neither of the two.
    """
    if wanted:
        if wanted not in classes:
            raise DatasetError(
                f"There is no class '{wanted}'. Expected one of: {', '.join(classes)}. Correct "
                f"data.positive_class. Received: positive_class={wanted!r}"
            )
        return wanted
    absent = [name for name in classes if _NEGATIVE.search(name.lower())]
    if len(absent) == 1:
        return next(name for name in classes if name != absent[0])
    return sorted(classes)[1]


@dataclass(frozen=True)
class _File:
    path: str
    class_name: str
    split: str


def _resolve_folder(text: str) -> Path:
    if not text.strip():
        raise DatasetError(f"No folder is chosen. {_LAYOUT} Give the folder's path.")
    try:
        folder = Path(text).expanduser().absolute()
        is_folder, is_there = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError, ValueError):  # a path that no system can have
        folder, is_folder, is_there = Path(text), False, False
    if not is_folder:
        what = "is a file, not a folder" if is_there else "does not exist"
        raise DatasetError(
            f"The folder '{folder}' {what}. {_LAYOUT} Check the path for a typing error."
        )
    return folder


def _find_files(folder: Path, *, needs_train: bool) -> tuple[list[_File], int, bool]:
    """Image files with class and split; how many others; whether the folder brings its split."""
    subfolders = _list_folders(folder)
    split_folders = [path for path in subfolders if path.name.lower() in _SPLIT_FOLDERS]
    num_other_files = _count_loose_files(folder) if split_folders else 0
    files: list[_File] = []
    for path in split_folders or [folder]:
        found, others = _find_classes(folder, path, _SPLIT_FOLDERS.get(path.name.lower(), ""))
        files, num_other_files = files + found, num_other_files + others
    files.sort(key=lambda file: file.path)
    if not split_folders:
        return files, num_other_files, False
    splits = {file.split for file in files}
    if needs_train and "train" not in splits:
        raise DatasetError(
            f"'{folder}' has a folder '{split_folders[0].name}' but none named 'train'. {_LAYOUT} "
            "Add the 'train' folder."
        )
    names = {path.name: sorted(f.name for f in _list_folders(path)) for path in split_folders}
    if len({tuple(classes) for classes in names.values()}) > 1:
        found_text = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in names.items())
        raise DatasetError(
            f"The folders of '{folder}' do not hold the same classes ({found_text}). Expected the "
            "same two class folders in each. Rename or add the missing ones."
        )
    return files, num_other_files, "validation" in splits


def _find_classes(folder: Path, parent: Path, split: str) -> tuple[list[_File], int]:
    """The images of each class folder of `parent`, which stands in `folder`."""
    class_folders = _list_folders(parent)
    if len(class_folders) != 2:
        names = ", ".join(f"'{path.name}'" for path in class_folders[:5]) or "none"
        more = ", …" if len(class_folders) > 5 else ""
        raise DatasetError(
            f"'{parent}' has {say_number(len(class_folders), 'class folder')} ({names}{more}). "
            f"{_LAYOUT} "
            "Sort the images into two folders named after their classes."
        )
    files, num_other_files = [], _count_loose_files(parent)
    for class_folder in class_folders:
        paths = _list_files(class_folder)
        images = [path for path in paths if path.suffix.lower() in SUFFIXES]
        num_other_files += len(paths) - len(images)
        if not images:
            counted = say_number(len(paths), "file")
            what = f"{counted}, but no image" if paths else "nothing"
            raise DatasetError(
                f"The class folder '{class_folder}' holds {what}. Expected PNG, JPEG, BMP, TIFF "
                "or WebP images. Put the images of this class there."
            )
        relative = [path.relative_to(folder).as_posix() for path in images]
        files += [_File(path, class_folder.name, split) for path in relative]
    return files, num_other_files


def _list_folders(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)]
    except OSError as error:
        raise _refused(folder, error) from error
    return sorted(paths)


def _count_loose_files(folder: Path) -> int:
    return sum(path.is_file() and not _is_hidden(path.name) for path in folder.iterdir())


def _refused(folder: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"The folder '{folder}' cannot be opened ({error.strerror}). Expected a folder that you "
        "may read. Change its permissions or choose another."
    )


def _list_files(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise _refused(Path(error.filename), error) from error

    found = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        found += [Path(root, name) for name in sorted(names) if not _is_hidden(name)]
    return found


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


def _read_files(
    folder: Path, files: list[_File], on_progress: Callable[[int, int], None] | None
) -> tuple[list[tuple[object, ...]], pd.DataFrame]:
    """Decode on all cores; rows of readable files; path, reason and class of the others."""
    rows: list[tuple[object, ...]] = []
    unreadable: list[tuple[str, str, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda file: _read_file(folder, file), files)
        for number, (file, result) in enumerate(zip(files, results, strict=True), start=1):
            if isinstance(result, str):
                unreadable.append((file.path, result, file.class_name))
            else:
                rows.append((file.path, file.class_name, file.split, *result))
            if on_progress is not None:
                on_progress(number, len(files))
    return rows, pd.DataFrame(unreadable, columns=["path", "reason", "class_name"])


def _read_file(folder: Path, file: _File) -> tuple[int, int, str] | str:
    """Width, height and sha256; or the reason why the file cannot be used."""
    path = folder / file.path
    try:
        data = path.read_bytes()
        height_px, width_px = decode_image(data, path.name).shape[:2]
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"Cannot open '{path.name}': {error.strerror}."
    return width_px, height_px, hashlib.sha256(data).hexdigest()


def _find_groups(paths: pd.Series, pattern: str) -> list[str]:
    names = [path.rsplit("/", 1)[-1] for path in paths]
    expression = re.compile(pattern) if pattern else _AUTOMATIC_GROUP
    groups = [_find_group(expression, name) for name in names]
    missing = [name for name, group in zip(names, groups, strict=True) if not group]
    if missing and not pattern:
        return [""] * len(names)
    if missing:
        raise DatasetError(
            f"The patient pattern finds no patient in {len(missing)} of {len(names)} file names, "
            f"the first being '{missing[0]}'. Expected a match in every name. Correct "
            f"data.group_pattern or rename the files. Received: group_pattern={pattern!r}"
        )
    return groups


def _find_group(expression: re.Pattern[str], name: str) -> str:
    match = expression.search(name)
    return (match.group(1 if expression.groups else 0) or "") if match else ""


def _divide(images: pd.DataFrame, config: DataConfig) -> list[str]:
    """Validation drawn class by class, whole patients at a time; test images stay as they are."""
    open_rows = images[images["split"] != "test"]
    # Without known patients every image stands for itself.
    units = open_rows["group"].where(open_rows["group"] != "", open_rows["path"])
    by_unit = open_rows.groupby(units)["label"].agg(["size", "mean"])
    # A patient with images of both classes counts to the more frequent one, at a tie the positive.
    by_unit["label"] = (by_unit["mean"] >= 0.5).astype(int)
    generator = np.random.default_rng(config.seed)
    taken: set[str] = set()
    for _, members in by_unit.groupby("label"):
        taken |= _draw_units(members["size"], config.validation_fraction, generator)
    split = images["split"].where(images["split"] == "test", "train")
    split[units.index[units.isin(taken)]] = "validation"
    return list(split)


def _draw_units(sizes: pd.Series, fraction: float, generator: np.random.Generator) -> set[str]:
    """Units whose images come nearest to a fraction of all; at least one, but never all."""
    wanted, held = fraction * sizes.sum(), 0
    taken: list[str] = []
    for position in generator.permutation(len(sizes)):
        size = sizes.iloc[position]
        if not taken or abs(held + size - wanted) < abs(held - wanted):
            taken.append(sizes.index[position])
            held += size
    return set(taken[:-1] if len(taken) == len(sizes) else taken)


def _check_split(
    images: pd.DataFrame, unreadable: pd.DataFrame, class_names: tuple[str, str], is_split: bool
) -> None:
    for split in ("train", "validation"):
        for label, name in enumerate(class_names):
            if ((images["split"] == split) & (images["label"] == label)).any():
                continue
            lost = f" ({say_number(len(unreadable), 'file')} cannot be read)" * bool(
                len(unreadable)
            )
            advice = (
                "Put readable images of the class into that folder."
                if is_split
                else "Add images of the class, of another patient where patients are known."
            )
            raise DatasetError(
                f"There is no image of class '{name}' for {split}{lost}. Expected at least one of "
                f"each class, for train and for validation. {advice}"
            )
