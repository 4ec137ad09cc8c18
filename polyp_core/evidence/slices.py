"""A model's numbers for parts of the images: by size, brightness, scanner or any further column.

Where many parts are looked at some differ by chance. So each column has a p value, corrected for
the number of columns. It asks whether wrong answers are spread over the slices more unevenly than
they would be if the column told nothing, among the positives and among the negatives. Whole
patients are exchanged between the slices, only with patients of the same label, so that neither
several images of a patient nor a slice with more positives passes for a difference.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.clusters import number_clusters
from polyp_core.dataset import FURTHER_PREFIX
from polyp_core.metrics import evaluate

UNKNOWN = "not known"
_MEASURED = {
    "width_px": "width (px)",
    "height_px": "height (px)",
    "brightness": "brightness",
    "contrast": "contrast",
}
_METRICS = ("accuracy", "sensitivity", "specificity", "auc")
_REASONS = {
    "sensitivity": "No image of this slice is positive.",
    "specificity": "No image of this slice is negative.",
    "auc": "All images of this slice are of one class.",
}
_BLANKS = ("", "na", "n/a", "nan")
_MOST_CATEGORIES = 20  # more are names or dates, not groups
_FEW_VALUES = 5  # so many numbers stand for themselves, as grades do
_NUM_BINS = 3
_NUM_DRAWS = 1999
_SEED = 0
_CHUNK = 4_000_000  # numbers of one array at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Slices:
    """The slices of one column.

    Attributes:
        column: Its name in the table.
        title: Its name in words; of a manifest's column as the manifest has it, not escaped.
        rows: One row a slice: `slice` (in words), `n`, `positives`, `patients` (images of unknown
            patients count each), and `accuracy`, `sensitivity`, `specificity`, `auc`, each a dict
            of `value`, `low`, `high`, `n` and, where undefined, `reason`.
        p_value: How often chance alone would spread the wrong answers as unevenly; None where it
            cannot be asked.
        corrected_p_value: The same, corrected for the number of columns looked at.
        reason: Why there is no p value, or "".
    """

    column: str
    title: str
    rows: pd.DataFrame
    p_value: float | None
    corrected_p_value: float | None
    reason: str = ""

    @property
    def differs(self) -> bool:
        """Whether the slices differ by more than chance, at 5 % over all columns together."""
        return self.corrected_p_value is not None and self.corrected_p_value < 0.05


def join_index(predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The predictions with what else the index knows of each image; rows and order stay.

    Args:
        predictions: With `path`, and `frame` unless an older version wrote them. What they know
            themselves is kept.
        images: The `images` of the run's index, with any further columns. Of what it does not
            list the text is "" and the numbers are NaN.
    """
    keys = ["path", "frame"]
    own = predictions if "frame" in predictions else predictions.assign(frame=0)
    known = images if "frame" in images else images.assign(frame=0)
    new = [name for name in known if name not in own]
    joined = own.merge(known[keys + new].drop_duplicates(keys), on=keys, how="left")
    text = [name for name in new if not pd.api.types.is_numeric_dtype(known[name])]
    joined[text] = joined[text].fillna("")
    return joined.set_axis(predictions.index)


def find_columns(table: pd.DataFrame) -> dict[str, str]:
    """The columns by which a table can be sliced, with their names in words.

    Args:
        table: Predictions as of `join_index`.

    Returns:
        Width, height, brightness and contrast, and the manifest's own columns, as far as there
        are at least two slices; text of more than 20 different values is left out.
    """
    further = [name for name in map(str, table.columns) if name.startswith(FURTHER_PREFIX)]
    present = [name for name in [*_MEASURED, *further] if name in table]
    counts = {name: len(_cut(table[name], _NUM_BINS).cat.categories) for name in present}
    return {name: _name(name) for name in present if 2 <= counts[name] <= _MOST_CATEGORIES}


def list_slices(
    table: pd.DataFrame, columns: Iterable[str], threshold: float, num_bins: int = _NUM_BINS
) -> list[Slices]:
    """The slices of several columns, with p values corrected for their number.

    The test is by permutation, with 1,999 draws of a fixed seed, so that the least p value is
    0.0005. It sums, over slices and labels, the squared difference between wrong answers and those
    expected, by its binomial variance. A patient is of the slice most of the patient's images are
    in (at a tie the first), so the test does not see differences within a patient; the rows count
    each image in its own.

    Args:
        table: Predictions: `label`, `probability`, the columns, and `group` where patients are
            known.
        columns: As of `find_columns`.
        threshold: Positive from this probability on.
        num_bins: Into how many parts of about equal size a column of numbers is cut.

    References: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapter 3;
    Phipson and Smyth, Stat Appl Genet Mol Biol 9:39 (2010) for counting what was seen as a draw;
    Holm, Scand J Stat 6:65 (1979) for the correction.
    """
    cut = {name: _cut(table[name], num_bins) for name in columns}
    if not cut:
        return []
    p_values, reason = _test_columns(table, list(cut.values()), threshold)
    corrected = _correct_by_holm(p_values)
    return [
        Slices(
            column=name,
            title=_name(name),
            rows=_describe_slices(table, slices, threshold),
            p_value=p_values[number] if p_values else None,
            corrected_p_value=corrected[number] if p_values else None,
            reason=reason,
        )
        for number, (name, slices) in enumerate(cut.items())
    ]


def _name(column: str) -> str:
    return _MEASURED.get(column, column.removeprefix(FURTHER_PREFIX))


def _read_text(values: pd.Series) -> pd.Series:
    """A column as text, "" where it is blank."""
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    return text.mask(text.str.lower().isin(_BLANKS), "")


def _read_numbers(text: pd.Series) -> pd.Series | None:
    """The same as numbers, NaN where it is blank; None where it holds anything else, or nothing."""
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    is_told = text != ""
    is_read = is_told.any() and bool(np.isfinite(numbers[is_told]).all())
    return numbers if is_read else None


def _cut(values: pd.Series, num_bins: int) -> pd.Series:
    """The slice of each row in words, as an ordered category."""
    text = _read_text(values)
    numbers = _read_numbers(text)
    if numbers is None:
        return _order(text.mask(text == ""), sorted(set(text) - {""}))
    if numbers.nunique() <= _FEW_VALUES:
        found = sorted(numbers.dropna().unique())
        return _order(numbers.map({value: _say(value) for value in found}), map(_say, found))
    places = pd.qcut(numbers, num_bins, labels=False, duplicates="drop")
    if num_bins > 1 and places.nunique() < 2:  # most have the least value, or the greatest
        places = (numbers != numbers.median()).where(numbers.notna())
    ends = numbers.groupby(places).agg(["min", "max"]).sort_values("min")
    words = {place: _say_range(low, high) for place, low, high in ends.itertuples()}
    return _order(places.map(words), words.values())


def _order(slices: pd.Series, names: Iterable[str]) -> pd.Series:
    """As categories in this order; what is blank comes last, where anything is."""
    known = slices.astype(object).where(slices.notna(), UNKNOWN)
    last = [UNKNOWN] if (known == UNKNOWN).any() else []
    names = [name for name in dict.fromkeys(names) if name != UNKNOWN]
    return known.astype(pd.CategoricalDtype([*names, *last], ordered=True))


def _say_range(low: float, high: float) -> str:
    return _say(low) if _say(low) == _say(high) else f"{_say(low)} to {_say(high)}"


def _say(value: float) -> str:
    """A number with at most four digits that count, and all that stand before its point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _describe_slices(table: pd.DataFrame, slices: pd.Series, threshold: float) -> pd.DataFrame:
    labels, probabilities = table["label"].to_numpy(), table["probability"].to_numpy()
    clusters = number_clusters(_get_groups(table), len(table))
    rows = []
    for number, name in enumerate(slices.cat.categories):
        places = np.flatnonzero(slices.cat.codes == number)
        found = evaluate(labels[places], probabilities[places], threshold, clusters[places])
        rows.append(
            {
                "slice": name,
                "n": len(places),
                "positives": int((labels[places] == 1).sum()),
                "patients": len(np.unique(clusters[places])),
                **{metric: _to_plain(metric, asdict(found[metric])) for metric in _METRICS},
            }
        )
    return pd.DataFrame(rows, columns=["slice", "n", "positives", "patients", *_METRICS])


def _to_plain(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    return metric if metric["value"] is not None else metric | {"reason": _REASONS[name]}


def _get_groups(table: pd.DataFrame) -> np.ndarray | None:
    return table["group"].to_numpy() if "group" in table else None


def _test_columns(
    table: pd.DataFrame, columns: list[pd.Series], threshold: float
) -> tuple[list[float], str]:
    """The p value of each column, or none and why."""
    is_positive = (table["label"] == 1).to_numpy()
    is_wrong = (table["probability"] >= threshold).to_numpy() != is_positive
    if not is_wrong.any():
        return [], "No image is judged wrongly, so no slice can differ."
    clusters = number_clusters(_get_groups(table), len(table))
    # Of each patient: positives, negatives, and how many of each are judged wrongly.
    kinds = (is_positive, ~is_positive, is_positive & is_wrong, ~is_positive & is_wrong)
    sums = np.stack([np.bincount(clusters, kind) for kind in kinds], axis=1)
    labels = (sums[:, 0] > 0) * 2 + (sums[:, 1] > 0)
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if max(map(len, strata)) < 2:
        return [], "There are too few patients to ask whether a slice differs by more than chance."
    members = [_find_members(slices, clusters) for slices in columns]
    together, totals = np.concatenate(members, axis=1), sums.sum(axis=0)
    starts = np.cumsum([0, *(item.shape[1] for item in members[:-1])])
    seen = np.add.reduceat(_measure(sums.T[:, np.newaxis] @ together, totals), starts, axis=1)
    generator, num_reached, num_done = np.random.default_rng(_SEED), np.zeros(len(columns)), 0
    while num_done < _NUM_DRAWS:
        size = min(max(1, _CHUNK // len(sums)), _NUM_DRAWS - num_done)
        held = np.zeros((4, size, together.shape[1]))
        for own in strata:
            held += _exchange(sums[own], [item[own] for item in members], size, generator)
        measured = np.add.reduceat(_measure(held, totals), starts, axis=1)
        num_reached += (measured >= seen * (1 - 1e-6)).sum(axis=0)
        num_done += size
    return ((num_reached + 1) / (_NUM_DRAWS + 1)).tolist(), ""


def _find_members(slices: pd.Series, clusters: np.ndarray) -> np.ndarray:
    """`(patients, slices)` of 0 and 1: the slice that holds most of each patient's images."""
    num_slices = len(slices.cat.categories)
    places = clusters * num_slices + slices.cat.codes.to_numpy()
    counts = np.bincount(places, minlength=(clusters.max() + 1) * num_slices)
    largest = counts.reshape(-1, num_slices).argmax(axis=1)
    members: np.ndarray = np.eye(num_slices, dtype=np.float32)[largest]
    return members


def _exchange(
    sums: np.ndarray, members: list[np.ndarray], num_draws: int, generator: np.random.Generator
) -> np.ndarray:
    """What each slice of each column holds once the patients are dealt anew.

    Args:
        sums: `(patients, 4)`: positives, negatives and their wrong answers.
        members: Of each column `(patients, slices)`: whether a place is of a slice.
        num_draws: How often to deal.
        generator: Deals.

    Returns:
        `(4, draws, slices of all columns)`.
    """
    # Patients with the same sums can stand for each other.
    profiles, numbers, counts = np.unique(sums, axis=0, return_inverse=True, return_counts=True)
    sizes = [item.sum(axis=0).astype(int) for item in members]
    if len(profiles) <= 2:  # as of single images: how many of the first come into each slice
        drawn = [generator.multivariate_hypergeometric(n, counts[0], num_draws) for n in sizes]
        first = np.concatenate(drawn, axis=1)
        rest = np.concatenate(sizes) - first
        return np.stack([a * first + b * rest for a, b in zip(*profiles[[0, -1]], strict=True)])
    places = np.tile(numbers.reshape(-1).astype(np.int32), (num_draws, 1))
    generator.permuted(places, axis=1, out=places)
    together = np.concatenate(members, axis=1)
    return np.stack([values.take(places) @ together for values in profiles.T.astype(np.float32)])


def _measure(held: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """How far the wrong answers of each slice are from those expected: `(draws, slices)`.

    Args:
        held: `(4, draws, slices)` as of `_exchange`.
        totals: `(4,)`: the same of all patients.
    """
    terms = np.zeros(held.shape[1:])
    for kind in (0, 1):
        number, wrong = held[kind], held[2 + kind]
        share = totals[2 + kind] / totals[kind] if totals[kind] else 0.0
        variance = number * share * (1 - share)
        square = (wrong - number * share) ** 2
        terms += np.divide(square, variance, out=np.zeros_like(terms), where=variance > 0)
    return terms


def _correct_by_holm(p_values: list[float]) -> list[float]:
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.array(p_values)[order] * factors)
    return [min(1.0, float(value)) for value in corrected]
