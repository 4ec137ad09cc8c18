"""Is it learning, and when is it done?"""

from typing import Literal

import streamlit as st

import ui
from polyp_core import jobs, words, workspace
from polyp_core.audit import Audit
from polyp_core.dataset import Index
from polyp_core.presets import PRESETS, Preset
from polyp_core.runs import FINAL_STATES, Run, list_runs
from ui import charts

STATES: dict[str, tuple[str, Literal["gray", "primary", "green", "yellow", "red"]]] = {
    "queued": (":material/hourglass_empty:", "gray"),
    "running": (":material/model_training:", "primary"),
    "finished": (":material/check_circle:", "green"),
    "stopped": (":material/stop_circle:", "gray"),
    "interrupted": (":material/bolt:", "yellow"),
    "failed": (":material/error:", "red"),
}


def show_new_run(index: Index, audit: Audit) -> None:
    """Preset cards, epochs and the button."""
    num_images = len(index.select("train"))
    ui.show_verdict(index, audit)
    input_line = st.container()
    for column, preset in zip(st.columns(len(PRESETS)), PRESETS.values(), strict=True):
        with column:
            show_preset(preset, num_images)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        ui.show_setting("training", "epochs")
    changes_line = st.container()
    with st.expander("All settings", icon=":material/tune:", key="all settings"):
        for name, section in (("model", "Network"), ("training", "Training")):
            st.markdown(f"**{section}**")
            ui.show_settings(name, leave_out=("epochs",))
        st.caption("The settings of the augmentation stand on the data page, beside the images.")
    # Last, so that settings which do not fit together can be mended where they stand.
    draft, preset = ui.get_draft(), PRESETS[ui.get_preset_name()]
    input_line.caption(ui.describe_input(draft))
    changes = ui.list_changes(draft)
    if changes:
        changes_line.caption(f"Other than in the preset: {', '.join(changes)}")
    seconds = preset.ms_per_image / 1000 * num_images * draft.training.epochs
    # The pace was measured with the preset's own network.
    is_measured = draft.model == preset.config.model
    with row:
        if st.button("Train", type="primary", icon=":material/play_arrow:", key="train"):
            with st.spinner("Starting TensorFlow, about 5 s …"):
                run = jobs.start_run(draft, index, workspace.get_runs_dir())
                jobs.wait_for_worker(run)
            st.session_state["run"] = run.name
            st.rerun()
        estimate = f", {words.say_duration(seconds)} on two cores" if is_measured else ""
        st.caption(f"{num_images} images{estimate}")


def show_preset(preset: Preset, num_images: int) -> None:
    """A card that says what a preset costs and gives."""
    model, is_chosen = preset.config.model, preset.name == ui.get_preset_name()
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{preset.title}**")
        st.write(preset.summary)
        seconds = preset.ms_per_image / 1000 * num_images
        colour = {1: "grey", 3: "colour"}[model.channels]
        st.caption(
            f"{model.image_size_px} × {model.image_size_px} px in {colour}, "
            f"{words.say_count(preset.num_weights)} weights, "
            f"{words.say_duration(seconds)} an epoch"
        )
        st.button(
            "Chosen" if is_chosen else "Choose",
            key=f"choose {preset.name}",
            icon=":material/check:" if is_chosen else None,
            disabled=is_chosen,
            width="stretch",
            on_click=ui.choose_preset,
            args=(preset.name,),
        )


def show_run(run: Run) -> None:
    """One run: live while it trains, with its outcome afterwards.

    Raises:
        RunError: If its files are damaged.
    """
    run.read_config()
    is_live = run.read_status()["state"] not in FINAL_STATES
    st.fragment(show_progress, run_every=1.0 if is_live else None)(run, is_live)


def show_progress(run: Run, is_live: bool) -> None:
    """Bars, curves and the outcome; asks for a full rerun once the state becomes final."""
    status, history = run.read_status(), run.read_history()
    if is_live and status["state"] in FINAL_STATES:
        st.rerun()
    config = run.read_config()
    icon, colour = STATES[status["state"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(ui.escape(run.name), anchor=False, width="content")
        st.badge(status["state"].capitalize(), icon=icon, color=colour)
        st.space("stretch")
        if is_live:
            st.button(
                "Stop", icon=":material/stop:", on_click=stop, args=(run,), key=f"stop {run.name}"
            )
        elif status["state"] in ("stopped", "interrupted", "failed") and st.button(
            "Resume", icon=":material/resume:", key=f"resume {run.name}"
        ):
            with st.spinner("Starting TensorFlow, about 5 s …"):
                jobs.resume_run(run)
                jobs.wait_for_worker(run)
            st.session_state["run"] = run.name
            st.rerun()
    if is_live:
        show_bars(status, config.training.epochs)
    else:
        show_outcome(run, status)
    loss_column, accuracy_column = st.columns(2, gap="medium")
    for column, name, title in (
        (loss_column, "loss", "Loss (cross-entropy)"),
        (accuracy_column, "accuracy", "Accuracy"),
    ):
        figure = charts.draw_curves(
            history, name, title, config.training.epochs, is_dark=ui.is_dark()
        )
        column.plotly_chart(
            figure, config=ui.CHART, key=f"curve {run.name} {name}", alt=f"{title} by epoch"
        )


def show_bars(status: dict[str, object], num_epochs: int) -> None:
    """A bar for the whole run and one for the epoch; their places stand from the start."""
    epoch, step = int(str(status.get("epoch", 1))), int(str(status.get("step", 0)))
    steps = int(str(status.get("steps", 1)))
    done = (epoch - 1 + step / steps) / num_epochs
    rate, remaining = status.get("images_per_s"), status.get("remaining_s")
    text = str(status["message"])
    if rate is not None:
        text = f"{text} · {float(str(rate)):.0f} images/s · "
        text += f"{words.say_duration(float(str(remaining)))} left"
    st.progress(min(done, 1.0), text=ui.escape(text))
    st.progress(min(step / steps, 1.0), text=f"Step {step} of {steps} in epoch {epoch}")


def show_outcome(run: Run, status: dict[str, object]) -> None:
    """What came of a run that has ended."""
    metrics = run.read_metrics()
    if status["state"] == "finished" and metrics is not None:
        level, unit = words.get_main_level(metrics)
        with st.container(horizontal=True):
            st.metric("Accuracy", words.say_percent(level["accuracy"]), border=True)
            st.metric("Sensitivity", words.say_percent(level["sensitivity"]), border=True)
            st.metric("Specificity", words.say_percent(level["specificity"]), border=True)
            st.metric("AUC", words.say_auc(level["auc"]), border=True)
        st.write(f"Validation: {words.say_worth(level, unit)}. {words.say_doubt(level)}")
        ui.show_notice()
        if st.button("Classify images with it", icon=":material/arrow_forward:"):
            st.session_state["run to predict with"] = run.name
            st.switch_page("pages/predict.py")
    elif status["state"] == "failed":
        ui.show_problem(str(status["message"]))
    elif status["state"] == "interrupted":
        st.warning(
            "The worker ended without a word: the computer was restarted, or the process killed. "
            "Every finished epoch is kept; Resume goes on after the last one.",
            icon=":material/bolt:",
        )
    else:
        st.info("Stopped. Every finished epoch is kept; Resume goes on after the last one.")


def stop(run: Run) -> None:
    """Ask the run to stop."""
    with ui.errors():
        jobs.stop_run(run)


def show_all_runs(runs: list[Run]) -> None:
    """A table of every run; a click shows it above."""
    rows = []
    for run in runs:
        metrics, state = run.read_metrics(), run.read_status()["state"]
        worth = words.say_percent(words.get_main_level(metrics)[0]["accuracy"]) if metrics else ""
        rows.append(
            {"Run": run.name, "State": state, "Epochs": len(run.read_history()), "Accuracy": worth}
        )

    def pick() -> None:
        chosen = st.session_state["runs"].selection.rows
        if chosen:
            st.session_state["run"] = runs[chosen[0]].name

    st.dataframe(rows, hide_index=True, on_select=pick, selection_mode="single-row", key="runs")


ui.begin_page("Train")
ui.take_next_source()
ui.read_link()
st.title("Train")
st.caption("Is it learning, and when is it done? A run goes on when you close this page.")
all_runs = list_runs(workspace.get_runs_dir())
active_run = ui.find_active_run()
if active_run is not None:
    # So that its outcome stays on the screen when it has ended.
    st.session_state.setdefault("run", active_run.name)
# The run that this visitor started, watched or picked; it stands above the form for the next one.
chosen_run = next((run for run in all_runs if run.name == st.session_state.get("run")), None)
with ui.errors():
    if active_run is not None and active_run != chosen_run:
        show_run(active_run)
with ui.errors():
    if chosen_run is not None:
        show_run(chosen_run)
with ui.errors():
    if active_run is None:
        if chosen_run is not None:
            st.divider()
            st.subheader("Train another", anchor=False)
        ui.show_source_choice()
        if ui.has_folder():
            config = ui.get_data_config()
            show_new_run(ui.load_index(config), ui.load_audit(config))
            ui.write_link(with_view=False)
if chosen_run is None and active_run is None and all_runs:
    st.divider()
    with ui.errors():
        show_run(all_runs[0])
if all_runs:
    with st.expander(f"All runs ({len(all_runs)})", icon=":material/list:"):
        show_all_runs(all_runs)
else:
    st.caption("Your runs will stand here, with their curves.")
