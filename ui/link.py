"""The address bar holds the settings of the preview: a copied link opens the same grid."""

from collections.abc import Collection, Mapping
from dataclasses import fields

import streamlit as st

from polyp_core.config import RunConfig
from polyp_core.errors import PolypError
from polyp_core.presets import PRESETS
from ui.draft import choose_preset, get_draft, get_preset_name, put_setting
from ui.frame import show_problem

MAX_EPOCH = 1000
_NUMBERS = {"image": 1_000_000, "epoch": MAX_EPOCH}  # the largest of each
_SECTIONS = ("augmentation",)


def read_link(choices: Mapping[str, Collection[str | int]]) -> None:
    """Take the settings of a link that was opened; one that this page wrote itself says nothing.

    To be called before the widgets are drawn.

    Args:
        choices: What may be chosen of each name, such as the views there are.
    """
    given = st.query_params.to_dict()
    if not given or given == st.session_state.get("link"):
        return
    st.session_state["link"] = given
    if given.get("preset") in PRESETS:
        choose_preset(given["preset"])
    for name, allowed in choices.items():
        for choice in allowed:
            if given.get(name) == str(choice):
                st.session_state[name] = choice
    for name, largest in _NUMBERS.items():
        text = given.get(name, "")
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= largest:
            st.session_state[name] = int(text)
        elif text:
            show_problem(f"The link's '{name}' is left out: {text[:40]!r} is no number of one.")
    _take_settings({key: text for key, text in given.items() if "." in key})


def write_link() -> None:
    """Put what differs from the preset, and the view, into the address bar."""
    draft, preset = get_draft(), PRESETS[get_preset_name()].config
    shown = {"preset": draft.preset}
    for section in _SECTIONS:
        for item in fields(getattr(draft, section)):
            value = getattr(getattr(draft, section), item.name)
            if value != getattr(getattr(preset, section), item.name):
                shown[f"{section}.{item.name}"] = (
                    f"{value:g}" if isinstance(value, float) else str(value)
                )
    if draft.training.seed != preset.training.seed:
        shown["training.seed"] = str(draft.training.seed)
    names = ("view", "size", *_NUMBERS)
    shown |= {name: str(st.session_state[name]) for name in names if name in st.session_state}
    st.session_state["link"] = shown
    if st.query_params.to_dict() != shown:
        st.query_params.from_dict(shown)


def _take_settings(texts: dict[str, str]) -> None:
    for key, text in texts.items():
        section, _, name = key.partition(".")
        if section not in _SECTIONS and key != "training.seed":
            continue
        try:
            changed = RunConfig().with_settings([f"{key}={text}"])
        except PolypError as error:
            show_problem(f"The link's '{key[:40]}' is left out. {error}")
            continue
        put_setting(section, name, getattr(getattr(changed, section), name))
