"""A file or an upload becomes one array. The only decoder and resizer of the project."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from polyp_core.errors import ImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 40_000_000
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
            return _to_array(ImageOps.exif_transpose(picture), name)
    except UnidentifiedImageError:
        raise ImageError(
            f"'{name}' is not an image that can be read, whatever its name says. {_EXPECTED} "
            "Export it again in one of these."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
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
    if mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"'{name}' holds more than 16 bit a pixel. Expected 8 or 16. Export it again."
            )
        return ((values + 128) // 257).astype(np.uint8)[..., np.newaxis]
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
