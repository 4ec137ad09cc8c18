"""The results page in a real browser: what AppTest cannot see."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import open_page, wait_for_rest

pytestmark = pytest.mark.e2e


def read_matrix(page) -> list[str]:
    """The four cells, from the truth "negative" on."""
    cells = page.locator(".st-key-results-matrix .textpoint")
    expect(cells).to_have_count(4)
    return cells.all_text_contents()


def test_the_threshold_moves_the_evidence_and_the_link_opens_it_again(page, server):
    open_page(page, server, "results")
    expect(page.get_by_role("heading", level=2)).to_contain_text("46 of 52 patients right")
    before = read_matrix(page)
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("Only looked at.")).to_be_visible()
    expect(page.get_by_role("heading", level=2)).to_contain_text("25 of 52 patients right")
    wait_for_rest(page)
    assert read_matrix(page) != before
    expect(page).to_have_url(re.compile("threshold=0(&|$)"))
    page.get_by_text("High sensitivity", exact=True).click()
    expect(page).not_to_have_url(re.compile("threshold=0(&|$)"))
    wait_for_rest(page)
    link, shown = page.url, read_matrix(page)
    page.goto(link)
    wait_for_rest(page)
    assert read_matrix(page) == shown
    assert page.foreign_requests == []
    assert page.script_errors == []


def test_a_figure_is_downloaded_as_png_svg_and_numbers(page, server, tmp_path):
    open_page(page, server, "results?run=demo")
    read_matrix(page)
    links = page.locator(".st-key-links-results-matrix")
    files = {}
    for kind in ("PNG", "SVG", "CSV"):
        with page.expect_download() as download:
            links.get_by_role("button", name=kind).click()
        assert (
            download.value.suggested_filename
            == f"demo_run-validation-patient-matrix.{kind}".lower()
        )
        files[kind] = Path(tmp_path, kind)
        download.value.save_as(files[kind])
    assert files["PNG"].read_bytes().startswith(b"\x89PNG")
    picture = files["SVG"].read_text()
    assert picture.startswith("<svg")
    assert "Truth" in picture
    rows = list(csv.DictReader(files["CSV"].read_text().splitlines()))
    assert [row["truth"] for row in rows] == ["non-calcified"] * 2 + ["calcified"] * 2
    assert sum(int(row["count"]) for row in rows) == 52
