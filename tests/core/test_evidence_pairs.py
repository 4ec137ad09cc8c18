from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from polyp_core.evidence.pairs import (
    compare_auc,
    compare_decisions,
    match_predictions,
    number_clusters,
)

Z = norm.ppf(0.975)


def draw_pair(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' probabilities, correlated, and rounded so that there are ties."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 3 == 0).astype(int)
    shared = random.normal(0.4 + 0.2 * labels, 0.2)
    a, b = (np.round(np.clip(shared + random.normal(0, 0.15, n), 0, 1), 1) for _ in "ab")
    return labels, a, b


# The difference of two AUCs


def compare_by_definition(labels, a, b):
    """DeLong, DeLong and Clarke-Pearson (1988), equations 4 to 8: every pair compared, no ranks."""
    v10, v01 = [], []
    for values in (a, b):
        x, y = values[labels == 1], values[labels == 0]
        psi = [[1.0 if yj < xi else 0.5 if yj == xi else 0.0 for yj in y] for xi in x]
        v10.append(np.mean(psi, axis=1))
        v01.append(np.mean(psi, axis=0))
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    difference, contrast = v10[1].mean() - v10[0].mean(), np.array([-1, 1])
    error = np.sqrt(contrast @ covariance @ contrast)
    return difference, error, 2 * norm.sf(abs(difference) / error)


@pytest.mark.parametrize("seed", range(8))
def test_difference_of_auc_is_that_of_delong_by_pairs(seed):
    labels, a, b = draw_pair(seed)
    value, error, p_value = compare_by_definition(labels, a, b)
    found = compare_auc(labels, a, b)
    assert found["value"] == pytest.approx(value, abs=1e-12)
    assert found["value"] == pytest.approx(
        roc_auc_score(labels, b) - roc_auc_score(labels, a), abs=1e-12
    )
    assert found["low"] == pytest.approx(value - Z * error, abs=1e-9)
    assert found["high"] == pytest.approx(value + Z * error, abs=1e-9)
    assert found["p_value"] == pytest.approx(p_value, abs=1e-9)
    assert found["n"] == 60
    assert "reason" not in found


# Albumin, total protein, K-G score and whether the patient died, of 43 patients with ovarian
# cancer: the data of DeLong et al. (1988) as SAS/STAT prints them, PROC LOGISTIC, "Comparing
# Receiver Operating Characteristic Curves".
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


def test_difference_of_auc_is_that_which_sas_prints_for_delongs_own_data():
    albumin, protein, score, labels = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    found = compare_auc(labels, -score, albumin)
    assert [round(found[key], 4) for key in ("value", "low", "high", "p_value")] == [
        0.0108, -0.1761, 0.1976, 0.9102,
    ]  # fmt: skip
    found = compare_auc(labels, -score, protein)
    assert [round(found[key], 4) for key in ("value", "low", "high", "p_value")] == [
        -0.0780, -0.2830, 0.1271, 0.4561,
    ]  # fmt: skip


def estimate_error_by_patients(labels, a, b, groups):
    """Obuchowski (1997), section 3, patient by patient, for the difference of two AUCs."""
    values = []
    for probabilities in (a, b):
        x, y = probabilities[labels == 1], probabilities[labels == 0]
        psi = (x[:, None] > y) + 0.5 * (x[:, None] == y)
        values.append((psi.mean(), psi.mean(axis=1), psi.mean(axis=0)))
    theta = values[1][0] - values[0][0]
    v10, v01 = values[1][1] - values[0][1], values[1][2] - values[0][2]
    m, n = len(v10), len(v01)
    of_positives, of_negatives = groups[labels == 1], groups[labels == 0]
    names = set(groups)
    s10 = s01 = s11 = 0.0
    for name in names:
        above = (v10[of_positives == name] - theta).sum()
        below = (v01[of_negatives == name] - theta).sum()
        s10, s01, s11 = s10 + above**2, s01 + below**2, s11 + above * below
    i10, i01, i = len(set(of_positives)), len(set(of_negatives)), len(names)
    s10 *= i10 / ((i10 - 1) * m)
    s01 *= i01 / ((i01 - 1) * n)
    s11 *= i / (i - 1)
    return np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))


@pytest.mark.parametrize("seed", range(4))
def test_with_patients_the_interval_of_the_auc_is_obuchowskis(seed):
    labels, a, b = draw_pair(seed)
    groups = np.array([f"p{i}" for i in np.random.default_rng(seed).integers(0, 20, 60)])
    error = estimate_error_by_patients(labels, a, b, groups)
    found = compare_auc(labels, a, b, groups)
    assert found["high"] - found["low"] == pytest.approx(2 * Z * error, abs=1e-9)
    assert found["p_value"] == pytest.approx(2 * norm.sf(abs(found["value"]) / error), abs=1e-9)


def test_one_image_a_patient_is_the_same_as_no_patients():
    labels, a, b = draw_pair(0)
    alone, unknown = [f"p{i}" for i in range(60)], [""] * 60
    expected = compare_auc(labels, a, b)
    assert compare_auc(labels, a, b, alone) == expected
    assert compare_auc(labels, a, b, unknown) == expected


def test_images_repeated_within_their_patient_add_no_certainty():
    labels, a, b = draw_pair(1)
    groups = np.array([f"p{i}" for i in range(60)])
    expected = compare_auc(labels, a, b)
    repeated = [np.repeat(values, 5) for values in (labels, a, b, groups)]
    found = compare_auc(*repeated)
    assert found["n"] == 300
    for key in ("value", "low", "high", "p_value"):
        assert found[key] == pytest.approx(expected[key], abs=1e-9)
    taken_apart = compare_auc(*repeated[:3])
    assert taken_apart["p_value"] < found["p_value"]


def test_exchanged_models_give_the_negative_difference():
    labels, a, b = draw_pair(2)
    forth, back = compare_auc(labels, a, b), compare_auc(labels, b, a)
    assert (back["value"], back["low"], back["high"]) == pytest.approx(
        (-forth["value"], -forth["high"], -forth["low"]), abs=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "a", "b", "value", "reason"),
    [
        ([], [], [], None, "There is no image that both judged."),
        ([1, 1], [0.1, 0.2], [0.3, 0.1], None, "There are no negative images among"),
        ([0, 0], [0.1, 0.2], [0.3, 0.1], None, "There are no positive images among"),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5], 0.0, "same order"),
        ([0, 1, 0, 1], [0.1, 0.8, 0.2, 0.9], [0.1, 0.9, 0.0, 0.8], 0.0, "divide the classes"),
        ([0, 1, 0, 1], [0.1, 0.8, 0.2, 0.9], [0.5] * 4, -0.5, "No interval can be computed"),
        ([0, 0, 1], [0.1, 0.8, 0.2], [0.1, 0.2, 0.8], 0.5, "a class has a single image"),
    ],
)
def test_an_auc_that_cannot_be_compared_says_why(labels, a, b, value, reason):
    found = compare_auc(np.array(labels), np.array(a), np.array(b))
    assert found["value"] == value
    assert (found["low"], found["high"], found["p_value"]) == (None, None, None)
    assert reason in found["reason"]
    assert found["n"] == len(labels)


# The difference of two accuracies


def make_decisions(both: int, only_b: int, only_a: int, neither: int) -> tuple[np.ndarray, ...]:
    """Labels and decisions that are right so many times; labels of both kinds."""
    right_a = np.repeat([True, False, True, False], [both, only_b, only_a, neither])
    right_b = np.repeat([True, True, False, False], [both, only_b, only_a, neither])
    labels = np.arange(len(right_a)) % 2
    return labels, np.where(right_a, labels, 1 - labels), np.where(right_b, labels, 1 - labels)


def test_decisions_are_counted_by_hand():
    labels = np.array([1, 1, 0, 0, 1])
    a = np.array([True, False, False, True, False])
    b = np.array([True, True, True, True, True])
    found = compare_decisions(labels, a, b)
    assert [found[key] for key in ("n", "both_right", "only_a", "only_b", "both_wrong")] == [
        5, 1, 1, 2, 1,
    ]  # fmt: skip
    assert found["difference"]["value"] == pytest.approx(0.2)
    # One of three to either side: P(X <= 1) + P(X >= 2) of three throws is 1.
    assert found["p_value"] == pytest.approx(1.0)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 6), (1, 7), (12, 2), (30, 41), (9, 9)])
def test_p_value_is_mcnemars_exact_one(only_a, only_b):
    found = compare_decisions(*make_decisions(20, only_b, only_a, 5))
    num_discordant = only_a + only_b
    expected = binomtest(only_a, num_discordant).pvalue if num_discordant else 1.0
    assert found["p_value"] == pytest.approx(expected, abs=1e-12)


# Newcombe, Stat Med 17:2635 (1998), table III, method 10: both, first alone, second alone, neither.
# The paper computes with z = 1.96, hence the tolerance of one in the last place.
NEWCOMBE = {
    (36, 12, 2, 0): (0.0569, 0.3404),
    (20, 12, 2, 16): (0.0562, 0.3292),
    (18, 12, 2, 18): (0.0562, 0.3290),
    (36, 14, 0, 0): (0.1528, 0.4167),
    (35, 14, 0, 1): (0.1461, 0.4175),
    (18, 14, 0, 18): (0.1441, 0.3963),
    (2, 97, 1, 0): (0.8721, 0.9854),
    (1, 97, 1, 1): (0.8736, 0.9850),
    (0, 29, 1, 0): (0.6666, 0.9882),
    (2, 98, 0, 0): (0.9178, 0.9945),
    (1, 98, 0, 1): (0.9171, 0.9916),
    (0, 30, 0, 0): (0.8395, 1.0),
    (54, 0, 0, 0): (-0.0664, 0.0664),
    (53, 0, 0, 1): (-0.0729, 0.0729),
    (30, 0, 0, 24): (-0.0358, 0.0358),
    (29, 0, 0, 25): (-0.0354, 0.0354),
    (28, 0, 0, 26): (-0.0352, 0.0352),
    (27, 0, 0, 27): (-0.0351, 0.0351),
}


@pytest.mark.parametrize(("cells", "published"), NEWCOMBE.items())
def test_interval_of_the_difference_is_newcombes_published_one(cells, published):
    difference = compare_decisions(*make_decisions(*cells))["difference"]
    assert (difference["low"], difference["high"]) == pytest.approx(published, abs=1.2e-4)
    assert difference["value"] == pytest.approx((cells[1] - cells[2]) / sum(cells))


@pytest.mark.parametrize("seed", range(5))
def test_p_value_with_patients_is_that_of_every_way_to_flip_them(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 40)
    a, b = random.integers(0, 2, 40), np.where(random.random(40) < 0.3, 1 - labels, labels)
    groups = random.integers(0, 9, 40).astype(str)
    gains = (b == labels).astype(int) - (a == labels)
    sums = [gains[groups == name].sum() for name in sorted(set(groups))]
    reached = [
        abs(np.dot(signs, sums)) >= abs(sum(sums)) for signs in product((-1, 1), repeat=len(sums))
    ]
    found = compare_decisions(labels, a, b, groups)
    assert found["p_value"] == pytest.approx(np.mean(reached), abs=1e-12)


def test_decisions_of_one_image_a_patient_are_as_without_patients():
    labels, a, b = make_decisions(20, 12, 2, 16)
    groups = [f"p{i}" for i in range(50)]
    assert compare_decisions(labels, a, b, groups) == compare_decisions(labels, a, b)


def test_decisions_repeated_within_their_patient_add_no_certainty():
    labels, a, b = make_decisions(20, 12, 2, 16)
    once = compare_decisions(labels, a, b)
    repeated = [np.repeat(values, 4) for values in (labels, a, b, np.arange(50).astype(str))]
    found = compare_decisions(*repeated)
    assert found["p_value"] == pytest.approx(once["p_value"], abs=1e-12)
    for key in ("value", "low", "high"):  # but for n / (n - 1), the design effect is 4
        assert found["difference"][key] == pytest.approx(once["difference"][key], abs=3e-3)
    apart = compare_decisions(*repeated[:3])["difference"]
    assert apart["high"] - apart["low"] < 0.6 * (
        found["difference"]["high"] - found["difference"]["low"]
    )


def test_where_both_are_always_alike_each_patient_counts_once():
    labels, a, b = make_decisions(54, 0, 0, 0)
    repeated = [np.repeat(values, 3) for values in (labels, a, b, np.arange(54).astype(str))]
    difference = compare_decisions(*repeated)["difference"]
    assert (difference["low"], difference["high"]) == pytest.approx((-0.0664, 0.0664), abs=1e-4)


def test_decisions_that_cannot_be_compared_say_why():
    nothing = compare_decisions(np.array([]), np.array([]), np.array([]))
    assert nothing["difference"]["reason"] == "There is no image that both judged."
    assert (nothing["n"], nothing["p_value"]) == (0, None)
    labels, a, b = make_decisions(3, 2, 1, 0)
    found = compare_decisions(labels, a, b, ["p1"] * 6)
    assert found["difference"]["value"] == pytest.approx(1 / 6)
    assert found["difference"]["low"] is None
    assert found["difference"]["reason"] == (
        "No interval can be computed: all images are of one patient."
    )
    assert found["p_value"] == 1.0


def test_unknown_patients_are_each_their_own():
    assert number_clusters(np.array(["b", "", "a", "b", ""]), 5).tolist() == [0, 2, 1, 0, 3]
    assert number_clusters(None, 3).tolist() == [0, 1, 2]


# Which images both judged


def make_table(paths: str, labels: list[int], probabilities: list[float], **more) -> pd.DataFrame:
    table = {"path": paths.split(), "label": labels, "probability": probabilities}
    return pd.DataFrame(table | more)


def test_images_are_matched_by_path_and_frame_in_the_order_of_the_first():
    one = make_table("c b a", [1, 0, 1], [0.3, 0.2, 0.1], frame=0, group=["g", "h", "g"])
    two = make_table("a b c c", [1, 0, 1, 1], [0.6, 0.7, 0.8, 0.9], frame=[0, 0, 0, 1], group="")
    matched = match_predictions({"one": one, "two": two})
    assert matched.rows.values.tolist() == [["c", 0, "g", 1], ["b", 0, "h", 0], ["a", 0, "g", 1]]
    assert matched.probabilities.to_dict("list") == {
        "one": [0.3, 0.2, 0.1], "two": [0.8, 0.7, 0.6],
    }  # fmt: skip
    assert matched.num_missing == {"one": 1, "two": 0}
    assert not matched.is_complete


def test_tables_of_an_older_version_have_no_frame():
    one = make_table("a b", [1, 0], [0.3, 0.2], group="")
    matched = match_predictions({"one": one, "two": one.assign(frame=0)})
    assert matched.rows["frame"].tolist() == [0, 0]
    assert matched.is_complete


def test_images_are_matched_by_content_where_all_tables_tell_it():
    one = make_table("x/1 x/2", [1, 0], [0.3, 0.2], frame=0, group="", sha256=["s", "t"])
    two = make_table("y/2 y/9", [0, 1], [0.6, 0.7], frame=0, group="", sha256=["t", "s"])
    matched = match_predictions({"one": one, "two": two})
    assert matched.rows["path"].tolist() == ["x/1", "x/2"]
    assert matched.probabilities["two"].tolist() == [0.7, 0.6]
    assert matched.is_complete
    by_path = match_predictions({"one": one, "two": two.drop(columns="sha256")})
    assert by_path.rows.empty
    assert by_path.num_missing == {"one": 2, "two": 2}
    untold = match_predictions({"one": one, "two": two.assign(sha256="")})
    assert untold.rows.empty


def test_exact_copies_are_matched_one_by_one():
    one = make_table("a b c", [1, 1, 0], [0.3, 0.2, 0.1], frame=0, group="", sha256=list("ssu"))
    two = make_table("q p", [1, 1], [0.6, 0.7], frame=0, group="", sha256=list("ss"))
    matched = match_predictions({"one": one, "two": two})
    assert matched.rows["path"].tolist() == ["a", "b"]
    assert matched.probabilities["two"].tolist() == [0.7, 0.6]
    assert matched.num_missing == {"one": 0, "two": 1}


def test_images_of_another_label_elsewhere_are_left_out_and_counted():
    one = make_table("a b c", [1, 0, 1], [0.3, 0.2, 0.1], frame=0, group="")
    two = make_table("a b c", [1, 1, 1], [0.6, 0.7, 0.8], frame=0, group="")
    matched = match_predictions({"one": one, "two": two, "three": one})
    assert matched.rows["path"].tolist() == ["a", "c"]
    assert (matched.num_relabelled, matched.is_complete) == (1, False)
    assert set(matched.num_missing.values()) == {0}


def test_matched_images_are_pooled_by_patient():
    one = make_table("a b c", [1, 1, 0], [0.3, 0.5, 0.1], frame=0, group=["g", "g", "h"])
    two = make_table("a b c", [1, 1, 0], [0.5, 0.7, 0.2], frame=0, group="")
    pooled = match_predictions({"one": one, "two": two}).pool_patients()
    assert pooled.rows.to_dict("list") == {
        "group": ["g", "h"], "label": [1, 0], "num_images": [2, 1],
    }  # fmt: skip
    assert pooled.probabilities["one"].tolist() == pytest.approx([0.4, 0.1])
    assert pooled.probabilities["two"].tolist() == pytest.approx([0.6, 0.2])
    assert match_predictions({"two": two, "one": one}).pool_patients() is None
