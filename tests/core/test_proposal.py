"""A proposed split, written as a manifest and read again as a user would."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyp_core.audit import audit_index, find_findings, find_pairs, propose_split
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import DatasetError
from tests.core.dicom_files import write_dicom
from tests.core.test_audit import CLASSES, NO_PAIRS, draw, make_index, save


def read(path: Path) -> Index:
    return read_index(DataConfig(folder=str(path)))


def propose(index: Index, fraction: float = 0.4, seed: int = 0) -> Index:
    return propose_split(index, find_pairs(index), fraction, seed).index


def hash_folder(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def leaky_dir(tmp_path_factory) -> Path:
    """The thesis layout with everything that can be wrong with a split."""
    folder = tmp_path_factory.mktemp("leaky")
    for patient in range(60):
        split = "train" if patient < 40 else "validation"
        for image in range(2):
            # Of every tenth patient one image went to the other side.
            side = split if image == 0 or patient % 10 else "validation"
            name = f"patient-{patient:02}_{image}.png"
            save(folder / side / CLASSES[patient % 2] / name, draw(100 * patient + image, 64))

    def copy(source: str, target: str) -> None:
        shutil.copy(folder / source, folder / target)

    copy("train/polyp/patient-01_0.png", "validation/polyp/patient-91_0.png")
    copy("train/polyp/patient-03_0.png", "train/polyp/patient-03_9.png")
    copy("train/polyp/patient-05_0.png", "train/normal/patient-92_0.png")
    brighter = cv2.add(draw(700, 64), 20)
    save(folder / "validation/polyp/patient-93_0.png", brighter)
    return folder


def test_after_it_nothing_stands_on_both_sides(leaky_dir, tmp_path):
    before = hash_folder(leaky_dir)
    index = read(leaky_dir)
    audit = audit_index(index)
    kinds = {finding.kind for finding in audit.findings}
    assert {
        "copy_across_splits", "copy_across_classes", "copy", "near_copy_across_splits",
        "patient_across_splits",
    } <= kinds  # fmt: skip
    proposal = propose_split(index, audit.pairs, 0.4, 0)
    proposal.index.write_manifest(tmp_path / "clean.csv")
    again = read(tmp_path / "clean.csv")
    assert again.images.equals(proposal.index.images)
    after = audit_index(again)
    assert [finding for finding in after.findings if finding.severity == "error"] == []
    assert {f.kind for f in after.findings} & (kinds - {"near_copy_across_patients"}) <= {
        "near_copy_across_patients"
    }
    assert hash_folder(leaky_dir) == before


def test_copies_are_left_out_and_of_two_labels_both(leaky_dir):
    index = read(leaky_dir)
    proposal = propose_split(index, find_pairs(index), 0.4, 0)
    assert proposal.left_out.values.tolist() == [
        ["train/normal/patient-92_0.png", "stands in both classes"],
        ["train/polyp/patient-03_9.png", "is a copy"],
        ["train/polyp/patient-05_0.png", "stands in both classes"],
        ["validation/polyp/patient-91_0.png", "is a copy"],
    ]
    kept = list(proposal.index.images["path"])
    assert sorted(kept + list(proposal.left_out["path"])) == list(index.images["path"])
    assert len(proposal.index.measures) == len(proposal.index.descriptors) == len(kept)
    assert list(proposal.index.images.index) == list(range(len(kept)))


def test_patients_who_are_one_by_their_pictures_stay_together(leaky_dir):
    for seed in range(5):
        images = propose(read(leaky_dir), seed=seed).images
        sides = images.groupby("group")["split"].unique().map(list)
        assert (sides.map(len) == 1).all()
        assert sides["patient-07"] == sides["patient-93"]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_each_class_keeps_the_wanted_share_within_a_patient(leaky_dir, fraction, seed):
    index = replace(read(leaky_dir), is_split=False)
    images = propose(index, fraction, seed).images
    for _, of_class in images.groupby("label"):
        num_validation = (of_class["split"] == "validation").sum()
        assert abs(num_validation - fraction * len(of_class)) <= 4  # the largest unit


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_data_set_that_brings_its_split_keeps_its_own_share_of_validation_images(fraction):
    index = make_index(70, 10)
    index.images.loc[0:15, "split"] = "test"  # of the other 64 images 10 validate
    clean = propose_split(index, NO_PAIRS, fraction, 0)
    assert clean.index.images["split"].value_counts().to_dict() == {
        "train": 54, "test": 16, "validation": 10,
    }  # fmt: skip
    drawn = propose_split(replace(index, is_split=False), NO_PAIRS, fraction, 0)
    assert len(drawn.index.select("validation")) == 2 * round(fraction * 32)


# Test images


def scatter(num_patients: int, shares: tuple[float, float, float], seed: int = 0) -> Index:
    """Six images a patient, divided at random and without regard to the patient."""
    index = make_index(num_patients, 0, images_each=6)
    generator = np.random.default_rng(seed)
    sides = generator.choice(["train", "validation", "test"], len(index.images), p=shares)
    index.images["split"] = sides
    return index


@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.15), (0.5, 0.2, 0.3), (0.2, 0.1, 0.7)])
@pytest.mark.parametrize("seed", range(3))
def test_images_divided_at_random_get_three_clean_parts_of_the_same_shares(shares, seed):
    index = scatter(60, shares, seed)
    assert index.images.groupby("group")["split"].nunique().mean() > 1.8
    proposal = propose_split(index, NO_PAIRS, 0.4, seed)
    images = proposal.index.images
    assert proposal.is_test_new
    assert (images.groupby("group")["split"].nunique() == 1).all()
    for _, rows in images.groupby("label"):
        for split in ("train", "validation", "test"):
            wanted = (index.images["split"] == split).mean() * len(rows)
            assert abs((rows["split"] == split).sum() - wanted) <= 6  # one patient
    assert not {"patient_across_splits", "copy_across_splits"} & {
        finding.kind for finding in find_findings(proposal.index, NO_PAIRS)
    }


def test_the_same_seed_draws_the_same_test_set():
    index = scatter(60, (0.7, 0.15, 0.15))
    splits = [list(propose_split(index, NO_PAIRS, 0.2, s).index.images["split"]) for s in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_patients_who_are_wholly_in_test_stay_there():
    index = scatter(60, (0.9, 0.05, 0.05))
    index.images.loc[0:11, "split"] = "test"
    images = propose_split(index, NO_PAIRS, 0.2, 0).index.images
    assert set(images["split"][0:12]) == {"test"}


@pytest.mark.parametrize(("num_tied", "is_new"), [(0, False), (2, False), (3, True)])
def test_a_test_set_is_drawn_anew_where_more_than_half_as_much_is_tied_to_it(num_tied, is_new):
    index = make_index(40, 20)
    index.images.loc[0:3, "split"] = "test"
    index.images.loc[4 : 3 + num_tied, "group"] = ["p0", "p2", "p0"][:num_tied]
    assert propose_split(index, NO_PAIRS, 0.2, 0).is_test_new == is_new


def test_a_class_of_which_too_much_belongs_together_says_so():
    index = make_index(20, 20)
    index.images.loc[index.images["label"] == 1, "group"] = "p1"
    with pytest.raises(DatasetError) as caught:
        propose_split(index, NO_PAIRS, 0.2, 0)
    assert str(caught.value) == (
        "There is no image of class 'polyp' for validation. Expected at least one of each class, "
        "for train and for validation. A clean split keeps a patient, copies and near-copies on "
        "one side, and too much of this class belongs together. Add images of other patients of "
        "the class."
    )


def test_the_seed_decides(leaky_dir):
    index = read(leaky_dir)
    splits = [tuple(propose(index, seed=seed).images["split"]) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_the_index_itself_stays_as_it_was(leaky_dir):
    index = read(leaky_dir)
    before = index.images.copy()
    propose(index)
    assert index.images.equals(before)


def test_test_images_stay_test_images_with_all_that_is_tied_to_them(tmp_path):
    for patient in range(30):
        split = ("train", "validation", "test")[patient // 10]
        save(tmp_path / split / CLASSES[patient % 2] / f"case{patient}_0.png", draw(patient, 64))
    save(tmp_path / "train" / "normal" / "case20_1.png", draw(99, 64))  # a test patient's
    shutil.copy(tmp_path / "test/polyp/case21_0.png", tmp_path / "train/polyp/case40_0.png")
    index = read(tmp_path)
    clean = propose(index)
    was_test = set(index.select("test")["path"])
    is_test = set(clean.select("test")["path"])
    assert "train/normal/case20_1.png" in is_test
    assert was_test < is_test
    assert "train/polyp/case40_0.png" not in set(clean.images["path"])
    assert {"train", "validation"} < set(clean.images["split"])


def test_a_clean_data_set_loses_nothing(tmp_path):
    for number in range(40):
        save(tmp_path / CLASSES[number % 2] / f"{number}.png", draw(number, 64))
    index = read(tmp_path)
    proposal = propose_split(index, find_pairs(index), 0.25, 0)
    assert proposal.left_out.empty
    assert list(proposal.index.images["path"]) == list(index.images["path"])


def test_the_frames_of_a_file_stay_together_and_come_back(tmp_path):
    for number in range(12):
        frames = np.stack([draw(10 * number + frame, 48) for frame in range(2)])
        path = tmp_path / "data" / CLASSES[number % 2] / f"{number:02}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            write_dicom(
                frames.tobytes(), NumberOfFrames=2, Rows=48, Columns=48, SamplesPerPixel=1,
                BitsAllocated=8, BitsStored=8,
            )
        )  # fmt: skip
    index = read(tmp_path / "data")
    assert (len(index.images), index.group_source) == (24, "files")
    clean = propose(index)
    assert (clean.images.groupby("path")["split"].nunique() == 1).all()
    clean.write_manifest(tmp_path / "clean.csv")
    again = read(tmp_path / "clean.csv")
    assert list(again.images["path"]) == [f"data/{path}" for path in clean.images["path"]]
    apart = ["path", "group"]  # no patient is known: each file stands for itself
    assert again.images.drop(columns=apart).equals(clean.images.drop(columns=apart))
    assert (again.group_source, set(again.images["group"])) == ("files", set(again.images["path"]))
    assert not {"copy", "patient_across_splits"} & {
        finding.kind for finding in find_findings(again, find_pairs(again))
    }
