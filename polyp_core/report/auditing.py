"""The audit of the very images of a run, repeated for the report where they are still there."""

from dataclasses import dataclass, replace

import pandas as pd

from polyp_core.audit import Audit, audit_index, say_limit
from polyp_core.config import DataConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import PolypError
from polyp_core.words import say_number
from polyp_core.workspace import get_cache_dir

_MOST_IMAGES = 20_000  # of more the report would keep its reader waiting
_KEYS = ["path", "frame"]


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What an audit found, or why there is none.

    Attributes:
        audit: None with a `reason`.
        limit: The most that a flawless result on the validation images could prove.
        num_unreadable: Files of the folder that no run can use; None where it was not read.
        num_further: Readable images of the folder that this run does not have.
        reason: Why there is no audit, a sentence; or nothing.
    """

    audit: Audit | None = None
    limit: str = ""
    num_unreadable: int | None = None
    num_further: int = 0
    reason: str = ""


def audit_images(index: Index, data: DataConfig, num_present: int) -> Audited:
    """Audit the images of a run as they lie in its folder, with the run's own split and patients.

    Args:
        index: Of the run.
        data: Settings of the run; the folder is where the images lie now.
        num_present: How many of the images have a file there.
    """
    n = len(index.images)
    if num_present == 0:
        return Audited(
            reason="The images were not at hand when this was written, so the audit could not be "
            "repeated."
        )
    if n > _MOST_IMAGES:
        return Audited(
            reason=f"With {n:,} images the audit is too slow for a report. Run it by itself: "
            "python -m polyp_core audit FOLDER."
        )
    try:
        found = read_index(data, is_for_testing=True, cache_dir=get_cache_dir())
    except (PolypError, OSError):  # whose text names folders of this computer
        return Audited(
            reason="The audit could not be repeated: the folder of the images cannot be read as it "
            "was, or has another layout now."
        )
    places = _find_places(index.images, found.images)
    num_known = int(places.notna().sum())
    num_unreadable = len(found.unreadable)
    if num_known < n:
        return Audited(
            num_unreadable=num_unreadable,
            reason=f"{say_number(n - num_known, 'image')} of {n:,} cannot be found as they were "
            "when the run was started: gone, or changed since. So the audit was not repeated.",
        )
    numbers = places.astype(int).to_numpy()
    whole = replace(
        found,
        images=index.images,
        class_names=index.class_names,
        measures=found.measures.iloc[numbers].reset_index(drop=True),
        descriptors=found.descriptors[numbers],
    )
    has_validation = bool((index.images["split"] == "validation").any())
    return Audited(
        audit=audit_index(whole, get_cache_dir()),
        limit=say_limit(whole) if has_validation else "",
        num_unreadable=num_unreadable,
        num_further=len(found.images) - n,
    )


def _find_places(images: pd.DataFrame, found: pd.DataFrame) -> pd.Series:
    """The row of each image in what was found; none where it is not the same file any more."""
    known = found[[*_KEYS, "sha256"]].assign(place=range(len(found))).drop_duplicates(_KEYS)
    joined = images[[*_KEYS, "sha256"]].merge(known, on=_KEYS, how="left", suffixes=("", "_now"))
    return joined["place"].where(joined["sha256"] == joined["sha256_now"])
