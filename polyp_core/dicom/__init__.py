"""DICOM bytes become frames of grey or RGB pixels.

`picture` reads how the pixels are stored and where, `unpacking` decodes one frame of them, and
`rendering` shows it as a viewer would. A file may come from anybody, so every step is bounded:
the way of storing is read before the data set is parsed (a deflated file of 1.5 MB would keep
the parser busy for minutes), the parser may take a limited number of steps, and sizes are checked
before anything is decoded. Errors never quote text from a file. pydicom costs half a second and
50 MiB to import, so it is imported only when such a file is met.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from polyp_core.dicom.failures import explain_failure
from polyp_core.dicom.picture import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    StoredPicture,
    is_dicom,
    read_int,
    read_picture,
)
from polyp_core.dicom.rendering import render_pixels
from polyp_core.dicom.unpacking import unpack_frame
from polyp_core.errors import ImageError

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "DicomHeader",
    "decode_frame",
    "decode_frames",
    "is_dicom",
    "read_header",
]


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """What is known of a file before its pixels are decoded."""

    num_frames: int
    width_px: int
    height_px: int
    patient: str  # "dicom-" and 12 hex digits for the same PatientID; "" where there is none
    series: str  # "series-" and 12 hex digits for the same SeriesInstanceUID; "" where none is
    number: int  # InstanceNumber: the file's place in its series; 0 where there is none
    # The B-mode scan area in px: left, top, right, bottom, the last two exclusive; or None.
    region: tuple[int, int, int, int] | None


def read_header(data: bytes, name: str) -> DicomHeader:
    """Read what a DICOM file says of itself, without decoding a pixel.

    The patient is named by a slow, salted hash of PatientID: equal IDs stay equal across files
    and machines, and the ID is not shown. Who can guess an ID can still check the guess.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.

    Raises:
        ImageError: If it is no DICOM file, is cut short or damaged, is too large, holds no
            pixels, or stores them in a way that is not supported.
    """
    return _make_header(read_picture(data, name), name)


def decode_frame(data: bytes, name: str, frame: int = 0) -> np.ndarray:
    """Decode one frame as a viewer would show it.

    Grey values go through the rescale or modality table, then through the first window or
    VOI table; without one the stored bit depth is scaled to 8 bits (signed values: from their
    smallest to their largest). Palettes and YBR become RGB.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.
        frame: Counted from 0.

    Returns:
        `(height, width, 1)` for grey pictures, `(height, width, 3)` RGB otherwise; uint8.

    Raises:
        ImageError: As `read_header`, or if there is no such frame, or a package is missing that
            unpacks it.

    References:
        DICOM PS3.3 C.7.6.3 (pixels), C.11.1 (modality) and C.11.2 (window); PS3.5 A.4 and G.
    """
    return next(decode_frames(data, name, [frame])[1])


def decode_frames(
    data: bytes, name: str, frames: Iterable[int] | None = None
) -> tuple[DicomHeader, Iterator[np.ndarray]]:
    """Read the header and decode any number of frames; the file is parsed once for all of them.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.
        frames: Counted from 0, in any order. None is all of them.

    Returns:
        The header, and the frames as `decode_frame` gives them, each decoded when it is asked for.

    Raises:
        ImageError: As `decode_frame`; what concerns a frame, when it is asked for.
    """
    picture = read_picture(data, name)
    wanted = range(picture.num_frames) if frames is None else frames
    return _make_header(picture, name), (_decode(data, picture, n, name) for n in wanted)


def _make_header(picture: StoredPicture, name: str) -> DicomHeader:
    with explain_failure(name, "its header"):
        return DicomHeader(
            num_frames=picture.num_frames,
            width_px=picture.width_px,
            height_px=picture.height_px,
            patient=_hash_patient(str(picture.dataset.get("PatientID") or "").strip(" \0")[:256]),
            series=_hash_series(str(picture.dataset.get("SeriesInstanceUID") or "").strip(" \0")),
            number=_read_number(picture, name),
            region=_find_region(picture),
        )


def _decode(data: bytes, picture: StoredPicture, frame: int, name: str) -> np.ndarray:
    if not 0 <= frame < picture.num_frames:
        raise ImageError(
            f"'{name}' has no frame {frame}. Expected 0 to {picture.num_frames - 1}. "
            "Choose another frame."
        )
    with explain_failure(name, f"frame {frame}"):
        pixels, photometric = unpack_frame(data, picture, frame, name)
        return render_pixels(pixels, photometric, picture)


def _find_region(picture: StoredPicture) -> tuple[int, int, int, int] | None:
    """The box around all 2D tissue regions, within the image."""
    boxes = []
    for item in picture.dataset.get("SequenceOfUltrasoundRegions") or []:
        if read_int(item, "RegionDataType") != 1 or read_int(item, "RegionSpatialFormat") != 1:
            continue
        left, top, right, bottom = (
            read_int(item, f"RegionLocation{edge}") for edge in ("MinX0", "MinY0", "MaxX1", "MaxY1")
        )
        right, bottom = min(right, picture.width_px - 1), min(bottom, picture.height_px - 1)
        left, top = max(left, 0), max(top, 0)
        if left < right and top < bottom:  # one pixel is no area: the mark of an empty box
            boxes.append((left, top, right + 1, bottom + 1))
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _read_number(picture: StoredPicture, name: str) -> int:
    """The file's place in its series; no picture is refused for a damaged one."""
    try:
        with explain_failure(name, "its number"):
            number = read_int(picture.dataset, "InstanceNumber")
    except ImageError:
        return 0
    return number if abs(number) < 1 << 31 else 0


def _hash_series(series_uid: str) -> str:
    """A fast hash will do: there are far too many such identifiers to guess one."""
    if not series_uid:
        return ""
    key = hashlib.blake2b(series_uid[:256].encode(), digest_size=6, salt=b"polyp DICOM")
    return f"series-{key.hexdigest()}"


@lru_cache(maxsize=1024)
def _hash_patient(patient_id: str) -> str:
    if not patient_id:
        return ""
    key = hashlib.scrypt(patient_id.encode(), salt=b"polyp DICOM patient", n=4096, r=8, p=1)
    return f"dicom-{key.hex()[:12]}"
