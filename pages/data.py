"""Can I trust these images, and what will training see?"""

import numpy as np
import streamlit as st

import ui
from polyp_core import audit, words
from polyp_core.augmentation import augment_image
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.images import fit_image
from polyp_core.presets import PRESETS
from ui import charts

NUM_SAMPLES = 16
VIEWS = {"one": "One image in 16 epochs", "many": "16 images in epoch 1"}
AUGMENTATIONS = (
    "rotation_deg", "width_shift", "height_shift", "shear_deg", "zoom", "horizontal_flip",
    "fill_mode",
)  # fmt: skip


def show_verdict(index: Index) -> None:
    """The findings, a box each, then how many images there are of what."""
    findings = audit.find_findings(index)
    patients = f" of {index.images['group'].nunique()} patients" if index.has_groups else ""
    if not findings:
        apart = (
            "No patient is both in training and in validation."
            if index.has_groups
            else "No copy is both in training and in validation; patients are unknown."
        )
        st.success(
            f"**Fit to train:** {len(index.images)} images{patients}, all readable. {apart} "
            f"{audit.say_limit(index)}",
            icon=":material/check_circle:",
        )
    for finding in findings:
        is_error = finding.severity == "error"
        verdict = "Do not trust a result from this." if is_error else "Train with care."
        text = f"**{verdict}** {ui.escape(finding.title)} {ui.escape(finding.advice)}"
        (st.error if is_error else st.warning)(text, icon=":material/warning:")
        if finding.files:
            with st.expander(f"The {len(finding.files)} files"):
                st.dataframe({"File": finding.files, "Why": finding.reasons}, hide_index=True)
    figure = charts.draw_counts(index, ui.get_class_colours(), is_dark=ui.is_dark())
    st.plotly_chart(figure, config=ui.CHART, alt="Images by class in training and validation")
    if index.num_other_files:
        others = words.say_number(index.num_other_files, "other file")
        st.caption(f"{others} in the folder, no images by their names, play no part.")


@st.fragment
def show_augmentation(index: Index) -> None:
    """Sliders, and what they do to the images."""
    settings_column, picture_column = st.columns([1, 3], gap="medium")
    with settings_column:
        ui.show_preset_choice("As the network of this preset sees it")
        for name in AUGMENTATIONS:
            ui.show_setting("augmentation", name)
        ui.show_setting("training", "seed")
    with picture_column, ui.errors():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            view = st.segmented_control(
                "Show",
                list(VIEWS),
                format_func=lambda view: VIEWS[view],
                default="one",
                required=True,
                key="view",
            )
            rows = index.select("train")
            first = int(rows.index[rows["label"] == 1][0])
            number = st.selectbox(
                "Image" if view == "one" else "Starting at",
                list(rows.index),
                index=list(rows.index).index(first),
                format_func=lambda number: rows["path"][number],
            )
        show = show_one if view == "one" else show_many
        show(index, number, ui.get_draft())


def show_one(index: Index, number: int, draft: RunConfig) -> None:
    """One image, and what training makes of it in each of its first epochs."""
    original = read_fitted(index, number, draft)
    grid = st.grid(5, min_column_width=80, gap="xsmall")
    with grid.cell(column_span=2, row_span=2):
        ui.show_image(original, "The original image")
    for epoch in range(1, NUM_SAMPLES + 1):
        with grid:
            ui.show_image(augment(original, number, epoch, draft), f"Augmented, epoch {epoch}")
    st.caption(
        f"Large: the original as the network sees it, {describe_input(draft)}. Small: exactly what "
        f"it will be trained on in epochs 1 to {NUM_SAMPLES}."
    )


def show_many(index: Index, number: int, draft: RunConfig) -> None:
    """Images of training, each above its augmented self of epoch 1."""
    numbers = list(index.select("train").index)
    start = numbers.index(number)
    grid = st.grid(8, min_column_width=60, gap="xsmall")
    for shown in (numbers[start:] + numbers[:start])[:NUM_SAMPLES]:
        original = read_fitted(index, shown, draft)
        pair = np.concatenate([original, augment(original, shown, 1, draft)])
        with grid:
            ui.show_image(pair, f"{index.images['path'][shown]}, above its augmented self")
    st.caption(
        f"Above: originals as the network sees them, {describe_input(draft)}. Below: exactly what "
        "it will be trained on in epoch 1."
    )


def read_fitted(index: Index, number: int, draft: RunConfig) -> np.ndarray:
    """An image of the index as the network sees it."""
    row = index.images.loc[number]
    picture = ui.read_picture(str(index.folder / row["path"]), row["sha256"])
    return fit_image(picture, draft.model.image_size_px, draft.model.channels)


def augment(original: np.ndarray, number: int, epoch: int, draft: RunConfig) -> np.ndarray:
    """The very array that training will put into its batch."""
    seed = draft.training.seed
    return augment_image(original, draft.augmentation, seed=seed, epoch=epoch, image_number=number)


def describe_input(draft: RunConfig) -> str:
    """Such as "128 × 128 px in grey"."""
    size_px, kind = draft.model.image_size_px, {1: "grey", 3: "colour"}[draft.model.channels]
    return f"{size_px} × {size_px} px in {kind} ({PRESETS[draft.preset].title})"


ui.begin_page("Data")
st.title("Data")
st.caption("Can these images be trusted, and what will training see of them?")
ui.show_source_choice()
with ui.errors():
    if ui.has_folder():
        images = ui.load_index(ui.get_data_config())
        show_verdict(images)
        st.subheader("What training will see", anchor=False)
        show_augmentation(images)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Train on these images", type="primary", icon=":material/arrow_forward:"):
                st.switch_page("pages/train.py")
