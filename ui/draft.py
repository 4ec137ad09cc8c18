"""The draft: what the next run will be, kept in the session while the visitor moves about."""

from dataclasses import fields, replace
from typing import Any

import streamlit as st

from polyp_core import workspace
from polyp_core.config import DataConfig, RunConfig, Section
from polyp_core.presets import PRESETS


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


def get_draft() -> RunConfig:
    """The preset with the changes made on the pages."""
    config = PRESETS[get_preset_name()].config
    sections: dict[str, Any] = {"data": get_data_config()}
    for name in ("augmentation", "model", "training"):
        section = getattr(config, name)
        sections[name] = replace(section, **_get_changes(name, section))
    return replace(config, **sections)


def get_data_config() -> DataConfig:
    """The chosen images: the demo set, or the user's folder.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    if st.session_state.get("source") != "folder":
        return DataConfig(folder=str(workspace.get_demo_data_dir().absolute()))
    config = DataConfig(folder=str(st.session_state.get("folder") or "").strip(" \"'"))
    return replace(config, **_get_changes("data", config))


def has_folder() -> bool:
    """Whether there are images to look at; says what to do where no folder is given yet."""
    if get_data_config().folder:
        return True
    st.info(
        "Give the folder of your images above: with train/ and validation/, or with one folder per "
        "class.",
        icon=":material/folder_open:",
    )
    return False


def show_preset_choice(label: str) -> None:
    """A select box of the presets; choosing one sets every setting to its value."""
    st.session_state["preset choice"] = get_preset_name()
    st.selectbox(
        label,
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        key="preset choice",
        on_change=lambda: choose_preset(st.session_state["preset choice"]),
    )


def show_source_choice() -> None:
    """The demo set, or a folder of the user's own."""
    st.session_state.setdefault("source", "demo")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Images",
            ["demo", "folder"],
            format_func=lambda name: {"demo": "Demo images", "folder": "My own folder"}[name],
            required=True,
            key="source",
            persist_state="session",
        )
        if st.session_state["source"] != "folder":
            return
        st.text_input(
            "Folder on this computer",
            key="folder",
            placeholder="such as C:\\ultrasound\\polyps or ~/polyps",
            help="With train/ and validation/, or with one folder per class. Nothing in it is "
            "changed.",
            persist_state="session",
        )
        with st.popover("How it is read", icon=":material/tune:"):
            for name in ("positive_class", "group_pattern", "validation_fraction"):
                show_setting("data", name)


def show_settings(section_name: str, leave_out: tuple[str, ...] = ()) -> None:
    """A widget for every setting of a section that has one."""
    grid = st.grid(3)
    for item in fields(getattr(RunConfig(), section_name)):
        if item.name not in leave_out:
            with grid:
                show_setting(section_name, item.name)


def show_setting(section_name: str, name: str) -> None:
    """A widget for one setting; label, bounds, unit and help come from the config."""
    # Not from the draft: a setting must stay on the screen when another one is wrong.
    section = getattr(PRESETS[get_preset_name()].config, section_name)
    item = {item.name: item for item in fields(section)}[name]
    limits, key = item.metadata, _setting_key(section_name, name)
    label = limits["label"] + (f" ({limits['unit']})" if limits["unit"] else "")
    st.session_state.setdefault(key, getattr(section, name))
    options: dict[str, Any] = {"key": key, "help": limits["help"], "persist_state": "session"}
    if item.type is bool:
        st.toggle(label, **options, wrap=True)
    elif limits["choices"]:
        st.selectbox(label, limits["choices"], **options)
    elif item.type is str:
        st.text_input(label, **options)
    elif item.type is int:
        st.number_input(label, int(limits["low"]), int(limits["high"]), step=1, **options)
    elif section_name == "training":
        step = getattr(section, name) / 2 or 0.01
        st.number_input(label, limits["low"], limits["high"], step=step, format="%.4g", **options)
    elif item.type is float:
        step = 1.0 if limits["unit"] else 0.05
        st.slider(label, limits["low"], limits["high"], step=step, format="%.4g", **options)


def list_changes(config: RunConfig) -> list[str]:
    """What differs from the preset, in words such as "Rotation 30 °"."""
    preset, changes = PRESETS[config.preset].config, []
    for section_name in ("augmentation", "model", "training"):
        section = getattr(config, section_name)
        for item in fields(section):
            value = getattr(section, item.name)
            if value != getattr(getattr(preset, section_name), item.name):
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                changes.append(f"{item.metadata['label']} {shown} {item.metadata['unit']}".strip())
    return changes


def _get_changes(section_name: str, section: Section) -> dict[str, Any]:
    keys = {item.name: _setting_key(section_name, item.name) for item in fields(section)}
    return {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}


def _setting_key(section_name: str, name: str) -> str:
    return f"setting {section_name}.{name}"
