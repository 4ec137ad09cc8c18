"""Decoding in a child: the same pictures and errors, and nothing a child does harms the parent."""

import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from polyp_core import safe_decoding
from polyp_core.decoding_worker import write_message
from polyp_core.dicom import MAX_PIXELS, read_header
from polyp_core.errors import BusyError, ImageError
from polyp_core.images import decode_picture
from polyp_core.safe_decoding import DecoderPool, FileFacts, decode_safely, read_facts, warm_decoder
from polyp_core.safe_decoding.answers import receive_answer
from tests.conftest import wait_until
from tests.core.dicom_files import JPEG_2000, RAMP, compress, pack, write_dicom
from tests.core.test_decoding_worker import LINUX, ROOT, has_ended, run_changed, write_png
from tests.core.test_dicom import make_region

RANDOM = np.random.default_rng(0).integers(0, 256, (60, 50, 4)).astype(np.uint8)
FILM = write_dicom(
    np.concatenate([RAMP, RAMP[::-1], RAMP.T]), NumberOfFrames=3, Rows=16, PatientID="4711",
    SeriesInstanceUID="1.2.3", InstanceNumber=5,
    SequenceOfUltrasoundRegions=[make_region(2, 3, 9, 11)],
)  # fmt: skip
# Answers with what the name says, or does it. It starts in a moment, since it imports nothing.
LIAR = """
import json, os, struct, sys, time
def send(message, payload=b""):
    header = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(header)) + header + payload)
    sys.stdout.buffer.flush()
send({"kind": "ready"})
while length := sys.stdin.buffer.read(4):
    request = json.loads(sys.stdin.buffer.read(struct.unpack(">I", length)[0]))
    data = sys.stdin.buffer.read(request["num_bytes"])
    answer = {"kind": "picture", "number": request["number"], "is_last": False,
              "shape": [1, 1, 1], "region": None, "patient": ""}
    match request["name"]:
        case "sleep": time.sleep(600)
        case "rest": time.sleep(0.3)
        case "die": os._exit(3)
        case "crash": os.abort()
        case "half": send(answer | {"shape": [9, 9, 1]}, bytes(10)); os._exit(0)
        case "lie": answer["shape"] = [10**6, 10**6, 3]
        case "babble": sys.stdout.write("x" * 10**6)
        case "fail": answer |= {"kind": "failure", "text": "one\\n\\x1b[31mERROR two\\rthree"}
        case "last": answer["is_last"] = True
    send(answer, bytes([os.getpid() % 256]) if answer["shape"] == [1, 1, 1] else b"")
"""


@pytest.fixture
def liar() -> Iterator[DecoderPool]:
    pool = DecoderPool(size=1, time_limit_s=2, command=[sys.executable, "-S", "-c", LIAR])
    yield pool
    pool.close()


@pytest.fixture(scope="module", autouse=True)
def _end_children() -> Iterator[None]:
    yield
    for seat in safe_decoding._pool._free:
        seat.end()


def save(pixels: np.ndarray | Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, kind, **settings)
    return file.getvalue()


def fail(data: bytes, name: str = "a.png", frame: int = 0, decode=decode_safely) -> str:
    """The text of an ImageError."""
    with pytest.raises(ImageError) as caught:
        decode(data, name, frame)
    return str(caught.value)


# --- the same as in the server -------------------------------------------------------------

PICTURES = {
    "grey PNG": save(RANDOM[..., 0], "PNG"),
    "transparent PNG": save(RANDOM, "PNG"),
    "16 bit PNG": save(RANDOM[..., 0].astype(np.uint16) * 257, "PNG"),
    "JPEG": save(RANDOM[..., :3], "JPEG"),
    "BMP": save(RANDOM[..., :3], "BMP"),
    "TIFF": save(RANDOM[..., :3], "TIFF", compression="tiff_lzw"),
    "WebP": save(RANDOM[..., :3], "WEBP"),
    "packed DICOM": pack([compress(RANDOM[..., 0])], JPEG_2000, RANDOM.shape[:2]),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_the_same_as_in_the_server(kind):
    ours, theirs = decode_safely(PICTURES[kind], "a"), decode_picture(PICTURES[kind], "a")
    assert ours.pixels.dtype == np.uint8
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert (ours.region, ours.patient) == (theirs.region, theirs.patient) == (None, "")


@pytest.mark.parametrize("frame", range(3))
def test_a_frame_of_a_film_is_the_same_as_in_the_server(frame):
    ours, theirs = decode_safely(FILM, "a", frame), decode_picture(FILM, "a", frame)
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert ours.region == theirs.region == (2, 3, 10, 12)
    assert ours.patient == theirs.patient != ""


def test_the_facts_of_a_film_are_those_of_its_header():
    header = read_header(FILM, "a")
    assert read_facts(FILM, "a") == FileFacts(
        num_frames=3, patient=header.patient, series=header.series, number=5
    )


def test_the_facts_of_another_file_cost_no_child(monkeypatch):
    monkeypatch.setattr("polyp_core.safe_decoding.Child", None)
    assert DecoderPool().read_facts(PICTURES["JPEG"], "a") == FileFacts()
    assert (FileFacts().num_frames, FileFacts().patient, FileFacts().number) == (1, "", 0)


BAD_FILES = {
    "empty": b"",
    "text": b"not a picture",
    "another format": save(RANDOM[..., 0], "GIF"),
    "cut short": PICTURES["grey PNG"][:500],
    "several pages": save(
        Image.fromarray(RANDOM), "TIFF", save_all=True, append_images=[Image.fromarray(RANDOM)]
    ),
    "32 bit": save(Image.fromarray(RANDOM[..., 0].astype(np.int32)), "TIFF"),
    "decimal": save(Image.fromarray(RANDOM[..., 0].astype(np.float32)), "TIFF"),
    "too many pixels": b"BM" + PICTURES["BMP"][2:18] + (20000).to_bytes(4, "little") * 2
    + PICTURES["BMP"][26:],
    "DICOM cut short": FILM[:-100],
    "DICOM without pixels": FILM[:200],
    "DICOM of another syntax": FILM.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
def test_an_error_says_the_same_as_in_the_server(kind):
    expected = fail(BAD_FILES[kind], decode=decode_picture)
    assert fail(BAD_FILES[kind]) == expected
    if kind.startswith("DICOM"):
        with pytest.raises(ImageError) as caught:
            read_facts(BAD_FILES[kind], "a.png")
        assert str(caught.value) == expected


def test_a_frame_that_is_not_there_is_refused_with_the_same_words():
    assert fail(FILM, frame=3) == fail(FILM, frame=3, decode=decode_picture)
    assert "has no frame 3" in fail(FILM, frame=3)


@pytest.mark.parametrize("name", ["Übung <b>.png", "line\nbreak", "\udce4\0'", "x" * 65536])
def test_a_name_is_shown_as_it_is(name):
    assert fail(b"?", name) == fail(b"?", name, decode=decode_picture)


def test_a_name_without_end_is_refused():
    assert fail(b"?", "x" * 65537).endswith("has a name of 65537 characters. Expected at most "
                                            "65536. Rename it.")  # fmt: skip


def test_a_file_that_is_too_large_is_refused_unseen(monkeypatch):
    monkeypatch.setattr("polyp_core.safe_decoding.MAX_FILE_BYTES", 5 << 20)
    monkeypatch.setattr("polyp_core.safe_decoding.Child", None)
    text = fail(bytes((6 << 20) + 1), decode=DecoderPool().decode)
    assert text == (
        "'a.png' is too large: 6 MB. Expected at most 5 MB a file. Make it smaller first."
    )


# --- limits --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_png() -> bytes:
    return write_png(np.zeros((3000, 4000, 4), np.uint8))


@LINUX
def test_a_picture_that_takes_too_much_memory_is_given_up(large_png):
    pool = DecoderPool(size=1, memory_limit_mb=400, time_limit_s=60)
    assert fail(large_png, decode=pool.decode) == (
        "'a.png' takes more than 400 MB of memory to decode, so it was given up. Expected at most "
        "40 million pixels, packed in a common way. Make it smaller, or export it again as PNG or "
        "JPEG."
    )
    assert pool.decode(PICTURES["grey PNG"], "a").pixels.shape == (60, 50, 1)
    pool.close()


def test_a_picture_that_takes_too_long_is_given_up(large_png):
    pool = DecoderPool(size=1, time_limit_s=0.05)
    assert "took longer than 0.05 s to decode" in fail(large_png, decode=pool.decode)
    pool.close()


def test_the_largest_picture_that_is_allowed_fits_into_the_memory():
    width_px, height_px = 8000, MAX_PIXELS // 8000
    header = PICTURES["BMP"][:18] + struct.pack("<ii", width_px, height_px) + PICTURES["BMP"][26:54]
    pool = DecoderPool(size=1, time_limit_s=100)
    picture = pool.decode(header + bytes(3 * width_px * height_px), "a")
    assert picture.pixels.shape == (height_px, width_px, 3)
    pool.close()


def test_a_child_that_hangs_is_killed_and_replaced(liar):
    liar.decode(b"", "good")
    child = liar._free[0].child.process
    assert fail(b"", "sleep", decode=liar.decode) == (
        "'sleep' took longer than 2 s to decode, so it was given up. Expected at most 40 million "
        "pixels, packed in a common way. Make it smaller, or export it again as PNG or JPEG."
    )
    assert child.returncode is not None
    assert not psutil.pid_exists(child.pid)
    assert liar.decode(b"", "good").pixels.shape == (1, 1, 1)


# --- children that fail --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["die", "crash", "half"])
def test_a_child_that_dies_is_replaced(liar, name, caplog):
    text = fail(bytes(10**6), name, decode=liar.decode)
    assert text == (
        f"'{name}' cannot be read: the decoder failed on it (it ended). Copy or export it again, "
        "as PNG if possible."
    )
    code = {"die": "3", "crash": "-6", "half": "0"}[name]
    if sys.platform != "win32":
        assert caplog.messages == [f"A decoder ended in the middle of a file, with {code}."]
    assert liar.decode(b"", "good").pixels.shape == (1, 1, 1)


@pytest.mark.parametrize("name", ["lie", "babble"])
def test_a_child_that_lies_is_not_believed_and_replaced(liar, name, caplog):
    child = liar.decode(b"", "good") and liar._free[0].child.process
    assert "its answer was damaged" in fail(b"", name, decode=liar.decode)
    assert caplog.messages == ["A decoder gave a damaged answer (ValueError)."]
    assert child.returncode is not None
    assert liar.decode(b"", "good").pixels.shape == (1, 1, 1)


def test_a_failure_is_logged_and_forges_no_line(liar, caplog):
    assert fail(b"", "fail", decode=liar.decode) == (
        "'fail' cannot be read: the decoder failed on it (the server's log says where). Copy or "
        "export it again, as PNG if possible."
    )
    assert caplog.messages == ["A decoder failed:\n  | one\n  | ?[31mERROR two\n  | three"]


def test_a_bug_in_the_decoder_names_its_place_in_the_log(caplog):
    code = "def fail(*_): raise KeyError('Doe')\nw.decode_picture = fail"
    pool = DecoderPool(size=1, command=[sys.executable, *run_changed(code)])
    assert "the server's log says where" in fail(b"x", decode=pool.decode)
    assert "in fail" in caplog.text
    assert caplog.messages[0].endswith("  | KeyError")
    pool.close()


GOOD = {"kind": "picture", "number": 1, "is_last": False, "shape": [2, 3, 1], "region": None,
        "patient": ""}  # fmt: skip
FACTS = {"kind": "facts", "number": 1, "is_last": False, "num_frames": 1, "patient": "",
         "series": "", "place": 0}  # fmt: skip


def receive(answer: dict, task: str = "decode"):
    stream = io.BytesIO()
    write_message(stream, answer, bytes(6))
    stream.seek(0)
    return receive_answer(stream, {"number": 1, "task": task, "name": "a"}, 2048)


@pytest.mark.parametrize(
    "lie",
    [
        {"number": 2}, {"number": None}, {"is_last": 0}, {"kind": "ready"}, {"kind": "facts"},
        {"kind": ["picture"]}, {"shape": [0, 3, 1]}, {"shape": [2, 3, 2]}, {"shape": [2, 3, 4]},
        {"shape": [-2, -3, 1]}, {"shape": [True, 3, 1]}, {"shape": [2.0, 3, 1]}, {"shape": [2, 3]},
        {"shape": "231"}, {"shape": None}, {"shape": [6325, 6325, 1]}, {"shape": [10**30, 1, 1]},
        {"region": [0, 0, 4, 2]}, {"region": [2, 0, 2, 2]}, {"region": [-1, 0, 2, 2]},
        {"region": [0, 0, 2]}, {"region": "text"}, {"region": [0, 0, 2, "2"]},
        {"patient": "Doe"}, {"patient": None}, {"patient": "dicom-0123456789ab\n"},
    ],
    ids=str,
)  # fmt: skip
def test_a_lie_about_a_picture_is_not_believed(lie):
    (picture, is_last) = receive(GOOD)
    assert picture.pixels.shape == (2, 3, 1)
    assert not is_last
    with pytest.raises((KeyError, TypeError, ValueError)):
        receive(GOOD | lie)


@pytest.mark.parametrize(
    "lie",
    [
        {"num_frames": 0}, {"num_frames": 10**9}, {"num_frames": "1"}, {"place": 1 << 40},
        {"series": "1.2.3"}, {"series": "dicom-0123456789ab"}, {"patient": ["x"]},
        {"kind": "picture"},
    ],
    ids=str,
)  # fmt: skip
def test_a_lie_about_facts_is_not_believed(lie):
    assert receive(FACTS, "facts")[0] == FileFacts()
    with pytest.raises((KeyError, TypeError, ValueError)):
        receive(FACTS | lie, "facts")


def test_an_answer_that_lacks_pixels_is_no_picture():
    with pytest.raises(EOFError):
        receive(GOOD | {"shape": [2, 4, 1]})


@pytest.mark.parametrize(
    "command", [["-c", "raise SystemExit(1)"], ["-c", "print('hello, hello')"]]
)
def test_a_decoder_that_does_not_start_is_told(command, caplog):
    pool = DecoderPool(size=1, command=[sys.executable, "-S", *command])
    pool.warm()
    assert fail(b"", decode=pool.decode) == (
        "'a.png' cannot be read: the decoder did not start. Expected a computer with memory to "
        "spare. Try again in a moment; the server's log may say more."
    )
    assert caplog.messages[0].startswith("A decoder did not start")
    assert pool._free[0].child is None


def test_a_decoder_that_is_not_there_is_told(tmp_path):
    pool = DecoderPool(command=[str(tmp_path / "nothing")])
    pool.warm()
    with pytest.raises(BusyError, match="the decoder did not start"):  # so it may be tried again
        pool.decode(b"", "a.png")


def test_a_decoder_that_takes_too_long_to_start_is_told():
    command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    pool = DecoderPool(command=command, start_limit_s=0.2)
    assert "the decoder did not start" in fail(b"", decode=pool.decode)


# --- the pool ------------------------------------------------------------------------------


def test_many_threads_get_their_own_pictures():
    files = [write_png(np.full((10 + n, 20, 3), n, np.uint8)) for n in range(24)]
    with ThreadPoolExecutor(12) as threads:
        pictures = list(threads.map(decode_safely, files * 4, ["a"] * 96))
    for number, picture in enumerate(pictures):
        assert np.array_equal(picture.pixels, np.full((10 + number % 24, 20, 3), number % 24))


def test_who_asked_first_is_served_first(liar):
    liar.decode(b"", "good")
    finished: list[int] = []

    def ask(number: int) -> None:
        liar.decode(b"", "rest")
        finished.append(number)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_until(lambda n=number: len(liar._turns) == n and not liar._free, "its turn")
    for thread in threads:
        thread.join()
    assert finished == [0, 1, 2, 3, 4]


def test_who_waits_too_long_for_a_decoder_is_told():
    command = [sys.executable, "-S", "-c", LIAR]
    pool = DecoderPool(size=1, command=command, time_limit_s=60, wait_limit_s=0.1)
    pool.decode(b"", "good")
    thread = threading.Thread(target=fail, args=[b"", "sleep", 0, pool.decode])
    thread.start()
    wait_until(lambda: not pool._free, "the decoder to be taken")
    assert fail(b"", decode=pool.decode) == (
        "'a.png' was not decoded: many pictures are waiting, and its turn did not come. Expected "
        "it within 0.1 s. Try again in a moment."
    )
    with pytest.raises(BusyError):  # so it may be tried again
        pool.decode(b"", "a.png")
    pool._seats[0].child.kill()
    thread.join()
    assert not pool._turns
    assert len(pool._free) == 1
    pool.close()


def test_one_slow_file_does_not_hold_up_the_others():
    pool = DecoderPool(command=[sys.executable, "-S", "-c", LIAR], time_limit_s=60)
    assert 2 <= len(pool._seats) <= 4
    thread = threading.Thread(target=fail, args=[b"", "sleep", 0, pool.decode])
    thread.start()
    wait_until(lambda: len(pool._free) < len(pool._seats), "the slow file to begin")
    assert pool.decode(b"", "good").pixels.shape == (1, 1, 1)
    assert thread.is_alive()
    for seat in pool._seats:
        if seat.child:
            seat.child.kill()
    thread.join()
    pool.close()


def test_warming_starts_one_child_that_then_does_the_work(liar):
    liar.warm()
    child = liar._free[0].child
    assert not child.is_ready  # nobody has waited for it
    liar.warm()
    assert liar.decode(b"", "good").pixels[0, 0, 0] == child.process.pid % 256
    liar.warm()
    assert liar._free[0].child is child


def test_a_child_that_has_died_meanwhile_is_replaced_unnoticed(liar):
    liar.decode(b"", "good")
    child = liar._free[0].child.process
    child.kill()
    child.wait()
    assert liar.decode(b"", "good").pixels.shape == (1, 1, 1)


def test_a_child_that_is_done_is_replaced_after_its_last_answer(liar):
    liar.decode(b"", "good")
    child = liar._free[0].child.process
    assert liar.decode(b"", "last").pixels.shape == (1, 1, 1)
    assert child.returncode is not None
    assert liar._free[0].child.process.pid != child.pid  # its successor starts already
    assert liar.decode(b"", "good").pixels.shape == (1, 1, 1)


def test_no_child_remains_when_a_pool_is_gone():
    pool = DecoderPool(command=[sys.executable, "-S", "-c", LIAR])
    pool.decode(b"", "good")
    child = pool._free[-1].child.process
    del pool
    assert child.returncode is not None
    assert not psutil.pid_exists(child.pid)
    assert child.stdin.closed
    assert child.stdout.closed


SERVER = f"""
import os, sys, threading, time
from polyp_core import safe_decoding
pool = safe_decoding.DecoderPool(size=2, command=[sys.executable, "-S", "-c", {LIAR!r}])
pool.decode(b"", "good")
thread = threading.Thread(target=pool.decode, args=[b"", sys.argv[1]], daemon=True)
thread.start()
while len(pool._free) == 2: time.sleep(0.01)
pool.decode(b"", "good")
print(*(seat.child.process.pid for seat in pool._seats), flush=True)
if sys.argv[1] == "sleep": sys.exit()
time.sleep(600)
"""


def start_server(name: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A process with an idle child and one at work."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, name],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return server, [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]


def test_children_end_with_the_server_even_in_the_middle_of_a_file():
    server, children = start_server("sleep")
    with server:
        assert server.wait(60) == 0
    for child in children:
        wait_until(lambda child=child: has_ended(child), "a child to end")


def test_children_end_when_the_server_is_killed():
    server, children = start_server("rest")
    with server:
        assert len(children) == 2
        server.kill()
    for child in children:
        wait_until(lambda child=child: has_ended(child), "a child to end")


@LINUX
def test_a_child_is_told_no_secret(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "4711")
    pool = DecoderPool(size=1)
    pool.warm()
    child = pool._free[0].child.process
    environment = Path(f"/proc/{child.pid}/environ").read_text()
    assert "PATH=" in environment
    assert "4711" not in environment
    assert os.getsid(child.pid) == child.pid  # a session of its own, that can be killed as one
    pool.close()


def test_importing_it_starts_nothing_and_loads_nothing_heavy():
    code = (
        "import sys, psutil\nfrom polyp_core import safe_decoding\n"
        "assert not psutil.Process().children()\n"
        "print(sorted({'pandas', 'streamlit', 'pydicom', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "[]\n"


def test_the_first_page_can_warm_the_decoder_of_all():
    warm_decoder()
    assert safe_decoding._pool._free[-1].child is not None
    assert decode_safely(PICTURES["JPEG"], "a").pixels.shape == (60, 50, 3)
