"""Every image gets an answer: a class, "not sure", "no answer", or what is wrong with the file."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import streamlit as st

from polyp_core.answers import encode_thumbnail
from polyp_core.errors import ImageError
from polyp_core.familiarity import FALSE_ALARMS
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction
from polyp_core.runs import Run
from ui.readers import classify, open_classifier

GROUPS = ("all", "positive", "negative", "unsure", "refused", "unreadable", "differing")
_SHOW_BAR_FROM = 10  # images
_SHOW_EVERY_S = 0.15


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one image got.

    Attributes:
        item: The image.
        prediction: With a small picture, as there may be thousands; None if it cannot be read.
        problem: Why it cannot be read, or "".
        other: The answer of the second model, where one is asked for.
    """

    item: Item
    prediction: Prediction | None
    problem: str = ""
    other: Prediction | None = None

    @property
    def key(self) -> str:
        """No two images of a visit have the same."""
        return f"{self.item.name} {self.item.frame}"

    @property
    def name(self) -> str:
        """The file's name, with the frame where it has several."""
        return name_item(self.item)

    @cached_property
    def thumbnail(self) -> str:
        """The picture as a small PNG in a data URI; "" where there is none."""
        return "" if self.prediction is None else encode_thumbnail(self.prediction.picture)


def name_item(item: Item) -> str:
    """The file's name, with the frame where it has several."""
    return f"{item.name}, frame {item.frame + 1}" if item.num_frames > 1 else item.name


def answer_all(items: Sequence[Item], run: Run, other: Run | None) -> list[Answer]:
    """Ask the model, and a second one, about every image; a bar shows a long asking.

    Raises:
        ModelError: If a model cannot be opened.
    """
    place, answers, shown_at = st.empty(), [], time.monotonic()
    for number, item in enumerate(items, start=1):
        answers.append(_answer(item, run, other))
        now = time.monotonic()
        # What is known already takes no time, and a bar that only flashes disturbs.
        if len(items) > _SHOW_BAR_FROM and now - shown_at > _SHOW_EVERY_S:
            shown_at = now
            text = f"Reading and classifying image {number} of {len(items)} …"
            place.progress(number / len(items), text=text)
    place.empty()
    return answers


def enlarge(answer: Answer, run: Run, other: Run | None) -> Answer:
    """The same answer with a picture of the size of the page."""
    if answer.prediction is None:
        return answer
    whole = classify(run, answer.item)
    if isinstance(whole, ImageError):
        return replace(answer, prediction=None, problem=str(whole))
    second = None if other is None else classify(other, answer.item)
    second = None if isinstance(second, ImageError) else second
    return replace(answer, prediction=whole, other=second)


def sort_out(answers: Sequence[Answer], class_names: tuple[str, str]) -> dict[str, list[Answer]]:
    """The images of each of `GROUPS`; each stands in "all" and one other, some in "differing"."""
    groups: dict[str, list[Answer]] = {name: [] for name in GROUPS}
    for answer in answers:
        groups["all"].append(answer)
        groups[name_group(answer.prediction, class_names)].append(answer)
        if is_differing(answer):
            groups["differing"].append(answer)
    return groups


def name_group(prediction: Prediction | None, class_names: tuple[str, str]) -> str:
    """In which of `GROUPS` an image stands, besides "all"."""
    if prediction is None:
        return "unreadable"
    if prediction.is_refused:
        return "refused"
    if not prediction.is_sure:
        return "unsure"
    return "positive" if prediction.class_name == class_names[1] else "negative"


def say_answer(prediction: Prediction | None) -> str:
    """The answer in a word or two: the class, "not sure", "no answer", "not readable"."""
    if prediction is None:
        return "not readable"
    if prediction.is_refused:
        return "no answer"
    return prediction.class_name if prediction.is_sure else "not sure"


def is_differing(answer: Answer) -> bool:
    """Whether the two models that were asked say different things."""
    if answer.other is None:
        return False
    return say_answer(answer.prediction) != say_answer(answer.other)


def say_unlike(prediction: Prediction) -> str:
    """How unusual a picture is beside the training images, in one sentence."""
    p_value = 1.0 if prediction.verdict is None else prediction.verdict.p_value
    if p_value < 0.01:
        return "Stranger than more than 99 of 100 training images."
    return (
        f"Stranger than {int(100 * (1 - p_value))} of 100 training images. That is near the limit: "
        f"of images that are like them about {100 * FALSE_ALARMS:.0f} in 100 are refused as well."
    )


def _answer(item: Item, run: Run, other: Run | None) -> Answer:
    prediction = classify(run, item, is_small=True)
    if isinstance(prediction, ImageError):
        return Answer(item=item, prediction=None, problem=str(prediction))
    second = None if other is None else classify(other, item, is_small=True)
    second = None if isinstance(second, ImageError) else second
    return Answer(item=item, prediction=prediction, other=second)


def open_both(run: Run, other: Run | None) -> tuple[Classifier, Classifier | None]:
    """The classifiers of both models.

    Raises:
        ModelError: If one cannot be opened.
    """
    return open_classifier(run), None if other is None else open_classifier(other)
