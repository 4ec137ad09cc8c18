import builtins
import hashlib
import io
import os
import random
import zipfile

import numpy as np
import pytest
from PIL import Image

from polyp_core.errors import BusyError
from polyp_core.images import FORMATS
from polyp_core.intake import Limits, find_format, take_files
from tests.core.dicom_files import pack, write_dicom
from tests.core.test_importing import make_entry
from tests.core.test_importing import pack as pack_zip

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def write_picture(form="PNG", seed=0, size_px=16):
    pixels = np.random.default_rng(seed).integers(0, 256, (size_px, size_px), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


PNG = write_picture()


def write_film(num_frames, **elements):
    return write_dicom(
        np.tile(RAMP, (num_frames, 1)), Rows=16, NumberOfFrames=num_frames, **elements
    )


def take(files, **options):
    if isinstance(files, dict):
        files = files.items()
    return take_files([(name, io.BytesIO(data)) for name, data in files], **options)


def list_names(taken):
    return [item.name for item in taken.items]


def read_only_problem(taken):
    ((name, text),) = taken.problems
    assert text.endswith(".")
    return name, text


# --- what is taken


def test_a_single_image_is_taken_as_it_is():
    taken = take({"a.png": PNG})
    assert taken.problems == ()
    (item,) = taken.items
    assert (item.name, item.data, item.frame, item.num_frames) == ("a.png", PNG, 0, 1)
    assert (item.patient, item.sha256) == ("", hashlib.sha256(PNG).hexdigest())


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_that_can_be_decoded_is_let_in_by_its_content(form):
    taken = take({"picture.txt": write_picture(form)})
    assert list_names(taken) == ["picture.txt"]
    assert taken.problems == ()


@pytest.mark.parametrize(
    "data",
    [b"", b"BMW is a maker of cars", b"%PDF-1.7", b"GIF89a" + bytes(200), b"RIFF1234WAVEfmt "],
)
def test_no_other_format_is_let_in(data):
    assert find_format(data) == ""


def test_a_file_already_read_to_its_end_is_taken_whole():
    file = io.BytesIO(PNG)
    file.read()
    assert take_files([("a.png", file)]).items[0].data == PNG


def test_an_upload_in_memory_is_not_copied():
    data = write_picture(size_px=64)
    assert take({"a.png": data}).items[0].data is data


def test_a_folder_keeps_its_paths_with_either_slash():
    taken = take({"dd/sub/q.png": PNG, "dd\\sub\\r.png": PNG})
    assert list_names(taken) == ["dd/sub/q.png", "dd/sub/r.png"]


def test_the_same_content_twice_is_two_pictures_with_two_names():
    taken = take([("a.png", PNG), ("a.png", PNG), ("b.png", PNG), ("a.png", PNG)])
    assert list_names(taken) == ["a.png", "a.png (2)", "b.png", "a.png (3)"]
    assert len({item.sha256 for item in taken.items}) == 1


def test_a_zip_is_looked_through_in_the_order_of_its_numbers():
    files = {f"scans/{number}.png": PNG for number in (10, 9, 2)} | {"scans/a/1.png": PNG}
    taken = take({"study.zip": pack_zip(files).getvalue()})
    assert list_names(taken) == [
        "study.zip/scans/2.png", "study.zip/scans/9.png", "study.zip/scans/10.png",
        "study.zip/scans/a/1.png",
    ]  # fmt: skip
    assert all(item.data == PNG for item in taken.items)
    assert taken.problems == ()


def test_nothing_dropped_is_nothing_taken():
    taken = take([])
    assert (taken.items, taken.problems) == ((), ())


def test_nothing_is_written_to_the_disk(monkeypatch, tmp_path):
    """Not a file is opened, for reading or for writing."""
    monkeypatch.chdir(tmp_path)
    opened = []

    def spy(original):
        def call(*arguments, **options):
            opened.append(arguments)
            return original(*arguments, **options)

        return call

    large = random.Random(0).randbytes(3_000_000)
    files = {"a.png": PNG, "study.zip": pack_zip({"b.png": PNG + large}).getvalue()}
    for module in (builtins, io, os):
        monkeypatch.setattr(module, "open", spy(module.open))
    assert len(take(files).items) == 2
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_what_is_in_zips_as_well():
    seen = []
    files = {"a.png": PNG, "b.zip": pack_zip({"1.png": PNG, "2.png": PNG}).getvalue()}
    take(files, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 4), (3, 4), (4, 4)]


def test_progress_can_cancel():
    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        take({"a.png": PNG}, on_progress=cancel)


# --- what is skipped


def test_what_is_no_image_is_skipped_with_one_line_for_all():
    others = {
        "dd/Thumbs.db": b"x", "dd/notes.txt": b"hello", "dd/.hidden.png": PNG, "dd/a.pdf": b"%PDF",
    }  # fmt: skip
    taken = take({"dd/a.png": PNG} | others)
    assert list_names(taken) == ["dd/a.png"]
    assert read_only_problem(taken) == (
        "",
        "2 files were left out ('dd/notes.txt', 'dd/a.pdf'): what is no image is not judged. "
        "Expected PNG, JPEG, BMP, TIFF, WebP, DICOM or a zip of them.",
    )


def test_hidden_files_in_a_zip_are_skipped():
    files = {"__MACOSX/._1.png": PNG, "1.png": PNG, "readme.md": b"hello"}
    taken = take({"a.zip": pack_zip(files).getvalue()})
    assert list_names(taken) == ["a.zip/1.png"]
    assert read_only_problem(taken)[1].startswith("1 file was left out")


def test_a_text_that_is_called_an_image_is_told_by_its_name():
    name, text = read_only_problem(take({"fake.png": b"hello"}))
    assert name == "fake.png"
    assert text == (
        "'fake.png' is not an image, whatever its name says. Expected PNG, JPEG, BMP, TIFF, WebP, "
        "DICOM or a zip of them. Copy or export it again."
    )


def test_an_empty_image_file_is_told_by_its_name():
    assert read_only_problem(take({"a.png": b""}))[1].startswith("'a.png' is empty (0 bytes).")


def test_a_thousand_bad_files_do_not_make_a_thousand_lines():
    taken = take({f"{number}.png": b"hello" for number in range(1000)})
    assert len(taken.problems) == 21
    assert taken.problems[-1] == (
        "",
        "There is something to say of 980 more files. Drop fewer at once to read all of it.",
    )


def test_a_very_long_name_is_cut_to_its_end():
    (item,) = take({"x" * 100_000 + "/patient-07.png": PNG}).items
    assert len(item.name) == 200
    assert item.name.endswith("/patient-07.png")
    assert item.patient == "patient-07"


# --- limits


def test_files_over_the_limit_are_left_out_and_said():
    taken = take({f"{n}.png": PNG for n in range(5)}, limits=Limits(max_files=3))
    assert list_names(taken) == ["0.png", "1.png", "2.png"]
    assert read_only_problem(taken) == (
        "",
        "2 files were left out ('3.png', '4.png'): at most 3 images are taken at once. For whole "
        "folders use the command line: python -m polyp_core predict.",
    )


def test_other_files_do_not_count_as_images():
    files = {f"{n}.txt": b"hello" for n in range(10)} | {"a.png": PNG}
    assert list_names(take(files, limits=Limits(max_files=1))) == ["a.png"]


def test_a_file_that_is_too_large_is_left_out_and_the_next_is_taken():
    large = PNG + bytes(1000)
    taken = take({"a.png": large, "b.png": PNG}, limits=Limits(max_file_bytes=len(PNG)))
    assert list_names(taken) == ["b.png"]
    name, text = read_only_problem(taken)
    assert name == "a.png"
    assert text.startswith("1 file was left out ('a.png'): more than ")
    assert "MB a file." in text


def test_what_fits_in_all_is_taken_and_the_rest_left_out():
    limits = Limits(max_total_bytes=2 * len(PNG) + 5)
    taken = take({"a.png": PNG, "b.png": PNG, "c.png": PNG}, limits=limits)
    assert list_names(taken) == ["a.png", "b.png"]
    assert "unpacked, are taken at once. Drop them in parts." in read_only_problem(taken)[1]


def test_the_limits_hold_for_what_comes_out_of_a_zip():
    inside = {f"{n}.png": PNG for n in range(4)} | {"9.png": PNG + bytes(10_000)}
    packed = pack_zip(inside).getvalue()
    limits = Limits(max_files=3, max_file_bytes=len(PNG))
    taken = take({"a.zip": packed}, limits=limits)
    assert list_names(taken) == ["a.zip/0.png", "a.zip/1.png", "a.zip/2.png"]
    total = Limits(max_total_bytes=len(packed))  # which is less than what it unpacks to
    assert sum(len(item.data) for item in take({"a.zip": packed}, limits=total).items) <= len(
        packed
    )


def test_a_zip_larger_than_everything_allowed_is_not_opened():
    limits = Limits(max_total_bytes=100)
    taken = take({"a.zip": pack_zip({"a.png": PNG}).getvalue()}, limits=limits)
    assert taken.items == ()
    assert read_only_problem(taken)[0] == "a.zip"


def test_a_zip_of_endless_texts_is_not_looked_through_to_the_end():
    packed = pack_zip({f"{n}.txt": b"hello" for n in range(20)}).getvalue()
    taken = take([(f"{n}.zip", packed) for n in range(5)], limits=Limits(max_files=2))
    assert [text.split(" (")[0] for _, text in taken.problems] == [
        "80 files were left out",
        "20 files were left out",
    ]


def test_a_zip_of_far_more_files_than_may_be_taken_is_refused_unopened():
    packed = pack_zip({f"{n}.png": PNG for n in range(21)}).getvalue()
    taken = take({"a.zip": packed, "b.png": PNG}, limits=Limits(max_files=2))
    assert list_names(taken) == ["b.png"]
    name, text = read_only_problem(taken)
    assert name == "a.zip"
    assert text.startswith("'a.zip' holds 21 files and folders. Expected at most 20.")


def test_zips_that_take_too_long_to_open_end_the_taking():
    packed = pack_zip({"a.png": PNG}).getvalue()
    damaged = packed[:-30]
    limits = Limits(max_header_s=0.0)
    taken = take([("1.zip", damaged), ("2.zip", packed)], limits=limits)
    assert [name for name, _ in taken.problems] == ["1.zip", "2.zip"]
    assert "took longer than 0 s" in taken.problems[1][1]
    assert take({"2.zip": packed}, limits=limits).items == ()


def test_one_image_at_most_is_said_in_the_singular():
    text = read_only_problem(take({"a.png": PNG, "b.png": PNG}, limits=Limits(max_files=1)))[1]
    assert "at most 1 image is taken at once." in text
    limits = Limits(max_pictures=1)
    text = read_only_problem(take({"a.png": PNG, "b.png": PNG}, limits=limits))[1]
    assert "at most 1 picture, frames of films among them, is taken at once." in text


def test_unpacking_what_is_no_image_counts_as_well():
    text = b"text " * 180_000
    packed = pack_zip({f"{n}.txt": text for n in range(3)} | {"z.png": PNG}).getvalue()
    cost = 3 * len(text) + len(PNG)
    assert list_names(take({"a.zip": packed}, limits=Limits(max_total_bytes=cost))) == [
        "a.zip/z.png"
    ]
    assert take({"a.zip": packed}, limits=Limits(max_total_bytes=cost - 1)).items == ()


# --- hostile zips: refused as an import refuses them


def test_a_zip_within_a_zip_is_left_out():
    inner = pack_zip({"a.png": PNG}).getvalue()
    taken = take({"a.zip": pack_zip({"b.png": PNG, "inner.zip": inner}).getvalue()})
    assert list_names(taken) == ["a.zip/b.png"]
    assert read_only_problem(taken) == (
        "a.zip/inner.zip",
        "'a.zip/inner.zip' is a zip within a zip and was left out. Expected images in it. Unpack "
        "the outer one and drop what is in it.",
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (make_entry("link.png", mode=0o120777), "is a symbolic link"),
        (make_entry("../a.png"), "leads outside of the folder"),
        (make_entry("/etc/a.png"), "is an absolute path"),
        (make_entry("C:\\a.png"), "is an absolute path"),
    ],
)
def test_a_zip_with_a_dangerous_entry_is_refused_whole(entry, said):
    taken = take({"a.zip": pack_zip([("b.png", PNG), (entry, PNG)]).getvalue(), "c.png": PNG})
    assert list_names(taken) == ["c.png"]
    name, text = read_only_problem(taken)
    assert name == "a.zip"
    assert said in text


def test_a_bomb_is_stopped_and_the_other_images_are_taken():
    bomb = PNG + bytes(40_000_000)
    packed = pack_zip({"bomb.png": bomb, "good.png": PNG}).getvalue()
    taken = take({"a.zip": packed})
    assert list_names(taken) == ["a.zip/good.png"]
    assert "is a zip bomb" in read_only_problem(taken)[1]


def test_a_bomb_uses_up_what_may_be_taken():
    bomb = PNG + bytes(40_000_000)
    packed = pack_zip({f"{n}.png": bomb for n in range(4)} | {"z.png": PNG}).getvalue()
    taken = take({"a.zip": packed}, limits=Limits(max_total_bytes=100_000_000))
    bombs = [text for _, text in taken.problems if "is a zip bomb" in text]
    assert len(bombs) == 2
    assert list_names(taken) == ["a.zip/z.png"]


def test_a_damaged_entry_is_told_and_the_others_are_taken():
    packed = bytearray(pack_zip({"a.png": PNG, "b.png": PNG}, zipfile.ZIP_STORED).getvalue())
    packed[packed.index(PNG) + 50] ^= 1
    taken = take({"a.zip": bytes(packed)})
    assert list_names(taken) == ["a.zip/b.png"]
    name, text = read_only_problem(taken)
    assert name == "a.zip/a.png"
    assert "is damaged in the zip" in text


def test_a_zip_that_is_cut_short_and_an_empty_one_are_told():
    packed = pack_zip({"a.png": PNG}).getvalue()
    assert "is no zip, or is damaged" in read_only_problem(take({"a.zip": packed[:60]}))[1]
    assert "is an empty zip" in read_only_problem(take({"b.zip": pack_zip({}).getvalue()}))[1]


# --- DICOM


def test_a_film_gives_its_frames_which_share_the_file():
    data = write_film(3)
    items = take({"film": data}).items
    assert [item.frame for item in items] == [0, 1, 2]
    assert [item.num_frames for item in items] == [3, 3, 3]
    assert all(item.data is data for item in items)
    assert {item.name for item in items} == {"film"}


def test_of_a_long_film_evenly_spaced_frames_are_taken_and_it_is_said():
    taken = take({"film.dcm": write_film(31)}, limits=Limits(max_frames=4))
    assert [item.frame for item in taken.items] == [0, 10, 20, 30]
    assert taken.items[0].num_frames == 31
    assert read_only_problem(taken) == (
        "film.dcm",
        "'film.dcm' has 31 frames, of which 4, evenly spaced, are judged. Export a shorter film "
        "to have every frame judged.",
    )


def test_films_over_the_number_of_pictures_are_left_out_whole():
    limits = Limits(max_pictures=5)
    taken = take({"a": write_film(3), "b": write_film(3), "c.png": PNG}, limits=limits)
    assert [(item.name, item.frame) for item in taken.items] == [
        ("a", 0), ("a", 1), ("a", 2), ("c.png", 0),
    ]  # fmt: skip
    assert read_only_problem(taken)[0] == "b"


def test_a_series_stands_in_its_own_order_where_its_first_image_stands():
    def write(number, series):
        return write_dicom(RAMP, SeriesInstanceUID=series, InstanceNumber=number)

    files = {
        "x.dcm": write(3, "1.2.1"), "a.png": PNG, "y.dcm": write(1, "1.2.1"),
        "z.dcm": write(1, "1.2.2"), "w.dcm": write(2, "1.2.1"),
    }  # fmt: skip
    assert list_names(take(files)) == ["y.dcm", "w.dcm", "x.dcm", "a.png", "z.dcm"]


def test_a_damaged_dicom_file_is_told_and_the_others_are_taken():
    taken = take({"a.dcm": write_dicom(RAMP)[:300], "b.dcm": write_dicom(RAMP)})
    assert list_names(taken) == ["b.dcm"]
    assert read_only_problem(taken)[0] == "a.dcm"


def test_a_file_that_had_to_wait_too_long_is_noted_and_the_intake_with_it(monkeypatch):
    def refuse(data, name):
        raise BusyError(f"'{name}' was not decoded: many pictures are waiting.")

    files = {"a.dcm": write_dicom(RAMP)}
    assert not take(files).was_busy
    assert not take({"b.dcm": write_dicom(RAMP)[:300]}).was_busy  # damaged for good
    monkeypatch.setattr("polyp_core.intake.basket.read_facts", refuse)
    taken = take(files)
    assert taken.was_busy
    assert "many pictures are waiting" in read_only_problem(taken)[1]


def test_damaged_files_count_so_that_they_cannot_take_for_ever():
    files = {f"{n}.dcm": write_dicom(RAMP)[:300] for n in range(3)} | {"b.png": PNG}
    taken = take(files, limits=Limits(max_files=2))
    assert taken.items == ()
    assert len(taken.problems) == 3


def test_headers_that_take_too_long_end_the_taking():
    files = {"a.dcm": write_dicom(RAMP), "b.png": PNG}
    taken = take(files, limits=Limits(max_header_s=0.0))
    assert list_names(taken) == ["a.dcm"]
    assert "took longer than 0 s" in read_only_problem(taken)[1]


# --- patients


def test_a_patient_is_who_the_dicom_file_names_even_if_all_name_the_same():
    files = {f"patient-0{n}.dcm": write_dicom(RAMP, PatientID="Ada") for n in (1, 2)}
    patients = [item.patient for item in take(files).items]
    assert patients[0] == patients[1]
    assert patients[0].startswith("dicom-")


def test_the_pattern_of_the_run_finds_the_patient_in_the_name_or_the_folders():
    files = {"p7_1.png": PNG, "dd/p8_2.png": PNG, "dd/p9/1.png": PNG, "other.png": PNG}
    patients = [item.patient for item in take(files, group_pattern=r"^p(\d+)").items]
    assert patients == ["7", "8", "9", ""]


def test_a_name_that_speaks_of_a_patient_is_believed_without_a_pattern():
    files = {"dd/patient-03/1.png": PNG, "case_12 a.png": PNG, "patience.png": PNG}
    assert [item.patient for item in take(files).items] == ["patient-03", "case_12", ""]


def test_numbers_before_the_names_are_patients_where_they_are_many():
    many = {f"dd/{patient}_{n}.png": PNG for patient in range(20, 32) for n in (1, 2)}
    assert [item.patient for item in take(many).items][:3] == ["20", "20", "21"]
    few = {f"dd/2024_{n}.png": PNG for n in range(24)}
    assert {item.patient for item in take(few).items} == {""}


def test_numbers_that_were_patients_in_training_are_so_of_few_and_below_what_a_path_says():
    files = {"7_1.png": PNG, "7_2.png": PNG, "beach.png": PNG}
    assert [item.patient for item in take(files, are_numbered=True).items] == ["7", "7", ""]
    files = {"d/patient-03/1_1.png": PNG, "d/patient-04/1_2.png": PNG}
    told = [item.patient for item in take(files, are_numbered=True).items]
    assert told == ["patient-03", "patient-04"]


def list_patients(files, **options):
    return {item.name: item.patient for item in take(files, **options).items}


def test_the_same_patient_number_in_two_zips_is_two_patients():
    one, two = ({f"patient-01/{n}.png": PNG} for n in (1, 2))
    files = [
        ("hospitalA.zip", pack_zip(one).getvalue()), ("hospitalB.zip", pack_zip(two).getvalue()),
    ]  # fmt: skip
    assert list_patients(files[:1]) == {"hospitalA.zip/patient-01/1.png": "patient-01"}
    assert list_patients(files) == {
        "hospitalA.zip/patient-01/1.png": "hospitalA.zip/patient-01",
        "hospitalB.zip/patient-01/2.png": "hospitalB.zip/patient-01",
    }
    assert set(list_patients(files, group_pattern=r"patient-(\d+)").values()) == {
        "hospitalA.zip/01", "hospitalB.zip/01",
    }  # fmt: skip


def test_two_zips_of_the_same_name_are_two():
    packed = pack_zip({"patient-01/1.png": PNG}).getvalue()
    assert list(list_patients([("a.zip", packed)] * 2).values()) == [
        "a.zip/patient-01", "a.zip (2)/patient-01",
    ]  # fmt: skip
    packed = pack_zip({"1.png": PNG}).getvalue()
    assert len(set(list_patients([("patient-01.zip", packed)] * 2).values())) == 2


def test_the_same_patient_number_in_two_dropped_folders_is_two_patients():
    assert list_patients({"A/patient-01_1.png": PNG, "B/patient-01_2.png": PNG}) == {
        "A/patient-01_1.png": "A/patient-01", "B/patient-01_2.png": "B/patient-01",
    }  # fmt: skip


def test_numbers_before_names_are_other_patients_in_another_zip():
    names = [f"{patient}_{n}.png" for patient in range(20, 32) for n in (1, 2)]
    packed = pack_zip(dict.fromkeys(names, PNG)).getvalue()
    patients = set(list_patients([("a.zip", packed), ("b.zip", packed)]).values())
    assert len(patients) == 24
    assert {"a.zip/20", "b.zip/20"} < patients


def test_dropped_folders_that_are_a_patient_each_bear_the_patients_name():
    files = {"patient-01/1.png": PNG, "patient-01/2.png": PNG, "patient-02/1.png": PNG}
    assert list(list_patients(files).values()) == ["patient-01", "patient-01", "patient-02"]


def test_a_patient_whom_the_dicom_files_name_is_one_in_any_zip():
    packed = pack_zip({"patient-01.dcm": write_dicom(RAMP, PatientID="Ada")}).getvalue()
    assert len(set(list_patients([("a.zip", packed), ("b.zip", packed)]).values())) == 1


def test_the_frames_of_one_film_are_of_one_patient_who_is_not_the_next_films():
    film = write_film(2)
    taken = take([("film.dcm", film), ("film.dcm", film), ("a.png", PNG)])
    assert [item.patient for item in taken.items] == [
        "film.dcm", "film.dcm", "film.dcm (2)", "film.dcm (2)", "",
    ]  # fmt: skip


def test_a_packed_film_is_a_film():
    frames = [bytes([64, 0, 0, 0] + [0] * 60)] * 2
    taken = take({"film.dcm": pack(frames, "1.2.840.10008.1.2.5", (16, 16))})
    assert [item.frame for item in taken.items] == [0, 1]
