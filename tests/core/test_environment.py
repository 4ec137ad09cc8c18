import os
import platform
import sys
from importlib.metadata import version

import pytest

from polyp_core import __version__, environment
from polyp_core.environment import (
    check_unchanged,
    count_threads,
    describe_environment,
    list_changes,
    switch_onednn,
)
from polyp_core.errors import RunError
from polyp_core.runs import Run


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "one")
    run.directory.mkdir()
    return run


def test_versions_are_those_installed(run):
    described = describe_environment()
    assert described["polyp_core"] == __version__
    assert described["python"] == platform.python_version()
    assert described["packages"]["keras"] == version("keras")
    assert set(described["packages"]) == set(environment.PACKAGES)
    assert all(described["packages"].values())


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    assert describe_environment()["packages"] == {"no-such-package": ""}


def test_nothing_has_changed_on_the_same_machine_or_before_the_first_worker(run):
    assert list_changes(run) == []
    run.write_json("environment.json", describe_environment())
    assert list_changes(run) == []
    check_unchanged(run)


def test_other_versions_are_named_and_refused(run):
    then = describe_environment()
    then["packages"]["keras"] = "3.14.0"
    run.write_json("environment.json", then | {"polyp_core": "0.1.0"})
    keras = f"keras 3.14.0 → {version('keras')}"
    assert list_changes(run) == [f"polyp_core 0.1.0 → {__version__}", keras]
    with pytest.raises(RunError) as raised:
        check_unchanged(run)
    assert str(raised.value) == (
        f"Run 'one' was started with other versions (polyp_core 0.1.0 → {__version__}, {keras}), "
        "so the rest might differ from an unbroken run. Expected the same. Go back to those, or "
        "resume all the same (--accept-changes): it is noted in the run's environment.json."
    )


def test_another_platform_or_python_is_no_reason_to_refuse(run):
    run.write_json("environment.json", describe_environment() | {"platform": "x", "python": "3.0"})
    assert list_changes(run) == []


def test_threads_are_those_of_this_process_unless_somebody_says_otherwise(run, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    own = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    assert count_threads(run) == own
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert count_threads(run) == 3


def test_a_resumed_run_computes_with_as_many_threads_as_at_its_start(run, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    run.write_json("environment.json", describe_environment() | {"threads": 7})
    assert count_threads(run) == 7


@pytest.mark.parametrize(
    ("machine", "expected"), [("x86_64", "1"), ("AMD64", "1"), ("arm64", None)]
)
def test_onednn_is_switched_on_for_a_new_run_on_x86(run, monkeypatch, machine, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.delenv(environment.ONEDNN)  # which conftest.py sets
    switch_onednn(run)
    assert os.environ.get(environment.ONEDNN) == expected


@pytest.mark.parametrize("machine", ["x86_64", "arm64"])
@pytest.mark.parametrize("value", ["0", "false", "1"])
def test_onednn_is_as_somebody_has_chosen(run, monkeypatch, machine, value):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv(environment.ONEDNN, value)
    switch_onednn(run)
    assert os.environ[environment.ONEDNN] == value


@pytest.mark.parametrize(
    ("known", "own", "expected"),
    [
        ({"onednn": "0"}, "1", "0"),
        ({"onednn": "1"}, "0", "1"),
        ({"onednn": ""}, "1", None),  # TensorFlow has chosen
        ({}, "0", "0"),  # of an older version, which left it to the environment
        ({}, "", None),
    ],
)
def test_a_resumed_run_has_onednn_as_at_its_start(run, monkeypatch, known, own, expected):
    monkeypatch.setenv(environment.ONEDNN, own)
    run.write_json("environment.json", describe_environment() | known)
    switch_onednn(run)
    assert (os.environ.get(environment.ONEDNN) or None) == expected
