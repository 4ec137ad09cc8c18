"""A trained run and an index become predictions and numbers with intervals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.calibration import describe_calibration
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import DatasetError
from polyp_core.images import decode_pictures, prepare_picture, read_file
from polyp_core.metrics import evaluate_predictions
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.runs import Run

Progress = Callable[[int, int], None]
_COLUMNS = ["path", "frame", "split", "group", "label"]


def predict_rows(
    classifier: Classifier, index: Index, rows: pd.DataFrame, on_progress: Progress | None = None
) -> pd.DataFrame:
    """The rows with their `probability` added; a file is read once for all of its frames."""
    config, probabilities, num_done = classifier.config, np.empty(len(rows)), 0
    for path, places in rows.groupby("path", sort=False).indices.items():
        data = read_file(index.folder / path, path)
        pictures = decode_pictures(data, path, rows["frame"].iloc[places].tolist())
        for place, picture in zip(places, pictures, strict=True):
            seen = prepare_picture(picture, config.data, config.model)
            probabilities[place], _ = classifier.predictor.predict(seen)
            num_done += 1
            if on_progress is not None:
                on_progress(num_done, len(rows))
    return rows[_COLUMNS].assign(probability=probabilities)


def evaluate_run(run: Run, index: Index, images: np.ndarray) -> None:
    """Write predictions.csv and metrics.json of a run's own validation (and test) images.

    Args:
        run: With a serving model.
        index: Its images with their split.
        images: `(n, size, size, channels)` uint8 of the whole index, as the network sees them.
    """
    classifier = load_classifier(run)
    rows = index.images[index.images["split"] != "train"]
    predictions = rows[_COLUMNS].assign(
        probability=[classifier.predictor.predict(images[number])[0] for number in rows.index]
    )
    is_test = predictions["split"] == "test"
    metrics = _describe(predictions[~is_test], classifier, index.class_names)
    metrics["calibration"] = _describe_calibration(run, predictions[~is_test])
    if is_test.any():  # on which no temperature was fitted
        metrics["test"] = _describe(predictions[is_test], classifier, index.class_names)
        metrics["test"]["calibration"] = _describe_calibration(run, predictions[is_test])
    run.write_table("predictions.csv", predictions)
    run.write_json("metrics.json", metrics)


def evaluate_folder(run: Run, folder: str, on_progress: Progress | None = None) -> dict[str, Any]:
    """Test a run on the images of a folder, but never on those it was trained on.

    Images with the content of a training image are left out and counted: a number that holds them
    would say how well the model remembers.

    Raises:
        DatasetError: If the folder's classes are not the run's, or nothing is left to test on.
    """
    config = run.read_config().data
    class_names = run.read_class_names()
    data = DataConfig(
        folder=folder, positive_class=class_names[1], group_pattern=config.group_pattern
    )
    index = read_index(data, is_for_testing=True)
    if index.class_names != class_names:
        raise DatasetError(
            f"The classes of '{folder}' are {', '.join(index.class_names)}. Expected those of run "
            f"'{run.name}': {', '.join(class_names)}. Rename the folders, if they mean the same."
        )
    trained_on = run.read_index().select("train")
    rows = index.images[~index.images["sha256"].isin(trained_on["sha256"])]
    if rows.empty:
        raise DatasetError(
            f"Run '{run.name}' was trained on every image of '{folder}'. Expected images that it "
            "has not seen. Choose another folder."
        )
    classifier = load_classifier(run)
    result = _describe(predict_rows(classifier, index, rows, on_progress), classifier, class_names)
    result["num_images"] = len(rows)
    result["num_training_images_left_out"] = len(index.images) - len(rows)
    known = rows["group"].isin(trained_on["group"]) & (rows["group"] != "")
    result["num_images_of_training_patients"] = int(known.sum())
    result["num_unreadable"] = len(index.unreadable)
    return result


def _describe_calibration(run: Run, predictions: pd.DataFrame) -> dict[str, Any]:
    labels, probabilities = predictions["label"].to_numpy(), predictions["probability"].to_numpy()
    return describe_calibration(labels, probabilities, float(run.read_serving()["temperature"]))


def _describe(
    predictions: pd.DataFrame, classifier: Classifier, class_names: tuple[str, str]
) -> dict[str, Any]:
    return {
        "positive_class": class_names[1],
        "negative_class": class_names[0],
        "threshold": classifier.threshold,
        **evaluate_predictions(predictions, classifier.threshold),
    }
