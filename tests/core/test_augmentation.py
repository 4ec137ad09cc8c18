from dataclasses import replace

import cv2
import numpy as np
import pytest

from polyp_core.augmentation import (
    AugmentParameters,
    apply_parameters,
    augment_image,
    draw_parameters,
)
from polyp_core.config import AugmentConfig

NONE = AugmentConfig(
    rotation_deg=0, width_shift=0, height_shift=0, shear_deg=0, zoom=0, horizontal_flip=False
)
ALL = AugmentConfig(shear_deg=10.0)


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.filterwarnings("ignore")  # importing the old Keras code warns
@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "constant"])
@pytest.mark.parametrize("image_number", range(6))
def test_geometry_agrees_with_keras_for_the_same_numbers(image, image_number, fill_mode):
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    drawn = draw_parameters(ALL, seed=1, epoch=1, image_number=image_number)
    expected = apply_affine_transform(
        image.astype(np.float32),
        theta=drawn.rotation_deg,
        tx=drawn.shift_x * 120,
        ty=drawn.shift_y * 120,
        shear=drawn.shear_deg,
        zx=drawn.zoom_x,
        zy=drawn.zoom_y,
        row_axis=0,
        col_axis=1,
        channel_axis=2,
        fill_mode=fill_mode,
    )
    if drawn.flip:
        expected = expected[:, ::-1]
    ours = apply_parameters(image, drawn, fill_mode).astype(np.float32)
    if fill_mode != "nearest":
        # Keras decides at the border where it starts to fill; compare where both look inside.
        inside = apply_parameters(np.full_like(image, 255), drawn, "constant") == 255
        inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))).astype(bool)
        ours, expected = ours[inside], expected[inside]
    assert np.abs(ours - expected).mean() < 1.0


def test_no_augmentation_is_the_identity(image):
    augmented = augment_image(image, NONE, seed=0, epoch=3, image_number=7)
    assert np.array_equal(augmented, image)
    assert augmented is not image


def test_flip_alone_is_the_exact_mirror(image):
    assert np.array_equal(apply_parameters(image, AugmentParameters(flip=True)), image[:, ::-1])


def test_shift_alone_moves_whole_pixels_exactly(image):
    moved = apply_parameters(image, AugmentParameters(shift_x=0.1, shift_y=-0.05))
    assert np.array_equal(moved[6:, :-12], image[:-6, 12:])


def test_half_a_turn_is_both_mirrors(image):
    turned = apply_parameters(image, AugmentParameters(rotation_deg=180))
    difference = turned.astype(int) - image[::-1, ::-1].astype(int)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("fill_mode", "expected"), [("nearest", 9), ("constant", 0)])
def test_fill_mode_decides_what_stands_beyond_the_border(fill_mode, expected):
    image = np.full((20, 20, 1), 200, np.uint8)
    image[:, 0] = 9
    moved = apply_parameters(image, AugmentParameters(shift_x=-0.5), fill_mode)
    assert (moved[:, :9] == expected).all()


def test_numbers_depend_on_seed_epoch_and_image_alone(image):
    numbers = {"seed": 1, "epoch": 2, "image_number": 3}
    first = draw_parameters(ALL, **numbers)
    draw_parameters(ALL, seed=9, epoch=9, image_number=9)
    assert draw_parameters(ALL, **numbers) == first
    for name in numbers:
        assert draw_parameters(ALL, **numbers | {name: 5}) != first


def test_numbers_are_uniform_within_their_bounds():
    drawn = [draw_parameters(ALL, seed=0, epoch=1, image_number=i) for i in range(4000)]
    for name, low, high in (
        ("rotation_deg", -40, 40), ("shift_x", -0.2, 0.2), ("shift_y", -0.2, 0.2),
        ("shear_deg", -10, 10), ("zoom_x", 0.8, 1.2), ("zoom_y", 0.8, 1.2),
    ):  # fmt: skip
        values = np.array([getattr(parameters, name) for parameters in drawn])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    assert 0.47 < np.mean([parameters.flip for parameters in drawn]) < 0.53


def test_moving_one_slider_leaves_the_other_numbers_as_they_were():
    numbers = {"seed": 0, "epoch": 1, "image_number": 0}
    wide = draw_parameters(replace(ALL, rotation_deg=90.0), **numbers)
    narrow = draw_parameters(ALL, **numbers)
    assert replace(wide, rotation_deg=narrow.rotation_deg) == narrow


@pytest.mark.parametrize("shape", [(30, 50, 1), (50, 30, 3)])
def test_shape_and_type_stay_and_the_input_is_not_touched(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    before = image.copy()
    augmented = augment_image(image, ALL, seed=0, epoch=1, image_number=0)
    assert augmented.shape == shape
    assert augmented.dtype == np.uint8
    assert np.array_equal(image, before)
