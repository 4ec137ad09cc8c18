"""A proposed split, written as a manifest and read again as a user would."""

import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyp_core.audit import audit_index, find_findings, find_pairs, propose_split
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from tests.core.dicom_files import write_dicom
from tests.core.test_audit import CLASSES, draw, save


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
    images = propose(read(leaky_dir), fraction, seed).images
    for _, of_class in images.groupby("label"):
        num_validation = (of_class["split"] == "validation").sum()
        assert abs(num_validation - fraction * len(of_class)) <= 4  # the largest unit


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
    assert again.images.drop(columns="path").equals(clean.images.drop(columns="path"))
    assert not {"copy", "patient_across_splits"} & {
        finding.kind for finding in find_findings(again, find_pairs(again))
    }
