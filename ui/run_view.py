"""One run on the screen: live while it trains, with its outcome afterwards."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pandas as pd
import streamlit as st

from polyp_core import jobs, words
from polyp_core.access import is_demo
from polyp_core.config import RunConfig
from polyp_core.decision import read_decision, read_worth
from polyp_core.environment import list_changes
from polyp_core.recipe import say_fitted
from polyp_core.runs import ACTIVE_STATES, FINAL_STATES, RESUMABLE_STATES, Run
from polyp_core.schedules import find_kept_epoch
from polyp_core.workspace import DEMO_RUN
from ui.draft import use_settings
from ui.frame import errors, show_notice, show_problem
from ui.readers import name_run
from ui.run_doctor import show_doctor
from ui.run_pictures import show_curves, show_images, show_milestones
from ui.scroll_up import go_to
from ui.setting_words import list_changes as list_setting_changes
from ui.words import MEASURES, escape, say_temperature

_LOG_CHARACTERS = 20_000
_STATES: dict[str, tuple[str, Literal["gray", "primary", "green", "yellow", "red"]]] = {
    "queued": (":material/hourglass_empty:", "gray"),
    "running": (":material/model_training:", "primary"),
    "finished": (":material/check_circle:", "green"),
    "stopped": (":material/stop_circle:", "gray"),
    "interrupted": (":material/bolt:", "yellow"),
    "failed": (":material/error:", "red"),
}
_ENDED = {
    "stopped": (":material/stop_circle:", "Stopped where it stood."),
    "interrupted": (
        ":material/bolt:",
        "The worker ended without a word: the computer was restarted, or the process killed.",
    ),
}


def show_run(run: Run, status: dict[str, Any]) -> None:
    """A run's state, bars, curves, the doctor's word and its outcome, or what is wrong with it.

    Args:
        run: To be shown.
        status: Of it, as it was read a moment ago.
    """
    is_live = status["state"] not in FINAL_STATES
    st.fragment(_show_progress, run_every=1.0 if is_live else None)(run, is_live, [status])


def _show_progress(run: Run, is_live: bool, read: list[dict[str, Any]]) -> None:
    """Asks for a full rerun once the state becomes final.

    Args:
        run: To be shown.
        is_live: Whether it had not ended when the page was drawn.
        read: Its status, for the first time this is drawn; it is taken out.
    """
    with errors():
        status = read.pop() if read else run.read_status()
        if is_live and status["state"] in FINAL_STATES:
            st.rerun()
        config, history = run.read_config(), run.read_history()
        act = _show_head(run, status, config, history)
        if act is not None:  # below the head, where an error has room
            act()
        if is_live:
            _show_bars(status, len(history), config.training.epochs)
        else:
            _show_outcome(run, status, config, history)
            if not is_demo():
                _offer_other_versions(run)
        show_doctor(run, status, history)
        if is_live or not history.empty:  # else no curve will ever come
            show_curves(run, config, history)
        show_images(run, status, config, history)
        show_milestones(run)
        if not is_live:
            _show_details(run, status, config)


def _show_head(
    run: Run, status: dict[str, Any], config: RunConfig, history: pd.DataFrame
) -> Callable[[], None] | None:
    """Name, state and buttons.

    Returns:
        What the pressed button asks for. Not a callback: in a fragment an error of a callback
        stands in place of the page's title.
    """
    act, state = None, status["state"]
    icon, colour = _STATES[state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(escape(name_run(run)), anchor=False, width="content")
        st.badge(state.capitalize(), icon=icon, color=colour)
        st.space("stretch")
        if is_demo():
            return None
        is_training = state == "running" and status.get("remaining_s") != 0
        if not history.empty and (is_training or state in RESUMABLE_STATES):
            is_asked = state == "running" and run.path("finish").exists()
            if st.button(
                "Finishing …" if is_asked else "Finish now", icon=":material/flag:",
                key=f"finish {run.name}", disabled=is_asked, help=_explain_finish(config, history),
            ):  # fmt: skip
                act = partial(_start_again, run, jobs.finish_run)
        if state in ACTIVE_STATES:
            is_asked = run.path("stop").exists()
            if st.button(
                "Stopping …" if is_asked else "Stop", icon=":material/stop:",
                key=f"stop {run.name}", disabled=is_asked,
                help="Stops within two seconds and keeps everything; Resume goes on exactly there.",
            ):  # fmt: skip
                act = partial(_stop, run)
        elif state in RESUMABLE_STATES and st.button(
            "Resume", icon=":material/resume:", type="primary", key=f"resume {run.name}"
        ):
            act = partial(_start_again, run, jobs.resume_run)
    return act


def _explain_finish(config: RunConfig, history: pd.DataFrame) -> str:
    what, kept = f"the {config.training.keep} epoch", find_kept_epoch(config.training, history)
    if config.training.keep == "best" and kept is not None:
        what += f" (so far epoch {kept})"
    return (
        f"Trains an epoch that is under way to its end, then makes a model of {what}. The run is "
        "finished then and cannot be resumed."
    )


def _offer_other_versions(run: Run) -> None:
    """The run was started with other versions; whether to go on all the same is for people."""
    if st.session_state.get("other versions") == run.name and st.button(
        "Resume all the same", key=f"accept {run.name}"
    ):
        _start_again(run, _accept_changes)


def _show_bars(status: dict[str, Any], num_done: int, num_epochs: int) -> None:
    """A bar for the whole run and one for the epoch; their places stand from the start.

    Args:
        status: Of the run; a worker that waits or starts knows no step yet.
        num_done: Epochs in the history.
        num_epochs: Of the whole run.
    """
    part, where = 0.0, f"{num_done} of {words.say_number(num_epochs, 'epoch')} done"
    is_trained = status.get("remaining_s") == 0  # perhaps early; the model is converted and tested
    if "step" in status and not is_trained:
        epoch, step, steps = status["epoch"], status["step"], status["steps"]
        num_done, part = epoch - 1, step / steps
        where = f"Step {step} of {steps} in epoch {epoch}"
    text, remaining_s = str(status["message"]), status.get("remaining_s")
    if remaining_s:
        text += f" · {words.say_duration(remaining_s)} left"
    whole = 1.0 if is_trained else min((num_done + part) / num_epochs, 1.0)
    st.progress(whole, text=escape(text))
    st.progress(1.0 if is_trained else min(part, 1.0), text=where)
    facts = []
    if "images_per_s" in status:
        facts.append(f"{status['images_per_s']:.0f} images/s")
    if "elapsed_s" in status:
        facts.append(f"{words.say_duration(status['elapsed_s']).removeprefix('about ')} so far")
    if "learning_rate" in status:
        facts.append(f"learning rate {status['learning_rate']:.2g}")
    if "memory_mb" in status:
        facts.append(f"{status['memory_mb']} MB of memory")
    st.caption(" · ".join(facts) or "Starting …")


def _show_outcome(
    run: Run, status: dict[str, Any], config: RunConfig, history: pd.DataFrame
) -> None:
    """What came of a run that has ended."""
    metrics, state = read_worth(run), status["state"]
    if state == "finished" and metrics is not None:
        level, unit = words.get_main_level(metrics)
        with st.grid(4, min_column_width=185):  # in less an interval is cut
            for name, (title, say) in MEASURES.items():
                n = level["accuracy" if name == "auc" else name]["n"]
                st.metric(f"{title}, n = {n}", say(level[name]), border=True)
        doubt = words.say_doubt(
            level, read_decision(run).goal.purpose, "see what the doctor says below"
        )
        st.write(f"Validation: {words.say_worth(level, unit)}. {doubt}")
        training = config.training
        if len(history) < training.epochs and not training.early_stopping_patience:
            st.caption(f"Finished early, after {len(history)} of {training.epochs} epochs.")
        if config.training.keep == "best":
            st.caption(
                "The best epoch was chosen on these same images, so the number leans to the good "
                "side."
            )
        if "calibration" in metrics:  # runs of older versions have none
            st.caption(say_temperature(metrics["calibration"]))
        show_notice()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                "pages/results.py", label="See the results", icon=":material/monitoring:",
                query_params={"run": "demo" if run == DEMO_RUN else run.name},
            )  # fmt: skip
            if st.button("Classify images with it", icon=":material/arrow_forward:"):
                st.session_state["run to predict with"] = str(run.directory.absolute())
                go_to("pages/predict.py")
    elif state == "failed":
        show_problem(str(status["message"]))
    elif state in _ENDED:
        icon, text = _ENDED[state]
        show = st.warning if state == "interrupted" else st.info
        if history.empty and "started_at" not in status:
            show("It had not begun. Resume puts it in the queue again.", icon=icon)
        else:
            show(f"{text} Every finished epoch is kept; Resume goes on exactly there.", icon=icon)


def _show_details(run: Run, status: dict[str, Any], config: RunConfig) -> None:
    if is_demo():
        config = _leave_out_places(config)
    changes = list_setting_changes(config)
    label = "Settings" if is_demo() else "Settings and log"
    with st.expander(label, icon=":material/description:", key=f"details {run.name}"):
        st.caption(
            f"Preset {escape(config.preset)}, {say_fitted(config)}"
            + (f"; other than in the preset: {escape(', '.join(changes))}" if changes else "")
        )
        with st.container(horizontal=True):
            if not is_demo() and st.button(
                "Use these settings", key=f"use {run.name}", icon=":material/tune:"
            ):
                use_settings(config)
            st.download_button(
                "Download settings", json.dumps(config.to_dict(), indent=1),
                f"{run.name}-settings.json", "application/json", icon=":material/download:",
                on_click="ignore", key=f"settings {run.name}",
            )  # fmt: skip
        environment = run.read_environment()
        packages = environment.get("packages", {})
        versions = ", ".join(f"{name} {version}" for name, version in packages.items())
        st.caption(f"Trained with {escape(versions)}")
        timings = status.get("timings", {})
        if timings:
            said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
            st.caption(f"The start took: {escape(said)}")
        if is_demo():  # the log names folders of the server
            return
        try:
            log = run.path("worker.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            log = ""
        st.code(log[-_LOG_CHARACTERS:] or "The log is empty.", language=None, height=240)


def _leave_out_places(config: RunConfig) -> RunConfig:
    """The settings without the folder and the file of the server that they name."""
    return replace(
        config,
        data=replace(config.data, folder=""),
        model=replace(config.model, backbone_weights=""),
    )


def _stop(run: Run) -> None:
    with errors():
        jobs.stop_run(run)
        st.rerun()


def _start_again(run: Run, start: Callable[[Run], None]) -> None:
    """Start the worker again, and redraw the page; where versions have changed, offer a choice."""
    st.session_state["run"] = run.name
    st.session_state["other versions"] = list_changes(run) and run.name
    with errors(), st.spinner("Starting the worker …"):
        start(run)
        jobs.wait_for_worker(run)
        st.rerun()


def _accept_changes(run: Run) -> None:
    jobs.resume_run(run, accept_changes=True)
