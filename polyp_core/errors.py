"""The errors a user can repair.

    PolypError
    ├── ConfigError    a setting has a value that cannot be used
    ├── ImageError     one picture cannot be read
    │   └── BusyError  or not at this moment: too much is to be done, or the memory is full
    ├── DatasetError   a folder of images cannot become an index
    ├── RunError       a run directory is missing, damaged or in the wrong state
    ├── ModelError     a trained model cannot be loaded or converted
    ├── EvidenceError  predictions do not allow what was asked of them
    └── AccessError    this server does not do that for whoever asks

A `PolypError` says what happened and where, what was expected and what to do. Everything else
that is raised is a bug and keeps its traceback.
"""

import unicodedata

_LONGEST = 4000  # characters; what a file holds may be quoted, and may be of any length


class PolypError(Exception):
    """Something the user can repair; its text says how.

    What it quotes may come from a stranger's file, so its text is safe to show anywhere: marks
    that steer a terminal, turn the line or are no text at all are written out: "[U+202E]".
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
        return text if text.isprintable() else "".join(map(_show, text))


class ConfigError(PolypError):
    """A setting has a value that cannot be used."""


class ImageError(PolypError):
    """One picture cannot be read."""


class BusyError(ImageError):
    """One picture cannot be read at this moment; the next try may succeed."""


class DatasetError(PolypError):
    """A folder of images cannot become an index."""


class RunError(PolypError):
    """A run directory is missing, damaged or in the wrong state."""


class ModelError(PolypError):
    """A trained model cannot be loaded or converted."""


class EvidenceError(PolypError):
    """Predictions do not allow what was asked of them."""


class AccessError(PolypError):
    """This server does not do that for whoever asks: it is a shared demo, or has set limits."""


def _show(mark: str) -> str:
    is_plain = mark.isprintable() or mark == "\n" or unicodedata.category(mark) == "Zs"
    return mark if is_plain else f"[U+{ord(mark):04X}]"
