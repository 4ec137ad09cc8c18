import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polyp_core.config import AugmentConfig, ModelConfig, RunConfig, TrainingConfig
from polyp_core.doctor import Facts, diagnose, say_state
from polyp_core.metrics import estimate_auc

STILL = AugmentConfig(
    rotation_deg=0, width_shift=0, height_shift=0, shear_deg=0, zoom=0, horizontal_flip=False
)


def make_facts(counts=(40, 40), train=(60, 60), model=None, augmentation=None, **given):
    known = {name for name in Facts.__dataclass_fields__ if name in given}
    facts = {name: given.pop(name) for name in known}
    config = RunConfig(
        model=model or ModelConfig(),
        augmentation=augmentation or AugmentConfig(),
        training=TrainingConfig(**given),
    )
    return Facts(
        **{
            "config": config,
            "class_names": ("normal", "calcified"),
            "train_counts": train,
            "validation_counts": counts,
            "validation_unit_counts": counts,
            "unit": "patients",
            "brightest_level": 255,
        }
        | facts
    )


def make_history(loss, val_loss=None, **columns):
    """An unremarkable history with some columns of one's own."""
    n = len(loss)
    rows = {
        "epoch": np.arange(1, n + 1),
        "loss": loss,
        "accuracy": 0.8,
        "val_loss": loss if val_loss is None else val_loss,
        "val_accuracy": 0.8,
        "val_auc": 0.9,
        "val_tp": 32,
        "val_fp": 8,
        "val_tn": 32,
        "val_fn": 8,
        "learning_rate": 1e-3,
        "seconds": 1.0,
    }
    return pd.DataFrame(rows | columns)


def fall(n, start=0.69, end=0.3, pace=8):
    return end + (start - end) * np.exp(-np.arange(n) / pace)


def name_all(history, facts):
    return [item.name for item in diagnose(history, facts)]


def find(history, facts, name):
    found = [item for item in diagnose(history, facts) if item.name == name]
    assert len(found) == 1, name_all(history, facts)
    return found[0]


def test_a_run_that_learns_has_no_diagnosis():
    history = make_history(fall(40), fall(40, end=0.41))
    assert diagnose(history, make_facts(epochs=40)) == []


@pytest.mark.parametrize("num_epochs", [0, 1, 4])
def test_it_is_too_early_to_tell_before_five_epochs(num_epochs):
    history = make_history(np.full(num_epochs, 5.0), val_auc=0.5, val_accuracy=0.1)
    assert diagnose(history, make_facts(epochs=40)) == []
    said = say_state(history, make_facts(epochs=40))
    assert said == f"Too early to tell: {num_epochs} epoch{'s' * (num_epochs != 1)} done."


def test_a_history_of_an_older_version_without_counts_is_judged_by_the_rest():
    nothing = dict.fromkeys(("val_tp", "val_fp", "val_tn", "val_fn"), np.nan)
    history = make_history(fall(40), **nothing)
    assert diagnose(history, make_facts(epochs=40)) == []
    assert diagnose(history.drop(columns=list(nothing)), make_facts(epochs=40)) == []
    assert name_all(history.assign(val_accuracy=0.4), make_facts(epochs=40)) == ["below_majority"]


def test_a_frame_with_nothing_but_names_is_borne():
    assert diagnose(pd.DataFrame(columns=["epoch", "loss"]), make_facts()) == []
    unknown = make_history(fall(30)).assign(val_loss=np.nan, val_auc=np.nan, val_accuracy=np.nan)
    assert diagnose(unknown, make_facts(epochs=30)) == []
    assert say_state(unknown, make_facts(epochs=30)) == "Too early to tell: 30 epochs done."


# One class only


def one_class_history(n=20, since=1, answer=0, **columns):
    """From epoch `since` on all 40 + 40 images get one answer."""
    history = make_history(fall(n, end=0.65), val_auc=0.55, **columns)
    rows = history["epoch"] >= since
    counts = {"val_tp": 0, "val_fp": 0, "val_tn": 40, "val_fn": 40}
    if answer:
        counts = {"val_tp": 40, "val_fp": 40, "val_tn": 0, "val_fn": 0}
    for name, count in counts.items():
        history.loc[rows, name] = count
    history.loc[rows, "val_accuracy"] = 0.5
    return history


@pytest.mark.parametrize(("answer", "name"), [(0, "normal"), (1, "calcified")])
def test_one_answer_for_every_image_is_told_with_its_class_and_since_when(answer, name):
    found = find(one_class_history(since=8, answer=answer), make_facts(epochs=20), "one_class")
    assert found.severity == "serious"
    assert found.title == f"It answers '{name}' whatever the image shows."
    assert f"All 80 validation images are called '{name}' since epoch 8, for 13" in found.evidence
    assert "AUC over the last 5 epochs is 0.55" in found.evidence


def test_one_answer_from_the_start_is_told_as_such():
    found = find(one_class_history(), make_facts(epochs=20), "one_class")
    assert "since the first epoch, for 20 epochs" in found.evidence


def test_one_answer_in_the_last_four_epochs_is_not_enough():
    assert "one_class" not in name_all(one_class_history(since=17), make_facts(epochs=60))


def test_one_answer_of_the_kept_epoch_is_enough_in_the_end():
    found = find(one_class_history(since=17), make_facts(epochs=20), "one_class")
    assert "validation images are called 'normal' in the epoch that is kept, 20." in found.evidence
    assert "one_class" in name_all(one_class_history(since=16), make_facts(epochs=20))


def test_one_answer_after_too_few_epochs_is_told_once_the_run_is_over():
    found = find(one_class_history(n=3, answer=1), make_facts(epochs=3), "one_class")
    assert "called 'calcified' in the epoch that is kept, 3." in found.evidence
    assert "AUC over the last 3 epochs is 0.55" in found.evidence
    assert (found.advice, found.setting) == ("It had 3 epochs, which is few: give more.", None)
    assert name_all(one_class_history(n=3), make_facts(epochs=20)) == []
    assert name_all(one_class_history(n=0), make_facts(epochs=20, error="Broken.")) == []


def test_one_answer_at_the_start_of_a_long_run_is_not_told_yet():
    assert name_all(one_class_history(n=9), make_facts(epochs=20)) == []
    assert name_all(one_class_history(n=49), make_facts(epochs=250)) == []
    assert name_all(one_class_history(n=50), make_facts(epochs=250)) == ["one_class"]
    assert name_all(one_class_history(n=100), make_facts(epochs=1000)) == ["one_class"]
    stopped = make_facts(epochs=250, early_stopping_patience=5)  # nothing more will come
    history = one_class_history(n=15, val_loss=0.7 + np.arange(15) / 100)
    assert "one_class" in name_all(history, stopped)


def test_one_answer_is_no_matter_while_the_order_of_the_images_is_already_right():
    history = one_class_history().assign(val_auc=0.85)
    assert "one_class" not in name_all(history, make_facts(epochs=60))
    assert find(history, make_facts(epochs=20), "one_class").severity == "warning"


def test_one_answer_explains_an_accuracy_at_the_majority_and_an_auc_of_chance():
    assert name_all(one_class_history(), make_facts(epochs=20)) == ["one_class"]


def test_one_answer_is_no_finding_where_validation_has_one_class():
    facts = make_facts(counts=(80, 0), epochs=20)
    assert name_all(one_class_history(), facts) == ["small_validation"]


def test_the_advice_on_one_answer_fits_its_cause():
    history = one_class_history()
    uneven = find(history, make_facts(epochs=20, train=(90, 30)), "one_class")
    assert uneven.setting == ("training.class_weights", "balanced")
    even = find(history, make_facts(epochs=20), "one_class")
    assert even.setting == ("training.learning_rate", 1e-4)
    # To the last digit the same answer: the network is ruined, and weights would not help.
    dead = find(history.assign(val_auc=0.5), make_facts(epochs=20, train=(90, 30)), "one_class")
    assert dead.setting == ("training.learning_rate", 1e-4)
    flat = history.assign(loss=0.69)
    untouched = find(flat, make_facts(epochs=20, learning_rate=1e-5), "one_class")
    assert untouched.setting == ("training.learning_rate", 1e-3)


# Most of a class is missed


def test_a_finished_run_that_misses_most_of_a_class_is_told_however_short_it_was():
    # 28 of 100: Wilson's interval is 20 to 37 %.
    history = make_history(fall(3), val_tp=28.0, val_fn=72.0, val_tn=90.0, val_fp=10.0)
    facts = make_facts(counts=(100, 100), epochs=3)
    found = find(history, facts, "missed_class")
    assert found.title == "It misses most of 'calcified'."
    assert "epoch, 3, 28 of 100 validation images of 'calcified' are found: 28\xa0% (20–37)" in (
        found.evidence
    )
    assert found.advice == "Train longer: 3 epochs are few."
    assert name_all(history, make_facts(counts=(100, 100), epochs=30)) == []  # still under way


def test_a_class_of_which_half_may_be_found_is_not_called_missed():
    # 3 of 8: the interval reaches 69 %.
    history = make_history(fall(20), val_tp=3.0, val_fn=5.0, val_tn=8.0, val_fp=0.0)
    assert "missed_class" not in name_all(history, make_facts(counts=(8, 8), epochs=20))


# Below the majority


def test_accuracy_at_the_majority_is_told_with_interval_and_n():
    # 8 of 12 right has Wilson's interval 39 to 86 %; always "normal" gets 8 of 12 as well.
    facts = make_facts(counts=(8, 4), epochs=20)
    history = make_history(fall(20), val_accuracy=8 / 12, val_auc=0.9)
    found = find(history, facts, "below_majority")
    assert "8 of 12 validation images are right: 67\xa0% (39–86)" in found.evidence
    assert "'normal' gets 8 of 12" in found.evidence
    assert name_all(history.assign(val_accuracy=9 / 12), facts) == ["small_validation"]


def test_accuracy_is_that_of_the_best_epoch_by_the_watched_number():
    history = make_history(fall(20), val_accuracy=np.where(np.arange(20) == 6, 0.9, 0.4))
    assert name_all(history, make_facts(epochs=20, monitor="val_accuracy")) == []
    assert "the best epoch, 20," in find(history, make_facts(epochs=20), "below_majority").evidence


def test_a_low_accuracy_is_a_mere_note_where_the_order_is_right():
    history = make_history(fall(20), val_accuracy=0.5, val_auc=0.9)
    assert find(history, make_facts(epochs=20), "below_majority").severity == "note"
    assert name_all(history.head(9), make_facts(epochs=20)) == []


# Not a number


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["loss", "val_loss"])
def test_a_loss_that_is_not_a_number_is_the_only_thing_told(column, bad):
    history = make_history(np.full(12, 0.52), val_accuracy=0.1, val_auc=0.5)
    history.loc[3:, column] = bad
    (found,) = diagnose(history, make_facts(counts=(3, 3), brightest_level=1))
    assert (found.name, found.severity) == ("not_a_number", "serious")
    assert "after 3 sound epochs. Training loss was 0.52" in found.evidence
    assert found.setting == ("training.learning_rate", 1e-4)


def test_a_loss_that_is_not_a_number_is_known_from_the_message_of_a_failed_run():
    # The worker stops before it writes such an epoch, so the history itself looks sound.
    error = "The loss is not a number any more in epoch 3: the steps were too large."
    facts = make_facts(error=error, learning_rate=0.02)
    assert name_all(make_history(fall(2)), facts) == ["not_a_number"]
    (found,) = diagnose(make_history([]), facts)
    assert found.setting == ("training.learning_rate", 2e-3)
    assert "after 0 sound epochs." in found.evidence
    assert name_all(make_history(fall(2)), make_facts(error="The disk is full.")) == []


# Learning rate


def test_a_first_epoch_that_blew_up_is_a_rate_too_high():
    # As the thesis network does at a rate of 0.03: all is ruined in the first epoch.
    history = make_history(np.r_[2.5, np.full(14, 0.69)], val_auc=0.5, val_accuracy=0.5)
    found = find(history, make_facts(epochs=15, learning_rate=0.03), "rate_too_high")
    assert "2.50 in the first epoch; it is 0.69" in found.evidence
    assert found.setting == ("training.learning_rate", 3e-3)
    assert name_all(history, make_facts(epochs=15)) == ["rate_too_high"]
    recovered = make_history(np.r_[2.5, fall(14)])
    assert name_all(recovered, make_facts(epochs=15)) == []


def test_a_loss_that_jumps_wildly_is_a_rate_too_high():
    wild = np.where(np.arange(20) % 2, 0.4, 1.3)
    assert "jumps by 0.90" in find(make_history(wild), make_facts(), "rate_too_high").evidence
    uneasy = np.where(np.arange(20) % 2, 0.4, 0.6)
    assert name_all(make_history(uneasy), make_facts()) == []


def test_few_training_images_may_let_the_loss_jump():
    # The noise of a mean goes with 1 / sqrt(n): 5 images may jump 2.4 times as far as 30.
    history = make_history(np.where(np.arange(20) % 2, 0.5, 1.0))
    assert "rate_too_high" in name_all(history, make_facts(train=(30, 30)))
    assert name_all(history, make_facts(train=(3, 2))) == []


def test_a_loss_above_guessing_is_a_rate_too_high_unless_it_falls():
    stuck = 1.0 + 0.02 * np.sin(np.arange(20))
    assert name_all(make_history(stuck), make_facts()) == ["rate_too_high"]
    assert name_all(make_history(np.linspace(1.3, 0.9, 20)), make_facts()) == []


def test_a_loss_that_rises_again_for_good_is_a_rate_too_high():
    back = np.r_[fall(20), np.linspace(0.3, 0.75, 20)]
    assert "has risen again" in find(make_history(back), make_facts(), "rate_too_high").evidence
    dip = np.r_[fall(20), 0.9, 0.7, 0.6, 0.5, fall(16, 0.45)]
    assert name_all(make_history(dip), make_facts()) == []


def test_guessing_is_counted_with_the_share_the_weights_and_the_smoothing_that_were_set():
    # 1 of 4 positive: -(0.25 ln 0.25 + 0.75 ln 0.75) = 0.56, but balanced weights give ln 2.
    history = make_history(1.0 + 0.02 * np.sin(np.arange(20)))
    plain = find(history, make_facts(train=(90, 30)), "rate_too_high")
    assert plain.evidence.endswith("gives 0.56.")
    balanced = make_facts(train=(90, 30), class_weights="balanced")
    assert find(history, balanced, "rate_too_high").evidence.endswith("gives 0.69.")
    # Smoothing by 0.5 lets it answer 0.25 + 0.5 * (0.5 - 0.25) = 0.375: loss 0.60.
    smooth = make_facts(train=(90, 30), label_smoothing=0.5)
    assert find(history, smooth, "rate_too_high").evidence.endswith("gives 0.60.")


def test_a_loss_that_creeps_at_a_low_rate_is_a_rate_too_low():
    creeping = np.linspace(0.693, 0.672, 20)
    history = make_history(creeping, val_auc=0.55, val_accuracy=0.5)
    found = find(history, make_facts(epochs=20, learning_rate=1e-5), "rate_too_low")
    assert "In 20 epochs training loss fell from 0.69 to 0.67" in found.evidence
    assert found.setting == ("training.learning_rate", 1e-3)
    assert name_all(history, make_facts(epochs=20, learning_rate=1e-5)) == ["rate_too_low"]


@pytest.mark.parametrize(
    ("loss", "rate", "epochs"),
    [
        (np.linspace(0.693, 0.672, 20), 1e-3, 20),  # a hard task at the usual rate
        (np.linspace(0.693, 0.672, 20), 1e-5, 1000),  # it has time enough
        (np.linspace(0.693, 0.58, 20), 1e-5, 20),  # it gets there
        (0.69 + 0.01 * np.cos(np.arange(20)), 1e-5, 20),  # flat
        (np.linspace(0.693, 0.672, 9), 1e-5, 9),  # too short for a trend
    ],
)
def test_a_slow_loss_is_not_always_a_rate_too_low(loss, rate, epochs):
    facts = make_facts(epochs=epochs, learning_rate=rate)
    assert "rate_too_low" not in name_all(make_history(loss), facts)


def test_the_usual_rate_of_sgd_follows_its_momentum():
    history = make_history(np.linspace(0.693, 0.672, 20))
    plain = make_facts(epochs=20, optimizer="sgd", learning_rate=0.01, momentum=0.0)
    found = find(history, plain, "rate_too_low")
    assert found.setting == ("training.learning_rate", 0.1)
    heavy = make_facts(epochs=20, optimizer="sgd", learning_rate=0.01, momentum=0.9)
    assert name_all(history, heavy) == []


# Over-fitting


def turning(n=60, turn=20, rise=0.02):
    """Validation loss falls until an epoch and rises from there on; training loss falls."""
    epoch = np.arange(1, n + 1)
    val_loss = np.where(epoch <= turn, 0.7 - 0.3 * epoch / turn, 0.4 + rise * (epoch - turn))
    return make_history(0.7 * np.exp(-epoch / 20), val_loss)


def test_overfitting_is_seen_from_the_epoch_where_validation_loss_turns():
    found = find(turning(), make_facts(epochs=60), "overfitting")
    assert (found.severity, found.setting) == ("warning", ("training.keep", "best"))
    # The middle one of seven epochs finds the turn but for two, and 0.43 of 0.40 to 0.475.
    assert int(re.search(r"\d+", found.title)[0]) in range(18, 23)
    # The medians of the last six epochs: validation 0.40 + 0.02 * 37.5, training 0.7 e^-2.875.
    assert "rose from 0.43 to 1.15" in found.evidence
    assert "to 0.04: a gap of 1.11" in found.evidence
    assert "(80 images)" in found.evidence


def test_overfitting_is_not_told_while_the_rise_is_noise_or_training_stands_still():
    assert name_all(turning(rise=0.001), make_facts(epochs=60)) == []
    assert name_all(turning().head(24), make_facts(epochs=60)) == []
    halted = turning()
    halted.loc[18:, "loss"] = halted.loc[18, "loss"]
    assert name_all(halted, make_facts(epochs=60)) == []
    spikes = make_history(fall(60), fall(60) + np.where(np.arange(60) % 7 == 5, 2.0, 0.0))
    assert name_all(spikes, make_facts(epochs=60)) == []


def test_the_advice_on_overfitting_is_the_next_thing_not_done_yet():
    small = ModelConfig(head="average")
    cases = [
        (make_facts(keep="best", augmentation=STILL), "augmentation.rotation_deg"),
        (make_facts(keep="best"), "model.head"),
        (make_facts(keep="best", model=small), None),
    ]
    for facts, setting in cases:
        found = find(turning(), facts, "overfitting")
        assert found.severity == "note"  # the model that is kept is not harmed
        assert (found.setting and found.setting[0]) == setting


# Validation that is too small


@pytest.mark.parametrize(
    ("n", "percent", "severity"),
    # n of n right: Wilson's lower bound is n / (n + 1.96²).
    [(0, 0, "serious"), (3, 44, "serious"), (4, 51, "warning"), (11, 74, "warning")],
)
def test_a_small_validation_is_told_before_the_first_epoch(n, percent, severity):
    found = find(make_history([]), make_facts(counts=(30, n)), "small_validation")
    assert found.severity == severity
    assert f"at least {percent} %" in found.evidence
    assert f"{n} patient{'s' * (n != 1)} of 'calcified'" in found.evidence
    assert found.setting is None


def test_twelve_units_of_each_class_are_enough():
    assert 12 / (12 + 1.96**2) > 0.75 > 11 / (11 + 1.96**2)
    assert diagnose(make_history([]), make_facts(counts=(12, 12))) == []
    few_patients = make_facts(counts=(300, 300), validation_unit_counts=(30, 5))
    assert name_all(make_history([]), few_patients) == ["small_validation"]


# Labels and grey levels


def test_an_auc_surely_below_one_half_after_good_training_means_exchanged_labels():
    # 12 and 12: spread sqrt(25 / 1728) = 0.120, so surely is below 0.5 - 2.576 * 0.120 = 0.19.
    facts = make_facts(counts=(12, 12), epochs=30)
    history = make_history(fall(30), np.linspace(0.7, 2, 30), val_accuracy=0.2)
    found = find(history.assign(val_auc=0.18), facts, "swapped_labels")
    assert found.severity == "serious"
    assert "0.18, with 12 patients of 'normal' and 12 of 'calcified'" in found.evidence
    assert "Chance gives 0.19 or more" in found.evidence
    assert name_all(history.assign(val_auc=0.18), facts) == ["swapped_labels"]
    assert "swapped_labels" not in name_all(history.assign(val_auc=0.20), facts)


def test_exchanged_labels_need_good_training_and_enough_units():
    history = make_history(np.full(30, 0.69), val_auc=0.1)
    assert "swapped_labels" not in name_all(history, make_facts(counts=(12, 12), epochs=30))
    history = make_history(fall(30), val_auc=0.0)
    assert "swapped_labels" not in name_all(history, make_facts(counts=(4, 4), epochs=30))


def test_files_with_grey_levels_0_to_1_were_divided_already():
    history = one_class_history().assign(val_auc=0.5)
    (found,) = diagnose(history, make_facts(epochs=20, brightest_level=1))
    assert (found.name, found.severity, found.setting) == ("double_rescale", "serious", None)
    assert "divided by 255 before" in found.title
    assert "is 1; white is 255" in found.evidence
    black = find(make_history([]), make_facts(brightest_level=0), "double_rescale")
    assert black.title == "The images are all black."


@pytest.mark.parametrize(
    ("level", "names"), [(3, ["very_dark"]), (25, ["very_dark"]), (26, []), (None, [])]
)
def test_dark_images_are_a_warning(level, names):
    assert name_all(make_history(fall(20)), make_facts(brightest_level=level)) == names


# Nothing learned


def test_an_auc_of_chance_is_told_with_how_often_chance_does_as_well():
    # 6 and 9: spread sqrt(16 / 648) = 0.157; 0.66 is 1.02 of it off, two-sided p = 0.31.
    facts = make_facts(counts=(9, 6), epochs=20)
    history = make_history(fall(20, end=0.6), val_auc=0.66)
    found = find(history, facts, "nothing_learned")
    assert "would do as well in 3 of 10 tries" in found.evidence
    assert "0.66, with 9 patients of 'normal' and 6 of 'calcified'" in found.evidence
    assert found.setting == ("training.shuffled_labels", True)


def test_the_spread_of_chance_goes_by_patients_not_by_images():
    history = make_history(fall(20, end=0.6), val_auc=0.60)
    many = make_facts(counts=(300, 300), epochs=20)
    assert name_all(history, many) == []
    few = replace(many, validation_unit_counts=(13, 13))
    assert name_all(history, few) == ["nothing_learned"]


def test_a_doubtful_auc_is_a_note_and_gives_way_to_anything_certain():
    # 12 and 12: 0.71 is 1.75 spreads off, p = 0.08.
    facts = make_facts(counts=(12, 12), epochs=60)
    history = make_history(fall(60, end=0.6), val_auc=0.71)
    (found,) = diagnose(history, facts)
    assert (found.name, found.severity) == ("nothing_learned", "note")
    assert "8 of 100 tries" in found.evidence
    assert name_all(turning().assign(val_auc=0.71), facts) == ["overfitting"]
    assert name_all(history.assign(val_auc=0.75), facts) == []


def test_few_units_are_not_the_networks_fault():
    # 6 and 6: spread sqrt(13 / 432) = 0.173; 0.70 is 1.15 of it off, p = 0.25; 0.75 has p = 0.15.
    history = make_history(fall(20, end=0.6), val_auc=0.70)
    assert "nothing_learned" in name_all(history, make_facts(counts=(6, 6), epochs=20))
    history = history.assign(val_auc=0.75)
    assert name_all(history, make_facts(counts=(6, 6), epochs=20)) == ["small_validation"]
    history = history.assign(val_auc=0.5, val_accuracy=0.95)
    assert name_all(history, make_facts(counts=(30, 3), epochs=20)) == ["small_validation"]


def test_what_is_kept_and_what_was_best_are_both_looked_at():
    history = make_history(fall(30), np.abs(np.arange(30) - 9) / 30 + 0.4)
    is_near = abs(history["epoch"] - 10) <= 2
    best, last = make_facts(epochs=30, keep="best"), make_facts(epochs=30)
    history["val_auc"] = np.where(is_near, 0.9, 0.5)
    assert "nothing_learned" not in name_all(history, best)
    assert "nothing_learned" not in name_all(history, last)
    history["val_auc"] = np.where(is_near, 0.5, 0.9)
    assert "around epoch 10: 0.50" in find(history, best, "nothing_learned").evidence
    assert "nothing_learned" not in name_all(history, last)
    # One epoch alone may be good by luck.
    history["val_auc"] = np.where(history["epoch"] == 10, 0.9, 0.5)
    assert "around epoch 10: 0.50" in find(history, best, "nothing_learned").evidence


def test_nothing_is_expected_of_a_control():
    facts = make_facts(counts=(20, 20), epochs=60, shuffled_labels=True)
    history = turning().assign(val_auc=0.5, val_accuracy=0.4)
    assert diagnose(history, facts) == []
    assert say_state(history, facts) == (
        "A control, its training labels dealt out at random: 60 epochs done. AUC over the last 5 "
        "epochs is 0.50; chance gives 0.50."
    )


# What is said where nothing is wrong


def test_a_run_that_learns_is_said_to():
    history = make_history(fall(20), np.r_[np.linspace(0.69, 0.41, 17), 0.45, 0.46, 0.45])
    assert say_state(history, make_facts()) == (
        "Learning: validation loss fell from 0.69 to 0.41 and was lowest in epoch 17."
    )
    flat = make_history(np.full(12, 0.69))
    assert say_state(flat, make_facts(epochs=40)).startswith("Nothing wrong and little learned")
    short = say_state(make_history(fall(3)), make_facts(epochs=3))
    assert short == "Too few epochs to tell whether it learns: 3 epochs are all there are."
    failed = say_state(history, make_facts(error="The disk is full."))
    assert failed == "It failed after 20 epochs; the curves until then show nothing wrong."


def test_the_gravest_comes_first():
    facts = make_facts(counts=(3, 30), epochs=60, brightest_level=20)
    history = turning().assign(val_accuracy=0.5)
    *found, last = diagnose(history, facts)
    severities = [item.severity for item in found]
    assert len(severities) >= 3
    # What the images allow to say comes after what the model does, however grave it is.
    assert (last.name, last.severity) == ("small_validation", "serious")
    assert severities == sorted(severities, key=["serious", "warning", "note"].index)


def test_every_advice_is_a_setting_that_a_new_run_takes():
    cases = [
        (turning(), make_facts()),
        (turning(), make_facts(keep="best", augmentation=STILL)),
        (turning(), make_facts(keep="best")),
        (one_class_history(), make_facts(epochs=20, train=(90, 30))),
        (make_history([np.nan]), make_facts(learning_rate=1e-7)),
        (make_history(np.full(20, 0.69), val_auc=0.5), make_facts(epochs=20)),
    ]
    for history, facts in cases:
        settings = [item.setting for item in diagnose(history, facts) if item.setting]
        assert settings
        for name, value in settings:
            assert facts.config.with_settings([f"{name}={value}"])


def test_overfitting_is_found_in_ten_thousand_epochs():
    generator = np.random.default_rng(0)
    n = 10_000
    history = make_history(fall(n, pace=900) + generator.normal(0, 0.02, n))
    history["val_loss"] += np.linspace(0, 1, n) + generator.normal(0, 0.1, n)
    names = name_all(history, make_facts(epochs=n))
    assert names == ["overfitting"]


# How often it cries wolf, and how often it misses


def simulate(generator, num_epochs, counts, best_distance):
    """The history of a network for which the two classes are normal and move apart as it learns.

    At a distance of d standard deviations the AUC is Phi(d / sqrt 2). Its probabilities are
    calibrated, but for noise from epoch to epoch: some that all images share, some of their own.
    """
    pace = generator.uniform(0.05, 0.4) * num_epochs
    distance = best_distance * (1 - np.exp(-np.arange(1, num_epochs + 1) / pace))[:, None]
    labels = np.repeat([0, 1], counts)
    logits = distance * (distance * labels + generator.normal(size=len(labels)) - distance / 2)
    logits += math.log(counts[1] / counts[0])
    logits += generator.normal(0, 0.5, (num_epochs, 1))
    logits += generator.normal(0, 0.3, logits.shape)
    decisions, loss = logits >= 0, np.logaddexp(0, np.where(labels, -logits, logits)).mean(axis=1)
    ranks = logits.argsort(axis=1).argsort(axis=1) + 1
    m, n = counts[1], counts[0]
    return make_history(
        math.log(2) * (1 - 0.25 * distance[:, 0]) * (1 + generator.normal(0, 0.06, num_epochs)),
        loss,
        val_accuracy=(decisions == labels).mean(axis=1),
        val_auc=(ranks[:, labels == 1].sum(axis=1) - m * (m + 1) / 2) / (m * n),
        val_tp=decisions[:, labels == 1].sum(axis=1),
        val_fp=decisions[:, labels == 0].sum(axis=1),
        val_tn=(~decisions)[:, labels == 0].sum(axis=1),
        val_fn=(~decisions)[:, labels == 1].sum(axis=1),
    )


def count_names(num_runs, num_epochs, counts, best_distance, **settings):
    """The share of simulated runs in which each diagnosis is made at the end."""
    generator = np.random.default_rng(0)
    facts = make_facts(counts=counts, epochs=num_epochs, **settings)
    names = [
        name
        for _ in range(num_runs)
        for name in name_all(simulate(generator, num_epochs, counts, best_distance), facts)
    ]
    return {name: names.count(name) / num_runs for name in sorted(set(names))}


def test_the_simulation_has_the_auc_it_should_have():
    history = simulate(np.random.default_rng(1), 40, (2000, 2000), 2.0)
    assert history["val_auc"].iloc[-1] == pytest.approx(0.92, abs=0.02)  # Phi(2 / sqrt 2)
    assert history["val_loss"].iloc[0] > 0.6 > 0.5 > history["val_loss"].min()


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(("num_epochs", "counts"), [(10, (20, 20)), (40, (60, 20)), (40, (40, 40))])
def test_healthy_runs_are_left_alone(num_epochs, counts, keep):
    shares = count_names(60, num_epochs, counts, 2.0, keep=keep)
    assert sum(shares.values()) <= 0.05


@pytest.mark.parametrize("num_epochs", [10, 250])
def test_healthy_runs_with_a_dozen_validation_images_are_told_that_these_are_few(num_epochs):
    shares = count_names(60, num_epochs, (8, 7), 2.0)
    assert shares.pop("small_validation") == 1
    # With an AUC of 0.92 now and then 15 images look like chance, or like the majority.
    assert sum(shares.values()) <= 0.1


@pytest.mark.parametrize("counts", [(40, 40), (8, 7)])
def test_runs_that_know_nothing_are_found_out(counts):
    shares = count_names(60, 40, counts, 1e-9)
    assert shares["nothing_learned"] + shares.get("one_class", 0) >= 0.75
    assert "swapped_labels" not in shares


def test_random_aucs_are_reported_as_chance_and_strong_ones_are_not():
    generator = np.random.default_rng(2)
    facts = make_facts(counts=(20, 15), epochs=20, keep="best")
    labels = np.repeat([0, 1], (20, 15))
    history = make_history(fall(20, end=0.6))
    aucs = [estimate_auc(labels, generator.random(35)).value for _ in range(200)]
    found = [diagnose(history.assign(val_auc=auc), facts) for auc in aucs]
    assert sum(bool(items) for items in found) / 200 == pytest.approx(0.95, abs=0.03)
    sure = [estimate_auc(labels, generator.random(35) + labels).value for _ in range(100)]
    assert not any(diagnose(history.assign(val_auc=auc), facts) for auc in sure)


def test_overfitting_is_found_in_noise_and_noise_is_not_overfitting():
    generator = np.random.default_rng(3)
    facts, found = make_facts(epochs=100), {0.0: 0, 0.01: 0}
    for rise in found:
        for _ in range(60):
            history = turning(100, 30, rise)
            history["val_loss"] *= generator.lognormal(0, 0.15, 100)
            found[rise] += "overfitting" in name_all(history, facts)
    assert found[0.01] == 60
    assert found[0.0] <= 1
