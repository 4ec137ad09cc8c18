import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from polyp_core.errors import ImageError
from polyp_core.images import decode_image, fit_image

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
        "BMP, TIFF or WebP. Export it again in one of these."
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
