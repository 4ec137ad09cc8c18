"""A proposed clean split: whole patients, whole copies, both classes, seeded."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from polyp_core.audit.copies import name_contents
from polyp_core.dataset import Index, check_split
from polyp_core.splitting import divide, draw_test, find_tied_to_test

_ENTANGLED = 0.5  # of the test images, or of the others of a class
_ADVICE = (
    "A clean split keeps a patient, copies and near-copies on one side, and too much of this class "
    "belongs together. Add images of other patients of the class."
)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A split in which nothing stands on both sides.

    Attributes:
        index: The same images, less those left out, divided anew; positions in `pairs` of the
            audit do not hold for it.
        left_out: Files left out, with the reason: `path` and `reason`.
        is_test_new: Whether the test images had to be drawn anew.
    """

    index: Index
    left_out: pd.DataFrame
    is_test_new: bool = False


def propose_split(index: Index, pairs: np.ndarray, fraction: float, seed: int) -> Proposal:
    """Divide anew by patient and by near-copy; further copies are left out.

    Of exact copies in one class the first stays; of those in both classes none, because nobody
    knows which label is right.

    What is tied to a test image becomes a test image. Where that would add more than half of the
    test images, or take more than half of what a class has beside them, as after a division at
    random, the test set is drawn anew with its present share.

    Args:
        index: Of the images.
        pairs: `(num_pairs, 2)` of `duplicates.find_near_duplicates`.
        fraction: Part of the images for validation, where the data set brings no split of its own;
            else validation keeps its share of what is no test image.
        seed: Of the draw.

    Raises:
        DatasetError: If so much belongs together that a class would be missing on one side.
    """
    content = name_contents(index.images)
    has_both = index.images.groupby(content)["label"].transform("nunique") > 1
    keep = ~(has_both | content.duplicated())
    left_out = pd.DataFrame(
        {
            "path": index.images["path"],
            "reason": np.where(has_both, "stands in both classes", "is a copy"),
        }
    )[~keep]
    # The ties hold through images that are left out as well: they still tell who is who.
    images = index.images
    is_test_new = _is_entangled(images, pairs)
    if is_test_new:
        images = images.assign(split=draw_test(images, seed, pairs))
    split = divide(images, _get_own_share(index) or fraction, seed, pairs)
    kept = images.assign(split=split)[keep].reset_index(drop=True)
    check_split(kept, index.unreadable, index.class_names, _ADVICE)
    clean = replace(
        index,
        images=kept,
        measures=index.measures[keep].reset_index(drop=True),
        descriptors=index.descriptors[keep.to_numpy()],
        is_split=True,
    )
    return Proposal(index=clean, left_out=left_out.reset_index(drop=True), is_test_new=is_test_new)


def _is_entangled(images: pd.DataFrame, pairs: np.ndarray) -> bool:
    """Whether too much is tied to the test images for all of it to become test images."""
    is_test = images["split"] == "test"
    is_added = find_tied_to_test(images, pairs) & ~is_test
    others, added = images["label"][~is_test], images["label"][is_added]
    taken = added.value_counts() / others.value_counts()
    return bool(len(added) > _ENTANGLED * is_test.sum() or (taken > _ENTANGLED).any())


def _get_own_share(index: Index) -> float:
    """The validation part that the data set brings, of what is no test image; 0 if it has none."""
    num_train, num_validation = len(index.select("train")), len(index.select("validation"))
    return num_validation / (num_train + num_validation) if index.is_split and num_train else 0.0
