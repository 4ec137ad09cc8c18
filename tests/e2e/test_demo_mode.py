"""A shared demo in a real browser: what is off is not there, and nothing is left behind."""

import hashlib
import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.conftest import write_classes
from tests.e2e.conftest import open_page, run_app, wait_for_rest, write_workspace

pytestmark = pytest.mark.e2e
PATHS = ("", "data", "train", "results", "predict")
OFF = re.compile(
    "^(Train|Add to the queue|Start the study|Stop|Resume|Finish now|Delete|Rename or note|Browse|"
    "Use its settings|Use these settings|Run the checks|Start|Train on these images)$"
)


@pytest.fixture
def demo(tmp_path):
    """A demo with a run of its owner's."""
    workspace = write_workspace(tmp_path / "workspace")
    with run_app(workspace, POLYP_DEMO="1") as demo:
        yield demo


def list_files(folder) -> dict[str, str]:
    """What every file holds, but for those of the cache."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "cache"
    }


def test_a_walk_over_all_pages_finds_what_is_off_nowhere_and_changes_nothing(page, demo, tmp_path):
    page.set_default_timeout(120_000)  # a shared machine may be slow
    before = list_files(demo.workspace)
    for path in PATHS:
        open_page(page, demo, path)
        expect(page.get_by_text("A shared demo of a program")).to_be_visible()
        expect(page.get_by_test_id("stMain").get_by_role("button", name=OFF)).to_have_count(0)
        expect(page.get_by_test_id("stException")).to_have_count(0)
    # What is the visitor's own stays usable: a slider, a threshold, an upload.
    open_page(page, demo, "data")
    slider = page.get_by_role("slider", name="Rotation (°)")
    slider.focus()
    slider.press("ArrowRight")
    wait_for_rest(page)
    expect(page.get_by_text("Your own settings")).to_be_visible()
    open_page(page, demo, "results?run=own&threshold=0.3")
    use = page.get_by_role("button", name="Use this threshold")
    expect(use).to_be_disabled()
    for box in ("Shortcuts and robustness", "Other data"):
        page.get_by_test_id("stExpander").get_by_text(box, exact=True).click()
        wait_for_rest(page)
    expect(page.get_by_text("Starting the checks is off on this shared demo")).to_be_visible()
    expect(page.get_by_text("on another folder is off on this shared demo")).to_be_visible()
    open_page(page, demo, "train?run=own")
    page.get_by_test_id("stExpander").get_by_text("All runs", exact=True).click()
    wait_for_rest(page)
    expect(page.get_by_role("button", name="Open", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stMain").get_by_role("button", name=OFF)).to_have_count(0)
    secret = quote(str(write_classes(tmp_path / "secret-images")), safe="")
    open_page(page, demo, f"data?folder={secret}")
    expect(page.get_by_text("folder is left out")).to_be_visible()
    expect(page.get_by_text("secret-images")).to_have_count(0)
    assert list_files(demo.workspace) == before
    assert page.foreign_requests == []
