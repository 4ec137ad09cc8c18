"""What only a browser shows of the Train page: parts that are drawn anew by themselves."""

import shutil

import pytest
from filelock import FileLock
from playwright.sync_api import expect

from polyp_core.runs import Run
from tests.conftest import list_runs, wait_until
from tests.e2e.conftest import find_stop, open_page, wait_for_rest

pytestmark = pytest.mark.e2e


def test_a_measured_rate_reaches_the_form_and_a_run_deleted_elsewhere_leaves_the_page(
    page, start_server, finished_run
):
    server = start_server()
    shutil.copytree(finished_run.directory, server.workspace / "rates" / "earlier")
    open_page(page, server, "train")
    page.get_by_text("All settings", exact=True).click()
    wait_for_rest(page)
    search_for_a_rate(page, server)
    rate = page.get_by_role("spinbutton", name="Learning rate", exact=True)
    expect(rate).not_to_have_value("0.004")
    page.get_by_role("button", name="Use 0.004").click()
    expect(rate).to_have_value("0.004")
    expect(page.get_by_text("Learning rate 0.004").first).to_be_visible()
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    expect(epochs).to_have_value("7")

    run = Run(server.workspace / "runs" / "own")
    shutil.copytree(finished_run.directory, run.directory)
    run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    with FileLock(run.path("lock")):
        open_page(page, server, "train?run=own")
        find_stop(page).click()
        expect(page.get_by_role("button", name="Stopping …")).to_be_disabled()
        assert run.path("stop").exists()
        shutil.rmtree(run.directory)
    expect(page.get_by_text("The run own is not there.")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    assert page.get_by_test_id("stException").count() == 0
    assert page.script_errors == []
    assert "Traceback" not in server.log.read_text()


def test_a_number_beyond_its_bounds_reaches_the_server_and_leaves_with_the_preset(page, server):
    open_page(page, server, "train")
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    train = page.get_by_role("button", name="Train", exact=True)
    expect(epochs).not_to_have_value("")
    usual = epochs.input_value()
    epochs.fill("20000")
    epochs.press("Enter")
    box = page.get_by_test_id("stAlertContentError")
    expect(box).to_contain_text("'Epochs' is out of bounds. Expected 1 to 10000")
    wait_for_rest(page)  # what was drawn before stands there until then
    expect(train).to_be_disabled()
    page.get_by_role("button", name="Back to the preset").click()
    expect(epochs).to_have_value(usual)
    wait_for_rest(page)
    expect(train).to_be_enabled()
    epochs.fill("7")
    epochs.press("Enter")
    expect(page.get_by_text("Other than in the preset: Epochs 7")).to_be_visible()
    epochs.fill("")
    epochs.press("Enter")
    expect(epochs).to_have_value(usual)
    expect(page.get_by_text("Exactly as the preset Compact has it")).to_be_visible()
    assert page.script_errors == []


def search_for_a_rate(page, server) -> None:
    """Start a real search, which throws the earlier one away, and end it as if it had a result."""
    page.get_by_role("button", name="Find a learning rate").click()
    earlier, rates = server.workspace / "rates" / "earlier", server.workspace / "rates"
    wait_until(lambda: not earlier.exists() and len(list_runs(rates)) == 1, "the search alone")
    (search,) = list_runs(rates)
    wait_until(search.is_alive, "the worker of the search")
    search.path("stop").touch()
    expect(page.get_by_text("The search was stopped before it had a rate")).to_be_visible()
    search.write_json(
        "status.json", {"state": "finished", "message": "Finished", "suggested_rate": 0.004}
    )
    search.path("rates.csv").write_text("rate,loss,smooth\n0.001,0.7,0.7\n0.01,0.5,0.6\n")
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    epochs.fill("7")
    epochs.press("Enter")
    wait_for_rest(page)
