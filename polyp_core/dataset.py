"""A folder becomes an index: one row an image, with its label, patient, split and fingerprint."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from polyp_core.config import DataConfig
from polyp_core.errors import DatasetError
from polyp_core.layout import Sources, find_sources
from polyp_core.manifest import SourceFile, write_manifest
from polyp_core.scan import Facts, Result, scan_files, show_path, stamp_file
from polyp_core.splitting import divide
from polyp_core.words import say_number, speaks_of_absence

SPLITS = ("train", "validation", "test")
IMAGE_COLUMNS = ["path", "frame", "label", "group", "split", "width_px", "height_px", "sha256"]
MEASURE_COLUMNS = [
    "size_bytes", "brightness", "contrast", "border", "is_colour", "text_share", "num_calipers",
]  # fmt: skip
FURTHER_PREFIX = "column."  # before the name of a manifest's own column; no other name has a dot
_SPOKEN_GROUP = re.compile(r"(?i)(?:^|/)((?:patient|pat|case|subject|subj)[-_ ]?\d+)")
_ENOUGH = 0.9  # of the names must tell a patient, or what they seem to tell is chance
_MANY = 10  # patients, before numbers are taken for them
_HOW_TO_FILL = "Put readable images of the class into that folder."
_HOW_TO_DIVIDE = "Add images of the class, of another patient where patients are known."
_NUMBERED_GROUP = re.compile(r"^(\d+)[-_ ]\d+\.\w+$")


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a data set holds.

    Attributes:
        folder: Where the images lie.
        class_names: Negative class (label 0), positive class (label 1).
        images: One row an image, sorted by path: `path` (relative, with "/"), `frame` (of a DICOM
            file, else 0), `label` (0 or 1), `group` (the patient; the file's own path where only
            this file tells none; "" where all are unknown), `split` ("train", "validation" or
            "test"), `width_px`, `height_px`, `sha256` (of the file), and as text `column.NAME` for
            each further column NAME of a manifest.
        unreadable: `path` and `reason` of each file that was left out.
        num_other_files: Files that are no images by their name, left out too.
        num_hidden_files: Hidden files and what systems leave behind, left out too.
        measures: Of each image, in the same order: `size_bytes`, `brightness`, `contrast`,
            `border`, `is_colour`, `text_share`, `num_calipers`. Empty for a run's own index.
        descriptors: `(n, d)`, for finding near-duplicates. Empty for a run's own index.
        group_source: Where the patients are known from: "layout", "manifest", "dicom", "pattern",
            "names", "numbers" (before the names), "files" (the frames of one file), or "" where
            they are unknown.
        is_split: Whether the data set brought its own split.
        manifest: The CSV file it was read from, if any.
    """

    folder: Path
    class_names: tuple[str, str]
    images: pd.DataFrame
    unreadable: pd.DataFrame
    num_other_files: int = 0
    num_hidden_files: int = 0
    measures: pd.DataFrame = field(default_factory=pd.DataFrame)
    descriptors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    group_source: str = ""
    is_split: bool = True
    manifest: Path | None = None

    @property
    def has_groups(self) -> bool:
        """Whether every image has a known patient."""
        return bool((self.images["group"] != "").all())

    def select(self, split: str) -> pd.DataFrame:
        """The rows of one split; their index is the image number in the whole data set."""
        return self.images[self.images["split"] == split]

    def write_manifest(self, path: Path) -> None:
        """Write a CSV that can be opened in place of the folder.

        It holds classes, patients, the split, and what else the data set's own manifest told.
        """
        rows = self.images.drop_duplicates("path")
        is_own = rows["group"] == rows["path"]
        # Seen from the manifest a path may be another, so that it would pass for a patient.
        if self.group_source == "files" or not is_own.all():
            rows = rows.assign(group=rows["group"].mask(is_own, ""))
        further = _list_further(rows)
        names = [name.removeprefix(FURTHER_PREFIX) for name in further]
        files = [
            SourceFile(
                path=row.path,
                class_name=self.class_names[row.label],
                name="",
                split=row.split,
                group=row.group,
                columns=tuple(zip(names, values, strict=True)),
            )
            for row, values in zip(
                rows.itertuples(), rows[further].astype(str).to_numpy().tolist(), strict=True
            )
        ]
        write_manifest(path, self.folder, files)


def read_index(
    config: DataConfig,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    is_for_testing: bool = False,
    cache_dir: Path | None = None,
) -> Index:
    """Look through a folder or a manifest, decode every new image once and divide the images.

    A file that cannot be decoded is listed in `unreadable` and left out.

    Args:
        config: The folder, the positive class, the patient pattern and the split.
        on_progress: Called with (files done, files in all). An exception it raises cancels.
        is_for_testing: Take every image as a test image; no split is needed and none is made.
        cache_dir: Where what was read is kept for the next time.

    Raises:
        DatasetError: If the folder is not there or not in a known layout, has not exactly two
            classes with readable images each, or cannot be divided.
    """
    sources = find_sources(config.folder, needs_train=not is_for_testing)
    positive_class = choose_positive_class(sources.class_names, config.positive_class)
    negative_class = next(name for name in sources.class_names if name != positive_class)
    found, unreadable = _read_files(sources, cache_dir, on_progress)
    images = _tabulate(found, positive_class)
    images["group"], group_source = _find_groups(found, sources, config.group_pattern)
    if is_for_testing:
        images["split"] = "test"
    elif not sources.is_split:
        images["split"] = divide(images, config.validation_fraction, config.seed)
    if not is_for_testing:
        advice = _HOW_TO_FILL if sources.is_split else _HOW_TO_DIVIDE
        check_split(images, unreadable, (negative_class, positive_class), advice)
    return Index(
        folder=sources.folder,
        class_names=(negative_class, positive_class),
        images=images[[*IMAGE_COLUMNS, *_list_further(images)]],
        unreadable=unreadable,
        num_other_files=sources.num_other_files,
        num_hidden_files=sources.num_hidden_files,
        measures=images[MEASURE_COLUMNS],
        descriptors=np.stack([facts.measures.descriptor for _, facts in found]),
        group_source=group_source,
        is_split=sources.is_split,
        manifest=sources.manifest,
    )


def read_images(path: Path) -> pd.DataFrame:
    """The `images` of an index from the CSV it was written to; text stays text, as in "007".

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    names = pd.read_csv(path, nrows=0).columns
    text = {"path", "group", "split", "sha256", *_list_further(pd.DataFrame(columns=names))}
    images = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False)
    # A version that knew no DICOM wrote no frames.
    return images if "frame" in images else images.assign(frame=0)


def fingerprint_folder(folder: str) -> int:
    """A number that changes when an image comes, goes or is written; no image is opened.

    Raises:
        DatasetError: If the folder is not there or not in a known layout.
    """
    sources = find_sources(folder)
    return hash(tuple((file, *stamp_file(sources.folder / file.path)) for file in sources.files))


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
    absent = [name for name in classes if speaks_of_absence(name)]
    if len(absent) == 1:
        return next(name for name in classes if name != absent[0])
    return sorted(classes)[1]


def find_group(name: str, pattern: str) -> str:
    """The patient in a file's name (its path below the class folder); "" if there is none."""
    expression = re.compile(pattern) if pattern else _SPOKEN_GROUP
    match = expression.search(name)
    return (match.group(1 if expression.groups else 0) or "") if match else ""


def find_number(name: str) -> str:
    """The number before a file's name that numbers it further, as in "12_1.png"; "" if none."""
    match = _NUMBERED_GROUP.match(name)
    return match.group(1) if match else ""


def _check_classes(sources: Sources, results: list[Result]) -> None:
    for name in sources.class_names:
        of_class = [
            result
            for file, result in zip(sources.files, results, strict=True)
            if file.class_name == name
        ]
        reasons = [result for result in of_class if isinstance(result, str)]
        if len(reasons) == len(of_class):
            raise DatasetError(
                f"None of the images of class '{show_path(name)}' in '{sources.folder}' can be "
                f"read. The first one: {reasons[0]}"
            )


def _read_files(
    sources: Sources, cache_dir: Path | None, on_progress: Callable[[int, int], None] | None
) -> tuple[list[tuple[SourceFile, Facts]], pd.DataFrame]:
    """What was read, an item an image; and `path` and `reason` of what was not."""
    paths = [file.path for file in sources.files]
    results = scan_files(sources.folder, paths, cache_dir, on_progress)
    _check_classes(sources, results)
    found: list[tuple[SourceFile, Facts]] = []
    unreadable = []
    for file, result in zip(sources.files, results, strict=True):
        if isinstance(result, str):
            unreadable.append((show_path(file.path), result))
        else:
            found += [(file, facts) for facts in result]
    return found, pd.DataFrame(unreadable, columns=["path", "reason"])


def _tabulate(found: list[tuple[SourceFile, Facts]], positive_class: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [file.path for file, _ in found],
            "frame": [facts.frame for _, facts in found],
            "label": [int(file.class_name == positive_class) for file, _ in found],
            "split": [file.split for file, _ in found],
            "width_px": [facts.width_px for _, facts in found],
            "height_px": [facts.height_px for _, facts in found],
            "sha256": [facts.sha256 for _, facts in found],
            "size_bytes": [facts.size_bytes for _, facts in found],
            **{
                name: [getattr(facts.measures, name) for _, facts in found]
                for name in MEASURE_COLUMNS[1:]
            },
            **{
                FURTHER_PREFIX + name: [file.columns[number][1] for file, _ in found]
                for number, (name, _) in enumerate(found[0][0].columns)
            },
        }
    )


def _list_further(images: pd.DataFrame) -> list[str]:
    return [name for name in images if str(name).startswith(FURTHER_PREFIX)]


def _find_groups(
    found: list[tuple[SourceFile, Facts]], sources: Sources, pattern: str
) -> tuple[list[str], str]:
    """The patient of each image, and where that is known from."""
    names = [file.name for file, _ in found]
    if sources.manifest and all(file.group for file, _ in found):
        return [file.group for file, _ in found], "manifest"
    if pattern:
        groups = [find_group(name, pattern) for name in names]
        missing = [name for name, group in zip(names, groups, strict=True) if not group]
        if missing:
            raise DatasetError(
                f"The patient pattern finds no patient in {len(missing)} of {len(names)} file "
                f"names, the first being '{missing[0]}'. Expected a match in every name. Correct "
                f"data.group_pattern or rename the files. Received: group_pattern={pattern!r}"
            )
        return groups, "pattern"
    own = [file.path for file, _ in found]
    groups, source = _take_given_groups(found, sources)
    if not source:
        groups, source = guess_groups(names)
    if source:  # files that do not tell stand for themselves; the audit says how many
        return [group or path for group, path in zip(groups, own, strict=True)], source
    # Frames of one file are of one patient, even where no patient is known.
    if len(set(own)) < len(own):
        return own, "files"
    return [""] * len(found), ""


def _take_given_groups(
    found: list[tuple[SourceFile, Facts]], sources: Sources
) -> tuple[list[str], str]:
    """Patients that the manifest, the folders or the files themselves name, however few."""
    listed = [file.group for file, _ in found]
    inside = _drop_alike([facts.patient for _, facts in found])
    if sum(map(bool, inside)) > sum(map(bool, listed)):
        return inside, "dicom"
    source = "manifest" if sources.manifest else "layout"
    return listed, source if any(listed) else ""


def _drop_alike(patients: list[str]) -> list[str]:
    """Nothing where all bear one name: the files were made anonymous, not of one patient."""
    return patients if len(set(patients) - {""}) > 1 else [""] * len(patients)


def guess_groups(names: list[str]) -> tuple[list[str], str]:
    """Patients that nearly all names seem to tell, else nothing; and in what way they do."""
    groups, source = [find_group(name, "") for name in names], "names"
    if not any(groups):
        groups = [find_number(name) for name in names]
        # A number that stands before all images, as a year might, is no patient.
        source = "numbers" if _MANY <= len(set(groups)) < len(groups) else ""
    return groups, source if sum(map(bool, groups)) >= _ENOUGH * len(groups) else ""


def are_numbered(images: pd.DataFrame) -> bool:
    """Whether the numbers before the names are the patients, of nearly all images and of many.

    Args:
        images: Of an index, with `path` and `group`.
    """
    numbers = images["path"].map(lambda path: find_number(path.rpartition("/")[2]))
    same = images["group"][(numbers != "") & (numbers == images["group"])]
    return same.nunique() >= _MANY and len(same) >= _ENOUGH * len(images)


def check_split(
    images: pd.DataFrame, unreadable: pd.DataFrame, class_names: tuple[str, str], advice: str
) -> None:
    """Refuse a split in which a class is missing on one side.

    Args:
        images: With `label` and `split`.
        unreadable: The files left out.
        class_names: Negative class, positive class.
        advice: What to do about it.

    Raises:
        DatasetError: If it is.
    """
    for split in ("train", "validation"):
        for label, name in enumerate(class_names):
            if ((images["split"] == split) & (images["label"] == label)).any():
                continue
            lost = f" ({say_number(len(unreadable), 'file')} cannot be read)" * bool(
                len(unreadable)
            )
            raise DatasetError(
                f"There is no image of class '{name}' for {split}{lost}. Expected at least one of "
                f"each class, for train and for validation. {advice}"
            )
