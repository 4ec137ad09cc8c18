"""One image and what it gets: an answer, no sure answer, no answer at all, or an error."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import streamlit as st
from starlette.formparsers import MultiPartParser

import ui.readers
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.familiarity import Verdict
from polyp_core.prediction import load_classifier
from polyp_core.workspace import DEMO_RUN
from tests.pages.conftest import click, read_texts
from tests.pages.predicting import (
    forget,
    make_stranger,
    note_downloads,
    read_plainly,
    tell_strangers,
    upload,
)
from ui import charts
from ui.predict_answers import say_unlike


@pytest.fixture(autouse=True)
def fresh_visit():
    forget()
    yield
    forget()


@pytest.fixture
def pictures(demo_data):
    return sorted((demo_data / "calcified").glob("*.png"))[:2]


def test_empty_it_says_what_would_stand_here_and_offers_images_to_try(open_page):
    app = open_page("Predict")
    assert "answer will stand here" in read_texts(app)
    assert [b.label for b in app.button] == ["Try these five"]
    assert len(app.get("image")) == 5
    assert "Nothing is written to disk or leaves this computer" in read_texts(app)


def test_on_a_shared_demo_it_says_where_the_images_stay(open_page, monkeypatch):
    app = open_page("Predict")
    monkeypatch.setenv("POLYP_DEMO", "1")
    app.run()
    assert "your images stay in the server's memory for this visit" in read_texts(app)
    assert "or leaves this computer" not in read_texts(app)


def test_the_images_to_try_are_answered_and_go_when_others_come(open_page, pictures):
    app = open_page("Predict")
    click(app, "Try these five")
    assert not app.exception
    assert {"patient-002_1.png", "landscape.png"} <= set(app.dataframe[0].value["file"])
    app = upload(app, (pictures[0].name, pictures[0].read_bytes()))
    assert "landscape.png" not in read_plainly(app)


def test_the_shipped_model_answers_on_first_start(open_page, pictures):
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    texts = read_plainly(app)
    expected = load_classifier(DEMO_RUN).classify(pictures[0])
    assert expected.class_name.capitalize() in texts
    assert f"Probability of {expected.class_name}" in texts or "Probability of calcified" in texts
    assert len(app.get("image")) == 2
    assert len(app.get("plotly_chart")) == 1
    assert "Trained on synthetic images only" in texts
    assert "95 % interval" in texts
    assert "For research and teaching, not for diagnosis." in texts


def test_uploads_never_touch_the_disk_while_they_come_in(open_page, monkeypatch):
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 2**20)
    open_page("Predict")
    assert MultiPartParser.spool_max_size > st.get_option("server.maxUploadSize") * 2**20


def test_a_bad_file_does_not_spoil_the_good_one(open_page, pictures):
    app = upload(
        open_page("Predict"), ("fake.png", b"hello"), (pictures[0].name, pictures[0].read_bytes())
    )
    assert "'fake.png' is not an image that can be read, whatever its name says." in read_plainly(
        app
    )
    assert len(app.get("image")) == 2


def test_an_image_that_cannot_be_decoded_is_one_calm_box(open_page, pictures):
    app = upload(open_page("Predict"), ("cut.png", pictures[0].read_bytes()[:400]))
    assert "'cut.png'" in app.error[0].value.replace("\\", "")
    assert len(app.get("image")) == 0


def test_moving_the_opacity_changes_the_overlay_alone(open_page, pictures):
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    picture, overlay = (image.proto.imgs[0].url for image in app.get("image"))
    app.slider(key="opacity").set_value(0).run()
    picture_after, overlay_after = (image.proto.imgs[0].url for image in app.get("image"))
    assert picture_after == picture
    assert overlay_after != overlay


def test_both_directions_are_told_in_words_and_colours(open_page, pictures):
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    overlays = []
    for direction, words in (("positive", "speaks for"), ("negative", "speaks against")):
        app.segmented_control(key="direction").set_value(direction).run()
        assert f"{words} calcified" in read_plainly(app)
        overlays.append(app.get("image")[1].proto.imgs[0].url)
    assert overlays[0] != overlays[1]


def test_the_part_of_the_picture_that_is_used_is_outlined_and_told(
    open_page, monkeypatch, pictures
):
    whole = load_classifier(DEMO_RUN)
    data = replace(whole.config.data, region="box", region_box=(0, 0, 50, 100))
    half = replace(whole, config=replace(whole.config, data=data), familiarity=None)
    monkeypatch.setattr(ui.readers, "load_classifier", lambda run: half)
    app = upload(open_page("Predict"), ("half.png", pictures[0].read_bytes()))
    assert "The outlined part is used, 50 % of the picture" in read_texts(app)


def test_a_name_with_markdown_is_shown_literally(open_page, pictures):
    name = "![x](http:example.invalid:x.png) **b** <b>.png"
    app = upload(open_page("Predict"), (name, pictures[0].read_bytes()))
    caption = next(c.value for c in app.caption if "example" in c.value)
    assert caption.replace("\\", "") == name
    assert "\\!\\[x\\]\\(" in caption


def test_within_the_band_the_answer_is_not_sure(open_page, own_run, pictures, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    write_decision(own_run, Decision(Goal("hand", 0.5), 0.5, Band(0.0, 1.0), 0.01))
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    texts = read_plainly(app)
    assert "Not sure: show it to a person" in texts
    assert "Between 0 and 100 % this model is to give no answer" in texts
    write_decision(own_run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.5), 0.01))
    assert "Not sure" not in read_plainly(app.run())


def test_a_stranger_gets_no_answer_but_reasons(open_page, monkeypatch):
    tell_strangers(monkeypatch, p_value=0.004, reasons=("it is in *colour*, the others are grey",))
    app = upload(open_page("Predict"), ("beach.png", make_stranger()))
    texts = read_texts(app)
    assert "No answer: not like the training images" in texts
    assert "- It is in \\*colour\\*, the others are grey" in texts
    assert "Stranger than 996 of 999 training images it was compared with." in texts
    assert "Probability of" not in texts
    assert len(app.get("image")) == 1
    assert len(app.get("plotly_chart")) == 0


def test_what_the_model_would_say_of_a_stranger_comes_with_a_warning(open_page, monkeypatch):
    tell_strangers(monkeypatch)
    app = upload(open_page("Predict"), ("anyway.png", make_stranger()))
    app.session_state["anyway anyway.png 0"] = True
    app.run()
    texts = read_texts(app)
    assert "Do not rely on it" in texts
    assert "Probability of calcified" in texts


@pytest.mark.parametrize(
    ("num_beyond", "num_known", "is_near", "said"),
    [
        (0, 60, False, "Stranger than all 60 training images it was compared with."),
        (0, 2000, False, "Stranger than all 2,000 training images it was compared with."),
        (3, 100, False, "Stranger than 97 of 100 training images it was compared with."),
        (
            *(3, 100, True),
            "Stranger than 97 of 100 training images it was compared with. That is near the limit: "
            "of images that are like them about 5 in 100 are refused as well.",
        ),
        (0, 0, False, "Stranger than the training images."),
    ],
)
def test_how_strange_an_image_is_is_counted_in_training_images(
    num_beyond, num_known, is_near, said
):
    verdict = Verdict(
        p_value=(1 + num_beyond) / (1 + num_known), is_stranger=True, num_beyond=num_beyond,
        num_known=num_known, is_near=is_near,
    )  # fmt: skip
    assert say_unlike(SimpleNamespace(verdict=verdict)) == said


def test_a_familiar_image_is_said_to_be_one(open_page, monkeypatch, pictures):
    tell_strangers(monkeypatch, p_value=0.62, reasons=(), is_stranger=False)
    app = upload(open_page("Predict"), ("familiar.png", pictures[0].read_bytes()))
    assert "Not unlike the training images" in read_texts(app)
    assert "cannot tell whether" not in read_texts(app)


def test_a_model_that_knows_nothing_of_its_images_says_so(open_page, monkeypatch, pictures):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), ("unknown.png", pictures[0].read_bytes()))
    texts = read_texts(app)
    assert "It cannot tell whether an image is like its training images" in texts
    assert "Train again" in texts
    assert "Not unlike the training images" not in texts


def test_a_large_colour_picture_is_shown_losslessly(open_page, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), ("large.png", make_stranger(1500, 900)))
    assert all(image.proto.imgs[0].url.endswith(".png") for image in app.get("image"))


def test_the_page_of_an_image_is_written_when_asked_for(open_page, pictures, monkeypatch):
    offered = note_downloads(monkeypatch)
    upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    sheet = offered["Sheet"]()
    assert pictures[0].name in sheet
    assert "not for diagnosis" in sheet


def test_a_tampered_model_is_a_calm_box(open_page, own_run):
    own_run.path("serving.tflite").write_bytes(b"x")
    app = open_page("Predict")
    assert "is not the file that training wrote" in app.error[0].value


def test_the_camera_is_asked_for_only_when_it_is_chosen(open_page):
    app = open_page("Predict")
    assert len(app.get("camera_input")) == 0
    app.session_state["predict ways"] = ["camera", "folder"]
    app.run()
    assert len(app.get("camera_input")) == 1
    assert len(app.file_uploader) == 3  # that of a model included
    assert not app.exception


def test_a_photograph_of_the_camera_is_an_image_like_any_other(open_page):
    """It comes as a JPEG."""
    photo = cv2.imencode(".jpg", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    app = upload(open_page("Predict"), ("camera_input.jpg", photo))
    assert not app.error


def draw_bar(probability, band):
    colours = ("#0072B2", "#E69F00")
    names = ("non-calcified", "calcified")
    return charts.draw_probability(probability, 0.5, names, colours, band=band, is_dark=True)


def test_the_bar_bears_the_band_and_within_it_no_colour_of_a_class():
    band = Band(0.4, 0.6)
    outside, inside = draw_bar(0.9, band), draw_bar(0.55, band)
    assert {(shape.x0, shape.x1) for shape in outside.layout.shapes} == {(0.4, 0.6), (0.5, 0.5)}
    assert outside.data[1].marker.color == "#E69F00"
    assert inside.data[1].marker.color not in ("#0072B2", "#E69F00")


def test_without_a_band_the_bar_bears_the_threshold_alone():
    for band in (None, Band(0.5, 0.5)):
        assert [shape.x0 for shape in draw_bar(0.2, band).layout.shapes] == [0.5]
