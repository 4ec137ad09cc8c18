"""The judge that ships with the demo model, on phantoms of patients that it has not seen."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from polyp_core.dataset import Index
from polyp_core.evaluation import evaluate_run
from polyp_core.familiarity import (
    FALSE_ALARMS,
    Familiarity,
    Verdict,
    distances,
    judging,
    read_familiarity,
    views,
    write_familiarity,
)
from polyp_core.familiarity.measurements import (
    Measured,
    join_measured,
    measure_blocks,
    measure_colour,
    measure_image,
    stack_measured,
)
from polyp_core.images import Picture, find_box, fit_image
from polyp_core.metrics import estimate_proportion
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN

FILES = ("familiarity.json", "familiarity.npy")
Judge = Callable[[np.ndarray], Verdict]


@pytest.fixture(scope="module")
def scans() -> list[np.ndarray]:
    """An image each of 60 patients whom the demo model has never seen."""
    drawn = [render_phantom(draw_parameters(0, patient, 1)) for patient in range(1001, 1061)]
    return [scan if scan.ndim == 3 else scan[..., np.newaxis] for scan in drawn]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(DEMO_RUN)


@pytest.fixture(scope="module")
def judge(classifier: Classifier) -> Judge:
    familiarity = read_familiarity(DEMO_RUN)
    assert familiarity is not None
    return lambda pixels: judge_pixels(classifier, familiarity, pixels)


@pytest.fixture(scope="module")
def familiar(scans: list[np.ndarray], judge: Judge) -> list[np.ndarray]:
    """Twenty that are not refused as they are."""
    return [scan for scan in scans if not judge(scan).is_stranger][:20]


def judge_pixels(classifier: Classifier, familiarity: Familiarity, pixels: np.ndarray) -> Verdict:
    picture = Picture(pixels=np.ascontiguousarray(pixels))
    model = classifier.config.model
    seen = fit_image(picture.pixels, model.image_size_px, model.channels)
    features = classifier.predictor.examine(seen).features
    assert features is not None
    return familiarity.judge(picture, find_box(picture, classifier.config.data), seen, features)


def test_images_of_new_patients_are_refused_as_seldom_as_promised(scans, judge):
    refused = [judge(scan).is_stranger for scan in scans]
    found = estimate_proportion(sum(refused), len(refused))
    assert found.low <= FALSE_ALARMS <= found.high


def test_a_verdict_holds_together(scans, judge):
    for verdict in map(judge, scans):
        assert 0 < verdict.p_value <= 1
        assert verdict.is_stranger == (verdict.p_value <= FALSE_ALARMS) == bool(verdict.reasons)


def resize(scan, factor):
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(scan, None, fx=factor, fy=factor, interpolation=how)[..., np.newaxis]


def save_as_jpeg(scan, quality):
    _, data = cv2.imencode(".jpg", scan, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)[..., np.newaxis]


def cut(scan):
    height, width = scan.shape[:2]
    return scan[height // 30 :, width // 30 : -width // 30]


@pytest.mark.parametrize(
    "change",
    [
        lambda scan: resize(scan, 0.6),
        lambda scan: resize(scan, 2),
        lambda scan: save_as_jpeg(scan, 80),
        lambda scan: save_as_jpeg(scan, 95),
        lambda scan: scan.repeat(3, axis=2),
        lambda scan: scan[:, ::-1],
        cut,
    ],
    ids=["smaller", "larger", "JPEG 80", "JPEG 95", "as RGB", "mirrored", "cut"],
)
def test_what_is_resized_or_saved_again_stays_familiar(familiar, judge, change):
    assert sum(judge(change(scan)).is_stranger for scan in familiar) <= 2


def add_flow(scan):
    colour = scan.repeat(3, axis=2)
    height, width = scan.shape[:2]
    box = colour[height // 3 : height // 2, width // 3 : width // 2]
    box[: len(box) // 2] = (220, 60, 20)
    box[-len(box) // 4 :] = (20, 80, 230)
    return colour


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add_flow, "in colour, the training images are grey"),
        (np.rot90, "perhaps it is a turned scan"),
        (lambda scan: np.rot90(scan, 2), "turned upside down"),
        (lambda scan: np.rot90(scan, 3), "perhaps it is a turned scan"),
        (lambda scan: 255 - scan, "dark and bright exchanged"),
        (lambda scan: cv2.GaussianBlur(scan, (0, 0), 9)[..., np.newaxis], "blurred"),
        (lambda scan: save_as_jpeg(scan, 4), "JPEG"),
    ],
    ids=["Doppler", "90", "180", "270", "negative", "blurred", "compressed"],
)
def test_what_is_made_of_a_scan_is_refused_with_its_reason(familiar, judge, change, reason):
    verdicts = [judge(change(scan)) for scan in familiar]
    assert sum(verdict.is_stranger for verdict in verdicts) >= 0.95 * len(verdicts)
    assert sum(reason in " ".join(verdict.reasons) for verdict in verdicts) >= 0.8 * len(verdicts)


def make_photograph(seed, num_channels):
    """Clouds with the spectrum of photographs, and a few sharp borders."""
    draw = np.random.default_rng(seed)
    pixels = np.zeros((300, 400, num_channels), np.float32)
    for sigma in (2, 4, 8, 16, 32):
        noise = draw.normal(0, 1, pixels.shape).astype(np.float32)
        pixels += sigma * cv2.GaussianBlur(noise, (0, 0), sigma).reshape(pixels.shape) * sigma
    pixels = 120 + 45 * pixels / pixels.std()
    for _ in range(6):
        x, y, reach = draw.integers(0, 300), draw.integers(0, 250), draw.integers(30, 90)
        pixels[y : y + reach, x : x + reach] += draw.normal(0, 50, num_channels)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def make_page(seed, *, is_screen):
    draw = np.random.default_rng(seed)
    page = Image.new("RGB", (700, 500), (255, 255, 255))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(int(draw.integers(11, 22)))
    for y in range(20, 480, 26):
        pen.text((20, y), "found nothing of note " * int(draw.integers(1, 5)), (30, 30, 30), font)
    if is_screen:
        pen.rectangle((0, 0, 700, 40), (70, 80, 200))
        pen.rectangle((500, 100, 650, 220), (230, 120, 40))
    return np.asarray(page if is_screen else page.convert("L")).reshape(500, 700, -1)


def make_drawing(seed):
    draw, page = np.random.default_rng(seed), Image.new("L", (400, 300), 255)
    pen = ImageDraw.Draw(page)
    for _ in range(8):
        x, y, reach = draw.integers(0, 300), draw.integers(0, 200), draw.integers(20, 150)
        pen.ellipse((x, y, x + reach, y + reach), outline=0, width=3)
    return np.asarray(page)[..., np.newaxis]


def make_radiograph(seed):
    """A bone in soft tissue."""
    draw, (y, x) = np.random.default_rng(seed), np.mgrid[0:400, 0:300] / 300
    aside = x - 0.5 + draw.uniform(-0.3, 0.3) * (y - 0.6)
    picture = 80 * np.exp(-((aside / 0.3) ** 4)) + 110 * np.exp(-((aside / 0.08) ** 4))
    picture += draw.normal(10, 2, picture.shape)
    picture = picture if seed % 2 else 255 - picture
    return np.clip(picture, 0, 255).astype(np.uint8)[..., np.newaxis]


def make_noise(seed):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (250, 300, 1 + 2 * (seed % 2))).astype(np.uint8)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: make_photograph(seed, 3),
        lambda seed: make_photograph(seed, 1),
        lambda seed: make_page(seed, is_screen=True),
        lambda seed: make_page(seed, is_screen=False),
        make_drawing,
        make_radiograph,
        make_noise,
    ],
    ids=["photo", "grey photo", "screenshot", "text", "drawing", "radiograph", "noise"],
)
def test_what_is_no_scan_is_refused_with_a_reason(judge, make):
    verdicts = [judge(make(seed)) for seed in range(8)]
    assert all(verdict.is_stranger for verdict in verdicts)
    assert all(verdict.reasons and verdict.p_value <= FALSE_ALARMS for verdict in verdicts)


def test_a_coloured_photograph_is_called_coloured(judge):
    assert "in colour" in judge(make_photograph(1, 3)).reasons[0]


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_blank_image_is_called_uniform(judge, grey):
    verdict = judge(np.full((240, 320, 1), grey, np.uint8))
    assert verdict.is_stranger
    assert "uniform" in verdict.reasons[0]


@pytest.mark.parametrize("shape", [(1, 256, 1), (256, 1, 1)])
def test_a_gradient_is_refused(judge, shape):
    ramp = np.arange(256, dtype=np.uint8).reshape(shape)
    assert judge(np.broadcast_to(ramp, (256, 256, 1))).is_stranger


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 700, 3), (5, 3, 1)])
def test_the_smallest_pictures_can_be_judged(judge, shape):
    assert judge(np.full(shape, 90, np.uint8)).is_stranger


def copy_demo(tmp_path: Path) -> Run:
    run = Run(tmp_path / "copy")
    shutil.copytree(DEMO_RUN.directory, run.directory)
    return run


def test_what_was_kept_is_read_and_is_small_and_names_nobody(tmp_path):
    assert read_familiarity(copy_demo(tmp_path)) is not None
    assert sum(DEMO_RUN.path(name).stat().st_size for name in FILES) < 400_000
    text = DEMO_RUN.path("familiarity.json").read_text()
    assert "patient-" not in text
    assert ".png" not in text
    assert "demo-data" not in text


@pytest.mark.parametrize("name", FILES)
def test_without_its_files_there_is_no_judge(tmp_path, name):
    run = copy_demo(tmp_path)
    run.path(name).unlink()
    assert read_familiarity(run) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x93NUMPY\x01\x00", b"\xff" * 100])
def test_damaged_files_are_as_good_as_none(tmp_path, name, content):
    run = copy_demo(tmp_path)
    run.path(name).write_bytes(content)
    assert read_familiarity(run) is None


def test_a_changed_number_is_noticed(tmp_path):
    run = copy_demo(tmp_path)
    content = bytearray(run.path("familiarity.npy").read_bytes())
    content[1000] ^= 1
    run.path("familiarity.npy").write_bytes(content)
    assert read_familiarity(run) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "0" * 64},
        {"version": 0},
        {"limit": "high"},
        {"limit": float("nan")},
        {"shapes": {"usual": [3]}},
        {"shapes": {"usual": [-1, "x"]}},
        {"shapes": None},
        {"is_cautious": []} | {"num_patients": "many"},
    ],
)
def test_what_belongs_to_another_model_or_version_is_none(tmp_path, changes):
    run = copy_demo(tmp_path)
    values = json.loads(run.path("familiarity.json").read_text())
    run.path("familiarity.json").write_text(json.dumps(values | changes))
    assert read_familiarity(run) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 10**400), ("limit", -1e308), ("num_patients", float("inf")),
     ("quarter.offset", [1, 1]), ("unit", [3, 3]), ("facts.mean", [1, 24]),
     ("features.axes", [48, 128]), ("start", [1, 9])],
)  # fmt: skip
def test_arrays_that_do_not_fit_each_other_are_as_good_as_none(tmp_path, name, value):
    run = copy_demo(tmp_path)
    values = json.loads(run.path("familiarity.json").read_text())
    (values if name in values else values["shapes"])[name] = value
    run.path("familiarity.json").write_text(json.dumps(values))
    assert read_familiarity(run) is None


def test_an_array_under_another_name_is_missed(tmp_path):
    run = copy_demo(tmp_path)
    text = run.path("familiarity.json").read_text()
    run.path("familiarity.json").write_text(text.replace("features.axes", "features.other"))
    assert read_familiarity(run) is None


def test_arrays_under_other_names_or_of_another_form_are_none(tmp_path):
    run = copy_demo(tmp_path)
    values = json.loads(run.path("familiarity.json").read_text())
    shapes = values["shapes"]
    renamed = {
        ("other" if name == "half.weight" else name): shape for name, shape in shapes.items()
    }
    turned = shapes | {"layout.axes": shapes["layout.axes"][::-1]}
    for changed in (renamed, turned):
        run.path("familiarity.json").write_text(json.dumps(values | {"shapes": changed}))
        assert read_familiarity(run) is None


def write_set(scans: list[np.ndarray], folder: Path, num_patients: int) -> tuple[Index, np.ndarray]:
    """Files of scans, a quarter of them for validation, and what the demo network sees of them."""
    folder.mkdir()
    rows = []
    for number, scan in enumerate(scans):
        name = f"{number}.png"
        Image.fromarray(scan[..., 0]).save(folder / name)
        group = f"patient-{number % num_patients}"
        split = "validation" if number % num_patients % 4 == 0 else "train"
        rows.append((name, 0, number % num_patients % 2, group, split))
    images = pd.DataFrame(rows, columns=["path", "frame", "label", "group", "split"])
    index = Index(
        folder=folder,
        class_names=("no", "yes"),
        images=images,
        unreadable=pd.DataFrame(columns=["path", "reason"]),
    )
    return index, np.stack([fit_image(scan, 128, 1) for scan in scans])


def make_run(tmp_path: Path) -> Run:
    """A run with the demo's model and nothing that is known of its images."""
    run = copy_demo(tmp_path)
    for name in (*FILES, "features.npy", "predictions.csv", "metrics.json"):
        run.path(name).unlink()
    return run


def test_evaluating_a_run_teaches_it_its_images(scans, classifier, tmp_path):
    run = make_run(tmp_path)
    index, images = write_set(scans, tmp_path / "data", 60)
    evaluate_run(run, index, images)
    familiarity = read_familiarity(run)
    assert familiarity is not None
    assert len(familiarity.usual) == familiarity.num_patients == 45
    assert not familiarity.is_cautious
    kept = [
        judge_pixels(classifier, familiarity, scans[number])
        for number in np.flatnonzero(index.images["split"] == "validation")
    ]
    assert sum(verdict.is_stranger for verdict in kept) <= 4  # of 15
    for pixels in (make_noise(0), make_page(0, is_screen=True), np.rot90(scans[0])):
        assert judge_pixels(classifier, familiarity, pixels).is_stranger


def test_of_few_images_only_what_is_far_away_is_refused(scans, classifier, tmp_path):
    run = make_run(tmp_path)
    evaluate_run(run, *write_set(scans[:32], tmp_path / "data", 16))
    familiarity = read_familiarity(run)
    assert familiarity is not None
    assert familiarity.is_cautious
    assert familiarity.limit >= familiarity.usual[-1] + 1
    refused = [judge_pixels(classifier, familiarity, scan).is_stranger for scan in scans[32:]]
    assert sum(refused) <= 3  # of 28
    assert judge_pixels(classifier, familiarity, make_page(0, is_screen=True)).is_stranger


def test_of_very_few_images_nothing_is_said(scans, tmp_path):
    run = make_run(tmp_path)
    features = np.zeros((20, 4), np.float32)
    index, images = write_set(scans[:20], tmp_path / "data", 20)
    write_familiarity(run, index, images, features)  # 15 of 20 are for training
    assert read_familiarity(run) is None
    index = replace(index, images=index.images.assign(split="train", group="one"))
    write_familiarity(run, index, images, features)
    assert read_familiarity(run) is None


def test_images_that_are_gone_leave_the_run_without_a_judge(scans, tmp_path):
    run = copy_demo(tmp_path)
    index, images = write_set(scans[:24], tmp_path / "data", 24)
    shutil.rmtree(tmp_path / "data")
    write_familiarity(run, index, images, np.zeros((24, 4), np.float32))
    assert not any(run.path(name).exists() for name in FILES)


def test_a_set_in_colour_does_not_make_colour_strange(scans, classifier, tmp_path):
    run = make_run(tmp_path)
    index, images = write_set(scans[:40], tmp_path / "data", 40)
    for path, scan in zip(index.images["path"], scans, strict=False):
        Image.fromarray(add_flow(scan)).save(index.folder / path)
    evaluate_run(run, index, images)
    familiarity = read_familiarity(run)
    assert familiarity is not None
    reasons = [
        reason
        for scan in scans[40:]
        for reason in judge_pixels(classifier, familiarity, add_flow(scan)).reasons
    ]
    assert not any("colour" in reason for reason in reasons)


def test_of_many_images_some_are_taken_evenly():
    taken = judging._take_evenly(5001, 2000)
    assert len(taken) == 2000
    assert taken[0] == 0
    assert taken[-1] == 5000
    assert set(np.diff(taken)) == {2, 3}


def draw_measured(draw: np.random.Generator, num: int) -> Measured:
    def normal(width: int) -> np.ndarray:
        return draw.normal(0, 1, (num, width)).astype(np.float32)

    return Measured(
        colour=np.zeros(num, np.float32), blocks=np.zeros(num, np.float32), facts=normal(24),
        layout=normal(144), edges=normal(128), features=normal(10),
    )  # fmt: skip


def test_the_limit_holds_for_others_of_the_same_kind():
    draw = np.random.default_rng(3)
    known, copies = draw_measured(draw, 300), draw_measured(draw, 300)
    found = distances.cross_fit(known, copies, np.arange(300) // 2)
    units = distances.find_units(found)
    limit = judging._find_limit(np.sort(distances.find_levels(units, found).max(axis=1)), False)
    fitted = distances.fit_distances(join_measured(known, copies))
    others = distances.measure_distances(fitted, draw_measured(draw, 2000))
    share = np.mean(distances.find_levels(units, others).max(axis=1) > limit)
    assert 0.015 < share < 0.085


def measure_one(pixels: np.ndarray) -> Measured:
    pixels = np.ascontiguousarray(pixels)
    box = (0, 0, pixels.shape[1], pixels.shape[0])
    return stack_measured([measure_image(pixels, box, pixels, np.zeros(2, np.float32))])


@pytest.mark.parametrize(
    ("change", "view"),
    [
        (lambda pixels: pixels[:, ::-1], views.mirror),
        (np.rot90, lambda measured: views.turn(measured, 1)),
        (lambda pixels: np.rot90(pixels, 2), lambda measured: views.turn(measured, 2)),
        (lambda pixels: np.rot90(pixels, 3), lambda measured: views.turn(measured, 3)),
        (lambda pixels: 255 - pixels, views.invert),
    ],
    ids=["mirrored", "90", "180", "270", "negative"],
)
def test_what_is_told_of_a_turned_image_is_what_is_measured_of_it(change, view):
    noise = np.random.default_rng(0).normal(0, 1, (128, 128))
    smooth = cv2.GaussianBlur(noise, (0, 0), 4) * np.linspace(0.3, 2, 128)[:, np.newaxis]
    pixels = np.clip(110 + 40 * smooth / smooth.std(), 1, 254).astype(np.uint8)[..., np.newaxis]
    measured, told = measure_one(change(pixels)), view(measure_one(pixels))
    for name in ("facts", "layout", "edges"):
        assert np.allclose(getattr(measured, name), getattr(told, name), atol=0.03), name


def test_the_share_of_colour_is_that_of_the_coloured_pixels():
    pixels = np.full((100, 200, 3), 80, np.uint8)
    assert measure_colour(pixels) == 0
    pixels[:, :50, 0] = 200
    assert measure_colour(pixels) == pytest.approx(0.25)
    assert measure_colour(pixels[..., :1]) == 0
    pixels = pixels.repeat(10, axis=0).repeat(10, axis=1)
    assert measure_colour(pixels) == pytest.approx(0.25, abs=0.01)


def test_squares_of_compression_show_in_any_phase_but_not_a_plain_line(scans):
    scan = scans[0]
    assert measure_blocks(scan) < 0.1
    assert measure_blocks(save_as_jpeg(scan, 4)) > 0.4
    assert measure_blocks(save_as_jpeg(scan, 4)[3:, 5:]) > 0.4
    lined = scan.copy()
    lined[80], lined[:, 80] = 255, 255
    assert measure_blocks(lined) < 0.1
    assert measure_blocks(scan[:40, :40]) == 0
