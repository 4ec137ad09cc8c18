"""From bytes to a checked description of the picture, in a limited number of steps."""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from polyp_core.dicom.failures import explain_failure
from polyp_core.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_PIXELS = 40_000_000  # of one frame
MAX_FILE_BYTES = 512 << 20
MAX_FRAMES = 2000  # a tiny frame takes as long as a small picture, and a byte
_MAX_META_BYTES = 64 << 10
_FIRST_TABLE_TAG = 0x00281100
_MAX_VALUE_BYTES, _MAX_TABLE_BYTES = 64 << 10, 512 << 10
_MAX_STEPS = 250_000
_UID = "1.2.840.10008.1.2"
EXPLICIT, BIG_ENDIAN = f"{_UID}.1", f"{_UID}.2"
NATIVE = (_UID, EXPLICIT, BIG_ENDIAN)
RLE = f"{_UID}.5"
JPEG_EXTENDED = f"{_UID}.4.51"
CODECS = {  # how the pixels are packed: its name, and the package that unpacks it
    f"{_UID}.4.50": ("JPEG baseline", "pillow"),
    JPEG_EXTENDED: ("JPEG extended", "pillow"),
    f"{_UID}.4.57": ("JPEG lossless", "python-gdcm"),
    f"{_UID}.4.70": ("JPEG lossless", "python-gdcm"),
    f"{_UID}.4.80": ("JPEG-LS", "pyjpegls"),
    f"{_UID}.4.81": ("JPEG-LS", "pyjpegls"),
    f"{_UID}.4.90": ("JPEG 2000", "pillow"),
    f"{_UID}.4.91": ("JPEG 2000", "pillow"),
}
GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
CHANNELS = ("Red", "Green", "Blue")
_KEYWORDS = (
    "PatientID", "SeriesInstanceUID", "InstanceNumber", "SequenceOfUltrasoundRegions",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "VOILUTSequence",
    *(f"{channel}PaletteColorLookupTableDescriptor" for channel in CHANNELS),
    *(f"{channel}PaletteColorLookupTableData" for channel in CHANNELS),
    *(f"Segmented{channel}PaletteColorLookupTableData" for channel in CHANNELS),
)  # fmt: skip
_FIRST_PIXEL_TAG = 0x7FE00008  # whole numbers stand at 0x7FE00010, decimal ones before
_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE  # two little-endian 16-bit numbers read as one of 32


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPicture:
    """How the pixels of a file are stored and where."""

    dataset: "Dataset"
    syntax: str
    is_little_endian: bool
    num_frames: int
    width_px: int
    height_px: int
    num_samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str
    is_planar: bool
    pixel_vr: str
    parts: list[list[tuple[int, int]]]  # from and to, for each frame if packed; else one for all


def is_dicom(data: bytes) -> bool:
    """Tell whether the bytes carry the mark of a DICOM file; nothing else is checked."""
    return data[128:132] == b"DICM"


def read_picture(data: bytes, name: str) -> StoredPicture:
    """Find out how the pixels are stored and where, and refuse what cannot be decoded.

    Raises:
        ImageError: If it is no DICOM file, is cut short or damaged, is too large, holds no
            pixels, or stores them in a way that is not supported.
    """
    syntax, start = _read_syntax(data, name)
    with explain_failure(name, "its header"):
        dataset, pixel_vr, start, length = _read_dataset(data, syntax, start, name)
        picture = StoredPicture(
            dataset=dataset,
            syntax=syntax,
            is_little_endian=syntax != BIG_ENDIAN,
            num_frames=read_int(dataset, "NumberOfFrames") or 1,
            width_px=read_int(dataset, "Columns"),
            height_px=read_int(dataset, "Rows"),
            num_samples=read_int(dataset, "SamplesPerPixel") or 1,
            bits_allocated=read_int(dataset, "BitsAllocated"),
            bits_stored=read_int(dataset, "BitsStored") or read_int(dataset, "BitsAllocated"),
            is_signed=read_int(dataset, "PixelRepresentation") == 1,
            photometric=str(dataset.get("PhotometricInterpretation") or "").strip(),
            is_planar=read_int(dataset, "PlanarConfiguration") == 1,
            pixel_vr=pixel_vr,
            parts=[],
        )
        _check_picture(picture, name)
        parts = _locate_pixels(data, picture, start, length, name)
    num_values = 3 * picture.num_frames * picture.width_px * picture.height_px
    is_native_422 = picture.photometric == "YBR_FULL_422" and syntax in NATIVE
    if is_native_422 and parts[0][0][1] - parts[0][0][0] >= num_values:  # named so by mistake
        return replace(picture, parts=parts, photometric="YBR_FULL")
    return replace(picture, parts=parts)


def _read_syntax(data: bytes, name: str) -> tuple[str, int]:
    """How the pixels are stored and where the data set begins, from the first group alone."""
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"'{name}' is too large: {len(data) >> 20} MB. Expected at most "
            f"{MAX_FILE_BYTES >> 20} MB. Export fewer frames or pack them."
        )
    if not is_dicom(data):
        raise ImageError(f"'{name}' is not a DICOM file: the mark 'DICM' at byte 128 is missing.")
    syntax, at = "", 132
    while data[at : at + 2] == b"\2\0" and len(data) >= at + 12:
        element, vr, length = struct.unpack_from("<H2sH", data, at + 2)
        at += 8
        if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            length = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if element == 0x0010:
            syntax = data[at : at + length][:64].decode("ascii", "replace").strip(" \0")
        at += length
        if at > 132 + _MAX_META_BYTES:
            raise ImageError(
                f"'{name}' is damaged: its file meta information claims more than "
                f"{_MAX_META_BYTES >> 10} KB. Copy or export it again."
            )
    if syntax in (*NATIVE, RLE, *CODECS):
        return syntax, at
    if not syntax:
        raise ImageError(
            f"'{name}' does not say how its pixels are stored: it is cut short, or has no "
            "transfer syntax. Copy or export it again."
        )
    shown = f" ({syntax})" if re.fullmatch(r"[0-9.]+", syntax) else ""
    raise ImageError(
        f"'{name}' stores its pixels in a way that is not supported{shown}. Expected "
        "uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000; no video, nothing deflated. "
        "Export it again."
    )


class _Reader(io.BytesIO):
    """The bytes, for a limited number of reads: a parser that asks for more is stopped."""

    steps_left = _MAX_STEPS
    is_charset = False  # the parser takes long for every name in that one element

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        self.steps_left -= 1 + (len(chunk) if self.is_charset else len(chunk) >> 12)
        if self.steps_left < 0:
            raise OSError("too many elements")
        if size == 8:
            self.is_charset = chunk[:4] in (b"\x08\0\x05\0", b"\0\x08\0\x05")
        return chunk


def _read_dataset(
    data: bytes, syntax: str, start: int, name: str
) -> tuple["Dataset", str, int, int]:
    """The wanted elements before the pixels; the VR, place and length of the pixels."""
    from pydicom.filereader import read_dataset

    reader = _Reader(data)
    reader.seek(start)
    dataset = read_dataset(
        reader,
        is_implicit_VR=syntax == _UID,
        is_little_endian=syntax != BIG_ENDIAN,
        stop_when=lambda tag, vr, length: tag >= _FIRST_PIXEL_TAG,
        specific_tags=_list_tags(),
    )
    for tag in dataset.keys():  # noqa: SIM118  (a data set iterates over its elements)
        value = dataset.get_item(tag).value
        limit = _MAX_TABLE_BYTES if tag >= _FIRST_TABLE_TAG else _MAX_VALUE_BYTES
        if isinstance(value, bytes) and len(value) > limit:
            raise ValueError("a value is too long")
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError(
            f"'{name}' holds no picture: it names no rows and columns. It is cut short, or is "
            "a report or the like. Choose another file."
        )
    is_implicit, is_little_endian = dataset.original_encoding
    order, at = "<" if is_little_endian else ">", reader.tell()
    head = data[at : at + (8 if is_implicit else 12)]
    is_complete = len(head) == (8 if is_implicit else 12)
    if not is_complete or struct.unpack_from(f"{order}HH", head) != _PIXEL_DATA:
        raise ImageError(f"'{name}' ends before its pixels, or has none. Copy or export it again.")
    vr = "OW" if is_implicit else head[4:6].decode("ascii", "replace")
    return dataset, vr, at + len(head), struct.unpack(f"{order}L", head[-4:])[0]


@cache
def _list_tags() -> list[int]:
    from pydicom.datadict import tag_for_keyword

    return [tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]


def _check_picture(picture: StoredPicture, name: str) -> None:
    width_px, height_px, num_frames = picture.width_px, picture.height_px, picture.num_frames
    if min(width_px, height_px) < 1 or num_frames < 1:
        raise ImageError(
            f"'{name}' is empty: {width_px} × {height_px} pixels, {num_frames} frames. "
            "Expected at least 1 of each. Copy or export it again."
        )
    if num_frames > MAX_FRAMES:
        raise ImageError(
            f"'{name}' holds too many frames: {num_frames}. Expected at most {MAX_FRAMES}. Export "
            "a shorter part of it, or every second frame."
        )
    if width_px * height_px > MAX_PIXELS:
        raise ImageError(
            f"'{name}' is too large: {width_px} × {height_px} pixels. Expected at most "
            f"{MAX_PIXELS // 1_000_000} million. Make it smaller first."
        )
    if not 1 <= picture.bits_stored <= picture.bits_allocated <= 16:
        raise ImageError(
            f"'{name}' holds {picture.bits_stored} of {picture.bits_allocated} bits a sample. "
            "Expected 1 to 16. Export it again."
        )
    one, three = (*GREY, PALETTE), COLOURS
    if picture.photometric not in {1: one, 3: three}.get(picture.num_samples, ()):
        raise ImageError(
            f"'{name}' holds {picture.num_samples} samples a pixel in a colour model that does "
            f"not fit. Expected {', '.join(one)} with 1, or {', '.join(three)} with 3. "
            "Export it again."
        )


def _locate_pixels(
    data: bytes, picture: StoredPicture, start: int, length: int, name: str
) -> list[list[tuple[int, int]]]:
    if picture.syntax not in NATIVE:
        parts = list(_walk_fragments(data, start, name))
        if len(parts) - 1 < picture.num_frames:
            raise ImageError(
                f"'{name}' is damaged: it promises {picture.num_frames} frames and holds "
                f"{max(len(parts) - 1, 0)}. Copy or export it again."
            )
        return _assign_parts(data, parts, picture.num_frames)
    num_samples = 2 if picture.photometric == "YBR_FULL_422" else picture.num_samples
    num_pixels = picture.num_frames * picture.width_px * picture.height_px
    expected = (num_pixels * num_samples * picture.bits_allocated + 7) // 8
    held = min(length, len(data) - start)
    if held < expected:
        raise ImageError(
            f"'{name}' is cut short: it promises {expected} bytes of pixels and holds {held}. "
            "Copy or export it again."
        )
    return [[(start, start + held)]]


def _assign_parts(
    data: bytes, parts: list[tuple[int, int]], num_frames: int
) -> list[list[tuple[int, int]]]:
    """The parts of each frame; the first part of all is the table of the frames' offsets."""
    (start, end), *parts = parts
    if num_frames == 1:
        return [parts]
    if len(parts) == num_frames:
        return [[part] for part in parts]
    offsets = np.frombuffer(data[start : start + (end - start) // 4 * 4], "<u4").astype(np.int64)
    if len(offsets) == num_frames:
        begins = np.array([start for start, _ in parts]) - parts[0][0]
        owners = np.searchsorted(offsets, begins, side="right") - 1
    else:  # no table: a frame ends where the end mark of JPEG and JPEG 2000 stands
        ends = [b"\xff\xd9" in data[max(start, end - 10) : end] for start, end in parts]
        owners = np.cumsum([0, *ends[:-1]])
    frames: list[list[tuple[int, int]]] = [[] for _ in range(num_frames)]
    for part, owner in zip(parts, owners.tolist(), strict=True):
        if 0 <= owner < num_frames:
            frames[owner].append(part)
    return frames


def _walk_fragments(data: bytes, at: int, name: str) -> Iterator[tuple[int, int]]:
    """Where the packed parts begin and end; the first is the table of the frames' offsets."""
    for _ in range(_MAX_STEPS):
        if at >= len(data):
            return
        tag, length = struct.unpack_from("<LL", data, at) if at + 8 <= len(data) else (0, 0)
        if tag == _END:
            return
        if tag != _ITEM or at + 8 + length > len(data):
            raise ImageError(
                f"'{name}' is damaged or cut short at byte {at}, in its packed pixels. "
                "Copy or export it again."
            )
        yield at + 8, at + 8 + length
        at += 8 + length
    raise ImageError(
        f"'{name}' is cut into more than {_MAX_STEPS} parts. Export it again, uncompressed."
    )


def read_int(dataset: "Dataset", keyword: str) -> int:
    """An element's whole number; 0 where there is none."""
    value = dataset.get(keyword)
    return 0 if value is None or value == "" else int(value)


def read_number(dataset: "Dataset", keyword: str) -> float | None:
    """The first of an element's numbers; None where there is none that can be used."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else None
    number = float("nan") if value is None or value == "" else float(value)
    return number if np.isfinite(number) else None
