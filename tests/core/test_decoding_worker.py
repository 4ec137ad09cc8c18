"""The decoding child, spoken to directly through its pipes."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from polyp_core.decoding_worker import (
    MAX_MESSAGE_BYTES,
    read_exactly,
    read_message,
    write_message,
)
from polyp_core.images import decode_picture
from tests.conftest import wait_until
from tests.core.dicom_files import RAMP, write_dicom

ROOT = Path(__file__).parents[2]
WORKER = ("-m", "polyp_core.decoding_worker", "2048", "60")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what the limits bound differs")


def write_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextmanager
def start_worker(*arguments: str) -> Iterator[subprocess.Popen]:
    """A worker that is ready; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert read_message(process.stdout) == {"kind": "ready"}
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen, data: bytes, task: str = "decode", **settings) -> dict:
    """One question, and the header of its answer."""
    request = {"number": 7, "task": task, "name": "a.png", "frame": 0, "num_bytes": len(data)}
    write_message(process.stdin, request | settings, data)
    answer = read_message(process.stdout)
    assert answer["number"] == 7
    return answer


def run_changed(code: str, memory_mb: int = 2048) -> tuple[str, ...]:
    """The arguments of a worker in which something is replaced: `w` is its module."""
    return "-c", f"import polyp_core.decoding_worker as w\n{code}\nw.main({memory_mb}, 60.0)"


def test_a_worker_answers_until_stdin_ends_and_then_ends_well():
    picture = write_png(RAMP)
    film = write_dicom(
        np.concatenate([RAMP, RAMP[::-1]]), NumberOfFrames=2, Rows=16, PatientID="4711",
        SeriesInstanceUID="1.2.3", InstanceNumber=5,
    )  # fmt: skip
    with start_worker(*WORKER) as worker:
        answer = ask(worker, picture)
        assert answer == {
            "kind": "picture", "shape": [16, 16, 1], "region": None, "patient": "", "number": 7,
            "is_last": False,
        }  # fmt: skip
        assert read_exactly(worker.stdout, bytearray(256)) == RAMP.tobytes()
        answer = ask(worker, film, frame=1)
        assert answer["patient"] == decode_picture(film, "a").patient
        assert read_exactly(worker.stdout, bytearray(256)) == RAMP[::-1].tobytes()
        facts = ask(worker, film, "facts")
        assert facts["num_frames"] == 2
        assert facts["place"] == 5
        assert facts["series"].startswith("series-")
        assert facts["patient"] == answer["patient"]
        assert ask(worker, picture, "facts")["num_frames"] == 1
        refused = ask(worker, picture[:40])
        assert refused["kind"] == "refused"
        assert refused["text"].startswith("'a.png' is ")
        worker.stdin.close()
        assert worker.wait(60) == 0
        assert worker.stdout.read() == b""


def test_a_bug_is_reported_without_a_word_of_the_file():
    code = "def fail(*_): print('noise'); raise KeyError('Doe^Jane')\nw.decode_picture = fail"
    with start_worker(*run_changed(code)) as worker:
        answer = ask(worker, b"x")
        assert answer["kind"] == "failure"
        assert "KeyError" in answer["text"]
        assert "in fail" in answer["text"]
        assert "Doe^Jane" not in answer["text"].replace(code.splitlines()[0], "")
        assert ask(worker, b"x")["kind"] == "failure"  # and it lives on, undisturbed by the noise


def test_a_picture_that_needs_too_much_memory_is_the_last_one():
    code = "def fail(*_): raise MemoryError\nw.decode_picture = fail"
    with start_worker(*run_changed(code)) as worker:
        answer = ask(worker, b"x")
        assert (answer["kind"], answer["is_last"]) == ("memory", True)
        assert worker.wait(60) == 0


@LINUX
def test_a_worker_that_keeps_memory_makes_way_for_a_fresh_one():
    code = (
        "w._MAX_IDLE_BYTES = 200 << 20\nkept = []\ndecode = w.decode_picture\n"
        "def leak(*a): kept.append(b'x' * (60 << 20)); return decode(*a)\nw.decode_picture = leak"
    )
    with start_worker(*run_changed(code)) as worker:
        answers = []
        while not answers or not answers[-1]["is_last"]:
            answers.append(ask(worker, write_png(RAMP)))
            read_exactly(worker.stdout, bytearray(256))
        assert 2 <= len(answers) <= 4
        assert worker.wait(60) == 0


def test_a_worker_makes_way_after_so_many_files():
    with start_worker(*run_changed("w._MAX_FILES = 3")) as worker:
        last = [ask(worker, b"x")["is_last"] for _ in range(3)]
        assert last == [False, False, True]
        assert worker.wait(60) == 0


@LINUX
def test_a_worker_is_limited_in_all_that_it_may_do():
    with start_worker(*WORKER) as worker:
        text = Path(f"/proc/{worker.pid}/limits").read_text()
        limits = {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()[1:]}
        assert limits["Max address space"] == [str(2 << 30)] * 2
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max file size"] == ["0", "0"]
        assert limits["Max open files"] == ["64", "64"]
        assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"


@LINUX
def test_a_worker_writes_no_file(tmp_path):
    path = tmp_path / "stolen"
    code = f"def steal(data, *_): w.Path({str(path)!r}).write_bytes(data)\nw.decode_picture = steal"
    with start_worker(*run_changed(code)) as worker:
        answer = ask(worker, b"x" * 10)
    assert answer["text"].endswith("OSError")
    assert path.stat().st_size == 0


def test_a_worker_imports_nothing_heavy():
    code = (
        "import sys\ndef tell(*_): raise w.ImageError(' '.join(sys.modules))\n"
        "w.decode_picture = tell"
    )
    with start_worker(*run_changed(code)) as worker:
        modules = set(ask(worker, b"x")["text"].split())
    heavy = {"pandas", "streamlit", "tensorflow", "keras", "scipy", "sklearn", "pydicom", "psutil"}
    assert "PIL.TiffImagePlugin" in modules
    assert not modules & heavy
    assert "PIL.EpsImagePlugin" not in modules


def test_a_worker_that_is_left_alone_with_a_slow_file_ends():
    code = "import time\ndef hang(*_): time.sleep(600)\nw.decode_picture = hang"
    arguments = run_changed(code)
    with start_worker(arguments[0], arguments[1].replace("60.0", "0.2")) as worker:
        with pytest.raises(EOFError):
            ask(worker, b"x")
        assert worker.wait(60) != 0


def test_a_worker_ends_when_its_parent_is_killed():
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, *{WORKER!r}], stdin=-1, stdout=-1)\n"
        "child.stdout.read(4)\nprint(child.pid, flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ROOT}
    ) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert "polyp_core.decoding_worker" in child.cmdline()
        parent.kill()
    wait_until(lambda: has_ended(child), "the worker to end")


def has_ended(process: psutil.Process) -> bool:
    """An orphan whom nobody buries counts as ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_message_comes_out_as_it_went_in():
    message = {"name": "Übung \udce4\n'", "number": 1}
    stream = io.BytesIO()
    write_message(stream, message, b"abc")
    stream.seek(0)
    assert read_message(stream) == message
    assert read_exactly(stream, bytearray(3)) == b"abc"
    with pytest.raises(EOFError):
        read_exactly(stream, bytearray(1))


@pytest.mark.parametrize(
    "data", [(MAX_MESSAGE_BYTES + 1).to_bytes(4), b"\0\0\0\2{]", b"\0\0\0\2[]", b"\0\0\0\1\xff"]
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011
        read_message(io.BytesIO(data))
