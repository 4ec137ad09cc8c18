import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

from polyp_core import checks
from polyp_core.checks import EFFECTS, MAX_IMAGES, choose_images, measure_image, run_checks
from polyp_core.checks.shortcuts import blank_border, describe_place, measure_share
from polyp_core.checks.units import estimate_mean
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError
from polyp_core.images import Picture, decode_picture
from polyp_core.prediction import load_classifier
from tests.conftest import start_run, wait_for_end
from tests.core.screens import draw_text

BY_NAME = {effect.name: effect for effect in EFFECTS}


def find_level(found, effect, number):
    levels = next(e["levels"] for e in found["robustness"] if e["effect"] == effect)
    return levels[number]


# What is planted: pictures of a screen with a scan in its middle. In those of the positive class
# a word stands beside the scan, or the scan itself has a bright spot.


def draw_picture(seed, *, has_word, has_spot):
    random = np.random.default_rng(seed)
    picture = np.zeros((320, 480, 3), np.uint8)
    scan = random.integers(30, 120, (200, 300)).astype(np.uint8)
    picture[60:260, 90:390] = cv2.GaussianBlur(scan, (0, 0), 1.2)[..., np.newaxis]
    if has_spot:
        picture[140:180, 220:260] = 255
    if has_word:
        draw_text(random, picture, 100, 314, 20)
    return picture


def write_pictures(folder, sign, num_patients=20):
    for patient in range(num_patients):
        for image in range(2):
            is_positive = bool(patient % 2)
            marks = {"has_word": False, "has_spot": False} | {sign: is_positive}
            picture = draw_picture(1000 * patient + image, **marks)
            path = folder / ("calcified" if is_positive else "normal")
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path / f"patient-{patient:02}_{image}.png")
    return folder


class Looks:
    """A model that looks at one part of the image alone and takes what varies for positive."""

    def __init__(self, part, span):
        self.part, self.span = part, span  # of an image of 64 px; in grey levels

    def predict(self, image):
        is_marked = np.ptp(image[self.part].astype(int)) > self.span
        saliency = np.zeros((64, 64), np.float32)
        saliency[self.part] = 1.0 if is_marked else -1.0
        return 0.9 if is_marked else 0.1, saliency


BELOW = (slice(58, 64), slice(0, 64))  # where the word stands
MIDDLE = (slice(26, 40), slice(24, 40))


@pytest.fixture
def check(finished_run, tmp_path, monkeypatch):
    """What the checks find of a model on pictures with a sign."""

    def run(model, sign, **data):
        classifier = load_classifier(finished_run)
        config = classifier.config
        config = replace(
            config,
            data=replace(config.data, **data),
            model=replace(config.model, image_size_px=64, channels=1),
        )
        classifier = replace(
            classifier, predictor=model, config=config, class_names=("normal", "calcified")
        )
        monkeypatch.setattr(checks, "load_classifier", lambda _: classifier)
        folder = write_pictures(tmp_path / sign, sign)
        index = read_index(DataConfig(folder=str(folder)))
        images = index.images.assign(split="validation")
        return run_checks(finished_run, replace(index, images=images))

    return run


def test_a_model_that_reads_the_border_is_found_out(check):
    found = check(Looks(BELOW, span=30), "has_word")
    border = found["shortcuts"]["border"]
    assert border["image"]["auc"]["value"] == 1.0
    assert border["image"]["auc_blanked"]["value"] == 0.5
    assert border["image"]["difference"]["value"] == -0.5
    assert border["patient"]["auc_blanked"]["value"] == 0.5
    outside = found["shortcuts"]["outside"]["all"]
    assert outside["saliency"]["low"] > 0.85
    assert outside["area"]["high"] < 0.7
    assert outside["excess"]["low"] > 0.2
    # Only the positive class has writing, and the model looks there more than its area explains.
    text = found["shortcuts"]["text"]
    assert text["classes"]["calcified"]["num_with"] == 20
    assert text["classes"]["calcified"]["excess"]["low"] > 0
    normal = text["classes"]["normal"]
    assert normal["num_with"] == 0
    assert normal["saliency"] == {
        "value": None, "low": None, "high": None, "n": 0,
        "reason": "No burned-in text was found in these images.",
    }  # fmt: skip


def test_a_model_that_looks_at_the_lesion_is_cleared(check):
    found = check(Looks(MIDDLE, span=120), "has_spot")
    border = found["shortcuts"]["border"]["image"]
    assert border["auc"]["value"] == border["auc_blanked"]["value"] == 1.0
    assert border["difference"]["value"] == 0.0
    outside = found["shortcuts"]["outside"]["all"]
    assert outside["saliency"]["value"] == 0.0
    assert outside["excess"]["high"] < 0
    assert outside["unit"] == "patient"
    assert outside["area"]["n"] == 20


def test_where_the_region_is_cut_out_nothing_lies_outside_of_it(check):
    found = check(Looks(MIDDLE, span=120), "has_spot", region="automatic")
    outside = found["shortcuts"]["outside"]["all"]
    assert (outside["num_with"], outside["num_images"]) == (0, 40)
    assert outside["area"]["reason"] == (
        "No image shows anything outside the scan area to the network."
    )


def test_a_network_trained_on_a_border_that_gives_the_label_away_shows_it(tmp_path):
    """A real one: what is bright at the rim is positive, the middle is noise."""
    folder, random = tmp_path / "data", np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(40, 120, (40, 40)).astype(np.uint8)
        if number % 2:
            pixels[:3] = pixels[-3:] = pixels[:, :3] = pixels[:, -3:] = 230
        path = folder / ("calcified" if number % 2 else "normal") / f"patient-{number:02}_0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    more = ("training.epochs=12", "training.batch_size=8")
    run = start_run(folder, tmp_path / "runs", "rim", *more)
    assert wait_for_end(run) == "finished"
    found = run_checks(run, run.read_index())
    border = found["shortcuts"]["border"]["image"]
    assert border["auc"]["value"] > 0.95
    assert border["auc_blanked"]["value"] < 0.85
    assert border["difference"]["value"] < -0.15
    json.dumps(found, allow_nan=False)  # plain values


def test_the_first_level_of_every_effect_is_the_images_as_they_are(check):
    found = check(Looks(MIDDLE, span=120), "has_spot")
    for effect in found["robustness"]:
        first = effect["levels"][0]
        assert (first["strength"], first["label"]) == (0.0, "as it is")
        assert first["image"]["mean_change"]["value"] == 0.0
        assert first["image"]["auc"]["value"] == 1.0
        assert [level["strength"] for level in effect["levels"]][1:] == list(
            BY_NAME[effect["effect"]].strengths
        )
    assert (found["num_images"], found["num_validation_images"], found["num_patients"]) == (
        40, 40, 20,
    )  # fmt: skip
    assert found["num_left_out"] == 0


class Fades:
    """A model whose evidence is one pixel against its neighbours: a blur takes all of it."""

    def predict(self, image):
        middle = image[32, 32, 0].astype(float) - image[32, 28, 0]
        return 1 / (1 + np.exp(-middle / 20)), np.ones((4, 4), np.float32)


def test_what_a_fine_detail_tells_is_lost_with_growing_noise(finished_run):
    config = load_classifier(finished_run).config
    config = replace(config, model=replace(config.model, image_size_px=64, channels=1))
    classifier = replace(load_classifier(finished_run), predictor=Fades(), config=config)
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        pixels = np.full((64, 64, 1), 100, np.uint8)
        pixels[32, 32] = 100 + (15 if number % 2 else -15) + random.integers(-5, 6)
        measured = measure_image(classifier, Picture(pixels=pixels), number // 2)
        rows.append({"label": number % 2, "group": ""} | measured)
    levels = checks.describe_effect(pd.DataFrame(rows), BY_NAME["noise"], 0.5)["levels"]
    changes = [level["image"]["mean_change"]["value"] for level in levels]
    assert changes == sorted(changes)
    assert levels[0]["image"]["auc"]["value"] == 1.0
    assert levels[-1]["image"]["auc"]["value"] < 0.8
    assert "patient" not in levels[0]
    last = pd.DataFrame(rows)
    expected = roc_auc_score(last["label"], last["noise 40"])
    assert levels[-1]["image"]["auc"]["value"] == pytest.approx(expected)
    accuracy = ((last["noise 40"] >= 0.5) == last["label"]).mean()
    assert levels[-1]["image"]["accuracy"]["value"] == pytest.approx(accuracy)
    change = (last["noise 40"] - last["probability"]).abs()
    assert changes[-1] == pytest.approx(change.mean())


def test_files_that_are_gone_or_changed_are_counted_and_left_out(finished_run, tmp_path):
    index = finished_run.read_index()
    copy = replace(index, folder=tmp_path)
    rows = index.select("validation")
    for row in rows.itertuples():
        (tmp_path / row.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / row.path).write_bytes((index.folder / row.path).read_bytes())
    (tmp_path / rows["path"].iloc[0]).unlink()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / rows["path"].iloc[1])
    told = []
    found = run_checks(finished_run, copy, lambda *n: told.append(n))
    assert (found["num_images"], found["num_left_out"]) == (len(rows) - 2, 2)
    assert told[-1] == (len(rows), len(rows))
    empty = replace(index, folder=tmp_path / "nowhere")
    with pytest.raises(DatasetError) as raised:
        run_checks(finished_run, empty)
    assert str(raised.value) == (
        f"None of the {len(rows)} validation images of run 'small' can be read from "
        f"'{tmp_path / 'nowhere'}'. Expected the files that it was validated on. Put them back."
    )


def test_one_class_alone_has_no_auc_and_says_why(finished_run):
    index = finished_run.read_index()
    index = replace(index, images=index.images[index.images["label"] == 1].reset_index(drop=True))
    found = run_checks(finished_run, index)
    auc = find_level(found, "blur", 2)["image"]["auc"]
    assert (auc["value"], auc["reason"]) == (None, "All of these are of one class.")
    assert find_level(found, "blur", 2)["image"]["accuracy"]["value"] is not None
    assert found["shortcuts"]["border"]["image"]["difference"]["value"] is None
    assert found["shortcuts"]["outside"]["classes"]["non-calcified"]["num_images"] == 0
    json.dumps(found, allow_nan=False)


def test_the_images_are_spread_evenly_and_bounded():
    rows = pd.DataFrame({"number": range(1234)})
    chosen = choose_images(rows)["number"].to_numpy()
    assert len(chosen) == MAX_IMAGES
    assert (chosen[0], chosen[-1]) == (0, 1233)
    assert set(np.diff(chosen)) <= {2, 3}
    assert choose_images(rows.iloc[:7])["number"].tolist() == list(range(7))


def test_shares_worked_by_hand():
    saliency = np.array([[1.0, -3.0], [0.0, 0.0]], np.float32)
    right = np.array([[0, 1], [0, 1]], np.float32)
    shares = measure_share(saliency, right)
    assert shares == {"area": 0.5, "saliency": 0.75, "evidence": 0.0}
    assert np.isnan(measure_share(np.zeros((2, 2)), right)["saliency"])


def test_of_images_of_one_patient_the_mean_counts_once():
    table = pd.DataFrame(
        {
            "label": [1, 1, 0, 0], "group": ["a", "a", "b", "c"], "probability": 0.5,
            "text area": [0.1, 0.3, 0.2, 0.0], "text saliency": [0.5, 0.7, 0.2, 0.0],
            "text evidence": [0.5, 0.7, 0.2, 0.0],
        }
    )  # fmt: skip
    found = describe_place(table, "text")
    assert (found["num_images"], found["num_with"], found["unit"]) == (4, 3, "patient")
    assert found["area"]["value"] == pytest.approx((0.2 + 0.2) / 2)
    assert found["saliency"]["value"] == pytest.approx((0.6 + 0.2) / 2)
    assert found["excess"]["value"] == pytest.approx((0.4 + 0.0) / 2)
    assert found["excess"]["n"] == 2
    unknown = describe_place(table.assign(group=""), "text")
    assert (unknown["unit"], unknown["area"]["n"]) == ("image", 3)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 12, 200])
def test_the_interval_of_a_mean_is_students(n):
    values = pd.Series(np.random.default_rng(n).normal(0.5, 0.01, n))
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    metric = estimate_mean(values)
    assert metric.value == pytest.approx(values.mean())
    assert metric.n == n
    assert metric.high - metric.low == pytest.approx(high - low, rel=0.01)


def test_a_single_value_allows_everything():
    assert estimate_mean(pd.Series([0.3])).low == 0.0
    assert estimate_mean(pd.Series([0.3]), -1.0).low == -1.0
    assert estimate_mean(pd.Series([0.3])).high == 1.0
    assert estimate_mean(pd.Series([], dtype=float)).value is None


@pytest.mark.parametrize("channels", [1, 3])
def test_the_blanked_border_tells_nothing_of_what_stood_there(channels):
    inner = np.random.default_rng(0).integers(0, 256, (40, 60, channels)).astype(np.uint8)
    images = []
    for grey in (0, 255):
        image = inner.copy()
        image[:4] = image[-4:] = grey
        image[:, :6] = image[:, -6:] = grey
        images.append(blank_border(image))
    assert np.array_equal(*images)
    assert np.array_equal(images[0][4:-4, 6:-6], inner[4:-4, 6:-6])
    assert images[0][0, 0] == pytest.approx(inner[4:-4, 6:-6].mean(axis=(0, 1)), abs=0.5)
    assert (images[0][:4] == images[0][0, 0]).all()


# The effects, each by what it is to do.


@pytest.fixture
def grey():
    noise = np.random.default_rng(1).integers(60, 160, (64, 64, 1)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.0)[..., np.newaxis]


@pytest.mark.parametrize("name", list(BY_NAME))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_effect_keeps_shape_and_type_and_grows_with_its_strength(name, channels, grey):
    effect, image = BY_NAME[name], np.repeat(grey, channels, axis=2)
    before, changes = image.copy(), []
    for strength in effect.strengths:
        changed = effect.apply(image, strength, 3)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert np.ptp(changed.astype(int), axis=2).max() <= 1  # grey stays grey
        changes.append(np.abs(changed.astype(float) - image).mean())
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]
    assert np.array_equal(image, before)
    assert len(effect.strengths) == len(effect.labels) == 4
    assert list(effect.strengths) == sorted(effect.strengths)
    assert effect.strengths[0] > 0


def test_noise_has_its_deviation_and_is_drawn_for_each_image():
    image = np.full((200, 200, 3), 128, np.uint8)
    noisy = BY_NAME["noise"].apply(image, 10, 5)
    assert noisy.std() == pytest.approx(10, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.2)
    assert np.array_equal(noisy, BY_NAME["noise"].apply(image, 10, 5))
    assert not np.array_equal(noisy, BY_NAME["noise"].apply(image, 10, 6))


def test_a_blur_spreads_a_point_by_its_deviation():
    image = np.zeros((200, 200, 1), np.uint8)
    image[99:102, 99:102] = 255
    blurred = BY_NAME["blur"].apply(image, 2, 0)[..., 0].astype(float)  # 4 px
    across = blurred.sum(axis=0) / blurred.sum()
    x = np.arange(200)
    variance = (across * (x - (across * x).sum()) ** 2).sum()
    assert variance == pytest.approx(16 + 2 / 3, rel=0.1)


def test_gain_goes_up_and_down_in_turn_and_spares_the_black_surround():
    image = np.zeros((40, 40, 1), np.uint8)
    image[10:30, 10:30] = 100
    up, down = (BY_NAME["gain"].apply(image, 6, number) for number in (1, 2))
    step = 255 * 6 / 60
    assert up[20, 20, 0] == pytest.approx(100 + step, abs=1)
    assert down[20, 20, 0] == pytest.approx(100 - step, abs=1)
    assert up[0, 0, 0] == down[0, 0, 0] == 0


def test_a_turn_goes_left_and_right_in_turn():
    image = np.zeros((101, 101, 1), np.uint8)
    image[50, 85] = 255
    image = cv2.GaussianBlur(image, (0, 0), 2.0)[..., np.newaxis]
    angles = []
    for number in (1, 2):
        turned = BY_NAME["rotation"].apply(image, 20, number)[..., 0].astype(float)
        rows, columns = np.indices(turned.shape)
        y = (turned * rows).sum() / turned.sum() - 50
        x = (turned * columns).sum() / turned.sum() - 50
        angles.append(np.degrees(np.arctan2(y, x)))
    assert sorted(angles) == pytest.approx([-20, 20], abs=1.5)


def test_jpeg_keeps_colours_where_they_are():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 40
    compressed = BY_NAME["jpeg"].apply(image, 10, 0)
    assert compressed.reshape(-1, 3).mean(axis=0) == pytest.approx([200, 0, 40], abs=4)


def test_the_picture_of_a_file_is_seen_as_in_prediction(finished_run):
    classifier, index = load_classifier(finished_run), finished_run.read_index()
    path = index.folder / index.select("validation")["path"].iloc[0]
    measured = measure_image(classifier, decode_picture(path), 0)
    assert measured["probability"] == classifier.classify(path).probability
