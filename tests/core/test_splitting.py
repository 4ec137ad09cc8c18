import numpy as np
import pandas as pd
import pytest

from polyp_core.splitting import divide, draw_test, find_units


def make_images(groups: list[str], labels: list[int], splits: list[str] | None = None):
    n = len(groups)
    return pd.DataFrame(
        {
            "path": [f"{i:03}.png" for i in range(n)],
            "frame": 0,
            "label": labels,
            "group": groups,
            "split": splits or ["train"] * n,
            "sha256": [f"{i}" for i in range(n)],
        }
    )


@pytest.fixture
def images():
    """Forty patients of three images, every second one positive."""
    groups = [f"p{i // 3:02}" for i in range(120)]
    return make_images(groups, [i // 3 % 2 for i in range(120)])


@pytest.mark.parametrize("seed", range(5))
def test_patients_stay_whole_and_classes_keep_their_share(images, seed):
    split = images.assign(split=divide(images, 0.25, seed))
    assert (split.groupby("group")["split"].nunique() == 1).all()
    for _, rows in split.groupby("label"):
        assert (rows["split"] == "validation").sum() == 15


def test_the_seed_decides_and_nothing_else(images):
    assert divide(images, 0.25, 1) == divide(images, 0.25, 1) != divide(images, 0.25, 2)
    shuffled = images.sample(frac=1, random_state=0)
    again = pd.Series(divide(shuffled.reset_index(drop=True), 0.25, 1), index=shuffled.index)
    assert list(again.sort_index()) == divide(images, 0.25, 1)


def test_copies_and_given_pairs_stay_together_with_their_patients(images):
    images.loc[[0, 50], "sha256"] = "same"
    pairs = np.array([[50, 100]])
    for seed in range(20):
        split = divide(images, 0.25, seed, pairs)
        together = [i for i in range(120) if images["group"][i] in ("p00", "p16", "p33")]
        assert len({split[i] for i in together}) == 1


def test_units_by_hand():
    images = make_images(["a", "a", "", "", "b"], [0] * 5)
    images.loc[[2, 4], "sha256"] = "same"
    assert list(find_units(images)) == [0, 0, 2, 3, 2]
    assert list(find_units(images, np.array([[1, 3]]))) == [0, 0, 2, 0, 2]


def test_what_is_tied_to_a_test_image_becomes_a_test_image(images):
    images.loc[0, "split"] = "test"
    split = divide(images, 0.25, 0, np.array([[2, 3]]))
    assert [i for i, name in enumerate(split) if name == "test"] == [0, 1, 2, 3, 4, 5]


def make_units(*sizes: int, splits: list[str] | None = None) -> pd.DataFrame:
    """Both classes with a patient of each of these sizes."""
    groups, labels = [], []
    for label in (0, 1):
        for patient, size in enumerate(sizes):
            groups += [f"c{label}p{patient}"] * size
            labels += [label] * size
    return make_images(groups, labels, splits)


@pytest.mark.parametrize("seed", range(40))
def test_a_patient_of_most_images_is_not_taken_where_few_are_wanted(seed):
    # 14 of 70 are wanted of each class; all small patients together have 10.
    images = make_units(60, 2, 2, 2, 2, 2)
    split = images.assign(split=divide(images, 0.2, seed))
    assert (split["split"] == "validation").sum() == 20
    assert set(split["group"][split["split"] == "train"]) == {"c0p0", "c1p0"}


@pytest.mark.parametrize("seed", range(10))
def test_the_smallest_is_taken_where_each_is_too_large(seed):
    images = make_units(30, 20, 25)  # 7.5 of 75 are wanted
    split = images.assign(split=divide(images, 0.1, seed))
    assert set(split["group"][split["split"] == "validation"]) == {"c0p1", "c1p1"}


@pytest.mark.parametrize("seed", range(5))
def test_a_test_set_drawn_anew_keeps_its_share_and_what_was_wholly_in_it(images, seed):
    # A fifth is test: two whole patients, and an image each of eighteen others.
    single = range(6, 60, 3)
    images.loc[[*range(6), *single], "split"] = "test"
    drawn = images.assign(split=draw_test(images, seed))
    assert (drawn.groupby("group")["split"].nunique() == 1).all()
    assert set(drawn["split"][:6]) == {"test"}
    for _, rows in drawn.groupby("label"):
        assert (rows["split"] == "test").sum() == 12
    assert set(drawn["split"]) == {"train", "test"}


def test_a_test_set_drawn_anew_leaves_two_patients_of_each_class():
    images = make_units(1, 1, 1, 1, splits=["test", "test", "test", "train"] * 2)
    drawn = draw_test(images, 0)
    assert drawn[3] == drawn[7] == "train"
    assert drawn[:4].count("test") == drawn[4:].count("test") == 2


def test_each_class_has_something_on_both_sides_even_of_two():
    images = make_images(["a", "b", "c", "d"], [0, 0, 1, 1])
    for seed in range(20):
        split = divide(images, 0.25, seed)
        assert sorted(split[:2]) == sorted(split[2:]) == ["train", "validation"]
