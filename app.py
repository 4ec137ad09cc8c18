"""Home: what this is, the state of things, and the next step. Holds nothing a page needs."""

from contextlib import suppress

import numpy as np
import streamlit as st

import ui
from polyp_core import words, workspace
from polyp_core.access import check_file, is_demo
from polyp_core.decision import read_worth
from polyp_core.errors import PolypError
from polyp_core.prediction import draw_overlay
from polyp_core.runs import Run
from ui import charts

IS_DEMO = is_demo()
STAYS = (
    "What you upload stays in the memory of the computer that runs this demo and is gone when you "
    "close the page" if IS_DEMO
    else "Your images, models and results stay in folders on this computer"
)  # fmt: skip


def crop(picture: np.ndarray) -> np.ndarray:
    """The middle in 5:4, so that the cards' pictures are of one height."""
    height_px, width_px = picture.shape[:2]
    new_width_px = min(width_px, height_px * 5 // 4)
    new_height_px = min(height_px, width_px * 4 // 5)
    top, left = (height_px - new_height_px) // 2, (width_px - new_width_px) // 2
    return picture[top : top + new_height_px, left : left + new_width_px]


def say_worth(run: Run) -> str:
    """What a model is worth, with n, interval and baseline; "not tested" where nobody knows."""
    metrics = read_worth(run)
    return words.say_worth(*words.get_main_level(metrics)) if metrics else "not tested"


def show_example(run: Run) -> None:
    """An image that a model was validated on, with its evidence; nothing where there is none."""
    index = run.read_index()
    rows = index.select("validation").sort_values("label", ascending=False, kind="stable")
    if run == workspace.DEMO_RUN:  # which ships without its images
        paths = ui.list_demo_pictures()[:1]
    else:
        paths = [index.folder / path for path in rows["path"][:1]]
    for path in paths:
        check_file(path)
        prediction = ui.open_classifier(run).classify(path)
        positive = prediction.class_name == run.read_class_names()[1]
        overlay = draw_overlay(prediction, 0.7, positive=positive)
        alt = f"An ultrasound image with the evidence for {prediction.class_name} in colour"
        ui.show_image(crop(overlay), alt)


ui.begin_page("Home")
st.title("From your images to a classifier you can trust")
st.caption(
    "Ultrasound, calcified or not, or any two classes: look at the data, train, and ask the model "
    f"about new images. {'' if IS_DEMO else 'All on this computer, without writing code.'}"
)

index = None
with ui.errors():
    if ui.get_data_config().folder:
        index = ui.load_index(ui.get_data_config())
newest = workspace.list_finished_runs(workspace.get_runs_dir())[0]
best = workspace.find_best_run(workspace.get_runs_dir())
active = ui.find_active_run()
cards = st.grid(3, min_column_width=230)
with cards, st.container(border=True, height="stretch"):
    st.subheader(":material/imagesmode: Data", anchor=False)
    if index is None:
        st.write("No folder is chosen yet, or it cannot be used")
    else:
        name = "Your images" if ui.has_own_folder() else "Demo images"
        st.write(
            f"{name}: **{len(index.images)}**, {' or '.join(map(ui.escape, index.class_names))}"
        )
        row = index.images[index.images["label"] == 1].iloc[0]
        with ui.errors():
            picture = ui.read_picture(str(index.folder / row["path"]), row["sha256"])
            ui.show_image(crop(picture.pixels), "An image of the data set")
    st.space("stretch")
    st.page_link("pages/data.py", label="Look at the data", icon=":material/arrow_forward:")

with cards, st.container(border=True, height="stretch"):
    st.subheader(":material/model_training: Train", anchor=False)
    if active is not None:
        st.write(f"**{ui.escape(ui.name_run(active))}** is at work now")
    elif best == workspace.DEMO_RUN:
        st.write(
            "How the demo model learned" if IS_DEMO
            else "No run of your own yet; this is the demo model's"
        )  # fmt: skip
    else:
        st.write(f"Best run **{ui.escape(ui.name_run(best))}**: {say_worth(best)}")
    figure = charts.draw_small_curve((active or best).read_history(), is_dark=ui.is_dark())
    st.plotly_chart(figure, config=ui.CHART, alt="Validation accuracy by epoch")
    st.space("stretch")
    st.page_link(
        "pages/results.py",
        label="Look at the results",
        icon=":material/monitoring:",
        query_params={"run": "demo" if best == workspace.DEMO_RUN else best.name},
    )
    label = "See how a model trains" if IS_DEMO else "Train a model"
    st.page_link("pages/train.py", label=label, icon=":material/arrow_forward:")

with cards, st.container(border=True, height="stretch"):
    st.subheader(":material/center_focus_strong: Predict", anchor=False)
    st.write(f"Ready: **{ui.escape(ui.name_run(newest))}**: {say_worth(newest)}")
    with suppress(PolypError):  # whose images may be gone, or not to be shown here
        show_example(newest)
    st.space("stretch")
    st.page_link("pages/predict.py", label="Classify an image", icon=":material/arrow_forward:")

with st.expander("What is synthetic here, and what stays private"):
    st.markdown(
        "The demo images are drawn by a computer from the physics of ultrasound, and the demo "
        "model has seen only those: it shows how everything works and knows nothing about "
        f"patients. {STAYS}; the app sends nothing anywhere and counts no visits."
    )
ui.show_notice()
