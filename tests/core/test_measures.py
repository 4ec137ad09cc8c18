import numpy as np
import pytest

from polyp_core.annotations import find_annotations
from polyp_core.duplicates import DESCRIPTOR_LENGTH, describe_image
from polyp_core.measures import measure_picture


def make_grey(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.uint8)[..., np.newaxis]


def test_brightness_and_contrast_by_hand():
    # Mean of 0, 0, 100, 200 is 75; the deviation is sqrt((75² + 75² + 25² + 125²) / 4).
    measures = measure_picture(make_grey([[0, 0], [100, 200]]))
    assert measures.brightness == 75
    assert measures.contrast == pytest.approx(np.sqrt(6875))


def test_the_border_is_the_outermost_pixel_of_a_small_picture():
    pixels = np.full((6, 5), 255, np.uint8)
    pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1] = 10, 20, 30, 40
    # Top and bottom lose their corners to the sides: 3 of 10, 3 of 20, 6 of 30, 6 of 40.
    expected = (3 * 10 + 3 * 20 + 6 * 30 + 6 * 40) / 18
    assert measure_picture(pixels[..., np.newaxis]).border == pytest.approx(expected)


def test_the_border_is_three_percent_of_the_shorter_side():
    pixels = np.zeros((100, 300), np.uint8)
    pixels[3:-3, 3:-3] = 200
    assert measure_picture(pixels[..., np.newaxis]).border == 0
    pixels[2, 2] = 90  # the last pixel that belongs to it
    size = 100 * 300 - 94 * 294
    assert measure_picture(pixels[..., np.newaxis]).border == pytest.approx(90 / size)


@pytest.mark.parametrize("side_px", [1, 2])
def test_a_picture_of_a_pixel_or_four_is_all_border(side_px):
    measures = measure_picture(np.full((side_px, side_px, 1), 77, np.uint8))
    assert (measures.brightness, measures.contrast, measures.border) == (77, 0, 77)
    assert measures.descriptor.shape == (DESCRIPTOR_LENGTH,)


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (2, 3), (1, 2)])
def test_the_narrowest_picture_can_be_measured(shape):
    measures = measure_picture(np.full((*shape, 3), 9, np.uint8))
    assert (measures.brightness, measures.border, measures.is_colour) == (9, 9, False)


def test_red_counts_by_its_luminance():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert measure_picture(red).brightness == 76  # 0.299 × 255, rounded


def test_three_equal_channels_measure_as_one():
    grey = np.random.default_rng(0).integers(0, 256, (60, 70, 1), dtype=np.uint8)
    one, three = measure_picture(grey), measure_picture(np.repeat(grey, 3, axis=-1))
    assert (one.brightness, one.contrast, one.border, one.is_colour) == (
        three.brightness, three.contrast, three.border, three.is_colour,
    )  # fmt: skip
    assert np.array_equal(one.descriptor, three.descriptor)


def test_marks_and_descriptor_are_those_of_their_own_modules():
    picture = np.random.default_rng(1).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    measures, marks = measure_picture(picture), find_annotations(picture)
    assert np.array_equal(measures.descriptor, describe_image(picture))
    assert (measures.is_colour, measures.text_share, measures.num_calipers) == (
        marks.has_colour, marks.text_share, marks.num_calipers,
    )  # fmt: skip


def test_measuring_leaves_the_picture_as_it_was():
    picture = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    before = picture.copy()
    measure_picture(picture)
    assert np.array_equal(picture, before)
