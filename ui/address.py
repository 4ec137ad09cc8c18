"""The address bar: what a page wrote there itself is not taken for a link that was opened.

A browser sends the address along with every click. On a busy machine a click overtakes the page's
new address and brings the one before; taken for an opened link, that would undo what was just set.
"""

import time
from typing import Any

import streamlit as st

_LATE_S = 5.0  # by how much a click may be behind; "Back" after that opens the earlier address


def is_opened(key: str, given: Any) -> bool:  # noqa: ANN401 - a text, or several by their names
    """Whether the address is a link that was opened; from then on it counts as the page's own.

    Args:
        key: Where the session keeps what the page wrote.
        given: What the address says.
    """
    current, earlier = st.session_state.get(key, (None, []))
    late = (own for own, until in earlier if time.monotonic() - until < _LATE_S)
    if given == current or given in late:
        return False
    # What stood there before was left on purpose ("Back", "Forward", a link), and may come again.
    st.session_state[key] = (given, earlier)
    return True


def note(key: str, written: Any) -> None:  # noqa: ANN401 - as above
    """Remember what the page puts into the address.

    Args:
        key: Where the session keeps it.
        written: What the address will say.
    """
    now = time.monotonic()
    current, earlier = st.session_state.get(key, (None, []))
    if written != current:
        recent = [item for item in earlier if now - item[1] < _LATE_S]
        st.session_state[key] = (written, [*recent, (current, now)])
