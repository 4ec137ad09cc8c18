"""`python -m polyp_core export`: where files land, and what is said of them."""

import argparse
import json
from pathlib import Path

import pytest

from polyp_core import export_commands
from polyp_core.errors import AccessError, ConfigError, ModelError
from polyp_core.exports import Bundle, Export, describe_preprocessing
from polyp_core.workspace import DEMO_RUN


def run_command(*words):
    parser = argparse.ArgumentParser()
    export_commands.add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(["export", *map(str, words)])
    return options.command(options)


def make_export(name: str, path: Path, difference: float = 3e-8) -> Export:
    return Export(
        path=path, format=name, sha256="0" * 64, largest_difference=difference, num_compared=50,
        compared_on="validation images", runtime="LiteRT 2.3.0",
    )  # fmt: skip


def test_the_preprocessing_lies_beside_the_model(tmp_path, capsys):
    assert run_command("demo", "--format", "litert", "--out", tmp_path / "mine.tflite") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.tflite", "mine.preprocessing.json",
    }  # fmt: skip
    rules = json.loads((tmp_path / "mine.preprocessing.json").read_text(encoding="utf-8"))
    assert rules == describe_preprocessing(DEMO_RUN)
    said = capsys.readouterr()
    assert "mine.tflite        0 off at most  10 images  LiteRT" in said.out
    assert "Compared on synthetic images of the app" in said.out
    assert said.err.startswith("Choosing images to compare on …")


def test_preprocessing_of_another_model_is_not_overwritten(tmp_path, monkeypatch):
    made = []

    def export_run(run, format_name, target, on_progress):
        made.append(format_name)
        return make_export(format_name, target)

    monkeypatch.setattr(export_commands, "export_run", export_run)
    beside = tmp_path / "mine.preprocessing.json"
    run_command("demo", "--format", "litert", "--out", tmp_path / "mine.tflite")
    first = beside.read_bytes()
    run_command("demo", "--format", "onnx", "--out", tmp_path / "mine.onnx")  # the same rules
    assert (made, beside.read_bytes()) == (["litert", "onnx"], first)
    beside.write_text("of another run")
    with pytest.raises(ConfigError, match=r"already something at '.*mine.preprocessing.json'"):
        run_command("demo", "--format", "keras", "--out", tmp_path / "mine.keras")
    assert beside.read_text() == "of another run"
    assert made == ["litert", "onnx"]  # nothing was made only to be thrown away


@pytest.mark.parametrize(
    ("name", "file"),
    [("weights", "demo_run.weights.h5"), ("saved-model", "demo_run-saved-model.zip")],
)
def test_without_a_place_it_is_this_folder_and_the_name_of_the_run(
    name, file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = []

    def export_run(run, format_name, target, on_progress):
        asked.append((run, format_name, target))
        return make_export(format_name, target)

    monkeypatch.setattr(export_commands, "export_run", export_run)
    assert run_command("demo", "--format", name) == 0
    assert asked == [(DEMO_RUN, name, Path(file))]
    assert [path.name for path in tmp_path.iterdir()] == [
        file.replace(".weights.h5", "").replace(".zip", "") + ".preprocessing.json"
    ]


def test_all_prints_a_table_of_the_differences_and_says_what_is_left_out(tmp_path, capsys):
    assert run_command("demo", "--format", "all", "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.tflite", "preprocessing.json",
    }  # fmt: skip
    said = capsys.readouterr()
    assert said.out.startswith("model.tflite        0 off at most  10 images")
    for title in ("Keras", "Keras weights", "TensorFlow SavedModel", "ONNX"):
        assert f"{title} is left out: " in said.err
    with pytest.raises(ConfigError, match="Expected a new or an empty folder"):
        run_command("demo", "--format", "all", "--out", tmp_path / "out")


def test_a_bundle_takes_further_formats(tmp_path, monkeypatch, capsys):
    def write_bundle(run, target, on_progress, *, formats):
        made = tuple(make_export(name, Path(f"model.{name}")) for name in ("litert", *formats))
        return Bundle(path=target, exports=made, num_bytes=1_500_000)

    monkeypatch.setattr(export_commands, "write_bundle", write_bundle)
    target = tmp_path / "b.zip"
    assert run_command("demo", "--format", "bundle", "--with", "keras", "--out", target) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "model.litert    3e-08 off at most  50 images  LiteRT 2.3.0"
    assert said[1].startswith("model.keras ")
    assert said[-1] == f"{target} (1.5 MB)"
    with pytest.raises(ConfigError, match="Expected --format bundle with it"):
        run_command("demo", "--format", "litert", "--with", "keras")


def test_what_is_refused_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"has no model.keras"):
        run_command("demo", "--format", "keras", "--out", tmp_path / "a.keras")
    monkeypatch.setenv("POLYP_DEMO", "1")
    with pytest.raises(AccessError, match="Exporting from the command line is off"):
        run_command("demo", "--format", "litert", "--out", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []
