"""Broken and hostile DICOM files: an ImageError or a picture, soon, and nothing else."""

import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from polyp_core.dicom import decode_frame, decode_frames, picture, read_header, rendering
from polyp_core.errors import ImageError
from tests.core.dicom_files import (
    EXPLICIT,
    FILES,
    JPEG,
    JPEG_2000,
    RAMP,
    RLE,
    SAMPLES,
    UID,
    compress,
    pack,
    write_dicom,
)

PIXELS = struct.pack("<HH", 0x7FE0, 0x0010)
SHORT = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "SamplesPerPixel": 1}


def read(data: bytes) -> np.ndarray | None:
    """Everything that is asked of a file; None where it is refused in our own words."""
    try:
        header = read_header(data, "a.dcm")
        return decode_frame(data, "a.dcm", header.num_frames - 1)
    except ImageError as error:
        refusal = str(error)
    assert refusal.startswith("'a.dcm' ")
    return None


def refuse(data: bytes, text: str) -> None:
    """The header alone is enough to refuse it."""
    with pytest.raises(ImageError, match=text):
        read_header(data, "a.dcm")
    with pytest.raises(ImageError, match=text):
        decode_frame(data, "a.dcm")


def insert(elements: bytes) -> bytes:
    """A good file with something before its pixels."""
    data = write_dicom(RAMP)
    at = data.index(PIXELS)
    return data[:at] + elements + data[at:]


# --- refused before the data set is parsed -------------------------------------------------


@pytest.fixture
def no_parsing(monkeypatch):
    monkeypatch.setattr("pydicom.filereader.read_dataset", None)
    monkeypatch.setattr("pydicom.dcmread", None)


@pytest.mark.parametrize(
    "syntax",
    [f"{UID}.1.99", f"{UID}.4.102", f"{UID}.4.95", f"{UID}.4.201", "1.2.840.113619.5.2", "1.2.3"],
)
@pytest.mark.usefixtures("no_parsing")
def test_what_is_not_listed_is_never_parsed(syntax):
    bomb = zlib.compress(bytes(1 << 20))[2:-4]
    data = write_dicom(RAMP).replace(
        b"UI" + struct.pack("<H", 20) + EXPLICIT.encode() + b"\0",
        b"UI" + struct.pack("<H", len(syntax)) + syntax.encode(),
    )
    refuse(data[: data.index(PIXELS)] + bomb, rf"not supported \({re.escape(syntax)}\)\. Expected")


@pytest.mark.usefixtures("no_parsing")
def test_what_has_no_clear_beginning_is_never_parsed():
    refuse(b"", "is not a DICOM file: the mark 'DICM'")
    refuse(RAMP.tobytes(), "is not a DICOM file")
    refuse(bytes(128) + b"DICM", "does not say how its pixels are stored")
    refuse(bytes(128) + b"DICM" + RAMP.tobytes(), "does not say how its pixels are stored")
    head = bytes(128) + b"DICM" + b"\2\0\1\0OB\0\0" + struct.pack("<L", 0xFFFFFFF0)
    refuse(head + bytes(99), "file meta information claims more than 64 KB")
    odd = b"\2\0\x10\0UI" + struct.pack("<H", 8) + b"Doe^Jane"
    refuse(bytes(128) + b"DICM" + odd + bytes(99), r"not supported\. Expected uncompressed")


@pytest.mark.usefixtures("no_parsing")
def test_a_file_too_large_is_never_parsed(monkeypatch):
    monkeypatch.setattr("polyp_core.dicom.picture.MAX_FILE_BYTES", 1 << 20)
    refuse(bytes(3 << 20), "too large: 3 MB. Expected at most 1 MB")


# --- refused from the header ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535 × 65535 pixels. Expected at most 40 million"),
        ({"Rows": 6325, "Columns": 6325}, "6325 × 6325 pixels"),
        ({"NumberOfFrames": 1000}, "promises 256000 bytes of pixels and holds 256"),
        (
            {"NumberOfFrames": 2001},
            r"^'a\.dcm' holds too many frames: 2001\. Expected at most 2000\. Export a shorter "
            r"part of it, or every second frame\.$",
        ),
        ({"NumberOfFrames": -1}, "-1 frames. Expected at least 1"),
        ({"Rows": 0}, "16 × 0 pixels"),
        ({"Rows": 17}, "promises 272 bytes of pixels and holds 256"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits a sample. Expected 1 to 16"),
        ({"BitsStored": 9}, "9 of 8 bits a sample"),
        ({"SamplesPerPixel": 3}, "3 samples a pixel in a colour model that does not fit"),
        ({"SamplesPerPixel": 4}, "4 samples a pixel"),
        ({"PhotometricInterpretation": "CMYK"}, "1 samples a pixel in a colour model"),
    ],
)
def test_impossible_sizes_are_refused_from_the_header(elements, text):
    refuse(write_dicom(RAMP, **elements), text)


def test_packed_frames_are_counted():
    data = pack([compress(RAMP)], JPEG_2000, (16, 16), NumberOfFrames=2000)
    refuse(data, "promises 2000 frames and holds 1")


def test_a_file_without_pixels_is_refused():
    refuse(SAMPLES["rtplan.dcm"].read_bytes(), "holds no picture: it names no rows and columns")
    data = write_dicom(RAMP)
    refuse(data[: data.index(PIXELS)], "ends before its pixels, or has none")


def test_a_file_cut_short_anywhere_is_refused():
    film = pack([compress(RAMP)] * 2, JPEG_2000, (16, 16))
    for data in (write_dicom(RAMP), film[:-8]):  # its end mark may be missing
        for length in range(0, len(data), 7):
            with pytest.raises(ImageError):
                read_header(data[:length], "a.dcm")


# --- stopped on the way --------------------------------------------------------------------


def test_the_parser_is_stopped_when_there_is_no_end():
    refuse(insert(bytes(16 << 20)), r"its header is damaged or of an unusual kind \(OSError\)")


@pytest.mark.parametrize(("element", "size"), [(0x1050, 128 << 10), (0x3010, 1 << 20)])
def test_a_long_value_in_a_wanted_element_is_refused(element, size):
    many = struct.pack("<HH2s2xL", 0x28, element, b"UN", size) + b"1\\" * (size // 2)
    refuse(insert(many), r"its header is damaged or of an unusual kind \(ValueError\)")


def test_a_long_list_of_alphabets_is_refused():
    names = struct.pack("<HH2sH", 0x8, 0x5, b"CS", 65534) + b"\\" * 65534
    refuse(insert(names * 9), r"its header is damaged or of an unusual kind \(OSError\)")


def test_a_large_private_value_is_no_reason_to_refuse():
    data = write_dicom(RAMP)
    at = data.index(struct.pack("<HH", 0x28, 0x2))
    private = struct.pack("<HH2s2xL", 0x9, 0x1001, b"OB", 8 << 20) + bytes(8 << 20)
    assert np.array_equal(read(data[:at] + private + data[at:])[..., 0], RAMP)


def test_sequences_nested_without_end_are_refused():
    opening = (
        struct.pack("<HH2s2xL", 0x9, 0x1001, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\0\xe0" + b"\xff" * 4
    )
    refuse(insert(opening * 20_000), r"\((RecursionError|OSError)\)")


def test_run_lengths_are_undone_only_as_far_as_needed():
    bomb = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\7" * (1 << 18)  # 32 MiB of sevens
    data = pack([bomb], RLE, (16, 16))
    read(data)  # imports
    tracemalloc.start()
    frame = decode_frame(data, "a.dcm")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (frame == 7).all()
    assert peak < 8 << 20


@pytest.mark.parametrize(("kind", "syntax"), [("JPEG", JPEG), ("JPEG2000", JPEG_2000)])
def test_a_large_stream_in_a_small_picture_is_never_decoded(kind, syntax, monkeypatch):
    monkeypatch.setattr("polyp_core.dicom.unpacking._decode", None)
    data = pack([compress(np.zeros((300, 200), np.uint8), kind)], syntax, (16, 16))
    with pytest.raises(ImageError, match="packed pixels are 200 × 300. Expected 16 × 16, as its"):
        decode_frame(data, "a.dcm")


def test_the_parts_of_a_film_are_sorted_once_and_not_for_every_frame(monkeypatch):
    """A film cut into very many parts would else take as many steps for each of its frames."""
    assign_parts, calls = picture._assign_parts, []
    monkeypatch.setattr(
        picture, "_assign_parts", lambda *args: (calls.append(args), assign_parts(*args))[1]
    )
    packed = [compress(np.roll(RAMP, number)) for number in range(3)]
    film = pack(packed, JPEG_2000, (16, 16), parts=2, table=False)
    _, frames = decode_frames(film, "a.dcm")
    for number, frame in enumerate(frames):
        assert np.array_equal(frame[..., 0], np.roll(RAMP, number))
    assert len(calls) == 1


@pytest.mark.parametrize("is_palette", [False, True])
def test_the_table_of_a_film_is_made_once_and_not_for_every_frame(is_palette, monkeypatch):
    name = "_read_entries" if is_palette else "_apply_window"
    make, calls = getattr(rendering, name), []
    monkeypatch.setattr(rendering, name, lambda *args: (calls.append(args), make(*args))[1])
    palette = {
        f"{channel}PaletteColorLookupTable{what}": value
        for channel in ("Red", "Green", "Blue")
        for what, value in (("Descriptor", [256, 0, 16]), ("Data", RAMP.tobytes() * 2))
    } | {"PhotometricInterpretation": "PALETTE COLOR"}
    film = write_dicom(
        np.concatenate([RAMP] * 5), Rows=16, NumberOfFrames=5, **palette if is_palette else {}
    )
    _, frames = decode_frames(film, "a.dcm")
    assert len(list(frames)) == 5
    assert len(calls) == (3 if is_palette else 1)


# --- broken in every other way -------------------------------------------------------------


def test_every_sample_is_decoded_or_refused_in_our_words(subtests):
    assert len(FILES) > 250
    for path in (path for path in FILES if path.stat().st_size < 1 << 20):
        with subtests.test(path.name):
            read(path.read_bytes())


@pytest.mark.parametrize("kind", ["native", "palette", "rle", "jpeg", "jpeg 2000", "tables"])
def test_noise_anywhere_is_survived(kind):
    rng = np.random.default_rng(0)
    colours = np.stack([RAMP] * 3, axis=-1)
    run = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\7" * 3
    palette = {
        f"{channel}PaletteColorLookupTable{what}": value
        for channel in ("Red", "Green", "Blue")
        for what, value in (("Descriptor", [256, 0, 16]), ("Data", RAMP.tobytes() * 2))
    }
    data = {
        "native": lambda: write_dicom(colours, PhotometricInterpretation="YBR_FULL"),
        "palette": lambda: write_dicom(RAMP, PhotometricInterpretation="PALETTE COLOR", **palette),
        "rle": lambda: pack([run], RLE, (16, 16)),
        "jpeg": lambda: pack([compress(RAMP, "JPEG")] * 2, JPEG, (16, 16)),
        "jpeg 2000": lambda: pack([compress(RAMP)] * 2, JPEG_2000, (16, 16), table=False),
        "tables": lambda: SAMPLES["vlut_04.dcm"].read_bytes()[:-200_000] + bytes(200_000),
    }[kind]()
    outcomes = set()
    for _ in range(100):
        broken = bytearray(data)
        for _ in range(rng.integers(1, 6)):
            broken[rng.integers(132, min(len(data), 3000))] = rng.integers(0, 256)
        outcomes.add(read(bytes(broken)) is None)
    assert outcomes == {True, False}


def test_no_error_names_the_patient():
    data = write_dicom(RAMP, PatientID="4711-Doe", PatientName="Doe^Jane")
    errors = []
    for at in range(132, len(data) - 256, 2):
        for broken in (
            data[:at],
            data[:at] + b"\xff\xff" + data[at + 2 :],
            data[:at] + data[at + 1 :],
        ):
            try:
                decode_frame(broken, "a.dcm")
            except ImageError as error:
                errors.append(error)
    assert len(errors) > 300
    assert not [error for error in errors if re.search("4711|Doe|Jane", str(error))]
    # What pydicom said, and may have quoted, is not shown in a traceback either.
    assert all(error.__suppress_context__ or error.__context__ is None for error in errors)
