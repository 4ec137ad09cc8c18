"""A run leaves the app: its model in other forms, and a bundle that others can run and check.

`formats` are the forms, `preprocessing` what travels with each, `making` writes and proves one,
`images` are what it is proved on, `child` is how another process is asked; `sharing` is the run
without names, `bundle` the zip of all, `readme` and `predict` are the text and the script in it.
What takes TensorFlow is done by `export_worker`, and opened again by `export_check`.
"""

from polyp_core.exports.bundle import Bundle, write_bundle
from polyp_core.exports.formats import FORMATS, Format, is_available, say_obstacle
from polyp_core.exports.making import Export, check_free, export_all, export_run, write_new
from polyp_core.exports.preprocessing import describe_preprocessing, write_preprocessing

__all__ = [
    "FORMATS",
    "Bundle",
    "Export",
    "Format",
    "check_free",
    "describe_preprocessing",
    "export_all",
    "export_run",
    "is_available",
    "say_obstacle",
    "write_bundle",
    "write_new",
    "write_preprocessing",
]
