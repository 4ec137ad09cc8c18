"""What is in my image, and why?"""

import pandas as pd
import streamlit as st

import ui
from polyp_core import workspace
from polyp_core.errors import ImageError
from polyp_core.images import SUFFIXES
from polyp_core.prediction import Classifier, Prediction, draw_overlay
from polyp_core.runs import Run
from ui import charts

PER_PAGE = 10
MIN_EVIDENCE = 0.05  # of full colour; less cannot be seen


def choose_run() -> Run:
    """One of the finished runs, the ensemble of a study, or the demo model."""
    runs = workspace.list_models(workspace.get_runs_dir())
    # The train page hands over the folder of the run that was looked at there.
    wanted = st.session_state.pop("run to predict with", None)
    if wanted is not None:
        named = (run for run in runs if str(run.directory.absolute()) == wanted)
        st.session_state["model"] = next(named, runs[0])
    chosen = st.selectbox(
        "Model", runs, format_func=ui.name_run, key="model", persist_state="session"
    )
    return chosen or workspace.DEMO_RUN


def gather_images() -> list[tuple[str, bytes]]:
    """Name and content of what was dropped, or of the demo images if those were asked for."""
    uploads = st.file_uploader(
        "Drop ultrasound images here",
        type=sorted(SUFFIXES),
        accept_multiple_files=True,
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM (of a film the first frame). They stay in this "
        "computer's memory and are gone when you close the page.",
        key="uploads",
    )
    if uploads:
        return [(upload.name, upload.getvalue()) for upload in uploads]
    if st.session_state.get("try_demo"):
        return [(path.name, path.read_bytes()) for path in ui.list_demo_pictures()[:4]]
    return []


def classify_all(
    run: Run, images: list[tuple[str, bytes]]
) -> list[tuple[str, Prediction | ImageError]]:
    """Every image's prediction, or the error that says why there is none."""
    bar = st.progress(0.0, text="Classifying …") if len(images) > PER_PAGE else None
    results: list[tuple[str, Prediction | ImageError]] = []
    for number, (name, data) in enumerate(images, start=1):
        try:
            results.append((name, ui.classify(run, data, name)))
        except ImageError as error:
            results.append((name, error))
        if bar is not None:
            bar.progress(number / len(images), text=f"Classifying {number} of {len(images)}")
    if bar is not None:
        bar.empty()
    return results


@st.fragment
def show_results(
    results: list[tuple[str, Prediction | ImageError]], classifier: Classifier
) -> None:
    """The results, a card each; the opacity moves without classifying again."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        opacity = st.slider(
            "Overlay",
            0,
            100,
            70,
            format="%d %%",
            width=260,
            key="opacity",
            help="How strongly the evidence is laid over the picture. Where there is no colour, "
            "there is no evidence.",
        )
        direction = st.segmented_control(
            "Evidence for",
            list(reversed(classifier.class_names)),
            default=classifier.class_names[1],
            format_func=ui.escape,
            required=True,
            key="direction",
            help="Grad-CAM: the places whose features raise (or lower) the probability. One scale "
            "for all images of a model, so weak evidence looks weak.",
        )
        page = 1
        if len(results) > PER_PAGE:
            page = st.pagination(-(-len(results) // PER_PAGE), key="page")
        if len(results) > 1:
            st.space("stretch")
            st.download_button(
                "Download table",
                write_csv(results, classifier),
                "predictions.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
            )
    shown = list(enumerate(results))[(page - 1) * PER_PAGE : page * PER_PAGE]
    for number, (name, result) in shown:
        with st.container(border=True):
            if isinstance(result, ImageError):
                ui.show_problem(str(result))
            else:
                show_prediction(number, name, result, classifier, opacity / 100, direction)


def show_prediction(
    number: int,
    name: str,
    prediction: Prediction,
    classifier: Classifier,
    opacity: float,
    direction: str,
) -> None:
    """Picture, overlay, the answer in words and its probability."""
    picture_column, overlay_column, answer_column = st.columns([2, 2, 3], gap="medium")
    positive = classifier.class_names[1]
    overlay = draw_overlay(prediction, opacity, positive=direction == positive)
    with picture_column:
        ui.show_image(ui.outline(prediction.picture, prediction.box), f"The image {name}")
    with overlay_column:
        ui.show_image(overlay, f"The image {name} with the evidence for {direction} in colour")
        sign = 1 if direction == positive else -1
        is_any = (sign * prediction.saliency).max() >= MIN_EVIDENCE
        legend = "Bright: speaks for" if is_any else "Nothing here speaks for"
        st.caption(f"{legend} {ui.escape(direction)}")
    with answer_column:
        st.caption(ui.escape(name))
        answer = prediction.class_name[:1].upper() + prediction.class_name[1:]
        st.subheader(ui.escape(answer) if prediction.is_sure else "Not sure", anchor=False)
        st.write(f"Probability of {ui.escape(positive)}: **{say_probability(prediction)}**")
        if not prediction.is_sure and classifier.band is not None:
            low, high = classifier.band.low, classifier.band.high
            st.caption(
                f":material/contact_support: Show it to a person. Between {100 * low:.0f} and "
                f"{100 * high:.0f} % this model is to give no answer, as set on the results page."
            )
        figure = charts.draw_probability(
            prediction.probability,
            classifier.threshold,
            classifier.class_names,
            ui.get_class_colours(),
            is_dark=ui.is_dark(),
        )
        st.plotly_chart(figure, config=ui.CHART, key=f"bar {number}", alt="Probability bar")


def say_probability(prediction: Prediction) -> str:
    """Percent without false precision, never claiming 0 or 100."""
    percent = prediction.probability * 100
    if 49 < percent < 51:  # so that nobody reads "50 %" and wonders which side it is on
        return f"{percent:.1f} %"
    return "under 1 %" if percent < 1 else "over 99 %" if percent > 99 else f"{percent:.0f} %"


def write_csv(results: list[tuple[str, Prediction | ImageError]], classifier: Classifier) -> str:
    """The table of all results."""
    rows = [
        [name, "", "", "", str(result)] if isinstance(result, ImageError)
        else [name, result.class_name, f"{result.probability:.4f}",
              "yes" if result.is_sure else "no", ""]
        for name, result in results
    ]  # fmt: skip
    columns = ["file", "class", f"probability of {classifier.class_names[1]}", "sure", "error"]
    return ui.write_csv(pd.DataFrame(rows, columns=columns))


def show_empty() -> None:
    """What would stand here, and the button that brings it."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(
            "Each image's answer will stand here: the class in words, how probable it is, and "
            "which places of the picture speak for it."
        )
        if st.button("Try it with four demo images", icon=":material/play_arrow:", type="primary"):
            ui.draw_demo_data()
            st.session_state["try_demo"] = True
            st.rerun()


ui.begin_page("Predict")
st.title("Predict")
st.caption("What is in my image, and why?")
dropped = gather_images()
model_column, worth_column = st.columns([1, 2], gap="medium", vertical_alignment="bottom")
with model_column:
    model_run = choose_run()
with worth_column:
    if model_run == workspace.DEMO_RUN:
        st.caption(":material/science: Trained on synthetic images only, to show how this works.")
    ui.show_credentials(model_run)
with ui.errors():
    loaded = ui.open_classifier(model_run)
    if dropped:
        show_results(classify_all(model_run, dropped), loaded)
    else:
        show_empty()
ui.show_notice()
