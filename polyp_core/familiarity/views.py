"""What would be measured of an image if it were turned, mirrored or a negative; nothing is drawn.

All that depends on direction or on dark and bright is measured so that it changes exactly with the
image: places move, directions turn, greys are counted from the other end.
"""

import numpy as np

from polyp_core.familiarity.measurements import CELLS, DIRECTIONS, FACTS, LAYOUT_PX, Measured

_PLACE = {name: number for number, name in enumerate(FACTS)}
_ACROSS = [_PLACE["across"], _PLACE["across_coarse"]]
_DOWN = [_PLACE["leading"], _PLACE["leading_coarse"]]
_ASIDE = [_PLACE["aside"], _PLACE["aside_coarse"]]
_TONE = [_PLACE[name] for name in ("brightness", "dark_grey", "middle_grey", "bright_grey")]
_OPPOSITE = [_PLACE[name] for name in ("brightness", "bright_grey", "middle_grey", "dark_grey")]
_ENDS = [_PLACE["black"], _PLACE["white"]]
_SEPARATING = [*_ACROSS, *_DOWN, *_ASIDE, *_TONE, *_ENDS]


def mirror(measured: Measured) -> Measured:
    """Left and right change places.

    Args:
        measured: Of n images, as in all functions here.
    """
    places = _get_places(measured)[:, :, ::-1]
    places = places[..., (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS]
    facts = measured.facts.copy()
    facts[:, _ASIDE] *= -1
    return _replace(measured, facts, _get_squares(measured)[:, :, ::-1], places)


def turn(measured: Measured, quarters: int) -> Measured:
    """Turned counter-clockwise by so many quarters."""
    for _ in range(quarters):
        squares = np.rot90(_get_squares(measured), axes=(1, 2))
        # Rows run down, so that counter-clockwise is against the direction of the angle.
        places = np.rot90(_get_places(measured), axes=(1, 2))
        places = np.roll(places, -DIRECTIONS // 4, axis=-1)
        facts = measured.facts.copy()
        facts[:, _ACROSS] *= -1
        facts[:, _DOWN] = -measured.facts[:, _ASIDE]
        facts[:, _ASIDE] = measured.facts[:, _DOWN]
        measured = _replace(measured, facts, squares, places)
    return measured


def invert(measured: Measured) -> Measured:
    """Dark and bright are exchanged."""
    places = np.roll(_get_places(measured), DIRECTIONS // 2, axis=-1)
    facts = measured.facts.copy()
    facts[:, _TONE] = 255 - measured.facts[:, _OPPOSITE]
    facts[:, _ENDS] = measured.facts[:, _ENDS[::-1]]
    facts[:, _DOWN + _ASIDE] *= -1
    return _replace(measured, facts, -_get_squares(measured), places)


def list_rows(measured: Measured) -> np.ndarray:
    """All that these functions change, side by side: `(n, d)`."""
    return np.concatenate([measured.layout, measured.edges, measured.facts[:, _SEPARATING]], axis=1)


def _get_squares(measured: Measured) -> np.ndarray:
    return measured.layout.reshape(-1, LAYOUT_PX, LAYOUT_PX)


def _get_places(measured: Measured) -> np.ndarray:
    return measured.edges.reshape(-1, CELLS, CELLS, DIRECTIONS)


def _replace(
    measured: Measured, facts: np.ndarray, squares: np.ndarray, places: np.ndarray
) -> Measured:
    rows = len(facts)
    return measured._replace(
        facts=facts, layout=squares.reshape(rows, -1), edges=places.reshape(rows, -1)
    )
