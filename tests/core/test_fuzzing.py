"""A short slice of `benchmarks/fuzz.py`, the same each time; and that the long run sees a break."""

import json
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz
from benchmarks.fuzzing import run_files
from benchmarks.fuzzing.journal import Journal
from benchmarks.fuzzing.mutation import MAX_BYTES, mutate_json
from benchmarks.fuzzing.runner import Trial, name_kind
from benchmarks.fuzzing.targets import TARGETS, check_words
from polyp_core.config import SECTIONS, RunConfig
from polyp_core.errors import ImageError, PolypError
from polyp_core.evidence.goals import GOALS
from tests.core.dicom_files import EXPLICIT, RAMP, write_dicom

# What hypothesis keeps of characters and constants does not come to lie in the project.
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir(), "polyp-hypothesis"))
SLICE = {"image": 250, "dicom": 120, "zip": 120, "intake": 120, "manifest": 250, "config": 250,
         "settings": 200, "run": 60, "bundle": 60}  # fmt: skip


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    """Every target's check, each in a folder of its own."""
    return {
        name: target.open_check(tmp_path_factory.mktemp(name)) for name, target in TARGETS.items()
    }


def try_input(check, data: bytes) -> bool:
    """Whether it is accepted; everything but a refusal in words that can be shown comes out."""
    try:
        check(data)
    except PolypError as error:
        check_words(error)
        return False
    return True


def quick(num_examples: int):
    return settings(
        max_examples=num_examples, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# --- changed files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SLICE))
def test_a_changed_file_is_read_or_refused_in_our_words(checks, name):
    target = TARGETS[name]
    seeds = target.make_seeds()
    changed = (target.mutate(Random(n).choice(seeds), Random(n), seeds) for n in range(SLICE[name]))
    outcomes = {try_input(checks[name], data) for data in changed}
    assert outcomes == {True, False}


def test_every_target_has_its_part_of_the_long_run():
    assert list(fuzz.SHARES) == list(SLICE) == list(TARGETS)
    assert sum(fuzz.SHARES.values()) == 100


@pytest.mark.parametrize("name", list(TARGETS))
def test_one_seed_gives_the_same_changes_again(name):
    target, seeds = TARGETS[name], TARGETS[name].make_seeds()

    def change(number: int) -> list[bytes]:
        rng = Random(number)
        return [target.mutate(seeds[n % len(seeds)], rng, seeds) for n in range(30)]

    assert change(1) == change(1)
    assert change(1) != change(2)
    assert max(map(len, change(1))) <= MAX_BYTES


# --- files of any content, drawn and made smaller by hypothesis ------------------------------

MARKS = st.sampled_from("ab19-=.,;:|%\"'\\/{}[]()*?<>&$\0\n\r\t é٣€\u202e\ud800\U0001f600")
TEXTS = st.text(MARKS, max_size=8)
PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
    | st.sampled_from(["finished", "image", "path", "value", "hand", "x" * 3000, "\ud800"])
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CELLS = st.sampled_from(
    ["path", "label", "split", "group", "frame", "probability", "epoch", "loss", "a.png", "../b",
     "1", "0", "0.5", "inf", "train", "", '"']
)  # fmt: skip
TABLES = st.lists(st.lists(CELLS | TEXTS, max_size=7), max_size=5)
HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0\x08\0\0\0", b"MM\0*", b"",
         b"RIFF\x40\0\0\0WEBPVP8 ", bytes(128) + b"DICM")  # fmt: skip


@quick(80)
@given(head=st.sampled_from(HEADS), rest=st.binary(max_size=200))
def test_any_bytes_behind_a_formats_mark_are_refused_or_read(checks, head, rest):
    try_input(checks["image"], head + rest)
    try_input(checks["dicom"], bytes(128) + b"DICM" + rest)
    try_input(checks["zip"], b"PK\3\4" + rest)


ELEMENTS = st.lists(
    st.tuples(
        st.sampled_from([0x0002, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0103,
                         0x1050, 0x1051, 0x1052, 0x1053, 0x1101, 0x1201, 0x3000, 0x3010]),
        st.sampled_from([b"US", b"SS", b"DS", b"IS", b"CS", b"OW", b"UN", b"SQ", b"FD", b"??"]),
        st.binary(max_size=12) | st.sampled_from([b"nan", b"-1", b"1e999 ", b"\\", b"\xff\xff"]),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@quick(80)
@given(elements=ELEMENTS)
def test_any_element_before_the_pixels_is_borne(checks, elements):
    data, pixels = write_dicom(RAMP, EXPLICIT), struct.pack("<HH", 0x7FE0, 0x0010)
    at = data.index(pixels)
    packed = b""
    for tag, vr, value in elements:
        is_long = vr in (b"OW", b"UN", b"SQ")
        packed += (
            struct.pack("<HH2s2xL" if is_long else "<HH2sH", 0x28, tag, vr, len(value)) + value
        )
    try_input(checks["dicom"], data[:at] + packed + data[at:])


@quick(80)
@given(
    section=st.sampled_from(list(SECTIONS)), value=VALUES, at=st.integers(min_value=0, max_value=50)
)
def test_any_value_of_any_setting_is_borne(checks, section, value, at):
    values = RunConfig().to_dict()
    name = list(values[section])[at % len(values[section])]
    values[section][name] = value
    try_input(checks["config"], json.dumps(values).encode())
    try_input(checks["settings"], f"{section}.{name}={value}".encode("utf-8", "surrogatepass"))


@quick(60)
@given(values=VALUES)
def test_settings_of_any_shape_are_borne(checks, values):
    try_input(checks["config"], json.dumps(values).encode())


@quick(60)
@given(kind=st.sampled_from(list(GOALS)) | TEXTS, value=st.floats() | TEXTS)
def test_any_goal_is_borne(checks, kind, value):
    try_input(checks["settings"], f"{kind}={value}".encode("utf-8", "surrogatepass"))


@quick(80)
@given(rows=TABLES, mark=st.sampled_from(",;\t"))
def test_any_manifest_is_borne(checks, rows, mark):
    text = "\n".join(mark.join(row) for row in [["path", "label", "split"], *rows])
    try_input(checks["manifest"], text.encode("utf-8", "surrogatepass"))


JSON_FILES = ["config.json", "status.json", "metrics.json", "milestones.json", "environment.json",
              "checks.json", "notes.json", "decision.json", "reviews.json"]  # fmt: skip


@quick(25)
@given(name=st.sampled_from(JSON_FILES), values=VALUES, number=st.integers(0, 10_000))
def test_any_json_in_a_run_is_borne(checks, name, values, number):
    try_input(checks["run"], f"{name}\n{json.dumps(values)}".encode())
    seeds = {seed.partition(b"\n")[0]: seed for seed in run_files.make_run_seeds()}
    whole = json.loads(seeds[name.encode()].partition(b"\n")[2])
    changed = mutate_json(json.dumps(whole).encode(), Random(number), [b""])
    try_input(checks["run"], name.encode() + b"\n" + changed)


@quick(25)
@given(name=st.sampled_from(["history.csv", "predictions.csv", "index.csv"]), rows=TABLES)
def test_any_table_in_a_run_is_borne(checks, name, rows):
    seeds = {seed.partition(b"\n")[0]: seed for seed in run_files.make_run_seeds()}
    head = seeds[name.encode()].split(b"\n")[1].strip()
    text = "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
    try_input(checks["run"], name.encode() + b"\n" + head + b"\n" + text)
    try_input(checks["run"], name.encode() + b"\n" + text)


# --- the long run sees what breaks -----------------------------------------------------------


def raise_for(data: bytes) -> None:
    if data == b"broken":
        raise KeyError("this is a bug")
    if data == b"unspeakable":
        raise ImageError("")
    if data != b"good":
        raise ImageError(f"'{data!r}' cannot be read. Copy it again.")


def test_what_breaks_is_kept_with_its_traceback_and_the_rest_goes_on(tmp_path):
    target = types.SimpleNamespace(open_check=lambda scratch: raise_for)
    targets = types.SimpleNamespace(TARGETS={"made-up": target}, check_words=check_words)
    trial = Trial(targets, "made-up", tmp_path, tmp_path / "finds")
    inputs = [b"good", b"broken", b"bad", b"unspeakable", b"good"]
    assert [trial.try_input(data) for data in inputs] == [1, 2, 3, 4, 5]
    started, ended, refused, broken, _ = Journal(tmp_path / "journal").read_counts()
    assert (started, ended, refused, broken) == (5, 5, 2, 2)
    assert {path.read_bytes() for path in tmp_path.glob("finds/*.bin")} == {
        b"broken", b"unspeakable",
    }  # fmt: skip
    texts = sorted(path.read_text() for path in tmp_path.glob("finds/*.txt"))
    assert texts[1].startswith('KeyError File "tests/core/test_fuzzing.py", line ')
    assert "this is a bug" in texts[1]


def test_equal_breaks_are_one_kind():
    kinds = set()
    for number in range(3):
        try:
            raise_for(b"broken")
        except KeyError as error:
            kinds.add(name_kind(f"Traceback {number}\n\nKeyError: {error} {number}"))
    assert kinds == {"KeyError "}


def run_and_watch(tmp_path, code: str) -> tuple[str, bytes]:
    journal = Journal(tmp_path / "journal")
    journal.start(b"the last input")
    how, peak_mb = fuzz.watch(subprocess.Popen([sys.executable, "-c", code]), journal)
    assert peak_mb > 1
    return how, Journal(tmp_path / "journal").read_input()


def test_a_process_that_dies_leaves_its_last_input(tmp_path):
    how, data = run_and_watch(tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert (how, data) == ("The process ended with -11.", b"the last input")


def test_a_process_that_hangs_is_killed_and_leaves_its_last_input(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "TIME_LIMIT_S", 0.1)
    how, data = run_and_watch(tmp_path, "while True: pass")
    assert how.startswith("It was killed after ")
    assert data == b"the last input"


def test_the_command_tries_as_many_as_it_was_asked_to(tmp_path):
    row = fuzz.fuzz_target("config", "mutator", 60, 0, tmp_path / "finds")
    assert (row.inputs, row.broken) == (60, 0)
    assert 0 < row.refused < 60
    assert row.peak_mb > 10
    assert not (tmp_path / "finds").exists()
