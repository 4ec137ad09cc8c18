"""The errors a user can repair.

    PolypError
    ├── ConfigError    a setting has a value that cannot be used
    ├── ImageError     one picture cannot be read
    ├── DatasetError   a folder of images cannot become an index
    ├── RunError       a run directory is missing, damaged or in the wrong state
    ├── ModelError     a trained model cannot be loaded or converted
    └── EvidenceError  predictions do not allow what was asked of them

A `PolypError` says what happened and where, what was expected and what to do. Everything else
that is raised is a bug and keeps its traceback.
"""


class PolypError(Exception):
    """Something the user can repair; its text says how."""


class ConfigError(PolypError):
    """A setting has a value that cannot be used."""


class ImageError(PolypError):
    """One picture cannot be read."""


class DatasetError(PolypError):
    """A folder of images cannot become an index."""


class RunError(PolypError):
    """A run directory is missing, damaged or in the wrong state."""


class ModelError(PolypError):
    """A trained model cannot be loaded or converted."""


class EvidenceError(PolypError):
    """Predictions do not allow what was asked of them."""
