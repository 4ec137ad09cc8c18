"""From the files of a folder to the images that were judged, as a drawing with counts."""

from dataclasses import dataclass

import pandas as pd

from polyp_core.report.charts import BLUE, INK, MUTED, ORANGE, escape
from polyp_core.report.facts import RunFacts
from polyp_core.report.page import clip

_WIDTH, _GAP, _LINE = 680, 26, 16
_LEFT, _MAIN, _ASIDE = 140, 300, 470  # where the boxes in the middle and aside begin
_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
_LONGEST = 34  # letters of a line in a narrow box


@dataclass(frozen=True)
class _Box:
    """A box of the drawing: its first line is bold, and marked lines bear a class' colour."""

    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    colours: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        return _LINE * len(self.lines) + 12

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    def draw(self) -> str:
        parts = [
            f'<rect x="{self.x:.1f}" y="{self.y:.1f}" width="{self.width:.1f}" '
            f'height="{self.height:.1f}" rx="4" fill="#f3f4f6" stroke="#c9cdd2"/>'
        ]
        for number, line in enumerate(self.lines):
            y = self.y + 6 + _LINE * (number + 0.75)
            weight = ' font-weight="650"' if number == 0 else ""
            colour = self.colours[number] if number < len(self.colours) else ""
            x = self.x + 10
            if colour:
                parts.append(
                    f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="9" height="9" fill="{colour}"/>'
                )
                x += 14
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}"{weight}>{escape(line)}</text>'
            )
        return "".join(parts)


def draw_flow(facts: RunFacts) -> str:
    """The flow of a run's images as one `<svg>`; it needs an index."""
    assert facts.index is not None
    images = facts.index.images
    boxes: list[_Box] = []
    arrows: list[str] = []
    y = 1.0
    num_unreadable = facts.audited.num_unreadable
    if num_unreadable is not None:
        num_files = images["path"].nunique() + num_unreadable + facts.audited.num_further
        top = _Box((f"{num_files:,} image files in the folder",), _LEFT, y, _MAIN)
        left_out = [f"{num_unreadable:,} left out: unreadable"]
        if facts.audited.num_further:
            left_out.append(f"{facts.audited.num_further:,} not in this run")
        aside = _Box(tuple(left_out), _ASIDE, y, _WIDTH - _ASIDE - 1)
        boxes += [top, _Box(aside.lines, aside.x, y + top.height - 2, aside.width)]
        y = max(top.bottom + _GAP, boxes[-1].bottom + 8)
        arrows += [_draw_arrow(top.middle, top.bottom, top.middle, y)]
        arrows += [_draw_arrow(top.middle, top.bottom + 9, _ASIDE, top.bottom + 9)]
    whole = _Box(
        (f"{_say(images, facts)} in this run", *_list_classes(images, facts)), _LEFT, y, _MAIN,
        ("", BLUE, ORANGE),
    )  # fmt: skip
    boxes.append(whole)
    y = whole.bottom + _GAP
    parts = [split for split in _TITLES if (images["split"] == split).any()]
    width = (_WIDTH - 14 * (len(parts) - 1) - 2) / max(1, len(parts))
    width = min(width, 300)
    start = (_WIDTH - width * len(parts) - 14 * (len(parts) - 1)) / 2
    for number, split in enumerate(parts):
        rows = images[images["split"] == split]
        lines = (
            _name(split, facts),
            _say(rows, facts),
            *_list_classes(rows, facts),
            _say_use(split, facts),
        )
        box = _Box(lines, start + number * (width + 14), y, width, ("", "", BLUE, ORANGE, ""))
        boxes.append(box)
        arrows.append(_draw_arrow(whole.middle, whole.bottom, box.middle, y))
    height = max(box.bottom for box in boxes) + 2
    alt = "Flow of the images: " + "; ".join(", ".join(box.lines) for box in boxes)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(alt)}" '
        f'font-family="inherit" font-size="12">{"".join(arrows)}'
        f"{''.join(box.draw() for box in boxes)}</svg>"
    )


def _name(split: str, facts: RunFacts) -> str:
    if facts.ensemble is not None and facts.ensemble.has_folds and split == "train":
        return "Folds of the study"
    return _TITLES[split]


def _say(rows: pd.DataFrame, facts: RunFacts) -> str:
    said = f"{len(rows):,} {'image' if len(rows) == 1 else 'images'}"
    patients = facts.count_patients(rows)
    return said if patients is None else f"{said}, {_count(patients)}"


def _count(patients: int) -> str:
    return f"{patients:,} {'patient' if patients == 1 else 'patients'}"


def _list_classes(rows: pd.DataFrame, facts: RunFacts) -> list[str]:
    said = []
    for label, name in enumerate(facts.class_names):
        of_class = rows[rows["label"] == label]
        patients = facts.count_patients(rows)
        text = f"{len(of_class):,} {clip(name, _LONGEST - 12)}"
        if patients is not None:
            text += f" ({of_class['group'].nunique():,} pat.)"
        said.append(text)
    return said


def _say_use(split: str, facts: RunFacts) -> str:
    if split == "train":
        if facts.ensemble is None:
            return "the network learns"
        if facts.ensemble.has_folds:
            return "each judged by models that had not seen it"
        return "the networks learn"
    judged = facts.validation if split == "validation" else facts.test
    if judged is None:
        return "not judged"
    return f"{len(judged.table):,} judged"


def _draw_arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Down, aside and down again; or straight to the side."""
    if y == to_y:
        return (
            f'<path d="M{x:.1f} {y:.1f}H{to_x - 5:.1f}" fill="none" stroke="{MUTED}"/>'
            f'<path d="M{to_x:.1f} {y:.1f}l-7 -3.5v7z" fill="{MUTED}"/>'
        )
    middle = (y + to_y) / 2
    return (
        f'<path d="M{x:.1f} {y:.1f}V{middle:.1f}H{to_x:.1f}V{to_y - 5:.1f}" fill="none" '
        f'stroke="{MUTED}"/><path d="M{to_x:.1f} {to_y:.1f}l-3.5 -7h7z" fill="{MUTED}"/>'
    )
