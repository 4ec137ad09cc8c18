"""A widget for every setting; label, bounds, unit and help come from the config."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from polyp_core.config import RunConfig
from polyp_core.config.settings import parse_value
from polyp_core.errors import ConfigError
from polyp_core.presets import PRESETS
from ui.draft import change_preset, find_draft, get_base, get_key, get_preset_name
from ui.setting_words import say_choice
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


def show_preset_choice(label: str) -> None:
    """A select box of the presets; choosing one sets every setting to its value."""
    st.session_state["preset choice"] = get_preset_name()
    st.selectbox(
        label,
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        key="preset choice",
        on_change=lambda: change_preset(st.session_state["preset choice"]),
    )


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
    limits, key = item.metadata, get_key(section_name, name)
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
    return st.session_state.get(get_key(section, key), usual) in used_by


def _show_numbers(section_name: str, name: str, label: str, help_text: str) -> None:
    """A text field for several whole numbers; the setting itself is kept as numbers."""
    key = get_key(section_name, name)
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
