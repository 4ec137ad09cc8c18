import importlib.util

import pandas as pd
import pytest

from polyp_core import __version__, study_jobs
from polyp_core.errors import ConfigError, DatasetError, RunError
from polyp_core.study_jobs import check_ray, list_changes, resume_study, stop_study
from polyp_core.study_worker import prepare_member
from tests.conftest import make_config
from tests.core.studies import end_member, make_index, make_study


@pytest.fixture
def index(tmp_path):
    """Twelve images of six patients."""
    return make_index(tmp_path)


@pytest.fixture
def start(index, tmp_path, monkeypatch):
    """Starts a study without its worker."""
    return lambda **options: make_study(monkeypatch, tmp_path / "studies", index, **options)


def test_a_plan_holds_all_that_repeats_the_study(start, index):
    study = start(num_folds=3, num_seeds=2)
    plan = study.read_plan()
    assert (plan["num_folds"], plan["seeds"], plan["num_workers"]) == (3, [0, 1], 1)
    assert plan["folder"] == plan["settings"]["data"]["folder"] == str(index.folder)
    assert [member.run.name for member in study.members] == [
        "fold-1-seed-0", "fold-2-seed-0", "fold-3-seed-0",
        "fold-1-seed-1", "fold-2-seed-1", "fold-3-seed-1",
    ]  # fmt: skip
    assert sorted(study.read_index().images["fold"].unique()) == [1, 2, 3]
    assert study.read_status()["state"] == "queued"


def test_the_seeds_follow_that_of_the_settings(start, index):
    config = make_config(index.folder, "training.batch_size=2", "training.seed=7")
    assert start(config=config, num_seeds=3).read_plan()["seeds"] == [7, 8, 9]


def test_folds_are_drawn_with_the_seed_of_the_data(start, index):
    def read_folds(name, seed):
        config = make_config(index.folder, f"data.seed={seed}", "training.batch_size=2")
        return start(config=config, name=name).read_index().images["fold"].tolist()

    drawn = [read_folds(f"s{seed}", seed) for seed in range(5)]
    assert read_folds("again", 3) == drawn[3]
    assert len({tuple(folds) for folds in drawn}) > 1


def test_near_copies_are_of_one_fold(index, tmp_path, monkeypatch):
    pairs = pd.DataFrame([[0, 4]]).to_numpy()  # of patients 0 and 2, which are of one class
    for number in range(8):
        config = make_config(index.folder, f"data.seed={number}", "training.batch_size=2")
        study = make_study(
            monkeypatch, tmp_path / "studies", index, config=config, pairs=pairs, name=f"s{number}"
        )
        folds = study.read_index().images["fold"]
        assert folds[0] == folds[4]


def test_one_fold_validates_on_the_validation_images_of_the_data(start, index):
    folds = start(num_folds=1, num_seeds=3).read_index().images["fold"]
    assert folds.tolist() == (index.images["split"] == "validation").astype(int).tolist()


@pytest.mark.parametrize(
    "options", [{"num_folds": 0}, {"num_seeds": 0}, {"num_workers": 0}], ids=str
)
def test_less_than_one_of_anything_is_refused(start, options):
    numbers = {"num_folds": 2, "num_seeds": 1, "num_workers": 1} | options
    with pytest.raises(ConfigError) as raised:
        start(**options)
    assert str(raised.value) == (
        "A study needs at least one fold, one seed and one worker. Give a number of 1 or more. "
        f"Received: num_folds={numbers['num_folds']}, num_seeds={numbers['num_seeds']}, "
        f"num_workers={numbers['num_workers']}"
    )


def test_settings_that_do_not_fit_a_fold_are_refused_at_once(start, index, tmp_path):
    config = make_config(index.folder, "training.batch_size=9")
    with pytest.raises(ConfigError, match="A batch is larger than the data set: [68] images"):
        start(config=config)
    assert not (tmp_path / "studies").exists()


def test_too_many_folds_leave_no_folder_behind(start, tmp_path):
    with pytest.raises(DatasetError, match="There are too few images for 4 folds"):
        start(num_folds=4)
    assert not (tmp_path / "studies").exists()


def test_a_name_is_never_taken_twice_and_a_made_one_is_new(start, tmp_path):
    start(name="mine")
    with pytest.raises(RunError) as raised:
        start(name="mine")
    assert str(raised.value) == (
        f"There is already a study named 'mine' in '{tmp_path / 'studies'}'. Expected a new name. "
        "Choose another one; a study is never overwritten."
    )
    assert start(name=None).name != start(name=None).name


@pytest.mark.parametrize("name", ["../out", "", ".hidden", "x" * 81])
def test_a_name_that_is_no_folder_name_is_refused(start, name):
    with pytest.raises(RunError) as raised:
        start(name=name)
    assert str(raised.value) == (
        "The study's name cannot be a folder name. Expected letters, digits, space, '.', '_' and "
        f"'-', at most 80, the first a letter or digit. Received: name={name!r}"
    )


def test_a_place_that_cannot_be_written_is_told(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"No study can be written to '.*file/in' \(Not a dir"):
        make_study(monkeypatch, tmp_path / "file" / "in", index)


def test_ray_is_asked_for_before_anything_is_written(start, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError) as raised:
        start(ray_address="auto")
    assert str(raised.value) == (
        "Ray is not installed, so no cluster can be used. Expected the package 'ray'. Install it "
        "with `pip install -r requirements-cluster.txt`, or train on this computer (--local). "
        "Received: ray_address='auto'"
    )
    assert not (tmp_path / "studies").exists()
    check_ray(None)


def test_a_member_needs_a_part_of_a_processor(start):
    with pytest.raises(ConfigError, match="A member needs a part of a processor at least"):
        start(cpus_per_member=0)


def test_stop_is_for_what_runs(start):
    study = start()
    stop_study(study)  # it waits for its worker
    assert study.files.path("stop").exists()
    study.files.write_json("status.json", {"state": "failed", "message": ""})
    with pytest.raises(RunError) as raised:
        stop_study(study)
    assert str(raised.value) == (
        "Study 'mine' is failed, so there is nothing to stop. Expected a running one. Resume it "
        "first."
    )


def test_stop_reaches_a_member_that_has_outlived_the_studys_worker(start):
    study = start()
    study.files.write_json("status.json", {"state": "running", "message": ""})
    assert study.read_status()["state"] == "interrupted"
    run = study.members[1].run
    run.directory.mkdir(parents=True)
    with run.lock():  # as its worker does
        stop_study(study)
    assert run.path("stop").exists()
    assert not study.members[0].run.path("stop").exists()


def test_resume_starts_a_worker_anew_and_may_change_how_many_work(start, monkeypatch):
    study, started = start(), []
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: started.append(given))
    with pytest.raises(RunError) as raised:
        resume_study(study)
    assert str(raised.value) == (
        "Study 'mine' is queued and cannot be resumed. Expected a stopped, interrupted or failed "
        "one. Start a new study instead."
    )
    study.files.write_json("status.json", {"state": "stopped", "message": ""})
    study.files.path("stop").touch()
    resume_study(study, num_workers=2)
    assert started == [("polyp_core.study_worker", study.directory)]
    assert study.read_plan()["num_workers"] == 2
    assert study.read_plan()["ray_address"] is None
    assert not study.files.path("stop").exists()
    assert study.read_status()["state"] == "queued"


def stop(study, **plan):
    """Let a study have been stopped, with another plan."""
    study.files.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    study.files.write_json("study.json", study.read_plan() | plan)


def test_a_study_on_ray_stays_there_until_it_is_called_back(start, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    study = start(ray_address="auto")
    stop(study)
    resume_study(study)
    assert study.read_plan()["ray_address"] == "auto"
    stop(study)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # Ray is gone
    with pytest.raises(RunError, match=r"or train on this computer \(--local\)"):
        resume_study(study)
    resume_study(study, is_local=True)
    assert study.read_plan()["ray_address"] is None


def make_old(study, number=0, state="stopped"):
    """Let a member have been started with another version, and be in a state."""
    member = study.members[number]
    prepare_member(study, member)
    member.run.write_json("environment.json", {"polyp_core": "0.0.1", "packages": {}})
    end_member(member, state)


def test_a_study_of_another_version_is_resumed_only_if_that_is_accepted(start, monkeypatch):
    study, started = start(num_seeds=2), []
    monkeypatch.setattr(study_jobs, "start_process", lambda *given: started.append(given))
    make_old(study, 0)
    make_old(study, 2, "failed")
    stop(study)
    with pytest.raises(RunError) as raised:
        resume_study(study)
    assert str(raised.value) == (
        f"Study 'mine' was started with other versions (polyp_core 0.0.1 → {__version__}), so its "
        "members might differ from unbroken ones. Expected the same. Go back to those, or resume "
        "all the same (--accept-changes): it is noted in each member's environment.json."
    )
    assert (study.read_status()["state"], started) == ("stopped", [])
    assert study.read_plan()["accept_changes"] is False
    resume_study(study, accept_changes=True)
    assert study.read_plan()["accept_changes"] is True
    assert len(started) == 1
    # What was accepted once is asked again the next time.
    stop(study)
    with pytest.raises(RunError, match="was started with other versions"):
        resume_study(study)


def test_members_that_are_finished_or_not_begun_may_be_of_any_version(start):
    study = start()
    make_old(study, 0, "finished")
    stop(study)
    assert list_changes(study) == []
    resume_study(study)
    assert study.read_status()["state"] == "queued"


def test_on_a_cluster_the_versions_of_this_computer_are_not_asked_for(start, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    study = start(ray_address="auto")
    make_old(study)
    stop(study)
    resume_study(study)
    assert study.read_plan()["accept_changes"] is False  # so the nodes look at theirs


def test_a_study_of_before_these_options_can_be_resumed(start):
    study = start()
    plan = study.read_plan()
    del plan["accept_changes"]
    study.files.write_json("study.json", plan)
    study.files.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    resume_study(study)
    assert study.read_plan()["accept_changes"] is False


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.25, 0.5), "25, 50"),
        ((), "none"),
        ((0.0, 1.0), "0, 100"),
        ((0.5, 0.5, 1.0), "50, 50, 100"),
        ((0.125, 1.0), "12.5, 100"),
        ((1.0, 1.5), "100, 150"),
    ],
)
def test_shares_that_cannot_be_used_are_refused(start, tmp_path, shares, said):
    with pytest.raises(ConfigError) as raised:
        start(shares=shares)
    assert str(raised.value) == (
        "These shares of the training images cannot be used. Expected different whole percents "
        "from 1 to 100, and 100 among them, since those members give the study its numbers. Choose "
        f"such as 25, 50, 75 and 100. Received: {said}"
    )
    assert not (tmp_path / "studies").exists()


def test_a_share_too_small_for_a_batch_is_refused_at_once(start, index, tmp_path):
    config = make_config(index.folder, "training.batch_size=5")
    with pytest.raises(ConfigError) as raised:
        start(config=config, shares=(0.5, 1.0))
    assert str(raised.value).startswith(
        "With 50 % of the training images a member has too few of them. A batch is larger than the "
        "data set: 4 images to train on."
    )
    assert str(raised.value).endswith(" Or leave the small shares out.")
    assert not (tmp_path / "studies").exists()


def test_shares_stand_in_the_plan_and_outlive_a_resume(start):
    study = start(shares=(1.0, 0.5))
    assert study.read_plan()["shares"] == [0.5, 1.0]
    stop(study)
    resume_study(study)
    assert [member.share for member in study.members] == [1.0, 1.0, 0.5, 0.5]
