"""The figures of the evidence on the page: the row of three, and more of them behind a click."""

import pandas as pd
import streamlit as st

from polyp_core.decision import Band, Decision
from polyp_core.evidence import Level
from polyp_core.evidence.curves import risk_coverage
from polyp_core.metrics import estimate_share
from ui import evidence_charts
from ui.downloads import show_figure
from ui.pictures import get_class_colours, is_dark
from ui.results_evidence import (
    UNITS,
    find_majority,
    read_auc,
    read_curve,
    read_curve_csv,
    read_fixed_numbers,
    read_levels,
)
from ui.results_source import Judged
from ui.words import escape, say_temperature


def show_figures(judged: Judged, unit: str, shown: Decision) -> None:
    """ROC with the operating point, calibration, and the confusion matrix."""
    level = read_levels(judged)[unit]
    cells = count_cells(level, shown.threshold, shown.band)
    grid = st.grid(3, min_column_width=240)
    with grid.cell():
        st.markdown("**ROC**", help=_HELP["roc"])
        _show_roc(judged, unit, shown)
    with grid.cell():
        st.markdown("**Calibration**", help=_HELP["calibration"])
        figure = evidence_charts.draw_calibration(
            read_curve(judged, unit, "calibration"), read_curve(judged, unit, "histogram"),
            judged.class_names, get_class_colours(), is_dark=is_dark(),
        )  # fmt: skip
        show_figure(
            figure, "Observed share against probability, with a histogram", "results calibration",
            stem=_name_file(judged, unit, "calibration"),
            numbers=read_curve_csv(judged, unit, "calibration"),
        )  # fmt: skip
        _show_temperature(judged)
    with grid.cell():
        st.markdown("**Confusion matrix**", help=_HELP["matrix"])
        figure = evidence_charts.draw_matrix(
            cells, judged.class_names, get_class_colours(), UNITS[unit], is_dark=is_dark()
        )
        names = {0: judged.class_names[0], 1: judged.class_names[1], 2: "left open"}
        named = cells.assign(truth=cells["truth"].map(names), answer=cells["answer"].map(names))
        show_figure(
            figure, "How often which class was answered which way", "results matrix",
            stem=_name_file(judged, unit, "matrix"), numbers=named,
        )  # fmt: skip


def _show_temperature(judged: Judged) -> None:
    """What the temperature has changed; of a study each member has its own."""
    metrics = None if judged.study else judged.run.read_metrics()
    if metrics is not None and "calibration" in metrics:
        st.caption(say_temperature(metrics["calibration"]))


def show_more_curves(judged: Judged, unit: str, shown: Decision) -> None:
    """Precision and recall, decision curve, distributions, coverage and risk."""
    level = read_levels(judged)[unit]
    grid = st.grid(2, min_column_width=340, gap="medium")
    with grid.cell():
        st.markdown("**Precision and recall**", help=_HELP["precision recall"])
        _show_precision_recall(judged, unit, shown)
    with grid.cell():
        st.markdown("**Decision curve**", help=_HELP["decision"])
        curve = read_curve(judged, unit, "decision")
        if curve.empty:
            _say_undefined(judged, level)
        else:
            figure = evidence_charts.draw_decision(curve, shown.threshold, is_dark=is_dark())
            show_figure(
                figure, "Net benefit against the probability to act from", "results decision",
                stem=_name_file(judged, unit, "decision"),
                numbers=read_curve_csv(judged, unit, "decision"),
            )  # fmt: skip
    with grid.cell():
        st.markdown("**Distribution of probabilities**", help=_HELP["histogram"])
        band = None if shown.band is None else (shown.band.low, shown.band.high)
        figure = evidence_charts.draw_probabilities(
            read_curve(judged, unit, "histogram"), shown.threshold, band, judged.class_names,
            get_class_colours(), is_dark=is_dark(),
        )  # fmt: skip
        show_figure(
            figure, "Probabilities of both classes", "results distribution",
            stem=_name_file(judged, unit, "probabilities"),
            numbers=read_curve_csv(judged, unit, "histogram"),
        )  # fmt: skip
    with grid.cell():
        st.markdown("**Coverage and risk**", help=_HELP["coverage"])
        _show_coverage(judged, unit, level, shown)


def count_cells(level: Level, threshold: float, band: Band | None) -> pd.DataFrame:
    """How often which class was answered which way.

    Args:
        level: What is judged.
        threshold: Positive from this probability on.
        band: Where no answer is given, if anywhere.

    Returns:
        truth (0 or 1), answer (0, 1, or 2 for none, which is there with a band alone), count, and
        of all of that truth share, low, high.
    """
    answers = (level.probabilities >= threshold).astype(int)
    if band is not None:
        answers[band.holds(level.probabilities)] = 2
    rows = []
    for truth in (0, 1):
        those = level.labels == truth
        for answer in (0, 1) if band is None else (0, 2, 1):
            is_hit = answers[those] == answer
            rate = estimate_share(is_hit, level.clusters[those])
            rows.append((truth, answer, int(is_hit.sum()), rate.value, rate.low, rate.high))
    columns = ["truth", "answer", "count", "share", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"share": float, "low": float, "high": float})


def _show_roc(judged: Judged, unit: str, shown: Decision) -> None:
    curve, level = read_curve(judged, unit, "roc"), read_levels(judged)[unit]
    if curve.empty:
        _say_undefined(judged, level)
        return
    cells = count_cells(level, shown.threshold, None)  # the curve knows no band
    called = cells[cells["answer"] == 1].set_index("truth")["share"]
    figure = evidence_charts.draw_roc(
        curve, read_auc(judged, unit), (called[0], called[1]), is_dark=is_dark()
    )
    show_figure(
        figure, "Sensitivity against false alarms, with the threshold", "results roc",
        stem=_name_file(judged, unit, "roc"), numbers=read_curve_csv(judged, unit, "roc"),
    )  # fmt: skip


def _show_precision_recall(judged: Judged, unit: str, shown: Decision) -> None:
    curve, level = read_curve(judged, unit, "precision recall"), read_levels(judged)[unit]
    average = read_fixed_numbers(judged)[unit]["average_precision"]
    if curve.empty or average["value"] is None:
        _say_undefined(judged, level)
        return
    is_called = level.probabilities >= shown.threshold
    hits = int((is_called & (level.labels == 1)).sum())
    num_positives = int(level.labels.sum())
    point = (hits / num_positives, hits / is_called.sum()) if is_called.any() else None
    share = num_positives / len(level.labels)
    figure = evidence_charts.draw_precision_recall(curve, average, share, point, is_dark=is_dark())
    show_figure(
        figure, "Precision against recall, with the threshold", "results precision recall",
        stem=_name_file(judged, unit, "precision-recall"),
        numbers=read_curve_csv(judged, unit, "precision recall"),
    )  # fmt: skip


def _show_coverage(judged: Judged, unit: str, level: Level, shown: Decision) -> None:
    curve = risk_coverage(level.labels, level.probabilities, shown.threshold, groups=level.clusters)
    point = None
    if shown.band is not None:
        is_answered = ~shown.band.holds(level.probabilities)
        is_wrong = (level.probabilities >= shown.threshold) != (level.labels == 1)
        point = (is_answered.mean(), is_wrong[is_answered].mean())
    figure = evidence_charts.draw_coverage(curve, shown.target_error, point, is_dark=is_dark())
    show_figure(
        figure, "Wrong answers against how many are answered", "results coverage",
        stem=_name_file(judged, unit, "coverage-risk"), numbers=curve,
    )  # fmt: skip


def _say_undefined(judged: Judged, level: Level) -> None:
    """Why there is no curve: it tells classes apart, and there is one alone."""
    _, label = find_majority(level)
    st.info(
        f"Not defined: all {len(level.labels)} {UNITS[level.unit]} are "
        f"{escape(judged.class_names[label])}, and this needs both classes.",
        icon=":material/info:",
    )


def _name_file(judged: Judged, unit: str, what: str) -> str:
    name = judged.study.name if judged.study else judged.run.name
    return f"{name}-{judged.kind}-{unit}-{what}"


_HELP = {
    "roc": "Every threshold at once: how many of the ill are found (up) for how many false alarms "
    "(right). The ring is the threshold above; the dashed line is guessing. The band is where the "
    "curve of all patients may run (95 %).",
    "calibration": "Of those with a probability of 80 %, are 80 % ill? On the dashed line yes; "
    "below it the model is too sure of the positive class. Each dot is about a tenth of "
    "them, more where many have one probability, with its 95 % interval; the bars below are how "
    "many there are.",
    "matrix": "Rows are the truth, columns the answer; percent are of the row. Full colour is "
    "right, pale is wrong.",
    "precision recall": "Of those called, how many are ill (up), against how many of the ill are "
    "called (right). It depends on how many are ill here.",
    "decision": "Whoever acts from 20 % on holds a miss for four times as bad as a false alarm. "
    "The model helps where its curve is above acting on all and acting on nobody.",
    "histogram": "The positive class upwards, the negative one downwards; the line is the "
    "threshold, the grey band is left open. The further apart, the better.",
    "coverage": "If only the surest are answered, how many answers are wrong. To the right all "
    "are answered.",
}
