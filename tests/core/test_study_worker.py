import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from polyp_core import jobs, serving, study_worker
from polyp_core.dataset import read_index
from polyp_core.errors import RunError
from polyp_core.familiarity import judging
from polyp_core.images import Picture, decode_picture, prepare_picture
from polyp_core.prediction import load_classifier
from polyp_core.runs import FINAL_STATES
from polyp_core.study import summarise
from polyp_core.study_jobs import resume_study, start_study, stop_study
from polyp_core.study_worker import (
    StatusWriter,
    prepare_member,
    run_members,
    share_processors,
    start_locally,
)
from tests.conftest import make_config, wait_until, write_classes
from tests.core.studies import copy_run, end_member, finish_member, make_index, make_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Two folds of two seeds, none trained yet."""
    return make_study(monkeypatch, tmp_path / "studies", make_index(tmp_path), num_seeds=2)


class Workers:
    """Stands for the workers: a member ends when it is asked for the third time."""

    def __init__(self, study, outcomes=None):
        paths = study.read_index().images["path"]
        self.study, self.probabilities = study, dict.fromkeys(paths, 0.5)
        self.outcomes = outcomes or {}
        self.started, self.at_work, self.most_at_work = [], set(), 0

    def start(self, member):
        name = member.run.name
        self.started.append(name)
        self.at_work.add(name)
        self.most_at_work = max(self.most_at_work, len(self.at_work))
        num_asked = 0

        def ask():
            nonlocal num_asked
            num_asked += 1
            if num_asked < 3 and not member.run.path("stop").exists():
                return None
            self.at_work.discard(name)
            if member.run.path("stop").exists():
                end_member(member, "stopped")
            elif name in self.outcomes:
                end_member(member, *self.outcomes[name])
            else:
                finish_member(self.study, member, self.probabilities)
            return ""

        return ask


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(study_worker, "_LOOK_EVERY_S", 0.001)


@pytest.mark.parametrize("num_at_once", [1, 3])
def test_no_more_members_work_at_once_than_may(study, num_at_once):
    workers = Workers(study)
    assert run_members(study, workers.start, num_at_once, StatusWriter(study)) == {}
    assert workers.started == [member.run.name for member in study.members]
    assert workers.most_at_work == num_at_once
    assert study.read_metrics()["num_finished"] == 4
    assert len(study.read_predictions()) == 12


def test_a_member_that_fails_does_not_end_the_others(study):
    outcomes = {"fold-2-seed-0": ("failed", "No room."), "fold-1-seed-1": ("interrupted",)}
    workers = Workers(study, outcomes)
    problems = run_members(study, workers.start, 1, StatusWriter(study))
    assert problems == {"fold-2-seed-0": "No room.", "fold-1-seed-1": "It is interrupted."}
    assert study_worker._say_problems(study, problems) == (
        "2 members of 4 did not finish; the numbers are those of the others. Resume tries again. "
        "fold-1-seed-1: It is interrupted. fold-2-seed-0: No room."
    )
    again = Workers(study)
    assert run_members(study, again.start, 1, StatusWriter(study)) == {}
    assert again.started == ["fold-2-seed-0", "fold-1-seed-1"]


def test_a_member_that_cannot_be_started_does_not_end_the_others(study):
    workers = Workers(study)

    def start(member):
        if member.fold == 1:
            raise RunError("Other versions.")
        return workers.start(member)

    problems = run_members(study, start, 1, StatusWriter(study))
    assert problems == {"fold-1-seed-0": "Other versions.", "fold-1-seed-1": "Other versions."}
    assert workers.started == ["fold-2-seed-0", "fold-2-seed-1"]


def test_a_stop_reaches_the_members_at_work_and_starts_no_other(study):
    workers = Workers(study)

    def start(member):
        if len(workers.started) == 2:
            study.files.path("stop").touch()
        return workers.start(member)

    problems = run_members(study, start, 1, StatusWriter(study))
    assert problems == {}  # whoever asked for it knows
    assert [member.read_state() for member in study.members] == [
        "finished", "finished", "stopped", "waiting",
    ]  # fmt: skip


def test_a_member_is_written_with_its_seed_and_fold_and_only_once(study):
    member = study.members[3]
    member.run.directory.mkdir(parents=True)
    member.run.path("index.csv").write_text("half")  # of a worker that was killed
    prepare_member(study, member)
    assert member.run.read_config().training.seed == 1
    images = member.run.read_index().images
    validated = images.index[images["split"] == "validation"].tolist()
    assert validated == study.read_index().images.query("fold == 2").index.tolist()
    written = member.run.path("config.json").stat().st_mtime_ns
    prepare_member(study, member)
    assert member.run.path("config.json").stat().st_mtime_ns == written


def test_the_time_left_is_that_of_the_members_that_have_ended():
    assert study_worker._estimate_rest_s(30.0, ended=3, left=2) == 20.0
    assert study_worker._estimate_rest_s(30.0, ended=1.5, left=0.5) == 10.0  # with fewer images
    assert study_worker._estimate_rest_s(30.0, ended=0, left=5) is None


@pytest.mark.parametrize(("num_workers", "expected"), [(1, None), (2, "3"), (4, "1"), (7, "1")])
def test_workers_at_once_divide_the_processors(study, monkeypatch, num_workers, expected):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")  # so that it is put back afterwards
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    share_processors(study, num_workers)
    assert os.environ.get("TF_NUM_INTRAOP_THREADS") == expected


def test_threads_that_somebody_has_chosen_are_kept(study, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    share_processors(study, 2)
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "5"


@pytest.mark.parametrize("accept_changes", [False, True])
def test_a_stopped_member_goes_on_and_a_new_one_starts(study, monkeypatch, accept_changes):
    resumed, started = [], []
    monkeypatch.setattr(jobs, "resume_run", lambda *given, **rest: resumed.append((given, rest)))
    monkeypatch.setattr(jobs, "start_worker", lambda *given: started.append(given))
    stopped, new = study.members[:2]
    for member in (stopped, new):
        prepare_member(study, member)
    end_member(stopped, "stopped")
    for member in (stopped, new):
        start_locally(member, 2, accept_changes)
    assert resumed == [((stopped.run,), {"num_slots": 2, "accept_changes": accept_changes})]
    assert started == [(new.run, 2)]


def make_finished_study(finished_run, studies_dir, monkeypatch, **options):
    """One fold, two seeds: copies of a run that the real worker has trained."""
    config, index = finished_run.read_config(), finished_run.read_index()
    study = make_study(
        monkeypatch, studies_dir, index, config=config, num_folds=1, num_seeds=2, **options
    )
    for member in study.members:
        copy_run(finished_run, member)
    return study


def test_an_ensemble_is_made_of_the_whole_members_alone(finished_run, tmp_path, monkeypatch):
    config = finished_run.read_config()
    assert config.training.batch_size <= len(finished_run.read_index().select("train"))
    study = make_finished_study(
        finished_run, tmp_path / "studies", monkeypatch, shares=(0.99, 1.0)
    )  # fmt: skip
    given = []
    monkeypatch.setattr(
        serving, "write_ensemble_model", lambda run, members, images: given.append(members)
    )
    monkeypatch.setattr(study_worker, "_keep_familiarity", lambda *_: None)  # without a model
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert study_worker.main(study.directory) == 0
    assert [[run.name for run in members] for members in given] == [
        ["fold-1-seed-0", "fold-1-seed-1"]
    ]
    assert study.read_status()["num_members"] == 4
    assert study.read_metrics()["num_members"] == 2


def test_members_of_all_shares_are_trained_and_only_those_missing_after_a_stop(
    tmp_path, monkeypatch
):
    index = make_index(tmp_path, 16)
    study = make_study(monkeypatch, tmp_path / "studies", index, shares=(0.5, 1.0))
    workers = Workers(study, {"fold-2-seed-0-share-50": ("failed", "No room.")})
    assert run_members(study, workers.start, 1, StatusWriter(study)) == {
        "fold-2-seed-0-share-50": "No room."
    }
    assert workers.started == [member.run.name for member in study.members]
    num_trained = [len(member.run.read_index().select("train")) for member in study.members]
    assert num_trained == [16, 16, 8, 8]
    again = Workers(study)
    assert run_members(study, again.start, 1, StatusWriter(study)) == {}
    assert again.started == ["fold-2-seed-0-share-50"]


def test_an_ensemble_too_large_leaves_the_numbers(finished_run, tmp_path, monkeypatch):
    study = make_finished_study(finished_run, tmp_path / "studies", monkeypatch)
    size = finished_run.path("serving.tflite").stat().st_size
    monkeypatch.setattr(serving, "MAX_ENSEMBLE_BYTES", 2 * size - 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert study_worker.main(study.directory) == 0
    status = study.read_status()
    assert status["state"] == "finished"
    assert status["message"] == (
        "Finished, but without a model of all members. The ensemble of 2 models would have "
        f"{2 * size / 1e6:.0f} MB. Expected at most {2 * size / 1e6:.0f} MB. Use a smaller network "
        "or fewer folds and seeds; the numbers of the study stand all the same."
    )
    assert not study.ensemble.directory.exists()
    assert study.read_metrics()["num_finished"] == 2


def test_an_ensemble_of_one_model_twice_is_that_model(finished_run, tmp_path, monkeypatch):
    study = make_finished_study(finished_run, tmp_path / "studies", monkeypatch)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert study_worker.main(study.directory) == 0
    assert study.read_status()["message"] == "Finished"
    one, both = load_classifier(finished_run), load_classifier(study.ensemble)
    index = finished_run.read_index()
    for path in index.images["path"][:5]:
        expected, seen = one.classify(index.folder / path), both.classify(index.folder / path)
        assert seen.probability == pytest.approx(expected.probability, abs=1e-5)
        assert seen.class_name == expected.class_name
    assert study.ensemble.read_status()["state"] == "finished"
    # With the data's own split the ensemble knows what it was trained on.
    split = study.ensemble.read_index().images["split"]
    assert split.tolist() == index.images["split"].tolist()
    assert study_worker.main(study.directory) == 0  # a finished study never changes


def test_an_ensemble_knows_what_is_not_like_its_training_images(
    finished_run, tmp_path, monkeypatch
):
    study = make_finished_study(finished_run, tmp_path / "studies", monkeypatch)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(judging, "_LEAST_PATIENTS", 5)
    monkeypatch.setattr(judging, "_LEAST_IMAGES", 10)
    assert study_worker.main(study.directory) == 0
    ensemble, index = load_classifier(study.ensemble), study.ensemble.read_index()
    path = index.folder / index.select("train")["path"].iloc[0]
    assert not ensemble.classify(path).is_refused
    red = np.zeros((40, 40, 3), np.uint8)
    red[:20, :, 0] = 255
    assert ensemble.classify_picture(Picture(pixels=red), "red").is_refused


class EndedError(BaseException):
    """Stands for the end of the process."""


def test_a_stop_is_obeyed_while_the_ensemble_is_made(finished_run, tmp_path, monkeypatch):
    study = make_finished_study(finished_run, tmp_path / "studies", monkeypatch)
    has_ended, codes = threading.Event(), []
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), has_ended.set()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def convert(run, members, images):
        run.path("serving.tflite").write_bytes(b"half")
        study.files.path("stop").touch()
        assert has_ended.wait(30), "the stop was not heard"
        raise EndedError

    with monkeypatch.context() as patch:
        patch.setattr(serving, "write_ensemble_model", convert)
        with pytest.raises(EndedError):
            study_worker.main(study.directory)
    assert codes == [1]
    assert study.read_status() | {"message": "Stopped"} == study.read_status()
    assert study.read_status()["state"] == "stopped"
    assert not study.ensemble.directory.exists()  # a half is never seen

    study.files.path("stop").unlink()
    assert study_worker.main(study.directory) == 0
    assert study.read_status()["message"] == "Finished"
    assert study.ensemble.path("serving.tflite").stat().st_size > 4
    assert not list(study.directory.glob(".*"))


def find_pid(directory: Path) -> int:
    """The process that was started for this very folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory).encode() in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process found for {directory}")


@pytest.mark.skipif(os.name != "posix", reason="kills with POSIX signals")
def test_a_study_is_killed_stopped_and_resumed_and_predicts_as_the_mean(tmp_path):
    data_dir = write_classes(tmp_path / "data", num_patients=8)
    config = make_config(data_dir, "training.epochs=60", "training.batch_size=4")
    study = start_study(
        config, read_index(config.data), tmp_path / "studies", num_folds=2, num_seeds=1, name="s"
    )  # fmt: skip
    first, second = study.members
    wait_until(lambda: len(first.run.read_history()) >= 2, "two epochs")

    # The study's worker is killed; the member goes on and is taken over by the next worker.
    os.kill(find_pid(study.directory), signal.SIGKILL)
    wait_until(lambda: study.read_status()["state"] == "interrupted", "the worker to die")
    assert first.run.is_alive()
    resume_study(study)
    wait_until(lambda: study.read_status().get("num_finished") is not None, "the next worker")
    wait_until(lambda: first.read_state() == "finished", "the first member")
    written = first.run.path("metrics.json").stat().st_mtime_ns

    # Stopped while the second member trains.
    wait_until(lambda: len(second.run.read_history()) >= 2, "two epochs more")
    stop_study(study)
    wait_until(lambda: study.read_status()["state"] in FINAL_STATES, "the stop")
    assert study.read_status()["state"] == "stopped", study.files.path("worker.log").read_text()
    assert second.read_state() == "stopped"
    assert study.read_metrics()["num_finished"] == 1
    assert not study.ensemble.directory.exists()

    resume_study(study)
    wait_until(lambda: study.read_status()["state"] in FINAL_STATES, "the end")
    assert study.read_status()["message"] == "Finished", study.files.path("worker.log").read_text()
    assert first.run.path("metrics.json").stat().st_mtime_ns == written  # it is kept
    assert second.run.read_history()["epoch"].tolist() == list(range(1, 61))
    check_ensemble(study)


def check_ensemble(study) -> None:
    """It predicts the mean of its members, and its numbers are those of the pooled members."""
    index, ensemble = study.read_index(), load_classifier(study.ensemble)
    each = [load_classifier(member.run) for member in study.members]
    for path in index.images["path"]:
        picture = decode_picture(index.folder / path)
        seen = prepare_picture(picture, ensemble.config.data, ensemble.config.model)
        answers = [classifier.predictor.predict(seen) for classifier in each]
        probability, saliency = ensemble.predictor.predict(seen)
        assert probability == pytest.approx(np.mean([p for p, _ in answers]), abs=1e-5)
        maps = [m / c.saliency_scale for c, (_, m) in zip(each, answers, strict=True)]
        np.testing.assert_allclose(saliency, np.mean(maps, axis=0), atol=1e-3)
    metrics, predictions = summarise(study)
    assert study.ensemble.read_metrics() == metrics == study.read_metrics()
    assert metrics["image"]["accuracy"]["n"] == len(index.images) == len(predictions)
    for member in study.members:
        own = member.run.read_predictions().set_index("path")["probability"]
        pooled = predictions.set_index("path")["probability"]
        assert pooled[own.index].tolist() == pytest.approx(own.tolist())
    # Whatever it is tested on later, it was trained on all of these.
    assert set(study.ensemble.read_index().images["split"]) == {"train"}
