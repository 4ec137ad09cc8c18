"""An index becomes findings: what makes a result on these images less than it seems."""

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyp_core.audit.copies import find_copies, find_near_copies
from polyp_core.audit.counts import find_counts, say_limit
from polyp_core.audit.finding import Finding, say_verdict, sort_findings
from polyp_core.audit.patients import find_patients
from polyp_core.audit.pictures import find_odd_pictures
from polyp_core.audit.proposal import Proposal, propose_split
from polyp_core.audit.shortcuts import find_shortcuts
from polyp_core.dataset import SPLITS, Index
from polyp_core.duplicates import find_near_duplicates
from polyp_core.files import write_atomically

__all__ = [
    "Audit", "Finding", "Proposal", "audit_index", "count_images", "find_findings", "find_pairs",
    "propose_split", "say_limit", "say_verdict",
]  # fmt: skip

_VERSION = 1  # of what is kept; a higher one compares all images again
_NUM_KEPT = 20  # results of comparing, for as many states of folders


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All that is to say about an index.

    Attributes:
        findings: The worst first.
        pairs: `(num_pairs, 2)` positions of images that are nearly the same.
        counts: How many there are of what, as `--json` gives it.
    """

    findings: list[Finding]
    pairs: np.ndarray
    counts: dict[str, Any]

    @property
    def verdict(self) -> str:
        """ "fit to train", "train with care" or "do not trust a result from this"."""
        return say_verdict(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"verdict": self.verdict, "findings": findings, "counts": self.counts}


def audit_index(
    index: Index,
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look for everything that is wrong with an index.

    Args:
        index: From `dataset.read_index`.
        cache_dir: Where the near-copies found are kept for the next time.
        on_progress: Called with (images compared, images in all).
    """
    pairs = find_pairs(index, cache_dir, on_progress)
    return Audit(findings=find_findings(index, pairs), pairs=pairs, counts=count_images(index))


def find_findings(index: Index, pairs: np.ndarray) -> list[Finding]:
    """Everything that is wrong with an index, the worst first."""
    return sort_findings(
        [
            *find_copies(index),
            *find_near_copies(index, pairs),
            *find_patients(index),
            *find_odd_pictures(index),
            *find_counts(index),
            *find_shortcuts(index),
        ]
    )


def find_pairs(
    index: Index,
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The near-copies among all images, `(num_pairs, 2)`; taken from the cache if it has them."""
    if cache_dir is None:
        return find_near_duplicates(index.descriptors, on_progress)
    digest = hashlib.sha256(index.descriptors.tobytes()).hexdigest()[:24]
    path = cache_dir / f"pairs-{_VERSION}-{digest}.npy"
    try:
        with path.open("rb") as file:
            stored: np.ndarray = np.load(file, allow_pickle=False)
        return stored
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # not there, or damaged
        pairs = find_near_duplicates(index.descriptors, on_progress)
    _keep_pairs(path, pairs)
    return pairs


def _keep_pairs(path: Path, pairs: np.ndarray) -> None:
    """Write the pairs beside the newest others; a place that cannot be written keeps nothing."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: np.save(temporary, pairs), is_durable=False)
        kept = sorted(path.parent.glob("pairs-*.npy"), key=lambda p: p.stat().st_mtime_ns)
        for old in kept[:-_NUM_KEPT]:
            old.unlink()


def count_images(index: Index) -> dict[str, Any]:
    """How many images there are, by class and split, and what was left out."""
    by_split = {
        split: {
            name: int((index.select(split)["label"] == label).sum())
            for label, name in enumerate(index.class_names)
        }
        for split in SPLITS
        if len(index.select(split))
    }
    return {
        "images": len(index.images),
        "patients": int(index.images["group"].nunique()) if index.has_groups else None,
        "by_split": by_split,
        "unreadable": len(index.unreadable),
        "other_files": index.num_other_files,
        "hidden_files": index.num_hidden_files,
    }
