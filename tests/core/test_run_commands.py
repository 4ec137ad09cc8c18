"""The commands about runs that the command line's own tests do not start."""

import shutil

from polyp_core import workspace
from polyp_core.__main__ import main
from polyp_core.runs import Run

SMALL = ["--set", "model.image_size_px=32", "--set", "model.filters=8,16"]


def copy_run(finished_run, name: str, **status) -> Run:
    copy = Run(workspace.get_runs_dir() / name)
    shutil.copytree(finished_run.directory, copy.directory)
    if status:
        copy.write_json("status.json", status)
    return copy


def test_runs_lists_state_epochs_worth_and_title(finished_run, workspace_dir, capsys):
    copy_run(finished_run, "mine").write_notes("A \u202etitle", "")
    assert main(["runs"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:5] == ["mine", "finished", "3", "of", "3"]
    assert "patients" in line
    assert line.endswith("A [U+202E]title")


def test_delete_removes_a_run_that_has_ended(finished_run, workspace_dir, capsys):
    copy = copy_run(finished_run, "gone")
    assert main(["delete", "gone"]) == 0
    assert not copy.directory.exists()
    assert capsys.readouterr().out == "Deleted 'gone'\n"


def test_finish_refuses_what_is_finished(finished_run, workspace_dir, capsys):
    copy_run(finished_run, "done")
    assert main(["finish", "done"]) == 1
    assert capsys.readouterr().err == (
        "RunError: Run 'done' is finished and has no epoch to make a model of, or has its model. "
        "Expected a run with at least one finished epoch. Let it train longer, or start anew.\n"
    )


def test_resume_with_other_versions_asks_for_leave(finished_run, workspace_dir, capsys):
    copy = copy_run(finished_run, "old", state="stopped", message="Stopped")
    environment = copy.read_environment()
    environment["packages"]["numpy"] = "1.0"
    copy.write_json("environment.json", environment)
    assert main(["resume", "old"]) == 1
    assert "(--accept-changes)" in capsys.readouterr().err
    assert copy.read_status()["state"] == "stopped"


def test_find_rate_prints_the_curve_and_what_to_set(data_dir, capsys):
    code = main(["find-rate", str(data_dir), *SMALL, "--set", "training.batch_size=8"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0, lines
    # Fitted to so few images, but for what was asked for.
    assert "Preset compact: 32 px, 120 epochs, batches of 8" in lines
    (run,) = [Run(path) for path in workspace.get_rates_dir().iterdir()]
    rates = run.read_rates()
    assert len([line for line in lines if line.startswith("rate ")]) == len(rates)
    assert rates["rate"].is_monotonic_increasing
    assert (rates["loss"] > 0).all()
    suggested = run.read_status()["suggested_rate"]
    if suggested is None:
        assert lines[-1] == "The loss fell nowhere clearly, so there is no rate to suggest"
    else:
        assert lines[-1] == f"Suggested: --set training.learning_rate={suggested:g}"
    assert run.read_history().empty  # nothing of it is kept
    assert not run.path("model.keras").exists()
