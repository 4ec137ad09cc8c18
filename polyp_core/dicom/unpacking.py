"""From a description of the picture to its stored values."""

import struct
from typing import Any

import numpy as np

from polyp_core.dicom.picture import CODECS, EXPLICIT, JPEG_EXTENDED, NATIVE, RLE, StoredPicture
from polyp_core.errors import ImageError


def unpack_frame(
    data: bytes, picture: StoredPicture, frame: int, name: str
) -> tuple[np.ndarray, str]:
    """Decode the stored values of one frame.

    Returns:
        `(height, width)` or `(height, width, 3)`, and the colour model they are now in.

    Raises:
        ImageError: If a package is missing that unpacks them, or the packed pixels are of
            another size than the header says. Other damage raises as pydicom does.
    """
    if picture.syntax in NATIVE:
        ((start, end),) = picture.parts[0]
        return _decode(picture, memoryview(data)[start:end], frame)
    packed = b"".join(data[start:end] for start, end in picture.parts[frame])
    if picture.syntax == RLE:
        return _decode(picture, _unpack_rle(packed, picture), 0, is_unpacked=True)
    return _decode_packed(picture, packed, name)


def _decode(
    picture: StoredPicture,
    source: bytes | memoryview,
    frame: int,
    *,
    is_unpacked: bool = False,
    plugin: str = "",
) -> tuple[np.ndarray, str]:
    from pydicom.pixels.decoders.base import get_decoder

    options: dict[str, Any] = {
        "pixel_keyword": "PixelData",
        "pixel_vr": picture.pixel_vr,
        "rows": picture.height_px,
        "columns": picture.width_px,
        "number_of_frames": picture.num_frames if picture.syntax in NATIVE else 1,
        "samples_per_pixel": picture.num_samples,
        "bits_allocated": picture.bits_allocated,
        "bits_stored": picture.bits_stored,
        "pixel_representation": int(picture.is_signed),
        "photometric_interpretation": picture.photometric,
        "planar_configuration": int(picture.is_planar),
    }
    if is_unpacked:
        options |= {
            "planar_configuration": 1,
            "photometric_interpretation": picture.photometric.removesuffix("_422"),
        }
    decoder = get_decoder(EXPLICIT if is_unpacked else picture.syntax)
    pixels, properties = decoder.as_array(
        source, index=frame, raw=True, decoding_plugin=plugin, **options
    )
    return pixels, str(properties["photometric_interpretation"])


def _decode_packed(picture: StoredPicture, packed: bytes, name: str) -> tuple[np.ndarray, str]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    plugins = get_decoder(picture.syntax).available_plugins
    kind, package = CODECS[picture.syntax]
    if picture.syntax == JPEG_EXTENDED and picture.bits_stored != 8:
        raise ImageError(
            f"'{name}' is packed as {kind} with {picture.bits_stored} bits. Expected 8 bits. "
            "Export it again, uncompressed."
        )
    if not plugins:
        raise ImageError(
            f"'{name}' is packed as {kind}, which needs the package {package}. Export the file "
            f"uncompressed, or install the package (pip install {package}) where this program "
            "runs and start it again."
        )
    if packed[4:8] == b"jP  ":  # a JP2 file instead of its stream alone
        packed = packed[packed.index(b"jp2c") + 4 :]
    (width_px, height_px), is_final = _read_stream_size(packed)
    if (width_px, height_px) != (picture.width_px, picture.height_px):
        raise ImageError(
            f"'{name}' is damaged: its packed pixels are {width_px} × {height_px}. Expected "
            f"{picture.width_px} × {picture.height_px}, as its header says. Export it again."
        )
    plugin = "pillow" if "pillow" in plugins else ""
    source = encapsulate([packed], has_bot=False)
    pixels, photometric = _decode(picture, source, 0, plugin=plugin)
    # Pillow has followed Adobe's mark already; a second conversion would spoil the colours.
    return pixels, "RGB" if is_final and plugin and picture.num_samples == 3 else photometric


def _read_stream_size(packed: bytes) -> tuple[tuple[int, int], bool]:
    """Width and height of a JPEG or JPEG 2000 stream; whether it carries Adobe's colour mark."""
    if packed[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack_from(">4L", packed, 8)
        return (right - left, bottom - top), False
    sizes, has_adobe, at = set(), False, 0
    while packed[at] == 0xFF and packed[at + 1] != 0xDA:
        marker = packed[at + 1]
        if marker in (0xFF, 0xD8):  # padding; the start
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xF7 or 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sizes.add(struct.unpack_from(">HH", packed, at + 5)[::-1])
        has_adobe |= marker == 0xEE and packed[at + 4 : at + 9] == b"Adobe"
        at += 2 + struct.unpack_from(">H", packed, at + 2)[0]
    (size,) = sizes
    return size, has_adobe


def _unpack_rle(packed: bytes, picture: StoredPicture) -> bytes:
    """All values of the first sample, then of the next; low byte first."""
    num_bytes, num_pixels = picture.bits_allocated // 8, picture.height_px * picture.width_px
    num_segments, *starts = struct.unpack_from("<16L", packed)
    if num_segments != num_bytes * picture.num_samples:
        raise ValueError("wrong number of segments")
    edges = [*starts[:num_segments], len(packed)]
    segments = [
        _unpack_segment(packed[start:end], num_pixels)
        for start, end in zip(edges[:-1], edges[1:], strict=True)
    ]
    planes = np.frombuffer(b"".join(segments), np.uint8)
    planes = planes.reshape(picture.num_samples, num_bytes, num_pixels)
    return planes[:, ::-1].transpose(0, 2, 1).tobytes()


def _unpack_segment(packed: bytes, num_pixels: int) -> bytes:
    """Undo run lengths, and stop when there is enough: a bomb does not go off."""
    values, at = bytearray(), 0
    while len(values) < num_pixels:
        count = packed[at]
        if count < 128:
            values += packed[at + 1 : at + 2 + count]
            at += count + 2
        else:
            if count > 128:
                values += packed[at + 1 : at + 2] * (257 - count)
            at += 2 if count > 128 else 1
    return bytes(values[:num_pixels])
