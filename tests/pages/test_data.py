import io
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from polyp_core import workspace
from polyp_core.augmentation import augment_image
from polyp_core.config import AugmentConfig, DataConfig
from polyp_core.config.augmentation import EFFECTS
from polyp_core.dataset import read_index
from polyp_core.images import decode_image, fit_image
from polyp_core.presets import AUGMENTATION_PRESETS, get_preset
from tests.conftest import write_classes, write_image
from tests.pages.conftest import click, list_scrolls, read_texts
from ui import pictures


def catch_images(monkeypatch) -> list[np.ndarray]:
    """The pictures as the browser gets them, decoded from their PNG."""
    shown: list[np.ndarray] = []
    encode = pictures.encode_png

    def catch(image):
        png = encode(image)
        shown.append(np.asarray(Image.open(io.BytesIO(png))))
        return png

    monkeypatch.setattr(pictures, "encode_png", catch)
    return shown


def list_findings(app) -> list[str]:
    """The titles of all findings."""
    return [expander.label for expander in app.expander]


def choose(app, key: str, value: str) -> None:
    """Press one of the buttons of a segmented control."""
    (group,) = [g for g in app.get("button_group") if g.key == key]
    group.set_value(value).run()


def test_the_original_stands_beside_sixteen_augmented_samples(open_page):
    app = open_page("Data")
    assert len(app.get("image")) == 17
    # Eight patients leave two for validation, and the page says what that can prove.
    assert app.warning[0].value == "**Train with care:** The validation set is very small\\."
    assert (
        "34 images of 8 patients. Even 2 of 2 validation patients right only proves 34 % or more."
        in read_texts(app)
    )


def test_a_clean_folder_is_fit_to_train(open_page, tmp_path):
    folder = tmp_path / "own"
    for patient in range(90):
        name = ("non-calcified", "calcified")[patient % 2]
        path = folder / name / f"patient-{patient:02}.png"
        write_image(path, is_bright_spot=False, seed=patient)
    app = open_page("Data", source="folder", folder=str(folder))
    assert not app.warning
    assert app.success[0].value == (
        "**Fit to train:** Nothing was found that speaks against these images."
    )
    assert (
        "90 images of 90 patients. Even 22 of 22 validation patients right only proves 85 % or "
        "more." in read_texts(app)
    )


def test_a_slider_changes_what_training_will_see(open_page):
    app = open_page("Data")
    before = [image.proto.imgs[0].url for image in app.get("image")]
    app.slider(key="setting augmentation.rotation_deg").set_value(90.0).run()
    after = [image.proto.imgs[0].url for image in app.get("image")]
    assert not app.exception
    assert after[0] == before[0]  # the original
    assert all(a != b for a, b in zip(after[1:], before[1:], strict=True))


def test_every_setting_of_the_augmentation_has_its_control(open_page):
    settings = {item.name: item.metadata for item in fields(AugmentConfig)}
    acting = {f"setting augmentation.{amount}": settings[amount]["high"] / 2
              for amount, _ in EFFECTS if "flip" not in amount}  # fmt: skip
    app = open_page("Data", **acting)
    keys = {w.key for w in [*app.slider, *app.toggle, *app.selectbox, *app.number_input]}
    missing = {f"setting augmentation.{item.name}" for item in fields(AugmentConfig)} - keys
    # The chance of what is off is not asked for.
    assert missing == {"setting augmentation.vertical_flip_probability"}
    assert "setting training.seed" in keys


def test_a_folder_that_was_used_before_is_taken_instead_of_typed(open_page, own_run):
    folder = own_run.read_config().data.folder
    app = open_page("Data", source="folder")
    box = app.selectbox(key="known folders")
    assert box.options == [folder]  # the demo images have a button of their own
    box.set_value(folder).run()
    assert app.text_input(key="folder").value == folder
    assert f"{len(own_run.read_index().images)} images" in read_texts(app)
    assert not [one for one in app.selectbox if one.key == "known folders"]
    own_run.path("config.json").unlink()  # nobody has used it
    app = open_page("Data", source="folder")
    assert not [one for one in app.selectbox if one.key == "known folders"]


def test_choosing_a_network_shows_what_it_sees(open_page):
    app = open_page("Data")
    app.selectbox(key="preset choice").set_value("thesis").run()
    assert app.slider(key="setting augmentation.rotation_deg").value == 40.0
    assert "300 × 300 px in colour (Thesis)" in read_texts(app)


def test_an_augmentation_is_chosen_as_a_whole_and_marked_until_it_is_changed(open_page):
    app = open_page("Data")
    assert app.session_state["augmentation choice"] is None
    for name in ("ultrasound", "none", "thesis"):
        choose(app, "augmentation choice", name)
        expected = AUGMENTATION_PRESETS[name]
        assert app.slider(key="setting augmentation.gain_db").value == expected.gain_db
        assert app.session_state["augmentation choice"] == name
    app.slider(key="setting augmentation.zoom").set_value(0.31).run()
    assert app.session_state["augmentation choice"] is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rotation_deg", 90.0, "comes from no probe"),
        ("shadow_db", 10.0, "calcification"),
        ("shear_deg", 0.2, "seen"),
    ],
)
def test_a_note_stands_beside_what_ultrasound_forbids(open_page, name, value, expected):
    app = open_page("Data")
    quiet = [c.value for c in app.caption]
    app.slider(key=f"setting augmentation.{name}").set_value(value).run()
    notes = [c.value for c in app.caption if c.value not in quiet]
    assert any(expected in note and note.startswith(":material/warning:") for note in notes), notes


@pytest.mark.parametrize(
    ("view", "num_images"), [("samples", 17), ("pairs", 32), ("difference", 17), ("average", 3)]
)
def test_every_view_shows_its_pictures(open_page, view, num_images):
    app = open_page("Data", view=view, numbers=True)
    assert len(app.get("image")) == num_images
    assert "turned" in str(app.table[0].value)


def test_the_grid_has_the_asked_size(open_page):
    app = open_page("Data")
    app.selectbox(key="size").set_value(32).run()
    assert len(app.get("image")) == 33


def test_nothing_differs_where_nothing_is_augmented(open_page, monkeypatch):
    shown = catch_images(monkeypatch)
    none = {f"setting augmentation.{item.name}": getattr(AUGMENTATION_PRESETS["none"], item.name)
            for item in fields(AugmentConfig)}  # fmt: skip
    open_page("Data", view="difference", **none)
    assert all(image.max() == 0 for image in shown[-16:])
    shown.clear()
    open_page("Data", view="average", **none)
    original, average, spread = shown[-3:]
    assert np.array_equal(original, average)
    assert spread.max() == 0


def test_the_epoch_moves_the_samples_along(open_page, monkeypatch):
    shown = catch_images(monkeypatch)
    app = open_page("Data")
    first = shown[-16:]
    app.number_input(key="epoch").set_value(6).run()
    later = shown[-16:]
    for before, after in zip(first[5:], later, strict=False):
        assert np.array_equal(before, after)


def test_a_link_opens_the_same_grid_in_another_session(open_page, monkeypatch):
    shown = catch_images(monkeypatch)
    app = open_page("Data")
    app.slider(key="setting augmentation.rotation_deg").set_value(33.0).run()
    app.slider(key="setting augmentation.gain_db").set_value(6.0).run()
    app.number_input(key="image").set_value(4).run()
    app.number_input(key="epoch").set_value(9).run()
    expected, link = shown[-17:], dict(app.query_params)
    shown.clear()
    other = open_page("Data")
    for key, value in link.items():
        other.query_params[key] = value if isinstance(value, str) else value[0]
    other.run()
    assert not other.exception
    assert other.slider(key="setting augmentation.gain_db").value == 6.0
    for before, after in zip(expected, shown[-17:], strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("augmentation.rotation_deg", "4000", "is left out. 'Rotation' is out of"),
        ("augmentation.nonsense", "1", "is left out: there is no such setting."),
        (
            "image",
            "![x](http://elsewhere)",
            "Expected a whole number from 1 to 1,000,000. Received:",
        ),
        ("epoch", "-3", "is left out"),
    ],
)
def test_a_link_that_is_wrong_costs_nothing_else(open_page, key, value, expected):
    app = open_page("Data")
    app.query_params[key] = value
    app.query_params["augmentation.zoom"] = "0.3"
    app.run()
    assert not app.exception
    assert expected in app.error[0].value.replace("\\", "")
    assert app.slider(key="setting augmentation.zoom").value == 0.3
    assert len(app.get("image")) == 17


def test_a_link_holds_the_settings_exactly(open_page):
    rate, zoom = 0.00123456789, 0.123456789
    app = open_page("Train", **{"setting training.learning_rate": rate})
    assert float(str(app.query_params["training.learning_rate"]).strip("[]'")) == rate
    other = open_page("Data")
    # Eight stages fit no smaller picture: together they can be used, alone they cannot.
    other.query_params["model.filters"] = "8,8,8,8,8,8,8,8"
    other.query_params["model.image_size_px"] = "512"
    other.query_params["augmentation.zoom"] = str(zoom)
    other.run()
    assert not other.error
    assert other.session_state["setting model.image_size_px"] == 512
    assert other.session_state["setting augmentation.zoom"] == zoom


def test_settings_that_cannot_be_used_leave_the_pictures(open_page):
    app = open_page("Data", **{"setting training.epochs": 0})
    assert "'Epochs' is out of bounds" in app.error[0].value.replace("\\", "")
    assert len(app.get("image")) == 17
    assert app.slider(key="setting augmentation.zoom")


def test_the_settings_go_with_the_visitor_to_the_train_page(open_page):
    app = open_page("Data")
    app.slider(key="setting augmentation.zoom").set_value(0.4).run()
    app.switch_page("pages/train.py").run()
    assert not app.exception
    assert "Other than in the preset: Zoom 40 %" in read_texts(app)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.mkdir(), "has 0 class folders"),
        (lambda folder: (folder / "calcified").mkdir(parents=True), "has 1 class folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_calm_box(open_page, tmp_path, make, expected):
    folder = tmp_path / "own"
    make(folder)
    app = open_page("Data", source="folder", folder=str(folder))
    assert len(app.error) == 1
    assert expected in app.error[0].value.replace("\\", "")
    assert "Expected two class folders" in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize("has_notes", [False, True])
def test_of_the_demo_set_its_own_text_is_not_reported(open_page, demo_data, has_notes):
    assert (demo_data / "README.txt").is_file()
    if has_notes:
        (demo_data / "calcified" / "notes.txt").write_text("mine")
    texts = read_texts(open_page("Data"))
    assert ("Left out of the folder: 1 file that is no image." in texts) == has_notes
    assert ("Left out of the folder" in texts) == has_notes


def test_an_unreadable_file_is_listed_and_the_rest_is_used(open_page, tmp_path):
    folder = write_classes(tmp_path / "own", num_patients=30)
    (folder / "calcified" / "patient-99_0.png").write_text("no image")
    app = open_page("Data", source="folder", folder=str(folder))
    assert not app.error
    assert "**Train with care:**" in app.warning[0].value
    assert any("1 file cannot be read and is left out" in text for text in list_findings(app))
    assert len(app.get("image")) == 17


def write_leaking(tmp_path):
    """The same thirty patients to train and to validate on."""
    folder = tmp_path / "own"
    for split in ("train", "validation"):
        write_classes(folder / split, num_patients=30)
    return folder


def test_a_copy_on_both_sides_is_named_with_its_pictures(open_page, tmp_path):
    app = open_page("Data", source="folder", folder=str(write_leaking(tmp_path)))
    assert "**Do not trust a result from this:**" in app.error[0].value
    findings = list_findings(app)
    assert any("byte for byte the same" in finding for finding in findings)
    assert any("patients have images in training and validation" in f for f in findings)
    num_images = len(app.get("image"))
    app.session_state["finding copy_across_splits"] = True
    app.run()
    assert len(app.get("image")) == num_images + 12  # six pairs, side by side
    assert "The model would be tested on what it has learnt by heart" in read_texts(app)


def test_one_click_brings_a_clean_split_and_one_takes_it_back(open_page, tmp_path):
    folder = write_leaking(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    app = open_page("Data", source="folder", folder=str(folder))
    assert "60 copies are left out" in read_texts(app)
    next(b for b in app.button if b.label == "Use the clean split").click().run()
    assert not app.exception
    assert "A clean split is in use" in read_texts(app)
    assert not app.error
    assert [path.suffix for path in workspace.get_splits_dir().iterdir()] == [".csv"]
    index = read_index(DataConfig(folder=app.session_state["folder"]))
    assert len(index.images) == 60
    assert (index.images.groupby("group")["split"].nunique() == 1).all()
    next(b for b in app.button if b.label == "Back to the folder's own split").click().run()
    assert "**Do not trust a result from this:**" in app.error[0].value
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_a_region_is_seen_before_it_is_accepted_and_then_used(open_page, monkeypatch):
    shown = catch_images(monkeypatch)
    app = open_page("Data", **{"region open": True})
    whole = shown[-16:]
    app.session_state["region mode"] = "box"
    app.run()
    app.slider(key="region x").set_value((25, 75)).run()
    assert "50 % of the area is kept" in read_texts(app)
    assert "setting data.region" not in app.session_state
    next(b for b in app.button if b.label == "Use this region").click().run()
    assert not app.exception
    assert app.session_state["setting data.region"] == "box"
    assert app.session_state["setting data.region_box"] == (25, 0, 75, 100)
    assert not np.array_equal(shown[-16:], whole)
    assert "Region of interest: a box" in str([e.label for e in app.expander])


def test_the_positive_class_is_a_choice_of_the_two(open_page, tmp_path):
    folder = write_classes(tmp_path / "own")
    app = open_page("Data", source="folder", folder=str(folder))
    choice = app.selectbox(key="setting data.positive_class")
    assert (choice.options, choice.value) == (["calcified", "non-calcified"], "calcified")
    choice.set_value("non-calcified").run()
    assert not app.exception
    assert not app.error


def test_the_pattern_shows_what_it_finds(open_page, tmp_path):
    app = open_page("Data", source="folder", folder=str(write_classes(tmp_path / "own")))
    app.text_input(key="setting data.group_pattern").set_value(r"-(\d+)_").run()
    texts = read_texts(app).replace("\\", "")
    assert "10 patients in 20 files. patient-01_0.png → 01" in texts


def test_a_manifest_is_opened_like_a_folder(open_page, tmp_path):
    index = read_index(DataConfig(folder=str(write_classes(tmp_path / "own"))))
    index.write_manifest(tmp_path / "list.csv")
    app = open_page("Data", source="folder", folder=str(tmp_path / "list.csv"))
    assert not app.error
    assert "20 images of 10 patients" in read_texts(app)


def test_names_with_markup_are_shown_literally(open_page, tmp_path):
    folder = write_classes(tmp_path / "own", num_patients=4)
    name = "![x](x.png) <img src=y> **b**_\u202e.png"
    source = folder / "calcified" / "patient-01_0.png"
    for split in ("train", "validation"):
        for path in sorted(folder.glob("*calcified/*.png")):
            target = tmp_path / "split" / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        (tmp_path / "split" / split / "calcified" / name).write_bytes(source.read_bytes())
    app = open_page(
        "Data", source="folder", folder=str(tmp_path / "split"), notes=True,
        **{"finding copy_across_splits": True},
    )  # fmt: skip
    for kind in ("markdown", "caption", "error", "warning", "info"):
        for element in getattr(app, kind):
            assert "![x](" not in element.value
            assert "<img" not in element.value.replace("\\<", "")
    assert any("![x](x.png)" in str(table.value) for table in app.dataframe)


def test_an_empty_state_says_what_would_stand_there(open_page):
    app = open_page("Data", source="folder")
    assert "Give the folder of your images above" in app.info[0].value
    app = open_page("Data", source="upload")
    assert not app.error


def test_the_page_shows_the_very_bytes_that_training_gets(open_page, demo_data, monkeypatch):
    """The PNG sent for epoch 3 decodes to the array that the batch holds."""
    shown = catch_images(monkeypatch)
    open_page("Data")
    index, preset = read_index(DataConfig(folder=str(demo_data))), get_preset("compact")
    number = index.select("train").query("label == 1").index[0]
    original = fit_image(decode_image(index.folder / index.images["path"][number]), 128, 1)
    expected = augment_image(original, preset.augmentation, seed=0, epoch=3, image_number=number)
    assert any(np.array_equal(image, expected[..., 0]) for image in shown)


@pytest.mark.parametrize("page", ["Data", "Train", "Home"])
def test_a_wrong_patient_pattern_is_a_calm_box_and_can_be_mended(open_page, tmp_path, page):
    state = {"source": "folder", "folder": str(write_classes(tmp_path / "own"))}
    app = open_page(page, **state, **{"setting data.group_pattern": "^(\\d+_"})
    assert "is not a regular expression" in app.error[0].value
    if page != "Home":
        app.text_input(key="setting data.group_pattern").set_value(r"^(patient-\d+)").run()
        assert not app.error


def test_an_upload_can_be_deleted_and_nothing_else_can(open_page, tmp_path, workspace_dir):
    folder = write_classes(workspace.get_imports_dir() / "polyps-12345678")
    app = open_page("Data", source="folder", folder=str(folder))
    next(b for b in app.button if b.label == "Delete this copy").click().run()
    assert not app.exception
    assert not folder.exists()
    other = write_classes(tmp_path / "own")
    for text in (str(other), f"{workspace.get_imports_dir()}/..", str(workspace.get_imports_dir())):
        app = open_page("Data", source="folder", folder=text)
        assert "Delete this copy" not in [button.label for button in app.button]
    assert other.exists()


def test_a_reload_finds_folder_region_and_network_in_the_address(open_page, tmp_path):
    folder = write_classes(tmp_path / "own", num_patients=30)
    app = open_page(
        "Data", source="folder", folder=str(folder),
        **{"setting data.region": "box", "setting data.region_box": (10, 0, 90, 100),
           "setting model.image_size_px": 80},
    )  # fmt: skip
    link = dict(app.query_params)
    for page in ("Data", "Train"):
        other = open_page(page)
        for key, value in link.items():
            other.query_params[key] = value if isinstance(value, str) else value[0]
        other.run()
        assert not other.exception
        assert (other.session_state["source"], other.session_state["folder"]) == (
            "folder", str(folder),
        )  # fmt: skip
        assert other.session_state["setting data.region_box"] == (10, 0, 90, 100)
        assert other.session_state["setting model.image_size_px"] == 80


def test_an_unwritable_place_for_the_split_is_a_calm_box(open_page, tmp_path, workspace_dir):
    folder = write_leaking(tmp_path)
    app = open_page("Data", source="folder", folder=str(folder))
    (workspace_dir / "splits").write_text("in the way")
    next(b for b in app.button if b.label == "Use the clean split").click().run()
    assert not app.exception
    assert any("The clean split cannot be written" in error.value for error in app.error)


def test_reading_that_was_stopped_goes_on_when_asked(open_page, tmp_path):
    folder = str(write_classes(tmp_path / "own"))
    app = open_page("Data", source="folder", folder=folder, **{"stopped reading": folder})
    assert "Stopped. What was read is kept." in app.info[0].value
    assert not app.get("image")
    next(b for b in app.button if b.label == "Go on reading").click().run()
    assert not app.exception
    assert len(app.get("image")) == 17


def go_to(app, address):
    app.query_params.clear()
    for name, text in address.items():
        app.query_params[name] = text
    app.run()


@pytest.mark.parametrize("page", ["Data", "Train"])
def test_a_click_that_overtakes_the_new_address_loses_nothing(open_page, page):
    """On a busy machine the browser sends the address of before along with the next click."""
    app = open_page(page)
    before = {key: app.query_params[key] for key in app.query_params}
    key = "setting augmentation.zoom" if page == "Data" else "setting training.epochs"
    widget = app.slider(key=key) if page == "Data" else app.number_input(key=key)
    value = 0.3 if page == "Data" else 3
    widget.set_value(value).run()
    assert dict(app.query_params) != before
    go_to(app, before)
    assert app.session_state[key] == value
    assert "0.3" in str(app.query_params) or "'3'" in str(app.query_params)


def test_going_back_to_an_earlier_address_takes_its_settings(open_page, monkeypatch):
    app = open_page("Data")
    app.slider(key="setting augmentation.zoom").set_value(0.3).run()
    before = dict(app.query_params)
    app.slider(key="setting augmentation.zoom").set_value(0.4).run()
    after = dict(app.query_params)
    with monkeypatch.context() as later:
        later.setattr("ui.address._LATE_S", 0.0)
        go_to(app, before)
    assert app.session_state["setting augmentation.zoom"] == 0.3
    go_to(app, after)  # and "Forward" at once
    assert app.session_state["setting augmentation.zoom"] == 0.4


def test_the_way_to_training_ends_at_the_beginning_of_its_page(open_page):
    app = open_page("Data")
    click(app, "Train on these images")
    assert app.title[0].value == "Train"
    assert list_scrolls(app) == ["1"]
