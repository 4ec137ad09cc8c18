import base64
import json
import shutil

import numpy as np
import pytest
from filelock import FileLock

from polyp_core import workspace
from polyp_core.runs import list_runs
from tests.conftest import wait_for_end
from tests.pages.conftest import read_texts


def read_values(values):
    """Plotly sends arrays as base64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return values


def click(app, label):
    next(button for button in app.button if button.label == label).click().run()


def test_before_any_run_there_are_presets_and_one_button(open_page):
    app = open_page("Train")
    texts = read_texts(app)
    for title in ("Compact", "Thesis", "Thesis plus"):
        assert f"**{title}**" in texts
    assert "Your runs will stand here" in texts
    assert [b.label for b in app.button if b.key == "train"] == ["Train"]


def test_choosing_a_preset_sets_its_epochs(open_page):
    app = open_page("Train")
    app.button(key="choose thesis-plus").click().run()
    assert app.number_input(key="setting training.epochs").value == 100
    assert app.button(key="choose thesis-plus").label == "Chosen"


def test_train_starts_a_real_worker_and_stop_stops_it(open_page):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(50).run()
    click(app, "Train")
    assert not app.exception
    (run,) = list_runs(workspace.get_runs_dir())
    assert run.read_config().training.epochs == 50
    assert run.is_alive()
    next(b for b in app.button if b.label == "Stop").click().run()
    assert wait_for_end(run) == "stopped"
    app.run()
    assert "Stopped. Every finished epoch is kept" in read_texts(app)
    assert "Resume" in [button.label for button in app.button]


def test_a_running_run_shows_its_bars_to_whoever_opens_the_page(open_page, own_run):
    own_run.write_json(
        "status.json",
        {"state": "running", "message": "Epoch 2 of 3", "epoch": 2, "epochs": 3, "step": 3,
         "steps": 4, "images_per_s": 250.0, "remaining_s": 70.0},
    )  # fmt: skip
    with FileLock(own_run.path("lock")):
        app = open_page("Train")
        whole, epoch = app.get("progress")
        assert whole.proto.text == "Epoch 2 of 3 · 250 images/s · about 1 min left"
        assert whole.proto.value == round(100 * 1.75 / 3)
        assert epoch.proto.text == "Step 3 of 4 in epoch 2"
        assert len(app.get("plotly_chart")) == 2
        assert not [b for b in app.button if b.key == "train"]


def test_the_curves_hold_the_history(open_page, own_run):
    app = open_page("Train", run="own")
    loss, accuracy = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    history = own_run.read_history()
    training, validation = loss["data"][:2]
    assert read_values(training["y"]) == pytest.approx(history["loss"].tolist())
    assert read_values(validation["y"]) == pytest.approx(history["val_loss"].tolist())
    assert loss["layout"]["xaxis"]["title"]["text"] == "Epoch"
    assert accuracy["layout"]["yaxis"]["title"]["text"] == "Accuracy"
    assert validation["line"]["width"] > training["line"]["width"]


def test_a_finished_run_says_what_it_is_worth(open_page, own_run):
    texts = read_texts(open_page("Train", run="own"))
    assert "patients right" in texts
    assert "always answering the more frequent class" in texts


def test_a_failed_run_says_why(open_page, own_run):
    own_run.write_json("status.json", {"state": "failed", "message": "The image 'a' is gone."})
    app = open_page("Train", run="own")
    assert app.error[0].value.replace("\\", "") == "The image 'a' is gone."
    assert "Resume" in [button.label for button in app.button]


def test_an_interrupted_run_offers_to_go_on(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2"})
    app = open_page("Train", run="own")
    assert "The worker ended without a word" in app.warning[0].value
    assert "Resume" in [button.label for button in app.button]


@pytest.mark.parametrize("content", ["", "{", '{"settings": {"training": {"epochs": -1}}}'])
def test_a_damaged_run_does_not_hide_the_page(open_page, own_run, content):
    own_run.path("config.json").write_text(content)
    app = open_page("Train", run="own")
    assert len(app.error) == 1
    assert [b for b in app.button if b.key == "train"]


def test_settings_that_do_not_fit_together_can_be_mended_where_they_stand(open_page):
    app = open_page("Train")
    app.button(key="choose thesis-plus").click().run()
    app.number_input(key="setting model.image_size_px").set_value(16).run()
    assert not app.exception
    assert "do not fit an image of 16 px" in app.error[0].value.replace("\\", "")
    assert not [b for b in app.button if b.key == "train"]
    app.number_input(key="setting model.image_size_px").set_value(96).run()
    assert not app.error
    assert [b for b in app.button if b.key == "train"]


def test_the_estimate_is_given_only_for_the_network_it_was_measured_with(open_page):
    app = open_page("Train")
    assert "on two cores" in read_texts(app)
    app.number_input(key="setting model.image_size_px").set_value(64).run()
    assert "on two cores" not in read_texts(app)


def test_picking_another_run_while_one_trains_shows_both_and_comes_to_rest(open_page, own_run):
    training_run = type(own_run)(own_run.directory.with_name("training"))
    shutil.copytree(own_run.directory, training_run.directory)
    training_run.write_json("status.json", {"state": "running", "message": "Epoch 1 of 3"})
    with FileLock(training_run.path("lock")):
        app = open_page("Train", run="own")
        assert [heading.value for heading in app.subheader] == ["training", "own"]


def test_the_model_looked_at_is_the_one_that_predict_opens(open_page, own_run):
    other = own_run.directory.with_name("newer")
    shutil.copytree(own_run.directory, other)
    app = open_page("Train", run="own")
    click(app, "Classify images with it")
    app.switch_page("pages/predict.py").run()
    assert app.selectbox(key="model").value.name == "own"


def test_no_folder_typed_yet_is_no_error_and_never_the_demo_set(open_page):
    app = open_page("Train", source="folder")
    assert not app.error
    assert "Give the folder of your images above" in app.info[0].value
    assert not [b for b in app.button if b.key == "train"]
