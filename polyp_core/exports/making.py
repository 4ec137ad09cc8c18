"""A run's model becomes a file in another form, which is proved before it is given away."""

import hashlib
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polyp_core.access import check_writable
from polyp_core.errors import ConfigError, ModelError
from polyp_core.exports.child import run_child
from polyp_core.exports.formats import (
    FORMATS,
    Format,
    check_possible,
    find_format,
    is_heavy,
    say_obstacle,
)
from polyp_core.exports.images import Sample, choose_sample, find_logits
from polyp_core.exports.preprocessing import attach_text, write_preprocessing
from polyp_core.files import write_atomically
from polyp_core.prediction import load_classifier
from polyp_core.runs import Run
from polyp_core.words import say_number

MAX_DIFFERENCE = 1e-4
MAX_LOGIT_DIFFERENCE = 0.05  # where probabilities are near 0 or 1, which hides differences
SAMPLE = "images.npy"
_LOOK_EVERY_S = 0.5  # whether it is an export's turn
_turn = threading.Lock()
# What is re-opened in one fresh process, one runtime each; the weights last, since building their
# network brings in code of this app that the others must do without.
_RUNTIMES = (("litert",), ("onnx",), ("keras", "saved-model", "weights"))
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file that was written, and how it was proved.

    Attributes:
        path: Of the file.
        format: Its name in FORMATS.
        sha256: Of the file.
        largest_difference: In probability, from the run's own model.
        num_compared: On how many images.
        compared_on: What images.
        runtime: What it was re-opened with, such as "LiteRT 2.3.0".
    """

    path: Path
    format: str
    sha256: str
    largest_difference: float
    num_compared: int
    compared_on: str
    runtime: str


def export_run(
    run: Run, format_name: str, target: Path, on_progress: Progress | None = None
) -> Export:
    """Write a run's model in a format, re-opened in a fresh process and compared.

    The preprocessing is inside the file. All but LiteRT start TensorFlow: some 15 s.

    Args:
        run: A finished one.
        format_name: A key of FORMATS.
        target: A file that is not there yet, with the suffix of the format.
        on_progress: Called with what is being done; may raise, to cancel.

    Raises:
        ConfigError: If there is no such format, or the file cannot have that name or is there.
        ModelError: If the run has no model for it, a package is missing, or the file disagrees
            with the run's own model by more than 1e-4 in probability, or 0.05 in logit. Then there
            is no file.
        AccessError: On a shared demo, but for LiteRT.
    """
    form = find_format(format_name)
    check_target(target, form.suffix)
    with tempfile.TemporaryDirectory(prefix="polyp-export-", ignore_cleanup_errors=True) as text:
        (made,) = make_exports(run, [format_name], Path(text), on_progress or (lambda _: None))
        move_into_place(made.path, target)
    return replace(made, path=target)


def export_all(run: Run, folder: Path, on_progress: Progress | None = None) -> list[Export]:
    """Write a run's model in every format that it can take, as model.keras and so on.

    Args:
        run: A finished one.
        folder: That is not there yet, or is empty.
        on_progress: Called with what is being done; may raise, to cancel.

    Raises:
        ConfigError, ModelError, AccessError: As `export_run`.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(
            f"There is already something in '{folder}'. Expected a new or an empty folder: nothing "
            "is overwritten. Choose another one."
        )
    names = [form.name for form in FORMATS.values() if not say_obstacle(run, form)]
    with tempfile.TemporaryDirectory(prefix="polyp-export-", ignore_cleanup_errors=True) as text:
        exports = make_exports(run, names, Path(text), on_progress or (lambda _: None))
        targets = [folder / export.path.name for export in exports]
        for made, target in zip(exports, targets, strict=True):
            move_into_place(made.path, target)
    return [replace(made, path=path) for made, path in zip(exports, targets, strict=True)]


def make_exports(run: Run, names: Sequence[str], staging: Path, say: Progress) -> list[Export]:
    """Write and prove several formats in a folder, as model.keras, model.onnx and so on.

    Args:
        run: A finished one.
        names: Keys of FORMATS, each once.
        staging: A folder for the files.
        say: Called with what is being done.

    Raises:
        ConfigError, ModelError, AccessError: As `export_run`.
    """
    forms = [find_format(name) for name in names]
    for form in forms:
        if is_heavy(form):
            check_writable(f"Writing a model as {form.title}")
        check_possible(run, form)
    say("Choosing images to compare on")
    sample = choose_sample(run, load_classifier(run))
    preprocessing = write_preprocessing(run)
    paths = {form.name: staging / form.file_name for form in forms}
    if "litert" in paths:
        content = run.path("serving.tflite").read_bytes()
        paths["litert"].write_bytes(attach_text(content, preprocessing))
    heavy = {form.name: paths[form.name].name for form in forms if is_heavy(form)}
    if not heavy:
        return _prove(forms, paths, sample, staging, say)
    with _wait_for_turn(say):
        say("Starting TensorFlow, some seconds")
        plan = {"run": str(run.directory.resolve()), "files": heavy, "text": preprocessing}
        run_child("polyp_core.export_worker", staging, plan, say)
        return _prove(forms, paths, sample, staging, say)


def check_target(target: Path, suffix: str) -> None:
    """Refuse a place where nothing can be written.

    Raises:
        ConfigError: If the name does not end in the suffix, or is taken.
    """
    if not target.name.endswith(suffix) or target.name == suffix:
        raise ConfigError(
            f"The file cannot be called '{target.name}'. Expected a name that ends in {suffix}, by "
            "which other programs know what it is. Choose such a name."
        )
    check_free(target)


def check_free(target: Path) -> None:
    """Refuse a place where there is something.

    Raises:
        ConfigError: If there is.
    """
    if os.path.lexists(target):
        raise ConfigError(
            f"There is already something at '{target}'. Expected a new name: nothing is "
            "overwritten. Choose another one, or move the old file away."
        )


def move_into_place(made: Path, target: Path) -> None:
    """Copy a file to where it is wanted, whole or not at all.

    Raises:
        ConfigError: If somebody else was quicker, or nothing can be written there.
    """
    write_new(target, lambda path: _copy(made, path))


def write_new(target: Path, content: str | Callable[[Path], None]) -> None:
    """Write a file that is not there yet, whole or not at all; see `write_atomically`.

    Raises:
        ConfigError: If somebody else was quicker, or nothing can be written there.
    """
    whole = target.with_name(f".new-{uuid.uuid4().hex}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(whole, content)
        _take_place(whole, target)
    except OSError as error:
        raise ConfigError(
            f"'{target}' cannot be written ({error.strerror or error}). Expected a folder that may "
            "be written to, with room. Choose another, or make room."
        ) from error


def hash_file(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _wait_for_turn(say: Progress) -> Iterator[None]:
    """One visitor at a time starts TensorFlow, which takes the processor and some memory."""
    while not _turn.acquire(timeout=_LOOK_EVERY_S):
        say("Waiting for another export to end")
    try:
        yield
    finally:
        _turn.release()


def _take_place(whole: Path, target: Path) -> None:
    """Give a file its name, which no other file loses by it."""
    try:
        with suppress(OSError):  # if it is taken, or a file can have one name alone, as on FAT
            os.link(whole, target)
            return
        check_free(target)
        os.replace(whole, target)
    finally:
        whole.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _prove(
    forms: Sequence[Format], paths: dict[str, Path], sample: Sample, staging: Path, say: Progress
) -> list[Export]:
    """Re-open each file in a process that has not written it, and compare.

    Raises:
        ModelError: If one disagrees.
    """
    np.save(staging / SAMPLE, sample.pixels)
    said: dict[str, dict[str, object]] = {}
    for names in _RUNTIMES:
        files = [[name, paths[name].name] for name in names if name in paths]
        if files:
            titles = ", ".join(FORMATS[name].title for name, _ in files)
            say(f"Opening it again in a fresh process: {titles}")
            said |= run_child("polyp_core.export_check", staging, {"files": files}, say)
    return [_compare(form, paths[form.name], sample, said[form.name]) for form in forms]


def _compare(form: Format, path: Path, sample: Sample, said: dict[str, object]) -> Export:
    probabilities = np.asarray(said["probabilities"], np.float64)
    difference = logit_difference = np.inf
    if probabilities.shape == sample.probabilities.shape:
        difference = _find_gap(probabilities, sample.probabilities)
        logit_difference = _find_gap(find_logits(probabilities), find_logits(sample.probabilities))
    num_images = len(sample.pixels)
    if not (difference <= MAX_DIFFERENCE and logit_difference <= MAX_LOGIT_DIFFERENCE):
        raise ModelError(
            f"The model as {form.title} disagrees with the run's own by {difference:.2g} in "
            f"probability and {logit_difference:.2g} in logit, on "
            f"{say_number(num_images, 'image')} ({sample.origin}), so it was not kept. Expected at "
            f"most {MAX_DIFFERENCE:g} and {MAX_LOGIT_DIFFERENCE:g}. Choose another format; if it "
            "stays, this is a bug of the conversion."
        )
    return Export(
        path=path,
        format=form.name,
        sha256=hash_file(path),
        largest_difference=difference,
        num_compared=num_images,
        compared_on=sample.origin,
        runtime=str(said["runtime"]),
    )


def _find_gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())
