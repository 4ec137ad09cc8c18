"""The shown model beside others, on the images that all of them judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from polyp_core import metrics, words
from polyp_core.clusters import number_clusters
from polyp_core.errors import RunError
from polyp_core.evidence.curves import roc_curve
from polyp_core.evidence.pairs import Matched, compare_auc, compare_decisions, match_predictions
from polyp_core.evidence.wording import say_signed
from ui import check_charts
from ui.compare_charts import DASHES, list_lines
from ui.downloads import show_figure
from ui.frame import show_problem
from ui.pictures import is_dark
from ui.results_candidates import (
    COMPARED,
    KIND_NAMES,
    MAX_OTHERS,
    Candidate,
    find_candidates,
    identify,
    say_candidate,
)
from ui.results_disagreements import show_disagreements
from ui.results_pair_words import (
    say_auc_difference,
    say_decisions,
    say_interval,
    say_plain_p,
    say_points,
)
from ui.results_source import Judged, name_source, read_judged
from ui.words import MEASURES, escape

_MEASURES = {"auc": MEASURES["auc"]} | MEASURES  # first what knows no threshold


def show_pairs(judged: Judged, level: str) -> None:
    """A choice of one to three others, their numbers, paired tests, curves and disagreements.

    Args:
        judged: What is shown.
        level: "patient" or "image".
    """
    candidates = find_candidates(judged)
    if not candidates:
        st.info(
            "There is nothing to compare with yet. Train a second run on the same images, with "
            "another preset or another seed: here both then stand side by side, with a test of "
            "whether their difference is more than chance.",
            icon=":material/compare_arrows:",
        )
        return
    chosen = [name for name in st.session_state.get(COMPARED, []) if name in candidates]
    st.session_state[COMPARED] = chosen[:MAX_OTHERS]
    chosen = st.multiselect(
        f"Compare {escape(_name(judged))} with", list(candidates), key=COMPARED,
        format_func=lambda name: say_candidate(candidates[name]),
        max_selections=MAX_OTHERS, placeholder="Choose up to three runs or studies",
        persist_state="session",
    )  # fmt: skip
    if chosen:
        _show_chosen(judged, [candidates[name] for name in chosen], level)


def _show_chosen(judged: Judged, candidates: Sequence[Candidate], level: str) -> None:
    try:
        models = [judged, *(read_judged(one.source, one.kind) for one in candidates)]
    except RunError as error:
        show_problem(str(error))
        return
    models = _leave_out(models)
    if len(models) == 1:
        return
    names = _name_apart(models)
    matched = match_predictions(dict(zip(names, (model.table for model in models), strict=True)))
    _say_match(matched, names, [len(model.table) for model in models])
    if matched.rows.empty:
        return
    thresholds = [model.decision.threshold for model in models]
    counted = matched.pool_patients() if level == "patient" else matched
    if counted is None or counted.rows.empty:
        st.caption("Patients are not known for all of these images, so images are counted.")
        counted, level = matched, "image"
    unit = "patients" if level == "patient" else "images"
    _show_numbers(counted, models, thresholds, unit)
    grid = st.grid(2, min_column_width=340, gap="medium")
    with grid.cell():
        _show_curves(counted, names, thresholds)
    with grid.cell():
        _show_tests(counted, names, thresholds, unit)
    show_disagreements(judged, matched, thresholds)


def _leave_out(models: Sequence[Judged]) -> list[Judged]:
    """Those that can be compared with the first, itself among them; says why others cannot."""
    shown, *others = models
    kept = [shown]
    images = frozenset(identify(shown.table))
    for other in others:
        name = escape(_name(other))
        if other.class_names != shown.class_names:
            st.warning(
                f"**{name} is left out**: it tells other classes apart, "
                f"{' and '.join(map(escape, other.class_names))}. Choose one with the same two.",
                icon=":material/warning:",
            )
        elif images.isdisjoint(identify(other.table)):
            st.warning(
                f"**{name} is left out**: there is no image that it and {escape(_name(shown))} "
                "both judged. Numbers of different images cannot be compared, and there is no "
                "paired test. Train on the same folder with the same split, or judge both on "
                "another folder under 'Other data'.",
                icon=":material/warning:",
            )
        else:
            kept.append(other)
    return kept


def _say_match(matched: Matched, names: Sequence[str], num_judged: Sequence[int]) -> None:
    """Whether all judged the same images; what is wrong with the comparison where not."""
    n = len(matched.rows)
    if n == 0 and not matched.num_relabelled:
        st.warning(
            "**There is no image that all of these judged**, though each shares some with "
            f"{escape(names[0])}. So there are no numbers to compare. Choose fewer.",
            icon=":material/warning:",
        )
        return
    if matched.is_complete:
        st.caption(
            f":material/check: All judged the same {words.say_number(n, 'image')}; every number "
            "here is of these."
        )
        return
    parts = []
    if any(matched.num_missing.values()):
        sizes = [f"{escape(name)} {size}" for name, size in zip(names, num_judged, strict=True)]
        parts.append(f"**They judged different images**: {', '.join(sizes)}; all of them {n}.")
    if matched.num_relabelled:
        parts.append(
            f"{words.say_number(matched.num_relabelled, 'image has', 'images have')} another "
            f"label in one of them and {'is' if matched.num_relabelled == 1 else 'are'} left out."
        )
    st.warning(
        f"{' '.join(parts)} Every number here is of the {words.say_number(n, 'image')} that all "
        "judged, so it differs from what stands above.",
        icon=":material/warning:",
    )


def _show_numbers(
    matched: Matched, models: Sequence[Judged], thresholds: Sequence[float], unit: str
) -> None:
    """The numbers side by side; the table is the curves' legend as well."""
    lines = list_lines(is_dark())[: len(models)]
    looks = [f"color: {colour}; font-weight: bold" for colour, _ in lines]
    labels, groups = matched.rows["label"].to_numpy(), matched.rows["group"].to_numpy()
    clusters = number_clusters(groups, len(groups))
    rows = []
    for name, model, threshold, (_, dash) in zip(
        matched.probabilities, models, thresholds, lines, strict=True
    ):
        found = metrics.evaluate(
            labels, matched.probabilities[name].to_numpy(), threshold, clusters
        )
        said = {title: say(vars(found[key])) for key, (title, say) in _MEASURES.items()}
        rows.append(
            {"Line": DASHES[dash], "Model": name} | said
            | {"Threshold": f"{100 * threshold:.3g} %",
               "Judged as": KIND_NAMES.get(model.kind, model.kind)}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    st.dataframe(
        table.style.apply(lambda _: looks, subset=["Line"]), hide_index=True, height="content",
        alt=f"Numbers of each model on the same {len(labels)} {unit}",
        column_config={
            "Line": st.column_config.TextColumn(width=60),
            "Model": st.column_config.TextColumn(width=170),
            "Threshold": st.column_config.TextColumn(
                help="Each model's own, as it is stored with it."
            ),
        },
    )  # fmt: skip
    if len(set(thresholds)) > 1:
        st.caption(
            ":material/info: The models decide at different thresholds. Their answers differ by "
            "that as well; the AUC does not."
        )


def _show_tests(
    matched: Matched, names: Sequence[str], thresholds: Sequence[float], unit: str
) -> None:
    """Each of the others against the shown one, in words and as a table."""
    labels = matched.rows["label"].to_numpy()
    groups = matched.rows["group"].to_numpy() if "group" in matched.rows else None
    if unit == "patients" or (groups is not None and not (groups != "").any()):
        groups = None
    probabilities = [matched.probabilities[name].to_numpy() for name in names]
    decisions = [p >= threshold for p, threshold in zip(probabilities, thresholds, strict=True)]
    rows = []
    for number, name in list(enumerate(names))[1:]:
        auc = compare_auc(labels, probabilities[0], probabilities[number], groups)
        counted = compare_decisions(labels, decisions[0], decisions[number], groups)
        st.markdown(
            f"- {say_auc_difference(auc, name, names[0])}\n"
            f"- {say_decisions(counted, name, names[0], unit)}"
        )
        rows.append(_tabulate_test(name, auc, counted))
    with st.popover("The tests in numbers", icon=":material/function:"):
        st.dataframe(rows, hide_index=True, height="content", alt="Paired tests")
        st.caption(
            f"Each against {escape(names[0])}: its number less that of {escape(names[0])}. AUC by "
            "DeLong's paired test; answers, at each model's own threshold, by McNemar's exact "
            "test with Newcombe's interval."
            + (" Images of one patient count together." if groups is not None else "")
            + (
                f" The {len(rows)} p values are not corrected for being {len(rows)}."
                if len(rows) > 1
                else ""
            )
        )


def _tabulate_test(name: str, auc: dict[str, Any], counted: dict[str, Any]) -> dict[str, Any]:
    difference = counted["difference"]
    return {
        "Against it": name,
        "AUC difference": say_interval(auc, lambda value: say_signed(value, 3)),
        "p (DeLong)": say_plain_p(auc["p_value"]),
        "Accuracy difference": say_interval(
            difference, lambda value: f"{say_points(value)} points"
        ),
        "p (McNemar)": say_plain_p(counted["p_value"]),
        "Both right": counted["both_right"],
        "Only it right": counted["only_b"],
        "Only the shown right": counted["only_a"],
        "Both wrong": counted["both_wrong"],
        "n": counted["n"],
    }


def _show_curves(matched: Matched, names: Sequence[str], thresholds: Sequence[float]) -> None:
    labels, groups = matched.rows["label"].to_numpy(), matched.rows["group"].to_numpy()
    curves = [roc_curve(labels, matched.probabilities[name].to_numpy(), groups) for name in names]
    if curves[0].empty:
        st.caption("There is no ROC curve: all of these are of one class.")
        return
    points = [
        _find_point(labels, matched.probabilities[name].to_numpy() >= threshold)
        for name, threshold in zip(names, thresholds, strict=True)
    ]
    numbers = pd.concat(dict(zip(names, curves, strict=True)), names=["model"])
    show_figure(
        check_charts.draw_overlaid_roc(curves, names, points, is_dark=is_dark()),
        "ROC curves of the compared models", "results pairs roc",
        stem=f"{names[0]}-compared-roc", numbers=numbers.reset_index("model"),
    )  # fmt: skip


def _find_point(labels: np.ndarray, decisions: np.ndarray) -> tuple[float, float]:
    return float(decisions[labels == 0].mean()), float(decisions[labels == 1].mean())


def _name(judged: Judged) -> str:
    return name_source(judged.study or judged.run)


def _name_apart(models: Sequence[Judged]) -> list[str]:
    """What each is called; where names are alike, with its folder."""
    names = [_name(model) for model in models]
    return [
        name
        if names.count(name) == 1
        else f"{name} ({words.make_visible(str(Path(*model.run.directory.parts[-2:])))})"
        for name, model in zip(names, models, strict=True)
    ]
