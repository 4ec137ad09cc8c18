"""Bring a page back to its beginning, where what was asked for further down now stands."""

import streamlit as st

_ASKED = "scroll up asked"
_JS = """
export default function ({ parentElement }) {
    parentElement.ownerDocument.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0 })
}
"""
_component = st.components.v2.component("polyp_scroll_up", html="<span></span>", js=_JS)


def ask_to_scroll_up() -> None:
    """Once, when the page is drawn next."""
    st.session_state[_ASKED] = True


def scroll_up() -> None:
    """Where it was asked for; to be called on the page, outside of fragments."""
    if st.session_state.pop(_ASKED, False):
        _component(key="scroll up", height="content")
