"""Many people predict at once: `python -m benchmarks.predict_load`.

A fresh server on loopback with a workspace of its own, and as many real browser sessions as asked
for, in one Chromium. Each session opens the page, then all drop an image of their own at the same
time; that is one round, and the next begins with a fresh visit. What each page shows is compared
with what the classifier says of the same file: the name, the class, the probability or the refusal.

The time of an answer is taken in the browser, from the drop until the words are there; twenty
browsers share the computer with the server here, so it is longer than a visitor's would be. Memory
is that of the server and its children together.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

from polyp_core.answers import say_probability
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier, load_classifier
from polyp_core.workspace import DEMO_RUN

_ROOT = Path(__file__).parents[1]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_UPLOAD = ".st-key-uploads input[type=file], [data-testid=stFileUploaderDropzone] input[type=file]"
RESTED = "[data-testid=stApp][data-test-script-state=notRunning]"
_WATCH = """() => {
    window.droppedAt = performance.now()
    window.answeredAt = null
    const look = () => {
        const text = document.querySelector("[data-testid=stMain]")?.innerText || ""
        if (window.answeredAt === null && /Probability of calcified:|No answer:/.test(text))
            window.answeredAt = performance.now()
    }
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true})
}"""


@dataclass
class Found:
    """What the sessions have seen."""

    answers_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    memory_mb: list[tuple[str, float]] = field(default_factory=list)


class MemoryWatch(threading.Thread):
    """Looks at the memory of a process and its children, ten times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self.peak_mb = 0.0

    def run(self) -> None:
        """Until it is told to end."""
        while not self._ended.wait(0.1):
            self.peak_mb = max(self.peak_mb, self.measure_mb())

    def measure_mb(self) -> float:
        """Of this moment."""
        total = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:  # a child that has just ended
                continue
        return total / 2**20

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()
        self.join()


def main() -> None:
    """Run the rounds, print the table; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=120.0, help="s for one step of a page")
    options = parser.parse_args()
    chromium = find_chromium()
    found = Found()
    with tempfile.TemporaryDirectory() as text, sync_playwright() as playwright:
        folder = Path(text)
        paths = write_images(folder / "images", options.sessions * options.rounds)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with start_server(folder) as (url, process, log):
            visit_once(browser, url, options.patience)
            watch = MemoryWatch(process.pid)
            found.memory_mb.append(("before", watch.measure_mb()))
            watch.start()
            for number in range(options.rounds):
                own = paths[number * options.sessions : (number + 1) * options.sessions]
                run_round(browser, url, own, options.patience, found)
                found.memory_mb.append((f"after round {number + 1}", watch.measure_mb()))
            browser.close()
            time.sleep(5)  # until the server has let go of the sessions
            found.memory_mb.append(("5 s after the last has left", watch.measure_mb()))
            watch.end()
            found.memory_mb.append(("peak", watch.peak_mb))
            words = log.read_text(errors="replace")
            found.problems += re.findall(r"^.*(?:Traceback|Error).*$", words, re.MULTILINE)
    print_found(found, options)
    sys.exit(bool(found.problems))


def find_chromium() -> str:
    """Where the browser lies; ends the program where there is none."""
    chromium = os.environ.get("POLYP_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("No Chromium found. Install it, or set POLYP_CHROMIUM to its path.")
    return chromium


def write_images(folder: Path, num_images: int) -> list[Path]:
    """Phantoms that no model has seen, each another patient."""
    folder.mkdir()
    paths = [folder / f"visitor-{number:03}.png" for number in range(num_images)]
    for number, path in enumerate(paths, start=1):
        Image.fromarray(render_phantom(draw_parameters(11, number, 1))).save(path)
    return paths


@contextmanager
def start_server(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]", Path]]:
    """The app on a free port of loopback: its address, process and log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}",
             "--server.address=127.0.0.1", "--server.headless=true"],
            cwd=_ROOT, env=os.environ | {"POLYP_WORKSPACE": str(folder / "workspace")},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not is_healthy(url):
            if time.monotonic() > deadline:
                raise SystemExit("The server did not start within two minutes.")
            time.sleep(0.1)
        yield url, process, log
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_healthy(url: str) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


def visit_once(browser: Browser, url: str, patience_s: float) -> None:
    """One visitor before the measuring, so that imports and the model are loaded."""
    page = browser.new_context().new_page()
    page.set_default_timeout(1000 * patience_s)
    page.goto(f"{url}/predict?model=demo")
    page.wait_for_selector(RESTED)
    page.context.close()


def run_round(
    browser: Browser, url: str, paths: list[Path], patience_s: float, found: Found
) -> None:
    """Open a session an image, drop all images at once, compare what each page says."""
    classifier, pages = load_classifier(DEMO_RUN), []
    for _ in paths:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(1000 * patience_s)
        page.on("pageerror", lambda error: found.problems.append(f"script: {error}"))
        page.goto(f"{url}/predict?model=demo", wait_until="commit")
        pages.append(page)
    for page in pages:
        page.wait_for_selector(RESTED)
        page.wait_for_selector(_UPLOAD, state="attached")
        page.evaluate(_WATCH)
    for page, path in zip(pages, paths, strict=True):
        page.evaluate("() => { window.droppedAt = performance.now() }")
        page.locator(_UPLOAD).first.set_input_files(path)
    for page, path in zip(pages, paths, strict=True):
        try:
            found.answers_s.append(read_answer_s(page))
            found.problems += compare(page, path, classifier)
        except Error as error:  # above all its time is up
            found.problems.append(f"{path.name}: {str(error).splitlines()[0]}")
    for page in pages:
        page.context.close()


def read_answer_s(page: Page) -> float:
    """Wait for the answer; seconds from the drop until it was there."""
    page.wait_for_function("() => window.answeredAt !== null")
    page.wait_for_selector(RESTED)
    return float(page.evaluate("() => (window.answeredAt - window.droppedAt) / 1000"))


def compare(page: Page, path: Path, classifier: Classifier) -> list[str]:
    """What a page shows that the classifier does not say of that file."""
    prediction = classifier.classify(path)
    said = say_probability(prediction.probability, classifier.threshold)
    if prediction.is_refused:
        expected = ["No answer: not like the training images"]
    else:
        name = prediction.class_name.capitalize() if prediction.is_sure else "Not sure"
        expected = [name, f"Probability of {classifier.class_names[1]}: {said}"]
    shown = page.locator("[data-testid=stMain]").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    missing = [
        text
        for text in (path.name, *expected)
        if text.replace("\N{NO-BREAK SPACE}", " ") not in shown
    ]
    others = set(re.findall(r"visitor-\d+\.png", shown)) - {path.name}
    problems = [f"{path.name}: the page does not say '{text}'" for text in missing]
    problems += [f"{path.name}: the page of another: {name}" for name in sorted(others)]
    if page.locator("[data-testid=stException]").count():
        problems.append(f"{path.name}: an exception is shown")
    return problems


def print_found(found: Found, options: argparse.Namespace) -> None:
    """Markdown: how many, how wrong, how fast, how large."""
    times = sorted(found.answers_s)
    print(f"{options.sessions} browser sessions at once, {options.rounds} rounds, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print("| | |\n|---|---:|")
    print(f"| answers | {len(times)} of {options.sessions * options.rounds} |")
    print(f"| errors and wrong answers | {len(found.problems)} |")
    if times:
        print(f"| drop to answer, median | {statistics.median(times):.2f} s |")
        print(f"| drop to answer, slowest | {times[-1]:.2f} s |")
    for name, value in found.memory_mb:
        print(f"| memory of the server, {name} | {value:.0f} MB |")
    for problem in found.problems[:20]:
        print(f"- {problem}")


if __name__ == "__main__":
    main()
