"""Whose predictions are judged, and the one sentence that says what they are worth."""

from dataclasses import asdict

import streamlit as st

from polyp_core import words
from polyp_core.decision import Decision, list_chosen_in_training
from polyp_core.errors import RunError
from polyp_core.metrics import evaluate
from polyp_core.runs import Run
from polyp_core.study import Study
from polyp_core.workspace import DEMO_RUN
from ui import evidence_charts
from ui.charts import PLAIN, get_line_colours
from ui.frame import errors
from ui.pictures import is_dark
from ui.readers import draw_demo_data, is_synthetic
from ui.results_evidence import UNITS, find_majority, read_levels
from ui.results_external import say_doubts, show_external
from ui.results_link import KIND, LEVEL, SOURCE, take_link
from ui.results_picture import find_files
from ui.results_source import (
    STUDY,
    TEST,
    VALIDATION,
    Judged,
    list_kinds,
    list_sources,
    name_source,
    read_judged,
)
from ui.scroll_up import scroll_up
from ui.words import escape

_KIND_NAMES = {VALIDATION: "Validation", TEST: "Test", STUDY: "All folds"}


def choose_judged() -> tuple[Judged, str] | None:
    """Which predictions are looked at, and whether by "patient" or by "image".

    Returns:
        None where there are none; then the page has said so.
    """
    sources = list_sources()
    is_here = take_link(sources)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        source = _choose_source(sources, is_here=is_here)
        place = st.container(horizontal=True, gap="medium", width="content")
    if not is_here:  # no other's numbers below a link that was opened for this one's
        return None
    with errors():
        kinds = list_kinds(source)
        if not kinds:
            _show_empty(source)
            return None
        if source == DEMO_RUN:
            draw_demo_data()
        with place:
            kind = _choose_kind(kinds)
            judged = read_judged(source, kind)
            unit = _choose_unit(judged)
        scroll_up()
        return judged, unit
    return None


def show_head(judged: Judged, unit: str, shown: Decision) -> None:
    """The main number with n, interval and baseline, on a ruler; and what it does not say."""
    level = read_levels(judged)[unit]
    if not len(level.labels):
        st.info("None of these images can be judged.", icon=":material/info:")
        return
    metrics = evaluate(level.labels, level.probabilities, shown.threshold, level.clusters)
    accuracy = asdict(metrics["accuracy"])
    majority, label = find_majority(level)
    n, name = accuracy["n"], judged.class_names[label]
    low, high = words.round_percent(accuracy["low"]), words.round_percent(accuracy["high"])
    doubt = words.say_doubt(
        {"accuracy": accuracy, "majority_accuracy": majority}, shown.goal.purpose,
        "another threshold may do better, or the data need another look",
    )  # fmt: skip
    _, grey = get_line_colours(is_dark())
    st.header(
        f"{round(accuracy['value'] * n):,} of {n:,} {UNITS[unit]} right, "
        f"{words.write_percent(accuracy['value'])} "
        f':color[(95 % interval {low} to {high})]{{foreground="{grey}"}}',
        anchor=False,
    )
    st.markdown(
        f"Always answering **{escape(name)}** would get "
        f"{words.write_percent(majority['value'])}. {doubt}"
    )
    figure = evidence_charts.draw_worth(accuracy, majority["value"], name, is_dark=is_dark())
    st.plotly_chart(
        figure, key="results worth", config=PLAIN,
        alt=f"Accuracy {accuracy['value']:.0%}, interval {low} to {high} %, baseline "
        f"{majority['value']:.0%}",
    )  # fmt: skip
    st.caption(_say_standing(judged, unit, shown))


def _choose_source(sources: list[Run | Study], *, is_here: bool) -> Run | Study:
    if not is_here or st.session_state.get(SOURCE) not in sources:
        st.session_state.pop(SOURCE, None)
    chosen = st.selectbox(
        "Model", sources, format_func=name_source, key=SOURCE, persist_state="session", width=400,
        index=0 if is_here else None, placeholder="Choose a model",
    )  # fmt: skip
    return chosen or DEMO_RUN


def _choose_kind(kinds: list[str]) -> str:
    if st.session_state.get(KIND) not in kinds:
        st.session_state[KIND] = kinds[0]
    if len(kinds) == 1:
        return kinds[0]
    chosen: str | None = st.segmented_control(
        "Judged on", kinds, key=KIND, required=True, persist_state="session",
        format_func=lambda kind: _KIND_NAMES.get(kind) or escape(kind),
        help="Validation was used while the model was made; test images and other folders were "
        "not.",
    )  # fmt: skip
    return chosen or kinds[0]


def _choose_unit(judged: Judged) -> str:
    levels = read_levels(judged)
    if "patient" not in levels:
        return "image"
    if st.session_state.get(LEVEL) not in levels:
        st.session_state[LEVEL] = "patient"
    chosen: str | None = st.segmented_control(
        "Counted by", ["patient", "image"], key=LEVEL, required=True, persist_state="session",
        format_func=lambda unit: UNITS[unit].capitalize(),
        help="A patient's probability is the mean over the patient's images. Images of one patient "
        "are alike, so by image, too, intervals and bands are those of whole patients.",
    )  # fmt: skip
    return chosen or "patient"


def _show_empty(source: Run | Study) -> None:
    """What would stand here, and how it comes about."""
    with st.container(border=True, horizontal_alignment="center"):
        has_file = isinstance(source, Run) and source.path("predictions.csv").is_file()
        why = (
            "it has neither validation nor test images" if has_file
            else "its predictions.csv is missing: it was made by an older version, or is damaged"
        )  # fmt: skip
        st.markdown(
            f"**{escape(name_source(source))}** cannot be judged, because {why}. Its accuracy with "
            "interval, its curves and its mistakes would stand here."
        )
        st.page_link("pages/train.py", label="Train a model", icon=":material/arrow_forward:")
    if isinstance(source, Run) and source.path("config.json").is_file():
        with st.expander("Other data", icon=":material/folder_open:", expanded=True):
            show_external(source)


def _say_standing(judged: Judged, unit: str, shown: Decision) -> str:
    """What the images were used for before, and so what the numbers are not."""
    said = {VALIDATION: _say_validation, STUDY: _say_study, TEST: _say_test}.get(
        judged.kind, _say_external
    )(judged, shown)
    if is_synthetic(judged.run):
        said = f"Trained on synthetic images only, to show how this works. {said}"
    if unit == "patient":
        groups = judged.table["group"]
        num_alone = groups[groups == judged.table["path"]].nunique()
        if num_alone:
            files = words.say_number(num_alone, "file")
            counts = "counts as a patient" if num_alone == 1 else "count as a patient each"
            said += f" {files} whose patient is not known {counts}."
        num_all = groups.nunique()
        num_left = num_all - len(read_levels(judged)[unit].labels)
        if num_left:
            left = words.say_number(num_left, "patient")
            said += f" {left} with images of both classes left out."
    if shown.band is not None:
        num_open = int(shown.band.holds(read_levels(judged)[unit].probabilities).sum())
        if num_open:
            said += f" Counted with an answer for all; the tiles below leave {num_open:,} open."
    return f":material/balance: {said}"


def _list_chosen(judged: Judged, shown: Decision) -> list[str]:
    """What of the decision that is looked at was chosen, and did not come with the model."""
    goal, came = shown.goal, judged.run.read_serving().get("threshold", 0.5)
    is_chosen = goal.kind != "hand" or shown.threshold != came
    chosen = ["the threshold was chosen"] if is_chosen else []
    return chosen if shown.band is None else [*chosen, "the band was chosen"]


def _say_validation(judged: Judged, shown: Decision) -> str:
    try:
        chosen = list_chosen_in_training(judged.run)
    except RunError:
        return "This is validation, no test: what was chosen on these images is not known."
    chosen += _list_chosen(judged, shown)
    if not chosen:
        return "This is validation. Neither epoch nor threshold was chosen on these images."
    return (
        f"This is validation, no test: on these same images {words.join_words(chosen)}, so the "
        "numbers lean to the good side. Images of other patients, under *Other data* below, would "
        "be a test."
    )


def _say_study(judged: Judged, shown: Decision) -> str:
    said = "Each image was judged by the members of the study that had not seen it."
    chosen = _list_chosen(judged, shown)
    if chosen:
        said += (
            f" But over these same folds {words.join_words(chosen)}, so the numbers lean to the "
            "good side."
        )
    caution = (judged.study.read_metrics() or {}).get("caution") if judged.study else None
    return f"{said} {escape(caution)}" if caution else said


def _say_test(judged: Judged, shown: Decision) -> str:
    return (
        "This is a test: these images played no part in training, nor in choosing epoch or "
        "threshold. It stays one as long as nothing is chosen by it."
    )


def _say_external(judged: Judged, shown: Decision) -> str:
    where = f"Images of another folder, {escape(judged.kind)}"
    metrics = find_files(judged).read_metrics()
    if metrics is None:
        return f"{where}. Whether the model was made with any of them is not known."
    doubts = say_doubts(metrics)
    if doubts:
        return f"{where}. {' '.join(doubts)}"
    return (
        f"{where}: nothing of the model was chosen on them. It is a test where no patient is in "
        "the training images."
    )
