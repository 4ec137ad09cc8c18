"""What a run knows of its images, in sentences; "" where it does not know."""

from dataclasses import fields

import pandas as pd

from polyp_core.checklists.facts import Facts, count_patients
from polyp_core.config import AugmentConfig
from polyp_core.config.augmentation import EFFECTS
from polyp_core.dataset import FURTHER_PREFIX
from polyp_core.errors import RunError
from polyp_core.manifest import SPLIT_NAMES
from polyp_core.study import Study
from polyp_core.summaries import name_data
from polyp_core.words import make_visible, round_percent
from polyp_core.workspace import DEMO_RUN

_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}


def say_source(facts: Facts) -> str:
    """Which data set it was."""
    if facts.run.directory.resolve() == DEMO_RUN.directory.resolve():
        return "Synthetic ultrasound images, drawn by the program itself: of no patient."
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
    if facts.study is None:
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
    data = facts.config.data
    if facts.study is not None:
        plan = facts.study.read_plan()
        if plan["num_folds"] > 1:
            return (
                f"Cross-validation: the images were dealt to {plan['num_folds']} folds class by "
                f"class, whole patients and exact copies together (split seed {data.seed}); each "
                "member validates on one fold and is trained on the others."
            )
    if facts.index is not None and _is_given(facts.index.images):
        return "The data set brings its own split, as folders, and it was kept."
    return (
        "A split that the data set brings along is kept. Where it brings none, "
        f"{_say_share(data.validation_fraction)} of the images are drawn for validation, class by "
        f"class, whole patients and exact copies together (split seed {data.seed})."
    )


def say_level(facts: Facts) -> str:
    """At which level the partitions are disjoint, as counted in the index."""
    if facts.study is not None:
        return _say_fold_level(facts.study)
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
    if count_patients(images) is None:
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
        else "no class is weighted or drawn more often"
    )
    if facts.index is None or (rows := facts.index.select("train")).empty:
        return f"In training {weights}."
    share = float((rows["label"] == 1).mean())
    return (
        f"{_say_share(share)} of the training images are '{facts.class_names[1]}'; {weights}. "
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


def _is_given(images: pd.DataFrame) -> bool:
    """Whether each image lies in a folder that is named after its partition."""
    folders = images["path"].str.partition("/")[0].str.lower().map(SPLIT_NAMES)
    return not images.empty and bool((folders == images["split"]).all())


def _say_fold_level(study: Study) -> str:
    plan = study.read_plan()
    try:
        images = study.read_index().images
    except RunError:
        return ""
    judged = images[images["fold"] > 0]
    if plan["num_folds"] == 1 or judged.empty:
        return ""
    if count_patients(judged) is None:
        return "Patients are not known for all images, so the folds are disjoint by image alone."
    num_torn = int((judged.groupby("group")["fold"].nunique() > 1).sum())
    if num_torn:
        return f"Not by patient: patients that are in several folds: {num_torn}."
    return "By patient: all images of a patient are in one fold."


def _say_share(share: float) -> str:
    percent = 100 * share
    whole = abs(percent - round(percent)) < 1e-6
    return f"{round_percent(share) if whole else f'{percent:.3g}'} %"


def _say_amount(amount: float, unit: str) -> str:
    if unit == "part":
        return _say_share(amount)
    return f"{amount:g}{unit}" if unit == "°" else f"{amount:g} {unit}".strip()
