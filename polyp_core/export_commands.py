"""The command `export`: a model leaves in another form, or with all that belongs to it."""

import argparse
import sys
import textwrap
from pathlib import Path

from polyp_core.access import check_writable
from polyp_core.errors import ConfigError
from polyp_core.exports import (
    FORMATS,
    Export,
    check_free,
    export_all,
    export_run,
    say_obstacle,
    write_bundle,
    write_new,
    write_preprocessing,
)
from polyp_core.run_commands import show_stage
from polyp_core.runs import Run
from polyp_core.words import make_visible, say_number
from polyp_core.workspace import find_run

BUNDLE, ALL = "bundle", "all"
_BESIDE = ".preprocessing.json"


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `python -m polyp_core`."""
    export = commands.add_parser(
        "export",
        help="write a model in another form, or a bundle for others",
        epilog=_explain(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("run", help="a run's folder or name, or 'demo'")
    export.add_argument("--format", required=True, choices=[*FORMATS, BUNDLE, ALL])
    export.add_argument(
        "--out", type=Path, metavar="FILE",
        help="where; by default in this folder, under the run's name (with 'all' a folder)",
    )  # fmt: skip
    export.add_argument(
        "--with", action="append", default=[], dest="further", choices=list(FORMATS),
        help="one more format in a bundle, besides litert; may be given several times",
    )  # fmt: skip
    export.set_defaults(command=_export)


def _explain() -> str:
    summaries = {form.name: form.summary for form in FORMATS.values()} | {
        BUNDLE: "For whoever has not this app: a zip with the model, a short predict.py, the model "
        "card, the report and the run without names.",
        ALL: "Every format that this run can take, and a table of the differences.",
    }
    lines = [
        textwrap.fill(text, 88, initial_indent=f"  {name:12} ", subsequent_indent=" " * 15)
        for name, text in summaries.items()
    ]
    return "\n".join(
        [
            "Formats:", *lines, "",
            "Each file is opened again in a fresh process and compared with the run's own model.",
            f"What a picture needs before the model lies beside it (NAME{_BESIDE})",
            "and inside it.",
        ]
    )  # fmt: skip


def _export(options: argparse.Namespace) -> int:
    check_writable("Exporting from the command line")
    run = find_run(options.run)
    if options.further and options.format != BUNDLE:
        raise ConfigError(
            "--with says what else goes into a bundle. Expected --format bundle with it. Leave it "
            f"out, or choose that format. Received: --format {options.format}"
        )
    if options.format == BUNDLE:
        return _write_bundle(run, options.out or Path(f"{run.name}-bundle.zip"), options.further)
    if options.format == ALL:
        return _export_all(run, options.out or Path(f"{run.name}-export"))
    form = FORMATS[options.format]
    ending = f"-{form.name}{form.suffix}" if form.suffix == ".zip" else form.suffix
    target = options.out or Path(f"{run.name}{ending}")
    beside = target.with_name(target.name.removesuffix(form.suffix) + _BESIDE)
    rules = write_preprocessing(run)
    is_there = _is_same(beside, rules)  # of another format, with the same rules
    if not is_there:
        check_free(beside)
    made = export_run(run, form.name, target, show_stage)
    if not is_there:
        write_new(beside, rules)
    _print_table([made])
    print(f"{target}\n{beside}")
    return 0


def _is_same(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False


def _write_bundle(run: Run, target: Path, further: list[str]) -> int:
    bundle = write_bundle(run, target, show_stage, formats=further)
    _print_table(bundle.exports)
    print(f"{target} ({bundle.num_bytes / 1e6:.1f} MB)")
    return 0


def _export_all(run: Run, folder: Path) -> int:
    exports = export_all(run, folder, show_stage)
    write_new(folder / "preprocessing.json", write_preprocessing(run))
    _print_table(exports)
    for form in FORMATS.values():
        if obstacle := say_obstacle(run, form):
            print(make_visible(f"{form.title} is left out: {obstacle}"), file=sys.stderr)
    print(folder)
    return 0


def _print_table(exports: "list[Export] | tuple[Export, ...]") -> None:
    """A line a file: its name, the largest difference in probability, on what, with what."""
    width = max(len(export.path.name) for export in exports)
    for export in exports:
        images = say_number(export.num_compared, "image")
        print(
            f"{make_visible(export.path.name):{width}}  {export.largest_difference:7.1g} off at "
            f"most  {images:>9}  {export.runtime}"
        )
    print(f"Compared on {exports[0].compared_on}.")
