"""The child that decodes what strangers upload: `python -m polyp_core.decoding_worker MB SECONDS`.

It reads requests from stdin and writes answers to stdout until stdin ends, which it does when the
parent dies, however it dies. A message is four bytes (big-endian, the length of the header), the
header (a JSON object of fixed keys) and then as many bytes as the header says:

    request  number, task ("decode" or "facts"), name, frame, num_bytes; the bytes of the file
    answer   kind, number, is_last and, by kind,
             "picture": shape, region, patient; the pixels, uint8
             "facts": num_frames, patient, series, place
             "refused": text, that of an ImageError
             "memory": it needed more than it may have
             "failure": text, where in our code it happened
             "ready" comes once, without a number, before the first request

Where the system knows such limits (Linux does) the child has a bounded address space, dumps no
core, writes no files and opens few, and is the first to go where memory runs out. macOS does not
bound the address space and Windows none of these: there the time alone is limited. A limit is no
prison: a file that took control of the child through a flaw in a decoder would have the rights of
whoever runs the server.
"""

import contextlib
import faulthandler
import io
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from polyp_core.dicom import is_dicom, read_header
from polyp_core.errors import ImageError
from polyp_core.images import decode_picture

MAX_MESSAGE_BYTES = 1 << 20  # of a header
_MAX_FILES = 1000  # then a fresh child takes over, whatever the libraries have leaked
_MAX_IDLE_BYTES = 256 << 20  # of memory that stays taken after an answer
_MAX_OPEN_FILES = 64
Stream = io.RawIOBase | io.BufferedIOBase
Message = dict[str, Any]
_Buffer = TypeVar("_Buffer", bytearray, memoryview)


def main(memory_mb: int, patience_s: float) -> None:
    """Answer requests until stdin ends or it is time for a fresh child.

    Args:
        memory_mb: Address space that the child may take, in MiB.
        patience_s: A request that takes longer ends the child, should the parent no longer be
            there to do it.
    """
    # Whatever a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _load_formats()
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # a server may have no stderr
        faulthandler.enable()
    _limit_process(memory_mb << 20)
    with contextlib.suppress(BrokenPipeError):  # nobody is there any more
        write_message(answers, {"kind": "ready"})
        _serve(cast(io.BufferedReader, sys.stdin.buffer), answers, patience_s)


def read_message(stream: Stream) -> Message:
    """Read a header; the bytes that belong to it come next.

    Raises:
        EOFError: If the other side has ended.
        ValueError: If it is too long, or no JSON object.
    """
    (length,) = struct.unpack(">I", read_exactly(stream, bytearray(4)))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a header of {length} bytes")
    message = json.loads(read_exactly(stream, bytearray(length)))
    if not isinstance(message, dict):
        raise ValueError("a header that is no object")
    return message


def read_exactly(stream: Stream, buffer: _Buffer) -> _Buffer:
    """Fill a buffer.

    Raises:
        EOFError: If the other side has ended.
    """
    view = memoryview(buffer)
    at = 0
    while at < len(view):
        count = stream.readinto(view[at:])
        if not count:
            raise EOFError
        at += count
    return buffer


def write_message(stream: Stream, message: Message, payload: bytes | memoryview = b"") -> None:
    """Write a header and the bytes that belong to it, without a copy of them."""
    header = json.dumps(message).encode()
    for part in (struct.pack(">I", len(header)) + header, payload):
        view = memoryview(part)
        at = 0
        while at < len(view):
            at += stream.write(view[at:]) or 0


def _serve(requests: io.BufferedReader, answers: io.RawIOBase, patience_s: float) -> None:
    for count in range(1, _MAX_FILES + 1):
        try:
            request = read_message(requests)
        except EOFError:
            return
        data = requests.read(request["num_bytes"])
        with _end_after(patience_s):
            answer, payload = _answer(request, data)
            del data
            is_last = (
                count == _MAX_FILES
                or answer["kind"] == "memory"
                or _measure_memory() > _MAX_IDLE_BYTES + len(payload)
            )
            answer |= {"number": request["number"], "is_last": is_last}
            write_message(answers, answer, payload)
            del payload
        if is_last:
            return


@contextlib.contextmanager
def _end_after(patience_s: float) -> Iterator[None]:
    """End this process if what is done takes longer, even in the middle of a library's work."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, patience_s)  # the signal's own way is to end it
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        faulthandler.dump_traceback_later(patience_s, exit=True)
        yield
        faulthandler.cancel_dump_traceback_later()


def _answer(request: Message, data: bytes) -> tuple[Message, bytes | memoryview]:
    """Do what is asked; every failure is an answer."""
    name = request["name"]
    try:
        if request["task"] == "facts":
            return _read_facts(data, name), b""
        return _decode(data, name, request["frame"])
    except ImageError as error:
        return {"kind": "refused", "text": str(error)}, b""
    except MemoryError:
        return {"kind": "memory"}, b""
    except Exception as error:
        # Where it happened, not the error's own words: they may quote the file, and the file
        # the patient.
        steps = traceback.format_tb(error.__traceback__)
        return {"kind": "failure", "text": "".join(steps[-20:]) + type(error).__name__}, b""


def _decode(data: bytes, name: str, frame: int) -> tuple[Message, memoryview]:
    picture = decode_picture(data, name, frame)
    pixels = np.ascontiguousarray(picture.pixels)
    answer = {
        "kind": "picture",
        "shape": pixels.shape,
        "region": picture.region,
        "patient": picture.patient,
    }
    return answer, pixels.reshape(-1).data


def _read_facts(data: bytes, name: str) -> Message:
    if not is_dicom(data):
        return {"kind": "facts", "num_frames": 1, "patient": "", "series": "", "place": 0}
    header = read_header(data, name)
    return {
        "kind": "facts",
        "num_frames": header.num_frames,
        "patient": header.patient,
        "series": header.series,
        "place": header.number,
    }


def _load_formats() -> None:
    """Import what decodes the common formats, and thereby none of the forty others."""
    from PIL import (  # noqa: F401
        BmpImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )


def _limit_process(memory_bytes: int) -> None:
    """Bound what this process may do, as far as the system knows such bounds."""
    sys.dont_write_bytecode = True
    with contextlib.suppress(OSError):  # Linux: the first to end where memory runs out
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        import resource
    except ImportError:
        return
    for name, bound in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", _MAX_OPEN_FILES),
    ):
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            bound = min(bound, highest)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound, bound))


def _measure_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            pages = file.read(200).split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
