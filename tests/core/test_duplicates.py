from functools import partial

import cv2
import numpy as np
import pytest

from polyp_core.duplicates import (
    DESCRIPTOR_LENGTH,
    cluster_pairs,
    describe_image,
    find_near_duplicates,
)
from polyp_core.phantom import draw_parameters, render_phantom

NUM_PATIENTS = 16


def resize(image, factor):
    height_px, width_px = image.shape[:2]
    size = (round(width_px * factor), round(height_px * factor))
    smaller = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=smaller)[..., None]


def encode(image, suffix, flag, quality):
    _, data = cv2.imencode(suffix, image, [flag, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)[..., None]


def crop(image, left=0.0, top=0.0, right=0.0, bottom=0.0):
    height_px, width_px = image.shape[:2]
    rows = slice(round(top * height_px), height_px - round(bottom * height_px))
    return image[rows, round(left * width_px) : width_px - round(right * width_px)]


def change_levels(image, change):
    return np.clip(np.rint(change(image / 255) * 255), 0, 255).astype(np.uint8)


jpeg = partial(encode, suffix=".jpg", flag=cv2.IMWRITE_JPEG_QUALITY)
webp = partial(encode, suffix=".webp", flag=cv2.IMWRITE_WEBP_QUALITY)
COPIES = {
    "the same": lambda image: image.copy(),
    "half size": partial(resize, factor=0.5),
    "three quarters": partial(resize, factor=0.75),
    "one and a half": partial(resize, factor=1.5),
    "double size": partial(resize, factor=2.0),
    "JPEG 40": partial(jpeg, quality=40),
    "JPEG 70": partial(jpeg, quality=70),
    "JPEG 95": partial(jpeg, quality=95),
    "WebP 50": partial(webp, quality=50),
    "WebP 80": partial(webp, quality=80),
    "left off": partial(crop, left=0.08),
    "top off": partial(crop, top=0.08),
    "right off": partial(crop, right=0.08),
    "bottom off": partial(crop, bottom=0.08),
    "a corner off": partial(crop, left=0.05, top=0.08),
    "all sides off": partial(crop, left=0.08, top=0.08, right=0.08, bottom=0.08),
    "darker": partial(change_levels, change=lambda x: 0.7 * x),
    "brighter": partial(change_levels, change=lambda x: 1.3 * x),
    "less contrast": partial(change_levels, change=lambda x: 0.5 + 0.7 * (x - 0.5)),
    "more contrast": partial(change_levels, change=lambda x: 0.5 + 1.3 * (x - 0.5)),
    "gamma 0.7": partial(change_levels, change=lambda x: x**0.7),
    "gamma 1.3": partial(change_levels, change=lambda x: x**1.3),
    "coloured": lambda image: np.repeat(image, 3, axis=2),
    "cropped, smaller, brighter, JPEG": lambda image: jpeg(
        change_levels(resize(crop(image, left=0.05, bottom=0.04), 0.7), lambda x: 1.2 * x),
        quality=75,
    ),
}


@pytest.fixture(scope="module")
def images():
    return [render_phantom(draw_parameters(0, i + 1, 1))[..., None] for i in range(NUM_PATIENTS)]


@pytest.fixture(scope="module")
def small_images():
    """Texture of all sizes in 60 × 60, as after cutting an organ out of a larger image."""
    noise = np.random.default_rng(0).normal(size=(NUM_PATIENTS, 60, 60))
    made = []
    for picture in noise:
        mixed = sum(size * cv2.GaussianBlur(picture, (0, 0), size) for size in (1, 3, 8))
        made.append(cv2.normalize(mixed, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8))
    return [picture[..., None] for picture in made]


def describe(images):
    return np.stack([describe_image(image) for image in images])


def find_pairs(images):
    return find_near_duplicates(describe(images)).tolist()


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_each_copy_is_paired_with_its_original_and_nothing_else(images, copy):
    copies = [copy(image) for image in images]
    assert find_pairs(images + copies) == [[i, i + NUM_PATIENTS] for i in range(NUM_PATIENTS)]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_copies_of_small_images_are_found_too(small_images, copy):
    copies = [copy(image) for image in small_images]
    found = find_pairs(small_images + copies)
    assert found == [[i, i + NUM_PATIENTS] for i in range(NUM_PATIENTS)]


@pytest.mark.parametrize("name", ["half size", "JPEG 70", "all sides off", "gamma 0.7"])
def test_copies_of_images_as_small_as_28_pixels_are_found(small_images, name):
    tiny = [resize(image, 28 / 60) for image in small_images]
    found = find_pairs(tiny + [COPIES[name](image) for image in tiny])
    assert found == [[i, i + NUM_PATIENTS] for i in range(NUM_PATIENTS)]


def test_other_images_of_the_same_patient_are_not_copies(images):
    others = [
        render_phantom(draw_parameters(0, patient + 1, number))[..., None]
        for patient in range(NUM_PATIENTS)
        for number in (2, 3)
    ]
    assert find_pairs(images + others) == []


def test_images_with_hardly_any_contrast_do_not_match(images):
    faint = [change_levels(image, lambda x: 0.3 + 0.01 * x) for image in images]
    assert find_pairs(faint) == []


def test_a_mirrored_image_is_another_image(images):
    assert find_pairs([images[0], images[0][:, ::-1]]) == []


def test_blank_images_match_only_when_exactly_alike():
    levels = [np.full((200, 300, 3), level, np.uint8) for level in (0, 1, 40, 255, 40)]
    assert find_pairs(levels) == [[2, 4]]


def test_nearly_blank_images_do_not_match():
    generator = np.random.default_rng(0)
    grainy = [generator.integers(10, 16, (120, 120, 1), np.uint8) for _ in range(20)]
    assert find_pairs(grainy) == []


def test_the_same_caption_on_black_makes_no_duplicates():
    captioned = []
    for number in range(10):
        image = np.zeros((300, 400), np.uint8)
        cv2.putText(image, "HOSPITAL", (280, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255)
        cv2.putText(image, str(number), (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255)
        captioned.append(image[..., None])
    assert find_pairs(captioned) == []


def test_the_order_of_the_images_does_not_matter(images):
    mixed = images[:8] + [jpeg(resize(image, 0.8), quality=60) for image in images[4:8]]
    descriptors = describe(mixed)
    pairs = find_near_duplicates(descriptors)
    order = np.random.default_rng(0).permutation(len(mixed))
    shuffled = order[find_near_duplicates(descriptors[order])]
    assert len(pairs) == 4
    assert sorted(map(sorted, shuffled.tolist())) == pairs.tolist()


def test_a_crop_is_found_whichever_of_the_two_comes_first(images):
    cropped = crop(images[0], left=0.08, top=0.08)
    assert find_pairs([images[0], cropped]) == find_pairs([cropped, images[0]]) == [[0, 1]]


def test_the_result_is_always_the_same(images):
    descriptors = describe(images + [resize(image, 0.7) for image in images])
    assert np.array_equal(find_near_duplicates(descriptors), find_near_duplicates(descriptors))


def test_pairs_are_whole_numbers_in_order_and_none_twice(images):
    pairs = find_near_duplicates(describe([*images[:3], *images[:3], resize(images[0], 0.5)]))
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.tolist() == [[0, 3], [0, 6], [1, 4], [2, 5]]


def test_exact_copies_are_paired_with_the_first_of_them(images):
    assert find_pairs([images[0], images[1], images[0], images[0]]) == [[0, 2], [0, 3]]


def test_a_cine_loop_is_one_cluster_of_few_pairs(images):
    generator = np.random.default_rng(0)
    first = describe_image(images[0])
    loop = np.tile(first, (600, 1)).astype(int)
    loop[:, :-1] += generator.integers(-2, 3, (600, DESCRIPTOR_LENGTH - 1))
    descriptors = np.concatenate([describe(images[1:]), np.clip(loop, 0, 255).astype(np.uint8)])
    pairs = find_near_duplicates(descriptors)
    clusters = cluster_pairs(pairs, len(descriptors))
    others = NUM_PATIENTS - 1
    assert clusters.tolist() == [*range(others), *[others] * 600]
    assert len(pairs) < 2 * 600  # an image has up to five neighbours


@pytest.mark.parametrize("num_images", [0, 1])
def test_fewer_than_two_images_have_no_pairs(images, num_images):
    descriptors = np.empty((0, DESCRIPTOR_LENGTH), np.uint8)
    pairs = find_near_duplicates(np.concatenate([descriptors, describe(images)[:num_images]]))
    assert pairs.shape == (0, 2)
    assert pairs.dtype == np.int64


def test_progress_ends_at_the_number_of_images_that_differ(small_images):
    calls = []
    descriptors = np.repeat(describe(small_images), 2, axis=0)
    find_near_duplicates(descriptors, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (NUM_PATIENTS, NUM_PATIENTS)


def test_a_descriptor_is_the_mean_of_whole_pixels_and_the_shorter_side():
    blocks = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    image = np.kron(blocks, np.ones((4, 5), np.uint8))  # 192 high, 240 wide
    descriptor = describe_image(image[..., None])
    assert descriptor.dtype == np.uint8
    assert descriptor.tolist() == [*blocks.ravel().tolist(), 192]


def test_a_side_of_more_than_255_pixels_is_told_as_255():
    assert describe_image(np.zeros((300, 400, 3), np.uint8))[-1] == 255


@pytest.mark.parametrize("shape", [(1, 1, 1), (28, 28, 1), (47, 500, 3), (512, 512, 3)])
def test_every_size_has_a_descriptor_of_the_same_length_and_is_not_touched(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    before = image.copy()
    assert describe_image(image).shape == (DESCRIPTOR_LENGTH,)
    assert np.array_equal(image, before)


def test_clusters_are_named_by_their_smallest_image():
    pairs = np.array([[6, 4], [4, 2], [0, 3], [5, 6]])
    assert cluster_pairs(pairs, 8).tolist() == [0, 1, 2, 0, 2, 2, 2, 7]


def test_a_chain_in_any_order_is_one_cluster():
    chain = np.stack([np.arange(99), np.arange(1, 100)], axis=1)
    shuffled = np.random.default_rng(0).permutation(chain)[:, ::-1]
    assert cluster_pairs(shuffled, 100).tolist() == [0] * 100


@pytest.mark.parametrize("num_images", [0, 3])
def test_without_pairs_every_image_is_its_own_cluster(num_images):
    clusters = cluster_pairs(np.empty((0, 2), np.int64), num_images)
    assert clusters.dtype == np.int64
    assert clusters.tolist() == list(range(num_images))
