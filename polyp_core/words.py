"""Numbers become words: percent without false precision, always with interval and n."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_ABSENCE = re.compile(r"(^non)|(^|[^a-z])(non|not|no|normal|benign|negative|healthy)([^a-z]|$)")
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: controls, formats, breaks
NBSP = "\N{NO-BREAK SPACE}"
Plain = Mapping[str, Any]  # one metric of metrics.json: value, low, high, n


def say_percent(metric: Plain) -> str:
    """Such as "84 % (76–90)"; "not defined" where nothing was counted."""
    if metric["value"] is None:
        return "not defined"
    low, high = round_percent(metric["low"]), round_percent(metric["high"])
    return f"{write_percent(metric['value'])} ({low}–{high})"


def write_percent(share: float) -> str:
    """Such as "84 %", which no line breaks."""
    return f"{round_percent(share)}{NBSP}%"


def write_threshold(threshold: float) -> str:
    """Percent with one digit, with more of them near the ends."""
    percent = 100 * threshold
    nearest = min(percent, 100 - percent)
    digits = 1 if nearest >= 0.1 or nearest == 0 else 3 if nearest >= 0.001 else 6
    return f"{percent:.{digits}f}{NBSP}%"


def say_auc(metric: Plain) -> str:
    """Such as "0.91 (0.84–0.97)"."""
    if metric["value"] is None:
        return "not defined"
    return f"{metric['value']:.2f} ({metric['low']:.2f}–{metric['high']:.2f})"


def say_worth(level: Mapping[str, Plain], unit: str) -> str:
    """What a model is worth, in one sentence with n, interval and majority baseline.

    Args:
        level: The metrics of one level.
        unit: What is counted, in the plural: "images" or "patients".
    """
    accuracy, majority = level["accuracy"], level["majority_accuracy"]
    n = accuracy["n"]
    if n == 0:
        return f"no {unit} to test on"
    return (
        f"{round(accuracy['value'] * n):,} of {n:,} {unit} right, "
        f"{write_percent(accuracy['value'])} (95 % interval {round_percent(accuracy['low'])} to "
        f"{round_percent(accuracy['high'])}); always answering the more frequent class would get "
        f"{write_percent(majority['value'])}"
    )


def say_doubt(
    level: Mapping[str, Plain], purpose: str = "", advice: str = "look at the data again"
) -> str:
    """What the interval does not allow to claim, or nothing where it clears the baseline.

    Args:
        level: The metrics of one level.
        purpose: What the threshold was chosen for, such as "at least 95 % sensitivity", if for
            anything: then it may well give fewer right answers than the baseline.
        advice: What to do where the result is not above the baseline.
    """
    accuracy, majority = level["accuracy"], level["majority_accuracy"]
    if accuracy["n"] == 0 or accuracy["low"] > majority["value"]:
        return ""
    if accuracy["value"] <= majority["value"] and purpose:
        return f"This threshold is for {purpose}, and pays for it with right answers."
    if accuracy["value"] < majority["value"]:
        return f"It is worse than that: {advice}."
    if accuracy["value"] == majority["value"]:
        return f"It is no better than that: {advice}."
    return (
        "It is not shown to be better than that: the interval still holds it, and more images "
        "would be needed to be sure."
    )


def get_main_level(metrics: Mapping[str, Any]) -> tuple[Mapping[str, Plain], str]:
    """The metrics to quote and what they count: patients where they are known, else images."""
    if "patient" in metrics:
        return metrics["patient"], "patients"
    return metrics["image"], "images"


def say_duration(seconds: float) -> str:
    """Such as "about 3 min"."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"about {round(minutes)} min"
    return f"about {minutes / 60:.1f} h"


def say_count(number: int) -> str:
    """Such as "5.0 million" or "98 thousand"."""
    if number >= 999_500:
        return f"{number / 1_000_000:.1f} million"
    return f"{round(number / 1000)} thousand" if number >= 1000 else str(number)


def say_number(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 image", "2 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def join_words(parts: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def round_percent(share: float) -> int:
    """Percent, 100 or 0 only where it is exactly that."""
    # Below 100 only where it is not all of them: 199 of 200 is 99 %, not 100 %.
    percent = round(share * 100)
    if percent == 100 and share < 1:
        return 99
    return 1 if percent == 0 and share > 0 else percent


def speaks_of_absence(class_name: str) -> bool:
    """Whether a class is named after what is not there, such as "non-calcified" or "normal"."""
    return _ABSENCE.search(class_name.lower()) is not None


def make_visible(text: str) -> str:
    """Text from outside with every unseen character written out, such as "[U+202E]".

    Line breaks, marks that turn the direction of writing and terminal controls could make a name
    look like another, or do worse.
    """
    return "".join(
        f"[U+{ord(mark):04X}]" if unicodedata.category(mark) in _UNSEEN else mark for mark in text
    )
