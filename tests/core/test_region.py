from functools import cache

import cv2
import numpy as np
import pytest

from polyp_core.region import box_from_percent, crop_region, find_region
from tests.core.screens import draw_screen, render_scan


def measure_overlap(first, second):
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def measure_cut(found, true):
    """The most that is missing at a side, as a part of the scan's own side."""
    width, height = true[2] - true[0], true[3] - true[1]
    missing = (found[0] - true[0], true[2] - found[2]), (found[1] - true[1], true[3] - found[3])
    return max(max(missing[0]) / width, max(missing[1]) / height)


@cache
def find_on_screens():
    """The overlap and the cut of 100 screens."""
    pairs = []
    for seed in range(1000, 1100):
        screen = draw_screen(seed)
        found = find_region(screen.picture)
        pairs.append((measure_overlap(found, screen.box), measure_cut(found, screen.box)))
    return np.array(pairs).T


def put_on_screen(scan, *, width_px=800, height_px=600, left=200, top=100, level=0):
    picture = np.full((height_px, width_px), level, np.uint8)
    picture[top : top + scan.shape[0], left : left + scan.shape[1]] = scan
    return picture[..., np.newaxis]


def make_echoes(height_px, width_px, seed=0, low=60, high=120):
    return np.random.default_rng(seed).integers(low, high, (height_px, width_px)).astype(np.uint8)


def test_a_rectangle_of_echoes_is_found_to_the_pixel():
    picture = put_on_screen(make_echoes(300, 400), left=211, top=123)
    assert find_region(picture) == (211, 123, 611, 423)


def test_a_rectangle_is_found_to_the_pixel_in_a_picture_that_is_looked_at_smaller():
    picture = put_on_screen(
        make_echoes(700, 900), width_px=1600, height_px=1200, left=301, top=222, level=30
    )
    assert find_region(picture) == (301, 222, 1201, 922)


def test_grey_and_colour_pictures_give_the_same_box():
    picture = put_on_screen(make_echoes(300, 400))
    assert find_region(np.repeat(picture, 3, axis=2)) == find_region(picture)


def test_the_scan_is_found_on_at_least_95_of_100_screens():
    overlaps, _ = find_on_screens()
    assert (overlaps >= 0.9).sum() >= 95
    assert np.median(overlaps) > 0.97


def test_the_scan_is_never_cut_into_by_more_than_a_rim():
    _, cuts = find_on_screens()
    assert cuts.max() < 0.04
    assert (cuts < 0.01).sum() >= 95


def test_both_halves_of_a_dual_view_are_kept():
    picture = put_on_screen(make_echoes(300, 300, seed=1), left=60)
    picture[100:400, 440:740, 0] = make_echoes(300, 300, seed=2)
    assert find_region(picture) == (60, 100, 740, 400)


def test_a_small_preview_beside_the_scan_is_cut_away():
    picture = put_on_screen(make_echoes(300, 400), left=300)
    picture[500:560, 40:120, 0] = make_echoes(60, 80)
    assert find_region(picture) == (300, 100, 700, 400)


def test_a_faint_scan_is_found():
    picture = put_on_screen(make_echoes(300, 400, low=3, high=9))
    assert find_region(picture) == (200, 100, 600, 400)


def test_a_scan_on_a_noisy_screen_is_found():
    screen = np.random.default_rng(3).normal(12, 0.6, (600, 800)).round().astype(np.uint8)
    screen[100:400, 200:600] = make_echoes(300, 400)
    assert measure_overlap(find_region(screen[..., None]), (200, 100, 600, 400)) > 0.95


@pytest.mark.parametrize("number", range(4))
def test_a_picture_that_is_a_scan_already_stays_whole(number):
    scan = render_scan(number)
    height_px, width_px = scan.shape
    assert find_region(scan[..., np.newaxis]) == (0, 0, width_px, height_px)


def test_a_shadow_that_fills_the_lower_third_of_a_scan_is_kept():
    picture = make_echoes(450, 400)[..., np.newaxis]
    picture[300:] = 0
    assert find_region(picture) == (0, 0, 400, 450)


@pytest.mark.parametrize("size_px", [300, 700])
def test_smooth_enlarged_tissue_is_not_cut(size_px):
    small = cv2.GaussianBlur(make_echoes(60, 60, low=40, high=180), (0, 0), 2)
    picture = cv2.resize(small, (size_px, size_px))[..., np.newaxis]
    assert find_region(picture) == (0, 0, size_px, size_px)


@pytest.mark.parametrize("level", [0, 1, 90, 255])
def test_a_uniform_picture_stays_whole(level):
    assert find_region(np.full((300, 400, 3), level, np.uint8)) == (0, 0, 400, 300)


def test_a_screen_with_nothing_but_text_stays_whole():
    picture = np.zeros((480, 640, 3), np.uint8)
    for y in range(40, 480, 40):
        cv2.putText(picture, "no signal", (30, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3)
    assert find_region(picture) == (0, 0, 640, 480)


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (60, 60), (63, 500), (500, 63)])
def test_a_tiny_picture_stays_whole(shape):
    picture = np.zeros((*shape, 1), np.uint8)
    picture[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 200
    assert find_region(picture) == (0, 0, shape[1], shape[0])


@pytest.mark.parametrize("shape", [(65, 3000), (3000, 65), (64, 64), (513, 1025)])
def test_odd_shapes_of_noise_stay_whole(shape):
    assert find_region(make_echoes(*shape)[..., np.newaxis]) == (0, 0, shape[1], shape[0])


def test_the_picture_is_not_changed():
    picture = put_on_screen(make_echoes(300, 400))
    before = picture.copy()
    find_region(picture)
    assert np.array_equal(picture, before)


def test_cropping_keeps_what_is_inside_the_box():
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(crop_region(picture, (2, 1, 6, 4)), picture[1:4, 2:6])


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        ((0, 0, 100, 100), (0, 0, 200, 50)),
        ((10, 20, 90, 80), (20, 10, 180, 40)),
        ((50, 50, 50, 50), (100, 25, 101, 26)),
        ((100, 100, 100, 100), (199, 49, 200, 50)),
    ],
)
def test_percent_become_a_box_of_at_least_one_pixel(percent, expected):
    assert box_from_percent(percent, 200, 50) == expected


def test_percent_of_a_single_pixel_are_that_pixel():
    assert box_from_percent((30, 30, 60, 60), 1, 1) == (0, 0, 1, 1)
