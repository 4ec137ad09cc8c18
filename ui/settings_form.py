"""The form of a new run: presets, the few settings that matter, all others folded away."""

import json
from dataclasses import replace
from typing import Any

import streamlit as st

from polyp_core import jobs, words, workspace
from polyp_core.access import check_text
from polyp_core.config import RunConfig
from polyp_core.config.patterns import check_given_pattern
from polyp_core.dataset import Index
from polyp_core.errors import ConfigError, PolypError
from polyp_core.network_size import count_fetched_bytes
from polyp_core.presets import AUGMENTATION_TITLES, PRESETS, Preset
from polyp_core.recipe import FEW_IMAGES, say_fitted
from ui import charts, training_charts
from ui.cost import estimate_run_s, say_cost
from ui.draft import (
    change_preset,
    choose_preset,
    find_draft,
    find_missing_images,
    get_augmentation_name,
    get_base,
    get_fitted,
    get_preset_name,
    load_settings,
    put_setting,
    use_settings,
)
from ui.frame import errors, show_problem, toast_next
from ui.pictures import is_dark
from ui.rate_view import show_rate_finder
from ui.scroll_up import ask_to_scroll_up
from ui.setting_fields import show_setting, show_settings
from ui.setting_words import list_changes
from ui.words import escape

_FETCHES = (
    "As training begins, Keras fetches from storage.googleapis.com what this network has learned "
    "on photographs: about {megabytes:.0f} MB, once, and kept. No image leaves this computer. "
    "Without a connection, give a file: All settings, Network, 'Weights of the backbone'."
)
_GROUPS: dict[str, tuple[str, ...]] = {
    "Steps": ("batch_size", "sampling", "optimizer", "learning_rate", "momentum", "weight_decay",
              "gradient_clip", "label_smoothing", "class_weights", "ema", "mixed_precision"),
    "Schedule": ("schedule", "warm_up", "decay_epochs", "decay_factor"),
    "What is kept": ("monitor", "keep", "early_stopping_patience", "milestones"),
    "Repeat and control": ("seed", "shuffled_labels"),
}  # fmt: skip


def take_settings() -> None:
    """Take settings that were handed over, from a file, a run, the doctor or the search for a rate.

    To be called before the widgets are drawn.
    """
    given = st.session_state.pop("settings to load", None)
    change = st.session_state.pop("setting to change", None)
    if given is not None:
        config, where = given
        said = load_settings(config)
        # The form unfolds.
        st.session_state["settings given"] = st.session_state.get("settings given", 0) + 1
        st.toast(
            f"The settings stand {where}, under 'All settings'. {said}",
            icon=":material/tune:", duration="long",
        )  # fmt: skip
    if change is not None:
        put_setting(*change)


def show_form(index: Index, *, is_busy: bool) -> None:
    """Preset cards, epochs, what is changed, and the button that starts.

    Args:
        index: The images to train on.
        is_busy: Whether a run trains already, so that this one would wait.
    """
    (draft, problem), num_images = find_draft(), len(index.select("train"))
    missing = find_missing_images()
    if missing:
        st.warning(
            f"The images of the run that these settings are from, '{escape(missing)}', are no "
            "longer there. The settings stand below; the images are those chosen above.",
            icon=":material/warning:",
        )
    st.caption(_describe_input(draft))
    cards = st.grid(len(PRESETS), min_column_width=140)
    for preset in PRESETS.values():
        with cards, st.container(border=True, height="stretch"):
            _show_preset(preset, num_images)
    if draft.model.network == "transfer" and not draft.model.backbone_weights:
        megabytes = count_fetched_bytes(draft.model) / 1e6
        st.info(_FETCHES.format(megabytes=megabytes), icon=":material/cloud_download:")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        with st.container():
            show_setting("training", "epochs")
        _show_start(draft, index, problem or _find_problem(draft, index), is_busy=is_busy)
    _show_changes(draft, problem)
    with st.expander("All settings", icon=":material/tune:", key="all settings"):
        _show_all_settings(draft, index, problem)


def _describe_input(config: RunConfig) -> str:
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


def _show_preset(preset: Preset, num_images: int) -> None:
    """A card that says what a preset costs and gives."""
    fitted, is_chosen = get_fitted(preset.name), preset.name == get_preset_name()
    model = fitted.model
    st.markdown(f"**{preset.title}**")
    st.write(preset.summary)
    epochs = words.say_number(fitted.training.epochs, "epoch")
    duration = words.say_duration(estimate_run_s(preset, fitted, num_images))
    if fitted.training.early_stopping_patience:
        duration, epochs = duration.replace("about", "at most"), f"up to {epochs}"
    colour = {1: "grey", 3: "colour"}[model.channels]
    st.caption(
        f"{model.image_size_px} × {model.image_size_px} px in {colour}, "
        f"{words.say_count(preset.num_weights)} weights. {duration.capitalize()} for {epochs}."
    )
    st.space("stretch")
    st.button(
        "Chosen" if is_chosen else "Choose",
        key=f"choose {preset.name}",
        icon=":material/check:" if is_chosen else None,
        disabled=is_chosen,
        width="stretch",
        on_click=change_preset,
        args=(preset.name,),
    )


def _show_changes(draft: RunConfig, problem: str) -> None:
    """What differs from the preset, always in sight."""
    base, preset = get_base(), PRESETS[get_preset_name()]
    changes = list_changes(draft, base)
    fitted = f", fitted to these images: {say_fitted(base)}" if preset.is_fitted else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        if problem:
            st.caption("A setting cannot be used as it stands.")
        elif not changes:
            st.caption(f"Exactly as the preset {preset.title} has it{fitted}.")
            return
        else:
            st.caption(f"Other than in the preset: {escape(', '.join(changes))}")
        st.button(
            "Back to the preset", type="tertiary", icon=":material/undo:", key="back to preset",
            on_click=choose_preset, args=(get_preset_name(),),
        )  # fmt: skip


def _show_all_settings(draft: RunConfig, index: Index, problem: str) -> None:
    groups = [*_GROUPS, "Network", "Save and load"]
    for tab, name in zip(st.tabs(groups), groups, strict=True):
        with tab:
            if name == "Network":
                show_settings("model")
                show_settings("training", only=("frozen_epochs", "backbone_rate"))
            elif name in _GROUPS:
                show_settings("training", only=_GROUPS[name])
            _show_more(name, draft, index, problem)
    st.caption("The settings of the augmentation stand on the data page, beside the images.")


def _show_more(name: str, draft: RunConfig, index: Index, problem: str) -> None:
    """What a group has besides its settings."""
    training = draft.training
    if name == "Steps":
        show_rate_finder(draft, index, problem)
    elif name == "Schedule":
        figure = training_charts.draw_schedule(training, is_dark=is_dark())
        st.plotly_chart(figure, config=charts.PLAIN, key="schedule", alt="Learning rate by epoch")
    elif name == "What is kept":
        within = [str(epoch) for epoch in training.milestones if epoch <= training.epochs]
        st.caption(
            f"Milestones within these {words.say_number(training.epochs, 'epoch')}: "
            f"{', '.join(within) or 'none'}."
        )
    elif name == "Save and load":
        _show_files(draft, problem)


def _show_files(draft: RunConfig, problem: str) -> None:
    """Settings as a file; the address of the page is a link to the same."""
    st.download_button(
        "Save settings", json.dumps(draft.to_dict(), indent=1), "settings.json",
        "application/json", icon=":material/download:", on_click="ignore", key="save settings",
        disabled=bool(problem),
    )  # fmt: skip
    upload = st.file_uploader(
        "Load settings", type="json", key="settings file",
        help="A file that was saved here, or a run's config.json. The folder of the images in it "
        "is not taken over.",
    )  # fmt: skip
    if upload is not None:
        with errors():
            config = _read_settings(upload.name, upload.getvalue())
            # Once only: what is changed afterwards must not be taken back at every rerun.
            if st.session_state.get("loaded file") != upload.file_id:
                st.session_state["loaded file"] = upload.file_id
                use_settings(config, "here")
    st.caption("The address of this page holds the settings too: copy it to share them.")


def _read_settings(name: str, content: bytes) -> RunConfig:
    """The settings of a file, without the folder of the images."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"'{name}' holds no settings. Expected JSON, as saved here. Choose another."
        ) from error
    is_run = isinstance(values, dict) and "settings" in values  # a run's config.json
    config = RunConfig.from_dict(_leave_out_pattern(values["settings"] if is_run else values))
    check_text(config.model.backbone_weights)  # a file may come from anybody, as a link may
    return replace(config, data=replace(config.data, folder=""))


def _leave_out_pattern(values: object) -> Any:  # noqa: ANN401 - which the settings check
    """The settings of a file without a patient pattern that could take for ever; that is said."""
    data = values.get("data") if isinstance(values, dict) else None
    pattern = data.get("group_pattern") if isinstance(data, dict) else None
    if not isinstance(values, dict) or not isinstance(data, dict) or not isinstance(pattern, str):
        return values
    try:
        check_given_pattern(pattern)
    except ConfigError as error:
        show_problem(f"The file's data.group_pattern is left out. {error}")
        return values | {"data": data | {"group_pattern": ""}}
    return values


def _show_start(draft: RunConfig, index: Index, problem: str, *, is_busy: bool) -> None:
    """The button with what it costs; where the settings cannot be used, why it is grey."""
    label = "Add to the queue" if is_busy else "Train"
    num_images = len(index.select("train"))
    if st.button(
        label, icon=":material/play_arrow:", key="train", disabled=bool(problem),
        type="secondary" if num_images < FEW_IMAGES else "primary",  # a study suits few better
    ):  # fmt: skip
        with st.spinner("Starting the worker …"):
            run = jobs.start_run(draft, index, workspace.get_runs_dir())
            jobs.wait_for_worker(run)
        if is_busy:
            toast_next(f"{escape(run.name)} waits for its turn.", "hourglass_empty")
        else:
            st.session_state["run"] = run.name
            ask_to_scroll_up()
        st.rerun()
    if problem:
        show_problem(problem)
        return
    st.caption(f"{num_images} images{say_cost(draft, num_images)}")


def _find_problem(draft: RunConfig, index: Index) -> str:
    try:
        jobs.check_fit(draft, index)
    except PolypError as error:
        return str(error)
    return ""
