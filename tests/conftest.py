"""Images made on the spot, a workspace of its own, and one finished run made by the real worker."""

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from polyp_core import jobs
from polyp_core.config import RunConfig
from polyp_core.dataset import read_index
from polyp_core.environment import ONEDNN
from polyp_core.presets import get_preset
from polyp_core.runs import FINAL_STATES, Run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As for the workers, with whose bits those of a training in a test's own process are compared.
os.environ.setdefault(ONEDNN, "1")

_LONG = ("test_kills", "test_training", "test_study_worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two processes each takes a file at a time: what takes longest comes first.

    So neither process waits for the other at the end.
    """
    items.sort(
        key=lambda item: (
            "e2e" not in item.path.parts,
            item.path.stem not in _LONG,
            "pages" not in item.path.parts,
        )
    )


def pytest_collection_finish() -> None:
    """What all tests' modules brought, some half a million objects, is never garbage.

    Streamlit collects garbage after every run of a page, and would look through it each time.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let pytest's last search for what was left open see everything."""
    gc.unfreeze()


def write_image(path: Path, *, is_bright_spot: bool, seed: int, size_px: int = 40) -> None:
    """A grey noise image; a bright spot in the middle is the mark of the positive class."""
    pixels = np.random.default_rng(seed).integers(20, 90, (size_px, size_px)).astype(np.uint8)
    if is_bright_spot:
        pixels[size_px // 3 : size_px // 2, size_px // 3 : size_px // 2] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_classes(folder: Path, num_patients: int = 10, images_each: int = 2) -> Path:
    """Class folders calcified/ and non-calcified/ with files such as patient-03_1.png."""
    for patient in range(num_patients):
        name = "calcified" if patient % 2 else "non-calcified"
        for image in range(images_each):
            write_image(
                folder / name / f"patient-{patient:02}_{image}.png",
                is_bright_spot=bool(patient % 2),
                seed=patient * 100 + image,
            )
    return folder


@pytest.fixture(scope="session", autouse=True)
def shared_workspace_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same for what several tests share, whose worker would wait behind the user's runs."""
    folder = tmp_path_factory.mktemp("shared-workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYP_WORKSPACE", str(folder))
        patch.delenv("POLYP_RUNS", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def workspace_dir(tmp_path: Path) -> Iterator[Path]:
    """Nothing a test does touches the user's workspace."""
    folder = tmp_path / "workspace"
    with pytest.MonkeyPatch.context() as patch:  # which no undoing within a test takes back
        patch.setenv("POLYP_WORKSPACE", str(folder))
        patch.delenv("POLYP_RUNS", raising=False)
        # A worker that a test runs in its own process leaves it behind.
        patch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
        yield folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Twenty small images of ten patients in two class folders."""
    return write_classes(tmp_path / "data")


def make_config(data_dir: Path, *settings: str) -> RunConfig:
    """The compact preset, made so small that an epoch takes a moment."""
    small = ["model.image_size_px=32", "model.filters=8,16", "training.epochs=3"]
    return get_preset("compact").with_settings([f"data.folder={data_dir}", *small, *settings])


def start_run(data_dir: Path, runs_dir: Path, name: str, *settings: str) -> Run:
    """Start a real worker on a small run."""
    config = make_config(data_dir, *settings)
    return jobs.start_run(config, read_index(config.data), runs_dir, name)


def list_runs(runs_dir: Path) -> list[Run]:
    """The runs in a folder, by their names."""
    return [Run(path) for path in sorted(runs_dir.iterdir())]


def wait_until(condition, what: str, timeout_s: float = 90.0) -> None:
    """Wait for something another process does; fail with words if it never comes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.02)


def wait_for_end(run: Run) -> str:
    """Wait for a run to end; its final state."""
    wait_until(
        lambda: run.read_status()["state"] in FINAL_STATES,
        f"{run.name} to end: {run.path('worker.log').read_text()[-2000:]}",
    )
    return str(run.read_status()["state"])


def make_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable) -> Path:
    """A folder that whichever test process comes first fills, for all of them."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed half-way
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run that the real worker has trained; shared, so never change it."""

    def train(folder: Path) -> None:
        run = start_run(write_classes(folder / "data"), folder / "runs", "small")
        assert wait_for_end(run) == "finished", run.path("worker.log").read_text()
        wait_until(lambda: not run.is_alive(), "the worker to tidy up")

    return Run(make_once(tmp_path_factory, "finished", train) / "runs" / "small")
