"""What the tests of the predict page share."""

from dataclasses import replace

import cv2
import numpy as np
import streamlit as st

import ui.readers
from polyp_core import prediction
from polyp_core.familiarity import Verdict
from tests.pages.conftest import read_texts


def upload(app, *files):
    """Drop files on the zone, and be sure that nothing went wrong."""
    for name, content in files:
        app.file_uploader[0].upload(name, content)
    app.run()
    assert not app.exception, app.exception
    return app


def forget() -> None:
    """Begin a new visit: all tests are one, in which a model is asked about a picture once."""
    st.cache_data.clear()
    ui.readers._load_classifier.clear()


def read_plainly(app) -> str:
    """Everything the page says, without the marks that make it literal."""
    headers = "\n".join(element.value for element in app.header)
    return f"{headers}\n{read_texts(app)}".replace("\\", "")


def make_stranger(width_px: int = 120, height_px: int = 90) -> bytes:
    """A picture in colour as PNG."""
    pixels = np.zeros((height_px, width_px, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width_px).astype(np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


class AlwaysTells:
    """Says the same of every picture, as the familiarity of a model would."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def judge(self, picture, box, seen, features) -> Verdict:
        return self.verdict


def tell_strangers(
    monkeypatch, *, p_value=0.004, reasons=("it is in colour",), is_stranger=True, is_known=True
) -> None:
    """Have every model say this of every picture; or know nothing of its training images."""
    verdict = Verdict(
        p_value=p_value,
        is_stranger=is_stranger,
        reasons=tuple(reasons),
        num_beyond=round(p_value * 1000) - 1,
        num_known=999,
    )
    familiarity = AlwaysTells(verdict) if is_known else None
    load = prediction.load_classifier
    monkeypatch.setattr(
        ui.readers, "load_classifier", lambda run: replace(load(run), familiarity=familiarity)
    )


def note_downloads(monkeypatch) -> dict[str, object]:
    """By its label, what each download button of the page offers; filled when it is drawn."""
    offered: dict[str, object] = {}
    show = st.download_button

    def note(label, data, *args, **options):
        offered[label] = data
        return show(label, data, *args, **options)

    monkeypatch.setattr(st, "download_button", note)
    return offered
