"""The address bar holds what decides the pictures: a copied link opens the same grid.

It also outlives a reload, which a session does not.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields

import streamlit as st

from polyp_core.access import check_text, is_demo, leads_to_network
from polyp_core.config import SECTIONS, DataConfig, Section
from polyp_core.config.patterns import check_given_pattern
from polyp_core.errors import PolypError
from polyp_core.presets import PRESETS
from polyp_core.processes import NAME_PATTERN
from ui import address
from ui.draft import (
    choose_preset,
    find_draft,
    forget_images,
    get_base,
    has_own_folder,
    put_setting,
)
from ui.frame import errors, show_problem

MAX_EPOCH = 1000
_NUMBERS = {"image": 1_000_000, "epoch": MAX_EPOCH}  # the largest of each
_VIEW = ("view", "size", *_NUMBERS)
_MAX_LENGTH = 1000
_PATTERN = "data.group_pattern"
_WEIGHTS = "model.backbone_weights"  # the one setting besides the folder that is a path


def read_link(choices: Mapping[str, Collection[str | int]] | None = None) -> None:
    """Take the settings of a link that was opened; one that the app wrote itself says nothing.

    To be called before the widgets are drawn.

    Args:
        choices: What may be chosen of each name, such as the views there are.
    """
    given = st.query_params.to_dict()
    if not given or not address.is_opened("link", given):
        return
    forget_images()  # what the link asks for stays, whatever was fitted to other images
    if given.get("preset") in PRESETS:
        choose_preset(given["preset"])
    if given.get("folder"):
        _take_folder(given["folder"][:_MAX_LENGTH])
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
            show_problem(
                f"The link's '{name}' is left out. Expected a whole number from 1 to {largest:,}. "
                f"Received: {text[:40]!r}"
            )
    # The network's settings serve training alone; on a demo its size would cost others time.
    left_out = ("model.",) if is_demo() else ()
    _take_settings(
        {k: text for k, text in given.items() if "." in k and not k.startswith(left_out)}
    )


def _take_folder(folder: str) -> None:
    """Choose the folder of a link, unless even looking for it would do harm."""
    if is_demo():
        show_problem(
            "The link's folder is left out: this shared demo shows the demo images alone. Expected "
            "a link without one. Open it on your own computer."
        )
        return
    with errors():
        check_text(folder)
        st.session_state["source"], st.session_state["folder"] = "folder", folder


def write_link(*, with_view: bool) -> None:
    """Put the folder and what differs from the preset into the address bar.

    Args:
        with_view: Also what the preview shows.
    """
    draft, preset = find_draft()[0], get_base()
    shown = {"preset": draft.preset}
    if has_own_folder():
        shown["folder"] = draft.data.folder
    usual: dict[str, Section] = {"augmentation": preset.augmentation, "model": preset.model,
             "training": preset.training, "data": DataConfig(folder=draft.data.folder)}  # fmt: skip
    for section in SECTIONS:
        for item in fields(usual[section]):
            value = getattr(getattr(draft, section), item.name)
            if value != getattr(usual[section], item.name):
                shown[f"{section}.{item.name}"] = _write(value)
    if with_view:
        shown |= {name: str(st.session_state[name]) for name in _VIEW if name in st.session_state}
    elif "run" in st.session_state:  # the one that is looked at
        shown["run"] = st.session_state["run"]
    address.note("link", shown)
    if st.query_params.to_dict() != shown:
        st.query_params.from_dict(shown)


def _write(value: object) -> str:
    """Exactly: `str` gives every digit of a number."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _take_settings(texts: dict[str, str]) -> None:
    """Of what is known all together, as some settings fit only so; or else what can be used."""
    given = {key: f"{key}={text[:_MAX_LENGTH]}" for key, text in texts.items() if _is_known(key)}
    if _PATTERN in given:
        try:
            check_given_pattern(given[_PATTERN].partition("=")[2].strip())
        except PolypError as error:
            del given[_PATTERN]
            show_problem(f"The link's {_PATTERN} is left out. {error}")
    weights = given.get(_WEIGHTS, "").partition("=")[2]
    if leads_to_network(weights):
        del given[_WEIGHTS]
        with errors():
            check_text(weights)
    for key in texts.keys() - given.keys() - {"data.folder", _WEIGHTS, _PATTERN}:
        show_problem(f"The link's '{key[:40]}' is left out: there is no such setting.")
    config, taken = get_base(), list(given)
    try:
        config = config.with_settings(list(given.values()))
    except PolypError:
        taken = []
        for key, assignment in given.items():
            try:
                config = config.with_settings([assignment])
                taken.append(key)
            except PolypError as error:
                show_problem(f"The link's {key} is left out. {error}")
    for section, _, name in (key.partition(".") for key in taken):
        put_setting(section, name, getattr(getattr(config, section), name))


def _is_known(key: str) -> bool:
    """Whether a link may hold this setting; the folder has a name of its own there."""
    section, _, name = key.partition(".")
    known = SECTIONS[section].__dataclass_fields__ if section in SECTIONS else {}
    return name in known and key != "data.folder"
