"""How many images there are, and what so many can prove."""

from polyp_core.audit.finding import Finding
from polyp_core.dataset import Index
from polyp_core.metrics import estimate_proportion
from polyp_core.words import round_percent

_FEW = 12  # the thesis' own validation set: even 12 of 12 right only proves 76 % or more
_FEW_OF_CLASS = 10
_UNEVEN = 0.75


def find_counts(index: Index) -> list[Finding | None]:
    """Too few to validate on, too few of a class, classes of very different size."""
    few = _find_few(index)
    return [few, None if few else _find_few_of_class(index), _find_uneven(index)]


def say_limit(index: Index) -> str:
    """The most that a flawless result on the validation set could prove, in words."""
    n, unit = _count_validation(index)
    return f"Even {n} of {n} validation {unit} right only proves {_prove(n)} % or more."


def _prove(n: int) -> int:
    """Percent that n of n right prove: Wilson's lower bound."""
    return round_percent(estimate_proportion(n, n).low or 0.0)


def _count_validation(index: Index, label: int | None = None) -> tuple[int, str]:
    rows = index.select("validation")
    if label is not None:
        rows = rows[rows["label"] == label]
    return (rows["group"].nunique(), "patients") if index.has_groups else (len(rows), "images")


def _find_few(index: Index) -> Finding | None:
    n, _ = _count_validation(index)
    if n > _FEW:
        return None
    return Finding(
        kind="few_validation",
        severity="warning",
        title="The validation set is very small.",
        advice=f"{say_limit(index)} Add images, keep a larger part for validation, or train a "
        "study in folds, which validates every image.",
        count=n,
    )


def _find_few_of_class(index: Index) -> Finding | None:
    counts = [_count_validation(index, label) for label in (0, 1)]
    label = min((0, 1), key=lambda label: counts[label][0])
    (n, unit), name = counts[label], index.class_names[label]
    if n >= _FEW_OF_CLASS:
        return None
    what = "sensitivity" if label else "specificity"
    unit = unit if n != 1 else unit[:-1]
    return Finding(
        kind="few_of_class",
        severity="warning",
        title=f"Only {n} {unit} of class '{name}' to validate on.",
        advice=f"The {what} rests on them: even {n} of {n} right only proves {_prove(n)} % or "
        "more. Add images of that class, keep a larger part for validation, or train a study in "
        "folds, which validates every image.",
        count=n,
    )


def _find_uneven(index: Index) -> Finding | None:
    shares = index.images["label"].value_counts(normalize=True)
    share = float(shares.max())
    if round_percent(share) < 100 * _UNEVEN:  # as it is printed
        return None
    name = index.class_names[int(shares.idxmax())]
    return Finding(
        kind="uneven_classes",
        severity="note",
        title=f"{round_percent(share)} % of the images are of class '{name}'.",
        advice=f"Always answering '{name}' is right that often without having learnt anything: an "
        "accuracy must beat it. Judge by sensitivity, specificity and AUC.",
        count=int((index.images["label"] == shares.idxmax()).sum()),
    )
