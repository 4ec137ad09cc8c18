"""A shared demo in a real browser: what is off is not there, and nothing is left behind."""

import hashlib
import re
import shutil

import pytest
from playwright.sync_api import expect

from polyp_core.phantom import write_demo_data
from polyp_core.workspace import DEMO_RUN
from tests.conftest import write_classes
from tests.e2e.conftest import open_page, wait_for_rest

pytestmark = pytest.mark.e2e
PATHS = ("", "data", "train", "results", "predict")
OFF = re.compile(
    "^(Train|Add to the queue|Start the study|Stop|Resume|Finish now|Delete|Rename or note|Browse|"
    "Use its settings|Use these settings|Run the checks|Start|Train on these images)$"
)
LINKS = (
    "data?folder=/etc", "data?folder={data}", "data?folder=%2e%2e%2f%2e%2e", "train?folder={data}",
    "data?folder=%5C%5Chost%5Cshare", "train?run=../../../etc", "train?run=%2e%2e%2fown",
    "train?model.network=transfer&model.backbone_weights=/etc/passwd", "results?run=../own",
    "results?run=own&kind=../..&threshold=nan", "data?view=average&model.image_size_px=1024",
    "predict?folder={data}&run=/etc",
)  # fmt: skip


@pytest.fixture
def demo(start_server, tmp_path, monkeypatch):
    """A demo with a run of its owner's."""
    workspace = tmp_path / "workspace"
    write_demo_data(workspace / "demo-data", num_patients=8)
    shutil.copytree(DEMO_RUN.directory, workspace / "runs" / "own")
    monkeypatch.setenv("POLYP_DEMO", "1")
    return start_server(workspace)


def list_files(folder) -> dict[str, str]:
    """What every file holds, but for those of the cache."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "cache"
    }


def read_main(page) -> str:
    return page.get_by_test_id("stMain").inner_text()


def test_a_walk_over_all_pages_finds_what_is_off_nowhere_and_changes_nothing(page, demo):
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
    assert list_files(demo.workspace) == before
    assert page.foreign_requests == []


def test_no_link_reaches_what_is_off(page, demo, tmp_path):
    data = write_classes(tmp_path / "secret-images")
    page.set_default_timeout(120_000)  # a shared machine may be slow
    before = list_files(demo.workspace)
    for link in LINKS:
        open_page(page, demo, link.format(data=data))
        expect(page.get_by_text("A shared demo of a program")).to_be_visible()
        said = read_main(page)
        assert "secret-images" not in said, link
        assert "20 images of 10 patients" not in said, link
        assert "passwd" not in said, link
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stMain").get_by_role("button", name=OFF)).to_have_count(0)
        if "folder=" in link and not link.startswith("predict"):
            assert "folder is left out" in said, link
    assert list_files(demo.workspace) == before
