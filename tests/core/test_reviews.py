import json
import os
import threading
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from polyp_core import files
from polyp_core.errors import RunError
from polyp_core.reviews import (
    MAX_NOTE,
    Review,
    change_review,
    read_reviews,
    tabulate_reviews,
)

KEY = ("calcified/ä b.png", 0)
WRONG = Review(is_label_wrong=True)


def test_what_was_never_marked_has_no_reviews(tmp_path):
    assert read_reviews(tmp_path) == {}
    assert read_reviews(tmp_path / "nowhere") == {}
    assert os.listdir(tmp_path) == []


def test_a_mark_and_a_note_are_read_as_they_were_written(tmp_path):
    assert change_review(tmp_path, KEY, is_label_wrong=True) == WRONG
    change_review(tmp_path, KEY, note=' shadow, "no" stone\nsee report ')
    expected = Review(is_label_wrong=True, note='shadow, "no" stone\nsee report')
    assert read_reviews(tmp_path) == {KEY: expected}


def test_what_is_taken_back_leaves_nothing(tmp_path):
    change_review(tmp_path, KEY, is_label_wrong=True, note="x")
    change_review(tmp_path, KEY, note="")
    assert read_reviews(tmp_path) == {KEY: WRONG}
    assert change_review(tmp_path, KEY, is_label_wrong=False) == Review()
    assert json.loads((tmp_path / "reviews.json").read_text()) == {"reviews": []}


def test_frames_of_one_file_are_marked_apart(tmp_path):
    change_review(tmp_path, ("film.dcm", 1), is_label_wrong=True)
    change_review(tmp_path, ("film.dcm", 3), note="blurred")
    assert read_reviews(tmp_path) == {
        ("film.dcm", 1): WRONG,
        ("film.dcm", 3): Review(note="blurred"),
    }


def test_a_note_is_cut_where_it_is_too_long(tmp_path):
    assert change_review(tmp_path, KEY, note="n" * (MAX_NOTE + 5)).note == "n" * MAX_NOTE
    rows = [{"path": "a", "frame": 0, "note": "n" * (MAX_NOTE + 5)}]
    (tmp_path / "reviews.json").write_text(json.dumps({"reviews": rows}))
    assert read_reviews(tmp_path)[("a", 0)].note == "n" * MAX_NOTE


def test_a_folder_that_is_not_there_is_made(tmp_path):
    change_review(tmp_path / "a" / "b", KEY, is_label_wrong=True)
    assert read_reviews(tmp_path / "a" / "b") == {KEY: WRONG}


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"reviews": 1}', '{"reviews": {"a": 1}}', "\x00\xff", "[" * 100_000],
)
def test_a_damaged_file_is_passed_over_and_kept_aside_at_the_next_change(tmp_path, text):
    (tmp_path / "reviews.json").write_text(text, encoding="utf-8")
    assert read_reviews(tmp_path) == {}
    change_review(tmp_path, KEY, is_label_wrong=True)
    assert read_reviews(tmp_path) == {KEY: WRONG}
    assert (tmp_path / "reviews.damaged-1.json").read_text(encoding="utf-8") == text


def test_marks_that_cannot_be_read_for_once_are_not_moved_away(tmp_path, monkeypatch):
    change_review(tmp_path, KEY, is_label_wrong=True)

    def fail(path, **options):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fail)
        with pytest.raises(RunError, match="Input/output error"):
            change_review(tmp_path, ("b.png", 0), is_label_wrong=True)
        assert read_reviews(tmp_path) == {}
    assert read_reviews(tmp_path) == {KEY: WRONG}


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(tmp_path):
    for text in ("first", "second"):
        (tmp_path / "reviews.json").write_text(text)
        change_review(tmp_path, KEY, is_label_wrong=True)
    kept = sorted(tmp_path.glob("reviews.damaged-*.json"))
    assert [path.read_text() for path in kept] == ["first", "second"]


def test_damaged_entries_spoil_no_other(tmp_path):
    good = {"path": "a.png", "frame": 0, "is_label_wrong": True, "note": "", "from": "later"}
    bad = [None, 7, "x", [], {}, {"path": "b"}, {"path": "b", "frame": "x"}, {"frame": 1},
           {"path": "b", "frame": 1e999}]  # fmt: skip
    empty = {"path": "c", "frame": 0, "is_label_wrong": "yes"}
    text = json.dumps({"reviews": [*bad, empty, good]})
    (tmp_path / "reviews.json").write_text(text)
    assert read_reviews(tmp_path) == {("a.png", 0): WRONG}


def test_half_a_character_in_a_note_is_replaced_and_can_be_tabulated(tmp_path):
    row = '{"path": "a.png", "frame": 0, "is_label_wrong": true, "note": "a\\ud800"}'
    (tmp_path / "reviews.json").write_text(f'{{"reviews": [{row}]}}')
    predictions = pd.DataFrame({"path": ["a.png"], "frame": 0, "label": 1, "probability": 0.5})
    table = tabulate_reviews(predictions, read_reviews(tmp_path))
    assert table["note"].tolist() == ["a?"]


def test_visitors_at_once_do_not_lose_each_others_marks(tmp_path):
    def mark(visitor):
        for number in range(10):
            change_review(tmp_path, (f"{visitor}-{number}.png", 0), is_label_wrong=True)

    visitors = [threading.Thread(target=mark, args=(visitor,)) for visitor in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    expected = {(f"{v}-{n}.png", 0): WRONG for v in range(4) for n in range(10)}
    assert read_reviews(tmp_path) == expected


def test_one_marks_what_another_notes_and_both_stand(tmp_path):
    both = [
        threading.Thread(target=change_review, args=(tmp_path, KEY), kwargs=change)
        for change in ({"is_label_wrong": True}, {"note": "shadow"})
    ]
    for change in both:
        change.start()
    for change in both:
        change.join()
    assert read_reviews(tmp_path) == {KEY: Review(is_label_wrong=True, note="shadow")}


def test_where_nothing_can_be_written_the_error_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught:
        change_review(tmp_path / "file", KEY, is_label_wrong=True)
    assert str(caught.value) == (
        f"The mark cannot be written to '{tmp_path / 'file' / 'reviews.json'}' (File exists). "
        "Expected a folder that may be written to. Check its rights and the room on the disk, "
        "then try again."
    )


def test_a_change_that_waits_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WAIT_S", 0.05)
    with (
        FileLock(tmp_path / "reviews.lock"),
        pytest.raises(RunError, match="another change takes too long"),
    ):
        change_review(tmp_path, KEY, is_label_wrong=True)


def test_the_table_holds_every_reviewed_image_of_the_predictions(tmp_path):
    predictions = pd.DataFrame(
        {
            "path": ["a", "b", "film", "film"],
            "frame": [0, 0, 0, 1],
            "split": "validation",
            "label": [1, 0, 0, 1],
            "probability": [0.25, 0.5, 0.75, 1.0],
        }
    )
    said = {
        ("film", 1): Review(note="second"),
        ("a", 0): WRONG,
        ("of another split", 0): WRONG,
    }
    table = tabulate_reviews(predictions, said)
    assert table.to_csv(index=False) == (
        "path,frame,label,probability,mark,note\na,0,1,0.25,label wrong,\nfilm,1,1,1.0,,second\n"
    )
    assert list(tabulate_reviews(predictions, {})) == list(table)
