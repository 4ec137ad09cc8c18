"""`predict` within this process, with the demo model; test_cli.py calls it as a user does."""

import csv
import json
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyp_core import prediction_commands
from polyp_core.__main__ import main
from polyp_core.decision import Band
from polyp_core.familiarity import Verdict
from polyp_core.prediction import FileAnswer, load_classifier
from polyp_core.prediction_commands import COLUMNS, say_answer
from polyp_core.workspace import DEMO_RUN
from tests.conftest import write_image
from tests.core.dicom_files import write_dicom


@dataclass
class Doorkeeper:
    """Stands in for a run's `Familiarity`: whatever is brighter than it likes is a stranger."""

    limit: float = 100.0

    def judge(self, picture, box, seen, features):
        is_stranger = bool(picture.pixels.mean() > self.limit)
        reasons = ("it is brighter", "it has no scan") if is_stranger else ()
        return Verdict(p_value=0.5, is_stranger=is_stranger, reasons=reasons)


@pytest.fixture(autouse=True)
def demo(monkeypatch):
    """The demo model, with a judge of strangers that the tests can follow."""
    classifier = load_classifier(DEMO_RUN)

    def load(_, familiarity=Doorkeeper(), band=None):  # noqa: B008 - it holds nothing that changes
        return type(classifier)(**vars(classifier) | {"familiarity": familiarity, "band": band})

    monkeypatch.setattr(prediction_commands, "load_classifier", load)
    return load


def write_folder(folder, num_images=6):
    for number in range(num_images):
        write_image(folder / f"{number}.png", is_bright_spot=bool(number % 2), seed=number)
    return folder


def write_bright(path):
    Image.fromarray(np.full((40, 40), 240, np.uint8)).save(path)
    return path


def write_film(path, num_frames=3):
    frames = np.random.default_rng(0).integers(0, 90, (num_frames, 40, 48), dtype=np.uint8)
    path.write_bytes(
        write_dicom(
            frames.tobytes(), Rows=40, Columns=48, SamplesPerPixel=1, BitsAllocated=8,
            BitsStored=8, NumberOfFrames=num_frames,
        )
    )  # fmt: skip
    return path


def read_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_searched_at_any_depth_and_hidden_files_are_left_out(tmp_path, capsys):
    folder = write_folder(tmp_path / "a")
    write_folder(folder / "b" / "c", 2)
    for hidden in (folder / ".secret", folder / "__MACOSX"):
        write_folder(hidden, 1)
    (folder / "notes.txt").write_text("no image")
    assert main(["predict", "demo", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [Path(row["path"]).relative_to(folder).as_posix() for row in found["predictions"]]
    assert names == [*(f"{n}.png" for n in range(6)), "b/c/0.png", "b/c/1.png"]
    assert found["positive_class"] == "calcified"
    assert found["complete"] is True


def test_the_table_has_a_row_for_every_picture_and_says_what_went_wrong(tmp_path, capsys):
    folder, table = write_folder(tmp_path / "a", 2), tmp_path / "out.csv"
    film, bright = write_film(folder / "film.dcm"), write_bright(folder / "stranger.png")
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:60])
    assert main(["predict", "demo", str(folder), "--csv", str(table)]) == 1
    rows = read_rows(table)
    assert tuple(rows[0]) == COLUMNS
    assert [(Path(row["path"]).name, row["frame"]) for row in rows] == [
        ("0.png", "0"), ("1.png", "0"), ("film.dcm", "0"), ("film.dcm", "1"), ("film.dcm", "2"),
        ("stranger.png", "0"), ("torn.png", "0"),
    ]  # fmt: skip
    classifier = load_classifier(DEMO_RUN)
    for row in rows[:6]:
        prediction = classifier.classify(Path(row["path"]), frame=int(row["frame"]))
        assert float(row["probability"]) == pytest.approx(prediction.probability)
        is_stranger = row["path"] == str(bright)
        assert row["class"] == ("" if is_stranger else prediction.class_name)
        assert (row["sure"], row["familiar"]) == (("no",) * 2 if is_stranger else ("yes",) * 2)
        assert row["reason"] == ("it is brighter; it has no scan" if is_stranger else "")
        assert row["error"] == ""
    assert rows[6]["error"].startswith("'torn.png' is damaged or cut short")
    assert [rows[6][name] for name in COLUMNS[2:7]] == [""] * 5
    assert film.exists()
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "5 pictures classified, 1 not like the training images, 1 not readable\n"


def test_what_a_run_cannot_tell_is_unknown(tmp_path, monkeypatch, demo):
    monkeypatch.setattr(prediction_commands, "load_classifier", lambda run: demo(run, None))
    bright, table = write_bright(tmp_path / "a.png"), tmp_path / "out.csv"
    assert main(["predict", "demo", str(bright), "--csv", str(table)]) == 0
    (row,) = read_rows(table)
    assert (row["familiar"], row["sure"]) == ("unknown", "yes")
    assert row["class"] in ("calcified", "non-calcified")


def test_a_line_for_people_says_doubt_refusal_and_error(tmp_path, capsys, monkeypatch, demo):
    band = Band(low=0.0, high=1.0)
    monkeypatch.setattr(prediction_commands, "load_classifier", lambda run: demo(run, band=band))
    folder = write_folder(tmp_path / "a", 1)
    write_bright(folder / "bright.png")
    write_film(folder / "film.dcm", 2)
    (folder / "torn.png").touch()
    assert main(["predict", "demo", str(folder)]) == 1
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].startswith(f"{folder / '0.png'}: not sure, perhaps ")
    assert "(probability of calcified 0." in lines[0]
    assert lines[1].startswith(
        f"{folder / 'bright.png'}: not like the training images: it is brighter; it has no scan"
    )
    assert lines[2].startswith(f"{folder / 'film.dcm'}, frame 0: ")
    assert lines[3].startswith(f"{folder / 'film.dcm'}, frame 1: ")
    assert lines[4].startswith(f"{folder / 'torn.png'}: 'torn.png' is empty (0 bytes).")
    assert output.err == "3 pictures classified, 1 not like the training images, 1 not readable\n"


def test_one_good_file_is_one_line_and_nothing_else(tmp_path, capsys):
    write_image(tmp_path / "a.png", is_bright_spot=True, seed=0)
    assert main(["predict", "demo", str(tmp_path / "a.png")]) == 0
    output = capsys.readouterr()
    assert output.out.count("\n") == 1
    assert output.err == ""


def test_json_and_table_together_hold_the_same_rows(tmp_path, capsys):
    folder, table = write_folder(tmp_path / "a", 3), tmp_path / "out.csv"
    assert main(["predict", "demo", str(folder), "--csv", str(table), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["predictions"]
    assert [tuple(row) for row in printed] == [COLUMNS] * 3
    written = read_rows(table)
    assert [row["path"] for row in written] == [row["path"] for row in printed]
    assert [float(row["probability"]) for row in written] == [row["probability"] for row in printed]
    assert [(row["sure"], row["familiar"], row["error"]) for row in printed] == [
        (True, True, None)
    ] * 3


def interrupt_after(monkeypatch, num_files):
    """Ctrl-C arrives once some files are answered."""
    classify = prediction_commands.classify_files

    def classify_some(*arguments):
        answers = classify(*arguments)
        for _ in range(num_files):
            yield next(answers)
        answers.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction_commands, "classify_files", classify_some)


def test_an_interrupted_table_is_recognisable_and_leaves_the_old_one(tmp_path, capsys, monkeypatch):
    folder, table = write_folder(tmp_path / "a"), tmp_path / "out.csv"
    table.write_text("of yesterday")
    interrupt_after(monkeypatch, 4)
    assert main(["predict", "demo", str(folder), "--csv", str(table), "--json"]) == 130
    assert table.read_text() == "of yesterday"
    assert len(read_rows(tmp_path / "out.csv.part")) == 4
    output = capsys.readouterr()
    assert output.err == (
        f"Interrupted: 4 pictures classified so far. What was done stands in {table}.part.\n"
    )
    found = json.loads(output.out)
    assert (len(found["predictions"]), found["complete"]) == (4, False)


def test_a_complete_table_takes_the_place_of_an_old_and_of_a_partial_one(tmp_path):
    folder, table = write_folder(tmp_path / "a", 2), tmp_path / "out.csv"
    for path in (table, tmp_path / "out.csv.part"):
        path.write_text("of yesterday")
    assert main(["predict", "demo", str(folder), "--csv", str(table)]) == 0
    assert len(read_rows(table)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out.csv"]


def test_an_archive_is_a_row_that_says_what_to_do(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", b"")
    assert main(["predict", "demo", str(tmp_path / "images.zip")]) == 1
    assert "'images.zip' is an archive. Expected an image. Unpack it" in capsys.readouterr().out


def test_nothing_is_left_behind_where_nothing_could_be_begun(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["predict", "demo", str(tmp_path / "empty"), "--csv", str(tmp_path / "out.csv")]
    assert main([*arguments, "--json"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith(f"ImageError: The folder '{tmp_path / 'empty'}' holds no image.")
    assert output.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("run", ["demo", "no such run"])
def test_a_typing_error_leaves_the_table_of_an_interrupted_run(tmp_path, capsys, run):
    (tmp_path / "empty").mkdir()
    part = tmp_path / "out.csv.part"
    part.write_text("of yesterday")
    path = str(tmp_path / ("empty" if run == "demo" else "."))
    assert main(["predict", run, path, "--csv", str(tmp_path / "out.csv")]) == 1
    assert part.read_text() == "of yesterday"
    assert capsys.readouterr().err


@pytest.mark.parametrize("is_there", [True, False])
def test_an_interruption_before_the_first_row_keeps_what_was_there_and_names_no_file(
    tmp_path, capsys, monkeypatch, is_there
):
    folder, part = write_folder(tmp_path / "a", 2), tmp_path / "out.csv.part"
    if is_there:
        part.write_text("of yesterday")
    interrupt_after(monkeypatch, 0)
    assert main(["predict", "demo", str(folder), "--csv", str(tmp_path / "out.csv")]) == 130
    assert capsys.readouterr().err == "Interrupted: 0 pictures classified so far.\n"
    assert part.exists() == is_there
    assert not is_there or part.read_text() == "of yesterday"


def test_a_new_run_writes_nothing_behind_the_rows_of_an_interrupted_one(tmp_path, monkeypatch):
    folder, part = write_folder(tmp_path / "a", 4), tmp_path / "out.csv.part"
    part.write_text("of yesterday\n" * 99)
    interrupt_after(monkeypatch, 2)
    assert main(["predict", "demo", str(folder), "--csv", str(tmp_path / "out.csv")]) == 130
    rows = read_rows(part)
    assert [Path(row["path"]).name for row in rows] == ["0.png", "1.png"]


def test_a_folder_in_the_place_of_the_table_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "out.csv").mkdir()
    write_image(tmp_path / "a.png", is_bright_spot=True, seed=0)
    image, table = str(tmp_path / "a.png"), str(tmp_path / "out.csv")
    assert main(["predict", "demo", image, "--csv", table]) == 1
    assert capsys.readouterr().err.startswith("The file system refuses: ")


def test_no_name_becomes_a_formula_or_a_control_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "=HYPERLINK(1).png"
    write_image(Path(name), is_bright_spot=True, seed=0)
    Path("-\x1b[2J.png").touch()
    assert main(["predict", "demo", "--csv", "out.csv", "--", name, "-\x1b[2J.png"]) == 1
    rows = read_rows(Path("out.csv"))
    assert [row["path"] for row in rows] == [f"'{name}", "'-\x1b[2J.png"]
    capsys.readouterr()
    assert main(["predict", "demo", "--", name, "-\x1b[2J.png"]) == 1
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_no_text_is_a_row_as_well(tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    write_image(tmp_path / "a" / name, is_bright_spot=True, seed=0)
    table = tmp_path / "out.csv"
    assert main(["predict", "demo", str(tmp_path / "a"), "--csv", str(table), "--json"]) == 0
    assert read_rows(table)[0]["path"].endswith("caf\\udce9.png")
    assert json.loads(capsys.readouterr().out)["predictions"][0]["path"].endswith(name)
    assert main(["predict", "demo", str(tmp_path / "a")]) == 0
    assert "caf[U+DCE9].png" in capsys.readouterr().out


def test_a_folder_that_cannot_be_opened_is_a_row_with_an_error(tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "a", 1)
    (folder / "closed").mkdir()
    scan = os.scandir

    def scan_unless_closed(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_unless_closed)
    assert main(["predict", "demo", str(folder), "--json"]) == 1
    good, closed = json.loads(capsys.readouterr().out)["predictions"]
    assert good["error"] is None
    assert closed["path"] == str(folder / "closed")
    assert closed["error"].startswith("Cannot open 'closed': ")


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    """So they are there whatever ends the process."""
    folder, counted = write_folder(tmp_path / "a", 3), []
    classify = prediction_commands.classify_files

    def classify_watched(*arguments):
        for answers in classify(*arguments):
            yield answers
            counted.append(len(read_rows(tmp_path / "out.csv.part")))

    monkeypatch.setattr(prediction_commands, "classify_files", classify_watched)
    assert main(["predict", "demo", str(folder), "--csv", str(tmp_path / "out.csv")]) == 0
    assert counted == [1, 2, 3]


def test_a_bar_counts_the_files_where_no_lines_do(tmp_path, monkeypatch, capsys):
    folder, told = write_folder(tmp_path / "a", 3), []

    class note_progress:  # noqa: N801 - as the one it stands in for
        def __init__(self, description):
            assert description == "Predicting"

        def __enter__(self):
            return lambda done, total: told.append((done, total))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(prediction_commands, "show_progress", note_progress)
    table = str(tmp_path / "out.csv")
    assert main(["predict", "demo", str(folder), "--csv", table]) == 0
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_reasons_of_a_refusal_are_shown_with_every_unseen_character_written_out():
    verdict = Verdict(p_value=0.01, is_stranger=True, reasons=("it is in colour",))
    answer = FileAnswer(
        path=Path("a\u202eb.png"), frame=0, probability=0.7126, class_name="calcified",
        is_sure=True, verdict=verdict,
    )  # fmt: skip
    assert say_answer(answer, load_classifier(DEMO_RUN)) == (
        "a[U+202E]b.png: not like the training images: it is in colour  (so its probability of "
        "calcified, 0.713, means nothing)"
    )


def test_the_help_names_every_column(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for column in COLUMNS:
        assert column in text
    assert "FILE.part" in text
