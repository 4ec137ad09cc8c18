import base64
import csv
import hashlib
import io
import re
import zipfile
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest

from polyp_core.answers import (
    NOTICE,
    Credentials,
    bundle,
    encode_thumbnail,
    outline_region,
    pool_patients,
    read_credentials,
    say_pooling,
    say_probability,
    tabulate,
    write_csv,
    write_sheet,
    write_sheets,
)
from polyp_core.answers.drawing import draw_bar
from polyp_core.answers.pictures import shrink_prediction
from polyp_core.answers.wording import say_familiarity, say_share, word_answer
from polyp_core.decision import Band, read_worth
from polyp_core.errors import ImageError
from polyp_core.familiarity import Verdict
from polyp_core.intake import Item
from polyp_core.metrics import pool_patients as pool_table
from polyp_core.prediction import Classifier, Prediction, draw_overlay
from polyp_core.presets import get_preset
from polyp_core.runs import Run
from polyp_core.words import get_main_level, say_worth
from polyp_core.workspace import DEMO_RUN

STRANGE = Verdict(
    p_value=0.001, is_stranger=True, reasons=("it is in colour", "it is smoother than they are")
)
KNOWN = Verdict(p_value=0.41, is_stranger=False, num_beyond=41, num_known=100)
WHEN = datetime(2026, 5, 4, 9, 5)
CREDENTIALS = Credentials(
    name="Model <7>", sha256="abcdef0123456789", training="Trained on 3 images.",
    validation="Validation: 2 of 3 images right.",
)  # fmt: skip


class NoPredictor:
    """What makes answers of predictions asks no model."""


CLASSIFIER = Classifier(
    predictor=NoPredictor(),
    config=get_preset("compact"),
    class_names=("non-calcified", "calcified"),
    threshold=0.5,
    saliency_scale=1.0,
)
DOUBTFUL = replace(CLASSIFIER, band=Band(0.35, 0.65))


def make_picture(height=60, width=80, channels=1):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def predict(probability, *, classifier=CLASSIFIER, verdict=None, picture=None, box=None):
    picture = make_picture() if picture is None else picture
    saliency = np.array([[0.9, 0.0], [0.0, -0.6]], np.float32)
    height, width = picture.shape[:2]
    return Prediction(
        name="a.png", picture=picture, box=box or (0, 0, width, height), probability=probability,
        saliency=saliency, verdict=verdict, **classifier.decide(probability),
    )  # fmt: skip


def make_item(name="a.png", frame=0, num_frames=1, patient=""):
    return Item(
        name=name, data=b"x", frame=frame, num_frames=num_frames, patient=patient,
        sha256=hashlib.sha256(b"x").hexdigest(),
    )  # fmt: skip


# --- one answer for a patient


def test_a_patient_is_the_mean_of_the_images():
    pairs = [("Ada", predict(0.9)), ("Bo", predict(0.1)), ("Ada", predict(0.2))]
    (answer,) = pool_patients(pairs, CLASSIFIER)
    assert answer.patient == "Ada"
    assert answer.probability == pytest.approx(0.55)
    assert (answer.class_name, answer.is_sure) == ("calcified", True)
    assert (answer.num_images, answer.num_refused) == (2, 0)
    assert say_pooling(answer) == "mean of 2 images"


def test_patients_are_pooled_as_the_evaluation_pools_them():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"group": list("abcabcacb"), "probability": rng.random(9)})
    expected = pool_table(rows.assign(label=0)).set_index("group")["probability"]
    pairs = [(row.group, predict(row.probability)) for row in rows.itertuples()]
    pooled = {answer.patient: answer.probability for answer in pool_patients(pairs, CLASSIFIER)}
    assert pooled == pytest.approx(expected.to_dict())


def test_images_of_nobody_known_are_not_pooled():
    assert pool_patients([("", predict(0.9)), ("", predict(0.9))], CLASSIFIER) == ()


def test_a_refused_image_is_left_out_of_the_mean_and_counted():
    pairs = [("Ada", predict(0.9)), ("Ada", predict(0.0, verdict=STRANGE)), ("Ada", predict(0.7))]
    (answer,) = pool_patients(pairs, CLASSIFIER)
    assert answer.probability == pytest.approx(0.8)
    assert (answer.num_images, answer.num_refused) == (3, 1)
    assert say_pooling(answer) == "mean of 2 images; 1 left out as unlike the training images"


def test_a_patient_whose_images_are_all_refused_gets_no_class():
    (answer,) = pool_patients([("Ada", predict(0.9, verdict=STRANGE))] * 2, CLASSIFIER)
    assert (answer.class_name, answer.is_sure) == ("", False)
    assert np.isnan(answer.probability)
    assert say_pooling(answer) == "all 2 images are unlike the training images"


def test_the_band_holds_for_the_patient_and_not_for_its_images():
    pairs = [("Ada", predict(0.95, classifier=DOUBTFUL)), ("Ada", predict(0.1))]
    (answer,) = pool_patients(pairs, DOUBTFUL)
    assert (answer.class_name, answer.is_sure) == ("calcified", False)


# --- the table


def test_the_table_has_a_row_a_picture_whatever_became_of_it():
    rows = [
        (make_item(patient="Ada"), predict(0.91234567, verdict=KNOWN)),
        (make_item("film", frame=2, num_frames=5), predict(0.5, classifier=DOUBTFUL)),
        (("b.png", 0, ""), predict(0.2, verdict=STRANGE)),
        (("c.png", 0, ""), ImageError("'c.png' is not an image.")),
    ]
    table = tabulate(rows, DOUBTFUL)
    assert list(table.columns) == [
        "file", "frame", "patient", "class", "probability of calcified", "sure", "familiar",
        "reason", "error",
    ]  # fmt: skip
    assert table.fillna(-1).to_numpy().tolist() == [
        ["a.png", 0, "Ada", "calcified", 0.9123, "yes", "yes", "", ""],
        ["film", 2, "", "calcified", 0.5, "no", "unknown",
         "From 35 % to 65 % this model is to give no answer.", ""],
        ["b.png", 0, "", "", -1, "no", "no", "it is in colour; it is smoother than they are", ""],
        ["c.png", 0, "", "", -1, "", "", "", "'c.png' is not an image."],
    ]  # fmt: skip


def test_a_table_of_nothing_has_its_columns():
    table = tabulate([], CLASSIFIER)
    assert len(table) == 0
    assert "probability of calcified" in table


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(start):
    name = f"{start}cmd|' /C calc'!A0"
    table = tabulate([(make_item(name), predict(0.9))], CLASSIFIER)
    ((written, *_),) = list(csv.reader(io.StringIO(write_csv(table), newline="")))[1:]
    assert written == f"'{name}".replace("\r", "\n")


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_no_part_of_a_name_becomes_a_formula_where_the_table_is_split_elsewhere(separator):
    names = ["x;=1+1.png", "y\t+1", 'q;"=2', "n\n-3", "s; @4", "a;b;;\uff1d5", "c,=6;=6", '"=7;"=7']
    patient = "a;=cmd|' /C calc'!A0"
    rows = [(make_item(name, patient=patient), predict(0.9)) for name in names]
    table = write_csv(tabulate(rows, CLASSIFIER))
    other = csv.reader(io.StringIO(table, newline=""), delimiter=separator)
    cells = [cell for row in other for cell in row]
    assert any("1+1.png" in cell for cell in cells)
    assert not [cell for cell in cells if cell.lstrip(' "').startswith(tuple("=+-@\uff1d"))]


def test_a_name_with_a_semicolon_is_changed_no_more_than_needed():
    table = pd.DataFrame({"file": ["a;b=c.png", "a-b;c-d.png", "x;=1"]})
    assert write_csv(table) == "file\na;b=c.png\na-b;c-d.png\nx;'=1\n"


def test_a_carriage_return_in_a_name_begins_no_row_with_a_formula():
    table = pd.DataFrame({"file": ["a\r=1+1", "b\r\n=2"]})
    assert write_csv(table) == 'file\n"a\n\'=1+1"\n"b\n\'=2"\n'


def test_numbers_stay_numbers_in_the_csv():
    table = pd.DataFrame({"a": [-1.5, 2.0], "=b": ["x", "-y"]})
    assert write_csv(table) == "a,'=b\n-1.5,x\n2.0,'-y\n"


# --- pictures


def decode(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_keeps_the_aspect_and_the_colours(channels):
    picture = np.zeros((200, 400, channels), np.uint8) + np.array([200, 100, 50][:channels], "u1")
    small = decode(encode_thumbnail(picture))
    assert small.shape[:2] == (48, 96)
    assert (small == (200 if channels == 1 else [50, 100, 200])).all()  # OpenCV reads BGR


def test_a_thumbnail_of_a_small_picture_is_the_picture():
    picture = make_picture(5, 7)
    assert np.array_equal(decode(encode_thumbnail(picture)), picture[..., 0])


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1)])
def test_a_line_of_pixels_has_a_thumbnail(shape):
    assert max(decode(encode_thumbnail(make_picture(*shape))).shape) == 96


def test_a_shrunk_prediction_keeps_its_box_in_place_and_at_least_a_pixel():
    picture = make_picture(600, 1000)
    small = shrink_prediction(predict(0.5, picture=picture, box=(100, 60, 900, 540)), 100)
    assert small.picture.shape == (60, 100, 1)
    assert small.box == (10, 6, 90, 54)
    corner = shrink_prediction(predict(0.5, picture=picture, box=(999, 599, 1000, 600)), 10)
    left, top, right, bottom = corner.box
    assert (right - left, bottom - top) == (1, 1)
    assert draw_overlay(corner, 0.7).shape == (6, 10, 3)


def test_the_region_is_outlined_and_the_rest_darkened():
    picture = np.full((100, 100, 1), 90, np.uint8)
    shown = outline_region(picture, (20, 20, 80, 80))
    assert (shown[5, 5] == 30).all()
    assert (shown[50, 50] == 90).all()
    assert not (shown[20, 50] == 90).all()
    assert (outline_region(picture, (0, 0, 100, 100)) == 90).all()


# --- the sheet


class Reader(HTMLParser):
    """Collects what a browser would take from a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.words, self._inside = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside.append(tag)
        self.links += [
            value for name, value in attributes if name in ("src", "href", "action", "data")
        ]

    def handle_endtag(self, tag):
        self._inside = self._inside[:-1]

    def handle_data(self, data):
        if "style" not in self._inside:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words)).replace("\xa0", " ")

    def list_pictures(self):
        return [attributes for tag, attributes in self.tags if tag == "img"]


def read_sheet(prediction, classifier=CLASSIFIER, **options):
    return Reader(write_sheet(prediction, classifier, CREDENTIALS, made_at=WHEN, **options))


@pytest.mark.parametrize(
    ("num_beyond", "num_known", "said"),
    [
        (0, 20, "Not clearly unlike the 20 training images, but beyond them all."),
        (1, 50, "Not unlike the training images: 2\u00a0% of them are at least as unusual."),
        (1, 604, "Not unlike the training images: under 1\u00a0% of them are at least as unusual."),
        (2000, 2000, "Not unlike the training images: 100\u00a0% of them are at least as unusual."),
        (0, 0, "Not unlike the training images."),
    ],
)
def test_the_share_of_images_as_unusual_leaves_the_image_itself_out(num_beyond, num_known, said):
    verdict = Verdict(
        p_value=(1 + num_beyond) / (1 + num_known), is_stranger=False, num_beyond=num_beyond,
        num_known=num_known,
    )  # fmt: skip
    assert say_familiarity(predict(0.9, verdict=verdict)) == said


def test_a_sheet_says_the_answer_the_number_and_what_the_model_is_worth():
    text = read_sheet(predict(0.92, verdict=KNOWN), item=make_item(patient="Ada")).text
    for said in (
        "a.png", "80 × 60 pixels", "Patient: Ada", "Calcified",
        "Probability of calcified: 92 %. That is at or above the threshold of 50 %.",
        "Not unlike the training images: 41 % of them are at least as unusual.",
        "Bright: speaks for calcified.", "Bright: speaks against calcified.",
        "Model <7> sha256 abcdef012345", "Trained on 3 images. Validation: 2 of 3 images right.",
        "sha256 2d711642b726", "2026-05-04 09:05", NOTICE,
    ):  # fmt: skip
        assert said in text


def test_a_sheet_of_the_other_class_is_below_the_threshold():
    text = read_sheet(predict(0.08)).text
    assert "Non-calcified" in text
    assert "Probability of calcified: 8 %. That is below the threshold of 50 %." in text
    assert "was not checked" in text


def test_a_sheet_without_a_sure_answer_names_no_class():
    reader = read_sheet(predict(0.6, classifier=DOUBTFUL), DOUBTFUL)
    assert (
        "Not sure Probability of calcified: 60 %. From 35 % to 65 % this model is to give no "
        "answer. Show it to a person." in reader.text
    )
    assert "Hatched: no answer is to be given here." in reader.text
    assert "threshold of" not in reader.text


def test_a_sheet_of_a_stranger_gives_reasons_and_neither_number_nor_evidence():
    reader = read_sheet(predict(0.92, verdict=STRANGE))
    assert (
        "No answer This image is unlike the images that the model was trained on: it is in "
        "colour; it is smoother than they are. Show it to a person." in reader.text
    )
    assert "92 %" not in reader.text
    assert "speaks" not in reader.text
    assert len(reader.list_pictures()) == 1


def test_a_sheet_shows_the_picture_and_both_directions():
    prediction = predict(0.92)
    pictures = [decode(image["src"]) for image in read_sheet(prediction).list_pictures()]
    expected = [
        outline_region(prediction.picture, prediction.box),
        draw_overlay(prediction, 0.7),
        draw_overlay(prediction, 0.7, positive=False),
    ]
    for shown, drawn in zip(pictures, expected, strict=True):
        shown = shown[..., np.newaxis] if shown.ndim == 2 else shown[..., ::-1]
        assert np.array_equal(np.broadcast_to(shown, drawn.shape), drawn)


def test_a_sheet_says_where_nothing_speaks():
    mute = replace(predict(0.4), saliency=np.zeros((2, 2), np.float32))
    text = read_sheet(mute).text
    assert "Nothing here speaks for calcified." in text
    assert "Nothing here speaks against calcified." in text


def test_the_pictures_of_a_sheet_are_at_most_800_px():
    large = predict(0.9, picture=make_picture(1500, 2000, 3), box=(10, 10, 1900, 1400))
    reader = read_sheet(large)
    sizes = [max(decode(image["src"]).shape) for image in reader.list_pictures()]
    assert max(sizes) == 800
    assert "2000 × 1500 pixels" in reader.text
    assert "Outlined: the part that the model saw." in reader.text


@pytest.mark.parametrize(("shape", "layout"), [
    ((60, 80), "square"), ((100, 1000), "wide"), ((1000, 100), "tall"), ((1, 3000), "wide"),
])  # fmt: skip
def test_pictures_of_every_shape_fit_on_the_page(shape, layout):
    reader = read_sheet(predict(0.9, picture=make_picture(*shape)))
    (section,) = [a for tag, a in reader.tags if tag == "section" and "pictures" in a["class"]]
    assert section["class"] == f"pictures {layout}"
    for image in reader.list_pictures():
        width, height = decode(image["src"]).shape[1::-1]
        shown = float(re.match(r"width:([\d.]+)mm", image["style"])[1])
        assert 0 < shown <= 180
        assert shown * height / width <= 84.1


def test_a_film_and_its_patient_stand_on_the_sheet():
    pairs = [("film", predict(0.9)), ("film", predict(0.7)), ("film", predict(0, verdict=STRANGE))]
    (pooled,) = pool_patients(pairs, CLASSIFIER)
    item = make_item("film", frame=4, num_frames=40, patient="film")
    text = read_sheet(pairs[0][1], item=item, patient=pooled).text
    assert "Frame 5 of 40" in text
    assert (
        "All images of this patient together: calcified , probability of calcified 80 % (mean of "
        "2 images; 1 left out as unlike the training images)." in text
    )
    refused = replace(pooled, class_name="", num_refused=3, is_sure=False)
    assert "together: no answer (all 3 images" in read_sheet(pairs[0][1], patient=refused).text


def test_a_sheet_loads_nothing_and_runs_nothing():
    page = write_sheet(predict(0.9, verdict=KNOWN), DOUBTFUL, CREDENTIALS, item=make_item())
    reader = Reader(page)
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base", "a"}
    (policy,) = [a["content"] for t, a in reader.tags if a.get("http-equiv")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert reader.tags.index(("meta", {"charset": "utf-8"})) < 5
    assert not re.search(r"https?:|url\((?!#)|@import", re.sub(r"base64,[^\"]+", "", page))


HOSTILE = "\"><script>alert(1)</script>'<img src=x onerror=alert(1)>\u202egnp.exe&amp;"


def test_hostile_text_stays_text_wherever_it_stands():
    hostile = replace(CLASSIFIER, class_names=(f"no {HOSTILE}", HOSTILE))
    verdict = replace(STRANGE, reasons=(HOSTILE,))
    credentials = Credentials(name=HOSTILE, sha256=HOSTILE, training=HOSTILE, validation=HOSTILE)
    item = make_item(HOSTILE, patient=f"{HOSTILE} a")
    for shown in (
        predict(0.9, classifier=hostile),
        predict(0.9, classifier=hostile, verdict=verdict),
    ):
        (pooled,) = pool_patients([(HOSTILE, predict(0.9, classifier=hostile))] * 2, hostile)
        reader = Reader(write_sheet(shown, hostile, credentials, item=item, patient=pooled))
        tags = {tag for tag, _ in reader.tags}
        assert "script" not in tags
        assert not any("onerror" in a for _, a in reader.tags)
        assert "\u202e" not in reader.text
        assert "<script>alert(1)</script>" in reader.text


def test_endless_names_do_not_make_an_endless_page():
    endless = replace(CLASSIFIER, class_names=("no " + "x" * 9000, "y" * 9000))
    text = read_sheet(
        predict(0.9, classifier=endless), endless, item=make_item("n" * 9000, patient="p" * 9000)
    ).text
    assert len(text) < 4000
    assert "n" * 70 + "…" + "n" * 69 in text
    assert "Y" + "y" * 19 + "…" in text


def test_the_bar_shows_threshold_band_and_number_inside_its_frame():
    for probability in (0.0, 0.03, 0.5, 1.0):
        bar = draw_bar(probability, DOUBTFUL)
        assert "50\xa0% decides" in bar
        assert 'fill="url(#hatch)"' in bar
        assert all(0 <= float(place) <= 688 for place in re.findall(r' x1?="([-\d.]+)"', bar))
    assert "hatch" not in draw_bar(0.5, CLASSIFIER)
    assert "0\xa0%<" in draw_bar(0.5, replace(CLASSIFIER, threshold=0.9))


@pytest.mark.parametrize(("probability", "said"), [
    (1.0, "over 99 %"), (0.0, "under 1 %"), (0.842, "84 %"), (0.496, "49.6 %"),
])  # fmt: skip
def test_a_probability_has_no_false_precision(probability, said):
    assert say_probability(probability, 0.5).replace("\xa0", " ") == said


@pytest.mark.parametrize(("probability", "threshold", "said"), [
    (0.1231, 0.1234, "12.31 %. That is below the threshold of 12.34 %."),
    (0.4999996, 0.5, "49.99996 %. That is below the threshold of 50 %."),
    (0.98996, 0.99, "98.996 %. That is below the threshold of 99 %."),
    (0.5, 0.5, "50.0 %. That is at or above the threshold of 50 %."),
    (0.3751, 0.375, "37.51 %. That is at or above the threshold of 37.5 %."),
])  # fmt: skip
def test_a_probability_and_its_threshold_are_never_said_alike_unless_they_are(
    probability, threshold, said
):
    classifier = replace(CLASSIFIER, threshold=threshold)
    prediction = predict(probability, classifier=classifier)
    text = " ".join(word_answer(prediction, classifier).sentences).replace("\xa0", " ")
    assert text == f"Probability of calcified: {said}"
    bar = draw_bar(probability, classifier).replace("\xa0", " ")
    assert f"{said.split('threshold of ')[1].rstrip('.')} decides" in bar


@pytest.mark.parametrize(("share", "said"), [
    (0.5, "50 %"), (0.375, "37.5 %"), (0.123456, "12.3 %"), (0.99996, "99.996 %"), (1.0, "100 %"),
    (0.0, "0 %"), (0.0000001, "0.00001 %"), (1 - 1e-9, "99.9999999 %"), (0.07, "7 %"),
])  # fmt: skip
def test_a_share_is_100_only_where_it_is_all(share, said):
    assert say_share(share).replace("\xa0", " ") == said


# --- whom the threshold was chosen for


def test_a_threshold_that_was_chosen_for_others_is_said_to_be():
    for level, judged in (("", True), ("image", True), ("patient", False)):
        classifier = replace(DOUBTFUL, level=level)
        for probability, named in ((0.9, "threshold of 50 %"), (0.5, "From 35 % to 65 %")):
            text = read_sheet(predict(probability, classifier=classifier), classifier).text
            assert named in text
            assert (f"{named}, chosen for patients" in text) == (not judged)
    table = tabulate([(make_item(), predict(0.5, classifier=classifier))], classifier)
    assert table["reason"][0].startswith("From 35 % to 65 %, chosen for patients, this model is")


def test_a_threshold_of_single_images_is_said_to_be_one_on_a_patient():
    for level in ("", "image", "patient"):
        classifier = replace(CLASSIFIER, level=level)
        prediction = predict(0.9)
        (pooled,) = pool_patients([("Ada", prediction)] * 2, classifier)
        text = read_sheet(prediction, classifier, patient=pooled).text
        is_said = "The threshold was chosen for single images." in text
        assert is_said == (level == "image")


# --- what the model is worth


def test_the_credentials_are_those_of_the_run():
    credentials = read_credentials(DEMO_RUN, "Demo model")
    level, unit = get_main_level(read_worth(DEMO_RUN))
    assert credentials.name == "Demo model"
    assert credentials.sha256 == DEMO_RUN.read_serving()["sha256"]
    assert credentials.validation.startswith(f"Validation: {say_worth(level, unit)}.")
    train = DEMO_RUN.read_index().select("train")
    assert credentials.training == (
        f"Trained on {len(train)} images of {train['group'].nunique()} patients."
    )


def test_files_that_stand_for_themselves_are_no_patients(tmp_path):
    columns = (DEMO_RUN.path("index.csv").read_text().splitlines()[0]).split(",")
    rows = DEMO_RUN.read_index().images.astype(object)
    for name in ("config.json", "classes.json"):
        if DEMO_RUN.path(name).is_file():
            (tmp_path / name).write_bytes(DEMO_RUN.path(name).read_bytes())
    num_images = int((rows["split"] == "train").sum())

    def say(groups):
        rows.assign(group=groups)[columns].to_csv(tmp_path / "index.csv", index=False)
        return read_credentials(Run(tmp_path)).training

    assert say("7") == f"Trained on {num_images} images of 1 patient."
    assert say(rows["path"]) == f"Trained on {num_images} images."
    some = rows["path"].where(rows.index % 2 == 1, "7")
    assert say(some) == f"Trained on {num_images} images of 1 patient."


def test_a_run_without_index_and_numbers_says_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    credentials = read_credentials(Run(tmp_path))
    assert credentials == Credentials(
        name=tmp_path.name, sha256="", training="",
        validation="It has not been validated: nothing is known of its worth.",
    )  # fmt: skip


# --- many sheets


def unpack(packed):
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_zip_holds_a_sheet_for_each_answer_and_the_table():
    rows = [
        (make_item("dd/läsion 1.png", patient="Ada"), predict(0.9)),
        (make_item("../../etc/passwd", patient="Ada"), predict(0.7)),
        (make_item("bad.png"), ImageError("'bad.png' is not an image.")),
        (make_item("film.dcm", frame=1, num_frames=3), predict(0.1, verdict=STRANGE)),
        (make_item("...", ), predict(0.1)),
    ]  # fmt: skip
    patients = pool_patients([(i.patient, p) for i, p in rows[:2]], CLASSIFIER)
    files = unpack(
        write_sheets(iter(rows), CLASSIFIER, CREDENTIALS, patients=patients, made_at=WHEN)
    )
    assert list(files) == [
        "0001-l-sion-1.html", "0002-passwd.html", "0004-film-frame-2.html", "0005-image.html",
        "predictions.csv",
    ]  # fmt: skip
    assert "mean of 2 images" in files["0002-passwd.html"]
    assert "this patient" not in files["0005-image.html"]
    table = pd.read_csv(io.StringIO(files["predictions.csv"]), keep_default_na=False)
    assert table["sheet"].tolist() == [*list(files)[:2], "", *list(files)[2:4]]
    assert table["error"].tolist()[2] == "'bad.png' is not an image."


def test_the_sheets_in_the_zip_are_the_ones_written_alone():
    item, prediction = make_item(), predict(0.9)
    files = unpack(write_sheets([(item, prediction)], CLASSIFIER, CREDENTIALS, made_at=WHEN))
    alone = write_sheet(prediction, CLASSIFIER, CREDENTIALS, item=item, made_at=WHEN)
    assert files["0001-a.html"] == alone


def test_more_pictures_than_sheets_are_said_and_stand_in_the_table(monkeypatch):
    monkeypatch.setattr(bundle, "MAX_SHEETS", 2)
    rows = [(make_item(f"{n}.png"), predict(0.9)) for n in range(5)]
    files = unpack(write_sheets(rows, CLASSIFIER, CREDENTIALS))
    assert list(files) == ["0001-0.html", "0002-1.html", "predictions.csv", "read me.txt"]
    assert "the first 2 pictures only" in files["read me.txt"]
    assert len(files["predictions.csv"].splitlines()) == 6
