"""Copies and near-copies: the same picture in two places where it does harm."""

import numpy as np
import pandas as pd

from polyp_core.audit.finding import Finding, name_patients, say_splits
from polyp_core.dataset import Index
from polyp_core.duplicates import cluster_pairs
from polyp_core.words import join_words, say_number

# A validation set with more than this share of near-copies of training images proves little.
_GRAVE_SHARE = 0.05


def find_copies(index: Index) -> list[Finding | None]:
    """Files that are the same byte for byte."""
    return [
        _find_spread(
            index, "split", "copy_across_splits", "error", "in {splits}",
            "The model would be tested on what it has learnt by heart. A clean split keeps one of "
            "each.",
        ),
        _find_spread(
            index, "label", "copy_across_classes", "error", "in both classes",
            "One of the two labels is wrong. Look at them and remove the wrong ones; a clean "
            "split leaves all of them out.",
        ),
        _find_spread(
            index, "group", "copy_across_patients", "warning", "under more than one patient",
            "The patients are probably the same person: give them one name.",
        ),
        _find_repeated(index),
    ]  # fmt: skip


def find_near_copies(index: Index, pairs: np.ndarray) -> list[Finding | None]:
    """Pictures that are the same but for size, encoding, brightness or a little of the border.

    Args:
        index: Of the images.
        pairs: `(num_pairs, 2)` of `duplicates.find_near_duplicates`.
    """
    content = name_contents(index.images).to_numpy()
    first, second = pairs[:, 0], pairs[:, 1]
    pairs = pairs[content[first] != content[second]]
    columns = {name: index.images[name].to_numpy() for name in ("split", "label", "group")}
    differ = {name: values[pairs[:, 0]] != values[pairs[:, 1]] for name, values in columns.items()}
    # A patient's images may well look alike; where they stand is judged by patient.
    is_other_patient = differ["group"] | (columns["group"][pairs[:, 0]] == "")
    is_named = (name_patients(index.images).to_numpy()[pairs] != "").all(axis=1)
    across_splits = differ["split"] & is_other_patient
    within = ~differ["split"] & ~differ["label"] & is_other_patient
    shares = _count_leaked(index, pairs[across_splits])
    is_grave = any(leaked > _GRAVE_SHARE * total for leaked, total in shares.values())
    counted = join_words([f"{n} of {total} {split}" for split, (n, total) in shares.items()])
    return [
        _report(
            index, pairs[across_splits], "near_copy_across_splits",
            "error" if is_grave else "warning", "in {splits}",
            f"{counted} images are nearly known from elsewhere, so the result would be too good. "
            "A clean split keeps them together.",
        ),
        _report(
            index, pairs[differ["label"]], "near_copy_across_classes", "warning",
            "in both classes",
            "Two labels for one picture: one of them may be wrong. Look at them.",
        ),
        _report(
            index, pairs[within & is_named], "near_copy_across_patients",
            "warning", "under more than one patient",
            "The patients may be the same person: then give them one name.",
        ),
        _report(
            index, pairs[within & ~is_named], "near_copy", "note", "more than once in a class",
            "They count more than once in training. Remove them if that is not meant.",
        ),
    ]  # fmt: skip


def _count_leaked(index: Index, pairs: np.ndarray) -> dict[str, tuple[int, int]]:
    """Of validation and test where they are concerned: images in the pairs, images in all."""
    leaked = index.images.iloc[np.unique(pairs)]["split"].value_counts()
    return {
        split: (int(leaked[split]), len(index.select(split)))
        for split in ("validation", "test")
        if split in leaked
    }


def name_contents(images: pd.DataFrame) -> pd.Series:
    """Equal for equal pictures; the frames of one file are different pictures."""
    return images["sha256"] + images["frame"].astype(str)


def _find_spread(
    index: Index, column: str, kind: str, severity: str, where: str, advice: str
) -> Finding | None:
    spread = _count_different(index, column) > 1
    return _report_copies(index, index.images[spread], kind, severity, where, advice)


def _count_different(index: Index, column: str) -> pd.Series:
    """Of each image in how many splits, classes or named patients its content stands."""
    values = index.images[column]
    if column == "group":
        named = name_patients(index.images)
        values = named.where(named != "")  # those without a name are not counted
    counts: pd.Series = values.groupby(name_contents(index.images)).transform("nunique")
    return counts


def _find_repeated(index: Index) -> Finding | None:
    """Copies that do no other harm: of one class, patient and split."""
    repeated = name_contents(index.images).duplicated(keep=False)
    for column in ("split", "label", "group"):
        repeated &= _count_different(index, column) <= 1
    return _report_copies(
        index, index.images[repeated], "copy", "note", "more than once in a class",
        "They count more than once in training. Remove the copies if that is not meant.",
    )  # fmt: skip


def _report_copies(
    index: Index, copies: pd.DataFrame, kind: str, severity: str, where: str, advice: str
) -> Finding | None:
    if copies.empty:
        return None
    copies = copies.sort_values(["sha256", "frame", "path"])
    contents = name_contents(copies)
    sets = [tuple(map(int, rows)) for rows in copies.groupby(contents).groups.values()]
    counted = say_number(len(sets), "image stands", "images stand")
    advice += _say_sides(index, kind, sets)
    return Finding(
        kind=kind,
        severity=severity,
        title=f"{counted} {where.format(splits=say_splits(copies))}, byte for byte the same.",
        advice=advice,
        count=len(sets),
        files=tuple(copies["path"]),
        reasons=tuple(f"copy {content[:6]}" for content in contents),
        sets=tuple(sets),
    )


def _report(
    index: Index, pairs: np.ndarray, kind: str, severity: str, where: str, advice: str
) -> Finding | None:
    if not len(pairs):
        return None
    clusters = cluster_pairs(pairs, len(index.images))
    involved = np.unique(pairs)
    by_cluster = pd.Series(involved).groupby(clusters[involved])
    sets = [tuple(map(int, members)) for _, members in by_cluster]
    rows = index.images.iloc[[number for members in sets for number in members]]
    counted = say_number(len(sets), "picture stands", "pictures stand")
    advice += _say_sides(index, kind, sets)
    return Finding(
        kind=kind,
        severity=severity,
        title=f"{counted} {where.format(splits=say_splits(rows))}, nearly the same: another size, "
        "encoding, brightness or border.",
        advice=advice,
        count=len(sets),
        files=tuple(rows["path"]),
        reasons=tuple(
            f"picture {number}" for number, members in enumerate(sets, start=1) for _ in members
        ),
        sets=tuple(sets),
    )


def _say_sides(index: Index, kind: str, sets: list[tuple[int, ...]]) -> str:
    """Whether patients who may be one are already kept together, with all of their images."""
    if not kind.endswith("_across_patients"):
        return ""
    splits = index.images.groupby("group")["split"].agg(set)
    groups = index.images["group"].to_numpy()
    num_sides = [len(set().union(*splits[groups[list(members)]])) for members in sets]
    if max(num_sides) == 1:
        return " All their images stand on one side, so no result is too good by it."
    return " As they are, they may be on both sides; a clean split keeps them together."
