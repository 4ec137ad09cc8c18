"""How often the bands of the curves hold the true curve: `python -m benchmarks.curve_bands`.

Two normal distributions whose true curves are known; 95 % is what a band promises at each place.
Beside each band stands what it replaces: Wilson's interval at a threshold, and for the decision
curve the plain standard error. Then the same of patients with several images that are alike, beside
the band that takes these as independent.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd

from polyp_core.evidence import curves
from polyp_core.metrics import estimate_proportion

NUM_TRIALS = 400
SIZES = ((6, 6), (10, 40), (40, 10), (50, 50), (100, 400), (1000, 1000))
# Patients of each class, images of each, and the share of the variance between patients.
PATIENTS = ((6, 6, 20, 0.3), (20, 20, 20, 0.3), (20, 20, 20, 0.8), (10, 30, 20, 0.3),
            (100, 100, 5, 0.3))  # fmt: skip
MIXED = ((8, 40, 0.6), (20, 40, 0.3), (20, 40, 0.8))  # with images of both classes
DISTANCE = 1.5  # between the means of the classes, in standard deviations
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
_BELOW = np.vectorize(_NORMAL.cdf, otypes=[float])


def main() -> None:
    """Print a table: the share of trials at the worst and at the best place of each curve."""
    print(f"Share of {NUM_TRIALS} trials in which the band holds the truth, worst to best place")
    names = ("ROC", "(Wilson)", "PR", "(Wilson)", "decision", "(plain)")
    print("positives negatives  " + " ".join(f"{name:>13}" for name in names))
    for num_positives, num_negatives in SIZES:
        trials = [simulate(num_positives, num_negatives, seed) for seed in range(NUM_TRIALS)]
        print(f"{num_positives:>9} {num_negatives:>9}  " + _write_cells(trials))
    print("\nThe same by image of patients; in brackets as if independent")
    names = ("ROC", "(ROC)", "PR", "(PR)", "decision", "(decision)")
    print("positives negatives images alike  " + " ".join(f"{name:>13}" for name in names))
    for patients in PATIENTS:
        trials = [simulate_patients(*patients, seed) for seed in range(NUM_TRIALS)]
        print("{:>9} {:>9} {:>6} {:>5}  ".format(*patients) + _write_cells(trials))
    print("Each patient with images of both classes, and better ones in some patients:")
    for mixed in MIXED:
        trials = [simulate_mixed(*mixed, seed) for seed in range(NUM_TRIALS)]
        print("{:>19} {:>6} {:>5}  ".format(*mixed) + _write_cells(trials))


def simulate(num_positives: int, num_negatives: int, seed: int) -> dict[str, np.ndarray]:
    """Whether each band holds the truth at each of a few places, in one trial."""
    generator = np.random.default_rng(seed)
    labels, share = _draw_labels(generator, num_positives, num_negatives)
    return _judge(labels, generator.normal(DISTANCE * labels), share)


def simulate_patients(
    num_positives: int, num_negatives: int, num_images: int, alike: float, seed: int
) -> dict[str, np.ndarray]:
    """The same of patients with several images each, without and with the patients known."""
    generator = np.random.default_rng(seed)
    labels, share = _draw_labels(generator, num_positives, num_negatives)
    values = generator.normal(DISTANCE * labels, np.sqrt(alike))
    groups = np.repeat(np.arange(len(labels)), num_images)
    values = generator.normal(values[groups], np.sqrt(1 - alike))
    return _judge_twice(labels[groups], values, share, groups)


def simulate_mixed(
    num_patients: int, num_images: int, alike: float, seed: int
) -> dict[str, np.ndarray]:
    """The same where a patient's images of both classes are told apart more or less easily."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_patients), num_images)
    labels = np.arange(len(groups)) % 2
    ease = generator.normal(0, np.sqrt(alike), num_patients)[groups]
    values = generator.normal(DISTANCE * labels + (2 * labels - 1) * ease, np.sqrt(1 - alike))
    return _judge_twice(labels, values, 0.5, groups)


def _judge_twice(
    labels: np.ndarray, values: np.ndarray, share: float, groups: np.ndarray
) -> dict[str, np.ndarray]:
    """With the patients known, and without."""
    whole, apart = (_judge(labels, values, share, known) for known in (groups, None))
    found: dict[str, np.ndarray] = {}
    for name in ("roc", "pr", "decision"):
        found |= {name: whole[name], f"{name}_apart": apart[name]}
    return found


def _draw_labels(
    generator: np.random.Generator, num_positives: int, num_negatives: int
) -> tuple[np.ndarray, float]:
    share = num_positives / (num_positives + num_negatives)
    labels = (generator.uniform(size=num_positives + num_negatives) < share).astype(int)
    labels[:2] = 0, 1
    return labels, share


def _judge(
    labels: np.ndarray, values: np.ndarray, share: float, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    logits = np.log(share / (1 - share)) + DISTANCE * (values - DISTANCE / 2)
    probabilities = 1 / (1 + np.exp(-logits))  # well calibrated
    return {
        **_judge_roc(curves.roc_curve(labels, probabilities, groups)),
        **_judge_precision(curves.precision_recall_curve(labels, probabilities, groups), share),
        **_judge_decision(curves.decision_curve(labels, probabilities, groups), share),
    }


def _write_cells(trials: list[dict[str, np.ndarray]]) -> str:
    found = pd.DataFrame(trials).map(np.atleast_1d).agg(lambda rows: np.mean(rows.tolist(), 0))
    cells = [f"{100 * np.min(s):.0f} to {100 * np.max(s):.0f} %" for s in found]
    return " ".join(f"{cell:>13}" for cell in cells)


def _judge_roc(curve: pd.DataFrame) -> dict[str, np.ndarray]:
    wanted = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
    rows = curve.iloc[np.searchsorted(curve["false_positive_rate"], wanted)]
    cut = [_NORMAL.inv_cdf(1 - min(rate, 1 - 1e-12)) for rate in rows["false_positive_rate"]]
    truth = 1 - _BELOW(np.array(cut) - DISTANCE)
    plain = _wilson(rows["num_true_positives"], rows["num_positives"])
    return {"roc": _hold(rows["low"], rows["high"], truth), "roc_plain": _hold(*plain, truth)}


def _judge_precision(curve: pd.DataFrame, share: float) -> dict[str, np.ndarray]:
    wanted = np.array([0.2, 0.3, 0.5, 0.7, 0.9])
    rows = curve.iloc[np.searchsorted(curve["recall"], wanted)]
    cut = np.array([DISTANCE + _NORMAL.inv_cdf(1 - min(r, 1 - 1e-12)) for r in rows["recall"]])
    alarms = (1 - share) * (1 - _BELOW(cut))
    hits = share * rows["recall"].to_numpy()
    plain = _wilson(rows["num_true_positives"], rows["n"])
    truth = hits / (hits + alarms)
    return {"pr": _hold(rows["low"], rows["high"], truth), "pr_plain": _hold(*plain, truth)}


def _judge_decision(curve: pd.DataFrame, share: float) -> dict[str, np.ndarray]:
    rows = curve.iloc[[4, 9, 19, 29, 49, 69]]
    t = rows["threshold"].to_numpy()
    weight = t / (1 - t)
    cut = (np.log(weight) - np.log(share / (1 - share))) / DISTANCE + DISTANCE / 2
    truth = share * (1 - _BELOW(cut - DISTANCE)) - weight * (1 - share) * (1 - _BELOW(cut))
    n, net = rows["n"].to_numpy(), rows["net_benefit"].to_numpy()
    squares = (rows["num_true_positives"] + weight**2 * rows["num_false_positives"]) / n
    reach = _Z * np.sqrt((squares - net**2) / n)
    plain = _hold(net - reach, net + reach, truth)
    return {"decision": _hold(rows["low"], rows["high"], truth), "decision_plain": plain}


def _wilson(hits: pd.Series, n: pd.Series) -> tuple[list[float], list[float]]:
    found = [estimate_proportion(int(h), int(m)) for h, m in zip(hits, n, strict=True)]
    return [m.low or 0.0 for m in found], [1.0 if m.high is None else m.high for m in found]


def _hold(low: object, high: object, truth: np.ndarray) -> np.ndarray:
    inside: np.ndarray = (np.asarray(low) <= truth) & (truth <= np.asarray(high))
    return inside


if __name__ == "__main__":
    main()
