"""Small charts as SVG: axes with names and units, lines, bands, points and bars. Nothing is run."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from polyp_core.report.axes import Axis
from polyp_core.words import make_visible

BLUE, ORANGE, INK, MUTED, PALE = "#0072B2", "#E69F00", "#1b1d20", "#5a6068", "#d9dce0"
_TOP, _BOTTOM, _LEFT, _RIGHT = 12, 46, 58, 20  # room around the plot, in px
_LINE_HEIGHT = 13  # of a note


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points; where a number is missing it is broken.

    Attributes:
        x: `(n,)`.
        y: `(n,)`.
        colour: Of the line.
        width: In px.
        dash: As SVG has it; "" for a whole line.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: str = BLUE
    width: float = 2.0
    dash: str = ""


@dataclass(frozen=True, kw_only=True)
class Band:
    """The room between two lines.

    Attributes:
        x: `(n,)`.
        low: `(n,)`.
        high: `(n,)`.
        colour: Shown pale.
    """

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str = BLUE


@dataclass(frozen=True, kw_only=True)
class Points:
    """Single points, each with its interval where one is given.

    Attributes:
        x: `(n,)`.
        y: `(n,)`.
        low: `(n,)` lower ends of the intervals, or nothing.
        high: `(n,)` upper ends.
        colour: Of points and intervals.
        is_level: The intervals are those of x, not of y.
        radius: In px.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: str = BLUE
    is_level: bool = False
    radius: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Upright bars that stand on zero.

    Attributes:
        starts: `(n,)` left edges.
        ends: `(n,)` right edges.
        heights: `(n,)`.
        colour: Of the bars.
    """

    starts: Sequence[float]
    ends: Sequence[float]
    heights: Sequence[float]
    colour: str = BLUE


Mark = Line | Band | Points | Bars


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie in the picture."""

    x: Axis
    y: Axis
    width: int
    height: int
    left: int
    right: int
    parts: list[str] = field(default_factory=list)

    def place_x(self, value: float) -> float:
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return self.left + _clamp(share) * (self.width - self.left - self.right)

    def place_y(self, value: float) -> float:
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return self.height - _BOTTOM - _clamp(share) * (self.height - _TOP - _BOTTOM)

    def add(self, tag: str, **attributes: object) -> None:
        self.parts.append(f"<{tag} {_join(attributes)}/>")

    def write(self, x: float, y: float, text: str, **attributes: object) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" {_join(attributes)}>{escape(text)}</text>'
        )


def draw_chart(
    x: Axis,
    y: Axis,
    marks: Sequence[Mark],
    alt: str,
    *,
    width: int = 340,
    height: int = 250,
    note: str = "",
    left: int = _LEFT,
) -> str:
    """A chart as one `<svg>`; what lies beyond an axis is drawn at its end.

    Args:
        x: To the right.
        y: Upwards.
        marks: The first lies below the others.
        alt: What the chart shows, for who cannot see it.
        width: In px.
        height: In px.
        note: Stands in the lower right of the plot, a line for each "\\n".
        left: Room for the texts of the upright axis, in px.
    """
    frame = _Frame(x, y, width, height, left, _RIGHT)
    _draw_axes(frame)
    for mark in marks:
        _draw_mark(frame, mark)
    lines = note.split("\n") if note else []
    for number, text in enumerate(lines):
        y_px = height - _BOTTOM - 8 - _LINE_HEIGHT * (len(lines) - 1 - number)
        frame.write(width - _RIGHT - 6, y_px, text, text_anchor="end", fill=INK)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}" '
        f'font-family="inherit" font-size="11">{"".join(frame.parts)}</svg>'
    )


def escape(text: str) -> str:
    """Text from outside, safe in HTML and in SVG, with what is unseen made visible."""
    return html.escape(make_visible(text))


def _clamp(share: float) -> float:
    return min(1.0, max(0.0, share))


def _join(attributes: dict[str, object]) -> str:
    return " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in attributes.items())


def _draw_axes(frame: _Frame) -> None:
    bottom, right = frame.height - _BOTTOM, frame.width - frame.right
    for value, text in frame.y.ticks:
        y = round(frame.place_y(value), 1)
        frame.add("line", x1=frame.left, x2=right, y1=y, y2=y, stroke=PALE)
        frame.write(frame.left - 6, y + 4, text, text_anchor="end", fill=MUTED)
    for value, text in frame.x.ticks:
        x = round(frame.place_x(value), 1)
        frame.add("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, stroke=MUTED)
        frame.write(x, bottom + 17, text, text_anchor="middle", fill=MUTED)
    frame.add("line", x1=frame.left, x2=right, y1=bottom, y2=bottom, stroke=MUTED)
    middle = (frame.left + right) / 2
    frame.write(middle, frame.height - 8, frame.x.title, text_anchor="middle", fill=INK)
    if frame.y.title:
        centre = (bottom + _TOP) / 2
        frame.write(12, centre, frame.y.title, text_anchor="middle", fill=INK,
                    transform=f"rotate(-90 12 {centre:.1f})")  # fmt: skip


def _draw_mark(frame: _Frame, mark: Mark) -> None:
    if isinstance(mark, Line):
        dash = {"stroke_dasharray": mark.dash} if mark.dash else {}
        for piece in _split(frame, mark.x, mark.y):
            if len(piece) == 1:  # one epoch is a dot
                frame.add("circle", cx=piece[0][0], cy=piece[0][1], r=2.5, fill=mark.colour)
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            frame.add("polyline", points=points, fill="none", stroke=mark.colour,
                      stroke_width=mark.width, stroke_linejoin="round", **dash)  # fmt: skip
    elif isinstance(mark, Band):
        ways = [(frame.place_x(x), frame.place_y(y)) for x, y in zip(mark.x, mark.low, strict=True)]
        back = [
            (frame.place_x(x), frame.place_y(y)) for x, y in zip(mark.x, mark.high, strict=True)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*ways, *back[::-1]])
        frame.add("polygon", points=points, fill=mark.colour, fill_opacity=0.15)
    elif isinstance(mark, Points):
        _draw_points(frame, mark)
    else:
        zero = frame.place_y(0.0)
        for start, end, height in zip(mark.starts, mark.ends, mark.heights, strict=True):
            left, top = frame.place_x(start), frame.place_y(height)
            frame.add("rect", x=f"{left:.1f}", y=f"{top:.1f}", fill=mark.colour,
                      width=f"{max(0.5, frame.place_x(end) - left - 1):.1f}",
                      height=f"{zero - top:.1f}")  # fmt: skip


def _draw_points(frame: _Frame, mark: Points) -> None:
    for number, (x, y) in enumerate(zip(mark.x, mark.y, strict=True)):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        x_px, y_px = round(frame.place_x(x), 1), round(frame.place_y(y), 1)
        if mark.low and math.isfinite(mark.low[number]) and math.isfinite(mark.high[number]):
            low, high = mark.low[number], mark.high[number]
            ends = (
                {"x1": round(frame.place_x(low), 1), "x2": round(frame.place_x(high), 1),
                 "y1": y_px, "y2": y_px}
                if mark.is_level
                else {"x1": x_px, "x2": x_px, "y1": round(frame.place_y(low), 1),
                      "y2": round(frame.place_y(high), 1)}
            )  # fmt: skip
            frame.add("line", **ends, stroke=mark.colour, stroke_width=1.5)
        frame.add("circle", cx=x_px, cy=y_px, r=mark.radius, fill=mark.colour, stroke="#fff")


def _split(
    frame: _Frame, x: Sequence[float], y: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """The pieces of a line, where no number is missing."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for one, other in zip(x, y, strict=True):
        if math.isfinite(one) and math.isfinite(other):
            pieces[-1].append((frame.place_x(one), frame.place_y(other)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
