"""A proposed clean split: whole patients, whole copies, both classes, seeded."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from polyp_core.dataset import Index, check_split
from polyp_core.splitting import divide


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A split in which nothing stands on both sides.

    Attributes:
        index: The same images, less those left out, divided anew; positions in `pairs` of the
            audit do not hold for it.
        left_out: Files left out, with the reason: `path` and `reason`.
    """

    index: Index
    left_out: pd.DataFrame


def propose_split(index: Index, pairs: np.ndarray, fraction: float, seed: int) -> Proposal:
    """Divide anew by patient and by near-copy; further copies are left out.

    Of exact copies in one class the first stays; of those in both classes none, because nobody
    knows which label is right. Test images stay test images.

    Args:
        index: Of the images.
        pairs: `(num_pairs, 2)` of `duplicates.find_near_duplicates`.
        fraction: Part of the images for validation.
        seed: Of the draw.

    Raises:
        DatasetError: If so much belongs together that a class would be missing on one side.
    """
    content = index.images["sha256"] + index.images["frame"].astype(str)
    has_both = index.images.groupby(content)["label"].transform("nunique") > 1
    is_again = content.duplicated() & ~has_both
    left_out = pd.DataFrame(
        {
            "path": index.images["path"],
            "reason": np.where(has_both, "stands in both classes", "is a copy"),
        }
    )[has_both | is_again]
    # The ties hold through images that are left out as well: they still tell who is who.
    images = index.images.assign(split=np.where(index.images["split"] == "test", "test", "train"))
    split = divide(images, fraction, seed, pairs)
    keep = ~(has_both | is_again)
    kept = images.assign(split=split)[keep].reset_index(drop=True)
    check_split(kept, index.unreadable, index.class_names, is_split=False)
    clean = replace(
        index,
        images=kept,
        measures=index.measures[keep].reset_index(drop=True),
        descriptors=index.descriptors[keep.to_numpy()],
        is_split=True,
    )
    return Proposal(index=clean, left_out=left_out.reset_index(drop=True))
