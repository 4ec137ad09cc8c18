from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError
from polyp_core.evaluation import evaluate_folder, predict_rows
from polyp_core.prediction import load_classifier
from tests.conftest import write_classes, write_image
from tests.core.dicom_files import RAMP, write_dicom


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
    result = evaluate_folder(finished_run, str(finished_run.read_index().folder))
    index = finished_run.read_index()
    assert result["num_training_images_left_out"] == len(index.select("train"))
    assert result["num_images"] == len(index.select("validation"))
    assert result["image"] == finished_run.read_metrics()["image"]


def test_a_new_folder_is_tested_whole(finished_run, tmp_path):
    folder = write_classes(tmp_path / "new", num_patients=6, images_each=3)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):  # other noise, so other files
        from polyp_core.images import decode_image

        pixels = decode_image(path)[..., 0]
        from PIL import Image

        Image.fromarray(np.clip(pixels.astype(int) + 1 + number, 0, 255).astype(np.uint8)).save(
            path
        )
    result = evaluate_folder(finished_run, str(folder))
    assert (result["num_images"], result["num_training_images_left_out"]) == (18, 0)
    assert result["patient"]["accuracy"]["n"] == 6
    assert set(result["image"]["auc"]) == {"value", "low", "high", "n"}


def test_other_classes_are_refused(finished_run, tmp_path):
    folder = write_classes(tmp_path / "other")
    (folder / "calcified").rename(folder / "cyst")
    with pytest.raises(DatasetError, match="There is no class 'calcified'"):
        evaluate_folder(finished_run, str(folder))


def test_a_folder_of_training_images_alone_is_refused(finished_run, tmp_path):
    index = finished_run.read_index()
    for row in index.select("train").itertuples():
        target = tmp_path / "same" / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((index.folder / row.path).read_bytes())
    with pytest.raises(DatasetError) as raised:
        evaluate_folder(finished_run, str(tmp_path / "same"))
    assert str(raised.value) == (
        f"Run 'small' was trained on every image of '{tmp_path / 'same'}'. Expected images that "
        "it has not seen. Choose another folder."
    )


def test_predictions_hold_one_row_an_image(finished_run):
    predictions = finished_run.read_predictions()
    expected = finished_run.read_index().select("validation")
    assert list(predictions.columns) == [
        "path", "frame", "split", "group", "label", "probability",
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
    rows = index.images.sample(frac=1, random_state=1)  # frames of one file stand apart
    opened, read_bytes = [], Path.read_bytes
    classifier, told = load_classifier(finished_run), []
    monkeypatch.setattr(Path, "read_bytes", lambda p: (opened.append(p), read_bytes(p))[1])
    predictions = predict_rows(classifier, index, rows, lambda *counts: told.append(counts))
    monkeypatch.undo()
    assert len(opened) == len(set(opened)) == 4
    assert told == [(number, 12) for number in range(1, 13)]
    assert list(predictions.index) == list(rows.index)
    expected = [
        classifier.classify(tmp_path / row.path, row.path, row.frame).probability
        for row in rows.itertuples()
    ]
    assert list(predictions["probability"]) == expected
    assert len(set(expected)) > 6


def test_a_folder_needs_no_split_to_be_tested_on(finished_run, tmp_path):
    for number, name in enumerate(("calcified", "non-calcified")):
        path = tmp_path / "test" / name / "scan.png"
        write_image(path, is_bright_spot=name == "calcified", seed=5000 + number)
    result = evaluate_folder(finished_run, str(tmp_path))
    assert result["num_images"] == 2


def test_images_of_training_patients_are_counted(finished_run, tmp_path):
    patient = finished_run.read_index().select("train")["group"].iloc[0]
    write_image(tmp_path / "calcified" / f"{patient}_9.png", is_bright_spot=True, seed=6000)
    write_image(tmp_path / "non-calcified" / "patient-77_0.png", is_bright_spot=False, seed=6001)
    assert evaluate_folder(finished_run, str(tmp_path))["num_images_of_training_patients"] == 1
