import pytest

from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.prediction import load_classifier
from polyp_core.workspace import DEMO_RUN
from tests.pages.conftest import read_texts


@pytest.fixture
def pictures(demo_data):
    return sorted((demo_data / "calcified").glob("*.png"))[:2]


def upload(app, *files):
    for name, content in files:
        app.file_uploader[0].upload(name, content)
    app.run()
    assert not app.exception
    return app


def test_empty_it_says_what_would_stand_here_and_offers_demo_images(open_page):
    app = open_page("Predict")
    assert "answer will stand here" in read_texts(app)
    assert [b.label for b in app.button] == ["Try it with four demo images"]


def test_the_shipped_model_answers_on_first_start(open_page, pictures):
    app = upload(open_page("Predict"), *[(p.name, p.read_bytes()) for p in pictures])
    classifier = load_classifier(DEMO_RUN)
    texts = read_texts(app)
    for path in pictures:
        expected = classifier.classify(path)
        assert expected.class_name.capitalize().replace("-", "\\-") in texts
    assert len(app.get("image")) == 4
    assert len(app.get("plotly_chart")) == 2
    assert "Trained on synthetic images only" in texts
    assert "95 % interval" in texts


def test_a_bad_file_does_not_spoil_the_good_one(open_page, pictures):
    app = upload(
        open_page("Predict"), ("fake.png", b"hello"), (pictures[0].name, pictures[0].read_bytes())
    )
    assert app.error[0].value.replace("\\", "") == (
        "'fake.png' is not an image that can be read, whatever its name says. Expected PNG, JPEG, "
        "BMP, TIFF, WebP or DICOM. Export it again in one of these."
    )
    assert len(app.get("image")) == 2


def test_moving_the_opacity_changes_the_overlay_alone(open_page, pictures):
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    picture, overlay = (image.proto.imgs[0].url for image in app.get("image"))
    app.slider(key="opacity").set_value(0).run()
    picture_after, overlay_after = (image.proto.imgs[0].url for image in app.get("image"))
    assert picture_after == picture
    assert overlay_after != overlay


def test_a_name_with_markdown_is_shown_literally(open_page, pictures):
    name = "![x](http://example.invalid/x.png) **b** <b>.png"
    app = upload(open_page("Predict"), (name, pictures[0].read_bytes()))
    caption = next(c.value for c in app.caption if "example" in c.value)
    assert caption.replace("\\", "") == name
    assert "\\!\\[x\\]\\(" in caption


def test_more_than_ten_images_come_in_pages(open_page, pictures):
    data = pictures[0].read_bytes()
    app = upload(open_page("Predict"), *[(f"{n}.png", data) for n in range(12)])
    assert len(app.get("image")) == 20


def test_an_own_run_can_be_chosen(open_page, own_run, pictures):
    app = open_page("Predict")
    assert app.selectbox(key="model").options == ["own", "Demo model (synthetic images)"]
    app = upload(app, (pictures[0].name, pictures[0].read_bytes()))
    assert "Trained on synthetic images only" not in read_texts(app)


def test_within_the_band_the_answer_is_not_sure(open_page, own_run, pictures):
    write_decision(own_run, Decision(Goal("hand", 0.5), 0.5, Band(0.0, 1.0), 0.01))
    app = upload(open_page("Predict"), (pictures[0].name, pictures[0].read_bytes()))
    texts = read_texts(app)
    assert "Not sure" in texts
    assert "Between 0 and 100 % this model is to give no answer" in texts
    write_decision(own_run, Decision(Goal("hand", 0.5), 0.5, Band(0.5, 0.5), 0.01))
    assert "Not sure" not in read_texts(app.run())


def test_a_tampered_model_is_a_calm_box(open_page, own_run):
    own_run.path("serving.tflite").write_bytes(b"x")
    app = open_page("Predict")
    assert "is not the file that training wrote" in app.error[0].value


def test_the_same_file_twice_gets_two_answers(open_page, pictures):
    data = pictures[0].read_bytes()
    app = upload(open_page("Predict"), ("a.png", data), ("a.png", data))
    assert len(app.get("image")) == 4
