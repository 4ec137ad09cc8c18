"""Studies on the screen: the same training over folds and seeds, and what they say together."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from polyp_core import words, workspace
from polyp_core.access import is_demo
from polyp_core.runs import ACTIVE_STATES, FINAL_STATES, RESUMABLE_STATES, Run
from polyp_core.study import Study, list_studies
from polyp_core.study_jobs import list_changes, resume_study, stop_study
from ui import charts, training_charts
from ui.frame import errors, show_notice, show_problem
from ui.learning_chart import show_learning_curve
from ui.pictures import is_dark
from ui.readers import find_time
from ui.run_pictures import find_majority
from ui.scroll_up import go_to
from ui.words import MEASURES, escape

_ABOVE = "study above"  # the name of the run that the studies stand above


def note_started(study: Study) -> None:
    """Show this study, above the run that is on show now."""
    st.session_state["study"] = study.name
    st.session_state[_ABOVE] = st.session_state.get("run", "")


def is_study_first(shown: Run | None) -> bool:
    """Whether a study came after the run on show, and so is what a visitor looks for.

    Args:
        shown: The run on show, if there is one.
    """
    name = shown.name if shown else ""
    if _ABOVE not in st.session_state:  # at the first look the newest study, if it is newer
        studies, is_newer = list_studies(workspace.get_studies_dir()), False
        if studies and shown and not is_demo():
            written_at_ns = find_time(studies[0].files.path("study.json"))
            is_newer = written_at_ns > find_time(shown.path("config.json"))
        st.session_state[_ABOVE] = name if is_newer else None
    above: str | None = st.session_state[_ABOVE]
    return above == name


def show_studies(*, is_first: bool = False) -> None:
    """The study that was started or chosen last, and a choice of the others.

    Args:
        is_first: Whether they stand first on the page; then they are open.
    """
    studies = list_studies(workspace.get_studies_dir())
    if not studies:
        return
    names = [study.name for study in studies]
    if st.session_state.get("study") not in names:
        st.session_state.pop("study", None)
    is_mine = "study" in st.session_state  # started or chosen by this visitor
    if "is a study at work" not in st.session_state:  # as it was at the first look
        states = (study.read_status()["state"] for study in studies)
        st.session_state["is a study at work"] = any(state in ACTIVE_STATES for state in states)
    is_open = is_first or is_mine or st.session_state["is a study at work"]
    box = st.expander(
        "Studies", icon=":material/grid_view:", expanded=is_open,
        key=f"studies {is_mine} {is_first}",
    )  # fmt: skip
    with box, errors():
        name = names[0]
        if len(names) > 1:
            name = st.selectbox("Study", names, key="study")
        study = studies[names.index(name)]
        is_live = study.read_status()["state"] not in FINAL_STATES
        st.fragment(_show_study, run_every=1.5 if is_live else None)(study, is_live)


def _show_study(study: Study, is_live: bool) -> None:
    with errors():  # such as of a study that somebody has deleted
        status, plan = study.read_status(), study.read_plan()
        if is_live and status["state"] in FINAL_STATES:
            st.rerun()
        act = _show_head(study, status, plan, is_live)
        if act is not None:
            with errors():
                act()
        if is_live:
            _show_bar(status, len(study.members))
        elif status["state"] in RESUMABLE_STATES:
            _show_problem(study, status)
        _show_members(study)
        if not is_live:
            _show_outcome(study, status["state"])


def _show_head(
    study: Study, status: dict[str, Any], plan: dict[str, Any], is_live: bool
) -> Callable[[], None] | None:
    """The study's name and state, and its button; what to do if that was pressed."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(study.name)}**", width="content")
        st.badge(status["state"].capitalize(), color="primary" if is_live else "gray")
        counts = [(plan["num_folds"], "fold"), (len(plan["seeds"]), "seed")]
        counts += [(len(plan["shares"]), "share")] if len(plan["shares"]) > 1 else []
        st.caption(
            ", ".join(words.say_number(number, noun) for number, noun in counts), width="content"
        )
        st.space("stretch")
        if is_demo():
            return None
        if is_live and st.button("Stop", icon=":material/stop:", key=f"stop study {study.name}"):
            return partial(stop_study, study)
        if status["state"] in RESUMABLE_STATES and st.button(
            "Resume", icon=":material/resume:", key=f"resume study {study.name}"
        ):
            return partial(_resume, study)
    return None


def _show_bar(status: dict[str, Any], num_members: int) -> None:
    text = str(status["message"])
    if status.get("remaining_s"):
        text += f" · {words.say_duration(status['remaining_s'])} left"
    st.progress(status.get("num_finished", 0) / num_members, text=escape(text))


def _show_problem(study: Study, status: dict[str, Any]) -> None:
    """Why a study has failed; and a choice where it was started with other versions."""
    message = str(status["message"]) if status["state"] == "failed" else ""
    if message:
        show_problem(message)
    # On a cluster it is the computer of a member that refuses, and it does so in the message.
    is_refused = "--accept-changes" in message
    is_refused |= st.session_state.get("other versions of study") == study.name
    if (
        is_refused
        and not is_demo()
        and st.button("Resume all the same", key=f"accept study {study.name}")
    ):
        with errors():
            _resume(study, accept_changes=True)


def _resume(study: Study, *, accept_changes: bool = False) -> None:
    """Start the study's worker again, and redraw; where versions have changed, offer a choice."""
    is_refused = not accept_changes and bool(list_changes(study))
    st.session_state["other versions of study"] = study.name if is_refused else None
    resume_study(study, accept_changes=accept_changes)
    st.rerun()


def _show_members(study: Study) -> None:
    histories = [member.run.read_history() for member in study.members]
    whole = histories[: len(study.whole_members)]  # these come first
    metrics = study.read_metrics()
    if metrics is not None:
        _show_numbers(metrics)
    show_learning_curve(study)
    _show_curves(study, [history for history in whole if not history.empty])
    table = _tabulate(study.read_members(histories))
    st.dataframe(table, hide_index=True, key=f"members {study.name}")


def _show_outcome(study: Study, state: str) -> None:
    """What can be done with a study that has ended."""
    has_ensemble = study.ensemble.path("serving.tflite").is_file()
    if state == "finished" and has_ensemble and st.button(
        "Classify images with all members together", icon=":material/arrow_forward:"
    ):  # fmt: skip
        st.session_state["run to predict with"] = str(study.ensemble.directory.absolute())
        go_to("pages/predict.py")
    try:
        predictions = study.files.path("predictions.csv").read_bytes()
    except OSError:  # none yet
        return
    st.page_link(
        "pages/results.py", label="See the results", icon=":material/monitoring:",
        query_params={"study": study.name},
    )  # fmt: skip
    st.download_button(
        "Download predictions", predictions, f"{study.name}-predictions.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key=f"predictions {study.name}",
    )  # fmt: skip


def _show_numbers(metrics: dict[str, Any]) -> None:
    """Pooled numbers with intervals, and how much a member's number varies."""
    level, unit = words.get_main_level(metrics)
    spread = metrics["members"].get(unit[:-1], metrics["members"]["image"])
    with st.grid(4, min_column_width=180):
        for name, (title, say) in MEASURES.items():
            n = level["accuracy" if name == "auc" else name]["n"]
            st.metric(
                f"{title}, n = {n}", say(level[name]), _say_spread(spread[name], name),
                delta_color="off", delta_arrow="off", border=True,
            )  # fmt: skip
    st.write(
        f"Each image judged by members that had not seen it: {words.say_worth(level, unit)}. "
        f"{words.say_doubt(level)}"
    )
    if metrics["num_finished"] < metrics["num_members"]:
        st.caption(
            f"So far: {metrics['num_finished']} of {metrics['num_members']} members, "
            f"{level['accuracy']['n']} {unit}."
        )
    if metrics.get("caution"):
        st.caption(escape(metrics["caution"]))
    show_notice()


def _say_spread(spread: dict[str, Any], name: str) -> str:
    """Such as "members 84 ± 5 %"."""
    if spread["mean"] is None:
        return "not defined"
    deviation = "" if spread["sd"] is None else f" ± {spread['sd']:.2f}"
    if name == "auc":
        return f"members {spread['mean']:.2f}{deviation}"
    deviation = "" if spread["sd"] is None else f" ± {round(100 * spread['sd'])}"
    return f"members {round(100 * spread['mean'])}{deviation} %"


def _show_curves(study: Study, histories: list[pd.DataFrame]) -> None:
    """The members' validation curves as a band, with what no skill would get."""
    if not histories:
        return
    num_epochs = study.read_config().training.epochs
    shares = [found for found in map(find_majority, histories) if found is not None]
    majority = (sum(share for share, _ in shares) / len(shares), shares[0][1]) if shares else None
    grid = st.grid(3, min_column_width=250)
    for name, title, baseline in (
        ("val_loss", "Validation loss", None),
        ("val_accuracy", "Validation accuracy", majority),
        ("val_auc", "Validation AUC", (0.5, "chance")),
    ):
        figure = training_charts.draw_band(
            histories, name, title, num_epochs, baseline=baseline, is_dark=is_dark()
        )
        grid.plotly_chart(
            figure, config=charts.PLAIN, key=f"band {study.name} {name}", alt=f"{title} by epoch"
        )
    st.caption("Thin: each member. Thick: their mean. Band: one standard deviation around it.")


def _tabulate(members: pd.DataFrame) -> pd.DataFrame:
    rows, has_shares = [], (members["share"] < 1).any()
    for row in members.to_dict("records"):
        said = {"Fold": row["fold"], "Seed": row["seed"]}
        if has_shares:
            said["Trained on"] = f"{round(100 * row['share'])} %"
        said |= {"State": row["state"].capitalize(), "Epochs": row["epochs"]}
        for name, (title, say) in MEASURES.items():
            values = {key: row[f"{name}_{key}"] for key in ("low", "high", "n")}
            said[title] = say({"value": row[name], **values}) if pd.notna(row[name]) else ""
        n = row["accuracy_n"]
        said["Judged on"] = f"{n:.0f} {row['level']}" if pd.notna(n) else ""
        rows.append(said)
    return pd.DataFrame(rows)
