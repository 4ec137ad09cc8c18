import numpy as np
import pandas as pd
import pytest

from polyp_core.errors import DatasetError
from polyp_core.splitting import divide, divide_folds, draw_share, draw_test, find_units


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


def make_cohort(seed: int, num_patients: int = 40) -> pd.DataFrame:
    """Patients of one to nine images; a third positive, a few with images of both classes."""
    generator = np.random.default_rng(seed)
    groups, labels = [], []
    for patient in range(num_patients):
        size = int(generator.integers(1, 10))
        groups += [f"p{patient:02}"] * size
        of_patient = np.full(size, int(patient % 3 == 0))
        if patient % 7 == 0:
            of_patient[: size // 2] ^= 1
        labels += of_patient.tolist()
    return make_images(groups, labels)


@pytest.mark.parametrize("num_folds", [2, 3, 5])
@pytest.mark.parametrize("seed", range(10))
def test_folds_part_no_patient_and_each_holds_both_classes(seed, num_folds):
    cohort = make_cohort(seed)
    dealt = cohort.assign(fold=divide_folds(cohort, num_folds, seed))
    assert (dealt.groupby("group")["fold"].nunique() == 1).all()
    table = pd.crosstab(dealt["fold"], dealt["label"])
    assert table.index.tolist() == list(range(1, num_folds + 1))
    assert (table > 0).all().all()


@pytest.mark.parametrize("seed", range(10))
def test_folds_differ_by_no_more_than_the_largest_patient(seed):
    # Known of this greedy rule: of pure units, the fullest fold was the emptiest before its last.
    cohort = make_cohort(seed)
    cohort = cohort[cohort.groupby("group")["label"].transform("nunique") == 1]
    cohort = cohort.reset_index(drop=True)
    dealt = cohort.assign(fold=divide_folds(cohort, 5, seed))
    for _, rows in dealt.groupby("label"):
        sizes = rows.groupby("fold").size()
        assert sizes.max() - sizes.min() <= rows.groupby("group").size().max()


def test_folds_are_as_even_as_those_of_scikit_learn():
    from sklearn.model_selection import StratifiedGroupKFold

    def measure_unevenness(images: pd.DataFrame, folds: list[int]) -> float:
        return float(pd.crosstab(pd.Series(folds), images["label"]).std(ddof=0).sum())

    ours, theirs = [], []
    for seed in range(30):
        cohort = make_cohort(seed)
        ours.append(measure_unevenness(cohort, divide_folds(cohort, 5, seed)))
        folds = np.zeros(len(cohort), int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        parts = splitter.split(cohort, cohort["label"], cohort["group"])
        for number, (_, positions) in enumerate(parts, start=1):
            folds[positions] = number
        theirs.append(measure_unevenness(cohort, folds.tolist()))
    assert np.mean(ours) <= np.mean(theirs)


def test_folds_of_equal_patients_are_equal(images):
    dealt = images.assign(fold=divide_folds(images, 5, 3))
    assert (dealt.groupby(["fold", "label"]).size() == 12).all()


def test_folds_by_hand():
    # Sizes 5, 3, 2 of each class in two folds: 5 here, 3 + 2 there, whatever the seed.
    images = make_units(2, 5, 3)
    for seed in range(10):
        dealt = images.assign(fold=divide_folds(images, 2, seed)).drop_duplicates("group")
        fold = dealt.set_index("group")["fold"]
        for label in (0, 1):
            assert fold[f"c{label}p0"] == fold[f"c{label}p2"] != fold[f"c{label}p1"]


def test_folds_hold_both_classes_where_every_patient_has_both():
    images = make_images([f"p{i // 2}" for i in range(12)], [0, 1] * 6)
    for seed in range(10):
        dealt = images.assign(fold=divide_folds(images, 3, seed))
        assert (dealt.groupby(["fold", "label"]).size() == 2).all()


def test_folds_are_decided_by_the_seed_and_not_by_the_order_of_the_images(images):
    assert divide_folds(images, 5, 1) == divide_folds(images, 5, 1) != divide_folds(images, 5, 2)
    shuffled = images.sample(frac=1, random_state=0)
    again = divide_folds(shuffled.reset_index(drop=True), 5, 1)
    assert list(pd.Series(again, index=shuffled.index).sort_index()) == divide_folds(images, 5, 1)


def test_copies_and_given_pairs_are_of_one_fold(images):
    images.loc[[0, 50], "sha256"] = "same"
    for seed in range(20):
        folds = divide_folds(images, 4, seed, np.array([[50, 100]]))
        assert (
            len({folds[i] for i in range(120) if images["group"][i] in ("p00", "p16", "p33")}) == 1
        )


def test_test_images_and_what_is_tied_to_them_are_of_no_fold(images):
    images.loc[0, "split"] = "test"
    folds = divide_folds(images, 5, 0, np.array([[2, 3]]))
    assert [i for i, fold in enumerate(folds) if fold == 0] == [0, 1, 2, 3, 4, 5]


def test_more_folds_than_patients_of_a_class_are_refused():
    images = make_images(["a", "b", "c", "c", "d", "e", "f"], [1, 1, 1, 1, 0, 0, 0])
    assert set(divide_folds(images, 3, 0)) == {1, 2, 3}
    with pytest.raises(DatasetError) as raised:
        divide_folds(images, 4, 0)
    assert str(raised.value) == (
        "There are too few images for 4 folds: those of one class come from 3 patients (or image, "
        "where patients are unknown; near-copies count as one). Expected at least one for each "
        "fold and class. Use fewer folds, or add images. Received: num_folds=4"
    )


SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_sample_lies_within_a_larger_one_and_keeps_patients_and_classes(images, seed):
    smaller = np.zeros(len(images), bool)
    for share in SHARES:
        sample = draw_share(images, share, seed)
        assert not (smaller & ~sample).any()
        assert (images.assign(sample=sample).groupby("group")["sample"].nunique() == 1).all()
        for _, rows in images.assign(sample=sample).groupby("label"):
            assert rows["sample"].sum() == 60 * share
        smaller = sample
    assert smaller.all()


def test_patients_of_all_sizes_give_a_sample_next_to_the_share():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 12, 50)
    groups = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    images = make_images(groups, [int(name[1:]) % 2 for name in groups])
    for seed in range(10):
        smaller = np.zeros(len(images), bool)
        for share in SHARES:
            sample = draw_share(images, share, seed)
            assert not (smaller & ~sample).any()
            # A patient more or less would not come nearer.
            for _, rows in images.assign(sample=sample).groupby("label"):
                assert abs(rows["sample"].sum() - share * len(rows)) <= 11 / 2
            smaller = sample


def test_a_sample_has_both_classes_and_copies_stay_together(images):
    images.loc[[0, 50], "sha256"] = "same"
    for seed in range(20):
        sample = draw_share(images, 0.01, seed)
        assert set(images["label"][sample]) == {0, 1}
        together = images["group"].isin(["p00", "p16"])
        assert sample[together].all() or not sample[together].any()


def test_images_without_patients_are_drawn_one_by_one():
    images = make_images([""] * 40, [0] * 30 + [1] * 10)
    sample = draw_share(images, 0.5, 0)
    assert (sample[:30].sum(), sample[30:].sum()) == (15, 5)


def test_a_sample_depends_on_its_seeds_alone(images):
    once = draw_share(images, 0.5, (3, 1))
    assert (draw_share(images, 0.5, (3, 1)) == once).all()
    for other in ((3, 2), (4, 1)):
        assert (draw_share(images, 0.5, other) != once).any()
    shuffled = images.sample(frac=1, random_state=0)
    again = pd.Series(draw_share(shuffled, 0.5, (3, 1)), index=shuffled.index)
    assert (again.sort_index().to_numpy() == once).all()
