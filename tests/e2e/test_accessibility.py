"""Every page in the eyes of axe-core, light and dark: no serious finding and no critical one.

Nor does any heading leave out a level. Nothing is excused: of Streamlit's own widgets none is at
fault.
"""

import ast

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from tests.e2e.conftest import ROOT, open_page, run_app, wait_for_rest, write_workspace

pytestmark = pytest.mark.e2e
SCREENS = [ROOT / "app.py", *(ROOT / "ui").glob("*.py"), *(ROOT / "pages").glob("*.py")]
PICTURES = ("st.image", "st.plotly_chart", "st.altair_chart", "st.line_chart", "st.bar_chart")
BOXES = ("All numbers", "More curves", "Slices", "Shortcuts and robustness", "Other data",
         "Share")  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An app with a finished run of its own."""
    with run_app(write_workspace(tmp_path_factory.mktemp("accessibility") / "workspace")) as server:
        yield server


def list_faults(page) -> list[str]:
    """What is serious or critical on the page as it stands, each with its element."""
    # Streamlit fades in what it draws; half faded it has no contrast.
    page.wait_for_function("document.getAnimations().every(a => a.playState !== 'running')")
    page.evaluate(AXE_SCRIPT)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(result["passes"]) > 10  # it has looked at something
    return [
        f"{fault['id']}: {node['html'][:200]} {[each['message'] for each in node['any'][:1]]}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical") or fault["id"] == "heading-order"
        for node in fault["nodes"]
    ]


def open_box(page, name: str) -> None:
    page.get_by_test_id("stExpander").get_by_text(name, exact=name in BOXES).first.click()
    wait_for_rest(page)


def visit_pages(page, server):
    """Every page as a visitor sees it, some with their boxes open; yields what is shown."""
    open_page(page, server, "")
    yield "home"
    open_page(page, server, "data")
    open_box(page, "Region of interest: off")
    yield "data"
    open_page(page, server, "train")
    open_box(page, "All settings")
    yield "train"
    open_page(page, server, "train?run=own")
    open_box(page, "All runs")
    yield "train, with a finished run"
    open_page(page, server, "results?run=own")
    for box in BOXES:
        open_box(page, box)
    yield "results"
    open_page(page, server, "predict?model=demo")
    yield "predict, empty"
    page.get_by_role("button", name="Try these five").click()
    expect(page.get_by_text("Probability of calcified:").first).to_be_visible()
    wait_for_rest(page)
    yield "predict"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_fault(browser, server, theme):
    shown, faults = [], []
    with browser.new_context(
        viewport={"width": 1280, "height": 1000}, color_scheme=theme, reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        for name in visit_pages(page, server):
            shown.append(name)
            faults += [f"{name}: {fault}" for fault in list_faults(page)]
    assert len(shown) == 7
    assert not faults, "\n".join(faults)


def test_every_picture_and_chart_has_words_for_those_who_cannot_see_it():
    calls = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for path in SCREENS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PICTURES
    ]
    assert calls
    assert not [place for place, given in calls if "alt" not in given]


def test_a_fault_is_found(browser):
    """The check itself: grey on grey, a picture without words, a button without a name."""
    page = browser.new_page()
    page.set_content(
        "<html lang='en'><title>Bad</title><main><h1>Bad</h1>"
        "<p style='color: #999; background: #fff'>Faint</p><img src='data:,'><button></button>"
        "<h3>Two levels down</h3><p>Good</p></main></html>"
    )
    page.evaluate(AXE_SCRIPT)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    page.close()
    assert {"color-contrast", "image-alt", "button-name", "heading-order"} <= {
        fault["id"] for fault in result["violations"]
    }
