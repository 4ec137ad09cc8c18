"""How long the first visit takes: `python -m benchmarks.first_visit`.

A fresh server on an empty workspace and a real browser: the home page is opened, its three buttons
are pressed, and each time runs until what the step has shown stands on its card. Needs Chromium;
POLYP_CHROMIUM says where, if it is not on the path.
"""

import os
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.predict_load import FLAGS, RESTED, find_chromium, start_server

_STEPS = (  # the button, and what is said once its step is done
    ("Check these images", "The split keeps every patient"),
    ("Train on them", "Trained in"),
    ("Ask about a new image", "it was drawn as"),
)
_PATIENCE_MS = 300_000


def main() -> None:
    """Visit once and print a table."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with (
        tempfile.TemporaryDirectory() as folder,
        start_server(Path(folder)) as (url, _, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1200})
        page.set_default_timeout(_PATIENCE_MS)
        started = time.monotonic()
        page.goto(url)
        page.get_by_text("For research and teaching").wait_for()
        page.wait_for_selector(RESTED, state="attached")
        seconds = {"Opened, the demo images drawn": time.monotonic() - started}
        for button, said in _STEPS:
            pressed = time.monotonic()
            page.get_by_role("button", name=button).click()
            page.get_by_text(said).first.wait_for()
            seconds[button] = time.monotonic() - pressed
            page.wait_for_selector(RESTED, state="attached")  # a card that grows moves its button
            page.wait_for_timeout(1000)
        seconds["All"] = time.monotonic() - started
        browser.close()
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start\n\n| | s |\n|---|---:|")
    for name, taken in seconds.items():
        print(f"| {name} | {taken:.1f} |")


if __name__ == "__main__":
    main()
