"""The same work without a browser: `python -m polyp_core COMMAND …`.

No command imports TensorFlow here; those that need it start a process that does.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyp_core import (
    evaluation_commands,
    export_commands,
    import_commands,
    prediction_commands,
    report_commands,
    run_commands,
    study_commands,
    words,
)
from polyp_core.config import RunConfig
from polyp_core.dataset import read_index
from polyp_core.errors import DatasetError, PolypError
from polyp_core.run_commands import show_progress
from polyp_core.workspace import get_cache_dir

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
    with show_progress("Reading images") as progress:
        index = read_index(config, progress, cache_dir=get_cache_dir())
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
    prediction_commands.add_parsers(commands)
    evaluation_commands.add_parsers(commands)
    report_commands.add_parsers(commands)
    export_commands.add_parsers(commands)
    import_commands.add_parsers(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
