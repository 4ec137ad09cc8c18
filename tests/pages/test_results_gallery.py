"""The gallery of mistakes, by itself: the page around it is tested in test_results.py."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import workspace
from polyp_core.evidence.goals import Band
from polyp_core.prediction import Classifier
from polyp_core.reviews import Review, change_review, read_reviews
from polyp_core.runs import Run
from polyp_core.study import summarise
from tests.core.studies import end_member, finish_member, make_index, make_study
from tests.pages.conftest import click, read_texts
from ui.results_dialog import name_patient, say_probability
from ui.results_gallery import PER_PAGE
from ui.results_neighbours import find_neighbours
from ui.results_picture import draw_images, find_files, find_models, pad
from ui.results_sorting import NUM_UNSURE, arrange, find_images, measure_confidence, sort_out
from ui.results_source import read_judged

SCRIPT = """
import streamlit as st
from polyp_core import workspace
from polyp_core.runs import Run
from polyp_core.study import Study
from ui.results_dialog import name_patient, say_probability
from ui.results_gallery import show_gallery
from ui.results_source import read_judged

source = {"run": Run, "study": Study}[st.session_state["source"][0]](st.session_state["source"][1])
judged = read_judged(source, st.session_state["kind"])
show_gallery(judged, st.session_state["threshold"], st.session_state["band"])
"""


def show(source, threshold=0.5, kind="validation", band=None, **state) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=60)
    app.session_state["source"] = (type(source).__name__.lower(), source.directory)
    app.session_state["threshold"], app.session_state["kind"] = threshold, kind
    app.session_state["band"] = band
    for key, value in state.items():
        app.session_state[key.replace("_", " ")] = value
    app.run()
    assert not app.exception, app.exception
    return app


def see(app) -> str:
    return read_texts(app).replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def list_names(app) -> list[str]:
    """The files of the cards in their order."""
    captions = [caption.value.replace("\\", "") for caption in app.caption]
    return [text.split(" · ")[-1] for text in captions if text.endswith(".png")]


def count_pictures(app) -> int:
    return len(app.get("image"))


@pytest.fixture
def run(own_run) -> Run:
    """All twenty images are judged; patients 00 and 01 wrongly, the second a little less surely."""
    index = own_run.read_index()
    names = ["path", "frame", "split", "group", "label"]
    table = index.images[names].assign(split="validation")
    is_wrong = table["path"].str.contains("patient-0[01]")
    table["probability"] = np.where(table["label"] == 1, 0.9, 0.1)
    table.loc[is_wrong, "probability"] = np.where(table.loc[is_wrong, "label"] == 1, 0.2, 0.7)
    second = table["path"].str.contains("patient-0[01]_1")
    table.loc[second, "probability"] = np.where(table.loc[second, "label"] == 1, 0.3, 0.6)
    own_run.write_table("predictions.csv", table)
    return own_run


def make_table(rows) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["path", "group", "label", "probability"])
    return table.assign(frame=0, number=range(len(table)))


def test_every_image_is_right_or_one_kind_of_mistake():
    table = make_table(
        [("a", "", 0, 0.5), ("b", "", 1, 0.5), ("c", "", 1, 0.49), ("d", "", 0, 0.0)]
    )
    groups = sort_out(table, 0.5)  # from 0.5 on it is positive
    assert {name: "".join(rows["path"]) for name, rows in groups.items()} == {
        "false positives": "a", "false negatives": "c", "right": "bd", "unsure": "abcd",
    }  # fmt: skip


def test_unsure_are_those_in_the_band_or_else_the_nearest():
    table = make_table([(f"{n:02}", "", 0, n / 100) for n in range(100)])
    unsure = sort_out(table, 0.5, Band(0.4, 0.6))["unsure"]
    assert unsure["probability"].tolist() == [n / 100 for n in range(40, 61)]
    assert sort_out(table, 0.5, Band(0.5, 0.5))["unsure"].empty
    nearest = sort_out(table, 0.5)["unsure"]["probability"]
    assert len(nearest) == NUM_UNSURE
    assert nearest.between(0.37, 0.63).all()


def test_confidence_is_the_distance_in_logits():
    # log(0.8 / 0.2) = 1.386, of 0.5 it is 0; 0 and 1 are clipped, so both are finite.
    confidence = measure_confidence(np.array([0.8, 0.2, 0.5, 0.0, 1.0]), 0.5)
    assert confidence == pytest.approx([1.3863, 1.3863, 0, 16.118, 16.118], abs=1e-3)
    # At a threshold of 0.9 a probability of 0.8 is nearer than one of 0.99.
    near, far = measure_confidence(np.array([0.8, 0.99]), 0.9)
    assert near < far


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("most", "p9a p2 p10 p9b"), ("least", "p9b p10 p2 p9a"), ("name", "p2 p9a p9b p10"),
     ("patient", "p9a p9b p2 p10")],
)  # fmt: skip
def test_images_are_put_in_order(sort, expected):
    rows = [
        ("p10", "b10", 0, 0.7),
        ("p2", "b2", 0, 0.8),
        ("p9b", "a", 0, 0.6),
        ("p9a", "a", 0, 0.9),
    ]
    assert " ".join(arrange(make_table(rows), sort, 0.5)["path"]) == expected


def test_a_text_finds_patient_or_file_whatever_its_case():
    table = make_table([("x/Anna.png", "7", 0, 0), ("x/b.png", "AN-3", 0, 0), ("c", "(", 0, 0)])
    assert find_images(table, "an")["path"].tolist() == ["x/Anna.png", "x/b.png"]
    assert find_images(table, "(")["path"].tolist() == ["c"]  # no pattern, plain text
    assert find_images(table, "zz").empty
    marked = {("c", 0): Review(note="x")}
    assert find_images(table, "", marked)["path"].tolist() == ["c"]
    assert find_images(table.iloc[:0], "an").empty


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "under 1 %"), (0.0099, "under 1 %"), (0.01, "1 %"), (0.123, "12 %"), (0.495, "49.5 %"),
     (0.5, "50.0 %"), (0.52, "52 %"), (0.99, "99 %"), (0.991, "over 99 %"), (1.0, "over 99 %")],
)  # fmt: skip
def test_a_probability_is_percent_with_a_decimal_near_the_threshold(probability, said):
    assert say_probability(probability, 0.5).replace("\N{NO-BREAK SPACE}", " ") == said


def test_padding_leaves_every_pixel_as_it_was():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    for aspect, shape in ((3.0, (4, 12)), (0.5, (12, 6)), (1.5, (4, 6)), (0.0, (4, 6))):
        padded = pad(image, aspect)
        assert padded.shape == (*shape, 4)
        assert (padded[padded[..., 3] == 255][:, :3].reshape(image.shape) == image).all()
        assert (padded[..., 3] == 255).sum() == 24


def test_a_card_says_what_was_judged_and_shows_picture_overlay_and_neighbour(run):
    app = show(run)
    texts = see(app)
    assert list_names(app) == ["patient-00_0.png", "patient-00_1.png"]
    assert "Probability of calcified: **70 %**" in texts
    assert "Called calcified, but non-calcified by their label." in texts
    assert 'True class: :color[■]{foreground="#0072B2"} non-calcified' in texts
    assert "patient-00, 65 % over 2 images · patient-00_0.png" in texts
    assert texts.count("Nearest in training: ") == 2
    assert count_pictures(app) == 2 * 3  # picture, overlay, neighbour


def test_the_pictures_of_a_card_are_the_files_own_pixels(run):
    judged = read_judged(run, "validation")
    row = next(judged.table.itertuples(index=False))
    shown = draw_images(judged, [row], [True], aspect=1.0)[row.number]
    original = cv2.imread(str(judged.index.folder / row.path), cv2.IMREAD_GRAYSCALE)
    drawn = cv2.imdecode(np.frombuffer(shown.picture, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (drawn[..., :3] == original[..., np.newaxis]).all()
    overlay = cv2.imdecode(np.frombuffer(shown.overlay, np.uint8), cv2.IMREAD_UNCHANGED)
    assert overlay.shape == drawn.shape


def test_moving_the_threshold_moves_images_between_the_groups(run):
    app = show(run)
    options = app.segmented_control(key="results group").options
    assert options == ["False positives (2 images)", "False negatives (2 images)",
                       "Unsure (20 images)", "Right ones (16 images)"]  # fmt: skip
    app.session_state["threshold"] = 0.65
    app.run()
    assert list_names(app) == ["patient-00_0.png"]
    app.session_state["threshold"] = 0.95
    app.run()
    assert "There are no false positives at this threshold." in see(app)
    app.segmented_control(key="results group").set_value("false negatives").run()
    assert len(list_names(app)) == PER_PAGE  # of 10


def test_only_the_shown_page_is_classified_and_that_once(run, monkeypatch):
    asked = []
    classify = Classifier.classify
    monkeypatch.setattr(
        Classifier, "classify",
        lambda self, data, name, frame: asked.append(name) or classify(self, data, name, frame),
    )  # fmt: skip
    folder = run.directory.with_name("asked")
    shutil.copytree(run.directory, folder)  # whose images no other test has asked for
    app = show(Run(folder), results_group="right")
    assert len(asked) == PER_PAGE
    assert len(set(asked)) == PER_PAGE
    app.session_state["threshold"] = 0.49
    app.run()
    assert len(asked) == PER_PAGE
    app.pagination[0].set_value(2).run()
    assert len(asked) == len(set(asked)) == 2 * PER_PAGE
    assert len(list_names(app)) == PER_PAGE


def test_a_filter_goes_back_to_the_first_page_and_can_be_cleared(run):
    app = show(run, results_group="right")
    app.pagination[0].set_value(2).run()
    app.selectbox(key="results sort").set_value("name").run()
    assert list_names(app)[0] == "patient-03_0.png"
    app.text_input(key="results find").set_value("patient-05").run()
    assert list_names(app) == ["patient-05_0.png", "patient-05_1.png"]
    app.text_input(key="results find").set_value("nobody").run()
    assert "None of these 16 images matches." in see(app)
    click(app, "Show all of them")
    assert len(list_names(app)) == PER_PAGE


def test_a_file_that_is_gone_or_changed_says_so_and_spoils_no_other(run, tmp_path):
    config = json.loads(run.path("config.json").read_text())
    folder = tmp_path / "moved"
    shutil.copytree(config["folder"], folder)
    run.write_json("config.json", config | {"folder": str(folder)})
    (folder / "non-calcified" / "patient-00_0.png").unlink()
    changed = folder / "non-calcified" / "patient-00_1.png"
    changed.write_bytes(changed.read_bytes() + b"x")
    texts = see(show(run))
    assert (
        f"The file is no longer in '{folder}/non-calcified'. Put it back there to see it." in texts
    )
    assert "'patient-00_1.png' has changed since it was judged, so it is not shown." in texts
    assert texts.count("True class: ") == 2
    app = show(run, results_group="false negatives")
    assert count_pictures(app) == 2 * 3
    assert not app.warning


def test_images_that_stayed_on_another_computer_are_said_to_be_there(run):
    config = json.loads(run.path("config.json").read_text())
    run.write_json("config.json", config | {"folder": "another computer/images"})
    assert "This run's images stayed on the computer that it was trained on." in see(show(run))


def test_a_mark_is_kept_with_the_run_and_seen_by_everybody(run):
    app, other = show(run), show(run)
    app.checkbox[0].check().run()
    key = ("non-calcified/patient-00_0.png", 0)
    assert read_reviews(run.directory) == {key: Review(is_label_wrong=True)}
    other.run()
    assert [box.value for box in other.checkbox] == [True, False]
    other.checkbox[0].uncheck().run()
    assert read_reviews(run.directory) == {}
    change_review(run.directory, key, note="a *shadow* behind the stone")
    app.run()
    assert [box.value for box in app.checkbox] == [False, False]
    assert "a \\*shadow\\* behind the stone" in read_texts(app)
    app.toggle(key="results marked only").set_value(True).run()
    assert list_names(app) == ["patient-00_0.png"]


def test_marks_and_notes_can_be_downloaded(run):
    assert not show(run).get("download_button")
    change_review(run.directory, ("calcified/patient-01_1.png", 0), note="shadow, or stone")
    app = show(run)
    assert "1 image marked or noted. That changes neither the images nor a number." in see(app)
    (button,) = app.get("download_button")
    assert button.label == "Download marks and notes"


def test_a_mark_that_cannot_be_kept_says_why(run):
    run.path("reviews.json").mkdir()
    run.path("reviews.damaged.json").mkdir()
    (run.path("reviews.damaged.json") / "file").touch()
    app = show(run)
    app.checkbox[0].check().run()
    assert not app.exception
    assert "The mark cannot be written to" in app.error[0].value
    assert not app.checkbox[0].value


def test_the_large_view_goes_from_image_to_image(run):
    app = show(run)
    app.button(key=f"results open {find_number(run, 'patient-00_0.png')}").click().run()
    texts = see(app)
    assert "1 of 2 false positives" in texts
    assert "non-calcified/patient-00_0.png, 40 × 40 px" in texts
    assert app.button(key="results previous").disabled
    app.button(key="results next").click().run()
    assert "2 of 2 false positives" in see(app)
    assert "non-calcified/patient-00_1.png, 40 × 40 px" in see(app)
    assert app.button(key="results next").disabled


def find_number(run, name) -> int:
    paths = run.read_index().images["path"]
    return int(paths[paths.str.endswith(name)].index[0])


def test_the_large_view_shows_both_directions_and_keeps_notes(run):
    number = find_number(run, "patient-01_0.png")
    app = show(run, results_group="false negatives")
    app.button(key=f"results open {number}").click().run()
    direction = app.segmented_control(key=f"results direction {number}")
    assert (direction.options, direction.value) == (["calcified", "non\\-calcified"], 0)
    overlay = app.get("image")[-2].proto.imgs[0].url  # before the neighbour
    direction.set_value(1).run()
    other = app.get("image")[-2].proto.imgs[0].url
    assert other != overlay
    app.slider(key="results opacity").set_value(0).run()
    assert app.get("image")[-2].proto.imgs[0].url != other
    app.text_area(key=f"results note {number}").set_value("seen twice ").run()
    app.checkbox(key=f"results wrong large {number}").check().run()
    key = ("calcified/patient-01_0.png", 0)
    assert read_reviews(run.directory) == {key: Review(is_label_wrong=True, note="seen twice")}


def test_after_the_large_view_the_page_is_shown_where_the_image_stands(run):
    app = show(run, results_group="right")
    key = read_judged(run, "validation").key
    app.session_state["results place"] = 13
    app.run()
    assert len(list_names(app)) == 4
    assert app.pagination[0].value == 3
    app.session_state["results open"] = (key, find_number(run, "patient-00_0.png"))
    app.run()
    assert "no longer among those that are shown" in app.info[-1].value


def test_a_run_of_an_earlier_version_says_why_there_is_no_neighbour(run):
    run.path("features.npy").unlink(missing_ok=True)
    app = show(run)
    assert "training images are not known: this model was trained by an earlier" in see(app)
    assert count_pictures(app) == 2 * 2


def test_without_a_sound_model_the_pictures_are_shown_alone(run):
    run.path("serving.tflite").write_bytes(b"x")
    app = show(run)
    assert "No overlays here. The model of run 'own' is not the file that training wrote" in see(
        app
    )
    assert count_pictures(app) == 2 * 2  # the features are there all the same


def test_the_nearest_training_image_is_a_training_image_by_the_features(run):
    judged = read_judged(run, "validation")
    images = run.read_index().images
    numbers = images[images["split"] == "validation"].index.tolist()
    neighbours = find_neighbours(judged, numbers)
    features = np.array(run.read_features())
    train = images[images["split"] == "train"].index.to_numpy()
    scale = features[train].std(axis=0)
    scale[scale < 1e-6] = np.inf
    standard = (features - features[train].mean(axis=0)) / scale
    for number in numbers:
        own = standard[number]
        cosines = standard[train] @ own / np.linalg.norm(standard[train], axis=1)
        expected = images.loc[train[np.argmax(cosines)]]
        assert (neighbours[number].path, neighbours[number].label) == (
            expected["path"], expected["label"],
        )  # fmt: skip
    assert find_neighbours(judged, numbers) == neighbours


def test_names_with_markdown_are_shown_literally(run, tmp_path):
    config = json.loads(run.path("config.json").read_text())
    folder = tmp_path / "odd"
    shutil.copytree(config["folder"], folder)
    name = "non-calcified/:red[x] **b** <i>.png"
    (folder / "non-calcified/patient-00_0.png").rename(folder / name)
    for file in ("index.csv", "predictions.csv"):
        table = pd.read_csv(run.path(file), dtype=str, keep_default_na=False)
        table["path"] = table["path"].replace("non-calcified/patient-00_0.png", name)
        table["group"] = table["group"].replace("patient-00", "![p](http://x.invalid)")
        run.write_table(file, table)
    run.write_json("config.json", config | {"folder": str(folder)})
    app = show(run)
    caption = next(c.value for c in app.caption if "red" in c.value)
    assert "\\:red\\[x\\] \\*\\*b\\*\\* \\<i\\>\\.png" in caption
    assert "\\!\\[p\\]\\(http" in caption


def test_one_class_alone_and_no_images_at_all_are_no_trouble(run):
    table = pd.read_csv(run.path("predictions.csv"), dtype={"group": str}, keep_default_na=False)
    run.write_table("predictions.csv", table[table["label"] == 1])
    app = show(run)  # opens with what there is
    assert list_names(app) == ["patient-01_0.png", "patient-01_1.png"]
    run.write_table("predictions.csv", table.iloc[:0])
    assert "There are no images, so there are no mistakes to show." in see(show(run))


def test_without_patients_nothing_is_said_of_them(run):
    for file in ("index.csv", "predictions.csv"):
        table = pd.read_csv(run.path(file), dtype={"group": str}, keep_default_na=False)
        run.write_table(file, table.assign(group=""))
    app = show(run)
    assert app.selectbox(key="results sort").options == [
        "Most confident first", "Least confident first", "By file name",
    ]  # fmt: skip
    assert "over 2 images" not in see(app)
    assert "patient-00 ·" not in see(app)


def test_marks_of_an_evaluation_lie_in_its_own_folder_and_find_its_neighbours(run):
    files = Run(run.directory / "evaluations" / "clinic")
    files.directory.mkdir(parents=True)
    for name in ("predictions.csv", "index.csv", "config.json", "features.npy"):
        shutil.copy(run.path(name), files.path(name))
    app = show(run, kind="clinic")
    assert len(list_names(app)) == 2
    assert see(app).count("Nearest in training: ") == 2
    app.checkbox[0].check().run()
    assert len(read_reviews(files.directory)) == 1
    assert read_reviews(run.directory) == {}


def test_marks_of_the_demo_model_lie_in_the_workspace(demo_data):
    judged = read_judged(workspace.DEMO_RUN, "validation")
    assert find_files(judged).directory == workspace.get_runs_dir().parent / "demo-run"
    app = show(workspace.DEMO_RUN, results_group="right")
    app.checkbox[0].check().run()
    assert len(read_reviews(workspace.get_runs_dir().parent / "demo-run")) == 1
    assert not workspace.DEMO_RUN.path("reviews.json").exists()


def test_images_of_the_demo_model_are_drawn_where_they_are_not_on_the_disk(workspace_dir):
    assert not workspace.has_demo_data()
    app = show(workspace.DEMO_RUN)
    assert count_pictures(app) >= 2 * len(list_names(app)) > 0
    assert not app.warning
    assert not workspace.has_demo_data()


def test_a_patient_is_called_so_once():
    assert name_patient("12") == "Patient 12"
    assert name_patient("patient-12") == "patient\\-12"


def test_in_a_study_the_overlay_comes_from_a_member_that_has_not_seen_the_image(
    monkeypatch, workspace_dir, tmp_path
):
    index = make_index(tmp_path)
    study = make_study(
        monkeypatch, workspace.get_studies_dir(), index, num_folds=2, num_seeds=2, name="mine"
    )
    right = {row.path: 0.9 if row.label else 0.2 for row in index.images.itertuples()}
    for member in study.members[:2]:  # of the first seed
        finish_member(study, member, right)
    finish_member(study, study.members[3], right)
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    models = find_models(read_judged(study, "study"))
    assert {fold: run.name for fold, run in models.items()} == {
        1: "fold-1-seed-0", 2: "fold-2-seed-0",
    }  # fmt: skip
    end_member(study.members[1], "failed")  # then the other seed of that fold stands in
    models = find_models(read_judged(study, "study"))
    assert models[2].name == "fold-2-seed-1"
    for fold, model in models.items():
        seen = model.read_index().select("train")["path"]
        folds = study.read_index().images.set_index("path")["fold"]
        assert (folds[seen] != fold).all()


def test_a_study_shows_its_images_and_keeps_its_marks(monkeypatch, workspace_dir, finished_run):
    index = finished_run.read_index()
    study = make_study(monkeypatch, workspace.get_studies_dir(), index, num_folds=2, name="whole")
    for member in study.members:
        probabilities = dict.fromkeys(index.images["path"], 0.7)
        finish_member(study, member, probabilities)
        for name in ("serving.tflite", "serving.json"):
            shutil.copy(finished_run.path(name), member.run.path(name))
    metrics, predictions = summarise(study)
    study.files.write_json("metrics.json", metrics)
    study.files.write_table("predictions.csv", predictions)
    app = show(study, kind="study")
    assert len(list_names(app)) == PER_PAGE  # of 10
    assert count_pictures(app) == 2 * PER_PAGE
    app.checkbox[0].check().run()
    assert len(read_reviews(study.directory)) == 1
