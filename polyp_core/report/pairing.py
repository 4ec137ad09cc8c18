"""The seeds of a study beside each other, on the same images: which differences are real."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from polyp_core import words
from polyp_core.decision import is_sound
from polyp_core.evidence.pairs import Matched, compare_auc, compare_decisions, match_predictions
from polyp_core.evidence.wording import say_p, say_signed
from polyp_core.report.page import write_missing, write_note, write_paragraph, write_table
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
    by_auc = _correct([result["auc"]["p_value"] for result in results])
    by_answer = _correct([result["answers"]["p_value"] for result in results])
    rows = [
        (other, _say_difference(result["auc"]), _say_corrected(p_auc),
         _say_points(result["answers"]["difference"]), _say_corrected(p_answer),
         str(result["answers"]["n"]))
        for other, result, p_auc, p_answer in zip(others, results, by_auc, by_answer, strict=True)
    ]  # fmt: skip
    of_auc, of_answers, how = _name_tests(counted, unit)
    heads = (f"Against {first}", "AUC", f"p ({of_auc})", "Accuracy, points", f"p ({of_answers})",
             f"n {unit}s")  # fmt: skip
    said = _say_result([p for p in [*by_auc, *by_answer] if p is not None], 2 * len(others))
    return (
        write_paragraph(f"{said} All seeds judged the same {unit}s, so they are compared in pairs.")
        + write_table(heads, rows)
        + write_note(
            f"Each number less that of {first}. {how} The p values of a column are corrected "
            f"for being {len(others)} (Holm); the intervals are not. Seeds differ by chance alone, "
            "so a real difference says how much a single training can mislead, not that a seed is "
            "better."
        )
    )


def _name_tests(counted: Matched, unit: str) -> tuple[str, str, str]:
    """What the test of the AUC and that of the answers are called, and a sentence on both."""
    if unit == "image" and _has_patients(counted):
        return (
            "Obuchowski", "sign flips",
            "AUC by Obuchowski's paired test and answers by flipping the signs of whole patients' "
            "surplus of right answers, since images of one patient go together; with Newcombe's "
            "interval, for as many images as they are worth.",
        )  # fmt: skip
    return (
        "DeLong", "McNemar",
        "AUC by DeLong's paired test, answers by McNemar's exact test with Newcombe's interval.",
    )  # fmt: skip


def _has_patients(counted: Matched) -> bool:
    return bool((counted.rows["group"] != "").any())


def _correct(p_values: Sequence[float | None]) -> list[float | None]:
    """By Holm, for as many as are defined."""
    corrected = iter(correct_by_holm([p for p in p_values if p is not None]))
    return [None if p is None else next(corrected) for p in p_values]


def _say_corrected(p: float | None) -> str:
    return "not defined" if p is None else say_p(p).removeprefix("p = ")


def _say_result(p_values: Sequence[float], num_tests: int) -> str:
    num_real, num_defined = sum(p < 0.05 for p in p_values), len(p_values)
    if num_defined == 0:
        return "No difference could be tested."
    said = "No seed differs from the first by more than chance alone would give."
    if num_real:
        said = (
            f"{words.say_number(num_real, 'difference')} of {num_defined} "
            f"{'is' if num_real == 1 else 'are'} larger than chance alone would give."
        )
    if num_defined < num_tests:
        said += f" {num_tests - num_defined} of {num_tests} could not be tested."
    return said


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
        metrics = member.run.read_metrics() or {}
        threshold = float(metrics.get("threshold", 0.5)) if is_sound(metrics) else 0.5
        thresholds.setdefault(name, []).append(threshold)
    whole = {name: pd.concat(found) for name, found in tables.items() if len(found) == num_folds}
    return whole, {name: float(np.mean(thresholds[name])) for name in whole}


def _compare(
    counted: Matched, first: str, other: str, thresholds: dict[str, float], unit: str
) -> dict[str, dict[str, Any]]:
    labels = counted.rows["label"].to_numpy()
    a, b = (counted.probabilities[name].to_numpy() for name in (first, other))
    has_groups = unit == "image" and _has_patients(counted)
    groups = counted.rows["group"].to_numpy() if has_groups else None
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
