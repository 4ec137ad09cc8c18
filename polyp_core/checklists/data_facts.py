"""What a run knows of its images, in sentences; "" where it does not know."""

import re
from dataclasses import fields

import pandas as pd

from polyp_core.checklists.facts import Facts
from polyp_core.config import AugmentConfig
from polyp_core.config.augmentation import EFFECTS
from polyp_core.dataset import FURTHER_PREFIX
from polyp_core.origins import lie_in_split_folders
from polyp_core.summaries import name_data
from polyp_core.words import make_visible, round_percent

_TOGETHER = "what is known to be of one patient, and exact copies, stay together"
_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}


def say_source(facts: Facts) -> str:
    """Which data set it was."""
    if facts.origin.is_synthetic:
        said = "Synthetic ultrasound images, drawn by the program itself: of no patient."
    elif facts.origin.is_shared:
        said = "What the data set is called was left out when the model was given away."
    else:
        said = f"The images of the data set '{make_visible(name_data(facts.config.data.folder))}'."
    if facts.is_imported:
        said += " The model was trained on another computer and brought in."
    return said


def say_counts(facts: Facts) -> str:
    """How many images and patients there are, by partition and class."""
    if facts.index is None:
        return ""
    images = facts.index.images
    said = [f"{facts.say_images(images)} in all."]
    if not facts.is_crossed:
        said += [
            f"{title}: {facts.say_images(images[images['split'] == split])}."
            for split, title in _SPLITS.items()
            if (images["split"] == split).any()
        ]
    return " ".join(said)


def say_exclusions(facts: Facts) -> str:
    """What never comes into an index."""
    return (
        "Only files that can be decoded as a picture are counted; a file that cannot is left out "
        "before the run begins, and the data page lists it with the reason."
    )


def say_sizes(facts: Facts) -> str:
    """How large the pictures are, before anything is done to them."""
    if facts.index is None or facts.index.images.empty:
        return ""
    widths, heights = (facts.index.images[f"{name}_px"] for name in ("width", "height"))
    least = f"{widths.min()} × {heights.min()} px"
    if widths.nunique() == heights.nunique() == 1:
        return f"All pictures are {least}."
    return f"The pictures are {least} at the least and {widths.max()} × {heights.max()} px at most."


def say_columns(facts: Facts) -> str:
    """What else the data set tells of each image."""
    if facts.index is None:
        return ""
    names = [
        f"'{make_visible(str(name).removeprefix(FURTHER_PREFIX))}'"
        for name in facts.index.images
        if str(name).startswith(FURTHER_PREFIX)
    ]
    return f"The data set also tells, for each image: {', '.join(names)}." if names else ""


def say_classes(facts: Facts) -> str:
    """What is told apart."""
    negative, positive = facts.class_names
    return (
        f"Two classes: '{positive}' (positive, 1) and '{negative}' (negative, 0), one label an "
        "image, as the data set's folders or its manifest give it."
    )


def say_preprocessing(facts: Facts) -> str:
    """From a file to what the network sees."""
    data, model = facts.config.data, facts.config.model
    size, box = model.image_size_px, data.region_box
    region = {
        "off": "the whole picture is used",
        "automatic": "the scan area is found by a fixed rule and the surround cut away",
        "box": f"the same box is cut from each ({box[0]}–{box[2]} % of the width, "
        f"{box[1]}–{box[3]} % of the height)",
    }[data.region]
    colour = "turned to grey (ITU-R 601)" if model.channels == 1 else "kept in colour (RGB)"
    scale = (
        "scaled inside the network as its backbone expects"
        if model.network == "transfer"
        else "divided by 255 inside the network"
    )
    return (
        f"Each picture is decoded to 8 bit; {region}; it is {colour} and resized to {size} × "
        f"{size} px (bilinear, aspect not kept); grey levels are {scale}. Training, validation "
        "and later use go through the same code."
    )


def say_augmentation(facts: Facts) -> str:
    """What training images go through besides."""
    config, done = facts.config.augmentation, []
    known = {item.name: item.metadata for item in fields(AugmentConfig)}
    for name, chance_name in EFFECTS:
        amount, chance = getattr(config, name), getattr(config, chance_name)
        if not amount or not chance:
            continue
        about = known[name]
        said = str(about["label"]).lower()
        if amount is not True:
            said += f" up to {_say_amount(amount, about['unit'])}"
        done.append(said if chance == 1 else f"{said} in {_say_share(chance)} of the images")
    if not done:
        return "Training images are not augmented."
    return (
        f"Training images alone are augmented, drawn anew for each image and epoch: "
        f"{', '.join(done)}; gaps are filled by '{config.fill_mode}'."
    )


def say_missing(facts: Facts) -> str:
    """How missing values are handled."""
    return (
        "The model reads one picture and nothing else, so an input has no value that could be "
        "missing, and none was filled in."
    )


def say_split(facts: Facts) -> str:
    """How the partitions came about."""
    data, study = facts.config.data, facts.origin.study
    part = _find_trained_percent(study.member) if study is not None else ""
    if study is not None and study.plan["num_folds"] > 1:
        folds = (
            f"the images were dealt to {study.plan['num_folds']} folds class by class (split seed "
            f"{data.seed}), where {_TOGETHER}"
        )
        if not study.member:
            return (
                f"Cross-validation: {folds}; each member validates on one fold and is trained on "
                "the others."
            )
        share = f"{part} % of the images of " if part else ""
        return (
            f"This is '{make_visible(study.member)}', one member of a cross-validation: {folds}. "
            f"It validates on one fold and was trained on {share}the others."
        )
    said = _say_whole_split(facts)
    return f"{said} Of the training images {part} % were taken." if said and part else said


def _say_whole_split(facts: Facts) -> str:
    """Of images that are in no fold; "" where the run cannot tell."""
    data = facts.config.data
    if facts.index is None or facts.index.images.empty:
        return ""
    if lie_in_split_folders(facts.index.images):
        return "The data set brings its own split, as folders, and it was kept."
    if facts.is_drawn:
        return (
            f"{_say_share(data.validation_fraction)} of the images were drawn for validation, "
            f"class by class (split seed {data.seed}), where {_TOGETHER}."
        )
    where = "data set's manifest" if data.folder.lower().endswith(".csv") else "data set"
    return f"The {where} brings its own split, and it was kept." * facts.origin.has_own_split


def say_level(facts: Facts) -> str:
    """At which level the partitions are disjoint, as counted in the index."""
    if facts.study is not None and facts.is_crossed:
        return _say_fold_level(facts)
    if facts.index is None:
        return ""
    images = facts.index.images
    training, others = images[images["split"] == "train"], images[images["split"] != "train"]
    if training.empty or others.empty:
        return ""
    num_copies = int(others["sha256"].isin(set(training["sha256"]) - {""}).sum())
    copies = (
        "No image has an exact copy in training."
        if num_copies == 0
        else f"Images outside of training with an exact copy in it: {num_copies}."
    )
    if not facts.origin.are_patients_known:
        return (
            "Patients are not known for all images, so the partitions are disjoint by image "
            f"alone. {copies}"
        )
    num_shared = len(set(training["group"]) & set(others["group"]))
    if num_shared == 0:
        return f"By patient: no patient of training is in another partition. {copies}"
    return f"Not by patient: patients that are on both sides: {num_shared}. {copies}"


def say_balance(facts: Facts) -> str:
    """How uneven the classes are, and what was done about it."""
    training = facts.config.training
    weights = (
        "both classes are weighted to count alike in the loss, which shifts probabilities towards "
        "the rarer one"
        if training.class_weights == "balanced"
        else "no class is weighted"
    )
    rows = pd.DataFrame() if facts.index is None else facts.index.select("train")
    positive = facts.class_names[1]
    if training.sampling != "patients":
        weights += "; each image is drawn once an epoch"
    elif rows.empty:
        weights += "; each patient is drawn as often as any other, whatever the class"
    else:
        weights += (
            "; each patient is drawn as often as any other, so that "
            f"{round_percent(_find_drawn_share(rows))} % of the images drawn are '{positive}'"
        )
    if rows.empty:
        return f"In training {weights}."
    share = round_percent(float((rows["label"] == 1).mean()))
    return (
        f"{share} % of the training images are '{positive}'; {weights}. "
        "Results are quoted beside the baseline of always answering the more frequent class."
    )


def say_sample_size(facts: Facts) -> str:
    """How many there were, and how wide the interval is that follows."""
    if facts.level is None:
        return ""
    level, unit = facts.level
    accuracy = level["accuracy"]
    if accuracy["value"] is None:
        return ""
    width = 100 * (accuracy["high"] - accuracy["low"])
    return (
        f"The number was not chosen by the program. With {accuracy['n']} {unit} judged, the 95 % "
        f"interval of the accuracy is {width:.0f} percentage points wide."
    )


def _say_fold_level(facts: Facts) -> str:
    if not facts.origin.are_patients_known:
        return "Patients are not known for all images, so the folds are disjoint by image alone."
    return "By patient: all images of a patient are in one fold."


def _find_trained_percent(member: str) -> str:
    """Such as "25" of a member that was trained on a share of the images, else ""."""
    found = re.search(r"-share-(\d+)$", member)
    return found[1] if found else ""


def _find_drawn_share(rows: pd.DataFrame) -> float:
    """The share of positive images among those drawn, where each patient has the same chance."""
    own = rows["path"] + "\0" + rows["frame"].astype(str)
    names = rows["group"].where(rows["group"] != "", own)
    chances = 1 / names.map(names.value_counts())
    return float(chances[rows["label"] == 1].sum() / chances.sum())


def _say_share(share: float) -> str:
    percent = 100 * share
    whole = abs(percent - round(percent)) < 1e-6
    return f"{round_percent(share) if whole else f'{percent:.3g}'} %"


def _say_amount(amount: float, unit: str) -> str:
    if unit == "part":
        return _say_share(amount)
    return f"{amount:g}{unit}" if unit == "°" else f"{amount:g} {unit}".strip()
