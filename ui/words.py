"""Text from outside, made safe to show."""


def escape(text: str) -> str:
    """Markdown that shows the text literally; file names may hold anything."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]()#+-.!<>|:$~&" else mark for mark in text)
