from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from polyp_core.augmentation import (
    AugmentParameters,
    apply_parameters,
    augment_image,
    describe_parameters,
    draw_parameters,
)
from polyp_core.config import AugmentConfig
from polyp_core.config.augmentation import EFFECTS
from polyp_core.imaging_effects import ImagingParameters

NONE = AugmentConfig(
    rotation_deg=0, width_shift=0, height_shift=0, shear_deg=0, zoom=0, horizontal_flip=False
)
ALL = AugmentConfig(shear_deg=10.0)
STRONG = {
    "rotation_deg": 40.0, "width_shift": 0.2, "height_shift": 0.2, "shear_deg": 10.0, "zoom": 0.2,
    "horizontal_flip": True, "vertical_flip": True, "elastic": 0.03, "gain_db": 6.0,
    "dynamic_range_db": 15.0, "depth_gain_db": 10.0, "speckle": 0.3, "haze": 0.3, "blur": 0.02,
    "shadow_db": 20.0, "erasing": 0.1,
}  # fmt: skip
CERTAIN = dict.fromkeys((chance for _, chance in EFFECTS), 1.0)
EVERYTHING = AugmentConfig(**STRONG, **CERTAIN)


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


def test_vertical_flip_alone_is_the_exact_mirror(image):
    flipped = apply_parameters(image, AugmentParameters(vertical_flip=True))
    assert np.array_equal(flipped, image[::-1])


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "wrap"])
@pytest.mark.parametrize("image_number", range(8))
def test_a_plane_is_filled_beyond_its_border_as_a_colour_picture_is(image, image_number, fill_mode):
    drawn = draw_parameters(
        replace(ALL, rotation_deg=180.0), seed=0, epoch=1, image_number=image_number
    )
    drawn = replace(drawn, elastic=0.05 * (image_number % 2))
    coloured = apply_parameters(image, drawn, fill_mode).astype(int)
    for channel in range(3):
        plane = apply_parameters(image[..., channel : channel + 1].copy(), drawn, fill_mode)
        assert np.abs(plane[..., 0] - coloured[..., channel]).max() <= 1


def test_elastic_moves_no_point_farther_than_its_amount_and_one_nearly_so_far():
    across = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis], 256, axis=0)[..., np.newaxis]
    for seed in range(5):
        drawn = AugmentParameters(elastic=0.04, elastic_seed=seed)  # 10.24 px
        x = apply_parameters(across, drawn)[..., 0].astype(int) - across[..., 0]
        down = across.transpose(1, 0, 2).copy()
        y = apply_parameters(down, drawn)[..., 0].astype(int) - down[..., 0]
        inside = np.s_[12:-12, 12:-12]
        assert np.hypot(x, y).max() < 10.24 + 1
        assert np.hypot(x, y).max() > 0.7 * 10.24
        assert abs(x[inside].mean()) < 1.5
        assert abs(y[inside].mean()) < 1.5


def test_a_bend_too_small_to_see_leaves_the_warp_as_it_was(image):
    straight = AugmentParameters(rotation_deg=20, shift_x=0.1, zoom_y=0.9)
    bent = replace(straight, elastic=1e-6, elastic_seed=1)
    difference = apply_parameters(image, bent).astype(int) - apply_parameters(image, straight)
    assert np.abs(difference).max() <= 2
    assert np.abs(difference).mean() < 0.1


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


def test_the_thesis_draws_the_seven_numbers_that_it_always_drew():
    unit = np.random.default_rng((3, 2, 1)).uniform(-1, 1, size=7)
    assert draw_parameters(AugmentConfig(), seed=3, epoch=2, image_number=1) == AugmentParameters(
        rotation_deg=40 * unit[0], shift_x=0.2 * unit[1], shift_y=0.2 * unit[2],
        shear_deg=0.2 * unit[3], zoom_x=1 + 0.2 * unit[4], zoom_y=1 + 0.2 * unit[5],
        flip=unit[6] < 0,
        elastic_seed=draw_parameters(NONE, seed=3, epoch=2, image_number=1).elastic_seed,
        imaging=draw_parameters(NONE, seed=3, epoch=2, image_number=1).imaging,
    )  # fmt: skip


def flatten(parameters):
    values = asdict(parameters)
    return values | values.pop("imaging")


def test_no_effect_draws_what_belongs_to_another():
    numbers = {"seed": 0, "epoch": 1, "image_number": 0}
    all_on, owners = flatten(draw_parameters(EVERYTHING, **numbers)), {}
    for amount, _ in EFFECTS:
        without = replace(EVERYTHING, **{amount: False if "flip" in amount else 0.0})
        others = flatten(draw_parameters(without, **numbers))
        own = {name for name in all_on if all_on[name] != others[name]}
        assert own, amount
        for name in own:
            assert owners.setdefault(name, amount) == amount


@pytest.mark.parametrize(("amount", "chance"), EFFECTS)
def test_an_effect_comes_as_often_as_its_chance_says(amount, chance):
    def count(probability):
        config = replace(NONE, **{amount: STRONG[amount], chance: probability})
        return sum(
            draw_parameters(config, seed=0, epoch=1, image_number=number)
            != draw_parameters(NONE, seed=0, epoch=1, image_number=number)
            for number in range(400)
        )

    assert count(0.0) == 0
    assert count(1.0) == 400
    assert 165 < count(0.5) < 235


def test_threads_and_order_of_calls_change_nothing(image):
    def augment(number):
        return augment_image(image, EVERYTHING, seed=0, epoch=1, image_number=number)

    one_by_one = [augment(number) for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(augment, reversed(range(24))))[::-1]
    assert all(map(np.array_equal, one_by_one, threaded))


@pytest.mark.parametrize("amount", [amount for amount, _ in EFFECTS])
def test_grey_stays_neutral_and_is_changed_as_one_plane_is(image, amount):
    grey = np.repeat(image[..., :1], 3, axis=2)
    config = replace(NONE, **{amount: STRONG[amount]}, **CERTAIN)
    changed = augment_image(grey, config, seed=0, epoch=1, image_number=5)
    plane = augment_image(grey[..., :1].copy(), config, seed=0, epoch=1, image_number=5)
    assert np.array_equal(changed, np.repeat(plane, 3, axis=2))
    assert not np.array_equal(changed, grey)


@pytest.mark.parametrize("channel", range(3))
def test_colour_in_a_single_channel_is_seen(image, channel):
    grey = np.repeat(image[..., :1], 3, axis=2)
    grey[..., channel] = 255 - grey[..., channel]
    assert np.array_equal(apply_parameters(grey, AugmentParameters(flip=True)), grey[:, ::-1])


def test_colour_is_kept_where_a_mark_stands_on_the_scan(image):
    grey = np.repeat(image[..., :1], 3, axis=2)
    grey[40:60, 40:60] = (200, 40, 40)
    changed = apply_parameters(grey, AugmentParameters(imaging=ImagingParameters(gain_db=6)))
    assert (changed[45, 45] == (226, 66, 66)).all()  # 25.5 greys more, to the even neighbour


@pytest.mark.parametrize("config", [ALL, EVERYTHING], ids=["geometry", "everything"])
@pytest.mark.parametrize("shape", [(30, 50, 1), (50, 30, 3), (1, 1, 1), (2, 3, 3)])
def test_shape_and_type_stay_and_the_input_is_not_touched(shape, config):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    before = image.copy()
    for number in range(5):
        augmented = augment_image(image, config, seed=0, epoch=1, image_number=number)
        assert augmented.shape == shape
        assert augmented.dtype == np.uint8
        assert np.array_equal(image, before)


def test_what_acts_is_said_in_words_and_nothing_else():
    assert describe_parameters(AugmentParameters()) == []
    said = describe_parameters(
        AugmentParameters(
            rotation_deg=-12.2, shift_x=-0.05, shift_y=0.1, shear_deg=3.0, zoom_x=1.25, zoom_y=0.8,
            flip=False, vertical_flip=True, elastic=0.012,
            imaging=ImagingParameters(
                gain_db=3.14, dynamic_range_db=52.0, depth_gain_db=-4.0, speckle=0.14, haze=0.1,
                blur=0.005, focus_depth=0.4, shadow_db=12.0, erasing=0.05,
            ),
        )
    )  # fmt: skip
    assert said == [
        "turned 12°", "moved 5 % right", "moved 10 % down", "sheared 3.0°", "20 % narrower",
        "25 % taller", "upside down", "bent 1.2 %", "gain +3.1 dB", "range −8 dB",
        "depth gain −4.0 dB", "speckle 14 %", "haze 10 %", "blur 0.5 %, focus at 40 % depth",
        "shadow −12 dB", "erased 5 %",
    ]  # fmt: skip


def test_what_would_read_as_nothing_is_left_out():
    imaging = ImagingParameters(gain_db=-0.04, depth_gain_db=0.04, speckle=0.004)
    assert describe_parameters(AugmentParameters(shear_deg=0.04, imaging=imaging)) == []


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    ("change", "axis"), [({"shift_x": 0.25}, 1), ({"shift_y": -0.25}, 0), ({"shift_x": -0.1}, 1)]
)
def test_the_words_tell_the_direction_that_the_eye_sees(change, axis, flips):
    spot = np.zeros((61, 61, 1), np.uint8)
    spot[30, 30] = 255
    drawn = AugmentParameters(**change, flip=flips[0], vertical_flip=flips[1])
    place = np.unravel_index(apply_parameters(spot, drawn, "constant").argmax(), (61, 61))[axis]
    word = {0: ("up", "down"), 1: ("left", "right")}[axis][int(place > 30)]
    assert place != 30
    assert describe_parameters(drawn)[0].endswith(word)


@pytest.mark.parametrize(("zoom_x", "word"), [(1.5, "33 % narrower"), (0.5, "100 % wider")])
def test_the_words_tell_the_size_that_the_eye_sees(zoom_x, word):
    bar = np.zeros((60, 60, 1), np.uint8)
    bar[:, 18:42] = 255
    drawn = AugmentParameters(zoom_x=zoom_x)
    width_px = (apply_parameters(bar, drawn, "constant")[30] > 127).sum()
    assert width_px == pytest.approx(24 / zoom_x, abs=1)
    assert describe_parameters(drawn) == [word]
