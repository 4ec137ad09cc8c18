"""The files of a run from elsewhere are read as a stranger's, and written anew from what was read.

Nothing is copied: a number is taken where a number belongs, in its bounds, and a text where a text
belongs, without what could pass for something else. What a run does not have, or what only the
computer it comes from could use (its folders, its log), stays behind.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from polyp_core.config import RunConfig
from polyp_core.config.patterns import check_given_pattern
from polyp_core.errors import ConfigError
from polyp_core.foreign_files.claims import read_answers_file, read_origin_file
from polyp_core.foreign_files.objects import clean_text, read_object, refuse
from polyp_core.foreign_files.tables import Table, read_history, read_index, read_predictions
from polyp_core.summaries import name_data

__all__ = [
    "ELSEWHERE", "TEXT_FILES", "ForeignRun", "read_config_file", "read_object", "refuse",
    "translate_files",
]  # fmt: skip

# The most a file may hold, in bytes. Weights and features are measured by the settings instead.
TEXT_FILES = {
    "config.json": 256 * 1024,
    "serving.json": 64 * 1024,
    "decision.json": 64 * 1024,
    "familiarity.json": 64 * 1024,
    "environment.json": 64 * 1024,
    "notes.json": 256 * 1024,
    "status.json": 256 * 1024,
    "shared.json": 256 * 1024,
    "checklists.json": 4 * 1024 * 1024,
    "milestones.json": 1024 * 1024,
    "history.csv": 4 * 1024 * 1024,
    "index.csv": 16 * 1024 * 1024,
    "predictions.csv": 16 * 1024 * 1024,
}
ELSEWHERE = "another computer"  # stands for a folder that is not here
# Letters and digits of any writing, and what stands between words; one of them comes first, if need
# be in a bracket. Not what a page, a formula, a shell or a path could take for more.
_CLASS_NAME = re.compile(r"(?=\(*[^\W_])[\w .,;+()'&%-]{1,100}")
_ENVIRONMENT_TEXTS = ("polyp_core", "python", "platform", "processor", "onednn")
_STATUS_NUMBERS = ("started_at", "elapsed_s", "epoch", "epochs", "brightest_level")


@dataclass(frozen=True, kw_only=True)
class ForeignRun:
    """What was taken over of a run from elsewhere.

    Attributes:
        config: Its settings, without paths.
        class_names: Negative class, positive class.
        serving: threshold, temperature and saliency_scale.
        texts: Contents of files by their names, written anew.
        num_images: Rows of its index.
        decision, familiarity: As decision.json and familiarity.json hold it, if it was made for
            this model; None otherwise.
        milestones: As milestones.json holds it; still to be compared with what there can be.
        title, note: Of whoever had it.
    """

    config: RunConfig
    class_names: tuple[str, str]
    serving: dict[str, float]
    texts: dict[str, str]
    num_images: int
    decision: dict[str, Any] | None
    familiarity: dict[str, Any] | None
    milestones: dict[str, Any]
    title: str
    note: str


def read_config_file(data: bytes) -> tuple[RunConfig, dict[str, Any]]:
    """Settings of config.json, without the paths of the computer it comes from.

    Returns:
        The settings, and the content of the config.json to write.

    Raises:
        RunError: If it is no config.json of a run, a setting is unknown or out of bounds, or it
            holds what could do harm.
    """
    values = read_object("config.json", data)
    settings = values.get("settings")
    if not isinstance(settings, dict) or values.get("task", "train") != "train":
        raise refuse(
            "config.json", "is not that of a trained run",
            "the folder of a run, packed as it is (a model file alone is not enough)",
        )  # fmt: skip
    data_settings = settings.get("data", {})
    pattern = data_settings.get("group_pattern", "") if isinstance(data_settings, dict) else None
    try:
        if isinstance(pattern, str):  # the settings refuse anything else
            check_given_pattern(pattern)
        config = RunConfig.from_dict(settings)
    except ConfigError as error:
        said = str(error)[:500]
        raise refuse("config.json", f"cannot be used ({said})", "settings of this version") from (
            error
        )
    folder = f"{ELSEWHERE}/{_clean_name(name_data(config.data.folder))}"
    safe = replace(
        config,
        preset=_clean_name(config.preset),
        data=replace(config.data, folder=folder),
        # Where a file of this computer stood, looking for it would tell whether it is there.
        model=replace(config.model, backbone_weights=""),
    )
    return safe, {
        "task": "train",
        "settings": safe.to_dict(),
        "class_names": _check_class_names(values.get("class_names")),
        "folder": folder,
        "imported": {
            "folder": config.data.folder,
            "backbone_weights": config.model.backbone_weights,
        },
    }


def translate_files(files: Mapping[str, bytes]) -> ForeignRun:
    """Read all of a run's small files and say what is to be written of them.

    Args:
        files: Content by name; names of `TEXT_FILES`.

    Raises:
        RunError: If config.json or serving.json is missing, or a file is not what it should be.
    """
    for name in ("config.json", "serving.json"):
        if name not in files:
            raise refuse(
                name, "is missing",
                "the folder of a finished run, packed as it is: config.json, serving.json, "
                "model.keras or model.weights.h5, and what else it has",
            )  # fmt: skip
    config, content = read_config_file(files["config.json"])
    objects = {
        name: read_object(name, data)
        for name, data in files.items()
        if name.endswith(".json") and name != "config.json"
    }
    index = read_index(files.get("index.csv"))
    texts = _write_texts(files, objects, index) | {"config.json": _write_object(content)}
    serving = objects["serving.json"]

    def take_if_bound(name: str) -> dict[str, Any] | None:
        values = objects.get(name, {})
        return values if values.get("model", "") == serving.get("sha256") else None

    notes = objects.get("notes.json", {})
    return ForeignRun(
        config=config,
        class_names=(content["class_names"][0], content["class_names"][1]),
        serving=_read_serving(serving),
        texts=texts,
        num_images=index.num_rows,
        decision=take_if_bound("decision.json"),
        familiarity=take_if_bound("familiarity.json"),
        milestones=objects.get("milestones.json", {}),
        title=clean_text(notes.get("title")),
        note=clean_text(notes.get("note"), is_long=True),
    )


def _write_texts(
    files: Mapping[str, bytes], objects: Mapping[str, dict[str, Any]], index: Table
) -> dict[str, str]:
    """The files that can be written now, by their names; those besides config.json."""
    texts = {
        "environment.json": _write_object(_read_environment(objects.get("environment.json", {}))),
        "status.json": _write_object(_read_status(objects.get("status.json", {}))),
        "history.csv": read_history(files.get("history.csv", b"")),
        "index.csv": index.text,
    }
    if predictions := read_predictions(files.get("predictions.csv", b""), index):
        texts["predictions.csv"] = predictions
    if "shared.json" in objects:
        origin = read_origin_file(objects["shared.json"], index.text)
        texts["shared.json"] = _write_object(origin)
    if answers := read_answers_file(objects.get("checklists.json", {})):
        texts["checklists.json"] = _write_object(answers)
    return texts


def _check_class_names(names: object) -> list[str]:
    match names:
        case [str(negative), str(positive)]:
            found = [negative.strip(), positive.strip()]
            if all(map(_CLASS_NAME.fullmatch, found)):
                if found[0] != found[1]:
                    return found
                what = f"has one class twice ('{found[0]}')"
                raise refuse("config.json", what, "two class names")
    raise refuse(
        "config.json", "has class names that cannot be used",
        "two names of at most 100 letters, digits, spaces and . , ; + - _ ( ) ' & %, beginning "
        "with a letter or digit",
    )  # fmt: skip


def _read_serving(values: Mapping[str, Any]) -> dict[str, float]:
    bounds = {
        "threshold": (0.0, 1.0),
        "temperature": (1e-3, 1e3),
        "saliency_scale": (1e-12, 1e12),
    }
    found = {}
    for name, (low, high) in bounds.items():
        value = values.get(name, 1.0 if name == "temperature" else None)
        if type(value) not in (int, float) or not low <= value <= high:
            raise refuse(
                "serving.json", f"has a {name} that cannot be used ({str(value)[:40]})",
                f"a number from {low:g} to {high:g}",
            )  # fmt: skip
        found[name] = float(value)
    return found


def _read_environment(values: Mapping[str, Any]) -> dict[str, Any]:
    """Versions and devices, as they are shown."""
    found: dict[str, Any] = {name: clean_text(values.get(name)) for name in _ENVIRONMENT_TEXTS}
    packages, devices = values.get("packages"), values.get("devices")
    if isinstance(packages, dict):
        pairs = list(packages.items())[:50]
        found["packages"] = {clean_text(name): clean_text(version) for name, version in pairs}
    if isinstance(devices, list):
        found["devices"] = [clean_text(device) for device in devices[:20]]
    for name in ("processors", "threads"):
        if type(values.get(name)) is int:
            found[name] = values[name]
    return found


def _read_status(values: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {
        name: values[name]
        for name in _STATUS_NUMBERS
        if type(values.get(name)) in (int, float) and 0 <= values[name] < 1e10
    }
    return {"state": "finished", "message": f"Brought from {ELSEWHERE}"} | numbers


def _clean_name(text: str) -> str:
    """A text as a name on one line, with nothing that a path or a page could take for more."""
    return re.sub(r"[^\w.-]+", "_", text[:80]).strip("._-") or "images"


def _write_object(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False)
