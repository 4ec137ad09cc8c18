import functools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from polyp_core import queueing, workspace
from polyp_core.audit import audit_index
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.phantom import write_demo_data
from polyp_core.runs import Run

ROOT = Path(__file__).parents[2]
PAGES = {
    "Home": None,
    "Data": "pages/data.py",
    "Train": "pages/train.py",
    "Results": "pages/results.py",
    "Predict": "pages/predict.py",
}


@pytest.fixture(scope="session", autouse=True)
def known_components():
    """Which installed packages bring components: looked for once, not for every app of a test."""
    with pytest.MonkeyPatch.context() as patch:
        found = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", found)
        yield


@pytest.fixture(scope="session")
def drawn_demo_data(tmp_path_factory) -> Path:
    """A small demo set, drawn and read once for all tests, with what is kept of it beside it."""
    folder = tmp_path_factory.mktemp("demo") / "demo-data"
    write_demo_data(folder, num_patients=8)
    cache_dir = folder.parent / "cache"
    audit_index(read_index(DataConfig(folder=str(folder)), cache_dir=cache_dir), cache_dir)
    return folder


@pytest.fixture
def demo_data(drawn_demo_data, workspace_dir) -> Path:
    """The demo set in this test's workspace."""
    folder, cache_dir = workspace.get_demo_data_dir(), workspace.get_cache_dir()
    shutil.copytree(drawn_demo_data, folder)
    shutil.copytree(drawn_demo_data.parent / "cache", cache_dir)
    with closing(sqlite3.connect(cache_dir / "pictures.sqlite")) as known:
        known.execute("UPDATE pictures SET folder = ?", (str(folder),))
        known.commit()
    return folder


@pytest.fixture
def open_page(demo_data):
    """Open a page as its own address does, and be sure that nothing went wrong."""

    def open_(name: str, **state) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        for key, value in state.items():
            app.session_state[key] = value
        if PAGES[name] is not None:
            app.switch_page(PAGES[name])
        app.run()
        assert not app.exception, app.exception
        return app

    return open_


@pytest.fixture
def own_run(finished_run, workspace_dir) -> Run:
    """A copy of the finished run among the workspace's runs, free to be changed."""
    directory = workspace.get_runs_dir() / "own"
    shutil.copytree(finished_run.directory, directory)
    return Run(directory)


def list_scrolls(app: AppTest) -> list[str]:
    """Which ones of the session's askings to go to the page's beginning stand on it."""
    components = [one.proto for one in app.main.get("bidi_component")]
    return [one.json for one in components if one.component_name.endswith("polyp_scroll_up")]


def read_texts(app: AppTest) -> str:
    """Everything the page says."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "success",
        "warning",
        "error",
        "info",
    )
    return "\n".join(element.value for kind in kinds for element in getattr(app, kind))


def hold(run):
    """Be the run's worker: its ticket and its lock."""
    queueing.add_ticket(workspace.get_queue_dir(), run)
    return FileLock(run.path("lock"))


def click(app, label):
    next(button for button in app.button if button.label == label).click().run()
