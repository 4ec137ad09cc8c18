"""Start, stop and resume a study. Knows processes, not training."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from polyp_core import environment
from polyp_core.access import check_writable
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import ConfigError, DatasetError, RunError
from polyp_core.jobs import check_fit
from polyp_core.processes import make_directory, start_process
from polyp_core.runs import ACTIVE_STATES, RESUMABLE_STATES
from polyp_core.splitting import divide_folds
from polyp_core.study import Study, select_fold, select_share
from polyp_core.summaries import name_data

LEARNING_CURVE = (0.25, 0.5, 0.75, 1.0)  # four are the fewest that a curve is fitted to


def start_study(
    config: RunConfig,
    index: Index,
    studies_dir: Path,
    *,
    num_folds: int,
    num_seeds: int,
    shares: Sequence[float] = (1.0,),
    pairs: np.ndarray | None = None,
    name: str | None = None,
    num_workers: int = 1,
    ray_address: str | None = None,
    cpus_per_member: float = 2.0,
    gpus_per_member: float = 0.0,
) -> Study:
    """Deal the images to folds, write study.json and index.csv, and start the study's worker.

    The folds are drawn with data.seed and are the same for all seeds; the seeds are training.seed
    and those that follow it. Train and validation images are dealt anew; test images stay.

    Args:
        config: All settings.
        index: The images, as `dataset.read_index` found them.
        studies_dir: Where studies lie; made if it is not there.
        num_folds: Members a seed; 1 keeps the data set's own split.
        num_seeds: Members a fold.
        shares: Of the training images, whole percents, 1.0 among them; each is trained in every
            fold and seed. `LEARNING_CURVE` gives a learning curve.
        pairs: `(num_pairs, 2)` positions of near-duplicates, which are of one fold.
        name: Of the study. Defaults to the preset and the time.
        num_workers: Members that are trained at once on this computer.
        ray_address: Of a Ray cluster that trains the members instead, such as "auto".
        cpus_per_member: Processor cores that Ray keeps for a member.
        gpus_per_member: Graphics cards that Ray keeps for a member; parts of one are allowed.

    Raises:
        ConfigError: If a number cannot be used, or the settings do not fit the images of a member.
        DatasetError: If there are too few patients for the folds.
        RunError: If the name cannot be used or is taken, or Ray is not installed.
    """
    check_writable("Training")
    _check_numbers(num_folds, num_seeds, num_workers, cpus_per_member, gpus_per_member)
    _check_shares(shares)
    check_ray(ray_address)
    seeds = [config.training.seed + number for number in range(num_seeds)]
    dealt = _deal_images(config, index, num_folds, pairs)
    _check_members(config, dealt, num_folds, seeds, min(shares))
    source = index.manifest or index.folder
    default = f"{name_data(str(source))}-{config.preset}"
    study = Study(make_directory(studies_dir, name, default, "study").resolve())
    study.files.path("worker.log").touch()  # from now on the study waits for its worker
    study.files.write_table("index.csv", dealt.images)
    study.files.write_json(
        "study.json",
        {
            "settings": replace(config, data=replace(config.data, folder=str(source))).to_dict(),
            "class_names": list(index.class_names),
            "folder": str(index.folder),
            "num_folds": num_folds,
            "seeds": seeds,
            "shares": sorted(shares),
            "num_workers": num_workers,
            "ray_address": ray_address,
            "cpus_per_member": cpus_per_member,
            "gpus_per_member": gpus_per_member,
            "accept_changes": False,
        },
    )
    start_process("polyp_core.study_worker", study.directory)
    return study


def _deal_images(
    config: RunConfig, index: Index, num_folds: int, pairs: np.ndarray | None = None
) -> Index:
    """The index with the column `fold` that a study has; for the arguments see `start_study`.

    Raises:
        DatasetError: If there are too few patients for the folds.
    """
    if num_folds == 1:
        folds = (index.images["split"] == "validation").astype(int)
    else:
        folds = pd.Series(divide_folds(index.images, num_folds, config.data.seed, pairs))
    return replace(index, images=index.images.assign(fold=folds))


def stop_study(study: Study) -> None:
    """Ask the study and the members in training to stop; finished members are kept.

    Raises:
        RunError: If nothing of it is running.
    """
    check_writable("Stopping a study")
    state = study.read_status()["state"]
    # A member outlives a study's worker that was killed.
    left_over = [] if state in ACTIVE_STATES else [m for m in study.members if m.run.is_alive()]
    if state not in ACTIVE_STATES and not left_over:
        raise RunError(
            f"Study '{study.name}' is {state}, so there is nothing to stop. Expected a running "
            "one. Resume it first."
        )
    for member in left_over:
        member.run.path("stop").touch()
    study.files.path("stop").touch()


def resume_study(
    study: Study,
    num_workers: int | None = None,
    ray_address: str | None = None,
    *,
    is_local: bool = False,
    accept_changes: bool = False,
) -> None:
    """Go on: finished members are kept, stopped and failed ones resumed, the others started.

    Args:
        study: A stopped, interrupted or failed one.
        num_workers: As for `start_study`; None is as before.
        ray_address: As for `start_study`; None is as before.
        is_local: Train on this computer from now on, whatever was said before.
        accept_changes: Also where other versions than at the start would compute the rest. It
            holds for this time alone.

    Raises:
        RunError: If it is finished or running, Ray is not installed, or versions have changed. On
            a cluster the versions are those of the computer that trains, so there it is the
            member that fails.
    """
    check_writable("Resuming a study")
    state = study.read_status()["state"]
    if state not in RESUMABLE_STATES:
        raise RunError(
            f"Study '{study.name}' is {state} and cannot be resumed. Expected a stopped, "
            "interrupted or failed one. Start a new study instead."
        )
    changes = {"num_workers": num_workers, "ray_address": ray_address}
    plan = study.read_plan() | {key: value for key, value in changes.items() if value is not None}
    plan["accept_changes"] = accept_changes
    if is_local:
        plan["ray_address"] = None
    check_ray(plan["ray_address"])
    if plan["ray_address"] is None and not accept_changes:
        _check_unchanged(study)
    study.files.write_json("study.json", plan)
    study.files.path("stop").unlink(missing_ok=True)
    study.files.path("status.json").unlink(missing_ok=True)
    start_process("polyp_core.study_worker", study.directory)


def list_changes(study: Study) -> list[str]:
    """What computes otherwise here than where its unfinished members were started."""
    unfinished = [member for member in study.members if member.read_state() in RESUMABLE_STATES]
    changes = [change for member in unfinished for change in environment.list_changes(member.run)]
    return list(dict.fromkeys(changes))


def check_ray(address: str | None) -> None:
    """Refuse a cluster where Ray is not installed.

    Raises:
        RunError: If it is not.
    """
    if address is not None and importlib.util.find_spec("ray") is None:
        raise RunError(
            "Ray is not installed, so no cluster can be used. Expected the package 'ray'. Install "
            "it with `pip install -r requirements-cluster.txt`, or train on this computer "
            f"(--local). Received: ray_address={address!r}"
        )


def _check_numbers(
    num_folds: int, num_seeds: int, num_workers: int, cpus_per_member: float, gpus_per_member: float
) -> None:
    if min(num_folds, num_seeds, num_workers) < 1:
        raise ConfigError(
            "A study needs at least one fold, one seed and one worker. Give a number of 1 or more. "
            f"Received: num_folds={num_folds}, num_seeds={num_seeds}, num_workers={num_workers}"
        )
    if cpus_per_member <= 0 or gpus_per_member < 0:
        raise ConfigError(
            "A member needs a part of a processor at least. Expected cpus_per_member above 0 and "
            "gpus_per_member of 0 or more. Received: "
            f"cpus_per_member={cpus_per_member}, gpus_per_member={gpus_per_member}"
        )


def _check_shares(shares: Sequence[float]) -> None:
    percents = [100 * share for share in shares]
    known = {round(percent) for percent in percents}
    are_whole = all(abs(percent - round(percent)) < 1e-6 for percent in percents)
    are_apart = len(known) == len(percents)
    if not (are_whole and are_apart and 1 in shares and known <= set(range(1, 101))):
        raise ConfigError(
            "These shares of the training images cannot be used. Expected different whole percents "
            "from 1 to 100, and 100 among them, since those members give the study its numbers. "
            "Choose such as 25, 50, 75 and 100. "
            f"Received: {', '.join(f'{percent:g}' for percent in percents) or 'none'}"
        )


def _check_members(
    config: RunConfig, dealt: Index, num_folds: int, seeds: list[int], smallest: float
) -> None:
    """Refuse settings that do not fit the images of a fold, or the smallest share of them."""
    for fold in range(1, num_folds + 1):
        whole = select_fold(dealt, fold, num_folds)
        check_fit(config, whole)
        for seed in seeds if smallest < 1 else []:
            try:
                check_fit(config, select_share(whole, smallest, config.data.seed, seed))
            except (ConfigError, DatasetError) as error:
                raise type(error)(
                    f"With {round(100 * smallest)} % of the training images a member has too few "
                    f"of them. {error} Or leave the small shares out."
                ) from error


def _check_unchanged(study: Study) -> None:
    changes = list_changes(study)
    if changes:
        raise RunError(
            f"Study '{study.name}' was started with other versions ({', '.join(changes)}), so its "
            "members might differ from unbroken ones. Expected the same. Go back to those, or "
            "resume all the same (--accept-changes): it is noted in each member's environment.json."
        )
