"""Small and valid inputs that the mutations start from, and DICOM and zip files of random parts."""

import io
import json
import zipfile
from collections.abc import Sequence
from importlib import import_module
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fuzzing.mutation import MAX_BYTES, mutate_bytes
from polyp_core.config import SECTIONS, RunConfig
from polyp_core.presets import PRESETS, get_preset

_files: Any = import_module("tests.core.dicom_files")
_HUES = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)
_SIZES = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "NumberOfFrames",
          "PixelRepresentation", "PlanarConfiguration")  # fmt: skip
_PICTURE = b"BM" + bytes(12) + b"\x28" + bytes(60)  # by its first bytes; they are never decoded
_NAMES = (
    "train/calcified/1.png", "a.png", "../a.png", "/a.png", "C:\\a.png", "a/../../b.png", "CON",
    "a\\b.png", "__MACOSX/a", ".hidden", "a" * 300, "a/" * 40 + "b", "é.png", "É.png",
    "\u202ea.png", "a.png/", "", "manifest.csv", "A.PNG", "a.png/b", "a\0b", "aux.png", "x .",
    "train/", "b.zip",
)  # fmt: skip


def make_image_seeds() -> list[bytes]:
    """A file of every format and mode that is read, and of some that are refused."""
    rgba = np.dstack([_HUES, _HUES[..., :1]])
    deep = _HUES[..., 0].astype(np.uint16) * 257
    upright = Image.Exif()
    upright[0x0112] = 6
    modes = {
        "L": Image.fromarray(_HUES[..., 0]),
        "RGB": Image.fromarray(_HUES),
        "RGBA": Image.fromarray(rgba),
        "LA": Image.fromarray(rgba).convert("LA"),
        "P": Image.fromarray(_HUES).quantize(16),
        "1": Image.fromarray(_HUES[..., 0]).convert("1"),
        "I;16": Image.fromarray(deep),
        "CMYK": Image.fromarray(_HUES).convert("CMYK"),
        "YCbCr": Image.fromarray(_HUES).convert("YCbCr"),
        "LAB": Image.fromarray(_HUES).convert("LAB"),
        "F": Image.fromarray(_HUES[..., 0].astype(np.float32)),
        "I": Image.fromarray(_HUES[..., 0].astype(np.int32)),
    }
    wanted: list[tuple[str, str, dict[str, Any]]] = [
        *(("PNG", mode, {}) for mode in ("L", "RGB", "RGBA", "LA", "P", "1", "I;16")),
        ("PNG", "P", {"transparency": 3}),
        ("PNG", "RGB", {"transparency": (1, 2, 3), "exif": upright}),
        ("PNG", "RGB", {"save_all": True, "append_images": [modes["RGB"]]}),
        *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK", "YCbCr")),
        ("JPEG", "RGB", {"progressive": True, "exif": upright, "comment": b"a" * 40}),
        ("MPO", "RGB", {"save_all": True, "append_images": [modes["RGB"]]}),
        *(("BMP", mode, {}) for mode in ("L", "RGB", "RGBA", "P", "1")),
        *(
            ("TIFF", mode, {})
            for mode in ("L", "RGB", "RGBA", "P", "1", "I;16", "I", "CMYK", "LAB", "F")
        ),
        *(
            ("TIFF", "RGB", {"compression": kind, "exif": upright})
            for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "L", {"save_all": True, "append_images": [modes["L"]]}),
        *(("WEBP", mode, {}) for mode in ("RGB", "RGBA")),
        ("WEBP", "RGB", {"lossless": True, "exif": upright}),
        ("WEBP", "RGB", {"save_all": True, "append_images": [modes["RGBA"]]}),
        ("GIF", "P", {}),
    ]
    seeds = []
    for kind, mode, options in wanted:
        file = io.BytesIO()
        modes[mode].save(file, kind, **options)
        seeds.append(file.getvalue())
    return seeds


def make_dicom_seeds() -> list[bytes]:
    """Files of every way of storing pixels, and pydicom's own samples, bad ones included."""
    made = [_make_dicom(Random(number)) for number in range(40)]
    samples = [
        path.read_bytes() for path in _files.FILES if 132 < path.stat().st_size <= MAX_BYTES // 4
    ]
    return made + [data for data in samples if data[128:132] == b"DICM"]


def mutate_dicom(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Changed bytes, or a new file of random parts that do not fit each other."""
    return _make_dicom(rng) if rng.random() < 0.3 else mutate_bytes(data, rng, others)


def make_zip_seeds() -> list[bytes]:
    """Zips of ordinary and of hostile names, packed in every way."""
    return [_make_zip(Random(number)) for number in range(40)]


def mutate_zip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Changed bytes, or a new zip of random entries."""
    return _make_zip(rng) if rng.random() < 0.3 else mutate_bytes(data, rng, others)


def make_manifest_seeds() -> list[bytes]:
    """Tables with and without patient, split and further columns."""
    plain = "path,label\n1.png,calcified\n2.png,non-calcified\n"
    whole = (
        "path,label,group,split,age\r\n"
        'a/1.png,calcified,p1,train,40\r\n"a, b/2.png",non-calcified,p2,validation,50\r\n'
        "a/3.png,calcified,p3,test,60\r\n"
    )
    texts = [plain, plain.replace(",", ";"), plain.replace(",", "\t"), whole, whole.upper(), ""]
    texts += [plain.replace("1.png", name) for name in ("../1.png", "/1.png", "a\\1.png", "\u202e")]
    return [*(text.encode() for text in texts), plain.encode("utf-8-sig"), plain.encode("utf-16")]


def make_config_seeds() -> list[bytes]:
    """The settings of every preset, as JSON."""
    return [json.dumps(get_preset(name).to_dict()).encode() for name in PRESETS]


def make_setting_seeds() -> list[bytes]:
    """Every setting with its default, as the command line and links give them; and goals."""
    values = RunConfig().to_dict()
    lines = [
        f"{section}.{name}={value}"
        for section in SECTIONS
        for name, value in values[section].items()
    ]
    goals = ["sensitivity=0.95", "specificity=0.9", "youden", "cost=5", "hand=0.4"]
    return [*(line.encode() for line in [*lines, *goals]), "\n".join(lines).encode()]


def _make_dicom(rng: Random) -> bytes:
    """A file of parts that mostly fit each other."""
    kind = rng.randrange(4)
    dtype = rng.choice((np.uint8, np.uint16, np.int16)) if kind == 0 else np.uint8
    shape = (16, 16) if rng.random() < 0.6 else (16, 16, 3)
    pixels = np.frombuffer(rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    elements: dict[str, Any] = {
        "PatientID": rng.choice(("", "1", "a^b")),
        "PhotometricInterpretation": rng.choice(
            ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
            if len(shape) == 2
            else ("RGB", "YBR_FULL", "YBR_FULL_422")
        ),
    }
    if rng.random() < 0.5:
        elements |= _make_tables(rng)
    if rng.random() < 0.2:
        elements[rng.choice(_SIZES)] = rng.choice((0, 1, 2, 3, 8, 12, 15, 17, 255, 4096, 65535))
    packed: bytes
    if kind == 0:
        syntax = rng.choice((_files.IMPLICIT, _files.EXPLICIT, _files.BIG_ENDIAN))
        packed = _files.write_dicom(pixels.astype(dtype), syntax, **elements)
    elif kind == 1:
        run = np.array([len(shape) ** 2 // 4, 64], "<u4").tobytes().ljust(64, b"\0")
        packed = _files.pack([run + b"\x81\7" * 3], _files.RLE, shape, **elements)
    else:
        name, syntax = (("JPEG", _files.JPEG), ("JPEG2000", _files.JPEG_2000))[kind - 2]
        frames = [_files.compress(pixels, name)] * rng.randint(1, 3)
        options = {"table": rng.random() < 0.5, "parts": rng.randint(1, 3)}
        packed = _files.pack(frames, syntax, shape, **options, **elements)
    return packed


def _make_tables(rng: Random) -> dict[str, Any]:
    """Elements that change how stored values are shown."""
    number = rng.choice((0, 1, 2, 16, 255, 256, 4096, 32767))
    tables: dict[str, Any] = {
        "WindowCenter": rng.choice((0, -1, 128, 1e9, -1e300)),
        "WindowWidth": rng.choice((0, 1, -1, 1e-9, 256, 1e9)),
        "RescaleSlope": rng.choice((0, 1, -1, 1e200, 0.001)),
        "RescaleIntercept": rng.choice((0, -1024, 1e15)),
        "VOILUTFunction": rng.choice(("LINEAR", "LINEAR_EXACT", "SIGMOID", "WRONG")),
    }
    for channel in ("Red", "Green", "Blue"):
        start = f"{channel}PaletteColorLookupTable"
        tables[f"{start}Descriptor"] = [number, rng.choice((0, 100, 32767)), rng.choice((8, 16))]
        if rng.random() < 0.7:
            tables[f"{start}Data"] = rng.randbytes(rng.choice((0, 2, 256, 512)))
        else:
            tables[f"Segmented{start}Data"] = rng.randbytes(rng.choice((0, 2, 6, 64)))
    return tables


def _make_zip(rng: Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        is_plain = rng.random() < 0.6
        names = rng.sample(_NAMES[:2] if is_plain else _NAMES, rng.randint(0, 2 if is_plain else 5))
        for name in names:
            info = zipfile.ZipInfo("a")
            info.filename = name
            info.compress_type = rng.choice((0, 8, 12, 14))
            modes = (0, 0o100644) if is_plain else (0, 0o100644, 0o120777, 0o040755, 0o060644)
            info.external_attr = rng.choice(modes) << 16
            content = rng.choice((b"", _PICTURE, _PICTURE, bytes(20_000), rng.randbytes(300)))
            archive.writestr(info, content)
    return file.getvalue()
