"""Thousands of files are classified one after the other, in a memory that does not grow."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from polyp_core.dicom import read_header
from polyp_core.errors import ImageError
from polyp_core.familiarity import Verdict
from polyp_core.images import Picture, decode_pictures, is_dicom, read_file
from polyp_core.prediction.classifier import Classifier, Prediction
from polyp_core.prediction.predictor import count_cores

_PARTS_A_THREAD = 3  # under way, so that no thread waits for the reader of the answers
_ARCHIVE = b"PK\x03\x04"  # how a zip begins
_MAX_PART = 8  # files that a thread takes at once, and pictures that it classifies at once
_MAX_BATCH_BYTES = 4_000_000  # of pictures that wait for one more


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """What the model says of one picture of a file, without the picture itself.

    Attributes:
        path: Of the file.
        frame: Of a film, counted from 0.
        is_film: Whether the file holds more than one picture.
        error: Why there is no answer; "" where there is one. All below is None or "" then.
        probability: Of the positive class, in [0, 1].
        class_name: The class at the run's threshold.
        is_sure: False where the probability is in the band in which no answer is to be given.
        verdict: Whether the picture is like the training images; None where the run cannot tell.
    """

    path: Path
    frame: int
    is_film: bool = False
    error: str = ""
    probability: float | None = None
    class_name: str = ""
    is_sure: bool | None = None
    verdict: Verdict | None = None

    @property
    def is_refused(self) -> bool:
        """As of a `Prediction`."""
        return self.verdict is not None and self.verdict.is_stranger


_Read = tuple[int, FileAnswer, Picture | None]  # number of the file, what is known, its picture


def classify_files(
    classifier: Classifier, paths: Iterable[Path], num_threads: int | None = None
) -> Iterator[list[FileAnswer]]:
    """Classify files in a few threads.

    Args:
        classifier: Of a run.
        paths: Taken one by one, as they are needed.
        num_threads: Defaults to the cores that there are.

    Yields:
        For each path, in order, the answers to its pictures: one, or of a film one a frame. What
        cannot be read is an answer with an error.
    """
    num_threads = num_threads or count_cores()
    rest, num_parts = iter(paths), 0
    waiting: deque[Future[list[list[FileAnswer]]]] = deque()
    with ThreadPoolExecutor(num_threads, "classify") as pool:
        try:
            # Handing over costs as much as a tenth of a small image, so it is done for several at
            # once; small parts first, so that few files keep all threads busy as well.
            while part := list(islice(rest, min(_MAX_PART, 1 + num_parts // (2 * num_threads)))):
                num_parts += 1
                waiting.append(pool.submit(_classify_part, classifier, part))
                if len(waiting) > _PARTS_A_THREAD * num_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:  # also where the reader has seen enough
            for future in waiting:
                future.cancel()


def _classify_part(classifier: Classifier, paths: list[Path]) -> list[list[FileAnswer]]:
    answers: list[list[FileAnswer]] = [[] for _ in paths]
    read = ((number, *each) for number, path in enumerate(paths) for each in _read_file(path))
    for batch in _gather(read):
        for (number, _, _), answer in zip(batch, _classify(classifier, batch), strict=True):
            answers[number].append(answer)
    return [
        found if len(found) == 1 else [replace(answer, is_film=True) for answer in found]
        for found in answers
    ]


def _read_file(path: Path) -> Iterator[tuple[FileAnswer, Picture | None]]:
    """The pictures of a file, each behind an answer to be filled in; or an error and no picture."""
    try:
        data = read_file(path, path.name)
    except (ImageError, MemoryError) as error:
        yield FileAnswer(path=path, frame=0, error=_say_problem(error, path)), None
        return
    if data.startswith(_ARCHIVE):
        said = (
            f"'{path.name}' is an archive. Expected an image. Unpack it and give its folder; the "
            "predict page takes it as it is."
        )
        yield FileAnswer(path=path, frame=0, error=said), None
        return
    frame = 0
    num_frames: int | None = None  # not known before one of them fails
    while num_frames is None or frame < num_frames:
        rest = None if num_frames is None else range(frame, num_frames)
        try:
            for picture in decode_pictures(data, path.name, rest):
                yield FileAnswer(path=path, frame=frame), picture
                frame += 1
            return
        except (ImageError, MemoryError) as error:  # the frames behind it may be sound
            yield FileAnswer(path=path, frame=frame, error=_say_problem(error, path)), None
            frame += 1
            num_frames = num_frames or _count_frames(data, path.name)


def _gather(read: Iterable[_Read]) -> Iterator[list[_Read]]:
    """Several pictures at once, unless they are large."""
    batch: list[_Read] = []
    num_bytes = 0
    for each in read:
        batch.append(each)
        num_bytes += 0 if each[2] is None else each[2].pixels.nbytes
        if len(batch) == _MAX_PART or num_bytes >= _MAX_BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _classify(classifier: Classifier, batch: list[_Read]) -> list[FileAnswer]:
    named = [(picture, answer.path.name, answer.frame) for _, answer, picture in batch if picture]
    try:
        predictions = iter(classifier.classify_pictures(named))
    except MemoryError as error:
        if len(batch) > 1:
            return [answer for each in batch for answer in _classify(classifier, [each])]
        answer = batch[0][1]
        return [replace(answer, error=_say_problem(error, answer.path))]
    return [
        answer if picture is None else _fill_in(answer, next(predictions))
        for _, answer, picture in batch
    ]


def _fill_in(answer: FileAnswer, prediction: Prediction) -> FileAnswer:
    return replace(
        answer,
        probability=prediction.probability,
        class_name=prediction.class_name,
        is_sure=prediction.is_sure,
        verdict=prediction.verdict,
    )


def _count_frames(data: bytes, name: str) -> int:
    """How many pictures a file holds that cannot all be read; 1 where nothing of it can be."""
    if not is_dicom(data):
        return 1
    try:
        return read_header(data, name).num_frames
    except (ImageError, MemoryError):
        return 1


def _say_problem(error: ImageError | MemoryError, path: Path) -> str:
    if isinstance(error, ImageError):
        return str(error)
    return (
        f"'{path.name}' needs more memory than is free. Expected an image that this computer can "
        "hold. Close other programs, or make the image smaller."
    )
