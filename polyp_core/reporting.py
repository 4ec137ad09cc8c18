"""What a worker says of itself: status.json, the last batch as a picture, pace, memory."""

import os
import threading
import time
from collections import deque
from typing import Any

import cv2
import numpy as np
import psutil

from polyp_core.files import write_atomically
from polyp_core.runs import Run
from polyp_core.summaries import summarise_run
from polyp_core.words import say_number

_WRITE_EVERY_S = 0.5
_SHOW_BATCH_EVERY_S = 2.0
_LOOK_FOR_STOP_EVERY_S = 0.05
_PACE_WINDOW_S = 10.0
_NUM_SHOWN = 8  # images of a batch
_SIDE_PX = 128  # of each of them
_RESERVE_BYTES = 1 << 16
_PROCESS = psutil.Process()


class WorkStopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Somebody asked the worker to stop."""


class Pace:
    """Images a second and the time left, from the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, now_s: float, images_trained: int, images_in_all: int) -> dict[str, float]:
        """`images_per_s` and `remaining_s`; nothing until there are two points to compare.

        The first point is taken after the first step, which builds the network and is no measure.
        """
        self._seen.append((now_s, images_trained))
        while now_s - self._seen[0][0] > _PACE_WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        start_s, start_images = self._seen[0]
        if now_s <= start_s or images_trained <= start_images:
            return {}
        rate = (images_trained - start_images) / (now_s - start_s)
        return {
            "images_per_s": round(rate, 1),
            "remaining_s": round((images_in_all - images_trained) / rate, 1),
        }


class Reporter:
    """Gathers what is reported and writes it to status.json, at most twice a second.

    Attributes:
        is_stopping: Whether the main thread has heard that it shall stop, and keeps its state.
    """

    def __init__(self, run: Run) -> None:
        self.is_stopping = False
        self._run = run
        self._values: dict[str, Any] = {}
        self._timings: dict[str, float] = {}
        self._written_at = self._looked_at = self._showed_at = 0.0
        self._begun_at: float | None = None
        self._earlier_s = 0.0
        self._built_at: float | None = None
        self._is_first_step = True
        self._pace = Pace()
        self._writing = threading.RLock()
        self._has_ended = False

    @property
    def has_begun(self) -> bool:
        """Whether the run's turn has come."""
        return self._begun_at is not None

    def reserve_room(self) -> None:
        """Hold a little room, so that a full disk can still be told in status.json."""
        write_atomically(self._run.path("reserve"), bytes(_RESERVE_BYTES))

    def begin(self, message: str) -> None:
        """The work begins now; what earlier workers took for finished epochs counts as well."""
        self._begun_at = time.monotonic()
        self._earlier_s = float(self._run.read_history()["seconds"].sum())
        asked_at = os.environ.get("POLYP_ASKED_AT")
        if asked_at is not None:
            self._timings["until the worker ran"] = round(time.time() - float(asked_at), 3)
        self.write(state="running", message=message, started_at=time.time())

    def report_waiting(self, num_before: int) -> None:
        """The run waits; somebody else's is before it."""
        message = f"Waiting for {say_number(num_before, 'run')}"
        if message == self._values.get("message"):
            self.check_stop()  # nothing new to write, and that for hours
        else:
            self.write(state="queued", message=message)  # at once: nothing may follow for hours

    def note_time(self, name: str, started: float) -> None:
        """Keep how long a part of the start took, in s."""
        self._timings[name] = round(time.monotonic() - started, 3)
        self._values["timings"] = dict(self._timings)

    def report(self, **values: Any) -> None:  # noqa: ANN401 - plain JSON values
        """Update some values; where images were trained, the pace as well.

        Args:
            **values: Plain JSON values, and "batch": images `(n, size, size, channels)` uint8 and
                their labels, of which a picture is made. With "build_s" the first step is timed
                from here.

        Raises:
            WorkStopped: When the run's stop file is there.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_FOR_STOP_EVERY_S:
            self._looked_at = now
            self.check_stop()
        batch = values.pop("batch", None)
        if "build_s" in values:
            self._built_at, self._timings["build"] = now, values.pop("build_s")
        with self._writing:
            self._values |= values
            if "images_trained" in values:
                self._values |= self._pace.update(
                    now, values["images_trained"], values["images_in_all"]
                )
                self._note_first_step(now)
            if batch is not None and now - self._showed_at >= _SHOW_BATCH_EVERY_S:
                self._showed_at = now
                self._values["batch_labels"] = batch[1][:_NUM_SHOWN]
                _write_batch(self._run, batch[0])
                self._written_at = 0.0  # picture and labels belong together
            if now - self._written_at >= _WRITE_EVERY_S:
                self.write()

    def report_after_training(self, message: str) -> None:
        """What is done once training is over; how long it takes is not known."""
        self.write(message=message, remaining_s=0)

    def check_stop(self) -> None:
        """Look whether somebody wants the work to stop.

        Raises:
            WorkStopped: When the run's stop file is there.
        """
        if self._run.path("stop").exists():
            # Another thread, which reads images, has no state to keep, nor can it end the main.
            self.is_stopping |= threading.current_thread() is threading.main_thread()
            raise WorkStopped

    def write(self, *, is_durable: bool = False, **values: Any) -> None:  # noqa: ANN401
        """Update some values and write now.

        Args:
            is_durable: Wait until it is on the disk; else a power cut may take the last word.
            **values: Plain JSON values.
        """
        with self._writing:
            if self._has_ended:
                return
            self._values |= values | {"updated_at": time.time(), "memory_mb": _measure_memory_mb()}
            if self._begun_at is not None:
                now_s = time.monotonic() - self._begun_at
                self._values["elapsed_s"] = round(self._earlier_s + now_s, 1)
            self._run.write_json("status.json", self._values, is_durable=is_durable)
            self._written_at = time.monotonic()

    def end(self, state: str, message: str) -> bool:
        """The last word, with what a table of runs shows. The room held back is given up for it.

        Returns:
            Whether it is on the disk: not on a full one, nor after another last word.
        """
        with self._writing:
            if self._has_ended:
                return False
            self._run.path("reserve").unlink(missing_ok=True)
            if state == "finished":
                self._values["remaining_s"] = 0
            self._values |= {"state": state, "message": message}
            try:
                self.write(summary=summarise_run(self._run), is_durable=True)
            except OSError:  # then the run shows as interrupted
                return False
            finally:
                self._has_ended = True
            return True

    def _note_first_step(self, now: float) -> None:
        if self._is_first_step and self._begun_at is not None:
            self._is_first_step = False
            if self._built_at is not None:
                self._timings["first step"] = round(now - self._built_at, 3)
            self._timings["until the first step"] = round(now - self._begun_at, 3)
            self._values["timings"] = dict(self._timings)


def _write_batch(run: Run, images: np.ndarray) -> None:
    """A strip of the first images, as the network saw them."""
    is_small = images.shape[1] < _SIDE_PX  # then its pixels shall be seen
    how, size_px = cv2.INTER_NEAREST if is_small else cv2.INTER_AREA, (_SIDE_PX, _SIDE_PX)
    shown = [
        cv2.resize(image, size_px, interpolation=how).reshape(*size_px, -1)
        for image in images[:_NUM_SHOWN]
    ]
    strip = np.concatenate(shown, axis=1)[..., ::-1]
    content = cv2.imencode(".png", strip)[1].tobytes()
    write_atomically(run.path("batch.png"), content, is_durable=False)


def _measure_memory_mb() -> int:
    """Without what is mapped from files, such as the decoded images: that is the system's cache."""
    memory = _PROCESS.memory_info()
    return int((memory.rss - getattr(memory, "shared", 0)) / 1e6)
