"""A freshly started server and a real Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from polyp_core.phantom import write_demo_data
from polyp_core.workspace import DEMO_RUN
from tests.conftest import make_once, wait_until

ROOT = Path(__file__).parents[2]
NUM_PATIENTS = 20  # of the demo set of most tests
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOW_TO_GET_CHROMIUM = (
    "no Chromium found, so the browser journeys are skipped; `apt-get install chromium` (or your "
    "system's package) brings it, or set POLYP_CHROMIUM to its path"
)


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("POLYP_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser():
    path = find_chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"in CI a skipped journey is a failure: {HOW_TO_GET_CHROMIUM}")
        pytest.skip(HOW_TO_GET_CHROMIUM)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(
        timeout=60_000
    )  # a shared machine may be slow; nothing waits longer than needed
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@dataclass
class Server:
    """A running app."""

    process: subprocess.Popen
    url: str
    workspace: Path
    log: Path

    def read_memory_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def list_libraries(self) -> str:
        """Every file that the process has mapped, shared libraries included (Linux)."""
        return Path(f"/proc/{self.process.pid}/maps").read_text()


@pytest.fixture(scope="session")
def small_demo_data(tmp_path_factory) -> Path:
    """A demo set of a few patients: drawing all of it costs a server more than its start."""
    return make_once(
        tmp_path_factory, "small", lambda folder: write_demo_data(folder, num_patients=NUM_PATIENTS)
    )


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def run_app(
    workspace: Path, *options: str, folder: Path = ROOT, script: str = "app.py", **variables: str
) -> Iterator[Server]:
    """The app from a folder that holds it, with further options for `streamlit run`."""
    port = find_free_port()
    command = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}", *options]
    environment = os.environ | {"POLYP_WORKSPACE": str(workspace)} | variables
    log = workspace.with_name(f"server-{port}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        server = Server(process, f"http://127.0.0.1:{port}", workspace, log)
        wait_until(lambda: is_healthy(server), f"the server: {log}")
        yield server
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    """Ask a server to end, and make it: one waits for every answer that a browser still reads."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def write_workspace(folder: Path) -> Path:
    """One with a finished run of its own, and few images."""
    write_demo_data(folder / "demo-data", num_patients=8)
    shutil.copytree(DEMO_RUN.directory, folder / "runs" / "own")
    return folder


@pytest.fixture
def start_server(tmp_path, small_demo_data, request) -> Iterator:
    """Start servers, each on a free port and with its own workspace; they end with the test.

    The demo images are few and drawn already, unless the workspace is to be empty.
    """
    with ExitStack() as servers:

        def start(workspace: Path | None = None, *, is_empty: bool = False) -> Server:
            workspace = workspace or tmp_path / "workspace"
            if not is_empty and not (workspace / "demo-data").exists():
                shutil.copytree(small_demo_data, workspace / "demo-data")
            return servers.enter_context(run_app(workspace))

        yield start
        if "page" in request.fixturenames:  # a server waits for what an open page still reads
            request.getfixturevalue("page").close()


@pytest.fixture(scope="session")
def server(tmp_path_factory, small_demo_data) -> Iterator[Server]:
    """A server for all tests that only look: a start costs more than most of them."""
    workspace = tmp_path_factory.mktemp("looked-at") / "workspace"
    shutil.copytree(small_demo_data, workspace / "demo-data")
    with run_app(workspace) as server:
        yield server


def is_healthy(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1) as answer:
            return answer.read() == b"ok"
    except OSError:
        return False


@pytest.fixture
def page(browser):
    """A browser page that notes every request off this machine and every script error."""
    # Without animations, which take most of the time of a browser that has no graphics card.
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.foreign_requests, page.script_errors = [], []
    page.on("request", lambda request: note_request(page, request.url))
    page.on("pageerror", lambda error: page.script_errors.append(str(error)))
    yield page
    context.close()


def note_request(page, url: str) -> None:
    if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
        page.foreign_requests.append(url)


def open_page(page, server: Server, path: str) -> None:
    page.goto(f"{server.url}/{path}")
    wait_for_rest(page)


def wait_for_rest(page) -> None:
    selector = "[data-testid=stApp][data-test-script-state=notRunning]"
    page.wait_for_selector(selector, state="attached", timeout=120_000)


def find_stop(page):
    """The run's own button: while a page is drawn, Streamlit's header has a "Stop" as well."""
    return page.get_by_test_id("stMain").get_by_role("button", name="Stop").first
