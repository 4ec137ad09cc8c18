"""The process that trains one run: `python -m polyp_core.worker RUN_DIR`.

It trains, converts and evaluates, and says in status.json how far it is. It holds the run's lock
for its whole life; no other proof of life exists.
"""

import platform
import signal
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

from filelock import Timeout

from polyp_core import __version__
from polyp_core.errors import PolypError
from polyp_core.runs import Run

_WAIT_FOR_LOCK_S = 5.0  # a page that looks whether a worker lives holds it for a moment
_WRITE_EVERY_S = 0.25
_PACE_WINDOW_S = 10.0


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


class StatusWriter:
    """Gathers what is reported and writes it to status.json, at most four times a second."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._values: dict[str, Any] = {"started_at": time.time()}
        self._written_at = 0.0
        self._pace = Pace()

    def report(self, **values: Any) -> None:  # noqa: ANN401 - plain JSON values
        """Update some values; where images were trained, the pace as well."""
        self._values |= values
        if "images_trained" in values:
            self._values |= self._pace.update(
                time.monotonic(), values["images_trained"], values["images_in_all"]
            )
        if time.monotonic() - self._written_at >= _WRITE_EVERY_S:
            self.write()

    def write(self, **values: Any) -> None:  # noqa: ANN401 - plain JSON values
        """Update some values and write now."""
        self._values |= values | {"updated_at": time.time()}
        self._run.write_json("status.json", self._values)
        self._written_at = time.monotonic()


def main(run_dir: Path) -> int:
    """Work on a run until it is finished, stopped or failed; 0 only if it is finished."""
    run = Run(run_dir)
    try:
        with run.lock().acquire(timeout=_WAIT_FOR_LOCK_S):
            is_finished = run.read_status()["state"] == "finished"  # which never changes again
            return 0 if is_finished else _work(run)
    except Timeout:
        print(f"Another worker has the run '{run.name}'; nothing done.")
        return 1


def _work(run: Run) -> int:
    # Being asked politely to end is the same as being asked to stop.
    signal.signal(signal.SIGTERM, lambda *_: run.path("stop").touch())
    for left_over in run.directory.glob(".writing-*"):  # of a worker that was killed
        left_over.unlink()
    status = StatusWriter(run)
    status.write(state="running", message="Starting TensorFlow, about 5 s")
    try:
        return _train_and_evaluate(run, status)
    except PolypError as error:
        status.write(state="failed", message=str(error))
    except Exception as error:  # noqa: BLE001 - the only broad one: a run must not end silently
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:500]
        status.write(state="failed", message=f"Unexpected error, see worker.log. {reason}")
    return 1


def _train_and_evaluate(run: Run, status: StatusWriter) -> int:
    from polyp_core.evaluation import evaluate_run
    from polyp_core.pipeline import load_images
    from polyp_core.serving import write_serving_model
    from polyp_core.training import TrainingStopped, train

    config, index = run.read_config(), run.read_index()
    run.write_json("environment.json", _describe_environment())
    try:
        train(run, config, index, status.report)
    except TrainingStopped:
        status.write(state="stopped", message="Stopped")
        return 1
    status.write(message="Converting the model for predictions")
    write_serving_model(run, load_images(index, index.select("validation")[:200], config))
    status.write(message="Testing on the validation images")
    evaluate_run(run, index)
    status.write(state="finished", message="Finished", remaining_s=0)
    return 0


def _describe_environment() -> dict[str, Any]:
    import cv2
    import keras
    import numpy
    import PIL
    import tensorflow as tf

    packages = {"tensorflow": tf, "keras": keras, "numpy": numpy, "pillow": PIL, "opencv": cv2}
    return {
        "polyp_core": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: module.__version__ for name, module in packages.items()},
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
