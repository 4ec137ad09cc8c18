"""Many sheets and the table of all answers, as one zip."""

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from polyp_core.answers.credentials import Credentials
from polyp_core.answers.pooling import PatientAnswer
from polyp_core.answers.sheet import write_sheet
from polyp_core.answers.table import Result, tabulate, write_csv
from polyp_core.intake import Item
from polyp_core.prediction import Classifier, Prediction

MAX_SHEETS = 200  # about a megabyte each
_UNSAFE = re.compile(r"[^\w-]+", re.ASCII)
_NOTE = """Sheets stand here for the first {most} pictures only; a zip of all would be too large.
All answers are in predictions.csv. Drop fewer pictures at once to have a sheet of each.
"""


def write_sheets(
    rows: Iterable[tuple[Item, Result]],
    classifier: Classifier,
    credentials: Credentials,
    *,
    patients: Sequence[PatientAnswer] = (),
    made_at: datetime | None = None,
) -> bytes:
    """A zip of a sheet for each picture that was answered, and predictions.csv for all.

    Of more pictures than `MAX_SHEETS` the others have no sheet, which a note says.

    Args:
        rows: A picture, and its prediction or the error that says why there is none; may be a
            generator, so that one picture at a time is held.
        classifier: Whose threshold and band hold.
        credentials: Of the model.
        patients: Pooled answers, put on the sheets of their patients.
        made_at: Defaults to now, in local time.

    Returns:
        The zip. No name in it comes from a path: letters, digits, "-" and "_" alone, numbered.
    """
    made_at = made_at or datetime.now().astimezone()
    pooled = {answer.patient: answer for answer in patients}
    answered: list[tuple[Item, Result]] = []
    names: list[str] = []  # of the sheets, "" where there is none
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, (item, result) in enumerate(rows, start=1):
            has_room = sum(map(bool, names)) < MAX_SHEETS
            names.append("")
            if isinstance(result, Prediction) and has_room:
                names[-1] = _name_sheet(number, item)
                patient = pooled.get(item.patient)
                sheet = write_sheet(
                    result, classifier, credentials, item=item, patient=patient, made_at=made_at
                )
                archive.writestr(names[-1], sheet)
            answered.append((item, _drop_picture(result)))
        table = tabulate(answered, classifier).assign(sheet=names)
        archive.writestr("predictions.csv", write_csv(table))
        if any(not name and not error for name, error in zip(names, table["error"], strict=True)):
            archive.writestr("read me.txt", _NOTE.format(most=MAX_SHEETS))
    return packed.getvalue()


def _drop_picture(result: Result) -> Result:
    """What the table needs: a thousand pictures would not fit into memory."""
    if isinstance(result, Prediction):
        return replace(result, picture=result.picture[:1, :1].copy(), box=(0, 0, 1, 1))
    return result


def _name_sheet(number: int, item: Item) -> str:
    stem = item.name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    stem = _UNSAFE.sub("-", stem)[:60].strip("-") or "image"
    frame = f"-frame-{item.frame + 1}" if item.num_frames > 1 else ""
    return f"{number:04}-{stem}{frame}.html"
