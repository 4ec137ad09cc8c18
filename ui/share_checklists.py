"""Reporting checklists on the page: what the run answers, what people must, what is open."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby

import streamlit as st

from polyp_core.access import is_demo
from polyp_core.checklists import (
    MAX_ANSWER,
    SHEETS,
    Item,
    count_open,
    fill_sheet,
    write_answer,
    write_sheet_markdown,
)
from polyp_core.errors import PolypError
from polyp_core.runs import Run
from ui.frame import errors, say_off, show_problem
from ui.words import escape

_OPEN_ONLY = "share open only"
_KEPT, _PROBLEM = "share answer kept", "share answer problem"
_TOUCHED, _OWN = "share answers touched", "share answers begun"
_HIGH_PX = 90


def show_checklists(run: Run, stem: str) -> None:
    """Two sheets, each with its count, its filter and its sections.

    Args:
        run: Whose sheets.
        stem: Of the name of the file that is downloaded.
    """
    tabs = st.tabs(list(SHEETS.values()), key="share sheets", on_change="rerun")
    for tab, sheet in zip(tabs, SHEETS, strict=True):
        if tab.open:  # the other is not even filled in
            with tab, errors():
                _show_sheet(run, sheet, stem)


def _show_sheet(run: Run, sheet: str, stem: str) -> None:
    items = fill_sheet(run, sheet)
    num_open = count_open(items)
    st.markdown(f"**{num_open} of {len(items)} open.** {_say_done(items)}")
    st.caption(
        "The questions are in plain words of our own; the original items, with what each means in "
        "full, are in the publication. Answers are kept with the run, for everybody who opens it."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        is_filtered = st.toggle("Open only", key=f"{_OPEN_ONLY} {sheet}")
        st.space("stretch")
        st.download_button(
            "Download", partial(write_sheet_markdown, run, sheet), f"{stem}-{sheet}.md",
            "text/markdown", icon=":material/download:", on_click="ignore",
            key=f"share sheet {sheet}", help="The sheet as it stands, as Markdown.",
        )  # fmt: skip
    if is_demo():
        say_off("Answering")
    touched = _list_noted(_TOUCHED, run)
    with st.container(gap="xsmall"):
        for section, group in groupby(items, key=lambda item: item.section):
            members = list(group)
            shown = [
                item for item in members
                # What was just answered stays in its place, or it would seem to be lost.
                if not is_filtered or item.origin == "open" or _name(item) in touched
            ]  # fmt: skip
            if shown:
                _show_section(run, section, shown, count_open(members))


def _say_done(items: Sequence[Item]) -> str:
    """Such as "15 answered by the run, 2 by a person, 1 does not apply."."""
    counts = Counter(item.origin for item in items)
    said = [f"{counts['run']} answered by the run", f"{counts['person']} by a person"]
    if counts["not applicable"]:
        does = "does" if counts["not applicable"] == 1 else "do"
        said.append(f"{counts['not applicable']} {does} not apply")
    return f"{', '.join(said)}."


def _show_section(run: Run, section: str, items: Sequence[Item], num_open: int) -> None:
    state = f"**{num_open} open**" if num_open else ":material/check: complete"
    key = f"share section {items[0].sheet} {section}"
    # With another label it is another box to Streamlit, and would be shut by every answer.
    st.session_state[key] = bool(st.session_state.get(key))
    box = st.expander(f"{section} · {state}", key=key, on_change="rerun")
    if box.open:
        for item in items:
            with box.container(gap="xsmall", key=f"share item {_name(item)}"):
                _show_item(run, item)


def _show_item(run: Run, item: Item) -> None:
    st.markdown(f"**{item.number}** {item.question}")
    if item.known:
        said = "Does not apply" if item.origin == "not applicable" else "From the run"
        where = f" (report: {item.reference})" if item.reference else ""
        st.caption(f"*{said}:* {escape(item.known)}{where}")
    if is_demo():
        if item.origin == "person":
            st.markdown(f"> {escape(item.answer)}")
        elif item.origin == "open":
            st.caption(":material/radio_button_unchecked: Open")
        return
    own = item.answer if item.origin == "person" else ""
    is_begun = _name(item) in _list_noted(_OWN, run)
    if item.origin in ("run", "not applicable") and not is_begun:
        st.button(
            "Answer in your own words", type="tertiary", icon=":material/edit:",
            key=f"share own {_name(item)}", on_click=_note, args=(_OWN, run, item),
        )  # fmt: skip
        return
    widget = f"share answer {_name(item)} {run.directory}"
    if not _has_problem(run, item):  # which leaves what was typed in the field
        st.session_state[widget] = own  # as it is on the disk by now
    st.text_area(
        f"Answer to item {item.number}", key=widget, max_chars=MAX_ANSWER, height=_HIGH_PX,
        label_visibility="collapsed", placeholder="Your answer; kept when you leave the field",
        on_change=_keep, args=(run, item, widget),
    )  # fmt: skip
    _show_outcome(run, item)


def _show_outcome(run: Run, item: Item) -> None:
    """That the last change of this item was kept, or why it was not."""
    asked = (str(run.directory), _name(item))
    if st.session_state.get(_KEPT) == asked:
        done = "Saved" if item.origin == "person" else "Taken back"
        st.caption(f":material/check: {done}.")
    if _has_problem(run, item):
        show_problem(st.session_state[_PROBLEM][1])


def _has_problem(run: Run, item: Item) -> bool:
    asked = (str(run.directory), _name(item))
    return bool(st.session_state.get(_PROBLEM, ("", ""))[0] == asked)


def _keep(run: Run, item: Item, widget: str) -> None:
    asked = (str(run.directory), _name(item))
    for outcome in (_KEPT, _PROBLEM):
        st.session_state.pop(outcome, None)
    try:
        write_answer(run, item.sheet, item.number, st.session_state[widget])
    except PolypError as error:
        st.session_state[_PROBLEM] = (asked, str(error))
        return
    st.session_state[_KEPT] = asked
    _note(_TOUCHED, run, item)


def _note(kind: str, run: Run, item: Item) -> None:
    """Remember an item for this visit."""
    _list_noted(kind, run).add(_name(item))


def _list_noted(kind: str, run: Run) -> set[str]:
    noted: dict[str, set[str]] = st.session_state.setdefault(kind, {})
    return noted.setdefault(str(run.directory), set())


def _name(item: Item) -> str:
    return f"{item.sheet} {item.number}"
