from functools import cache

import cv2
import numpy as np
import pytest

from polyp_core.annotations import Annotations, find_annotations, find_text
from tests.core.screens import draw_calipers, draw_cross, draw_text, render_scan

NOTHING = Annotations(text_share=0.0, num_calipers=0, has_colour=False)
NUM_IMAGES = 40


@cache
def make_scan(number):
    """A phantom scan of 320 to 900 px, (height, width, 3)."""
    random = np.random.default_rng((1, number))
    scan = cv2.resize(render_scan(number), None, fx=(scale := random.uniform(0.9, 2.2)), fy=scale)
    return np.repeat(scan[..., np.newaxis], 3, axis=2)


def add_text(number, num_lines=3):
    random, picture = np.random.default_rng((2, number)), make_scan(number).copy()
    height_px, width_px = picture.shape[:2]
    for _ in range(num_lines):
        x, y = random.uniform(0, 0.5) * width_px, random.uniform(0.1, 0.95) * height_px
        draw_text(random, picture, int(x), int(y))
    return picture


def add_calipers(number):
    random, picture = np.random.default_rng((3, number)), make_scan(number).copy()
    height_px, width_px = picture.shape[:2]
    draw_calipers(random, picture, (0, 0, width_px, height_px), number=2)
    return picture


def compress(picture):
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def find_all(make, change=lambda picture: picture):
    return [find_annotations(change(make(number))) for number in range(NUM_IMAGES)]


def make_noise(sigma, seed=0, channels=3):
    noise = np.random.default_rng(seed).normal(100, sigma, (300, 300, channels))
    return np.clip(noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [np.array, compress])
def test_at_most_5_percent_of_plain_scans_raise_a_false_alarm(change):
    assert sum(found != NOTHING for found in find_all(make_scan, change)) <= 0.05 * NUM_IMAGES


def test_the_writing_lies_where_it_was_drawn_and_covers_the_share_that_is_counted():
    found = [(add_text(number, 1), find_text(add_text(number, 1))) for number in range(10)]
    for number, (picture, text) in enumerate(found):
        assert text.shape == picture.shape[:2]
        assert text.mean() == pytest.approx(find_annotations(picture).text_share)
        drawn = (picture != make_scan(number)).any(axis=2)
        if text.any():  # a word that is missed is no failure of this test
            assert drawn[text].mean() > 0.15
            assert text[drawn].mean() > 0.6
    assert sum(text.any() for _, text in found) >= 5
    assert not find_text(np.full((99, 300, 1), 255, np.uint8)).any()


@pytest.mark.parametrize("change", [np.array, compress])
def test_text_is_found_in_at_least_90_percent(change):
    found = find_all(add_text, change)
    assert sum(marks.text_share > 0 for marks in found) >= 0.9 * NUM_IMAGES
    assert sum(marks.num_calipers > 0 for marks in found) <= 0.1 * NUM_IMAGES


@pytest.mark.parametrize("change", [np.array, compress])
def test_calipers_are_found_in_at_least_90_percent(change):
    found = find_all(add_calipers, change)
    assert sum(marks.num_calipers == 2 for marks in found) >= 0.85 * NUM_IMAGES
    assert sum(marks.num_calipers > 0 for marks in found) >= 0.9 * NUM_IMAGES
    assert sum(marks.text_share > 0 for marks in found) <= 0.05 * NUM_IMAGES


def test_the_share_of_text_is_that_of_the_box_around_the_words():
    picture = np.full((200, 400, 1), 20, np.uint8)
    cv2.putText(picture, "Dist 12.4 mm", (60, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (250,), 1)
    rows, columns = np.nonzero(picture[..., 0] > 100)
    box_px = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    expected = box_px / (200 * 400)
    assert find_annotations(picture).text_share == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("kind", ["+", "x"])
@pytest.mark.parametrize("arm", [3, 5, 8, 12])
def test_every_cross_is_counted_once(kind, arm):
    picture = make_noise(10)
    for x, y in ((60, 80), (150, 200), (240, 90)):
        draw_cross(picture, x, y, arm, kind, (255, 255, 255))
    assert find_annotations(picture).num_calipers == 3


def test_lines_and_corners_are_no_calipers():
    picture = np.full((300, 300, 1), 30, np.uint8)
    cv2.line(picture, (20, 50), (280, 50), (255,), 1)
    cv2.line(picture, (40, 100), (40, 280), (255,), 1)
    cv2.rectangle(picture, (100, 120), (200, 220), (255,), 1)
    cv2.line(picture, (210, 100), (290, 180), (255,), 1)
    assert find_annotations(picture) == NOTHING


def test_colour_counts_from_half_a_thousandth_of_the_area():
    picture = np.full((200, 200, 3), 60, np.uint8)
    picture[50, 50:69] = (60, 60, 200)
    assert not find_annotations(picture).has_colour
    picture[50, 69] = (60, 60, 200)  # 20 of 40,000 px
    assert find_annotations(picture).has_colour


def test_a_slight_tint_is_no_colour():
    scan = make_scan(0).astype(int)
    picture = np.clip(scan + (0, 10, 28), 0, 255).astype(np.uint8)
    assert find_annotations(picture) == NOTHING


@pytest.mark.parametrize("size_px", [28, 60, 99])
def test_small_pictures_raise_no_alarm(size_px):
    for number in range(4):
        assert find_annotations(cv2.resize(add_text(number), (size_px, size_px))) == NOTHING


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_uniform_picture_has_no_marks(level):
    assert find_annotations(np.full((200, 300, 1), level, np.uint8)) == NOTHING


@pytest.mark.parametrize("sigma", [3, 10, 25, 50, 100])
def test_noise_has_no_marks(sigma):
    for seed in range(3):
        assert find_annotations(make_noise(sigma, seed, channels=1)) == NOTHING


def test_the_picture_is_not_changed():
    picture = add_text(0)
    before = picture.copy()
    find_annotations(picture)
    assert np.array_equal(picture, before)
