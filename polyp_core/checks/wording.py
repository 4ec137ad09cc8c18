"""What the checks of a run say, in words; the file may be damaged or of another version."""

from collections.abc import Mapping, Sequence
from typing import Any

from polyp_core import words
from polyp_core.evidence.wording import NAMES, Plain, say_p, say_signed

SIGN, FINE, UNKNOWN = "sign", "fine", "unknown"  # of a shortcut
FEW = "few"  # too few images to tell: the interval allows a shortcut as well as none
_MIN_SALIENCY = 0.05  # less is no weight to speak of, whatever its area
_MIN_EXCESS = 0.05  # over the area: what an interval has to exclude before nothing is seen in it
_MIN_LOSS = 0.05  # of the AUC without the border, likewise
_MIN_COUNT = 5  # of fewer images or patients an interval says too little
_MIN_DROP = 0.02  # less is hardly a change
_COUNTS = ("num_images", "num_validation_images", "num_left_out")
_PLACES = {  # where, and what lies there
    "outside": ("outside the scan area", "the ground, the ruler or the logo of the machine"),
    "text": ("on burned-in text", "the writing, which differs between hospitals and years"),
}
AXES = {  # of the strength of an effect
    "noise": "SD (of 255 grey levels)", "blur": "SD (% of the width)", "gain": "dB, up or down",
    "rotation": "Degrees, left or right", "jpeg": "100 less the quality",
}  # fmt: skip


def is_sound(checks: Mapping[str, Any]) -> bool:
    """Whether all is there that a report says and draws of the checks."""
    try:
        counts = [checks[name] for name in _COUNTS]
        if checks["num_patients"] is not None:
            counts.append(checks["num_patients"])
        if not all(type(number) is int for number in counts):
            return False
        list_shortcuts(checks)
        unit, measure = choose_measure(checks)
        say_robustness(checks["robustness"], unit, measure)
        for effect in checks["robustness"]:
            for level in effect["levels"]:
                for row in (level[unit][measure], level[unit]["accuracy"]):
                    _ = [float(number) for number in (level["strength"], row["low"], row["high"])]
            _ = [effect[name] for name in ("effect", "title", "unit")]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return True


def choose_measure(checks: Plain) -> tuple[str, str]:
    """What is counted, and the number that is looked at: the AUC where there is one."""
    unit = "patient" if checks["num_patients"] is not None else "image"
    auc = checks["robustness"][0]["levels"][0][unit]["auc"]
    return unit, "auc" if auc["value"] is not None else "accuracy"


def list_shortcuts(checks: Plain) -> list[tuple[str, str]]:
    """What the checks say of each place and of the border, as `say_place`."""
    shortcuts = checks["shortcuts"]
    places = [say_place(place, shortcuts[place]) for place in _PLACES]
    return [*places, say_border(shortcuts["border"])]


def say_place(place: str, described: Plain) -> tuple[str, str]:
    """How much of the saliency lies where no disease is, in words, and what follows.

    Args:
        place: "outside" or "text".
        described: Of checks.json, with "all" and "classes".

    Returns:
        `SIGN`, `FINE`, `FEW` or `UNKNOWN`, and why.
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
        f"takes {words.write_percent(found['area']['value'])} of the picture{part}"
    )
    suspects = [name for name, one in described["classes"].items() if _is_suspect(one)]
    if _is_suspect(found):
        return SIGN, (
            f"{said}: more than its area explains. This can be a shortcut: the model may go by "
            f"{what}."
        )
    if suspects:
        return SIGN, (
            f"{said}; but in images of {' and of '.join(suspects)} it is more than its area "
            f"explains. This can be a shortcut: the model may go by {what}."
        )
    is_open = min(
        found["excess"]["high"] - _MIN_EXCESS, found["saliency"]["high"] - _MIN_SALIENCY
    ) >= 0  # fmt: skip
    if is_open or found["saliency"]["n"] < _MIN_COUNT:
        return FEW, f"{said}: too few images to tell."
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
        f"With the outermost {words.write_percent(described['width'])} on each side painted "
        f"over the AUC is {words.say_auc(after)} instead of {words.say_auc(before)}"
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
    if difference["low"] <= -_MIN_LOSS:
        return FEW, f"{said} ({interval}): too few images to tell."
    return FINE, f"{said} ({interval}): no sign that the model goes by the border."


def say_robustness(effects: Sequence[Plain], unit: str, measure: str) -> str:
    """Under what the number falls most, and under what it hardly changes.

    Args:
        effects: Of checks.json.
        unit: "image" or "patient".
        measure: "auc" or "accuracy".
    """
    say = words.say_auc if measure == "auc" else words.say_percent
    title = NAMES[measure].title
    drops = [_measure_drop(effect, unit, measure) for effect in effects]
    calm = [
        name_effect(effect)
        for effect, drop in zip(effects, drops, strict=True)
        if abs(drop) < _MIN_DROP
    ]
    worst = effects[drops.index(max(drops))]
    first, last = worst["levels"][0], worst["levels"][-1]
    begun = say(first[unit][measure])
    if max(drops) < _MIN_DROP:
        return f"{title} {begun} hardly falls under any of these, even at their strongest."
    said = (
        f"{title} {begun} falls most under {name_effect(worst)}: to {say(last[unit][measure])} at "
        f"{last['label']}."
    )
    return f"{said} It hardly changes under {words.join_words(calm)}." if calm else said


def is_robust(effects: Sequence[Plain], unit: str, measure: str) -> bool:
    """Whether the number hardly falls under any effect; takes what `say_robustness` does."""
    return all(_measure_drop(effect, unit, measure) < _MIN_DROP for effect in effects)


def name_effect(effect: Plain) -> str:
    """Such as "gain" for "Gain, up and down"; what is all capitals stays."""
    name = str(effect["title"]).split(",")[0]
    return name if name.isupper() else name.lower()


def _measure_drop(effect: Plain, unit: str, measure: str) -> float:
    """How far the number falls from the images as they are to the strongest effect."""
    first, last = (effect["levels"][place][unit][measure] for place in (0, -1))
    return float(first["value"] - last["value"])


def _is_suspect(found: Plain) -> bool:
    """Whether the model looks at a place surely more than its area explains, and not just a bit."""
    low, saliency = found["excess"]["low"], found["saliency"]["value"]
    return low is not None and low > 0 and saliency >= _MIN_SALIENCY
