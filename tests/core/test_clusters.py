from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t

from polyp_core.clusters import (
    count_patients,
    count_worth,
    find_auc_variance,
    find_wilson,
    number_clusters,
    place_rows,
)
from polyp_core.metrics import estimate_auc, estimate_proportion, estimate_share, evaluate


def test_each_patient_has_a_number_and_an_unknown_one_is_a_patient_of_its_own():
    numbers = number_clusters(np.array(["b", "", "a", "b", ""]), 5)
    assert numbers[0] == numbers[3]
    assert sorted(set(numbers)) == [0, 1, 2, 3]
    assert number_clusters(None, 3).tolist() == [0, 1, 2]


def test_components_by_hand():
    is_positive = np.array([True, True, False, False])
    placed = place_rows(is_positive, np.array([0.9, 0.3, 0.4, 0.3]))
    assert placed.tolist() == [1, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("gains", "clusters", "worth"),
    [
        ([1, 1, 0, 0], [0, 1, 2, 3], 4),  # one row a patient
        ([1, 1, 0, 0], [0, 0, 1, 1], 2),  # alike: the patients
        ([1, 0, 1, 0], [0, 0, 1, 1], 2),  # two patients do not tell whether they are alike
        ([1, 1, 1, 1], [0, 0, 1, 1], 2),
        ([1, 1, 1, 1], [0, 0, 0, 1], 16 / 10),  # (3 + 1)² / (3² + 1²)
        ([1, 0, 1, 0], [0, 0, 0, 0], 1),  # one patient is worth one row
        # Each patient has one of two right, so nothing of the variance is between them.
        ([1, 0] * 10, np.arange(20) // 2, 20 * (1.959964 / 2.262157) ** 2),  # t of nine degrees
    ],
)
def test_what_rows_are_worth_by_hand(gains, clusters, worth):
    found = count_worth(np.array(gains, float), np.array(clusters))
    assert found == pytest.approx(worth, rel=5e-4)


def test_few_patients_of_many_images_claim_no_more_than_they_know():
    """Of 95 % intervals by image of patients who are alike in a part hold the truth about 95 %."""
    random, held = np.random.default_rng(6), {"accuracy": 0, "auc": 0}
    clusters = np.repeat(range(10), random.integers(10, 31, 10))
    labels = clusters % 2
    for _ in range(400):
        hits = random.random(len(labels)) < random.beta(0.8 * 7 / 3, 0.2 * 7 / 3, 10)[clusters]
        share = estimate_share(hits, clusters)  # a correlation of 0.3 within patients, as below
        held["accuracy"] += share.low <= 0.8 <= share.high
        own, common = random.normal(size=len(labels)), random.normal(size=10)[clusters]
        # The AUC of two normals with variance 1, so far apart.
        values = 0.9 * 2**0.5 * labels + 0.7**0.5 * own + 0.3**0.5 * common
        auc = estimate_auc(labels, values, clusters)
        held["auc"] += auc.low <= norm.cdf(0.9) <= auc.high
    assert held["accuracy"] >= 0.92 * 400
    assert held["auc"] >= 0.92 * 400


def test_images_that_are_copies_say_no_more_than_one_of_each():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 300)
    probabilities = np.clip(0.3 * labels + 0.7 * random.random(300), 0, 1)
    four, clusters = (
        [np.repeat(one, 4) for one in (labels, probabilities)],
        np.repeat(range(300), 4),
    )
    alone, copied = evaluate(labels, probabilities, 0.5), evaluate(*four, 0.5, clusters)
    naive = evaluate(*four, 0.5)
    for name, metric in alone.items():
        assert copied[name].value == pytest.approx(metric.value)
        tolerance = 6e-3 if name == "auc" else 2e-3  # in logits
        assert copied[name].low == pytest.approx(metric.low, abs=tolerance)
        assert copied[name].high == pytest.approx(metric.high, abs=tolerance)
        assert copied[name].n == 4 * metric.n
        assert naive[name].high - naive[name].low < 0.55 * (metric.high - metric.low)


def test_one_row_a_patient_changes_nothing():
    random = np.random.default_rng(4)
    labels, probabilities = random.integers(0, 2, 60), random.random(60)
    assert evaluate(labels, probabilities, 0.5, random.permutation(60)) == evaluate(
        labels, probabilities, 0.5
    )


def test_the_interval_of_a_share_is_wilsons_for_as_many_rows_as_there_are_patients():
    share = estimate_share(np.array([True, True, False, False]), np.array([7, 7, 2, 2]))
    assert (share.low, share.value, share.high) == find_wilson(0.5, 2)
    assert estimate_share(np.ones(4, bool), np.array([0, 0, 1, 1])).low == pytest.approx(
        estimate_proportion(2, 2).low
    )
    assert estimate_share(np.ones(0, bool), np.ones(0, int)).value is None


def test_the_interval_of_an_auc_of_whole_patients_is_obuchowskis_in_logits():
    """The variance patient by patient, as in section 3 of the paper."""
    random = np.random.default_rng(8)
    labels, clusters = np.repeat([0, 1], [12, 18]), np.arange(30) // 3
    values = labels + random.normal(size=30) + random.normal(size=10)[clusters]
    wins = (values[labels == 1][:, None] > values[labels == 0][None]).astype(float)
    theta = wins.mean()
    v10 = np.bincount(clusters[labels == 1], wins.mean(axis=1) - theta)
    v01 = np.bincount(clusters[labels == 0], wins.mean(axis=0) - theta)
    variance = 6 / 5 * (v10**2).sum() / 18**2 + 4 / 3 * (v01**2).sum() / 12**2  # none has both
    reach = t.ppf(0.975, 3) * np.sqrt(variance) / (theta * (1 - theta))
    found = estimate_auc(labels, values, clusters)
    assert found.value == pytest.approx(theta)
    assert (found.low, found.high) == pytest.approx(
        tuple(expit(logit(theta) + sign * reach) for sign in (-1, 1))
    )


def test_patients_are_counted_whatever_their_numbers():
    assert count_patients(np.array([4, 0, 4, 9])) == 3
    assert count_patients(np.array([], int)) == 0


def test_a_perfect_ranking_of_few_patients_with_many_images_is_no_certainty():
    four = np.array([0, 0, 1, 1])
    many = np.repeat(four, 50)
    alone = estimate_auc(four, four + 0.0)
    assert estimate_auc(many, many + 0.0, np.repeat(range(4), 50)) == replace(alone, n=200)
    assert alone.low < 0.6


def test_the_variance_of_one_patient_a_class_is_unknown():
    is_positive = np.array([True, True, False, False])
    assert np.isnan(find_auc_variance(np.full(4, 0.1), is_positive, np.array([0, 0, 1, 1])))
