"""Whether an image is like those a model was trained on, and if not, why.

    measurements   one image → plain numbers: colour, brightness, detail, grain, layout, edges
    distances      those of the training images → distances with comparable units
    reasons        what is unusual → words
    judging        a run → `Familiarity`, kept in familiarity.json and familiarity.npy

An image is a stranger if its largest distance is one that at most 5 % of the training images
have, each of them judged by a fit made without the images of its patient. Of new images of the same
kind about 5 % are to be called strangers too. No proof holds for that: the images of a patient are
alike, and the network whose features are measured was trained on every one of these patients.
"""

from polyp_core.familiarity.judging import (
    FALSE_ALARMS,
    Familiarity,
    Verdict,
    choose_rows,
    read_familiarity,
    write_familiarity,
)

__all__ = [
    "FALSE_ALARMS",
    "Familiarity",
    "Verdict",
    "choose_rows",
    "read_familiarity",
    "write_familiarity",
]
