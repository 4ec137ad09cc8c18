"""The address bar holds what decides the pictures: a copied link opens the same grid.

It also outlives a reload, which a session does not.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields

import streamlit as st

from polyp_core.config import DataConfig, RunConfig, Section
from polyp_core.errors import PolypError
from polyp_core.presets import PRESETS
from polyp_core.processes import NAME_PATTERN
from ui.draft import choose_preset, get_draft, get_preset_name, put_setting
from ui.frame import show_problem

MAX_EPOCH = 1000
_NUMBERS = {"image": 1_000_000, "epoch": MAX_EPOCH}  # the largest of each
_VIEW = ("view", "size", *_NUMBERS)
_SECTIONS = ("augmentation", "model", "training", "data")
_MAX_LENGTH = 1000


def read_link(choices: Mapping[str, Collection[str | int]] | None = None) -> None:
    """Take the settings of a link that was opened; one that the app wrote itself says nothing.

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
    if given.get("folder"):
        st.session_state["source"] = "folder"
        st.session_state["folder"] = given["folder"][:_MAX_LENGTH]
    if re.fullmatch(NAME_PATTERN, given.get("run", "")):
        st.session_state["run"] = given["run"]
    for name, allowed in (choices or {}).items():
        for choice in allowed:
            if given.get(name) == str(choice):
                st.session_state[name] = choice
    for name, largest in _NUMBERS.items():
        text = given.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= largest:
            st.session_state[name] = int(text)
        elif text:
            show_problem(f"The link's '{name}' is left out: {text[:40]!r} is no number of one.")
    _take_settings({key: text for key, text in given.items() if "." in key})


def write_link(*, with_view: bool) -> None:
    """Put the folder and what differs from the preset into the address bar.

    Args:
        with_view: Also what the preview shows.
    """
    draft, preset = get_draft(), PRESETS[get_preset_name()].config
    shown = {"preset": draft.preset}
    if st.session_state.get("source") == "folder":
        shown["folder"] = draft.data.folder
    usual: dict[str, Section] = {"augmentation": preset.augmentation, "model": preset.model,
             "training": preset.training, "data": DataConfig(folder=draft.data.folder)}  # fmt: skip
    for section in _SECTIONS:
        for item in fields(usual[section]):
            value = getattr(getattr(draft, section), item.name)
            if value != getattr(usual[section], item.name):
                shown[f"{section}.{item.name}"] = _write(value)
    if with_view:
        shown |= {name: str(st.session_state[name]) for name in _VIEW if name in st.session_state}
    elif "run" in st.session_state:  # the one that is looked at
        shown["run"] = st.session_state["run"]
    st.session_state["link"] = shown
    if st.query_params.to_dict() != shown:
        st.query_params.from_dict(shown)


def _write(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _take_settings(texts: dict[str, str]) -> None:
    for key, text in texts.items():
        section, _, name = key.partition(".")
        if section not in _SECTIONS or key == "data.folder":
            continue
        try:
            changed = RunConfig().with_settings([f"{key}={text[:_MAX_LENGTH]}"])
        except PolypError as error:
            show_problem(f"The link's '{key[:40]}' is left out. {error}")
            continue
        put_setting(section, name, getattr(getattr(changed, section), name))
