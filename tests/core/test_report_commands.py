import argparse

import pytest

from polyp_core import report_commands
from polyp_core.errors import RunError
from tests.core.studies import make_index, make_study


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    report_commands.add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    return int(options.command(options))


def test_a_report_and_a_card_are_written_and_their_place_is_said(tmp_path, capsys):
    page, card = tmp_path / "page.html", tmp_path / "card.md"

    assert run_command("report", "demo", "--out", str(page)) == 0
    assert run_command("card", "demo", "--out", str(card)) == 0

    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert card.read_text(encoding="utf-8").startswith("---\n")
    assert capsys.readouterr().out.split() == [str(page), str(card)]


def test_without_a_name_the_file_lies_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run_command("card", "demo") == 0
    assert [path.name for path in tmp_path.glob("*.md")] == ["demo_run-card.md"]


def test_a_study_is_compared_by_its_folder_and_by_its_name(tmp_path, monkeypatch, workspace_dir):
    index = make_index(tmp_path / "data")
    study = make_study(monkeypatch, workspace_dir / "studies", index)
    target = tmp_path / "study.html"

    assert run_command("compare", "mine", "--out", str(target)) == 0
    assert run_command("compare", str(study.directory), "--out", f"{target}2") == 0
    assert "Comparison: mine" in target.read_text(encoding="utf-8")


def test_a_file_that_is_there_is_kept(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("mine")

    with pytest.raises(RunError) as caught:
        run_command("card", "demo", "--out", str(target))

    assert str(caught.value) == (
        f"'{target}' is there already. Expected a name that is not taken, so that nothing is lost. "
        "Choose another with --out, or move that file away."
    )
    assert target.read_text() == "mine"


def test_a_study_that_is_not_there_is_told_in_a_sentence(workspace_dir):
    with pytest.raises(RunError) as caught:
        run_command("compare", "nobody")

    assert str(caught.value) == (
        f"There is no study 'nobody', neither as a folder nor in '{workspace_dir / 'studies'}'. "
        "Expected one that `python -m polyp_core study` has started. Check its name."
    )
