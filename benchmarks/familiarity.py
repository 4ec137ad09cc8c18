"""How well strangers are told from familiar images: `python -m benchmarks.familiarity RUN`.

Judges a run's own validation images (none of which the judge was fitted on) and what is made of
them, and pictures of other kinds. Prints how many of each are refused, as a Markdown table with
95 % intervals: of validation images by a bootstrap of the patients, of strangers after Wilson. The
kinds marked "late" were made after the judge was finished, and changed nothing in it. With --photos
the pictures of a folder are judged too, whole and in parts, in colour and in grey.

Pictures of another kind are drawn here, so nothing is downloaded. Times are processor time.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.strangers import MADE, MADE_OF_SCANS, RESAVED, take_parts
from polyp_core.dataset import Index
from polyp_core.familiarity import Familiarity, Verdict, read_familiarity
from polyp_core.images import (
    SUFFIXES,
    Picture,
    crop_picture,
    decode_picture,
    decode_pictures,
    find_box,
    fit_image,
    read_file,
)
from polyp_core.metrics import estimate_proportion
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.workspace import find_run

_NUM_SAMPLES = 2000


def main() -> None:
    """Judge all kinds of pictures and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="its folder or name")
    parser.add_argument("--images", type=Path, help="where the run's images are now")
    parser.add_argument("--photos", type=Path, help="a folder of photographs or any pictures")
    parser.add_argument("--most", type=int, default=400, help="validation images, at most")
    parser.add_argument("--each", type=int, default=100, help="pictures of each kind")
    options = parser.parse_args()
    run = find_run(options.run)
    familiarity, classifier = read_familiarity(run), load_classifier(run)
    if familiarity is None:
        raise SystemExit(f"Run '{run.name}' keeps nothing to judge images by.")
    index = run.read_index()
    index = replace(index, folder=options.images or index.folder)
    judge = Judge(classifier, familiarity)
    scans, groups = read_scans(index, options.most)
    print(
        f"{run.name}: {len(familiarity.usual)} training images of {familiarity.num_patients} "
        f"patients{', too few to find the rate' if familiarity.is_cautious else ''}.\n"
    )
    print("| pictures | n | refused | 95 % interval | most frequent first reason |")
    print("|---|---:|---:|---:|---|")
    print_row("**validation images**", [judge(scan) for scan in scans], groups)
    draw = np.random.default_rng(0)
    some = scans[:: max(1, len(scans) // options.each)][: options.each]
    for name, change in RESAVED.items():
        print_row(f"the same, {name}", [judge(change(scan, draw)) for scan in some])
    for name, change in MADE_OF_SCANS.items():
        print_row(name, [judge(change(scan, draw)) for scan in some])
    for name, make in MADE.items():
        print_row(name, [judge(make(number, draw)) for number in range(options.each)])
    if options.photos:
        photos = [decode_picture(path).pixels for path in find_pictures(options.photos)]
        for name, is_grey in (("photographs in colour", False), ("photographs in grey", True)):
            parts = take_parts(photos, options.each, is_grey, draw)
            print_row(name, [judge(part) for part in parts])
    print(
        f"\nms to judge a picture of those: {1000 * statistics.median(judge.seconds):.1f} (median)"
    )
    for size in ((300, 300), (2000, 2000)):
        print(f"ms of {size[0]} × {size[1]} in colour: {time_size(judge, size):.1f} (least of 20)")


class Judge:
    """Judges pixels as the program does, and notes how long judging alone takes."""

    def __init__(self, classifier: Classifier, familiarity: Familiarity) -> None:
        self.seconds: list[float] = []
        self._classifier, self._familiarity = classifier, familiarity

    def __call__(self, pixels: np.ndarray) -> Verdict:
        picture = Picture(pixels=np.ascontiguousarray(pixels))
        config = self._classifier.config
        box, used = find_box(picture, config.data), crop_picture(picture, config.data)
        seen = fit_image(used, config.model.image_size_px, config.model.channels)
        features = self._classifier.predictor.examine(seen).features
        if features is None:
            raise SystemExit("The model gives no features; it is of an earlier version.")
        started = time.thread_time()
        verdict = self._familiarity.judge(picture, box, seen, features)
        self.seconds.append(time.thread_time() - started)
        return verdict


def read_scans(index: Index, most: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The validation images at their full size, evenly at most so many, and their patients."""
    rows = index.select("validation")
    rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
    scans = [
        next(decode_pictures(read_file(index.folder / path, path), path, [frame])).pixels
        for path, frame in zip(rows["path"], rows["frame"], strict=True)
    ]
    groups = np.where(rows["group"] == "", rows["path"] + rows["frame"].astype(str), rows["group"])
    return scans, groups


def find_pictures(folder: Path) -> Iterator[Path]:
    """The image files of a folder, sorted."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


def print_row(name: str, verdicts: list[Verdict], groups: np.ndarray | None = None) -> None:
    """One row of the table; with patients, their bootstrap gives the interval."""
    refused = np.array([verdict.is_stranger for verdict in verdicts])
    found = estimate_proportion(int(refused.sum()), len(refused))
    low, high = found.low or 0.0, found.high or 0.0
    if groups is not None:
        low, high = resample_patients(refused, groups)
        name += f" of {len(np.unique(groups))} patients"
    reasons = [verdict.reasons[0] for verdict in verdicts if verdict.reasons]
    reason = statistics.mode(reasons) if reasons else ""
    print(
        f"| {name} | {len(refused)} | {100 * refused.mean():.1f} % | "
        f"{100 * low:.1f} to {100 * high:.1f} % | {reason} |",
        flush=True,
    )


def resample_patients(refused: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The interval of the share, were other patients of the same kind drawn."""
    _, numbers = np.unique(groups, return_inverse=True)
    hits, sizes = np.bincount(numbers, refused), np.bincount(numbers)
    drawn = np.random.default_rng(0).integers(0, len(sizes), (_NUM_SAMPLES, len(sizes)))
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def time_size(judge: Judge, size: tuple[int, int]) -> float:
    """The least of twenty times, in ms, of a picture of noise in colour: the dearest there is."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    judge.seconds.clear()
    for _ in range(20):
        judge(pixels)
    return 1000 * min(judge.seconds)


if __name__ == "__main__":
    main()
