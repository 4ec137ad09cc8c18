import io
import os
import random
import stat
import struct
import time
import tracemalloc
import zipfile
from collections import namedtuple

import pytest

from polyp_core import importing
from polyp_core.archives import is_left_out
from polyp_core.errors import DatasetError
from polyp_core.importing import Imported, import_files, import_zip

CLASSES = {
    "calcified/1.png": b"one",
    "calcified/2.png": b"two",
    "non-calcified/3.png": b"three",
}
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.fixture
def imports_dir(tmp_path):
    return tmp_path / "imports"


def make_entry(name, method=zipfile.ZIP_DEFLATED, mode=0, flags=0):
    """A zip entry of exactly this name, also where zipfile would tidy it."""
    info = zipfile.ZipInfo()
    info.filename = name
    info.compress_type, info.external_attr, info.flag_bits = method, mode << 16, flags
    return info


def pack(entries, method=zipfile.ZIP_DEFLATED):
    """A zip in memory, from {name: contents} or from (ZipInfo or name, contents)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for entry, data in entries.items() if isinstance(entries, dict) else entries:
            info = make_entry(entry, method) if isinstance(entry, str) else entry
            archive.writestr(info, data)
    packed.seek(0)
    return packed


def patch_directory(packed, offset, form, value, number=0):
    """Change a field of one entry in the table of contents, as an attacker would."""
    data = bytearray(packed.getvalue())
    at = -1
    for _ in range(number + 1):
        at = data.index(b"PK\1\2", at + 1)
    struct.pack_into(form, data, at + offset, value)
    return io.BytesIO(bytes(data))


FLAGS, METHOD, CRC, PACKED_SIZE, SIZE = 8, 10, 16, 20, 24  # offsets of those fields


def open_files(files):
    return [(path, io.BytesIO(data)) for path, data in files.items()]


def read_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse(source, imports_dir, name="polyps.zip"):
    """The text with which a zip is refused; nothing is left behind."""
    with pytest.raises(DatasetError) as caught:
        import_zip(source, name, imports_dir)
    assert not imports_dir.exists() or list(imports_dir.iterdir()) == []
    text = str(caught.value)
    assert "Expected" in text
    assert text.endswith(".")
    return text


def refuse_files(files, imports_dir):
    with pytest.raises(DatasetError) as caught:
        import_files(files, "polyps", imports_dir)
    assert not imports_dir.exists() or list(imports_dir.iterdir()) == []
    return str(caught.value)


# --- what is imported, and where


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_zip_of_each_method_becomes_a_folder_with_the_same_files(imports_dir, method):
    noise = random.Random(0).randbytes(1_200_000)  # two blocks
    files = CLASSES | {"calcified/noise.png": noise, "calcified/empty.png": b""}
    imported = import_zip(pack(files, method), "polyps.zip", imports_dir)
    assert read_tree(imported.folder) == files
    assert imported == Imported(folder=imported.folder, num_files=5, num_left_out=0)
    assert list(imports_dir.iterdir()) == [imported.folder]


def test_a_zip_is_read_from_a_path_and_the_file_stays_as_it_was(tmp_path, imports_dir):
    path = tmp_path / "polyps.zip"
    path.write_bytes(pack(CLASSES).getvalue())
    before = path.read_bytes()
    assert read_tree(import_zip(path, path.name, imports_dir).folder) == CLASSES
    assert path.read_bytes() == before


def test_dragged_files_become_the_same_folder_as_their_zip(imports_dir):
    files = open_files(CLASSES)
    files[0][1].read()  # whoever looked at it before has left it at its end
    dragged = import_files(files, "polyps", imports_dir)
    assert read_tree(dragged.folder) == CLASSES
    assert import_zip(pack(CLASSES), "polyps.zip", imports_dir) == dragged


def test_dragged_files_may_come_with_backslashes(imports_dir):
    files = open_files({f"polyps\\train\\{path}": data for path, data in CLASSES.items()})
    imported = import_files(files, "polyps", imports_dir)
    assert read_tree(imported.folder) == CLASSES


def test_a_zip_of_old_windows_tools_has_backslashes_between_folders(imports_dir):
    entries = {path.replace("/", "\\"): data for path, data in CLASSES.items()}
    assert read_tree(import_zip(pack(entries), "a.zip", imports_dir).folder) == CLASSES


def test_a_mac_zip_holds_utf_8_without_saying_so(imports_dir):
    packed = pack({"läsion/1.png": b"1", "keine/2.png": b"2"})
    data = packed.getvalue()
    for signature, offset in ((b"PK\1\2", FLAGS), (b"PK\3\4", 6)):
        at = data.index(signature) + offset
        assert data[at : at + 2] == b"\0\x08"  # what zipfile says of the first name: it is UTF-8
        data = data[:at] + b"\0\0" + data[at + 2 :]
    imported = import_zip(io.BytesIO(data), "a.zip", imports_dir)
    assert set(read_tree(imported.folder)) == {"läsion/1.png", "keine/2.png"}


def test_the_folder_is_named_after_the_zip_and_its_contents(imports_dir):
    folder = import_zip(pack(CLASSES), "Polyps 2024.05.ZIP", imports_dir).folder
    stem, _, fingerprint = folder.name.rpartition("-")
    assert stem == "Polyps_2024_05"
    assert len(fingerprint) == 8
    assert set(fingerprint) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd.zip", "passwd"),
        ("C:\\data\\polyps.zip", "polyps"),
        (".zip", "images"),
        ("..", "images"),
        ("", "images"),
        ("CON.zip", "CON"),
        ("<b>\n*x*.zip", "b_x"),
        ("läsionen.zip", "läsionen"),
        ("x" * 300 + ".zip", "x" * 40),
    ],
)
def test_any_name_becomes_a_folder_below_the_imports(imports_dir, name, stem):
    folder = import_zip(pack(CLASSES), name, imports_dir).folder
    assert folder.parent == imports_dir
    assert folder.name.rpartition("-")[0] == stem


def test_the_same_contents_again_are_the_same_folder_and_nothing_is_written(imports_dir):
    first = import_zip(pack(CLASSES), "polyps.zip", imports_dir)
    times = {path: path.stat().st_mtime_ns for path in [imports_dir, *imports_dir.rglob("*")]}
    again = pack(dict(reversed(CLASSES.items())), zipfile.ZIP_STORED)  # another zip of the same
    assert import_zip(again, "polyps.zip", imports_dir) == first
    # The time of a folder changes when anything, even for a moment, is made in it.
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.parametrize(
    "other",
    [
        CLASSES | {"calcified/1.png": b"changed"},
        {path.replace("1", "9"): data for path, data in CLASSES.items()},
        CLASSES | {"calcified/1.png": b"two", "calcified/2.png": b"one"},
    ],
    ids=["contents", "name", "swapped"],
)
def test_other_contents_or_names_are_another_folder(imports_dir, other):
    first = import_zip(pack(CLASSES), "polyps.zip", imports_dir)
    second = import_zip(pack(other), "polyps.zip", imports_dir)
    assert second.folder != first.folder
    assert read_tree(first.folder) == CLASSES
    assert read_tree(second.folder) == other


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["p/a/1.png", "p/b/2.png"], ["a/1.png", "b/2.png"]),
        (["x/p/train/a/1.png", "x/p/train/b/2.png"], ["a/1.png", "b/2.png"]),
        (["p/train/a/1.png", "p/validation/a/2.png"], ["train/a/1.png", "validation/a/2.png"]),
        (["p/labels.CSV", "p/1.png"], ["labels.CSV", "1.png"]),
        (["a/1.png", "b/2.png"], ["a/1.png", "b/2.png"]),
        (["calcified/1.png", "calcified/2.png"], ["calcified/1.png", "calcified/2.png"]),
        (["p/a/1.png", "p/b/2.png", "note.txt"], ["p/a/1.png", "p/b/2.png", "note.txt"]),
        (["1.png"], ["1.png"]),
        (["p/a/1.png", "p/b/2.png", ".DS_Store", "__MACOSX/p/1"], ["a/1.png", "b/2.png"]),
    ],
)
def test_a_folder_around_everything_is_taken_off_but_never_the_class(imports_dir, given, expected):
    imported = import_zip(pack(dict.fromkeys(given, b"x")), "a.zip", imports_dir)
    assert sorted(read_tree(imported.folder)) == sorted(expected)


def test_hidden_and_junk_files_are_left_out_and_counted(imports_dir):
    junk = (
        ".DS_Store", "calcified/._1.png", "__MACOSX/calcified/1.png", "Thumbs.db", "x/thumbs.DB",
        "desktop.ini", "calcified/.ipynb_checkpoints/1.png", ".git/config", "Icon\r",
        "__MACOSX/._" + "x" * 255, "$RECYCLE.BIN/1.png",
    )  # fmt: skip
    imported = import_zip(pack(CLASSES | dict.fromkeys(junk, b"")), "a.zip", imports_dir)
    assert read_tree(imported.folder) == CLASSES
    assert (imported.num_files, imported.num_left_out) == (3, len(junk))
    again = import_files(open_files(CLASSES | dict.fromkeys(junk, b"")), "a", imports_dir)
    assert again == imported


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".hidden/1.png", True), ("a\\.hidden\\1.png", True), ("a/THUMBS.DB", True),
        ("a/1.png", False), ("./a/1.png", False), ("a.b/1..png", False), ("desktop.ini.png", False),
    ],
)  # fmt: skip
def test_left_out_goes_by_any_part_of_the_path(path, expected):
    assert is_left_out(path) is expected


def test_files_are_plain_whatever_mode_the_zip_asks_for(imports_dir):
    entries = [(make_entry("a/1.png", mode=stat.S_IFREG | 0o6777), b"#!"), ("b/2.png", b"")]
    umask = os.umask(0)
    try:
        folder = import_zip(pack(entries), "a.zip", imports_dir).folder
    finally:
        os.umask(umask)
    for path in (folder / "a" / "1.png", folder / "b" / "2.png"):
        assert stat.S_ISREG(path.lstat().st_mode)
        if os.name != "nt":
            assert stat.S_IMODE(path.lstat().st_mode) == 0o644


def test_progress_counts_files_up_to_all_of_them(imports_dir):
    calls = []
    import_zip(pack(CLASSES), "a.zip", imports_dir, lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_cancelled_import_leaves_nothing_and_keeps_its_own_error(imports_dir, error):
    seen = []

    def cancel(done, total):
        seen.extend(imports_dir.iterdir())
        if done == 2:
            raise error

    with pytest.raises(error):
        import_zip(pack(CLASSES), "a.zip", imports_dir, cancel)
    assert all(path.name.startswith(".importing-") for path in seen)
    assert seen
    assert list(imports_dir.iterdir()) == []


def test_what_looks_encoded_is_a_name_like_any_other(imports_dir):
    files = {"%2e%2e/1.png": b"1", "a/%2fetc%2fpasswd.png": b"2", "a/&lt;.png": b"3"}
    assert read_tree(import_zip(pack(files), "a.zip", imports_dir).folder) == files


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot have most of these names")
def test_markdown_html_quotes_and_bidi_marks_stay_as_they_are(imports_dir):
    names = (
        "**bold**_x_.png", "<img src=x onerror=alert(1)>.png", "'\"`.png", "\u202egnp.exe.png",
        "a|b?.png", "$(rm -rf).png", "{{x}}.png", "日本.png", "👩‍⚕️.png",
    )  # fmt: skip
    files = {f"{folder}/{name}": b"1" for folder in "ab" for name in names}
    assert read_tree(import_files(open_files(files), "x", imports_dir).folder) == files


def test_control_characters_in_names_become_underscores(imports_dir):
    files = {"a/1\n2\r\t\x1b[31m.png": b"1", "b\x85c/\x7f2\ud800.png": b"2"}
    imported = import_files(open_files(files), "x", imports_dir)
    assert set(read_tree(imported.folder)) == {"a/1_2___[31m.png", "b_c/_2_.png"}


def test_a_nested_zip_is_a_file_like_any_other(imports_dir):
    inner = pack({"../evil.png": b"x"}).getvalue()
    files = {"a/inner.zip": inner, "b/1.png": b"1"}
    assert read_tree(import_zip(pack(files), "a.zip", imports_dir).folder) == files


def test_ten_thousand_empty_files_take_no_more_than_their_share(imports_dir):
    packed = pack({f"{number % 2}/{number}.png": b"" for number in range(10_000)})
    started = time.process_time()
    assert import_zip(packed, "a.zip", imports_dir).num_files == 10_000
    assert time.process_time() - started < 60  # measured: under 3 s; squared would be minutes


# --- names that are refused


@pytest.mark.parametrize(
    "name",
    ["../x.png", "a/../../x.png", "a\\..\\..\\x.png", "a/..", "a/.. /x.png", "a/.../x.png",
     ".hidden/../../x.png", "__MACOSX/../../x.png", "a/ /x.png"],
)  # fmt: skip
def test_a_path_that_leads_outside_is_refused(imports_dir, name):
    expected = f"'{name}' leads outside of the folder. Expected a path such as 'train/calcified"
    assert expected in refuse(pack({"a/1.png": b"1", name: b"x"}), imports_dir)
    assert expected in refuse_files(open_files({"a/1.png": b"1", name: b"x"}), imports_dir)
    assert not (imports_dir.parent / "x.png").exists()


@pytest.mark.parametrize(
    "name", ["/etc/x", "//x/y.png", "C:\\x.png", "c:x.png", "\\\\server\\x.png", "\\x.png"]
)
def test_an_absolute_path_is_refused(imports_dir, name):
    assert f"'{name}' is an absolute path." in refuse(pack({name: b"x"}), imports_dir)
    assert f"'{name}' is an absolute path." in refuse_files(open_files({name: b""}), imports_dir)


def test_a_nul_character_in_a_name_is_refused(imports_dir):
    packed = io.BytesIO(pack({"a/1.png#.exe": b"x"}).getvalue().replace(b"#.exe", b"\0.exe"))
    text = refuse(packed, imports_dir)
    assert text.startswith("'a/1.png_.exe' has a NUL character in its name. Expected")
    assert "NUL character" in refuse_files(open_files({"a\0b.png": b""}), imports_dir)


@pytest.mark.parametrize(
    "name",
    ["CON", "con.png", "a/NUL.txt", "aux/1.png", "COM1.png", "lpt¹.png", "CONIN$", "con .png",
     "a/1.png.", "a./1.png", "a/1.png ", "a /1.png"],
)  # fmt: skip
def test_a_name_that_windows_cannot_have_is_refused(imports_dir, name):
    assert f"'{name}' has a name that Windows cannot have" in refuse(pack({name: b""}), imports_dir)


@pytest.mark.parametrize("name", ["console.png", "com.png", "a/nullify.png", "auxiliary/1.png"])
def test_a_name_that_only_begins_like_a_device_is_fine(imports_dir, name):
    assert import_zip(pack({name: b"1"}), "a.zip", imports_dir).num_files == 1


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("a/" + "x" * 256, "2 deep, 257 bytes, 256 of one name"),
        ("ä" * 128, "1 deep, 256 bytes, 256 of one name"),
        ("a/" * 16 + "1", "17 deep, 17 bytes, 1 of one name"),
        ("/".join(["x" * 205] * 5), "5 deep, 1025 bytes, 205 of one name"),
        ("a/" * 30_000 + "1", "30001 deep, 30001 bytes, 1 of one name"),
    ],
    ids=["a name", "a name in bytes", "depth", "all together", "thousands deep"],
)
def test_a_name_that_is_too_long_is_refused_and_not_repeated_in_full(imports_dir, name, size):
    text = refuse(pack({name: b""}), imports_dir)
    assert f"is too long: {size}. Expected" in text
    assert "at most 255 bytes each, 16 deep, 1024 in all" in text
    assert len(text) < 500


def test_the_longest_name_that_is_allowed_is_imported(imports_dir):
    files = {"a/" + "x" * 255: b"1", "b/" * 15 + "1": b"2"}
    assert read_tree(import_zip(pack(files), "a.zip", imports_dir).folder) == files


def test_an_entry_without_a_name_is_refused(imports_dir):
    assert "'.' has no name." in refuse(pack({".": b"x"}), imports_dir)
    assert "'' has no name." in refuse_files(open_files({"": b"x"}), imports_dir)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/1.png", "a/1.PNG"),
        ("A/1.png", "a/2.png"),
        ("a/1.png", "a//1.png"),
        ("a/1.png", "a\\1.png"),
        ("a/1\n.png", "a/1\t.png"),
        ("a", "a/1.png"),
        ("a/1.png", "a"),
        ("é.png", "e\u0301.png"),
    ],
)
def test_two_entries_that_come_to_the_same_place_are_refused(imports_dir, first, second):
    text = refuse(pack([(first, b"1"), (second, b"2")]), imports_dir)
    assert "come to the same place, or do on some systems. Expected names that differ" in text
    assert "come to the same place" in refuse_files(
        [(first, io.BytesIO(b"1")), (second, io.BytesIO(b"2"))], imports_dir
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(imports_dir):
    text = refuse(pack([("a/1.png", b"1"), ("a/1.png", b"2")]), imports_dir)
    assert text.startswith("'a/1.png' and 'a/1.png' come to the same place")


def test_an_error_shows_a_name_on_one_line_and_turns_nothing_round(imports_dir):
    text = refuse(pack({"../\n# Done\u202e\x1b[2J.png": b""}), imports_dir)
    assert text.startswith("'../_# Done__[2J.png' leads outside")


# --- entries that are refused


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (stat.S_IFLNK | 0o777, "is a symbolic link"),
        (stat.S_IFIFO, "is a device, pipe, socket or folder"),
        (stat.S_IFCHR, "is a device, pipe, socket or folder"),
        (stat.S_IFBLK, "is a device, pipe, socket or folder"),
        (stat.S_IFSOCK, "is a device, pipe, socket or folder"),
        (stat.S_IFDIR, "is a device, pipe, socket or folder"),
    ],
    ids=["link", "pipe", "character device", "block device", "socket", "folder"],
)
def test_what_is_no_plain_file_is_refused(imports_dir, mode, what):
    packed = pack([("a/1.png", b"1"), (make_entry("a/2.png", mode=mode), b"/etc/passwd")])
    assert f"'a/2.png' {what}. Expected plain files." in refuse(packed, imports_dir)


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_entry_is_refused_with_what_to_do(imports_dir, flag):
    text = refuse(patch_directory(pack(CLASSES), FLAGS, "<H", flag, number=1), imports_dir)
    assert text.startswith("'calcified/2.png' is encrypted. Expected a zip without a password.")
    assert "Unpack it with the password first" in text


@pytest.mark.parametrize("method", [1, 9, 93, 98, 99])
def test_an_unknown_method_is_refused(imports_dir, method):
    text = refuse(patch_directory(pack(CLASSES), METHOD, "<H", method), imports_dir)
    assert f"'calcified/1.png' is packed by a method that is not known here ({method})." in text
    assert "Expected one of: stored, Deflate, bzip2, LZMA." in text


# --- zips that are damaged


@pytest.mark.parametrize("data", [b"", b"Rar!\x1a\x07", b"\x89PNG\r\n", b"PK\3\4" + bytes(99)])
def test_what_is_no_zip_is_refused(imports_dir, data):
    text = refuse(io.BytesIO(data), imports_dir)
    assert text.startswith("'polyps.zip' is no zip, or is damaged, cut short or not there")
    assert "Expected a whole zip file. Pack or download it again" in text


def test_a_path_where_nothing_is_is_refused(tmp_path, imports_dir):
    text = refuse(tmp_path / "gone.zip", imports_dir, "gone.zip")
    assert "'gone.zip' is no zip, or is damaged, cut short or not there" in text
    assert "No such file" in text


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_zip_cut_short_anywhere_is_refused(imports_dir, method):
    data = pack({"a/1.png": random.Random(0).randbytes(200), "b/2.png": b"2"}, method).getvalue()
    for size in range(0, len(data), 7):
        refuse(io.BytesIO(data[:size]), imports_dir)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_wrong_checksum_is_refused(imports_dir, method):
    packed = patch_directory(pack(CLASSES, method), CRC, "<I", 12345, number=2)
    text = refuse(packed, imports_dir)
    assert text.startswith("'non-calcified/3.png' is damaged in the zip (")
    assert "Expected an undamaged zip. Pack or download it again." in text


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_wrong_size_in_the_table_of_contents_is_refused(imports_dir, method, size):
    packed = patch_directory(pack({"a/1.png": b"x" * 100}, method), SIZE, "<I", size)
    assert "'a/1.png' is damaged in the zip (" in refuse(packed, imports_dir)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_whatever_byte_is_wrong_it_is_imported_whole_or_refused(imports_dir, method):
    # Any other error than DatasetError fails this test; a wrong time or comment harms nobody.
    files = {"a/1.png": b"one" * 30, "b/2.png": b"two"}
    data = pack(files, method).getvalue()
    draw = random.Random(1)
    refused = 0
    for _ in range(200):
        wrong = bytearray(data)
        for _ in range(draw.choice([1, 1, 3])):
            wrong[draw.randrange(len(wrong))] = draw.randrange(256)
        try:
            imported = import_zip(io.BytesIO(bytes(wrong)), "a.zip", imports_dir / "x")
        except DatasetError:
            refused += 1
        else:
            assert set(read_tree(imported.folder).values()) <= set(files.values())
    assert refused > 100


@pytest.mark.parametrize("entries", [{}, {".DS_Store": b"x"}], ids=["empty", "junk only"])
def test_a_zip_without_a_file_is_refused(imports_dir, entries):
    text = refuse(pack(entries), imports_dir)
    assert text.startswith("'polyps.zip' holds no file, hidden ones aside. Expected a folder of")
    assert "holds no file" in refuse_files(open_files(entries), imports_dir)


def test_a_zip_of_folders_alone_is_refused(imports_dir):
    assert "holds no file" in refuse(pack({"a/": b"", "b/": b""}), imports_dir)


# --- bombs


@pytest.mark.parametrize("method", [METHODS["deflate"], METHODS["bzip2"], METHODS["lzma"]])
def test_a_file_that_expands_too_much_is_refused_while_it_is_read(imports_dir, method):
    packed = pack({"a/1.png": b"1", "b/2.png": bytes(5 * 2**20)}, method)
    text = refuse(packed, imports_dir)
    assert text.startswith("'b/2.png' is a zip bomb: ")
    assert "unpack to over 3145728" in text  # 3 MiB, the first block above the harmless 2
    assert "Expected at most 100 times the size." in text


def test_a_small_file_may_expand_as_it_likes(imports_dir):
    files = {"a/black.bmp": bytes(2 * 2**20), "b/2.bmp": b"2"}
    assert import_zip(pack(files), "a.zip", imports_dir).num_files == 2


@pytest.mark.parametrize("method", [METHODS["deflate"], METHODS["bzip2"], METHODS["lzma"]])
def test_a_bomb_that_lies_about_its_size_takes_neither_memory_nor_disk(imports_dir, method):
    # zipfile itself would unpack all of the bzip2 and LZMA ones into memory before it cuts.
    packed = pack({"a/1.png": bytes(40 * 2**20)}, method)
    packed = patch_directory(packed, SIZE, "<I", 100)
    tracemalloc.start()
    assert "'a/1.png' is damaged in the zip" in refuse(packed, imports_dir)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_an_lzma_dictionary_of_no_size_at_all_is_read(imports_dir):
    data = bytearray(pack({"a/1.png": b"x" * 100}, zipfile.ZIP_LZMA).getvalue())
    struct.pack_into("<I", data, 30 + len("a/1.png") + 5, 0)
    folder = import_zip(io.BytesIO(bytes(data)), "a.zip", imports_dir).folder
    assert read_tree(folder) == {"a/1.png": b"x" * 100}


@pytest.mark.parametrize(
    ("code", "dictionary"), [(93, 2**32 - 1), (93, 2**28 + 1), (225, 2**16), (4 + 9, 2**16)]
)
def test_lzma_settings_out_of_bounds_or_of_gigabytes_are_refused(imports_dir, code, dictionary):
    data = bytearray(pack({"a/1.png": b"x" * 100}, zipfile.ZIP_LZMA).getvalue())
    struct.pack_into("<BI", data, 30 + len("a/1.png") + 4, code, dictionary)
    text = refuse(io.BytesIO(bytes(data)), imports_dir)
    settings = f"'its LZMA settings are out of bounds: {code}, {dictionary}'"
    assert f"'a/1.png' is damaged in the zip ({settings})" in text


def test_entries_that_share_their_bytes_are_refused(imports_dir):
    # Fifield: many names in the table of contents, one body in the zip.
    packed = pack({"a/1.png": bytes(1000), "a/2.png": bytes(1000)}, zipfile.ZIP_STORED)
    text = refuse(patch_directory(packed, 42, "<I", 0, number=1), imports_dir)
    assert "overlaps what follows it, as in a zip bomb or a damaged zip. Expected" in text


def test_an_entry_that_reaches_into_the_header_of_the_next_is_refused(imports_dir):
    packed = pack({"a/1.png": bytes(1000), "a/2.png": bytes(1000)}, zipfile.ZIP_STORED)
    text = refuse(patch_directory(packed, PACKED_SIZE, "<I", 1000 + 8), imports_dir)
    assert text.startswith("'a/1.png' overlaps what follows it")


def test_the_last_entry_may_not_reach_into_the_table_of_contents(imports_dir):
    # A packed size that is a lie would make any expansion look harmless.
    packed = patch_directory(pack({"a/1.png": bytes(17 * 2**20)}), PACKED_SIZE, "<I", 2**30)
    assert "'a/1.png' overlaps what follows it" in refuse(packed, imports_dir)


def test_too_many_files_are_refused(imports_dir, monkeypatch):
    monkeypatch.setattr(importing, "MAX_FILES", 2)
    given = pack(CLASSES | {".hidden": b""})
    assert "'polyps.zip' holds 4 files. Expected at most 2." in refuse(given, imports_dir)
    assert "'polyps' holds 3 files. Expected" in refuse_files(open_files(CLASSES), imports_dir)


def test_more_than_the_largest_size_is_refused_before_anything_is_read(imports_dir):
    # 21 entries that claim 1 GiB each, in a zip of some kilobytes.
    packed = pack({f"a/{number}.png": b"" for number in range(21)})
    for number in range(21):
        packed = patch_directory(packed, SIZE, "<I", 2**30, number)
    text = refuse(packed, imports_dir)
    assert text.startswith("'polyps.zip' unpacks to 21.0 GiB")
    assert "Expected at most 20.0 GiB, and 1.0 GiB to stay free." in text


def test_a_full_disk_is_found_before_anything_is_written(imports_dir, monkeypatch):
    usage = namedtuple("usage", "total used free")(2**40, 0, 2**30 + 10)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda path: usage)
    text = refuse(pack(CLASSES), imports_dir)
    assert text.startswith("'polyps.zip' unpacks to 0.0 MiB and the disk has 1.0 GiB free.")


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(DatasetError, match=r"'a\.zip' cannot be written to '.*' \(.+\)\. Expected"):
        import_zip(pack(CLASSES), "a.zip", blocked)
    assert blocked.read_text() == "not a folder"


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(imports_dir, monkeypatch):
    def fail(folder, member):
        if member.place[-1] == "2.png":
            raise OSError(28, "No space left on device")
        return original(folder, member)

    original = importing._create_file
    monkeypatch.setattr(importing, "_create_file", fail)
    assert "cannot be written to" in refuse(pack(CLASSES), imports_dir)
    assert "(No space left on device)" in refuse(pack(CLASSES), imports_dir)
