"""A real Ray cluster where Ray is installed (requirements-cluster.txt); else its node's part."""

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from polyp_core import study_cluster
from polyp_core.dataset import read_index
from polyp_core.errors import RunError
from polyp_core.prediction import load_classifier
from polyp_core.runs import FINAL_STATES
from polyp_core.study_cluster import connect, run_on_node
from polyp_core.study_jobs import start_study
from polyp_core.study_worker import prepare_member
from tests.conftest import make_config, wait_until, write_classes
from tests.core.studies import make_index, make_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """One written member; its images are not on the disk."""
    study = make_study(monkeypatch, tmp_path / "studies", make_index(tmp_path))
    prepare_member(study, study.members[0])
    return study


def call_node(study, image_path, number=0, *, accept_changes=False):
    run_dir = str(study.members[number].run.directory)
    return run_on_node(str(study.directory), run_dir, str(image_path), 1.0, accept_changes)


def test_a_node_that_does_not_see_the_study_or_the_images_says_so(study, tmp_path):
    image_path = tmp_path / "image.png"
    unseen = study.members[1].run.path("config.json")
    advice = (
        "Expected a disk that all computers of the cluster see at the same path. Put the images "
        "and the study (--studies) on one, or train on this computer (--local)."
    )
    host = socket.gethostname()
    assert call_node(study, image_path, 1) == (
        f"The computer '{host}' does not see '{unseen}' of the study. {advice}"
    )
    assert call_node(study, image_path) == (
        f"The computer '{host}' does not see '{image_path}' of the images. {advice}"
    )


def test_a_task_that_comes_up_after_the_stop_does_nothing(study):
    study.files.path("stop").touch()
    assert call_node(study, Path(__file__)) == ""
    assert study.members[0].run.path("worker.log").read_text() == ""


def test_a_worker_that_ends_without_a_word_is_told(study, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert call_node(study, Path(__file__)) == (
        f"The worker on '{socket.gethostname()}' ended with code 1 without a word. Expected the "
        "packages of requirements-cluster.txt there. See worker.log of the run."
    )


def test_a_node_of_other_versions_refuses_unless_that_is_accepted(study, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    run = study.members[0].run
    run.write_json("environment.json", {"polyp_core": "0.0.1", "packages": {}})
    run.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    refusal = call_node(study, Path(__file__))
    assert refusal.startswith(
        "Run 'fold-1-seed-0' was started with other versions (polyp_core 0.0.1 → "
    )
    assert "(--accept-changes)" in refusal
    assert run.read_status()["state"] == "stopped"  # nothing was begun
    assert "without a word" in call_node(study, Path(__file__), accept_changes=True)


class RayError(Exception):
    """Stands for ray.exceptions.RayError."""


def replace_ray(monkeypatch, **functions):
    """Ray as far as it is used, so that its failures can be had without a cluster."""
    exceptions = SimpleNamespace(RayError=RayError)
    fake = SimpleNamespace(init=lambda *_, **__: None, exceptions=exceptions, **functions)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(study_cluster, "check_ray", lambda address: None)
    return fake


def test_a_cluster_that_is_not_there_is_told(study, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("nobody answers")

    replace_ray(monkeypatch).init = refuse
    study.files.write_json("study.json", study.read_plan() | {"ray_address": "here:1"})
    with pytest.raises(RunError) as raised:
        connect(study)
    assert str(raised.value) == (
        "No Ray cluster can be used at 'here:1' (nobody answers). Expected the address of a "
        "running one, such as 'auto' on one of its computers or 'ray://HOST:10001'. Start one with "
        "`ray start --head`, or train on this computer (--local)."
    )


def test_a_member_whose_computer_is_lost_is_a_problem_of_its_own(study, monkeypatch):
    def lose(reference):
        raise RayError("The node died.\nA long story.")

    resources, given = {}, []

    class Task:
        def options(self, **values):
            resources.update(values)
            return self

        def remote(self, *values):
            given.extend(values)
            return "reference"

    is_ready = [False]
    replace_ray(
        monkeypatch,
        remote=lambda function: Task(),
        wait=lambda references, timeout: (references if is_ready[0] else [], []),
        get=lose,
    )
    study.files.write_json("study.json", study.read_plan() | {"accept_changes": True})
    member = study.members[0]
    ask = connect(study)(member)
    index = study.read_index()
    image_path = str(index.folder / index.images["path"][0])
    assert given == [str(study.directory), str(member.run.directory), image_path, 2.0, True]
    assert resources == {"num_cpus": 2.0, "num_gpus": 0.0, "max_retries": 0}
    assert ask() is None
    is_ready[0] = True
    assert ask() == "Its task was lost: The node died."


def test_a_member_that_is_still_at_work_is_not_started_again(study, monkeypatch):
    replace_ray(monkeypatch, remote=lambda function: SimpleNamespace(options=lambda **_: None))
    member = study.members[0]
    with member.run.lock():  # as its worker does
        ask = connect(study)(member)
        assert ask() is None
    member.run.write_json("status.json", {"state": "finished", "message": ""})
    assert ask() == ""


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_study_on_two_nodes_is_trained_and_predicts(tmp_path):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    data_dir = write_classes(tmp_path / "data", num_patients=8)
    config = make_config(data_dir, "training.batch_size=4")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        study = start_study(
            config, read_index(config.data), tmp_path / "studies", num_folds=2, num_seeds=1,
            name="clustered", ray_address=cluster.address, cpus_per_member=1.0,
        )  # fmt: skip
        wait_until(
            lambda: study.read_status()["state"] in FINAL_STATES,
            f"the end: {study.files.path('worker.log').read_text()}",
            timeout_s=240,
        )
    finally:
        cluster.shutdown()
    log = study.files.path("worker.log").read_text()
    assert study.read_status()["message"] == "Finished", log
    assert study.read_metrics()["image"]["accuracy"]["n"] == 16
    for member in study.members:
        assert f"--- on {socket.gethostname()}" in member.run.path("worker.log").read_text()
    first, second = (member.run.read_status() for member in study.members)
    assert first["started_at"] < second["updated_at"]
    assert second["started_at"] < first["updated_at"]  # a task on each node, at once
    assert load_classifier(study.ensemble).class_names == ("non-calcified", "calcified")
