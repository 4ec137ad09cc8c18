"""What a DICOM file shows, worked by hand on files made by hand."""

import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut

from polyp_core import dicom
from polyp_core.dicom import decode_frame, decode_frames, is_dicom, read_header
from polyp_core.dicom.picture import read_picture
from polyp_core.errors import ImageError
from tests.core.dicom_files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LOSSLESS,
    JPEG_LS,
    RAMP,
    SAMPLES,
    compress,
    pack,
    write_dicom,
)


def show(values: list[int], dtype: type = np.uint8, **elements) -> list[int]:
    """What becomes of a row of stored values."""
    data = write_dicom(np.array([values], dtype), **elements)
    return decode_frame(data, "a.dcm")[0, :, 0].tolist()


# --- grey levels ---------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_eight_bits_come_out_unchanged(syntax):
    picture = decode_frame(write_dicom(RAMP, syntax), "a.dcm")
    assert picture.shape == (16, 16, 1)
    assert np.array_equal(picture[..., 0], RAMP)


@pytest.mark.parametrize(
    ("center", "width"), [(128, 256), (127, 255), (127.5, 255), (127, 254), (0, 0), ("", "")]
)
def test_a_window_that_says_everything_or_nothing_does_no_harm(center, width):
    assert show(list(range(256)), WindowCenter=center, WindowWidth=width) == list(range(256))


@pytest.mark.parametrize(
    ("function", "center", "expected"),
    [
        (None, 100.5, [0, 0, 64, 128, 255, 255]),  # ((x - 100) / 100 + 0.5) · 255
        ("LINEAR_EXACT", 100, [0, 1, 64, 128, 254, 255]),  # ((x - 100) / 101 + 0.5) · 255
        ("SIGMOID", 100, [5, 31, 69, 128, 224, 250]),  # 255 / (1 + exp(-4 (x - 100) / 101))
    ],
)
def test_a_window_follows_its_formula(function, center, expected):
    elements = {"WindowCenter": center, "WindowWidth": 101}
    if function:
        elements["VOILUTFunction"] = function
    assert show([0, 50, 75, 100, 150, 201], **elements) == expected


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_agrees_with_pydicom(function):
    values = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    data = write_dicom(
        values, BitsStored=12, WindowCenter=[1234.5, 1], WindowWidth=[777, 1],
        VOILUTFunction=function,
    )  # fmt: skip
    theirs = apply_voi_lut(values, pydicom.dcmread(io.BytesIO(data))) / 4095 * 255
    assert np.abs(decode_frame(data, "a.dcm")[..., 0] - theirs).max() <= 0.5001


def test_a_window_of_one_is_a_threshold():
    assert show([99, 100, 101], WindowCenter=100.5, WindowWidth=1) == [0, 0, 255]


def test_rescaled_values_are_what_the_window_speaks_of():
    window = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -100}
    assert show([10, 50, 75, 100, 200], **rescale, **window) == [0, 0, 128, 255, 255]
    assert show([0, 51, 255], **rescale) == [0, 51, 255]
    assert show([0, 51, 255], RescaleSlope=-1, RescaleIntercept=0) == [255, 204, 0]


def test_monochrome1_is_shown_inverted():
    assert show([0, 1, 255], PhotometricInterpretation="MONOCHROME1") == [255, 254, 0]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_twelve_of_sixteen_bits_are_scaled_and_the_others_ignored(syntax):
    values = [0, 2048, 4095, 0x8FFF, 0x1000]
    assert show(values, np.uint16, syntax=syntax, BitsStored=12) == [0, 128, 255, 255, 0]


def test_signed_values_are_scaled_from_the_smallest_to_the_largest():
    assert show([-1000, 0, 1000], np.int16) == [0, 128, 255]
    assert show([-7, -7], np.int16) == [0, 0]
    assert show([-100, 0, 100], np.int16, WindowCenter=0.5, WindowWidth=101) == [0, 128, 255]


def make_table(first: int, entries: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_tables_take_the_place_of_slope_and_window():
    voi = [make_table(10, [0, 1023, 512], 10), make_table(0, [9, 9], 10)]
    assert show([0, 10, 11, 12, 99], VOILUTSequence=voi) == [0, 0, 255, 128, 128]
    signed = [make_table(65534, [0, 50, 100, 255], 8)]  # its first entry is for -2
    assert show([-9, -2, -1, 0, 1, 9], np.int16, VOILUTSequence=signed) == [0, 0, 50, 100, 255, 255]
    modality = [make_table(0, [100, 200, 255], 8)]
    assert show([0, 1, 2, 3], ModalityLUTSequence=modality) == [100, 200, 255, 255]


# --- colours -------------------------------------------------------------------------------

YBR = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [128, 128, 128]]], np.uint8)
RGB = [[254, 0, 0], [0, 255, 1], [0, 0, 254], [128, 128, 128]]  # R = Y + 1.402 (Cr - 128), ...


def test_ybr_becomes_rgb():
    data = write_dicom(YBR, PhotometricInterpretation="YBR_FULL")
    assert decode_frame(data, "a.dcm")[0].tolist() == RGB
    planes = YBR.transpose(2, 0, 1).tobytes()
    data = write_dicom(
        planes, PhotometricInterpretation="YBR_FULL", Rows=1, Columns=4, SamplesPerPixel=3,
        PlanarConfiguration=1, BitsAllocated=8, BitsStored=8,
    )  # fmt: skip
    assert decode_frame(data, "a.dcm")[0].tolist() == RGB


def test_halved_colours_are_shared_by_two_pixels():
    stored = bytes([76, 76, 85, 255, 150, 150, 44, 21])  # Y Y Cb Cr
    data = write_dicom(
        stored, PhotometricInterpretation="YBR_FULL_422", Rows=1, Columns=4, SamplesPerPixel=3,
        BitsAllocated=8, BitsStored=8,
    )  # fmt: skip
    assert decode_frame(data, "a.dcm")[0].tolist() == [RGB[0], RGB[0], RGB[1], RGB[1]]


def test_full_colours_that_are_called_halved_are_taken_as_they_are():
    data = write_dicom(YBR, PhotometricInterpretation="YBR_FULL_422")
    assert decode_frame(data, "a.dcm")[0].tolist() == RGB


def test_sixteen_bit_colours_are_scaled():
    pixels = np.array([[[0, 32768, 65535]]], np.uint16)
    data = write_dicom(pixels, PhotometricInterpretation="RGB")
    assert decode_frame(data, "a.dcm").tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("has_mark", [False, True])
def test_colours_of_a_jpeg_are_converted_once(has_mark):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:, :, 2] = (200, 40, 10), 220
    packed = compress(pixels, "JPEG")
    if has_mark:  # Adobe's mark in place of JFIF: "these are YCbCr"
        mark = b"\xff\xee\x00\x0eAdobe\x00\x65\x00\x00\x00\x00\x01"
        packed = packed[:2] + mark + packed[20:]
    data = pack([packed], JPEG, pixels.shape, PhotometricInterpretation="YBR_FULL_422")
    expected = np.asarray(Image.open(io.BytesIO(packed)).convert("RGB")).astype(int)
    assert np.abs(decode_frame(data, "a.dcm") - expected).max() <= 2
    assert expected[0, 0, 0] > 150 > expected[0, 0, 2]


@pytest.mark.parametrize("entry", [lambda v: 257 * v, lambda v: 256 * v, lambda v: v])
@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
def test_a_palette_of_sixteen_bits_is_scaled_to_eight(entry, syntax):
    levels = np.array([[5, 90, 255], [255, 0, 7], [1, 2, 3]])
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, column in zip(("Red", "Green", "Blue"), levels.T, strict=True):
        words = np.array(
            [entry(level) for level in column], ">u2" if syntax == BIG_ENDIAN else "<u2"
        )
        elements[f"{channel}PaletteColorLookupTableDescriptor"] = [3, 10, 16]
        elements[f"{channel}PaletteColorLookupTableData"] = words.tobytes()
    data = write_dicom(np.array([[0, 10, 11, 12, 200]], np.uint8), syntax, **elements)
    assert decode_frame(data, "a.dcm")[0].tolist() == levels[[0, 0, 1, 2, 2]].tolist()


def test_a_palette_of_eight_bits_serves_sixteen_bit_pixels():
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for shift, channel in enumerate(("Red", "Green", "Blue")):
        elements[f"{channel}PaletteColorLookupTableDescriptor"] = [256, 1000, 8]
        elements[f"{channel}PaletteColorLookupTableData"] = bytes(np.roll(RAMP.ravel(), -shift))
    data = write_dicom(np.array([[0, 1000, 1004, 1250, 9999]], np.uint16), **elements)
    expected = [[0, 1, 2], [0, 1, 2], [4, 5, 6], [250, 251, 252], [255, 0, 1]]
    assert decode_frame(data, "a.dcm")[0].tolist() == expected


# --- frames --------------------------------------------------------------------------------

FRAMES = [np.roll(RAMP, shift) for shift in range(5)]


def test_each_frame_of_an_uncompressed_film_is_found():
    data = write_dicom(np.concatenate(FRAMES), Rows=16, NumberOfFrames=5)
    for number, frame in enumerate(FRAMES):
        assert np.array_equal(decode_frame(data, "film.dcm", number)[..., 0], frame)


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
def test_each_frame_of_a_packed_film_is_found(parts, table):
    packed = [compress(frame) for frame in FRAMES]
    data = pack(packed, JPEG_2000, (16, 16), parts=parts, table=table)
    assert read_header(data, "film.dcm").num_frames == 5
    for number, frame in enumerate(FRAMES):
        assert np.array_equal(decode_frame(data, "film.dcm", number)[..., 0], frame)


@pytest.mark.parametrize("frame", [-1, 5])
def test_a_frame_out_of_range_is_refused(frame):
    data = write_dicom(np.concatenate(FRAMES), Rows=16, NumberOfFrames=5)
    with pytest.raises(ImageError, match=rf"'film.dcm' has no frame {frame}\. Expected 0 to 4\."):
        decode_frame(data, "film.dcm", frame)


@pytest.mark.parametrize(
    ("wanted", "expected"), [(None, range(5)), ([3, 0, 3], [3, 0, 3]), ([], [])]
)
def test_frames_are_those_asked_for_and_the_file_is_parsed_once(wanted, expected, monkeypatch):
    data = write_dicom(np.concatenate(FRAMES), Rows=16, NumberOfFrames=5)
    parsed = []
    monkeypatch.setattr(
        dicom, "read_picture", lambda *args: (parsed.append(args), read_picture(*args))[1]
    )
    header, frames = decode_frames(data, "film.dcm", wanted)
    shown = list(frames)
    assert (len(parsed), len(shown)) == (1, len(expected))
    for frame, number in zip(shown, expected, strict=True):
        assert np.array_equal(frame[..., 0], FRAMES[number])
    monkeypatch.undo()
    assert header == read_header(data, "film.dcm")


def test_a_frame_is_decoded_when_it_is_asked_for():
    data = write_dicom(np.concatenate(FRAMES), Rows=16, NumberOfFrames=5)
    _, frames = decode_frames(data, "film.dcm", [4, 5])
    assert np.array_equal(next(frames)[..., 0], FRAMES[4])
    with pytest.raises(ImageError, match=r"'film.dcm' has no frame 5\. Expected 0 to 4\."):
        next(frames)


def test_a_missing_codec_is_named_with_what_to_install():
    for syntax, module, package in (
        (JPEG_LOSSLESS, "gdcm", "python-gdcm"), (JPEG_LS, "jpeg_ls", "pyjpegls"),
    ):  # fmt: skip
        if find_spec(module):
            continue
        data = pack([b"\xff\xd8\xff\xd9"], syntax, (4, 4))
        text = rf"needs the package {package}\. Export .* or install .* \(pip install {package}\)"
        with pytest.raises(ImageError, match=text):
            decode_frame(data, "a.dcm")


def test_jpeg_of_twelve_bits_is_refused():
    data = SAMPLES["JPGExtended.dcm"].read_bytes()
    with pytest.raises(ImageError, match="JPEG extended with 12 bits. Expected 8 bits. Export it"):
        decode_frame(data, "a.dcm")


def test_many_threads_decode_alike_even_what_pydicom_warns_of():
    names = ("SC_rgb_dcmtk_+eb+cr", "SC_rgb_jpeg_dcmtk", "OBXXXX1A_rle", "MR_small_padded") * 4
    files = [(SAMPLES[f"{name}.dcm"].read_bytes(), name) for name in names]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda file: decode_frame(*file), files))
    for file, frame in zip(files, threaded, strict=True):
        assert np.array_equal(decode_frame(*file), frame)


# --- the header ----------------------------------------------------------------------------


def test_the_patient_is_named_by_a_hash_alone():
    headers = [
        read_header(write_dicom(RAMP, PatientID=patient_id, PatientName="Doe^Jane"), "a.dcm")
        for patient_id in ("4711-Doe", "4711-Doe ", "4712-Doe")
    ]
    assert re.fullmatch(r"dicom-[0-9a-f]{12}", headers[0].patient)
    assert headers[0].patient == headers[1].patient != headers[2].patient
    assert not {"4711", "Doe", "Jane"} & set(re.split(r"\W", str(headers)))


@pytest.mark.parametrize("elements", [{}, {"PatientID": ""}, {"PatientID": "  "}])
def test_an_unknown_patient_has_no_name(elements):
    assert read_header(write_dicom(RAMP, **elements), "a.dcm").patient == ""


def test_a_series_is_named_by_a_hash_and_a_file_by_its_place_in_it():
    headers = [
        read_header(write_dicom(RAMP, SeriesInstanceUID=series, InstanceNumber=number), "a.dcm")
        for series, number in (("1.2.3", 7), ("1.2.3", 8), ("1.2.4", -2))
    ]
    assert [header.number for header in headers] == [7, 8, -2]
    assert re.fullmatch(r"series-[0-9a-f]{12}", headers[0].series)
    assert headers[0].series == headers[1].series != headers[2].series
    header = read_header(write_dicom(RAMP), "a.dcm")
    assert (header.series, header.number) == ("", 0)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("text", 0), ("-", 0), ("", 0), ("99999999999", 0), ("1.5", 1), ("1e9", 10**9)],
)
def test_a_damaged_place_in_the_series_spoils_no_picture(number, expected):
    mark = "31415926"
    data = write_dicom(RAMP, InstanceNumber=mark)
    start = data.index(mark.encode())
    size = len(number) + len(number) % 2
    data = (
        data[: start - 2]
        + size.to_bytes(2, "little")
        + number.encode().ljust(size)
        + data[start + len(mark) :]
    )
    assert read_header(data, "a.dcm").number == expected
    assert np.array_equal(decode_frame(data, "a.dcm")[..., 0], RAMP)


def make_region(left, top, right, bottom, kind=1, spatial_format=1) -> Dataset:
    item = Dataset()
    item.RegionDataType, item.RegionSpatialFormat = kind, spatial_format
    item.add_new("RegionLocationMinX0", "SL", left)  # the standard has no sign, files have
    item.RegionLocationMinY0 = top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([(2, 3, 9, 11)], (2, 3, 10, 12)),  # the last column and row are written inclusively
        ([(2, 3, 400, 400)], (2, 3, 16, 16)),
        ([(-2, 3, 9, 11)], (0, 3, 10, 12)),
        ([(0, 0, 0, 0)], None),
        ([(9, 3, 2, 11)], None),
        ([(20, 3, 30, 11)], None),
        ([(2, 3, 9, 11, 2)], None),  # colour flow
        ([(2, 3, 9, 11, 1, 2)], None),  # M-mode
        ([(1, 2, 5, 6), (8, 1, 12, 6), (0, 0, 15, 15, 10, 4)], (1, 1, 13, 7)),
        ([], None),
    ],
)
def test_the_region_is_the_tissue_within_the_image(regions, expected):
    items = [make_region(*region) for region in regions]
    data = write_dicom(RAMP, SequenceOfUltrasoundRegions=items)
    assert read_header(data, "a.dcm").region == expected


def test_the_mark_alone_tells_dicom():
    assert is_dicom(bytes(128) + b"DICM")
    assert not is_dicom(bytes(127) + b"DICM")
    assert not is_dicom(b"")


def test_the_header_is_read_without_decoding_a_pixel(monkeypatch):
    monkeypatch.setattr("polyp_core.dicom.unpack_frame", None)
    header = read_header(write_dicom(RAMP[:8]), "a.dcm")
    assert (header.num_frames, header.width_px, header.height_px) == (1, 16, 8)


def test_pydicom_is_imported_only_for_a_file_that_needs_it():
    code = "import sys, polyp_core.dicom; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
