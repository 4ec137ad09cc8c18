"""An answer in words: a class, "Not sure", or none at all, each with its reason."""

from typing import NamedTuple

from polyp_core.prediction import Classifier, Prediction

_NEAR = 0.01  # to the threshold: a decimal more


class Wording(NamedTuple):
    """An answer in words.

    Attributes:
        headline: Such as "Calcified".
        sentences: What follows from it, or why there is none.
    """

    headline: str
    sentences: tuple[str, ...]


def say_probability(probability: float, threshold: float) -> str:
    """Percent, never 0 or 100; with a decimal where it could be mistaken for the threshold."""
    if probability > 0.99:
        said = "over 99"
    elif probability < 0.01:
        said = "under 1"
    else:
        said = f"{100 * probability:.{int(abs(probability - threshold) < _NEAR)}f}"
    return f"{said}\N{NO-BREAK SPACE}%"


def say_share(share: float) -> str:
    """Such as "50 %" or "37.5 %"."""
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"


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
    decided = f"That is {side} the threshold of {say_share(classifier.threshold)}."
    headline = prediction.class_name[:1].upper() + prediction.class_name[1:]
    return Wording(headline, (number, decided))


def say_band(classifier: Classifier) -> str:
    """Where no answer is to be given; "" where one always is."""
    if classifier.band is None or classifier.band.low == classifier.band.high:
        return ""
    low, high = say_share(classifier.band.low), say_share(classifier.band.high)
    return f"From {low} to {high} this model is to give no answer."


def say_familiarity(prediction: Prediction) -> str:
    """Whether the picture is like the training images, in one sentence."""
    verdict = prediction.verdict
    if verdict is None:
        return (
            "Whether the image is like the training images was not checked: this model keeps no "
            "record of them."
        )
    if verdict.is_stranger:
        return _say_refusal(prediction)
    return (
        f"Like the training images: {_say_part(verdict.p_value)} of them are at least as unusual."
    )


def _say_refusal(prediction: Prediction) -> str:
    reasons = prediction.verdict.reasons if prediction.verdict is not None else ()
    why = f": {'; '.join(reasons)}" if reasons else ""
    return f"This image is unlike the images that the model was trained on{why}."


def _say_part(share: float) -> str:
    percent = round(100 * share)
    return f"{percent if percent else 'under 1'}\N{NO-BREAK SPACE}%"
