"""What is taken of a stranger's files, and what is not: a number, a text, and never more."""

import json
import tracemalloc
from pathlib import Path

import pytest

from polyp_core import checklists, origins
from polyp_core.archives import Member
from polyp_core.checklists.answers import read_answers
from polyp_core.errors import RunError
from polyp_core.foreign_files import (
    TEXT_FILES,
    claims,
    read_config_file,
    read_object,
    translate_files,
)
from polyp_core.foreign_files.members import list_folder, read_member, select_run
from polyp_core.foreign_files.tables import read_index
from polyp_core.runs import Run
from tests.core.attack_files import change_json, make_run_files


@pytest.fixture
def files():
    return make_run_files()


def refuse(files, match):
    with pytest.raises(RunError, match=match) as caught:
        translate_files(files)
    assert "Expected" in str(caught.value)


def write(foreign, directory: Path) -> Run:
    for name, content in foreign.texts.items():
        (directory / name).write_bytes(content.encode())
    return Run(directory)


def test_a_sound_run_is_read_as_it_was(files, tmp_path):
    foreign = translate_files({name: files[name] for name in files if name in TEXT_FILES})
    run = write(foreign, tmp_path)
    assert foreign.num_images == 4
    assert foreign.class_names == run.read_class_names() == ("non-calcified", "calcified")
    assert run.read_predictions()["probability"].tolist() == [0.8, 0.2]
    assert run.read_index().images["group"].tolist() == [f"patient-{n}" for n in range(4)]
    assert run.read_history()["loss"].tolist() == [0.7, 0.6]
    assert run.read_status()["started_at"] == 1795547385.6
    assert foreign.serving == {"threshold": 0.5, "temperature": 1.1, "saliency_scale": 0.3}


def test_paths_of_the_other_computer_are_kept_as_text_alone(files):
    files = change_json(
        files, "config.json",
        lambda values: (
            values["settings"]["data"].update(folder="\\\\host\\share\\..\\<b>poly ps"),
            values["settings"]["model"].update(backbone_weights="/etc/passwd"),
        ),
    )  # fmt: skip
    config, content = read_config_file(files["config.json"])
    assert config.data.folder == content["folder"] == "another computer/b_poly_ps"
    assert config.model.backbone_weights == ""
    assert content["imported"] == {
        "folder": "\\\\host\\share\\..\\<b>poly ps", "backbone_weights": "/etc/passwd",
    }  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a"], ["a"], ["a", "b", "c"], "ab", None, [1, 2], ["", "b"], ["..", "b"],
        ["a\n", "b\x00"], ["[x](y)", "b"], ["`x`", "b"], ["a/b", "c"], ["a" * 101, "b"],
        ["=cmd|x", "b"], ["+1+1", "b"], ["-2", "b"], ["'x", "b"], ["_x", "b"], ["()", "b"],
        ["\u202eabc", "b"],
    ],
)  # fmt: skip
def test_class_names_are_plain_names(files, names):
    refuse(change_json(files, "config.json", lambda v: v.update(class_names=names)), "class")


@pytest.mark.parametrize(
    "names", [["nicht verkalkt", "verkalkt (ja)"], ["良性", "悪性"], ["(0) none", "1 +"]]
)
def test_names_of_any_writing_are_fine(files, names):
    files = change_json(files, "config.json", lambda values: values.update(class_names=names))
    assert list(translate_files(files).class_names) == names


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(.*.*.*.*)!", "a*a*a*a*a*b", "x" * 201, "a{99999999999999999999}"]
)
def test_a_pattern_that_could_take_for_ever_is_refused(files, pattern):
    def change(values):
        values["settings"]["data"]["group_pattern"] = pattern

    refuse(change_json(files, "config.json", change), "may take for ever")


@pytest.mark.parametrize("pattern", ["", r"^(\d+)_", r"(?:pat|case)-?(\d+)", r"(P\d{3})[-_]\w+"])
def test_an_ordinary_pattern_is_fine(files, pattern):
    def change(values):
        values["settings"]["data"]["group_pattern"] = pattern

    config, _ = read_config_file(change_json(files, "config.json", change)["config.json"])
    assert config.data.group_pattern == pattern


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("threshold", 1.5), ("threshold", "0.5"), ("threshold", True), ("threshold", None),
        ("temperature", 0), ("temperature", -1), ("temperature", 1e9), ("saliency_scale", 0),
        ("saliency_scale", [1]),
    ],
)  # fmt: skip
def test_numbers_of_the_serving_model_are_numbers_in_their_bounds(files, name, values):
    refuse(change_json(files, "serving.json", lambda v: v.update({name: values})), name)


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        ("index.csv", b"aaaa", b"aaag", "as 'sha256'"),
        ("index.csv", b",40,40", b",40,-1", "as 'height_px'"),
        ("index.csv", b",train,", b",elsewhere,", "as 'split'"),
        ("index.csv", b"patient-0,", b"patient\x07,", "as 'group'"),
        ("index.csv", b"calcified/patient-0_1.png", b"C:/x.png", "as 'path'"),
        ("index.csv", b"calcified/patient-0_1.png", b"a/../../x.png", "as 'path'"),
        ("index.csv", b"calcified/patient-0_1.png", b"a\\..\\x.png", "as 'path'"),
        ("index.csv", b"sha256", b"md5", "other columns"),
        ("index.csv", b"\r\n", b",1\r\n", "other columns|is no table"),
        ("predictions.csv", b"0.8", b"1.8", "as 'probability'"),
        ("predictions.csv", b"0.8", b"nan", "as 'probability'"),
        ("predictions.csv", b"patient-2_1", b"patient-9_1", "speaks of images"),
        ("predictions.csv", b",1,", b",2,", "as 'label'"),
        ("history.csv", b"\n2,", b"\n3,", "has epoch 3"),
        ("history.csv", b"epoch", b"\xff\xfe", "is no table"),
    ],
)
def test_a_cell_that_is_not_what_its_column_holds_is_refused(files, name, old, new, match):
    assert old in files[name]
    refuse({**files, name: files[name].replace(old, new, 1)}, match)


def test_an_index_without_images_or_too_many_lines_is_refused(files, monkeypatch):
    header = files["index.csv"].split(b"\r\n")[0]
    refuse({**files, "index.csv": header + b"\r\n"}, "names no image")
    monkeypatch.setattr("polyp_core.foreign_files.tables._MAX_ROWS", 3)
    refuse(files, "more than 3 lines")


@pytest.mark.parametrize("text", ["{sha}" + ",1" * 8000, '{sha},"\n"', "{sha}" + ",1" * 17])
def test_a_table_cannot_have_any_number_of_cells(files, text):
    header = files["index.csv"].split(b"\r\n")[0]
    further = "".join(f",column.{number}" for number in range(17))
    table = f"{header.decode()}{further}\n{text.format(sha='a' * 64)}\n"
    refuse({**files, "index.csv": table.encode()}, "has a line of|has a break|at most 24")


def test_reading_a_table_takes_little_more_memory_than_its_text(files):
    header, row = files["index.csv"].decode().split("\r\n")[:2]
    names = "".join(f",column.{number}" for number in range(16))
    rows = [row.replace("patient-0", f"patient-{number}") for number in range(2000)]
    table = "\r\n".join([header + names, *(f"{one}{',123456' * 16}" for one in rows), ""])
    tracemalloc.start()
    try:
        found = read_index(table.encode())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.text, found.num_rows, len(found.keys)) == (table, 2000, 2000)
    assert peak < 6 * len(table)


@pytest.mark.parametrize("name", ["config.json", "serving.json", "notes.json", "milestones.json"])
@pytest.mark.parametrize("is_key", [True, False])
def test_half_a_character_is_refused_wherever_it_stands(files, name, is_key):
    values = json.loads(files.get(name, b"{}"))
    values |= {"\ud800": 1} if is_key else {"title": ["a\udfffb"]}
    refuse({**files, name: json.dumps(values).encode()}, f"'{name}' .*half a character")
    files[name] = json.dumps(values | {"title": "\U0001f600"}).encode()  # a whole one, as two
    if not is_key:
        assert translate_files(files).num_images == 4


def test_columns_of_a_manifest_come_along_and_others_stay_behind(files, tmp_path):
    lines = files["index.csv"].decode().split("\r\n")
    extra = ["column.scanner,secret", *["A & B,x"] * 4]
    table = "\r\n".join(f"{line},{more}" for line, more in zip(lines, extra, strict=False))
    foreign = translate_files({**files, "index.csv": table.encode()})
    images = write(foreign, tmp_path).read_index().images
    assert images["column.scanner"].tolist() == ["A & B"] * 4
    assert "secret" not in images


def test_what_is_shown_of_the_environment_is_plain(files, tmp_path):
    given = {
        "python": "3.11\x1b[2J", "packages": {"keras": "3.15.1", "evil": ["x"]}, "threads": "two",
        "devices": ["cpu", {}], "unknown": "x" * 100, "processors": 4, "platform": "y" * 5000,
        "onednn": "1\n",
    }  # fmt: skip
    foreign = translate_files({**files, "environment.json": json.dumps(given).encode()})
    found = json.loads(foreign.texts["environment.json"])
    assert found["python"] == "3.11[2J"
    assert found["packages"] == {"keras": "3.15.1", "evil": ""}
    assert found["devices"] == ["cpu", ""]
    assert (found["processors"], len(found["platform"]), found["onednn"]) == (4, 200, "1")
    assert not {"threads", "unknown"} & set(found)


def test_notes_lose_what_cannot_be_seen(files):
    notes = {"title": "A\u202eB\nC", "note": "one\r\ntwo\x00", "other": 1}
    foreign = translate_files({**files, "notes.json": json.dumps(notes).encode()})
    assert (foreign.title, foreign.note) == ("AB C", "one\ntwo")
    foreign = translate_files({**files, "notes.json": b'{"title": 7}'})
    assert (foreign.title, foreign.note) == ("", "")


def make_told():
    """What stands in the shared.json of a study's member that began from weights of its own."""
    return {
        "synthetic": True, "demo": False, "patients_known": True, "own_backbone_weights": True,
        "own_split": True,
        "study": {
            "name": "My study",
            "plan": {
                "num_folds": 5, "seeds": [7, 8], "shares": [0.29, 1.0], "settings": {"a": 1},
                "folder": "/home/somebody", "class_names": ["a", "b"],
            },
            "caution": "Too good.",
            "member": "fold-5-seed-8-share-29",
        },
    }  # fmt: skip


def give(files, told):
    return {**files, "shared.json": json.dumps(told).encode()}


@pytest.mark.parametrize("member", ["fold-5-seed-8-share-29", "fold-1-seed-7", "ensemble"])
def test_where_a_run_comes_from_is_still_known_here(files, member, tmp_path):
    told = make_told()
    told["study"]["member"] = member
    (tmp_path / "there").mkdir()
    there = Run(tmp_path / "there")
    there.write_json("shared.json", told)
    mine = origins.read_origin(write(translate_files(give(files, told)), tmp_path))
    theirs = origins.read_origin(there)
    assert mine.is_shared
    assert mine.is_synthetic
    assert mine.are_patients_known
    assert mine.has_own_backbone_weights
    assert mine.has_own_split
    assert (mine.ensemble_of is None) == (theirs.ensemble_of is None) == (member != "ensemble")
    for name in ("name", "caution", "member", "num_members", "has_folds", "place"):
        assert getattr(mine.study, name) == getattr(theirs.study, name), name


def test_of_a_plan_its_numbers_alone_come_along_and_of_the_rest_what_is_known(files):
    told = make_told() | {"evil": "x"}
    told["study"] |= {"more": [1], "name": "My\u202e study\n\x1b[2J", "caution": "a\r\nb\x00"}
    found = json.loads(translate_files(give(files, told)).texts["shared.json"])
    assert found == {
        "synthetic": True, "demo": False, "patients_known": True, "own_backbone_weights": True,
        "own_split": True,
        "study": {
            "name": "My study [2J",
            "plan": {"num_folds": 5, "seeds": [7, 8], "shares": [0.29, 1.0]},
            "caution": "a b",
            "member": "fold-5-seed-8-share-29",
        },
    }  # fmt: skip


def test_what_is_not_said_of_a_run_is_not_claimed(files):
    found = json.loads(translate_files(give(files, {})).texts["shared.json"])
    assert not any(found.values())
    assert found.keys() == make_told().keys()
    assert "shared.json" not in translate_files(files).texts
    (demo,) = [translate_files(give(files, {"demo": True, "study": None}))]
    assert json.loads(demo.texts["shared.json"])["synthetic"]


@pytest.mark.parametrize("group", [b"", b"calcified/patient-0_1.png"])
def test_patients_are_unknown_where_the_index_has_none_whatever_is_said(files, group):
    name = b"calcified/patient-0_1.png,0,1,"
    assert name + b"patient-0," in files["index.csv"]
    index = files["index.csv"].replace(name + b"patient-0,", name + group + b",")
    foreign = translate_files(give({**files, "index.csv": index}, make_told()))
    assert json.loads(foreign.texts["shared.json"])["patients_known"] is False


@pytest.mark.parametrize("name", ["synthetic", "demo", "patients_known", "own_backbone_weights"])
@pytest.mark.parametrize("value", [1, "true", None, [True]])
def test_what_is_so_or_not_is_told_as_such(files, name, value):
    refuse(give(files, make_told() | {name: value}), f"'shared.json' has a {name} that cannot")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""), ("name", "\u202e"), ("name", "x" * 256), ("name", None), ("caution", 1),
        ("caution", "x" * 1001), ("member", None), ("member", ""), ("member", "../x"),
        ("member", "<b>"), ("member", "x" * 81), ("member", "fold-6-seed-7"),
        ("member", "fold-0-seed-7"), ("member", "fold-1-seed-9"),
        ("member", "fold-1-seed-7-share-50"), ("plan", None), ("plan", [1]),
    ],
)  # fmt: skip
def test_a_study_is_told_in_plain_texts_of_bounded_length(files, name, value):
    told = make_told()
    told["study"][name] = value
    refuse(give(files, told), f"'shared.json' has a {name} that cannot be used")


@pytest.mark.parametrize("study", [[], "x", 1, True])
def test_a_study_that_is_none_is_refused(files, study):
    refuse(give(files, make_told() | {"study": study}), "has a study that cannot be used")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_folds", 0), ("num_folds", 10_001), ("num_folds", 5.0), ("num_folds", True),
        ("num_folds", "5"), ("num_folds", None), ("seeds", []), ("seeds", [7, 7]), ("seeds", 7),
        ("seeds", [True]), ("seeds", [-1]), ("seeds", [2**31]), ("seeds", [1.5]), ("seeds", "78"),
        ("seeds", [{"a": 1}]), ("seeds", [*range(1001)]), ("shares", []), ("shares", [0.29]),
        ("shares", [1.0, 1]), ("shares", [1.0, 0.005]), ("shares", [1.0, 0]), ("shares", [True]),
        ("shares", [1.0, 1.5]), ("shares", ["1"]), ("shares", None), ("shares", [1.0] * 101),
    ],
)  # fmt: skip
def test_a_plan_is_one_that_a_study_can_have(files, name, value):
    told = make_told()
    told["study"]["plan"][name] = value
    refuse(give(files, told), f"'shared.json' has a {name} that cannot be used")


def test_a_refusal_stays_short_whatever_was_sent(files):
    told = make_told()
    told["study"]["plan"]["seeds"] = ["x" * 9000] * 10
    with pytest.raises(RunError) as caught:
        translate_files(give(files, told))
    assert len(str(caught.value)) < 500


def test_what_people_have_answered_comes_along(files, tmp_path):
    answers = {
        "claim": {"2": "one\r\ntwo\tthree\u202e", "3": " \x00 ", "x": "no item", "44": "y" * 4000},
        "tripod": {"18a": "yes", "../1": "no"},
        "elsewhere": {"1": "no"},
    }
    given = {**files, "checklists.json": json.dumps({"answers": answers, "more": 1}).encode()}
    foreign = translate_files(given)
    kept = {"claim": {"2": "one\ntwo three", "44": "y" * 4000}, "tripod": {"18a": "yes"}}
    assert json.loads(foreign.texts["checklists.json"]) == {"answers": kept}
    run = write(foreign, tmp_path)
    assert read_answers(run.directory, checklists._KNOWN) == kept
    for values in ({}, {"answers": {}}, {"answers": {"claim": {"2": " "}}}):
        given["checklists.json"] = json.dumps(values).encode()
        assert "checklists.json" not in translate_files(given).texts


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        ([], "holds no answers"), ({"claim": "x"}, "holds no answers to 'claim'"),
        ({"claim": {"2": 1}}, "an answer to item 2 of 'claim'"),
        ({"tripod": {"18a": "y" * 4001}}, "an answer to item 18a of 'tripod'"),
    ],
)  # fmt: skip
def test_an_answer_is_a_text_of_the_length_that_the_app_takes(files, answers, match):
    given = {**files, "checklists.json": json.dumps({"answers": answers}).encode()}
    refuse(given, match)


def test_every_item_of_the_checklists_and_its_longest_answer_are_taken():
    assert all(claims._ITEM.fullmatch(number) for _, number in checklists._KNOWN)
    assert {"shared.json", "checklists.json"} <= TEXT_FILES.keys()
    assert origins.FILE in TEXT_FILES
    # All items of both sheets, answered as long as can be in letters of four bytes, fit in.
    assert len(checklists._KNOWN) * (4 * checklists.MAX_ANSWER + 20) < TEXT_FILES["checklists.json"]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"1", b"{", b"\xff", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}',
     b"[" * 100_000, b'{"a":' * 9 + b"1" + b"}" * 9, b'{"a": "' + b"x" * 10_001 + b'"}',
     b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_json_that_is_no_plain_object_is_refused(data):
    with pytest.raises(RunError, match="'x.json' is"):
        read_object("x.json", data)


def make_member(*place, content=b"x", size=None):
    return Member("/".join(place), place, len(content) if size is None else size,
                  lambda: iter([content[:5], content[5:]]))  # fmt: skip


def test_the_run_is_found_in_the_root_or_in_one_folder():
    places = ["run/config.json", "run/index.csv", "run/evaluations/x/config.json", "other.txt"]
    inner = [make_member(*place.split("/")) for place in places]
    assert set(select_run(inner)) == {"config.json", "index.csv"}
    assert set(select_run([make_member("config.json"), *inner])) == {"config.json", "other.txt"}
    for members in ([], [make_member("a", "b", "config.json")], [make_member("index.csv")]):
        with pytest.raises(RunError, match="is missing"):
            select_run(members)
    with pytest.raises(RunError, match="is there twice"):
        select_run([*inner, make_member("run", "index.csv")])


def test_a_file_that_holds_more_than_it_may_or_says_is_refused():
    assert read_member(make_member("a", content=b"0123456789"), 10) == b"0123456789"
    for size in (11, 3):  # what it claims
        with pytest.raises(RunError, match="is too large"):
            read_member(make_member("a", content=b"0123456789+", size=size), 10)


def test_a_folder_gives_the_files_of_a_run_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("x")
    (member,) = list_folder(tmp_path, ["config.json", "index.csv"])
    assert (member.entry, b"".join(member.read())) == ("config.json", b"{}")
    (tmp_path / "index.csv").mkdir()
    with pytest.raises(RunError, match="is a link or no file"):
        list_folder(tmp_path, ["config.json", "index.csv"])
