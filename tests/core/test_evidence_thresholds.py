import numpy as np
import pytest
from sklearn.metrics import roc_curve

from polyp_core.errors import ConfigError, EvidenceError
from polyp_core.evidence.thresholds import (
    Band,
    Decision,
    Goal,
    check_predictions,
    choose_band,
    choose_threshold,
    explain_missing_band,
    list_bands,
    make_decision,
    parse_goal,
)

LABELS = np.array([0, 0, 1, 0, 1, 0, 1, 1])
PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


def draw(num_images=500, seed=0, decimals=15):
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(0.8, 1.6, num_images).round(decimals)
    return (generator.uniform(size=num_images) < probabilities).astype(int), probabilities


def rate(labels, probabilities, threshold):
    """Sensitivity and specificity."""
    is_called = probabilities >= threshold
    return is_called[labels == 1].mean(), (~is_called)[labels == 0].mean()


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (Goal("sensitivity", 1.0), 0.25),  # all four from 0.3 on
        (Goal("sensitivity", 0.76), 0.25),
        (Goal("sensitivity", 0.75), 0.45),  # three, from 0.5 on
        (Goal("sensitivity", 0.5), 0.65),  # two, and the least sensitive that does
        (Goal("specificity", 1.0), 0.65),
        (Goal("specificity", 0.75), 0.45),
        (Goal("specificity", 0.5), 0.25),
        # One miss against one alarm: at 0.25 (none, 2), 0.45 (1, 1), 0.65 (2, none) alike.
        (Goal("cost", 1.0), 0.25),
        (Goal("cost", 0.5), 0.65),
        (Goal("cost", 5.0), 0.25),
        (Goal("youden"), 0.25),  # 1.5 at all three: the one that misses fewer
        (Goal("hand", 0.4), 0.4),
    ],
)
def test_thresholds_by_hand_lie_halfway_between_probabilities(goal, expected):
    assert choose_threshold(LABELS, PROBABILITIES, goal) == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [1, 15])
@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_keeps_its_promise_and_the_next_one_would_not(seed, decimals):
    labels, probabilities = draw(seed=seed, decimals=decimals)
    values = np.unique(probabilities)
    for wanted in (0.5, 0.8, 0.95, 1.0):
        threshold = choose_threshold(labels, probabilities, Goal("sensitivity", wanted))
        assert rate(labels, probabilities, threshold)[0] >= wanted
        above = values[values > threshold][1]
        assert rate(labels, probabilities, above)[0] < wanted
        threshold = choose_threshold(labels, probabilities, Goal("specificity", wanted))
        assert rate(labels, probabilities, threshold)[1] >= wanted
        assert rate(labels, probabilities, values[values < threshold][-1])[1] < wanted


@pytest.mark.parametrize("seed", range(5))
def test_youden_and_cost_are_the_best_of_all_points_of_scikit_learns_curve(seed):
    labels, probabilities = draw(seed=seed)
    alarms, hits, _ = roc_curve(labels, probabilities, drop_intermediate=False)
    threshold = choose_threshold(labels, probabilities, Goal("youden"))
    sensitivity, specificity = rate(labels, probabilities, threshold)
    assert sensitivity + specificity - 1 == pytest.approx((hits - alarms).max(), abs=1e-12)
    num_positives, num_negatives = labels.sum(), (1 - labels).sum()
    for ratio in (0.2, 1.0, 5.0):
        costs = ratio * (1 - hits) * num_positives + alarms * num_negatives
        threshold = choose_threshold(labels, probabilities, Goal("cost", ratio))
        sensitivity, specificity = rate(labels, probabilities, threshold)
        cost = ratio * (1 - sensitivity) * num_positives + (1 - specificity) * num_negatives
        assert cost == pytest.approx(costs.min(), abs=1e-9)


def test_a_count_is_not_missed_by_rounding():
    # 0.07 * 100 is a little more than 7 in binary.
    labels = np.array([1] * 100 + [0] * 100)
    probabilities = np.concatenate([np.linspace(0.99, 0.5, 100), np.full(100, 0.1)])
    threshold = choose_threshold(labels, probabilities, Goal("sensitivity", 0.07))
    assert (probabilities >= threshold).sum() == 7


def test_two_neighbouring_numbers_can_be_told_apart():
    high = np.nextafter(0.5, 1)
    threshold = choose_threshold(np.array([0, 1]), np.array([0.5, high]), Goal("youden"))
    assert 0.5 < threshold <= high


def test_the_outermost_thresholds_lie_halfway_to_0_and_1_or_at_0():
    labels = np.array([1, 0, 0])
    find_all, no_alarm = Goal("sensitivity", 1.0), Goal("specificity", 1.0)
    assert choose_threshold(labels, np.array([0.2, 0.5, 0.8]), find_all) == 0.1
    assert choose_threshold(labels, np.array([0.2, 0.5, 0.8]), no_alarm) == pytest.approx(0.9)
    assert choose_threshold(labels, np.array([0.0, 0.5, 1.0]), find_all) == 0


@pytest.mark.parametrize("goal", [Goal("sensitivity", 0.9), Goal("specificity", 0.9),
                                  Goal("youden"), Goal("cost", 2.0)])  # fmt: skip
def test_a_threshold_needs_both_classes_and_different_probabilities(goal):
    with pytest.raises(EvidenceError) as raised:
        choose_threshold(np.ones(3, int), PROBABILITIES[:3], goal)
    assert str(raised.value) == (
        "A threshold cannot be chosen with one class alone. Expected positives and negatives. "
        "Received: 3 and 0. Set it by hand, or use other images."
    )
    with pytest.raises(EvidenceError, match="Received: 0 and 0"):
        choose_threshold(np.array([]), np.array([]), goal)
    with pytest.raises(EvidenceError) as raised:
        choose_threshold(LABELS, np.full(8, 0.25), goal)
    assert str(raised.value) == (
        "A threshold cannot be chosen: all 8 have the same probability, 0.25. Expected a model "
        "that tells them apart. Set it by hand, or train again."
    )


def test_by_hand_a_threshold_needs_nothing():
    assert choose_threshold(np.array([]), np.array([]), Goal("hand", 0.4)) == 0.4


def test_a_specificity_that_cannot_be_reached_says_why():
    labels, probabilities = np.array([1, 0, 0, 0]), np.array([0.5, 1.0, 1.0, 0.2])
    with pytest.raises(EvidenceError) as raised:
        choose_threshold(labels, probabilities, Goal("specificity", 0.95))
    assert str(raised.value) == (
        "No threshold reaches a specificity of 95 %: 2 of 3 negatives have a probability of 1. "
        "Expected negatives of which the model is less sure. Choose a lower goal."
    )


def test_goals_are_read_from_a_command_line():
    assert parse_goal("sensitivity=0.95") == Goal("sensitivity", 0.95)
    assert parse_goal(" specificity = 0.9 ") == Goal("specificity", 0.9)
    assert parse_goal("youden") == Goal("youden")
    assert parse_goal("cost=5") == Goal("cost", 5.0)
    assert parse_goal("hand=0.4") == Goal("hand", 0.4)


@pytest.mark.parametrize(
    "text", ["", "sensitivity", "sensitivity=", "youden=1", "recall=0.9", "cost=much", "0.4"]
)
def test_another_goal_is_refused_with_all_there_are(text):
    with pytest.raises(ConfigError) as raised:
        parse_goal(text)
    assert str(raised.value) == (
        "The goal of the threshold cannot be read. Expected sensitivity=0.95, specificity=0.95, "
        f"youden, cost=5 or hand=0.4. Received: {text!r}"
    )


@pytest.mark.parametrize(
    ("text", "bounds", "received"),
    [
        ("sensitivity=95", "from 0.01 to 1, such as 0.95", "95.0"),
        ("specificity=nan", "from 0.01 to 1, such as 0.95", "nan"),
        ("cost=0", "from 0.001 to 1000, such as 5", "0.0"),
        ("hand=-0.1", "from 0 to 1, such as 0.4", "-0.1"),
    ],
)
def test_a_goal_out_of_bounds_is_refused(text, bounds, received):
    kind = text.partition("=")[0]
    with pytest.raises(ConfigError) as raised:
        parse_goal(text)
    assert str(raised.value) == (
        f"The goal '{kind}' of the threshold cannot have this value. Expected {bounds}. "
        f"Received: {received}"
    )


def test_a_goal_that_there_is_not_is_refused():
    with pytest.raises(ConfigError) as raised:
        Goal("accuracy", 0.9)
    assert str(raised.value) == (
        "There is no such goal of a threshold. Expected one of: sensitivity, specificity, youden, "
        "cost, hand. Received: 'accuracy'"
    )
    with pytest.raises(ConfigError, match="Expected none"):
        Goal("youden", 0.5)


def test_a_goal_says_what_it_is():
    assert [parse_goal(text).say() for text in
            ("sensitivity=0.95", "specificity=0.975", "youden", "cost=5", "hand=0.4")] == [
        "at least 95 % sensitivity",
        "at least 97.5 % specificity",
        "the greatest sum of sensitivity and specificity (Youden)",
        "the least cost, where a missed positive costs 5 times a false alarm",
        "set by hand",
    ]  # fmt: skip


def test_a_band_holds_its_ends_and_an_empty_one_nothing():
    band = Band(0.4, 0.6)
    assert band.holds(np.array([0.39, 0.4, 0.5, 0.6, 0.61])).tolist() == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert bool(band.holds(0.5))
    assert not band.holds(0.7)
    assert not Band(0.5, 0.5).holds(0.5)


@pytest.mark.parametrize("ends", [(0.6, 0.4), (-0.1, 0.4), (0.4, 1.1), (np.nan, 0.5), ("0", 1)])
def test_ends_that_are_no_probabilities_in_order_are_refused(ends):
    with pytest.raises(ConfigError) as raised:
        Band(*ends)
    assert str(raised.value) == (
        "The band without an answer has ends that cannot be used. Expected two probabilities, the "
        f"lower first. Received: {ends[0]!r} and {ends[1]!r}"
    )


def test_the_narrowest_band_by_hand():
    # At 0.5, wrong are 0.4 (a positive) and 0.7; distances in logits 0.41, 0.85, 1.39, 2.20.
    labels, probabilities = np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.7, 0.8])
    bands = list_bands(labels, probabilities, 0.5)
    assert bands["n"].tolist() == [4, 3, 2, 1]
    assert bands["num_wrong"].tolist() == [2, 1, 0, 0]
    logits = np.log(probabilities / (1 - probabilities))
    halfway = (abs(logits[1]) + logits[2]) / 2
    assert bands["distance"].iloc[1] == pytest.approx(halfway)
    band = choose_band(labels, probabilities, 0.5, 1 / 3)
    assert band.high == pytest.approx(1 / (1 + np.exp(-halfway)))
    assert band.low == pytest.approx(1 - band.high)
    assert band.holds(probabilities).tolist() == [False, True, False, False]
    assert choose_band(labels, probabilities, 0.5, 0.1).holds(probabilities).tolist() == [
        False, True, True, False,
    ]  # fmt: skip


def test_where_all_answers_are_good_enough_the_band_is_empty():
    labels, probabilities = np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.7, 0.8])
    assert choose_band(labels, probabilities, 0.5, 0.5) == Band(0.5, 0.5)


def test_a_band_is_symmetric_in_logits_around_any_threshold():
    labels, probabilities = draw()
    for threshold in (0.1, 0.37, 0.9):
        band = choose_band(labels, probabilities, threshold, 0.05)
        low, middle, high = (np.log(p / (1 - p)) for p in (band.low, threshold, band.high))
        assert middle - low == pytest.approx(high - middle)


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 0.03, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("kind", ["smooth", "saturated", "rounded"])
def test_every_band_leaves_out_exactly_the_images_it_was_counted_for(kind, threshold):
    labels, probabilities = draw()
    if kind == "saturated":  # 0 and 1 themselves, and numbers next to them
        probabilities = np.clip(3 * probabilities - 1, 0, 1)
        probabilities[:6] = [1 - 1e-9, 1 - 2e-7, 1e-9, 2e-7, np.nextafter(1, 0), 5e-324]
    if kind == "rounded":
        probabilities = probabilities.round(2)
    is_wrong = (probabilities >= threshold) != (labels == 1)
    bands = list_bands(labels, probabilities, threshold)
    assert bands["n"].iloc[0] == len(labels)
    assert bands["n"].iloc[-1] >= 1
    for row in bands.itertuples():
        is_answered = ~Band(row.band_low, row.band_high).holds(probabilities)
        assert is_answered.sum() == row.n
        assert is_wrong[is_answered].sum() == row.num_wrong
        Decision(Goal("hand", threshold), threshold, Band(row.band_low, row.band_high))


def test_the_band_is_the_narrowest_that_reaches_the_target():
    labels, probabilities = draw()
    for target in (0.02, 0.05, 0.1, 0.15):
        band = choose_band(labels, probabilities, 0.5, target)
        bands = list_bands(labels, probabilities, 0.5)
        errors = bands["num_wrong"] / bands["n"]
        chosen = bands[bands["band_high"] == band.high].index[0]
        assert errors[chosen] <= target
        assert (errors[:chosen] > target).all()


def test_none_where_no_band_reaches_the_target_and_why():
    # Only 0.4 is right. Without 0.45 two of three are wrong, without 0.4 both.
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.1, 0.4, 0.45, 0.9])
    assert choose_band(labels, probabilities, 0.5, 0.2) is None
    assert explain_missing_band(labels, probabilities, 0.5, 0.2) == (
        "No band brings the error down to 20 %: the best leaves 2 of 3 answers wrong."
    )
    assert choose_band(np.array([]), np.array([]), 0.5, 0.2) is None
    assert explain_missing_band(np.array([]), np.array([]), 0.5, 0.2) == (
        "No band can be chosen without images."
    )
    assert explain_missing_band(LABELS, PROBABILITIES, 0.5, 0.5) == ""


def test_a_band_needs_neither_both_classes_nor_different_probabilities():
    probabilities = np.array([0.4, 0.6, 0.9])  # the first two are equally unsure
    band = choose_band(np.ones(3, int), probabilities, 0.5, 0.0)
    assert band.holds(probabilities).tolist() == [True, True, False]
    assert choose_band(LABELS, np.full(8, 0.25), 0.5, 0.1) is None
    assert choose_band(LABELS, np.full(8, 0.25), 0.5, 0.5) == Band(0.5, 0.5)


@pytest.mark.parametrize("target", [-0.01, 0.51, np.nan, True])
def test_a_target_out_of_bounds_is_refused(target):
    with pytest.raises(ConfigError) as raised:
        choose_band(LABELS, PROBABILITIES, 0.5, target)
    assert str(raised.value) == (
        "The target error of the band is out of bounds. Expected a share from 0 to 0.5, such as "
        f"0.05. Received: {target!r}"
    )


def test_labels_and_probabilities_that_are_none_are_refused():
    with pytest.raises(EvidenceError) as raised:
        check_predictions(np.array([0, 1]), np.array([0.5]))
    assert str(raised.value) == (
        "Labels and probabilities do not belong together. Expected one of each an image. Received: "
        "(2,) and (1,). Evaluate the run again."
    )
    with pytest.raises(EvidenceError) as raised:
        check_predictions(np.array([0, 2]), np.array([0.5, 0.5]))
    assert str(raised.value) == (
        "1 of 2 labels cannot be used. Expected 0 or 1. Received: 2. Evaluate the run again."
    )
    with pytest.raises(EvidenceError, match=r"Expected 0 to 1\. Received: 1\.5"):
        choose_band(np.array([0, 1]), np.array([0.5, 1.5]), 0.5, 0.1)
    labels, probabilities = check_predictions(np.array([True, False]), np.float32([0.5, 1.0]))
    assert (labels.tolist(), probabilities.dtype) == ([1, 0], np.float64)


def test_a_decision_is_made_in_one_go_and_comes_back_from_its_plain_values():
    decision = make_decision(LABELS, PROBABILITIES, Goal("sensitivity", 0.75), target_error=0.2,
                             level="patient")  # fmt: skip
    assert decision.threshold == pytest.approx(0.45)
    assert decision.band == choose_band(LABELS, PROBABILITIES, decision.threshold, 0.2)
    assert decision.to_dict()["goal"] == {"kind": "sensitivity", "value": 0.75}
    assert Decision.from_dict(decision.to_dict()) == decision
    bare = make_decision(LABELS, PROBABILITIES, Goal("hand", 0.5))
    assert (bare.band, bare.target_error, bare.level) == (None, None, "image")
    assert Decision.from_dict(bare.to_dict() | {"new": 1}) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"goal": "youden"},
        {"goal": {"kind": ["youden"], "value": 0.0}},
        {"goal": {"kind": "youden"}},
        {"threshold": "0.5"},
        {"threshold": 10**400},
        {"threshold": 0.7},  # outside of the band
        {"band": [0.4, 0.6]},
        {"band": {"low": 0.6, "high": 0.4}},
        {"target_error": 2},
        {"level": "frame"},
        {"level": None},
    ],
)
def test_a_damaged_decision_is_refused(change):
    decision = Decision(Goal("youden"), 0.5, Band(0.4, 0.6), 0.1)
    with pytest.raises(ConfigError, match="Expected"):
        Decision.from_dict(decision.to_dict() | change)


def test_a_decision_says_what_is_wrong_with_it():
    with pytest.raises(ConfigError) as raised:
        Decision(Goal("youden"), 0.7, Band(0.4, 0.6))
    assert str(raised.value) == (
        "The threshold cannot be used. Expected a probability from 0.4 to 0.6. Received: 0.7"
    )
    with pytest.raises(ConfigError) as raised:
        Decision(Goal("youden"), 0.5, level="frame")
    assert str(raised.value) == (
        "There is no such level. Expected one of: image, patient. Received: 'frame'"
    )
    with pytest.raises(ConfigError) as raised:
        Decision.from_dict({})
    assert str(raised.value) == (
        "The decision cannot be read (KeyError('goal')). Expected goal, threshold, band, "
        "target_error and level, as this version writes them. Choose the threshold anew."
    )
