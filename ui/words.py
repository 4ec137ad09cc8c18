"""Text from outside, made safe to show."""

from polyp_core.words import make_visible


def escape(text: str) -> str:
    """Markdown that shows the text literally; file names may hold anything."""
    special = "\\`*_{}[]()#+-.!<>|:$~&"
    return "".join(f"\\{mark}" if mark in special else mark for mark in make_visible(text))
