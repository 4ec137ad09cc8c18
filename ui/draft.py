"""The draft: what the next run will be, kept in the session while the visitor moves about."""

import os
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from polyp_core import workspace
from polyp_core.access import check_folder, is_demo
from polyp_core.config import AugmentConfig, DataConfig, RunConfig, Section
from polyp_core.dataset import Index
from polyp_core.errors import AccessError, ConfigError
from polyp_core.presets import AUGMENTATION_PRESETS, PRESETS
from polyp_core.recipe import FITTED, Facts, find_facts, fit_preset


def get_preset_name() -> str:
    """The chosen preset."""
    name = st.session_state.get("preset", "compact")
    return name if name in PRESETS else "compact"


def choose_preset(name: str) -> None:
    """Choose a preset, which sets every setting to its value."""
    st.session_state["preset"] = name
    for key in [str(key) for key in st.session_state]:
        if key.startswith("setting ") and not key.startswith("setting data."):
            del st.session_state[key]


def change_preset(name: str) -> None:
    """As `choose_preset`, and say so where that takes back an augmentation of the visitor's own."""
    before = get_base().augmentation
    with suppress(ConfigError):
        own = replace(before, **_get_changes("augmentation", before))
        if own not in (before, PRESETS[name].config.augmentation):
            text = f"{PRESETS[name].title} brings its own augmentation: yours was taken back."
            st.session_state["toast"] = text, "tune"
    choose_preset(name)


def get_base() -> RunConfig:
    """The chosen preset, fitted to the chosen images once they are known."""
    return get_fitted(get_preset_name())


def get_fitted(name: str) -> RunConfig:
    """A preset, fitted to the chosen images once they are known."""
    return fit_preset(name, st.session_state.get("facts", Facts(0, 0)))


def forget_images() -> None:
    """Take the draft as it stands for what was asked for, whatever it was fitted to."""
    st.session_state.pop("facts", None)


def fit_draft(index: Index) -> None:
    """Fit the draft to images, but for what was changed in it; before the widgets are drawn."""
    facts, before = find_facts(index), get_base()
    if st.session_state.get("facts") == facts:
        return
    is_first = "facts" not in st.session_state
    st.session_state["facts"] = facts
    for section_name, name in FITTED:
        key = get_key(section_name, name)
        is_own = st.session_state.get(key) != getattr(getattr(before, section_name), name)
        if not is_first and not is_own:
            del st.session_state[key]


def get_augmentation_name() -> str | None:
    """Which complete choice of augmentation the draft has; None for one of its own."""
    augmentation = find_draft()[0].augmentation
    return next((n for n, choice in AUGMENTATION_PRESETS.items() if choice == augmentation), None)


def choose_augmentation(name: str | None) -> None:
    """Set every setting of the augmentation to those of a complete choice."""
    if name is None:  # the chosen one was pressed again: its settings stay
        return
    for item in fields(AugmentConfig):
        put_setting("augmentation", item.name, getattr(AUGMENTATION_PRESETS[name], item.name))


def get_key(section_name: str, name: str) -> str:
    """Where the session keeps a setting, which is also the key of its widget."""
    return f"setting {section_name}.{name}"


def put_setting(section_name: str, name: str, value: Any) -> None:  # noqa: ANN401 - any plain type
    """Change one setting of the draft."""
    st.session_state[get_key(section_name, name)] = value


def hand_over(section_name: str, name: str, value: Any) -> None:  # noqa: ANN401 - any plain type
    """Change one setting whose widget is drawn already: noted here, taken as the page starts."""
    st.session_state["setting to change"] = (section_name, name, value)
    st.rerun()


def find_draft() -> tuple[RunConfig, str]:
    """The preset with the changes made on the pages, and why these cannot be used, or nothing.

    What cannot be used counts as the preset has it, so that the rest of a page stays.
    """
    preset, problem = replace(get_base(), data=get_data_config()), ""
    sections: dict[str, Any] = {}
    for name in ("augmentation", "model", "training"):
        section = getattr(preset, name)
        try:
            sections[name] = replace(section, **_get_changes(name, section))
        except ConfigError as error:
            problem = problem or str(error)
    try:
        return replace(preset, **sections), problem
    except ConfigError as error:  # each can be used, but not together
        return preset, problem or str(error)


def get_data_config() -> DataConfig:
    """The chosen images: the demo set, or the user's folder.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    changes = _get_changes("data", DataConfig())
    if not has_own_folder():
        # The demo set's names and patients are known; only the region can be chosen.
        changes = {name: value for name, value in changes.items() if name.startswith("region")}
    return DataConfig(**changes | {"folder": get_folder()})


def has_own_folder() -> bool:
    """Whether other images than the demo set are chosen; never on a shared demo."""
    return st.session_state.get("source") == "folder" and not is_demo()


def get_folder() -> str:
    """The folder or manifest of the chosen images; "" where none is given yet."""
    if has_own_folder():
        return str(st.session_state.get("folder") or "").strip(" \"'")
    return str(workspace.get_demo_data_dir().absolute())


def use_settings(config: RunConfig, where: str = "below") -> None:
    """Hand settings to the form for the next run, and draw the page anew.

    Args:
        config: Its images are taken over where it names a folder.
        where: The form stands, as seen from what was pressed.
    """
    st.session_state["settings to load"] = (config, where)
    st.rerun()


def load_settings(config: RunConfig) -> str:
    """Set every setting to a configuration's, and choose its images where they are others.

    Returns:
        What became of the images, in a sentence.
    """
    choose_preset(config.preset if config.preset in PRESETS else get_preset_name())
    forget_images()  # what is loaded stays as it is with other images too
    base = get_base()
    for section_name in ("augmentation", "model", "training"):
        for item in fields(getattr(base, section_name)):
            value = getattr(getattr(config, section_name), item.name)
            is_fitted = (section_name, item.name) in FITTED
            if is_fitted or value != getattr(getattr(base, section_name), item.name):
                put_setting(section_name, item.name, value)
    return _load_images(config.data)


def _load_images(data: DataConfig) -> str:
    st.session_state.pop("missing images", None)
    is_other, said = not _is_chosen(data.folder), "The images stay the same."
    is_demo_set = data.folder == str(workspace.get_demo_data_dir().absolute())
    if is_other and not is_demo_set and _is_gone(data.folder):
        is_other, said = False, "The run's images are gone."
        st.session_state["missing images"] = (data.folder, get_folder())
    if is_other:
        st.session_state["source"] = "demo" if is_demo_set else "folder"
        st.session_state["folder"] = "" if is_demo_set else data.folder
        said = "The run's images are chosen too."
    for item in fields(data):  # how other images are read belongs to them
        if item.name.startswith("region") or (is_other and item.name != "folder"):
            put_setting("data", item.name, getattr(data, item.name))
    return said


def _is_gone(folder: str) -> bool:
    try:
        return not check_folder(folder).exists()
    except AccessError:  # which the page says where it opens the folder
        return False


def _is_chosen(folder: str) -> bool:
    """Whether a folder's images are those chosen; no folder at all asks for no others."""
    if st.session_state.get("source") == "upload":
        return not folder
    return folder in ("", os.path.abspath(os.path.expanduser(get_folder())))


def find_missing_images() -> str:
    """The folder that was asked for with settings and is gone, until other images are chosen."""
    missing, chosen = st.session_state.get("missing images", ("", ""))
    return missing if chosen == get_folder() else ""


def _get_changes(section_name: str, section: Section) -> dict[str, Any]:
    keys = {item.name: get_key(section_name, item.name) for item in fields(section)}
    values = {name: st.session_state.get(key) for name, key in keys.items()}
    return {name: value for name, value in values.items() if value is not None}
