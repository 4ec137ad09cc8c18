"""What training will see: sliders, and what they do to the images."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import streamlit as st

from polyp_core.augmentation import (
    apply_parameters,
    describe_parameters,
    draw_parameters,
    list_cautions,
)
from polyp_core.config import RunConfig
from polyp_core.config.augmentation import GEOMETRY, IMAGING
from polyp_core.dataset import Index
from polyp_core.images import find_box
from polyp_core.presets import AUGMENTATION_PRESETS, AUGMENTATION_TITLES, PRESETS
from ui.draft import (
    choose_augmentation,
    find_draft,
    get_augmentation_name,
)
from ui.frame import errors, show_problem
from ui.link import MAX_EPOCH, write_link
from ui.pictures import show_image, shrink
from ui.readers import read_fitted, read_row
from ui.region import outline
from ui.setting_fields import show_preset_choice, show_setting
from ui.words import escape

GRID_SIZES = (8, 16, 32)
NUM_AVERAGED = 100
_CONTROLS_PX = 720
VIEWS = {
    "samples": "One image",
    "pairs": "Many images",
    "difference": "Difference",
    "average": "Average of 100",
}
Numbers = dict[str, list[str]]  # a table of what was drawn, by column
_FIRST = ("rotation_deg", "zoom", "width_shift", "height_shift", "gain_db")


@st.fragment
def show_augmentation(index: Index) -> None:
    """Sliders, and what they do to the images."""
    with errors():
        with st.container(horizontal=True, gap="large"):
            _show_presets()
            st.session_state.setdefault("view", "samples")
            st.segmented_control(
                "Show",
                list(VIEWS),
                format_func=lambda view: VIEWS[view],
                required=True,
                key="view",
                persist_state="session",
                wrap=True,
            )
        draft, problem = find_draft()
        settings_column, picture_column = st.columns([1, 3], gap="medium")
        # Of limited height, so that the pictures stay in sight however much is opened.
        with settings_column, st.container(height=_CONTROLS_PX, border=False):
            _show_controls(draft)
        with picture_column:
            if problem:
                show_problem(f"{problem}. Until it is mended the preset's own counts here.")
            _show_pictures(index, draft)
            write_link(with_view=True)


def _show_presets() -> None:
    st.session_state["augmentation choice"] = get_augmentation_name()
    st.segmented_control(
        "Augmentation",
        list(AUGMENTATION_PRESETS),
        format_func=lambda name: AUGMENTATION_TITLES[name],
        key="augmentation choice",
        on_change=lambda: choose_augmentation(st.session_state["augmentation choice"]),
        help="Complete choices: none, the 2020 thesis' own, or what another position of the probe, "
        "gain and scanner would do to the same tissue. No button is marked where the settings are "
        "others.",
    )


def _show_controls(draft: RunConfig) -> None:
    """Five sliders; the others behind a click, and how often each acts."""
    augmentation, preset = draft.augmentation, PRESETS[draft.preset]
    if get_augmentation_name() is None:
        is_own = augmentation != preset.config.augmentation
        st.caption("Your own settings" if is_own else f"As {preset.title} is trained")
    cautions = list_cautions(augmentation)
    for name in _FIRST:
        _show_amount(name, cautions)
    rows = GEOMETRY + IMAGING
    for title, group in (("Geometry", GEOMETRY), ("Scanner", IMAGING)):
        hidden = [row for row in group if row[0] not in _FIRST]
        num_active = sum(bool(getattr(augmentation, row[0])) for row in hidden if len(row) > 1)
        label = f"{title} ({num_active} on)" if num_active else title
        with st.expander(label, key=f"group {title}"):
            for row in hidden:
                _show_amount(row[0], cautions)
                if getattr(augmentation, row[0]):
                    for name in row[2:]:
                        show_setting("augmentation", name)
    with st.expander("Chances", key="group chances"):
        for row in rows:
            if len(row) > 1 and getattr(augmentation, row[0]):
                show_setting("augmentation", row[1])
    with st.expander("Network", key="group network"):
        show_preset_choice("Network")
        show_setting("training", "seed")


def _show_amount(name: str, cautions: dict[str, str]) -> None:
    show_setting("augmentation", name)
    if name in cautions:
        st.caption(f":material/warning: {escape(cautions[name])}")


def _show_pictures(index: Index, draft: RunConfig) -> None:
    rows = index.select("train")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        positions = rows["label"].to_numpy() == 1
        st.session_state.setdefault("image", int(np.argmax(positions)) + 1)
        st.session_state["image"] = min(st.session_state["image"], len(rows))
        image = st.number_input(
            f"Image (of {len(rows):,})".replace(",", " "),
            1, len(rows), key="image", width=150, persist_state="session",
            help="Of the training images, in the order of their names.",
        )  # fmt: skip
        st.session_state.setdefault("epoch", 1)
        epoch = st.number_input(
            "Epoch", 1, MAX_EPOCH, key="epoch", width=140, persist_state="session",
            help="What will the network see in this epoch? Every epoch draws anew, from the seed, "
            "the epoch and the image alone.",
        )  # fmt: skip
        st.session_state.setdefault("size", GRID_SIZES[1])
        if st.session_state["view"] != "average":
            st.selectbox("Pictures", GRID_SIZES, key="size", width=90, persist_state="session")
        size = st.session_state["size"]
        with_numbers = st.toggle("Drawn numbers", key="numbers", persist_state="session")
    show: Callable[[Index, int, range, RunConfig], Numbers] = {
        "samples": _show_samples,
        "pairs": _show_pairs,
        "difference": _show_differences,
        "average": _show_average,
    }[st.session_state["view"]]
    number = int(rows.index[int(image) - 1])
    drawn = show(index, number, range(int(epoch), int(epoch) + int(size)), draft)
    if with_numbers:
        st.table(pd.DataFrame(drawn), hide_index=True)


def _show_samples(index: Index, number: int, epochs: range, draft: RunConfig) -> Numbers:
    """One image, and what training makes of it in epoch after epoch."""
    drawn = _show_grid(index, number, epochs, draft, lambda augmented, _: augmented)
    st.caption(
        f"{_describe(index, number)} Small: exactly what the network, {_describe_input(draft)}, "
        f"is trained on in epochs {epochs[0]} to {epochs[-1]}."
    )
    return drawn


def _show_differences(index: Index, number: int, epochs: range, draft: RunConfig) -> Numbers:
    """How far each sample is from the original."""

    def subtract(augmented: np.ndarray, original: np.ndarray) -> np.ndarray:
        difference = np.abs(augmented.astype(np.int16) - original)
        doubled: np.ndarray = np.minimum(2 * difference, 255).astype(np.uint8)
        return doubled

    drawn = _show_grid(index, number, epochs, draft, subtract)
    st.caption(
        f"{_describe(index, number)} Small: what was changed in epochs {epochs[0]} to "
        f"{epochs[-1]}; black is unchanged, white a change by half of all greys."
    )
    return drawn


def _show_grid(
    index: Index,
    number: int,
    epochs: range,
    draft: RunConfig,
    change: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Numbers:
    original, drawn = read_fitted(index, number, draft), []
    grid = st.grid(5, min_column_width=84, gap="xsmall")
    with grid.cell(column_span=2, row_span=2):
        _show_original(index, number, draft)
    for epoch in epochs:
        augmented, said = augment(original, number, epoch, draft)
        drawn.append(said)
        with grid:
            show_image(change(augmented, original), f"Augmented, epoch {epoch}: {said}")
    return {"Epoch": [str(epoch) for epoch in epochs], "Drawn": drawn}


def _show_pairs(index: Index, number: int, epochs: range, draft: RunConfig) -> Numbers:
    """Images of training, each above its augmented self of one epoch."""
    numbers = list(index.select("train").index)
    start = numbers.index(number)
    shown = (numbers[start:] + numbers[:start])[: len(epochs)]
    drawn = []
    grid = st.grid(8, min_column_width=72, gap="small")
    for each in shown:
        original = read_fitted(index, each, draft)
        augmented, said = augment(original, each, epochs[0], draft)
        drawn.append(said)
        path = index.images["path"][each]
        with grid, st.container(gap="xxsmall"):
            show_image(original, path)
            show_image(augmented, f"{path}, augmented: {said}")
    st.caption(
        f"Above: originals as the network sees them, {_describe_input(draft)}. Below: exactly what "
        f"it is trained on in epoch {epochs[0]}."
    )
    return {"Image": [escape(index.images["path"][each]) for each in shown], "Drawn": drawn}


def _show_average(index: Index, number: int, epochs: range, draft: RunConfig) -> Numbers:
    """What a hundred draws have in common, and where they differ."""
    original = read_fitted(index, number, draft)
    averaged = range(epochs[0], epochs[0] + NUM_AVERAGED)
    drawn: list[str] = []
    average, spread = _summarise(_draw_in_turn(original, number, averaged, draft, drawn))
    for column, image, alt, said in zip(
        st.columns(3, gap="small"),
        (original, average, spread),
        ("The original", "The average", "The spread"),
        (
            "The original, as the network sees it.",
            f"The average of epochs {averaged[0]} to {averaged[-1]}: what stays sharp never moves, "
            "what is smeared out may stand anywhere in there.",
            "The spread over these epochs: bright where the augmentation reaches.",
        ),
        strict=True,
    ):
        with column:
            show_image(image, alt)
            st.caption(said)
    return {"Epoch": [str(epoch) for epoch in averaged], "Drawn": drawn}


def _draw_in_turn(
    original: np.ndarray, number: int, epochs: range, draft: RunConfig, drawn: list[str]
) -> Iterator[np.ndarray]:
    """One augmented picture after the other; what was drawn is added to a list."""
    for epoch in epochs:
        augmented, said = augment(original, number, epoch, draft)
        drawn.append(said)
        yield augmented


def _summarise(pictures: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Average, and three standard deviations; by whole sums, so that none need be kept."""
    total = next(pictures).astype(np.int64)
    squares, n = total * total, 1
    for picture in pictures:
        values = picture.astype(np.int64)
        total, squares, n = total + values, squares + values * values, n + 1
    deviation = np.sqrt(n * squares - total * total) / n
    return (
        (total / n).round().astype(np.uint8),
        np.minimum(3 * deviation, 255).astype(np.uint8),
    )


def _show_original(index: Index, number: int, draft: RunConfig) -> None:
    picture = read_row(index, number)
    shown = outline(picture.pixels, find_box(picture, draft.data))
    show_image(shrink(shown), "The original picture, the used region outlined")


def augment(
    original: np.ndarray, number: int, epoch: int, draft: RunConfig
) -> tuple[np.ndarray, str]:
    """The very array that training will put into its batch, and the drawn numbers in words."""
    parameters = draw_parameters(
        draft.augmentation, seed=draft.training.seed, epoch=epoch, image_number=number
    )
    augmented = apply_parameters(original, parameters, draft.augmentation.fill_mode)
    return augmented, ", ".join(describe_parameters(parameters)) or "unchanged"


def _describe(index: Index, number: int) -> str:
    row = index.images.loc[number]
    patient = f", {row['group']}" if row["group"] else ""
    frame = f", frame {row['frame'] + 1}" if row["frame"] else ""
    return (
        f"Large: {escape(row['path'])} ({escape(index.class_names[row['label']])}"
        f"{escape(patient)}{frame}; {row['width_px']} × {row['height_px']} px)."
    )


def _describe_input(draft: RunConfig) -> str:
    """Such as "128 × 128 px in grey (Compact)"."""
    size_px, kind = draft.model.image_size_px, {1: "grey", 3: "colour"}[draft.model.channels]
    return f"{size_px} × {size_px} px in {kind} ({PRESETS[draft.preset].title})"
