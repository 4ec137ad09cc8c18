"""The three cards of the home page: the real state of each step, one button, and its proof."""

import numpy as np
import streamlit as st

from polyp_core import jobs, words, workspace
from polyp_core.access import check_file, is_demo
from polyp_core.dataset import Index
from polyp_core.decision import read_decision, read_worth
from polyp_core.errors import AccessError, ImageError, PolypError
from polyp_core.prediction import Classifier, Prediction, draw_overlay
from polyp_core.runs import FINAL_STATES, Run
from ui import charts
from ui.cost import say_cost
from ui.draft import get_data_config, has_own_folder
from ui.frame import errors, show_problem
from ui.home_visit import (
    EXAMPLE,
    draw_new_image,
    fit_first_run,
    get_usual,
    knows_demo_images,
    say_answer,
    say_findings,
    say_split,
    say_training,
)
from ui.pictures import is_dark, show_image
from ui.readers import (
    find_active_run,
    find_time,
    load_audit,
    name_run,
    open_classifier,
    read_picture,
)
from ui.words import escape

_CHECKED, _STARTED, _ASKED = "home checked", "home started", "home asked"
_LOOK_EVERY_S = 1.0
_NUM_ASKED = 50  # of the newest runs, on what they were trained


def is_first_visit() -> bool:
    """Whether nothing of the visitor's own is here yet, so that three clicks lead on."""
    return not (is_demo() or has_own_folder() or _has_trained())


def show_data_card(index: Index | None) -> None:
    """Which images there are, and whether the split keeps its two sides apart."""
    st.header(":material/imagesmode: Data", anchor=False)
    if index is None:
        st.write("No folder is chosen yet, or it cannot be used")
    else:
        name = "Your images" if has_own_folder() else "Demo images"
        st.write(f"{name}: **{len(index.images)}**, {' or '.join(map(escape, index.class_names))}")
        if _is_checked(index):
            with errors():
                st.markdown(say_split(index))
                st.caption(say_findings(index, load_audit(get_data_config())))
        else:
            st.button(
                "Check these images", type="primary", icon=":material/fact_check:",
                key="home check", on_click=_note_checked, args=(str(index.folder),),
                width="stretch",
            )  # fmt: skip
        row = index.images[index.images["label"] == 1].iloc[0]
        with errors():
            picture = read_picture(str(index.folder / row["path"]), row["sha256"])
            show_image(_crop(picture.pixels), f"An image of the class {index.class_names[1]}")
    st.space("stretch")
    st.page_link("pages/data.py", label="Look at the data", icon=":material/arrow_forward:")


def show_train_card(index: Index | None) -> None:
    """The run at work, live, or the best one and what it has proved, and how to begin."""
    st.header(":material/model_training: Train", anchor=False)
    active, best = find_active_run(), workspace.find_best_run(workspace.get_runs_dir())
    if active is not None:
        st.fragment(_show_progress, run_every=_LOOK_EVERY_S)(active)
    else:
        _show_best(best, index)
    st.space("stretch")
    st.page_link(
        "pages/results.py", label="Look at the results", icon=":material/monitoring:",
        query_params={"run": "demo" if best == workspace.DEMO_RUN else best.name},
    )  # fmt: skip
    label = "See how a model trains" if is_demo() else "Train a model"
    label = label if active is None else "Watch it train"
    st.page_link("pages/train.py", label=label, icon=":material/arrow_forward:")


def show_predict_card(index: Index | None) -> None:
    """The model that is ready, and its answer to an image that no training has seen."""
    st.header(":material/center_focus_strong: Predict", anchor=False)
    newest = workspace.list_finished_runs(workspace.get_runs_dir())[0]
    best = workspace.find_best_run(workspace.get_runs_dir())
    st.write(f"Ready: **{escape(name_run(newest))}**")
    is_fair = knows_demo_images(newest)
    asked, number = st.session_state.get(_ASKED, ("", -1))
    is_asked = is_fair and asked == str(newest.directory)
    if is_fair:
        is_next = not is_asked and _is_checked(index) and (is_demo() or _has_trained())
        st.button(
            "Ask about another" if is_asked else "Ask about a new image", key="home ask",
            type="primary" if is_next else "secondary", icon=":material/contact_support:",
            on_click=_ask, args=(str(newest.directory), number + 1), width="stretch",
        )  # fmt: skip
    with errors():
        if is_asked:
            _show_answer(newest, number)
        else:
            _show_example(newest, is_fair=is_fair)
    # What the best run is worth stands on the card beside this one.
    if newest != best or newest == workspace.DEMO_RUN:
        st.caption(_say_worth(newest))
    st.space("stretch")
    st.page_link("pages/predict.py", label="Classify an image", icon=":material/arrow_forward:")


def _has_trained() -> bool:
    """Whether there is a finished run besides the demo model."""
    return workspace.find_best_run(workspace.get_runs_dir()) != workspace.DEMO_RUN


def _is_checked(index: Index | None) -> bool:
    """Whether this visitor has had these images checked; what was trained on them counts too."""
    if index is None:
        return False
    if st.session_state.get(_CHECKED) == str(index.folder):
        return True
    *runs, _ = workspace.list_finished_runs(workspace.get_runs_dir())
    active, folder = find_active_run(), get_data_config().folder
    runs = [active, *runs[:_NUM_ASKED]] if active is not None else runs[:_NUM_ASKED]
    return any(_read_folder(run, find_time(run.path("config.json"))) == folder for run in runs)


@st.cache_data(max_entries=200, show_spinner=False, hash_funcs={Run: str})
def _read_folder(run: Run, changed_at_ns: int) -> str:
    """Where the images of a run lie; "" where its settings cannot be read."""
    try:
        return run.read_config().data.folder
    except PolypError:
        return ""


def _note_checked(folder: str) -> None:
    st.session_state[_CHECKED] = folder


def _ask(directory: str, number: int) -> None:
    st.session_state[_ASKED] = (directory, number)


def _show_best(best: Run, index: Index | None) -> None:
    """The best run and what it has proved; before there is one, how to begin."""
    if best != workspace.DEMO_RUN:
        st.write(f"Best run **{escape(name_run(best))}**")
        metrics = read_worth(best)
        if metrics is None:
            st.write("It was not tested")
        else:
            level, unit = words.get_main_level(metrics)
            doubt = words.say_doubt(level, read_decision(best).goal.purpose)
            st.markdown(say_training(best, words.say_worth(level, unit), doubt))
    elif is_demo():
        st.write("How the demo model learned")
    else:
        st.write("No run of your own yet")
        if index is not None and is_first_visit():
            with errors():
                _offer_training(index)
    _show_curve(best)
    if best == workspace.DEMO_RUN and not is_demo():
        st.caption("How the demo model learned")


def _show_progress(run: Run) -> None:
    """A run at work, with its bar and its curve; redraws the page once it has ended."""
    with errors():
        status = run.read_status()
        if status["state"] in FINAL_STATES:
            st.rerun()
        does = "is at work now" if status["state"] == "running" else "waits for its turn"
        st.write(f"**{escape(name_run(run))}** {does}")
        share = status.get("images_trained", 0) / max(1, status.get("images_in_all", 1))
        text, remaining_s = str(status["message"]), status.get("remaining_s")
        if remaining_s:
            text += f" · {words.say_duration(remaining_s)} left"
        st.progress(min(share, 1.0), text=escape(text))
        _show_curve(run, run.read_config().training.epochs)


def _show_curve(run: Run, num_epochs: int = 0) -> None:
    """The curve of a run; one at work will have so many epochs."""
    history = run.read_history()
    alt = "Validation accuracy by epoch"
    if len(history):
        first, last = (history["val_accuracy"].iloc[place] for place in (0, -1))
        alt += f": from {words.round_percent(first)} % to {words.round_percent(last)} %"
    figure = charts.draw_small_curve(history, max(num_epochs, len(history)), is_dark=is_dark())
    st.plotly_chart(figure, config=charts.PLAIN, alt=alt)


def _offer_training(index: Index) -> None:
    """The button of the first training, on the demo images; what became of one that failed."""
    runs_dir = workspace.get_runs_dir()
    run = Run(runs_dir / st.session_state.get(_STARTED, ""))
    if _STARTED in st.session_state and run.path("config.json").is_file():
        status = run.read_status()
        if status["state"] == "failed":
            show_problem(str(status["message"]))
        else:
            st.caption(f"{escape(name_run(run))} was {status['state']}; the train page resumes it.")
    config = fit_first_run(index)
    if st.button(
        "Train on them", type="primary" if _is_checked(index) else "secondary", key="home train",
        icon=":material/play_arrow:", width="stretch",
    ):  # fmt: skip
        with st.spinner("Starting the worker …"):
            run = jobs.start_run(config, index, runs_dir)
            jobs.wait_for_worker(run)
        st.session_state[_STARTED] = st.session_state["run"] = run.name
        st.rerun()
    usual, num_images = get_usual(index), len(index.select("train"))
    st.caption(
        f"{num_images} images{say_cost(config, num_images)}: "
        f"{config.training.epochs} epochs at {config.model.image_size_px} px instead of the "
        f"preset's {usual.training.epochs} at {usual.model.image_size_px} px"
    )


def _show_answer(run: Run, number: int) -> None:
    """What a model says of a new patient's image, and what the image really shows."""
    image, classifier = draw_new_image(number), open_classifier(run)
    prediction = classifier.classify(image.content, image.name)
    _show_evidence(prediction, classifier, "A new patient's image")
    st.markdown(say_answer(image, prediction, classifier))
    st.caption("No training has seen this patient; one answer alone proves little.")


def _show_example(run: Run, *, is_fair: bool) -> None:
    """An image that a model has not learned from, with its evidence; or that none is here."""
    classifier = open_classifier(run)
    if is_fair:
        image = draw_new_image(EXAMPLE)
        prediction = classifier.classify(image.content, image.name)
    else:
        index = run.read_index()
        rows = index.select("validation").sort_values("label", ascending=False, kind="stable")
        try:
            path = check_file(index.folder / rows["path"].iloc[0])
            prediction = classifier.classify(path)
        except (AccessError, ImageError, IndexError):
            st.caption(":material/hide_image: The images that it was validated on are not here.")
            return
    _show_evidence(prediction, classifier, "An ultrasound image")


def _show_evidence(prediction: Prediction, classifier: Classifier, subject: str) -> None:
    """The picture with what speaks for the answer in colour, and what bright means."""
    positive_class = classifier.class_names[1]
    is_positive = prediction.class_name == positive_class
    overlay = draw_overlay(prediction, 0.7, positive=is_positive)
    speaks = f"speaks {'for' if is_positive else 'against'} {positive_class}"
    show_image(_crop(overlay), f"{subject}; in colour what {speaks}")
    st.caption(f"Bright: {escape(speaks)}")


def _say_worth(run: Run) -> str:
    """What a model is worth, with n, interval and baseline; "not tested" where nobody knows."""
    metrics = read_worth(run)
    return words.say_worth(*words.get_main_level(metrics)) if metrics else "not tested"


def _crop(picture: np.ndarray) -> np.ndarray:
    """The middle in 5:4, so that the cards' pictures are of one height."""
    height_px, width_px = picture.shape[:2]
    new_width_px = min(width_px, height_px * 5 // 4)
    new_height_px = min(height_px, width_px * 4 // 5)
    top, left = (height_px - new_height_px) // 2, (width_px - new_width_px) // 2
    return picture[top : top + new_height_px, left : left + new_width_px]
