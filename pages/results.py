"""What is this model worth?"""

from collections.abc import Callable
from functools import partial

import streamlit as st

import ui
from polyp_core.decision import Decision
from ui.copy_link import show_linked_title
from ui.results_source import Judged

Show = Callable[[], None]


def list_boxes(judged: Judged, unit: str, shown: Decision) -> list[tuple[str, str, Show]]:
    """What stands behind a click: title, icon, and what shows it."""
    boxes: list[tuple[str, str, Show]] = [
        ("All numbers", "table_chart", partial(ui.show_numbers, judged, shown)),
        ("More curves", "show_chart", partial(ui.show_more_curves, judged, unit, shown)),
        ("Slices", "pie_chart", partial(ui.show_slices, judged, shown.threshold)),
        ("Compare with other runs", "compare_arrows", partial(ui.show_pairs, judged, unit)),
    ]
    if judged.run.path("config.json").is_file():  # a study may have no model of its own yet
        is_study = judged.study is not None
        other = partial(ui.show_external, judged.run, judged.kind, is_study=is_study)
        boxes.insert(3, ("Shortcuts and robustness", "science", partial(ui.show_checks, judged)))
        boxes.append(("Other data", "folder_open", other))
    if judged.study is not None and len(judged.study.read_plan()["shares"]) > 1:
        show = partial(ui.show_learning_curve, judged.study)
        boxes.append(("Learning curve", "trending_up", show))
    boxes.append(("Share", "share", partial(ui.show_share, judged)))
    return boxes


@st.fragment
def show_evidence(judged: Judged, unit: str) -> None:
    """All that a move of the threshold draws anew."""
    shown = None
    with ui.errors():
        head = st.container()
        shown = ui.show_threshold(judged, unit)
        with head:
            ui.show_head(judged, unit, shown)
        ui.write_results_link(judged, unit, shown)
        ui.show_figures(judged, unit, shown)
    if shown is None:  # then the page has said why
        return
    with ui.errors():
        ui.show_gallery(judged, shown.threshold, shown.band)
    for title, icon, show in list_boxes(judged, unit, shown):
        box = st.expander(
            title, icon=f":material/{icon}:", key=f"results box {title}", on_change="rerun"
        )
        if box.open:  # what is closed costs nothing
            with box, ui.errors():
                show()


ui.begin_page("Results")
show_linked_title("Results")
st.caption("What is this model worth?")
chosen = ui.choose_judged()
if chosen is not None:
    show_evidence(*chosen)
ui.show_notice()
