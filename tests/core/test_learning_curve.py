from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from polyp_core.learning_curve import (
    Law,
    Outlook,
    describe_curve,
    estimate_reach,
    extrapolate,
    fit_power_law,
    measure_seeds,
    read_judged,
    read_learning,
    say_learning_curve,
)
from polyp_core.metrics import estimate_auc, estimate_proportion
from polyp_core.study import summarise
from polyp_core.study_jobs import LEARNING_CURVE
from tests.core.studies import finish_curve, make_index, make_study

# Of sixty patients; the error is 0.4 / 4 / share.
WRONG = {0.25: 24, 0.5: 12, 0.75: 8, 1.0: 6}
SHARES = list(LEARNING_CURVE)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a study of sixty patients of two images, in five folds, without its worker."""
    index = make_index(tmp_path, 60)

    def start_(**options):
        options = {"num_folds": 5, "shares": SHARES} | options
        return make_study(monkeypatch, tmp_path / "studies", index, **options)

    return start_


def read_curve(study):
    return describe_curve(measure_seeds(read_judged(study)))


def make_judged(num_wrong, num_folds=5, num_seeds=1, n=60, spread=()):
    """What members of a study would have said, made by hand: the first so many are wrong."""
    rows = []
    for share, wrong in num_wrong.items():
        for seed in range(num_seeds):
            labels = np.arange(n) % 2
            is_wrong = np.arange(n) < wrong + (spread[seed] if spread else 0)
            rows.append(
                pd.DataFrame(
                    {"share": share, "seed": seed, "fold": np.arange(n) // 2 % num_folds + 1,
                     "threshold": 0.5, "num_training": 96 * share, "num_patients": 48 * share,
                     "group": "", "unit": "patients", "label": labels,
                     "probability": np.where((labels == 1) != is_wrong, 0.8, 0.2)}
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_points_by_hand(start):
    study = start()
    finish_curve(study, WRONG)
    curve = read_curve(study)
    assert curve["share"].tolist() == SHARES
    assert curve["num_training"].tolist() == [24, 48, 72, 96]
    assert curve["num_patients"].tolist() == [12, 24, 36, 48]
    assert set(curve["unit"]) == {"patients"}
    assert set(curve["n"]) == {60}
    assert set(curve["num_seeds"]) == {1}
    labels = np.arange(60) % 2
    for row in curve.to_dict("records"):
        wrong = WRONG[row["share"]]
        right = estimate_proportion(60 - wrong, 60)
        assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == pytest.approx(
            (right.value, right.low, right.high)
        )
        auc = estimate_auc(labels, ((labels == 1) != (np.arange(60) < wrong)).astype(float))
        assert (row["auc"], row["auc_low"], row["auc_high"]) == pytest.approx(
            (auc.value, auc.low, auc.high)
        )


@pytest.mark.parametrize(("num_unknown", "level"), [(0, "patient"), (1, "image")])
def test_the_last_point_of_one_seed_is_the_number_of_the_study(
    tmp_path, monkeypatch, num_unknown, level
):
    index = make_index(tmp_path, 60)
    index.images.loc[: num_unknown - 1, "group"] = ""  # then images are counted, patients whole
    study = make_study(monkeypatch, tmp_path / "s", index, num_folds=3, shares=SHARES)
    finish_curve(study, WRONG)
    metrics = summarise(study)[0]
    assert ("patient" in metrics) == (level == "patient")
    last = read_curve(study).iloc[-1]
    for name in ("auc", "accuracy"):
        for column, key in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            assert last[column] == pytest.approx(metrics[level][name][key])


def test_seeds_are_averaged_and_their_intervals_too():
    judged = make_judged({1.0: 6}, num_seeds=2, spread=(0, 6))
    seeds = measure_seeds(judged)
    assert seeds["accuracy"].tolist() == pytest.approx([0.9, 0.8])
    (point,) = describe_curve(seeds).to_dict("records")
    bounds = [estimate_proportion(hits, 60) for hits in (54, 48)]
    assert point["num_seeds"] == 2
    assert point["accuracy"] == pytest.approx(0.85)
    assert point["accuracy_low"] == pytest.approx(np.mean([bound.low for bound in bounds]))
    assert point["accuracy_high"] == pytest.approx(np.mean([bound.high for bound in bounds]))


def test_images_are_counted_where_patients_are_unknown(tmp_path, monkeypatch):
    index = make_index(tmp_path, 60)
    index = replace(index, images=index.images.assign(group=""))
    study = make_study(monkeypatch, tmp_path / "s", index, num_folds=5, shares=SHARES)
    finish_curve(study, WRONG)
    learning = read_learning(study)
    assert set(learning.curve["unit"]) == {"images"}
    assert set(learning.curve["n"]) == {120}
    assert learning.curve["num_patients"].isna().all()


def test_test_images_have_no_part(tmp_path, monkeypatch):
    index = make_index(tmp_path, 60, ["test"] * 20 + ["train"] * 80 + ["validation"] * 20)
    study = make_study(monkeypatch, tmp_path / "s", index, num_folds=5, shares=SHARES)
    finish_curve(study, WRONG)
    assert set(read_curve(study)["n"]) == {50}


def test_a_seed_counts_once_all_its_folds_are_finished(start):
    study = start(num_seeds=2, num_folds=3)
    assert read_learning(study) is None
    assert read_curve(study).empty
    finish_curve(study, {1.0: 6, 0.5: 12}, seeds=[0])
    finish_curve(study, {1.0: 6}, seeds=[1])
    study.members[-1].run.directory.parent.joinpath("fold-1-seed-1", "status.json").write_text(
        '{"state": "failed", "message": ""}'
    )
    learning = read_learning(study)
    assert learning.seeds[["share", "seed"]].to_numpy().tolist() == [[0.5, 0], [1.0, 0]]
    assert learning.outlooks[0].reason == "The members have to be finished first."


def test_seeds_of_other_numbers_at_the_shares_are_not_compared():
    judged = make_judged(WRONG, num_seeds=2)
    judged = judged[(judged["share"] < 1) | (judged["seed"] == 0)]
    assert extrapolate(judged, "auc", SHARES).reason == "The members have to be finished first."


def test_a_study_without_shares_has_no_curve(start):
    study = start(shares=[1.0])
    finish_curve(study, {1.0: 6})
    assert read_learning(study) is None


@pytest.mark.parametrize("law", [Law(0.05, 2.0, 0.7), Law(0.0, 1.2, 0.3), Law(0.1, 40.0, 1.5)])
def test_an_exact_law_is_found_again(law):
    n = np.array([60.0, 120, 180, 240])
    found = fit_power_law(n, law.expect_error(n))
    np.testing.assert_allclose(found.expect_error(480), law.expect_error(480), rtol=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_is_as_good_as_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    n = np.array([60.0, 120, 180, 240, 300])
    errors = 0.05 + 2.0 * n**-0.7 + generator.normal(0, 0.005, 5)
    found = fit_power_law(n, errors)
    (a, b, c), _ = curve_fit(
        lambda n, a, b, c: a + b * n**-c, n, errors, p0=(0.05, 2.0, 0.7),
        bounds=([0, 0, 0.05], [1, np.inf, 2]), max_nfev=20_000,
    )  # fmt: skip
    loss = ((errors - found.expect_error(n)) ** 2).sum()
    assert loss <= ((errors - a - b * n**-c) ** 2).sum() * 1.02 + 1e-7
    assert min(found.a, found.b) >= 0
    assert 0.05 <= found.c <= 2.0001


def test_errors_that_grow_give_no_fall():
    law = fit_power_law(np.array([10.0, 20, 30, 40]), np.array([0.1, 0.1, 0.2, 0.3]))
    assert (law.a, law.b) == (pytest.approx(0.175), 0)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([0.2, 0.5, 0.4, 0.9, 0.1])
    without = np.array([np.delete(values, i).mean() for i in range(5)])
    expected = stats.t.ppf(0.975, 4) * stats.sem(values)
    assert estimate_reach(without) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_twice_as_many_images_are_expected_to_follow_the_law(metric):
    # The error is 0.4 · 24 / n, so 0.05 at 192.
    outlook = extrapolate(make_judged(WRONG), metric, SHARES)
    assert outlook.num_training == 192
    assert outlook.value == pytest.approx(0.95, abs=0.003)
    assert outlook.low < outlook.value < outlook.high <= 1
    assert outlook.reason == ""


def test_what_is_expected_is_told_no_more_surely_than_what_was_measured():
    outlook = extrapolate(make_judged({0.25: 300, 0.5: 200, 0.75: 150, 1.0: 120}, n=1000),
                          "accuracy", SHARES)  # fmt: skip
    point = estimate_proportion(880, 1000)
    assert outlook.high - outlook.value >= (point.high - point.low) / 2 - 1e-12


@pytest.mark.parametrize(
    ("num_wrong", "options", "reason"),
    [
        ({0.5: 12, 1.0: 6}, {}, "Four shares of the images are the fewest, such as 25 to 100 %."),
        (dict.fromkeys(SHARES, 6), {}, "More images have not helped so far."),
        ({0.25: 2, 0.5: 4, 0.75: 6, 1.0: 8}, {}, "More images have not helped so far."),
        (dict.fromkeys(SHARES, 0), {}, "With all images no error is left."),
        (
            {0.25: 10, 0.5: 20, 0.75: 2, 1.0: 10},
            {},
            "The points lie too far from any curve that a growing number of images gives.",
        ),
        (
            WRONG,
            {"num_folds": 2, "num_seeds": 2},
            "Three folds or seeds are the fewest that show how sure it is.",
        ),
    ],
)
def test_where_nothing_can_be_expected_the_reason_is_told(num_wrong, options, reason):
    judged = make_judged(num_wrong, **options)
    outlook = extrapolate(judged, "accuracy", sorted(num_wrong))
    assert outlook == Outlook("accuracy", 192, reason=reason)


def test_seeds_stand_in_for_folds_where_there_are_fewer_than_three():
    judged = make_judged(WRONG, num_folds=1, num_seeds=3, spread=(0, 1, 2))
    outlook = extrapolate(judged, "accuracy", SHARES)
    assert outlook.low < outlook.value < outlook.high


def test_one_class_alone_has_an_accuracy_and_no_auc():
    judged = make_judged(WRONG)
    judged = judged[judged["label"] == 1]
    outlook = extrapolate(judged, "auc", SHARES)
    assert outlook.reason == "It is not defined, since all that were judged are of one class."
    assert extrapolate(judged, "accuracy", SHARES).value is not None
    curve = describe_curve(measure_seeds(judged))
    assert curve["auc"].isna().all()
    assert say_learning_curve(curve, outlook) == f"The AUC cannot be told. {outlook.reason}"


def test_a_class_that_one_fold_alone_holds_is_told():
    judged = make_judged(WRONG)
    judged = judged[(judged["label"] == 0) | (judged["fold"] == 1)]
    assert extrapolate(judged, "auc", SHARES).reason == "Too few of one class were judged."


def simulate(generator, law):
    """Judgements whose error follows a law, the same patients hard for all members."""
    difficulty, rows = generator.normal(size=480), []
    fold = np.arange(480) % 5 + 1
    for share in SHARES:
        error = float(law.expect_error(384 * share))
        for number in range(1, 6):
            hard = difficulty[fold == number]
            drawn = (hard + generator.normal(size=len(hard))) / np.sqrt(2)
            level = stats.norm.ppf(error) + generator.normal(0, 0.05)
            labels = np.flatnonzero(fold == number) % 2
            rows.append(
                pd.DataFrame(
                    {"share": share, "seed": 0, "fold": number, "threshold": 0.5,
                     "num_training": 384 * share, "num_patients": np.nan, "group": "",
                     "unit": "images", "label": labels,
                     "probability": np.where((labels == 1) != (drawn < level), 0.8, 0.2)}
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_the_range_holds_the_truth_in_most_simulations():
    generator, law = np.random.default_rng(0), Law(0.03, 1.5, 0.5)
    outlooks = [extrapolate(simulate(generator, law), "accuracy", SHARES) for _ in range(40)]
    told = [outlook for outlook in outlooks if outlook.value is not None]
    truth = 1 - float(law.expect_error(768))
    assert len(told) >= 30
    assert np.mean([outlook.low <= truth <= outlook.high for outlook in told]) >= 0.85


def make_curve(first, last, metric="auc"):
    rows = [
        {"num_training": n, metric: value, f"{metric}_low": value - 0.02,
         f"{metric}_high": value + 0.02}
        for n, value in ((96.4, first), (384.0, last))
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (0.8, 0.93, "rose from 0.80 to 0.93"),
        (0.93, 0.8, "fell from 0.93 to 0.80"),
        (0.801, 0.8, "stayed at 0.80"),
    ],
)
def test_what_the_curve_did_is_one_sentence(first, last, said):
    outlook = Outlook("auc", 768, 0.944, 0.93, 0.951, Law(0, 1, 1))
    sentence = say_learning_curve(make_curve(first, last), outlook)
    doubt = "" if abs(first - last) > 0.04 else (
        " The first and the last interval overlap, so the change may be chance."
    )  # fmt: skip
    assert sentence == (
        f"From 96 to 384 training images the AUC {said}; twice as many would give about 0.94 "
        f"(0.93 to 0.95).{doubt}"
    )


def test_a_curve_without_an_outlook_says_why():
    outlook = Outlook("accuracy", 768, reason="The members have to be finished first.")
    said = "What twice as many would give cannot be told: the members have to be finished first."
    curve = make_curve(0.8, 0.93, "accuracy")
    assert say_learning_curve(curve, outlook) == (
        f"From 96 to 384 training images the accuracy rose from 80 % to 93 %. {said}"
    )
    assert say_learning_curve(curve[1:], outlook) == (
        f"With 384 training images the accuracy is 93 %. {said}"
    )


def test_judgements_say_who_was_judged_and_what_the_member_was_trained_on(start):
    study = start(num_folds=2)
    finish_curve(study, WRONG)
    judged = read_judged(study)
    assert judged.groupby(["share", "seed"]).size().tolist() == [60] * 4
    by_share = judged.groupby("share")["num_training"].mean()
    assert by_share.tolist() == pytest.approx([15, 30, 45, 60], abs=2)
