"""A file or an upload becomes one array. The only decoder and resizer of the project."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from polyp_core.errors import ImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 40_000_000
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
_EXPECTED = "Expected PNG, JPEG, BMP, TIFF or WebP."


def decode_image(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """Decode one picture at its full size.

    EXIF orientation is applied, transparency is laid on black, 16 bit is scaled to 8 bit. The
    format is found from the content; the name plays no part.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in an error. Defaults to the file's name, or "the image".

    Returns:
        `(height, width, 1)` for grey pictures, `(height, width, 3)` RGB otherwise; uint8.

    Raises:
        ImageError: If it cannot be opened, is no known format, is cut short or is too large.
    """
    name = name or (source.name if isinstance(source, Path) else "the image")
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ImageError(
            f"Cannot open '{name}': {error.strerror}. Check that the file is there and may be read."
        ) from error
    if not data:
        raise ImageError(f"'{name}' is empty (0 bytes). Copy or export it again.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_size(picture, name)
            turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
            return _to_array(picture if turn is None else picture.transpose(turn), name)
    except UnidentifiedImageError:
        raise ImageError(
            f"'{name}' is not an image that can be read, whatever its name says. {_EXPECTED} "
            "Export it again in one of these."
        ) from None
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise ImageError(
            f"'{name}' is damaged or cut short ({error}). Copy or export it again."
        ) from error


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
    picture = picture.convert("L" if channels == 1 else "RGB")
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
