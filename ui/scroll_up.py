"""Bring a page back to its beginning, where what was asked for further down now stands."""

from typing import NoReturn

import streamlit as st

_NUM_ASKED = "scrolls up asked"
_JS = """
export default function ({ data, parentElement }) {
    if (parentElement.asked === data) return  // drawn anew
    parentElement.asked = data
    parentElement.ownerDocument.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0 })
}
"""
_component = st.components.v2.component("polyp_scroll_up", html="<span></span>", js=_JS)


def ask_to_scroll_up() -> None:
    """Once, when the page is drawn next."""
    st.session_state[_NUM_ASKED] = st.session_state.get(_NUM_ASKED, 0) + 1


def scroll_up() -> None:
    """Where it was asked for; to be called on the page, outside of fragments.

    It stays on the page, for one that is drawn anew right away would lose it before it has acted.
    """
    if asked := st.session_state.get(_NUM_ASKED):
        _component(key=f"scroll up {asked}", data=asked, height="content")


def go_to(page: str) -> NoReturn:
    """Open another page at its beginning; Streamlit itself keeps how far down this one was."""
    ask_to_scroll_up()
    st.switch_page(page)
