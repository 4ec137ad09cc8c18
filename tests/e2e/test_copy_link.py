"""The buttons that copy the address of a page."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import open_page, wait_for_rest

pytestmark = pytest.mark.e2e


def test_the_copied_link_opens_the_same_grid_and_where_nothing_is_copied_it_is_shown(page, server):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(page, server, "data")
    slider = page.get_by_role("slider", name="Rotation (°)")
    slider.focus()
    slider.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"augmentation\.rotation_deg=16\.0"))
    wait_for_rest(page)
    button = page.get_by_role("button", name="Copy link")
    button.focus()
    page.keyboard.press("Enter")  # as whoever uses no mouse does it
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(0)
    page.goto(copied)
    wait_for_rest(page)
    expect(page.get_by_role("slider", name="Rotation (°)")).to_have_value("16")

    # Another computer's page that comes without TLS has no clipboard.
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    open_page(page, server, "predict?model=demo")
    page.get_by_role("button", name="Copy link").click()
    field = page.get_by_role("textbox", name="The address of this page, to be copied")
    expect(field).to_have_value(page.url)
    expect(page.get_by_role("status").filter(has_text="Press Ctrl+C")).to_be_visible()
    marked = field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)")
    assert marked == page.url
    assert page.script_errors == []
