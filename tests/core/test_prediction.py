import shutil
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from polyp_core.errors import ImageError, ModelError
from polyp_core.images import decode_image
from polyp_core.prediction import Prediction, draw_overlay, load_classifier
from polyp_core.runs import Run
from tests.conftest import write_image


@pytest.fixture(scope="module")
def classifier(finished_run):
    return load_classifier(finished_run)


def list_validation(run):
    index = run.read_index()
    return [index.folder / path for path in index.select("validation")["path"]]


def test_file_and_bytes_give_the_same_answer(finished_run, classifier):
    path = list_validation(finished_run)[0]
    from_file = classifier.classify(path)
    from_bytes = classifier.classify(path.read_bytes(), "upload.png")
    assert from_file.probability == from_bytes.probability
    assert np.array_equal(from_file.saliency, from_bytes.saliency)
    assert (from_file.name, from_bytes.name) == (path.name, "upload.png")


def test_the_answer_is_the_one_that_evaluation_wrote(finished_run, classifier):
    written = finished_run.read_predictions().set_index("path")["probability"]
    folder = finished_run.read_index().folder
    for path, probability in written.items():
        assert classifier.classify(folder / path).probability == pytest.approx(probability)


def test_the_class_follows_the_threshold(finished_run, classifier):
    path = list_validation(finished_run)[0]
    probability = classifier.classify(path).probability
    at = replace(classifier, threshold=probability)
    above = replace(classifier, threshold=probability + 1e-6)
    assert at.classify(path).class_name == "calcified"
    assert above.classify(path).class_name == "non-calcified"


def test_four_threads_get_the_right_answers(finished_run, classifier):
    paths = list_validation(finished_run)
    expected = [classifier.classify(path).probability for path in paths]
    wrong: list[object] = []

    def work():
        for _ in range(15):
            for path, probability in zip(paths, expected, strict=True):
                if classifier.classify(path).probability != probability:
                    wrong.append(path)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_text_file_is_an_image_error(classifier):
    with pytest.raises(ImageError, match="not an image"):
        classifier.classify(b"hello", "fake.png")


def test_a_model_that_was_tampered_with_is_refused(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    content = bytearray(copy.path("serving.tflite").read_bytes())
    content[-1] ^= 1
    copy.path("serving.tflite").write_bytes(content)
    with pytest.raises(ModelError) as raised:
        load_classifier(copy)
    assert str(raised.value) == (
        "The model of run 'copy' is not the file that training wrote: its sha256 differs. Copy "
        "the run again, or train anew."
    )


def test_an_unfinished_run_says_that_it_cannot_predict(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    copy.path("serving.tflite").unlink()
    copy.write_json("status.json", {"state": "stopped"})
    with pytest.raises(ModelError) as raised:
        load_classifier(copy)
    assert str(raised.value) == (
        "Run 'copy' has no model to predict with; its state is stopped. Expected a finished run. "
        "Let it finish, or choose another."
    )


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "grey.png"
    write_image(path, is_bright_spot=False, seed=1, size_px=60)
    return decode_image(path)


def explain(picture, saliency, box=None):
    """A prediction with a given saliency map of the whole picture, or of a box."""
    height_px, width_px = picture.shape[:2]
    return Prediction(
        name="grey.png", picture=picture, box=box or (0, 0, width_px, height_px), probability=0.5,
        class_name="", saliency=np.asarray(saliency, np.float32),
    )  # fmt: skip


def test_no_evidence_or_no_opacity_leaves_the_picture_untouched(picture):
    rgb = np.repeat(picture, 3, axis=-1)
    nothing = np.zeros((8, 8), np.float32)
    assert np.array_equal(draw_overlay(explain(picture, nothing), 1.0), rgb)
    assert np.array_equal(draw_overlay(explain(picture, nothing + 1), 0.0), rgb)


def test_each_direction_colours_only_its_own_evidence(picture):
    saliency = np.zeros((2, 2), np.float32)
    saliency[0, 0], saliency[1, 1] = 1, -1
    rgb = np.repeat(picture, 3, axis=-1)
    prediction = explain(picture, saliency)
    changed_for = (draw_overlay(prediction, 0.8) != rgb).any(axis=-1)
    changed_against = (draw_overlay(prediction, 0.8, positive=False) != rgb).any(axis=-1)
    assert changed_for[:15, :15].all()
    assert not changed_for[45:, 45:].any()
    assert changed_against[45:, 45:].all()
    assert not changed_against[:15, :15].any()


def test_outside_of_the_box_the_picture_stays_and_inside_the_map_fills_it(picture):
    box = (10, 20, 40, 50)
    overlay = draw_overlay(explain(picture, np.ones((3, 3)), box), 0.8)
    rgb = np.repeat(picture, 3, axis=-1)
    inside = np.zeros((60, 60), bool)
    inside[20:50, 10:40] = True
    assert np.array_equal((overlay != rgb).any(axis=-1), inside)


def test_a_strong_evidence_at_full_opacity_is_the_end_of_the_colour_map(picture):
    overlay = draw_overlay(explain(picture, [[1.0]]), 1.0)
    assert (overlay == cv2.applyColorMap(np.array([[255]], np.uint8), cv2.COLORMAP_INFERNO)[
        0, 0, ::-1
    ]).all()  # fmt: skip


def test_drawing_leaves_the_prediction_as_it_was(picture):
    before = picture.copy()
    draw_overlay(explain(picture, np.ones((3, 3))), 1.0)
    assert np.array_equal(picture, before)


def test_a_coloured_picture_keeps_its_colours_where_there_is_no_evidence():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(draw_overlay(explain(picture, np.zeros((2, 2))), 1.0), picture)


def test_the_network_sees_the_box_alone(finished_run, classifier):
    """A quarter cut out of a picture is judged as that quarter by itself."""
    path = list_validation(finished_run)[0]
    pixels = np.kron(decode_image(path)[..., 0], np.ones((2, 2), np.uint8))
    data = replace(classifier.config.data, region="box", region_box=(50, 0, 100, 50))
    cut = replace(classifier, config=replace(classifier.config, data=data))
    whole = cut.classify(encode(pixels))
    quarter = classifier.classify(encode(pixels[:40, 40:]))
    assert whole.box == (40, 0, 80, 40)
    assert whole.picture.shape == (80, 80, 1)
    assert whole.probability == quarter.probability
    assert classifier.classify(path).box == (0, 0, 40, 40)


def encode(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()
