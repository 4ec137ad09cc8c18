"""What others get of a model: a report, a model card, the model itself, filled-in checklists."""

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from polyp_core import exports
from polyp_core.access import is_demo
from polyp_core.archives import say_size
from polyp_core.checklists.facts import find_home
from polyp_core.evaluation_jobs import get_home
from polyp_core.runs import Run
from polyp_core.study import Study
from ui.frame import errors, say_off
from ui.readers import find_time
from ui.results_source import Judged
from ui.share_checklists import show_checklists
from ui.words import escape

_FORMAT, _PREPARED = "share format", "share prepared"
_BUNDLE = "bundle"
Say = Callable[[str], None]
_writing = threading.Lock()  # one report at a time: it decodes pictures and asks the model


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A file that was made and waits to be downloaded.

    Attributes:
        key: Of what it was made: run, model, decision and format.
        content: Of the file.
        file_name: To save it under.
        proof: How it was opened again and compared, in sentences.
    """

    key: tuple[object, ...]
    content: bytes
    file_name: str
    proof: tuple[str, ...]


def show_share(judged: Judged) -> None:
    """Everything that leaves the page as a file, and the checklists that people fill in."""
    has_model = judged.run.path("config.json").is_file()
    st.markdown("**Report**")
    _show_reports(judged, has_model=has_model)
    if not has_model:
        st.caption("The study has no model of its own yet; it comes when all members are finished.")
        return
    st.markdown("**Model**")
    st.fragment(_show_model)(judged)
    st.markdown("**Checklists**")
    st.fragment(show_checklists)(judged.run, _name_files(judged))


def say_proof(export: exports.Export) -> str:
    """Such as "Opened again with LiteRT 2.1.0: 50 validation images, largest difference 3e-7."."""
    return (
        f"Opened again with {export.runtime}: {export.num_compared} {export.compared_on}, largest "
        f"difference {say_difference(export.largest_difference)}."
    )


def say_difference(difference: float) -> str:
    """With one digit: "3e-7"; "0" where there is none."""
    return f"{difference:.0e}".replace("e-0", "e-") if difference else "0"


def prepare_model(run: Run, format_name: str, stem: str, say: Say) -> Prepared:
    """Write a run's model in a format, or the bundle, and prove it.

    Args:
        run: A finished one.
        format_name: One of `exports.FORMATS`, or "bundle".
        stem: Of the file's name.
        say: Called with what is being done.

    Raises:
        PolypError: As `exports.export_run` and `exports.write_bundle`.
    """
    key = _identify(run, format_name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if format_name == _BUNDLE:
            target = Path(folder) / f"{stem}-bundle.zip"
            proved = exports.write_bundle(run, target, say).exports
        else:
            form = exports.FORMATS[format_name]
            is_zip = form.suffix == ".zip"
            target = Path(folder) / f"{stem}{'-' + form.name if is_zip else ''}{form.suffix}"
            proved = (exports.export_run(run, format_name, target, say),)
        return Prepared(
            key=key,
            content=target.read_bytes(),
            file_name=target.name,
            proof=tuple(map(say_proof, proved)),
        )


def _show_reports(judged: Judged, *, has_model: bool) -> None:
    stem = _name_files(judged)
    with st.container(horizontal=True, vertical_alignment="center"):
        if judged.study is not None:
            st.download_button(
                "Comparison", partial(_write_comparison, judged.study), f"{stem}-comparison.html",
                "text/html", icon=":material/compare_arrows:", on_click="ignore",
                key="share comparison", help="The members of the study side by side.",
            )  # fmt: skip
        if has_model:
            st.download_button(
                "Report", partial(_write_report, judged.run), f"{stem}-report.html", "text/html",
                icon=":material/description:", on_click="ignore", key="share report",
            )  # fmt: skip
            st.download_button(
                "Model card", partial(_write_card, judged.run), f"{stem}-model-card.md",
                "text/markdown", icon=":material/id_card:", on_click="ignore", key="share card",
            )  # fmt: skip
    if has_model:
        st.caption(
            "The report is one page with everything: data, training, numbers with intervals, "
            "mistakes, limits and checklists. It opens offline and prints well. It is made when "
            "you click, in some seconds. The model card is Markdown, as model hubs read it."
        )


def _write_report(run: Run) -> str:
    # Of use to one visitor in a hundred, so not loaded with the page.
    from polyp_core.report import write_report

    with _writing:
        return write_report(run)


def _write_card(run: Run) -> str:
    from polyp_core.report import write_model_card

    return write_model_card(run)


def _write_comparison(study: Study) -> str:
    from polyp_core.report import write_comparison

    return write_comparison(study)


def _show_model(judged: Judged) -> None:
    run = judged.run
    if is_demo():  # each would start processes of its own for whoever has the link
        say_off("Taking the model away")
        return
    wanted = ""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Everything (bundle)", type="primary", icon=":material/inventory_2:",
            key="share bundle",
        ):  # fmt: skip
            wanted = _BUNDLE
        st.caption(
            "A zip: the model, what is done to a picture before it, a short script that predicts "
            "without this program, report, model card, and the run itself. No image, no file's "
            "name and no patient's identifier is in it; titles, names of runs and classes, and "
            "answers to the checklists are, as people wrote them.",
            width="stretch",
        )
    wanted = _choose_format(run) or wanted
    place = st.container()
    with place, errors():
        if wanted:
            st.session_state.pop(_PREPARED, None)
            with st.spinner("Preparing …", show_time=True):
                said = st.empty()
                st.session_state[_PREPARED] = prepare_model(
                    run, wanted, _name_files(judged),
                    lambda stage: _say(said, stage),
                )  # fmt: skip
                said.empty()
        _show_prepared(run)


def _choose_format(run: Run) -> str:
    """The format whose button was pressed, or ""."""
    names = list(exports.FORMATS)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Or the model alone, as", names, index=names.index("litert"), width=300, key=_FORMAT,
            format_func=lambda one: f"{exports.FORMATS[one].title} ({exports.FORMATS[one].suffix})",
        )  # fmt: skip
        form = exports.FORMATS[str(name)]
        obstacle = exports.say_obstacle(run, form)
        is_pressed = st.button(
            "Prepare", icon=":material/build:", key="share prepare", disabled=bool(obstacle)
        )
    st.caption(f":material/info: {escape(obstacle)}" if obstacle else form.summary)
    return form.name if is_pressed else ""


def _show_prepared(run: Run) -> None:
    """The file that was made last, as long as it is of what is shown now."""
    prepared = st.session_state.get(_PREPARED)
    if prepared is None or prepared.key != _identify(run, str(prepared.key[-1])):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"Download {escape(prepared.file_name)} ({say_size(len(prepared.content))})",
            prepared.content, prepared.file_name,
            icon=":material/download:", on_click="ignore", key="share download",
        )  # fmt: skip
        proof = " ".join(map(escape, prepared.proof))
        st.markdown(f":material/verified: {proof}", width="stretch")


def _identify(run: Run, format_name: str) -> tuple[object, ...]:
    """Of what a file is made: another model, threshold, title or answer makes another file."""
    sources = [run.path(name) for name in ("serving.json", "decision.json")]
    if format_name == _BUNDLE:
        sources += [run.path("notes.json"), find_home(run) / "checklists.json"]
        sources += [get_home(run) / "checks" / "checks.json"]
    return (str(run.directory.absolute()), *map(find_time, sources), format_name)


def _say(place: "st.delta_generator.DeltaGenerator", stage: str) -> None:
    place.caption(f"{escape(stage)} …")


def _name_files(judged: Judged) -> str:
    return judged.study.name if judged.study is not None else judged.run.name
