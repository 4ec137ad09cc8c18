"""From predictions to what can be taken away: answers by patient, a table, a page an image.

`pooling` makes one answer of a patient's images, `table` a row a picture, `sheet` a page that
opens without a network and prints on A4, `bundle` a zip of them, `pictures` what is drawn.
"""

from polyp_core.answers.bundle import MAX_SHEETS, write_sheets
from polyp_core.answers.credentials import NOTICE, Credentials, read_credentials
from polyp_core.answers.pictures import encode_thumbnail, outline_region
from polyp_core.answers.pooling import PatientAnswer, pool_patients, say_pooling
from polyp_core.answers.sheet import write_sheet
from polyp_core.answers.table import guard_formula, tabulate, write_csv
from polyp_core.answers.wording import say_familiarity, say_known, say_level, say_probability

__all__ = [
    "MAX_SHEETS",
    "NOTICE",
    "Credentials",
    "PatientAnswer",
    "encode_thumbnail",
    "guard_formula",
    "outline_region",
    "pool_patients",
    "read_credentials",
    "say_familiarity",
    "say_known",
    "say_level",
    "say_pooling",
    "say_probability",
    "tabulate",
    "write_csv",
    "write_sheet",
    "write_sheets",
]
