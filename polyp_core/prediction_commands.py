"""The command `predict`: files and whole folders are classified, in a memory that does not grow."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from polyp_core import words
from polyp_core.answers import guard_formula
from polyp_core.archives import is_left_out
from polyp_core.errors import ImageError
from polyp_core.layout import FORMATS, is_image_name
from polyp_core.prediction import Classifier, FileAnswer, classify_files, load_classifier
from polyp_core.run_commands import show_progress
from polyp_core.workspace import find_run

COLUMNS = ("path", "frame", "class", "probability", "sure", "familiar", "reason", "error")
_EXPLAINED = """\
A folder is searched at any depth. Of a DICOM film every frame is a picture, counted from 0.
A file that cannot be read becomes a row with the error, and the exit code is 1.

Columns of the CSV, one row a picture:
  path, frame   where it is from
  class         the answer; empty where there is none to be given
  probability   of the positive class, in 0 to 1
  sure          no: show it to a person; the probability lies where the model is to give no
                answer, or the picture is not familiar
  familiar      no: it is not like the training images, so its probability means nothing;
                unknown: this run kept nothing that could tell
  reason        what is unfamiliar about it
  error         why it could not be read
"""
_INTERRUPTED = 130  # what a shell takes for Ctrl-C
Write = Callable[[FileAnswer], None]


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `python -m polyp_core`."""
    predict = commands.add_parser(
        "predict",
        help="classify images or folders of images",
        epilog=_EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("run", help="a run's folder or name, or 'demo'")
    predict.add_argument("path", type=Path, nargs="+", help="images, or folders of them")
    predict.add_argument(
        "--csv", type=Path, metavar="FILE",
        help="write a table; until it is complete it is called FILE.part, which stays if the "
        "command is interrupted",
    )  # fmt: skip
    predict.add_argument(
        "--json", action="store_true",
        help="print everything as JSON, as it comes; 'complete' says whether nothing is missing",
    )  # fmt: skip
    predict.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> int:
    counts = dict.fromkeys(("classified", "unfamiliar", "failed"), 0)
    try:
        with ExitStack() as closing:
            classifier = load_classifier(find_run(options.run))
            paths = _list_images(options.path)
            # Now, so that a place that cannot be written is known before the work is done.
            table = closing.enter_context(_open_table(options.csv)) if options.csv else None
            writers = [table] if table is not None else []
            if options.json:
                writers.append(closing.enter_context(_open_json(classifier)))
            is_text = not writers
            if is_text:
                writers.append(lambda answer: print(say_answer(answer, classifier)))
            # On a terminal the lines themselves show how far it is.
            is_shown = is_text and sys.stdout.isatty()
            progress = None if is_shown else closing.enter_context(show_progress("Predicting"))
            for number, answers in enumerate(classify_files(classifier, paths), start=1):
                for answer in answers:
                    for write in writers:
                        write(answer)
                    kind = "unfamiliar" if answer.is_refused else "classified"
                    counts["failed" if answer.error else kind] += 1
                if progress is not None:
                    progress(number, len(paths))
    except KeyboardInterrupt:
        has_rows = options.csv and any(counts.values())
        kept = f" What was done stands in {options.csv}.part." if has_rows else ""
        print(f"Interrupted: {_say_counts(counts)} so far.{kept}", file=sys.stderr)
        return _INTERRUPTED
    if options.csv or len(paths) > 1:
        print(_say_counts(counts), file=sys.stderr)
    return int(counts["failed"] > 0)


def say_answer(answer: FileAnswer, classifier: Classifier) -> str:
    """One line for people, such as "a.png: calcified  (probability of calcified 0.912)"."""
    positive = classifier.class_names[1]
    name = str(answer.path) + (f", frame {answer.frame}" if answer.is_film else "")
    if answer.error:
        said = answer.error
    elif answer.verdict is not None and answer.is_refused:
        said = f"not like the training images: {'; '.join(answer.verdict.reasons)}"
        said += f"  (so its probability of {positive}, {answer.probability:.3f}, means nothing)"
    else:
        doubt = "" if answer.is_sure else "not sure, perhaps "
        said = f"{doubt}{answer.class_name}  (probability of {positive} {answer.probability:.3f})"
    return words.make_visible(f"{name}: {said}")


def tabulate_answer(answer: FileAnswer) -> dict[str, Any]:
    """An answer by the names of the columns; None where there is nothing to say."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"path": str(answer.path), "frame": answer.frame, "error": answer.error or None}
    if answer.error:
        return row
    row |= {"probability": answer.probability, "sure": answer.is_sure and not answer.is_refused}
    if answer.verdict is not None:
        row["familiar"] = not answer.verdict.is_stranger
        row["reason"] = "; ".join(answer.verdict.reasons) or None
    return row | {"class": None if answer.is_refused else answer.class_name}


@contextmanager
def _open_table(path: Path) -> Iterator[Write]:
    """Rows go to a file beside it, which takes its place once it is complete.

    What an interrupted command has left in that file stays until there is a row.
    """
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder, where a CSV file is to be")
    part, is_begun, is_old = path.with_name(f"{path.name}.part"), False, True
    try:
        # Line by line, so that all that was done is there whatever ends the process;
        # a name that is no text, which some systems allow, is written with backslashes.
        with part.open("a", 1, "utf-8", errors="backslashreplace", newline="") as file:
            writer, is_old = csv.DictWriter(file, COLUMNS), file.tell() > 0

            def write(answer: FileAnswer) -> None:
                nonlocal is_begun
                if not is_begun:
                    file.truncate(0)
                    writer.writeheader()
                    is_begun = True
                row = tabulate_answer(answer)
                yes_no = {True: "yes", False: "no", None: "" if answer.error else "unknown"}
                row |= {name: yes_no[row[name]] for name in ("sure", "familiar")}
                writer.writerow({name: guard_formula(value) for name, value in row.items()})

            yield write
        os.replace(part, path)
    finally:
        if not (is_begun or is_old):  # what was interrupted later is of use
            part.unlink(missing_ok=True)


@contextmanager
def _open_json(classifier: Classifier) -> Iterator[Write]:
    """Rows are printed as they come; an interrupted list is closed as well, and says so."""
    print(f'{{\n "positive_class": {json.dumps(classifier.class_names[1])},\n "predictions": [')
    separator, is_complete = "", False

    def write(answer: FileAnswer) -> None:
        nonlocal separator
        sys.stdout.write(separator + "  " + json.dumps(tabulate_answer(answer)))
        separator = ",\n"

    try:
        yield write
        is_complete = True
    finally:
        print(f'\n ],\n "complete": {json.dumps(is_complete)}\n}}')


def _list_images(paths: list[Path]) -> list[Path]:
    """Files as given; of folders, every image in them, at any depth."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(_walk(path))
        if not inside:
            raise ImageError(
                f"The folder '{path}' holds no image. Expected {FORMATS}. Check the path."
            )
        found += inside
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Images below a folder, and folders that cannot be opened, which become rows with an error."""
    closed: list[Path] = []
    for root, folders, names in os.walk(
        folder, onerror=lambda error: closed.append(Path(error.filename))
    ):
        folders[:] = [name for name in folders if not is_left_out(name)]
        for name in names:
            if not is_left_out(name) and is_image_name(os.path.join(root, name)):
                yield Path(root, name)
    yield from closed


def _say_counts(counts: dict[str, int]) -> str:
    said = f"{words.say_number(counts['classified'], 'picture')} classified"
    if counts["unfamiliar"]:
        said += f", {counts['unfamiliar']} not like the training images"
    if counts["failed"]:
        said += f", {counts['failed']} not readable"
    return said
