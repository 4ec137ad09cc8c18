"""Numbers in words: what they are called, how they are written, and why they are undefined."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from polyp_core.words import NBSP, round_percent

Plain = Mapping[str, Any]  # one metric: value, low, high, n; with a reason where undefined


class Name(NamedTuple):
    """What a number is called, how it is written, and what it says."""

    title: str
    form: str
    meaning: str


NAMES = {
    "accuracy": Name("Accuracy", "%", "Right answers, of all"),
    "majority_accuracy": Name("Majority baseline", "%", "Always the more frequent class"),
    "balanced_accuracy": Name("Balanced accuracy", "%", "Mean of sensitivity and specificity"),
    "sensitivity": Name("Sensitivity", "%", "Found, of the positive"),
    "specificity": Name("Specificity", "%", "Left alone, of the negative"),
    "ppv": Name("PPV", "%", "Positive, of those called so"),
    "npv": Name("NPV", "%", "Negative, of those called so"),
    "ppv_at_prevalence": Name("PPV at that prevalence", ".1%", "The same among other people"),
    "npv_at_prevalence": Name("NPV at that prevalence", ".1%", "The same among other people"),
    "f1": Name("F1", ".2f", "Sensitivity and PPV in one"),
    "mcc": Name("MCC", ".2f", "Correlation; 0 is guessing"),
    "auc": Name("AUC", ".2f", "Of ranking; 0.5 is guessing"),
    "average_precision": Name("Average precision", ".2f", "Area under precision and recall"),
    "brier": Name("Brier score", ".3f", "Mean squared error; 0 is best"),
    "log_loss": Name("Log loss", ".3f", "0 is best; 0.693 is always 50 %"),
    "calibration_slope": Name("Calibration slope", ".2f", "1 is best; below 1 is too sure"),
    "calibration_intercept": Name("Calibration intercept", ".2f", "0 is best; below 0: too high"),
    "expected_calibration_error": Name("Expected calibration error", ".3f", "0 is best"),
}  # fmt: skip


def say_number(metric: Plain, form: str) -> str:
    """Such as "84 % (76–90)" or "0.91 (0.84–0.97)"."""
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        return "not defined"
    said = _write(value, form) + (f"{NBSP}%" if "%" in form else "")
    if low is None or high is None:
        return f"{said} (no interval)"
    join = "–" if low >= 0 else " to "
    return f"{said} ({_write(low, form)}{join}{_write(high, form)})"


def list_reasons(numbers: Mapping[str, Mapping[str, Plain]]) -> list[str]:
    """Why numbers or their intervals are undefined, each reason once."""
    found: dict[str, list[str]] = {}
    for metrics in numbers.values():
        for name, metric in metrics.items():
            if metric.get("reason") and name in NAMES:
                titles = found.setdefault(metric["reason"], [])
                titles += [NAMES[name].title] * (NAMES[name].title not in titles)
    return [f"{', '.join(titles)}: {reason}" for reason, titles in found.items()]


def say_signed(value: float, digits: int) -> str:
    """Such as "+0.05" or "−0.12"."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"


def say_p(value: float | None) -> str:
    """Such as "p = 0.03" or "p < 0.001"; "" for none."""
    if value is None:
        return ""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.0995 else f"p = {value:.2f}"


def _write(value: float, form: str) -> str:
    if form == "%":
        return str(round_percent(value))
    if form == ".1%":  # where the answer is nearly always the same, whole percents say nothing
        return f"{100 * value:.1f}"
    return f"{value:{form}}".replace("-", "−")
