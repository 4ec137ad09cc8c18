"""The two drawings of a sheet, as SVG: where the probability stands, and what the colours mean."""

import cv2
import numpy as np

from polyp_core.answers.wording import say_probability, say_threshold
from polyp_core.prediction import Classifier

COLOURS = ("#0072B2", "#E69F00")  # of the negative and the positive class, safe for colour-blind
_PALE = ("#CFE3F0", "#FAE7BF")
_WIDTH, _EDGE = 688, 4  # of the drawing, in CSS px on A4; kept free at both ends
_NUM_STOPS = 9
_INK, _MUTED = "#1b1d20", "#5a6068"


def draw_bar(probability: float, classifier: Classifier) -> str:
    """From 0 to 100 %: the two sides of the threshold, the band, and a mark at the probability."""
    threshold = classifier.threshold
    cut, place = _place(threshold), _place(probability)
    said, cut_said = say_probability(probability, threshold), say_threshold(threshold, probability)
    parts = [
        f'<rect x="{_EDGE}" y="22" width="{cut - _EDGE:.1f}" height="14" fill="{_PALE[0]}"/>',
        f'<rect x="{cut:.1f}" y="22" width="{_WIDTH - _EDGE - cut:.1f}" height="14" '
        f'fill="{_PALE[1]}"/>',
        _draw_band(classifier),
        f'<line x1="{cut:.1f}" x2="{cut:.1f}" y1="19" y2="40" stroke="{_INK}" '
        'stroke-dasharray="3 2"/>',
        f'<rect x="{place - 2:.1f}" y="18" width="4" height="22" rx="1" fill="{_INK}"/>',
        _write(probability, 13, said, f'font-weight="650" fill="{_INK}"'),
        _write(threshold, 53, f"{cut_said} decides", f'fill="{_MUTED}"'),
    ]
    for end, name in ((0.0, "0"), (1.0, "100")):
        if abs(end - threshold) > 0.15:
            parts.append(_write(end, 53, f"{name}\N{NO-BREAK SPACE}%", f'fill="{_MUTED}"'))
    return (
        f'<svg viewBox="0 0 {_WIDTH} 58" role="img" aria-label="Probability {said}" '
        f'font-family="inherit" font-size="12">{"".join(parts)}</svg>'
    )


def draw_ramp() -> str:
    """From no evidence to the strongest, in the colours of the overlay."""
    shades = np.linspace(0, 255, _NUM_STOPS).round().astype(np.uint8)
    colours = cv2.applyColorMap(shades.reshape(-1, 1), cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    stops = "".join(
        f'<stop offset="{number / (_NUM_STOPS - 1):.3f}" stop-color="rgb({red},{green},{blue})" '
        # As on the picture: the weaker, the more of the picture is seen.
        f'stop-opacity="{np.sqrt(number / (_NUM_STOPS - 1)):.2f}"/>'
        for number, (red, green, blue) in enumerate(colours.tolist())
    )
    return (
        '<svg viewBox="0 0 320 30" role="img" aria-label="From no evidence to the strongest" '
        'font-family="inherit" font-size="11"><defs><linearGradient id="ramp">'
        f'{stops}</linearGradient></defs><rect x="0.5" y="0.5" width="319" height="12" '
        f'fill="url(#ramp)" stroke="#c9cdd2"/><g fill="{_MUTED}"><text x="0" y="26">none</text>'
        '<text x="320" y="26" text-anchor="end">strong</text></g></svg>'
    )


def _draw_band(classifier: Classifier) -> str:
    band = classifier.band
    if band is None or band.low == band.high:
        return ""
    low, high = _place(band.low), _place(band.high)
    return (
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" fill="#e4e6e9"/>'
        '<line y2="6" stroke="#8a9097" stroke-width="2"/></pattern></defs>'
        f'<rect x="{low:.1f}" y="22" width="{high - low:.1f}" height="14" fill="url(#hatch)"/>'
    )


def _place(share: float) -> float:
    return _EDGE + share * (_WIDTH - 2 * _EDGE)


def _write(share: float, y: int, text: str, style: str) -> str:
    """A label at its place on the bar; at the ends it stays inside."""
    anchor = "start" if share < 0.06 else "end" if share > 0.94 else "middle"
    return f'<text x="{_place(share):.1f}" y="{y}" text-anchor="{anchor}" {style}>{text}</text>'
