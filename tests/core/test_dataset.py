import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from polyp_core.config import DataConfig
from polyp_core.dataset import (
    IMAGE_COLUMNS,
    Index,
    are_numbered,
    choose_positive_class,
    fingerprint_folder,
    read_images,
    read_index,
)
from polyp_core.errors import DatasetError
from polyp_core.runs import Run
from tests.conftest import write_classes, write_image
from tests.core.dicom_files import RAMP, write_dicom

LAYOUT = (
    "Expected two class folders, such as 'calcified' and 'non-calcified', either in the folder "
    "itself, in its 'train' and 'validation' folders or in a folder for each patient; or a CSV "
    "manifest with the columns path and label."
)
GONE = (
    "Cannot open '{path}': No such file or directory. Check that the file is there and may be read."
)
NOT_DIVIDED = (
    "Expected at least one of each class, for train and for validation. Add images of the class, "
    "of another patient where patients are known."
)


def read(folder: Path, **settings: object) -> Index:
    return read_index(DataConfig(folder=str(folder), **settings))


def read_error(folder: Path | str, **settings: object) -> str:
    with pytest.raises(DatasetError) as caught:
        read(folder, **settings)
    return str(caught.value)


def write_layout(folder: Path, *names: str) -> Path:
    """Class folders in each of the named folders, with other patients in each."""
    for number, name in enumerate(names):
        for patient in range(4):
            is_positive = bool(patient % 2)
            class_name = "calcified" if is_positive else "non-calcified"
            path = folder / name / class_name / f"patient-{number}{patient}.png"
            write_image(path, is_bright_spot=is_positive, seed=10 * number + patient, size_px=8)
    return folder


@pytest.fixture(scope="module")
def uneven_dir(tmp_path_factory) -> Path:
    """Patients with one to six images; every fourth has images of both classes."""
    folder = tmp_path_factory.mktemp("uneven")
    for patient in range(24):
        for image in range(1 + patient % 6):
            is_positive = bool(patient % 2) ^ (patient % 4 == 0 and image == 0)
            path = folder / ("ill" if is_positive else "healthy") / f"case{patient}_{image}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (3, 2), patient * 10 + image).save(path)
    return folder


# What an index holds


def test_index_has_a_row_for_each_image(tmp_path):
    for name in ("calcified/patient-1.png", "non-calcified/patient-2.png"):
        for copy in "ab":
            path = tmp_path / name.replace(".", f"{copy}.")
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (5, 3), ord(copy) + len(name)).save(path)
    write_image(tmp_path / "calcified/patient-3.png", is_bright_spot=True, seed=1)
    write_image(tmp_path / "non-calcified/patient-4.png", is_bright_spot=True, seed=2)
    index = read(tmp_path)
    assert index.class_names == ("non-calcified", "calcified")
    assert index.has_groups
    columns = ["path", "label", "group", "width_px", "height_px"]
    assert index.images[columns].values.tolist() == [
        ["calcified/patient-1a.png", 1, "patient-1", 5, 3],
        ["calcified/patient-1b.png", 1, "patient-1", 5, 3],
        ["calcified/patient-3.png", 1, "patient-3", 40, 40],
        ["non-calcified/patient-2a.png", 0, "patient-2", 5, 3],
        ["non-calcified/patient-2b.png", 0, "patient-2", 5, 3],
        ["non-calcified/patient-4.png", 0, "patient-4", 40, 40],
    ]


def test_fingerprint_is_the_sha256_of_the_file(data_dir):
    for row in read(data_dir).images.itertuples():
        assert row.sha256 == hashlib.sha256((data_dir / row.path).read_bytes()).hexdigest()


def test_suffix_may_be_upper_case_and_the_file_may_lie_deep(tmp_path):
    write_classes(tmp_path)
    deep = tmp_path / "calcified" / "2020" / "may" / "patient-91.PNG"
    write_image(deep, is_bright_spot=True, seed=1)
    assert "calcified/2020/may/patient-91.PNG" in set(read(tmp_path).images["path"])


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "JPG"])
def test_every_known_suffix_is_read(data_dir, suffix):
    write_image(data_dir / f"calcified/patient-91.{suffix}", is_bright_spot=True, seed=1)
    assert f"calcified/patient-91.{suffix}" in set(read(data_dir).images["path"])


@pytest.mark.parametrize("class_names", [("calcified", "non-calcified"), ("a", "a-b")])
def test_rows_are_sorted_by_path(tmp_path, class_names):
    for class_name in class_names:
        for seed, name in enumerate(("z.png", "a/z.png", "b.png")):
            write_image(tmp_path / class_name / name, is_bright_spot=class_name == "a", seed=seed)
    paths = list(read(tmp_path).images["path"])
    assert paths == sorted(paths)


def test_hidden_files_and_folders_are_left_out(data_dir):
    expected = read(data_dir)
    (data_dir / ".git").mkdir()
    (data_dir / "calcified" / "Thumbs.db").write_bytes(b"x")
    for name in ("__MACOSX/calcified/._a.png", "calcified/._a.png", "calcified/.cache/a.png",
                 "calcified/__MACOSX/a.png", ".DS_Store", "calcified/.DS_Store"):  # fmt: skip
        path = data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    index = read(data_dir)
    assert index.images.equals(expected.images)
    assert index.unreadable.empty
    assert (index.num_other_files, index.num_hidden_files) == (0, 8)


def test_other_files_are_counted_and_left_out(data_dir):
    (data_dir / "calcified" / "notes.txt").write_text("x")
    (data_dir / "non-calcified" / "scan.mp4").write_text("x")
    assert read(data_dir).num_other_files == 2


def test_progress_is_told_after_each_image(data_dir):
    told = []
    read_index(DataConfig(folder=str(data_dir)), lambda done, total: told.append((done, total)))
    assert told == [(number, 20) for number in range(1, 21)]


# Files and folders that cannot be used


def test_unreadable_file_is_listed_and_left_out(data_dir):
    whole = (data_dir / "calcified" / "patient-01_0.png").read_bytes()
    (data_dir / "calcified" / "patient-91.png").write_text("not an image")
    (data_dir / "calcified" / "patient-92.png").touch()
    (data_dir / "non-calcified" / "patient-93.png").write_bytes(whole[: len(whole) // 2])
    index = read(data_dir)
    assert len(index.images) == 20
    assert list(index.unreadable["path"]) == [
        "calcified/patient-91.png",
        "calcified/patient-92.png",
        "non-calcified/patient-93.png",
    ]
    text, empty, cut = index.unreadable["reason"]
    assert text == (
        "'calcified/patient-91.png' is not an image that can be read, whatever its name says. "
        "Expected PNG, JPEG, BMP, TIFF, WebP or DICOM. Export it again in one of these."
    )
    assert empty == "'calcified/patient-92.png' is empty (0 bytes). Copy or export it again."
    assert cut.startswith("'non-calcified/patient-93.png' is damaged or cut short (")


def test_link_to_nowhere_is_listed_and_left_out(data_dir):
    (data_dir / "calcified" / "patient-91.png").symlink_to(data_dir / "gone.png")
    index = read(data_dir)
    path = "calcified/patient-91.png"
    assert index.unreadable.values.tolist() == [[path, GONE.format(path=path)]]


def test_class_of_unreadable_images_alone_is_refused(data_dir):
    # A bad file of the other class comes first and must not be taken for one of this class.
    (data_dir / "calcified" / "patient-01_0.png").touch()
    for path in (data_dir / "non-calcified").iterdir():
        path.write_bytes(b"")
    assert read_error(data_dir) == (
        f"None of the images of class 'non-calcified' in '{data_dir}' can be read. The first one: "
        "'non-calcified/patient-00_0.png' is empty (0 bytes). Copy or export it again."
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), "0 class folders (none)"),
        (("calcified",), "1 class folder ('calcified')"),
        (("a", "b", "c"), "3 class folders ('a', 'b', 'c')"),
        ("abcdef", "6 class folders ('a', 'b', 'c', 'd', 'e', …)"),
    ],
)
@pytest.mark.parametrize("split", ["", "train"])
def test_folder_without_exactly_two_classes_is_refused(tmp_path, names, found, split):
    parent = tmp_path / "data" / split
    parent.mkdir(parents=True)
    for name in names:
        write_image(parent / name / "a.png", is_bright_spot=False, seed=1)
    assert read_error(tmp_path / "data") == (
        f"'{parent}' has {found}. {LAYOUT} Sort the images into two folders named after their "
        "classes."
    )


@pytest.mark.parametrize(
    ("files", "what"),
    [((), "nothing"), (("notes.txt", "scan.mp4"), "2 files, but no image")],
)
def test_class_folder_without_images_is_refused(data_dir, files, what):
    empty = data_dir / "calcified"
    shutil.rmtree(empty)
    empty.mkdir()
    for name in files:
        (empty / name).write_text("x")
    assert read_error(data_dir) == (
        f"The class folder '{empty}' holds {what}. Expected PNG, JPEG, BMP, TIFF, WebP or DICOM "
        "images. Put the images of this class there."
    )


def test_folder_that_is_not_there_is_refused(tmp_path):
    assert read_error(tmp_path / "gone") == (
        f"The folder '{tmp_path / 'gone'}' does not exist. {LAYOUT} Check the path for a typing "
        "error."
    )


def test_path_of_a_file_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    path.touch()
    assert read_error(path) == (
        f"The folder '{path}' is a file, not a folder. {LAYOUT} Check the path for a typing error."
    )


@pytest.mark.parametrize("text", ["~nobody-of-this-name/data", "a" * 300, "a\0b"])
def test_text_that_can_be_no_path_is_refused(text):
    assert "does not exist" in read_error(text)


def test_other_classes_in_validation_are_refused(tmp_path):
    write_layout(tmp_path, "train")
    for name in ("benign", "malignant"):
        write_image(tmp_path / "validation" / name / "a.png", is_bright_spot=False, seed=1)
    assert read_error(tmp_path) == (
        f"The folders of '{tmp_path}' do not hold the same classes (train: calcified, "
        "non-calcified; validation: benign, malignant). Expected the same two class folders in "
        "each. Rename or add the missing ones."
    )


# Which class is the positive one


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("non-calcified", "calcified"),
        ("Non_Calcified", "Calcified"),
        ("noncalcified", "calcified"),
        ("not_calcified", "calcified"),
        ("normal", "biliary_atresia"),
        ("benign", "malignant"),
        ("normal", "abnormal"),
        ("no_polyp", "polyp"),
        ("healthy", "ill"),
        ("negative", "positive"),
        ("0_normal", "1_polyp"),
        # No name speaks of absence, or both do: the second in alphabetical order.
        ("cyst", "nodule"),
        ("0", "1"),
        ("benign", "normal"),
        ("no_polyp", "not_seen"),
    ],
)
def test_positive_class_is_the_one_that_speaks_of_presence(negative, positive):
    assert choose_positive_class([negative, positive]) == positive
    assert choose_positive_class([positive, negative]) == positive


def test_positive_class_can_be_chosen(data_dir):
    index = read(data_dir, positive_class="non-calcified")
    assert index.class_names == ("calcified", "non-calcified")
    assert (index.images["label"] == index.images["path"].str.startswith("non")).all()


def test_positive_class_that_is_not_there_is_refused(data_dir):
    assert read_error(data_dir, positive_class="polyp") == (
        "There is no class 'polyp'. Expected one of: calcified, non-calcified. Correct "
        "data.positive_class. Received: positive_class='polyp'"
    )


# Who is the patient


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("patient-012_1.png", "patient-012"),
        ("Patient12b.png", "Patient12"),
        ("case 7.png", "case 7"),
        ("subj_3-x.png", "subj_3"),
    ],
)
def test_patient_is_recognised_at_the_start_of_the_name(data_dir, name, group):
    write_image(data_dir / "calcified" / name, is_bright_spot=True, seed=1)
    images = read(data_dir).images.set_index("path")
    assert images.loc[f"calcified/{name}", "group"] == group


@pytest.mark.parametrize(("num_silent", "are_known"), [(1, True), (2, True), (3, False)])
def test_names_that_tell_no_patient_stand_for_themselves_up_to_a_tenth(
    data_dir, num_silent, are_known
):
    for number in range(num_silent):  # beside twenty that tell
        path = data_dir / "calcified" / f"scan{number}.png"
        write_image(path, is_bright_spot=True, seed=number)
    index = read(data_dir)
    silent = index.images[index.images["path"].str.contains("scan")]
    assert index.has_groups == are_known
    assert index.group_source == "names" * are_known
    if are_known:
        assert (silent["group"] == silent["path"]).all()
        assert index.images["group"].nunique() == 10 + num_silent
    else:
        assert (index.images["group"] == "").all()


@pytest.mark.parametrize(
    ("pattern", "group"), [(r"patient-(\d+)_", "01"), (r"nt-\d+", "nt-01"), (r"(?<=-)\d(\d)", "1")]
)
def test_patient_pattern_gives_its_first_bracket_or_the_whole(data_dir, pattern, group):
    images = read(data_dir, group_pattern=pattern).images.set_index("path")
    assert images.loc["calcified/patient-01_0.png", "group"] == group


@pytest.mark.parametrize(
    "pattern", [r"^patient-(\d+)_", r"^(?:patient-(\d+))?", r"^(patient-\d+|)"]
)
def test_patient_pattern_must_find_a_patient_in_every_name(data_dir, pattern):
    write_image(data_dir / "calcified" / "scan.png", is_bright_spot=True, seed=1)
    assert read_error(data_dir, group_pattern=pattern) == (
        "The patient pattern finds no patient in 1 of 21 file names, the first being 'scan.png'. "
        "Expected a match in every name. Correct data.group_pattern or rename the files. "
        f"Received: group_pattern={pattern!r}"
    )


# How the images are divided


@pytest.mark.parametrize(
    ("train", "validation"),
    [("train", "validation"), ("training", "val"), ("Train", "Valid"), ("TRAIN", "VALIDATION")],
)
def test_folders_named_after_the_splits_are_taken_as_they_are(tmp_path, train, validation):
    write_layout(tmp_path, train, validation, "test")
    images = read(tmp_path).images
    assert len(images) == 12
    names = {"train": train, "validation": validation, "test": "test"}
    assert all(row.path.split("/")[0] == names[row.split] for row in images.itertuples())


def test_train_alone_is_divided_and_test_stays_untouched(tmp_path):
    write_layout(tmp_path, "train", "test")
    images = read(tmp_path).images
    assert (images["path"].str.startswith("test/") == (images["split"] == "test")).all()
    divided = images[images["split"] != "test"]
    assert set(divided["split"]) == {"train", "validation"}


def test_quarter_of_ten_patients_is_one_of_each_class(data_dir):
    # 2.5 of the ten images of a class are wanted; one patient has two, two patients have four.
    chosen = read(data_dir, validation_fraction=0.25).select("validation")
    assert chosen.groupby("label")["group"].nunique().tolist() == [1, 1]
    assert len(chosen) == 4


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_keeps_each_patient_on_one_side_and_the_fraction_within_one(
    uneven_dir, fraction, seed
):
    images = read(uneven_dir, validation_fraction=fraction, seed=seed).images
    patients = images.groupby("group").agg(
        label=("label", lambda labels: round(labels.mean())),
        size=("label", "size"),
        num_splits=("split", "nunique"),
        split=("split", "first"),
    )
    assert (patients["num_splits"] == 1).all()
    for _, one_class in patients.groupby("label"):
        num_kept = one_class["size"][one_class["split"] == "validation"].sum()
        largest = one_class["size"].max()
        assert 0 < num_kept < one_class["size"].sum()
        assert abs(num_kept - fraction * one_class["size"].sum()) <= largest


def test_split_without_known_patients_is_stratified_by_image(tmp_path):
    for number in range(40):
        path = tmp_path / ("ill" if number < 8 else "healthy") / f"{number}.png"
        write_image(path, is_bright_spot=False, seed=number, size_px=4)
    assert read(tmp_path).select("validation")["label"].value_counts().to_dict() == {0: 8, 1: 2}


def test_seed_alone_decides_the_split(uneven_dir):
    def divide(seed):
        return tuple(read(uneven_dir, seed=seed).images["split"])

    assert divide(3) == divide(3)
    assert len({divide(seed) for seed in range(4)}) == 4


@pytest.mark.parametrize("split", ["", "train"])
def test_split_does_not_depend_on_the_order_of_the_file_system(tmp_path, monkeypatch, split):
    folder = tmp_path / "data"
    write_classes(folder / split)
    for name in ("b/patient-21.png", "a/patient-23.png", "a/patient-25.png"):
        write_image(folder / split / "calcified" / name, is_bright_spot=True, seed=1)
    expected = read(folder).images
    walk, iterdir = os.walk, Path.iterdir

    def walk_backwards(top, *args, **kwargs):
        for root, folders, names in walk(top, *args, **kwargs):
            folders.sort(reverse=True)
            yield root, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", walk_backwards)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(iterdir(path), reverse=True)))
    assert read(folder).images.equals(expected)


def test_split_does_not_depend_on_where_the_folder_lies(data_dir, tmp_path):
    moved = shutil.copytree(data_dir, tmp_path / "elsewhere")
    assert read(moved).images.equals(read(data_dir).images)


@pytest.mark.parametrize("num_patients", [2, 3])
def test_too_few_patients_cannot_be_divided(tmp_path, num_patients):
    write_classes(tmp_path, num_patients=num_patients)
    missing = "non-calcified" if num_patients == 2 else "calcified"
    assert read_error(tmp_path) == (
        f"There is no image of class '{missing}' for validation. {NOT_DIVIDED}"
    )


def test_two_patients_of_each_class_are_enough(tmp_path):
    index = read(write_classes(tmp_path, num_patients=4))
    assert index.images.groupby(["split", "label"])["group"].nunique().tolist() == [1, 1, 1, 1]


def test_label_is_a_number_and_the_row_number_is_the_image_number(data_dir):
    images = read(data_dir).images
    assert np.issubdtype(images["label"].dtype, np.integer)
    assert list(images.index) == list(range(20))
    validation = read(data_dir).select("validation")
    assert validation.equals(images.loc[validation.index])


def test_fingerprint_changes_with_every_file_and_only_then(data_dir):
    first = fingerprint_folder(str(data_dir))
    assert fingerprint_folder(str(data_dir)) == first
    path = data_dir / "calcified" / "patient-01_0.png"
    write_image(path, is_bright_spot=False, seed=99, size_px=41)
    changed = fingerprint_folder(str(data_dir))
    assert changed != first
    path.unlink()
    assert fingerprint_folder(str(data_dir)) not in (first, changed)


def test_a_folder_of_another_layout_is_refused_without_looking_through_it(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "walk", lambda *_, **__: pytest.fail("looked through the folder"))
    assert "has 3 class folders" in read_error(tmp_path)
    with pytest.raises(DatasetError, match="has 3 class folders"):
        fingerprint_folder(str(tmp_path))


# Manifests


def write_manifest(folder: Path, *rows: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["path,label,group,split", *rows]), encoding="utf-8")
    return path


def test_a_manifest_gives_classes_patients_and_split(tmp_path):
    rows = []
    for number in range(8):
        write_image(tmp_path / "all" / f"{number}.png", is_bright_spot=False, seed=number)
        split = ("train", "validation")[number // 4]
        rows.append(f"all/{number}.png,{('ill', 'healthy')[number % 2]},ward-{number},{split}")
    path = write_manifest(tmp_path, *rows)
    index = read(path)
    assert (index.manifest, index.folder, index.is_split) == (path, tmp_path, True)
    assert (index.class_names, index.group_source) == (("healthy", "ill"), "manifest")
    columns = ["path", "label", "group", "split"]
    assert index.images[columns].values.tolist() == [
        [f"all/{n}.png", 1 - n % 2, f"ward-{n}", ("train", "validation")[n // 4]] for n in range(8)
    ]


@pytest.fixture
def told(tmp_path) -> Path:
    """A manifest with columns of its own, of which some bear names that an index has too."""
    rows = ["path,label,Scanner,site,age,frame,sha256,note"]
    for number in range(8):
        write_image(tmp_path / f"{number}.png", is_bright_spot=False, seed=number)
        note = ('"a, ""b"""', "NA", "", "1.50")[number % 4]
        rows.append(f"{number}.png,{'ab'[number % 2]},{'XY'[number // 4]},00{number},,9,s,{note}")
    path = tmp_path / "told.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_further_columns_of_a_manifest_stand_in_the_index_under_a_name_of_their_own(told):
    images = read(told).images
    assert list(images) == [
        *IMAGE_COLUMNS, "column.Scanner", "column.site", "column.age", "column.frame",
        "column.sha256", "column.note",
    ]  # fmt: skip
    assert images["column.Scanner"].tolist() == ["X"] * 4 + ["Y"] * 4
    assert images["column.site"].tolist() == [f"00{number}" for number in range(8)]
    assert images["column.age"].tolist() == [""] * 8
    assert images["column.note"].tolist() == ['a, "b"', "NA", "", "1.50"] * 2
    assert set(images["frame"]) == {0}
    assert images["sha256"].str.len().tolist() == [64] * 8


def test_further_columns_survive_a_run_s_index_unchanged(told, tmp_path):
    images = read(told).images
    run = Run(tmp_path / "run")
    run.directory.mkdir()
    run.write_table("index.csv", images)
    pd.testing.assert_frame_equal(read_images(run.path("index.csv")), images)


def test_an_index_written_before_frames_and_columns_is_still_read(tmp_path):
    text = "path,label,group,split,width_px,height_px,sha256\n1.png,1,007,train,3,2,12\n"
    (tmp_path / "index.csv").write_text(text)
    (row,) = read_images(tmp_path / "index.csv").to_dict("records")
    assert row == {
        "path": "1.png", "label": 1, "group": "007", "split": "train", "width_px": 3,
        "height_px": 2, "sha256": "12", "frame": 0,
    }  # fmt: skip


def test_further_columns_are_written_into_a_manifest_again(told, tmp_path):
    index = read(told)
    index.write_manifest(tmp_path / "splits" / "clean.csv")
    assert read(tmp_path / "splits" / "clean.csv").images.equals(index.images)
    run = Run(tmp_path)
    run.write_table("index.csv", index.images)
    # As an older reader has it: text that looks like numbers has become numbers.
    as_numbers = pd.read_csv(tmp_path / "index.csv", keep_default_na=False)
    as_numbers[["group", "split"]] = as_numbers[["group", "split"]].astype(str)
    replace(index, images=as_numbers).write_manifest(tmp_path / "again.csv")
    assert read(tmp_path / "again.csv").images["column.Scanner"].tolist() == list("XXXXYYYY")


def test_a_cache_of_pictures_serves_a_manifest_whose_columns_change(told, tmp_path):
    config, cache_dir = DataConfig(folder=str(told)), tmp_path / "cache"
    read_index(config, cache_dir=cache_dir)
    before = fingerprint_folder(str(told))
    told.write_text(told.read_text(encoding="utf-8").replace(",X,", ",Z,"), encoding="utf-8")
    assert fingerprint_folder(str(told)) != before
    opened = []
    index = read_index(config, lambda *counts: opened.append(counts), cache_dir=cache_dir)
    assert opened == []
    assert index.images["column.Scanner"].tolist() == ["Z"] * 4 + ["Y"] * 4


def test_frames_of_a_file_share_the_further_columns_of_its_line(tmp_path):
    rows = ["path,label,scanner"]
    for number in range(8):
        frames = np.stack([RAMP + number, RAMP.T + number]).tobytes()
        (tmp_path / f"{number}.dcm").write_bytes(
            write_dicom(frames, NumberOfFrames=2, Rows=16, Columns=16, SamplesPerPixel=1,
                        BitsAllocated=8, BitsStored=8)
        )  # fmt: skip
        rows.append(f"{number}.dcm,{'ab'[number % 2]},S{number}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    index = read(tmp_path / "list.csv")
    assert index.images["column.scanner"].tolist() == [f"S{n}" for n in range(8) for _ in "ab"]
    index.write_manifest(tmp_path / "again.csv")
    assert read(tmp_path / "again.csv").images.equals(index.images)


def test_a_manifest_that_names_some_patients_is_believed(tmp_path):
    rows = []
    for number in range(20):
        write_image(tmp_path / f"{number:02}.png", is_bright_spot=False, seed=number)
        rows.append(f"{number:02}.png,{'ab'[number % 2]},{'' if number < 16 else number // 2},")
    index = read(write_manifest(tmp_path, *rows))
    assert index.group_source == "manifest"
    assert list(index.images["group"]) == [
        *(f"{n:02}.png" for n in range(16)), "8", "8", "9", "9",
    ]  # fmt: skip
    # Written elsewhere, where the paths are others, a file is still no patient.
    index.write_manifest(tmp_path / "splits" / "again.csv")
    again = read(tmp_path / "splits" / "again.csv")
    assert again.images.equals(index.images)
    text = (tmp_path / "splits" / "again.csv").read_text()
    assert "00.png,a,," in text
    assert "16.png,a,8," in text


def test_numbers_before_the_names_are_told_from_names(tmp_path):
    for number in range(24):
        path = tmp_path / "ab"[number // 12] / f"{number // 2}_{number % 2}.png"
        write_image(path, is_bright_spot=False, seed=number, size_px=8)
    index = read(tmp_path)
    assert (index.group_source, index.images["group"].nunique()) == ("numbers", 12)


def test_a_run_remembers_that_numbers_before_the_names_were_its_patients():
    numbered = [(f"train/a/{n}_{k}.png", str(n)) for n in range(10) for k in (1, 2)]
    for rows, expected in (
        (numbered, True),
        ([*numbered, ("b/other.png", "b/other.png")], True),
        ([*numbered, *[(f"b/{n}.png", "") for n in range(4)]], False),  # too many do not tell
        (numbered[:18], False),  # nine may be chance
        ([(path, "of a manifest") for path, _ in numbered], False),
        ([(path, path) for path, _ in numbered], False),
        ([], False),
    ):
        assert are_numbered(pd.DataFrame(rows, columns=["path", "group"])) is expected


def test_missing_files_of_a_manifest_are_listed_as_unreadable(tmp_path):
    for number in range(8):
        write_image(tmp_path / f"{number}.png", is_bright_spot=False, seed=number)
    rows = [f"{number}.png,{'ab'[number % 2]},," for number in range(10)]
    index = read(write_manifest(tmp_path, *rows))
    assert len(index.images) == 8
    assert index.unreadable.values.tolist() == [
        [path, GONE.format(path=path)] for path in ("8.png", "9.png")
    ]


def test_a_manifest_of_missing_files_alone_is_refused(tmp_path):
    path = write_manifest(tmp_path, "1.png,a,,", "2.png,b,,")
    assert read_error(path) == (
        f"None of the images of class 'a' in '{tmp_path}' can be read. The first one: "
        f"{GONE.format(path='1.png')}"
    )


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "a/../../x.png"])
def test_a_folder_s_own_manifest_that_leads_out_of_it_is_refused(data_dir, target):
    write_manifest(data_dir, f"{target},a,,", "calcified/x.png,b,,", name="manifest.csv")
    assert read_error(data_dir) == (
        f"Row 2 of 'manifest.csv' leads out of its folder: '{target}'. Expected paths inside the "
        "folder. Copy the image there and correct the line."
    )


HOSTILE_NAMES = [
    "**bold** [link](x) $a$ `b`.png",
    "<img src=x onerror=alert(1)>.png",
    "comma, \"quote\" 'single'.png",
    "semicolon; tab\t.png",
    "line\nbreak.png",
    "carriage\rreturn.png",
    "form\x0cfeed\x1c\u2028.png",
    "\u202egnp.txt\u202c.png",
    "back\\slash.png",
    "=cmd|' C calc'!A0.png",
    "NA.png",
    "e\u0301 is not \xe9.png",
    "\U0001f4a3.png",
    "%2e%2e%2f$HOME`id`.png",
    " .png",
]


@pytest.mark.skipif(os.name != "posix", reason="other systems forbid such names")
def test_hostile_names_survive_index_manifest_and_index_literally(tmp_path):
    for number, name in enumerate(HOSTILE_NAMES):
        for class_name in ("a & <b>", " 'c\", \n"):
            path = tmp_path / "data" / class_name / name
            write_image(path, is_bright_spot=False, seed=number, size_px=6 + number)
    first = read(tmp_path / "data")
    assert {path.split("/")[-1] for path in first.images["path"]} == set(HOSTILE_NAMES)
    assert first.unreadable.empty
    first.write_manifest(tmp_path / "data" / "split.csv")
    again = read(tmp_path / "data" / "split.csv")
    assert again.unreadable.empty
    assert again.images.equals(first.images)


def test_ten_thousand_empty_files_are_each_listed(tmp_path):
    for class_name in ("a", "b"):
        (tmp_path / class_name).mkdir()
        for number in range(5000):
            (tmp_path / class_name / f"{number}.png").touch()
    config, cache_dir = DataConfig(folder=str(tmp_path)), tmp_path.parent / "cache"
    with pytest.raises(DatasetError) as caught:
        read_index(config, cache_dir=cache_dir)
    assert str(caught.value) == (
        f"None of the images of class 'a' in '{tmp_path}' can be read. The first one: 'a/0.png' is "
        "empty (0 bytes). Copy or export it again."
    )
    for number in range(4):
        for class_name in ("a", "b"):
            path = tmp_path / class_name / f"{number}.png"
            write_image(path, is_bright_spot=False, seed=number, size_px=8)
    index = read_index(config, cache_dir=cache_dir)
    assert (len(index.images), len(index.unreadable)) == (8, 9992)


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_name_that_is_no_text_is_listed_in_escapes(data_dir):
    path = data_dir / "calcified" / "patient-01_0.png"
    path.rename(path.with_name(os.fsdecode(b"\xff.png")))
    index = read(data_dir)
    ((shown, reason),) = index.unreadable.values.tolist()
    assert shown == "calcified/\\udcff.png"
    assert reason.startswith(f"The name of '{shown}' is no UTF-8 text.")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_pipes_are_not_waited_for(data_dir):
    os.mkfifo(data_dir / "calcified" / "patient-01_9.png")
    os.mkfifo(data_dir / "calcified" / "no_suffix")
    index = read(data_dir)
    assert list(index.unreadable["path"]) == ["calcified/patient-01_9.png"]
    assert index.num_other_files == 1


# Where the patients are known from


def test_patients_of_dicom_files_go_before_names(tmp_path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"case{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write_dicom(RAMP + number, PatientID=f"ID {number // 2}"))
    index = read(tmp_path)
    assert index.group_source == "dicom"
    assert index.images["group"].nunique() == 4
    assert index.images["group"].str.fullmatch("dicom-[0-9a-f]{12}").all()


def write_mixed(folder: Path, patients: list[str]) -> Path:
    """A DICOM file for each of the patients, and a PNG of none for each of three files."""
    for number, patient in enumerate(patients):
        path = folder / "ab"[number % 2] / f"{number:02}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write_dicom(RAMP + number, PatientID=patient))
        if number % 3 == 0:
            write_image(path.with_suffix(".png"), is_bright_spot=False, seed=number)
    return folder


def test_patients_that_three_of_four_files_name_are_used(tmp_path):
    index = read(write_mixed(tmp_path, [f"ID {number // 4}" for number in range(24)]))
    assert (index.group_source, index.has_groups) == ("dicom", True)
    images = index.images.set_index("path")["group"]
    is_dicom = images.index.str.endswith(".dcm")
    assert images[is_dicom].nunique() == 6
    assert (images[~is_dicom] == images.index[~is_dicom]).all()
    assert (index.images.groupby("group")["split"].nunique() == 1).all()


def test_one_name_in_some_of_the_files_is_an_anonymous_one(tmp_path):
    index = read(write_mixed(tmp_path, ["anonymous"] * 24))
    assert (index.group_source, index.has_groups) == ("", False)


def test_one_patient_in_all_dicom_files_is_an_anonymous_one(tmp_path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write_dicom(RAMP + number, PatientID="anonymous"))
    index = read(tmp_path)
    assert (index.group_source, index.has_groups) == ("", False)


def test_frames_of_a_file_are_rows_of_one_patient_even_where_none_is_known(tmp_path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        frames = np.stack([RAMP + number, RAMP.T + number]).tobytes()
        path.write_bytes(
            write_dicom(frames, NumberOfFrames=2, Rows=16, Columns=16, SamplesPerPixel=1,
                        BitsAllocated=8, BitsStored=8)
        )  # fmt: skip
    index = read(tmp_path)
    assert (len(index.images), index.group_source) == (16, "files")
    assert list(index.images["frame"]) == [0, 1] * 8
    assert (index.images["group"] == index.images["path"]).all()
    assert (index.images.groupby("path")["split"].nunique() == 1).all()


def test_a_folder_for_each_patient_names_them(tmp_path):
    for patient in range(6):
        for class_name in ("a", "b"):
            path = tmp_path / f"Smith{patient}" / class_name / "1.png"
            write_image(path, is_bright_spot=False, seed=2 * patient + (class_name == "b"))
    index = read(tmp_path)
    assert index.group_source == "layout"
    assert set(index.images["group"]) == {f"Smith{patient}" for patient in range(6)}


def test_the_cache_changes_nothing_but_time(data_dir, tmp_path):
    config = DataConfig(folder=str(data_dir))
    expected = read(data_dir)
    for _ in range(2):
        index = read_index(config, cache_dir=tmp_path / "cache")
        assert index.images.equals(expected.images)
        pd.testing.assert_frame_equal(index.measures, expected.measures, check_exact=True)
        assert np.array_equal(index.descriptors, expected.descriptors)
