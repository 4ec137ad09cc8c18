"""What an audit says: findings, each with its pictures, and a verdict."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from polyp_core.dataset import Index
from polyp_core.words import join_words

_SEVERITIES = ("error", "warning", "note")
_SPLITS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about the images that the user should know.

    Attributes:
        kind: Its name in `--json`, such as "copy_across_splits".
        severity: "error" where a result would be wrong, "warning" where it needs care, "note"
            where it should be known.
        title: What was found, with the count.
        advice: Why it matters and what to do.
        count: Of what was found: images, patients, files.
        files: The images concerned, relative to the folder.
        reasons: One text a file; "" where the title says it all.
        sets: Numbers of the images (rows of the index) to be looked at side by side.
    """

    kind: str
    severity: str
    title: str
    advice: str
    count: int = 1
    files: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    sets: tuple[tuple[int, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "title": self.title,
            "advice": self.advice,
            "files": list(self.files),
            "reasons": list(self.reasons),
        }


def sort_findings(findings: list[Finding | None]) -> list[Finding]:
    """Those that were found, the worst first."""
    found = [finding for finding in findings if finding is not None]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def say_verdict(findings: list[Finding]) -> str:
    """The verdict over all findings, in a few words."""
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "do not trust a result from this"
    return "train with care" if "warning" in severities else "fit to train"


def say_splits(rows: pd.DataFrame) -> str:
    """The splits that the rows are in: "training and validation"."""
    return join_words([name for split, name in _SPLITS.items() if (rows["split"] == split).any()])


def name_patients(images: pd.DataFrame) -> pd.Series:
    """The patient of each image, "" where none is told and the file stands for itself."""
    return images["group"].mask(images["group"] == images["path"], "")


def point_at(index: Index, rows: pd.DataFrame, reasons: list[str] | None = None) -> dict[str, Any]:
    """The parts of a finding that name single images, each to be looked at by itself."""
    return {
        "files": tuple(rows["path"]),
        "reasons": tuple(reasons if reasons is not None else [""] * len(rows)),
        "sets": tuple((int(number),) for number in rows.index),
    }
