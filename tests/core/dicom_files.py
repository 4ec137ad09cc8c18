"""DICOM files for the tests: made on the spot, and the samples that come with pydicom."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

UID = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, BIG_ENDIAN, RLE = UID, f"{UID}.1", f"{UID}.2", f"{UID}.5"
JPEG, JPEG_2000, JPEG_LOSSLESS, JPEG_LS = (f"{UID}.4.{n}" for n in (50, 90, 70, 80))
# Listed from the installed folders: asking pydicom for a name may download it.
FILES = [
    path
    for package in ("data_store", "pydicom")
    for folder in find_spec(package).submodule_search_locations
    for path in sorted(Path(folder).glob("data/**/*"))
    if path.is_file()
]
SAMPLES = {path.name: path for path in FILES if path.suffix == ".dcm"}
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def write_dicom(
    pixels: np.ndarray | bytes, syntax: str = EXPLICIT, *, vr: str | None = None, **elements
) -> bytes:
    """A whole DICOM file around pixels `(height, width)` or `(height, width, 3)`."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = f"{UID[:13]}.5.1.4.1.1.6.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelRepresentation = 0
    if isinstance(pixels, np.ndarray):
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        if syntax == BIG_ENDIAN:
            pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
        pixels = pixels.tobytes()
    if "SamplesPerPixel" in elements or dataset.get("SamplesPerPixel") == 3:
        dataset.PlanarConfiguration = 0
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels + bytes(len(pixels) % 2)
    is_packed = syntax not in (IMPLICIT, EXPLICIT, BIG_ENDIAN)
    dataset["PixelData"].VR = vr or ("OB" if is_packed or dataset.BitsAllocated == 8 else "OW")
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def pack(frames: list[bytes], syntax: str, shape: tuple[int, ...], **elements) -> bytes:
    """A DICOM file around packed frames; `elements` may hold `parts` of a frame, `table`."""
    parts, table = elements.pop("parts", 1), elements.pop("table", True)
    pixels = encapsulate(frames, fragments_per_frame=parts, has_bot=table)
    settings = {
        "Rows": shape[0], "Columns": shape[1], "BitsAllocated": 8, "BitsStored": 8,
        "SamplesPerPixel": shape[2] if len(shape) == 3 else 1, "NumberOfFrames": len(frames),
    }  # fmt: skip
    return write_dicom(pixels, syntax, **settings | elements)


def compress(pixels: np.ndarray, kind: str = "JPEG2000") -> bytes:
    file = io.BytesIO()
    options = {"no_jp2": True} if kind == "JPEG2000" else {"quality": 95}
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
