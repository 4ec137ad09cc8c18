import shutil
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binomtest

from polyp_core.audit import Finding, find_findings, say_limit
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from tests.conftest import write_image

TITLES = {
    "copy_across_splits": "2 images stand in training and validation, byte for byte the same.",
    "copy_across_classes": "2 images stand in both classes, byte for byte the same.",
    "patient_across_splits": "2 patients have images in training and validation.",
    "unreadable": "2 files cannot be read and are left out.",
}


def read(folder: Path) -> Index:
    return read_index(DataConfig(folder=str(folder)))


def find(folder: Path) -> dict[str, Finding]:
    return {finding.kind: finding for finding in find_findings(read(folder))}


def make_index(num_validation: int, *, group: str = "", images_each: int = 1) -> Index:
    """An index of validation images alone, none of them on disk."""
    numbers = range(num_validation * images_each)
    images = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in numbers],
            "label": [number // images_each % 2 for number in numbers],
            "group": [group and f"{group}{number // images_each}" for number in numbers],
            "split": "validation",
            "sha256": [f"{number:064x}" for number in numbers],
        }
    )
    return Index(
        folder=Path("data"),
        class_names=("normal", "polyp"),
        images=images,
        unreadable=pd.DataFrame(columns=["path", "reason"]),
    )


@pytest.fixture
def clean_dir(tmp_path) -> Path:
    """The thesis layout: 4 patients to train on, 14 to validate, one image each."""
    for patient in range(18):
        is_positive = bool(patient % 2)
        folder = tmp_path / "clean" / ("train" if patient < 4 else "validation")
        path = folder / ("calcified" if is_positive else "non-calcified") / f"patient-{patient}.png"
        write_image(path, is_bright_spot=is_positive, seed=patient, size_px=8)
    return tmp_path / "clean"


def test_clean_folder_has_no_finding(clean_dir):
    assert find_findings(read(clean_dir)) == []


def test_copy_on_both_sides_is_an_error(clean_dir):
    for patient in (0, 2):
        shutil.copy(
            clean_dir / f"train/non-calcified/patient-{patient}.png",
            clean_dir / f"validation/non-calcified/patient-9{patient}.png",
        )
    findings = find(clean_dir)
    assert set(findings) == {"copy_across_splits", "copy_across_patients"}
    finding = findings["copy_across_splits"]
    assert (finding.severity, finding.title) == ("error", TITLES["copy_across_splits"])
    assert sorted(finding.files) == [
        "train/non-calcified/patient-0.png",
        "train/non-calcified/patient-2.png",
        "validation/non-calcified/patient-90.png",
        "validation/non-calcified/patient-92.png",
    ]
    # The two of a pair stand together and share their reason.
    assert [name[-5] for name in finding.files] in (list("0022"), list("2200"))
    assert finding.reasons[0] == finding.reasons[1] != finding.reasons[2] == finding.reasons[3]


def test_copy_in_both_classes_is_an_error(clean_dir):
    for patient in (4, 6):
        shutil.copy(
            clean_dir / f"validation/non-calcified/patient-{patient}.png",
            clean_dir / f"validation/calcified/patient-{patient}.png",
        )
    findings = find(clean_dir)
    assert set(findings) == {"copy_across_classes"}
    finding = findings["copy_across_classes"]
    assert (finding.severity, finding.title) == ("error", TITLES["copy_across_classes"])
    assert len(finding.files) == len(finding.reasons) == 4


def test_patient_on_both_sides_is_an_error(clean_dir):
    for patient in (0, 2):
        path = clean_dir / f"validation/non-calcified/patient-{patient}.png"
        write_image(path, is_bright_spot=False, seed=90 + patient)
    findings = find(clean_dir)
    assert set(findings) == {"patient_across_splits"}
    finding = findings["patient_across_splits"]
    assert (finding.severity, finding.title) == ("error", TITLES["patient_across_splits"])
    assert list(zip(finding.files, finding.reasons, strict=True)) == [
        ("train/non-calcified/patient-0.png", "patient-0"),
        ("validation/non-calcified/patient-0.png", "patient-0"),
        ("train/non-calcified/patient-2.png", "patient-2"),
        ("validation/non-calcified/patient-2.png", "patient-2"),
    ]


def test_unreadable_file_is_a_warning_with_its_reason(clean_dir):
    for name in ("patient-90.png", "patient-91.png"):
        (clean_dir / "train" / "calcified" / name).touch()
    findings = find(clean_dir)
    assert set(findings) == {"unreadable"}
    finding = findings["unreadable"]
    assert (finding.severity, finding.title) == ("warning", TITLES["unreadable"])
    assert finding.files == ("train/calcified/patient-90.png", "train/calcified/patient-91.png")
    assert finding.reasons[0] == "'patient-90.png' is empty (0 bytes). Copy or export it again."


@pytest.mark.parametrize(("group", "unit"), [("", "images"), ("patient-", "patients")])
def test_twelve_to_validate_on_are_few_and_thirteen_are_not(group, unit):
    images_each = 3 if group else 1
    (finding,) = find_findings(make_index(12, group=group, images_each=images_each))
    assert (finding.kind, finding.severity) == ("few_validation", "warning")
    assert finding.title == "The validation set is very small."
    assert finding.advice == (
        f"Even 12 of 12 validation {unit} right only proves 76 % or more. Add images, or keep a "
        "larger part for validation."
    )
    assert find_findings(make_index(13, group=group, images_each=images_each)) == []


def test_errors_come_before_warnings(data_dir):
    (data_dir / "calcified" / "patient-91.png").touch()
    shutil.copy(
        data_dir / "calcified/patient-01_0.png", data_dir / "non-calcified/patient-01_0.png"
    )
    severities = [finding.severity for finding in find_findings(read(data_dir))]
    assert severities == ["error", "warning", "warning"]


def test_copy_in_the_test_set_is_not_said_to_be_in_validation(clean_dir):
    for name, patient in (("calcified", 1), ("non-calcified", 0)):
        (clean_dir / "test" / name).mkdir(parents=True)
        shutil.copy(clean_dir / f"train/{name}/patient-{patient}.png", clean_dir / "test" / name)
    findings = find(clean_dir)
    assert set(findings) == {"copy_across_splits", "patient_across_splits"}
    for finding in findings.values():
        assert "validation" not in finding.title


def test_two_patients_who_are_the_same_images_are_found_on_one_side_too(clean_dir):
    # As the patients 1534 and 1582 of the gallbladder images.
    folder = clean_dir / "validation" / "calcified"
    shutil.copy(folder / "patient-5.png", folder / "patient-95.png")
    assert len(find_findings(read(clean_dir))) == 1


def test_one_is_said_in_the_singular(clean_dir):
    shutil.copy(
        clean_dir / "train/calcified/patient-1.png",
        clean_dir / "validation/calcified/patient-1.png",
    )
    (clean_dir / "train/calcified/patient-90.png").touch()
    titles = [finding.title for finding in find_findings(read(clean_dir))]
    assert len(titles) == 3
    assert [
        title for title in titles if title.startswith(("1 images", "1 patients", "1 files"))
    ] == []


@pytest.mark.parametrize("n", [1, 5, 12, 40, 250])
def test_limit_is_wilsons_lower_bound(n):
    low = binomtest(n, n).proportion_ci(method="wilson").low
    assert say_limit(make_index(n)) == (
        f"Even {n} of {n} validation images right only proves {round(low * 100)} % or more."
    )


@pytest.mark.parametrize(
    ("n", "percent"),
    [(12, 76), (100, 96), (1000, 99)],  # n / (n + 1.96²): 75.7, 96.3 and 99.6, which is not 100
)
def test_limit_by_hand_is_never_certainty(n, percent):
    assert f"proves {percent} % or more." in say_limit(make_index(n))
