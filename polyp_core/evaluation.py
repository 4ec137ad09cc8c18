"""A trained run and images become predictions, features and numbers with intervals."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pandas as pd

from polyp_core.calibration import describe_calibration
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import DatasetError
from polyp_core.familiarity import write_familiarity
from polyp_core.files import write_atomically
from polyp_core.images import decode_pictures, prepare_picture, read_file
from polyp_core.layout import Sources, find_sources
from polyp_core.metrics import evaluate_predictions
from polyp_core.prediction import Classifier, Predictor, load_classifier
from polyp_core.runs import Run

Progress = Callable[[int, int], None]
_COLUMNS = ["path", "frame", "split", "group", "label"]
_LEFT_OUT = (  # what a count is called, and what it means
    ("num_training_images_left_out", "image", "left out: the model was trained on {it}."),
    ("num_unreadable", "file", "left out: {it} cannot be read."),
    ("num_images_of_training_patients", "image",
     "counted, but of a patient named as one of training. If it is the same person, the result "
     "leans to the good side."),
    ("num_validation_images", "image",
     "counted that the model was validated on: epoch and threshold may have been chosen by {it}. "
     "For {it} this is no test."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """The images of a folder that a run was not trained on.

    Attributes:
        index: Of these alone, numbered from 0.
        counts: `num_images` (these), `num_training_images_left_out`, `num_unreadable`,
            `num_images_of_training_patients` and `num_validation_images`: how many of these bear
            the name of a training patient, and how many the run was validated on.
    """

    index: Index
    counts: dict[str, int]


def evaluate_run(
    run: Run, index: Index, images: np.ndarray, on_progress: Progress | None = None
) -> None:
    """Write what a run says of its own images: predictions.csv, features.npy, metrics.json.

    And familiarity.json with familiarity.npy, by which images that are not like these are known.

    The features are of all images; predictions and numbers of validation (and test) images alone,
    since those of training images would say how well the model remembers.

    Args:
        run: With a serving model.
        index: Its images with their split.
        images: `(n, size, size, channels)` uint8 of the whole index, as the network sees them.
        on_progress: Called with (images done, images in all).
    """
    classifier = load_classifier(run)
    judged = judge_images(classifier.predictor, enumerate(images), len(images), run, on_progress)
    rows = index.images[_COLUMNS].assign(**judged)
    predictions = rows[rows["split"] != "train"]
    is_test = predictions["split"] == "test"
    metrics = describe(predictions[~is_test], classifier)
    metrics["calibration"] = _describe_calibration(run, predictions[~is_test])
    if is_test.any():  # on which no temperature was fitted
        metrics["test"] = describe(predictions[is_test], classifier)
        metrics["test"]["calibration"] = _describe_calibration(run, predictions[is_test])
    run.write_table("predictions.csv", predictions)
    run.write_json("metrics.json", metrics)
    write_familiarity(run, index, images)


def find_tested(run: Run, folder: str) -> Sources:
    """The files of a folder, or a manifest, that a run can be tested on; no image is opened.

    Raises:
        DatasetError: If it is not there, in no known layout, or of other classes than the run.
            Case and what stands between words make no other class: "Non_calcified" is fine.
    """
    sources, expected = find_sources(folder, needs_train=False), run.read_class_names()
    if sorted(map(_simplify, sources.class_names)) != sorted(map(_simplify, expected)):
        raise DatasetError(
            f"The classes of '{folder}' are {', '.join(sources.class_names)}. Expected those of "
            f"run '{run.name}': {', '.join(expected)}. Rename the folders, if they mean the same."
        )
    return sources


def _simplify(class_name: str) -> str:
    return re.sub(r"[\W_]+", " ", class_name.casefold()).strip()


def find_unseen(
    run: Run,
    folder: str,
    group_pattern: str | None = None,
    on_progress: Progress | None = None,
    cache_dir: Path | None = None,
) -> Unseen:
    """The images of a folder, or a manifest, that a run may be tested on.

    Images with the content of a training image are left out and counted: a number that holds them
    would say how well the model remembers.

    Args:
        run: A finished one.
        folder: Of the run's two classes.
        group_pattern: As `DataConfig.group_pattern`; None is that of the run.
        on_progress: Called with (files read, files in all). An exception it raises cancels.
        cache_dir: Where what was read is kept for the next time.

    Raises:
        DatasetError: If the folder's classes are not the run's, or nothing is left to test on.
    """
    class_names = run.read_class_names()
    pattern = run.read_config().data.group_pattern if group_pattern is None else group_pattern
    named = {_simplify(name): name for name in find_tested(run, folder).class_names}
    positive_class = named[_simplify(class_names[1])]
    data = DataConfig(folder=folder, positive_class=positive_class, group_pattern=pattern)
    index = read_index(data, on_progress, is_for_testing=True, cache_dir=cache_dir)
    own = run.read_index()
    trained_on = own.select("train")
    rows = index.images[~index.images["sha256"].isin(trained_on["sha256"])]
    if rows.empty:
        raise DatasetError(
            f"Run '{run.name}' was trained on every image of '{folder}'. Expected images that it "
            "has not seen. Choose another folder."
        )
    known = rows["group"].isin(trained_on["group"]) & (rows["group"] != "")
    validated_on = own.select("validation")["sha256"]
    return Unseen(
        index=replace(index, images=rows.reset_index(drop=True), class_names=class_names),
        counts={
            "num_images": len(rows),
            "num_training_images_left_out": len(index.images) - len(rows),
            "num_images_of_training_patients": int(known.sum()),
            "num_validation_images": int(rows["sha256"].isin(validated_on).sum()),
            "num_unreadable": len(index.unreadable),
        },
    )


def list_left_out(metrics: Mapping[str, Any]) -> list[str]:
    """What was left out of a test on other images, or counted with a doubt; a sentence each."""
    said = []
    for name, noun, meaning in _LEFT_OUT:
        number = metrics.get(name, 0)
        if not isinstance(number, int) or number <= 0:
            continue
        if name == "num_validation_images" and number == metrics.get("num_images"):
            said.append("All are images that the model was validated on: this is no test.")
            continue
        text = meaning.format(it="it" if number == 1 else "them")
        text = text.replace("them cannot", "they cannot")
        said.append(f"{number:,} {noun}{'' if number == 1 else 's'} {text}")
    return said


def predict_index(
    classifier: Classifier,
    index: Index,
    files: Run | None = None,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Judge the images of an index as they lie in its folder.

    Args:
        classifier: Of a run.
        index: The images.
        files: Where features.npy is written, if anywhere.
        on_progress: Called with (images done, images in all). An exception it raises cancels.

    Returns:
        One row an image, as predictions.csv of a run has it.

    Raises:
        ImageError: If a file can no longer be read.
    """
    images, rows = _decode_images(index, classifier.config), index.images
    judged = judge_images(classifier.predictor, images, len(rows), files, on_progress)
    return rows[_COLUMNS].assign(**judged)


def judge_images(
    predictor: Predictor,
    images: Iterable[tuple[int, np.ndarray]],
    num_images: int,
    files: Run | None = None,
    on_progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Judge images one after the other, so that memory does not grow with the data set.

    Args:
        predictor: Says what it sees.
        images: Place of each image, from 0 on, and the image as the network sees it.
        num_images: How many these are.
        files: Where features.npy is written, if anywhere: `(n, d)` float32, row i for place i. A
            model of an earlier version gives none, and nothing is written.
        on_progress: Called with (images done, images in all).

    Returns:
        `probability`, and `brightness` and `contrast`: mean and standard deviation of the image's
        grey levels as the network sees it, in [0, 255]. Each `(n,)`.
    """
    columns = {name: np.empty(num_images) for name in ("probability", "brightness", "contrast")}

    def judge(write: Callable[[int, np.ndarray], None] | None) -> None:
        for num_done, (place, image) in enumerate(images, start=1):
            examined = predictor.examine(image)
            columns["probability"][place] = examined.probability
            columns["brightness"][place], columns["contrast"][place] = _measure_greys(image)
            if write is not None and examined.features is not None:
                write(place, examined.features)
            if on_progress is not None:
                on_progress(num_done, num_images)

    if files is None or not predictor.num_features:
        judge(None)
    else:
        shape = (num_images, predictor.num_features)
        write_atomically(files.path("features.npy"), lambda path: _fill_table(path, shape, judge))
    return columns


def describe(predictions: pd.DataFrame, classifier: Classifier) -> dict[str, Any]:
    """The numbers of predictions at a run's threshold, ready for JSON."""
    negative, positive = classifier.class_names
    return {
        "positive_class": positive,
        "negative_class": negative,
        "threshold": classifier.threshold,
        **evaluate_predictions(predictions, classifier.threshold),
    }


def _decode_images(index: Index, config: RunConfig) -> Iterator[tuple[int, np.ndarray]]:
    """Place and pixels of every image; a file is read once for all of its frames."""
    rows = index.images
    for path, places in rows.groupby("path", sort=False).indices.items():
        data = read_file(index.folder / path, path)
        pictures = decode_pictures(data, path, rows["frame"].iloc[places].tolist())
        for place, picture in zip(places, pictures, strict=True):
            yield int(place), prepare_picture(picture, config.data, config.model)


def _fill_table(
    path: Path,
    shape: tuple[int, int],
    fill: Callable[[Callable[[int, np.ndarray], None]], None],
) -> None:
    """Write a float32 table row by row, by plain writes: through a map, a full disk would kill."""
    with path.open("wb") as file:
        start = _write_header(file, shape)

        def write(place: int, row: np.ndarray) -> None:
            file.seek(start + place * 4 * shape[1])
            file.write(row.astype("<f4").tobytes())

        fill(write)


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> int:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _measure_greys(image: np.ndarray) -> tuple[float, float]:
    grey = image if image.shape[-1] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(deviation[0, 0])


def _describe_calibration(run: Run, predictions: pd.DataFrame) -> dict[str, Any]:
    labels, probabilities = predictions["label"].to_numpy(), predictions["probability"].to_numpy()
    return describe_calibration(labels, probabilities, float(run.read_serving()["temperature"]))
