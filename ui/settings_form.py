"""The form of a new run: presets, the few settings that matter, all others folded away."""

import contextlib
import json

import streamlit as st

from polyp_core import jobs, words, workspace
from polyp_core.config import RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import ConfigError, PolypError
from polyp_core.presets import PRESETS, Preset
from ui import charts, training_charts
from ui.draft import (
    choose_preset,
    describe_input,
    get_draft,
    get_preset_name,
    list_changes,
    load_settings,
    put_setting,
    show_setting,
    show_settings,
)
from ui.frame import show_problem
from ui.pictures import is_dark
from ui.rate_view import show_rate_finder
from ui.words import escape

_GROUPS: dict[str, tuple[str, ...]] = {
    "Steps": ("batch_size", "optimizer", "learning_rate", "momentum", "weight_decay",
              "gradient_clip", "label_smoothing", "class_weights", "ema", "mixed_precision"),
    "Schedule": ("schedule", "warm_up", "decay_epochs", "decay_factor"),
    "What is kept": ("monitor", "keep", "early_stopping_patience", "milestones"),
    "Repeat and control": ("seed", "shuffled_labels"),
}  # fmt: skip


def take_settings() -> None:
    """Take settings that were handed over, from a file, a run, the doctor or the search for a rate.

    To be called before the widgets are drawn.
    """
    values = st.session_state.pop("settings to load", None)
    change = st.session_state.pop("setting to change", None)
    try:
        if values is not None:
            load_settings(RunConfig.from_dict(values))
            # The form unfolds.
            st.session_state["settings given"] = st.session_state.get("settings given", 0) + 1
            st.toast(
                "The settings stand in the form for the next run; its images are still those "
                "chosen on the data page.",
                icon=":material/tune:",
            )
    except (ConfigError, TypeError) as error:
        show_problem(f"These settings cannot be used. {error}")
        return
    if change is not None:
        put_setting(*change)


def show_form(index: Index, *, is_busy: bool) -> None:
    """Preset cards, epochs, what is changed, and the button that starts.

    Args:
        index: The images to train on.
        is_busy: Whether a run trains already, so that this one would wait.
    """
    num_images = len(index.select("train"))
    input_line = st.container()
    cards = st.grid(len(PRESETS), min_column_width=200)
    for preset in PRESETS.values():
        with cards, st.container(border=True, height="stretch"):
            _show_preset(preset, num_images)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        show_setting("training", "epochs")
    changes_line = st.container()
    with st.expander("All settings", icon=":material/tune:", key="all settings"):
        _show_all_settings(index)
    # Last, so that settings which do not fit together can be mended where they stand.
    draft = get_draft()
    input_line.caption(describe_input(draft))
    _show_changes(changes_line, draft)
    with row:
        _show_start(draft, index, is_busy=is_busy)


def _show_preset(preset: Preset, num_images: int) -> None:
    """A card that says what a preset costs and gives."""
    model, is_chosen = preset.config.model, preset.name == get_preset_name()
    st.markdown(f"**{preset.title}**")
    st.write(preset.summary)
    seconds = preset.ms_per_image / 1000 * num_images
    colour = {1: "grey", 3: "colour"}[model.channels]
    st.caption(
        f"{model.image_size_px} × {model.image_size_px} px in {colour}, "
        f"{words.say_count(preset.num_weights)} weights, "
        f"{words.say_duration(seconds)} an epoch. Gave AUC {preset.demo_auc:.2f} on the demo "
        "images in 30 epochs."
    )
    st.space("stretch")
    st.button(
        "Chosen" if is_chosen else "Choose",
        key=f"choose {preset.name}",
        icon=":material/check:" if is_chosen else None,
        disabled=is_chosen,
        width="stretch",
        on_click=choose_preset,
        args=(preset.name,),
    )


def _show_changes(place: st.delta_generator.DeltaGenerator, draft: RunConfig) -> None:
    """What differs from the preset, always in sight."""
    changes, title = list_changes(draft), PRESETS[get_preset_name()].title
    with place, st.container(horizontal=True, vertical_alignment="center"):
        if not changes:
            st.caption(f"Exactly as the preset {title} has it.")
            return
        st.caption(f"Other than in the preset: {escape(', '.join(changes))}")
        st.button(
            "Back to the preset", type="tertiary", icon=":material/undo:", key="back to preset",
            on_click=choose_preset, args=(get_preset_name(),),
        )  # fmt: skip


def _show_all_settings(index: Index) -> None:
    groups = [*_GROUPS, "Network", "Save and load"]
    for tab, name in zip(st.tabs(groups), groups, strict=True):
        with tab:
            if name == "Network":
                show_settings("model")
            elif name in _GROUPS:
                show_settings("training", only=_GROUPS[name])
            # Settings that do not fit together are told below, once, and mended here.
            with contextlib.suppress(ConfigError):
                _show_more(name, index)
    st.caption("The settings of the augmentation stand on the data page, beside the images.")


def _show_more(name: str, index: Index) -> None:
    """What a group has besides its settings."""
    if name == "Steps":
        show_rate_finder(get_draft(), index)
    elif name == "Schedule":
        figure = training_charts.draw_schedule(get_draft().training, is_dark=is_dark())
        st.plotly_chart(figure, config=charts.PLAIN, key="schedule", alt="Learning rate by epoch")
    elif name == "What is kept":
        training = get_draft().training
        within = [str(epoch) for epoch in training.milestones if epoch <= training.epochs]
        st.caption(
            f"Milestones within these {words.say_number(training.epochs, 'epoch')}: "
            f"{', '.join(within) or 'none'}."
        )
    elif name == "Save and load":
        _show_files()


def _show_files() -> None:
    """Settings as a file; the address of the page is a link to the same."""
    st.download_button(
        "Save settings", json.dumps(get_draft().to_dict(), indent=1), "settings.json",
        "application/json", icon=":material/download:", on_click="ignore", key="save settings",
    )  # fmt: skip
    upload = st.file_uploader(
        "Load settings", type="json", key="settings file",
        help="A file that was saved here, or a run's config.json. The folder of the images in it "
        "is not taken over.",
    )  # fmt: skip
    # Once only: what is changed afterwards must not be taken back at every rerun.
    if upload is not None and st.session_state.get("loaded file") != upload.file_id:
        st.session_state["loaded file"] = upload.file_id
        try:
            values = json.loads(upload.getvalue())
        except ValueError:
            show_problem(
                f"'{upload.name}' holds no settings. Expected JSON, as saved here. Choose another."
            )
            return
        is_run = isinstance(values, dict) and "settings" in values  # a run's config.json
        st.session_state["settings to load"] = values["settings"] if is_run else values
        st.rerun()
    st.caption("The address of this page holds the settings too: copy it to share them.")


def _show_start(draft: RunConfig, index: Index, *, is_busy: bool) -> None:
    """The button with what it costs; where the settings do not fit the images, why it is grey."""
    problem = _find_problem(draft, index)
    label = "Add to the queue" if is_busy else "Train"
    if st.button(
        label, type="primary", icon=":material/play_arrow:", key="train", disabled=bool(problem)
    ):
        with st.spinner("Starting the worker …"):
            run = jobs.start_run(draft, index, workspace.get_runs_dir())
            jobs.wait_for_worker(run)
        if is_busy:
            st.toast(f"{escape(run.name)} waits for its turn.", icon=":material/hourglass_empty:")
        else:
            st.session_state["run"] = run.name
        st.rerun()
    if problem:
        show_problem(problem)
        return
    preset, num_images = PRESETS[get_preset_name()], len(index.select("train"))
    seconds = preset.ms_per_image / 1000 * num_images * draft.training.epochs
    # The pace was measured with the preset's own network.
    is_measured = draft.model == preset.config.model
    estimate = f", {words.say_duration(seconds)} on two cores" if is_measured else ""
    st.caption(f"{num_images} images{estimate}")


def _find_problem(draft: RunConfig, index: Index) -> str:
    try:
        jobs.check_fit(draft, index)
    except PolypError as error:
        return str(error)
    return ""
