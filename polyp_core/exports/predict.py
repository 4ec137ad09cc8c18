"""Classify images with the model beside this file: python predict.py IMAGE ...

Prints a line an image: its path, the class or "not sure", and the probability of the second class
of preprocessing.json. For research and teaching; this is not a medical device.
"""

import importlib
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
NOTE = "whether a picture is like the training images is not looked at here. Not a medical device."
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 40_000_000
Image.MAX_IMAGE_PIXELS = None  # ours is lower
UNREADABLE = (  # what Pillow raises on bad files
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, struct.error, zlib.error),
)


def read_picture(path: str) -> Image.Image:
    """Upright, 8 bit, grey or RGB; what is transparent lies on black."""
    opened = Image.open(path, formats=FORMATS)
    if opened.width * opened.height > MAX_PIXELS:
        raise ValueError(f"has over {MAX_PIXELS // 1_000_000} million pixels; make it smaller")
    has_pages = opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1
    if has_pages or opened.mode in ("I", "F"):
        raise ValueError("holds several pages, or neither 8 nor 16 bit")
    picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16"):
        levels = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return Image.fromarray(levels.astype(np.uint8))
    if picture.has_transparency_data:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def find_box(picture: Image.Image, region: dict[str, Any]) -> tuple[int, int, int, int]:
    """The part of a picture that the model sees, in px: left, top, right, bottom."""
    if region["kind"] == "automatic":
        pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
        left, top, right, bottom = importlib.import_module("region").find_region(pixels)
        return left, top, right, bottom
    left, top, right, bottom = region["box_percent"]
    left, right = place_sides(left, right, picture.width)
    top, bottom = place_sides(top, bottom, picture.height)
    return left, top, right, bottom


def place_sides(low: int, high: int, length: int) -> tuple[int, int]:
    """Two sides in percent of a length become two in px, at least 1 px apart."""
    first = min(round(low * length / 100), length - 1)
    return first, max(first + 1, round(high * length / 100))


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: python predict.py IMAGE ...", file=sys.stderr)
        return 2
    rules = json.loads((HERE / "preprocessing.json").read_text(encoding="utf-8"))
    size, channels = rules["input"]["size_px"], rules["input"]["channels"]
    run = Interpreter(str(HERE / "model.tflite")).get_signature_runner()
    num_failed = 0
    print(f"probability of {rules['class_names'][1]}; {NOTE}", file=sys.stderr)
    for path in sys.argv[1:]:
        try:
            picture = read_picture(path)
            seen = picture.crop(find_box(picture, rules["region"]))
            seen = seen.convert("L" if channels == 1 else "RGB")
            seen = seen.resize((size, size), Image.Resampling.BILINEAR)
        except UNREADABLE as error:
            print(f"{path}: {error}", file=sys.stderr)
            num_failed += 1
            continue
        pixels = np.asarray(seen, np.float32).reshape(1, size, size, channels)
        probability = float(run(image=pixels)["probability"][0])
        answer = rules["class_names"][int(probability >= rules["threshold"])]
        low, high = rules["band"] or (1, 0)
        is_sure = low >= high or not low <= probability <= high
        print(path, answer if is_sure else "not sure", f"{probability:.6f}", sep="\t")
    return int(num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
