import pytest

from polyp_core.evidence.goals import Goal
from polyp_core.words import (
    get_main_level,
    make_visible,
    say_auc,
    say_count,
    say_doubt,
    say_duration,
    say_percent,
    say_worth,
    speaks_of_absence,
    write_threshold,
)

UNDEFINED = {"value": None, "low": None, "high": None, "n": 0}


def make_metric(value: float, low: float, high: float, n: int = 200) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": n}


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (make_metric(0.84, 0.761, 0.899), "84\xa0% (76–90)"),
        (make_metric(1.0, 0.981, 1.0), "100\xa0% (98–100)"),
        (make_metric(199 / 200, 0.972, 0.9991), "99\xa0% (97–99)"),
        (make_metric(0.0, 0.0, 0.019), "0\xa0% (0–2)"),
        (make_metric(1 / 1000, 0.0002, 0.0056), "1\xa0% (1–1)"),
        (UNDEFINED, "not defined"),
    ],
)
def test_percent_is_100_only_for_all_and_0_only_for_none(metric, text):
    assert say_percent(metric) == text


@pytest.mark.parametrize(
    ("metric", "text"),
    [(make_metric(0.912, 0.838, 0.971), "0.91 (0.84–0.97)"), (UNDEFINED, "not defined")],
)
def test_auc_has_two_digits_and_its_interval(metric, text):
    assert say_auc(metric) == text


def test_worth_is_one_sentence_with_count_interval_and_baseline():
    level = {
        "accuracy": make_metric(11 / 12, 0.646, 0.985, 12),
        "majority_accuracy": make_metric(7 / 12, 0.32, 0.81, 12),
    }
    assert say_worth(level, "patients") == (
        "11 of 12 patients right, 92\xa0% (95 % interval 65 to 98); always answering the more "
        "frequent class would get 58\xa0%"
    )


def test_worth_of_nearly_all_right_is_not_100_percent():
    level = {
        "accuracy": make_metric(999 / 1000, 0.9944, 0.9998, 1000),
        "majority_accuracy": make_metric(0.5, 0.47, 0.53, 1000),
    }
    assert say_worth(level, "images").startswith(
        "999 of 1,000 images right, 99\xa0% (95 % interval 99 to 99);"
    )


def test_patients_are_quoted_where_they_are_known():
    assert get_main_level({"image": {"n": 1}, "patient": {"n": 2}}) == ({"n": 2}, "patients")
    assert get_main_level({"image": {"n": 1}}) == ({"n": 1}, "images")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "about 1 s"),
        (1.4, "about 1 s"),
        (59, "about 59 s"),
        (60, "about 1 min"),
        (170, "about 3 min"),
        (89 * 60, "about 89 min"),
        (90 * 60, "about 1.5 h"),
        (10 * 3600, "about 10.0 h"),
    ],
)
def test_duration_has_the_unit_that_fits(seconds, text):
    assert say_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 thousand"),
        (98_000, "98 thousand"),
        (999_999, "1.0 million"),
        (5_046_369, "5.0 million"),
    ],
)
def test_count_is_said_in_thousands_and_millions(number, text):
    assert say_count(number) == text


@pytest.mark.parametrize(
    ("value", "low", "expected"),
    [
        (0.9, 0.8, ""),
        (
            0.8,
            0.6,
            "It is not shown to be better than that: the interval still holds it, and more images "
            "would be needed to be sure.",
        ),
        (0.7, 0.5, "It is no better than that: look at the data again."),
        (0.6, 0.4, "It is worse than that: look at the data again."),
    ],
)
def test_doubt_is_said_where_the_interval_does_not_clear_the_baseline(value, low, expected):
    accuracy = {"value": value, "low": low, "high": 1.0, "n": 20}
    majority = {"value": 0.7, "low": 0.5, "high": 0.8, "n": 20}
    assert say_doubt({"accuracy": accuracy, "majority_accuracy": majority}) == expected


def test_what_to_do_about_a_poor_result_is_for_the_page_to_say():
    accuracy = {"value": 0.6, "low": 0.4, "high": 0.8, "n": 20}
    level = {"accuracy": accuracy, "majority_accuracy": accuracy | {"value": 0.7}}
    assert say_doubt(level, "", "ask him") == "It is worse than that: ask him."


def test_a_threshold_for_something_else_than_right_answers_is_no_failure():
    accuracy = {"value": 0.6, "low": 0.4, "high": 0.8, "n": 20}
    level = {"accuracy": accuracy, "majority_accuracy": accuracy | {"value": 0.7}}
    assert say_doubt(level, Goal("sensitivity", 0.95).purpose) == (
        "This threshold is for at least 95 % sensitivity, and pays for it with right answers."
    )
    assert say_doubt(level, Goal("hand", 0.4).purpose).startswith("It is worse than that")
    better = level | {"majority_accuracy": accuracy | {"value": 0.5}}
    assert say_doubt(better, Goal("youden").purpose).startswith("It is not shown to be better")


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(0.5, "50.0\xa0%"), (0.08843, "8.8\xa0%"), (0.00004, "0.004\xa0%"), (1.0, "100.0\xa0%")],
)
def test_a_threshold_has_one_digit_and_more_near_the_ends(threshold, text):
    assert write_threshold(threshold) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("polyp_1.png", "polyp_1.png"),
        ("Größe 3 × 4.png", "Größe 3 × 4.png"),
        ("a\u202egnp.png", "a[U+202E]gnp.png"),
        ("two\nlines\x1b[31m", "two[U+000A]lines[U+001B][31m"),
        ("\ud800\u2028\u200b", "[U+D800][U+2028][U+200B]"),
    ],
)
def test_unseen_characters_are_written_out(text, expected):
    assert make_visible(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("non-calcified", True), ("Normal", True), ("no_polyp", True), ("nodule", False),
     ("calcified", False), ("abnormal", False)],
)  # fmt: skip
def test_classes_named_after_what_is_not_there_are_known(name, expected):
    assert speaks_of_absence(name) is expected
