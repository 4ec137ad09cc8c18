import math

import pandas as pd
import pytest

from polyp_core.config import TrainingConfig
from polyp_core.errors import RunError
from tests.conftest import start_run, wait_for_end

training = pytest.importorskip("polyp_core.training")


def test_constant_rate_stays():
    settings = TrainingConfig(learning_rate=0.01)
    assert training.compute_learning_rate(settings, 0.0) == 0.01
    assert training.compute_learning_rate(settings, 1.0) == 0.01


def test_cosine_rises_for_a_tenth_and_falls_to_zero():
    settings = TrainingConfig(learning_rate=0.01, schedule="cosine")
    rate = lambda progress: training.compute_learning_rate(settings, progress)  # noqa: E731
    assert rate(0.0) == 0.0
    assert rate(0.05) == pytest.approx(0.005 * 0.5 * (1 + math.cos(0.05 * math.pi)))
    assert rate(0.5) == pytest.approx(0.005)
    assert rate(1.0) == pytest.approx(0.0)
    assert max(rate(i / 100) for i in range(101)) < 0.01


@pytest.mark.parametrize(
    ("val_losses", "patience", "expected"),
    [
        ([0.7, 0.5, 0.6, 0.6], 2, True),
        ([0.7, 0.5, 0.6, 0.6], 3, False),
        ([0.7, 0.6, 0.5], 1, False),
        ([0.7, 0.8, 0.9], 0, False),
        ([], 1, False),
    ],
)
def test_patience_counts_epochs_since_the_lowest_validation_loss(val_losses, patience, expected):
    history = pd.DataFrame({"epoch": range(1, len(val_losses) + 1), "val_loss": val_losses})
    settings = TrainingConfig(early_stopping_patience=patience)
    assert training._has_lost_patience(history, settings) is expected


def test_early_stopping_ends_the_run_and_keeps_the_best_epoch(data_dir, tmp_path):
    run = start_run(
        data_dir, tmp_path / "runs", "early", "training.epochs=200", "training.batch_size=4",
        "training.early_stopping_patience=2", "training.learning_rate=0.05",
        "training.schedule=constant",
    )  # fmt: skip
    assert wait_for_end(run) == "finished"
    history = run.read_history()
    best = history["val_loss"].idxmin()
    assert len(history) == best + 1 + 2 < 200
    # The kept model is the best epoch's: its predictions give that epoch's accuracy.
    accuracy = run.read_metrics()["image"]["accuracy"]["value"]
    assert accuracy == pytest.approx(history["val_accuracy"][best])


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(finished_run, tmp_path, capsys):
    import shutil

    from polyp_core.runs import Run

    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    newest = copy.path("checkpoints") / "epoch-00003.keras"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 3])
    _, finished_epochs = training._restore(copy, copy.read_config(), 3)
    assert finished_epochs == 2
    assert "epoch-00003.keras is damaged" in capsys.readouterr().out


def test_a_loss_that_is_no_number_fails_with_a_sentence_and_keeps_what_was_good():
    settings = TrainingConfig(learning_rate=1.0)
    with pytest.raises(RunError) as raised:
        training._check_finite({"epoch": 3, "loss": float("nan"), "val_loss": 0.7}, settings)
    assert str(raised.value) == (
        "The loss is not a number any more in epoch 3: the steps were too large. Expected a finite "
        "loss; the epochs before are kept. Start a new run with a lower training.learning_rate. "
        "Received: learning_rate=1"
    )


def test_a_checkpoint_that_the_history_does_not_know_is_not_used(finished_run):
    history = finished_run.read_history()
    assert training._count_unbroken(history) == 3
    assert training._count_unbroken(history[history["epoch"] != 2]) == 1
    assert training._count_unbroken(history[history["epoch"] > 1]) == 0
    _, finished_epochs = training._restore(finished_run, finished_run.read_config(), 2)
    assert finished_epochs == 2
