"""One run on the screen: live while it trains, with its outcome afterwards."""

import json
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd
import streamlit as st

from polyp_core import jobs, words
from polyp_core.config import RunConfig
from polyp_core.environment import list_changes
from polyp_core.runs import FINAL_STATES, RESUMABLE_STATES, Run
from polyp_core.schedules import find_kept_epoch
from ui.draft import list_changes as list_setting_changes
from ui.frame import errors, show_notice, show_problem
from ui.readers import name_run
from ui.run_doctor import show_doctor, use_settings
from ui.run_pictures import show_curves, show_images, show_milestones
from ui.words import escape

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


def show_run(run: Run) -> None:
    """A run's state, bars, curves, the doctor's word and its outcome.

    Raises:
        RunError: If its files are damaged.
    """
    run.read_config()
    is_live = run.read_status()["state"] not in FINAL_STATES
    st.fragment(_show_progress, run_every=1.0 if is_live else None)(run, is_live)


def _show_progress(run: Run, is_live: bool) -> None:
    """Asks for a full rerun once the state becomes final."""
    status, history, config = run.read_status(), run.read_history(), run.read_config()
    if is_live and status["state"] in FINAL_STATES:
        st.rerun()
    _show_head(run, status, config, history, is_live)
    if is_live:
        _show_bars(status, config.training.epochs)
    else:
        _show_outcome(run, status)
        _offer_other_versions(run)
    show_doctor(run, status, history)
    show_curves(run, config, history)
    show_images(run, config, history)
    show_milestones(run, config)
    if not is_live:
        _show_details(run, config)


def _show_head(
    run: Run, status: dict[str, Any], config: RunConfig, history: pd.DataFrame, is_live: bool
) -> None:
    icon, colour = _STATES[status["state"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(escape(name_run(run)), anchor=False, width="content")
        st.badge(status["state"].capitalize(), icon=icon, color=colour)
        st.space("stretch")
        is_resumable = status["state"] in RESUMABLE_STATES
        if not history.empty and (status["state"] == "running" or is_resumable):
            kept = find_kept_epoch(config.training, history)
            if st.button(
                "Finish now", icon=":material/flag:", key=f"finish {run.name}",
                help=f"End training and make a model of epoch {kept}, which is kept so far. The "
                "run is finished then and cannot be resumed.",
            ):  # fmt: skip
                _start_again(run, jobs.finish_run)
        if is_live:
            st.button(
                "Stop", icon=":material/stop:", on_click=_stop, args=(run,), key=f"stop {run.name}",
                help="Stops within two seconds and keeps everything; Resume goes on exactly there.",
            )  # fmt: skip
        elif is_resumable and st.button(
            "Resume", icon=":material/resume:", type="primary", key=f"resume {run.name}"
        ):
            _start_again(run, jobs.resume_run)


def _offer_other_versions(run: Run) -> None:
    """The run was started with other versions; whether to go on all the same is for people."""
    if st.session_state.get("other versions") == run.name and st.button(
        "Resume all the same", key=f"accept {run.name}"
    ):
        _start_again(run, _accept_changes)


def _show_bars(status: dict[str, Any], num_epochs: int) -> None:
    """A bar for the whole run and one for the epoch; their places stand from the start."""
    epoch, step, steps = (status.get(name, default) for name, default in
                          (("epoch", 1), ("step", 0), ("steps", 1)))  # fmt: skip
    done = (epoch - 1 + step / steps) / num_epochs
    text = str(status["message"])
    if "images_per_s" in status:
        text += f" · {words.say_duration(status['remaining_s'])} left"
    st.progress(min(done, 1.0), text=escape(text))
    st.progress(min(step / steps, 1.0), text=f"Step {step} of {steps} in epoch {epoch}")
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


def _show_outcome(run: Run, status: dict[str, Any]) -> None:
    """What came of a run that has ended."""
    metrics, state = run.read_metrics(), status["state"]
    if state == "finished" and metrics is not None:
        level, unit = words.get_main_level(metrics)
        with st.grid(4, min_column_width=150):
            for name in ("accuracy", "sensitivity", "specificity"):
                st.metric(name.capitalize(), words.say_percent(level[name]), border=True)
            st.metric("AUC", words.say_auc(level["auc"]), border=True)
        st.write(f"Validation: {words.say_worth(level, unit)}. {words.say_doubt(level)}")
        if run.read_config().training.keep == "best":
            st.caption(
                "The best epoch was chosen on these same images, so the number leans to the good "
                "side."
            )
        show_notice()
        if st.button("Classify images with it", icon=":material/arrow_forward:"):
            st.session_state["run to predict with"] = str(run.directory.absolute())
            st.switch_page("pages/predict.py")
    elif state == "failed":
        show_problem(str(status["message"]))
    elif state in _ENDED:
        icon, text = _ENDED[state]
        show = st.warning if state == "interrupted" else st.info
        show(f"{text} Every finished epoch is kept; Resume goes on exactly there.", icon=icon)


def _show_details(run: Run, config: RunConfig) -> None:
    changes = list_setting_changes(config)
    with st.expander("Settings and log", icon=":material/description:", key=f"details {run.name}"):
        st.caption(
            f"Preset {escape(config.preset)}"
            + (f"; other than in the preset: {escape(', '.join(changes))}" if changes else "")
        )
        with st.container(horizontal=True):
            if st.button("Use these settings", key=f"use {run.name}", icon=":material/tune:"):
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
        timings = run.read_status().get("timings", {})
        if timings:
            said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
            st.caption(f"The start took: {escape(said)}")
        try:
            log = run.path("worker.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            log = ""
        st.code(log[-_LOG_CHARACTERS:] or "The log is empty.", language=None, height=240)


def _stop(run: Run) -> None:
    with errors():
        jobs.stop_run(run)


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
