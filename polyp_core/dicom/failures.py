"""Decoders kept quiet: what pydicom raises on bad files becomes one sentence of our own."""

import logging
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from polyp_core.errors import ImageError


def silence_warnings(package: str) -> None:
    """Hide a decoder's warnings of bad files, for good; what cannot be read is an error of ours."""
    rule = ("ignore", None, Warning, re.compile(rf"{package}\."), 0)
    if rule not in warnings.filters:  # `catch_warnings` is not safe between threads
        warnings.filterwarnings("ignore", module=rf"{package}\.")


@contextmanager
def explain_failure(name: str, what: str) -> Iterator[None]:
    """Turn what pydicom raises on bad files into one sentence; its own may quote the patient."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    silence_warnings("pydicom")
    try:
        yield
    except (
        ArithmeticError, AssertionError, AttributeError, BytesLengthException, EOFError,
        InvalidDicomError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    ) as error:  # fmt: skip
        raise ImageError(
            f"'{name}' cannot be read: {what} is damaged or of an unusual kind "
            f"({type(error).__name__}). Copy or export it again, uncompressed if possible."
        ) from None
