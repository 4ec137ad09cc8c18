"""A file or an upload becomes one array. The only decoder, cropper and resizer of the project."""

import io
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from polyp_core.config import DataConfig, ModelConfig
from polyp_core.dicom import MAX_FILE_BYTES, MAX_PIXELS, decode_frames, is_dicom
from polyp_core.dicom.failures import silence_warnings
from polyp_core.errors import ImageError
from polyp_core.region import Box, box_from_percent, crop_region, find_region

__all__ = [
    "SUFFIXES",
    "Picture",
    "crop_picture",
    "decode_image",
    "decode_picture",
    "decode_pictures",
    "find_box",
    "fit_image",
    "is_dicom",
    "prepare_picture",
    "read_file",
]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom"})
# Our own limit is lower than Pillow's and says what to do; it is checked before any decoding.
Image.MAX_IMAGE_PIXELS = None
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGES = (  # what Pillow raises on bad files; those of TIFF trust what they read
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, struct.error, zlib.error),
)
_EXPECTED = "Expected PNG, JPEG, BMP, TIFF, WebP or DICOM."


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture at its full size.

    Attributes:
        pixels: `(height, width, 1)` grey or `(height, width, 3)` RGB, uint8.
        region: The scan area that a DICOM file names, in px: left, top, right, bottom; or None.
        patient: From a DICOM file, hashed; "" where unknown.
    """

    pixels: np.ndarray
    region: Box | None = None
    patient: str = ""


def decode_image(source: Path | bytes, name: str | None = None, frame: int = 0) -> np.ndarray:
    """The pixels of `decode_picture`."""
    return decode_picture(source, name, frame).pixels


def decode_picture(source: Path | bytes, name: str | None = None, frame: int = 0) -> Picture:
    """Decode one picture at its full size.

    EXIF orientation is applied, transparency is laid on black, 16 bit is scaled to 8 bit, DICOM
    is windowed. The format is found from the content; the name plays no part.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in an error. Defaults to the file's name, or "the image".
        frame: Which frame of a DICOM file, counted from 0.

    Raises:
        ImageError: If it cannot be opened, is no known format, is cut short or is too large.
    """
    name = name or (source.name if isinstance(source, Path) else "the image")
    data = source if isinstance(source, bytes) else read_file(source, name)
    return next(decode_pictures(data, name, [frame]))


def decode_pictures(
    data: bytes, name: str, frames: Iterable[int] | None = None
) -> Iterator[Picture]:
    """Decode several frames of a file that is parsed once.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.
        frames: Of a DICOM file, counted from 0. None is all of them. Of any other file its one
            picture stands for every frame.

    Yields:
        A picture a frame, as `decode_picture` gives it, each decoded when it is asked for.

    Raises:
        ImageError: As `decode_picture`.
    """
    if not data:
        raise ImageError(f"'{name}' is empty (0 bytes). Copy or export it again.")
    if is_dicom(data):
        header, decoded = decode_frames(data, name, frames)
        for pixels in decoded:
            yield Picture(pixels=pixels, region=header.region, patient=header.patient)
        return
    picture = Picture(pixels=_decode_plain(data, name))
    for _ in [0] if frames is None else frames:
        yield picture


def _decode_plain(data: bytes, name: str) -> np.ndarray:
    """The pixels of a file that is no DICOM."""
    silence_warnings("PIL")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_size(picture, name)
            _check_single(picture, name)
            turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
            upright = picture if turn is None else picture.transpose(turn)
            return _to_array(upright, name)
    except UnidentifiedImageError:
        raise ImageError(
            f"'{name}' is not an image that can be read, whatever its name says. {_EXPECTED} "
            "Export it again in one of these."
        ) from None
    except _DAMAGES as error:
        raise ImageError(
            f"'{name}' is damaged or cut short ({error}). Copy or export it again."
        ) from error


def read_file(path: Path, name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: If it cannot be opened, or is so large that it can be no image of ours.
    """
    try:
        facts = path.stat()
        size_bytes = facts.st_size
        # Reading a pipe or a device might never end.
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            raise ImageError(
                f"'{name}' is no file but a pipe or a device. Expected an image file. Remove it."
            )
        if size_bytes > MAX_FILE_BYTES:
            raise ImageError(
                f"'{name}' is too large: {size_bytes // 2**20} MB. Expected at most "
                f"{MAX_FILE_BYTES // 2**20} MB a file. Make it smaller first."
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"Cannot open '{name}': {error.strerror}. Check that the file is there and may be read."
        ) from error


def find_box(picture: Picture, config: DataConfig) -> Box:
    """The part of a picture that is used, in px: left, top, right, bottom.

    Args:
        picture: At its full size.
        config: "off" uses all of it; "automatic" the scan area that the DICOM file names or that
            is found; "box" the given one.
    """
    height_px, width_px = picture.pixels.shape[:2]
    if config.region == "box":
        left, top, right, bottom = config.region_box
        return box_from_percent((left, top, right, bottom), width_px, height_px)
    if config.region == "automatic":
        return picture.region or find_region(picture.pixels)
    return 0, 0, width_px, height_px


def crop_picture(picture: Picture, config: DataConfig) -> np.ndarray:
    """The used part of a picture, `(height, width, 1 or 3)` uint8."""
    return crop_region(picture.pixels, find_box(picture, config))


def prepare_picture(picture: Picture, data: DataConfig, model: ModelConfig) -> np.ndarray:
    """What the network sees of a picture, `(size, size, channels)` uint8: cropped, then fitted."""
    return fit_image(crop_picture(picture, data), model.image_size_px, model.channels)


def fit_image(image: np.ndarray, size_px: int, channels: int) -> np.ndarray:
    """Bring a picture to what the network sees: a square of given size, grey or RGB.

    Args:
        image: `(height, width, 1 or 3)` uint8.
        size_px: Width and height of the result; the aspect is not kept, as in Keras.
        channels: 1 (luminance, ITU-R 601) or 3.

    Returns:
        `(size_px, size_px, channels)` uint8.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:  # else it would be copied
        picture = picture.convert(mode)
    if picture.size != (size_px, size_px):
        picture = picture.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(size_px, size_px, channels)


def _check_size(picture: Image.Image, name: str) -> None:
    width_px, height_px = picture.size
    if width_px * height_px > MAX_PIXELS:
        raise ImageError(
            f"'{name}' is too large: {width_px} × {height_px} pixels. Expected at most "
            f"{MAX_PIXELS // 1_000_000} million. Make it smaller first."
        )


def _check_single(picture: Image.Image, name: str) -> None:
    """Refuse a file of several pages or frames without counting them all."""
    if picture.format == "MPO":  # a camera's JPEG, with a preview of itself behind it
        return
    try:
        picture.seek(1)
    except EOFError:
        picture.seek(0)
        return
    raise ImageError(
        f"'{name}' holds several pages or frames. Expected one picture a file (only DICOM may hold "
        "several). Save each of them as a file of its own."
    )


def _to_array(picture: Image.Image, name: str) -> np.ndarray:
    mode = picture.mode
    if mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.uint32)
        return ((values + 128) // 257).astype(np.uint8)[..., np.newaxis]
    if mode == "I":
        raise ImageError(f"'{name}' holds 32 bit a pixel. Expected 8 or 16 bit. Export it again.")
    if mode == "F":
        raise ImageError(
            f"'{name}' holds decimal numbers, not grey levels. Expected 8 or 16 bit. "
            "Export it again."
        )
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    array = np.asarray(picture.convert("L" if mode in ("L", "1") else "RGB"))
    return array[..., np.newaxis] if array.ndim == 2 else array
