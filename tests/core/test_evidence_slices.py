from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, hypergeom

from polyp_core.evidence.slices import (
    find_columns,
    join_index,
    list_slices,
)
from polyp_core.metrics import evaluate

NUM_DRAWS = 1999


def make_table(labels, is_wrong, **columns) -> pd.DataFrame:
    """Predictions that are wrong, at a threshold of one half, where they are told to be."""
    labels = np.asarray(labels)
    probabilities = np.where(labels ^ np.asarray(is_wrong), 0.9, 0.1)
    return pd.DataFrame({"label": labels, "probability": probabilities, "group": "", **columns})


def draw_table(seed: int, num_patients: int, num_images: int) -> pd.DataFrame:
    """Patients of one label with errors of their own, in wards that have nothing to do with them.

    Every ward has its own share of positives.
    """
    random = np.random.default_rng(seed)
    wards = random.integers(0, 3, num_patients)
    labels = (random.random(num_patients) < 0.2 + 0.25 * wards).astype(int)
    proneness = np.where(labels, random.beta(2, 2, num_patients), random.beta(1, 5, num_patients))
    patients = np.repeat(np.arange(num_patients), num_images)
    is_wrong = random.random(len(patients)) < proneness[patients]
    return make_table(labels[patients], is_wrong, ward=wards[patients].astype(str)).assign(
        group=[f"p{i}" for i in patients]
    )


def slice_by(table: pd.DataFrame, column: str, threshold: float, **settings):
    (found,) = list_slices(table, [column], threshold, **settings)
    return found


# The index joined


@pytest.fixture
def images() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["a", "a", "b", "c"], "frame": [0, 1, 0, 0], "label": [1, 1, 0, 0],
            "width_px": [10, 10, 20, 30], "column.scanner": ["A", "A", "B", ""],
        }
    )  # fmt: skip


def test_predictions_get_what_the_index_knows_and_keep_their_order(images):
    predictions = pd.DataFrame(
        {"path": ["c", "a", "a"], "frame": [0, 1, 0], "label": [0, 1, 0], "probability": 0.5},
        index=[7, 3, 5],
    )
    joined = join_index(predictions, images.assign(number=images.index))
    assert joined.index.tolist() == [7, 3, 5]
    assert joined["width_px"].tolist() == [30, 10, 10]
    assert joined["column.scanner"].tolist() == ["", "A", "A"]
    assert joined["number"].tolist() == [3, 1, 0]
    assert joined["label"].tolist() == [0, 1, 0], "what they know themselves is kept"
    assert joined[predictions.columns].equals(predictions)


def test_predictions_and_index_of_an_older_version_have_no_frame(images):
    predictions = pd.DataFrame({"path": ["b", "a"], "probability": [0.1, 0.2]})
    assert join_index(predictions, images)["width_px"].tolist() == [20, 10]
    old = images.drop(columns="frame").drop_duplicates("path")
    assert join_index(predictions.assign(frame=0), old)["width_px"].tolist() == [20, 10]


def test_an_image_that_the_index_does_not_list_stays_without_values(images):
    predictions = pd.DataFrame({"path": ["b", "gone"], "frame": 0})
    joined = join_index(predictions, pd.concat([images, images]))
    assert len(joined) == 2
    assert joined["column.scanner"].tolist() == ["B", ""]
    assert np.isnan(joined["width_px"][1])


# Columns and their slices


def test_columns_are_found_where_they_make_at_least_two_slices():
    n = 60
    table = make_table(
        np.arange(n) % 2, np.zeros(n, bool),
        path=[f"{i}.png" for i in range(n)], frame=range(n), split=["validation", "test"] * 30,
        width_px=range(n), height_px=480, brightness=np.linspace(0, 1, n), contrast=np.nan,
        sha256=[str(i) for i in range(n)],
    ).assign(**{
        "column.scanner": ["A", "B", ""] * 20, "column.age": [str(i) for i in range(n)],
        "column.grade": ["1", "2", "2"] * 20, "column.site": "Vienna", "column.empty": "",
        "column.report": [f"text {i}" for i in range(n)], "column.few": ["NA"] * 59 + ["x"],
    })  # fmt: skip
    assert find_columns(table) == {
        "width_px": "width (px)", "brightness": "brightness", "column.scanner": "scanner",
        "column.age": "age", "column.grade": "grade", "column.few": "few",
    }  # fmt: skip
    assert find_columns(table[["label", "probability"]]) == {}
    assert find_columns(table[:0]) == {}


@pytest.mark.parametrize(
    ("values", "slices", "counts"),
    [
        (["B", "A", "B", " ", "n/a", None], ["A", "B", "not known"], [1, 2, 3]),
        (["10", "9", "10", "9", "", "2"], ["2", "9", "10", "not known"], [1, 2, 2, 1]),
        ([10.0, 9.0, 10.0, 9.0, np.nan, 2.0], ["2", "9", "10", "not known"], [1, 2, 2, 1]),
        (list(range(640, 649)), ["640 to 642", "643 to 645", "646 to 648"], [3, 3, 3]),
        ([*map(str, range(8)), "", "nan"], ["0 to 2", "3 to 4", "5 to 7", "not known"],
         [3, 2, 3, 2]),
        ([0.123456 * i for i in range(6)], ["0 to 0.1235", "0.2469 to 0.3704", "0.4938 to 0.6173"],
         [2, 2, 2]),
        ([0] * 20 + [1, 2, 3, 4, 5], ["0", "1 to 5"], [20, 5]),
        ([9] * 20 + [1, 2, 3, 4, 5], ["1 to 5", "9"], [5, 20]),
        ([123456.7 + i for i in range(6)], ["123457 to 123458", "123459 to 123460",
         "123461 to 123462"], [2, 2, 2]),
        (["7 mm", "12 mm", "7 mm"], ["12 mm", "7 mm"], [1, 2]),
        ([None, ""], ["not known"], [2]),
    ],
)  # fmt: skip
def test_slices_in_words(values, slices, counts):
    table = make_table([1] * len(values), [False] * len(values), it=pd.Series(values, dtype=object))
    rows = slice_by(table, "it", 0.5).rows
    assert rows["slice"].tolist() == slices
    assert rows["n"].tolist() == counts


def test_the_number_of_parts_is_chosen():
    table = make_table([1] * 20, [False] * 20, it=range(20))
    rows = slice_by(table, "it", 0.5, num_bins=4).rows
    assert rows["slice"].tolist() == ["0 to 4", "5 to 9", "10 to 14", "15 to 19"]


def test_each_slice_has_the_numbers_of_its_images():
    table = draw_table(0, 40, 3)
    table["probability"] = np.random.default_rng(0).random(120)
    rows = slice_by(table, "ward", 0.4).rows.set_index("slice")
    for ward in "012":
        own = table[table["ward"] == ward]
        labels, probabilities = own["label"].to_numpy(), own["probability"].to_numpy()
        expected = evaluate(labels, probabilities, 0.4, own["group"].factorize()[0])
        for name in ("accuracy", "sensitivity", "specificity", "auc"):
            metric = rows.loc[ward, name]
            assert metric["value"] == expected[name].value
            assert (metric["low"], metric["high"]) == (expected[name].low, expected[name].high)
        assert rows.loc[ward, "positives"] == labels.sum()
        assert rows.loc[ward, "patients"] == own["group"].nunique()
    assert rows["n"].sum() == 120


def test_a_slice_of_one_class_says_what_it_has_not():
    table = make_table([1, 1, 0, 0], [True, False, False, False], it=list("AABB"))
    positive, negative = slice_by(table, "it", 0.5).rows.to_dict("records")
    assert positive["specificity"]["reason"] == "No image of this slice is negative."
    assert negative["sensitivity"]["reason"] == "No image of this slice is positive."
    assert negative["auc"]["reason"] == "All images of this slice are of one class."
    assert "reason" not in positive["sensitivity"]
    assert positive["sensitivity"]["value"] == 0.5


# More than chance


@pytest.mark.parametrize(("wrong_here", "wrong_there"), [(0, 3), (1, 5), (2, 4), (6, 1), (3, 4)])
def test_p_value_of_two_slices_is_that_of_the_exact_test(wrong_here, wrong_there):
    here, there = 12, 10  # images, all positive
    is_wrong = np.arange(22) < wrong_here
    is_wrong |= (np.arange(22) >= here) & (np.arange(22) < here + wrong_there)
    found = slice_by(make_table([1] * 22, is_wrong, it=list("A" * here + "B" * there)), "it", 0.5)
    total = wrong_here + wrong_there
    possible = np.arange(max(0, total - there), min(here, total) + 1)
    distance = np.abs(possible - total * here / 22)  # Pearson's statistic grows with it
    is_reached = distance >= distance[possible == wrong_here] - 1e-9
    expected = hypergeom.pmf(possible, 22, total, here)[is_reached].sum()
    assert found.p_value == pytest.approx(expected, abs=0.03)


def test_p_value_of_many_images_is_that_of_the_chi_square_test():
    random = np.random.default_rng(4)
    places = random.integers(0, 3, 900)
    is_wrong = random.random(900) < np.array([0.2, 0.23, 0.27])[places]
    found = slice_by(make_table([0] * 900, is_wrong, it=places.astype(str)), "it", 0.5)
    expected = chi2_contingency(pd.crosstab(places, is_wrong), correction=False).pvalue
    assert 0.02 < expected < 0.6
    assert found.p_value == pytest.approx(expected, abs=0.03)


def test_p_value_is_that_of_every_way_to_exchange_patients_of_one_label():
    # Three slices, patients of one to four images; the positives and the negatives apart.
    sizes, wrong = [4, 2, 1, 3, 2, 1], [4, 1, 0, 1, 0, 1]
    places, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 1, 0, 0])
    patients = np.repeat(np.arange(6), sizes)
    is_wrong = np.concatenate([np.arange(size) < num for size, num in zip(sizes, wrong)])  # noqa: B905
    table = make_table(labels[patients], is_wrong, it=places[patients].astype(str))
    table["group"] = [f"p{i}" for i in patients]

    def measure(order: list[int]) -> float:
        statistic = 0.0
        for label in (0, 1):
            share = sum(np.array(wrong)[labels == label]) / sum(np.array(sizes)[labels == label])
            for place in range(3):
                own = [i for i, at in zip(order, places, strict=True)
                       if at == place and labels[i] == label]  # fmt: skip
                n, k = sum(sizes[i] for i in own), sum(wrong[i] for i in own)
                statistic += (k - n * share) ** 2 / (n * share * (1 - share)) if n else 0.0
        return statistic

    ways = [measure([*positives, *negatives]) for positives in permutations(range(4))
            for negatives in permutations((4, 5))]  # fmt: skip
    expected = np.mean(np.array(ways) >= measure(list(range(6))) - 1e-9)
    assert 0.1 < expected < 0.9
    assert slice_by(table, "it", 0.5).p_value == pytest.approx(expected, abs=0.03)


def test_images_repeated_within_their_patient_are_no_more_evidence():
    once = draw_table(3, 60, 1)
    often = once.loc[np.repeat(once.index, 7)]
    whole, apart = (
        slice_by(table, "ward", 0.5).p_value for table in (often, often.assign(group=""))
    )
    assert whole == slice_by(once, "ward", 0.5).p_value
    assert apart < whole / 3


def test_patients_that_err_alike_seldom_make_a_difference_that_is_none():
    # Of columns that tell nothing 5 % may have a p value of at most 0.05; here 8 images a patient.
    p_values = [slice_by(draw_table(s, 40, 8), "ward", 0.5).p_value for s in range(100)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert 0.35 < np.mean(p_values) < 0.65


def test_a_slice_with_more_positives_is_no_difference():
    labels = np.repeat([1, 0], 50)
    is_wrong = np.arange(100) % 50 < np.where(labels, 20, 2)
    found = slice_by(make_table(labels, is_wrong, it=labels.astype(str)), "it", 0.5)
    assert [row["value"] for row in found.rows["accuracy"]] == [0.96, 0.6]
    assert found.p_value == 1.0


@pytest.mark.parametrize("num_images", [1, 4])
def test_a_scanner_on_which_the_model_fails_is_found(num_images):
    table = draw_table(5, 200, num_images)
    scanner = np.repeat(np.arange(200) % 4 == 0, num_images)
    failed = scanner & (np.arange(len(table)) % 3 > 0)
    table["probability"] = np.where(failed, 1 - table["label"], table["probability"])
    table["scanner"] = np.where(scanner, "B", "A")
    ward, found = list_slices(table, ["ward", "scanner"], 0.5)
    assert found.differs
    assert found.p_value == 1 / (NUM_DRAWS + 1)
    assert found.corrected_p_value == 2 / (NUM_DRAWS + 1)
    assert not ward.differs


def test_p_values_are_corrected_by_holm():
    table = draw_table(6, 90, 2)
    random = np.random.default_rng(6)
    bias = (table["probability"] > 0.5).to_numpy()
    for number, strength in enumerate((0.0, 0.15, 0.25, 0.3)):
        table[f"c{number}"] = np.where(bias & (random.random(180) < strength), "x", "y")
    columns = ["c0", "ward", "c2", "c1", "c3"]
    found = list_slices(table, columns, 0.5)
    assert [item.column for item in found] == columns
    expected, highest = {}, 0.0
    for number, item in enumerate(sorted(found, key=lambda item: item.p_value)):
        highest = max(highest, min(1.0, item.p_value * (5 - number)))
        expected[item.column] = highest
    assert {item.column: item.corrected_p_value for item in found} == pytest.approx(expected)
    assert 0 < min(expected.values()) < max(expected.values())
    alone = slice_by(table, "ward", 0.5)
    assert alone.corrected_p_value == alone.p_value
    assert replace(alone, corrected_p_value=None).differs is False


def test_the_same_table_gives_the_same_p_value():
    table = draw_table(7, 50, 3)
    p_values = {slice_by(table, "ward", 0.5).p_value for _ in range(3)}
    shuffled = table.set_index(np.arange(1000, 1150))
    assert p_values == {slice_by(shuffled, "ward", 0.5).p_value}


def test_what_cannot_be_asked_says_why():
    table = make_table([1, 1, 0, 0], [False] * 4, it=list("ABAB"))
    (found,) = list_slices(table, ["it"], 0.5)
    assert (found.p_value, found.corrected_p_value, found.differs) == (None, None, False)
    assert found.reason == "No image is judged wrongly, so no slice can differ."
    assert found.rows["n"].tolist() == [2, 2]
    table = make_table([1, 1, 0, 0], [True, False] * 2, it=list("ABAB")).assign(group=list("ppqq"))
    (found,) = list_slices(table, ["it"], 0.5)
    assert found.reason == (
        "There are too few patients to ask whether a slice differs by more than chance."
    )
    assert list_slices(table, [], 0.5) == []
    (found,) = list_slices(table[:0], ["it"], 0.5)
    assert found.rows.empty
