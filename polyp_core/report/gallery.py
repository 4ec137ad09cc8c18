"""The pictures of a report: small, lossless, in the page itself, and bounded in their bytes."""

import base64
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pandas as pd

from polyp_core.answers.pictures import outline_region, shrink, shrink_prediction
from polyp_core.augmentation import apply_parameters, describe_parameters, draw_parameters
from polyp_core.images import prepare_picture
from polyp_core.prediction import Prediction, draw_overlay
from polyp_core.report.charts import escape
from polyp_core.report.facts import RunFacts
from polyp_core.report.page import clip, write_figure

# The longer side. With all pictures there are, each of pure noise, a page stays under 3 MB.
_GREY_PX, _COLOUR_PX, _OVERLAY_PX = 160, 112, 136
_OPACITY = 0.7
NUM_PANEL = 6  # images of each class in the saliency panel
NUM_MISTAKES = 6  # of each kind
_NUM_AUGMENTED = 7
_CLIP = 1e-7
_NAME = 48


def write_augmented(facts: RunFacts, label: int) -> list[str]:
    """A training image of a class as the network sees it, then as it is trained on.

    Returns:
        Figures; none where no training image of the class is there.
    """
    if facts.index is None or facts.config is None:
        return []
    config, rows = facts.config, facts.index.select("train")
    for number, row in rows[rows["label"] == label].head(20).iterrows():
        picture = facts.read_picture(row["path"], row["frame"], row["sha256"])
        if picture is None:
            continue
        original = prepare_picture(picture, config.data, config.model)
        name = clip(row["path"], _NAME)
        figures = [_write_picture(original, f"{name}, as the network sees it", "As it is")]
        for epoch in range(1, _NUM_AUGMENTED + 1):
            drawn = draw_parameters(
                config.augmentation, seed=config.training.seed, epoch=epoch,
                image_number=int(str(number)),
            )  # fmt: skip
            changed = apply_parameters(original, drawn, config.augmentation.fill_mode)
            said = ", ".join(describe_parameters(drawn)) or "unchanged"
            figures.append(_write_picture(changed, f"Epoch {epoch}: {said}", f"Epoch {epoch}"))
        return figures
    return []


def write_mistakes(facts: RunFacts, *, is_positive: bool) -> tuple[list[str], int]:
    """The worst mistakes on validation images of one class, the most confident first.

    Returns:
        Figures, at most six; and how many mistakes there are.
    """
    judged = facts.validation
    if judged is None:
        return [], 0
    table = judged.table
    is_called = table["probability"] >= judged.threshold
    wrong = table[(table["label"] == int(is_positive)) & (is_called != is_positive)]
    worst = wrong.iloc[np.argsort(-_measure_confidence(wrong, judged.threshold), kind="stable")]
    figures = []
    for row, prediction in _judge(facts, worst):
        said = f"{clip(row['path'], _NAME)}: {100 * row['probability']:.0f} %"
        figures.append(_write_prediction(prediction, said))
        if len(figures) == NUM_MISTAKES:
            break
    return figures, len(wrong)


def write_panel(facts: RunFacts, label: int) -> list[str]:
    """Judged images of a class beside what the model saw in them, evenly over probabilities.

    Returns:
        Figures, at most six.
    """
    judged = facts.validation
    if judged is None or facts.classifier is None:
        return []
    rows = judged.table[judged.table["label"] == label].sort_values("probability", kind="stable")
    places = np.linspace(0, len(rows) - 1, min(len(rows), NUM_PANEL)).round().astype(int)
    figures = []
    for row, prediction in _judge(facts, rows.iloc[places]):
        is_for = prediction.probability >= judged.threshold
        small = shrink_prediction(prediction, _OVERLAY_PX)
        overlay = draw_overlay(small, _OPACITY, positive=is_for)
        side = facts.class_names[int(is_for)]
        name = clip(row["path"], _NAME)
        pair = _draw(small.picture, name, _OVERLAY_PX)
        pair += _draw(overlay, f"{name}: what speaks for {side}", _OVERLAY_PX)
        caption = f"{name}: {100 * prediction.probability:.0f} %, bright speaks for {side}"
        figures.append(write_figure(f'<div class="pair">{pair}</div>', caption))
    return figures


def encode_picture(picture: np.ndarray, longest_px: int | None = None) -> str:
    """A PNG as a data URI, as small as it can be without loss.

    Args:
        picture: `(height, width, 1 or 3)` uint8; grey in three channels is stored as grey.
        longest_px: Of the longer side; by default 160 of a grey picture and 112 of one in colour.
    """
    is_grey = picture.shape[-1] == 1 or bool((picture == picture[..., :1]).all())
    picture = picture[..., :1] if is_grey else picture
    small = shrink(picture, longest_px or (_GREY_PX if is_grey else _COLOUR_PX))
    pixels = small[..., ::-1] if small.shape[-1] == 3 else small
    content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _judge(facts: RunFacts, rows: pd.DataFrame) -> Iterator[tuple[Any, Prediction]]:
    """Each image that is still there, with what the model says of it."""
    if facts.classifier is None or "sha256" not in rows:
        return
    for _, row in rows.iterrows():
        picture = facts.read_picture(row["path"], row["frame"], row["sha256"])
        if picture is not None:
            yield row, facts.classifier.classify_picture(picture, row["path"], row["frame"])


def _write_prediction(prediction: Prediction, caption: str) -> str:
    small = shrink_prediction(prediction, _GREY_PX)
    height, width = small.picture.shape[:2]
    if small.box == (0, 0, width, height):
        return _write_picture(small.picture, caption, caption)
    return write_figure(_draw(outline_region(small.picture, small.box), caption), caption)


def _write_picture(picture: np.ndarray, alt: str, caption: str) -> str:
    return write_figure(_draw(picture, alt), caption)


def _draw(picture: np.ndarray, alt: str, longest_px: int | None = None) -> str:
    return f'<img src="{encode_picture(picture, longest_px)}" alt="{escape(alt)}">'


def _measure_confidence(rows: pd.DataFrame, threshold: float) -> np.ndarray:
    """How far probabilities lie from the threshold, in logits, so that both sides compare."""
    both = np.clip(np.append(rows["probability"].to_numpy(float), threshold), _CLIP, 1 - _CLIP)
    logits = np.log(both / (1 - both))
    return np.asarray(np.abs(logits[:-1] - logits[-1]))
