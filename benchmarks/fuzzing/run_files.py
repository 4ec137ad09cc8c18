"""A small run folder, any one of whose files is replaced by an input; everything that reads it."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fuzzing.mutation import mutate_bytes, mutate_json, mutate_table
from polyp_core.checklists.answers import read_answers
from polyp_core.config import RunConfig
from polyp_core.decision import Band, Decision, Goal, read_decision, read_worth, write_decision
from polyp_core.errors import PolypError, RunError
from polyp_core.familiarity import Verdict, read_familiarity
from polyp_core.foreign_files import TEXT_FILES, translate_files
from polyp_core.history import count_unbroken
from polyp_core.images import Picture, fit_image
from polyp_core.origins import read_origin
from polyp_core.prediction import load_classifier
from polyp_core.reviews import change_review, read_reviews, tabulate_reviews
from polyp_core.runs import Run, open_run
from polyp_core.summaries import list_summaries, summarise_run
from polyp_core.workspace import DEMO_RUN

_NUM_ROWS = 12
_ANSWERS = {"answers": {"claim": {"2": "Yes.", "44": "No."}, "tripod": {"18a": "Nobody."}}}
_TABLES = ("index.csv", "predictions.csv", "history.csv")
_WHOLE = ("config.json", "environment.json", "metrics.json", "serving.json", "status.json")


def make_run(directory: Path) -> Run:
    """A finished run with every file that is read, each of a few rows; its model is the demo's."""
    directory.mkdir(parents=True)
    run = Run(directory)
    for name in (*_WHOLE, "familiarity.json", "familiarity.npy", "serving.tflite"):
        if DEMO_RUN.path(name).is_file():
            shutil.copy(DEMO_RUN.path(name), run.path(name))
    for name in _TABLES:
        run.path(name).write_bytes(_cut_table(name))
    run.path("features.npy").write_bytes(_pack_features())
    run.path("rates.csv").write_text("rate,loss,smooth\n0.001,0.7,0.7\n0.01,0.6,0.65\n")
    run.write_json("milestones.json", {"10": run.read_metrics() or {}})
    run.write_json("checks.json", {"checks": []})
    run.write_notes("A title", "A note")
    run.write_json("shared.json", _make_origin())
    run.write_json("checklists.json", _ANSWERS)
    write_decision(run, Decision(Goal("sensitivity", 0.95), 0.4, Band(0.3, 0.6), 0.05, "patient"))
    change_review(directory, ("calcified/patient-002_1.png", 0), is_label_wrong=True, note="why")
    return run


def make_run_seeds() -> list[bytes]:
    """The file's name, a line end, its content: of each file of a run."""
    seeds = [name.encode() + b"\n" + DEMO_RUN.path(name).read_bytes() for name in _WHOLE]
    seeds += [name.encode() + b"\n" + _cut_table(name) for name in _TABLES]
    kept = DEMO_RUN.path("familiarity.json")  # which a model of few images does not have
    seeds += [b"familiarity.json\n" + kept.read_bytes()] if kept.is_file() else []
    review = {"path": "calcified/patient-002_1.png", "frame": 0, "is_label_wrong": True, "note": ""}
    decision = Decision(Goal("cost", 5.0), 0.4, Band(0.3, 0.6), 0.05, "patient")
    model = DEMO_RUN.read_serving()["sha256"]
    made: dict[str, Any] = {
        "milestones.json": {"10": DEMO_RUN.read_metrics()},
        "notes.json": {"title": "A title", "note": "A note"},
        "checks.json": {"checks": []},
        "decision.json": {"model": model, **decision.to_dict()},
        "reviews.json": {"reviews": [review, review]},
        "shared.json": _make_origin(),
        "checklists.json": _ANSWERS,
    }
    seeds += [f"{name}\n{json.dumps(values)}".encode() for name, values in made.items()]
    seeds.append(b"rates.csv\nrate,loss,smooth\n0.001,0.7,0.7\n0.01,0.6,0.65\n")
    seeds.append(b"features.npy\n" + _pack_features())
    return seeds


def _make_origin() -> dict[str, Any]:
    """What is told of a run that was given away: here the ensemble of a study."""
    facts = dict.fromkeys(("synthetic", "patients_known", "own_backbone_weights"), True)
    plan = {"num_folds": 5, "seeds": [0, 1], "shares": [0.5, 1.0]}
    study = {"name": "A study", "plan": plan, "caution": "Too good.", "member": "ensemble"}
    return {**facts, "demo": False, "study": study}


def _cut_table(name: str) -> bytes:
    """The demo run's table with a few rows, those of the index being those of the predictions."""
    head, *lines = DEMO_RUN.path(name).read_bytes().splitlines(keepends=True)
    if name == "index.csv":
        wanted = {line.split(b",")[0] for line in _cut_table("predictions.csv").splitlines()[1:]}
        lines = [line for line in lines if line.split(b",")[0] in wanted]
    return b"".join([head, *lines[:_NUM_ROWS]])


def _pack_features() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((_NUM_ROWS, 8), np.float32))
    return file.getvalue()


def mutate_run(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """The content changed as its kind of file allows."""
    name, _, content = data.partition(b"\n")
    if rng.random() < 0.02:
        name = rng.choice(others).partition(b"\n")[0]
    mutate = {b".json": mutate_json, b".csv": mutate_table}.get(
        name[name.rfind(b".") :], mutate_bytes
    )
    contents = [other.partition(b"\n")[2] for other in rng.sample(others, min(len(others), 2))]
    return name + b"\n" + mutate(content, rng, contents)


def check_run_folder(scratch: Path) -> Callable[[bytes], None]:
    """What reads a run folder in which an input has replaced one file."""
    run = make_run(scratch / "runs" / "fuzzed")
    names = {seed.partition(b"\n")[0].decode() for seed in make_run_seeds()}

    def check(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        path = run.path(name.decode("ascii", "replace"))
        if path.name not in names or path.parent != run.directory:
            raise RunError(f"There is no file {name!r} in a run.")
        kept = path.read_bytes()
        path.write_bytes(content)
        try:
            _read_everything(run, path.name)
        finally:
            path.write_bytes(kept)

    return check


def open_bundle(scratch: Path) -> Callable[[bytes], None]:
    """What takes over the files of a run from another machine, of which an input is one."""
    seeds = [seed.partition(b"\n") for seed in make_run_seeds()]
    whole = {name.decode(): content for name, _, content in seeds if name.decode() in TEXT_FILES}

    def check(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        given = {name.decode(): content} if name.decode("ascii", "replace") in TEXT_FILES else {}
        foreign = translate_files(whole | given)
        written = json.loads(foreign.texts["config.json"])
        assert RunConfig.from_dict(written["settings"]) == foreign.config
        # All of it can be written to files, which half a character cannot.
        plan = [foreign.serving, foreign.decision, foreign.familiarity, foreign.milestones]
        shown = [foreign.title, foreign.note, *foreign.class_names]
        json.dumps([plan, shown], ensure_ascii=False).encode()
        # What was written is what would be taken over if it came from elsewhere again.
        texts = {name: text.encode() for name, text in foreign.texts.items()}
        again = translate_files(whole | texts).texts
        for same in {"index.csv", "shared.json", "checklists.json"} & {*texts}:
            assert again[same] == foreign.texts[same], same

    return check


def _read_everything(run: Run, name: str) -> None:
    """Ask everything that reads a file; what one refuses, the next is asked all the same."""
    refusals = []
    for read in _list_readers(run)[name]:
        try:
            read()
        except PolypError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _list_readers(run: Run) -> dict[str, list[Callable[[], object]]]:
    """By file, everything that reads it."""

    def tabulate() -> object:
        return tabulate_reviews(read_predictions(run), read_reviews(run.directory))

    def summarise() -> object:
        return list_summaries(run.directory.parent), summarise_run(run)

    def trace() -> object:
        study = read_origin(run).study
        return study and (study.num_members, study.has_folds, study.place)

    def decide() -> object:
        return read_decision(run).goal.say(), read_worth(run)

    return {
        "config.json": [
            run.read_config, run.read_task, run.read_class_names, run.read_index, summarise,
            lambda: open_run(run.directory),
        ],
        "status.json": [run.read_status, summarise],
        "serving.json": [run.read_serving, decide, lambda: load_classifier(run)],
        "metrics.json": [run.read_metrics, decide, summarise],
        "milestones.json": [run.read_milestones],
        "environment.json": [run.read_environment],
        "checks.json": [run.read_checks],
        "notes.json": [run.read_notes, summarise],
        "decision.json": [decide],
        "shared.json": [trace],
        "checklists.json": [lambda: read_answers(run.directory, {("claim", "2")})],
        "reviews.json": [tabulate],
        "history.csv": [lambda: count_unbroken(run.read_history()), summarise],
        "predictions.csv": [tabulate, decide],
        "index.csv": [run.read_index],
        "rates.csv": [run.read_rates],
        "features.npy": [run.read_features],
        "familiarity.json": [lambda: judge_noise(run)],
    }  # fmt: skip


def judge_noise(run: Run) -> Verdict | None:
    """Ask what a run has kept of its training images, if it can be read."""
    familiarity, model = read_familiarity(run), run.read_config().model
    if familiarity is None:
        return None
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 1), dtype=np.uint8)
    seen = fit_image(pixels, model.image_size_px, model.channels)
    features = np.zeros(_count_features(), np.float32)
    return familiarity.judge(Picture(pixels=pixels), (0, 0, 50, 40), seen, features)


@cache
def _count_features() -> int:
    features = DEMO_RUN.read_features()
    assert features is not None
    return int(features.shape[1])


def read_predictions(run: Run) -> pd.DataFrame:
    """As the results page reads them: what they document to raise becomes a sentence there."""
    try:
        return run.read_predictions()
    except (OSError, ValueError) as error:
        raise RunError(f"The predictions cannot be read ({error}).") from error
