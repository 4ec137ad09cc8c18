"""A folder or a manifest becomes a list of files, each with its class, patient and split.

No image is opened here, so it is quick enough to be asked at every redraw of a page.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from polyp_core.access import check_file, check_files, check_folder
from polyp_core.archives import is_left_out
from polyp_core.errors import DatasetError
from polyp_core.images import SUFFIXES, is_dicom
from polyp_core.manifest import OWN_MANIFEST, SPLIT_NAMES, SourceFile, read_manifest
from polyp_core.words import say_number, speaks_of_absence

_LAYOUT = (
    "Expected two class folders, such as 'calcified' and 'non-calcified', either in the folder "
    "itself, in its 'train' and 'validation' folders or in a folder for each patient; or a CSV "
    "manifest with the columns path and label."
)
FORMATS = "PNG, JPEG, BMP, TIFF, WebP or DICOM"
_DICOM_MARK_END = 132


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a data set, before any of them is opened.

    Attributes:
        folder: What the paths are relative to.
        files: Sorted by path.
        num_other_files: Files that are no images by their name.
        num_hidden_files: Hidden files and folders, and what systems leave behind (Thumbs.db,
            __MACOSX, .ipynb_checkpoints …).
        is_split: Whether the data set brings its own training and validation part.
        manifest: The CSV file that says so, if one does.
    """

    folder: Path
    files: list[SourceFile]
    num_other_files: int = 0
    num_hidden_files: int = 0
    is_split: bool = False
    manifest: Path | None = None

    @property
    def class_names(self) -> list[str]:
        """The two classes, in alphabetical order."""
        return sorted({file.class_name for file in self.files})


def find_sources(text: str, *, needs_train: bool = True) -> Sources:
    """Look through a folder, or read a manifest.

    Args:
        text: The path of a folder or of a CSV manifest.
        needs_train: Whether a folder that is split must have a training part.

    Raises:
        DatasetError: If it is not there, may not be read, or is in no known layout.
        AccessError: If it, or any file of it, lies where this server reads nothing; see `access`.
    """
    sources = _find_sources(_resolve(text), needs_train=needs_train)
    check_files(sources.folder, [file.path for file in sources.files])
    return sources


def _find_sources(path: Path, *, needs_train: bool) -> Sources:
    if path.is_file():
        return _take_manifest(path, may_lead_out=True)
    if (path / OWN_MANIFEST).is_file():
        own = path / OWN_MANIFEST
        check_file(own)  # it may be a link
        return _take_manifest(own, may_lead_out=False)
    return _Walk(path).find_sources(needs_train=needs_train)


def is_image_name(path: str) -> bool:
    """Whether a file's name promises an image; without an extension the content is asked.

    DICOM files often bear no extension, or a number (the tail of a UID) in its place.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        if not os.path.isfile(path):  # reading a pipe or a device might never end
            return False
        with open(path, "rb") as file:
            return is_dicom(file.read(_DICOM_MARK_END))
    except OSError:
        return False


def _resolve(text: str) -> Path:
    if not text.strip():
        raise DatasetError(f"No folder is chosen. {_LAYOUT} Give the folder's path.")
    try:
        path = check_folder(text).absolute()
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError):  # a path that no system can have
        path, is_folder, is_there = Path(text), False, False
    if is_folder or (is_there and path.suffix.lower() == ".csv"):
        return path
    what = "is a file, not a folder" if is_there else "does not exist"
    raise DatasetError(f"The folder '{path}' {what}. {_LAYOUT} Check the path for a typing error.")


def _take_manifest(path: Path, *, may_lead_out: bool) -> Sources:
    folder, files = read_manifest(path, may_lead_out=may_lead_out)
    return Sources(
        folder=folder,
        files=files,
        is_split=any(file.split == "validation" for file in files),
        manifest=path,
    )


class _Walk:
    """Looks through one folder and counts what it leaves out."""

    def __init__(self, folder: Path) -> None:
        self._num_other_files = 0
        self._num_hidden_files = 0
        self._folder = self._descend(folder)

    def find_sources(self, *, needs_train: bool) -> Sources:
        subfolders = _list_folders(self._folder)
        split_folders = [path for path in subfolders if path.name.lower() in SPLIT_NAMES]
        files: list[SourceFile] = []
        if split_folders:
            self._count_loose_files(self._folder)
            by_folder = {
                path.name: self._find_classes(path, SPLIT_NAMES[path.name.lower()])
                for path in split_folders
            }
            self._check_splits(by_folder, needs_train=needs_train)
            files = [file for found in by_folder.values() for file in found]
        else:
            files = self._find_classes(self._folder, "")
        return Sources(
            folder=self._folder,
            files=sorted(files, key=lambda file: file.path),
            num_other_files=self._num_other_files,
            num_hidden_files=self._num_hidden_files,
            is_split="validation" in {file.split for file in files},
        )

    def _descend(self, folder: Path) -> Path:
        """The first folder on the way down that holds more than one other folder."""
        while True:
            entries = _list_entries(folder)
            inside = [path for path in entries if not is_left_out(path.name)]
            if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in SPLIT_NAMES:
                return folder
            if not _list_folders(inside[0]):  # a lone class folder, which the error should name
                return folder
            self._num_hidden_files += len(entries) - 1
            folder = inside[0]

    def _check_splits(self, by_folder: dict[str, list[SourceFile]], *, needs_train: bool) -> None:
        if needs_train and "train" not in {SPLIT_NAMES[name.lower()] for name in by_folder}:
            raise DatasetError(
                f"'{self._folder}' has a folder '{next(iter(by_folder))}' but none named 'train'. "
                f"{_LAYOUT} Add the 'train' folder."
            )
        names = {
            name: sorted({file.class_name for file in files}) for name, files in by_folder.items()
        }
        if len({tuple(classes) for classes in names.values()}) > 1:
            found = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in names.items())
            raise DatasetError(
                f"The folders of '{self._folder}' do not hold the same classes ({found}). Expected "
                "the same two class folders in each. Rename or add the missing ones."
            )

    def _find_classes(self, parent: Path, split: str) -> list[SourceFile]:
        """The images of each class folder of `parent`."""
        self._count_loose_files(parent)
        class_folders = _list_folders(parent)
        by_patient = self._find_classes_of_patients(class_folders, split)
        if by_patient:
            return by_patient
        if len(class_folders) != 2:
            names = ", ".join(f"'{path.name}'" for path in class_folders[:5]) or "none"
            more = ", …" if len(class_folders) > 5 else ""
            raise DatasetError(
                f"'{parent}' has {say_number(len(class_folders), 'class folder')} ({names}{more}). "
                f"{_LAYOUT} Sort the images into two folders named after their classes."
            )
        files = []
        for class_folder in class_folders:
            before = self._num_other_files
            images = self._list_images(class_folder)
            if not images:
                num_others = self._num_other_files - before
                counted = say_number(num_others, "file")
                what = f"{counted}, but no image" if num_others else "nothing"
                raise DatasetError(
                    f"The class folder '{class_folder}' holds {what}. Expected {FORMATS} images. "
                    "Put the images of this class there."
                )
            files += [self._make_file(name, class_folder, split) for name in images]
        return files

    def _find_classes_of_patients(self, folders: list[Path], split: str) -> list[SourceFile]:
        """Where each patient has a folder with class folders in it; else nothing."""
        class_folders = [(path, inner) for path in folders for inner in _list_folders(path)]
        if len({inner.name for _, inner in class_folders}) != 2:
            return []
        # Two folders are the classes, unless both hold the same two and do not sound like classes.
        if len(folders) < 3 and (
            len(class_folders) != 4 or any(speaks_of_absence(path.name) for path in folders)
        ):
            return []
        files = []
        for patient_folder in folders:
            self._count_loose_files(patient_folder)
        for patient_folder, class_folder in class_folders:
            for name in self._list_images(class_folder):
                files.append(self._make_file(name, class_folder, split, patient_folder.name))
        return files if len({file.class_name for file in files}) == 2 else []

    def _make_file(self, name: str, class_folder: Path, split: str, group: str = "") -> SourceFile:
        return SourceFile(
            path=f"{os.path.relpath(class_folder, self._folder)}/{name}".replace(os.sep, "/"),
            class_name=class_folder.name,
            name=name,
            split=split,
            group=group,
        )

    def _list_images(self, folder: Path) -> list[str]:
        """The images at any depth, relative to the folder, with "/"."""

        def refuse(error: OSError) -> None:
            raise _refused(Path(error.filename), error) from error

        found = []
        check_file(folder)
        for root, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(self._keep_seen(folders))
            below = "" if root == str(folder) else Path(root).relative_to(folder).as_posix() + "/"
            for name in sorted(self._keep_seen(names)):
                if is_image_name(os.path.join(root, name)):
                    found.append(below + name)
                else:
                    self._num_other_files += 1
        return found

    def _count_loose_files(self, folder: Path) -> None:
        names = [path.name for path in _list_entries(folder)]
        seen = self._keep_seen(names)
        self._num_other_files += sum((folder / name).is_file() for name in seen)

    def _keep_seen(self, names: list[str]) -> list[str]:
        seen = [name for name in names if not is_left_out(name)]
        self._num_hidden_files += len(names) - len(seen)
        return seen


def _list_folders(folder: Path) -> list[Path]:
    return [path for path in _list_entries(folder) if path.is_dir() and not is_left_out(path.name)]


def _list_entries(folder: Path) -> list[Path]:
    check_file(folder)  # it may be a link
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"The folder '{folder}' cannot be opened ({error.strerror}). Expected a folder that you "
        "may read. Change its permissions or choose another."
    )
