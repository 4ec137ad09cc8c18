"""A run as it may be given away: all its numbers, no patient's identifier, no path, no picture.

An image is known by its number and the sha256 of its file, so that whoever has the files can tell
which they are, and nobody else; a patient by a number. What only the run's place told, such as the
study that it is of, stands in shared.json.

Left as people wrote them: the run's name and title, the study's name, the names of the classes and
what was answered in the checklists.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from polyp_core.config import RunConfig
from polyp_core.dataset import IMAGE_COLUMNS
from polyp_core.errors import RunError
from polyp_core.evaluation_jobs import CHECKS, find_checks
from polyp_core.images import SUFFIXES
from polyp_core.origins import FILE, Origin, StudyOrigin, read_origin
from polyp_core.runs import Run
from polyp_core.study import Study
from polyp_core.summaries import summarise_run

# Numbers alone, or settings of ours, by what writes them. Not: worker.log and the checkpoints,
# which name folders; batch.png, which shows patients; evaluations, which name their images; the
# note, in which people write what they like.
_COPIED = (
    "environment.json", "history.csv", "milestones.json", "metrics.json", "serving.json",
    "decision.json", "familiarity.json", "familiarity.npy", "features.npy",
)  # fmt: skip
_log = logging.getLogger(__name__)
_ENVIRONMENT, _ANSWERS = "environment.json", "checklists.json"
_WEIGHTS = "model.weights.h5"
_SERVING = "serving.tflite"
_PREDICTION_COLUMNS = (
    "path", "frame", "split", "group", "label", "probability", "brightness", "contrast",
)  # fmt: skip


def write_shared_run(run: Run, directory: Path) -> Run:
    """Write what of a run may be given away; `model_import` takes it, if the run has its weights.

    Args:
        run: A finished one.
        directory: Where; made, must not be there.

    Returns:
        The new run, with its weights as model.weights.h5 where there is a model.keras, and with
        its serving.tflite. It predicts as the run does.

    Raises:
        RunError: If index.csv or config.json cannot be read.
        ModelError: If model.keras is not the file that training wrote.
    """
    directory.mkdir(parents=True)
    shared = Run(directory)
    for name in (*_COPIED, _SERVING):
        if run.path(name).is_file():
            shutil.copyfile(run.path(name), shared.path(name))
    origin = read_origin(run)
    safe = _clean_settings(run.read_config(), origin)
    shared.write_json(FILE, _describe_origin(origin, safe))
    if origin.ensemble_of is not None and not shared.path(_ENVIRONMENT).is_file():
        _copy_environment(run, shared)
    _copy_answers(run, shared)
    _write_config(run, shared, "train", safe)
    _write_tables(run, shared)
    _write_checks(run, shared, safe)
    if run.path("model.keras").is_file():
        _write_weights(run, shared)
    if title := run.read_notes()["title"]:
        shared.write_json("notes.json", {"title": title, "note": ""})
    status = _keep_numbers(run.read_status())
    summary = summarise_run(shared)
    shared.write_json(
        "status.json", {"state": "finished", "message": "Finished", **status, "summary": summary}
    )
    return shared


def _describe_origin(origin: Origin, safe: RunConfig) -> dict[str, Any]:
    """What shared.json holds; `origins` reads it."""
    told: dict[str, Any] = {
        "synthetic": origin.is_synthetic,
        "demo": origin.is_demo,
        "patients_known": origin.are_patients_known,
        "own_backbone_weights": origin.has_own_backbone_weights,
        "own_split": origin.has_own_split,
        "study": None,
    }
    if (study := origin.study) is not None:
        told["study"] = {
            "name": study.name,
            "plan": _clean_plan(study, safe),
            "caution": study.caution,
            "member": study.member or "ensemble",
        }
    return told


def _clean_plan(study: StudyOrigin, safe: RunConfig) -> dict[str, Any]:
    """What was planned; not on which computers."""
    kept = {
        name: study.plan[name]
        for name in ("num_folds", "seeds", "shares", "class_names")
        if name in study.plan
    }
    return {**kept, "settings": safe.to_dict(), "folder": safe.data.folder}


def _clean_settings(config: RunConfig, origin: Origin) -> RunConfig:
    """Without what may name somebody: a folder is called after a patient, a pattern lists names."""
    folder = "demo-data" if origin.is_demo else "images"
    return replace(
        config,
        data=replace(config.data, folder=folder, group_pattern=""),
        model=replace(config.model, backbone_weights=""),
    )


def _copy_environment(ensemble: Run, shared: Run) -> None:
    """An ensemble is not trained; what its first member was trained with holds for it."""
    with suppress(RunError):  # a study that is not here
        for member in Study(ensemble.directory.absolute().parent).whole_members:
            if environment := member.run.read_environment():
                shared.write_json(_ENVIRONMENT, environment)
                return


def _copy_answers(run: Run, shared: Run) -> None:
    """What people have answered, which does not always lie beside the run."""
    from polyp_core.checklists import list_answers  # not loaded with the page
    from polyp_core.checklists.facts import find_home

    answers = {sheet: found for sheet, found in list_answers(run).items() if found}
    if answers:
        shared.write_json(_ANSWERS, {"answers": answers})
    elif (find_home(run) / _ANSWERS).is_file():
        _log.warning("%s of '%s' holds no answers and was left out", _ANSWERS, run.name)


def _write_config(run: Run, shared: Run, task: str, safe: RunConfig) -> None:
    shared.write_json(
        "config.json",
        {
            "task": task,
            "settings": safe.to_dict(),
            "class_names": list(run.read_class_names()),
            "folder": safe.data.folder,
        },
    )


def _write_tables(run: Run, shared: Run) -> None:
    """index.csv and predictions.csv with numbers in the place of names, the same in both."""
    images = run.read_index().images
    paths = _number(images["path"], "image")
    names = {path: name + _find_suffix(path) for path, name in paths.items()}
    # A file that stands for its patient does so under its new name: nobody is known by it.
    groups = _number(images["group"], "person") | {
        name: names[name] for name in images["group"] if name in names
    }
    shared.write_table("index.csv", _rename(images[IMAGE_COLUMNS], names, groups))
    try:
        predictions = run.read_predictions()
    except (OSError, ValueError):
        return
    known = predictions[predictions["path"].isin(names) & predictions["group"].isin(groups)]
    columns = [name for name in _PREDICTION_COLUMNS if name in known]
    shared.write_table("predictions.csv", _rename(known[columns], names, groups))


def _number(names: pd.Series, noun: str) -> dict[str, str]:
    """A new name for each, by its place; what is not known ("") stays so."""
    known = [name for name in dict.fromkeys(names) if name]
    return {"": ""} | {name: f"{noun}-{place:05}" for place, name in enumerate(known, start=1)}


def _find_suffix(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _rename(
    rows: pd.DataFrame, names: Mapping[str, str], groups: Mapping[str, str]
) -> pd.DataFrame:
    return rows.assign(path=rows["path"].map(names), group=rows["group"].map(groups))


def _write_checks(run: Run, shared: Run, safe: RunConfig) -> None:
    files = find_checks(run)
    found = None if files is None else files.read_checks()
    if files is None or found is None:
        return
    kept = Run(shared.path(CHECKS))
    kept.directory.mkdir()
    _write_config(files, kept, "checks", safe)
    kept.write_json("checks.json", found)
    kept.write_json("status.json", {"state": "finished", "message": "Finished"})


def _write_weights(run: Run, shared: Run) -> None:
    """Out of model.keras, whose sha256 was recorded when it was trained."""
    from polyp_core.network_size import measure_network
    from polyp_core.weights import check_recorded, extract_weights  # which take HDF5

    check_recorded(run.directory)
    max_bytes = measure_network(run.read_config().model).num_bytes
    with tempfile.TemporaryDirectory() as text:
        path = Path(text, _WEIGHTS)
        extract_weights(run.path("model.keras"), path, max_bytes)
        shutil.copyfile(path, shared.path(_WEIGHTS))


def _keep_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, and the table of times, of a status; its texts stay behind."""

    def keep(table: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in table.items() if isinstance(value, int | float)}

    timings = values.get("timings")
    return keep(values) | ({"timings": keep(timings)} if isinstance(timings, dict) else {})
