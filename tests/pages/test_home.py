"""The home page: three cards with their real state, and the three clicks of a first visit."""

import hashlib
import json
import re
import shutil
from dataclasses import replace

import pytest

from polyp_core import jobs, queueing, workspace
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.prediction import load_classifier
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN
from tests.conftest import write_classes, write_image
from tests.pages.conftest import click, hold, read_texts
from ui.home_visit import draw_new_image, say_answer, say_split

SHOWN, DOUBTED = ":green[:material/check_circle:]", ":orange[:material/warning:]"
CLICKS = ["Check these images", "Train on them", "Ask about a new image"]


def list_labels(app) -> list[str]:
    return [button.label for button in app.button]


def say(app) -> str:
    """All that stands on the page, without the marks that keep Markdown from acting."""
    return read_texts(app).replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def waiting_run(monkeypatch):
    """Runs are written and wait for their turn; no worker is started."""

    def wait(run: Run) -> None:
        queueing.add_ticket(workspace.get_queue_dir(), run)

    monkeypatch.setattr(jobs, "start_worker", wait)
    monkeypatch.setattr(jobs, "wait_for_worker", lambda run: None)


@pytest.fixture
def trained(demo_data) -> Run:
    """A finished run on the demo images, as the first visit leaves it."""
    run = Run(workspace.get_runs_dir() / "first")
    shutil.copytree(DEMO_RUN.directory, run.directory)
    values = json.loads(run.path("config.json").read_text())
    values["settings"]["data"]["folder"] = values["folder"] = str(demo_data.absolute())
    run.write_json("config.json", values)
    return run


def test_an_empty_workspace_offers_three_clicks_and_claims_nothing(open_page):
    app = open_page("Home")
    assert list_labels(app) == CLICKS
    texts = say(app)
    assert "Three clicks, about two minutes" in texts
    assert "every patient on one side" not in texts
    assert "No run of your own yet" in texts


def test_the_check_says_what_the_split_keeps_apart(open_page, demo_data):
    app = open_page("Home")
    click(app, "Check these images")
    images = read_index(DataConfig(folder=str(demo_data))).images
    patients = images["path"].str.extract(r"(patient-\d+)_")[0]  # as the files are named
    sides = {split: images["split"] == split for split in ("train", "validation")}
    (learned, held) = (set(patients[is_side]) for is_side in sides.values())
    assert not learned & held
    assert len(learned) + len(held) == 8
    assert (
        f"{SHOWN} **The split keeps every patient on one side:** {len(learned)} to learn "
        f"from ({sides['train'].sum()} images), {len(held)} others to validate on "
        f"({sides['validation'].sum()} images)."
    ) in say(app)
    assert "34 images compared with one another. Train with care" in say(app)
    assert list_labels(app) == CLICKS[1:]


def test_a_patient_on_both_sides_is_not_called_kept_apart(tmp_path):
    for split in ("train", "validation"):
        for patient, name in enumerate(("calcified", "non-calcified")):
            path = tmp_path / split / name / f"patient-0{patient}_{split}.png"
            write_image(path, is_bright_spot=not patient, seed=len(split) + patient)
    index = read_index(DataConfig(folder=str(tmp_path), group_pattern=r"^(patient-\d+)"))
    assert say_split(index).startswith(f"{DOUBTED} **2 patients stand on both sides** of the split")


def test_without_patients_each_image_counts_as_its_own(tmp_path):
    folder = write_classes(tmp_path, num_patients=8, images_each=1)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_name(f"{'abcdefgh'[number]}.png"))
    index = read_index(DataConfig(folder=str(folder)))
    num_train = len(index.select("train"))
    assert say_split(index) == (
        f"{DOUBTED} **No patients are named**, so each image counts as one of its "
        f"own: {num_train} to learn from, {8 - num_train} others to validate on."
    )


def test_the_second_click_trains_the_compact_preset_with_fewer_epochs_and_pixels(
    open_page, demo_data, waiting_run
):
    app = open_page("Home")
    assert "30 epochs at 96 px instead of the preset's 120 at 128 px" in say(app)
    click(app, "Train on them")
    assert not app.exception
    (run,) = map(Run, workspace.get_runs_dir().iterdir())
    config = run.read_config()
    assert config.preset == "compact"
    assert config.training.epochs == 30
    assert config.model.image_size_px == 96
    assert config.data.folder == str(demo_data.absolute())
    assert f"**{run.name}** waits for its turn" in say(app)
    assert "Train on them" not in list_labels(app)
    assert "every patient on one side" in say(app)  # what is trained on counts as looked at
    status = {"state": "failed", "message": "TensorFlow is missing."}
    run.write_json("status.json", status)
    queueing.remove_ticket(workspace.get_queue_dir(), run)
    app.run()
    assert "TensorFlow is missing" in app.error[0].value
    assert "Train on them" in list_labels(app)


def test_what_was_trained_is_said_with_interval_and_baseline(open_page, trained):
    texts = say(open_page("Home"))
    assert "Best run **first**" in texts
    assert (
        f"{SHOWN} **Trained in 33 min:** 46 of 52 patients right, 88 % (95 % interval 77 to "
        "95); always answering the more frequent class would get 52 %."
    ) in texts
    assert "Three clicks" not in texts


def test_the_third_click_answers_about_a_new_patient_and_the_next_about_another(open_page, trained):
    app = open_page("Home")
    assert list_labels(app) == CLICKS[2:]
    click(app, "Ask about a new image")
    answer = re.search(r"\*\*Calcified: right\*\*, it was drawn as calcified.*", say(app))
    assert answer is not None
    assert "Probability of calcified: " in answer[0]
    assert "the threshold of 50 %" in answer[0]
    click(app, "Ask about another")
    assert answer[0] not in say(app)


def test_images_that_any_run_was_trained_on_need_no_check(open_page, trained, demo_data):
    newer = Run(trained.directory.with_name("newer"))
    shutil.copytree(trained.directory, newer.directory)
    values = json.loads(newer.path("config.json").read_text())
    values["settings"]["data"]["folder"] = values["folder"] = "/somewhere/else"
    newer.write_json("config.json", values)
    assert CLICKS[0] not in list_labels(open_page("Home"))
    shutil.rmtree(trained.directory)
    assert CLICKS[0] in list_labels(open_page("Home"))


def test_a_run_at_work_shows_each_epoch_from_the_first_on(open_page, trained):
    trained.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    num_epochs = trained.read_config().training.epochs
    history = trained.read_history()
    for num_rows in (0, 1, 2, 3):
        trained.write_table("history.csv", history.head(num_rows))
        with hold(trained):
            charts = open_page("Home").get("plotly_chart")
        figure = json.loads(charts[0].proto.spec)
        assert figure["layout"]["xaxis"]["range"] == [0.5, num_epochs + 0.5]
        assert ("markers" in figure["data"][0]["mode"]) == (num_rows < 3)


def test_an_answer_that_is_wrong_is_called_wrong():
    classifier, image = load_classifier(DEMO_RUN), draw_new_image(0)
    prediction = classifier.classify(image.content, image.name)
    right = say_answer(image, prediction, classifier)
    assert right.startswith(f"{SHOWN} **Calcified: right**, it was drawn as")
    other = replace(prediction, class_name="non-calcified")
    wrong = say_answer(image, other, classifier)
    assert wrong.startswith(f"{DOUBTED} **Non\\-calcified: wrong**, it was drawn as")
    unsure = say_answer(image, replace(prediction, is_sure=False), classifier)
    assert unsure.startswith(f"{DOUBTED} **Not sure:**")
    assert "right" not in unsure


def test_a_new_image_is_of_a_patient_of_no_training():
    known = DEMO_RUN.read_index().images["group"].str.extract(r"(\d+)")[0].astype(int).max()
    assert known == 200
    contents = {draw_new_image(number).content for number in range(4)}
    assert len(contents) == 4
    assert {draw_new_image(number).class_name for number in range(4)} == {
        "calcified",
        "non-calcified",
    }


def test_a_model_of_other_images_is_not_asked_about_drawn_ones(open_page, trained):
    values = json.loads(trained.path("config.json").read_text())
    values["settings"]["data"]["folder"] = values["folder"] = "/somewhere/else"
    trained.write_json("config.json", values)
    serving = trained.path("serving.tflite")
    serving.write_bytes(serving.read_bytes() + bytes(1))  # no copy of the model that ships
    known = hashlib.sha256(serving.read_bytes()).hexdigest()
    trained.write_json("serving.json", trained.read_serving() | {"sha256": known})
    app = open_page("Home")
    assert "Ask about a new image" not in list_labels(app)
    assert "The images that it was validated on are not here" in say(app)


def test_a_copy_of_a_run_on_demo_images_shows_a_picture_though_its_own_are_elsewhere(
    open_page, trained
):
    values = json.loads(trained.path("config.json").read_text())
    values["settings"]["data"]["folder"] = values["folder"] = "/somewhere/else"
    trained.write_json("config.json", values)
    trained.write_json("shared.json", {"synthetic": True})
    app = open_page("Home")
    assert "Ask about a new image" in list_labels(app)
    assert "Bright: speaks for calcified" in say(app)
    assert "not here" not in say(app)


def test_a_shared_demo_is_checked_and_asked_but_trains_nothing(open_page, monkeypatch):
    monkeypatch.setenv("POLYP_DEMO", "1")
    app = open_page("Home")
    assert list_labels(app) == [CLICKS[0], CLICKS[2]]
    assert "Three clicks" not in say(app)
    click(app, "Ask about a new image")
    assert "it was drawn as calcified" in say(app)
