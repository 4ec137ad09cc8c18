"""Studies whose members are made up, so that no worker is needed."""

import shutil
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from polyp_core import study_jobs
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.metrics import evaluate_predictions
from polyp_core.runs import Run
from polyp_core.study import Member, Study
from polyp_core.study_worker import prepare_member
from tests.conftest import make_config


def make_index(folder: Path, num_patients: int = 6, splits: list[str] | None = None) -> Index:
    """Two images a patient, every second patient positive; nothing lies on the disk."""
    n = 2 * num_patients
    images = pd.DataFrame(
        {
            "path": [f"p{i // 2}_{i % 2}.png" for i in range(n)],
            "frame": 0,
            "label": [i // 2 % 2 for i in range(n)],
            "group": [f"p{i // 2}" for i in range(n)],
            "split": splits or ["train"] * (n - 4) + ["validation"] * 4,
            "width_px": 40,
            "height_px": 40,
            "sha256": [f"{i:064}" for i in range(n)],
        }
    )
    return Index(
        folder=folder,
        class_names=("non-calcified", "calcified"),
        images=images,
        unreadable=pd.DataFrame(columns=["path", "reason"]),
    )


def make_study(
    monkeypatch, studies_dir: Path, index: Index, *settings: str, config: RunConfig | None = None,
    num_folds: int = 2, num_seeds: int = 1, name: str = "mine", **options,
) -> Study:  # fmt: skip
    """A study as it is started, but without a worker."""
    monkeypatch.setattr(study_jobs, "start_process", lambda module, directory: None)
    config = config or make_config(index.folder, "training.batch_size=2", *settings)
    return study_jobs.start_study(
        config, index, studies_dir, num_folds=num_folds, num_seeds=num_seeds, name=name, **options
    )


def finish_member(study: Study, member: Member, probabilities: dict[str, float]) -> None:
    """Let a member have given these probabilities (by path) to the images it did not train on."""
    prepare_member(study, member)
    rows = member.run.read_index().images
    rows = rows[rows["split"] != "train"]
    predictions = rows[["path", "frame", "split", "group", "label"]].assign(
        probability=[probabilities[path] for path in rows["path"]]
    )
    is_test = predictions["split"] == "test"
    member.run.write_table("predictions.csv", predictions)
    metrics = {"threshold": 0.5, **evaluate_predictions(predictions[~is_test], 0.5)}
    member.run.write_json("metrics.json", metrics)
    member.run.write_json("status.json", {"state": "finished", "message": "Finished"})


def end_member(member: Member, state: str, message: str = "") -> None:
    """Let a member have ended in another way."""
    member.run.write_json("status.json", {"state": state, "message": message})


def copy_run(run: Run, member: Member) -> None:
    """Let a member be a copy of a run that a real worker has finished."""
    shutil.copytree(run.directory, member.run.directory)


def finish_curve(study: Study, num_wrong: dict[float, int], seeds: Collection[int] = ()) -> None:
    """Let all members be finished, and those of a share be wrong about so many patients.

    Args:
        study: Of `make_index`.
        num_wrong: For each share; as many of each class where it is even.
        seeds: Whose members are finished; all where none is given.
    """
    labels = study.read_index().images.set_index("path")["label"]
    patients = {path: int(path[1:].split("_")[0]) for path in labels.index}
    for member in study.members:
        if member.share not in num_wrong or (seeds and member.seed not in seeds):
            continue
        given = {
            path: 0.8 if (label == 1) != (patients[path] < num_wrong[member.share]) else 0.2
            for path, label in labels.items()
        }
        finish_member(study, member, given)
