"""The process that builds a run from elsewhere: `python -m polyp_core.import_worker DIR`.

DIR is what `model_import` has staged. It looks at the weights with little memory and no TensorFlow,
and only then builds the network, gives it the weights, converts it and compares. What it has to
say stands in result.json; without that it has failed. It may be killed at any moment.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyp_core.config import RunConfig
from polyp_core.errors import ConfigError, ModelError, PolypError
from polyp_core.network_size import NetworkSize, measure_network
from polyp_core.processes import end_with_parent, say_stage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from polyp_core.runs import Run

_MB = 2**20
_LOOKING_BYTES = 400 * _MB  # of address space while nothing but the weights is looked at
_BUILDING_BYTES = 8 * 1024 * _MB  # the same with TensorFlow, which takes three at the least
_TIMES_WEIGHTS = 12  # that the conversion takes of the weights' own size, for a moment
_LOOKING_S, _BUILDING_S = 20, 600  # of the processor
_NUM_COMPARED = 16
_ARRAY_NAME = re.compile(r"[a-z_]{1,30}(\.[a-z_]{1,30})?")


def main(directory: Path) -> int:
    """Build the run; 0 if all is well."""
    problem = _try_to_build(directory)
    (directory / "result.json").write_text(json.dumps({"problem": problem}), encoding="utf-8")
    return 1 if problem else 0


def _try_to_build(directory: Path) -> str:
    """What is wrong, or nothing."""
    try:
        _set_limits(_LOOKING_BYTES, _LOOKING_S)
        size = _look(directory)
        _set_limits(_BUILDING_BYTES + _TIMES_WEIGHTS * size.num_bytes, _BUILDING_S)
        _build(directory)
    except PolypError as error:
        return str(error)
    except MemoryError:
        return (
            "The model takes more memory than it may. Expected a run as training wrote it. Bring "
            "in another, or a smaller network."
        )
    except Exception as error:  # it must not end silently
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        return (
            f"The model cannot be built ({reason}). Expected a run as this version trains it. "
            "Train it again with this version."
        )
    return ""


def _set_limits(num_bytes: int, processor_s: int) -> None:
    """Limit this process itself; only soft limits, since the next stage needs more."""
    try:
        import resource
    except ImportError:  # Windows, where only the parent's clock limits it
        return
    for what, wanted in (
        (resource.RLIMIT_AS, num_bytes),
        (resource.RLIMIT_CPU, processor_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(what, (wanted, hard))


def _look(directory: Path) -> NetworkSize:
    """Check the weights against what the settings imply, by arithmetic; nothing is built."""
    from polyp_core.weights import check_weights

    values = json.loads((directory / "run" / "config.json").read_text(encoding="utf-8"))
    size = measure_network(RunConfig.from_dict(values["settings"]).model)
    check_weights(directory / "weights.h5", size=size)
    return size


def _build(directory: Path) -> None:
    """All files of the run that follow from its weights."""
    say_stage(directory, "Starting TensorFlow, about 5 s")
    from polyp_core.decision import write_decision
    from polyp_core.evidence.goals import Decision
    from polyp_core.prediction import load_classifier
    from polyp_core.runs import Run
    from polyp_core.serving import rebuild_model, write_rebuilt_model
    from polyp_core.weights import record_model

    run, plan = Run(directory / "run"), json.loads((directory / "plan.json").read_bytes())
    config = run.read_config().model
    say_stage(directory, "Building the network")
    model = rebuild_model(config, directory / "weights.h5")
    model.save(run.path("model.keras"))
    record_model(run.directory)
    model.save_weights(run.path("model.weights.h5"))
    say_stage(directory, "Converting it, and comparing the result")
    images = _draw_images(config.image_size_px, config.channels)
    write_rebuilt_model(run, model, images, plan["serving"])
    classifier = load_classifier(run)  # as it will be loaded to predict
    _take_features(directory, run, (plan["num_images"], classifier.predictor.num_features))
    if plan["decision"] is not None:
        try:
            write_decision(run, Decision.from_dict(plan["decision"]))
        except ConfigError as error:
            raise ModelError(f"decision.json cannot be used: {error}") from error
    if plan["familiarity"] is not None:
        _take_familiarity(directory, run, plan["familiarity"])
    _write_numbers(run, plan["milestones"], plan["serving"]["threshold"])
    _finish(run)


def _draw_images(size_px: int, channels: int) -> "np.ndarray":
    """Images that are not here cannot be compared on: flat, noisy and shaded ones can."""
    import numpy as np

    generator = np.random.default_rng(0)
    shape = (size_px, size_px, channels)
    ramp = np.broadcast_to(np.linspace(0, 255, size_px)[:, None, None], shape)
    images = [np.full(shape, level) for level in (0, 128, 255)] + [ramp, ramp[::-1]]
    while len(images) < _NUM_COMPARED:
        noise = generator.integers(0, 256, shape)
        images.append(noise if len(images) % 2 else (noise + ramp) / 2)
    return np.stack(images).astype(np.uint8)


def _take_features(directory: Path, run: "Run", expected: tuple[int, int]) -> None:
    """Write features.npy anew, if it is a table of numbers of the right size."""
    import numpy as np

    path = directory / "features.npy"
    if not path.is_file():
        return
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(
            f"features.npy cannot be read ({str(error)[:100]}). Expected the table of numbers that "
            "training wrote. Pack the run again."
        ) from error
    if (
        features.shape != expected
        or features.dtype != np.float32
        or not np.isfinite(features).all()
    ):
        raise ModelError(
            f"features.npy holds {features.shape} {features.dtype}. Expected {expected} float32, "
            "all of them finite: one row for each image of index.csv. Pack the run again."
        )
    np.save(run.path("features.npy"), features)


def _take_familiarity(directory: Path, run: "Run", values: dict[str, Any]) -> None:
    """Bind what is known of the training images to the model made here, if it judges at all.

    What does not is left out: a run is as good without it.
    """
    import numpy as np

    from polyp_core.familiarity import read_familiarity
    from polyp_core.images import Picture
    from polyp_core.prediction import load_classifier

    path = directory / "familiarity.npy"
    if not path.is_file():
        return
    try:
        _write_familiarity(path, run, values)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError):
        return
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
    try:
        load_classifier(run).classify_picture(Picture(pixels=picture), "noise")
        is_sound = read_familiarity(run) is not None
    except (ValueError, KeyError, IndexError, TypeError, ArithmeticError):
        is_sound = False
    if not is_sound:
        for name in ("familiarity.npy", "familiarity.json"):
            run.path(name).unlink(missing_ok=True)


def _write_familiarity(path: Path, run: "Run", values: Mapping[str, Any]) -> None:
    """Write the numbers anew, and what they are, as `familiarity.write_familiarity` does.

    Raises:
        OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError: If it
            is anything else.
    """
    import hashlib
    import io

    import numpy as np

    numbers = np.load(path, allow_pickle=False)
    if numbers.ndim != 1 or numbers.dtype != np.float32 or not np.isfinite(numbers).all():
        raise ValueError("These are not the numbers that were written.")
    shapes = {
        str(name): [int(length) for length in shape] for name, shape in values["shapes"].items()
    }
    if not all(_ARRAY_NAME.fullmatch(name) and len(shapes[name]) <= 2 for name in shapes):
        raise ValueError("These are not the arrays that were written.")
    file = io.BytesIO()
    np.save(file, numbers.astype("<f4"), allow_pickle=False)
    known = {
        "version": int(values["version"]),
        "model": run.read_serving()["sha256"],
        "arrays_sha256": hashlib.sha256(file.getvalue()).hexdigest(),
        "num_images": int(values["num_images"]),
        "false_alarms": float(values["false_alarms"]),
        "limit": float(values["limit"]),
        "num_patients": int(values["num_patients"]),
        "is_cautious": bool(values["is_cautious"]),
        "shapes": shapes,
    }
    run.path("familiarity.npy").write_bytes(file.getvalue())
    run.write_json("familiarity.json", known)


def _write_numbers(run: "Run", milestones: Mapping[str, Any], threshold: float) -> None:
    """Count metrics.json anew from the predictions; what was counted elsewhere is not taken."""
    from polyp_core.calibration import describe_calibration
    from polyp_core.metrics import evaluate_predictions

    if not run.path("predictions.csv").is_file():
        return
    negative, positive = run.read_class_names()
    temperature = float(run.read_serving()["temperature"])

    def describe(rows: "pd.DataFrame") -> dict[str, Any]:
        labels, probabilities = rows["label"].to_numpy(), rows["probability"].to_numpy()
        return {
            "positive_class": positive,
            "negative_class": negative,
            "threshold": threshold,
            **evaluate_predictions(rows, threshold),
            "calibration": describe_calibration(labels, probabilities, temperature),
        }

    predictions = run.read_predictions()
    is_test = predictions["split"] == "test"
    if is_test.all():
        return
    metrics = describe(predictions[~is_test])
    if is_test.any():
        metrics["test"] = describe(predictions[is_test])
    run.write_json("metrics.json", metrics)
    template = evaluate_predictions(predictions[~is_test], threshold)
    known = {
        epoch: value
        for epoch, value in milestones.items()
        if epoch.isdecimal() and len(epoch) < 6 and _has_form(value, template)
    }
    if known:
        run.write_json("milestones.json", known)


def _has_form(value: object, template: object) -> bool:
    """Whether it has the same names as what is counted here, and numbers where numbers are."""
    if isinstance(template, dict):
        is_alike = isinstance(value, dict) and value.keys() == template.keys()
        return is_alike and all(_has_form(value[key], template[key]) for key in template)  # type: ignore[index]
    if template is None or isinstance(template, int | float):
        return value is None or type(value) in (int, float)
    return value == template


def _finish(run: "Run") -> None:
    """The last word, with what a table of runs shows."""
    import time

    from polyp_core.summaries import summarise_run

    status = run.read_status() | {"updated_at": time.time(), "summary": summarise_run(run)}
    run.write_json("status.json", status)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
