"""Everything about a model in one zip: to predict with, to read, to check, and to bring in again.

predict.py  requirements.txt  preprocessing.json  model.tflite  README.txt   to predict with
MODEL_CARD.md  report.html  export.json                                      to read and check
run/                                                                         to bring in again
"""

import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyp_core import __version__, region
from polyp_core.config import RunConfig
from polyp_core.exports.making import (
    MAX_DIFFERENCE,
    Export,
    check_target,
    hash_file,
    make_exports,
    move_into_place,
)
from polyp_core.exports.preprocessing import FILE, NOTICE, write_preprocessing
from polyp_core.exports.readme import write_readme
from polyp_core.exports.sharing import write_shared_run
from polyp_core.origins import read_origin
from polyp_core.prediction import load_classifier
from polyp_core.runs import Run

_PACKAGES = ("ai-edge-litert", "numpy", "pillow")
_REGION_PACKAGE = "opencv-python-headless"  # which finding the scan area takes
_PREDICT = Path(__file__).with_name("predict.py")
_RUN = "run"
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A zip that was written.

    Attributes:
        path: Of the zip.
        exports: The models in it, each proved; its path is its name in the zip.
        num_bytes: Of the zip.
    """

    path: Path
    exports: tuple[Export, ...]
    num_bytes: int


def write_bundle(
    run: Run,
    target: Path,
    on_progress: Progress | None = None,
    *,
    formats: Sequence[str] = ("litert",),
) -> Bundle:
    """Pack a run for others: no patient's identifier, no path and no picture is in it.

    Args:
        run: A finished one.
        target: A file that is not there yet, ending in .zip.
        on_progress: Called with what is being done; may raise, to cancel.
        formats: Keys of FORMATS; "litert", which predict.py takes, is always among them.

    Raises:
        ConfigError, ModelError, AccessError: As `export_run`.
        RunError: If the run cannot be read.
    """
    check_target(target, ".zip")
    say = on_progress or (lambda _: None)
    names = list(dict.fromkeys(("litert", *formats)))
    with tempfile.TemporaryDirectory(prefix="polyp-bundle-", ignore_cleanup_errors=True) as text:
        made_in, staging = Path(text, "made"), Path(text, "bundle")
        made_in.mkdir()
        staging.mkdir()
        exports = make_exports(run, names, made_in, say)
        members = _write_members(run, staging, exports, say)
        say("Packing")
        packed = Path(text, "bundle.zip")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in members.items():
                archive.write(path, name)
        num_bytes = packed.stat().st_size
        move_into_place(packed, target)
    named = tuple(replace(export, path=Path(export.path.name)) for export in exports)
    return Bundle(path=target, exports=named, num_bytes=num_bytes)


def list_requirements(config: RunConfig) -> list[str]:
    """What predict.py takes, pinned to what is installed here, as lines of requirements.txt."""
    further = [_REGION_PACKAGE] if config.data.region == "automatic" else []
    return [f"{name}=={version(name)}" for name in (*_PACKAGES, *further)]


def _write_members(
    run: Run, staging: Path, exports: Sequence[Export], say: Progress
) -> dict[str, Path]:
    """The files of the bundle by their names in it; README.txt first, the run last."""
    # Of use to one visitor in a hundred, so not loaded with the page.
    from polyp_core.report import write_model_card, write_report

    made_at = datetime.now().astimezone().replace(microsecond=0)
    say("Taking names and paths out of the run")
    # Under its own name, which report and card speak of.
    shared = write_shared_run(run, staging / "shared" / run.name)
    say("Writing report and model card")
    config = run.read_config()
    requirements = list_requirements(config)
    texts = {
        "predict.py": _PREDICT.read_text(encoding="utf-8"),
        "requirements.txt": "\n".join([*requirements, ""]),
        FILE: write_preprocessing(run),
        "MODEL_CARD.md": write_model_card(shared, made_at=made_at),
        "report.html": write_report(shared, made_at=made_at),
    }
    if config.data.region == "automatic":
        texts["region.py"] = Path(region.__file__).read_text(encoding="utf-8")
    members = {export.path.name: export.path for export in exports}
    for name, content in texts.items():
        members[name] = _write_text(staging / name, content)
    of_run = {
        f"{_RUN}/{path.relative_to(shared.directory).as_posix()}": path
        for path in sorted(shared.directory.rglob("*"))
        if path.is_file() and path.name != "serving.tflite"  # model.tflite is the same
    }
    facts = _describe_exports(run, exports, members | of_run, made_at)
    members["export.json"] = _write_text(staging / "export.json", facts)
    readme = write_readme(run, load_classifier(run), exports, has_weights=_has_weights(of_run))
    return {"README.txt": _write_text(staging / "README.txt", readme)} | members | of_run


def _has_weights(members: dict[str, Path]) -> bool:
    return f"{_RUN}/model.weights.h5" in members


def _describe_exports(
    run: Run, exports: Sequence[Export], members: dict[str, Path], made_at: datetime
) -> str:
    origin = read_origin(run)
    values: dict[str, Any] = {
        "notice": NOTICE,
        "run": run.name,
        "study": origin.study.name if origin.study is not None else None,
        "is_synthetic": origin.is_synthetic,
        "made_at": made_at.isoformat(),
        "written_by": f"polyp_core {__version__}",
        "serving_sha256": run.read_serving()["sha256"],
        "largest_difference_allowed": MAX_DIFFERENCE,
        "models": [
            {
                "file": export.path.name,
                "format": export.format,
                "sha256": export.sha256,
                "largest_difference": export.largest_difference,
                "num_compared": export.num_compared,
                "compared_on": export.compared_on,
                "runtime": export.runtime,
            }
            for export in exports
        ],
        "files": {name: hash_file(path) for name, path in members.items()},
    }
    return json.dumps(values, indent=1, ensure_ascii=False)


def _write_text(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path
