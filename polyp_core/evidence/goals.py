"""How probabilities become answers: the goal of a threshold, a band without an answer, both."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyp_core.errors import ConfigError

LEVELS = ("image", "patient")
# Of each kind: the least and the greatest value, and one that serves as an example.
GOALS = {
    "sensitivity": (0.01, 1.0, 0.95),
    "specificity": (0.01, 1.0, 0.95),
    "youden": (0.0, 0.0, 0.0),
    "cost": (0.001, 1000.0, 5.0),
    "hand": (0.0, 1.0, 0.4),
}
MAX_TARGET_ERROR = 0.5
_EXAMPLES = "sensitivity=0.95, specificity=0.95, youden, cost=5 or hand=0.4"


@dataclass(frozen=True)
class Goal:
    """What a threshold is for.

    Attributes:
        kind: "sensitivity" or "specificity": at least `value` of it. "youden": the greatest sum of
            both. "cost": the least cost, where a missed positive costs `value` times as much as a
            false alarm. "hand": the threshold is `value`.
        value: See there; 0 for "youden".

    Raises:
        ConfigError: If there is no such kind, or the value is out of bounds.
    """

    kind: str
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in GOALS:
            raise ConfigError(
                "There is no such goal of a threshold. Expected one of: "
                f"{', '.join(GOALS)}. Received: {self.kind!r}"
            )
        low, high, example = GOALS[self.kind]
        if not _is_within(self.value, low, high):
            bounds = f"from {low:g} to {high:g}, such as {example:g}"
            raise ConfigError(
                f"The goal '{self.kind}' of the threshold cannot have this value. Expected "
                f"{'none' if low == high else bounds}. Received: {self.value!r}"
            )

    def write(self) -> str:
        """As `parse_goal` reads it, such as "sensitivity=0.95"."""
        return self.kind if self.kind == "youden" else f"{self.kind}={self.value:.9g}"

    def say(self) -> str:
        """In words, such as "at least 95 % sensitivity"."""
        return {
            "sensitivity": f"at least {100 * self.value:.4g} % sensitivity",
            "specificity": f"at least {100 * self.value:.4g} % specificity",
            "youden": "the greatest sum of sensitivity and specificity (Youden)",
            "cost": "the least cost, where a missed positive costs "
            f"{self.value:.4g} times a false alarm",
            "hand": "set by hand",
        }[self.kind]

    @property
    def purpose(self) -> str:
        """The same; "" for a threshold that was chosen for nothing that is known."""
        return "" if self.kind == "hand" else self.say()


@dataclass(frozen=True)
class Band:
    """Probabilities, the ends included, for which no answer is given; none where both are equal.

    Raises:
        ConfigError: If the ends are no probabilities in order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (_is_within(self.low, 0, 1) and _is_within(self.high, self.low, 1)):
            raise ConfigError(
                "The band without an answer has ends that cannot be used. Expected two "
                f"probabilities, the lower first. Received: {self.low!r} and {self.high!r}"
            )

    def holds(self, probabilities: np.ndarray | float) -> np.ndarray:
        """Which probabilities are within; of one number, one answer."""
        inside = (np.asarray(probabilities) >= self.low) & (np.asarray(probabilities) <= self.high)
        return inside & (self.low < self.high)


@dataclass(frozen=True)
class Decision:
    """How probabilities become answers.

    Attributes:
        goal: What the threshold is for.
        threshold: Positive from this probability on.
        band: Where no answer is given; None for an answer everywhere.
        target_error: The share of wrong answers that the band was chosen for, or None.
        level: "image" or "patient": whose probabilities both were chosen on.

    Raises:
        ConfigError: If a value is out of bounds, or the threshold lies outside of the band.
    """

    goal: Goal
    threshold: float
    band: Band | None = None
    target_error: float | None = None
    level: str = "image"

    def __post_init__(self) -> None:
        low, high = (0, 1) if self.band is None else (self.band.low, self.band.high)
        if not _is_within(self.threshold, low, high):
            raise ConfigError(
                f"The threshold cannot be used. Expected a probability from {low:g} to {high:g}. "
                f"Received: {self.threshold!r}"
            )
        if self.target_error is not None:
            check_target(self.target_error)
        if self.level not in LEVELS:
            raise ConfigError(
                f"There is no such level. Expected one of: {', '.join(LEVELS)}. "
                f"Received: {self.level!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        band = None if self.band is None else {"low": self.band.low, "high": self.band.high}
        return {
            "goal": {"kind": self.goal.kind, "value": self.goal.value},
            "threshold": self.threshold,
            "band": band,
            "target_error": self.target_error,
            "level": self.level,
        }

    @classmethod
    def from_dict(cls, values: Any) -> "Decision":  # noqa: ANN401 - whatever a file holds
        """The decision that `to_dict` wrote; keys it does not know are left out.

        Raises:
            ConfigError: If it is anything else.
        """
        try:
            goal, band = values["goal"], values["band"]
            return cls(
                goal=Goal(goal["kind"], goal["value"]),
                threshold=values["threshold"],
                band=None if band is None else Band(band["low"], band["high"]),
                target_error=values["target_error"],
                level=values["level"],
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"The decision cannot be read ({error!r}). Expected goal, threshold, band, "
                "target_error and level, as this version writes them. Choose the threshold anew."
            ) from None


def parse_goal(text: str) -> Goal:
    """A goal as it is written on the command line.

    Args:
        text: "sensitivity=0.95", "specificity=0.95", "youden", "cost=5" or "hand=0.4".

    Raises:
        ConfigError: If it is anything else, or the number is out of bounds.
    """
    kind, sign, number = (part.strip() for part in text.partition("="))
    try:
        if kind not in GOALS or bool(sign) == (kind == "youden"):
            raise ValueError
        value = float(number) if sign else 0.0
    except ValueError:
        raise ConfigError(
            f"The goal of the threshold cannot be read. Expected {_EXAMPLES}. Received: {text!r}"
        ) from None
    return Goal(kind, value)


def check_target(target_error: float) -> None:
    """Whether a share of wrong answers can be asked for.

    Raises:
        ConfigError: If it is out of bounds.
    """
    if not _is_within(target_error, 0, MAX_TARGET_ERROR):
        raise ConfigError(
            "The target error of the band is out of bounds. Expected a share from 0 to "
            f"{MAX_TARGET_ERROR:g}, such as 0.05. Received: {target_error!r}"
        )


def _is_within(value: Any, low: float, high: float) -> bool:  # noqa: ANN401 - from a file, maybe
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and bool(low <= value <= high)
