import cv2
import numpy as np
import pytest

from polyp_core.imaging_effects import (
    ImagingParameters,
    apply_imaging,
    find_surround,
    find_texture,
    make_soft_field,
    make_veil,
)

CHANGES = {
    "gain": {"gain_db": 6.0},
    "range": {"dynamic_range_db": 80.0},
    "depth gain": {"depth_gain_db": 12.0},
    "speckle": {"speckle": 0.5},
    "haze": {"haze": 0.4},
    "blur": {"blur": 0.02},
    "shadow": {"shadow_db": 20.0},
    "erasing": {"erasing": 0.1},
}


def change(plane, **numbers):
    return apply_imaging([plane], ImagingParameters(**numbers))[0]


def fill(grey, height_px=101, width_px=120):
    return np.full((height_px, width_px), grey, np.uint8)


def make_noise(height_px=200, width_px=240):
    return np.random.default_rng(0).integers(60, 180, (height_px, width_px)).astype(np.uint8)


def make_scan():
    """A round scan of tissue with fluid in it, black all around."""
    plane = np.zeros((200, 200), np.uint8)
    cv2.circle(plane, (100, 100), 80, 120, -1)
    cv2.circle(plane, (100, 100), 30, 0, -1)
    return plane


def test_without_numbers_nothing_changes():
    assert not ImagingParameters().acts()
    assert np.array_equal(change(make_noise()), make_noise())


@pytest.mark.parametrize("numbers", CHANGES.values(), ids=CHANGES)
def test_every_effect_acts_and_leaves_its_input_alone(numbers):
    plane = make_noise()
    assert ImagingParameters(**numbers).acts()
    assert not np.array_equal(change(plane, **numbers), plane)
    assert np.array_equal(plane, make_noise())


@pytest.mark.parametrize("numbers", CHANGES.values(), ids=CHANGES)
def test_planes_are_changed_alike(numbers):
    planes = [make_noise(), make_noise()]
    first, second = apply_imaging(planes, ImagingParameters(**numbers))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("gain_db", "grey", "expected"),
    # 255 greys are 60 dB: 6 dB are 25.5 greys; a half goes to the even neighbour.
    [(6, 100, 126), (-6, 100, 74), (6, 255, 255), (12, 210, 255), (-12, 40, 0), (12, 60, 111)],
)
def test_gain_adds_decibels_to_every_echo(gain_db, grey, expected):
    assert (change(fill(grey), gain_db=gain_db) == expected).all()


@pytest.mark.parametrize(
    ("dynamic_range_db", "grey", "expected"),
    # Half the range doubles the distance from white; 90 dB leave two thirds of it.
    [(30, 255, 255), (30, 215, 175), (30, 100, 0), (90, 105, 155), (90, 255, 255)],
)
def test_dynamic_range_stretches_the_distance_from_white(dynamic_range_db, grey, expected):
    assert (change(fill(grey), dynamic_range_db=dynamic_range_db) == expected).all()


def test_gain_counts_in_the_new_range():
    # 15 dB below white, 3 dB up, at 40 dB: 255 · (1 − 12 / 40) = 178.5, to the even neighbour.
    plane = fill(round(255 * (1 - 15 / 60)))
    changed = change(plane, gain_db=3, dynamic_range_db=40)
    assert np.abs(changed.astype(int) - 178).max() <= 1


@pytest.mark.parametrize(("depth_gain_db", "bottom"), [(-12, 149), (6, 226), (-60, 0)])
def test_depth_gain_leaves_the_top_and_acts_fully_at_the_bottom(depth_gain_db, bottom):
    changed = change(fill(200), depth_gain_db=depth_gain_db)
    assert (changed[0] == 200).all()
    assert (changed[-1] == bottom).all()


def test_depth_gain_grows_evenly_with_depth():
    rows = change(fill(200), depth_gain_db=-12)[:, 0].astype(float)
    assert np.abs(rows - np.linspace(200, 149, 101)).max() <= 0.5


def test_effects_together_are_the_sum_of_their_decibels():
    # By hand, at the bottom: 150 + 4.25 · (4 − 8) = 133.
    assert (change(fill(150), gain_db=4, depth_gain_db=-8)[-1] == 133).all()


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5])
def test_speckle_has_the_asked_spread_of_amplitude_and_keeps_its_mean(strength):
    changed = change(fill(128, 300, 300), speckle=strength, texture_seed=12345)
    amplitude = 10 ** ((changed.astype(float) - 128) / 255 * 60 / 20)
    assert amplitude.mean() == pytest.approx(1, abs=0.03)
    assert amplitude.std() / amplitude.mean() == pytest.approx(strength, rel=0.1)


def test_speckle_is_multiplied_so_that_bright_and_dark_move_by_as_many_decibels():
    dark, bright = (
        change(fill(grey), speckle=0.3, texture_seed=7).astype(int) - grey for grey in (90, 160)
    )
    assert np.array_equal(dark, bright)


def test_a_grain_of_speckle_is_longer_than_a_pixel_and_wider_than_deep():
    texture = find_texture((300, 300), 6.0, 99)

    def correlate(down, across):
        a, b = texture[: 300 - down, : 300 - across], texture[down:, across:]
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    # Noise blurred by a Gaussian correlates as exp(-d² / 4 sigma²), sigma = 6 px / 2.355.
    assert correlate(0, 3) == pytest.approx(np.exp(-(9 / 4) / (6 / 2.355) ** 2), abs=0.05)
    assert correlate(3, 0) == pytest.approx(np.exp(-(9 / 4) / (3 / 2.355) ** 2), abs=0.05)
    assert abs(correlate(0, 24)) < 0.1


def test_each_seed_has_a_texture_of_its_own():
    first, second = (find_texture((100, 100), 3.0, seed) for seed in (1000, 2001))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    assert first.std() == pytest.approx(1, abs=0.15)


def test_a_texture_is_a_window_that_moves_over_one_tile():
    at_left, moved_right = (find_texture((100, 90), 3.0, 2 * 100 * left) for left in (0, 5))
    assert np.array_equal(at_left[:, 5:], moved_right[:, :-5])
    moved_down = find_texture((100, 90), 3.0, 2 * 7)
    assert np.array_equal(at_left[7:], moved_down[:-7])


def test_haze_lies_in_its_band_of_depth_and_spares_white():
    fluid = change(fill(20, 200, 200), haze=0.4, haze_depth=0.3, texture_seed=3).astype(int)
    by_depth = fluid.mean(axis=1)
    assert abs(by_depth.argmax() / 200 - 0.3) < 0.12
    assert by_depth[-1] == pytest.approx(20, abs=2)
    assert fluid.max() <= 20 + 0.4 * 235 + 1
    assert (change(fill(255), haze=0.4) == 255).all()


def test_haze_fills_the_dark_more_than_the_bright():
    lift = [change(fill(grey), haze=0.3).astype(int).mean() - grey for grey in (20, 120, 220)]
    assert lift[0] > 2 * lift[1] - 10 > 0
    assert lift[1] > 2 * lift[2] > 0


def test_haze_lies_over_echoes_that_are_changed_already():
    haze = {"haze": 0.4, "texture_seed": 2}
    at_once = change(fill(150), depth_gain_db=-12, gain_db=3, **haze).astype(int)
    one_by_one = change(change(fill(150), depth_gain_db=-12, gain_db=3), **haze)
    assert np.abs(at_once - one_by_one).max() <= 1


def test_the_veil_is_never_denser_than_asked():
    for seed in range(10):
        veil = make_veil((80, 90), ImagingParameters(haze=0.3, texture_seed=seed))
        assert veil.min() >= 0
        assert 0.15 < veil.max() <= 0.3


def test_blur_spares_the_focus_and_grows_away_from_it():
    plane = make_noise(320, 320)
    blurred = change(plane, blur=0.02, focus_depth=0.25)
    assert np.array_equal(blurred[80:84], plane[80:84])
    spread = [blurred[top : top + 20].std() for top in (80, 120, 160, 200, 240, 300)]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < spread[0] / 2


@pytest.mark.parametrize("focus_depth", [0.0, 0.25])
def test_the_widest_blur_has_the_asked_width(focus_depth):
    plane = np.zeros((320, 400), np.uint8)
    plane[:, 200] = 255
    row = change(plane, blur=0.02, focus_depth=focus_depth)[-1].astype(float)
    places = np.arange(400) - 200
    sigma_px = np.sqrt((row * places**2).sum() / row.sum())
    # 2 % of 400 px are 8 px at the bottom; the last of 16 zones has its middle at 31/32.
    expected_px = 8 * (31 / 32 - focus_depth) / (1 - focus_depth)
    assert sigma_px == pytest.approx(expected_px, rel=0.05)


def test_blur_is_across_the_beam_alone():
    plane = np.zeros((100, 100), np.uint8)
    plane[90] = 200
    assert np.array_equal(change(plane, blur=0.05, focus_depth=0.0), plane)


def test_a_shadow_darkens_behind_its_place_alone():
    numbers = {"shadow_x": 0.5, "shadow_depth": 0.4, "shadow_width": 0.1}
    plane = fill(200, 200, 200)
    shaded = change(plane, shadow_db=12, **numbers)
    assert np.array_equal(shaded[:80], plane[:80])  # above
    assert (shaded[:, :70] == 200).all()  # beside
    assert (shaded[:, 130:] == 200).all()
    assert (shaded[110:, 98:102] == 149).all()  # behind: 12 dB are 51 greys
    assert (shaded <= plane).all()
    edge = shaded[-1, 80:101].astype(int)
    assert (np.diff(edge) <= 0).all()  # soft at its side
    assert np.abs(np.diff(edge)).max() < 25


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("across", "down"), [(0.0, 0.0), (0.5, 0.3), (1.0, 1.0)])
def test_erasing_paints_a_rectangle_of_the_asked_area_with_the_mean(aspect, across, down):
    plane = np.zeros((200, 300), np.uint8)
    plane[:, ::2] = 200  # mean 100, a grey it does not have
    erased = change(plane, erasing=0.1, erasing_aspect=aspect, erasing_x=across, erasing_y=down)
    rows, columns = np.nonzero(erased == 100)
    height_px, width_px = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height_px * width_px  # a rectangle, wholly inside
    assert len(rows) == pytest.approx(0.1 * 200 * 300, rel=0.02)
    assert (width_px / 300) / (height_px / 200) == pytest.approx(aspect, rel=0.03)
    assert np.array_equal(erased[erased != 100], plane[erased != 100])


@pytest.mark.parametrize("name", ["gain", "range", "depth gain", "speckle", "haze"])
def test_the_black_around_a_scan_stays_black(name):
    scan = make_scan()
    changed = change(scan, **CHANGES[name], texture_seed=5)
    outside = cv2.circle(np.ones_like(scan), (100, 100), 82, 0, -1).astype(bool)
    assert (changed[outside] == 0).all()
    assert changed[100, 30] != 120  # tissue does change


def test_fluid_within_the_scan_brightens_with_the_gain():
    assert change(make_scan(), gain_db=6)[100, 100] == 26


def test_the_noise_of_a_jpeg_around_a_scan_is_not_lifted():
    scan = make_scan()
    noise = np.random.default_rng(0).integers(0, 6, scan.shape).astype(np.uint8)
    scan = np.where(scan == 120, scan, noise)
    changed = change(scan, gain_db=12)
    assert np.array_equal(changed[:15], scan[:15])


def test_a_picture_without_black_has_no_surround():
    assert not find_surround(fill(30)).any()
    assert find_surround(fill(0)).all()


def test_fields_are_centred_and_their_longest_vector_is_one():
    for seed in range(5):
        field = make_soft_field(seed, 2)
        assert np.abs(field.mean(axis=(0, 1))).max() < 1e-6
        assert np.linalg.norm(field, axis=2).max() == pytest.approx(1)
    assert not np.array_equal(make_soft_field(1, 2), make_soft_field(2, 2))
