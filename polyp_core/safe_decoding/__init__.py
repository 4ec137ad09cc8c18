"""Files of strangers are decoded in a child that can be killed, never in the server.

A few children are kept warm, so that a picture costs hardly more than it does in the server
itself. Each is limited in memory (see `polyp_core.decoding_worker`) and in time: one that takes
too long is killed, and a fresh one takes its place. What a child answers is checked before it is
believed.
"""

import contextlib
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

from polyp_core.decoding_worker import Message, read_message, write_message
from polyp_core.dicom import MAX_FILE_BYTES, is_dicom
from polyp_core.errors import BusyError, ImageError
from polyp_core.images import Picture
from polyp_core.safe_decoding.answers import (
    EXPECTED,
    FileFacts,
    Outcome,
    explain_failure,
    receive_answer,
)
from polyp_core.safe_decoding.child import Child, Deadline

__all__ = ["DecoderPool", "FileFacts", "decode_safely", "read_facts", "warm_decoder"]

MEMORY_LIMIT_MB = 2048  # of address space; the largest picture allowed took 1,751, as measured
TIME_LIMIT_S = 10.0  # of a file, from its first byte sent to the last one of the answer
START_LIMIT_S = 60.0
WAIT_LIMIT_S = 60.0  # for a child that is free
_ORPHAN_LIMIT_S = 5.0  # more than the time limit, for a child whose parent is dead
_MAX_NAME = 1 << 16
_log = logging.getLogger(__name__)


def decode_safely(data: bytes, name: str, frame: int = 0) -> Picture:
    """Decode one picture that somebody uploaded, as `decode_picture` does, in a child.

    Args:
        data: The bytes of a file.
        name: What to call it in an error.
        frame: Which frame of a DICOM file, counted from 0.

    Raises:
        ImageError: As `decode_picture`, or if it takes too long or too much memory, if the decoder
            fails, or if no decoder becomes free.
    """
    return _pool.decode(data, name, frame)


def read_facts(data: bytes, name: str) -> FileFacts:
    """What an uploaded file says of itself: a DICOM file is read in a child, any other not at all.

    Raises:
        ImageError: As `polyp_core.dicom.read_header`, or as `decode_safely`.
    """
    return _pool.read_facts(data, name)


def warm_decoder() -> None:
    """Start a child, if there is none, without waiting for it: the first picture then need not."""
    _pool.warm()


class _Seat:
    """The place of one child, which is started when it is first needed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self.child: Child | None = None

    def start(self) -> Child:
        """The living child."""
        if self.child is None or self.child.process.poll() is not None:
            self.end()
            self.child = Child(self._command)
        return self.child

    def end(self) -> int:
        """Kill and bury the child; what it ended with."""
        child, self.child = self.child, None
        return child.end() if child else 0


class DecoderPool:
    """Children that decode, handed to whoever asked first.

    Args:
        size: Children at most; they are started when they are needed. Defaults to one a processor,
            from 2 (so that one slow file does not hold up all others) to 4.
        memory_limit_mb: Address space of a child, in MiB.
        time_limit_s: For a file.
        start_limit_s: For a child to start.
        wait_limit_s: For a child to become free.
        command: What to start, which tests replace.
    """

    def __init__(
        self,
        *,
        size: int | None = None,
        memory_limit_mb: int = MEMORY_LIMIT_MB,
        time_limit_s: float = TIME_LIMIT_S,
        start_limit_s: float = START_LIMIT_S,
        wait_limit_s: float = WAIT_LIMIT_S,
        command: Sequence[str] | None = None,
    ) -> None:
        self._memory_limit_mb, self._time_limit_s = memory_limit_mb, time_limit_s
        self._start_limit_s, self._wait_limit_s = start_limit_s, wait_limit_s
        limits = str(memory_limit_mb), str(time_limit_s + _ORPHAN_LIMIT_S)
        worker = [sys.executable, "-P", "-m", "polyp_core.decoding_worker", *limits]
        size = size or max(2, min(4, os.cpu_count() or 1))
        seats = [_Seat(command or worker) for _ in range(size)]
        self._lock = threading.Lock()
        self._seats = seats
        self._free = list(seats)  # the last one goes first: it is the warmest
        self._turns: deque[Future[_Seat]] = deque()
        self.close = weakref.finalize(self, _end_all, seats)  # at the interpreter's end as well

    def decode(self, data: bytes, name: str, frame: int = 0) -> Picture:
        """As `decode_safely`."""
        return cast(Picture, self._ask("decode", data, name, frame))

    def read_facts(self, data: bytes, name: str) -> FileFacts:
        """As the function of this name."""
        if not is_dicom(data):
            return FileFacts()
        return cast(FileFacts, self._ask("facts", data, name))

    def warm(self) -> None:
        """As `warm_decoder`."""
        with self._lock:
            if self._free:  # else all are at work, and so have been started
                with contextlib.suppress(OSError):  # the first picture will tell
                    self._free[-1].start()

    def _ask(self, task: str, data: bytes, name: str, frame: int = 0) -> Picture | FileFacts:
        _check_request(data, name)
        request = {"task": task, "name": name, "frame": frame, "num_bytes": len(data)}
        seat = self._take_seat(name)
        try:
            outcome = self._talk(seat, request, data)
        finally:
            self._give_back(seat)
        if isinstance(outcome, str):
            raise ImageError(outcome)
        return outcome

    def _take_seat(self, name: str) -> _Seat:
        with self._lock:
            if self._free:
                return self._free.pop()
            turn: Future[_Seat] = Future()
            self._turns.append(turn)
        with contextlib.suppress(TimeoutError):
            return turn.result(self._wait_limit_s)
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)
                raise BusyError(
                    f"'{name}' was not decoded: many pictures are waiting, and its turn did not "
                    f"come. Expected it within {self._wait_limit_s:g} s. Try again in a moment."
                )
        return turn.result()  # handed over in the last moment

    def _give_back(self, seat: _Seat) -> None:
        with self._lock:
            if self._turns:
                self._turns.popleft().set_result(seat)
            else:
                self._free.append(seat)

    def _talk(self, seat: _Seat, request: Message, data: bytes) -> Outcome:
        """What a child answers; one that is of no more use makes way for another."""
        name = request["name"]
        child = self._start(seat)
        if child is None:
            raise BusyError(
                f"'{name}' cannot be read: the decoder did not start. Expected a computer with "
                "memory to spare. Try again in a moment; the server's log may say more."
            )
        child.num_requests += 1
        request["number"] = child.num_requests
        is_last = True
        try:
            with Deadline(child, self._time_limit_s) as deadline:
                write_message(child.requests, request, data)
                outcome, is_last = receive_answer(child.answers, request, self._memory_limit_mb)
            is_last |= deadline.has_struck
        except (EOFError, OSError):
            if deadline.has_struck:
                return (
                    f"'{name}' took longer than {self._time_limit_s:g} s to decode, so it was "
                    f"given up. {EXPECTED}"
                )
            _log.error("A decoder ended in the middle of a file, with %d.", child.wait())
            return explain_failure(name, "it ended")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            _log.error("A decoder gave a damaged answer (%s).", type(error).__name__)
            return explain_failure(name, "its answer was damaged")
        else:
            return outcome
        finally:
            if is_last:  # its successor starts while nobody waits for it
                seat.end()
                with contextlib.suppress(OSError):
                    seat.start()

    def _start(self, seat: _Seat) -> Child | None:
        """A child that is ready; None if it cannot be had."""
        try:
            child = seat.start()
            if not child.is_ready:
                with Deadline(child, self._start_limit_s):
                    child.is_ready = read_message(child.answers) == {"kind": "ready"}
        except (EOFError, OSError, ValueError, RecursionError) as error:
            _log.error("A decoder did not start (%s).", type(error).__name__)
        if seat.child and seat.child.is_ready:
            return seat.child
        seat.end()
        return None


def _check_request(data: bytes, name: str) -> None:
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"'{name}' is too large: {len(data) >> 20} MB. Expected at most "
            f"{MAX_FILE_BYTES >> 20} MB a file. Make it smaller first."
        )
    if len(name) > _MAX_NAME:
        raise ImageError(
            f"'{name[:40]}…' has a name of {len(name)} characters. Expected at most {_MAX_NAME}. "
            "Rename it."
        )


def _end_all(seats: Sequence[_Seat]) -> None:
    for seat in seats:
        seat.end()


_pool = DecoderPool()
