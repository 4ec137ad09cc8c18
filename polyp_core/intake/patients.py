"""In which order the files stand, and whose they are."""

from dataclasses import dataclass

from polyp_core.dataset import find_group, find_number, guess_groups
from polyp_core.safe_decoding import FileFacts


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """A file that was taken.

    Attributes:
        name: Unique.
        path: As it came, where patients are looked for.
        source: The zip or the dropped folder that it came in, told from any other; "" for none.
        below: The path within that.
        data: Its content.
        facts: What its header says.
    """

    name: str
    path: str
    source: str
    below: str
    data: bytes
    facts: FileFacts


def order_files(files: list[TakenFile]) -> list[TakenFile]:
    """The images of one series by their numbers, where its first one stands."""
    places: dict[str, int] = {}
    keys = []
    for place, file in enumerate(files):
        series = file.facts.series
        first = places.setdefault(series, place) if series else place
        keys.append((first, file.facts.number if series else 0, place))
    return [files[place] for _, _, place in sorted(keys)]


def find_patients(files: list[TakenFile], pattern: str, *, are_numbered: bool) -> list[str]:
    """The patient of each file; "" where unknown.

    Unlike in a data set, one patient alone is taken at its word: whoever asks for an answer often
    drops the images of one patient.
    """
    names = [file.path.rsplit("/", 1)[-1] for file in files]
    if are_numbered:
        guesses, way = [find_number(name) for name in names], "numbers"
    else:
        guesses, way = guess_groups(names)
    are_many = len({file.source for file in files if file.source}) > 1
    return [
        file.facts.patient
        or _find_told(file, pattern, guess if way else "", are_many)
        or (file.name if file.facts.num_frames > 1 else "")
        for file, guess in zip(files, guesses, strict=True)
    ]


def _find_told(file: TakenFile, pattern: str, guess: str, are_many: bool) -> str:
    """The patient that a path tells; of several zips or folders each has its own "patient-01"."""
    told = _find_in_path(file.path, pattern) or guess
    if not told or not file.source or not are_many:
        return told
    is_told_within = told == (_find_in_path(file.below, pattern) or guess)
    # A folder that is a patient's own says it all; a second zip of the same name is another.
    is_own = not is_told_within and file.path.startswith(f"{file.source}/")
    return told if is_own else f"{file.source}/{told}"


def _find_in_path(path: str, pattern: str) -> str:
    return (_match_path(path, pattern) if pattern else "") or find_group(path, "")


def _match_path(path: str, pattern: str) -> str:
    """The pattern was made for paths below a class folder: the file's name first, then more."""
    parts = path.split("/")
    for start in reversed(range(len(parts))):
        if group := find_group("/".join(parts[start:]), pattern):
            return group
    return ""
