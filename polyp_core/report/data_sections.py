"""The sections on the images: where they went, what is wrong with them, how they are prepared."""

from dataclasses import fields

import pandas as pd

from polyp_core import words
from polyp_core.augmentation import list_cautions
from polyp_core.config import AugmentConfig, DataConfig
from polyp_core.config.augmentation import GEOMETRY, IMAGING
from polyp_core.report.facts import RunFacts
from polyp_core.report.flow import draw_flow
from polyp_core.report.gallery import write_augmented
from polyp_core.report.page import (
    clip,
    write_facts,
    write_figure,
    write_heading,
    write_list,
    write_missing,
    write_note,
    write_paragraph,
    write_row,
    write_table,
    write_warning,
)
from polyp_core.summaries import name_data

_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}
_MOST_FINDINGS = 30
NO_INDEX = "Which images this run has cannot be read: its index.csv is missing or damaged."


def write_data(facts: RunFacts) -> str:
    """From the files to what was judged, with counts by class and patient."""
    if facts.index is None:
        return write_missing(NO_INDEX)
    images, folder = facts.index.images, facts.config.data.folder if facts.config else ""
    said = f"The data set '{clip(name_data(folder))}' gave {facts.say_images(images)}. "
    if facts.origin.is_synthetic:
        said += "All are synthetic: drawn by this program, to show how it works. "
    said += f"The probability speaks of '{clip(facts.class_names[1])}'."
    sizes = images[["width_px", "height_px"]] if "width_px" in images else None
    rows = []
    if sizes is not None and len(sizes):
        low, middle, high = (sizes.quantile(share).round().astype(int) for share in (0, 0.5, 1))
        rows.append(
            ("Size of the pictures", f"{middle['width_px']} × {middle['height_px']} px in the "
             f"middle; width {low['width_px']} to {high['width_px']}, height {low['height_px']} "
             f"to {high['height_px']} px")
        )  # fmt: skip
    if (images["frame"] > 0).any():
        rows.append(("Films", "frames of one file count as images of one patient"))
    text = write_paragraph(said) + (write_facts(rows) if rows else "")
    text += write_figure(
        draw_flow(facts),
        "From the files to what was judged."
        + (" pat.: patients." if facts.origin.are_patients_known else ""),
    )
    if facts.audited.num_unreadable is None:
        text += write_note("How many files of the folder could not be read is not kept with a run.")
    return text


def write_audit(facts: RunFacts) -> str:
    """The verdict, and every finding with its advice."""
    audited = facts.audited
    if audited.audit is None:
        return write_missing(audited.reason)
    audit = audited.audit
    text = write_paragraph(
        f"Verdict on these images and this split: {audit.verdict}. {audited.limit}".strip()
    )
    text += write_note(
        "The audit was repeated for this report. It looks for copies and near-copies, patients on "
        "both sides of the split, odd pictures, few images, and signs beside the disease that tell "
        "the class."
    )
    if not audit.findings:
        return text + write_paragraph("Nothing was found.")
    rows = [
        (finding.severity, clip(finding.title, 300), finding.advice)
        for finding in audit.findings[:_MOST_FINDINGS]
    ]
    return text + write_table(("Severity", "Finding", "What to do"), rows, num_text=3)


def write_split(facts: RunFacts) -> str:
    """Who is on which side, and whether whole patients were kept together."""
    if facts.index is None:
        return write_missing(NO_INDEX)
    images = facts.index.images
    text = _say_study(facts)
    crossing = int((images.groupby("group")["split"].nunique() > 1).sum())
    if not facts.origin.are_patients_known:
        text += write_warning(
            "Patients are unknown, of all images or of some. If several images are of one patient, "
            "some may be on both sides of the split, and every number here is then too good."
        )
        if facts.metrics is not None and "patient" in facts.metrics:
            text += write_note(
                "Wherever something is counted by patient, an image file whose patient is unknown "
                "counts as a patient of its own."
            )
    elif crossing:
        text += write_warning(
            f"{words.say_number(crossing, 'patient')} with images on both sides of the split: the "
            "numbers are too good."
        )
    else:
        text += write_paragraph("The split is by patient: no patient is on both sides.")
    return text + _tabulate_split(facts, images) + _say_drawing(facts)


def _say_study(facts: RunFacts) -> str:
    """What the study of an ensemble or of a member did with the images; "" where there is none."""
    study = facts.origin.study
    if study is None:
        return ""
    made = (
        f"{words.say_number(study.plan['num_folds'], 'fold')} and "
        f"{words.say_number(len(study.plan['seeds']), 'seed')}"
    )
    if facts.ensemble is not None:
        said = f"This is the mean of the members of a study of {made}. "
        if study.has_folds:
            said += (
                "Each image was judged by the members that had not seen it, so the numbers here "
                "are of the members, not of their mean."
            )
        else:
            said += "All were trained on the same images and judged on the same others."
        return write_paragraph(said)
    said = f"This is one training of the study '{clip(study.name, 80)}' of {made}"
    if study.place is None:
        return write_paragraph(f"{said}.")
    fold, seed, percent = study.place
    said += f": fold {fold}, seed {seed}."
    if study.has_folds:
        said += f" Its validation images are fold {fold}, its training images the other folds."
    if percent < 100:
        said += f" Of those it was trained on {percent} %, whole patients where they are known."
    return write_paragraph(said)


def _say_drawing(facts: RunFacts) -> str:
    """How the images were dealt to the sides."""
    if facts.config is None:
        return ""
    data, study = facts.config.data, facts.origin.study
    if study is not None and study.has_folds:
        said = f"The folds were drawn with seed {data.seed}, class by class."
    elif facts.origin.has_own_split:
        said = "The data set brings its own split, and it was kept."
    else:
        said = (
            f"{100 * data.validation_fraction:g} % were drawn for validation, class by class, "
            f"with seed {data.seed}."
        )
    if data.group_pattern:
        said += f" Patients by the pattern {data.group_pattern} in the file names."
    return write_note(said)


def _tabulate_split(facts: RunFacts, images: pd.DataFrame) -> str:
    is_folds = facts.ensemble is not None and facts.ensemble.has_folds
    rows = []
    for split, title in _SPLITS.items():
        part = images[images["split"] == split]
        if part.empty:
            continue
        counts = [int((part["label"] == label).sum()) for label in (0, 1)]
        number = facts.count_patients(part)
        rows.append(
            (
                "Folds" if is_folds and split == "train" else title,
                f"{len(part):,}",
                f"{counts[0]:,}",
                f"{counts[1]:,}",
                f"{words.round_percent(counts[1] / len(part))} %",
                "unknown" if number is None else f"{number:,}",
            )
        )
    negative, positive = (clip(name, 24) for name in facts.class_names)
    heads = ("Part", "Images", negative, positive, "Positive share", "Patients")
    return write_table(heads, rows)


def write_preprocessing(facts: RunFacts) -> str:
    """What the network sees of a picture."""
    if facts.config is None:
        return write_missing("The settings of this run cannot be read.")
    model, data = facts.config.model, facts.config.data
    rows = [
        ("Region", _say_region(data)),
        ("Colour", "grey (luminance, ITU-R 601)" if model.channels == 1 else "red, green, blue"),
        ("Size", f"{model.image_size_px} × {model.image_size_px} px, bilinear; the aspect of the "
         "picture is not kept"),
        ("Scale", "grey levels from 0 to 255; the first layer of the network scales them"),
        ("Transparency", "laid on black"),
    ]  # fmt: skip
    if model.mirror:
        rows.append(("Mirror", "each picture and its mirror image are judged; the mean counts"))
    return write_facts(rows) + write_note(
        "The same decoder and the same steps serve preview, training, evaluation and prediction."
    )


def write_augmentation(facts: RunFacts) -> str:
    """How far training images are changed, and what that looks like."""
    if facts.config is None:
        return write_missing("The settings of this run cannot be read.")
    augmentation = facts.config.augmentation
    rows = _list_effects(augmentation)
    if not rows:
        return write_paragraph("Training images were not changed: augmentation was off.")
    text = write_paragraph(
        "Each training image was changed anew in every epoch, every number drawn evenly within its "
        "bounds. Validation and test images were not changed."
    )
    text += write_table(("Effect", "At most", "In how many images"), rows)
    text += write_paragraph(
        f"What a moved picture leaves open is filled: {augmentation.fill_mode}."
    )
    cautions = list_cautions(augmentation)
    text += write_list(f"{_label(name)}: {said}" for name, said in cautions.items())
    pictures = ""
    for label, name in enumerate(facts.class_names):
        figures = write_augmented(facts, label)
        if figures:
            pictures += write_heading(f"One training image of class '{clip(name, 60)}'")
            pictures += write_row(figures, "pictures eight")
    if not pictures:
        return text + write_missing(
            "Pictures would stand here. The training images were not at hand."
        )
    return (
        text
        + pictures
        + write_note(
            "The left one is the original as the network sees it, the others are exactly what it "
            "was trained on in these epochs."
        )
    )


def _say_region(data: DataConfig) -> str:
    if data.region == "automatic":
        return "the scan area, found in each picture or named by its DICOM file"
    if data.region == "box":
        left, top, right, bottom = data.region_box
        return f"the same part of each picture: {left} to {right} % of the width, {top} to {bottom} % of the height"  # noqa: E501
    return "the whole picture"


def _list_effects(augmentation: AugmentConfig) -> list[tuple[str, str, str]]:
    """Each effect that acts: its name, how far, how often."""
    found = []
    for row in GEOMETRY + IMAGING:
        if len(row) < 2:
            continue
        amount, chance = getattr(augmentation, row[0]), getattr(augmentation, row[1])
        if amount and chance:
            found.append((_label(row[0]), _say_amount(row[0], amount), f"{100 * chance:.3g} %"))
    return found


def _say_amount(name: str, amount: float | bool) -> str:
    if isinstance(amount, bool):
        return "yes"
    unit = next(f.metadata["unit"] for f in fields(AugmentConfig) if f.name == name)
    if unit == "part":
        return f"{100 * amount:.3g} %"
    return f"{amount:.3g}{'' if unit == '°' else ' '}{unit}"


def _label(name: str) -> str:
    return str(next(f.metadata["label"] for f in fields(AugmentConfig) if f.name == name))
