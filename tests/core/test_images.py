import contextlib
import io
import os
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from pydicom.dataset import Dataset

from polyp_core import dicom
from polyp_core.config import DataConfig, ModelConfig
from polyp_core.errors import ImageError
from polyp_core.images import (
    Picture,
    crop_picture,
    decode_image,
    decode_picture,
    decode_pictures,
    find_box,
    fit_image,
    prepare_picture,
)
from tests.core.dicom_files import RAMP, write_dicom

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
STEPS = np.array([[0, 60, 120], [180, 210, 250]], dtype=np.uint8)


def encode(picture: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def write_png_header(width_px: int, height_px: int) -> bytes:
    """A PNG file with a size but without a single pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
     ("WEBP", {"lossless": True})],
)  # fmt: skip
def test_lossless_format_gives_every_pixel_back(file_format, options):
    image = decode_image(encode(NOISE, file_format, **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, NOISE)


def test_jpeg_is_decoded_as_opencv_decodes_it():
    data = encode(cv2.GaussianBlur(NOISE, (9, 9), 3), "JPEG", quality=95)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decode_image(data).astype(int) - expected).max() <= 2


def test_path_and_bytes_give_the_same_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(NOISE))
    np.testing.assert_array_equal(decode_image(path), decode_image(path.read_bytes()))


def test_content_decides_the_format_and_not_the_name(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encode(STEPS))
    np.testing.assert_array_equal(decode_image(path)[..., 0], STEPS)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_picture_has_one_channel(file_format):
    image = decode_image(encode(np.full((8, 8), 77, dtype=np.uint8), file_format))
    assert image.shape == (8, 8, 1)
    assert (image == 77).all()


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, STEPS),
        (2, STEPS[:, ::-1]),
        (3, STEPS[::-1, ::-1]),
        (4, STEPS[::-1]),
        (5, STEPS.T),
        (6, STEPS[::-1].T),
        (7, STEPS[::-1, ::-1].T),
        (8, STEPS.T[::-1]),
    ],
)
def test_exif_orientation_is_applied(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encode(STEPS, exif=exif))[..., 0], expected)


def test_odd_exif_entry_beside_the_orientation_does_no_harm():
    # Orientation 6, and a resolution that is text where a fraction belongs.
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    resolution = struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + orientation + resolution + bytes(4)
    assert decode_image(encode(STEPS, "JPEG", exif=exif)).shape == (3, 2, 1)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("RGBA", (200, 100, 50, 128), (100, 50, 25)),
        ("RGBA", (200, 100, 50, 0), (0, 0, 0)),
        ("LA", (200, 128), (100, 100, 100)),
    ],
)
def test_transparency_is_laid_on_black(mode, color, expected):
    image = decode_image(encode(Image.new(mode, (2, 1), color)))
    np.testing.assert_array_equal(image, [[expected, expected]])


def test_gray_with_alpha_stays_gray_for_the_network():
    image = fit_image(decode_image(encode(Image.new("LA", (2, 2), (200, 255)))), 2, 1)
    np.testing.assert_array_equal(image[..., 0], [[200, 200], [200, 200]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10, 20, 30]),
        ({"transparency": 0}, [0, 0, 0]),
        ({"transparency": b"\x80"}, [5, 10, 15]),
    ],
)
def test_palette_is_looked_up(options, expected):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    np.testing.assert_array_equal(
        decode_image(encode(picture, **options)), [[expected, [200, 100, 50]]]
    )


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_is_scaled_and_not_clipped(file_format):
    values = np.array([[0, 128, 129, 257, 40_000, 65_535]], dtype=np.uint16)
    image = decode_image(encode(values, file_format))
    # Divided by 257 and rounded: 0.498 → 0, 0.502 → 1, 155.6 → 156.
    assert image.shape == (1, 6, 1)
    assert image.ravel().tolist() == [0, 0, 1, 1, 156, 255]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_color_is_scaled_too(suffix):
    bgr = np.array([[[65_535, 257, 40_000]]], dtype=np.uint16)
    data = cv2.imencode(suffix, bgr)[1].tobytes()
    assert decode_image(data).ravel().tolist() == [156, 1, 255]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(file_format):
    picture = Image.fromarray(np.array([[0, 255, 0]], dtype=np.uint8)).convert("1")
    assert decode_image(encode(picture, file_format)).tolist() == [[[0], [255], [0]]]


def test_printers_colors_become_red_green_and_blue():
    image = decode_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("values", [[[0, 70_000]], [[-5, 200]], [[0, 200]]])
def test_thirty_two_bit_is_refused_and_never_turned_black(values):
    data = encode(np.array(values, dtype=np.int32), "TIFF")
    with pytest.raises(ImageError, match="^'a.tif' holds .*Expected 8 or 16.* Export it again.$"):
        decode_image(data, "a.tif")


def test_decimal_numbers_are_refused():
    with pytest.raises(ImageError) as caught:
        decode_image(encode(np.array([[0.5, 200]], dtype=np.float32), "TIFF"), "a.tif")
    assert str(caught.value) == (
        "'a.tif' holds decimal numbers, not grey levels. Expected 8 or 16 bit. Export it again."
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_file_cut_short_is_refused(file_format, part):
    data = encode(NOISE, file_format)
    with pytest.raises(ImageError) as caught:
        decode_image(data[: int(part * len(data))], "cut")
    expected = r"'cut' is damaged or cut short \(.+\)\. Copy or export it again\."
    assert re.fullmatch(expected, str(caught.value))


@pytest.mark.parametrize(
    "data",
    [
        b"patient 12, no findings\n",
        encode(NOISE, "EPS"),
        encode(STEPS, "GIF"),
        b"<svg/>",
    ],
    ids=["text", "EPS", "GIF", "SVG"],
)
def test_other_content_is_refused_whatever_the_name_says(tmp_path, data):
    path = tmp_path / "scan.png"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        decode_image(path)
    assert str(caught.value) == (
        "'scan.png' is not an image that can be read, whatever its name says. Expected PNG, JPEG, "
        "BMP, TIFF, WebP or DICOM. Export it again in one of these."
    )


@pytest.mark.parametrize(
    ("width_px", "height_px"), [(7_000, 7_000), (13_000, 13_000), (20_000, 20_000)]
)
def test_too_many_pixels_are_refused_from_the_header_alone(width_px, height_px):
    with pytest.raises(ImageError) as caught:
        decode_image(write_png_header(width_px, height_px), "huge.png")
    assert str(caught.value) == (
        f"'huge.png' is too large: {width_px} × {height_px} pixels. Expected at most 40 million. "
        "Make it smaller first."
    )


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "scan.png"
    path.touch()
    with pytest.raises(ImageError) as caught:
        decode_image(path)
    assert str(caught.value) == "'scan.png' is empty (0 bytes). Copy or export it again."


def test_bytes_without_a_name_are_called_the_image():
    with pytest.raises(ImageError, match=r"^'the image' is empty"):
        decode_image(b"")


@pytest.mark.parametrize(
    ("name", "reason"), [("gone.png", "No such file or directory"), ("", "Is a directory")]
)
def test_file_that_cannot_be_opened_is_named(tmp_path, name, reason):
    path = Path(tmp_path / name)
    with pytest.raises(ImageError) as caught:
        decode_image(path)
    assert str(caught.value) == (
        f"Cannot open '{path.name}': {reason}. Check that the file is there and may be read."
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image", [NOISE, NOISE[..., :1]], ids=["color", "gray"])
@pytest.mark.parametrize("size_px", [7, 48, 100])
def test_fitted_image_is_what_pillow_makes(image, channels, size_px):
    picture = Image.fromarray(image.squeeze()).convert("L" if channels == 1 else "RGB")
    picture = picture.resize((size_px, size_px), Image.Resampling.BILINEAR)
    fitted = fit_image(image, size_px, channels)
    assert fitted.dtype == np.uint8
    assert fitted.shape == (size_px, size_px, channels)
    np.testing.assert_array_equal(fitted.squeeze(), np.asarray(picture))


def test_shrinking_averages_the_pixels():
    image = np.array([[0, 100], [100, 200]], dtype=np.uint8)[..., np.newaxis]
    assert fit_image(image, 1, 1).tolist() == [[[100]]]


@pytest.mark.parametrize("channels", [1, 3])
def test_image_that_fits_already_stays_as_it_is(channels):
    image = np.ascontiguousarray(NOISE[:48, :48, :channels])
    np.testing.assert_array_equal(fit_image(image, 48, channels), image)


@pytest.mark.parametrize(
    ("color", "luminance"),
    # 0.299 R + 0.587 G + 0.114 B
    [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((10, 200, 100), 132)],
)
def test_gray_is_the_luminance(color, luminance):
    image = np.full((2, 2, 3), color, dtype=np.uint8)
    assert (fit_image(image, 2, 1) == luminance).all()


def test_gray_picture_becomes_three_equal_channels():
    fitted = fit_image(STEPS[:, :2, np.newaxis], 2, 3)
    for channel in range(3):
        np.testing.assert_array_equal(fitted[..., channel], STEPS[:, :2])


# Files of several pages


def write_tiff(num_pages: int) -> bytes:
    """A TIFF file of many pages, all of the same single pixel."""
    # Width, height, bits, no compression, black is 0, where the pixel is, its bytes.
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (279, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    size, start = 2 + len(entries) + 4, 10
    pages = [
        struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", start + (n + 1) * size if n + 1 < num_pages else 0)
        for n in range(num_pages)
    ]
    return b"II*\0" + struct.pack("<I", start) + bytes([77, 0]) + b"".join(pages)


def test_a_tiff_of_two_thousand_pages_is_refused_without_counting_them(monkeypatch):
    assert decode_image(write_tiff(1)).tolist() == [[[77]]]
    data = write_tiff(2001)
    sought = []
    seek = TiffImagePlugin.TiffImageFile.seek
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "seek",
        lambda picture, number: (sought.append(number), seek(picture, number)),
    )  # fmt: skip
    with pytest.raises(ImageError) as caught:
        decode_image(data, "loop.tif")
    assert str(caught.value) == (
        "'loop.tif' holds several pages or frames. Expected one picture a file (only DICOM may "
        "hold several). Save each of them as a file of its own."
    )
    assert max(sought) == 1


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_a_moving_picture_is_refused(file_format):
    other = Image.fromarray(255 - NOISE)
    data = encode(NOISE, file_format, save_all=True, append_images=[other])
    with pytest.raises(ImageError, match="^'the image' holds several pages or frames"):
        decode_image(data)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_file_of_one_page_is_read(file_format):
    assert decode_image(encode(NOISE, file_format)).shape == (48, 64, 3)


def test_a_camera_s_jpeg_with_a_preview_behind_it_gives_the_first_picture():
    preview = Image.fromarray(255 - NOISE[::2, ::2])
    data = encode(NOISE, "MPO", save_all=True, append_images=[preview], quality=95)
    alone = decode_image(encode(NOISE, "JPEG", quality=95))
    np.testing.assert_array_equal(decode_image(data), alone)


# Hostile files


def test_a_png_of_twenty_kilobytes_and_169_million_pixels_is_refused():
    data = encode(Image.new("1", (13_000, 13_000)))
    assert len(data) < 30_000
    with pytest.raises(ImageError) as caught:
        decode_image(data, "bomb.png")
    assert str(caught.value) == (
        "'bomb.png' is too large: 13000 × 13000 pixels. Expected at most 40 million. "
        "Make it smaller first."
    )


def test_a_truncated_jpeg_is_refused_and_not_half_shown():
    data = encode(np.kron(NOISE, np.ones((8, 8, 1), np.uint8)), "JPEG", quality=95)
    with pytest.raises(ImageError, match=r"^'scan.jpg' is damaged or cut short \(.+\)\. Copy or"):
        decode_image(data[: len(data) // 2], "scan.jpg")


def test_a_second_page_that_is_packed_in_an_unknown_way_is_refused():
    """Pillow looks the number up in a table, and does not look whether it is there."""
    data = bytearray(write_tiff(2))
    last = data.rindex(struct.pack("<HHLL", 0x0103, 4, 1, 1))  # how the second page is packed
    struct.pack_into("<HHLL", data, last, 0x0103, 4, 1, 6977)
    with pytest.raises(ImageError, match=r"^'the image' is damaged or cut short \(6977\)\. Copy"):
        decode_image(bytes(data))


@pytest.mark.parametrize("tag", [0x0112, 0x0101, 0x010E])
def test_what_the_decoder_warns_of_is_no_error_and_no_noise(tag, recwarn):
    """The app's own tests turn warnings into errors; a visitor's file must not do that."""
    data = encode(NOISE, "TIFF")
    entry = struct.pack("<HHLL", tag, 4, 1 << 20, 1 << 30)  # its values lie behind the end
    at = struct.unpack_from("<L", data, 4)[0] + 2
    with contextlib.suppress(ImageError):
        decode_image(data[:at] + entry + data[at + 12 :])
    assert not recwarn.list


def test_a_file_larger_than_any_image_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(600 * 2**20)  # takes no room on the disk
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read the file"))
    with pytest.raises(ImageError) as caught:
        decode_image(path)
    assert str(caught.value) == (
        "'huge.png' is too large: 600 MB. Expected at most 512 MB a file. Make it smaller first."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="^'a.png' is no file but a pipe or a device"):
        decode_image(tmp_path / "a.png")


# The part that is used


def make_screen() -> np.ndarray:
    """A dark screen of 300 × 200 px with a scan of echoes at (60, 40) to (260, 170)."""
    screen = np.full((200, 300, 1), 8, np.uint8)
    screen[40:170, 60:260, 0] = np.random.default_rng(3).integers(40, 90, (130, 200))
    return screen


def test_without_a_region_all_of_the_picture_is_used():
    picture = Picture(pixels=make_screen(), region=(1, 2, 3, 4))
    assert find_box(picture, DataConfig()) == (0, 0, 300, 200)
    assert np.array_equal(crop_picture(picture, DataConfig()), picture.pixels)


@pytest.mark.parametrize(
    ("percent", "box"),
    [
        ((0, 0, 100, 100), (0, 0, 300, 200)),
        ((10, 20, 50, 75), (30, 40, 150, 150)),
        ((99, 99, 100, 100), (297, 198, 300, 200)),
    ],
)
def test_a_box_in_percent_by_hand(percent, box):
    config = DataConfig(region="box", region_box=percent)
    picture = Picture(pixels=make_screen(), region=(1, 2, 3, 4))
    assert find_box(picture, config) == box
    left, top, right, bottom = box
    assert np.array_equal(crop_picture(picture, config), picture.pixels[top:bottom, left:right])


@pytest.mark.parametrize("side_px", [1, 2])
def test_a_box_holds_a_pixel_at_least(side_px):
    picture = Picture(pixels=np.zeros((side_px, side_px, 1), np.uint8))
    config = DataConfig(region="box", region_box=(99, 0, 100, 1))
    assert crop_picture(picture, config).size == 1


def test_the_scan_is_found_where_the_file_names_none():
    box = find_box(Picture(pixels=make_screen()), DataConfig(region="automatic"))
    assert np.abs(np.subtract(box, (60, 40, 260, 170))).max() <= 2


def test_a_dicom_file_is_decoded_and_its_own_region_goes_before_a_guess():
    region = Dataset()
    region.RegionDataType = region.RegionSpatialFormat = 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 70, 50
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 249, 159  # the last pixels inside
    data = write_dicom(make_screen()[..., 0], SequenceOfUltrasoundRegions=[region])
    picture = decode_picture(data, "scan")
    assert np.array_equal(picture.pixels, make_screen())
    assert find_box(picture, DataConfig(region="automatic")) == (70, 50, 250, 160)
    assert find_box(picture, DataConfig(region="off")) == (0, 0, 300, 200)
    box = DataConfig(region="box", region_box=(0, 0, 50, 50))
    assert find_box(picture, box) == (0, 0, 150, 100)


def test_a_chosen_frame_of_a_dicom_file_is_decoded():
    frames = np.stack([RAMP, RAMP.T])
    data = write_dicom(
        frames.tobytes(), NumberOfFrames=2, Rows=16, Columns=16, SamplesPerPixel=1,
        BitsAllocated=8, BitsStored=8,
    )  # fmt: skip
    assert np.array_equal(decode_image(data, "loop", 1)[..., 0], RAMP.T)


def test_one_picture_is_parsed_once_for_its_header_and_its_pixels(monkeypatch):
    read_picture, parsed = dicom.read_picture, []
    monkeypatch.setattr(
        dicom, "read_picture", lambda *args: (parsed.append(args), read_picture(*args))[1]
    )
    picture = decode_picture(write_dicom(RAMP, PatientID="Ada"), "scan")
    assert np.array_equal(picture.pixels[..., 0], RAMP)
    assert picture.patient.startswith("dicom-")
    assert len(parsed) == 1


def test_frames_of_a_dicom_file_come_in_the_order_asked_for():
    data = write_dicom(np.concatenate([RAMP, RAMP.T]), Rows=16, NumberOfFrames=2)
    shown = [picture.pixels[..., 0] for picture in decode_pictures(data, "loop", [1, 0, 1])]
    assert np.array_equal(shown, [RAMP.T, RAMP, RAMP.T])
    shown = [picture.pixels[..., 0] for picture in decode_pictures(data, "loop")]
    assert np.array_equal(shown, [RAMP, RAMP.T])


def test_a_file_that_is_no_dicom_holds_one_picture():
    (picture,) = decode_pictures(encode(NOISE), "scan.png")
    np.testing.assert_array_equal(picture.pixels, NOISE)


def test_what_the_network_sees_is_the_box_fitted():
    picture = Picture(pixels=make_screen())
    data = DataConfig(region="box", region_box=(20, 20, 80, 80))
    model = ModelConfig(image_size_px=32, channels=3)
    expected = fit_image(make_screen()[40:160, 60:240], 32, 3)
    assert np.array_equal(prepare_picture(picture, data, model), expected)
