"""A run's serving model classifies images: probability, saliency map and words. No TensorFlow."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from polyp_core.config import RunConfig
from polyp_core.decision import Band, read_decision
from polyp_core.errors import ModelError
from polyp_core.images import decode_picture, find_box, fit_image
from polyp_core.region import Box, crop_region
from polyp_core.runs import Run


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        name: Of the file.
        picture: `(height, width, 1 or 3)` uint8, the image at its full size.
        probability: Of the positive class, in [0, 1].
        class_name: The class at the run's threshold.
        saliency: `(rows, columns)` float32 in [-1, 1] on the network's own coarse grid: signed
            Grad-CAM, above zero where the image speaks for the positive class; 1 is as strong as
            the strongest evidence in the validation images.
        box: The part of the picture that the network saw, in px: left, top, right, bottom.
        is_sure: False where the probability is in the band in which no answer is to be given.
    """

    name: str
    picture: np.ndarray
    box: Box
    probability: float
    class_name: str
    saliency: np.ndarray
    is_sure: bool = True


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

    Args:
        content: The LiteRT file.

    Raises:
        ModelError: If the file is no LiteRT model, or lacks what a serving model gives.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        # An interpreter is not thread-safe.
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=2)
            self._interpreter.allocate_tensors()
            outputs = self._interpreter.get_signature_runner().get_output_details()
            self._probability = outputs["probability"]["index"]
            self._saliency = outputs["saliency"]["index"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"The serving model cannot be loaded ({error}). Expected the serving.tflite that "
                "training wrote. Train again."
            ) from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._features = outputs["features"]["index"] if "features" in outputs else None
        self._num_features = int(outputs["features"]["shape"][-1]) if "features" in outputs else 0

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
        with self._lock:
            self._interpreter.set_tensor(self._input, image[np.newaxis].astype(np.float32))
            self._interpreter.invoke()
            read = self._interpreter.get_tensor  # which copies
            return Examined(
                probability=float(read(self._probability)[0]),
                saliency=read(self._saliency)[0],
                features=None if self._features is None else read(self._features)[0],
            )


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A run's predictor with its settings, class names, threshold, band and saliency scale."""

    predictor: Predictor
    config: RunConfig
    class_names: tuple[str, str]
    threshold: float
    saliency_scale: float
    band: Band | None = None

    def classify(self, source: Path | bytes, name: str | None = None, frame: int = 0) -> Prediction:
        """Classify one picture.

        Args:
            source: A path, or the bytes of a file.
            name: What to call it. Defaults to the file's name, or "the image".
            frame: Which frame of a DICOM file, counted from 0.

        Raises:
            ImageError: If it cannot be read.
        """
        picture = decode_picture(source, name, frame)
        box = find_box(picture, self.config.data)
        model = self.config.model
        seen = fit_image(crop_region(picture.pixels, box), model.image_size_px, model.channels)
        probability, saliency = self.predictor.predict(seen)
        return Prediction(
            name=name or (source.name if isinstance(source, Path) else "the image"),
            picture=picture.pixels,
            box=box,
            probability=probability,
            saliency=np.clip(saliency / self.saliency_scale, -1, 1),
            **self.decide(probability),
        )

    def decide(self, probability: float) -> dict[str, Any]:
        """What follows from a probability: the `class_name` and `is_sure` of a prediction."""
        return {
            "class_name": self.class_names[int(probability >= self.threshold)],
            "is_sure": self.band is None or not self.band.holds(probability),
        }


def load_classifier(run: Run) -> Classifier:
    """Open a finished run for predictions, with the threshold and band that are set for it.

    Raises:
        ModelError: If the run has no serving model, or it is not the one that training wrote.
    """
    serving = run.read_serving()
    try:
        content = run.path("serving.tflite").read_bytes()
    except OSError:
        content = b""
    if not content or not serving:
        raise ModelError(
            f"Run '{run.name}' has no model to predict with; its state is "
            f"{run.read_status()['state']}. Expected a finished run. Let it finish, or choose "
            "another."
        )
    if hashlib.sha256(content).hexdigest() != serving.get("sha256"):
        raise ModelError(
            f"The model of run '{run.name}' is not the file that training wrote: its sha256 "
            "differs. Copy the run again, or train anew."
        )
    decision = read_decision(run)
    return Classifier(
        predictor=Predictor(content),
        config=run.read_config(),
        class_names=run.read_class_names(),
        threshold=decision.threshold,
        band=decision.band,
        saliency_scale=float(serving["saliency_scale"]),
    )


def draw_overlay(prediction: Prediction, opacity: float, positive: bool = True) -> np.ndarray:
    """Lay one direction of the saliency map over the picture, in the inferno colours.

    The colour's opacity follows the evidence, so where there is none the picture stays untouched;
    so does what lies outside of the part that the network saw.

    Args:
        prediction: Of one picture.
        opacity: In [0, 1], of the strongest evidence.
        positive: Show what speaks for the positive class, or else for the negative one.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    picture, saliency = prediction.picture, prediction.saliency
    overlay = np.array(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    seen = crop_region(overlay, prediction.box)
    height_px, width_px = seen.shape[:2]
    strength = np.clip(saliency if positive else -saliency, 0, 1).astype(np.float32)
    strength = cv2.resize(strength, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    strength = strength[..., np.newaxis]
    colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = opacity * np.sqrt(strength)
    left, top, right, bottom = prediction.box
    overlay[top:bottom, left:right] = np.rint(seen * (1 - weight) + colours * weight)
    return overlay
