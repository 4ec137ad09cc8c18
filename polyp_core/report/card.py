"""A model card: Markdown with the header that model hubs read.

References: Mitchell et al., Model cards for model reporting, FAT* 2019.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from polyp_core import words
from polyp_core.dataset import SPLITS
from polyp_core.evaluation import list_left_out
from polyp_core.evidence.wording import NAMES, Plain, say_number
from polyp_core.network_size import measure_network
from polyp_core.origins import StudyOrigin
from polyp_core.report.facts import RunFacts
from polyp_core.report.page import NOTICE, clip, hide_names
from polyp_core.report.repeating import DATA, WEIGHTS, write_command
from polyp_core.report.result_sections import say_no_numbers, say_standing
from polyp_core.report.verdicts import list_limits
from polyp_core.runs import Run
from polyp_core.summaries import name_data
from polyp_core.words import join_words

_SHOWN = ("accuracy", "majority_accuracy", "sensitivity", "specificity", "ppv", "npv", "auc")
_OF_HEADER = ("accuracy", "sensitivity", "specificity", "auc")
_PATTERN = "PATTERN"
_SPECIAL = "\\`*_[]<>|~&!#$"
_TAGS = ("image-classification", "medical-imaging", "ultrasound", "binary-classification")
_OPEN = (
    "Who made it, and who answers questions about it?",
    "Under which licence may it be used? The header says 'unknown'.",
    "From where and when are the images, with which scanners, and who was left out?",
    "Who gave the labels, by what standard, and how well do two readers agree?",
    "Which ethics board agreed, and under what number?",
    "Do the title and the name of the data set tell who somebody is? They stand here as they were "
    "given.",
)


def write_model_card(run: Run, *, made_at: datetime | None = None) -> str:
    """A model card in Markdown, with a YAML header.

    Args:
        run: Finished or not.
        made_at: Defaults to now, in local time.
    """
    facts = RunFacts(run)
    when = made_at or datetime.now().astimezone()
    negative, positive = (escape_markdown(clip(name, 80)) for name in facts.class_names)
    parts = [
        _write_header(facts),
        f"# {escape_markdown(clip(facts.title, 120))}\n",
        f"**{NOTICE}** Written on {when:%Y-%m-%d} from the files of the run.\n",
        _write_part("What it is for", [
            f"It tells ultrasound images of {positive} from images of {negative}: for an image it "
            f"gives the probability of {positive}, and a map of what it reacted to.",
            "It is meant for research and teaching: for comparing methods, and for learning what "
            "such a number is worth.",
        ]),
        _write_part("What it is not for", [
            "It is no medical device. It must not guide diagnosis or treatment, nor be used alone "
            "to leave out or to choose patients.",
            "It is not for images of another organ, another kind of probe or another question than "
            "those it was trained on.",
        ]),
        _write_part("Data", _describe_data(facts)),
        _write_part("Training", _describe_training(facts)),
        _write_evaluation(facts),
        _write_part("Limits", _list(map(escape_markdown, list_limits(facts)))),
        _write_use(facts),
        _write_part("Contact and open questions", [
            "Only a person can answer these; please do before you share the model.",
            *_list(_OPEN),
        ]),
    ]  # fmt: skip
    return "\n".join(parts)


def escape_markdown(text: str) -> str:
    """Text from outside that Markdown shows as it is, on one line."""
    visible = words.make_visible(" ".join(text.split()))
    escaped = "".join(f"\\{mark}" if mark in _SPECIAL else mark for mark in visible)
    # What looks like an address would become a link without any mark.
    return escaped.replace("://", ":\u200b//").replace("www.", "www\u200b.").replace("@", "&#64;")


def _write_header(facts: RunFacts) -> str:
    library = "litert" if facts.ensemble is not None else "keras"  # it has no model of Keras
    lines = [
        "---",
        f"library_name: {library}",
        "pipeline_tag: image-classification",
        "license: unknown  # choose one before you share the model, such as cc-by-4.0",
        "tags:",
        *(f"- {tag}" for tag in (*_TAGS, library)),
    ]
    lines += _write_results(facts)
    return "\n".join([*lines, "---", ""])


def _write_results(facts: RunFacts) -> list[str]:
    """The model-index: every number with its interval, n and what was counted."""
    if facts.metrics is None:
        return []
    judged = [("validation", "validation", facts.metrics)]
    if "test" in facts.metrics:
        judged.append(("test", "test", facts.metrics["test"]))
    judged += [("other data", files.name, metrics) for files, metrics in facts.evaluations]
    data = name_data(facts.config.data.folder) if facts.config else "unknown"
    lines = ["model-index:", f"- name: {_quote(facts.title)}", "  results:"]
    for kind, name, metrics in judged:
        level, unit = words.get_main_level(metrics)
        source = name if kind == "other data" else data
        lines += [
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {_quote(source)}",
            "      type: image-folder",
            f"      split: {_quote('test' if kind == 'other data' else kind)}",
            "    metrics:",
        ]
        for key in _OF_HEADER:
            metric = level[key]
            if metric["value"] is None:
                continue
            kept = {end: metric[end] for end in ("low", "high", "n")}
            lines += [
                f"    - type: {'roc_auc' if key == 'auc' else key}",
                f"      name: {_quote(f'{NAMES[key].title}, {kind}, by {unit[:-1]}')}",
                f"      value: {metric['value']!r}",
                f"      args: {json.dumps({'interval': '95 %', **kept, 'unit': unit})}",
            ]
    return lines


def _quote(text: str) -> str:
    """A text as YAML reads it; JSON's quoting is YAML's too."""
    return json.dumps(words.make_visible(clip(text, 120)), ensure_ascii=False)


def _describe_data(facts: RunFacts) -> list[str]:
    if facts.index is None:
        return ["Which images it was made with cannot be read."]
    images = facts.index.images
    data = name_data(facts.config.data.folder) if facts.config else ""
    said = [f"Data set '{escape_markdown(clip(data, 80))}': {facts.say_images(images)}."]
    if facts.origin.is_synthetic:
        said.append("All images are synthetic, drawn by this program.")
    rows = []
    for split in (split for split in SPLITS if (images["split"] == split).any()):
        rows_of = images[images["split"] == split]
        counts = [int((rows_of["label"] == label).sum()) for label in (0, 1)]
        rows.append((split, facts.say_images(rows_of), f"{counts[0]:,}", f"{counts[1]:,}"))
    names = [escape_markdown(clip(name, 40)) for name in facts.class_names]
    said.append(_write_table(("Part", "Images", *names), rows))
    audited = facts.audited
    said.append(
        f"Audit: {audited.audit.verdict}." if audited.audit else escape_markdown(audited.reason)
    )
    if audited.audit:
        said += _list(
            escape_markdown(clip(hide_names(finding.title, facts.class_names), 200))
            for finding in audited.audit.findings[:12]
        )
    return said


def _describe_training(facts: RunFacts) -> list[str]:
    config = facts.config
    if config is None:
        return ["Its settings cannot be read."]
    model, training = config.model, config.training
    size = measure_network(model)
    ensemble, study = facts.ensemble, facts.origin.study
    has_own_weights = facts.origin.has_own_backbone_weights
    named = config
    if config.data.group_pattern:  # which may list the names of patients
        named = replace(config, data=replace(config.data, group_pattern=_PATTERN))
    command = write_command(
        named, facts.index, study.plan if study else None, has_own_weights=has_own_weights
    )
    network = f"A {model.network} network" if ensemble is None else (
        f"{ensemble.num_members} {model.network} networks, whose mean counts, each"
    )  # fmt: skip
    stands = f"{DATA} stands for the images"
    if has_own_weights:
        stands += f", {WEIGHTS} for the file of weights that the backbone began from"
    if config.data.group_pattern:
        stands += f", {_PATTERN} for the pattern that finds the patients in file names"
    said = [
        f"{network} (preset {escape_markdown(config.preset)}) of "
        f"{size.num_weights:,} weights; images of {model.image_size_px} × {model.image_size_px} px "
        f"in {'grey' if model.channels == 1 else 'colour'}.",
        f"{_say_epochs(facts, training.epochs, training.sampling)}, batches of "
        f"{training.batch_size}, {training.optimizer} at {training.learning_rate:g} "
        f"({training.schedule}); {'the' if ensemble is None else 'of each the'} {training.keep} "
        f"epoch is kept. {_say_seeds(facts, training.seed)}",
        *([_say_member(facts.member)] if facts.member else []),
        f"To repeat {'it' if study is None else 'the study'} ({stands}):",
        f"```sh\n{command.replace('`', '')}\n```",
    ]
    if training.shuffled_labels:
        said.insert(0, "**A control: the training labels were dealt out at random.**")
    return said


def _say_epochs(facts: RunFacts, planned: int, sampling: str) -> str:
    if facts.ensemble is not None:
        return f"Up to {planned} epochs of {sampling}"
    done = len(facts.history)
    if done in (0, planned):
        return f"{planned} epochs of {sampling}"
    why = "by hand" if facts.was_ended_by_hand else "early"
    return f"{done} of {planned} planned epochs of {sampling} (ended {why})"


def _say_seeds(facts: RunFacts, seed: int) -> str:
    if facts.ensemble is None:
        return f"Seed {seed}."
    seeds = [str(each) for each in facts.ensemble.plan["seeds"]]
    return f"{'Seed' if len(seeds) == 1 else 'Seeds'} {join_words(seeds)}."


def _say_member(study: StudyOrigin) -> str:
    """Which training of a study it is."""
    name = escape_markdown(clip(study.name, 80))
    said = f"It is the member {escape_markdown(clip(study.member, 80))} of the study '{name}'"
    if study.has_folds:
        said += ", whose validation images are one fold and whose training images are the others"
    return f"{said}."


def _write_evaluation(facts: RunFacts) -> str:
    if facts.metrics is None:
        return _write_part("Evaluation", [say_no_numbers(facts)])
    level, unit = words.get_main_level(facts.metrics)
    threshold = facts.metrics.get("threshold", facts.decision.threshold)
    purpose = facts.decision.goal.purpose
    said = [
        f"On validation {words.say_worth(level, unit)}. {words.say_doubt(level, purpose)}".strip(),
        escape_markdown(say_standing(facts)),
        # As in the report, also where metrics.json is of an older version.
        _tabulate(facts.validation.numbers if facts.validation else facts.metrics),
        f"All at the threshold of {words.write_threshold(threshold)}. In brackets the 95 % "
        "interval.",
    ]
    if "test" in facts.metrics:
        level, unit = words.get_main_level(facts.metrics["test"])
        of_test = facts.test.numbers if facts.test else facts.metrics["test"]
        doubt = words.say_doubt(level, purpose)
        said += [f"On test images {words.say_worth(level, unit)}. {doubt}".strip(),
                 _tabulate(of_test)]  # fmt: skip
    for files, metrics in facts.evaluations:
        level, unit = words.get_main_level(metrics)
        said += [
            f"On other data, {escape_markdown(clip(files.name, 60))}: "
            f"{words.say_worth(level, unit)}. {words.say_doubt(level, purpose)}".strip(),
            _tabulate(metrics),
            f"At the threshold of {words.write_threshold(metrics.get('threshold', threshold))}.",
            *_list(list_left_out(metrics)),
        ]
    return _write_part("Evaluation", said)


def _tabulate(metrics: Mapping[str, Any]) -> str:
    units = [unit for unit in ("patient", "image") if unit in metrics]
    heads = ["Number"]
    for unit in units:
        heads += [f"By {unit}", "n"]
    rows = []
    for name in _SHOWN:
        cells = [NAMES[name].title]
        for unit in units:
            metric: Plain = metrics[unit][name]
            cells += [say_number(metric, NAMES[name].form), f"{metric['n']:,}"]
        rows.append(cells)
    return _write_table(heads, rows)


def _write_use(facts: RunFacts) -> str:
    name = facts.run.name if not facts.origin.is_demo else "demo"
    said = [
        "With this project, for one image or a folder:",
        f"```sh\npython -m polyp_core predict {_plain(name)} IMAGE_OR_FOLDER\n```",
        "Elsewhere, from the bundle: unpack it and run `python predict.py IMAGE`; its "
        "requirements.txt names the packages this needs. The steps before the network, the "
        "threshold and the band stand in preprocessing.json.",
    ]
    return _write_part("How to use it", said)


def _plain(name: str) -> str:
    """A run's name for a code block; one that is no plain word is left to the reader."""
    return name if name.replace("-", "").replace("_", "").replace(".", "").isalnum() else "RUN"


def _write_part(title: str, paragraphs: Sequence[str]) -> str:
    text = f"## {title}\n\n"
    for paragraph in paragraphs:
        text += paragraph + ("\n" if paragraph.startswith("- ") else "\n\n")
    return text.rstrip("\n") + "\n"


def _list(items: Iterable[str]) -> list[str]:
    return [f"- {item}" for item in items]


def _write_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
