import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, fisher_exact, mannwhitneyu, norm, t
from sklearn.metrics import log_loss, roc_auc_score

from polyp_core.clusters import find_t_quantile
from polyp_core.metrics import (
    binary_crossentropy,
    estimate_auc,
    estimate_exact_p_value,
    estimate_p_value,
    estimate_proportion,
    evaluate,
    evaluate_predictions,
    pool_patients,
)


@pytest.mark.parametrize(("hits", "n"), [(8, 12), (9, 12), (12, 12), (0, 7), (1, 1), (490, 500)])
def test_proportion_interval_is_wilsons(hits, n):
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    metric = estimate_proportion(hits, n)
    assert metric.value == hits / n
    assert metric.n == n
    assert (metric.low, metric.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_thesis_numbers_get_the_intervals_of_its_twelve_images():
    intervals = [estimate_proportion(hits, 12) for hits in (8, 9, 12)]
    assert [(round(100 * m.low), round(100 * m.high)) for m in intervals] == [
        (39, 86),
        (47, 91),
        (76, 100),
    ]


def test_proportion_of_nothing_is_undefined():
    metric = estimate_proportion(0, 0)
    assert (metric.value, metric.low, metric.high, metric.n) == (None, None, None, 0)


def delong_by_pairs(labels, probabilities):
    """DeLong's variance as the paper writes it: every pair compared, no ranks."""
    x, y = probabilities[labels == 1], probabilities[labels == 0]
    wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    v10, v01 = wins.mean(axis=1), wins.mean(axis=0)
    variance = v10.var(ddof=1) / len(x) + v01.var(ddof=1) / len(y)
    reach = norm.ppf(0.975) * np.sqrt(variance)
    return wins.mean(), wins.mean() - reach, wins.mean() + reach


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_interval_agree_with_delong_by_pairs(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 80)
    # Rounded, so that there are ties.
    probabilities = np.round(np.clip(generator.normal(0.4 + 0.2 * labels, 0.25), 0, 1), 1)
    auc, low, high = delong_by_pairs(labels, probabilities)
    metric = estimate_auc(labels, probabilities)
    assert metric.value == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-12)
    assert metric.value == pytest.approx(auc, abs=1e-12)
    assert metric.low == pytest.approx(max(0, low), abs=1e-12)
    assert metric.high == pytest.approx(min(1, high), abs=1e-12)
    assert metric.n == 80


def test_a_perfect_auc_claims_no_certainty():
    labels = np.array([0] * 6 + [1] * 6)
    metric = estimate_auc(labels, labels * 0.8 + 0.1)
    assert metric.value == 1.0
    assert metric.high == 1.0
    # Newcombe's method 5 at AUC 1, m = n = 6: (1 - A)^2 = z^2 A (1 - A) (1 + 5 g(A)) / 36.
    low = metric.low
    g = (1 - low) / (2 - low) + low / (1 + low)
    assert (1 - low) ** 2 == pytest.approx(
        norm.ppf(0.975) ** 2 * low * (1 - low) * (1 + 5 * g) / 36, rel=1e-9
    )
    assert 0.6 < low < 0.8


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, 1e9)])
def test_a_constant_tells_nothing_and_its_interval_holds_one_half(values):
    metric = estimate_auc(np.arange(40) % 2, values)
    assert metric.value == 0.5
    assert metric.low < 0.5 < metric.high


@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize(("num_negatives", "num_positives"), [(5, 5), (12, 60), (3, 40)])
def test_p_value_is_mann_and_whitneys(num_negatives, num_positives, decimals):
    labels = np.repeat([0, 1], [num_negatives, num_positives])
    values = np.random.default_rng(5).normal(0.5 * labels).round(decimals)
    expected = mannwhitneyu(
        values[labels == 1], values[labels == 0], method="asymptotic", use_continuity=False
    ).pvalue
    assert estimate_p_value(labels, values) == pytest.approx(expected, abs=1e-12)
    assert estimate_p_value(labels, -values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("labels", [[0, 1] * 5, [1] * 10, [0] * 10, [1], []])
def test_where_nothing_can_be_told_the_p_value_is_one(labels):
    assert estimate_p_value(np.array(labels), np.zeros(len(labels))) == 1


def test_auc_turns_round_with_the_labels():
    labels, probabilities = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.6, 0.4, 0.7, 0.9])
    forward, backward = estimate_auc(labels, probabilities), estimate_auc(1 - labels, probabilities)
    assert forward.value == pytest.approx(1 - backward.value)
    assert forward.low == pytest.approx(1 - backward.high)


def test_auc_of_one_class_is_undefined():
    assert estimate_auc(np.ones(4), np.linspace(0, 1, 4)).value is None


def test_counts_by_hand():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    probabilities = np.array([0.9, 0.8, 0.5, 0.4, 0.6, 0.4, 0.3, 0.2, 0.1, 0.0])
    metrics = evaluate(labels, probabilities, threshold=0.5)
    values = {name: (metric.value, metric.n) for name, metric in metrics.items()}
    assert values["accuracy"] == (0.8, 10)
    assert values["sensitivity"] == (0.75, 4)
    assert values["specificity"] == (pytest.approx(5 / 6), 6)
    assert values["ppv"] == (0.75, 4)
    assert values["npv"] == (pytest.approx(5 / 6), 6)
    assert values["majority_accuracy"] == (0.6, 10)


@pytest.mark.parametrize(
    "table",
    [(3, 1, 1, 3), (5, 0, 0, 5), (0, 4, 9, 30), (2, 6, 2, 390), (7, 7, 7, 7), (400, 900, 300, 1100),
     (0, 5, 0, 5), (5, 0, 5, 0), (4, 3, 0, 0)],
)  # fmt: skip
def test_exact_p_value_is_fishers(table):
    marked_1, bare_1, marked_0, bare_0 = table
    labels = np.repeat([1, 1, 0, 0], table)
    is_marked = np.repeat([1.0, 0.0, 1.0, 0.0], table)
    expected = fisher_exact([[marked_1, bare_1], [marked_0, bare_0]]).pvalue
    assert estimate_exact_p_value(labels, is_marked) == pytest.approx(expected, rel=1e-6)


def test_exact_p_value_by_hand():
    # Of 8 cups 4 are chosen: 1 + 16 + 16 + 1 of 70 ways are as good or as bad as three right.
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    is_marked = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    assert estimate_exact_p_value(labels, is_marked) == pytest.approx(34 / 70)
    assert estimate_exact_p_value(labels, labels) == pytest.approx(2 / 70)
    assert estimate_exact_p_value(np.array([]), np.array([])) == 1.0


def make_predictions(groups):
    return pd.DataFrame(
        {"group": groups, "label": [1, 1, 0, 0], "probability": [0.9, 0.3, 0.4, 0.2]}
    )


def test_a_patients_probability_is_the_mean_of_the_images():
    patients = pool_patients(make_predictions(["a", "a", "b", "b"]))
    assert patients["probability"].tolist() == pytest.approx([0.6, 0.3])
    assert patients["num_images"].tolist() == [2, 2]
    result = evaluate_predictions(make_predictions(["a", "a", "b", "b"]), 0.5)
    assert result["image"]["accuracy"]["value"] == 0.75
    assert result["patient"]["accuracy"] == {
        "value": 1.0, "low": pytest.approx(0.3424, abs=1e-4), "high": 1.0, "n": 2,
    }  # fmt: skip


@pytest.mark.parametrize("groups", [["", "", "", ""], ["a", "b", "b", "a"]])
def test_no_patient_level_without_patients_or_with_two_labels_in_all(groups):
    assert "patient" not in evaluate_predictions(make_predictions(groups), 0.5)


def test_crossentropy_agrees_with_scikit_learn():
    labels, probabilities = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.999, 0.5])
    assert binary_crossentropy(labels, probabilities) == pytest.approx(
        log_loss(labels, probabilities)
    )
    assert np.isfinite(binary_crossentropy(labels, np.array([1.0, 0.0, 1.0, 0.0])))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 29, 400])
def test_the_quantile_of_t_is_that_of_scipy(degrees):
    found = find_t_quantile(degrees)
    assert found == pytest.approx(t.ppf(0.975, degrees), rel=5e-4 if degrees > 4 else 1e-7)
