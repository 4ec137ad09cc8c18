"""Home: what this is, the state of things, and the next step. Holds nothing a page needs."""

import streamlit as st

import ui
from polyp_core.access import is_demo
from ui.home_cards import is_first_visit, show_data_card, show_predict_card, show_train_card

IS_DEMO = is_demo()
STAYS = (
    "What you upload stays in the memory of the computer that runs this demo and is gone when you "
    "close the page" if IS_DEMO
    else "Your images, models and results stay in folders on this computer"
)  # fmt: skip
DOES = (
    "look at the data, see how a model has learned from it, and ask the model about new images."
    if IS_DEMO
    else "look at the data, train, and ask the model about new images. All on this computer, "
    "without writing code."
)

ui.begin_page("Home")
st.title("From your images to a classifier you can trust")
st.caption(f"Ultrasound, calcified or not, or any two classes: {DOES}")
# Their places stand whether anything is in them or not, so that the cards stay where they are.
with st.container():
    if is_first_visit():
        st.markdown(
            "**New here? Three clicks, about two minutes:** check the demo images, train on them, "
            "ask about an image that no training has seen. Each card then says what its step has "
            "shown."
        )
index = None
with st.container(), ui.errors():
    if ui.get_data_config().folder:
        index = ui.load_index(ui.get_data_config())
# A button that moves under the mouse is not clicked: all three cards stand before one is filled,
# and in each the button stands above what takes its time to come.
cards = st.grid(3, min_column_width=230)
data, train, predict = (cards.container(border=True, height="stretch") for _ in range(3))
with data:
    show_data_card(index)
with train:
    show_train_card(index)
with predict:
    show_predict_card(index)

with st.expander("What is synthetic here, and what stays private"):
    st.markdown(
        "The demo images are drawn by a computer from the physics of ultrasound, and the demo "
        "model has seen only those: it shows how everything works and knows nothing about "
        f"patients. {STAYS}; the app sends nothing anywhere and counts no visits."
    )
ui.show_notice()
