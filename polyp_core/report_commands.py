"""The commands that write a run or a study down for others: report, card, compare."""

import argparse
from collections.abc import Callable
from pathlib import Path

from polyp_core.errors import RunError
from polyp_core.files import write_atomically
from polyp_core.workspace import find_run, find_study


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to those of `python -m polyp_core`."""
    for name, what, help_text in (
        ("report", "run", "write a report on a run: one page that opens offline and prints"),
        ("card", "run", "write the model card of a run, in Markdown"),
        ("compare", "study", "write a page that compares the members of a study"),
    ):
        sub = commands.add_parser(name, help=help_text)
        sub.add_argument(what, help=f"a {what}'s folder or name" + ", or 'demo'" * (what == "run"))
        sub.add_argument("--out", type=Path, metavar="FILE", help="by default in this folder")
        sub.set_defaults(command=_COMMANDS[name])


def _report(options: argparse.Namespace) -> int:
    from polyp_core.report import write_report

    run = find_run(options.run)
    return _write(options.out or Path(f"{run.name}-report.html"), lambda: write_report(run))


def _card(options: argparse.Namespace) -> int:
    from polyp_core.report import write_model_card

    run = find_run(options.run)
    return _write(options.out or Path(f"{run.name}-card.md"), lambda: write_model_card(run))


def _compare(options: argparse.Namespace) -> int:
    from polyp_core.report import write_comparison

    study = find_study(options.study)
    target = options.out or Path(f"{study.name}-comparison.html")
    return _write(target, lambda: write_comparison(study))


def _write(target: Path, write: Callable[[], str]) -> int:
    """Write a text where nothing is yet, and say where it is."""
    if target.exists():
        raise RunError(
            f"'{target}' is there already. Expected a name that is not taken, so that nothing is "
            "lost. Choose another with --out, or move that file away."
        )
    write_atomically(target, write())
    print(target)
    return 0


_COMMANDS = {"report": _report, "card": _card, "compare": _compare}
