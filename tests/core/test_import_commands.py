import argparse

import pytest

from polyp_core import import_commands
from polyp_core.errors import RunError
from polyp_core.runs import Run
from polyp_core.workspace import get_runs_dir
from tests.core.attack_files import make_run_files, pack


def run_command(*words):
    parser = argparse.ArgumentParser()
    import_commands.add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(["import", *map(str, words)])
    return options.command(options)


def test_a_run_comes_into_the_workspace_under_the_name_of_its_file(tmp_path, monkeypatch, capsys):
    asked = []

    def import_run(source, name, runs_dir, on_progress):
        asked.append((source, name, runs_dir))
        on_progress("Building the network")
        return Run(runs_dir / name)

    monkeypatch.setattr(import_commands, "import_run", import_run)
    assert run_command(tmp_path / "my run.zip") == 0
    assert run_command(tmp_path / "my run.zip", "--name", "other", "--runs", tmp_path) == 0
    assert asked == [
        (tmp_path / "my run.zip", "my-run", get_runs_dir()),
        (tmp_path / "my run.zip", "other", tmp_path),
    ]
    said = capsys.readouterr()
    assert "'other' is here and can predict" in said.out
    assert said.err.startswith("Building the network …")


def test_what_is_refused_is_a_sentence(tmp_path):
    files = make_run_files()
    files["config.json"] = b"{}"
    with pytest.raises(RunError, match="is not that of a trained run"):
        run_command(pack(files, tmp_path / "run.zip"))
