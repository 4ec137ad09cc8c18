"""The draft: what the next run will be, kept in the session while the visitor moves about."""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from polyp_core import workspace
from polyp_core.access import check_folder, is_demo
from polyp_core.config import AugmentConfig, DataConfig, RunConfig, Section
from polyp_core.config.settings import parse_value
from polyp_core.dataset import Index
from polyp_core.errors import AccessError, ConfigError
from polyp_core.presets import AUGMENTATION_PRESETS, AUGMENTATION_TITLES, PRESETS
from polyp_core.recipe import FITTED, Facts, find_facts, fit_preset
from ui.words import escape, name_settings

# A setting: the one it depends on, and the choices that use it.
_USED_BY: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "training.momentum": ("training", "optimizer", ("sgd",)),
    "training.warm_up": ("training", "schedule", ("cosine",)),
    "training.decay_epochs": ("training", "schedule", ("step", "plateau")),
    "training.decay_factor": ("training", "schedule", ("step", "plateau")),
    "training.frozen_epochs": ("model", "network", ("transfer",)),
    "training.backbone_rate": ("model", "network", ("transfer",)),
    "model.filters": ("model", "network", ("plain", "residual")),
    "model.blocks": ("model", "network", ("residual",)),
    "model.padding": ("model", "network", ("plain",)),
    "model.batch_normalization": ("model", "network", ("plain",)),
    "model.backbone": ("model", "network", ("transfer",)),
    "model.backbone_weights": ("model", "network", ("transfer",)),
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
        key = _setting_key(section_name, name)
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


def show_settings(section_name: str, only: tuple[str, ...] | None = None) -> None:
    """A widget for every setting of a section, or for some of them."""
    grid = st.grid(3, min_column_width=180)
    for item in fields(getattr(RunConfig(), section_name)):
        if only is None or item.name in only:
            with grid, st.container():  # what is wrong with a value stands below it
                show_setting(section_name, item.name)


def show_setting(section_name: str, name: str) -> None:
    """A widget for one setting; label, bounds, unit and help come from the config."""
    section = getattr(get_base(), section_name)
    item = {item.name: item for item in fields(section)}[name]
    limits, key = item.metadata, _setting_key(section_name, name)
    is_part = limits["unit"] == "part"  # shown in percent
    label = limits["label"] + (f" ({limits['unit']})" if limits["unit"] and not is_part else "")
    if st.session_state.get(key) is None:  # not chosen yet, or a field was emptied
        st.session_state[key] = getattr(section, name)
    options: dict[str, Any] = {
        "key": key, "help": _explain(limits), "persist_state": "session",
        "disabled": not _is_used(section_name, name),
    }  # fmt: skip
    if item.type == tuple[int, ...]:
        _show_numbers(section_name, name, label, limits["help"])
    elif item.type is bool:
        st.toggle(label, **options, wrap=True)
    elif limits["choices"]:
        st.selectbox(label, limits["choices"], format_func=say_choice, **options)
    elif item.type is str:
        st.text_input(label, **options)
    elif item.type is int or (section_name == "training" and not is_part):
        # Without bounds: the browser would keep what is beyond them to itself.
        step = 1 if item.type is int else getattr(section, name) / 2 or 0.01
        form = "%d" if item.type is int else "%.4g"
        value = st.number_input(label, value=None, step=step, format=form, **options)
        if value is not None and not limits["low"] <= value <= limits["high"]:
            st.caption(f":red[{_say_bounds(limits)}]")
    elif item.type is float:
        span = limits["high"] - limits["low"]
        step = _find_step(100 * span) / 100 if is_part else _find_step(span)
        form = "percent" if is_part else "%.4g"
        st.slider(label, limits["low"], limits["high"], step=step, format=form, **options)


def _explain(limits: Mapping[str, Any]) -> str:
    """The help text of a setting, and its bounds."""
    return f"{limits['help']} {_say_bounds(limits)}".strip()


def _say_bounds(limits: Mapping[str, Any]) -> str:
    bounds = limits["low"], limits["high"]
    if None in bounds:
        return ""
    form = "{:.0%}" if limits["unit"] == "part" else "{:,.10g}"
    low, high = map(form.format, bounds)
    return f"From {low} to {high}."


def _is_used(section_name: str, name: str) -> bool:
    """Whether a setting plays a part beside the others; grey otherwise."""
    section, key, used_by = _USED_BY.get(f"{section_name}.{name}", ("", "", ()))
    if not key:
        return True
    usual = getattr(getattr(get_base(), section), key)
    return st.session_state.get(_setting_key(section, key), usual) in used_by


def _show_numbers(section_name: str, name: str, label: str, help_text: str) -> None:
    """A text field for several whole numbers; the setting itself is kept as numbers."""
    key = _setting_key(section_name, name)
    text_key, problem_key = f"text of {key}", f"problem of {key}"

    def take() -> None:
        try:
            value = parse_value(st.session_state[text_key], tuple[int, ...], label)
            if name == "milestones":
                value = tuple(sorted(set(value)))
            replace(getattr(find_draft()[0], section_name), **{name: value})  # refuses what is not
            st.session_state[key] = value
        except ConfigError as error:
            st.session_state[problem_key] = str(error)

    st.session_state[text_key] = ", ".join(map(str, st.session_state[key]))
    st.text_input(label, key=text_key, help=help_text, on_change=take)
    problem = st.session_state.pop(problem_key, None)
    if problem:
        st.caption(f":red[{escape(name_settings(problem))}. The field stands as it was.]")


def _find_step(span: float) -> float:
    """A step that gives at most a hundred or two places."""
    return next(step for step, least in ((1.0, 19.0), (0.5, 10.0), (0.1, 0.0)) if span > least)


def list_changes(config: RunConfig, base: RunConfig | None = None) -> list[str]:
    """What differs from the preset, in words such as "Rotation 30 °".

    Args:
        config: To be compared.
        base: The preset as it was fitted; where that is not known, what can be fitted is left out.
    """
    preset = PRESETS.get(config.preset, PRESETS["thesis"])
    left_out = FITTED if base is None and preset.is_fitted else ()
    base, changes = base or preset.config, []
    for section_name in ("augmentation", "model", "training"):
        section = getattr(config, section_name)
        for item in fields(section):
            value = getattr(section, item.name)
            if (section_name, item.name) in left_out:
                continue
            if value != getattr(getattr(base, section_name), item.name):
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
        return f"{', '.join(map(str, value))} {unit}".strip() if value else "none"
    if unit == "part":
        return f"{value * 100:g} %"
    return f"{value:g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()


def _get_changes(section_name: str, section: Section) -> dict[str, Any]:
    keys = {item.name: _setting_key(section_name, item.name) for item in fields(section)}
    values = {name: st.session_state.get(key) for name, key in keys.items()}
    return {name: value for name, value in values.items() if value is not None}


def _setting_key(section_name: str, name: str) -> str:
    return f"setting {section_name}.{name}"
