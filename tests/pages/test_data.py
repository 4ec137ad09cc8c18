import io

import numpy as np
import pytest
from PIL import Image

from polyp_core.augmentation import augment_image
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.images import decode_image, fit_image
from polyp_core.presets import get_preset
from tests.conftest import write_classes
from tests.pages.conftest import read_texts


def test_the_original_stands_beside_sixteen_augmented_samples(open_page):
    app = open_page("Data")
    assert len(app.get("image")) == 17
    # Eight patients leave two for validation, and the page says what that can prove.
    assert "**Train with care.** The validation set is very small" in app.warning[0].value


def test_a_clean_folder_is_fit_to_train(open_page, tmp_path):
    folder = write_classes(tmp_path / "own", num_patients=60, images_each=1)
    app = open_page("Data", source="folder", folder=str(folder))
    assert not app.warning
    assert app.success[0].value == (
        "**Fit to train:** 60 images of 60 patients, all readable. No patient is both in "
        "training and in validation. Even 14 of 14 validation patients right only proves 78 % or "
        "more."
    )


def test_a_slider_changes_what_training_will_see(open_page):
    app = open_page("Data")
    before = [image.proto.imgs[0].url for image in app.get("image")]
    app.slider(key="setting augmentation.rotation_deg").set_value(90.0).run()
    after = [image.proto.imgs[0].url for image in app.get("image")]
    assert not app.exception
    assert after[0] == before[0]  # the original
    assert all(a != b for a, b in zip(after[1:], before[1:], strict=True))


def test_every_setting_of_the_thesis_has_its_control(open_page):
    app = open_page("Data")
    keys = {w.key for w in [*app.slider, *app.toggle, *app.selectbox, *app.number_input]}
    assert {f"setting augmentation.{name}" for name in (
        "rotation_deg", "width_shift", "height_shift", "shear_deg", "zoom", "horizontal_flip",
        "fill_mode",
    )} | {"setting training.seed"} <= keys  # fmt: skip


def test_choosing_a_preset_sets_the_sliders(open_page):
    app = open_page("Data")
    app.selectbox(key="preset choice").set_value("thesis").run()
    assert app.slider(key="setting augmentation.rotation_deg").value == 40.0
    assert "300 × 300 px in colour (Thesis)" in read_texts(app)


def test_many_images_once_each(open_page):
    app = open_page("Data")
    app.get("button_group")  # the view's control
    app.session_state["view"] = "many"
    app.run()
    assert not app.exception
    assert len(app.get("image")) == 16


def test_the_settings_go_with_the_visitor_to_the_train_page(open_page):
    app = open_page("Data")
    app.slider(key="setting augmentation.zoom").set_value(0.4).run()
    app.switch_page("pages/train.py").run()
    assert not app.exception
    assert "Other than in the preset: Zoom 0\\.4" in read_texts(app) or (
        "Other than in the preset: Zoom 0.4" in read_texts(app)
    )


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


def test_an_unreadable_file_is_listed_and_the_rest_is_used(open_page, tmp_path):
    folder = write_classes(tmp_path / "own", num_patients=30)
    (folder / "calcified" / "patient-99_0.png").write_text("no image")
    app = open_page("Data", source="folder", folder=str(folder))
    assert not app.error
    assert "**Train with care.** 1 file cannot be read" in app.warning[0].value
    assert len(app.get("image")) == 17


def test_a_copy_on_both_sides_is_named(open_page, tmp_path):
    folder = tmp_path / "own"
    for split in ("train", "validation"):
        write_classes(folder / split, num_patients=30)
    app = open_page("Data", source="folder", folder=str(folder))
    texts = app.error[0].value + app.error[1].value
    assert "Do not trust a result from this" in texts
    assert "byte for byte the same" in texts
    assert "patients have images in training and validation" in texts


def test_the_page_shows_the_very_bytes_that_training_gets(open_page, demo_data, monkeypatch):
    """The PNG sent for epoch 3 decodes to the array that the batch holds."""
    from ui import pictures

    shown: list[np.ndarray] = []
    encode = pictures.encode_png

    def catch(image):
        png = encode(image)
        shown.append(np.asarray(Image.open(io.BytesIO(png))))
        return png

    monkeypatch.setattr(pictures, "encode_png", catch)
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
