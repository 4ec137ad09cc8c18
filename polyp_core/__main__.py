"""The same work without a browser: `python -m polyp_core COMMAND …`.

No command imports TensorFlow here; `train` and `resume` start a worker that does.
"""

import argparse
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyp_core import evaluation_commands, run_commands, study_commands, words
from polyp_core.config import DataConfig, RunConfig
from polyp_core.dataset import Index, read_index
from polyp_core.errors import DatasetError, ImageError, PolypError
from polyp_core.importing import is_left_out
from polyp_core.layout import is_image_name
from polyp_core.run_commands import show_progress
from polyp_core.workspace import find_run, get_cache_dir

_SHOWN_FILES = 10
_PREDICTED = ("path", "class", "probability", "sure", "error")


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

    with show_progress("Drawing") as progress:
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
    with show_progress("Comparing images") as progress:
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
    with show_progress("Reading images") as progress:
        return read_index(config, progress, cache_dir=get_cache_dir())


def _predict(options: argparse.Namespace) -> int:
    from polyp_core.prediction import load_classifier

    if options.csv:
        options.csv.touch()  # a place that cannot be written is known before the work is done
    run = find_run(options.run)
    classifier = load_classifier(run)
    positive = classifier.class_names[1]
    rows: list[dict[str, Any]] = []
    with show_progress("Predicting") as progress:
        paths = _list_images(options.path)
        for number, path in enumerate(paths, start=1):
            row: dict[str, Any] = dict.fromkeys(_PREDICTED) | {"path": str(path)}
            try:
                prediction = classifier.classify(path)
                row |= {"class": prediction.class_name, "probability": prediction.probability}
                row |= {"sure": prediction.is_sure, "error": None}
            except ImageError as error:
                row["error"] = str(error)
            rows.append(row)
            progress(number, len(paths))
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _PREDICTED)
            writer.writeheader()
            writer.writerows(rows)
    if options.json:
        print(json.dumps({"positive_class": positive, "predictions": rows}, indent=1))
    elif not options.csv:
        for row in rows:
            doubt = "" if row["sure"] or row["error"] else "not sure, perhaps "
            said = row["error"] or f"{doubt}{row['class']}  (probability of {positive} "
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

    run_commands.add_parsers(commands)
    study_commands.add_parsers(commands)

    predict = commands.add_parser("predict", help="classify images or folders of images")
    predict.add_argument("run", help="a run's folder or name, or 'demo'")
    predict.add_argument("path", type=Path, nargs="+")
    predict.add_argument("--csv", type=Path, metavar="FILE")
    predict.add_argument("--json", action="store_true")
    predict.set_defaults(command=_predict)

    evaluation_commands.add_parsers(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
