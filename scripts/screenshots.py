"""The pictures of README.md, taken from the running app: `python scripts/screenshots.py`.

A server of its own on an empty workspace, the demo images, a short training that is caught at its
work. Takes about three minutes and needs what the tests need (requirements-dev.txt, Chromium).
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from polyp_core.phantom import draw_parameters, render_phantom, write_demo_data  # noqa: E402
from polyp_core.runs import Run  # noqa: E402

_WIDTH_PX, _LEAST_PX, _MOST_PX = 1280, 800, 1900
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_READY = "[data-testid=stApp][data-test-script-state=notRunning]"
_CAUGHT_AT = 24  # epochs: so that there are curves to see


def main() -> int:
    """Take all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="*", help="home, data, train, results, predict")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    chromium = os.environ.get("POLYP_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), "")
    if not chromium:
        parser.error("no Chromium found; install it, or set POLYP_CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as text, sync_playwright() as playwright:
        workspace = Path(text) / "workspace"
        write_demo_data(workspace / "demo-data")
        server, url = _start_server(workspace)
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
            page = browser.new_page(viewport={"width": _WIDTH_PX, "height": _LEAST_PX})
            for name, prepare in _PAGES.items():
                if not options.page or name in options.page:
                    page.goto(f"{url}/{'' if name == 'home' else name}")
                    prepare(page, workspace)
                    _take(page, options.out / f"{name}.png")
        finally:
            _stop_runs(workspace)
            server.terminate()
            server.wait()
    return 0


def _start_server(workspace: Path) -> tuple["subprocess.Popen[bytes]", str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("POLYP_")}
    variables = own | {"POLYP_WORKSPACE": str(workspace)}
    server = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    _wait(lambda: _is_healthy(url), 60, "the server")
    return server, url


def _stop_runs(workspace: Path) -> None:
    for run in map(Run, (workspace / "runs").glob("*")):
        run.path("stop").touch()
        _wait(lambda: not run.is_alive(), 60, "the training to stop")  # noqa: B023


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
            return bool(answer.read() == b"ok")
    except (OSError, urllib.error.URLError):
        return False


def _wait(is_there: Callable[[], bool], most_s: float, what: str) -> None:
    deadline = time.monotonic() + most_s
    while not is_there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {most_s:.0f} s for {what}")
        time.sleep(0.1)


def _rest(page: Any, workspace: Path) -> None:  # noqa: ANN401 - Playwright is there for developers
    page.wait_for_selector(_READY, state="attached", timeout=120_000)


def _prepare_train(page: Any, workspace: Path) -> None:  # noqa: ANN401
    """A training that is at work."""
    _rest(page, workspace)
    page.get_by_role("button", name="Train", exact=True).click()
    runs_dir = workspace / "runs"
    _wait(lambda: runs_dir.is_dir() and any(runs_dir.iterdir()), 60, "a run")
    run = Run(next(runs_dir.iterdir()))
    _wait(lambda: len(run.read_history()) >= _CAUGHT_AT, 600, f"{_CAUGHT_AT} epochs")
    page.get_by_text("A batch as the network saw it").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)


def _prepare_predict(page: Any, workspace: Path) -> None:  # noqa: ANN401
    """One image of a patient whom the demo model has not seen."""
    import cv2

    _rest(page, workspace)
    path = workspace / "patient-1002.png"
    cv2.imwrite(str(path), render_phantom(draw_parameters(0, 1002, 1)))
    page.locator(".st-key-uploads input[type=file]").set_input_files(path)
    page.get_by_text("Probability of calcified:").first.wait_for(timeout=60_000)
    _rest(page, workspace)


_PAGES: dict[str, Callable[[Any, Path], None]] = {
    "home": _rest, "data": _rest, "results": _rest, "predict": _prepare_predict,
    "train": _prepare_train,
}  # fmt: skip


def _take(page: Any, path: Path) -> None:  # noqa: ANN401
    """The whole page at a common width; of a long one the top."""
    measure = "() => document.querySelector('[data-testid=stMain]').scrollHeight"
    page.wait_for_timeout(1500)  # charts draw themselves after the page is there
    height = max(_LEAST_PX, min(int(page.evaluate(measure)), _MOST_PX))
    page.set_viewport_size({"width": _WIDTH_PX, "height": height})
    page.wait_for_timeout(1500)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    page.set_viewport_size({"width": _WIDTH_PX, "height": _LEAST_PX})
    print(path)


if __name__ == "__main__":
    sys.exit(main())
