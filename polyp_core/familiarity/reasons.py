"""Why an image is no familiar one, in plain phrases."""

from collections.abc import Callable

import numpy as np

from polyp_core.familiarity.distances import KINDS, Arrays, find_levels, measure_distances
from polyp_core.familiarity.measurements import FACTS, Measured
from polyp_core.familiarity.views import invert, turn

_MAX_REASONS = 3
_CLEAR = 2.5  # deviations from the mean: less is not worth naming
_EVEN = 2.5  # the logarithm of 4 + the deviation of greys: below it is about 8
_VIEWS = {"quarter", "half", "negative"}
_SEEN_BACK = {"facts", "layout", "edges", *_VIEWS}
_GREY_SET = 0.01  # a set in which no more than this part of a picture is coloured is grey
_DARKER = "it is darker than the training images"
_BRIGHTER = "it is brighter than the training images"
_BLURRED = "it lacks the fine detail of the training images: perhaps it is blurred or enlarged"
_NOISY = "it has more fine detail or noise than the training images"
_NO_SHAPES = "it has less large structure than the training images, as noise or writing has"
_OTHER_SHAPES = "it has more large structure than the training images, beside which detail is weak"
_FEW_GREYS = "it has fewer shades of grey than the training images, as a drawing or writing has"
_UPRIGHT = "its lines run upright, those of the training images more level"
_LEVEL = "its lines run level, those of the training images more upright"
_OTHER_SIDE = "its edges are sharp on another side than in the training images"
_OTHER_EDGES = "its edges lie or run as in none of the training images"
_OTHER_LAYOUT = "bright and dark lie as in none of the training images"
_OTHER_FEATURES = "what the model reads in it is far from what it reads in all training images"
_BLOCKS = "it shows the squares of strong JPEG compression"
_UNIFORM = "it is nearly uniform, the training images are not"
_TOGETHER = "its brightness, detail and grain go together as in none of the training images"
_FACTS = {  # what it means if a fact is lower than usual, and if it is higher
    "brightness": (_DARKER, _BRIGHTER),
    "contrast": (
        "it has a weaker contrast than the training images",
        "it has a harsher contrast than the training images",
    ),
    "dark_grey": (_DARKER, "its darkest parts are brighter than in the training images"),
    "middle_grey": (_DARKER, _BRIGHTER),
    "bright_grey": ("its brightest parts are darker than in the training images", _BRIGHTER),
    "black": (
        "less of it is black than of the training images",
        "more of it is black than of the training images",
    ),
    "white": (
        "less of it is white than of the training images",
        "more of it is white than of the training images",
    ),
    "greys": (_FEW_GREYS, "its shades of grey are spread more evenly than in the training images"),
    "flat": (
        "it has fewer flat places than the training images",
        "more of it is flat than of the training images, as in a drawing or on a screen",
    ),
    "detail_1": (_BLURRED, _NOISY),
    "detail_2": (_BLURRED, _NOISY),
    "detail_3": (_BLURRED, _NOISY),
    "detail_4": (_NO_SHAPES, _OTHER_SHAPES),
    "detail_5": (_NO_SHAPES, _OTHER_SHAPES),
    "across": (_UPRIGHT, _LEVEL),
    "across_coarse": (_UPRIGHT, _LEVEL),
    "straight": (
        "fewer of its edges are level or upright than in the training images",
        "more of its edges are exactly level or upright, as in writing or on a screen",
    ),
    "leading": (_OTHER_SIDE, _OTHER_SIDE),
    "leading_coarse": (_OTHER_SIDE, _OTHER_SIDE),
    "aside": (_OTHER_SIDE, _OTHER_SIDE),
    "aside_coarse": (_OTHER_SIDE, _OTHER_SIDE),
    "grain": (
        "it is smoother than the training images",
        "its grain is stronger than in the training images",
    ),
    "grain_spread": (
        "its grain is the same everywhere, as noise is",
        "its grain changes more from place to place than in the training images",
    ),
    "levels": (_FEW_GREYS, "it has more shades of grey than the training images"),
}
_TURNED = "turned {}, it is like the training images: perhaps it is a turned scan"
_BACK: tuple[tuple[Callable[[Measured], Measured], str], ...] = (
    (lambda measured: turn(measured, 2), _TURNED.format("upside down")),
    (lambda measured: turn(measured, 1), _TURNED.format("to the left")),
    (lambda measured: turn(measured, 3), _TURNED.format("to the right")),
    (invert, "with dark and bright exchanged, it is like the training images"),
)


def find_reasons(
    arrays: Arrays, measured: Measured, levels: np.ndarray, least: float, usual: float
) -> tuple[str, ...]:
    """Say what is unusual in an image, most telling first.

    Args:
        arrays: Of the fitted distances and their units.
        measured: Of one image, with a first axis of 1.
        levels: `(k,)`, in the order of `KINDS`.
        least: Levels from here on are reasons; at least one is.
        usual: Below this level an image is as usual as most.
    """
    unusual = {kind for kind, level in zip(KINDS, levels, strict=True) if level >= least}
    reasons = [_explain_view(arrays, measured, usual)] if unusual & _VIEWS else []
    if "colour" in unusual:
        reasons.append(_explain_colour(float(measured.colour[0]), float(arrays["usual_colour"][0])))
    if "blocks" in unusual:
        reasons.append(_BLOCKS)
    if "facts" in unusual:
        reasons += _explain_facts(arrays, measured)
    if "layout" in unusual:
        reasons.append(_OTHER_LAYOUT)
    if unusual & {"edges", *_VIEWS}:
        reasons.append(_OTHER_EDGES)
    if "features" in unusual:
        reasons.append(_OTHER_FEATURES)
    return tuple(dict.fromkeys(reason for reason in reasons if reason))[:_MAX_REASONS]


def _explain_colour(share: float, usual: float) -> str:
    if usual < _GREY_SET:
        percent = max(1, round(100 * share))
        return f"{percent}\u00a0% of it is in colour, the training images are grey"
    return f"{round(100 * share)}\u00a0% of it is in colour, more than of the training images"


def _explain_facts(arrays: Arrays, measured: Measured) -> list[str]:
    """The facts that are farthest from usual."""
    far = (measured.facts[0] - arrays["facts.mean"]) / arrays["facts.scale"]
    if (
        far[FACTS.index("contrast")] < -_CLEAR
        and measured.facts[0][FACTS.index("contrast")] < _EVEN
    ):
        return [_UNIFORM]
    numbers = [number for number in np.argsort(-np.abs(far)) if abs(far[number]) >= _CLEAR]
    named = [_FACTS[FACTS[number]][int(far[number] > 0)] for number in numbers]
    return list(dict.fromkeys(named))[:2] or [_TOGETHER]


def _explain_view(arrays: Arrays, measured: Measured, usual: float) -> str:
    """Only what is usual when it is changed back is called a turned scan, or a negative."""
    levels = []
    for change_back, _ in _BACK:
        distances = measure_distances(arrays, change_back(measured))
        of_kind = dict(zip(KINDS, find_levels(arrays, distances)[0], strict=True))
        levels.append(max(of_kind[kind] for kind in _SEEN_BACK))
    return _BACK[int(np.argmin(levels))][1] if min(levels) < usual else ""
