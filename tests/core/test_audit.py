"""Findings that need no files are made from indexes alone; the rest from small folders."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from polyp_core import audit
from polyp_core.audit import (
    Finding,
    audit_index,
    count_images,
    find_findings,
    find_pairs,
    say_limit,
    say_verdict,
)
from polyp_core.audit.shortcuts import find_shortcuts
from polyp_core.config import DataConfig
from polyp_core.dataset import MEASURE_COLUMNS, Index, read_index
from tests.conftest import write_image

CLASSES = ("normal", "polyp")
NO_PAIRS = np.empty((0, 2), int)


def make_index(
    num_train: int = 8, num_validation: int = 24, *, images_each: int = 1, group: str = "p",
    seed: int = 0, group_source: str = "manifest",
) -> Index:  # fmt: skip
    """A clean index, none of it on disk; every second patient is positive."""
    generator = np.random.default_rng(seed)
    n = (num_train + num_validation) * images_each
    patients = np.arange(n) // images_each
    images = pd.DataFrame(
        {
            "path": [f"{number:04}.png" for number in range(n)],
            "frame": 0,
            "label": patients % 2,
            "group": [group and f"{group}{patient}" for patient in patients],
            "split": np.where(patients < num_train, "train", "validation"),
            "width_px": 400,
            "height_px": 300,
            "sha256": [f"{number:064x}" for number in range(n)],
        }
    )
    measures = pd.DataFrame(
        {
            "size_bytes": generator.integers(10_000, 90_000, n),
            "brightness": generator.normal(60, 15, n),
            "contrast": 30.0,
            "border": generator.normal(12, 4, n),
            "is_colour": False,
            "text_share": 0.0,
            "num_calipers": 0,
        }
    )
    return Index(
        folder=Path("data"),
        class_names=CLASSES,
        images=images,
        unreadable=pd.DataFrame(columns=["path", "reason"]),
        measures=measures[MEASURE_COLUMNS],
        descriptors=np.zeros((n, 1), np.uint8),
        group_source=group_source if group else "",
    )


def find(index: Index, pairs: np.ndarray = NO_PAIRS) -> dict[str, Finding]:
    findings = find_findings(index, pairs)
    assert len({finding.kind for finding in findings}) == len(findings)
    for finding in findings:
        assert len(finding.files) == len(finding.reasons)
        assert finding.title.endswith(".")
        assert finding.advice.endswith(".")
    return {finding.kind: finding for finding in findings}


def list_paths(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:04}.png" for number in numbers)


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_index_has_no_finding(seed):
    assert find(make_index(seed=seed)) == {}


# Exact copies


def make_copies(index: Index, *pairs: tuple[int, int]) -> Index:
    for number, (first, second) in enumerate(pairs):
        index.images.loc[[first, second], "sha256"] = f"{number}" + "c" * 63
    return index


def test_copies_on_both_sides_are_an_error():
    # 0 and 2 train, 8 and 10 validate; all are negative, each a patient of its own.
    findings = find(make_copies(make_index(), (0, 8), (2, 10)))
    assert set(findings) == {"copy_across_splits", "copy_across_patients"}
    finding = findings["copy_across_splits"]
    assert (finding.severity, finding.count) == ("error", 2)
    assert finding.title == ("2 images stand in training and validation, byte for byte the same.")
    assert "learnt by heart" in finding.advice
    # The two of a pair stand together and share their reason.
    assert finding.files == list_paths(0, 8, 2, 10)
    assert finding.reasons == ("copy 0ccccc", "copy 0ccccc", "copy 1ccccc", "copy 1ccccc")
    assert finding.sets == ((0, 8), (2, 10))


def test_copies_in_both_classes_are_an_error():
    findings = find(make_copies(make_index(group=""), (8, 9)))
    assert set(findings) == {"copy_across_classes", "patients_unknown"}
    finding = findings["copy_across_classes"]
    assert (finding.severity, finding.count) == ("error", 1)
    assert finding.title == "1 image stands in both classes, byte for byte the same."
    assert (finding.files, finding.sets) == (list_paths(8, 9), ((8, 9),))


def test_copies_under_two_patients_are_a_warning_on_one_side_too():
    # As the patients 1534 and 1582 of the gallbladder images.
    findings = find(make_copies(make_index(), (8, 10)))
    assert set(findings) == {"copy_across_patients"}
    finding = findings["copy_across_patients"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.title == "1 image stands under more than one patient, byte for byte the same."
    assert finding.advice == (
        "The patients are probably the same person: give them one name. All their images stand on "
        "one side, so no result is too good by it."
    )


def test_copies_under_two_patients_who_stand_on_two_sides_may_leak():
    index = make_copies(make_index(images_each=2), (16, 20))
    index.images.loc[[20, 21], "group"] = "p8-2"
    index.images.loc[21, "split"] = "train"
    assert find(index)["copy_across_patients"].advice == (
        "The patients are probably the same person: give them one name. As they are, they may be "
        "on both sides; a clean split keeps them together."
    )


def test_files_that_tell_no_patient_are_not_under_more_than_one_patient():
    index = make_copies(make_index(), (8, 10))
    index.images.loc[[10, 12], "group"] = index.images["path"]
    findings = find(index, np.array([[12, 14]]))
    assert set(findings) == {"copy", "near_copy", "patients_missing"}
    assert (findings["copy"].sets, findings["near_copy"].sets) == (((8, 10),), ((12, 14),))


def test_copies_that_do_no_other_harm_are_a_note():
    findings = find(make_copies(make_index(images_each=2), (16, 17)))
    assert set(findings) == {"copy"}
    assert (findings["copy"].severity, findings["copy"].count) == ("note", 1)
    assert findings["copy"].title == (
        "1 image stands more than once in a class, byte for byte the same."
    )


def test_a_copy_in_the_test_set_is_not_said_to_be_in_validation():
    index = make_copies(make_index(), (0, 2))
    index.images.loc[2, "split"] = "test"
    assert find(index)["copy_across_splits"].title == (
        "1 image stands in training and test, byte for byte the same."
    )


def test_the_frames_of_one_file_are_no_copies_but_those_of_two_files_are():
    index = make_index(images_each=3)
    for patient in (8, 10):
        rows = [3 * patient + frame for frame in range(3)]
        index.images.loc[rows, "path"] = f"{patient}.dcm"
        index.images.loc[rows, "frame"] = [0, 1, 2]
        index.images.loc[rows, "sha256"] = "f" * 64
    finding = find(index)["copy_across_patients"]
    assert finding.count == 3
    assert finding.sets == ((30, 24), (31, 25), (32, 26))  # "10.dcm" comes before "8.dcm"
    index.images.loc[[30, 31, 32], "sha256"] = "e" * 64
    assert find(index) == {}


# Near-copies, from given pairs


@pytest.mark.parametrize(("num_leaked", "severity"), [(1, "warning"), (2, "warning"), (3, "error")])
def test_near_copies_across_splits_are_an_error_above_a_twentieth_of_validation(
    num_leaked, severity
):
    # Of 40 validation images two are 5 %.
    pairs = np.array([[2 * i, 8 + 2 * i] for i in range(num_leaked)])
    findings = find(make_index(num_validation=40), pairs)
    assert set(findings) == {"near_copy_across_splits"}
    finding = findings["near_copy_across_splits"]
    assert (finding.severity, finding.count) == (severity, num_leaked)
    assert finding.advice == (
        f"{num_leaked} of 40 validation images are nearly known from elsewhere, so the result "
        "would be too good. A clean split keeps them together."
    )
    assert finding.sets == tuple((2 * i, 8 + 2 * i) for i in range(num_leaked))
    assert finding.files == list_paths(*np.ravel(finding.sets))
    assert finding.reasons[:2] == ("picture 1", "picture 1")


def test_one_training_image_in_many_validation_images_counts_each_of_them():
    finding = find(make_index(num_validation=40), np.array([[0, 8], [0, 10], [0, 12]]))[
        "near_copy_across_splits"
    ]
    assert (finding.severity, finding.count, finding.sets) == ("error", 1, ((0, 8, 10, 12),))
    assert finding.title == (
        "1 picture stands in training and validation, nearly the same: another size, encoding, "
        "brightness or border."
    )


def test_near_copies_between_training_and_test_are_said_of_the_test_images():
    index = make_index(num_validation=40)
    index.images.loc[8:17, "split"] = "test"
    finding = find(index, np.array([[0, 8]]))["near_copy_across_splits"]
    assert finding.severity == "error"
    assert finding.advice.startswith("1 of 10 test images are nearly known from elsewhere")
    assert "in training and test, nearly" in finding.title


def test_near_copies_in_both_classes_are_a_warning():
    findings = find(make_index(), np.array([[8, 9]]))
    assert set(findings) == {"near_copy_across_classes"}
    finding = findings["near_copy_across_classes"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.title.startswith("1 picture stands in both classes, nearly the same")
    assert finding.sets == ((8, 9),)


def test_near_copies_under_two_patients_are_a_warning():
    findings = find(make_index(), np.array([[8, 10]]))
    assert set(findings) == {"near_copy_across_patients"}
    finding = findings["near_copy_across_patients"]
    assert finding.severity == "warning"
    assert finding.advice == (
        "The patients may be the same person: then give them one name. All their images stand on "
        "one side, so no result is too good by it."
    )


def test_the_frames_of_a_file_of_no_known_patient_may_look_alike():
    index = make_index(images_each=2, group_source="files")
    index.images["path"] = index.images["group"]
    index.images["frame"] = np.arange(64) % 2
    assert set(find(index, np.array([[16, 17]]))) == {"patients_guessed"}


def test_near_copies_of_unknown_patients_within_a_class_are_a_note():
    findings = find(make_index(group=""), np.array([[8, 10], [10, 12]]))
    assert set(findings) == {"near_copy", "patients_unknown"}
    finding = findings["near_copy"]
    assert (finding.severity, finding.count, finding.sets) == ("note", 1, ((8, 10, 12),))


def test_one_patient_s_pictures_may_look_alike():
    index = make_index(images_each=2)
    assert find(index, np.array([[16, 17], [0, 1]])) == {}
    # On two sides they are found by their patient, and named once.
    index.images.loc[17, "split"] = "train"
    assert set(find(index, np.array([[16, 17]]))) == {"patient_across_splits"}


def test_exact_copies_are_not_repeated_as_near_copies():
    index = make_copies(make_index(), (0, 8))
    assert "near_copy_across_splits" not in find(index, np.array([[0, 8]]))
    assert find(index, np.array([[0, 8], [0, 10]]))["near_copy_across_splits"].sets == ((0, 10),)


# Near-copies, found in real files


def draw(seed: int, side_px: int = 128) -> np.ndarray:
    """Soft clouds, different for each seed."""
    noise = np.random.default_rng(seed).normal(size=(side_px, side_px)).astype(np.float32)
    clouds = cv2.GaussianBlur(noise, (0, 0), side_px / 40)
    return np.clip(110 + 45 * clouds / clouds.std(), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def change(pixels: np.ndarray, how: str) -> tuple[np.ndarray, str]:
    """The pixels and suffix of a near-copy."""
    if how == "rescaled":
        return cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_AREA), "png"
    return (pixels, "jpg") if how == "re-encoded" else (cv2.add(pixels, 25), "png")


@pytest.mark.parametrize("how", ["rescaled", "re-encoded", "brighter"])
def test_a_near_copy_in_a_file_is_found_and_others_are_not(tmp_path, how):
    for patient in range(32):
        split = "train" if patient < 8 else "validation"
        save(tmp_path / split / CLASSES[patient % 2] / f"case{patient}.png", draw(patient))
    copy, suffix = change(draw(1), how)
    save(tmp_path / "validation" / "polyp" / f"case90.{suffix}", copy)
    index = read_index(DataConfig(folder=str(tmp_path)))
    result = audit_index(index)
    paths = list(index.images["path"])
    assert [[paths[i] for i in pair] for pair in result.pairs] == [
        ["train/polyp/case1.png", f"validation/polyp/case90.{suffix}"]
    ]
    by_kind = {finding.kind: finding for finding in result.findings}
    assert by_kind["near_copy_across_splits"].severity == "warning"  # one of 25: 4 %
    assert result.verdict == "train with care"


# Patients


def test_patients_on_both_sides_are_an_error():
    index = make_index(images_each=2)
    index.images.loc[[17, 21], "split"] = "train"
    findings = find(index)
    assert set(findings) == {"patient_across_splits"}
    finding = findings["patient_across_splits"]
    assert (finding.severity, finding.count) == ("error", 2)
    assert finding.title == "2 patients have images in training and validation."
    assert finding.advice == (
        "The model would recognise the patient instead of the disease. A clean split keeps each "
        "patient on one side."
    )
    assert finding.files == list_paths(20, 21, 16, 17)  # by patient: p10, then p8
    assert finding.reasons == ("p10", "p10", "p8", "p8")
    assert finding.sets == ((20, 21), (16, 17))


def test_numbers_that_are_taken_for_patients_on_both_sides_are_a_warning():
    index = make_index(images_each=2, group_source="numbers")
    index.images.loc[17, "split"] = "train"
    finding = find(index)["patient_across_splits"]
    assert finding.severity == "warning"
    assert finding.advice.startswith(
        "If the numbers before the file names are patients, the model would recognise the patient "
    )


def test_patients_in_both_classes_are_a_note():
    index = make_index(images_each=2)
    index.images.loc[17, "label"] = 1
    findings = find(index)
    assert set(findings) == {"patient_across_classes"}
    finding = findings["patient_across_classes"]
    assert (finding.severity, finding.count) == ("note", 1)
    assert finding.title == "1 patient has images in both classes."
    assert (finding.files, finding.sets) == (list_paths(16, 17), ((16, 17),))


@pytest.mark.parametrize("source", ["layout", "manifest", "dicom", "names"])
def test_files_that_tell_no_patient_are_a_warning_with_their_number(source):
    index = make_index(group_source=source)
    index.images.loc[[3, 9], "group"] = index.images["path"]
    findings = find(index)
    assert set(findings) == {"patients_missing", *["patients_guessed"] * (source == "names")}
    finding = findings["patients_missing"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.title == "2 files tell no patient."
    assert finding.advice == (
        "Each is taken for a patient of its own. If a patient has several of them, these may stand "
        "on both sides without being seen: name them in a manifest with the column group."
    )
    assert finding.files == list_paths(3, 9)
    if source == "names":
        assert findings["patients_guessed"].title.startswith("30 patients were found by the file")


def test_unknown_patients_are_a_warning():
    findings = find(make_index(group=""))
    assert set(findings) == {"patients_unknown"}
    assert (findings["patients_unknown"].severity, findings["patients_unknown"].count) == (
        "warning", 32,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("names", "32 patients were found by the file names: '0000.png' is of 'p0'."),
        ("numbers", "32 patients were found by the numbers before the file names: '0000.png' is of "
         "'p0'."),
        ("files", "32 patients were found by the files with several frames, each taken for one "
         "patient: '0000.png' is of 'p0'."),
    ],
)  # fmt: skip
def test_guessed_patients_are_named_with_their_source(source, said):
    findings = find(make_index(group_source=source))
    assert set(findings) == {"patients_guessed"}
    assert findings["patients_guessed"].title == said
    # A file's frames say nothing of its patient, who may have other files.
    assert findings["patients_guessed"].severity == ("warning" if source == "files" else "note")


@pytest.mark.parametrize("source", ["layout", "manifest", "dicom", "pattern"])
def test_given_patients_are_no_finding(source):
    assert find(make_index(group_source=source)) == {}


# Odd pictures


def test_unreadable_files_are_a_warning_with_their_reasons():
    index = make_index()
    index.unreadable.loc[0] = ["a.png", "'a.png' is empty."]
    assert find(index)["unreadable"].title == "1 file cannot be read and is left out."
    index.unreadable.loc[1] = ["b.png", "'b.png' is cut."]
    findings = find(index)
    assert set(findings) == {"unreadable"}
    finding = findings["unreadable"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.title == "2 files cannot be read and are left out."
    assert (finding.files, finding.sets) == (("a.png", "b.png"), ())
    assert finding.reasons == ("'a.png' is empty.", "'b.png' is cut.")


def test_blank_pictures_are_a_warning_below_four_grey_levels():
    index = make_index()
    index.measures.loc[[3, 9, 11], "contrast"] = [3.99, 0.0, 4.0]
    findings = find(index)
    assert set(findings) == {"blank"}
    finding = findings["blank"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.title == "2 pictures are nearly blank."
    assert (finding.files, finding.sets) == (list_paths(3, 9), ((3,), (9,)))
    assert finding.reasons == ("contrast 4.0 grey levels", "contrast 0.0 grey levels")


def test_some_tiny_pictures_are_a_warning_and_all_of_them_a_note():
    index = make_index()
    index.images.loc[[3, 9], ["width_px", "height_px"]] = [[40, 31], [32, 32]]
    finding = find(index)["tiny"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.title == "1 picture is tiny: below 32 px."
    assert (finding.files, finding.reasons) == (list_paths(3), ("40 × 31 px",))
    index.images[["width_px", "height_px"]] = 28
    findings = find(index)
    assert set(findings) == {"tiny"}
    assert (findings["tiny"].severity, findings["tiny"].title) == (
        "note", "All 32 pictures are tiny: below 32 px.",
    )  # fmt: skip


def test_narrow_pictures_are_a_warning_above_four_to_one():
    index = make_index()
    index.images.loc[[3, 9], ["width_px", "height_px"]] = [[400, 99], [400, 100]]
    finding = find(index)["narrow"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.title == "1 picture is more than 4 times as long as wide."
    assert (finding.files, finding.reasons) == (list_paths(3), ("400 × 99 px",))


def test_mixed_shapes_are_a_note_and_mixed_sizes_of_one_shape_are_not():
    index = make_index()
    index.images.loc[:15, ["width_px", "height_px"]] = [800, 600]
    assert "mixed_sizes" not in find(index)
    index.images.loc[16:19, ["width_px", "height_px"]] = [300, 300]
    finding = find(index)["mixed_sizes"]
    assert (finding.severity, finding.count) == ("note", 3)
    assert finding.title == (
        "The pictures come in 3 sizes; the most frequent: 800 × 600 (16), 400 × 300 (12) and "
        "300 × 300 (4)."
    )


@pytest.mark.parametrize(
    ("num_colour", "title", "shown"),
    [
        (1, "1 picture has colour, 31 are grey.", [0]),
        (31, "31 pictures have colour, 1 is grey.", [31]),
    ],
)
def test_mixed_colours_are_a_note_that_names_the_fewer(num_colour, title, shown):
    index = make_index()
    index.measures.loc[: num_colour - 1, "is_colour"] = True
    finding = find(index)["mixed_colours"]
    assert (finding.severity, finding.count, finding.title) == ("note", 1, title)
    assert finding.sets == tuple((number,) for number in shown)


def test_all_in_colour_is_no_finding():
    index = make_index()
    index.measures["is_colour"] = True
    assert find(index) == {}


# Counts


@pytest.mark.parametrize(("group", "unit"), [("", "images"), ("p", "patients")])
def test_twelve_to_validate_on_are_few_and_thirteen_are_few_of_a_class(group, unit):
    images_each = 3 if group else 1
    finding = find(make_index(8, 12, group=group, images_each=images_each))["few_validation"]
    assert (finding.severity, finding.count) == ("warning", 12)
    assert finding.title == "The validation set is very small."
    assert finding.advice == (
        f"Even 12 of 12 validation {unit} right only proves 76 % or more. Add images, keep a "
        "larger part for validation, or train a study in folds, which validates every image."
    )
    findings = find(make_index(8, 13, group=group, images_each=images_each))
    assert "few_validation" not in findings
    assert findings["few_of_class"].count == 6


def test_nine_of_a_class_to_validate_on_are_few_and_ten_are_not():
    index = make_index(8, 19)  # 10 negative patients, 9 positive
    findings = find(index)
    assert set(findings) == {"few_of_class"}
    finding = findings["few_of_class"]
    assert (finding.severity, finding.count) == ("warning", 9)
    assert finding.title == "Only 9 patients of class 'polyp' to validate on."
    low = binomtest(9, 9).proportion_ci(method="wilson").low
    assert finding.advice.startswith(
        f"The sensitivity rests on them: even 9 of 9 right only proves {round(100 * low)} % or"
    )
    assert find(make_index(8, 20)) == {}


def test_three_quarters_of_one_class_are_uneven():
    index = make_index(100, 60)
    index.images.loc[1:79:2, "label"] = 0  # 80 positives become 40 of 160
    findings = find(index)
    assert set(findings) == {"uneven_classes"}
    finding = findings["uneven_classes"]
    assert (finding.severity, finding.count) == ("note", 120)
    assert finding.title == "75 % of the images are of class 'normal'."
    index.images.loc[0, "label"] = 1  # 119 of 160, which is printed as 74 %
    assert find(index) == {}


def test_what_is_printed_as_75_percent_is_uneven():
    index = make_index(200, 120)  # 320 images
    index.images["label"] = [0] * 239 + [1] * 81  # 74.7 %
    assert find(index)["uneven_classes"].title == "75 % of the images are of class 'normal'."


@pytest.mark.parametrize("n", [1, 5, 12, 40, 250])
def test_limit_is_wilsons_lower_bound(n):
    low = binomtest(n, n).proportion_ci(method="wilson").low
    assert say_limit(make_index(0, n, group="")) == (
        f"Even {n} of {n} validation images right only proves {round(low * 100)} % or more."
    )


@pytest.mark.parametrize(
    ("n", "percent"),
    [(12, 76), (100, 96), (1000, 99)],  # n / (n + 1.96²): 75.7, 96.3 and 99.6, which is not 100
)
def test_limit_by_hand_is_never_certainty(n, percent):
    assert f"proves {percent} % or more." in say_limit(make_index(0, n))


# Shortcuts


def plant(index: Index, name: str) -> np.ndarray:
    """Make one sign tell the label more or less; the sign's values."""
    generator = np.random.default_rng(9)
    is_positive = index.images["label"] == 1
    measures = index.measures
    if name == "brightness":
        measures["brightness"] += 20 * is_positive
        return measures["brightness"].to_numpy()
    if name == "border":
        measures["border"] -= 6 * is_positive
        return -measures["border"].to_numpy()
    if name == "file_size":
        measures["size_bytes"] += 40_000 * is_positive
        return measures["size_bytes"].to_numpy()
    if name == "image_size":
        width_px = 400 + 4 * generator.integers(0, 9, len(is_positive)) - 20 * is_positive
        index.images["width_px"], index.images["height_px"] = width_px, width_px * 3 // 4
        return -(width_px * (width_px * 3 // 4)).to_numpy()
    is_marked = is_positive & (generator.random(len(is_positive)) < 0.6)
    column = {"text": "text_share", "calipers": "num_calipers", "colour": "is_colour"}[name]
    values = {"text": 0.01 * is_marked, "calipers": 2 * is_marked, "colour": is_marked}[name]
    measures[column] = values
    return is_marked.to_numpy()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("brightness", "Pictures of 'polyp' are brighter: the mean brightness alone"),
        ("border", "Borders of 'polyp' are darker: the brightness of the border alone"),
        ("file_size", "Files of 'polyp' are larger: the size of the file alone"),
        ("image_size", "Pictures of 'polyp' are smaller: the size of the picture alone"),
        ("text", "Burned-in text is more frequent in 'polyp': burned-in text alone"),
        ("calipers", "Calipers are more frequent in 'polyp': calipers alone"),
        ("colour", "Colour is more frequent in 'polyp': colour alone"),
    ],
)
def test_a_planted_shortcut_is_named_with_its_auc(name, said):
    index = make_index(40, 40)
    values = plant(index, name)
    auc = roc_auc_score(index.images["label"], values)
    assert auc > 0.7
    findings = find(index)
    assert set(findings) - {"mixed_colours", "mixed_sizes"} == {f"shortcut_{name}"}
    finding = findings[f"shortcut_{name}"]
    assert (finding.severity, finding.count) == ("warning", 80)
    start = f"{said} tells the classes apart with an AUC of {auc:.2f} ("
    assert finding.title.startswith(start)
    assert finding.title.endswith(") over 80 patients.")
    assert finding.advice.startswith("A network may learn that instead of the disease. ")


def test_a_weak_shortcut_is_a_note():
    index = make_index(200, 200)
    index.measures["brightness"] += 6 * index.images["label"]
    auc = roc_auc_score(index.images["label"], index.measures["brightness"])
    assert 0.55 < auc < 0.7
    assert find(index)["shortcut_brightness"].severity == "note"


def test_each_patient_counts_once():
    """Twenty pictures of one bright patient are one patient."""
    index = make_index(10, 24, images_each=20)
    is_first = index.images["group"].isin(["p1", "p3"])
    index.measures.loc[is_first, "brightness"] += 100
    values = index.measures.groupby(index.images["group"])["brightness"].mean()
    labels = index.images.groupby("group")["label"].first()
    assert "shortcut_brightness" not in find(index)
    index.measures.loc[index.images["label"] == 1, "brightness"] += 20
    values = index.measures.groupby(index.images["group"])["brightness"].mean()
    title = find(index)["shortcut_brightness"].title
    assert f"AUC of {roc_auc_score(labels, values):.2f} (" in title
    assert title.endswith("over 34 patients.")


def test_a_patient_is_marked_by_any_image_and_left_out_with_images_of_both_classes():
    index = make_index(20, 24, images_each=4)
    # Of each positive patient the first image is marked; p2 and p4 have an image of both classes.
    is_first = index.images.index % 4 == 0
    index.measures["num_calipers"] = 2 * (index.images["label"] * is_first)
    index.images.loc[[2 * 4, 4 * 4], "label"] = 1
    finding = find(index)["shortcut_calipers"]
    assert finding.title.startswith(
        "Calipers are more frequent in 'polyp': calipers alone tells the classes apart with an AUC "
        "of 1.00 ("
    )
    assert finding.title.endswith(") over 42 patients.")


@pytest.mark.parametrize(("num_positives", "num_marked"), [(8, 4), (30, 6), (60, 5)])
def test_rare_marks_that_know_nothing_hardly_ever_seem_a_shortcut(num_positives, num_marked):
    """Each mark may be wrong in 0.7 % of sets; three marks in 200 sets: about four at the most."""
    index = make_index(0, 400, group="")
    index.images["label"] = (np.arange(400) < num_positives).astype(int)
    generator = np.random.default_rng(3)
    num_wrong = 0
    for _ in range(200):
        for column in ("text_share", "num_calipers", "is_colour"):
            index.measures[column] = generator.permutation(400) < num_marked
        kinds = {finding.kind for finding in find_shortcuts(index) if finding}
        num_wrong += len(kinds & {"shortcut_text", "shortcut_calipers", "shortcut_colour"})
    assert num_wrong <= 9


@pytest.mark.parametrize("num_positives", [5, 12, 40])
def test_in_forty_clean_data_sets_hardly_one_has_a_shortcut(num_positives):
    """Signs drawn without regard to the label; 5 % of sets may be wrong, that is 2 of 40."""
    num_wrong = 0
    for seed in range(40):
        index = make_index(0, 80, group="", seed=seed)
        index.images["label"] = (np.arange(80) < num_positives).astype(int)
        generator = np.random.default_rng((seed, 1))
        index.images["width_px"] = generator.integers(380, 420, 80)
        index.measures["is_colour"] = generator.random(80) < 0.3
        index.measures["text_share"] = 0.01 * (generator.random(80) < 0.3)
        index.measures["num_calipers"] = 2 * (generator.random(80) < 0.1)
        num_wrong += any(finding is not None for finding in find_shortcuts(index))
    assert num_wrong <= 4


def test_a_sign_that_is_the_same_everywhere_is_no_shortcut():
    index = make_index()
    index.measures[["brightness", "border", "size_bytes", "num_calipers"]] = 7
    index.measures[["is_colour", "text_share"]] = [True, 0.02]
    assert find(index) == {}


def test_a_shortcut_is_measured_in_real_files(tmp_path):
    for patient in range(40):
        pixels = draw(patient, 48) // 2 + 40 * (patient % 2)
        split = "train" if patient < 16 else "validation"
        save(tmp_path / split / CLASSES[patient % 2] / f"case{patient}.png", pixels)
    findings = find(read_index(DataConfig(folder=str(tmp_path))))
    assert {"shortcut_brightness", "shortcut_border"} <= set(findings)
    assert "AUC of 1.00 (" in findings["shortcut_brightness"].title


# The whole


def test_a_folder_with_a_manifest_can_be_clean(tmp_path):
    rows = ["path,label,group,split"]
    for patient in range(32):
        write_image(tmp_path / f"{patient}.png", is_bright_spot=False, seed=500 + patient)
        split = "train" if patient < 8 else "validation"
        rows.append(f"{patient}.png,{CLASSES[patient % 2]},p{patient},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    result = audit_index(read_index(DataConfig(folder=str(tmp_path))))
    assert (result.findings, result.verdict, len(result.pairs)) == ([], "fit to train", 0)


def test_the_worst_comes_first_and_decides_the_verdict():
    index = make_copies(make_index(8, 8, group=""), (0, 8))
    index.measures.loc[0, "is_colour"] = True
    severities = [finding.severity for finding in find_findings(index, NO_PAIRS)]
    assert severities == ["error", "warning", "warning", "note"]
    findings = find_findings(index, NO_PAIRS)
    assert say_verdict(findings) == "do not trust a result from this"
    assert say_verdict(findings[1:]) == "train with care"
    assert say_verdict(findings[3:]) == say_verdict([]) == "fit to train"


def test_counts_by_hand():
    index = make_index(2, 5)
    index.images.loc[6, "split"] = "test"
    index.unreadable.loc[0] = ["x.png", "empty"]
    assert count_images(index) == {
        "images": 7, "patients": 7,
        "by_split": {"train": {"normal": 1, "polyp": 1}, "validation": {"normal": 2, "polyp": 2},
                     "test": {"normal": 1, "polyp": 0}},
        "unreadable": 1, "other_files": 0, "hidden_files": 0,
    }  # fmt: skip
    assert count_images(make_index(group=""))["patients"] is None


# What was compared is kept


@pytest.fixture
def two_alike(tmp_path) -> Index:
    for number in range(12):
        save(tmp_path / "data" / CLASSES[number % 2] / f"{number}.png", draw(number % 10, 48))
    return read_index(DataConfig(folder=str(tmp_path / "data")))


def test_the_second_call_compares_nothing(two_alike, tmp_path, monkeypatch):
    first = find_pairs(two_alike, tmp_path / "cache")
    assert len(first) == 2  # 0 and 10, 1 and 11
    assert np.array_equal(first, find_pairs(two_alike))
    monkeypatch.setattr(audit, "find_near_duplicates", lambda *_: pytest.fail("compared again"))
    assert np.array_equal(find_pairs(two_alike, tmp_path / "cache"), first)


def test_other_pictures_are_compared_anew(two_alike, tmp_path):
    find_pairs(two_alike, tmp_path / "cache")
    save(two_alike.folder / "polyp" / "11.png", draw(77, 48))
    changed = read_index(DataConfig(folder=str(two_alike.folder)))
    assert len(find_pairs(changed, tmp_path / "cache")) == 1


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\3\4" + b"x" * 99, "cut"])
def test_a_damaged_cache_file_is_made_anew(two_alike, tmp_path, content):
    first = find_pairs(two_alike, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] if content == "cut" else content)
    assert np.array_equal(find_pairs(two_alike, tmp_path / "cache"), first)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_progress_of_comparing_ends_at_the_total(two_alike):
    told = []
    find_pairs(two_alike, None, lambda *counts: told.append(counts))
    assert told[-1] == (10, 10)  # two of the twelve are equal to others
    shutil.rmtree(two_alike.folder)
    audit_index(two_alike)  # nothing is read from the files any more
