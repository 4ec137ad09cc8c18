"""One decoding process: how it is started, and how it is ended in time."""

import contextlib
import io
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

_PROJECT_DIR = Path(__file__).parents[2]
_PIPE_BYTES = 1 << 20
_END_LIMIT_S = 1.0  # for a child that has closed its pipe to be gone
# The server's other variables may hold secrets, and a decoder needs none.
_VARIABLES = (
    "PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE",
    "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "USERPROFILE",
)  # fmt: skip
_SETTINGS = {
    # Threads that have nothing to do would take 180 MB of the address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # The C library keeps the memory of one picture for the next, which else costs as much as
    # decoding: 2,700 page faults for 1000 × 800 pixels.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


class Child:
    """A decoding process and its pipes, for one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        python_path = filter(None, [str(_PROJECT_DIR), os.environ.get("PYTHONPATH")])
        variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # on Windows
            env=variables | _SETTINGS | {"PYTHONPATH": os.pathsep.join(python_path)},
        )
        self.requests = cast(io.RawIOBase, self.process.stdin)
        self.answers = cast(io.RawIOBase, self.process.stdout)
        self.is_ready = False
        self.num_requests = 0
        for pipe in (self.requests, self.answers):
            _widen_pipe(pipe)

    def kill(self) -> None:
        """Kill it and whatever it started."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self.process.kill()
            else:  # until it is waited for, the number is its own, even if it has ended
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """What a child ended with that has closed its pipe; -9 if it must be killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(_END_LIMIT_S)
        return self.end()

    def end(self) -> int:
        """Kill and bury it; what it ended with."""
        self.kill()
        code = self.process.wait()
        for pipe in (self.requests, self.answers):
            pipe.close()
        return code


def _widen_pipe(pipe: io.RawIOBase) -> None:
    """Let a pipe hold more at once where that is possible: it halves what a large picture costs."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # an ordinary user may widen only so many
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


class Deadline:
    """Kills a child that is not done in time; what waits for its answer then finds the end."""

    def __init__(self, child: Child, limit_s: float) -> None:
        self.child = child
        self.ends_at = time.monotonic() + limit_s
        self.has_struck = False

    def __enter__(self) -> "Deadline":
        _watch.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watch.remove(self)


class _Watch:
    """One thread for the deadlines of all children: a thread for each would cost more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: set[Deadline] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
                self._thread.start()
            self._deadlines.add(deadline)
            if deadline.ends_at < self._wakes_at:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        with self._changed:  # so no child is killed after that
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for deadline in [one for one in self._deadlines if one.ends_at <= now]:
                    self._deadlines.remove(deadline)
                    deadline.has_struck = True
                    deadline.child.kill()
                self._wakes_at = min((one.ends_at for one in self._deadlines), default=math.inf)
                self._changed.wait(min(self._wakes_at - now, threading.TIMEOUT_MAX))


_watch = _Watch()
