"""The command `study`: repeats of a training, in folds and seeds, and what they say together."""

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from polyp_core import words
from polyp_core.audit import find_pairs
from polyp_core.config.settings import parse_value
from polyp_core.errors import ConfigError, RunError
from polyp_core.learning_curve import Learning, read_learning, say_learning_curve
from polyp_core.presets import PRESETS, get_preset
from polyp_core.recipe import find_facts, fit_preset
from polyp_core.run_commands import read_and_list, show_progress
from polyp_core.runs import FINAL_STATES
from polyp_core.study import METRICS, Study
from polyp_core.study_jobs import check_ray, resume_study, start_study, stop_study
from polyp_core.workspace import find_study, get_cache_dir, get_studies_dir

_LOOK_EVERY_S = 0.3


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `python -m polyp_core`."""
    study = commands.add_parser("study", help="train in folds and seeds, and sum up")
    study.add_argument("data", nargs="?", help="as for train; test images stay test images")
    study.add_argument("--folds", type=int, default=5, help="1 keeps the data's own split")
    study.add_argument("--seeds", type=int, default=1, help="how often every fold is trained")
    study.add_argument(
        "--shares", default="100", metavar="25,50,75,100",
        help="percents of the training images, each in every fold and seed: a learning curve",
    )  # fmt: skip
    study.add_argument("--preset", default="compact", help=f"one of {', '.join(PRESETS)}")
    study.add_argument("--set", action="append", default=[], metavar="section.key=value")
    study.add_argument("--studies", type=Path, metavar="DIR", help="where studies are written")
    study.add_argument("--name", help="of the study")
    study.add_argument("--workers", type=int, metavar="N", help="members trained at once (1)")
    where = study.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="ADDRESS", help="train on a Ray cluster, such as 'auto'")
    where.add_argument(
        "--local", action="store_true", help="train on this computer; a study on Ray comes back"
    )
    study.add_argument("--cpus-per-member", type=float, default=2.0, metavar="N", help="with --ray")
    study.add_argument("--gpus-per-member", type=float, default=0.0, metavar="N", help="with --ray")
    study.add_argument("--resume", metavar="STUDY", help="go on with one, by folder or name")
    study.add_argument(
        "--accept-changes", action="store_true", help="with --resume: also with other versions"
    )
    study.add_argument("--json", action="store_true", help="print the numbers as JSON")
    study.set_defaults(command=_study)


def write_table(study: Study) -> str:
    """Members, mean ± sd, pooled numbers and the majority baseline, as a Markdown table."""
    lines = [
        "| | state | epochs | accuracy | sensitivity | specificity | AUC | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in study.read_members().to_dict("records"):
        cells = [row["name"], row["state"], str(row["epochs"]), *_say_row(row)]
        lines.append(f"| {' | '.join(cells)} |")
    metrics = study.read_metrics()
    if metrics is None:
        return "\n".join(lines)
    level = words.get_main_level(metrics)[1][:-1]  # "patient" or "image"
    spread = metrics["members"].get(level, metrics["members"]["image"])
    said = [_say_spread(spread[name]) for name in ("accuracy", "sensitivity", "specificity")]
    auc = _say_spread(spread["auc"], is_percent=False)
    k = spread["accuracy"]["k"]
    lines.append(
        f"| mean ± sd | of {words.say_number(k, 'member')} | | {' | '.join(said)} | {auc} | |"
    )
    for where, values in (("pooled", metrics), ("test", metrics.get("test", {}))):
        for unit in ("patient", "image"):
            if unit in values:
                row = _flatten(values[unit])
                lines.append(f"| {where}, by {unit} | | | {' | '.join(_say_row(row))} |")
    majority = metrics[level]["majority_accuracy"]
    lines.append(
        f"| always the more frequent class | | | {words.say_percent(majority)} | | | 0.50 | "
        f"{majority['n']} |"
    )
    return "\n".join(lines)


def write_curve(learning: Learning) -> str:
    """The learning curve as a Markdown table, and what it says."""
    lines = [
        "| training images | of | patients | accuracy | AUC | n |",
        "|---|---|---|---|---|---|",
    ]
    for row in learning.curve.to_dict("records"):
        patients = "" if pd.isna(row["num_patients"]) else f"{row['num_patients']:.0f}"
        accuracy = words.say_percent(_take(row, "accuracy"))
        auc = words.say_auc(_take(row, "auc"))
        share, n = f"{round(100 * row['share'])} %", f"{row['n']} {row['unit']}"
        cells = [f"{row['num_training']:.0f}", share, patients, accuracy, auc, n]
        lines.append(f"| {' | '.join(cells)} |")
    said = [say_learning_curve(learning.curve, outlook) for outlook in learning.outlooks]
    return "\n".join([*lines, "", *said])


def _study(options: argparse.Namespace) -> int:
    started_at = time.monotonic()
    if (options.resume is None) == (options.data is None):
        raise ConfigError(
            "What is to be studied is not clear. Expected either images or --resume STUDY. Give "
            f"one of them. Received: data={options.data!r}, resume={options.resume!r}"
        )
    study = _start(options) if options.resume is None else _resume(options)
    print(f"{study.directory}", file=sys.stderr)
    _follow(study)
    status, metrics = study.read_status(), study.read_metrics()
    learning = read_learning(study)
    if options.json:
        members = json.loads(study.read_members().to_json(orient="records"))
        values = {"status": status, "members": members, "metrics": metrics}
        if learning is not None:
            values["learning_curve"] = json.loads(learning.curve.to_json(orient="records"))
            values["outlook"] = [asdict(outlook) for outlook in learning.outlooks]
        print(json.dumps(values, indent=1))
    else:
        print(f"\n{write_table(study)}\n")
        if metrics is not None:
            print(f"Pooled: {words.say_worth(*words.get_main_level(metrics))}.")
            print(metrics["caution"], end="\n" * bool(metrics["caution"]))
        if learning is not None:
            print(f"\n{write_curve(learning)}\n")
        print(f"Wall time: {time.monotonic() - started_at:.0f} s")
    if status["state"] != "finished" or status["message"] != "Finished":
        print(f"The study is {status['state']}: {status['message']}", file=sys.stderr)
    if not options.json:
        print(study.directory)
    return 0 if status["state"] == "finished" else 1


def _start(options: argparse.Namespace) -> Study:
    check_ray(options.ray)  # before the images are read
    shares = [percent / 100 for percent in parse_value(options.shares, tuple[int, ...], "--shares")]
    config = get_preset(options.preset).with_settings(options.set)
    config = replace(config, data=replace(config.data, folder=options.data))
    index = read_and_list(config.data)
    with show_progress("Comparing images") as progress:
        pairs = find_pairs(index, get_cache_dir(), progress)
    fitted = fit_preset(options.preset, find_facts(index)).with_settings(options.set)
    return start_study(
        replace(fitted, data=config.data),
        index,
        options.studies or get_studies_dir(),
        num_folds=options.folds,
        num_seeds=options.seeds,
        shares=shares,
        pairs=pairs,
        name=options.name,
        num_workers=options.workers or 1,
        ray_address=options.ray,
        cpus_per_member=options.cpus_per_member,
        gpus_per_member=options.gpus_per_member,
    )


def _resume(options: argparse.Namespace) -> Study:
    study = find_study(options.resume, options.studies)
    resume_study(
        study, options.workers, options.ray, is_local=options.local,
        accept_changes=options.accept_changes,
    )  # fmt: skip
    return study


def _follow(study: Study) -> None:
    """Print a line for every member that ends, until the study does; Ctrl-C asks it to stop."""
    waiting = [member for member in study.members if member.read_state() != "finished"]
    asked_at = time.time()  # a member of before, stopped or failed, has not ended anew yet
    while True:
        try:
            has_ended = study.read_status()["state"] in FINAL_STATES  # before the last look
            for member in list(waiting):
                is_new = member.run.read_status().get("updated_at", 0) >= asked_at
                if member.read_state() in FINAL_STATES and (is_new or has_ended):
                    waiting.remove(member)
                    _print_member(study, member.run.name)
            if has_ended:
                return
            time.sleep(_LOOK_EVERY_S)
        except KeyboardInterrupt:
            with contextlib.suppress(RunError):  # it may have ended at this very moment
                stop_study(study)


def _print_member(study: Study, name: str) -> None:
    members = study.read_members()
    row = members[members["name"] == name].to_dict("records")[0]
    accuracy, _, _, auc, n = _say_row(row)
    text = f"{name}: {row['state']}, {words.say_number(row['epochs'], 'epoch')}"
    if row["state"] == "finished":
        text += f", accuracy {accuracy}, AUC {auc}, n = {n} {row['level']}"
    print(text, file=sys.stderr, flush=True)


def _flatten(level: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One level of metrics.json as a row of `Study.read_members`."""
    row: dict[str, Any] = {}
    for name in METRICS:
        row[name] = level[name]["value"]
        row |= {f"{name}_{key}": level[name][key] for key in ("low", "high", "n")}
    return row


def _say_row(row: dict[str, Any]) -> list[str]:
    """Accuracy, sensitivity, specificity, AUC and n; empty where there is nothing yet."""
    if pd.isna(row["accuracy_n"]):
        return [""] * 5
    cells = []
    for name in ("accuracy", "sensitivity", "specificity", "auc"):
        say = words.say_auc if name == "auc" else words.say_percent
        cells.append(say(_take(row, name)))
    return [*cells, f"{row['accuracy_n']:.0f}"]


def _take(row: dict[str, Any], name: str) -> dict[str, Any]:
    """One metric of a row of numbers, as metrics.json has it."""
    metric = {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
    return metric | {"value": None} if pd.isna(row[name]) else metric


def _say_spread(spread: dict[str, Any], *, is_percent: bool = True) -> str:
    """Such as "84 ± 3 %" or "0.91 ± 0.02"; without ± where there is one member alone."""
    if spread["mean"] is None:
        return "not defined"
    factor, digits, unit = (100, 0, " %") if is_percent else (1, 2, "")
    sd = "" if spread["sd"] is None else f" ± {spread['sd'] * factor:.{digits}f}"
    return f"{spread['mean'] * factor:.{digits}f}{sd}{unit}"
