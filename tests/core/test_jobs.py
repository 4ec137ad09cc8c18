"""What is refused and what is written; workers that are stopped and killed stand in test_kills."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from polyp_core import jobs
from polyp_core.dataset import read_index
from polyp_core.errors import ConfigError, DatasetError, RunError
from polyp_core.queueing import list_tickets
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN, get_queue_dir
from tests.conftest import make_config, wait_for_end


def read_weights(run) -> list[np.ndarray]:
    import keras

    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    return [np.asarray(v) for v in model.variables if "seed" not in v.path]


def test_a_run_has_every_file_that_repeats_and_serves_it(finished_run):
    names = {path.name for path in finished_run.directory.iterdir()}
    assert {
        "config.json", "index.csv", "environment.json", "status.json", "history.csv",
        "batch.png", "model.keras", "model.weights.h5", "serving.tflite", "serving.json",
        "predictions.csv", "metrics.json", "worker.log",
    } <= names  # fmt: skip
    # What only a resume needs, and what was held back, are gone.
    assert not names & {"checkpoints", "reserve", "stop"}
    assert not [name for name in names if name.startswith(".writing")]
    assert finished_run.read_history()["epoch"].tolist() == [1, 2, 3]


def test_weights_alone_rebuild_the_model(finished_run):
    from polyp_core.models import build_model

    model = build_model(finished_run.read_config().model)
    model.load_weights(finished_run.path("model.weights.h5"))
    mine = [np.asarray(v) for v in model.variables if "seed" not in v.path]
    assert len(mine) == len(read_weights(finished_run))
    assert all(map(np.array_equal, mine, read_weights(finished_run)))


def test_a_data_set_that_changed_fails_with_a_sentence(data_dir, tmp_path):
    config = make_config(data_dir)
    index = read_index(config.data)
    path = data_dir / index.select("train")["path"].iloc[0]
    path.unlink()
    run = jobs.start_run(config, index, tmp_path / "runs", "gone")
    assert wait_for_end(run) == "failed"
    assert run.read_status()["message"].startswith("The image '")
    assert "Traceback" not in run.path("worker.log").read_text()


def test_a_finished_run_is_neither_stopped_nor_resumed(finished_run):
    with pytest.raises(RunError) as raised:
        jobs.stop_run(finished_run)
    assert str(raised.value) == (
        "Run 'small' is finished, so there is nothing to stop. Expected a running one. "
        "`python -m polyp_core runs` lists them."
    )
    with pytest.raises(RunError) as raised:
        jobs.resume_run(finished_run)
    assert str(raised.value) == (
        "Run 'small' is finished and cannot be resumed. Expected a stopped, interrupted or failed "
        "one. Start a new run instead."
    )


def test_a_name_is_never_taken_twice(finished_run):
    config, index = finished_run.read_config(), finished_run.read_index()
    runs_dir = finished_run.directory.parent
    with pytest.raises(RunError) as raised:
        jobs.start_run(config, index, runs_dir, "small")
    assert str(raised.value) == (
        f"There is already a run named 'small' in '{runs_dir}'. Expected a new name. Choose "
        "another one; a run is never overwritten."
    )


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x" * 81, "a\nb"])
def test_a_name_that_is_no_folder_name_is_refused(finished_run, name):
    config, index = finished_run.read_config(), finished_run.read_index()
    with pytest.raises(RunError) as raised:
        jobs.start_run(config, index, finished_run.directory.parent, name)
    assert str(raised.value) == (
        "The run's name cannot be a folder name. Expected letters, digits, space, '.', '_' and "
        f"'-', at most 80, the first a letter or digit. Received: name={name!r}"
    )


@pytest.fixture
def plan(data_dir):
    """Settings and images of a run that nobody has asked for yet."""
    config = make_config(data_dir)
    return config, read_index(config.data)


def keep(index, is_kept):
    """The images that are kept, by their rows."""
    return replace(index, images=index.images[is_kept(index.images)].reset_index(drop=True))


def test_a_prepared_run_is_named_after_data_and_preset_and_has_no_worker(plan, tmp_path):
    config, index = plan
    run = jobs.prepare_run(config, index, tmp_path / "runs")
    assert run.name.startswith("data-compact-20")
    assert run.read_config() == config
    assert (run.read_task(), run.read_class_names()) == ("train", index.class_names)
    assert run.read_index().images["sha256"].tolist() == index.images["sha256"].tolist()
    assert list_tickets(get_queue_dir()) == []
    assert not run.is_alive()
    other = jobs.prepare_run(config, index, tmp_path / "runs", task="find-rate")
    assert other.read_task() == "find-rate"
    assert other.name != run.name


@pytest.mark.parametrize(
    ("settings", "is_kept", "error", "message"),
    [
        (
            [], lambda rows: rows["split"] == "validation", DatasetError,
            "There is no image to train on. Expected images in both splits. Put some into train/, "
            "or let the app divide the images.",
        ),
        (
            [], lambda rows: rows["split"] == "train", DatasetError,
            "There is no image to validate on. Expected images in both splits. Put some into "
            "validation/, or let the app divide the images.",
        ),
        (
            ["training.batch_size=4"],
            lambda rows: (rows["label"] == 1) | (rows["split"] != "train"), DatasetError,
            "All training images are of one class, so there is nothing to tell apart. Expected "
            "both classes. Add images of the other class to train/.",
        ),
        (
            ["training.batch_size=17"], lambda rows: rows["label"] >= 0, ConfigError,
            "A batch is larger than the data set: 16 images to train on. Expected at most as many. "
            "Lower training.batch_size. Received: batch_size=17",
        ),
        (
            ["training.monitor=val_auc"],
            lambda rows: (rows["label"] == 1) | (rows["split"] == "train"), ConfigError,
            "The AUC cannot be computed: all validation images are of one class. Expected both, or "
            "another number to watch. Choose training.monitor=val_loss. "
            "Received: monitor='val_auc'",
        ),
    ],
    ids=["nothing to train on", "nothing to validate on", "one class", "batch", "auc"],
)  # fmt: skip
def test_settings_that_do_not_fit_the_images_are_refused_before_anything_is_written(
    settings, is_kept, error, message, plan, tmp_path
):
    config, index = plan
    with pytest.raises(error) as raised:
        jobs.start_run(config.with_settings(settings), keep(index, is_kept), tmp_path / "runs")
    assert str(raised.value) == message
    assert not (tmp_path / "runs").exists()


def test_a_batch_as_large_as_the_data_set_and_a_validation_of_one_class_are_allowed(plan):
    config, index = plan
    one_class = keep(index, lambda rows: (rows["label"] == 1) | (rows["split"] == "train"))
    jobs.check_fit(config.with_settings(["training.batch_size=16"]), one_class)


def test_what_has_no_epoch_or_has_its_model_is_not_finished_early(finished_run, plan, tmp_path):
    run = jobs.prepare_run(*plan, tmp_path / "runs", "new")
    for other, state in ((run, "queued"), (finished_run, "finished")):
        with pytest.raises(RunError) as raised:
            jobs.finish_run(other)
        assert str(raised.value) == (
            f"Run '{other.name}' is {state} and has no epoch to make a model of, or has its model. "
            "Expected a run with at least one finished epoch. Let it train longer, or start anew."
        )
        assert not other.path("finish").exists()


def test_a_run_that_works_is_asked_to_finish_and_goes_on_until_its_epoch_ends(plan, tmp_path):
    run = jobs.prepare_run(*plan, tmp_path / "runs", "works")
    run.write_json("status.json", {"state": "running", "message": ""})
    run.path("history.csv").write_text("epoch,loss\n1,0.5\n")
    with run.lock():
        jobs.finish_run(run)
        assert run.path("finish").exists()
    assert list_tickets(get_queue_dir()) == []  # nobody was started


def test_a_run_that_works_is_not_deleted_and_one_that_has_ended_is(finished_run, plan, tmp_path):
    run = jobs.prepare_run(*plan, tmp_path / "runs", "works")
    run.write_json("status.json", {"state": "running", "message": ""})
    with run.lock(), pytest.raises(RunError) as raised:
        jobs.delete_run(run)
    assert str(raised.value) == (
        "Run 'works' is running and is not deleted. Expected one that has ended. Stop it first."
    )
    copy = Run(tmp_path / "runs" / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    for ended in (run, copy):  # the first is interrupted by now
        jobs.delete_run(ended)
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_model_that_ships_is_never_deleted_but_a_run_in_a_folder_of_that_name_is(
    finished_run, tmp_path
):
    with pytest.raises(RunError, match="is not a run of yours"):
        jobs.delete_run(DEMO_RUN)
    assert DEMO_RUN.path("config.json").is_file()
    copy = Run(tmp_path / "polyp_core" / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    jobs.delete_run(copy)
    assert not copy.directory.exists()


def test_a_folder_that_is_no_run_is_never_deleted(tmp_path):
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "picture.png").touch()
    folder.joinpath("status.json").write_text('{"state": "stopped"}')
    with pytest.raises(RunError, match="is not a run"):
        jobs.delete_run(Run(folder))
    assert (folder / "picture.png").exists()


def test_a_stopped_run_of_another_version_is_resumed_only_if_that_is_accepted(plan, tmp_path):
    run = jobs.prepare_run(*plan, tmp_path / "runs", "old")
    run.write_json("status.json", {"state": "stopped", "message": "Stopped"})
    run.write_json("environment.json", {"polyp_core": "0.0.1", "packages": {}})
    with pytest.raises(RunError, match="was started with other versions .polyp_core 0.0.1 → "):
        jobs.resume_run(run)
    assert run.read_status()["state"] == "stopped"
    assert list_tickets(get_queue_dir()) == []
