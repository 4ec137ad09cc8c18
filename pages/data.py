"""Can I trust these images, and what will training see?"""

import streamlit as st

import ui
from polyp_core.access import is_demo
from ui.copy_link import show_linked_title

ui.begin_page("Data")
ui.take_next_source()
ui.read_link({"view": ui.VIEWS, "size": ui.GRID_SIZES})
show_linked_title("Data")
st.caption("Can these images be trusted, and what will training see of them?")
ui.show_source_choice()
with ui.errors():
    if ui.has_folder():
        config = ui.get_data_config()
        index, audit = ui.load_index(config), ui.load_audit(config)
        ui.fit_draft(index)
        ui.show_verdict(index, audit)
        ui.show_counts(index)
        ui.show_findings(index, audit)
        ui.show_clean_split(index, audit, config)
        st.header("What training will see", anchor=False)
        ui.show_region(index, config)
        ui.show_augmentation(index)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if not is_demo() and st.button(
                "Train on these images", type="primary", icon=":material/arrow_forward:"
            ):
                ui.go_to("pages/train.py")
