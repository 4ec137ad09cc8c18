import base64
import json
import re
import shutil

import numpy as np
import pytest

from polyp_core import workspace
from polyp_core.config import RunConfig
from polyp_core.decision import Decision, Goal, write_decision
from polyp_core.presets import PRESETS
from tests.conftest import write_classes
from tests.pages.conftest import click, read_texts
from ui.words import name_settings


def read_values(values):
    """Plotly sends arrays as base64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return values


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


def test_the_curves_hold_the_history(open_page, own_run):
    app = open_page("Train", run="own")
    loss, accuracy, auc, confusion = (
        json.loads(chart.proto.spec) for chart in app.get("plotly_chart")[:4]
    )
    history = own_run.read_history()
    training, validation = loss["data"][:2]
    assert read_values(training["y"]) == pytest.approx(history["loss"].tolist())
    assert read_values(validation["y"]) == pytest.approx(history["val_loss"].tolist())
    assert loss["layout"]["xaxis"]["title"]["text"] == "Epoch"
    assert accuracy["layout"]["yaxis"]["title"]["text"] == "Accuracy"
    assert validation["line"]["width"] > training["line"]["width"]
    assert read_values(auc["data"][0]["y"]) == pytest.approx(history["val_auc"].tolist())
    counts = [read_values(line["y"]) for line in confusion["data"]]
    assert counts == history[["val_tn", "val_fp", "val_fn", "val_tp"]].T.to_numpy().tolist()


def test_a_preset_says_that_it_takes_back_an_augmentation_of_ones_own(open_page):
    app = open_page("Train", **{"setting augmentation.rotation_deg": 44.0})
    app.button(key="choose thesis").click().run()
    assert [toast.value for toast in app.toast] == [
        "Thesis brings its own augmentation: yours was taken back."
    ]
    app.button(key="choose compact").click().run()
    assert not app.toast


def test_transfer_says_before_it_is_started_that_it_fetches_something(open_page):
    app = open_page("Train")
    assert not [box for box in app.info if "fetches" in box.value]
    app.button(key="choose transfer").click().run()
    (said,) = [box.value for box in app.info if "fetches" in box.value]
    assert "Keras fetches from storage.googleapis.com" in said
    assert "about 4 MB, once" in said
    assert "No image leaves this computer." in said
    app.selectbox(key="setting model.backbone").set_value("convnext-tiny").run()
    app.selectbox(key="setting model.head").set_value("flatten").run()  # which is not fetched
    (said,) = [box.value for box in app.info if "fetches" in box.value]
    assert "about 111 MB, once" in said
    label = app.text_input(key="setting model.backbone_weights").label
    assert label in said
    app.text_input(key="setting model.backbone_weights").set_value("weights.h5").run()
    assert not [box.value for box in app.info if "fetches" in box.value]


def test_a_finished_run_says_what_it_is_worth(open_page, own_run):
    texts = read_texts(open_page("Train", run="own"))
    assert "patients right" in texts
    assert "always answering the more frequent class" in texts
    training = own_run.read_config().training
    assert f"Preset compact, 32 px, {training.epochs} epochs, batches of" in texts


@pytest.mark.parametrize(
    ("temperature", "said"),
    [
        (
            2.0,
            "too sure of itself, so its probabilities are moved towards 50\xa0% (temp",
        ),
        (0.5, "not sure enough of itself, so its probabilities are moved away from 50\xa0%"),
        (1.01, "as sure of itself as its validation bears out"),
    ],
)
def test_a_finished_run_says_what_its_temperature_changed(open_page, own_run, temperature, said):
    metrics = own_run.read_metrics()
    metrics["calibration"] |= {"temperature": temperature}
    metrics["calibration"]["log_loss"] = {"before": 0.5, "after": 0.4}
    own_run.write_json("metrics.json", metrics)
    assert said in read_texts(open_page("Train", run="own"))


def test_a_temperature_that_changes_nothing_is_no_finding(open_page, own_run):
    metrics = own_run.read_metrics()
    metrics["calibration"]["temperature"] = 1.03
    metrics["calibration"]["log_loss"] = {"before": 0.3371, "after": 0.3369}
    own_run.write_json("metrics.json", metrics)
    texts = read_texts(open_page("Train", run="own"))
    assert "as sure of itself as its validation bears out" in texts


def test_a_failed_run_says_why(open_page, own_run):
    own_run.write_json("status.json", {"state": "failed", "message": "The image 'a' is gone."})
    app = open_page("Train", run="own")
    assert app.error[0].value.replace("\\", "") == "The image 'a' is gone."
    assert "Resume" in [button.label for button in app.button]
    assert [chart for chart in app.get("plotly_chart") if "own" in chart.proto.id]
    own_run.path("history.csv").unlink()  # before the first epoch, so no curve will ever come
    app = open_page("Train", run="own")
    curves = [chart for chart in app.get("plotly_chart") if "own" in chart.proto.id]
    assert not curves
    assert "stands here after each epoch" not in read_texts(app)


def test_an_interrupted_run_offers_to_go_on(open_page, own_run):
    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2"})
    app = open_page("Train", run="own")
    assert any("The worker ended without a word" in box.value for box in app.warning)
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
    assert app.button(key="train").disabled
    app.number_input(key="setting model.image_size_px").set_value(96).run()
    assert not app.error
    assert not app.button(key="train").disabled


def test_the_estimate_is_given_only_for_the_network_it_was_measured_with(open_page):
    app = open_page("Train")
    assert "on a slow computer" in read_texts(app)
    app.number_input(key="setting model.image_size_px").set_value(96).run()
    assert "on a slow computer" in read_texts(app)  # by its pixels
    app.slider(key="setting model.dropout").set_value(0.5).run()
    assert "on a slow computer" not in read_texts(app)


def test_the_preset_is_fitted_to_the_chosen_images(open_page, tmp_path):
    app = open_page("Train")
    said = read_texts(app)
    assert "has it, fitted to these images: 128 px, 120 epochs, batches of 16." in said
    app.number_input(key="setting training.batch_size").set_value(8).run()
    # Smaller ones, of which nobody has seen anything yet: what was changed stays.
    app.session_state["source"] = "folder"
    app.session_state["folder"] = str(write_classes(tmp_path / "small", num_patients=12))
    app.run()
    assert not app.exception
    assert app.number_input(key="setting model.image_size_px").value == 64
    assert app.number_input(key="setting training.batch_size").value == 8
    assert "Other than in the preset: Batch size 8" in read_texts(app)
    app.button(key="choose thesis").click().run()
    assert app.number_input(key="setting model.image_size_px").value == 300
    assert "Exactly as the preset Thesis has it." in read_texts(app)


def test_settings_of_a_run_are_not_fitted_anew_to_its_images(open_page, tmp_path):
    app = open_page("Train")
    values = workspace.DEMO_RUN.read_config().to_dict()
    values["data"]["folder"] = str(write_classes(tmp_path / "small", num_patients=12))
    values["model"]["image_size_px"], values["training"]["epochs"] = 128, 120
    app.session_state["settings to load"] = (RunConfig.from_dict(values), "below")
    app.run()
    assert not app.exception
    assert app.session_state["folder"] == values["data"]["folder"]
    assert app.number_input(key="setting model.image_size_px").value == 128
    assert app.number_input(key="setting training.epochs").value == 120


def test_a_network_that_fits_its_own_size_alone_leaves_the_form_whole(open_page):
    app = open_page(
        "Train",
        **{"setting model.image_size_px": 512, "setting model.filters": (8,) * 8},
    )
    assert not app.exception
    assert not app.error
    assert app.tabs
    assert not app.button(key="train").disabled
    assert "on a slow computer" not in read_texts(app)


def test_settings_come_back_from_a_file(open_page, tmp_path):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(7).run()
    app.selectbox(key="setting training.optimizer").set_value("sgd").run()
    saved = app.session_state["setting training.optimizer"]
    assert saved == "sgd"
    values = workspace.DEMO_RUN.read_config().to_dict() | {"preset": "thesis"}
    values["training"]["momentum"] = 0.5
    app.file_uploader(key="settings file").set_value(
        ("settings.json", json.dumps(values).encode(), "application/json")
    ).run()
    assert not app.exception
    assert app.session_state["preset"] == "thesis"
    assert app.number_input(key="setting training.momentum").value == 0.5
    assert app.number_input(key="setting training.epochs").value == values["training"]["epochs"]
    assert "Momentum 0.5" in read_texts(app).replace("\\", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nonsense", "holds no settings. Expected JSON"),
        (b'{"training": {"epochs": -1}}', "'Epochs' is out of bounds. Expected 1 to 10000"),
        (b"[1, 2]", "There are no settings in it"),
        (b"5", "Received: 5"),
        (b"null", "Received: None"),
        (b'{"settings": null}', "Received: None"),
        (b"[" * 10_000, "holds no settings. Expected JSON"),
        (b'{"what": 1}', "Unknown setting in the configuration: what"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_with_a_sentence(open_page, content, words):
    app = open_page("Train")
    app.file_uploader(key="settings file").set_value(
        ("settings.json", content, "application/json")
    ).run()
    assert not app.exception
    assert words in app.error[0].value.replace("\\", "")
    assert [b for b in app.button if b.key == "train"]
    app.run()
    assert words in app.error[0].value.replace("\\", "")  # as long as the file stands there


def test_the_error_of_a_file_stands_by_its_box_and_not_above_the_title(open_page):
    app = open_page("Train")
    app.file_uploader(key="settings file").set_value(
        ("settings.json", b"[1, 2]", "application/json")
    ).run()
    tab = next(tab for tab in app.tabs if tab.label == "Save and load")
    assert len(tab.error) == len(app.error) == 1


@pytest.mark.parametrize(
    ("key", "value", "said", "bounds"),
    [
        ("training.epochs", 0, "'Epochs' is out of bounds. Expected 1 to 10000", "From 1 to"),
        ("training.learning_rate", 5.0, "'Learning rate' is out of bounds", "From 1e-07 to 1."),
        ("model.dense_units", -1, "'Dense units' is out of bounds", "From 0 to 4,096."),
    ],
)
def test_a_number_out_of_bounds_is_told_and_the_form_stays(open_page, key, value, said, bounds):
    app = open_page("Train")
    field = app.number_input(key=f"setting {key}")
    before = field.value
    assert not field.proto.has_min  # or the browser keeps it to itself
    assert not field.proto.has_max
    field.set_value(value).run()
    assert not app.exception
    assert said in app.error[0].value.replace("\\", "")
    texts = read_texts(app)
    assert f":red[{bounds}" in texts
    assert "Exactly as the preset" not in texts
    assert app.button(key="train").disabled
    assert app.button(key="find rate").disabled
    assert app.button(key="start study").disabled
    assert app.get("plotly_chart")  # of the schedule
    app.button(key="back to preset").click().run()
    assert app.number_input(key=f"setting {key}").value == before
    assert not app.error
    assert not app.button(key="train").disabled


@pytest.mark.parametrize("key", ["training.epochs", "training.learning_rate"])
def test_an_emptied_number_field_has_the_presets_value_again(open_page, key):
    app = open_page("Train")
    field = app.number_input(key=f"setting {key}")
    usual = field.value
    field.set_value(field.value * 2).run()
    app.number_input(key=f"setting {key}").set_value(None).run()
    assert not app.exception
    assert app.number_input(key=f"setting {key}").value == usual
    assert "Exactly as the preset Compact has it" in read_texts(app)


def test_settings_that_fit_only_apart_leave_the_form_whole(open_page):
    app = open_page("Train")
    app.selectbox(key="setting model.network").set_value("transfer").run()
    app.number_input(key="setting training.ema").set_value(0.9).run()
    assert not app.exception
    said = app.error[0].value.replace("\\", "")
    assert "Expected 'Weight averaging' = 0 with 'Network' = transfer" in said
    assert app.button(key="train").disabled
    assert "Save and load" in [tab.label for tab in app.tabs]


def test_milestones_are_a_number_or_a_sentence(open_page):
    app = open_page("Train")
    field = next(t for t in app.text_input if t.label == "Milestones (epochs)")
    assert field.value == "10, 100, 250"
    field.set_value("5, 6").run()
    assert app.session_state["setting training.milestones"] == (5, 6)
    next(t for t in app.text_input if t.label == "Milestones (epochs)").set_value("five").run()
    assert app.session_state["setting training.milestones"] == (5, 6)
    assert "cannot be read" in read_texts(app).replace("\\", "")
    assert "Milestones within these 120 epochs: 5, 6." in read_texts(app)


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("Milestones (epochs)", "-3", "'Milestones' holds an epoch below 1"),
        ("Filters a stage", "0", "'Filters a stage' holds a number that cannot be used"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_where_they_are_typed(open_page, label, text, said):
    app = open_page("Train")
    field = next(t for t in app.text_input if t.label == label)
    before = field.value
    field.set_value(text).run()
    assert not app.exception
    assert not app.error
    (problem,) = [c.value for c in app.caption if "The field stands as it was" in c.value]
    assert said in problem.replace("\\", "")
    assert next(t for t in app.text_input if t.label == label).value == before
    assert not app.button(key="train").disabled


def test_milestones_are_put_in_order_and_filters_are_not(open_page):
    app = open_page("Train")
    next(t for t in app.text_input if t.label == "Milestones (epochs)").set_value("10, 5, 5").run()
    next(t for t in app.text_input if t.label == "Filters a stage").set_value("32, 16, 16").run()
    assert app.session_state["setting training.milestones"] == (5, 10)
    assert app.session_state["setting model.filters"] == (32, 16, 16)
    next(t for t in app.text_input if t.label == "Milestones (epochs)").set_value("").run()
    assert "Milestones none" in read_texts(app)
    assert "none epochs" not in read_texts(app)


def test_the_cards_tell_what_each_preset_takes_in_all(open_page):
    texts = read_texts(open_page("Train"))
    costs = re.findall(r"weights\. (About|At most) (\d+ \w+) for (?:up to )?(\d+) epochs\.", texts)
    assert len(costs) == len(PRESETS)
    num_images = int(re.findall(r"(\d+) images, about", texts)[0])
    # 16 s of start, and for each image and epoch what is around a step and the step itself.
    thesis = PRESETS["thesis"]
    epochs = thesis.config.training.epochs
    seconds = round(16 + (3.5 + thesis.ms_per_image) / 1000 * num_images * epochs)
    assert ("About", f"{seconds} s", str(epochs)) in costs
    assert [word for word, _, _ in costs].count("At most") == 1  # with early stopping


def test_the_estimate_counts_the_start(open_page):
    app = open_page("Train")
    app.number_input(key="setting training.epochs").set_value(1).run()
    (cost,) = re.findall(r"images, about (\d+) s, on a slow computer", read_texts(app))
    assert int(cost) >= 16


def test_what_cannot_be_read_is_said_below_its_own_field(open_page):
    app = open_page("Train")
    next(t for t in app.text_input if t.label == "Milestones (epochs)").set_value("five").run()
    problems = [text.value for text in app.caption if "cannot be read" in text.value]
    assert len(problems) == 1
    assert "Milestones" in problems[0]


def test_the_help_of_a_number_says_its_bounds(open_page):
    app = open_page("Train")
    assert next(n for n in app.number_input if n.label == "Batch size").help.endswith(
        "From 1 to 512."
    )
    assert next(s for s in app.slider if s.label == "Dropout").help.endswith("From 0 to 0.9.")


def test_milestones_stand_beside_the_thesis_own(open_page, own_run):
    metrics = own_run.read_metrics()
    own_run.write_json("milestones.json", {"10": metrics, "3": metrics})
    app = open_page("Train", run="own")
    (table,) = [t.value for t in app.dataframe if "The 2020 thesis" in t.value]
    assert table["Epoch"].tolist() == [3, 10]
    # 8 of 12, as Wilson's interval has it.
    assert table["The 2020 thesis"].tolist() == ["", "67\xa0% (39–86)"]


def test_what_the_doctor_suggests_is_one_click_away(open_page, own_run):
    history = own_run.read_history()
    history["loss"] = history["val_loss"] = float("nan")
    history.to_csv(own_run.path("history.csv"), index=False)
    own_run.write_json(
        "status.json",
        {"state": "failed", "message": "The loss is not a number any more in epoch 3"},
    )
    app = open_page("Train", run="own")
    click(app, "Set for the next run")
    assert not app.exception
    assert "stand below, under 'All settings'" in app.toast[0].value
    rate = app.session_state["setting training.learning_rate"]
    assert rate < own_run.read_config().training.learning_rate


def test_other_versions_are_told_before_a_run_is_resumed(open_page, own_run):
    own_run.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    environment = own_run.read_environment()
    environment["packages"]["keras"] = "1.0"
    own_run.write_json("environment.json", environment)
    app = open_page("Train", run="own")
    click(app, "Resume")
    assert "keras 1.0 →" in app.error[0].value.replace("\\", "")
    assert own_run.read_status()["state"] == "stopped"
    assert "Resume all the same" in [button.label for button in app.button]


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


def change_folder(run, folder):
    config = json.loads(run.path("config.json").read_text())
    config["settings"]["data"] |= {"folder": str(folder), "seed": 7}
    run.write_json("config.json", config)


def test_a_runs_settings_bring_its_own_images(open_page, own_run, tmp_path):
    folder = write_classes(tmp_path / "other", num_patients=6)
    change_folder(own_run, folder)
    app = open_page("Train", run="own")
    app.button(key="use own").click().run()
    assert not app.exception
    assert (app.session_state["source"], app.session_state["folder"]) == ("folder", str(folder))
    assert app.session_state["setting data.seed"] == 7
    assert app.toast[0].value.endswith(
        "below, under 'All settings'. The run's images are chosen too."
    )
    assert app.query_params["folder"] in (str(folder), [str(folder)])
    app.button(key="use own").click().run()
    assert app.toast[0].value.endswith("The images stay the same.")


def test_a_run_of_the_demo_images_brings_these_back(open_page, own_run, demo_data, tmp_path):
    change_folder(own_run, demo_data.absolute())
    folder = write_classes(tmp_path / "other", num_patients=6)
    app = open_page("Train", run="own", source="folder", folder=str(folder))
    app.button(key="use own").click().run()
    assert app.session_state["source"] == "demo"
    assert "are no longer there" not in read_texts(app)


def test_settings_of_images_that_are_gone_say_so_in_the_form(open_page, own_run, tmp_path):
    change_folder(own_run, tmp_path / "gone")
    app = open_page("Train", run="own")
    app.button(key="use own").click().run()
    assert app.session_state["source"] == "demo"
    assert app.toast[0].value.endswith("The run's images are gone.")
    assert "are no longer there. The settings stand below" in read_texts(app)
    folder = write_classes(tmp_path / "other", num_patients=6)
    app.session_state["next source"] = ("folder", str(folder))
    app.run()
    assert "are no longer there" not in read_texts(app)


def test_a_file_of_settings_leaves_the_images(open_page, own_run, tmp_path):
    change_folder(own_run, write_classes(tmp_path / "other", num_patients=6))
    app = open_page("Train")
    content = own_run.path("config.json").read_bytes()
    app.file_uploader(key="settings file").set_value(
        ("config.json", content, "application/json")
    ).run()
    assert not app.exception
    assert app.session_state["source"] == "demo"
    assert app.toast[0].value.endswith("The images stay the same.")


def test_a_result_below_the_baseline_points_to_the_doctor(open_page, own_run):
    predictions = own_run.read_predictions()
    own_run.write_table("predictions.csv", predictions.assign(probability=1 - predictions["label"]))
    texts = read_texts(open_page("Train", run="own"))
    assert "It is worse than that: see what the doctor says below." in texts
    write_decision(own_run, Decision(Goal("sensitivity", 0.95), 0.5))
    texts = read_texts(open_page("Train", run="own"))
    assert "This threshold is for at least 95 % sensitivity, and pays for it" in texts
    assert "the doctor says" not in texts
    assert "train longer" not in texts


def test_a_run_that_was_finished_early_says_so(open_page, own_run):
    assert "Finished early" not in read_texts(open_page("Train", run="own"))
    config = json.loads(own_run.path("config.json").read_text())
    config["settings"]["training"]["epochs"] = 9
    own_run.write_json("config.json", config)
    assert "Finished early, after 3 of 9 epochs." in read_texts(open_page("Train", run="own"))


def test_a_run_cancelled_before_it_began_promises_no_epoch(open_page, own_run):
    own_run.write_json("status.json", {"state": "stopped", "message": "Cancelled before it began"})
    own_run.path("history.csv").unlink()
    texts = read_texts(open_page("Train", run="own"))
    assert "It had not begun. Resume puts it in the queue again." in texts
    assert "Every finished epoch" not in texts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Raise training.epochs. Received: epochs=3", "Raise 'Epochs'. Received: 'Epochs' = 3"),
        (
            "/data/training.seed/model.head.png is gone",
            "/data/training.seed/model.head.png is gone",
        ),
        ("training.nonsense and model.keras", "training.nonsense and model.keras"),
        ("the head and its seed", "the head and its seed"),
    ],
)
def test_messages_name_settings_as_the_form_does(text, said):
    assert name_settings(text) == said
