import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import bootstrap, chisquare, ks_2samp

from polyp_core.errors import ConfigError
from polyp_core.evidence import (
    INTERVALS,
    describe_at_threshold,
    describe_predictions,
    describe_probabilities,
    split_levels,
)
from polyp_core.evidence.bootstrap import (
    SEED,
    draw_clusters,
    find_interval,
    resample_counts,
    resample_scores,
)
from polyp_core.evidence.scores import compute_scores, score_counts
from polyp_core.metrics import estimate_proportion, evaluate_predictions


def draw(num_patients=60, images_each=4, seed=0, slope=0.8):
    """Predictions of patients whose images are alike; labels follow from the probabilities."""
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), images_each)
    logits = random.normal(0, 1.2, num_patients)[patients] + random.normal(0, 0.8, len(patients))
    labels = random.random(len(patients)) < 1 / (1 + np.exp(-slope * logits))
    return labels.astype(int), 1 / (1 + np.exp(-logits)), patients


def make_table(labels, probabilities, groups=""):
    groups = [f"patient {group}" if group != "" else "" for group in np.broadcast_to(
        np.asarray(groups, dtype=object), len(labels))]  # fmt: skip
    return pd.DataFrame({"label": labels, "probability": probabilities, "group": groups})


def make_pure_table(num_patients=40, seed=0):
    """Every patient of one class, with one to five images."""
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), random.integers(1, 6, num_patients))
    labels = (np.arange(num_patients) % 3 == 0).astype(int)[patients]
    logits = random.normal(2.0 * labels - 1, 1.0)
    return make_table(labels, 1 / (1 + np.exp(-logits)), patients)


# Resampling


def test_a_resample_draws_as_many_clusters_as_there_are():
    counts = draw_clusters(np.random.default_rng(0), 37, 500)
    assert (counts.sum(axis=1) == 37).all()
    # Each cluster is drawn once on average, with the variance of a multinomial.
    assert counts.mean() == 1
    assert counts.var(axis=0).mean() == pytest.approx(36 / 37, abs=0.05)


def test_scores_of_resamples_are_those_of_the_rows_so_often():
    labels, probabilities, patients = draw(seed=3)
    probabilities = probabilities.round(2)  # with ties
    found = resample_scores(labels, probabilities, patients, 50)
    counts = draw_clusters(np.random.default_rng(SEED), 60, 50)
    for sample in range(50):
        expected = compute_scores(labels, probabilities, 0.5, counts[sample, patients])
        for name in ("average_precision", "brier", "log_loss", "expected_calibration_error"):
            assert found[name][sample] == pytest.approx(expected[name], rel=1e-5), name


@pytest.mark.parametrize(("num_patients", "tolerance"), [(40, 0.6), (150, 0.35), (600, 0.16)])
def test_one_newton_step_is_nearly_the_full_fit(num_patients, tolerance):
    """Measured in standard errors; what is left shrinks with the number of patients."""
    labels, probabilities, patients = draw(num_patients, seed=4)
    found = resample_scores(labels, probabilities, patients, 200)
    counts = draw_clusters(np.random.default_rng(SEED), num_patients, 200)
    refits = [compute_scores(labels, probabilities, 0.5, row[patients]) for row in counts]
    for name in ("calibration_slope", "calibration_intercept"):
        full = np.array([scores[name] for scores in refits])
        distance = np.abs(found[name] - full) / full.std()
        assert np.quantile(distance, 0.95) < tolerance, name
        ends = np.percentile(found[name], [2.5, 97.5])
        assert ends == pytest.approx(np.percentile(full, [2.5, 97.5]), abs=tolerance * full.std())


def test_spread_of_slope_and_intercept_is_the_sandwich_clustered_by_patient():
    labels, probabilities, patients = draw(400, seed=5)
    logits = np.log(probabilities / (1 - probabilities))
    covariance = {"groups": patients, "use_correction": False}
    family = sm.families.Binomial()
    line = sm.GLM(labels, sm.add_constant(logits), family=family)
    large = sm.GLM(labels, np.ones(len(labels)), family=family, offset=logits)
    found = resample_scores(labels, probabilities, patients)
    for name, model in (("calibration_slope", line), ("calibration_intercept", large)):
        expected = model.fit(cov_type="cluster", cov_kwds=covariance).bse[-1]
        assert found[name].std() == pytest.approx(expected, rel=0.06), name


def test_spread_of_the_brier_score_is_that_of_a_mean():
    labels, probabilities, _ = draw(300, 1, seed=6)
    losses = (labels - probabilities) ** 2
    found = resample_scores(labels, probabilities, np.arange(300), 4000)["brier"]
    assert found.mean() == pytest.approx(losses.mean(), abs=3 * found.std() / np.sqrt(4000))
    assert found.std() == pytest.approx(losses.std() / np.sqrt(300), rel=0.04)


def test_percentiles_agree_with_scipys_bootstrap():
    labels, probabilities, _ = draw(200, 1, seed=7)
    interval = find_interval(resample_scores(labels, probabilities, np.arange(200), 6000)["brier"])
    other = bootstrap(
        ((labels - probabilities) ** 2,), np.mean, n_resamples=6000, method="percentile", rng=1
    ).confidence_interval
    assert interval == pytest.approx((other.low, other.high), abs=0.002)


def test_counts_of_two_clusters_by_hand():
    """Twice the first, each once, twice the second: one, two and one of four resamples."""
    labels, probabilities = np.array([1, 1, 0]), np.array([0.9, 0.2, 0.7])
    counts = resample_counts(labels, probabilities, 0.5, np.array([0, 0, 1]), 4000)
    # Columns: true positives, false positives, true negatives, false negatives.
    kinds = [(2, 0, 0, 2), (1, 1, 0, 1), (0, 2, 0, 0)]
    seen = [(counts == kind).all(axis=1).sum() for kind in kinds]
    assert sum(seen) == 4000
    assert chisquare(seen, [1000, 2000, 1000]).pvalue > 0.01


@pytest.mark.parametrize("images_each", [1, 3, 40])
def test_drawing_profiles_is_drawing_patients(images_each):
    """With few profiles, with frequent and rare ones, and with nothing but rare ones."""
    labels, probabilities, patients = draw(300, images_each, seed=8)
    found = resample_counts(labels, probabilities, 0.4, patients, 4000)
    is_wrong = (probabilities >= 0.4) != labels
    places = np.where(probabilities >= 0.4, 0, 2) + is_wrong
    table = np.zeros((300, 4))
    np.add.at(table, (patients, places), 1)
    expected = draw_clusters(np.random.default_rng(9), 300, 4000) @ table
    # The covariance of a resample's sums is known: that of the clusters times their number.
    assert np.cov(found.T) == pytest.approx(
        300 * np.cov(table.T, ddof=0), abs=0.12 * 300 * table.var(axis=0).max()
    )
    for column in range(4):
        assert ks_2samp(found[:, column], expected[:, column]).pvalue > 0.01
    for name, values in score_counts(found).items():
        assert ks_2samp(values, score_counts(expected)[name]).pvalue > 0.01, name


def test_an_interval_leaves_out_what_is_undefined():
    samples = np.append(np.arange(101.0), [np.nan] * 50)
    assert find_interval(samples) == pytest.approx((2.5, 97.5))
    assert find_interval(np.append(samples, [np.nan] * 51)) is None


# Intervals hold what they should


def count_held(seeds, clusters_known):
    """How often the interval held the Brier score of a million others."""
    truth = np.mean((lambda y, p, _: (y - p) ** 2)(*draw_alike(200_000, 1, 0)))
    held = 0
    for seed in seeds:
        labels, probabilities, patients = draw_alike(50, 8, seed)
        clusters = patients if clusters_known else np.arange(len(labels))
        samples = resample_scores(labels, probabilities, clusters, 300)["brier"]
        low, high = find_interval(samples)
        held += low <= truth <= high
    return held


def draw_alike(num_patients, images_each, seed):
    """Every image of a patient has the same label and nearly the same probability."""
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), images_each)
    logits = random.normal(0, 1.5, num_patients)
    labels = (random.random(num_patients) < 1 / (1 + np.exp(-logits))).astype(int)[patients]
    logits = logits[patients] + random.normal(0, 0.1, len(patients))
    return labels, 1 / (1 + np.exp(-logits)), patients


def test_intervals_by_patient_hold_the_truth_and_those_by_image_do_not():
    # Of 150, 142.5 are expected; three standard deviations are 8.
    assert count_held(range(1, 151), clusters_known=True) >= 134
    assert count_held(range(1, 151), clusters_known=False) < 90


def test_intervals_of_the_slope_hold_the_truth_with_few_images():
    held = 0
    for seed in range(150):
        labels, probabilities, patients = draw(40, 1, seed=seed, slope=1.0)
        samples = resample_scores(labels, probabilities, patients, 300)["calibration_slope"]
        low, high = find_interval(samples)
        held += low <= 1 <= high
    assert held >= 134  # of 142.5 expected, less three standard deviations


def test_copies_of_images_within_their_patient_narrow_no_bootstrap_interval():
    table = make_pure_table()
    once = describe_predictions(table, 0.5, num_samples=200)["image"]
    thrice = describe_predictions(pd.concat([table] * 3), 0.5, num_samples=200)["image"]
    for name, method in INTERVALS.items():
        if method == "bootstrap" and name in once and name != "expected_calibration_error":
            ends = [once[name][end] for end in ("value", "low", "high")]
            assert [thrice[name][end] for end in ("value", "low", "high")] == pytest.approx(
                ends, abs=1e-5
            ), name


def test_a_calibrated_network_is_told_a_calibration_error_that_may_be_zero():
    lows = []
    for seed in range(100):
        levels = split_levels(make_table(*draw(80, 1, seed=seed, slope=1.0)))
        metric = describe_probabilities(levels, num_samples=200)["image"][
            "expected_calibration_error"
        ]
        assert metric["low"] <= metric["value"] <= metric["high"]
        lows.append(metric["low"])
    assert sum(low == 0 for low in lows) >= 90


def test_a_network_that_is_far_too_sure_is_told_a_calibration_error_above_zero():
    labels, probabilities, _ = draw(500, 1, slope=0.2)
    levels = split_levels(make_table(labels, probabilities))
    metric = describe_probabilities(levels)["image"]["expected_calibration_error"]
    assert 0.05 < metric["low"] < metric["value"] < metric["high"] < 0.35


# Nothing wrong is no certainty


def test_twelve_of_twelve_right_claim_no_certainty():
    labels = np.array([0, 1] * 6)
    found = describe_predictions(make_table(labels, 0.1 + 0.8 * labels), 0.5, prevalence=0.1)
    numbers = found["image"]
    wilson = estimate_proportion(6, 6)
    # Both rates with Wilson's interval, their distances added up as squares.
    assert numbers["balanced_accuracy"]["low"] == pytest.approx(1 - (1 - wilson.low) / np.sqrt(2))
    assert numbers["average_precision"]["low"] == pytest.approx(wilson.low)
    for name in ("balanced_accuracy", "f1", "mcc", "ppv_at_prevalence", "npv_at_prevalence"):
        assert numbers[name]["value"] == 1
        assert numbers[name]["high"] == 1
        assert numbers[name]["low"] < 0.99, name
    assert numbers["ppv_at_prevalence"]["low"] < 0.4


def test_the_images_of_few_patients_are_no_certainty_either():
    labels = np.repeat([0, 1, 0, 1], 50)
    table = make_table(labels, 0.1 + 0.8 * labels, np.repeat([0, 1, 2, 3], 50))
    numbers = describe_predictions(table, 0.5)["image"]
    wilson = estimate_proportion(2, 2)
    assert numbers["average_precision"]["low"] == pytest.approx(wilson.low)
    assert numbers["balanced_accuracy"]["low"] == pytest.approx(1 - (1 - wilson.low) / np.sqrt(2))


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_answering_always_the_same_is_worth_one_half_give_or_take(threshold):
    labels, probabilities, _ = draw(40, 1)
    numbers = describe_at_threshold(split_levels(make_table(labels, probabilities)), threshold)
    metric = numbers["image"]["balanced_accuracy"]
    assert metric["low"] < metric["value"] == 0.5 < metric["high"]
    metric = numbers["image"]["mcc"]
    assert metric["low"] < metric["value"] == 0 < metric["high"]


def test_probabilities_that_are_all_certain_and_right():
    labels = np.array([0, 1] * 10)
    numbers = describe_predictions(make_table(labels, labels.astype(float)), 0.5)["image"]
    high = estimate_proportion(0, 20).high
    for name in ("brier", "expected_calibration_error"):
        assert numbers[name] == {"value": 0, "low": 0, "high": pytest.approx(high), "n": 20}
    assert numbers["log_loss"]["value"] == pytest.approx(1e-7)
    assert numbers["log_loss"]["low"] is None
    assert numbers["log_loss"]["reason"] == (
        "Every probability is 0 or 1 and right, so that no resample shows an error."
    )


# The whole description


def test_every_number_is_there_by_image_and_by_patient_with_the_metrics_that_were_known():
    table = make_pure_table()
    found = describe_predictions(table, 0.4, prevalence=0.2, num_samples=100)
    assert list(found) == ["image", "patient"]
    known = evaluate_predictions(table, 0.4)
    for name, level in found.items():
        assert list(level) == list(INTERVALS)
        assert {key: level[key] for key in known[name]} == known[name]
        for metric in level.values():
            assert set(metric) == {"value", "low", "high", "n"}
            assert metric["low"] <= metric["value"] <= metric["high"]
    assert found["image"]["f1"]["n"] == len(table)
    assert found["patient"]["f1"]["n"] == 40
    assert json.loads(json.dumps(found)) == found


def test_the_two_parts_are_the_whole_and_every_time_the_same():
    table = make_pure_table()
    before, levels = table.copy(), split_levels(table)
    found = describe_predictions(table, 0.4, num_samples=100)
    moving = describe_at_threshold(levels, 0.4, num_samples=100)
    fixed = describe_probabilities(levels, num_samples=100)
    for level in found:
        assert not set(moving[level]) & set(fixed[level])
        assert found[level] == moving[level] | fixed[level]
    assert "ppv_at_prevalence" not in found["image"]
    pd.testing.assert_frame_equal(table, before)


def test_an_image_of_an_unknown_patient_is_a_cluster_of_its_own():
    table = make_table([0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5], ["a", "b", "", "a", ""])
    levels = split_levels(table)
    assert list(levels) == ["image"]
    clusters = levels["image"].clusters
    assert levels["image"].cluster_unit == "patient"
    assert len(set(clusters)) == 4
    assert clusters[0] == clusters[3]
    assert set(clusters) == {0, 1, 2, 3}


def test_rows_that_no_number_can_use_do_not_count():
    table = pd.DataFrame(
        {
            "label": ["0", "1", "1", "0", "", "2"],
            "probability": ["0.2", "0.7", "nan", "1.5", "0.3", "0.4"],
        }
    )
    levels = split_levels(table)
    assert levels["image"].labels.tolist() == [0, 1]
    assert levels["image"].probabilities.tolist() == [0.2, 0.7]


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 20, float("nan")])
def test_a_prevalence_that_is_no_share_is_refused(prevalence):
    with pytest.raises(ConfigError) as error:
        describe_predictions(make_pure_table(), 0.5, prevalence=prevalence)
    assert str(error.value) == (
        "The prevalence has to lie between 0 and 1, both left out: it is the share of positives, "
        f"such as 0.1 for one in ten. It was {prevalence}. Enter another share."
    )


def find_reasons(table, threshold=0.5, **options):
    """By level and number: why it, or its interval, is undefined. None may lack its reason."""
    found = describe_predictions(table, threshold, num_samples=50, **options)
    json.dumps(found, allow_nan=False)
    for level in found.values():
        for metric in level.values():
            is_whole = None not in (metric["value"], metric["low"], metric["high"])
            assert is_whole == ("reason" not in metric)
            assert metric.get("reason", "It.").endswith(".")
    return {
        name: {key: metric["reason"] for key, metric in level.items() if "reason" in metric}
        for name, level in found.items()
    }


def test_no_images():
    reasons = find_reasons(make_table([], []), prevalence=0.1)["image"]
    assert list(reasons) == list(INTERVALS)
    for name in ("accuracy", "f1", "auc", "brier", "calibration_slope", "majority_accuracy"):
        assert reasons[name] == "There are no images to judge."
    assert reasons["sensitivity"] == "No image is positive."


def test_one_class_alone():
    reasons = find_reasons(make_table([0] * 6, np.arange(6) / 10, range(6)), prevalence=0.1)
    for level, unit in (("image", "image"), ("patient", "patient")):
        one_class = f"All {unit}s are negative: this needs both classes."
        assert reasons[level] == {
            "balanced_accuracy": one_class,
            "sensitivity": f"No {unit} is positive.",
            "ppv_at_prevalence": one_class,
            "npv_at_prevalence": one_class,
            "f1": one_class,
            "mcc": one_class,
            "auc": one_class,
            "average_precision": one_class,
            "calibration_slope": one_class,
            "calibration_intercept": one_class,
        }


def test_one_patient():
    table = make_table([0, 1, 0, 1], [0.2, 0.4, 0.5, 0.9], [7, 7, 7, 7])
    reasons = find_reasons(table)["image"]
    assert reasons["brier"] == "There is only one patient; an interval needs at least two."
    assert (
        reasons["f1"]
        == reasons["calibration_slope"]
        == (
            "An interval needs at least two patients of each class; there are 1 positive and "
            "1 negative."
        )
    )
    assert "accuracy" not in reasons


def test_one_image():
    reasons = find_reasons(make_table([1], [0.7]))["image"]
    assert reasons["brier"] == "There is only one image; an interval needs at least two."
    assert reasons["auc"] == "All images are positive: this needs both classes."


def test_one_positive_patient_shows_no_difference_between_positive_patients():
    table = make_table([1, 1, 1, 0, 0, 0], [0.9, 0.3, 0.6, 0.2, 0.7, 0.1], [1, 1, 1, 2, 3, 4])
    reasons = find_reasons(table)["image"]
    assert set(reasons.values()) == {
        "An interval needs at least two patients of each class; there are 1 positive and "
        "3 negative."
    }
    assert "brier" not in reasons


def test_equal_probabilities():
    reasons = find_reasons(make_table([0, 1] * 5, [0.5] * 10), prevalence=0.1)["image"]
    assert reasons == {
        "npv": "No image is called negative at this threshold.",
        "npv_at_prevalence": "No image is called negative at this threshold.",
        "calibration_slope": "All probabilities are the same, so that there is no slope to find.",
    }
    reasons = find_reasons(make_table([0, 1] * 5, [0.5] * 10), 0.6, prevalence=0.1)["image"]
    assert reasons["ppv_at_prevalence"] == "No image is called positive at this threshold."


def test_perfect_separation_leaves_only_the_slope_without_a_value():
    labels = np.array([0, 1] * 6)
    reasons = find_reasons(make_table(labels, 0.2 + 0.6 * labels + np.arange(12) / 100))
    assert reasons["image"] == {
        "calibration_slope": "The probabilities divide the classes without overlap: the slope is "
        "infinite."
    }


def test_certain_probabilities_have_no_logit():
    labels = np.array([0, 1] * 6)
    probabilities = np.where(np.arange(12) < 3, 1.0, 0.3 + np.arange(12) / 100)
    reason = "3 of 12 probabilities are exactly 0 or 1 and have no finite logit."
    assert find_reasons(make_table(labels, probabilities))["image"] == {
        "calibration_slope": reason,
        "calibration_intercept": reason,
    }


@pytest.mark.parametrize("seed", range(30))
def test_few_strange_images_never_warn_and_never_fail(seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 9))
    labels = random.integers(0, 2, n)
    probabilities = random.choice([0.0, 1e-300, 1e-9, 0.3, 0.5, 1 - 1e-16, 1.0], n)
    groups = random.choice(["a", "b", "c", ""], n) if seed % 2 else ""
    find_reasons(make_table(labels, probabilities, groups), prevalence=0.01)


def draw_clustered(rng, num_patients=40, num_images=8):
    """Images of a patient are much alike: right and wrong come by patient."""
    labels = np.repeat(rng.permutation(num_patients) % 2, num_images)
    logits = np.repeat(rng.normal(0, 1.5, num_patients), num_images)
    logits = logits + 0.8 * (2 * labels - 1) + rng.normal(0, 0.5, len(labels))
    groups = np.repeat([f"p{number}" for number in range(num_patients)], num_images)
    return pd.DataFrame(
        {"label": labels, "group": groups, "probability": 1 / (1 + np.exp(-logits))}
    )


@pytest.mark.parametrize("name", ["accuracy", "sensitivity", "ppv", "auc"])
def test_the_interval_by_image_holds_the_truth_where_images_of_a_patient_are_alike(name):
    rng = np.random.default_rng(5)
    many = draw_clustered(rng, 60_000, 1)  # one image a patient: the same truth
    truth = describe_predictions(many, 0.5, num_samples=10)["image"][name]["value"]
    held = {"whole patients": 0, "images alone": 0}
    for _ in range(100):
        drawn = draw_clustered(rng)
        for how, table in (("whole patients", drawn), ("images alone", drawn.assign(group=""))):
            found = describe_predictions(table, 0.5, num_samples=10)["image"][name]
            held[how] += found["low"] <= truth <= found["high"]
    assert held["whole patients"] >= 89
    assert held["images alone"] <= 80


def test_with_one_image_a_patient_the_intervals_are_wilsons_and_delongs():
    table = draw_clustered(np.random.default_rng(1), 60, 1)
    known = describe_predictions(table, 0.5, num_samples=10)["image"]
    unknown = describe_predictions(table.assign(group=""), 0.5, num_samples=10)["image"]
    for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc"):
        assert known[name] == unknown[name]


def test_copies_of_an_image_do_not_narrow_an_interval_by_image():
    table = draw_clustered(np.random.default_rng(2), 30, 1)
    copied = pd.concat([table] * 5, ignore_index=True)
    once, often = (describe_predictions(t, 0.5, num_samples=10)["image"] for t in (table, copied))
    for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc"):
        # The AUC's is found in logits where images are several of a patient, so it lies otherwise.
        tolerance = 0.06 if name == "auc" else 1e-9
        widths = [metrics[name]["high"] - metrics[name]["low"] for metrics in (once, often)]
        assert widths[1] == pytest.approx(widths[0], rel=0.1)
        for end in ("low", "high"):
            assert often[name][end] == pytest.approx(once[name][end], abs=tolerance)
