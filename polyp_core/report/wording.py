"""Numbers and findings of a report in words, as the pages say them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from polyp_core import words

NBSP = "\N{NO-BREAK SPACE}"
SIGN, FINE, UNKNOWN = "sign", "fine", "unknown"  # of a shortcut
_MIN_SALIENCY = 0.05  # less is no weight to speak of, whatever its area
_MIN_DROP = 0.02  # less is hardly a change
_PLACES = {
    "outside": ("outside the scan area", "the ground, the ruler or the logo of the machine"),
    "text": ("on burned-in text", "the writing, which differs between hospitals and years"),
}
_LEFT_OUT = (
    ("num_training_images_left_out", "image", "left out: the model was trained on {it}."),
    ("num_unreadable", "file", "left out: {it} cannot be read."),
    ("num_images_of_training_patients", "image",
     "counted, but of a patient named as one of training. If it is the same person, the result "
     "leans to the good side."),
    ("num_validation_images", "image",
     "counted that the model was validated on: epoch and threshold may have been chosen by {it}."),
)  # fmt: skip
_QUOTED = re.compile(r"(?<![^\s(])'([^']*)'(?![^\s.,;:)])")  # between blanks or stops
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
    said = _write(value, form) + (f"{NBSP}%" if form == "%" else "")
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


def say_place(place: str, described: Plain) -> tuple[str, str]:
    """How much of the saliency lies where no disease is: `SIGN`, `FINE` or `UNKNOWN`, and why.

    Args:
        place: "outside" or "text".
        described: Of checks.json, with "all" and "classes".
    """
    where, what = _PLACES[place]
    found = described["all"]
    if found["saliency"]["value"] is None:
        return UNKNOWN, str(found["saliency"]["reason"])
    part = (
        "" if found["num_with"] == found["num_images"]
        else f", in the {found['num_with']} of {found['num_images']} images that have any"
    )  # fmt: skip
    said = (
        f"On average {words.say_percent(found['saliency'])} of the saliency lies {where}, which "
        f"takes {words.round_percent(found['area']['value'])} % of the picture{part}"
    )
    suspects = [name for name, one in described["classes"].items() if _is_suspect(one)]
    if _is_suspect(found):
        return SIGN, f"{said}: more than its area explains. The model may go by {what}."
    if suspects:
        return SIGN, (
            f"{said}; but in images of {' and of '.join(suspects)} it is more than its area "
            f"explains. The model may go by {what}."
        )
    if found["excess"]["low"] is not None and found["excess"]["low"] > 0:
        return FINE, f"{said}: more than its area explains, but too little to carry an answer."
    return FINE, f"{said}: no sign of a shortcut."


def say_border(described: Plain) -> tuple[str, str]:
    """What the AUC is with the border painted over; returns as `say_place`."""
    found = described.get("patient") or described["image"]
    before, after, difference = found["auc"], found["auc_blanked"], found["difference"]
    if before["value"] is None:
        return UNKNOWN, f"The border cannot be judged: {before['reason']}"
    said = (
        f"With the outermost {words.round_percent(described['width'])} % on each side painted over "
        f"the AUC is {words.say_auc(after)} instead of {words.say_auc(before)}"
    )
    if difference["low"] is None:
        return UNKNOWN, f"{said}. {difference['reason']}"
    interval = (
        f"difference {say_signed(difference['value'], 2)}, 95 % interval "
        f"{say_signed(difference['low'], 2)} to {say_signed(difference['high'], 2)}, "
        f"{say_p(difference['p_value'])}"
    )
    if difference["high"] < 0:
        return SIGN, (
            f"{said} ({interval}). The border carries a part of the answer: fine if it shows "
            "anatomy, a shortcut if it does not."
        )
    return FINE, f"{said} ({interval}): no sign that the model goes by the border."


def say_robustness(effects: Sequence[Plain], unit: str, measure: str = "auc") -> str:
    """Under what the number falls most.

    Args:
        effects: Of checks.json.
        unit: "image" or "patient".
        measure: "auc" or "accuracy".
    """
    say = words.say_auc if measure == "auc" else words.say_percent
    title = "AUC" if measure == "auc" else "Accuracy"
    drops = []
    for effect in effects:
        first, last = effect["levels"][0], effect["levels"][-1]
        fall = first[unit][measure]["value"] - last[unit][measure]["value"]
        drops.append((float(fall), effect, last))
    fall, worst, last = max(drops, key=lambda item: item[0])
    begun = say(worst["levels"][0][unit][measure])
    if fall < _MIN_DROP:
        return f"{title} {begun} hardly falls under any of these, even at their strongest."
    return (
        f"{title} {begun} falls most under {name_effect(worst)}: to {say(last[unit][measure])} at "
        f"{last['label']}."
    )


def name_effect(effect: Plain) -> str:
    """Such as "gain" for "Gain, up and down"; what is all capitals stays."""
    name = str(effect["title"]).split(",")[0]
    return name if name.isupper() else name.lower()


def list_left_out(metrics: Plain) -> list[str]:
    """What was left out of a test on another folder, or counted with a doubt."""
    said = []
    for name, noun, meaning in _LEFT_OUT:
        number = metrics.get(name, 0)
        if isinstance(number, int) and number > 0:
            text = meaning.format(it="it" if number == 1 else "them")
            text = text.replace("them cannot", "they cannot")
            said.append(f"{words.say_number(number, noun)} {text}")
    return said


def hide_names(text: str, class_names: Sequence[str]) -> str:
    """A finding without what it quotes, which may be a patient's name; the classes stay.

    A name may itself hold the marks of quotation. Where it is not sure which belong together, all
    goes from the first to the last.
    """
    pairs = _QUOTED.findall(text)
    if 2 * len(pairs) == text.count("'"):
        return _QUOTED.sub(lambda found: found[0] if found[1] in class_names else "(a name)", text)
    first, last = text.index("'"), text.rindex("'")
    return f"{text[:first]}(a name){text[last + 1 :]}"


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


def join_words(parts: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _is_suspect(found: Plain) -> bool:
    """Whether the model looks at a place surely more than its area explains, and not just a bit."""
    low, saliency = found["excess"]["low"], found["saliency"]["value"]
    return low is not None and low > 0 and saliency >= _MIN_SALIENCY


def _write(value: float, form: str) -> str:
    return str(words.round_percent(value)) if form == "%" else f"{value:{form}}".replace("-", "−")
