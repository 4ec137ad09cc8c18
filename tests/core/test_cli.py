"""The command line as a user calls it: a process of its own."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from polyp_core.__main__ import main
from polyp_core.config import DataConfig
from polyp_core.dataset import read_index
from polyp_core.runs import Run
from tests.conftest import wait_until, write_classes

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "model.image_size_px=32", "--set", "model.filters=8,16"]


def run_command(*arguments, check=True):
    result = subprocess.run(
        [sys.executable, "-m", "polyp_core", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if check:
        assert result.returncode == 0, result.stderr
    return result


def test_train_prints_a_line_an_epoch_and_the_run_last(data_dir, tmp_path):
    result = run_command(
        "train", data_dir, *SMALL, "--set", "training.epochs=2", "--runs", tmp_path / "r",
        "--name", "mine",
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("epoch")] == [
        "epoch 1", "epoch 2",
    ]  # fmt: skip
    assert lines[-1] == str(tmp_path / "r" / "mine")
    assert Run(Path(lines[-1])).read_status()["state"] == "finished"
    # The plan stands in the run, so it can be repeated from anywhere.
    assert Run(Path(lines[-1])).read_config().data.folder == str(data_dir.resolve())


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_the_run_and_says_so(data_dir, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "polyp_core", "train", data_dir, *SMALL, "--set",
         "training.epochs=10000", "--runs", tmp_path, "--name", "long"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What is started in the background may be told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    run = Run(tmp_path / "long")
    wait_until(lambda: len(run.read_history()) >= 1, "an epoch")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The run is stopped" in stderr
    assert stdout.splitlines()[-1] == str(run.directory)
    assert run.read_status()["state"] == "stopped"


def test_predict_gives_a_row_for_every_file_and_the_error_for_a_bad_one(finished_run, tmp_path):
    folder = finished_run.read_index().folder
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    table = tmp_path / "out.csv"
    result = run_command(
        "predict", finished_run.directory, folder, bad, "--csv", table, "--json", check=False
    )
    assert result.returncode == 1
    predictions = json.loads(result.stdout)["predictions"]
    assert len(predictions) == 21
    assert [Path(p["path"]).name for p in predictions if p["error"]] == ["bad.png"]
    assert all(0 <= p["probability"] <= 1 for p in predictions[:20])
    assert [p["sure"] for p in predictions] == [True] * 20 + [None]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [p["path"] for p in predictions]
    assert rows[-1]["error"].startswith("'bad.png' is not an image that can be read")


def test_evaluate_gives_every_metric_with_its_interval(finished_run):
    folder = finished_run.read_index().folder
    result = json.loads(run_command("evaluate", finished_run.directory, folder, "--json").stdout)
    for level in ("image", "patient"):
        for name in ("accuracy", "sensitivity", "specificity", "auc", "majority_accuracy"):
            metric = result[level][name]
            assert metric["low"] <= metric["value"] <= metric["high"]
            assert metric["n"] > 0
    text = run_command("evaluate", finished_run.directory, folder).stdout
    assert "left out: the model was trained on them." in text


def test_runs_lists_and_a_run_is_found_by_name(finished_run, workspace_dir):
    shutil.copytree(finished_run.directory, workspace_dir / "runs" / "copied")
    listed = run_command("runs").stdout
    assert listed.split()[:2] == ["copied", "finished"]
    image = finished_run.read_index().folder / finished_run.read_index().images["path"][0]
    assert "probability of calcified" in run_command("predict", "copied", image).stdout


def test_stop_and_resume_refuse_a_finished_run(finished_run):
    for command in ("stop", "resume"):
        result = run_command(command, finished_run.directory, check=False)
        assert result.returncode == 1
        assert result.stderr.startswith("RunError: Run 'small' is finished")


def test_the_shipped_model_predicts_demo_images(tmp_path):
    run_command("demo", tmp_path / "demo", "--patients", 4, "--seed", 1)
    result = run_command("predict", "demo", tmp_path / "demo", "--json")
    assert json.loads(result.stdout)["positive_class"] == "calcified"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "nowhere"], "DatasetError: The folder '"),
        (["train", ".", "--preset", "x"], "ConfigError: There is no preset of that name."),
        (["train", ".", "--set", "a.b=1"], "ConfigError: There is no setting 'a.b'."),
        (["predict", "nowhere", "x.png"], "RunError: There is no run 'nowhere'"),
        (["evaluate", "nowhere", "."], "RunError: There is no run 'nowhere'"),
    ],
)
def test_what_a_user_can_repair_is_one_line_without_a_traceback(arguments, expected):
    result = run_command(*arguments, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(expected)
    assert "Traceback" not in result.stderr


def test_no_command_but_the_worker_imports_tensorflow():
    code = (
        "import sys, polyp_core.__main__, polyp_core.evaluation, polyp_core.phantom;"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_place_that_cannot_be_written_is_said_before_the_work(finished_run, data_dir, tmp_path):
    image = finished_run.read_index().folder / finished_run.read_index().images["path"][0]
    result = run_command(
        "predict", finished_run.directory, image, "--csv", tmp_path / "no" / "x.csv", check=False
    )
    assert result.returncode == 1
    assert "\nThe file system refuses:" in f"\n{result.stderr}"  # LiteRT may say something first
    taken = tmp_path / "file"
    taken.touch()
    result = run_command("train", data_dir, *SMALL, "--runs", taken, check=False)
    assert result.returncode == 1
    assert "RunError: No run can be written to" in result.stderr


def make_leaky_folder(folder):
    """Forty pictures; one is a copy of another under another name."""
    write_classes(folder, num_patients=20)
    shutil.copy(folder / "calcified/patient-01_0.png", folder / "calcified/patient-91_0.png")
    return folder


def test_audit_says_verdict_counts_and_findings_with_their_files(tmp_path):
    text = run_command("audit", make_leaky_folder(tmp_path / "data")).stdout
    assert text.startswith("Verdict: ")
    assert "41 images of 21 patients; train: " in text
    assert "1 image stands under more than one patient, byte for byte the same." in text
    assert "  - calcified/patient-91_0.png: copy " in text


def test_audit_as_json_names_every_finding(tmp_path):
    folder = make_leaky_folder(tmp_path / "data")
    for number in range(30):
        (folder / "calcified" / f"patient-50_{number}.png").touch()
    result = json.loads(run_command("audit", folder, "--json").stdout)
    assert set(result) == {"verdict", "findings", "counts"}
    assert result["verdict"] == "train with care"
    assert result["counts"]["images"] == 41
    assert result["counts"]["unreadable"] == 30
    findings = {finding["kind"]: finding for finding in result["findings"]}
    for finding in findings.values():
        assert {"kind", "severity", "count", "title", "advice", "files", "reasons"} == set(finding)
    copies = findings["copy_across_patients"]
    assert (copies["severity"], copies["count"]) == ("warning", 1)
    assert copies["files"] == ["calcified/patient-01_0.png", "calcified/patient-91_0.png"]
    assert findings["unreadable"]["count"] == len(findings["unreadable"]["files"]) == 30


def test_audit_keeps_what_it_read_and_says_the_same_again(tmp_path, workspace_dir):
    folder = make_leaky_folder(tmp_path / "data")
    first = run_command("audit", folder, "--json").stdout
    assert (workspace_dir / "cache" / "pictures.sqlite").is_file()
    assert run_command("audit", folder, "--json").stdout == first


def test_a_written_split_can_be_trained_on(tmp_path):
    folder, split = make_leaky_folder(tmp_path / "data"), tmp_path / "splits" / "clean.csv"
    result = run_command(
        "audit", folder, "--write-split", split, "--set", "data.validation_fraction=0.4"
    )
    assert f"A clean split is written to {split}: 40 images of 20 patients; train: " in (
        result.stdout
    )
    assert f"1 image left out. Train on it: train {split}" in result.stdout
    index = read_index(DataConfig(folder=str(split)))
    assert len(index.images) == 40
    assert index.images["split"].value_counts().to_dict() == {"train": 24, "validation": 16}
    again = json.loads(run_command("audit", split, "--json").stdout)
    assert not {"copy_across_patients", "patients_guessed"} & {
        finding["kind"] for finding in again["findings"]
    }
    name = "from-split"
    result = run_command(
        "train", split, *SMALL, "--set", "training.epochs=1", "--runs", tmp_path, "--name", name
    )
    run = Run(tmp_path / name)
    assert run.read_status()["state"] == "finished"
    assert run.read_config().data.folder == str(split)
    assert run.read_index().folder == folder


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "data.sed=1"], "ConfigError: There is no setting 'data.sed'."),
        (["--set", "data.seed=one"], "ConfigError: "),
        (["--set", "data.validation_fraction=0.9"], "ConfigError: "),
        (["--set", "nonsense"], "ConfigError: "),
        (
            ["--write-split", "clean.txt"],
            "DatasetError: The clean split cannot be written to 'clean.txt'. Expected a name that "
            "ends in .csv, by which it is known as a manifest, and is not taken yet. Choose such",
        ),
    ],
)
def test_a_wrong_option_of_audit_says_what_to_do(options, expected, data_dir, capsys):
    assert main(["audit", str(data_dir), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(expected)
    assert "Expected" in error
    assert error.count("\n") == 1
