"""The LiteRT model of a run, shared between threads."""

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polyp_core.errors import ModelError

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

_MAX_INTERPRETERS = 8  # of one model; each has its own working memory
_MAX_POOL_BYTES = 64_000_000  # of their weights, which each lays out for itself


class Examined(NamedTuple):
    """All that a serving model says of one image as the network sees it.

    Attributes:
        probability: Of the positive class, in [0, 1].
        saliency: `(rows, columns)` float32, the signed Grad-CAM.
        features: `(n,)` float32, what the head reads, as its mean over all places; None for the
            file of a version that did not keep it.
    """

    probability: float
    saliency: np.ndarray
    features: np.ndarray | None


class Predictor:
    """A loaded LiteRT model; safe to share between threads.

    Threads that predict at once do not wait for each other: each takes an interpreter of its own,
    as many as there are cores. A model so large that several would fill the memory has one, which
    uses two cores.

    Args:
        content: The LiteRT file.

    Raises:
        ModelError: If the file is no LiteRT model, or lacks what a serving model gives.
    """

    def __init__(self, content: bytes) -> None:
        num_fitting = min(_MAX_INTERPRETERS, _MAX_POOL_BYTES // max(1, len(content)))
        num_interpreters = max(1, min(num_fitting, count_cores()))
        self._num_threads = 2 if num_interpreters == 1 else 1
        self._num_missing = num_interpreters - 1
        self._content = content
        self._counting = threading.Lock()
        # An interpreter is not thread-safe. The one used last has its weights in the cache.
        self._idle: queue.LifoQueue[Interpreter] = queue.LifoQueue()
        try:
            interpreter = self._make_interpreter()
            outputs = interpreter.get_signature_runner().get_output_details()
            self._probability = outputs["probability"]["index"]
            self._saliency = outputs["saliency"]["index"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"The serving model cannot be loaded ({error}). Expected the serving.tflite that "
                "training wrote. Train again."
            ) from error
        self._input = interpreter.get_input_details()[0]["index"]
        self._features = outputs["features"]["index"] if "features" in outputs else None
        self._num_features = int(outputs["features"]["shape"][-1]) if "features" in outputs else 0
        self._idle.put(interpreter)

    @property
    def num_features(self) -> int:
        """How many features `examine` gives; 0 where none."""
        return self._num_features

    def predict(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        """Probability and raw saliency of one image as the network sees it.

        Args:
            image: `(size, size, channels)` uint8.

        Returns:
            Probability of the positive class, and the signed Grad-CAM `(rows, columns)` float32.
        """
        examined = self.examine(image)
        return examined.probability, examined.saliency

    def examine(self, image: np.ndarray) -> Examined:
        """As `predict`, and with the features.

        Args:
            image: `(size, size, channels)` uint8.
        """
        pixels = image[np.newaxis].astype(np.float32)
        with self._borrow_interpreter() as interpreter:
            interpreter.set_tensor(self._input, pixels)
            interpreter.invoke()
            read = interpreter.get_tensor  # which copies
            return Examined(
                probability=float(read(self._probability)[0]),
                saliency=read(self._saliency)[0],
                features=None if self._features is None else read(self._features)[0],
            )

    @contextmanager
    def _borrow_interpreter(self) -> Iterator["Interpreter"]:
        """One that no other thread uses: an idle one, else a new one, else the next given back."""
        try:
            interpreter = self._idle.get_nowait()
        except queue.Empty:
            interpreter = self._make_another() if self._may_make() else self._idle.get()
        try:
            yield interpreter
        finally:
            self._idle.put(interpreter)

    def _may_make(self) -> bool:
        with self._counting:
            if self._num_missing == 0:
                return False
            self._num_missing -= 1
            return True

    def _make_another(self) -> "Interpreter":
        """One more; where that fails, such as for want of memory, it may be tried again."""
        is_made = False
        try:
            interpreter = self._make_interpreter()
            is_made = True
            return interpreter
        finally:
            if not is_made:
                with self._counting:
                    self._num_missing += 1

    def _make_interpreter(self) -> "Interpreter":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=self._num_threads)
        interpreter.allocate_tensors()
        return interpreter


def count_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
