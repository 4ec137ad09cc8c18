"""What a child answers, checked: it has read a stranger's file and may have been taken over."""

import io
import logging
import re
from dataclasses import dataclass

import numpy as np

from polyp_core.decoding_worker import Message, read_exactly, read_message
from polyp_core.dicom import MAX_PIXELS
from polyp_core.dicom.picture import MAX_FRAMES
from polyp_core.images import Picture

EXPECTED = (
    f"Expected at most {MAX_PIXELS // 1_000_000} million pixels, packed in a common way. Make it "
    "smaller, or export it again as PNG or JPEG."
)
_MAX_LOGGED = 4000  # characters
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a file says of itself before a pixel is decoded.

    Attributes:
        num_frames: 1 or more.
        patient: From a DICOM file, hashed; "" where unknown.
        series: The same.
        number: The file's place in its series (InstanceNumber); 0 where unknown.
    """

    num_frames: int = 1
    patient: str = ""
    series: str = ""
    number: int = 0


Outcome = Picture | FileFacts | str  # the last: the text of an ImageError


def receive_answer(
    stream: io.RawIOBase, request: Message, memory_limit_mb: int
) -> tuple[Outcome, bool]:
    """Read an answer; nothing is taken for it before its size is checked.

    Returns:
        What was asked for or the text of an error, and whether it was the child's last answer.

    Raises:
        EOFError, OSError: If the child has ended.
        KeyError, TypeError, ValueError, RecursionError: If it is no answer to this request.
    """
    answer, name = read_message(stream), request["name"]
    if answer["number"] != request["number"] or type(answer["is_last"]) is not bool:
        raise ValueError("an answer to something else")
    outcome: Outcome
    match answer["kind"], request["task"]:
        case "picture", "decode":
            outcome = _receive_picture(stream, answer)
        case "facts", "facts":
            outcome = FileFacts(
                num_frames=_check_int(answer["num_frames"], 1, MAX_FRAMES),
                patient=_check_hash(answer["patient"], "dicom"),
                series=_check_hash(answer["series"], "series"),
                number=_check_int(answer["place"], -(1 << 31), 1 << 31),
            )
        case "refused", _:
            outcome = str(answer["text"])
        case "memory", _:
            outcome = (
                f"'{name}' takes more than {memory_limit_mb} MB of memory to decode, so it was "
                f"given up. {EXPECTED}"
            )
        case "failure", _:
            _log_failure(str(answer["text"]))
            outcome = explain_failure(name, "the server's log says where")
        case _:
            raise ValueError("an unknown kind of answer")
    return outcome, answer["is_last"]


def explain_failure(name: str, reason: str) -> str:
    """The text of an error that is not the file's alone."""
    return (
        f"'{name}' cannot be read: the decoder failed on it ({reason}). Copy or export it again, "
        "as PNG if possible."
    )


def _receive_picture(stream: io.RawIOBase, answer: Message) -> Picture:
    height_px, width_px, num_channels = answer["shape"]
    _check_int(height_px, 1, MAX_PIXELS)
    _check_int(width_px, 1, MAX_PIXELS // height_px)
    if _check_int(num_channels, 1, 3) == 2:
        raise ValueError("two channels")
    region = None
    if answer["region"] is not None:
        left, top, right, bottom = answer["region"]
        right, bottom = _check_int(right, 1, width_px), _check_int(bottom, 1, height_px)
        region = _check_int(left, 0, right - 1), _check_int(top, 0, bottom - 1), right, bottom
    patient = _check_hash(answer["patient"], "dicom")
    pixels = np.empty((height_px, width_px, num_channels), np.uint8)
    read_exactly(stream, pixels.reshape(-1).data)
    return Picture(pixels=pixels, region=region, patient=patient)


def _check_int(value: object, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError("a number that cannot be")
    return value


def _check_hash(value: object, kind: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(f"(?:{kind}-[0-9a-f]{{12}})?", value):
        raise ValueError("a name that cannot be")
    return value


def _log_failure(text: str) -> None:
    """Write down where a decoder failed; a hostile one cannot forge lines of the log."""
    lines = text[:_MAX_LOGGED].splitlines()
    shown = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    _log.error("A decoder failed:\n%s", "\n".join(f"  | {line}" for line in shown))
