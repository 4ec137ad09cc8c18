"""The same work without a browser: `python -m polyp_core COMMAND …`.

No command imports TensorFlow here; `train` and `resume` start a worker that does.
"""

import argparse
import contextlib
import csv
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from polyp_core import jobs, words
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import DatasetError, ImageError, PolypError, RunError
from polyp_core.importing import is_left_out
from polyp_core.layout import is_image_name
from polyp_core.presets import PRESETS, get_preset
from polyp_core.runs import FINAL_STATES, Run, list_runs
from polyp_core.workspace import find_run, get_cache_dir, get_runs_dir

Progress = Callable[[int, int], None]
_SHOWN_FILES = 10


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 only if it did all it was asked for."""
    options = _build_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except PolypError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:
        print(
            f"The file system refuses: {error}. Expected a place that may be read or written. "
            "Choose another, or change its permissions.",
            file=sys.stderr,
        )
        return 1


def _demo(options: argparse.Namespace) -> int:
    from polyp_core.phantom import write_demo_data

    with _show_progress("Drawing") as progress:
        write_demo_data(
            options.out, num_patients=options.patients, seed=options.seed, on_progress=progress
        )
    print(options.out)
    return 0


def _audit(options: argparse.Namespace) -> int:
    from polyp_core.audit import audit_index, count_images, propose_split, say_limit

    config = replace(RunConfig().with_settings(options.set).data, folder=options.data)
    target: Path | None = options.write_split
    if target is not None and (target.suffix.lower() != ".csv" or target.exists()):
        raise DatasetError(
            f"The clean split cannot be written to '{target}'. Expected a name that ends in .csv, "
            "by which it is known as a manifest, and is not taken yet. Choose such a name."
        )
    index = _read_images(config)
    with _show_progress("Comparing images") as progress:
        audit = audit_index(index, get_cache_dir(), progress)
    if options.json:
        print(json.dumps(audit.to_dict(), indent=1))
    else:
        print(f"Verdict: {audit.verdict}. {say_limit(index)}")
        print(words.make_visible(_say_counts(audit.counts)))
        for finding in audit.findings:
            _print_finding(finding)
    if target is not None:
        clean = propose_split(index, audit.pairs, config.validation_fraction, config.seed)
        clean.index.write_manifest(target)
        left_out = words.say_number(len(clean.left_out), "image") + " left out"
        left_out += "; the test images are drawn anew" if clean.is_test_new else ""
        print(
            f"\nA clean split is written to {target}: {_say_counts(count_images(clean.index))}.\n"
            f"  {left_out}. Train on it: train {target}",
            file=sys.stderr if options.json else sys.stdout,
        )
    return 0


def _print_finding(finding: Any) -> None:  # noqa: ANN401 - the audit is imported when needed
    print(f"\n{finding.severity}: {words.make_visible(finding.title)}\n  {finding.advice}")
    named = list(zip(finding.files, finding.reasons, strict=True))
    for path, reason in named[:_SHOWN_FILES]:
        print(words.make_visible(f"  - {path}" + (f": {reason}" if reason else "")))
    if len(named) > _SHOWN_FILES:
        print(f"  … and {len(named) - _SHOWN_FILES} more; --json names all")


def _say_counts(counts: dict[str, Any]) -> str:
    """Such as "75 images of 75 patients; train: 11 calcified, 45 non-calcified; …"."""
    patients = "" if counts["patients"] is None else f" of {counts['patients']} patients"
    parts = [f"{counts['images']} images{patients}"]
    for split, by_class in counts["by_split"].items():
        parts.append(f"{split}: " + ", ".join(f"{n} {name}" for name, n in by_class.items()))
    for key, what in (
        ("unreadable", "unreadable"), ("other_files", "other files"), ("hidden_files", "hidden"),
    ):  # fmt: skip
        if counts[key]:
            parts.append(f"{counts[key]} {what}")
    return "; ".join(parts)


def _read_images(config: DataConfig) -> Index:
    with _show_progress("Reading images") as progress:
        return read_index(config, progress, cache_dir=get_cache_dir())


def _train(options: argparse.Namespace) -> int:
    config = get_preset(options.preset).with_settings(options.set)
    config = replace(config, data=replace(config.data, folder=options.data))
    index = _read_images(config.data)
    for path, reason in index.unreadable.itertuples(index=False):
        print(f"Left out: {path}: {reason}", file=sys.stderr)
    counts = index.images["split"].value_counts()
    print(
        f"{counts['train']} images to train on, {counts['validation']} to validate on; "
        f"positive class '{index.class_names[1]}', negative '{index.class_names[0]}'"
    )
    run = jobs.start_run(config, index, options.runs or get_runs_dir(), options.name)
    return _follow(run, num_known_epochs=0)


def _resume(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    num_known_epochs = len(run.read_history())
    jobs.resume_run(run)
    return _follow(run, num_known_epochs)


def _stop(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    jobs.stop_run(run)
    print(f"Asked '{run.name}' to stop")
    return 0


def _follow(run: Run, num_known_epochs: int) -> int:
    """Show a run's progress until it ends; Ctrl-C asks it to stop."""
    try:
        jobs.wait_for_worker(run)
        _show_epochs(run, num_known_epochs)
    except KeyboardInterrupt:
        with contextlib.suppress(RunError):  # it may have ended at this very moment
            jobs.stop_run(run)
        while run.read_status()["state"] not in FINAL_STATES:
            time.sleep(0.1)
    status, metrics = run.read_status(), run.read_metrics()
    if status["state"] == "finished" and metrics is not None:
        print(f"Validation: {words.say_worth(*words.get_main_level(metrics))}")
    else:
        print(f"The run is {status['state']}: {status['message']}", file=sys.stderr)
    print(run.directory)
    return 0 if status["state"] == "finished" else 1


def _show_epochs(run: Run, num_known_epochs: int) -> None:
    shown = num_known_epochs
    bar: Any = None
    while True:
        status, history = run.read_status(), run.read_history()
        if sys.stderr.isatty():
            total = status.get("epochs", 0) * status.get("steps", 0)
            bar = bar or (tqdm(total=total, unit="step") if total else None)
            if bar is not None:
                bar.n = (status["epoch"] - 1) * status["steps"] + status["step"]
                bar.set_description(status["message"])
        else:
            for row in history.iloc[shown:].to_dict("records"):
                print(
                    f"epoch {row['epoch']}: loss {row['loss']:.4f}, accuracy "
                    f"{row['accuracy']:.3f}, validation loss {row['val_loss']:.4f}, accuracy "
                    f"{row['val_accuracy']:.3f}, AUC {row['val_auc']:.3f}, {row['seconds']:.1f} s",
                    flush=True,
                )
            shown = max(shown, len(history))
        if status["state"] in FINAL_STATES:
            if bar is not None:
                bar.close()
            return
        time.sleep(0.3)


def _predict(options: argparse.Namespace) -> int:
    from polyp_core.prediction import load_classifier

    if options.csv:
        options.csv.touch()  # a place that cannot be written is known before the work is done
    run = find_run(options.run)
    classifier = load_classifier(run)
    positive = classifier.class_names[1]
    rows: list[dict[str, Any]] = []
    with _show_progress("Predicting") as progress:
        paths = _list_images(options.path)
        for number, path in enumerate(paths, start=1):
            row: dict[str, Any] = {"path": str(path), "class": None, "probability": None}
            try:
                prediction = classifier.classify(path)
                row |= {"class": prediction.class_name, "probability": prediction.probability}
                row["error"] = None
            except ImageError as error:
                row["error"] = str(error)
            rows.append(row)
            progress(number, len(paths))
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "class", "probability", "error"])
            writer.writeheader()
            writer.writerows(rows)
    if options.json:
        print(json.dumps({"positive_class": positive, "predictions": rows}, indent=1))
    elif not options.csv:
        for row in rows:
            said = row["error"] or f"{row['class']}  (probability of {positive} "
            print(f"{row['path']}: {said}" + ("" if row["error"] else f"{row['probability']:.3f})"))
    return int(any(row["error"] for row in rows))


def _list_images(paths: list[Path]) -> list[Path]:
    """Files as given; of folders, every image in them, at any depth."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                p
                for p in path.rglob("*")
                if not is_left_out(p.relative_to(path).as_posix()) and is_image_name(str(p))
            )
            if not inside:
                raise ImageError(
                    f"The folder '{path}' holds no image. Expected PNG, JPEG, BMP, TIFF, WebP or "
                    "DICOM. Check the path."
                )
            found += inside
        else:
            found.append(path)
    return found


def _evaluate(options: argparse.Namespace) -> int:
    from polyp_core.evaluation import evaluate_folder

    with _show_progress("Testing") as progress:
        result = evaluate_folder(find_run(options.run), options.data, progress)
    if options.json:
        print(json.dumps(result, indent=1))
        return 0
    print(f"{words.say_worth(*words.get_main_level(result))}.")
    print(
        f"{result['num_images']} images tested; {result['num_training_images_left_out']} left out "
        f"because the run was trained on them, {result['num_unreadable']} unreadable; "
        f"{result['num_images_of_training_patients']} tested ones bear the name of a training "
        "patient. Positive: "
        f"'{result['positive_class']}' from probability {result['threshold']:g} on."
    )
    for level in ("image", "patient"):
        for name, metric in result.get(level, {}).items():
            say = words.say_auc if name == "auc" else words.say_percent
            print(f"  by {level:<8} {name:<18} {say(metric):<22} n = {metric['n']}")
    return 0


def _runs(options: argparse.Namespace) -> int:
    for run in list_runs(options.runs or get_runs_dir()):
        status, metrics = run.read_status(), run.read_metrics()
        worth = words.say_percent(words.get_main_level(metrics)[0]["accuracy"]) if metrics else ""
        epochs = f"{len(run.read_history())} epochs"
        print(f"{run.name:<32} {status['state']:<12} {epochs:<12} {worth}")
    return 0


class _show_progress:  # noqa: N801 - used like a function
    """A progress bar on a terminal, nothing otherwise."""

    def __init__(self, description: str) -> None:
        self._bar = tqdm(desc=description, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Progress:
        def show(done: int, total: int) -> None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

        return show

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m polyp_core", description="From a folder of images to a tested classifier."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="draw synthetic ultrasound images of polyps")
    demo.add_argument("out", type=Path, help="a folder that is not there yet, or is empty")
    demo.add_argument("--patients", type=int, default=60)
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(command=_demo)

    audit = commands.add_parser("audit", help="say whether images can be trusted")
    audit.add_argument("data", help="a folder of images, or a CSV manifest")
    audit.add_argument("--json", action="store_true", help="print everything as JSON")
    audit.add_argument("--write-split", type=Path, metavar="FILE", help="a clean split, as a CSV")
    audit.add_argument("--set", action="append", default=[], metavar="data.key=value")
    audit.set_defaults(command=_audit)

    train = commands.add_parser("train", help="train on a folder of images")
    train.add_argument("data", help="train/ and validation/, two class folders, or a CSV manifest")
    train.add_argument("--preset", default="compact", help=f"one of {', '.join(PRESETS)}")
    train.add_argument("--set", action="append", default=[], metavar="section.key=value")
    train.add_argument("--runs", type=Path, metavar="DIR", help="where runs are written")
    train.add_argument("--name", help="of the run")
    train.set_defaults(command=_train)

    predict = commands.add_parser("predict", help="classify images or folders of images")
    predict.add_argument("run", help="a run's folder or name, or 'demo'")
    predict.add_argument("path", type=Path, nargs="+")
    predict.add_argument("--csv", type=Path, metavar="FILE")
    predict.add_argument("--json", action="store_true")
    predict.set_defaults(command=_predict)

    evaluate = commands.add_parser("evaluate", help="test a run on a folder it has not seen")
    evaluate.add_argument("run")
    evaluate.add_argument("data")
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(command=_evaluate)

    runs = commands.add_parser("runs", help="list the runs")
    runs.add_argument("--runs", type=Path, metavar="DIR")
    runs.set_defaults(command=_runs)

    for name, command, help_text in (
        ("stop", _stop, "ask a run to stop"),
        ("resume", _resume, "go on with a stopped or interrupted run"),
    ):
        sub = commands.add_parser(name, help=help_text)
        sub.add_argument("run")
        sub.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
