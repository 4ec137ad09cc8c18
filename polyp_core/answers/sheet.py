"""One page an image: opens without a network, prints on one A4 page, runs nothing."""

import html
from dataclasses import replace
from datetime import datetime

import numpy as np

from polyp_core.answers.credentials import NOTICE, Credentials
from polyp_core.answers.drawing import COLOURS, draw_bar, draw_ramp
from polyp_core.answers.pictures import encode_picture, outline_region, shrink_prediction
from polyp_core.answers.pooling import PatientAnswer, say_pooling
from polyp_core.answers.style import POLICY, STYLE
from polyp_core.answers.wording import say_familiarity, say_level, say_probability, word_answer
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction, draw_overlay
from polyp_core.words import make_visible

_PICTURE_PX, _OVERLAY_PX = 800, 560  # the longer side; on paper about 160 dots an inch and more
_OPACITY = 0.7
_MIN_EVIDENCE = 0.05  # of full colour; less cannot be seen
_SHORT = 12  # digits of a sha256
_MAX_NAME, _LONG = 140, 70  # letters of a name: at most, and from which on it is smaller
# How pictures stand, and the room for each in mm: one alone; three that are wide below each other,
# tall ones in a row, all others two and two.
_ROOM_MM = {"alone": (180, 120), "wide": (180, 25), "tall": (57, 84), "square": (88, 54)}
_WIDE, _TALL = 4.0, 0.75  # width to height


def write_sheet(
    prediction: Prediction,
    classifier: Classifier,
    credentials: Credentials,
    *,
    item: Item | None = None,
    patient: PatientAnswer | None = None,
    made_at: datetime | None = None,
) -> str:
    """An HTML page with the answer, the picture, the evidence and what the model is worth.

    Args:
        prediction: Of the image, at the size it is to be shown or larger.
        classifier: Whose threshold and band hold.
        credentials: Of the model.
        item: What was judged; its name, frame and fingerprint are said.
        patient: The answer for the patient, where there is one.
        made_at: Defaults to now, in local time.
    """
    name = _clip(prediction.name if item is None else item.name, _MAX_NAME)
    negative, positive = map(_clip, classifier.class_names)
    classifier = replace(classifier, class_names=(negative, positive))
    prediction = replace(prediction, class_name=_clip(prediction.class_name))
    if patient is not None:
        patient = replace(patient, class_name=_clip(patient.class_name))
    body = "\n".join(
        (
            _write_header(made_at or datetime.now().astimezone()),
            _write_name(name),
            _write_facts(prediction, item),
            _write_answer(prediction, classifier, patient),
            "" if prediction.is_refused else _write_bar(prediction, classifier),
            _write_pictures(prediction, classifier),
            _write_footer(prediction, credentials, item),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _escape(text: str) -> str:
    return html.escape(make_visible(text))


def _clip(text: str, most: int = 40) -> str:
    """Of a long text the start and the end, so that a page stays a page."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"


def _write_header(made_at: datetime) -> str:
    when = f"{made_at:%Y-%m-%d %H:%M}"
    return f"<header><span>Polyp: what a model says of one image</span><time>{when}</time></header>"


def _write_name(name: str) -> str:
    size = "long" if len(name) > _LONG else "short"
    return f'<h1 class="{size}">{_escape(name)}</h1>'


def _write_facts(prediction: Prediction, item: Item | None) -> str:
    height, width = prediction.picture.shape[:2]
    facts = [f"{width} × {height} pixels"]
    if item is not None:
        if item.num_frames > 1:
            facts.insert(0, f"Frame {item.frame + 1} of {item.num_frames}")
        if item.patient and item.patient != item.name:
            facts.append(f"Patient: {_escape(_clip(item.patient))}")
    return f'<p class="facts">{" · ".join(facts)}</p>'


def _write_answer(
    prediction: Prediction, classifier: Classifier, patient: PatientAnswer | None
) -> str:
    wording = word_answer(prediction, classifier)
    has_class = prediction.is_sure and not prediction.is_refused
    is_positive = prediction.probability >= classifier.threshold
    colour = COLOURS[int(is_positive)] if has_class else "#8a9097"
    said = f"<p>{_escape(' '.join(wording.sentences))}</p>"
    if patient is not None and not prediction.is_refused:  # whose other images say nothing of it
        said += f"<p>{_say_patient(patient, classifier)}</p>"
    return (
        f'<section class="answer" style="border-left-color:{colour}">'
        f"<h2>{_escape(wording.headline)}</h2>{said}</section>"
    )


def _say_patient(patient: PatientAnswer, classifier: Classifier) -> str:
    pooling = say_pooling(patient)
    if not patient.class_name:
        return f"All images of this patient together: no answer ({pooling})."
    answer = patient.class_name if patient.is_sure else "not sure, show them to a person"
    said = say_probability(patient.probability, classifier.threshold)
    level = say_level(classifier, "patient")
    doubt = f" The threshold was {level}." if level else ""
    return (
        f"All images of this patient together: <strong>{_escape(answer)}</strong>, probability of "
        f"{_escape(classifier.class_names[1])} {said} ({pooling}).{doubt}"
    )


def _write_bar(prediction: Prediction, classifier: Classifier) -> str:
    negative, positive = map(_escape, classifier.class_names)
    ends = f'<div class="ends"><span>{negative}</span><span>{positive}</span></div>'
    band = classifier.band
    hatched = "" if band is None or band.low == band.high else (
        '<p class="facts">Hatched: no answer is to be given here.</p>'
    )  # fmt: skip
    return ends + draw_bar(prediction.probability, classifier) + hatched


def _write_pictures(prediction: Prediction, classifier: Classifier) -> str:
    picture = shrink_prediction(prediction, _PICTURE_PX)
    height, width = picture.picture.shape[:2]
    is_whole = picture.box == (0, 0, width, height)
    seen = "The model saw all of it" if is_whole else "Outlined: the part that the model saw"
    # A grey picture that needs no outline stays grey, which takes a third of the room.
    shown = picture.picture if is_whole else outline_region(picture.picture, picture.box)
    aspect = width / height
    layout = "wide" if aspect > _WIDE else "tall" if aspect < _TALL else "square"
    layout = "alone" if prediction.is_refused else layout
    figures = _write_figure(shown, f"The image. {seen}.", _ROOM_MM[layout])
    if prediction.is_refused:
        return f'<section class="pictures alone">{figures}</section>'
    positive = classifier.class_names[1]
    small = shrink_prediction(prediction, _OVERLAY_PX)
    for is_for, verb in ((True, "speaks for"), (False, "speaks against")):
        strongest = (prediction.saliency if is_for else -prediction.saliency).max()
        what = f"Bright: {verb}" if strongest >= _MIN_EVIDENCE else f"Nothing here {verb}"
        overlay = draw_overlay(small, _OPACITY, positive=is_for)
        figures += _write_figure(overlay, f"{what} {positive}.", _ROOM_MM[layout])
    return f'<section class="pictures {layout}">{figures}{_write_legend(positive)}</section>'


def _write_figure(picture: np.ndarray, caption: str, room_mm: tuple[int, int]) -> str:
    """As large as there is room, small pictures too."""
    height, width = picture.shape[:2]
    scale = min(room_mm[0] / width, room_mm[1] / height)
    said = _escape(caption)
    return (
        f'<figure><img src="{encode_picture(picture)}" alt="{said}" style="width:'
        f'{width * scale:.1f}mm;aspect-ratio:{width}/{height}"><figcaption>{said}</figcaption>'
        "</figure>"
    )


def _write_legend(positive: str) -> str:
    return (
        f'<div class="legend">{draw_ramp()}<div><p>Where it speaks for {_escape(positive)}, '
        "bright places raise the probability; where it speaks against, they lower it. No colour: "
        "no evidence. One scale holds for all images of a model, so weak evidence looks weak.</p>"
        "<p>The colours show what the model reacted to (Grad-CAM). They do not show where a "
        "finding is, nor how large it is.</p></div></div>"
    )


def _write_footer(prediction: Prediction, credentials: Credentials, item: Item | None) -> str:
    rows = [
        (
            "Model",
            f"{_escape(_clip(credentials.name, _MAX_NAME))} {_write_hash(credentials.sha256)}",
        ),
        ("Worth", f"{_escape(credentials.training)} {_escape(credentials.validation)}".strip()),
    ]
    if not prediction.is_refused:  # of which the answer has said it already
        rows.append(("Image", _escape(say_familiarity(prediction))))
    if item is not None:
        rows.append(("File", _write_hash(item.sha256)))
    lines = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in rows)
    return f'<footer><dl>{lines}</dl><p class="notice">{NOTICE}</p></footer>'


def _write_hash(sha256: str) -> str:
    return f"<code>sha256 {_escape(sha256[:_SHORT])}</code>" if sha256 else ""
