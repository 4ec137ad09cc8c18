"""The ultrasound samples that come with pydicom, each decoded a second time by other means."""

import io
import struct
from importlib.util import find_spec

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from polyp_core.dicom import decode_frame, read_header
from polyp_core.errors import ImageError
from tests.core.dicom_files import BIG_ENDIAN, JPEG_LOSSLESS, RLE, SAMPLES, UID

ULTRASOUND = [
    "US1_UNCI",
    "US1_UNCR",
    "US1_J2KI",
    "US1_J2KR",
    "color-pl",
    "color-px",
    "color3d_jpeg_baseline",
    "OBXXXX1A",
    "OBXXXX1A_2frame",
    "OBXXXX1A_expb",
    "OBXXXX1A_expb_2frame",
    "OBXXXX1A_rle",
    "OBXXXX1A_rle_2frame",
    "gdcm-US-ALOKA-16",
    "gdcm-US-ALOKA-16_big",
    "JPGLosslessP14SV1_1s_1f_8b",
    "examples_rgb_color",
    "examples_palette",
    "examples_jpeg2k",
    "examples_ybr_color",
    "ExplVR_BigEnd",
]
quietly = pytest.mark.filterwarnings("ignore::UserWarning")  # of the oracle


def unpack_rle_by_hand(packed: bytes) -> np.ndarray:
    """One segment of 8-bit values."""
    values, at = [], struct.unpack("<16L", packed[:64])[1]
    while at < len(packed):
        count = packed[at] - 256 if packed[at] > 127 else packed[at]
        if count >= 0:
            values += packed[at + 1 : at + 2 + count]
            at += count + 2
        else:
            values += [packed[at + 1]] * (1 - count) if count != -128 else []
            at += 2 if count != -128 else 1
    return np.array(values, np.uint8)


def list_values_by_hand(dataset: Dataset, frame: int) -> np.ndarray:
    """The stored values of one frame that is not JPEG."""
    shape = (dataset.Rows, dataset.Columns)
    if dataset.file_meta.TransferSyntaxUID == RLE:
        packed = get_frame(dataset.PixelData, frame, number_of_frames=2)
        return unpack_rle_by_hand(packed)[: shape[0] * shape[1]].reshape(shape)
    is_big = dataset.file_meta.TransferSyntaxUID == BIG_ENDIAN
    raw = np.frombuffer(dataset.PixelData, ">u2" if is_big else "<u2").astype("<u2").tobytes()
    if dataset["PixelData"].VR == "OB":
        raw = dataset.PixelData
    raw = np.frombuffer(raw, f"<u{dataset.BitsAllocated // 8}")
    size = shape[0] * shape[1] * dataset.SamplesPerPixel
    values = raw[frame * size : (frame + 1) * size]
    if dataset.SamplesPerPixel == 1:
        return values.reshape(shape)
    if dataset.PlanarConfiguration:
        return values.reshape(3, *shape).transpose(1, 2, 0)
    return values.reshape(*shape, 3)


def decode_by_hand(dataset: Dataset, frame: int) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.startswith(f"{UID}.4"):
        count = int(dataset.get("NumberOfFrames") or 1)
        packed = get_frame(dataset.PixelData, frame, number_of_frames=count)
        return np.asarray(Image.open(io.BytesIO(packed)).convert("RGB"))
    values = list_values_by_hand(dataset, frame)
    if dataset.PhotometricInterpretation == "RGB":
        return values
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        return (apply_color_lut(values, dataset) >> 8).astype(np.uint8)
    order = ">u2" if syntax == BIG_ENDIAN else "<u2"
    tables = [
        np.frombuffer(dataset[f"{channel}PaletteColorLookupTableData"].value, order)
        for channel in ("Red", "Green", "Blue")
    ]
    return np.stack([table[values] >> 8 for table in tables], axis=-1).astype(np.uint8)


@quietly
@pytest.mark.parametrize("name", ULTRASOUND)
def test_an_ultrasound_sample_is_decoded_as_by_hand(name):
    data = SAMPLES[f"{name}.dcm"].read_bytes()
    header = read_header(data, name)
    dataset = pydicom.dcmread(io.BytesIO(data))
    if dataset.file_meta.TransferSyntaxUID == JPEG_LOSSLESS and not find_spec("gdcm"):
        with pytest.raises(ImageError, match="needs the package python-gdcm"):
            decode_frame(data, name)
        return
    assert header.num_frames == int(dataset.get("NumberOfFrames") or 1)
    for frame in sorted({0, header.num_frames // 2, header.num_frames - 1}):
        ours = decode_frame(data, name, frame)
        assert ours.dtype == np.uint8
        assert ours.shape[:2] == (header.height_px, header.width_px)
        if dataset.file_meta.TransferSyntaxUID == JPEG_LOSSLESS:
            continue
        # Only JPEG converts colours with rounding; there two levels are allowed.
        difference = np.abs(ours.astype(int) - decode_by_hand(dataset, frame))
        assert difference.max() <= (2 if "jpeg_b" in name or "ybr" in name else 0)


@quietly
def test_the_list_of_ultrasound_samples_is_complete():
    found = set()
    for path in SAMPLES.values():
        tags = ["Modality", "SOPClassUID", "PhotometricInterpretation"]
        try:
            dataset = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        is_ultrasound = dataset.get("Modality") == "US" or "Ultrasound" in getattr(
            dataset.get("SOPClassUID"), "name", ""
        )
        if is_ultrasound and "PhotometricInterpretation" in dataset:
            found.add(path.stem)
    assert found == set(ULTRASOUND)


def test_the_same_picture_is_the_same_however_it_is_packed():
    frames = [
        decode_frame(SAMPLES[f"OBXXXX1A{kind}.dcm"].read_bytes(), kind)
        for kind in ("", "_expb", "_rle", "_2frame", "_expb_2frame", "_rle_2frame")
    ]
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("OBXXXX1A", (120, 60, 800, 519)),  # 800 is outside
        ("examples_palette", (120, 60, 800, 350)),  # the image was cut after the fact
        ("gdcm-US-ALOKA-16", (32, 24, 640, 416)),  # two scans side by side, and a colour bar
        ("US1_UNCI", None),
    ],
)
def test_the_scan_area_of_a_sample_is_found(name, region):
    assert read_header(SAMPLES[f"{name}.dcm"].read_bytes(), name).region == region


@pytest.mark.parametrize("name", ["mlut_18", "vlut_04"])
def test_tables_of_a_real_file_agree_with_pydicom(name):
    data = SAMPLES[f"{name}.dcm"].read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = apply_modality_lut(dataset.pixel_array, dataset)
    theirs = apply_voi_lut(values.astype(int), dataset).astype(float)
    sequence = dataset.get("VOILUTSequence") or dataset.ModalityLUTSequence
    theirs *= 255 / ((1 << sequence[0].LUTDescriptor[2]) - 1)
    assert np.abs(decode_frame(data, name)[..., 0] - theirs).max() <= 0.5001
