from pathlib import Path

import pytest

from polyp_core.errors import DatasetError
from polyp_core.layout import find_sources


def touch(root: Path, *paths: str) -> str:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return str(root)


def list_files(text: str) -> list[tuple[str, str, str, str]]:
    return [(f.path, f.class_name, f.split, f.group) for f in find_sources(text).files]


def test_class_folders_with_folders_in_them(tmp_path):
    folder = touch(tmp_path, "yes/p1/a.PNG", "yes/b.jpeg", "no/deep/er/c.tiff")
    assert list_files(folder) == [
        ("no/deep/er/c.tiff", "no", "", ""), ("yes/b.jpeg", "yes", "", ""),
        ("yes/p1/a.PNG", "yes", "", ""),
    ]  # fmt: skip


def test_the_thesis_layout(tmp_path):
    folder = touch(tmp_path, "Train/y/a.png", "Train/n/b.png", "val/y/c.png", "val/n/d.png")
    assert [file[2] for file in list_files(folder)] == ["train", "train", "validation",
                                                        "validation"]  # fmt: skip
    assert find_sources(folder).is_split


def test_a_folder_for_each_patient_with_class_folders_in_it(tmp_path):
    folder = touch(tmp_path, "ann/y/1.png", "ann/n/2.png", "bob/n/3.png", "cy/y/4.png")
    assert list_files(folder) == [
        ("ann/n/2.png", "n", "", "ann"), ("ann/y/1.png", "y", "", "ann"),
        ("bob/n/3.png", "n", "", "bob"), ("cy/y/4.png", "y", "", "cy"),
    ]  # fmt: skip


def test_wrapping_folders_are_passed_through(tmp_path):
    folder = touch(tmp_path, "download/polyps/y/1.png", "download/polyps/n/2.png",
                   "download/__MACOSX/x")  # fmt: skip
    sources = find_sources(folder)
    assert sources.folder == tmp_path / "download" / "polyps"
    assert sources.class_names == ["n", "y"]


def test_a_folder_s_own_manifest_goes_before_its_layout(tmp_path):
    folder = touch(tmp_path, "y/1.png", "n/2.png")
    (tmp_path / "manifest.csv").write_text("path,label\ny/1.png,sick\nn/2.png,well\n")
    assert find_sources(folder).class_names == ["sick", "well"]
    assert find_sources(str(tmp_path / "manifest.csv")).manifest == tmp_path / "manifest.csv"


def test_what_systems_leave_behind_is_counted_apart(tmp_path):
    folder = touch(
        tmp_path, "y/1.png", "n/2.png", "y/.hidden.png", "y/Thumbs.db",
        "n/.ipynb_checkpoints/3.png", "n/notes.txt", "__MACOSX/y/4.png", "readme.md",
    )  # fmt: skip
    sources = find_sources(folder)
    assert [file.path for file in sources.files] == ["n/2.png", "y/1.png"]
    assert (sources.num_hidden_files, sources.num_other_files) == (4, 2)


def test_dicom_files_are_known_by_their_mark_where_they_have_no_extension(tmp_path):
    folder = touch(tmp_path, "y/plain", "n/text", "n/a.DCM")
    for name in ("y/plain", "y/1.2.840.1"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "n" / "text").write_text("a note " * 40)
    sources = find_sources(folder)
    assert [file.path for file in sources.files] == ["n/a.DCM", "y/1.2.840.1", "y/plain"]
    assert sources.num_other_files == 1


def test_ten_thousand_files_are_found_without_opening_them(tmp_path, monkeypatch):
    folder = touch(tmp_path, *(f"{'yn'[i % 2]}/{i}.png" for i in range(10_000)))
    monkeypatch.setattr("builtins.open", None)
    assert len(find_sources(folder).files) == 10_000


def test_two_patients_with_class_folders_are_taken_for_classes_and_a_third_settles_it(tmp_path):
    folder = touch(tmp_path, "ann/y/1.png", "bob/n/2.png")
    assert find_sources(folder).class_names == ["ann", "bob"]
    touch(tmp_path, "cy/y/3.png")
    assert find_sources(folder).class_names == ["n", "y"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.png"], "has 0 class folders (none)"),
        (["y/a.png"], "has 1 class folder ('y')"),
        (["a/1.png", "b/1.png", "c/1.png"], "has 3 class folders ('a', 'b', 'c')"),
        (["y/1.png", "n/notes.txt"], "holds 1 file, but no image"),
        (["validation/y/1.png", "validation/n/1.png"], "but none named 'train'"),
        (["train/y/1.png", "train/n/1.png", "test/y/1.png", "test/m/1.png"],
         "do not hold the same classes"),
    ],
)  # fmt: skip
def test_other_layouts_are_refused_in_words(tmp_path, paths, expected):
    with pytest.raises(DatasetError) as caught:
        find_sources(touch(tmp_path, *paths))
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "no/such/folder", "~nobody-here/x", "a\0b"])
def test_a_path_that_is_none_is_refused_in_words(text):
    with pytest.raises(DatasetError, match="Expected two class folders"):
        find_sources(text)


def test_patients_with_class_folders_may_be_divided_into_splits(tmp_path):
    folder = touch(
        tmp_path, "train/p1/y/1.png", "train/p2/n/2.png", "train/p3/y/3.png",
        "validation/p4/y/4.png", "validation/p5/n/5.png", "validation/p6/n/6.png",
    )  # fmt: skip
    sources = find_sources(folder)
    assert sources.class_names == ["n", "y"]
    assert [(f.split, f.group) for f in sources.files[::3]] == [
        ("train", "p1"), ("validation", "p4"),
    ]  # fmt: skip


def test_two_patients_with_the_same_two_class_folders_are_patients(tmp_path):
    folder = touch(tmp_path, *(f"{p}/{c}/1.png" for p in ("ann", "bob") for c in ("y", "n")))
    assert find_sources(folder).class_names == ["n", "y"]


def test_two_classes_with_the_same_two_patient_folders_are_classes(tmp_path):
    folder = touch(
        tmp_path, *(f"{c}/{p}/1.png" for p in ("ann", "bob") for c in ("polyp", "non-polyp"))
    )
    assert find_sources(folder).class_names == ["non-polyp", "polyp"]


def test_hidden_files_beside_a_wrapping_folder_are_counted(tmp_path):
    folder = touch(tmp_path, ".DS_Store", "__MACOSX/x", "data/y/1.png", "data/n/2.png")
    assert find_sources(folder).num_hidden_files == 2
