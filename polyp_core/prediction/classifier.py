"""An image becomes an answer: probability, class, saliency, and whether its like is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyp_core.config import RunConfig
from polyp_core.decision import Band, read_decision
from polyp_core.errors import ModelError
from polyp_core.familiarity import Familiarity, Verdict, read_familiarity
from polyp_core.images import Picture, decode_picture, find_box, fit_image
from polyp_core.prediction.predictor import Predictor
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
        frame: Of a film, counted from 0.
        verdict: Whether the picture is like the training images; None where the run cannot tell.
    """

    name: str
    picture: np.ndarray
    box: Box
    probability: float
    class_name: str
    saliency: np.ndarray
    is_sure: bool = True
    frame: int = 0
    verdict: Verdict | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the picture is not like the training images, so that the answer is void."""
        return self.verdict is not None and self.verdict.is_stranger


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A run's predictor with all that turns what it says into an answer.

    Attributes:
        predictor: The model.
        config: The run's settings.
        class_names: Negative, positive.
        threshold: The probability from which on the class is the positive one.
        saliency_scale: What divides the raw map.
        band: The probabilities at which no answer is to be given, if any.
        familiarity: What knows the training images; None for a run that kept nothing of them.
        level: "image" or "patient": whose probabilities threshold and band were chosen on; ""
            where nobody has chosen them.
    """

    predictor: Predictor
    config: RunConfig
    class_names: tuple[str, str]
    threshold: float
    saliency_scale: float
    band: Band | None = None
    familiarity: Familiarity | None = None
    level: str = ""

    def classify(self, source: Path | bytes, name: str | None = None, frame: int = 0) -> Prediction:
        """Classify one picture.

        Args:
            source: A path, or the bytes of a file.
            name: What to call it. Defaults to the file's name, or "the image".
            frame: Which frame of a DICOM file, counted from 0.

        Raises:
            ImageError: If it cannot be read.
        """
        name = name or (source.name if isinstance(source, Path) else "the image")
        return self.classify_picture(decode_picture(source, name, frame), name, frame)

    def classify_picture(self, picture: Picture, name: str, frame: int = 0) -> Prediction:
        """Classify a picture that is decoded already.

        One that is not like the training images is classified as well, and its verdict says so.

        Args:
            picture: At its full size.
            name: What to call it.
            frame: Which frame of a film it is, counted from 0.
        """
        return self.classify_pictures([(picture, name, frame)])[0]

    def classify_pictures(self, named: Sequence[tuple[Picture, str, int]]) -> list[Prediction]:
        """Classify several decoded pictures, each as `classify_picture` does.

        Every step is done for all of them before the next, while the processor's cache holds its
        code and weights.

        Args:
            named: Pictures at their full size, each with its name and which frame of a film it is.
        """
        model = self.config.model
        boxes = [find_box(picture, self.config.data) for picture, _, _ in named]
        images = [
            fit_image(crop_region(picture.pixels, box), model.image_size_px, model.channels)
            for (picture, _, _), box in zip(named, boxes, strict=True)
        ]
        examined = [self.predictor.examine(image) for image in images]
        predictions = []
        for each, box, image, said in zip(named, boxes, images, examined, strict=True):
            picture, name, frame = each
            verdict = None
            if self.familiarity is not None and said.features is not None:
                verdict = self.familiarity.judge(picture, box, image, said.features)
            prediction = Prediction(
                name=name,
                picture=picture.pixels,
                box=box,
                probability=said.probability,
                saliency=np.clip(said.saliency / self.saliency_scale, -1, 1),
                frame=frame,
                verdict=verdict,
                **self.decide(said.probability),
            )
            predictions.append(prediction)
        return predictions

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
    scale = serving.get("saliency_scale")
    if not isinstance(scale, int | float) or not 0 < scale < 1e300:
        raise ModelError(
            f"The file serving.json of run '{run.name}' is damaged: it has no usable "
            "saliency_scale. Expected a number above 0. Copy the run again, or train anew. "
            f"Received: {scale!r}"
        )
    decision = read_decision(run)
    is_chosen = decision.band is not None or decision.threshold != serving.get("threshold", 0.5)
    return Classifier(
        predictor=Predictor(content),
        config=run.read_config(),
        class_names=run.read_class_names(),
        threshold=decision.threshold,
        band=decision.band,
        saliency_scale=float(scale),
        familiarity=read_familiarity(run),
        level=decision.level if is_chosen else "",
    )
