import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score

from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError
from polyp_core.evaluation import (
    describe,
    evaluate_run,
    find_unseen,
    judge_images,
    list_left_out,
    predict_index,
)
from polyp_core.image_store import open_images
from polyp_core.images import decode_image
from polyp_core.prediction import Examined, load_classifier
from polyp_core.runs import Run
from polyp_core.workspace import get_cache_dir
from tests.conftest import write_classes, write_image
from tests.core.dicom_files import RAMP, write_dicom


def test_on(run, folder, **options):
    """Counts and numbers of a run on another folder."""
    unseen, classifier = find_unseen(run, str(folder), **options), load_classifier(run)
    return unseen.counts | describe(predict_index(classifier, unseen.index), classifier)


test_on.__test__ = False


def test_metrics_are_those_of_the_written_predictions(finished_run):
    predictions, metrics = finished_run.read_predictions(), finished_run.read_metrics()
    label, probability = predictions["label"], predictions["probability"]
    image = metrics["image"]
    assert image["accuracy"]["value"] == pytest.approx(accuracy_score(label, probability >= 0.5))
    assert image["auc"]["value"] == pytest.approx(roc_auc_score(label, probability))
    assert image["accuracy"]["n"] == len(finished_run.read_index().select("validation"))
    assert metrics["patient"]["accuracy"]["n"] == predictions["group"].nunique()
    assert (metrics["positive_class"], metrics["negative_class"]) == ("calcified", "non-calcified")
    assert set(predictions["split"]) == {"validation"}


def test_training_images_are_never_tested_on(finished_run):
    """The run's own folder: only its validation images are left, so its numbers come back."""
    result = test_on(finished_run, finished_run.read_index().folder)
    index = finished_run.read_index()
    assert result["num_training_images_left_out"] == len(index.select("train"))
    assert result["num_images"] == len(index.select("validation"))
    assert result["num_validation_images"] == result["num_images"]
    assert result["image"] == finished_run.read_metrics()["image"]


def test_a_new_folder_is_tested_whole(finished_run, tmp_path):
    folder = write_classes(tmp_path / "new", num_patients=6, images_each=3)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):  # other noise, so other files
        pixels = decode_image(path)[..., 0]
        Image.fromarray(np.clip(pixels.astype(int) + 1 + number, 0, 255).astype(np.uint8)).save(
            path
        )
    result = test_on(finished_run, folder)
    assert (result["num_images"], result["num_training_images_left_out"]) == (18, 0)
    assert result["patient"]["accuracy"]["n"] == 6
    assert set(result["image"]["auc"]) == {"value", "low", "high", "n"}


def test_case_and_hyphens_make_no_other_class(finished_run, tmp_path):
    folder = write_classes(tmp_path / "other")
    (folder / "calcified").rename(folder / "Calcified")
    (folder / "non-calcified").rename(folder / "non_calcified")
    unseen = find_unseen(finished_run, str(folder))
    assert unseen.index.class_names == ("non-calcified", "calcified")
    is_calcified = unseen.index.images["path"].str.startswith("Calcified/")
    assert is_calcified.any()
    assert (unseen.index.images["label"] == is_calcified).all()


def test_other_classes_are_refused(finished_run, tmp_path):
    folder = write_classes(tmp_path / "other")
    (folder / "calcified").rename(folder / "cyst")
    with pytest.raises(DatasetError) as raised:
        test_on(finished_run, folder)
    assert str(raised.value) == (
        f"The classes of '{folder}' are cyst, non-calcified. Expected those of run 'small': "
        "non-calcified, calcified. Rename the folders, if they mean the same."
    )


def test_a_folder_of_training_images_alone_is_refused(finished_run, tmp_path):
    index = finished_run.read_index()
    for row in index.select("train").itertuples():
        target = tmp_path / "same" / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((index.folder / row.path).read_bytes())
    with pytest.raises(DatasetError) as raised:
        test_on(finished_run, tmp_path / "same")
    assert str(raised.value) == (
        f"Run 'small' was trained on every image of '{tmp_path / 'same'}'. Expected images that "
        "it has not seen. Choose another folder."
    )


def test_predictions_hold_one_row_an_image(finished_run):
    predictions = finished_run.read_predictions()
    expected = finished_run.read_index().select("validation")
    assert list(predictions.columns) == [
        "path", "frame", "split", "group", "label", "probability", "brightness", "contrast",
    ]  # fmt: skip
    pd.testing.assert_series_equal(predictions["path"], expected["path"].reset_index(drop=True))


def test_a_file_is_read_once_and_rows_stay_in_their_order(finished_run, tmp_path, monkeypatch):
    for number, name in enumerate(("calcified", "non-calcified")):
        (tmp_path / name).mkdir()
        for file in range(2):
            frames = np.concatenate([np.roll(RAMP, 60 * file + 9 * n, number) for n in range(3)])
            data = write_dicom(frames, Rows=16, NumberOfFrames=3, PatientID=f"{name}{file}")
            (tmp_path / name / f"{file}.dcm").write_bytes(data)
    index = read_index(DataConfig(folder=str(tmp_path)))
    shuffled = index.images.sample(frac=1, random_state=1)  # frames of one file stand apart
    index = replace(index, images=shuffled.reset_index(drop=True))
    opened, read_bytes = [], Path.read_bytes
    classifier, told = load_classifier(finished_run), []
    monkeypatch.setattr(Path, "read_bytes", lambda p: (opened.append(p), read_bytes(p))[1])
    predictions = predict_index(classifier, index, on_progress=lambda *n: told.append(n))
    monkeypatch.undo()
    assert len(opened) == len(set(opened)) == 4
    assert told == [(number, 12) for number in range(1, 13)]
    expected = [
        classifier.classify(tmp_path / row.path, row.path, row.frame).probability
        for row in index.images.itertuples()
    ]
    assert list(predictions["probability"]) == expected
    assert len(set(expected)) > 6


def test_a_folder_needs_no_split_to_be_tested_on(finished_run, tmp_path):
    for number, name in enumerate(("calcified", "non-calcified")):
        path = tmp_path / "test" / name / "scan.png"
        write_image(path, is_bright_spot=name == "calcified", seed=5000 + number)
    result = test_on(finished_run, tmp_path)
    assert result["num_images"] == 2


def test_images_of_training_patients_are_counted(finished_run, tmp_path):
    patient = finished_run.read_index().select("train")["group"].iloc[0]
    write_image(tmp_path / "calcified" / f"{patient}_9.png", is_bright_spot=True, seed=6000)
    write_image(tmp_path / "non-calcified" / "patient-77_0.png", is_bright_spot=False, seed=6001)
    assert test_on(finished_run, tmp_path)["num_images_of_training_patients"] == 1


def test_a_pattern_of_its_own_finds_the_patients_of_another_folder(finished_run, tmp_path):
    for name, seed in (("calcified", 1), ("non-calcified", 2)):
        for case in ("a", "b"):
            path = tmp_path / name / f"case{case}-{seed}.png"
            write_image(path, is_bright_spot=seed == 1, seed=7000 + seed + ord(case))
    unseen = find_unseen(finished_run, str(tmp_path), r"case(\w)")
    assert unseen.index.images["group"].tolist() == ["a", "b", "a", "b"]


def test_every_image_has_its_features_training_images_included(finished_run):
    features, index = finished_run.read_features(), finished_run.read_index()
    predictor = load_classifier(finished_run).predictor
    assert features.shape == (len(index.images), predictor.num_features)
    assert features.dtype == np.float32
    images = open_images(index, finished_run.read_config(), get_cache_dir())
    for number in (0, 7, len(images) - 1):
        assert np.array_equal(features[number], predictor.examine(images[number]).features)


def test_brightness_and_contrast_are_those_of_what_the_network_sees(finished_run):
    index, predictions = finished_run.read_index(), finished_run.read_predictions()
    images = open_images(index, finished_run.read_config(), get_cache_dir())
    seen = np.asarray(images[index.select("validation").index]).astype(float)
    assert predictions["brightness"].to_numpy() == pytest.approx(seen.mean(axis=(1, 2, 3)))
    assert predictions["contrast"].to_numpy() == pytest.approx(seen.std(axis=(1, 2, 3)))


class Mean:
    """Says the mean grey level as a share of white, and shows rows of it as features."""

    num_features = 2

    def examine(self, image):
        share = float(image.mean()) / 255
        return Examined(share, np.zeros((2, 2)), np.array([share, -share], np.float32))


class OldMean(Mean):
    num_features = 0

    def examine(self, image):
        return super().examine(image)._replace(features=None)


def test_images_in_any_order_get_their_own_row_of_the_features(tmp_path):
    images = [np.full((4, 4, 1), grey, np.uint8) for grey in (0, 51, 255)]
    order, told = [2, 0, 1], []
    judged = judge_images(
        Mean(), ((n, images[n]) for n in order), 3, Run(tmp_path), lambda *n: told.append(n)
    )
    assert judged["probability"] == pytest.approx([0, 0.2, 1])
    assert judged["brightness"] == pytest.approx([0, 51, 255])
    assert judged["contrast"] == pytest.approx([0, 0, 0])
    assert Run(tmp_path).read_features() == pytest.approx(np.array([[0, 0], [0.2, -0.2], [1, -1]]))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_colour_is_measured_as_luminance(tmp_path):
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    judged = judge_images(Mean(), [(0, red)], 1)
    assert judged["brightness"][0] == pytest.approx(0.299 * 200, abs=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_an_earlier_version_writes_no_features(tmp_path):
    judge_images(OldMean(), [(0, np.zeros((4, 4, 1), np.uint8))], 1, Run(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert Run(tmp_path).read_features() is None


def test_what_breaks_off_leaves_no_features_behind(tmp_path):
    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    images = [(number, np.zeros((4, 4, 1), np.uint8)) for number in range(3)]
    with pytest.raises(KeyboardInterrupt):
        judge_images(Mean(), images, 3, Run(tmp_path), stop)
    assert list(tmp_path.iterdir()) == []


def test_test_images_are_told_apart_from_validation(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    index = copy.read_index()
    validation = index.select("validation").index
    split = index.images["split"].copy()
    split[validation[::2]] = "test"
    index = replace(index, images=index.images.assign(split=split))
    images = open_images(index, copy.read_config(), get_cache_dir())
    evaluate_run(copy, index, images)
    metrics, predictions = copy.read_metrics(), copy.read_predictions()
    assert metrics["test"]["image"]["accuracy"]["n"] == (split == "test").sum()
    assert metrics["image"]["accuracy"]["n"] == (split == "validation").sum()
    assert len(predictions) == len(validation)
    assert len(copy.read_features()) == len(index.images)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, []),
        ({"num_images": 9, "num_validation_images": 9},
         ["All are images that the model was validated on: this is no test."]),
        ({"num_images": 9, "num_unreadable": 2}, ["2 files left out: they cannot be read."]),
        ({"num_training_images_left_out": 1}, ["1 image left out: the model was trained on it."]),
    ],
)  # fmt: skip
def test_what_was_left_out_in_words(counts, said):
    assert list_left_out(counts) == said
