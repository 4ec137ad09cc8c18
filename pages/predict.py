"""What is in my image, and why?"""

import streamlit as st

import ui
from polyp_core.safe_decoding import warm_decoder
from ui.copy_link import show_linked_title

ui.begin_page("Predict")
warm_decoder()
show_linked_title("Predict")
st.caption("What is in my image, and why?")
ui.scroll_up()
files = ui.gather_files()
run, other = ui.choose_models()
with ui.errors():
    classifier, _ = ui.open_both(run, other)
    if files:
        pattern = classifier.config.data.group_pattern
        intake = ui.take_images(files, pattern, are_numbered=ui.was_numbered(run))
        ui.show_problems(intake)
        answers = ui.answer_all(intake.items, run, other)
        if answers:
            ui.show_results(answers, run, other, ui.find_visit(answers, run, other))
    else:
        ui.show_empty()
ui.show_import()
ui.show_notice()
