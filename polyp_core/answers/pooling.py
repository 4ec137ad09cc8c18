"""Several images of one patient become one answer, and what it rests on is said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyp_core.prediction import Classifier, Prediction


@dataclass(frozen=True, kw_only=True)
class PatientAnswer:
    """What the model says about one patient.

    Attributes:
        patient: As the images name it.
        probability: Mean over the images that are not refused; not a number where all are.
        class_name: At the run's threshold; "" where all images are refused.
        is_sure: False in the band in which no answer is to be given, and where there is no class.
        num_images: All of them, those refused included.
        num_refused: Unlike the training images, so left out of the mean.
    """

    patient: str
    probability: float
    class_name: str
    is_sure: bool
    num_images: int
    num_refused: int


def pool_patients(
    pairs: Sequence[tuple[str, Prediction]], classifier: Classifier
) -> tuple[PatientAnswer, ...]:
    """One answer for each patient with two images or more, as `metrics.pool_patients` pools them.

    Args:
        pairs: Patient ("" where unknown) and prediction of each picture.
        classifier: Whose threshold and band hold.

    Returns:
        In the order in which the patients come first.
    """
    by_patient: dict[str, list[Prediction]] = {}
    for patient, prediction in pairs:
        if patient:
            by_patient.setdefault(patient, []).append(prediction)
    return tuple(
        _pool(patient, predictions, classifier)
        for patient, predictions in by_patient.items()
        if len(predictions) > 1
    )


def say_pooling(answer: PatientAnswer) -> str:
    """Such as "mean of 5 images; 1 left out as unlike the training images"."""
    num_used = answer.num_images - answer.num_refused
    if num_used == 0:
        return f"all {answer.num_images} images are unlike the training images"
    said = "one image alone" if num_used == 1 else f"mean of {num_used} images"
    if answer.num_refused:
        said += f"; {answer.num_refused} left out as unlike the training images"
    return said


def _pool(patient: str, predictions: list[Prediction], classifier: Classifier) -> PatientAnswer:
    used = [prediction.probability for prediction in predictions if not prediction.is_refused]
    mean = float(np.mean(used)) if used else float("nan")
    decided = classifier.decide(mean) if used else {"class_name": "", "is_sure": False}
    return PatientAnswer(
        patient=patient,
        probability=mean,
        num_images=len(predictions),
        num_refused=len(predictions) - len(used),
        **decided,
    )
