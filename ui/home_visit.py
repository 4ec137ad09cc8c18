"""The first visit: three clicks on the demo images, and what each has proved, in words."""

from dataclasses import dataclass, replace

import streamlit as st

from polyp_core import words
from polyp_core.answers.wording import word_answer
from polyp_core.audit import Audit
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import PolypError
from polyp_core.phantom import CLASS_NAMES, draw_parameters, is_calcified, render_phantom
from polyp_core.prediction import Classifier, Prediction
from polyp_core.recipe import find_facts, fit_preset
from polyp_core.runs import Run
from ui.draft import get_data_config
from ui.pictures import encode_png
from ui.readers import is_synthetic
from ui.words import escape

_SHOWN = ":green[:material/check_circle:]"
_DOUBTED = ":orange[:material/warning:]"
# Less than the preset has, so that it takes about a minute: 66 to 71 s on two quiet cores, and 13
# of the 15 patients right. All three clicks took 82 s, drawing the demo images included.
FIRST_EPOCHS, FIRST_SIDE_PX = 30, 96
# A demo set has 10,000 patients at most; these are the first two calcified ones beyond, so that
# there is something to see.
_FIRST_NEW_PATIENT = 10_003
EXAMPLE = -1  # the number of one that is shown before any is asked about
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image of a patient whom no training has seen.

    Attributes:
        name: As of a file.
        content: A PNG.
        class_name: What it was drawn as.
    """

    name: str
    content: bytes
    class_name: str


def fit_first_run(index: Index) -> RunConfig:
    """The settings of the first training: the compact preset, with fewer epochs and pixels."""
    config = replace(get_usual(index), data=get_data_config())
    return replace(
        config,
        model=replace(config.model, image_size_px=FIRST_SIDE_PX),
        training=replace(config.training, epochs=FIRST_EPOCHS),
    )


def get_usual(index: Index) -> RunConfig:
    """The settings that the preset has for these images."""
    return fit_preset("compact", find_facts(index))


@st.cache_data(max_entries=20, show_spinner=False)
def draw_new_image(number: int) -> NewImage:
    """An image of a new patient, drawn as the demo images are.

    Args:
        number: Of the patient, from 0; `EXAMPLE` is none of these.
    """
    patient = _FIRST_NEW_PATIENT + number
    picture = render_phantom(draw_parameters(_SEED, patient, 1))
    name = CLASS_NAMES[int(is_calcified(_SEED, patient))]
    return NewImage(
        name=f"new-patient-{number + 1}.png",
        content=encode_png(picture[..., None]),
        class_name=name,
    )


def knows_demo_images(run: Run) -> bool:
    """Whether a run has learned from images such as the demo set's, so that a new one is fair."""
    try:
        return set(run.read_class_names()) == set(CLASS_NAMES) and is_synthetic(run)
    except PolypError:  # damaged
        return False


def say_split(index: Index) -> str:
    """What the split keeps apart, counted in these images, in Markdown."""
    images = index.images
    is_train = images["split"] == "train"
    num_train, num_held = int(is_train.sum()), int((~is_train).sum())
    if not index.has_groups:
        return (
            f"{_DOUBTED} **No patients are named**, so each image counts as one of its own: "
            f"{num_train} to learn from, {num_held} others to validate on."
        )
    learned, held = set(images["group"][is_train]), set(images["group"][~is_train])
    both = len(learned & held)
    if both:
        patients = words.say_number(both, "patient stands", "patients stand")
        return (
            f"{_DOUBTED} **{patients} on both sides** of the split: numbers on them would flatter."
        )
    return (
        f"{_SHOWN} **The split keeps every patient on one side:** {len(learned)} to learn from "
        f"({num_train} images), {len(held)} others to validate on ({num_held} images)."
    )


def say_findings(index: Index, audit: Audit) -> str:
    """The audit's verdict with the most serious reason, or that nothing speaks against them."""
    serious = [finding for finding in audit.findings if finding.severity != "note"]
    checked = f"{words.say_number(len(index.images), 'image')} compared with one another"
    if not serious:
        return f"{checked}: nothing speaks against them."
    return f"{checked}. {audit.verdict.capitalize()}: {escape(serious[0].title)}"


def say_training(run: Run, worth: str, doubt: str) -> str:
    """What a finished training has proved.

    Args:
        run: That has ended.
        worth: What it is worth, in a sentence.
        doubt: What that does not allow to claim, or nothing.
    """
    seconds = run.read_status().get("elapsed_s")
    trained = f"Trained in {words.say_duration(seconds).removeprefix('about ')}" if seconds else (
        "Trained"
    )  # fmt: skip
    mark = _DOUBTED if doubt else _SHOWN
    return f"{mark} **{trained}:** {worth}." + (f" {doubt}" if doubt else "")


def say_answer(image: NewImage, prediction: Prediction, classifier: Classifier) -> str:
    """The answer to a new image, whether it is right, and why it was given, in Markdown."""
    said = word_answer(prediction, classifier)
    why = " ".join(map(escape, said.sentences))
    truth = f"it was drawn as {image.class_name}"
    if prediction.is_refused or not prediction.is_sure:
        return f"{_DOUBTED} **{said.headline}:** {why} In truth {truth}."
    is_right = prediction.class_name == image.class_name
    mark, judged = (_SHOWN, "right") if is_right else (_DOUBTED, "wrong")
    return f"{mark} **{escape(said.headline)}: {judged}**, {truth}. {why}"
