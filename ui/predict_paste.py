"""An image in the clipboard is pasted onto the page as if it were dropped."""

import streamlit as st

# What is pasted becomes a drop on the zone, so that it goes the way of every other file.
_JS = """
export default function ({ data }) {
    const paste = (event) => {
        const files = [...(event.clipboardData?.files ?? [])]
        const zone = document.querySelector(
            `.st-key-${data.zone} [data-testid="stFileUploaderDropzone"]`)
        if (!files.length || !zone) return
        event.preventDefault()
        const dataTransfer = new DataTransfer()
        files.forEach((file) => dataTransfer.items.add(file))
        zone.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }))
    }
    document.addEventListener("paste", paste)
    return () => document.removeEventListener("paste", paste)
}
"""
_listener = st.components.v2.component("polyp_paste", js=_JS)


def listen_for_paste(zone: str) -> None:
    """Take files that are pasted anywhere on the page.

    Args:
        zone: The key of the file uploader that gets them; letters only.
    """
    _listener(data={"zone": zone}, key="predict paste", height="content")
