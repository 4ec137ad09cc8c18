"""A figure on the page, and below it what can be kept of it: PNG, SVG, and its numbers as CSV."""

import re
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from polyp_core.answers import write_csv

__all__ = ["show_figure", "write_csv"]

_UNUSED = (
    "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d", "select2d", "lasso2d"
)  # fmt: skip
_CSS = """
.row { display: flex; gap: 0.75rem; justify-content: flex-end; min-height: 1.4rem; }
button {
    background: none; border: none; padding: 0.1rem 0.2rem; cursor: pointer; border-radius: 4px;
    font: 0.8rem var(--st-font); color: var(--st-text-color); opacity: 0.6;
}
button:hover, button:focus-visible {
    opacity: 1; color: var(--st-primary-color); text-decoration: underline;
}
"""
_HTML = """<div class="row">
<button type="button" data-kind="png" title="Download this figure as PNG">PNG</button>
<button type="button" data-kind="svg" title="Download this figure as SVG">SVG</button>
<button type="button" data-kind="csv" title="Download this figure's numbers as CSV">CSV</button>
</div>"""
# The figure draws itself: Plotly's own button is asked for another format and pressed.
_JS = """
function save(text, name) {
    const link = document.createElement("a")
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }))
    link.download = name
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
function draw(data, kind) {
    const figure = document.querySelector(`.st-key-${data.figure} .js-plotly-plot`)
    const press = figure?.querySelector(".modebar-btn[data-title^='Download plot']")
    if (!press) return
    const scale = kind === "png" ? 3 : 1
    const wanted = { format: kind, filename: data.stem, scale }
    figure._context.toImageButtonOptions = wanted
    press.click()
}
export default function ({ data, parentElement }) {
    for (const button of parentElement.querySelectorAll("button")) {
        const kind = button.dataset.kind
        button.hidden = kind === "csv" && !data.csv
        button.onclick = () =>
            kind === "csv" ? save(data.csv, `${data.stem}.csv`) : draw(data, kind)
    }
}
"""
_links = st.components.v2.component("polyp_figure_links", html=_HTML, css=_CSS, js=_JS)


def show_figure(
    figure: go.Figure | dict[str, Any],
    alt: str,
    key: str,
    *,
    stem: str,
    numbers: pd.DataFrame | str = "",
) -> None:
    """Show a figure with links to download it; nothing is drawn on the server.

    Args:
        figure: On an opaque ground, or it cannot be read on another one.
        alt: What it shows, for those who cannot see it.
        key: Its own on the page; letters, digits and spaces.
        stem: Of the names of the files.
        numbers: Behind the figure, as a table or as CSV already; none where empty.
    """
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-") or "figure"
    config = {
        "modeBarButtonsToRemove": _UNUSED,
        "toImageButtonOptions": {"format": "png", "filename": stem, "scale": 3},
        "displayNotifier": False,
    }
    st.plotly_chart(figure, key=key, alt=alt, config=config)
    csv = numbers if isinstance(numbers, str) else write_csv(numbers)
    _links(
        data={"figure": re.sub(r"[^\w-]", "-", key), "stem": stem, "csv": csv},
        key=f"links {key}", height="content",
    )  # fmt: skip
