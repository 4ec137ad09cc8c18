"""What somebody drops becomes a list of pictures to judge: within limits, and never on the disk.

The browser's own limits can be got around, so everything is counted here again. What is over a
limit is left out and said; the rest is taken.
"""

from collections.abc import Sequence
from typing import BinaryIO

from polyp_core.importing import Progress
from polyp_core.intake.basket import Basket
from polyp_core.intake.formats import find_format
from polyp_core.intake.items import DEFAULT_LIMITS, Intake, Item, Limits

__all__ = ["DEFAULT_LIMITS", "Intake", "Item", "Limits", "find_format", "take_files"]


def take_files(
    files: Sequence[tuple[str, BinaryIO]],
    *,
    group_pattern: str = "",
    are_numbered: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Progress | None = None,
) -> Intake:
    """Look through files, folders and zips; nothing is written, no pixel is decoded.

    Formats are told by the content. Where a patient comes from: the DICOM file, else the run's
    pattern in the path, else a path such as "patient-03/1.png", else the numbers before the names
    ("12_1.png", "12_2.png"), where nearly all files have one and they are many; else the frames of
    one film are of one patient. Where there are several zips or folders, a patient found in a path
    is one of that zip or folder: two hospitals may both have a "patient-03".

    Args:
        files: The name as the browser gave it ("a.png", or "folder/sub/a.png") and the file, open
            for reading and able to seek.
        group_pattern: The run's `data.group_pattern`.
        are_numbered: Of `dataset.are_numbered`, of the run's images: then such numbers are patients
            however few they are.
        limits: How much is taken.
        on_progress: Called with (files done, files known of); may raise, to cancel.
    """
    basket = Basket(limits, on_progress, len(files))
    for name, file in files:
        basket.take(name.replace("\\", "/"), file)
    return basket.empty(group_pattern, are_numbered=are_numbered)
