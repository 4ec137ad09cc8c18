"""Where a run comes from, which its numbers alone do not tell: the one place that says so.

shared.json  of a run that was given away: what its place told where it was made
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core.config import DataConfig
from polyp_core.errors import PolypError
from polyp_core.manifest import SPLIT_NAMES
from polyp_core.runs import Run
from polyp_core.splitting import divide
from polyp_core.study import Study
from polyp_core.workspace import DEMO_RUN, get_demo_data_dir

FILE = "shared.json"
ENSEMBLE = "ensemble"  # the folder of a study's ensemble, and its name as a "member"
MEMBER = re.compile("fold-([0-9]{1,6})-seed-([0-9]{1,12})(?:-share-([0-9]{1,3}))?")


@dataclass(frozen=True, kw_only=True)
class StudyOrigin:
    """The study that a run is of.

    Attributes:
        name: Of the study.
        plan: As of `Study.read_plan`: "num_folds", "seeds", "shares", "settings", ….
        caution: What makes the study's numbers better than they would be elsewhere; "" if unknown.
        member: Such as "fold-1-seed-5"; "" of the ensemble itself.
    """

    name: str
    plan: Mapping[str, Any]
    caution: str
    member: str

    @property
    def num_members(self) -> int:
        """How many whole members the study has, which are those of its ensemble."""
        return int(self.plan["num_folds"]) * len(self.plan["seeds"])

    @property
    def has_folds(self) -> bool:
        """Whether the images were dealt to folds; with one the data's own split is kept."""
        return int(self.plan["num_folds"]) > 1

    @property
    def place(self) -> tuple[int, int, int] | None:
        """Fold, seed and percent of the training images of a member."""
        found = MEMBER.fullmatch(self.member)
        return None if found is None else (int(found[1]), int(found[2]), int(found[3] or 100))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a run was made of.

    Attributes:
        is_synthetic: Whether its images were drawn by this program.
        is_demo: Whether it is the model that ships.
        are_patients_known: Whether the patient of each image is known.
        has_own_backbone_weights: Whether training began from a file of weights that was given.
        has_own_split: Whether the data set brought its split, as folders or in its manifest.
        study: The study whose ensemble or member it is, or None.
        is_shared: Whether it is a copy that was given away, without what may name somebody.
    """

    is_synthetic: bool
    is_demo: bool
    are_patients_known: bool
    has_own_backbone_weights: bool
    has_own_split: bool
    study: StudyOrigin | None
    is_shared: bool = False

    @property
    def ensemble_of(self) -> StudyOrigin | None:
        """The study, where the run is its ensemble."""
        return self.study if self.study is not None and not self.study.member else None

    @property
    def member_of(self) -> StudyOrigin | None:
        """The study, where the run is one of its members."""
        return self.study if self.study is not None and self.study.member else None


def read_origin(run: Run) -> Origin:
    """From shared.json where the run has one, else from the run's place and its files."""
    told = run.read_json(FILE)
    if told:
        return Origin(
            is_synthetic=told.get("synthetic") is True,
            is_demo=told.get("demo") is True,
            are_patients_known=told.get("patients_known") is True,
            has_own_backbone_weights=told.get("own_backbone_weights") is True,
            has_own_split=told.get("own_split") is True,
            study=_take_study(told.get("study")),
            is_shared=True,
        )
    is_demo = run.directory.resolve() == DEMO_RUN.directory.resolve()
    data, weights, images = DataConfig(), "", pd.DataFrame()
    with suppress(PolypError):  # what cannot be read is not known
        config = run.read_config()
        data, weights = config.data, config.model.backbone_weights
    with suppress(PolypError):
        images = run.read_index().images
    return Origin(
        is_synthetic=is_demo or _is_synthetic(data.folder) or _is_demo_model(run),
        is_demo=is_demo,
        are_patients_known=are_patients_known(images),
        has_own_backbone_weights=bool(weights),
        has_own_split=lie_in_split_folders(images)
        or (data.folder.lower().endswith(".csv") and not is_split_drawn(images, data)),
        study=_find_study(run),
    )


def are_patients_known(images: pd.DataFrame) -> bool:
    """Whether each image has a patient; a file that stands for itself is none.

    Args:
        images: Of an index or of predictions, with `path` and `group`.
    """
    if not len(images):
        return False
    return not bool(((images["group"] == "") | (images["group"] == images["path"])).any())


def lie_in_split_folders(images: pd.DataFrame) -> bool:
    """Whether each image lies in a folder that is named after its part of the split.

    Args:
        images: Of an index, with `path` and `split`.
    """
    if not len(images):
        return False
    folders = images["path"].str.partition("/")[0].str.lower().map(SPLIT_NAMES)
    return bool((folders == images["split"]).all())


def is_split_drawn(images: pd.DataFrame, data: DataConfig) -> bool:
    """Whether this program drew the split: with the same seed it draws the very same again.

    Args:
        images: Of an index.
        data: With the seed, and the share for validation.
    """
    try:
        again = divide(images, data.validation_fraction, data.seed)
    except (KeyError, TypeError, ValueError):  # none, or damaged
        return False
    return bool(len(images)) and again == images["split"].tolist()


def _take_study(told: Any) -> StudyOrigin | None:  # noqa: ANN401 - of a file
    match told:
        case {
            "name": str(name),
            "plan": dict(plan),
            "caution": str(caution),
            "member": str(member),
        }:
            return _make_study(name, plan, caution, "" if member == ENSEMBLE else member)
    return None


def _find_study(run: Run) -> StudyOrigin | None:
    """By the place: a study's ensemble/, or its members/NAME/."""
    directory = run.directory.absolute()
    if directory.name == ENSEMBLE:
        study, member = Study(directory.parent), ""
    elif directory.parent.name == "members":
        study, member = Study(directory.parent.parent), directory.name
    else:
        return None
    try:
        plan = study.read_plan()
    except PolypError:
        return None
    caution = (study.read_metrics() or {}).get("caution", "")
    return _make_study(study.name, plan, caution if isinstance(caution, str) else "", member)


def _make_study(
    name: str, plan: Mapping[str, Any], caution: str, member: str
) -> StudyOrigin | None:
    match {"shares": [1.0], **plan}:
        case {"num_folds": int(), "seeds": [int(), *_], "shares": [int() | float(), *_]} as whole:
            return StudyOrigin(name=name, plan=whole, caution=caution, member=member)
    return None


def _is_demo_model(run: Run) -> bool:
    """Whether it is a copy of the model that ships, wherever it lies."""
    known = run.read_serving().get("sha256")
    return bool(known) and known == DEMO_RUN.read_serving().get("sha256")


def _is_synthetic(folder: str) -> bool:
    """Whether images lie where this program draws those of its demo."""
    if not folder.strip():
        return False
    try:
        drawn = get_demo_data_dir().resolve()
        given = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    return given == drawn or drawn in given.parents
