"""Somebody who was sent a link drops images and gets answers, with their limits."""

import re
import zipfile

import cv2
import pytest
from playwright.sync_api import expect

from polyp_core.phantom import draw_parameters, render_phantom
from tests.conftest import wait_until
from tests.e2e.conftest import open_page, wait_for_rest
from ui.predict_samples import draw_landscape

pytestmark = pytest.mark.e2e


@pytest.fixture
def scans(tmp_path):
    """Files of three patients whom the demo model has not seen: two alone, two in a zip."""
    folder = tmp_path / "scans"
    folder.mkdir()
    paths = []
    for patient, image in ((2, 1), (12, 1), (10, 1), (10, 2)):
        paths.append(folder / f"patient-{patient:03}_{image}.png")
        cv2.imwrite(str(paths[-1]), render_phantom(draw_parameters(0, patient, image)))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        for path in paths[2:]:
            archive.write(path, path.name)
            path.unlink()
    cv2.imwrite(str(folder / "beach.png"), draw_landscape()[..., ::-1])
    (folder / "broken.png").write_bytes(b"hello")
    return folder


def drop(page, *paths) -> None:
    page.locator(".st-key-uploads input[type=file]").set_input_files(paths)


def list_files(folder) -> dict[str, int]:
    """Every file below a folder and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in files}


def test_from_the_drop_to_the_answers_and_nothing_is_kept(page, start_server, scans):
    server = start_server()
    open_page(page, server, "predict?model=demo")
    expect(page.get_by_text("answer will stand here")).to_be_visible()
    before = list_files(server.workspace)

    # The images to try teach a refusal.
    page.get_by_role("button", name="Try these five").click()
    expect(page.get_by_text("All (5)")).to_be_visible()
    expect(page.get_by_text("No answer (1)")).to_be_visible()
    page.get_by_role("button", name="Put them away").click()
    expect(page.get_by_text("answer will stand here")).to_be_visible()

    # One image, one answer.
    drop(page, scans / "patient-002_1.png")
    expect(page.get_by_text("Probability of calcified:")).to_have_count(1)
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(2)

    # More of all kinds: a zip, a file that is none, a picture that is no ultrasound image.
    drop(page, *(scans / name for name in ("patient-012_1.png", "more.zip", "broken.png")))
    expect(page.get_by_text("All (5)")).to_be_visible()
    drop(page, scans / "beach.png")
    expect(page.get_by_text("All (6)")).to_be_visible()
    expect(page.get_by_text("No answer (1)")).to_be_visible()
    expect(page.get_by_text("Not readable (1)")).to_be_visible()
    expect(page.get_by_text("'broken.png' is not an image")).to_be_visible()
    expect(page.get_by_text("1 patient with several images")).to_be_visible()
    expect(page.get_by_text("as the mean of 2 images")).to_be_visible()

    # The refusal alone, its reasons, and what the model would say all the same.
    page.get_by_text("No answer (1)").click()
    expect(page.get_by_text("No answer: not like the training images")).to_have_count(1)
    expect(page.get_by_text("Probability of calcified:")).to_have_count(0)
    expect(page.get_by_text(re.compile("[Ii]n colour")).first).to_be_visible()
    page.get_by_text("What the model would say all the same").click()
    expect(page.get_by_text("Do not rely on it")).to_be_visible()
    expect(page.get_by_text("Probability of calcified:")).to_have_count(1)

    # What is taken away is made on the click.
    page.get_by_text("All (6)").click()
    expect(page.get_by_role("button", name="Sheet", exact=True)).to_have_count(5)
    wait_for_rest(page)  # until then the refusal's own may stand first
    with page.expect_download() as download:
        page.get_by_role("button", name="Sheet", exact=True).first.click()
    sheet = download.value.path().read_text(encoding="utf-8")
    assert download.value.suggested_filename == "patient-002_1-png.html"
    assert "patient-002_1.png" in sheet
    assert "not for diagnosis" in sheet
    with page.expect_download() as download:
        page.get_by_role("button", name="Table", exact=True).click()
    assert len(download.value.path().read_text(encoding="utf-8").splitlines()) == 7

    assert list_files(server.workspace) == before
    assert page.get_by_test_id("stException").count() == 0
    assert page.foreign_requests == []
    assert page.script_errors == []
    assert "Traceback" not in server.log.read_text()


def test_an_image_is_pasted_as_if_it_were_dropped(page, server, scans):
    open_page(page, server, "predict?model=demo")
    content = list((scans / "patient-002_1.png").read_bytes())
    page.evaluate(
        """content => {
            const clipboardData = new DataTransfer();
            const bytes = new Uint8Array(content);
            clipboardData.items.add(new File([bytes], "image.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent(
                "paste", {clipboardData, bubbles: true, cancelable: true}));
        }""",
        content,
    )
    expect(page.get_by_text("Probability of calcified:")).to_have_count(1)
    assert page.script_errors == []


def test_a_folder_is_one_click_away_and_the_camera_waits_for_its_own(page, server, scans):
    open_page(page, server, "predict?model=demo")
    asked = page.evaluate(
        "() => { window.asked = 0; const media = navigator.mediaDevices;"
        "if (media) { const ask = media.getUserMedia.bind(media);"
        "media.getUserMedia = (...all) => { window.asked += 1; return ask(...all) } }"
        "return window.asked }"
    )
    page.get_by_text("A whole folder").click()
    wait_for_rest(page)
    page.locator("input[type=file][webkitdirectory]").set_input_files(scans)
    expect(page.get_by_text("All (6)")).to_be_visible()
    assert page.evaluate("() => window.asked") == asked == 0
    page.get_by_text("Camera", exact=True).click()
    wait_until(lambda: page.get_by_test_id("stCameraInput").count() == 1, "the camera")
    assert page.script_errors == []
