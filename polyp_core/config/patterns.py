"""A patient pattern that somebody else wrote is tried on many names: it must not take for ever.

Such a pattern comes with a link, a file of settings or a run from elsewhere. Python tries every
way in which it could match, and nothing else goes on meanwhile. So only plain patterns are let
through, whose steps can be counted, at their worst, before they are tried on any name.
"""

import re
from dataclasses import dataclass
from math import factorial

from polyp_core.errors import ConfigError

_MAX_LETTERS = 200  # of the pattern
_NAME_LETTERS = 200  # of the names that steps are counted for
_MAX_TIMES = 200  # of a number in braces
_MAX_DEPTH = 10  # of brackets
_MAX_STEPS = 500_000  # 10 to 20 ms
_PIECE = re.compile(
    r"(?P<open>\((?:\?:|\?P<[A-Za-z_]\w*>)?(?!\?))|(?P<close>\))|(?P<bar>\|)"
    r"|(?P<place>\\[bBA]|[$^])"
    # A class in brackets, a kind of letter, a letter or mark; no reference back.
    r"|(?P<mark>\[\^?\]?(?:\\.|[^][\\])*\]|\\[dDwWsS]|\\[^A-Za-z0-9]|[^][\\()|*+?{}^$])",
    re.ASCII | re.DOTALL,
)
_TIMES = re.compile(
    r"(?:(?P<some>[*+])|(?P<maybe>\?)|\{(?P<low>\d{0,3})(?P<comma>,)?(?P<high>\d{0,3})\})[?+]?",
    re.ASCII,
)
_CLOSED = re.compile(r"(?:\)(?:\?[?+]?)?)*")
_NEXT = re.compile(  # into a bracket that holds one row and must match
    r"(?:\((?:\?:)?(?=(?:\\[^()]|[^][()|\\]|\[[^][()\\]*\])*\)(?!\?)))?"
)
_KIND = re.compile(r"\\[A-Za-z0-9]")  # which stands for letters of any writing


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A patient pattern, ready to search with.

    Raises:
        ConfigError: If it is not a regular expression.
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"The patient pattern is not a regular expression: {error}. Expected something "
            r"like ^(\d+)_ for files named 1534_2.jpg. Correct data.group_pattern. "
            f"Received: group_pattern={pattern[:_MAX_LETTERS]!r}"
        ) from error


def check_given_pattern(pattern: str) -> None:
    """Refuse a pattern from elsewhere that could hold everything up, or that is none.

    At its worst, one that is let through takes about 20 ms for a name of 200 letters.

    Raises:
        ConfigError: If it is not plain, could take more steps, or is not a regular expression.
    """
    try:
        if len(pattern) > _MAX_LETTERS:
            raise _NotPlainError
        _Counter(pattern).count()
    except _NotPlainError:
        raise ConfigError(
            "The patient pattern may take for ever. Expected a plain one from elsewhere: at most "
            f"{_MAX_LETTERS} letters, at most two of * and +, none of them after a bracket, few of "
            "? and |; best with ^ at its start. Correct data.group_pattern, or type it on the data "
            f"page yourself. Received: group_pattern={pattern[:60]!r}"
        ) from None
    compile_pattern(pattern)


class _NotPlainError(Exception):
    """It cannot be counted, or takes too many steps."""


@dataclass(frozen=True)
class _Ways:
    """How many ways lead to a place in the pattern.

    Number k of `counts` stands for ways in which k places of the name are chosen, each at or behind
    the one before it: of a name of n letters there are about n^k / k! such choices.
    """

    counts: tuple[int, ...]

    def __add__(self, other: "_Ways") -> "_Ways":
        short, long = sorted((self.counts, other.counts), key=len)
        short += (0,) * (len(long) - len(short))
        return _Ways(tuple(a + b for a, b in zip(short, long, strict=True)))

    def times(self, number: int) -> "_Ways":
        return _Ways(tuple(number * count for count in self.counts))

    def choose(self) -> "_Ways":
        """Each goes on from any later place."""
        return _Ways((0, *self.counts))

    def count(self) -> int:
        places = _NAME_LETTERS + 1
        return sum(count * places**k // factorial(k) for k, count in enumerate(self.counts))


_ANYWHERE = _Ways((0, 1))


class _Counter:
    """Goes through a pattern once, and counts what all ways through it take."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place, self.depth, self.steps = pattern, 0, 0, 0

    def count(self) -> int:
        """Steps at the worst.

        Raises:
            _NotPlainError: If it is not plain, or they are too many.
        """
        is_anchored = self.pattern.startswith(("^", r"\A"))
        self._take_choices(_Ways((1,)) if is_anchored else _ANYWHERE)
        if self.place < len(self.pattern):
            raise _NotPlainError  # a bracket closes that was not opened
        return self.steps

    def _take_choices(self, before: _Ways) -> _Ways:
        """All between two brackets."""
        after = self._take_row(before)
        while self.pattern.startswith("|", self.place):
            self.place += 1
            after += self._take_row(before if self.depth else _ANYWHERE)
        return after

    def _take_row(self, ways: _Ways) -> _Ways:
        """All up to a bar or the end of the bracket."""
        while self.place < len(self.pattern):
            piece = _PIECE.match(self.pattern, self.place)
            if piece is None:
                raise _NotPlainError
            if piece["close"] or piece["bar"]:
                break
            self.place = piece.end()
            self._spend(ways)
            ways = self._take_bracket(ways) if piece["open"] else self._take_mark(ways, piece)
        return ways

    def _take_bracket(self, before: _Ways) -> _Ways:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _NotPlainError
        after = self._take_choices(before)
        if not self.pattern.startswith(")", self.place):
            raise _NotPlainError
        self.place += 1
        self.depth -= 1
        self._spend(after)
        times = self._take_times()
        if times and not times["maybe"]:
            raise _NotPlainError
        return before + after if times else after

    def _take_mark(self, ways: _Ways, piece: re.Match[str]) -> _Ways:
        times = self._take_times()
        if times is None:
            return ways
        if piece["place"]:
            raise _NotPlainError
        low, high = int(times["low"] or 0), int(times["high"] or 0)
        if times["some"] or (times["comma"] and not times["high"]):
            after = ways.choose()
            self._spend(after)
        else:
            high = 1 if times["maybe"] else high if times["comma"] else low
            if not low <= high <= _MAX_TIMES or not high:
                raise _NotPlainError
            self._spend(ways.times(high))
            after = ways.times(high - low + 1)
        return ways if self._must_end(piece["mark"]) else after

    def _take_times(self) -> re.Match[str] | None:
        times = _TIMES.match(self.pattern, self.place)
        if times:
            self.place = times.end()
        return times

    def _must_end(self, mark: str) -> bool:
        """Whether something comes next that is none of those repeated: one way to go on."""
        place = self.place
        for pattern in (_CLOSED, _NEXT):
            skipped = pattern.match(self.pattern, place)
            place = skipped.end() if skipped else place
        following = _PIECE.match(self.pattern, place)
        if not following or not following["mark"]:
            return False
        times = _TIMES.match(self.pattern, following.end())
        is_needed = not times or times["some"] == "+" or int(times["low"] or 0) > 0
        return is_needed and _are_apart(mark, following["mark"])

    def _spend(self, ways: _Ways) -> None:
        self.steps += ways.count()
        if self.steps > _MAX_STEPS:
            raise _NotPlainError


def _are_apart(one: str, other: str) -> bool:
    """Whether no letter matches both."""
    if not _is_ascii(one) and not _is_ascii(other):
        return False
    try:
        both = [re.compile(mark) for mark in (one, other)]
    except re.error:  # such as [z-a]
        return False
    return not any(all(mark.match(chr(number)) for mark in both) for number in range(128))


def _is_ascii(mark: str) -> bool:
    """Whether it surely matches ASCII alone."""
    return mark.isascii() and mark != "." and not mark.startswith("[^") and not _KIND.search(mark)
