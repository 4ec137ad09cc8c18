"""Many images: the table, its filter, pages, patients, two models, the link, what is left out."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import streamlit as st

import ui.predict_answers
import ui.predict_intake
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.errors import BusyError
from polyp_core.intake import Item, Limits
from polyp_core.phantom import draw_parameters, render_phantom
from tests.core.dicom_files import JPEG_2000, compress, pack
from tests.pages.conftest import click, read_texts
from tests.pages.predicting import (
    forget,
    make_stranger,
    note_downloads,
    read_plainly,
    tell_strangers,
    upload,
)
from ui.pictures import encode_png
from ui.predict_answers import Answer
from ui.predict_results import find_visit
from ui.predict_samples import draw_samples


@pytest.fixture(autouse=True)
def fresh_visit():
    forget()
    yield
    forget()


@pytest.fixture
def pictures(demo_data):
    """Two images of one patient."""
    paths = sorted((demo_data / "calcified").glob("patient-002_*.png"))[:2]
    return [(path.name, path.read_bytes()) for path in paths]


@pytest.fixture
def alike(demo_data):
    """A dozen names of nobody's images."""
    data = next((demo_data / "calcified").glob("*.png")).read_bytes()
    return [(f"{chr(97 + n)}.png", data) for n in range(12)]


def read_table(app):
    return app.dataframe[-1].value


def test_several_images_come_as_a_table_with_thumbnails(open_page, pictures):
    app = upload(open_page("Predict"), *pictures)
    table = read_table(app)
    assert list(table["file"]) == [name for name, _ in pictures]
    assert table["image"].str.startswith("data:image/png;base64,").all()
    assert table["probability"].between(1, 99).all()
    assert list(table["patient"]) == ["patient-002", "patient-002"]


def test_images_of_one_patient_are_pooled_and_it_is_said(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), *[(f"p{name}", data) for name, data in pictures])
    assert "1 patient with several images" not in read_texts(app)
    app = upload(open_page("Predict"), *[(f"x/{name}", data) for name, data in pictures])
    texts = read_plainly(app)
    assert "1 patient with several images" in texts
    assert "as the mean of 2 images" in texts


def test_strangers_are_left_out_of_a_patients_answer(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch)
    app = upload(open_page("Predict"), *[(f"y/{name}", data) for name, data in pictures])
    assert "no answer, all 2 images are unlike the training images" in read_plainly(app).replace(
        "*", ""
    )


def test_the_counts_filter_table_and_cards(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch)
    app = upload(
        open_page("Predict"), ("cut.png", pictures[0][1][:300]), ("z.png", make_stranger())
    )
    control = app.segmented_control(key="predict filter")
    assert [option.content for option in control.proto.options] == [
        "All (2)", "No answer (1)", "Not readable (1)",
    ]  # fmt: skip
    control.set_value("unreadable").run()
    assert not app.exception
    assert list(read_table(app)["file"]) == ["cut.png"]
    assert len(app.error) == 1
    assert "No answer: not" not in read_plainly(app)


def test_more_than_ten_images_come_in_pages_of_cards(open_page, alike, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), *alike)
    assert len(read_table(app)) == 12
    assert len(app.get("plotly_chart")) == 10
    app.get("pagination")[0].set_value(2).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2


def test_rows_picked_in_the_table_are_the_cards(open_page, alike, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    show = st.dataframe

    def pick(*args, **options):
        show(*args, **options)
        return {"selection": {"rows": [7, 2]}}

    monkeypatch.setattr(st, "dataframe", pick)
    app = upload(open_page("Predict"), *alike)
    assert len(app.get("plotly_chart")) == 2
    captions = [caption.value.replace("\\", "") for caption in app.caption]
    assert [name for name in captions if name.endswith(".png")] == ["c.png", "h.png"]


def test_the_same_file_twice_gets_two_answers(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), pictures[0], pictures[0])
    assert len(app.get("plotly_chart")) == 2


def test_a_zip_is_looked_into(open_page, pictures):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in pictures:
            archive.writestr(f"scans/{name}", data)
        archive.writestr("scans/read me.txt", "hello")
    app = upload(open_page("Predict"), ("scans.zip", packed.getvalue()))
    assert len(read_table(app)) == 2
    assert "1 file was left out ('scans.zip/scans/read me.txt')" in read_plainly(app)


def test_many_problems_do_not_bury_the_answer(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(8):
            archive.writestr(f"bad-{number}.png", "hello")
    app = upload(open_page("Predict"), ("scans.zip", packed.getvalue()), pictures[0])
    assert len(app.warning) == 3
    assert any("5 more were left out" in box.label for box in app.expander)
    assert len(app.get("plotly_chart")) == 1


def test_nothing_that_can_be_judged_is_no_empty_table(open_page):
    app = upload(open_page("Predict"), ("bad.txt", b"hello"))
    assert len(app.dataframe) == 0
    assert len(app.warning) == 1


def test_what_is_an_image_by_its_name_alone_counts_as_not_readable(
    open_page, pictures, monkeypatch
):
    tell_strangers(monkeypatch, is_known=False)
    cut, text, note = ("cut.png", pictures[0][1][:300]), ("text.JPG", b"hello"), ("a.txt", b"hello")
    hidden = ("._scan.png", b"hello")
    app = upload(open_page("Predict"), text, cut, note, hidden, *pictures)
    control = app.segmented_control(key="predict filter")
    said = [option.content for option in control.proto.options]
    assert f"All ({len(pictures) + 2})" in said
    assert "Not readable (2)" in said
    control.set_value("unreadable").run()
    assert list(read_table(app)["file"]) == ["cut.png", "text.JPG"]
    assert "'text.JPG' is not an image" in read_plainly(app)
    assert "1 file was left out ('a.txt')" in read_plainly(app)


def test_the_table_holds_every_image_and_takes_no_name_for_a_formula(
    open_page, pictures, monkeypatch
):
    offered = note_downloads(monkeypatch)
    upload(open_page("Predict"), ("=1+1.png", pictures[0][1]), ("cut.png", pictures[0][1][:300]))
    csv = offered["Table"]()
    assert "'=1+1.png" in csv
    assert "cut.png" in csv
    assert len(csv.splitlines()) == 3


def test_the_sheets_come_as_a_zip_with_the_table(open_page, pictures, monkeypatch):
    offered = note_downloads(monkeypatch)
    upload(open_page("Predict"), *pictures)
    with zipfile.ZipFile(io.BytesIO(offered["Sheets"]())) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".html") for name in names) == 2
    assert "predictions.csv" in names


def test_an_own_run_can_be_chosen(open_page, own_run, pictures):
    app = open_page("Predict")
    assert app.selectbox(key="model").options == ["own", "Demo model (synthetic images)"]
    app = upload(app, pictures[0])
    assert "Trained on synthetic images only" not in read_texts(app)
    num_images = len(own_run.read_index().select("train"))
    assert f"Trained on {num_images} images of" in read_texts(app)


def test_numbers_that_were_patients_in_training_are_patients_of_few_images_too(
    open_page, own_run, pictures
):
    numbered = [(f"7_{n}.png", data) for n, (_, data) in enumerate(pictures)]
    app = upload(open_page("Predict"), *numbered)
    assert "with several images" not in read_texts(app)
    forget()
    images = own_run.read_index().images
    assert images["group"].nunique() >= 10
    number = images.groupby("group").ngroup().astype(str)
    names = number + "_" + images.groupby("group").cumcount().astype(str) + ".png"
    images = images.assign(group=number, path=images["path"].str.rpartition("/")[0] + "/" + names)
    own_run.write_table("index.csv", images)
    app = upload(open_page("Predict"), *numbered)
    assert "1 patient with several images" in read_texts(app)


def test_an_own_run_on_synthetic_images_says_so(open_page, own_run):
    own_run.write_json("shared.json", {"synthetic": True})
    assert "All are synthetic." in read_texts(open_page("Predict"))


def test_a_link_names_the_model(open_page, own_run):
    app = open_page("Predict")
    assert app.query_params["model"] == "own"
    app.query_params["model"] = "demo"
    app.run()
    assert "Trained on synthetic images only" in read_texts(app)
    assert app.selectbox(key="model").value.name == "demo_run"


def test_a_link_to_a_model_that_is_not_there_is_a_calm_box(open_page):
    app = open_page("Predict")
    app.query_params["model"] = "../*gone*"
    app.run()
    assert not app.exception
    assert "The link's model '../*gone*' is not here." in app.error[0].value.replace("\\", "")
    assert app.query_params["model"] == "demo"


def test_the_run_that_the_train_page_hands_over_is_the_model(open_page, own_run):
    demo_first = open_page("Predict", **{"run to predict with": str(own_run.directory.absolute())})
    assert demo_first.selectbox(key="model").value == own_run


def test_an_image_that_the_model_was_trained_on_is_told(open_page, own_run):
    index = own_run.read_index()
    said = "was trained on this very image"
    for split in ("train", "validation"):
        path = index.folder / index.select(split)["path"].iloc[0]
        text = read_plainly(upload(open_page("Predict"), (path.name, path.read_bytes())))
        assert (said in text) == (split == "train")


def test_an_image_that_is_refused_though_the_model_was_trained_on_it_says_both_at_once(
    open_page, own_run, monkeypatch
):
    tell_strangers(monkeypatch)
    index = own_run.read_index()
    path = index.folder / index.select("train")["path"].iloc[0]
    text = read_plainly(upload(open_page("Predict"), (path.name, path.read_bytes())))
    assert (
        "There is no answer although the model was trained on this very image: about 5\xa0% of "
        "images like the training images are refused too."
    ) in text
    assert "says nothing of how good it is" not in text


def test_a_model_of_other_classes_is_not_compared(open_page, own_run):
    assert [toggle.label for toggle in open_page("Predict").toggle] == [
        "Compare with a second model"
    ]
    values = json.loads(own_run.path("config.json").read_text())
    own_run.write_json("config.json", values | {"class_names": ["cyst", "tumour"]})
    assert not open_page("Predict").toggle


def test_with_one_model_there_is_nothing_to_compare(open_page):
    assert not open_page("Predict").toggle


def test_two_models_answer_side_by_side_and_it_is_said_where_they_differ(
    open_page, own_run, pictures, monkeypatch
):
    tell_strangers(monkeypatch, is_known=False)
    write_decision(own_run, Decision(Goal("hand", 0.5), 0.5, Band(0.0, 1.0), 0.01))
    app = open_page("Predict")
    app.toggle[0].set_value(True).run()
    app = upload(app, *pictures)
    texts = read_plainly(app)
    assert "They differ: own says not sure, Demo model (synthetic images) says" in texts.replace(
        "*", ""
    )
    assert len(app.get("plotly_chart")) == 4
    assert "second" in read_table(app)
    options = app.segmented_control(key="predict filter").proto.options
    assert "The models differ (2)" in [option.content for option in options]


def test_the_images_to_try_show_a_refusal_of_the_model_that_ships(open_page):
    app = open_page("Predict")
    click(app, "Try these five")
    table = read_table(app).set_index("file")
    assert table.loc["landscape.png", "answer"] == "no answer"
    assert (table.drop("landscape.png")["answer"] != "no answer").all()


def test_what_was_asked_once_is_not_asked_again(open_page, alike, monkeypatch):
    app = upload(open_page("Predict"), *[(f"once-{name}", data) for name, data in alike])

    def fail(*arguments):
        raise AssertionError("decoded again")

    monkeypatch.setattr("ui.readers.decode_safely", fail)
    app.slider(key="opacity").set_value(20).run()
    app.get("pagination")[0].set_value(2).run()
    app.run()
    assert not app.exception


def test_an_image_that_had_to_wait_too_long_is_asked_again(open_page, pictures, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(data, name, frame=0):
            raise BusyError(f"'{name}' was not decoded: many pictures are waiting.")

        patch.setattr("ui.readers.decode_safely", refuse)
        app = upload(open_page("Predict"), pictures[0])
        assert "many pictures are waiting" in read_plainly(app)
    app.run()
    assert "many pictures are waiting" not in read_plainly(app)
    assert "Probability of calcified" in read_plainly(app)


def test_a_film_that_had_to_wait_too_long_is_taken_at_the_next_try(open_page, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    frame = render_phantom(draw_parameters(0, 2, 1))[:200, :200]
    film = pack([compress(frame)], JPEG_2000, (200, 200))
    with monkeypatch.context() as patch:

        def refuse(data, name):
            raise BusyError(f"'{name}' was not decoded: many pictures are waiting.")

        patch.setattr("polyp_core.intake.basket.read_facts", refuse)
        app = upload(open_page("Predict"), ("film", film))
        assert "many pictures are waiting" in read_plainly(app)
    app.run()
    assert "many pictures are waiting" not in read_plainly(app)
    assert "Probability of calcified" in read_plainly(app)


def test_images_that_take_too_long_to_decode_are_judged_in_parts(open_page, pictures, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    monkeypatch.setattr(ui.predict_answers, "_BUDGET_S", 0.0)
    data = pictures[0][1]
    app = upload(open_page("Predict"), *[(f"slow-{n}.png", data) for n in range(3)])
    text = read_plainly(app)
    assert "2 images were not judged: the images before took longer than 0 s to decode." in text
    assert "Probability of calcified" in text
    app.run()  # whatever is clicked does not begin another round
    assert "2 images were not judged" in read_plainly(app)
    app.button(key="predict go on").click().run()
    assert "1 image was not judged" in read_plainly(app)
    assert list(read_table(app)["file"]) == ["slow-0.png", "slow-1.png"]
    app.button(key="predict go on").click().run()
    assert "not judged" not in read_plainly(app)
    assert len(read_table(app)) == 3


def test_images_that_are_known_take_nothing_of_the_time(open_page, alike, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    app = upload(open_page("Predict"), *alike)
    monkeypatch.setattr(ui.predict_answers, "_BUDGET_S", 0.0)
    app.run()
    assert "not judged" not in read_plainly(app)
    assert len(read_table(app)) == 12


def test_a_shared_demo_decodes_for_a_shorter_time(open_page, pictures, monkeypatch):
    monkeypatch.setattr(ui.predict_answers, "_DEMO_BUDGET_S", 0.0)
    assert "not judged" not in read_plainly(upload(open_page("Predict"), *pictures))
    forget()
    monkeypatch.setenv("POLYP_DEMO", "1")
    assert "1 image was not judged" in read_plainly(upload(open_page("Predict"), *pictures))


def test_other_contents_of_the_same_names_are_other_images(finished_run):
    def answer(content):
        sha256 = hashlib.sha256(content).hexdigest()
        item = Item(name="a", data=content, frame=0, num_frames=1, patient="", sha256=sha256)
        return Answer(item=item, prediction=None)

    names = {find_visit([answer(content)], finished_run, None) for content in (b"1", b"2", b"1")}
    assert len(names) == 2


def test_a_shared_demo_takes_fewer_images_at_once(open_page, pictures, monkeypatch):
    monkeypatch.setattr(ui.predict_intake, "_DEMO_LIMITS", Limits(max_files=1))
    assert "were left out" not in read_plainly(upload(open_page("Predict"), *pictures))
    monkeypatch.setenv("POLYP_DEMO", "1")
    text = read_plainly(upload(open_page("Predict"), *pictures))
    assert "1 file was left out" in text
    assert "at most 1 image is taken at once" in text


def test_a_drawn_image_is_a_phantom_like_those_of_the_demo_set(demo_data):
    name, data = draw_samples()[0]
    assert name == "patient-002_1.png"
    expected = render_phantom(draw_parameters(0, 2, 1))
    assert data == encode_png(np.asarray(expected)[..., np.newaxis])


def test_the_frames_of_a_film_are_judged_one_by_one_and_pooled(open_page, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    frames = [render_phantom(draw_parameters(0, 2, image))[:200, :200] for image in (1, 2, 3)]
    film = pack([compress(frame) for frame in frames], JPEG_2000, (200, 200))
    app = upload(open_page("Predict"), ("film", film))
    assert list(read_table(app)["file"]) == [f"film, frame {n}" for n in (1, 2, 3)]
    texts = read_plainly(app)
    assert "Film film: " in texts
    assert "as the mean of 3 images" in texts


def test_patients_by_the_dozen_stand_in_a_table(open_page, alike, monkeypatch):
    tell_strangers(monkeypatch, is_known=False)
    data = alike[0][1]
    names = [f"patient-{patient:02}_{n}.png" for patient in range(1, 9) for n in (1, 2)]
    app = upload(open_page("Predict"), *[(name, data) for name in names])
    patients = app.dataframe[0].value
    assert len(patients) == 8
    assert (patients["of"] == "mean of 2 images").all()
