"""The audit on the screen: a verdict, findings with their pictures, and a clean split."""

import hashlib
from pathlib import Path

import streamlit as st

from polyp_core import workspace
from polyp_core.access import is_demo
from polyp_core.audit import Audit, Finding, Proposal, count_images, propose_split, say_limit
from polyp_core.config import DataConfig
from polyp_core.dataset import Index
from polyp_core.errors import PolypError
from polyp_core.words import make_visible, say_number
from ui import charts
from ui.frame import show_problem
from ui.pictures import get_class_colours, is_dark, show_row
from ui.readers import read_row
from ui.words import escape

_MAX_SETS = 6
_SHOWN = 20
_MAX_PICTURES = 6
_MARKS = {"error": ":red[:material/error:]", "warning": ":orange[:material/warning:]"}
_BROKEN_SPLIT = {
    "copy_across_splits", "copy_across_classes", "copy_across_patients",
    "near_copy_across_splits", "near_copy_across_patients", "patient_across_splits",
}  # fmt: skip


def show_verdict(index: Index, audit: Audit) -> None:
    """One line that says whether a result on these images can be trusted."""
    show, icon = {
        "fit to train": (st.success, ":material/check_circle:"),
        "train with care": (st.warning, ":material/warning:"),
    }.get(audit.verdict, (st.error, ":material/error:"))
    serious = [finding for finding in audit.findings if finding.severity != "note"]
    why = "Nothing was found that speaks against these images."
    if serious:
        why = escape(serious[0].title)
        if len(serious) > 1:
            why += f" And {say_number(len(serious) - 1, 'more finding')}."
    show(f"**{audit.verdict.capitalize()}:** {why}", icon=icon)
    num_patients = audit.counts["patients"]
    patients = "" if num_patients is None else f" of {say_number(num_patients, 'patient')}"
    st.caption(f"{say_number(len(index.images), 'image')}{patients}. {say_limit(index)}")


def show_findings(index: Index, audit: Audit) -> None:
    """Each finding behind its title; what should merely be known behind one line."""
    for finding in audit.findings:
        if finding.severity != "note":
            _show_finding(index, finding)
    notes = [finding for finding in audit.findings if finding.severity == "note"]
    if notes:
        label = say_number(len(notes), "thing to know", "things to know")
        with st.expander(f":material/info: {label}", key="notes"):
            for finding in notes:
                st.markdown(f"**{escape(finding.title)}** {escape(finding.advice)}")
                _show_pictures(index, finding, num_sets=1)


def show_counts(index: Index) -> None:
    """How many images there are of what, as one bar a split, and what was left out."""
    figure = charts.draw_counts(index, get_class_colours(), is_dark=is_dark())
    st.plotly_chart(
        figure, config=charts.PLAIN, alt="Images by class in training and validation", key="counts"
    )
    num_others = index.num_other_files
    if index.folder == workspace.get_demo_data_dir().absolute():
        num_others -= (index.folder / "README.txt").is_file()  # which was written with the images
    left_out = [
        f"{say_number(num_others, 'file')} that {_is_or_are(num_others)} no image"
        if num_others else "",
        say_number(index.num_hidden_files, "hidden file") if index.num_hidden_files else "",
    ]  # fmt: skip
    if any(left_out):
        st.caption(f"Left out of the folder: {' and '.join(filter(None, left_out))}.")


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def show_clean_split(index: Index, audit: Audit, config: DataConfig) -> None:
    """A split without leaks beside the present one, and the button that applies it."""
    if "problem" in st.session_state:
        show_problem(st.session_state.pop("problem"))
    manifest = index.manifest
    if manifest is not None and manifest.parent.resolve() == _get_splits_dir().resolve():
        _show_applied()
        return
    if not _BROKEN_SPLIT & {finding.kind for finding in audit.findings}:
        return
    with st.container(border=True):
        st.markdown("**A clean split** keeps each patient and all copies on one side.")
        try:
            proposal = propose_split(index, audit.pairs, config.validation_fraction, config.seed)
        except PolypError as error:
            st.caption(escape(str(error)))
            return
        for column, name, shown in zip(
            st.columns(2, gap="medium"), ("Now", "Clean"), (index, proposal.index), strict=True
        ):
            with column:
                st.caption(name)
                figure = charts.draw_counts(
                    shown, get_class_colours(), is_dark=is_dark(), narrow=0.3
                )
                st.plotly_chart(
                    figure, config=charts.PLAIN, key=f"split {name}", alt=f"Images by class, {name}"
                )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"{_say_changes(index, proposal)}It is written as a CSV manifest in the workspace; "
                "your files are not touched."
            )
            st.button(
                "Use the clean split",
                type="primary",
                icon=":material/call_split:",
                on_click=_apply,
                args=(proposal.index, config.folder),
                disabled=is_demo(),
                help="Off on this shared demo." if is_demo() else None,
            )


def _say_changes(index: Index, proposal: Proposal) -> str:
    """What a proposed split would change in the present one."""
    before = index.images.set_index(["path", "frame"])["split"]
    after = proposal.index.images.set_index(["path", "frame"])["split"]
    num_moved = int((after != before.loc[after.index]).sum())
    said = "The test images are drawn anew. " if proposal.is_test_new else ""
    said += f"{say_number(num_moved, 'image changes', 'images change')} sides. "
    if len(proposal.left_out):
        said += f"{say_number(len(proposal.left_out), 'copy is', 'copies are')} left out. "
    return said


def _apply(index: Index, folder: str) -> None:
    counts = repr((str(index.folder), count_images(index), list(index.images["split"])))
    digest = hashlib.sha256(counts.encode()).hexdigest()[:8]
    path = _get_splits_dir() / f"{index.folder.name}-{digest}.csv"
    try:
        index.write_manifest(path)
    except PolypError as error:
        st.session_state["problem"] = str(error)
        return
    except OSError as error:
        st.session_state["problem"] = (
            f"The clean split cannot be written to '{path.parent}' ({error.strerror}). Expected a "
            "workspace that may be written. Change its permissions, or set POLYP_WORKSPACE."
        )
        return
    st.session_state["folder before split"] = (st.session_state.get("source", "demo"), folder)
    st.session_state["source"], st.session_state["folder"] = "folder", str(path)


def _show_applied() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            ":material/call_split: **A clean split is in use:** each patient and all copies on one "
            "side."
        )
        if "folder before split" in st.session_state:
            st.button("Back to the folder's own split", type="tertiary", on_click=_take_back)


def _take_back() -> None:
    source, folder = st.session_state.pop("folder before split")
    st.session_state["source"], st.session_state["folder"] = source, folder


def _get_splits_dir() -> Path:
    return workspace.get_splits_dir().absolute()


def _show_finding(index: Index, finding: Finding) -> None:
    expander = st.expander(
        f"{_MARKS[finding.severity]} {escape(finding.title)}",
        key=f"finding {finding.kind}",
        on_change="rerun",
    )
    if not expander.open:
        return
    with expander:
        st.markdown(escape(finding.advice))
        _show_pictures(index, finding, _MAX_SETS)
        if finding.kind == "unreadable":  # the reasons are sentences
            for path, reason in list(zip(finding.files, finding.reasons, strict=True))[:_SHOWN]:
                st.markdown(f"- {escape(reason if path in reason else f'{path}: {reason}')}")
        elif finding.files:
            table = {
                "File": [make_visible(path) for path in finding.files],
                "Belongs to" if finding.sets and len(finding.sets[0]) > 1 else "Note": [
                    make_visible(reason) for reason in finding.reasons
                ],
            }
            st.dataframe(table, hide_index=True, height="auto")


def _show_pictures(index: Index, finding: Finding, num_sets: int) -> None:
    """The pictures of a finding: what belongs together side by side, each set in a row."""
    sets = list(finding.sets)
    if sets and all(len(numbers) == 1 for numbers in sets):
        sets = [tuple(number for (number,) in sets)]
    for numbers in sets[:num_sets]:
        pictures, captions = [], []
        for number in numbers[:_MAX_PICTURES]:
            row = index.images.loc[number]
            try:
                picture = read_row(index, number)
            except PolypError:  # gone since it was read; the table below names it
                continue
            pictures.append(picture.pixels)
            captions.append(
                f"{row['path'].rsplit('/', 1)[-1]} · {index.class_names[row['label']]} · "
                f"{row['split']}"
            )
        show_row(pictures, captions)
    hidden = len(sets) - num_sets
    if hidden > 0 and num_sets > 1:
        st.caption(f"and {hidden} more such sets, in the table")
