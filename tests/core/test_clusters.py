from dataclasses import replace

import numpy as np
import pytest

from polyp_core.clusters import (
    find_auc_variance,
    find_design_effect,
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
    ("gains", "clusters", "effect"),
    [
        ([1, 1, 0, 0], [0, 1, 2, 3], 1),  # one row a patient
        ([1, 1, 0, 0], [0, 0, 1, 1], 3),  # alike: ((1)² + (1)²) * 2 / (4 * 0.25 * 4 / 3)
        ([1, 0, 1, 0], [0, 0, 1, 1], 1),  # never below one
        ([1, 1, 1, 1], [0, 0, 1, 1], 2),  # no variance: rows a patient
        ([1, 0, 1, 0], [0, 0, 0, 0], 4),  # one patient is worth one row
    ],
)
def test_design_effect_by_hand(gains, clusters, effect):
    assert find_design_effect(np.array(gains, float), np.array(clusters)) == pytest.approx(effect)


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
        assert copied[name].low == pytest.approx(metric.low, abs=2e-3)
        assert copied[name].high == pytest.approx(metric.high, abs=2e-3)
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
    assert (share.low, share.value, share.high) == find_wilson(0.5, 4 / 3)
    assert estimate_share(np.ones(4, bool), np.array([0, 0, 1, 1])).low == pytest.approx(
        estimate_proportion(2, 2).low
    )
    assert estimate_share(np.ones(0, bool), np.ones(0, int)).value is None


def test_a_perfect_ranking_of_few_patients_with_many_images_is_no_certainty():
    four = np.array([0, 0, 1, 1])
    many = np.repeat(four, 50)
    alone = estimate_auc(four, four + 0.0)
    assert estimate_auc(many, many + 0.0, np.repeat(range(4), 50)) == replace(alone, n=200)
    assert alone.low < 0.6


def test_the_variance_of_one_patient_a_class_is_unknown():
    is_positive = np.array([True, True, False, False])
    assert np.isnan(find_auc_variance(np.full(4, 0.1), is_positive, np.array([0, 0, 1, 1])))
