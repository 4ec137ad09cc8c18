"""How much is taken, what is taken, and what is said of the rest."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is taken at once.

    Attributes:
        max_files: Images; a film is one.
        max_file_bytes: Of one image, unpacked from a zip.
        max_total_bytes: Of all images together, unpacked from zips.
        max_frames: Of one film; evenly spaced ones are taken of a longer one.
        max_pictures: Images and frames together.
        max_header_s: Spent on reading headers; damaged DICOM files may take seconds each.
    """

    max_files: int = 1000
    max_file_bytes: int = 50_000_000
    max_total_bytes: int = 500_000_000
    max_frames: int = 16
    max_pictures: int = 2000
    max_header_s: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture to judge.

    Attributes:
        name: Of the file, with its folders and zip; no two files bear the same.
        data: The whole file; the frames of a film share it.
        frame: Counted from 0.
        num_frames: Of the file, however many of them are taken.
        patient: "" where unknown.
        sha256: Of the file.
    """

    name: str
    data: bytes
    frame: int
    num_frames: int
    patient: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What was taken and what was not.

    Attributes:
        items: In the order given; zips by their names, the images of one DICOM series by their
            numbers.
        problems: The file's name ("" where it concerns several) and a whole text that says what
            was left out, why and what to do. Names in it are as they came: show them literally.
        was_busy: Whether a file was left out only because no decoder was free for it: taking the
            same files again may bring more, so this is not to be kept.
    """

    items: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...]
    was_busy: bool = False
