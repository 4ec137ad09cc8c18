import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from polyp_core.errors import EvidenceError
from polyp_core.evidence.curves import (
    calibration_curve,
    decision_curve,
    precision_recall_curve,
    probability_histogram,
    risk_coverage,
    roc_curve,
)
from polyp_core.evidence.scores import compute_scores
from polyp_core.metrics import estimate_auc, estimate_share

CURVES = {
    "roc": roc_curve,
    "precision_recall": precision_recall_curve,
    "calibration": calibration_curve,
    "decision": decision_curve,
    "histogram": probability_histogram,
    "risk_coverage": lambda labels, probabilities: risk_coverage(labels, probabilities, 0.5),
}
# By hand: from above, 2 of 3 positives are found before the first false alarm.
LABELS = np.array([1, 1, 0, 1, 0, 0])
PROBABILITIES = np.array([0.9, 0.8, 0.7, 0.3, 0.3, 0.1])


def draw(num_images, seed=0, decimals=15):
    """Calibrated probabilities with labels drawn from them."""
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(0.8, 1.6, num_images).round(decimals)
    return (generator.uniform(size=num_images) < probabilities).astype(int), probabilities


def test_roc_by_hand():
    curve = roc_curve(LABELS, PROBABILITIES)
    assert curve["threshold"].tolist() == [np.inf, 0.9, 0.8, 0.7, 0.3, 0.1]
    assert curve["num_true_positives"].tolist() == [0, 1, 2, 2, 3, 3]
    assert curve["num_false_positives"].tolist() == [0, 0, 0, 1, 2, 3]
    assert curve["sensitivity"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert curve["false_positive_rate"].tolist() == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1])
    assert set(curve["num_positives"]) == set(curve["num_negatives"]) == {3}


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_roc_and_precision_recall_are_those_of_scikit_learn(decimals):
    labels, probabilities = draw(350, decimals=decimals)
    curve = roc_curve(labels, probabilities)
    rates, sensitivities, thresholds = metrics.roc_curve(
        labels, probabilities, drop_intermediate=False
    )
    assert np.array_equal(curve["threshold"], thresholds)
    assert curve["false_positive_rate"].to_numpy() == pytest.approx(rates, abs=1e-12)
    assert curve["sensitivity"].to_numpy() == pytest.approx(sensitivities, abs=1e-12)

    curve = precision_recall_curve(labels, probabilities)
    precisions, recalls, thresholds = metrics.precision_recall_curve(labels, probabilities)
    # Scikit-learn rises, and adds a point at a recall of 0.
    assert np.array_equal(curve["threshold"], thresholds[::-1])
    assert curve["precision"].to_numpy() == pytest.approx(precisions[-2::-1], abs=1e-12)
    assert curve["recall"].to_numpy() == pytest.approx(recalls[-2::-1], abs=1e-12)


@pytest.mark.parametrize("num_images", [3000, 100_000])
def test_a_thinned_curve_has_exact_points_only_and_stays_near_the_whole_one(num_images):
    labels, probabilities = draw(num_images)
    curve = roc_curve(labels, probabilities)
    rates, sensitivities, thresholds = metrics.roc_curve(
        labels, probabilities, drop_intermediate=False
    )
    assert len(curve) == 400
    place = np.searchsorted(-thresholds, -curve["threshold"].to_numpy())
    assert np.array_equal(thresholds[place], curve["threshold"])
    assert curve["false_positive_rate"].to_numpy() == pytest.approx(rates[place], abs=1e-12)
    assert curve["sensitivity"].to_numpy() == pytest.approx(sensitivities[place], abs=1e-12)
    assert np.argmax(sensitivities - rates) in place
    for ends in ((0, [np.inf, 0, 0]), (-1, [probabilities.min(), 1, 1])):
        row = curve.iloc[ends[0]][["threshold", "false_positive_rate", "sensitivity"]]
        assert row.tolist() == ends[1]
    nearest = np.interp(
        rates + sensitivities,
        curve["false_positive_rate"] + curve["sensitivity"],
        curve["sensitivity"],
    )
    assert np.abs(nearest - sensitivities).max() < 0.003
    assert np.trapezoid(curve["sensitivity"], curve["false_positive_rate"]) == pytest.approx(
        estimate_auc(labels, probabilities).value, abs=1e-4
    )


def test_the_corners_of_a_staircase_stay_exact_among_100_000_predictions():
    # Ten blocks of positives and negatives in turn: the curve has ten steps of one tenth each.
    labels = np.tile(np.repeat([1, 0], 5000), 10)
    curve = roc_curve(labels, np.linspace(1, 0, 100_000))
    points = set(zip(curve["num_false_positives"], curve["num_true_positives"], strict=True))
    corners = {(5000 * down, 5000 * up) for down in range(11) for up in (down, down + 1) if up < 11}
    assert corners <= points
    assert len(curve) <= 400


def test_a_perfect_model_goes_through_the_corner():
    labels, probabilities = np.repeat([0, 1], 500), np.linspace(0, 1, 1000)
    points = roc_curve(labels, probabilities)[["false_positive_rate", "sensitivity"]]
    assert [0.0, 1.0] in points.to_numpy().tolist()
    assert np.trapezoid(points["sensitivity"], points["false_positive_rate"]) == 1
    points = precision_recall_curve(labels, probabilities)[["recall", "precision"]]
    assert [1.0, 1.0] in points.to_numpy().tolist()
    assert points.iloc[-1].tolist() == [1.0, 0.5]
    coverage = risk_coverage(labels, probabilities, 0.5)
    assert (coverage["error"] == 0).all()
    # The line is straight but its interval is not: it needs points of its own.
    assert len(coverage) > 50


def test_the_band_of_a_model_that_knows_nothing_holds_the_diagonal():
    labels, probabilities = draw(60)[0], np.random.default_rng(1).uniform(size=60)
    curve = roc_curve(labels, probabilities)
    rates = curve["false_positive_rate"]
    assert ((curve["low"] <= rates) & (rates <= curve["high"])).mean() > 0.95


@pytest.mark.parametrize(("curve", "x"), [(roc_curve, "false_positive_rate"),
                                          (precision_recall_curve, "recall")])  # fmt: skip
def test_at_one_place_a_band_is_the_same_holds_the_curve_and_stays_within_0_and_1(curve, x):
    for num_images in (12, 3000):
        table = curve(*draw(num_images, seed=3))
        y = table["sensitivity" if x == "false_positive_rate" else "precision"]
        assert ((table["low"] <= y) & (y <= table["high"])).all()
        assert table["low"].min() >= 0
        assert table["high"].max() <= 1
        assert (table.groupby(x)[["low", "high"]].nunique() == 1).all(axis=None)


@pytest.mark.parametrize(("column", "count"), [("low", 0), ("high", 1)])
def test_where_the_other_rate_is_certain_the_roc_band_is_wilsons(column, count):
    """With very many negatives all that is unsure is the sensitivity."""
    labels = np.array([1] * 5 + [0] * 200_000 + [1] * 5)
    curve = roc_curve(labels, np.linspace(1, 0, len(labels)))
    interval = proportion_confint(5, 10, method="wilson")
    middle = curve[(curve["false_positive_rate"] > 0.2) & (curve["false_positive_rate"] < 0.8)]
    assert middle[column].to_numpy() == pytest.approx(interval[count], abs=1e-6)


def test_the_roc_band_holds_the_true_curve_in_95_percent_of_trials_or_more():
    """Of 40 positives and 20 negatives, at a rate of false positives of one fifth."""
    generator = np.random.default_rng(0)
    labels, inside = np.repeat([1, 0], [40, 20]), []
    truth = norm.sf(norm.isf(0.2) - 2)
    for _ in range(300):
        values = generator.normal(2.0 * labels)
        curve = roc_curve(labels, 1 / (1 + np.exp(-values)))
        row = curve[curve["num_false_positives"] == 4].iloc[0]
        inside.append(row["low"] <= truth <= row["high"])
    assert np.mean(inside) >= 0.94


def test_calibration_bins_by_hand():
    labels = np.array([0, 0, 1, 0, 1, 1, 1, 1])
    probabilities = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    curve = calibration_curve(labels, probabilities, num_bins=2)
    assert curve["n"].tolist() == [4, 4]
    assert curve["mean_probability"].tolist() == pytest.approx([0.25, 0.75])
    assert curve["observed"].tolist() == [0.25, 1.0]
    assert curve["num_positives"].tolist() == [1, 4]
    assert curve["from_probability"].tolist() == [0.1, 0.6]
    assert curve["to_probability"].tolist() == [0.4, 0.9]
    expected = proportion_confint(np.array([1, 4]), 4, method="wilson")
    assert curve["low"].tolist() == pytest.approx(expected[0])
    assert curve["high"].tolist() == pytest.approx(expected[1])


def test_equal_probabilities_share_a_bin():
    labels, probabilities = np.array([0, 1] * 10), np.array([0.2] * 14 + [0.6] * 6)
    curve = calibration_curve(labels, probabilities)
    assert curve["n"].tolist() == [14, 6]
    assert curve["observed"].tolist() == [0.5, 0.5]
    assert calibration_curve(labels, np.full(20, 0.3))["n"].tolist() == [20]


@pytest.mark.parametrize("num_images", [7, 12, 1000])
def test_the_expected_calibration_error_is_the_mean_distance_of_the_points(num_images):
    labels, probabilities = draw(num_images, decimals=2)
    curve = calibration_curve(labels, probabilities)
    gaps = (curve["mean_probability"] - curve["observed"]).abs()
    expected = compute_scores(labels, probabilities, 0.5)["expected_calibration_error"]
    assert (gaps * curve["n"]).sum() / num_images == pytest.approx(expected, abs=1e-12)


def test_net_benefit_by_hand():
    """Vickers and Elkin: true positives / n - false positives / n * t / (1 - t)."""
    labels = np.array([1] * 4 + [0] * 6)
    probabilities = np.array([0.9, 0.8, 0.2, 0.1, 0.7, 0.2, 0.1, 0.1, 0.1, 0.1])
    curve = decision_curve(labels, probabilities).set_index("threshold")
    assert curve.index.tolist() == [number / 100 for number in range(1, 100)]
    # At 0.2 three of four are treated, with two false alarms: 3/10 - 2/10 * 1/4.
    assert curve.loc[0.2, "net_benefit"] == pytest.approx(0.25)
    assert curve.loc[0.2, ["num_true_positives", "num_false_positives"]].tolist() == [3, 2]
    # At 0.5 two, with one: 2/10 - 1/10; treating all: 0.4 - 0.6.
    assert curve.loc[0.5, "net_benefit"] == pytest.approx(0.1)
    assert curve.loc[0.5, "net_benefit_of_all"] == pytest.approx(-0.2)
    assert curve.loc[0.4, "net_benefit_of_all"] == pytest.approx(0)  # at the share of positives
    assert curve.loc[0.95, "net_benefit"] == 0  # none is treated
    assert (curve["net_benefit_of_none"] == 0).all()
    assert set(curve["n"]) == {10}
    # Below every probability the model treats all.
    assert curve.loc[0.05, "net_benefit"] == pytest.approx(curve.loc[0.05, "net_benefit_of_all"])


def test_the_interval_of_net_benefit_is_wilsons_without_false_alarms_and_claims_no_certainty():
    labels = np.array([1] * 4 + [0] * 6)
    probabilities = np.array([0.9, 0.8, 0.2, 0.1] + [0.05] * 6)
    row = decision_curve(labels, probabilities).set_index("threshold").loc[0.5]
    interval = proportion_confint(2, 10, method="wilson")
    assert row["net_benefit"] == pytest.approx(0.2)
    # No false alarm was seen and fewer than that cannot be: upwards the hits alone are unsure.
    assert row["high"] == pytest.approx(interval[1])
    unseen = proportion_confint(0, 10, method="wilson")[1]
    assert row["low"] == pytest.approx(0.2 - np.hypot(0.2 - interval[0], unseen))
    nobody = decision_curve(labels, probabilities).set_index("threshold").loc[0.95]
    assert nobody["low"] < nobody["net_benefit"] == 0 < nobody["high"]


def test_the_interval_of_net_benefit_agrees_with_a_bootstrap_of_many_images():
    labels, probabilities = draw(4000)
    curve = decision_curve(labels, probabilities).set_index("threshold")
    generator, threshold = np.random.default_rng(0), 0.3
    is_called, weight = probabilities >= threshold, threshold / (1 - threshold)
    worth = np.where(is_called, np.where(labels == 1, 1.0, -weight), 0.0)
    means = [worth[generator.integers(0, 4000, 4000)].mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    row = curve.loc[threshold]
    assert row["low"] == pytest.approx(low, abs=0.001)
    assert row["high"] == pytest.approx(high, abs=0.001)


def test_a_histogram_counts_each_class_in_bins_that_begin_at_their_lower_edge():
    table = probability_histogram(np.array([0, 0, 0, 1]), np.array([0.0, 0.15, 0.2, 1.0]))
    counted = table[table["count"] > 0]
    assert counted["label"].tolist() == [0, 0, 0, 1]
    assert counted["from_probability"].tolist() == [0.0, 0.15, 0.2, 0.95]
    assert counted["bin"].tolist() == pytest.approx([0.025, 0.175, 0.225, 0.975])
    assert counted["n"].tolist() == [3, 3, 3, 1]
    assert len(table) == 40


def test_risk_falls_with_coverage_by_hand():
    labels = np.array([0, 1, 0, 1, 1])
    probabilities = np.array([0.1, 0.4, 0.55, 0.8, 0.95])  # the second and third are wrong
    curve = risk_coverage(labels, probabilities, 0.5)
    # Distances in logits: 2.2, 0.41, 0.20, 1.39, 2.94.
    assert curve["n"].tolist() == [1, 2, 3, 4, 5]
    assert curve["num_wrong"].tolist() == [0, 0, 0, 1, 2]
    assert curve["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert curve["error"].tolist() == pytest.approx([0, 0, 0, 0.25, 0.4])
    assert (curve["band_low"] + curve["band_high"]).to_numpy() == pytest.approx(1)
    assert (np.diff(curve["distance"]) < 0).all()
    expected = proportion_confint(curve["num_wrong"], curve["n"], method="wilson")
    assert curve["low"].tolist() == pytest.approx(expected[0].tolist(), abs=1e-12)
    assert curve["high"].tolist() == pytest.approx(expected[1].tolist())


@pytest.mark.parametrize("name", CURVES)
def test_without_images_there_is_nothing_to_show_but_the_columns(name):
    empty = CURVES[name](np.array([]), np.array([]))
    assert empty.empty
    assert list(empty.columns) == list(CURVES[name](LABELS, PROBABILITIES).columns)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", CURVES)
def test_with_one_class_what_is_undefined_is_empty(name, label):
    labels, probabilities = np.full(6, label), PROBABILITIES
    needs_both = name in ("roc", "decision") or (name == "precision_recall" and label == 0)
    assert CURVES[name](labels, probabilities).empty == needs_both


@pytest.mark.parametrize("name", CURVES)
def test_equal_probabilities_still_give_a_table_without_gaps(name):
    table = CURVES[name](LABELS, np.full(6, 0.5))
    assert len(table) >= 1
    assert table.notna().all(axis=None)


@pytest.mark.parametrize("name", CURVES)
def test_what_is_no_probability_is_refused(name):
    with pytest.raises(EvidenceError) as raised:
        CURVES[name](LABELS, np.array([0.9, np.nan, 0.7, np.nan, 0.3, 0.1]))
    assert str(raised.value) == (
        "2 of 6 probabilities cannot be used. Expected 0 to 1. Received: nan. Evaluate the run "
        "again."
    )


# Several images of a patient

TRACES = {
    "roc": roc_curve,
    "precision_recall": precision_recall_curve,
    "calibration": lambda *rows, groups=None: calibration_curve(*rows, groups=groups),
    "decision": decision_curve,
    "risk_coverage": lambda *rows, groups=None: risk_coverage(*rows, 0.5, groups=groups),
}
POINTS = {
    "roc": "sensitivity", "precision_recall": "precision", "calibration": "observed",
    "decision": "net_benefit", "risk_coverage": "error",
}  # fmt: skip


def draw_patients(num_patients, num_images, seed=0, alike=0.3):
    """Patients of one label each, whose images have a share of their variance in common."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_patients), num_images)
    values = 1.5 * (groups % 2) + generator.normal(0, alike**0.5, num_patients)[groups]
    values = values + generator.normal(0, (1 - alike) ** 0.5, len(groups))
    names = np.array([f"p{number}" for number in groups], dtype=object)
    return groups % 2, 1 / (1 + np.exp(1.5 * (0.75 - values))), names


@pytest.mark.parametrize("num_images", [1, 2, 7, 60, 1500])
@pytest.mark.parametrize("name", TRACES)
def test_patients_with_one_image_each_change_nothing(name, num_images):
    labels, probabilities = draw(num_images, decimals=2)
    alone = TRACES[name](labels, probabilities)
    names = np.array([f"p{number}" for number in range(num_images)], dtype=object)
    for groups in (names, np.where(np.arange(num_images) % 2, names, ""), np.full(num_images, "")):
        found = TRACES[name](labels, probabilities, groups=groups)
        pd.testing.assert_frame_equal(found, alone, check_exact=True)


@pytest.mark.parametrize("name", TRACES)
def test_copies_of_each_image_within_its_patient_are_no_more_evidence(name):
    labels, probabilities = draw(90, decimals=2)
    once = TRACES[name](labels, probabilities)
    rows = np.repeat(np.arange(90), 7)
    copied = TRACES[name](labels[rows], probabilities[rows], groups=rows)
    apart = TRACES[name](labels[rows], probabilities[rows])
    if name != "calibration":  # percentiles may fall elsewhere among copies
        for end in ("low", "high"):
            assert copied[end].to_numpy() == pytest.approx(once[end].to_numpy(), abs=1e-9)
    assert (apart["high"] - apart["low"]).mean() < 0.6 * (copied["high"] - copied["low"]).mean()


def test_copies_in_a_bin_are_worth_what_they_were_copied_from():
    labels, probabilities = np.array([1, 0, 0, 1, 1] * 4), np.repeat([0.2, 0.8], 10)
    rows = np.repeat(np.arange(20), 3)
    copied = calibration_curve(labels[rows], probabilities[rows], groups=rows)
    once = calibration_curve(labels, probabilities)
    assert copied["n"].tolist() == [30, 30]
    assert copied[["low", "high"]].to_numpy() == pytest.approx(once[["low", "high"]].to_numpy())


def test_each_interval_is_that_of_the_number_at_its_threshold():
    labels, probabilities, groups = draw_patients(30, 6)
    curve = risk_coverage(labels, probabilities, 0.5, groups=groups)
    for row in curve.iloc[[5, 40, 90, -1]].itertuples():
        is_answered = ~((probabilities >= row.band_low) & (probabilities <= row.band_high))
        is_wrong = ((probabilities >= 0.5) != (labels == 1))[is_answered]
        expected = estimate_share(is_wrong, groups[is_answered])
        assert (row.low, row.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    row = calibration_curve(labels, probabilities, 5, groups=groups).iloc[2]
    within = (probabilities >= row["from_probability"]) & (probabilities <= row["to_probability"])
    expected = estimate_share(labels[within] == 1, groups[within])
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_band_holds_where_images_of_both_classes_are_easier_in_some_patients():
    """A patient far out in sensitivity is so in false alarms: there rectangles are covered."""
    random, held = np.random.default_rng(2), []
    groups = np.repeat(np.arange(20), 40)
    labels, wanted = np.arange(800) % 2, np.array([0.05, 0.1, 0.2, 0.3, 0.5])
    truth = 1 - norm.cdf(norm.ppf(1 - wanted) - 1.5)
    for _ in range(200):
        ease = random.normal(0, 0.3**0.5, 20)[groups]
        values = random.normal(1.5 * labels + (2 * labels - 1) * ease, 0.7**0.5)
        curve = roc_curve(labels, 1 / (1 + np.exp(-values)), groups)
        low, high = (np.interp(wanted, curve["false_positive_rate"], curve[end])
                     for end in ("low", "high"))  # fmt: skip
        held.append((low <= truth) & (truth <= high))
    assert np.mean(held, axis=0).min() >= 0.94


def test_the_first_mistakes_widen_the_interval():
    groups = np.arange(200) // 10
    widths = []
    for num_wrong in range(3):
        is_right = np.ones(200, bool)
        is_right[[0, 50][:num_wrong]] = False
        share = estimate_share(is_right, groups)
        widths.append(share.high - share.low)
    assert widths == sorted(widths)
    # From three patients on, mistakes that are spread tell that images are not alike.
    is_right[[0, 50, 100]] = False
    share = estimate_share(is_right, groups)
    assert share.high - share.low < widths[0]


def test_with_very_many_negatives_the_roc_band_is_the_interval_of_the_sensitivity():
    """What is unsure then is the sensitivity alone, of 10 patients with two positives each."""
    labels = np.array([1] * 10 + [0] * 200_000 + [1] * 10)
    groups = np.full(len(labels), "", dtype=object)
    groups[labels == 1] = [f"p{number // 2}" for number in range(20)]
    curve = roc_curve(labels, np.linspace(1, 0, len(labels)), groups)
    expected = estimate_share(np.arange(20) < 10, np.arange(20) // 2)
    middle = curve[curve["false_positive_rate"].between(0.2, 0.8)]
    assert middle["low"].to_numpy() == pytest.approx(expected.low, abs=1e-6)
    assert middle["high"].to_numpy() == pytest.approx(expected.high, abs=1e-6)


def test_the_interval_of_net_benefit_agrees_with_one_of_whole_patients():
    labels, probabilities, groups = draw_patients(400, 6)
    curve = decision_curve(labels, probabilities, groups).set_index("threshold")
    for threshold in (0.1, 0.3, 0.5):
        weight = threshold / (1 - threshold)
        gains = (probabilities >= threshold) * np.where(labels == 1, 1.0, -weight)
        means = gains.reshape(400, 6).mean(axis=1)
        reach = 1.966 * means.std(ddof=1) / 20
        row = curve.loc[threshold]
        assert row["low"] == pytest.approx(means.mean() - reach, abs=0.003)
        assert row["high"] == pytest.approx(means.mean() + reach, abs=0.003)


@pytest.mark.parametrize(
    ("num_patients", "num_images"), [(1, 30), (2, 1), (2, 15), (3, 8), (5, 40), (40, 20)]
)
@pytest.mark.parametrize("name", TRACES)
def test_a_handful_of_patients_gives_a_band_without_gaps_around_the_points(
    name, num_patients, num_images
):
    for seed in range(4):
        labels, probabilities, groups = draw_patients(num_patients, num_images, seed)
        probabilities = probabilities.round(1 + 2 * (seed % 2))
        groups[: num_images // 2] = ""
        table = TRACES[name](labels, probabilities, groups=groups)
        point = table[POINTS[name]]
        assert table.notna().all(axis=None)
        assert (table["low"] <= point + 1e-12).all()
        assert (point <= table["high"] + 1e-12).all()
        if name != "decision":
            assert table[["low", "high"]].stack().between(0, 1).all()


def test_thresholds_that_call_nobody_do_not_widen_the_roc_band_of_those_that_do():
    """Without a false alarm nothing tells how alike images are, so that alone says very little."""
    widths = []
    for seed in range(10):
        curve = roc_curve(*draw_patients(40, 20, seed))
        rows = curve.iloc[np.searchsorted(curve["false_positive_rate"], [0.1, 0.2])]
        widths.append(rows["high"] - rows["low"].to_numpy())
    at_tenth, at_fifth = np.mean(widths, axis=0)
    assert at_tenth < 1.5 * at_fifth


@pytest.mark.parametrize("name", TRACES)
def test_the_order_of_the_images_changes_no_band(name):
    labels, probabilities, groups = draw_patients(20, 10)
    probabilities = probabilities.round(2)
    order = np.random.default_rng(1).permutation(200)
    found = TRACES[name](labels[order], probabilities[order], groups=groups[order])
    pd.testing.assert_frame_equal(found, TRACES[name](labels, probabilities, groups=groups))


def test_the_roc_band_of_patients_holds_the_true_curve_where_that_of_images_does_not():
    """Of 20 positive and 20 negative patients with 20 images each, at one fifth."""
    truth, whole, apart = norm.sf(norm.isf(0.2) - 1.5), [], []
    for seed in range(60):
        labels, probabilities, groups = draw_patients(40, 20, seed)
        for known, inside in ((groups, whole), (None, apart)):
            curve = roc_curve(labels, probabilities, known)
            row = curve[curve["num_false_positives"] >= 80].iloc[0]
            inside.append(row["low"] <= truth <= row["high"])
    assert np.mean(whole) >= 0.94
    assert np.mean(apart) < 0.85
