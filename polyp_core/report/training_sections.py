"""The sections on the network: its layers, its curves, and which of its states is the model."""

from collections.abc import Sequence

import numpy as np

from polyp_core import words
from polyp_core.config import TrainingConfig
from polyp_core.doctor.checkup import examine_run
from polyp_core.errors import PolypError
from polyp_core.network_size import measure_network
from polyp_core.presets import PRESETS
from polyp_core.report.axes import make_axis, make_count_axis, make_share_axis
from polyp_core.report.charts import BLUE, INK, MUTED, Line, Mark, Points, draw_chart
from polyp_core.report.facts import RunFacts
from polyp_core.report.layers import list_layers
from polyp_core.report.page import (
    write_facts,
    write_figure,
    write_list,
    write_missing,
    write_note,
    write_paragraph,
    write_row,
    write_table,
    write_warning,
)
from polyp_core.schedules import find_best_epoch, find_kept_epoch
from polyp_core.words import join_words

NO_SETTINGS = "The settings of this run cannot be read."
_MONITORED = {
    "val_loss": "validation loss", "val_accuracy": "validation accuracy",
    "val_auc": "validation AUC", "loss": "training loss", "accuracy": "training accuracy",
}  # fmt: skip


def write_network(facts: RunFacts) -> str:
    """Every layer with the shape it gives and its weights."""
    if facts.config is None:
        return write_missing(NO_SETTINGS)
    model, size = facts.config.model, measure_network(facts.config.model)
    preset = PRESETS.get(facts.config.preset)
    text = write_paragraph(
        f"A {model.network} network with {size.num_weights:,} weights in all"
        + (f", of the preset {preset.title}" if preset else "")
        + f". One image takes about {words.say_count(int(size.num_multiplications))} "
        "multiplications."
    )
    if facts.ensemble is not None:
        text += write_paragraph(
            f"The ensemble holds {facts.ensemble.num_members} such networks and answers with "
            "the mean of their probabilities."
        )
    rows = [
        (layer.name, " × ".join(map(str, layer.shape)), f"{layer.num_weights:,}")
        for layer in list_layers(model, has_own_weights=facts.origin.has_own_backbone_weights)
    ]
    rows.append(("All", "", f"{size.num_weights:,}"))
    return (
        text
        + write_table(("Layer", "Gives", "Weights"), rows)
        + write_note("Running statistics of batch normalisation count as weights here.")
    )


def write_training(facts: RunFacts) -> str:
    """How the network was fitted, the curves, and what the doctor says of them."""
    if facts.config is None:
        return write_missing(NO_SETTINGS)
    settings, history = facts.config.training, facts.history
    text = ""
    if settings.shuffled_labels:
        text += write_warning(
            "A control: the training labels were dealt out at random, so there was nothing to "
            "learn."
        )
    text += write_facts(_list_settings(settings, _say_seeds(facts)))
    if facts.ensemble is not None:
        return text + write_paragraph(
            "The curves are those of the members; each is a run of its own with its own report."
        )
    if history.empty:
        return text + write_missing(
            f"There are no curves: no epoch was finished, or history.csv is missing. The run is "
            f"{facts.state}."
        )
    text += write_paragraph(
        f"{words.say_number(len(history), 'epoch')} of {settings.epochs} done{_say_times(facts)}."
        + (" Training was ended by hand." if facts.was_ended_by_hand else "")
    )
    text += write_row(_draw_curves(facts), "charts three")
    text += write_note(
        "Thin and grey: training, with augmentation and dropout. Thick and blue: validation. "
        "The dot is the epoch that became the model."
    )
    try:
        found, said = examine_run(facts.run)
    except (PolypError, OSError, ValueError, KeyError):
        return text
    if not found:
        return text + write_paragraph(said)
    return text + write_list(f"{one.title} {one.evidence} {one.advice}" for one in found)


def _say_times(facts: RunFacts) -> str:
    """What the run took, as the pages say it, and what of that the epochs took."""
    epochs_s, whole_s = float(np.nansum(facts.history["seconds"])), facts.status.get("elapsed_s")
    of_epochs = f"{words.say_duration(epochs_s)} for the epochs" if epochs_s > 0 else ""
    of_all = f"{words.say_duration(whole_s)} in all" if isinstance(whole_s, int | float) else ""
    return f": {' and '.join(filter(None, [of_epochs, of_all]))}" if of_epochs or of_all else ""


def write_selection(facts: RunFacts) -> str:
    """Which epoch became the model, and by what it was chosen."""
    if facts.config is None:
        return write_missing(NO_SETTINGS)
    settings, history = facts.config.training, facts.history
    if facts.ensemble is not None:
        kept = "best" if settings.keep == "best" else "last"
        return write_paragraph(
            f"Each member kept its {kept} epoch; all members of whole folds count alike."
        )
    if history.empty:
        return write_missing("No epoch was finished, so none could be chosen.")
    best, kept_epoch = find_best_epoch(settings, history), find_kept_epoch(settings, history)
    watched, is_validation = _MONITORED[settings.monitor], settings.monitor.startswith("val_")
    if settings.keep == "best":
        said = (
            f"The state of epoch {kept_epoch} is the model, since its {watched} was the best."
            + (" It was chosen on validation images, so validation leans to the good side."
               if is_validation else "")
        )  # fmt: skip
    else:
        said = (
            f"The state after the last epoch, {kept_epoch}, is the model. The {watched} was best "
            f"in epoch {best}."
        )
        if not facts.was_ended_by_hand and not settings.early_stopping_patience:
            said += " No result chose this epoch: it was the last one planned."
    if facts.was_ended_by_hand:
        said += (
            f" Training was ended by hand, after {len(history)} of {settings.epochs} epochs, by "
            "someone who could see how it did on validation images; so validation may lean to the "
            "good side."
        )
    if settings.early_stopping_patience:
        said += (
            f" Training was to end early after {settings.early_stopping_patience} epochs without a "
            f"better {watched}." + (" That too leans on validation." if is_validation else "")
        )
    if settings.schedule == "plateau" and is_validation:
        said += (
            f" The learning rate was lowered whenever the {watched} stood still, so validation "
            "images had a part in training."
        )
    text = write_paragraph(said)
    milestones = facts.run.read_milestones()
    rows = []
    for epoch, metrics in sorted(milestones.items()):
        try:
            level, unit = words.get_main_level(metrics)
            rows.append(
                (str(epoch), f"{level['accuracy']['n']:,} {unit}",
                 words.say_percent(level["accuracy"]),
                 words.say_percent(level["majority_accuracy"]), words.say_auc(level["auc"]))
            )  # fmt: skip
        except (KeyError, TypeError):
            continue
    if rows:
        heads = ("Epoch", "Validated on", "Accuracy", "Majority baseline", "AUC")
        text += write_table(heads, rows, caption="Validation at milestones")
    return text


def _draw_curves(facts: RunFacts) -> list[str]:
    assert facts.config is not None
    history, kept = facts.history, find_kept_epoch(facts.config.training, facts.history)
    epochs = history["epoch"].tolist()
    x = make_count_axis("Epoch", epochs)
    charts = (
        ("Loss (cross-entropy)", "loss", "val_loss", False),
        ("Accuracy", "accuracy", "val_accuracy", True),
        ("Validation AUC", "", "val_auc", True),
    )
    figures = []
    for title, of_training, of_validation, is_share in charts:
        values = history[of_validation].tolist()
        marks: list[Mark] = []
        shown = list(values)
        if of_training:
            marks.append(Line(x=epochs, y=history[of_training].tolist(), colour=MUTED, width=1.2))
            shown += history[of_training].tolist()
        marks.append(Line(x=epochs, y=values, colour=BLUE, width=2.4))
        if kept in epochs:
            place = epochs.index(kept)
            marks.append(Points(x=[epochs[place]], y=[values[place]], colour=INK))
        y = make_share_axis(title) if title == "Accuracy" else make_axis(title, shown)
        y = make_axis(title, [0.0, 1.0]) if is_share and title != "Accuracy" else y
        alt = f"{title} by epoch: {_say_course(epochs, values)} on validation"
        figures.append(write_figure(draw_chart(x, y, marks, alt, width=250, height=210, left=52)))
    return figures


def _say_course(epochs: Sequence[int], values: Sequence[float]) -> str:
    known = [(e, v) for e, v in zip(epochs, values, strict=True) if np.isfinite(v)]
    if not known:
        return "not known"
    (first, before), (last, after) = known[0], known[-1]
    return f"from {before:.3f} in epoch {first} to {after:.3f} in epoch {last}"


def _say_seeds(facts: RunFacts) -> str:
    """The seeds of an ensemble's members, or the one of a training."""
    assert facts.config is not None
    if facts.ensemble is None:
        return str(facts.config.training.seed)
    return join_words([str(seed) for seed in facts.ensemble.plan["seeds"]])


def _list_settings(settings: TrainingConfig, seeds: str) -> list[tuple[str, str]]:
    rows = [
        ("Optimizer", settings.optimizer + (
            f", momentum {settings.momentum:g}" if settings.optimizer == "sgd" else "")),
        ("Learning rate", f"{settings.learning_rate:g}, schedule {settings.schedule}"
         + (f", {100 * settings.warm_up:g} % warm-up" if settings.schedule == "cosine" else "")),
        ("Batch", words.say_number(settings.batch_size, "image")),
        ("An epoch draws", settings.sampling),
        ("Loss", "binary cross-entropy"
         + (f", label smoothing {settings.label_smoothing:g}" if settings.label_smoothing else "")),
        ("Weight decay", f"{settings.weight_decay:g}"),
        ("Weight averaging", f"{settings.ema:g}" if settings.ema else "none"),
        ("Class weights", settings.class_weights),
        ("Seed", seeds),
    ]  # fmt: skip
    if settings.gradient_clip:
        rows.append(("Gradient clipping", f"{settings.gradient_clip:g}"))
    return rows
