"""In which order the files stand, and whose they are."""

from dataclasses import dataclass

from polyp_core.dataset import find_group, guess_groups
from polyp_core.safe_decoding import FileFacts


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """A file that was taken.

    Attributes:
        name: Unique.
        path: As it came, where patients are looked for.
        data: Its content.
        facts: What its header says.
    """

    name: str
    path: str
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


def find_patients(files: list[TakenFile], pattern: str) -> list[str]:
    """The patient of each file; "" where unknown.

    Unlike in a data set, one patient alone is taken at its word: whoever asks for an answer often
    drops the images of one patient.
    """
    guesses, source = guess_groups([file.path.rsplit("/", 1)[-1] for file in files])
    return [
        file.facts.patient
        or (_match_path(file.path, pattern) if pattern else "")
        or find_group(file.path, "")
        or (guess if source else "")
        or (file.name if file.facts.num_frames > 1 else "")
        for file, guess in zip(files, guesses, strict=True)
    ]


def _match_path(path: str, pattern: str) -> str:
    """The pattern was made for paths below a class folder: the file's name first, then more."""
    parts = path.split("/")
    for start in reversed(range(len(parts))):
        if group := find_group("/".join(parts[start:]), pattern):
            return group
    return ""
