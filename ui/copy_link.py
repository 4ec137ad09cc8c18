"""A button that copies the page's address: who opens it sees the page as it stands."""

import streamlit as st

_HTML = """
<div class="row">
  <span class="said" role="status"></span>
  <button type="button">
    <svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true"><path fill="none"
      stroke="currentColor" stroke-width="2" stroke-linecap="round"
      d="M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4
         4 0 0 0 5.7 5.7L12 17.7"/></svg>
    <span>Copy link</span>
  </button>
  <input type="text" readonly hidden aria-label="The address of this page, to be copied">
</div>
"""
_CSS = """
.row { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; justify-content: flex-end;
  font: 0.875rem var(--st-font); color: var(--st-text-color); }
button { display: inline-flex; gap: 0.4rem; align-items: center; padding: 0.25rem 0.6rem;
  font: inherit; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius); }
button:hover, button:focus-visible { border-color: var(--st-primary-color);
  color: var(--st-primary-color); }
button:focus-visible, input:focus-visible { outline: 2px solid var(--st-primary-color);
  outline-offset: 2px; }
input { flex: 1 1 12rem; min-width: 0; padding: 0.25rem 0.5rem; font: inherit; color: inherit;
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius); }
input[hidden] { display: none; }
"""
# The clipboard is open to pages of this computer and to those that come over https alone;
# elsewhere the address is shown, marked, to be copied by hand.
_JS = """
export default function ({ parentElement }) {
    const button = parentElement.querySelector("button")
    const field = parentElement.querySelector("input")
    const said = parentElement.querySelector(".said")
    let timer
    button.onclick = async () => {
        const address = window.location.href
        clearTimeout(timer)
        try {
            await navigator.clipboard.writeText(address)
            field.hidden = true
            said.textContent = "Copied"
            timer = setTimeout(() => { said.textContent = "" }, 2500)
        } catch {
            field.hidden = false
            field.value = address
            field.focus()
            field.select()
            said.textContent = "Press Ctrl+C (⌘C on a Mac)"
        }
    }
    return () => clearTimeout(timer)
}
"""
_button = st.components.v2.component("polyp_copy_link", html=_HTML, css=_CSS, js=_JS)


def show_copy_link(key: str) -> None:
    """A small button that copies the full address as it stands at the click, and says "Copied".

    Args:
        key: Of this button, unlike that of any other on the page.
    """
    _button(key=key, width="stretch", height="content")


def show_linked_title(title: str) -> None:
    """A page's title, and at the other end of its row the button that copies the page's address."""
    name, link = st.columns([3, 2], vertical_alignment="center")
    with name:
        st.title(title)
    with link:
        show_copy_link(f"copy link {title}")
