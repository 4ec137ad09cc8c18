"""The seeds of a study beside each other, on the same images: which differences are real."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from polyp_core import words
from polyp_core.evidence.pairs import Matched, compare_auc, compare_decisions, match_predictions
from polyp_core.report.page import write_missing, write_note, write_paragraph, write_table
from polyp_core.report.wording import say_p, say_signed
from polyp_core.study import Study


def write_differences(study: Study) -> str:
    """Every seed against the first, in paired tests with corrected p values."""
    tables, thresholds = _read_seeds(study)
    if len(tables) < 2:
        return write_missing(
            "There is no paired test. It needs two seeds with all of their folds finished, which "
            "then have judged the same images; members of different folds have not."
        )
    matched = match_predictions(tables)
    patients = matched.pool_patients()
    counted, unit = (matched, "image") if patients is None else (patients, "patient")
    first, *others = tables
    results = [_compare(counted, first, other, thresholds, unit) for other in others]
    by_auc = correct_by_holm([1.0 if r["auc"]["p_value"] is None else r["auc"]["p_value"]
                              for r in results])  # fmt: skip
    by_answer = correct_by_holm([1.0 if r["answers"]["p_value"] is None else
                                 r["answers"]["p_value"] for r in results])  # fmt: skip
    rows = [
        (other, _say_difference(result["auc"]), say_p(p_auc).removeprefix("p = "),
         _say_points(result["answers"]["difference"]), say_p(p_answer).removeprefix("p = "),
         str(result["answers"]["n"]))
        for other, result, p_auc, p_answer in zip(others, results, by_auc, by_answer, strict=True)
    ]  # fmt: skip
    num_real = sum(p < 0.05 for p in [*by_auc, *by_answer])
    said = (
        "No seed differs from the first by more than chance alone would give."
        if num_real == 0
        else f"{words.say_number(num_real, 'difference')} of {2 * len(others)} "
        f"{'is' if num_real == 1 else 'are'} larger than chance alone would give."
    )
    heads = (f"Against {first}", "AUC", "p (DeLong)", "Accuracy, points", "p (McNemar)",
             f"n {unit}s")  # fmt: skip
    return (
        write_paragraph(f"{said} All seeds judged the same {unit}s, so they are compared in pairs.")
        + write_table(heads, rows)
        + write_note(
            f"Each number less that of {first}. AUC by DeLong's paired test, answers by McNemar's "
            "exact test with Newcombe's interval. The p values of a column are corrected for being "
            f"{len(others)} (Holm); the intervals are not. Seeds differ by chance alone, so a real "
            "difference says how much a single training can mislead, not that a seed is better."
        )
    )


def _read_seeds(study: Study) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """What each seed with all of its folds says of the images it was not trained on."""
    num_folds = study.read_plan()["num_folds"]
    tables: dict[str, list[pd.DataFrame]] = {}
    thresholds: dict[str, list[float]] = {}
    for member in study.whole_members:
        if member.read_state() != "finished":
            continue
        try:
            predictions = member.run.read_predictions()
        except (OSError, ValueError):
            continue
        name = f"seed {member.seed}"
        tables.setdefault(name, []).append(predictions[predictions["split"] == "validation"])
        threshold = (member.run.read_metrics() or {}).get("threshold", 0.5)
        thresholds.setdefault(name, []).append(float(threshold))
    whole = {name: pd.concat(found) for name, found in tables.items() if len(found) == num_folds}
    return whole, {name: float(np.mean(thresholds[name])) for name in whole}


def _compare(
    counted: Matched, first: str, other: str, thresholds: dict[str, float], unit: str
) -> dict[str, dict[str, Any]]:
    labels = counted.rows["label"].to_numpy()
    a, b = (counted.probabilities[name].to_numpy() for name in (first, other))
    groups = counted.rows["group"].to_numpy() if unit == "image" else None
    if groups is not None and not (groups != "").any():
        groups = None
    return {
        "auc": compare_auc(labels, a, b, groups),
        "answers": compare_decisions(
            labels, a >= thresholds[first], b >= thresholds[other], groups
        ),
    }


def _say_difference(result: dict[str, Any]) -> str:
    if result["value"] is None:
        return "not defined"
    if result["low"] is None:
        return say_signed(result["value"], 3)
    low, high = say_signed(result["low"], 3), say_signed(result["high"], 3)
    return f"{say_signed(result['value'], 3)} ({low} to {high})"


def _say_points(result: dict[str, Any]) -> str:
    points = {
        key: None if result[key] is None else 100 * result[key] for key in ("value", "low", "high")
    }
    if points["value"] is None:
        return "not defined"
    said = say_signed(points["value"], 1)
    if points["low"] is None or points["high"] is None:
        return said
    return f"{said} ({say_signed(points['low'], 1)} to {say_signed(points['high'], 1)})"


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number.

    References: Holm, Scand J Stat 6:65 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    factors = len(p_values) - np.arange(len(p_values))
    corrected[order] = np.maximum.accumulate(np.asarray(p_values, float)[order] * factors)
    return [min(1.0, float(value)) for value in corrected]
