from pathlib import Path

import pytest

from polyp_core.errors import DatasetError
from polyp_core.manifest import SourceFile, read_manifest, write_manifest

HEAD = "path,label,group,split\n"


@pytest.fixture
def read(tmp_path):
    def read_(text: str | bytes, *, may_lead_out: bool = True):
        path = tmp_path / "list.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_manifest(path, may_lead_out=may_lead_out)

    return read_


def test_columns_come_in_any_order_and_paths_are_sorted(read, tmp_path):
    folder, files = read("split,path,label,group\nval,b/2.png,polyp,p2\ntrain,a/1.png,none,p1\n")
    assert folder == tmp_path
    assert files == [
        SourceFile(path="a/1.png", class_name="none", name="1.png", split="train", group="p1"),
        SourceFile(path="b/2.png", class_name="polyp", name="2.png", split="validation",
                   group="p2"),
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_spreadsheet_s_way_of_saving_is_read(read, delimiter, mark, newline):
    text = newline.join(["path,label", "1.png,yes", "2.png,no", ""]).replace(",", delimiter)
    _, files = read(mark + text)
    assert [(file.path, file.class_name) for file in files] == [("1.png", "yes"), ("2.png", "no")]


def test_a_path_may_hold_commas_and_quotes_within_quotes(read):
    _, files = read('path,label\n"a, b ""c"".png",yes\n2.png,no\n')
    assert files[1].path == 'a, b "c".png'


def test_backslashes_are_folders_too(read):
    _, files = read("path,label\na\\1.png,yes\nb\\2.png,no\n")
    assert [file.path for file in files] == ["a/1.png", "b/2.png"]


def test_images_elsewhere_are_named_from_the_folder_that_holds_them_all(read, tmp_path):
    folder, files = read("path,label\n../data/a/1.png,yes\n../data/b/2.png,no\n")
    assert folder == tmp_path.parent / "data"
    assert [file.path for file in files] == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("path", ["../1.png", "a/../../1.png", "/etc/1.png", "a/..\\..\\1.png"])
def test_a_folder_s_own_manifest_must_not_lead_out_of_it(read, path):
    with pytest.raises(DatasetError, match="leads out of its folder"):
        read(f"path,label\n{path},yes\n2.png,no\n", may_lead_out=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no usable first line. Expected a first line with the columns path and label"),
        ("1.png,yes\n2.png,no\n", "Received: '1.png,yes'"),
        ("path,path,label\na,b,c\n", "has no usable first line"),
        (HEAD, "'list.csv' names no image"),
        (HEAD + "1.png,yes,,\n2.png,,,\n", "Row 3 of 'list.csv' has no path or no label"),
        (HEAD + "1.png,yes,,\n2.png,no,,dev\n", "Row 3 of 'list.csv' has an unknown split. "
         "Expected train, validation or test. Received: split='dev'"),
        (HEAD + "1.png,yes,,\n2.png,yes,,\n", "has 1 different labels ('yes'). Expected exactly "
         "two. Correct the column label."),
        (HEAD + "1.png,a,,\n2.png,b,,\n3.png,c,,\n", "3 different labels ('a', 'b', 'c')"),
        (HEAD + "1.png,yes,,train\n2.png,no,,\n", "1 of 2 rows of 'list.csv' have no split"),
        (HEAD + "1.png,yes,,\n1.png,no,,\n", "names the image '1.png' twice"),
        (HEAD + "1.png,yes,,\na,b.png,no,,x,y\n", "Put quotes around a path that holds a comma"),
        (HEAD + '"1.png,yes,,\n2.png,no,,\n', "is no readable CSV"),
        ("path,label\n\0,yes\n2.png,no\n", "Row 2 of 'list.csv' has no path or no label"),
        (b"path,label\n\xff\xfe.png,yes\n", "is no UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is no UTF-8 text"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_words(read, text, expected):
    with pytest.raises(DatasetError) as caught:
        read(text)
    assert expected in str(caught.value)


def test_what_is_written_is_read_back(tmp_path):
    files = [
        SourceFile(path="a/1, \"x\".png", class_name="no", name='1, "x".png', split="train",
                   group="p1"),
        SourceFile(path="b/2.png", class_name="yes", name="2.png", split="test", group=""),
    ]  # fmt: skip
    path = tmp_path / "data" / "split.csv"
    write_manifest(path, tmp_path / "data", files)
    assert read_manifest(path, may_lead_out=False) == (tmp_path / "data", files)
    assert list(path.parent.iterdir()) == [path]


def test_further_columns_are_kept_as_they_are_written(read):
    _, files = read(
        "Scanner,Path,LABEL, age at scan ,,,site\n A 1 ,2.png,yes,007,x,,\nb,1.png,no,,y\n"
    )
    assert [file.columns for file in files] == [
        (("Scanner", "b"), ("age at scan", ""), ("site", "")),
        (("Scanner", "A 1"), ("age at scan", "007"), ("site", "")),
    ]
    assert [file.class_name for file in files] == ["no", "yes"]


def test_further_columns_must_have_names_of_their_own(read):
    with pytest.raises(DatasetError, match="has no usable first line"):
        read("path,label,Scanner,scanner\n1.png,yes,a,b\n2.png,no,a,b\n")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_name_full_of_other_delimiters_does_not_pass_for_columns(read, delimiter):
    odd = "".join(mark for mark in ",;\t" if mark != delimiter) * 9
    _, files = read(delimiter.join(["path", f'"x{odd}y"', "label\n1.png", "1", "yes\n2.png", "2",
                                    "no\n"]))  # fmt: skip
    assert [file.columns for file in files] == [((f"x{odd}y", "1"),), ((f"x{odd}y", "2"),)]


def test_further_columns_are_written_and_read_back(tmp_path):
    names = ("scanner", "a, b;c;d;e;f;g;h", "line\nbreak", "Patient's age", "=1+1", "column.x")
    files = [
        SourceFile(path=f"{name}.png", class_name=name, name=f"{name}.png", split="", group="",
                   columns=tuple((column, f"{name}, \"{column}\"\n") for column in names))
        for name in ("a", "b")
    ]  # fmt: skip
    write_manifest(tmp_path / "list.csv", tmp_path, files)
    _, again = read_manifest(tmp_path / "list.csv", may_lead_out=False)
    assert [[name for name, _ in file.columns] for file in again] == [list(names)] * 2
    for file, back in zip(files, again, strict=True):
        assert [value for _, value in back.columns] == [v.strip() for _, v in file.columns]


def test_a_manifest_written_elsewhere_still_finds_its_images(tmp_path):
    files = [
        SourceFile(path=f"{name}/1.png", class_name=name, name="1.png", split="train", group="")
        for name in ("a", "b")
    ]
    path = tmp_path / "splits" / "clean.csv"
    write_manifest(path, tmp_path / "data", files)
    assert read_manifest(path, may_lead_out=True) == (tmp_path / "data", files)


def test_a_manifest_that_is_gone_says_so(tmp_path):
    with pytest.raises(DatasetError, match="cannot be opened"):
        read_manifest(Path(tmp_path, "none.csv"), may_lead_out=True)
