"""An answer in words: a class, "Not sure", or none at all, each with its reason."""

from typing import NamedTuple

import numpy as np

from polyp_core.familiarity import FALSE_ALARMS
from polyp_core.prediction import Classifier, Prediction

_NEAR = 0.01  # to the threshold: a decimal more
_MAX_DECIMALS = 12  # a probability has no more
_LEVELS = {"image": "single images", "patient": "patients"}


class Wording(NamedTuple):
    """An answer in words.

    Attributes:
        headline: Such as "Calcified".
        sentences: What follows from it, or why there is none.
    """

    headline: str
    sentences: tuple[str, ...]


def say_probability(probability: float, threshold: float) -> str:
    """Percent, never 0 or 100; with decimals where it could be mistaken for the threshold."""
    if probability > 0.99:
        said = "over 99"
    elif probability < 0.01:
        said = "under 1"
    else:
        said = f"{100 * probability:.{_count_decimals(probability, threshold)}f}"
    return f"{said}\N{NO-BREAK SPACE}%"


def say_share(share: float, num_decimals: int = 0) -> str:
    """Such as "50 %" or "37.5 %"; 0 and 100 only where it is just that.

    Args:
        share: In [0, 1].
        num_decimals: At least so many are taken into account.
    """
    percent = 100 * share
    for digits in range(3, 3 + _MAX_DECIMALS):
        said = np.format_float_positional(percent, digits, fractional=False, trim="-")
        if float(said) < 100 or share == 1:
            break
    if num_decimals > len(said.partition(".")[2]):
        said = np.format_float_positional(percent, num_decimals, trim="-")
    return f"{said}\N{NO-BREAK SPACE}%"


def say_threshold(threshold: float, probability: float) -> str:
    """As `say_share`, beside a probability: with the decimals that tell them apart."""
    return say_share(threshold, _count_decimals(probability, threshold))


def say_level(classifier: Classifier, judged: str) -> str:
    """Such as "chosen for patients"; "" where threshold and band suit what is judged.

    Args:
        classifier: Whose threshold and band hold.
        judged: "image" or "patient".
    """
    is_other = classifier.level not in ("", judged)
    return f"chosen for {_LEVELS[classifier.level]}" if is_other else ""


def _count_decimals(probability: float, threshold: float) -> int:
    """None far from the threshold; near it as many as tell both apart."""
    if abs(probability - threshold) >= _NEAR:
        return 0
    for decimals in range(1, _MAX_DECIMALS + 1):
        if f"{100 * probability:.{decimals}f}" != f"{100 * threshold:.{decimals}f}":
            return decimals
    return 1


def word_answer(prediction: Prediction, classifier: Classifier) -> Wording:
    """What is said of one picture."""
    if prediction.is_refused:
        return Wording("No answer", (_say_refusal(prediction), "Show it to a person."))
    positive = classifier.class_names[1]
    said = say_probability(prediction.probability, classifier.threshold)
    number = f"Probability of {positive}: {said}."
    if not prediction.is_sure:
        return Wording("Not sure", (number, f"{say_band(classifier)} Show it to a person."))
    side = "at or above" if prediction.probability >= classifier.threshold else "below"
    threshold = say_threshold(classifier.threshold, prediction.probability)
    level = say_level(classifier, "image")
    decided = f"That is {side} the threshold of {threshold}{level and f', {level}'}."
    headline = prediction.class_name[:1].upper() + prediction.class_name[1:]
    return Wording(headline, (number, decided))


def say_band(classifier: Classifier) -> str:
    """Where no answer is to be given for an image; "" where one always is."""
    if classifier.band is None or classifier.band.low == classifier.band.high:
        return ""
    low, high = say_share(classifier.band.low), say_share(classifier.band.high)
    level = say_level(classifier, "image")
    return f"From {low} to {high}{level and f', {level},'} this model is to give no answer."


def say_familiarity(prediction: Prediction) -> str:
    """That the picture is like the training images, in one sentence; it is no refused one."""
    verdict = prediction.verdict
    if verdict is None:
        return (
            "Whether the image is like the training images was not checked: this model keeps no "
            "record of them."
        )
    if verdict.num_known == 0:
        return "Not unlike the training images."
    if verdict.num_beyond == 0:  # too few to know how far beyond them is unlike them
        return f"Not clearly unlike the {verdict.num_known:,} training images, but beyond them all."
    part = _say_part(verdict.num_beyond / verdict.num_known)
    return f"Not unlike the training images: {part} of them are at least as unusual."


def say_known(prediction: Prediction) -> str:
    """What it means for an answer that the model was trained on this very image."""
    if prediction.is_refused:
        return (
            "There is no answer although the model was trained on this very image: about "
            f"{_say_part(FALSE_ALARMS)} of images like the training images are refused too."
        )
    return (
        "The model was trained on this very image, so its answer says nothing of how good it is on "
        "others."
    )


def _say_refusal(prediction: Prediction) -> str:
    reasons = prediction.verdict.reasons if prediction.verdict is not None else ()
    why = f": {'; '.join(reasons)}" if reasons else ""
    return f"This image is unlike the images that the model was trained on{why}."


def _say_part(share: float) -> str:
    percent = round(100 * share)
    return f"{percent if percent else 'under 1'}\N{NO-BREAK SPACE}%"
