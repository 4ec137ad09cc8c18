import queue
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyp_core.decision import Decision, Goal, write_decision
from polyp_core.errors import ImageError, ModelError
from polyp_core.familiarity import Verdict
from polyp_core.images import Picture, decode_image, decode_picture, prepare_picture
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import (
    Examined,
    Prediction,
    Predictor,
    classify_files,
    draw_overlay,
    files,
    load_classifier,
    predictor,
)
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN
from tests.conftest import write_image
from tests.core.dicom_files import JPEG, compress, pack, write_dicom


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


@dataclass
class Doorkeeper:
    """Stands in for a run's `Familiarity`: notes what it is asked, and calls all strangers."""

    asked: list = field(default_factory=list)
    is_stranger: bool = True

    def judge(self, picture, box, seen, features):
        self.asked.append((picture, box, seen, features))
        reasons = ("it is in colour, the training images are grey",) if self.is_stranger else ()
        return Verdict(p_value=0.01, is_stranger=self.is_stranger, reasons=reasons)


def test_a_stranger_is_refused_and_keeps_what_the_model_says(finished_run, classifier):
    path = list_validation(finished_run)[0]
    plain, keeper = replace(classifier, familiarity=None).classify(path), Doorkeeper()
    refused = replace(classifier, familiarity=keeper).classify(path)
    assert refused.is_refused
    assert refused.verdict.reasons == ("it is in colour, the training images are grey",)
    assert refused.probability == plain.probability
    assert (refused.class_name, refused.is_sure) == (plain.class_name, plain.is_sure)
    assert not plain.is_refused
    assert plain.verdict is None
    known = replace(classifier, familiarity=Doorkeeper(is_stranger=False)).classify(path)
    assert not known.is_refused
    assert known.verdict.p_value == 0.01


def test_the_judge_of_strangers_is_given_what_the_network_was(finished_run, classifier):
    path, keeper = list_validation(finished_run)[0], Doorkeeper()
    data = replace(classifier.config.data, region="box", region_box=(50, 0, 100, 50))
    config = replace(classifier.config, data=data)
    replace(classifier, config=config, familiarity=keeper).classify(path)
    ((picture, box, seen, features),) = keeper.asked
    assert np.array_equal(picture.pixels, decode_image(path))
    assert box == (20, 0, 40, 20)
    assert np.array_equal(seen, prepare_picture(picture, data, config.model))
    assert np.array_equal(features, classifier.predictor.examine(seen).features)


def test_a_model_without_features_judges_no_stranger(classifier, finished_run, monkeypatch):
    """As those of earlier versions."""
    answer = Examined(probability=0.5, saliency=np.zeros((2, 2), np.float32), features=None)
    monkeypatch.setattr(Predictor, "examine", lambda self, image: answer)
    path = list_validation(finished_run)[0]
    prediction = replace(classifier, familiarity=Doorkeeper()).classify(path)
    assert prediction.verdict is None
    assert not prediction.is_refused


def test_a_decoded_picture_gives_the_answer_of_its_file(finished_run, classifier):
    path = list_validation(finished_run)[0]
    prediction = classifier.classify_picture(decode_picture(path), "film.dcm", 3)
    assert prediction.probability == classifier.classify(path).probability
    assert (prediction.name, prediction.frame) == ("film.dcm", 3)


def count_interpreters(monkeypatch, content, num_cores, num_callers):
    """How many interpreters many callers at once have made, and with how many threads each."""
    made = []
    make = Predictor._make_interpreter

    def make_counted(self):
        made.append(self._num_threads)
        return make(self)

    monkeypatch.setattr(Predictor, "_make_interpreter", make_counted)
    monkeypatch.setattr(predictor, "count_cores", lambda: num_cores)
    shared = Predictor(content)
    image = np.full((32, 32, 1), 90, np.uint8)
    expected, wrong = shared.predict(image)[0], []
    gate = threading.Barrier(num_callers)

    def call():
        gate.wait()
        wrong.extend(p for p, _ in (shared.predict(image) for _ in range(40)) if p != expected)

    threads = [threading.Thread(target=call) for _ in range(num_callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    return made


def test_there_are_never_more_interpreters_than_cores(finished_run, monkeypatch):
    content = finished_run.path("serving.tflite").read_bytes()
    made = count_interpreters(monkeypatch, content, num_cores=3, num_callers=12)
    assert made == [1] * len(made)
    assert 1 <= len(made) <= 3


class Held:
    """An interpreter that works only while so many others do."""

    def __init__(self, interpreter, gate):
        self._interpreter, self._gate = interpreter, gate

    def __getattr__(self, name):
        return getattr(self._interpreter, name)

    def invoke(self):
        self._gate.wait()
        self._interpreter.invoke()


def test_each_of_several_callers_at_once_has_an_interpreter_of_its_own(finished_run, monkeypatch):
    content = finished_run.path("serving.tflite").read_bytes()
    make, made, gate = Predictor._make_interpreter, [], threading.Barrier(3, timeout=20)

    def make_held(self):
        made.append(Held(make(self), gate))
        return made[-1]

    image = np.full((32, 32, 1), 90, np.uint8)
    expected = Predictor(content).predict(image)[0]
    monkeypatch.setattr(Predictor, "_make_interpreter", make_held)
    monkeypatch.setattr(predictor, "count_cores", lambda: 3)
    shared = Predictor(content)
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(shared.predict, image) for _ in range(12)]
        assert {each.result()[0] for each in found} == {expected}
    assert len(made) == 3


def test_an_interpreter_that_could_not_be_made_may_be_made_later(finished_run, monkeypatch):
    content = finished_run.path("serving.tflite").read_bytes()
    monkeypatch.setattr(predictor, "count_cores", lambda: 2)
    shared, make = Predictor(content), Predictor._make_interpreter

    def fail(self):
        raise MemoryError

    def get_without_waiting(block=True):
        assert not block, "it waits for another, as if there could be no more"
        raise queue.Empty

    with shared._borrow_interpreter() as first:
        monkeypatch.setattr(shared._idle, "get", get_without_waiting)
        monkeypatch.setattr(Predictor, "_make_interpreter", fail)
        for _ in range(3):
            with pytest.raises(MemoryError), shared._borrow_interpreter():
                pass
        monkeypatch.setattr(Predictor, "_make_interpreter", make)
        with shared._borrow_interpreter() as second:
            assert second is not first


def test_a_large_model_is_held_once_and_uses_two_cores(finished_run, monkeypatch):
    content = finished_run.path("serving.tflite").read_bytes()
    monkeypatch.setattr(predictor, "_MAX_POOL_BYTES", len(content))
    assert count_interpreters(monkeypatch, content, num_cores=8, num_callers=4) == [2]


def test_an_interpreter_that_fails_is_given_back(finished_run):
    shared = Predictor(finished_run.path("serving.tflite").read_bytes())
    image = np.full((32, 32, 1), 90, np.uint8)
    for _ in range(20):
        with pytest.raises(ValueError, match="Dimension mismatch"):
            shared.predict(image[:20])
    assert 0 < shared.predict(image)[0] < 1


def test_files_are_answered_in_order_as_one_by_one(finished_run, classifier, tmp_path):
    paths = list_validation(finished_run) * 5
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    paths[7:7] = [bad, tmp_path / "missing.png"]
    answers = [answer for (answer,) in classify_files(classifier, paths, num_threads=3)]
    assert [answer.path for answer in answers] == paths
    for path, answer in zip(paths, answers, strict=True):
        if path.suffix == ".png" and path.parent != tmp_path:
            expected = classifier.classify(path)
            assert (answer.probability, answer.class_name, answer.is_sure, answer.error) == (
                expected.probability, expected.class_name, expected.is_sure, "",
            )  # fmt: skip
            assert answer.verdict == expected.verdict
    assert answers[7].error.startswith("'bad.png' is not an image that can be read")
    assert answers[8].error.startswith("Cannot open 'missing.png'")
    assert answers[8].probability is None


def test_several_pictures_at_once_are_answered_as_one_by_one(finished_run, classifier):
    paths = list_validation(finished_run)
    named = [(decode_picture(path), path.name, frame) for frame, path in enumerate(paths)]
    for (picture, name, frame), found in zip(
        named, classifier.classify_pictures(named), strict=True
    ):
        alone = classifier.classify_picture(picture, name, frame)
        assert (found.name, found.frame, found.box) == (name, frame, alone.box)
        assert found.picture is picture.pixels
        assert (found.probability, found.verdict) == (alone.probability, alone.verdict)
        assert np.array_equal(found.saliency, alone.saliency)
    assert classifier.classify_pictures([]) == []


def test_of_pictures_classified_at_once_only_the_one_without_memory_has_an_error(
    finished_run, classifier
):
    paths = list_validation(finished_run)[:4]
    large = decode_image(paths[2])

    class Forgetful(Doorkeeper):
        def judge(self, picture, box, seen, features):
            if np.array_equal(picture.pixels, large):
                raise MemoryError
            return super().judge(picture, box, seen, features)

    forgetful = replace(classifier, familiarity=Forgetful(is_stranger=False))
    answers = [answer for (answer,) in files._classify_part(forgetful, paths)]
    assert [answer.path for answer in answers] == paths
    assert [bool(answer.error) for answer in answers] == [False, False, True, False]
    assert answers[2].error.startswith(f"'{paths[2].name}' needs more memory than is free. ")
    assert answers[3].probability == classifier.classify(paths[3]).probability


def test_large_pictures_do_not_wait_for_one_another():
    def read(*sides_px):
        for number, side_px in enumerate(sides_px):
            answer = files.FileAnswer(path=Path(f"{number}.png"), frame=0)
            picture = Picture(pixels=np.zeros((side_px, side_px, 1), np.uint8))
            yield number, answer, picture if side_px else None

    assert [len(batch) for batch in files._gather(read(*[300] * 20))] == [8, 8, 4]
    assert [len(batch) for batch in files._gather(read(3000, 3000, 0, 1900, 700, 9))] == [
        1,
        1,
        3,
        1,
    ]
    assert list(files._gather(read())) == []


def test_no_more_files_are_taken_than_are_under_way(finished_run, classifier):
    path, num_taken = list_validation(finished_run)[0], 0

    def take_without_end():
        nonlocal num_taken
        while True:
            num_taken += 1
            yield path

    answers = classify_files(classifier, take_without_end(), num_threads=2)
    for number in range(1, 301):
        next(answers)
        assert num_taken <= number + 64
    answers.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("classify")]


def test_a_bug_in_a_thread_keeps_its_traceback(finished_run, classifier, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Predictor, "examine", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(classify_files(classifier, list_validation(finished_run)))


def test_an_image_for_which_there_is_no_memory_is_a_row_with_an_error(
    finished_run, classifier, monkeypatch
):
    paths = list_validation(finished_run)[:4]
    decode, read = files.decode_pictures, files.read_file

    def decode_unless_large(data, name, frames=None):
        if name == paths[1].name:
            raise MemoryError
        return decode(data, name, frames)

    def read_unless_large(path, name):
        if path == paths[2]:
            raise MemoryError
        return read(path, name)

    monkeypatch.setattr(files, "decode_pictures", decode_unless_large)
    monkeypatch.setattr(files, "read_file", read_unless_large)
    answers = [answer for (answer,) in classify_files(classifier, paths, num_threads=2)]
    assert [bool(answer.error) for answer in answers] == [False, True, True, False]
    for number in (1, 2):
        assert answers[number].error.startswith(
            f"'{paths[number].name}' needs more memory than is free. Expected "
        )


def test_what_the_threshold_was_chosen_on_is_known_where_somebody_chose_it(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    assert load_classifier(copy).level == ""
    for level in ("image", "patient"):
        write_decision(copy, Decision(Goal("youden"), 0.31, level=level))
        assert load_classifier(copy).level == level


def write_film(path, frames, **elements):
    pixels = b"".join(frame.tobytes() for frame in frames)
    height, width = frames[0].shape
    path.write_bytes(
        write_dicom(
            pixels, Rows=height, Columns=width, SamplesPerPixel=1, BitsAllocated=8, BitsStored=8,
            NumberOfFrames=len(frames), **elements,
        )
    )  # fmt: skip
    return path


def test_every_frame_of_a_film_is_answered(classifier, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 48), dtype=np.uint8)
    film = write_film(tmp_path / "film.dcm", frames)
    (answers,) = classify_files(classifier, [film])
    assert [(answer.frame, answer.is_film) for answer in answers] == [(n, True) for n in range(5)]
    for frame, answer in zip(frames, answers, strict=True):
        expected = classifier.classify_picture(Picture(pixels=frame[..., np.newaxis]), "frame")
        assert answer.probability == expected.probability


def test_a_damaged_frame_does_not_cost_those_behind_it(classifier, tmp_path):
    frames = [compress_frame(number) for number in range(4)]
    frames[1] = frames[1][:4] + bytes(len(frames[1]) - 4)
    film = tmp_path / "film.dcm"
    film.write_bytes(pack(frames, JPEG, (40, 48)))
    (answers,) = classify_files(classifier, [film])
    assert [answer.frame for answer in answers] == [0, 1, 2, 3]
    assert [bool(answer.error) for answer in answers] == [False, True, False, False]
    assert len({answer.probability for answer in answers if not answer.error}) == 3


def compress_frame(seed):
    return compress(np.random.default_rng(seed).integers(0, 256, (40, 48), dtype=np.uint8), "JPEG")


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


@pytest.mark.parametrize("scale", [None, [], {"a": 1}, "[", "1", 0, -1.0, float("nan"), 10**400])
def test_a_serving_file_without_a_usable_scale_is_refused(finished_run, tmp_path, scale):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    copy.write_json("serving.json", {**copy.read_serving(), "saliency_scale": scale})
    with pytest.raises(ModelError, match=r"serving\.json of run 'copy' is damaged"):
        load_classifier(copy)


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


@pytest.fixture(scope="module")
def planted():
    """Phantoms with and without their shadow, which alone makes the class, and where it lies.

    Each a prediction of the demo model with the shadow, one without, and where the pictures differ,
    grown by one place of the map. Of the first twenty patients, all that have a bright focus.
    """
    demo, cases = load_classifier(DEMO_RUN), []
    for patient in range(1, 21):
        parameters = draw_parameters(7, patient, 1)
        if not parameters.foci:
            continue
        pictures = [
            render_phantom(replace(parameters, calcified=calcified)) for calcified in (True, False)
        ]
        changed = cv2.blur(cv2.absdiff(*pictures).astype(np.float32), (9, 9)) > 5
        with_it, without = (
            demo.classify_picture(Picture(pixels=picture[..., np.newaxis]), "phantom")
            for picture in pictures
        )
        rows, columns = with_it.saliency.shape
        place = np.ones((changed.shape[0] // rows, changed.shape[1] // columns), np.uint8)
        where = cv2.dilate(changed.astype(np.uint8), place).astype(bool)
        cases.append((with_it, without, where))
    return cases


def enlarge(prediction):
    height_px, width_px = prediction.picture.shape[:2]
    return cv2.resize(prediction.saliency, (width_px, height_px))


def test_what_speaks_for_calcified_lies_where_a_calcification_was_planted(planted):
    num_hits = 0
    for with_it, _, where in planted:
        saliency = enlarge(with_it)
        num_hits += where[np.unravel_index(saliency.argmax(), saliency.shape)]
    assert np.mean([where.mean() for *_, where in planted]) < 0.15  # so one in seven by chance
    assert num_hits >= 0.8 * len(planted)


def test_the_evidence_goes_away_with_the_calcification(planted):
    there, gone = (
        np.array([enlarge(case[number])[case[2]].mean() for case in planted]) for number in (0, 1)
    )
    assert (gone < there).all()
    assert there.mean() > 0.3
    assert gone.mean() < 0.05
    assert all(without.probability < with_it.probability for with_it, without, _ in planted)


def test_the_overlay_of_each_direction_follows_the_planted_calcification(planted):
    """Bright where it speaks for calcified while the shadow is there, against where it is gone."""
    counts = Counter()
    for with_it, without, where in planted:
        for positive in (True, False):
            changes = [
                np.abs(
                    draw_overlay(prediction, 1.0, positive).astype(int) - prediction.picture
                ).mean(axis=-1)[where].mean()
                for prediction in (with_it, without)
            ]  # fmt: skip
            counts[positive] += (changes[0] > changes[1]) == positive
    assert counts[True] == len(planted)
    assert counts[False] >= 0.8 * len(planted)
