"""The formats that are let in, told by their first bytes; a name promises nothing."""

import re

from polyp_core.dicom import is_dicom

HEAD_BYTES = 132  # the mark of DICOM stands last
SAID = "PNG, JPEG, BMP, TIFF, WebP, DICOM or a zip of them"
_SIGNATURES = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    # "BM" alone may begin a text; the length of the header that follows is one of a few.
    "bmp": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "zip": re.compile(rb"PK(?:\x03\x04|\x05\x06)"),
}


def find_format(head: bytes) -> str:
    """Which format a file's first 132 bytes tell: "dicom", "png" …, "zip"; "" for any other."""
    if is_dicom(head):  # first, as the decoder asks it first
        return "dicom"
    return next((name for name, mark in _SIGNATURES.items() if mark.match(head)), "")
