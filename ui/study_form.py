"""The form of a study: how many folds and seeds, what that costs, and the button that starts it."""

from collections.abc import Sequence

import streamlit as st

from polyp_core import words, workspace
from polyp_core.audit import Audit
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.recipe import FEW_IMAGES
from polyp_core.study_jobs import LEARNING_CURVE, start_study
from ui.cost import say_cost
from ui.draft import find_draft
from ui.frame import toast_next
from ui.scroll_up import ask_to_scroll_up
from ui.study_view import note_started
from ui.words import escape, name_settings


def show_study_form(index: Index, audit: Audit) -> None:
    """How many folds and seeds, what that costs, and the button.

    Args:
        index: The images.
        audit: Of them; what it found to be the same picture stays in one fold.
    """
    num_images = len(index.select("train"))
    is_small = num_images < FEW_IMAGES
    box = st.expander(
        "Repeat in folds and seeds", icon=":material/grid_view:", expanded=is_small,
        key=f"folds {is_small}",
    )  # fmt: skip
    with box:
        if is_small:
            _explain_small(num_images)
        _show_fields(index, audit, is_small=is_small)


def _explain_small(num_images: int) -> None:
    st.info(
        f"{words.say_number(num_images, 'image')} to train on are few: one training is a throw of "
        "the dice, and its validation says little. Start this instead of a single run. Three seeds "
        "in five folds judge every image by models that have not seen it, and answer together "
        "afterwards.",
        icon=":material/casino:",
    )


def _show_fields(index: Index, audit: Audit, *, is_small: bool) -> None:
    st.caption(
        "One split can be lucky. A study trains the settings above several times: in folds, so "
        "that every image is validated once by a model that has not seen it or its patient, and "
        "with several seeds. Afterwards all members predict together as one model."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        num_folds = st.number_input(
            "Folds", value=5, key="study folds", width=150,
            help="The images are divided into so many parts, patients and copies kept together; "
            "each part validates one member. 5 is usual. 1 keeps the split as it is. From 1 to 20.",
        )  # fmt: skip
        num_seeds = st.number_input(
            "Seeds", value=3 if is_small else 1, key=f"study seeds {is_small}", width=150,
            help="How often each fold is trained, with other first weights. 3 shows how much is "
            "chance. From 1 to 20.",
        )  # fmt: skip
        draft, problem = find_draft()
        if not (1 <= num_folds <= 20 and 1 <= num_seeds <= 20):
            problem = "Folds and seeds go from 1 to 20."
        with_curve = st.toggle(
            "Also with fewer images (learning curve)", key="study learning curve",
            help="Each fold and seed is trained again on 25, 50 and 75 % of its training images, "
            "whole patients at a time, to tell what more images would give. All settings stay the "
            "same, so fewer images also mean fewer steps. The study's own numbers do not change.",
        )  # fmt: skip
        shares = LEARNING_CURVE if with_curve else (1.0,)
        if st.button(
            "Start the study", icon=":material/grid_view:", key="start study",
            type="primary" if is_small else "secondary",
            disabled=bool(problem) or num_folds * num_seeds * len(shares) < 2,
        ):  # fmt: skip
            study = start_study(
                draft, index, workspace.get_studies_dir(), num_folds=num_folds,
                num_seeds=num_seeds, shares=shares, pairs=audit.pairs,
            )  # fmt: skip
            note_started(study)
            toast_next(f"{escape(study.name)} has begun.", "grid_view")
            ask_to_scroll_up()
            st.rerun()
        st.caption(
            f":red[{escape(name_settings(problem))}]" if problem
            else _say_cost(draft, index, num_folds, num_seeds, shares)
        )  # fmt: skip


def _say_cost(
    draft: RunConfig, index: Index, num_folds: int, num_seeds: int, shares: Sequence[float]
) -> str:
    """Such as "5 runs, about 4 min, on a slow computer 12 min", where the pace is known."""
    num_images = len(index.images) if num_folds > 1 else len(index.select("train"))
    part = 1 - 1 / num_folds if num_folds > 1 else 1.0
    num_runs = num_folds * num_seeds * len(shares)
    cost = say_cost(draft, num_images * part * sum(shares) / len(shares), num_runs)
    return f"{words.say_number(num_runs, 'run')}{cost}"
