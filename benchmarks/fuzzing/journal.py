"""What the trying process has done so far, in memory shared with its parent.

It is there after the process was killed in the middle of an input, and so is that input.
"""

import mmap
import struct
from pathlib import Path

from benchmarks.fuzzing.mutation import MAX_BYTES

_HEAD = struct.Struct("<QQQQQL")  # started, ended, refused, broken, slowest µs; bytes of the input
_COUNTS = struct.Struct("<QQQQQ")


class Journal:
    """Counts, and the input that is being tried."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_HEAD.size + MAX_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def read_counts(self) -> tuple[int, int, int, int, int]:
        """Inputs started, ended, refused, broken; the slowest input's time in µs."""
        started, ended, refused, broken, slowest_us = _COUNTS.unpack_from(self._memory)
        return started, ended, refused, broken, slowest_us

    def read_input(self) -> bytes:
        """The input that is being tried, or was the last."""
        length = _HEAD.unpack_from(self._memory)[-1]
        return bytes(self._memory[_HEAD.size : _HEAD.size + length])

    def start(self, data: bytes) -> int:
        """An input begins; how many there have been, this one included."""
        started, *others = _COUNTS.unpack_from(self._memory)
        data = data[:MAX_BYTES]
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, 0, started + 1, *others, len(data))
        return int(started) + 1

    def end(self, *, is_refused: bool, is_broken: bool, time_us: int) -> None:
        """It has ended by itself."""
        started, ended, refused, broken, slowest_us = self.read_counts()
        _COUNTS.pack_into(
            self._memory, 0, started, ended + 1, refused + is_refused, broken + is_broken,
            max(slowest_us, time_us),
        )  # fmt: skip
