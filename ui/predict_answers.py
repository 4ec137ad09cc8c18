"""Every image gets an answer: a class, "not sure", "no answer", or what is wrong with the file."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import streamlit as st

from polyp_core.access import is_demo
from polyp_core.answers import encode_thumbnail
from polyp_core.dataset import are_numbered
from polyp_core.errors import ImageError, RunError
from polyp_core.familiarity import FALSE_ALARMS
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction
from polyp_core.runs import Run
from polyp_core.words import say_number
from ui.readers import classify, get_decoding_time, open_classifier

GROUPS = ("all", "positive", "negative", "unsure", "refused", "unreadable", "differing")
_SHOW_BAR_FROM = 10  # images
_SHOW_EVERY_S = 0.15
# Of waiting for decoders, at a time: a small file may hold a picture that takes seconds.
_BUDGET_S, _DEMO_BUDGET_S = 120.0, 30.0
_STOPPED = "predict stopped"


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

    Where the images take too long to decode it stops, says so, and offers to go on: the answers
    are then those of the first images.

    Raises:
        ModelError: If a model cannot be opened.
    """
    visit = hash((tuple((i.name, i.frame, i.sha256) for i in items), run, other))
    stopped_visit, most = st.session_state.get(_STOPPED, (visit, len(items)))
    if stopped_visit != visit:
        most = len(items)
    budget_s = _DEMO_BUDGET_S if is_demo() else _BUDGET_S
    place, answers, shown_at = st.empty(), list[Answer](), time.monotonic()
    started = get_decoding_time()  # which stands still where an image is known
    for number, item in enumerate(items[:most], start=1):
        if get_decoding_time() - started > budget_s:
            break
        answers.append(_answer(item, run, other))
        now = time.monotonic()
        # What is known already takes no time, and a bar that only flashes disturbs.
        if len(items) > _SHOW_BAR_FROM and now - shown_at > _SHOW_EVERY_S:
            shown_at = now
            text = f"Reading and classifying image {number} of {len(items)} …"
            place.progress(number / len(items), text=text)
    place.empty()
    if len(answers) < len(items):
        # Kept, so that whatever is clicked next does not begin another round.
        st.session_state[_STOPPED] = visit, len(answers)
        _offer_rest(len(items) - len(answers), budget_s)
    return answers


def _offer_rest(num_left: int, budget_s: float) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"{say_number(num_left, 'image')} {'was' if num_left == 1 else 'were'} not judged: the "
            f"images before took longer than {budget_s:g} s to decode. Go on with the next ones; "
            "or drop them in parts, or use the command line: python -m polyp_core predict.",
            icon=":material/info:",
        )
        st.button("Go on", icon=":material/play_arrow:", on_click=_go_on, key="predict go on")


def _go_on() -> None:
    """Have the next run begin a new round; what was judged is known."""
    st.session_state.pop(_STOPPED, None)


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


def was_trained_on(run: Run, item: Item) -> bool:
    """Whether the very file is among a model's training images."""
    sha256 = str(run.read_serving().get("sha256"))
    return item.sha256 in _list_training_images(str(run.directory), sha256)


def was_numbered(run: Run) -> bool:
    """Whether training knew the patients by the numbers before the names of the files."""
    return _was_numbered(str(run.directory), str(run.read_serving().get("sha256")))


@st.cache_data(max_entries=10, show_spinner=False)
def _was_numbered(directory: str, model_sha256: str) -> bool:
    try:
        return are_numbered(Run(Path(directory)).read_index().images)
    except RunError:
        return False


@st.cache_data(max_entries=10, show_spinner=False)
def _list_training_images(directory: str, model_sha256: str) -> frozenset[str]:
    try:
        return frozenset(Run(Path(directory)).read_index().select("train")["sha256"])
    except RunError:
        return frozenset()


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
    """How unusual a refused picture is beside the training images."""
    verdict = prediction.verdict
    if verdict is None or verdict.num_known == 0:
        return "Stranger than the training images."
    known = f"{verdict.num_known:,}"
    if verdict.num_beyond:
        said = f"Stranger than {verdict.num_known - verdict.num_beyond:,} of {known}"
    else:
        said = f"Stranger than all {known}"
    said += " training images it was compared with."
    if not verdict.is_near:
        return said
    return (
        f"{said} That is near the limit: of images that are like them about "
        f"{100 * FALSE_ALARMS:.0f} in 100 are refused as well."
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
