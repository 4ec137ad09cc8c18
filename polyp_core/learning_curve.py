"""What would more images give? The members of a study that were trained on fewer, side by side.

A point of the curve is one share of the training images. Each seed's folds are pooled to one
number, by patient where patients are known: every one of them judged once, by a model that has not
seen it. So all points count the same patients.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from polyp_core.clusters import find_t_quantile, number_clusters
from polyp_core.metrics import (
    Metric,
    estimate_auc,
    estimate_share,
    pool_patients,
)
from polyp_core.study import Member, Study
from polyp_core.words import round_percent

METRICS = {"auc": "AUC", "accuracy": "accuracy"}
_FEWEST_SHARES = 4  # for a law of three numbers
_FEWEST_BLOCKS = 3
_EXPONENTS = np.geomspace(0.05, 2.0, 60)
_KEPT = ["share", "seed", "fold", "threshold", "num_training", "num_patients", "group"]


@dataclass(frozen=True)
class Law:
    """The inverse power law `error = a + b * n ** -c`, none of them below zero."""

    a: float
    b: float
    c: float

    def expect_error(self, num_images: np.ndarray | float) -> np.ndarray:
        """The error after training on so many images."""
        return np.asarray(self.a + self.b * np.asarray(num_images, float) ** -self.c)


@dataclass(frozen=True)
class Outlook:
    """What twice the training images would give by the fitted law.

    Attributes:
        metric: "auc" or "accuracy".
        num_training: Twice the images of the whole members.
        value: Expected; None with a `reason`.
        low: End of the range.
        high: Other end of the range.
        law: Fitted to one minus the metric; None with a `reason`.
        reason: Why there is none, a sentence; or nothing.
    """

    metric: str
    num_training: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    law: Law | None = None
    reason: str = ""


@dataclass(frozen=True)
class Learning:
    """What a study with shares says of the number of images.

    Attributes:
        seeds: As `measure_seeds` gave it.
        curve: As `describe_curve` gave it.
        outlooks: One for each of `METRICS`.
    """

    seeds: pd.DataFrame
    curve: pd.DataFrame
    outlooks: list[Outlook]


def read_learning(study: Study) -> Learning | None:
    """As far as members are finished; None without shares, or before there is a point."""
    shares = study.read_plan()["shares"]
    judged = read_judged(study) if len(shares) > 1 else pd.DataFrame()
    if judged.empty:
        return None
    seeds = measure_seeds(judged)
    outlooks = [extrapolate(judged, metric, shares) for metric in METRICS]
    return Learning(seeds, describe_curve(seeds), outlooks)


def read_judged(study: Study) -> pd.DataFrame:
    """What the members said of whom they had not seen, one row a patient (or image), share, seed.

    A seed has a part in it at a share once all of its folds are finished there, since fewer folds
    would be other patients. Test images have none.

    Returns:
        `share`, `seed`, `fold`, `threshold`, `num_training` (images the member was trained on),
        `num_patients` (of these; NaN where unknown), `group` (the patient, "" where unknown),
        `unit` ("patients" or "images"), `label`, `probability`. The patient's is the mean over its
        images.
    """
    num_folds = study.read_plan()["num_folds"]
    finished: dict[tuple[float, int], list[Member]] = {}
    for member in study.members:
        if member.read_state() == "finished":
            finished.setdefault((member.share, member.seed), []).append(member)
    pooled = [_pool(members) for members in finished.values() if len(members) == num_folds]
    columns = [*_KEPT, "unit", "label", "probability"]
    return pd.concat(pooled, ignore_index=True) if pooled else pd.DataFrame(columns=columns)


def measure_seeds(judged: pd.DataFrame) -> pd.DataFrame:
    """One row a share and seed: its pooled numbers.

    Args:
        judged: As `read_judged` gave it.

    Returns:
        `share`, `seed`, `num_training` and `num_patients` (means over the folds), `unit`, `n` (how
        many of them were judged), `auc` and `accuracy`, each with `_low` and `_high`: DeLong's and
        Wilson's 95 % interval, by image that of whole patients. NaN where a number is not defined.
    """
    rows = []
    for (share, seed), group in judged.groupby(["share", "seed"]):
        each = group.drop_duplicates("fold")
        row = {
            "share": share,
            "seed": seed,
            "num_training": each["num_training"].mean(),
            "num_patients": each["num_patients"].mean(),
            "unit": group["unit"].iloc[0],
            "n": len(group),
        }
        for name in METRICS:
            metric = _measure(group, name)
            row |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
        rows.append(row)
    numbers = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    columns = ["share", "seed", "num_training", "num_patients", "unit", "n", *numbers]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, float))


def describe_curve(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row a share, the smallest first: means over the seeds.

    The interval is the mean of the seeds' intervals. It holds the chance of who was judged, as
    large as for a single training, since all seeds judge the same patients. How much chance there
    is in training itself shows in how far the seeds lie apart.

    Args:
        seeds: As `measure_seeds` gave it.

    Returns:
        As `measure_seeds`, with `num_seeds` in place of `seed`.
    """
    by_share = seeds.groupby("share", sort=True)
    means = by_share[[name for name in seeds if name not in ("share", "seed", "unit")]].mean()
    means.insert(0, "num_seeds", by_share.size())
    means.insert(3, "unit", by_share["unit"].first())
    return means.astype({"n": int}).reset_index()


def extrapolate(judged: pd.DataFrame, metric: str, shares: list[float]) -> Outlook:
    """What twice as many training images would give, by an inverse power law of the error.

    The range is a 95 % interval by the jackknife: the law is fitted again without each fold in turn
    (without each seed, where there are fewer than three folds), and the spread of what these fits
    expect is scaled by Student's t; from the least to the greatest of the fits would hold the truth
    less than every second time. What is expected is never told more surely than the last point,
    which was measured. Where the law is true this held the truth 87 to 98 times in 100 (simulated).

    Args:
        judged: As `read_judged` gave it.
        metric: "auc" or "accuracy".
        shares: All shares of the study.

    References: Cortes et al., Learning curves: asymptotic values and rate of convergence, NIPS 6
    (1993); Figueroa et al., BMC Med Inform Decis Mak 12:8 (2012); Tukey, Ann Math Stat 29:614
    (1958). How such curves can mislead: Viering and Loog, IEEE TPAMI 45:7799 (2023).
    """
    points = _measure_errors(judged, metric)
    num_training = round(2 * points["num_training"].max()) if len(points) else 0
    outlook = Outlook(metric, num_training)
    if len(shares) < _FEWEST_SHARES:
        return _refuse(outlook, "Four shares of the images are the fewest, such as 25 to 100 %.")
    num_seeds = judged.groupby("share")["seed"].nunique()
    if len(points) < len(shares) or num_seeds.nunique() > 1:
        return _refuse(outlook, "The members have to be finished first.")
    if points["error"].isna().any():
        return _refuse(outlook, "It is not defined, since all that were judged are of one class.")
    law = fit_power_law(points["num_training"].to_numpy(), points["error"].to_numpy())
    reason = _doubt_law(law, points)
    if reason:
        return _refuse(outlook, reason)
    by = "fold" if judged["fold"].nunique() >= _FEWEST_BLOCKS else "seed"
    blocks = judged[by].unique()
    if len(blocks) < _FEWEST_BLOCKS:
        return _refuse(outlook, "Three folds or seeds are the fewest that show how sure it is.")
    without = [_measure_errors(judged[judged[by] != block], metric) for block in blocks]
    if any(rest["error"].isna().any() for rest in without):
        return _refuse(outlook, "Too few of one class were judged.")
    refits = [
        fit_power_law(rest["num_training"].to_numpy(), rest["error"].to_numpy()) for rest in without
    ]
    value = 1 - float(law.expect_error(num_training))
    reach = estimate_reach(np.array([refit.expect_error(num_training) for refit in refits]))
    reach = max(reach, _find_reach(judged[judged["share"] == max(shares)], metric))
    return Outlook(
        metric, num_training, value, max(0.0, value - reach), min(1.0, value + reach), law
    )


def fit_power_law(num_images: np.ndarray, errors: np.ndarray) -> Law:
    """The law with the least squares, by trying exponents from 0.05 to 2.

    Args:
        num_images: `(k,)`, to train on.
        errors: `(k,)` in [0, 1].
    """
    best, least = Law(float(errors.mean()), 0.0, 1.0), float(((errors - errors.mean()) ** 2).sum())
    for c in _EXPONENTS.tolist():
        falls = num_images**-c
        offsets = falls - falls.mean()
        b = float((offsets * errors).sum() / (offsets**2).sum())
        a = float(errors.mean() - b * falls.mean())
        if a < 0:  # the best with a = 0
            a, b = 0.0, float((falls * errors).sum() / (falls**2).sum())
        if b < 0:
            continue
        loss = float(((errors - a - b * falls) ** 2).sum())
        if loss < least:
            best, least = Law(a, b, c), loss
    return best


def estimate_reach(without: np.ndarray) -> float:
    """Half a 95 % interval by the jackknife.

    Args:
        without: `(k,)` the number without each of k blocks.
    """
    k = len(without)
    error = np.sqrt((k - 1) / k * ((without - without.mean()) ** 2).sum())
    return float(find_t_quantile(k - 1) * error)


def say_learning_curve(curve: pd.DataFrame, outlook: Outlook) -> str:
    """What the curve says, in a sentence or two.

    Args:
        curve: As `describe_curve` gave it; at least one row.
        outlook: Of the same judgements.
    """
    name, first, last = outlook.metric, curve.iloc[0], curve.iloc[-1]
    if pd.isna(last[name]):
        return f"The {METRICS[name]} cannot be told. {outlook.reason}"
    after = _say(last[name], name)
    now = f"With {last['num_training']:.0f} training images the {METRICS[name]} is {after}"
    if len(curve) > 1:
        before = _say(first[name], name)
        moved = "stayed at"
        if before != after:
            moved = ("rose" if last[name] > first[name] else "fell") + f" from {before} to"
        now = (
            f"From {first['num_training']:.0f} to {last['num_training']:.0f} training images the "
            f"{METRICS[name]} {moved} {after}"
        )
    if outlook.value is None or outlook.low is None or outlook.high is None:
        reason = outlook.reason[:1].lower() + outlook.reason[1:]
        said = f"{now}. What twice as many would give cannot be told: {reason}"
    else:
        low, high = _say(outlook.low, name, unit=""), _say(outlook.high, name)
        said = (
            f"{now}; twice as many would give about {_say(outlook.value, name)} ({low} to {high})."
        )
    if len(curve) > 1 and not _are_apart(first, last, name):
        said += " The first and the last interval overlap, so the change may be chance."
    return said


def _pool(members: list[Member]) -> pd.DataFrame:
    """The judgements of one share and seed."""
    tables = []
    for member in members:
        predictions = member.read_predictions()
        training = member.run.read_index().select("train")
        is_known = bool((training["group"] != "").all())
        tables.append(
            predictions[predictions["split"] == "validation"].assign(
                share=member.share,
                seed=member.seed,
                fold=member.fold,
                threshold=(member.run.read_metrics() or {}).get("threshold", 0.5),
                num_training=len(training),
                num_patients=training["group"].nunique() if is_known else np.nan,
            )
        )
    images = pd.concat(tables, ignore_index=True)
    patients = pool_patients(images)
    if patients is None:
        return images.assign(unit="images")[[*_KEPT, "unit", "label", "probability"]]
    kept = images[_KEPT].drop_duplicates("group")  # no patient is in two folds
    return kept.assign(unit="patients").merge(patients[["group", "label", "probability"]])


def _measure(group: pd.DataFrame, metric: str) -> Metric:
    """Of one share and seed."""
    labels, probabilities = group["label"].to_numpy(), group["probability"].to_numpy()
    clusters = number_clusters(group["group"].to_numpy(), len(group))
    if metric == "auc":
        return estimate_auc(labels, probabilities, clusters)
    is_right = (probabilities >= group["threshold"].mean()) == (labels == 1)
    return estimate_share(is_right, clusters)


def _measure_errors(judged: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Images to train on and `error`, means over the seeds, one row a share."""
    rows = [
        (share, group.groupby("fold")["num_training"].first().mean(), _measure(group, metric).value)
        for (share, _), group in judged.groupby(["share", "seed"])
    ]
    points = pd.DataFrame(rows, columns=["share", "num_training", "value"])
    points["error"] = 1 - points["value"].astype(float)
    return points.groupby("share")[["num_training", "error"]].mean()


def _find_reach(judged: pd.DataFrame, metric: str) -> float:
    """Half the interval of the point of one share."""
    point = describe_curve(measure_seeds(judged)).iloc[0]
    return float(point[f"{metric}_high"] - point[f"{metric}_low"]) / 2


def _doubt_law(law: Law, points: pd.DataFrame) -> str:
    """Why the law says nothing of more images; or nothing."""
    if points["error"].iloc[-1] == 0:
        return "With all images no error is left."
    if law.b == 0:
        return "More images have not helped so far."
    error = points["error"].to_numpy()
    rest = error - law.expect_error(points["num_training"].to_numpy())
    if (rest**2).sum() > ((error - error.mean()) ** 2).sum() / 2:
        return "The points lie too far from any curve that a growing number of images gives."
    return ""


def _refuse(outlook: Outlook, reason: str) -> Outlook:
    return replace(outlook, reason=reason)


def _are_apart(first: pd.Series, last: pd.Series, metric: str) -> bool:
    low, high = f"{metric}_low", f"{metric}_high"
    return bool(first[high] < last[low] or last[high] < first[low])


def _say(value: float, metric: str, unit: str = " %") -> str:
    return f"{value:.2f}" if metric == "auc" else f"{round_percent(value)}{unit}"
