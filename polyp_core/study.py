"""A study: one training repeated over folds and seeds, each of them an ordinary run.

study.json  index.csv           written by study_jobs; index.csv once, it has the fold as well
status.json  predictions.csv  metrics.json  worker.log      written by the study's worker
members/fold-1-seed-0/ …        ordinary runs
members/fold-1-seed-0-share-25/ …   the same, trained on 25 % of the images for a learning curve
ensemble/                       a run directory that predicts as the mean of the whole members
lock  stop                      as in a run
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyp_core.config import RunConfig
from polyp_core.dataset import Index, read_images
from polyp_core.decision import count_anew, is_sound
from polyp_core.errors import ConfigError, RunError
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run
from polyp_core.splitting import draw_share
from polyp_core.words import get_main_level, make_visible

METRICS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc")
_SHOWN = ("accuracy", "sensitivity", "specificity", "auc")


@dataclass(frozen=True)
class Member:
    """One fold and seed of a study, trained on all or on a share of the fold's training images."""

    fold: int
    seed: int
    run: Run
    share: float = 1.0

    def read_state(self) -> str:
        """The run's state; "waiting" before it is written or was asked to start."""
        if not self.run.path("config.json").is_file() or self._is_untouched():
            return "waiting"
        return str(self.run.read_status()["state"])

    def read_predictions(self) -> pd.DataFrame:
        """The run's, as `Run.read_predictions`.

        Raises:
            RunError: If they are missing or damaged.
        """
        try:
            return self.run.read_predictions()
        except (OSError, ValueError) as error:
            raise RunError(
                f"The predictions of '{self.run.name}', a member of the study, are missing or "
                f"damaged ({make_visible(str(error))[:200]}). Expected the predictions.csv "
                "that training wrote. Copy the study again, or train it anew."
            ) from error

    def read_metrics(self) -> dict[str, Any]:
        """The run's, as `Run.read_metrics`.

        Raises:
            RunError: If they are missing or damaged.
        """
        metrics = self.run.read_metrics()
        if metrics is not None and "threshold" in metrics and is_sound(metrics):
            return metrics
        raise RunError(
            f"The numbers of '{self.run.name}', a member of the study, are missing or damaged. "
            "Expected the metrics.json that training wrote. Copy the study again, or train it anew."
        )

    def _is_untouched(self) -> bool:
        """Whether no worker was ever asked to start."""
        log = self.run.path("worker.log")
        is_log_empty = not log.is_file() or log.stat().st_size == 0
        return is_log_empty and not self.run.path("status.json").is_file()


@dataclass(frozen=True)
class Study:
    """One study's folder; reads what is there."""

    directory: Path

    @property
    def name(self) -> str:
        """The folder's name, which is the study's name."""
        return self.directory.name

    @property
    def files(self) -> Run:
        """The folder's lock, status, predictions and metrics, which are kept as those of a run."""
        return Run(self.directory)

    @property
    def ensemble(self) -> Run:
        """What predicts as the mean of all whole members, once the study is finished."""
        return Run(self.directory / "ensemble")

    @property
    def members(self) -> list[Member]:
        """One for each share, seed and fold; the whole ones first, a seed's folds together."""
        plan = self.read_plan()
        return [
            Member(fold, seed, Run(self.directory / "members" / _name(fold, seed, share)), share)
            for share in sorted(plan["shares"], reverse=True)
            for seed in plan["seeds"]
            for fold in range(1, plan["num_folds"] + 1)
        ]

    @property
    def whole_members(self) -> list[Member]:
        """Those trained on all training images, whose numbers are those of the study."""
        return [member for member in self.members if member.share == 1]

    def read_plan(self) -> dict[str, Any]:
        """What stands in study.json.

        Raises:
            RunError: If it is missing or damaged.
        """
        return _read_plan(self.directory / "study.json")

    def read_config(self) -> RunConfig:
        """The settings that all members share, but for training.seed.

        Raises:
            RunError: If they cannot be used.
        """
        try:
            return RunConfig.from_dict(self.read_plan()["settings"])
        except (ConfigError, TypeError) as error:
            raise RunError(
                f"The settings of study '{self.name}' cannot be used: {error} Expected a "
                "study.json written by this version. Start a new study."
            ) from error

    def read_index(self) -> Index:
        """The images with their `fold`: from 1 on where a member validates on them, else 0."""
        plan = self.read_plan()
        source = Path(plan["settings"]["data"]["folder"])
        try:
            images = read_images(self.directory / "index.csv")
        except (OSError, ValueError) as error:
            raise RunError(
                f"The index of study '{self.name}' cannot be read ({error}). Expected the "
                "index.csv that was written when it started. Start a new study."
            ) from error
        return Index(
            folder=Path(plan["folder"]),
            class_names=(plan["class_names"][0], plan["class_names"][1]),
            images=images,
            unreadable=pd.DataFrame(columns=["path", "reason"]),
            manifest=source if source != Path(plan["folder"]) else None,
        )

    def read_status(self) -> dict[str, Any]:
        """As of a run; besides `num_members` and `num_finished`."""
        return self.files.read_status()

    def read_metrics(self) -> dict[str, Any] | None:
        """As `summarise` gave it after the last member that ended, counted anew; or None."""
        metrics = self.files.read_metrics()
        if metrics is None or not is_sound(metrics):
            return metrics
        return count_anew(self.files, metrics, metrics.get("threshold", 0.5))

    def read_predictions(self) -> pd.DataFrame:
        """One row an image that was judged: as of a run, and `num_members`."""
        return self.files.read_predictions()

    def read_members(self, histories: Sequence[pd.DataFrame] | None = None) -> pd.DataFrame:
        """One row a member: name, fold, seed, share, state, epochs, level, and its numbers.

        Accuracy, sensitivity, specificity and auc each with `_low`, `_high` (95 % interval) and
        `_n`, by patient where patients are known (`level`); NaN before a member is finished.

        Args:
            histories: Of the members, where they are read already.
        """
        histories = histories or [member.run.read_history() for member in self.members]
        return pd.DataFrame(map(_describe, self.members, histories))


def open_study(directory: Path) -> Study:
    """A study by its folder.

    Raises:
        RunError: If the folder holds none.
    """
    study = Study(Path(directory))
    study.read_plan()
    return study


def list_studies(studies_dir: Path) -> list[Study]:
    """Every study in a folder, the newest first; folders that hold none are passed over."""
    plans = studies_dir.glob("[!.]*/study.json")
    found = sorted(((path.stat().st_mtime, path) for path in plans), reverse=True)
    return [Study(path.parent) for _, path in found]


def select_fold(index: Index, fold: int, num_folds: int) -> Index:
    """The index of a member: its fold for validation, the others to train on.

    With one fold the data set's own split is kept.
    """
    images = index.images
    if num_folds > 1:
        is_other = images["fold"] != 0
        split = np.where(images["fold"] == fold, "validation", np.where(is_other, "train", "test"))
        images = images.assign(split=split)
    return replace(index, images=images.drop(columns="fold"))


def select_share(index: Index, share: float, data_seed: int, seed: int) -> Index:
    """The index of a member with a share of its training images alone.

    Whole patients where they are known, class by class. Of one seed a smaller share lies within
    every larger one.

    Args:
        index: As `select_fold` gave it.
        share: Part of the training images, in (0, 1].
        data_seed: The study's data.seed.
        seed: The member's.
    """
    if share == 1:
        return index
    training = index.select("train")
    left_out = training.index[~draw_share(training, share, (data_seed, seed))]
    return replace(index, images=index.images.drop(index=left_out).reset_index(drop=True))


def summarise(study: Study) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """What the finished members say together: metrics.json and predictions.csv; None before one is.

    Members that were trained on fewer images have no part in it, see learning_curve.py.

    "image" and "patient" are pooled: every image once, its probability the mean over the members
    that validated on it and so were not trained on it, with Wilson's and DeLong's intervals.
    Pooling ranks images of different folds in one order, so its AUC takes the probabilities of
    different models as comparable. "members" needs no such thing: mean and standard deviation of a
    number over the k members that have it. That deviation says how much a member's number varies;
    it is no standard error, since members share training images. "test" are the test images, which
    no member has seen, judged by the mean of all.

    Returns:
        The metrics, as those of a run and "members"; and the predictions, as those of a run with
        `num_members`, which is how many have judged an image.

    References: Bengio and Grandvalet, No unbiased estimator of the variance of k-fold
    cross-validation, J Mach Learn Res 5:1089 (2004).
    """
    members = study.whole_members
    finished = [member for member in members if member.read_state() == "finished"]
    if not finished:
        return None
    plan, config = study.read_plan(), study.read_config()
    each = [member.read_metrics() for member in finished]
    threshold = float(np.mean([metrics["threshold"] for metrics in each]))
    predictions = pool_predictions([member.read_predictions() for member in finished])
    is_test = predictions["split"] == "test"
    common = {
        "positive_class": plan["class_names"][1],
        "negative_class": plan["class_names"][0],
        "threshold": threshold,
    }
    metrics = {
        **common,
        "level_note": "each image judged by the members that had not seen it",
        "caution": _say_caution(config),
        "num_folds": plan["num_folds"],
        "num_seeds": len(plan["seeds"]),
        "num_members": len(members),
        "num_finished": len(finished),
        "num_images": int((study.read_index().images["fold"] > 0).sum()),
        **evaluate_predictions(predictions[~is_test], threshold),
        "members": {
            level: describe_spread([metrics[level] for metrics in each if level in metrics])
            for level in ("image", "patient")
            if any(level in metrics for metrics in each)
        },
    }
    if is_test.any():
        metrics["test"] = common | evaluate_predictions(predictions[is_test], threshold)
    return metrics, predictions


def pool_predictions(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One row an image: its mean `probability` over the tables that hold it, and `num_members`."""
    keys = ["path", "frame", "split", "group", "label"]
    by_image = pd.concat(tables).groupby(keys, sort=True)["probability"]
    return by_image.agg(probability="mean", num_members="size").reset_index()


def describe_spread(levels: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation (n - 1) and count of each metric, where it is defined.

    Args:
        levels: "image" or "patient" of the metrics.json of each member.

    Returns:
        `{"accuracy": {"mean", "sd", "k"}, …}`; None where k is 0, and the sd where k is 1.
    """
    spread = {}
    for name in METRICS:
        values = [level[name]["value"] for level in levels if level[name]["value"] is not None]
        k = len(values)
        spread[name] = {
            "mean": float(np.mean(values)) if k else None,
            "sd": float(np.std(values, ddof=1)) if k > 1 else None,
            "k": k,
        }
    return spread


def _say_caution(config: RunConfig) -> str:
    """What makes the numbers better than they would be on images that played no part at all."""
    training = config.training
    is_watched = training.monitor.startswith("val_")
    is_chosen = training.keep == "best" or training.early_stopping_patience > 0
    if is_watched and training.schedule == "plateau" and not is_chosen:
        return (
            "Each member's learning rate was lowered by the very images that judge it, so these "
            "numbers lean to the good side. Where that matters take another schedule, or judge on "
            "test images."
        )
    if not (is_watched and is_chosen):
        return (
            "Each member's temperature was fitted on the images that judge it, which makes its "
            "probabilities a little better there than elsewhere."
        )
    return (
        "Each member's epoch was chosen on the very images that judge it, so these numbers lean to "
        "the good side. Where that matters keep the last epoch, without early stopping, or judge "
        "on test images."
    )


def _describe(member: Member, history: pd.DataFrame) -> dict[str, Any]:
    metrics = member.run.read_metrics()
    level, unit = get_main_level(metrics) if metrics and is_sound(metrics) else ({}, "")
    row: dict[str, Any] = {
        "name": member.run.name,
        "fold": member.fold,
        "seed": member.seed,
        "share": member.share,
        "state": member.read_state(),
        "epochs": len(history),
        "level": unit,
    }
    for metric in _SHOWN:
        values = level.get(metric, {})
        row[metric] = values.get("value")
        row |= {f"{metric}_{key}": values.get(key) for key in ("low", "high", "n")}
    return row


def _name(fold: int, seed: int, share: float) -> str:
    name = f"fold-{fold}-seed-{seed}"
    return name if share == 1 else f"{name}-share-{round(100 * share)}"


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if {"settings", "num_folds", "seeds", "class_names", "folder"} <= values.keys():
            return {"shares": [1.0], **values}  # which older studies do not name
        problem = "it lacks a key"
    except (OSError, ValueError, AttributeError) as error:
        problem = str(error)
    raise RunError(
        f"'{path.parent}' is not a study: its study.json cannot be read ({problem}). Expected a "
        "folder that a study has written. Choose another, or start anew."
    )
