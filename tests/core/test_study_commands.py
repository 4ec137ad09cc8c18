import argparse
import json
from types import SimpleNamespace

import pytest

from polyp_core import study_commands
from polyp_core.environment import count_threads
from polyp_core.errors import ConfigError, RunError
from polyp_core.learning_curve import read_learning
from polyp_core.runs import Run
from polyp_core.study import Study, summarise
from polyp_core.study_commands import add_parsers, write_table
from polyp_core.study_jobs import LEARNING_CURVE
from tests.conftest import write_classes
from tests.core.studies import (
    end_member,
    finish_curve,
    finish_member,
    make_index,
    make_study,
)


def run_study(*arguments) -> int:
    """The command as `python -m polyp_core` would call it."""
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(["study", *map(str, arguments)])
    return int(options.command(options))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Of four members two are finished and one has failed."""
    index = make_index(tmp_path, 12)
    study = make_study(monkeypatch, tmp_path / "studies", index, num_seeds=2)
    wrong = {"p0_0.png": 0.9, "p0_1.png": 0.9, "p1_0.png": 0.2, "p1_1.png": 0.2}
    labels = index.images.set_index("path")["label"]
    given = {path: 0.1 + 0.8 * label for path, label in labels.items()}
    first, second, third, _ = study.members
    finish_member(study, first, given | wrong)
    finish_member(study, second, given | wrong)
    finish_member(study, third, given)
    third.run.path("metrics.json").unlink()
    end_member(third, "failed", "No room.")
    return study


def test_the_table_holds_members_spread_pooled_numbers_and_the_baseline(study):
    metrics, _ = summarise(study)
    study.files.write_json("metrics.json", metrics)
    rows = [line.split("|")[1:-1] for line in write_table(study).splitlines()]
    assert {len(row) for row in rows} == {8}
    by_name = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert list(by_name) == [
        "", "---", "fold-1-seed-0", "fold-2-seed-0", "fold-1-seed-1", "fold-2-seed-1",
        "mean ± sd", "pooled, by patient", "pooled, by image", "always the more frequent class",
    ]  # fmt: skip
    # Ten of twelve patients are right, five of six positive ones and five of six others; of 36
    # pairs 30 are in the right order and 5 are ties.
    assert by_name["pooled, by patient"] == [
        "", "", "83\xa0% (55–95)", "83\xa0% (44–97)", "83\xa0% (44–97)", "0.90 (0.71–1.00)", "12",
    ]  # fmt: skip
    assert by_name["pooled, by image"][-1] == "24"
    assert by_name["always the more frequent class"] == [
        "", "", "50\xa0% (25–75)", "", "", "0.50", "12",
    ]  # fmt: skip
    assert by_name["fold-1-seed-1"] == ["failed", "0", "", "", "", "", ""]
    assert by_name["fold-2-seed-1"][0] == "waiting"
    each = study.read_members()["accuracy"].dropna()
    spread = f"{100 * each.mean():.0f} ± {100 * each.std():.0f} %"
    assert by_name["mean ± sd"][:3] == ["of 2 members", "", spread]


def test_one_member_has_no_deviation_and_none_no_numbers():
    say = study_commands._say_spread
    assert say({"mean": 0.84, "sd": 0.031, "k": 5}) == "84 ± 3 %"
    assert say({"mean": 0.84, "sd": None, "k": 1}) == "84 %"
    assert say({"mean": 0.914, "sd": 0.02, "k": 5}, is_percent=False) == "0.91 ± 0.02"
    assert say({"mean": None, "sd": None, "k": 0}) == "not defined"


@pytest.fixture
def curve(tmp_path, monkeypatch):
    """Five finished folds on 12, 24, 36 and 48 patients; wrong about 24, 12, 8 and 6 of 60."""
    study = make_study(
        monkeypatch, tmp_path / "studies", make_index(tmp_path, 60), num_folds=5,
        shares=LEARNING_CURVE,
    )  # fmt: skip
    finish_curve(study, {0.25: 24, 0.5: 12, 0.75: 8, 1.0: 6})
    study.files.write_json("status.json", {"state": "finished", "message": "Finished"})
    return study


def test_a_learning_curve_is_a_table_and_two_sentences(curve):
    lines = study_commands.write_curve(read_learning(curve)).splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:6]] == [
        ["24", "25 %", "12", "60\xa0% (47–71)", "0.60 (0.47–0.73)", "60 patients"],
        ["48", "50 %", "24", "80\xa0% (68–88)", "0.80 (0.70–0.90)", "60 patients"],
        ["72", "75 %", "36", "87\xa0% (76–93)", "0.87 (0.78–0.95)", "60 patients"],
        ["96", "100 %", "48", "90\xa0% (80–95)", "0.90 (0.82–0.98)", "60 patients"],
    ]
    assert lines[6] == ""
    assert lines[7].startswith(
        "From 24 to 96 training images the AUC rose from 0.60 to 0.90; twice as many would give "
        "about 0.95 ("
    )
    assert lines[8].startswith(
        "From 24 to 96 training images the accuracy rose from 60 % to 90 %; twice as many would "
        "give about 95 % ("
    )


def test_shares_that_are_no_numbers_are_told_before_images_are_read(monkeypatch):
    monkeypatch.setattr(study_commands, "read_and_list", lambda *_: pytest.fail("read"))
    with pytest.raises(ConfigError) as raised:
        run_study("data", "--shares", "a half")
    assert str(raised.value) == (
        "The value of --shares cannot be read. Expected whole numbers with commas between. "
        "Received: 'a half'"
    )


def test_a_study_without_shares_prints_no_curve(study, monkeypatch, capsys):
    study.files.write_json("status.json", {"state": "failed", "message": "First."})
    monkeypatch.setattr(study_commands, "resume_study", lambda *_, **__: None)
    run_study("--resume", study.directory, "--json")
    assert set(json.loads(capsys.readouterr().out)) == {"status", "members", "metrics"}


@pytest.mark.parametrize("arguments", [[], ["data", "--resume", "mine"]])
def test_images_or_a_study_to_resume_are_asked_for(arguments):
    with pytest.raises(ConfigError, match="What is to be studied is not clear. Expected either"):
        run_study(*arguments)


def test_a_study_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RunError, match="There is no study 'none', neither as a folder nor in "):
        run_study("--resume", "none", "--studies", tmp_path)


def test_a_study_that_fails_ends_with_1_and_says_why(study, monkeypatch, capsys):
    study.files.write_json("status.json", {"state": "failed", "message": "First."})

    asked = []
    monkeypatch.setattr(
        study_commands, "resume_study", lambda *given, **options: asked.append((given, options))
    )
    arguments = ["--resume", study.name, "--studies", study.directory.parent, "--workers", 3]
    assert run_study(*arguments) == 1
    assert asked == [((study, 3, None), {"is_local": False, "accept_changes": False})]
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == str(study.directory)
    assert printed.err.splitlines()[-1] == "The study is failed: First."


def test_a_study_is_called_back_from_ray_and_may_go_on_with_other_versions(study, monkeypatch):
    study.files.write_json("status.json", {"state": "failed", "message": "First."})
    asked = []
    monkeypatch.setattr(
        study_commands, "resume_study", lambda *given, **options: asked.append((given, options))
    )
    arguments = ["--resume", study.directory, "--local", "--accept-changes"]
    assert run_study(*arguments) == 1
    assert asked == [((study, None, None), {"is_local": True, "accept_changes": True})]


def test_here_and_on_ray_at_once_is_refused(capsys):
    with pytest.raises(SystemExit):
        run_study("--resume", "mine", "--local", "--ray", "auto")
    assert "argument --ray: not allowed with argument --local" in capsys.readouterr().err


def test_ctrl_c_stops_the_study_and_waits_for_its_end(study, monkeypatch):
    study.files.write_json("status.json", {"state": "running", "message": ""})
    lock, pressed = study.files.lock(), []
    lock.acquire()  # as its worker does

    def press(seconds):
        if not pressed:
            pressed.append(seconds)
            raise KeyboardInterrupt
        lock.release()
        study.files.write_json("status.json", {"state": "stopped", "message": "Stopped"})

    monkeypatch.setattr(study_commands, "time", SimpleNamespace(sleep=press, time=lambda: 0))
    study_commands._follow(study)
    assert study.files.path("stop").exists()


def test_a_resumed_member_is_told_of_when_it_ends_anew(study, monkeypatch, capsys):
    study.files.write_json("status.json", {"state": "running", "message": ""})
    third = study.members[2]
    seen, steps = [], iter(["failed", "finished", "end"])

    def step(seconds):
        seen.append(capsys.readouterr().err)
        state = next(steps)
        if state == "end":
            study.files.write_json("status.json", {"state": "finished", "message": "Finished"})
        else:
            values = {"state": state, "message": "", "updated_at": 50 + 100 * (state != "failed")}
            third.run.write_json("status.json", values)

    monkeypatch.setattr(study_commands, "time", SimpleNamespace(sleep=step, time=lambda: 100))
    with study.files.lock():  # as its worker does
        study_commands._follow(study)
    assert seen[:2] == ["", ""]
    assert seen[2].startswith("fold-1-seed-1: finished, 0 epochs")


def test_a_study_from_the_command_line(tmp_path, capsys):
    data_dir = write_classes(tmp_path / "data", num_patients=8)
    small = ["model.image_size_px=32", "model.filters=8,16", "training.epochs=2"]
    settings = [f"--set={text}" for text in [*small, "training.batch_size=4"]]
    arguments = [data_dir, "--folds", 2, "--shares", "50,100", *settings, "--workers", 2]
    assert run_study(*arguments, "--studies", tmp_path / "s", "--name", "mine", "--json") == 0
    printed = capsys.readouterr()
    values = json.loads(printed.out)
    assert values["status"]["state"] == "finished"
    assert [member["state"] for member in values["members"]] == ["finished"] * 4
    assert [member["share"] for member in values["members"]] == [1.0, 1.0, 0.5, 0.5]
    assert [point["num_training"] for point in values["learning_curve"]] == [4, 8]
    assert [point["num_patients"] for point in values["learning_curve"]] == [2, 4]
    assert values["learning_curve"][1]["auc"] == values["metrics"]["patient"]["auc"]["value"]
    assert [outlook["metric"] for outlook in values["outlook"]] == ["auc", "accuracy"]
    assert values["outlook"][0]["reason"].startswith("Four shares of the images are the fewest")
    assert values["metrics"]["image"]["accuracy"]["n"] == 16
    assert values["metrics"]["patient"]["accuracy"]["n"] == 8
    lines = printed.err.splitlines()
    assert lines[0] == str(tmp_path / "s" / "mine")
    ended = [line.split(":")[0] for line in lines if ": finished, 2 epochs, accuracy " in line]
    assert sorted(ended) == [
        "fold-1-seed-0", "fold-1-seed-0-share-50", "fold-2-seed-0", "fold-2-seed-0-share-50",
    ]  # fmt: skip
    # Both were at work at once.
    started, ended_at = zip(*[
        (status["started_at"], status["updated_at"])
        for member in Study(tmp_path / "s" / "mine").whole_members
        for status in [member.run.read_status()]
    ], strict=True)  # fmt: skip
    assert max(started) < min(ended_at)
    # So they divided the processors.
    members = Study(tmp_path / "s" / "mine").members
    num_threads = {member.run.read_environment()["threads"] for member in members}
    assert num_threads == {max(1, count_threads(Run(tmp_path)) // 2)}
