import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
)

from polyp_core.evidence.recalibration import explain_intercept, explain_slope
from polyp_core.evidence.scores import compute_scores, score_counts
from polyp_core.metrics import binary_crossentropy


def draw(seed=0, n=300, decimals=9):
    """Labels, and probabilities that know something of them; ties where they are rounded."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(int)
    logits = random.normal(1.5 * labels - 1, 1.2)
    probabilities = np.round(1 / (1 + np.exp(-logits)), decimals)
    return labels, np.clip(probabilities, 0.01, 0.99)


def draw_weights(seed, n=300):
    return np.random.default_rng(seed + 100).poisson(1.0, n).astype(float)


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_weighted", [False, True])
def test_scores_agree_with_scikit_learn(seed, decimals, is_weighted):
    labels, probabilities = draw(seed, decimals=decimals)
    weights = draw_weights(seed) if is_weighted else None
    answers = probabilities >= 0.4
    found = compute_scores(labels, probabilities, 0.4, weights)
    expected = {
        "balanced_accuracy": balanced_accuracy_score(labels, answers, sample_weight=weights),
        "f1": f1_score(labels, answers, sample_weight=weights),
        "mcc": matthews_corrcoef(labels, answers, sample_weight=weights),
        "average_precision": average_precision_score(labels, probabilities, sample_weight=weights),
        "brier": brier_score_loss(labels, probabilities, sample_weight=weights),
        "log_loss": log_loss(labels, probabilities, sample_weight=weights),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_weighted", [False, True])
def test_calibration_slope_and_intercept_agree_with_statsmodels(seed, is_weighted):
    labels, probabilities = draw(seed)
    weights = draw_weights(seed) if is_weighted else np.ones(len(labels))
    logits = np.log(probabilities / (1 - probabilities))
    family = sm.families.Binomial()
    line = sm.GLM(labels, sm.add_constant(logits), family=family, freq_weights=weights)
    large = sm.GLM(labels, np.ones(len(labels)), family=family, offset=logits, freq_weights=weights)
    found = compute_scores(labels, probabilities, 0.5, weights)
    slope, intercept = line.fit(tol=1e-14).params[1], large.fit(tol=1e-14).params[0]
    assert found["calibration_slope"] == pytest.approx(slope, abs=1e-8)
    assert found["calibration_intercept"] == pytest.approx(intercept, abs=1e-8)


def test_the_slope_is_that_of_a_plain_logistic_regression():
    labels, probabilities = draw()
    logits = np.log(probabilities / (1 - probabilities))
    fit = sm.Logit(labels, sm.add_constant(logits)).fit(disp=False, tol=1e-14)
    found = compute_scores(labels, probabilities, 0.5)["calibration_slope"]
    assert found == pytest.approx(fit.params[1], abs=1e-8)


@pytest.mark.parametrize("decimals", [1, 9])
def test_calibration_error_agrees_with_scikit_learns_quantile_bins(decimals):
    labels, probabilities = draw(n=203, decimals=decimals)
    shares, means = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    edges = np.percentile(probabilities, np.linspace(0, 100, 11))
    sizes = np.bincount(np.searchsorted(edges[1:-1], probabilities), minlength=10)
    expected = np.average(np.abs(shares - means), weights=sizes[sizes > 0])
    found = compute_scores(labels, probabilities, 0.5)["expected_calibration_error"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    # Two values, each a bin of its own: 0.2 where 1 of 4 is positive, 0.9 where 3 of 6 are.
    probabilities = np.array([0.2] * 4 + [0.9] * 6)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0])
    found = compute_scores(labels, probabilities, 0.5)["expected_calibration_error"]
    assert found == pytest.approx(0.4 * 0.05 + 0.6 * 0.4)


def test_calibration_by_hand():
    """Two logits ±ln 4; three of four positive at the upper, one of four at the lower: ±ln 3."""
    probabilities = np.repeat([0.8, 0.2], 4)
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    found = compute_scores(labels, probabilities, 0.5)
    assert found["calibration_slope"] == pytest.approx(np.log(3) / np.log(4), abs=1e-10)
    assert found["calibration_intercept"] == pytest.approx(0, abs=1e-10)


def test_what_chicco_prints_for_a_flattering_f1():
    """Chicco, BioData Mining 10:35 (2017), tip 8: accuracy 91 %, F1 95.24 %, MCC 0.14."""
    scores = score_counts(np.array([90, 4, 1, 5]))
    assert scores["f1"] == pytest.approx(0.9524, abs=5e-5)
    assert scores["mcc"] == pytest.approx(0.14, abs=5e-3)


def test_predictive_values_at_a_prevalence_by_hand():
    """Sensitivity 0.9, specificity 0.8; of 1,000 people 100 are ill: 90 of 270, and 720 of 730."""
    scores = score_counts(np.array([45, 10, 40, 5]), prevalence=0.1)
    assert scores["ppv_at_prevalence"] == pytest.approx(90 / 270)
    assert scores["npv_at_prevalence"] == pytest.approx(720 / 730)


def test_at_the_own_prevalence_the_predictive_values_are_those_counted():
    scores = score_counts(np.array([12, 7, 30, 3]), prevalence=15 / 52)
    assert scores["ppv_at_prevalence"] == pytest.approx(12 / 19)
    assert scores["npv_at_prevalence"] == pytest.approx(30 / 33)


def test_log_loss_is_that_of_the_training():
    labels = np.array([0, 1, 1, 0])
    probabilities = np.array([0.2, 0.0, 1.0, 1e-9])
    found = compute_scores(labels, probabilities, 0.5)["log_loss"]
    assert found == pytest.approx(binary_crossentropy(labels, probabilities), rel=1e-12)


def test_a_threshold_that_is_met_counts_as_positive():
    scores = compute_scores(np.array([1, 1, 0, 0]), np.array([0.5, 0.5, 0.5, 0.2]), 0.5)
    assert scores["balanced_accuracy"] == 0.75


def test_the_order_of_rows_changes_nothing():
    labels, probabilities = draw(decimals=2)
    turned = np.random.default_rng(1).permutation(len(labels))
    expected = compute_scores(labels, probabilities, 0.5)
    assert compute_scores(labels[turned], probabilities[turned], 0.5) == pytest.approx(expected)


def test_a_row_of_weight_two_is_the_row_twice():
    labels, probabilities = draw()
    weights = draw_weights(0)
    repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
    found = compute_scores(labels, probabilities, 0.5, weights)
    expected = compute_scores(labels[repeated], probabilities[repeated], 0.5)
    del found["expected_calibration_error"], expected["expected_calibration_error"]  # other bins
    assert found == pytest.approx(expected, abs=1e-9)


ALWAYS = {"brier", "log_loss", "expected_calibration_error"}
COMPARING = {"balanced_accuracy", "f1", "mcc", "average_precision", "calibration_intercept"}


@pytest.mark.parametrize(
    ("labels", "probabilities", "defined"),
    [
        ([], [], set()),
        ([1], [0.7], ALWAYS),
        ([0, 0, 0], [0.1, 0.6, 0.2], ALWAYS),
        ([1, 1, 1], [0.1, 0.6, 0.2], ALWAYS),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], ALWAYS | COMPARING),
        ([0, 1, 0, 1], [0.1, 0.8, 0.2, 0.9], ALWAYS | COMPARING),
        ([0, 1, 0, 1], [0.9, 0.1, 0.8, 0.2], ALWAYS | COMPARING),
        ([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9], ALWAYS | COMPARING),  # divided but for a tie
        ([0, 1, 0, 1], [0.0, 1.0, 0.6, 0.4], ALWAYS | COMPARING - {"calibration_intercept"}),
        ([0, 1, 0, 1], [1.0, 0.0, 1.0, 0.0], ALWAYS | COMPARING - {"calibration_intercept"}),
    ],
)
def test_what_is_undefined_is_none_and_nothing_warns(labels, probabilities, defined):
    scores = compute_scores(np.array(labels, dtype=int), np.array(probabilities), 0.5)
    assert {name for name, value in scores.items() if value is not None} == defined


def test_mcc_is_zero_where_all_answers_are_the_same_as_in_scikit_learn():
    labels, probabilities = np.array([0, 1, 0, 1]), np.full(4, 0.9)
    assert compute_scores(labels, probabilities, 0.5)["mcc"] == 0
    assert matthews_corrcoef(labels, probabilities >= 0.5) == 0


@pytest.mark.parametrize("far", [1e-6, 1e-15, 1e-40, 1e-300])
def test_hardly_possible_probabilities_still_get_a_slope(far):
    near = max(far, 1e-16)
    probabilities = np.array([far, far, 0.3, 0.6, 1 - near, 1 - near, far])
    labels = np.array([0, 0, 1, 0, 1, 1, 1])
    scores = compute_scores(labels, probabilities, 0.5)
    logits = np.log(probabilities) - np.log1p(-probabilities)
    large = sm.GLM(labels, np.ones(7), family=sm.families.Binomial(), offset=logits)
    fitted = 1 / (1 + np.exp(-np.clip(logits + scores["calibration_intercept"], -700, 700)))
    assert fitted.sum() == pytest.approx(labels.sum(), abs=1e-6)  # the maximum's own equation
    if far > 1e-10:  # beyond it statsmodels does not converge
        expected = large.fit(tol=1e-14).params[0]
        assert scores["calibration_intercept"] == pytest.approx(expected, abs=1e-6)
    assert 0 < scores["calibration_slope"] < 1


@pytest.mark.parametrize(
    ("labels", "probabilities", "intercept", "slope"),
    [
        ([], [], "There are no patients to judge.", "There are no patients to judge."),
        ([1, 1], [0.2, 0.4], "All patients are positive: this needs both classes.",
         "All patients are positive: this needs both classes."),
        ([0], [0.2], "All patients are negative: this needs both classes.",
         "All patients are negative: this needs both classes."),
        ([0, 1], [0.0, 0.4], "1 of 2 probabilities are exactly 0 or 1 and have no finite logit.",
         "1 of 2 probabilities are exactly 0 or 1 and have no finite logit."),
        ([0, 1], [0.4, 0.4], "",
         "All probabilities are the same, so that there is no slope to find."),
        ([0, 1], [0.3, 0.4], "",
         "The probabilities divide the classes without overlap: the slope is infinite."),
        ([0, 1, 0, 1], [0.3, 0.4, 0.5, 0.6], "", ""),
    ],
)  # fmt: skip
def test_a_reason_says_why_calibration_is_undefined(labels, probabilities, intercept, slope):
    labels, probabilities = np.array(labels, dtype=int), np.array(probabilities)
    assert explain_intercept(labels, probabilities, "patient") == intercept
    assert explain_slope(labels, probabilities, "patient") == slope
