"""The judge that ships with the demo model, on phantoms of patients that it has not seen."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from polyp_core import study_worker
from polyp_core.dataset import Index
from polyp_core.evaluation import evaluate_run
from polyp_core.familiarity import (
    FALSE_ALARMS,
    Familiarity,
    Verdict,
    choose_rows,
    distances,
    judging,
    read_familiarity,
    views,
    write_familiarity,
)
from polyp_core.familiarity.measurements import (
    Measured,
    join_measured,
    make_grey,
    measure_blocks,
    measure_colour,
    measure_image,
    stack_measured,
)
from polyp_core.images import Picture, find_box, fit_image
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN
from tests.core.dicom_files import JPEG_2000, compress, pack

FILES = ("familiarity.json", "familiarity.npy")
Judge = Callable[[np.ndarray], Verdict]


@pytest.fixture(scope="module")
def scans() -> list[np.ndarray]:
    """An image each of 150 patients whom the demo model has never seen."""
    parameters = [draw_parameters(0, patient, 1) for patient in range(1001, 1151)]
    with ThreadPoolExecutor() as pool:
        drawn = list(pool.map(render_phantom, parameters))
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
def verdicts(scans: list[np.ndarray], judge: Judge) -> list[Verdict]:
    """Of the scans as they are."""
    return [judge(scan) for scan in scans]


@pytest.fixture(scope="module")
def familiar(scans: list[np.ndarray], verdicts: list[Verdict]) -> list[np.ndarray]:
    """Twenty that are not refused as they are."""
    pairs = zip(scans, verdicts, strict=True)
    return [scan for scan, verdict in pairs if not verdict.is_stranger][:20]


def judge_pixels(classifier: Classifier, familiarity: Familiarity, pixels: np.ndarray) -> Verdict:
    picture = Picture(pixels=np.ascontiguousarray(pixels))
    model = classifier.config.model
    seen = fit_image(picture.pixels, model.image_size_px, model.channels)
    features = classifier.predictor.examine(seen).features
    assert features is not None
    return familiarity.judge(picture, find_box(picture, classifier.config.data), seen, features)


def test_images_of_new_patients_are_refused_about_as_often_as_is_aimed_at(verdicts):
    assert 3 <= sum(verdict.is_stranger for verdict in verdicts) <= 10  # of 150; 6 were found


def test_a_verdict_holds_together(verdicts):
    for verdict in verdicts:
        assert 0 < verdict.p_value <= 1
        assert verdict.p_value == (1 + verdict.num_beyond) / (1 + verdict.num_known)
        assert verdict.num_known == 604
        assert verdict.is_stranger == (verdict.p_value <= FALSE_ALARMS) == bool(verdict.reasons)
        assert verdict.is_stranger or not verdict.is_near


def test_near_the_limit_are_false_alarms_and_not_what_is_no_scan(verdicts, judge):
    alarms = [verdict for verdict in verdicts if verdict.is_stranger]
    assert any(verdict.is_near for verdict in alarms)
    assert all(verdict.num_beyond > 0 for verdict in alarms if verdict.is_near)
    for seed in range(8):
        verdict = judge(make_page(seed, is_screen=False))
        assert not verdict.is_near
        assert verdict.num_beyond == 0


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
    index, images = write_set(scans[:60], tmp_path / "data", 60)
    evaluate_run(run, index, images)
    familiarity = read_familiarity(run)
    assert familiarity is not None
    assert len(familiarity.usual) == familiarity.num_patients == 45
    assert not familiarity.is_cautious
    others = [judge_pixels(classifier, familiarity, scan) for scan in scans[60:]]
    assert sum(verdict.is_stranger for verdict in others) <= 5  # of 90; 1 was found
    for pixels in (make_noise(0), make_page(0, is_screen=True), np.rot90(scans[0])):
        assert judge_pixels(classifier, familiarity, pixels).is_stranger
    page = judge_pixels(classifier, familiarity, make_page(0, is_screen=False))
    assert (page.is_stranger, page.num_beyond, page.num_known) == (True, 0, 45)
    assert not page.is_near  # although its p is 1 of 46, as that of the most unusual of them


def test_of_few_images_only_what_is_far_away_is_refused(scans, classifier, tmp_path):
    run = make_run(tmp_path)
    evaluate_run(run, *write_set(scans[:32], tmp_path / "data", 16))
    familiarity = read_familiarity(run)
    assert familiarity is not None
    assert familiarity.is_cautious
    assert familiarity.limit >= familiarity.usual[-1] + 1
    refused = [judge_pixels(classifier, familiarity, scan).is_stranger for scan in scans[32:]]
    assert sum(refused) <= 5  # of 118; 2 were found
    assert judge_pixels(classifier, familiarity, make_page(0, is_screen=True)).is_stranger


def test_where_the_limit_is_a_guess_nothing_is_near_it(judge, classifier, scans, verdicts):
    familiarity = read_familiarity(DEMO_RUN)
    cautious = replace(familiarity, is_cautious=True)
    near = next(number for number, verdict in enumerate(verdicts) if verdict.is_near)
    verdict = judge_pixels(classifier, cautious, scans[near])
    assert verdict == replace(verdicts[near], is_near=False)


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


def test_a_film_that_has_become_shorter_leaves_the_run_without_a_judge(scans, tmp_path):
    run = copy_demo(tmp_path)
    index, images = write_set(scans[:24], tmp_path / "data", 24)
    frame = compress(scans[0][..., 0])
    (tmp_path / "data" / "1.png").write_bytes(pack([frame], JPEG_2000, scans[0].shape[:2]))
    index.images.loc[1, "frame"] = 1  # of a film that had two
    write_familiarity(run, index, images, np.zeros((24, 4), np.float32))
    assert not any(run.path(name).exists() for name in FILES)


def test_a_decoder_that_gives_too_few_pictures_leaves_the_run_without_a_judge(
    scans, tmp_path, monkeypatch
):
    run = copy_demo(tmp_path)
    index, images = write_set(scans[:24], tmp_path / "data", 24)
    monkeypatch.setattr(judging, "decode_pictures", lambda *_: iter(()))
    write_familiarity(run, index, images, np.zeros((24, 4), np.float32))
    assert not any(run.path(name).exists() for name in FILES)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_feature_that_is_no_number_is_logged_and_leaves_no_judge(scans, tmp_path, caplog, number):
    run = copy_demo(tmp_path)
    index, images = write_set(scans[:24], tmp_path / "data", 24)
    features = np.random.default_rng(0).normal(0, 1, (24, 4)).astype(np.float32)
    features[5, 2] = number
    write_familiarity(run, index, images, features)
    assert not any(run.path(name).exists() for name in FILES)
    assert "numbers that are none" in caplog.text


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("cross_fit", np.linalg.LinAlgError),
        ("cross_fit", MemoryError),
        ("cross_fit", ValueError),
        ("write_json", OSError),
    ],
)
def test_what_fails_while_learning_fails_no_run_and_leaves_no_half(
    scans, tmp_path, monkeypatch, step, error
):
    def fail(*_, **__):
        raise error("on purpose")

    run = copy_demo(tmp_path)
    index, images = write_set(scans[:24], tmp_path / "data", 24)
    monkeypatch.setattr(Run if step == "write_json" else judging, step, fail)
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
        for scan in scans[40:60]
        for reason in judge_pixels(classifier, familiarity, add_flow(scan)).reasons
    ]
    assert not any("colour" in reason for reason in reasons)


def test_of_many_images_some_are_taken_evenly():
    taken = judging._take_evenly(5001, 2000)
    assert len(taken) == 2000
    assert taken[0] == 0
    assert taken[-1] == 5000
    assert set(np.diff(taken)) == {2, 3}


def make_index(num_training: int, num_others: int) -> Index:
    """Without files; every image has a patient."""
    num = num_training + num_others
    images = pd.DataFrame({"path": "a.png", "frame": 0, "label": 0, "group": "one"}, range(num))
    images["split"] = np.where(np.arange(num) < num_others, "validation", "train")
    nothing = pd.DataFrame(columns=["path", "reason"])
    return Index(folder=Path(), class_names=("no", "yes"), images=images, unreadable=nothing)


def test_of_2001_training_images_all_but_one_are_chosen():
    assert choose_rows(make_index(5, 3)).tolist() == [3, 4, 5, 6, 7]
    assert choose_rows(make_index(0, 3)).tolist() == []
    rows = choose_rows(make_index(2001, 50))
    assert (len(rows), rows[0], rows[-1]) == (2000, 50, 2050)


def test_an_ensemble_learns_from_the_same_images_as_a_run(tmp_path, monkeypatch):
    seen = []
    predictor = SimpleNamespace(examine=lambda pixels: SimpleNamespace(features=np.zeros(3)))
    loaded = SimpleNamespace(predictor=predictor)
    monkeypatch.setattr("polyp_core.prediction.load_classifier", lambda run: loaded)
    monkeypatch.setattr(
        "polyp_core.familiarity.write_familiarity", lambda *given: seen.append(given[1:])
    )
    index, pixels = make_index(2001, 9), np.arange(2010).reshape(-1, 1, 1, 1)
    study_worker._keep_familiarity(Run(tmp_path), index, pixels)
    ((some, images, features),) = seen
    assert np.array_equal(images[:, 0, 0, 0], choose_rows(index))
    assert len(some.images) == len(features) == 2000


def draw_measured(draw: np.random.Generator, num_patients: int, num_each: int) -> Measured:
    """Images of patients, those of one of them much alike."""
    num = num_patients * num_each

    def normal(width: int) -> np.ndarray:
        patients = draw.normal(0, 1, (num_patients, 1, width))
        images = patients + 0.2 * draw.normal(0, 1, (num_patients, num_each, width))
        return images.reshape(num, width).astype(np.float32)

    return Measured(
        colour=np.zeros(num, np.float32), blocks=np.zeros(num, np.float32), facts=normal(24),
        layout=normal(144), edges=normal(128), features=normal(10),
    )  # fmt: skip


def test_the_limit_holds_for_new_patients_since_whole_patients_are_left_out():
    draw = np.random.default_rng(0)
    known = draw_measured(draw, 60, 5)
    found = distances.cross_fit(known, known, np.arange(300) // 5)
    units = distances.find_units(found)
    limit = judging._find_limit(np.sort(distances.find_levels(units, found).max(axis=1)), False)
    fitted = distances.fit_distances(join_measured(known, known))
    others = distances.measure_distances(fitted, draw_measured(draw, 500, 1))
    share = np.mean(distances.find_levels(units, others).max(axis=1) > limit)
    assert 0.01 < share < 0.1  # nearly all, if images were left out without their patient's others


def take_columns_apart(rows: np.ndarray, num_axes: int) -> tuple[np.ndarray, np.ndarray]:
    sums, axes = np.linalg.eigh(rows.T @ rows)
    return np.maximum(sums[::-1], 0), axes[:, ::-1][:, :num_axes]


@pytest.mark.parametrize("kind", ["any", "in few directions", "all alike"])
def test_with_fewer_rows_than_columns_the_distances_are_the_same(kind, monkeypatch):
    draw = np.random.default_rng(1)
    rows = draw.normal(0, 1, (40, 300)) * np.linspace(0, 3, 300)
    if kind != "any":
        rows = draw.normal(0, 1, (40, 3)) @ draw.normal(0, 1, (3, 300))
    if kind == "all alike":
        rows[:] = rows[0]
    others = rows[:20] + draw.normal(0, 1, (20, 300))

    def measure() -> np.ndarray:
        fitted = distances._fit_cloud(rows, 1e-3)
        arrays = {f"features.{name}": array for name, array in fitted.items()}
        return distances._measure_cloud(arrays, "features", np.concatenate([rows, others]))

    found = measure()
    monkeypatch.setattr(distances, "_find_axes", take_columns_apart)
    assert np.allclose(found, measure(), rtol=0, atol=1e-6)


def test_copies_with_the_same_features_change_nothing():
    rows = np.random.default_rng(1).normal(0, 1, (40, 60)).astype(np.float32)
    joined = distances._fit_cloud(np.concatenate([rows, rows]), 1e-3)
    mixed = distances._fit_cloud(np.repeat(rows, 2, axis=0), 1e-3)
    for name in ("mean", "scale", "weight", "rest"):
        assert np.allclose(joined[name], mixed[name], rtol=1e-5), name
    assert np.allclose(np.abs(joined["axes"]), np.abs(mixed["axes"]), atol=1e-5)


def test_of_the_thousands_of_features_of_an_ensemble_the_smaller_side_is_taken_apart(monkeypatch):
    sizes, take_apart = [], np.linalg.eigh
    monkeypatch.setattr(
        np.linalg, "eigh", lambda square: (sizes.append(len(square)), take_apart(square))[1]
    )
    rows = np.random.default_rng(1).normal(0, 1, (50, 4000))
    fitted = distances._fit_cloud(np.concatenate([rows, rows]), 1e-3)
    assert sizes == [50]
    assert fitted["axes"].shape == (4000, 12)


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


def test_a_tint_is_no_colour_and_a_little_of_colour_is_found():
    pixels = np.random.default_rng(0).integers(0, 200, (700, 900, 1), np.uint8).repeat(3, axis=2)
    assert measure_colour(pixels) == 0
    pixels[..., 0] += 38
    assert measure_colour(pixels) == 0
    pixels[..., 0] += 3
    assert measure_colour(pixels) == 1
    pixels[:, 90:, 0] -= 41
    assert measure_colour(pixels) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("size_px", [16, 50, 63, 128, 224])
def test_the_layout_is_the_image_at_twelve_pixels(scans, size_px):
    seen = fit_image(scans[0], size_px, 1)
    grey = make_grey(seen).astype(np.float32)
    small = cv2.resize(grey, (12, 12), interpolation=cv2.INTER_AREA)
    expected = (small - small.mean()) / (small.std() + 8)
    found = measure_image(scans[0], (0, 0, 9, 9), seen, np.zeros(2, np.float32)).layout
    assert np.allclose(found, expected.ravel(), atol=1e-5)


def test_what_version_1_measures_stays_comparable_with_what_runs_keep(scans):
    """Other numbers need another `judging._VERSION`."""
    seen = fit_image(scans[0], 128, 1)
    box = (0, 0, *scans[0].shape[1::-1])
    found = measure_image(scans[0], box, seen, np.zeros(2, np.float32))
    facts = [
        60.7289, 4.08341, 0.0, 71.0, 130.0, 0.609375, 0.0, 5.64813, 0.319275, -1.68499, -1.40671,
        -1.21687, -1.03471, -0.916549, 0.277142, -0.0591552, 0.0372715, 0.207709, -0.0055547,
        0.00305083, -0.102785, 2.82452, 1.00566, 5.36598,
    ]  # fmt: skip
    edges = [0.107314, 0.0974402, 0.142451, 0.0981762, 0.0648721, 0.0706232, 0.112463, 0.0984727]
    layout = [-0.79351, -0.59375, 0.13424, -0.71077, -0.30407, 0.69316, -0.79466, -1.0978]
    assert found.facts == pytest.approx(np.array(facts), rel=1e-4, abs=1e-5)
    assert found.edges[72:80] == pytest.approx(np.array(edges), rel=1e-4)
    assert found.layout[64:72] == pytest.approx(np.array(layout), rel=1e-3, abs=1e-5)
    assert float(found.blocks) == pytest.approx(0.00208327, rel=1e-4)


def test_squares_of_compression_show_in_any_phase_but_not_a_plain_line(scans):
    scan = scans[0]
    assert measure_blocks(scan) < 0.1
    assert measure_blocks(save_as_jpeg(scan, 4)) > 0.4
    assert measure_blocks(save_as_jpeg(scan, 4)[3:, 5:]) > 0.4
    lined = scan.copy()
    lined[80], lined[:, 80] = 255, 255
    assert measure_blocks(lined) < 0.1
    assert measure_blocks(scan[:40, :40]) == 0
