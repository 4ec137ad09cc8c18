"""The command that brings in a run from another computer: import."""

import argparse
from pathlib import Path

from polyp_core.model_import import import_run, suggest_name
from polyp_core.run_commands import show_stage
from polyp_core.workspace import get_runs_dir


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `python -m polyp_core`."""
    bring = commands.add_parser("import", help="bring in a run from another computer")
    bring.add_argument("file", help="a run's folder, or a zip of it")
    bring.add_argument("--name", help="of the new run; by default that of the file")
    bring.add_argument("--runs", type=Path, help="where runs lie; by default in the workspace")
    bring.set_defaults(command=_import)


def _import(options: argparse.Namespace) -> int:
    runs_dir = options.runs or get_runs_dir()
    name = options.name or suggest_name(options.file, runs_dir)
    run = import_run(Path(options.file), name, runs_dir, show_stage)
    print(f"'{run.name}' is here and can predict: {run.directory}")
    return 0
