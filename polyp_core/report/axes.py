"""The axes of a chart: from where to where, with round ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERCENT_TICKS = tuple((share, f"{100 * share:.0f}\N{NO-BREAK SPACE}%") for share in
                      (0.0, 0.25, 0.5, 0.75, 1.0))  # fmt: skip
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        title: Its name with the unit.
        low: Where it begins.
        high: Where it ends, above `low`.
        ticks: Place and text of each.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


def make_axis(title: str, values: Sequence[float], *, from_zero: bool = False) -> Axis:
    """An axis that holds the values, with round ticks.

    Args:
        title: Its name with the unit.
        values: Those that are not finite do not count.
        from_zero: Whether it begins at 0.
    """
    known = [float(value) for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    low = min(0.0, low) if from_zero else low
    if low == high:
        reach = abs(low) / 2
        low, high = (low - reach, high + reach) if reach and not from_zero else (low, low + 1)
    ticks = find_ticks(low, high)
    step = ticks[1] - ticks[0]
    texts = tuple((tick, write_number(tick, step)) for tick in ticks)
    return Axis(title=title, low=min(low, ticks[0]), high=max(high, ticks[-1]), ticks=texts)


def make_count_axis(title: str, values: Sequence[int]) -> Axis:
    """An axis of whole numbers that ends with them, such as epochs."""
    low, high = min(values, default=0), max(values, default=1)
    low, high = (low, high) if low < high else (low - 1, high + 1)
    step = max(1.0, find_ticks(low, high)[1] - find_ticks(low, high)[0])
    whole = math.ceil(step)
    first = math.ceil(low / whole) * whole
    ticks = tuple((float(tick), f"{tick:,}") for tick in range(first, high + 1, whole))
    return Axis(title=title, low=low, high=high, ticks=ticks)


def make_share_axis(title: str) -> Axis:
    """From 0 to 100 %."""
    return Axis(title=title, low=0.0, high=1.0, ticks=PERCENT_TICKS)


def find_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers a round step apart, from the last at or below `low` to the first from `high`.

    Args:
        low: Below `high`.
        high: See there.
        most: How many at most between the two; at least 2.
    """
    rough = (high - low) / max(1, most - 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in _STEPS if factor * size >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def write_number(value: float, step: float) -> str:
    """A number with as many decimals as its step needs."""
    decimals = 0
    while decimals < 9 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    return f"{value:.{decimals}f}".replace("-", "−")
