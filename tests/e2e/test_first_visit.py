"""A first visit: three clicks on the home page lead to a trained model and its first answer."""

import re

import pytest
from playwright.sync_api import expect

from polyp_core.phantom import write_demo_data
from tests.conftest import list_runs, wait_until
from tests.e2e.conftest import open_page, wait_for_rest

pytestmark = pytest.mark.e2e
# Where each button of a card stands on the page, at every frame from its first one on.
FOLLOW_BUTTONS = """
window.places = {}
const follow = () => {
    const main = document.querySelector("[data-testid=stMain]")
    for (const title of main?.querySelectorAll("h2") ?? []) {
        const card = title.closest("[data-testid=stVerticalBlock]")
        for (const button of card.querySelectorAll("[data-testid=stButton] button")) {
            const { left, top } = button.getBoundingClientRect()
            window.places[button.innerText] ??= []
            window.places[button.innerText].push([left, top + main.scrollTop])
        }
    }
    requestAnimationFrame(follow)
}
requestAnimationFrame(follow)
"""


def click(page, name: str) -> None:
    wait_for_rest(page)  # cards that still grow move their buttons
    page.get_by_role("button", name=name).click()
    wait_for_rest(page)


def test_a_button_stays_where_it_first_appears_while_the_cards_are_drawn(page, start_server):
    """One that moves while the mouse is down is not clicked, and nothing says so."""
    page.emulate_media(reduced_motion="no-preference")  # as most visitors have it
    page.add_init_script(FOLLOW_BUTTONS)
    open_page(page, start_server(), "")
    places = page.evaluate("window.places")
    assert len(places) == 3, places.keys()
    for name, seen in places.items():
        for side in zip(*seen, strict=True):
            assert max(side) - min(side) < 2, (name, sorted(set(side)))


def test_three_clicks_lead_to_a_trained_model_and_each_says_what_it_has_shown(
    page, start_server, tmp_path
):
    """On fewer images than the demo set has, so that it takes a few seconds."""
    workspace = tmp_path / "workspace"
    write_demo_data(workspace / "demo-data", num_patients=8)
    server = start_server(workspace)
    open_page(page, server, "")
    page.reload()  # an empty workspace is drawn once
    wait_for_rest(page)
    expect(page.get_by_text("Three clicks, about two minutes")).to_be_visible()
    expect(page.get_by_text("every patient on one side")).to_have_count(0)

    click(page, "Check these images")
    expect(page.get_by_text("The split keeps every patient on one side")).to_be_visible()

    click(page, "Train on them")
    expect(page.get_by_role("main").get_by_text("at work now")).to_be_visible()
    (run,) = list_runs(workspace / "runs")
    # The page follows by itself until the run has ended.
    expect(page.get_by_text(re.compile(r"Trained in .*patients right"))).to_be_visible(
        timeout=180_000
    )
    assert run.read_status()["state"] == "finished"
    assert len(run.read_history()) == run.read_config().training.epochs
    expect(page.get_by_text("not shown to be better").or_(page.get_by_text("no better"))
           .or_(page.get_by_text("worse than that"))).to_be_visible()  # fmt: skip
    expect(page.get_by_text("Three clicks")).to_have_count(0)
    wait_until(lambda: not run.is_alive(), "the worker to tidy up")

    click(page, "Ask about a new image")
    expect(page.get_by_text("it was drawn as calcified")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("A new patient's image"))).to_be_visible()
    assert page.script_errors == []
    assert page.foreign_requests == []
