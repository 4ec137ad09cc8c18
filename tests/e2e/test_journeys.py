"""What a person does, in a real browser."""

import json
import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from tests.conftest import list_runs, wait_until, write_classes
from tests.e2e.conftest import find_stop, open_page, wait_for_rest

pytestmark = pytest.mark.e2e
NAMES = ("Home", "Data", "Train", "Results", "Predict")
PAGES = {
    "": "From your images to a classifier you can trust",
    "data": "Data",
    "train": "Train",
    "results": "Results",
    "predict": "Predict",
}


@pytest.mark.parametrize("path", list(PAGES))
def test_a_deep_link_on_a_fresh_server_shows_the_whole_page(page, start_server, path):
    """The trap of a folder named pages/: the first deep link skips app.py."""
    server = start_server(is_empty=path == "data")
    open_page(page, server, path)
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[path])
    links = page.get_by_test_id("stSidebar").get_by_test_id("stPageLink")
    # A Material icon is text too, so the names are looked for at the end.
    expect(links).to_have_text([re.compile(f"{name}$") for name in NAMES])
    name = {"": "Home"}.get(path, path.capitalize())
    expect(page).to_have_title(f"{name} · Polyp")
    if path == "data":  # drawing the demo images on the first start is part of it
        expect(page.get_by_text("245 images of 60 patients")).to_be_visible(timeout=120_000)
    assert page.foreign_requests == []
    assert page.script_errors == []


def count_points(page) -> int:
    """Epochs on the validation curve of the first chart."""
    return page.evaluate(
        "() => { const p = document.querySelector('.js-plotly-plot');"
        "return p && p._fullData && p._fullData.length > 1 ? p._fullData[1].x.length : 0 }"
    )


def test_the_whole_loop(page, start_server):
    server = start_server()
    for path in PAGES:  # so that the memory at the end is that of a server that showed them all
        open_page(page, server, path)

    # Data: a control moves, the pictures follow.
    open_page(page, server, "data")
    pictures = page.get_by_test_id("stImage").locator("img")
    expect(pictures).to_have_count(17)
    before = [pictures.nth(n).get_attribute("src") for n in range(17)]
    slider = page.get_by_role("slider", name="Rotation (°)")
    slider.focus()
    slider.press("ArrowRight")
    expect(pictures.nth(1)).not_to_have_attribute("src", before[1])
    after = [pictures.nth(n).get_attribute("src") for n in range(17)]
    assert after[0] == before[0]
    page.get_by_role("button", name="Train on these images").click()

    # Train: three epochs, the curve grows, a reload in the middle changes nothing.
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    expect(page.get_by_text("Other than in the preset: Rotation 16 °").first).to_be_visible()
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    epochs.fill("3")
    epochs.press("Enter")
    expect(page.get_by_text("Epochs 3").first).to_be_visible()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(find_stop(page)).to_be_visible()
    (run,) = list_runs(server.workspace / "runs")
    wait_until(lambda: count_points(page) >= 1, "the first point of the curve")
    seen_before_reload = count_points(page)
    page.reload()
    wait_for_rest(page)
    expect(page.get_by_text(run.name, exact=True).first).to_be_visible()
    expect(page.get_by_text("patients right").first).to_be_visible(timeout=120_000)
    wait_until(lambda: count_points(page) == 3, "three points on the curve")
    assert 1 <= seen_before_reload <= 3
    assert len(list_runs(server.workspace / "runs")) == 1

    # Predict: two images dropped, two answers with their overlays.
    page.get_by_test_id("stSidebar").get_by_text("Predict").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Predict")
    files = [
        sorted((server.workspace / "demo-data" / name).glob("*.png"))[0]
        for name in ("calcified", "non-calcified")
    ]
    drop_files(page, files)
    answers = page.get_by_text("Probability of calcified:")
    expect(answers).to_have_count(2)
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(4)
    expect(page.get_by_text("For research and teaching, not for diagnosis.").first).to_be_visible()

    assert page.foreign_requests == []
    assert page.script_errors == []
    libraries = server.list_libraries()
    assert "litert" in libraries
    assert "tensorflow_framework" not in libraries
    assert server.read_memory_mb() < 400
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "will be removed" not in log


def drop_files(page, paths) -> None:
    """Drag and drop, as a person does it: a drop event with the files on the drop zone."""
    contents = [{"name": path.name, "bytes": list(path.read_bytes())} for path in paths]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const file of JSON.parse(files)) {
                const bytes = new Uint8Array(file.bytes);
                transfer.items.add(new File([bytes], file.name, {type: 'image/png'}));
            }
            return transfer;
        }""",
        json.dumps(contents),
    )
    zone = page.get_by_test_id("stFileUploaderDropzone")
    zone.dispatch_event("drop", {"dataTransfer": transfer})


def test_a_run_outlives_its_server_and_the_next_one_finds_it(page, start_server):
    first = start_server()
    # Epochs that take a moment, and so many that it does not end by itself.
    open_page(page, first, "train?model.image_size_px=64&training.epochs=5000")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(find_stop(page)).to_be_visible()
    (run,) = list_runs(first.workspace / "runs")
    first.process.kill()
    first.process.wait()
    time.sleep(1)
    assert run.is_alive()

    second = start_server(first.workspace)
    open_page(page, second, "train")
    expect(page.get_by_text(run.name, exact=True).first).to_be_visible()
    find_stop(page).click()
    expect(page.get_by_text("Every finished epoch is kept").first).to_be_visible(timeout=60_000)
    assert run.read_status()["state"] == "stopped"
    epochs = len(run.read_history())

    # Resumed, watched from a second browser, and ended early with a model of what there is.
    page.get_by_role("button", name="Resume").first.click()
    expect(find_stop(page)).to_be_visible()
    other = page.context.browser.new_context().new_page()
    open_page(other, second, "train")
    expect(other.get_by_text(run.name, exact=True).first).to_be_visible()
    wait_until(lambda: len(run.read_history()) > epochs, "one more epoch")
    other.get_by_role("button", name="Finish now").first.click()
    for tab in (page, other):
        expect(tab.get_by_text("patients right").first).to_be_visible(timeout=90_000)
    other.context.close()
    assert run.read_status()["state"] == "finished"
    assert epochs < len(run.read_history()) < run.read_config().training.epochs
    assert page.script_errors == []


def test_a_visitor_never_sees_a_traceback(page, server, tmp_path):
    """A typed folder that cannot be used is one calm sentence."""
    open_page(page, server, "data")
    page.get_by_text("A folder here").click()
    folder = page.get_by_role("textbox", name="Folder or CSV manifest")
    folder.fill(str(tmp_path / "nothing here"))
    folder.press("Enter")
    expect(page.get_by_text("does not exist. Expected two class folders")).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0


def test_a_dropped_folder_and_a_zip_are_looked_at_like_any_other(page, start_server, tmp_path):
    server = start_server()
    """Names that hold Markdown or HTML are shown, and make the browser fetch nothing."""
    folder = write_classes(tmp_path / "polyps", num_patients=20)
    for name in ("![x](http:x.png).png", "<img src=q onerror=alert(1)>.png", "a\u202egnp.png"):
        shutil.copy(folder / "calcified" / "patient-01_0.png", folder / "calcified" / name)
    (folder / ".hidden").touch()
    open_page(page, server, "data")
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file][webkitdirectory]").set_input_files(folder)
    expect(page.get_by_text("43 files copied into the workspace; 1 hidden file")).to_be_visible()
    expect(page.get_by_text("43 images of ")).to_be_visible()
    page.get_by_text("to know").click()
    wait_for_rest(page)
    (imported,) = (server.workspace / "imports").iterdir()
    assert len(list(imported.rglob("*.png"))) == 43

    shutil.make_archive(str(tmp_path / "archive"), "zip", folder)
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file]:not([webkitdirectory])").set_input_files(
        tmp_path / "archive.zip"
    )
    expect(page.get_by_text("43 images of ")).to_be_visible()
    page.get_by_text("Upload", exact=True).click()
    (tmp_path / "damaged.zip").write_bytes((tmp_path / "archive.zip").read_bytes()[:5000])
    page.locator("input[type=file]:not([webkitdirectory])").set_input_files(
        tmp_path / "damaged.zip"
    )
    expect(page.get_by_text("damaged.zip").last).to_be_visible()
    assert page.foreign_requests == []
    assert page.script_errors == []
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in server.log.read_text()
