"""The draft: what the next run will be, kept in the session while the visitor moves about."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from polyp_core import workspace
from polyp_core.config import AugmentConfig, DataConfig, RunConfig, Section
from polyp_core.config.settings import parse_value
from polyp_core.errors import ConfigError
from polyp_core.presets import AUGMENTATION_PRESETS, AUGMENTATION_TITLES, PRESETS
from ui.words import escape

# A setting of training: the one it depends on, and the choices that use it.
_USED_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "momentum": ("optimizer", ("sgd",)),
    "warm_up": ("schedule", ("cosine",)),
    "decay_epochs": ("schedule", ("step", "plateau")),
    "decay_factor": ("schedule", ("step", "plateau")),
}

_CHOICES: dict[Any, str] = {
    "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "sgd": "SGD",
    "val_loss": "validation loss", "val_accuracy": "validation accuracy",
    "val_auc": "validation AUC", "loss": "training loss", "accuracy": "training accuracy",
    "plateau": "at a plateau", "step": "in steps", 1: "1 (grey)", 3: "3 (colour)",
}  # fmt: skip


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


def get_augmentation_name() -> str | None:
    """Which complete choice of augmentation the draft has; None for one of its own."""
    augmentation = get_draft().augmentation
    return next((n for n, choice in AUGMENTATION_PRESETS.items() if choice == augmentation), None)


def choose_augmentation(name: str | None) -> None:
    """Set every setting of the augmentation to those of a complete choice."""
    if name is None:  # the chosen one was pressed again: its settings stay
        return
    for item in fields(AugmentConfig):
        put_setting("augmentation", item.name, getattr(AUGMENTATION_PRESETS[name], item.name))


def put_setting(section_name: str, name: str, value: Any) -> None:  # noqa: ANN401 - any plain type
    """Change one setting of the draft."""
    st.session_state[_setting_key(section_name, name)] = value


def hand_over(section_name: str, name: str, value: Any) -> None:  # noqa: ANN401 - any plain type
    """Change one setting whose widget is drawn already: noted here, taken as the page starts."""
    st.session_state["setting to change"] = (section_name, name, value)
    st.rerun()


def describe_input(config: RunConfig) -> str:
    """What of the images is used and how it is changed, in a line."""
    region = {"off": "whole pictures", "automatic": "the scan area", "box": "a box of each picture"}
    name = get_augmentation_name()
    if name is not None:
        augmentation = AUGMENTATION_TITLES[name].lower()
    else:
        preset = PRESETS[config.preset]
        is_own = config.augmentation != preset.config.augmentation
        augmentation = "your own settings" if is_own else f"as {preset.title} has it"
    return (
        f"Trained on: {region[config.data.region]}. Augmentation: {augmentation}. Both are chosen "
        "on the data page."
    )


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
    changes = _get_changes("data", DataConfig())
    if st.session_state.get("source") == "folder":
        folder = str(st.session_state.get("folder") or "").strip(" \"'")
        return DataConfig(**changes | {"folder": folder})
    # The demo set's names and patients are known; only the region can be chosen.
    changes = {name: value for name, value in changes.items() if name.startswith("region")}
    return DataConfig(folder=str(workspace.get_demo_data_dir().absolute()), **changes)


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


def load_settings(config: RunConfig) -> None:
    """Set every setting to a configuration's, but not the images it was made for."""
    choose_preset(config.preset if config.preset in PRESETS else get_preset_name())
    base = PRESETS[get_preset_name()].config
    for section_name in ("augmentation", "model", "training"):
        for item in fields(getattr(base, section_name)):
            value = getattr(getattr(config, section_name), item.name)
            if value != getattr(getattr(base, section_name), item.name):
                put_setting(section_name, item.name, value)
    for name in ("region", "region_box"):
        put_setting("data", name, getattr(config.data, name))


def show_settings(section_name: str, only: tuple[str, ...] | None = None) -> None:
    """A widget for every setting of a section, or for some of them."""
    grid = st.grid(3, min_column_width=180)
    for item in fields(getattr(RunConfig(), section_name)):
        if only is None or item.name in only:
            with grid:
                show_setting(section_name, item.name)


def show_setting(section_name: str, name: str) -> None:
    """A widget for one setting; label, bounds, unit and help come from the config."""
    # Not from the draft: a setting must stay on the screen when another one is wrong.
    section = getattr(PRESETS[get_preset_name()].config, section_name)
    item = {item.name: item for item in fields(section)}[name]
    limits, key = item.metadata, _setting_key(section_name, name)
    is_part = limits["unit"] == "part"  # shown in percent
    label = limits["label"] + (f" ({limits['unit']})" if limits["unit"] and not is_part else "")
    st.session_state.setdefault(key, getattr(section, name))
    options: dict[str, Any] = {
        "key": key, "help": _explain(limits), "persist_state": "session",
        "disabled": not _is_used(section_name, name),
    }  # fmt: skip
    if item.type == tuple[int, ...]:
        _show_numbers(label, key, limits["help"])
    elif item.type is bool:
        st.toggle(label, **options, wrap=True)
    elif limits["choices"]:
        st.selectbox(label, limits["choices"], format_func=say_choice, **options)
    elif item.type is str:
        st.text_input(label, **options)
    elif item.type is int:
        st.number_input(label, int(limits["low"]), int(limits["high"]), step=1, **options)
    elif section_name == "training" and not is_part:
        step = getattr(section, name) / 2 or 0.01
        st.number_input(label, limits["low"], limits["high"], step=step, format="%.4g", **options)
    elif item.type is float:
        span = limits["high"] - limits["low"]
        step = _find_step(100 * span) / 100 if is_part else _find_step(span)
        form = "percent" if is_part else "%.4g"
        st.slider(label, limits["low"], limits["high"], step=step, format=form, **options)


def _explain(limits: Mapping[str, Any]) -> str:
    """The help text of a setting, and its bounds: a field takes nothing beyond them."""
    bounds = limits["low"], limits["high"]
    if None in bounds:
        return str(limits["help"])
    form = "{:.0%}" if limits["unit"] == "part" else "{:,.10g}"
    low, high = map(form.format, bounds)
    return f"{limits['help']} From {low} to {high}."


def _is_used(section_name: str, name: str) -> bool:
    """Whether a setting plays a part beside the others; grey otherwise."""
    key, used_by = _USED_BY.get(name, ("", ()))
    if section_name != "training" or not key:
        return True
    usual = getattr(PRESETS[get_preset_name()].config.training, key)
    return st.session_state.get(_setting_key("training", key), usual) in used_by


def _show_numbers(label: str, key: str, help_text: str) -> None:
    """A text field for several whole numbers; the setting itself is kept as numbers."""
    text_key, problem_key = f"text of {key}", f"problem of {key}"

    def take() -> None:
        try:
            st.session_state[key] = parse_value(st.session_state[text_key], tuple[int, ...], label)
        except ConfigError as error:
            st.session_state[problem_key] = str(error)

    st.session_state[text_key] = ", ".join(map(str, st.session_state[key]))
    st.text_input(label, key=text_key, help=help_text, on_change=take)
    problem = st.session_state.pop(problem_key, None)
    if problem:
        st.caption(f":red[{escape(problem)} The field stands as it was.]")


def _find_step(span: float) -> float:
    """A step that gives at most a hundred or two places."""
    return next(step for step, least in ((1.0, 19.0), (0.5, 10.0), (0.1, 0.0)) if span > least)


def list_changes(config: RunConfig) -> list[str]:
    """What differs from the preset, in words such as "Rotation 30 °"."""
    preset, changes = PRESETS.get(config.preset, PRESETS["thesis"]).config, []
    for section_name in ("augmentation", "model", "training"):
        section = getattr(config, section_name)
        for item in fields(section):
            value = getattr(section, item.name)
            if value != getattr(getattr(preset, section_name), item.name):
                changes.append(
                    f"{item.metadata['label']} {say_value(value, item.metadata['unit'])}"
                )
    return changes


def say_choice(value: Any) -> str:  # noqa: ANN401 - any plain type
    """A choice of a setting by its usual name, such as "AdamW"."""
    return _CHOICES.get(value, str(value))


def say_value(value: Any, unit: str) -> str:  # noqa: ANN401 - any plain type
    """A setting's value in words, such as "30 °" or "20 %"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return say_choice(value)
    if isinstance(value, tuple):
        return f"{', '.join(map(str, value)) or 'none'} {unit}".strip()
    if unit == "part":
        return f"{value * 100:g} %"
    return f"{value:g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()


def _get_changes(section_name: str, section: Section) -> dict[str, Any]:
    keys = {item.name: _setting_key(section_name, item.name) for item in fields(section)}
    return {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}


def _setting_key(section_name: str, name: str) -> str:
    return f"setting {section_name}.{name}"
