"""What the shown predictions can be compared with: those of others, by the images they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.errors import RunError
from polyp_core.evaluation_jobs import EVALUATIONS, get_home
from polyp_core.runs import Run
from polyp_core.study import Study
from ui.readers import find_time
from ui.results_link import COMPARISON_BOX, KIND, SOURCE
from ui.results_source import (
    STUDY,
    TEST,
    VALIDATION,
    Judged,
    list_kinds,
    list_sources,
    name_source,
    read_judged,
)

COMPARED = "results compared with"  # folders of what was chosen
MAX_OTHERS = 3
KIND_NAMES = {VALIDATION: "validation", TEST: "test", STUDY: "folds of the study"}
_MAX_OFFERED = 50  # of the newest; each must be read to know which images it judged


@dataclass(frozen=True)
class Candidate:
    """What the shown predictions can be compared with.

    Attributes:
        source: Whose they are.
        kind: Which of its predictions: those that share the most images with the shown ones.
        num_common: Images that both judged.
        num_shown: Images of the shown predictions.
        num_own: Images of these.
    """

    source: Run | Study
    kind: str
    num_common: int
    num_shown: int
    num_own: int


def find_candidates(judged: Judged) -> dict[str, Candidate]:
    """What can be compared, by folder: first what shares the most images with the shown."""
    shown = frozenset(identify(judged.table))
    own = judged.study.directory if judged.study else judged.run.directory
    found = []
    for source in [other for other in list_sources() if other.directory != own][:_MAX_OFFERED]:
        best = None
        for kind in _list_kinds(source):
            images = _read_images(source, kind)
            candidate = Candidate(source, kind, len(shown & images), len(shown), len(images))
            if images and (best is None or candidate.num_common > best.num_common):
                best = candidate
        if best is not None:
            found.append(best)
    # Of equals the newest first, as they are listed.
    found.sort(key=lambda one: (-one.num_common, one.num_own))
    return {str(candidate.source.directory): candidate for candidate in found}


def compare_next(runs: Sequence[Run]) -> None:
    """Let the results page show the first of these runs, compared with the others."""
    shown, *others = runs
    st.session_state[SOURCE] = shown
    st.session_state[COMPARED] = [str(run.directory) for run in others][:MAX_OTHERS]
    st.session_state[f"results box {COMPARISON_BOX}"] = True
    st.session_state.pop(KIND, None)


def say_candidate(candidate: Candidate) -> str:
    """Such as "compact-b · the same 62 images" (a widget's option is no Markdown)."""
    common, num_shown, own = candidate.num_common, candidate.num_shown, candidate.num_own
    if common == num_shown == own:
        said = f"the same {words.say_number(common, 'image')}"
    elif common == 0:
        said = "no image in common"
    elif common == num_shown:
        said = f"all {num_shown} images and {own - common} more"
    else:
        said = f"{common} of the {words.say_number(num_shown, 'image')}"
    kind = (
        ""
        if candidate.kind in (VALIDATION, STUDY)
        else f", {KIND_NAMES.get(candidate.kind, candidate.kind)}"
    )
    return f"{name_source(candidate.source)}{kind} · {said}"


def identify(table: pd.DataFrame) -> pd.Series:
    """What each image is known by again, as `pairs.match_predictions` does: content, else path.

    Exact copies are numbered, so that each counts.
    """
    if "sha256" in table and table["sha256"].gt("").all():
        keys = table["sha256"] + " " + table["frame"].astype(str)
        return keys + " " + keys.groupby(keys).cumcount().astype(str)
    return table["path"] + " " + table["frame"].astype(str)


def _list_kinds(source: Run | Study) -> list[str]:
    """As `list_kinds`; none where the predictions cannot be read."""
    try:
        return list_kinds(source)
    except RunError:
        return []


def _read_images(source: Run | Study, kind: str) -> frozenset[str]:
    """What the images of some predictions are known by again."""
    files = source.files if isinstance(source, Study) else source
    if isinstance(source, Run) and kind not in KIND_NAMES:
        files = Run(get_home(source) / EVALUATIONS / kind)
    return _read_known_images(source, kind, find_time(files.path("predictions.csv")))


@st.cache_resource(max_entries=500, show_spinner=False, hash_funcs={Run: str, Study: str})
def _read_known_images(source: Run | Study, kind: str, changed_ns: int) -> frozenset[str]:
    try:
        return frozenset(identify(read_judged(source, kind).table))
    except RunError:
        return frozenset()
