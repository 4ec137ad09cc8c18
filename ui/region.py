"""The region of interest on the screen: what part of each picture is used."""

import streamlit as st

from polyp_core.answers import outline_region as outline
from polyp_core.config import DataConfig
from polyp_core.dataset import Index
from polyp_core.images import find_box
from ui import charts
from ui.draft import put_setting
from ui.frame import errors
from ui.pictures import is_dark, show_row, shrink
from ui.readers import read_row

__all__ = ["outline", "show_region"]

_MODES = {"off": "Off", "automatic": "Automatic", "box": "A box"}
_NUM_EXAMPLES = 8
_WHOLE = (0, 0, 100, 100)


def show_region(index: Index, config: DataConfig) -> None:
    """Choose a region, see it on the originals, and accept it."""
    expander = st.expander(
        f":material/crop: Region of interest: {_MODES[config.region].lower()}",
        key="region open",
        on_change="rerun",
    )
    if expander.open:
        with expander:
            _edit(index, config)


@st.fragment
def _edit(index: Index, config: DataConfig) -> None:
    with errors():
        _choose(index, config)


def _choose(index: Index, config: DataConfig) -> None:
    st.session_state.setdefault("region mode", config.region)
    mode = st.segmented_control(
        "Region",
        list(_MODES),
        format_func=lambda mode: _MODES[mode],
        required=True,
        key="region mode",
        help=DataConfig.__dataclass_fields__["region"].metadata["help"],
    )
    box = _edit_box(index, config) if mode == "box" else _WHOLE
    draft = DataConfig(folder=config.folder, region=str(mode), region_box=box)
    _show_examples(index, draft)
    is_accepted = (draft.region, draft.region_box) == (config.region, config.region_box)
    if st.button(
        "In use" if is_accepted else "Use this region", type="primary", disabled=is_accepted
    ):
        put_setting("data", "region", draft.region)
        put_setting("data", "region_box", draft.region_box)
        st.rerun()


def _edit_box(index: Index, config: DataConfig) -> tuple[int, int, int, int]:
    """Drawn with the mouse on the first picture, or set with two sliders."""
    left, top, right, bottom = config.region_box
    st.session_state.setdefault("region x", (left, right))
    st.session_state.setdefault("region y", (top, bottom))
    row = st.container(horizontal=True, gap="medium", vertical_alignment="center")
    with row, st.container(width=charts.DRAWING_PX):
        picture = read_row(index, int(index.images.index[0])).pixels
        figure = charts.draw_picture(shrink(picture, 500), is_dark=is_dark())
        st.plotly_chart(
            figure,
            config=charts.PLAIN,
            key="region drawing",
            on_select=_take_drawing,
            selection_mode="box",
            width="content",
            alt="The first picture; drag over it to draw the box",
        )
        st.caption("Drag over the picture to draw the box.")
    with row, st.container(width=260):
        st.slider("Left to right (%)", 0, 100, key="region x")
        st.slider("Top to bottom (%)", 0, 100, key="region y")
    (left, right), (top, bottom) = st.session_state["region x"], st.session_state["region y"]
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _take_drawing() -> None:
    boxes = st.session_state["region drawing"]["selection"]["box"]
    if boxes:
        for name, axis in (("region x", "x"), ("region y", "y")):
            low, high = sorted(boxes[-1][axis])
            low, high = round(min(max(low, 0), 99)), round(min(max(high, 1), 100))
            st.session_state[name] = (low, max(high, low + 1))


def _show_examples(index: Index, config: DataConfig) -> None:
    """Originals from the whole data set, what is cut away darkened."""
    step = max(1, len(index.images) // _NUM_EXAMPLES)
    numbers = list(index.images.index[::step])[:_NUM_EXAMPLES]
    pictures, captions, shares = [], [], []
    for number in numbers:
        picture = read_row(index, number)
        box = find_box(picture, config)
        pictures.append(outline(picture.pixels, box))
        height_px, width_px = picture.pixels.shape[:2]
        shares.append((box[2] - box[0]) * (box[3] - box[1]) / (width_px * height_px))
        captions.append(index.images["path"][number].rsplit("/", 1)[-1])
    show_row(pictures, captions)
    low, high = (f"{share * 100:.0f} %" for share in (min(shares), max(shares)))
    kept = low if low == high else f"{low} to {high}"
    if config.region == "automatic" and min(shares) == 1:
        st.caption("Nothing is found to cut away in these examples: the scan fills the pictures.")
        return
    st.caption(
        f"Examples from the whole data set; {kept} of the area is kept. Training, testing and "
        "prediction will use the same part."
    )
