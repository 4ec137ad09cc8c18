"""What a run looks like: curves, the last batch, how validation is sorted, milestones."""

from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from polyp_core import words
from polyp_core.config import RunConfig
from polyp_core.metrics import estimate_proportion
from polyp_core.runs import FINAL_STATES, Run
from polyp_core.schedules import find_kept_epoch
from ui import charts, training_charts
from ui.pictures import get_class_colours, is_dark
from ui.setting_words import say_choice
from ui.words import escape

_PER_ROW = 4  # pictures of a batch
# Right ones of the thesis' 12 validation images, by epoch.
_THESIS = {
    epoch: words.say_percent(vars(estimate_proportion(hits, 12)))
    for epoch, hits in ((10, 8), (100, 9), (250, 12))
}


def show_curves(run: Run, config: RunConfig, history: pd.DataFrame) -> None:
    kept = find_kept_epoch(config.training, history)
    grid = st.grid(3, min_column_width=250)
    for name, title, baseline in (
        ("loss", "Loss (cross-entropy)", None),
        ("accuracy", "Accuracy", find_majority(history)),
        ("auc", "Validation AUC", (0.5, "chance")),
    ):
        figure = training_charts.draw_curves(
            history, name, title, config.training.epochs, best_epoch=kept, baseline=baseline,
            is_dark=is_dark(),
        )  # fmt: skip
        grid.plotly_chart(
            figure, config=charts.PLAIN, key=f"curve {run.name} {name}", alt=f"{title} by epoch"
        )
    if kept is not None:
        why = f"the best by {say_choice(config.training.monitor)}"
        st.caption(
            f"The ring is epoch {kept}, which is kept: "
            f"{why if config.training.keep == 'best' else 'the last'}. Curves count images; the "
            "result of a finished run counts patients where they are known."
        )


def find_majority(history: pd.DataFrame) -> tuple[float, str] | None:
    """What always answering the more frequent class would get on validation."""
    if history.empty or history["val_tp"].isna().iloc[-1]:
        return None
    last = history.iloc[-1]
    positive, negative = last["val_tp"] + last["val_fn"], last["val_tn"] + last["val_fp"]
    return max(positive, negative) / (positive + negative), "always the same class"


def show_images(run: Run, status: dict[str, Any], config: RunConfig, history: pd.DataFrame) -> None:
    """What the network saw last, and how validation is sorted."""
    batch, confusion = st.columns(2, gap="medium")
    if status["state"] in FINAL_STATES and not run.path("batch.png").is_file():
        batch, confusion = confusion, batch  # nothing comes to stand there any more
    names, colours = run.read_class_names(), get_class_colours()
    with batch:
        _show_batch(run, status.get("batch_labels", []), names, colours)
    with confusion:
        counted = history.dropna(subset="val_tp")
        if counted.empty and status["state"] in FINAL_STATES:
            return
        if counted.empty:
            st.caption("How validation is sorted stands here after each epoch.")
        else:
            kept = counted["epoch"] == find_kept_epoch(config.training, history)
            is_ended = status["state"] in FINAL_STATES and kept.any()
            shown = (counted[kept] if is_ended else counted).iloc[-1]
            st.caption(
                f"Validation images in epoch {int(shown['epoch'])}"
                f"{', which is kept' if is_ended else ''}: "
                f"{_say_found(shown['val_tp'], shown['val_fn'], names[1])}, "
                f"{_say_found(shown['val_tn'], shown['val_fp'], names[0])}. Pale is wrong."
            )
        figure = training_charts.draw_confusion(
            counted, names, colours, config.training.epochs, is_dark=is_dark()
        )
        st.plotly_chart(
            figure, config=charts.PLAIN, key=f"confusion {run.name}",
            alt="Right and wrong validation images by epoch",
        )  # fmt: skip


def _show_batch(
    run: Run, labels: list[int], names: tuple[str, str], colours: tuple[str, str]
) -> None:
    """The strip that the worker drew, each picture under a bar in the colour of its class."""
    try:
        strip = cv2.imdecode(
            np.frombuffer(run.path("batch.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR
        )
    except (OSError, cv2.error):
        strip = None
    if strip is None or not labels:
        return
    side_px = strip.shape[0]
    tiles = []
    for number, label in enumerate(labels[: strip.shape[1] // side_px]):
        image = strip[:, number * side_px : (number + 1) * side_px]
        bar = np.full((8, side_px, 3), _parse_colour(colours[label]), np.uint8)
        tiles.append(np.concatenate([bar, image]))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _PER_ROW)
    rows = [np.concatenate(tiles[i : i + _PER_ROW], 1) for i in range(0, len(tiles), _PER_ROW)]
    shown = np.concatenate(rows)
    negative, positive = (
        f':color[■]{{foreground="{colour}"}} {escape(name)}'
        for colour, name in zip(colours, names, strict=True)
    )
    # No caption, which would dim the colours.
    st.markdown(f":small[:gray[A batch as the network saw it:] {positive}, {negative}]")
    st.image(
        cv2.imencode(".png", shown)[1].tobytes(), width="stretch", output_format="PNG",
        alt="The last batch of training images, augmented",
    )  # fmt: skip


def show_milestones(run: Run) -> None:
    """The thesis' own table beside this run's, each with n, interval and baseline."""
    milestones = run.read_milestones()
    if not milestones:
        return
    rows = []
    for epoch, metrics in sorted(milestones.items()):
        level, unit = words.get_main_level(metrics)
        rows.append(
            {
                "Epoch": epoch,
                "This run": words.say_percent(level["accuracy"]),
                "of": f"{level['accuracy']['n']} {unit}",
                "Always the same class": words.say_percent(level["majority_accuracy"]),
                "AUC": words.say_auc(level["auc"]),
                "The 2020 thesis": _THESIS.get(epoch, ""),
            }
        )
    with st.expander("Milestones", icon=":material/flag:", expanded=True):
        st.dataframe(rows, hide_index=True)
        st.caption(
            "Validation accuracy at these epochs with its 95 % interval. The thesis' own are of 12 "
            "other images; its intervals are computed, its majority baseline is not known."
        )


def _say_found(right: float, wrong: float, name: str) -> str:
    share = estimate_proportion(int(right), int(right + wrong))
    if share.value is None:
        return f"no {escape(name)}"
    return f"{int(right)} of {int(right + wrong)} {escape(name)} right"


def _parse_colour(colour: str) -> tuple[int, int, int]:
    """Blue, green, red, as OpenCV has them."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red
