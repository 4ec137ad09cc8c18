"""What the doctor is told, what it says, and what several rules need of a history."""

from dataclasses import dataclass
from math import log, sqrt
from statistics import NormalDist

import numpy as np
import pandas as pd

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.config.training import MONITORS

FEW = 5  # epochs; nothing is said of the curves before, and a median of so many stands for "now"
TREND = 10  # epochs that a trend needs
SURE_Z = NormalDist().inv_cdf(0.995)  # two-sided 1 %, since the doctor looks after every epoch


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the doctor knows besides the curves. Counts are of negatives, then of positives."""

    config: RunConfig
    class_names: tuple[str, str]  # negative, positive
    train_counts: tuple[int, int]  # images
    validation_counts: tuple[int, int]  # images
    validation_unit_counts: tuple[int, int]  # patients where they are known, else images
    unit: str  # "patients" or "images"
    brightest_level: int | None  # of all training images, in [0, 255]; None before it is known
    error: str = ""  # the last message of a failed run


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that is wrong with a run."""

    name: str  # for machines, such as "one_class"
    severity: str  # "serious", "warning" or "note"
    title: str  # what is wrong, in one sentence
    evidence: str  # the numbers it rests on
    advice: str  # one suggestion
    setting: tuple[str, object] | None = None  # for a new run: ("training.learning_rate", 3e-4)


class Case:
    """The history as arrays, and what several rules need of it."""

    def __init__(self, history: pd.DataFrame, facts: Facts) -> None:
        def read(name: str) -> np.ndarray:
            return np.array(history.get(name, [np.nan] * len(history)), dtype=float)

        settings = facts.config.training
        self.facts, self.settings, self.rate = facts, settings, settings.learning_rate
        self.n, self.is_control = len(history), settings.shuffled_labels
        self.epoch, self.loss, self.val_loss = read("epoch"), read("loss"), read("val_loss")
        self.val_auc, self.val_accuracy = read("val_auc"), read("val_accuracy")
        # Of each class, the negative one first: validation images that are right, and all.
        self.right = (read("val_tn"), read("val_tp"))
        self.counted = (read("val_tn") + read("val_fp"), read("val_tp") + read("val_fn"))
        self.positives = read("val_tp") + read("val_fp")
        self.negatives = read("val_tn") + read("val_fn")
        costs = read(settings.monitor) * (1 if MONITORS[settings.monitor] else -1)  # least is best
        self.best = int(np.where(np.isnan(costs), np.inf, costs).argmin()) if self.n else 0
        self.kept = self.best if settings.keep == "best" else max(0, self.n - 1)
        patience = settings.early_stopping_patience or self.n
        has_lost_patience = self.n - 1 - self.best >= patience
        self.is_over = self.n >= settings.epochs or has_lost_patience or bool(facts.error)
        num_fair = FEW if self.is_over else min(100, max(TREND, settings.epochs // 5))
        self.is_ripe = self.n >= num_fair  # something should be learned by now
        # The loss, and what the best answer gives that looks at no image.
        self.loss_now = median(self.loss[-FEW:])
        share = facts.train_counts[1] / max(1, sum(facts.train_counts))
        answer = 0.5 if settings.class_weights == "balanced" else share
        answer += settings.label_smoothing * (0.5 - answer)
        self.base = float("nan")  # where training lacks a class
        if 0 < share < 1:
            self.base = -share * log(answer) - (1 - share) * log(1 - answer)
        self.said_base = f"Guessing without a look at the images gives {say_loss(self.base)}."
        self.is_uneven = min(share, 1 - share) < 0.4 and settings.class_weights == "none"
        momentum = settings.momentum if settings.optimizer == "sgd" else 0.99
        self.usual_rate = max(1e-3, 0.1 * (1 - momentum))  # momentum makes steps longer
        # The AUC, and the spread that answers which know nothing have (Mann and Whitney, Ann Math
        # Stat 18:50, 1947), counted by units; NaN where validation lacks a class.
        m, n = facts.validation_unit_counts
        self.auc_spread = sqrt((m + n + 1) / (12 * m * n)) if m and n else float("nan")
        self.auc_now = median(self.val_auc[-FEW:]) if m and n else float("nan")
        self.said_auc = (
            f" AUC over the last {words.say_number(min(FEW, self.n), 'epoch')} is "
            f"{self.auc_now:.2f}; chance gives 0.50."
            if self.auc_now >= 0
            else ""
        )
        negative, positive = facts.class_names
        self.said_units = f"with {m} {facts.unit} of '{negative}' and {n} of '{positive}'"
        self.sorts_well = self.auc_now - 0.5 > SURE_Z * self.auc_spread
        self.is_dead = bool((self.val_auc[-FEW:] == 0.5).all())  # one answer, to the last digit


def say_loss(loss: float) -> str:
    return "under 0.01" if loss < 0.005 else f"{loss:.2f}" if loss < 100 else "over 100"


def median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def smooth(values: np.ndarray) -> np.ndarray:
    """Running median over a tenth of the epochs, from 3 to 31; at the ends over what is there."""
    half = min(15, max(1, len(values) // 20))
    rolling = pd.Series(values).rolling(2 * half + 1, center=True, min_periods=half + 1)
    return np.asarray(rolling.median())


def measure_trend(values: np.ndarray) -> float:
    """Spearman's correlation with the epoch, in standard deviations of no trend at all."""
    ranks = pd.Series(values).rank().to_numpy() - (len(values) + 1) / 2
    x = np.arange(len(values)) - (len(values) - 1) / 2
    spread = sqrt(float(ranks @ ranks) * float(x @ x))
    return float(ranks @ x) / spread * sqrt(len(values) - 1) if spread else 0.0
