"""Trainers in this very process: broken off wherever it may hurt, and gone on with."""

import shutil
import time

import numpy as np
import pytest

from polyp_core.checkpoints import read_checkpoint, read_checkpoints
from polyp_core.config import TrainingConfig
from polyp_core.dataset import read_index
from polyp_core.errors import RunError
from polyp_core.history import describe_validation
from polyp_core.image_store import open_images
from polyp_core.jobs import prepare_run
from polyp_core.reporting import WorkStopped
from tests.conftest import make_config, write_classes

keras = pytest.importorskip("keras")
from polyp_core import models, training  # noqa: E402
from polyp_core.networks import get_backbone  # noqa: E402
from polyp_core.training import Trainer  # noqa: E402

# Keras' own, where it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
# Fifteen training images make batches of 4, 4, 4 and 3: the last one is shorter.
STEPS = 4
SIMPLE = (
    "model.filters=4", "model.batch_normalization=false", "training.optimizer=rmsprop",
    "training.ema=0",
)  # fmt: skip
# Between them these hold every kind of state that a resume has to bring back.
VARIANTS = {
    "averaged, normalised, weighted, best kept": (
        "training.optimizer=adamw", "training.schedule=cosine", "training.ema=0.8",
        "training.class_weights=balanced", "training.label_smoothing=0.1", "training.keep=best",
        "training.monitor=val_auc", "model.dropout=0.5", "training.epochs=4",
        "training.milestones=2,3", "training.learning_rate=0.01", "model.filters=4,8",
        "model.batch_normalization=true",
    ),
    "16 bit, momentum, clipping, plateau, early stopping, shuffled": (
        "training.optimizer=sgd", "training.momentum=0.9", "training.gradient_clip=0.5",
        "training.schedule=plateau", "training.decay_epochs=1", "training.keep=last",
        "training.early_stopping_patience=3", "training.monitor=val_loss", "training.epochs=30",
        "training.mixed_precision=true", "training.shuffled_labels=true", "model.head=flatten",
        "model.dense_units=8", "model.dropout=0.5",
        "training.learning_rate=0.3", "training.weight_decay=0.001",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Nineteen images: 15 to train on, 4 to validate on."""
    folder = write_classes(tmp_path_factory.mktemp("training") / "data")
    index = read_index(make_config(folder).data)
    (folder / index.select("train")["path"].iloc[-1]).unlink()
    index = read_index(make_config(folder).data)
    assert index.images["split"].value_counts().to_dict() == {"train": 15, "validation": 4}
    return folder, index


@pytest.fixture(scope="module")
def three_epochs(data, tmp_path_factory):
    """A session of three epochs that keeps the best, and its unbroken run."""
    place = tmp_path_factory.mktemp("three")
    session = Session(data, place, "training.epochs=3", "training.keep=best")
    run = session.make_run("unbroken")
    session.train(run)
    return session, run


class Session:
    """Trains runs of one configuration, each broken off wherever the test wants."""

    def __init__(self, data, place, *settings):
        folder, self.index = data
        self.place = place
        self.config = make_config(folder, "training.batch_size=4", *SIMPLE, *settings)
        self.images = open_images(self.index, self.config, place)
        self.message = ""  # the last one

    def make_run(self, name):
        return prepare_run(self.config, self.index, self.place / "runs", name)

    def train(self, run, stop_at=None):
        """Train; a stop is asked for at (epoch, step) or at (epoch, "validating")."""

        def report(*, message="", **values):
            self.message = message or self.message
            if stop_at and (values.get("epoch"), values.get("step")) == stop_at:
                raise WorkStopped
            if stop_at and message == f"Epoch {stop_at[0]} of {self.epochs}: {stop_at[1]}":
                raise WorkStopped

        Trainer(run, self.config, self.index, self.images, report).train()

    @property
    def epochs(self):
        return self.config.training.epochs

    def break_off(self, run, *stop_at):
        with pytest.raises(WorkStopped):
            self.train(run, stop_at)


def read_curves(run):
    """history.csv to the byte, but for the seconds."""
    return [line.rsplit(",", 1)[0] for line in run.path("history.csv").read_text().splitlines()]


def read_weights(run):
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    return [np.asarray(weight).tobytes() for weight in model.weights]


def assert_same_end(mine, theirs):
    assert read_curves(mine) == read_curves(theirs)
    assert read_weights(mine) == read_weights(theirs)
    assert mine.read_milestones() == theirs.read_milestones()


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_a_run_that_is_broken_off_everywhere_ends_as_an_unbroken_one(
    settings, data, tmp_path, monkeypatch
):
    # So that 16 bit is what it is on a graphics card, with its scaled loss.
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: ["gpu:0"])
    session = Session(data, tmp_path, *settings)
    unbroken, broken = session.make_run("unbroken"), session.make_run("broken")
    session.train(unbroken)
    history = unbroken.read_history()
    assert history["loss"].nunique() == len(history)
    if "early stopping" in next(name for name, value in VARIANTS.items() if value is settings):
        assert len(history) < session.epochs
        assert history["learning_rate"].nunique() > 1  # it had stood still in between

    session.break_off(broken, 1, 1)
    session.break_off(broken, 2, STEPS - 1)  # so that a shorter batch comes first of all
    session.break_off(broken, 2, STEPS)
    session.break_off(broken, 3, "validating")
    session.train(broken)
    assert_same_end(broken, unbroken)


def build_small_backbone(*, include_top, weights, input_shape):
    """Stands for one of Keras' own, whose hundreds of layers take long to build and to trace."""
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.Conv2D(8, 3, strides=2)(x))


def test_a_backbone_rests_then_learns_and_is_fetched_once(data, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "MobileNetV3Small", build_small_backbone)
    fetched = []

    def fetch(model, config):
        """Other weights than the random ones it is built with."""
        assert session.message.endswith("; the first time they are fetched")
        fetched.append(config.backbone)
        kernel = get_backbone(model).trainable_variables[0]
        kernel.assign(np.full(kernel.shape, 0.1))

    monkeypatch.setattr(training, "load_backbone", fetch)
    session = Session(
        data, tmp_path, "model.network=transfer", "training.frozen_epochs=1", "training.epochs=2",
        "training.optimizer=adam", "training.backbone_rate=0.5", "training.keep=last",
    )  # fmt: skip
    unbroken, broken = session.make_run("unbroken"), session.make_run("broken")
    session.train(unbroken)
    session.break_off(broken, 1, "validating")
    after_first = read_checkpoint(read_checkpoints(broken)[0]).variables[0]
    np.testing.assert_array_equal(after_first, np.full(after_first.shape, np.float32(0.1)))
    session.train(broken)
    assert_same_end(broken, unbroken)
    newest = read_checkpoint(read_checkpoints(broken)[0]).variables[0]
    assert np.abs(newest - after_first).max() > 0
    assert fetched == ["mobilenet-v3-small"] * 2  # once a run, however often it is gone on with


def test_what_is_random_is_never_drawn_twice(data, tmp_path):
    """Dropout counts its draws through all epochs: after two of four steps it stands at eight."""
    session = Session(data, tmp_path, "training.epochs=2")
    run = session.make_run("one")
    session.train(run)
    newest = read_checkpoint(read_checkpoints(run)[0])
    (state,) = [array for array in newest.variables if array.shape == (2,)]  # seed, draws
    assert state[1] == 2 * STEPS


def test_a_history_row_always_has_its_checkpoint_and_is_written_anew_if_lost(three_epochs):
    session, unbroken = three_epochs
    killed = session.make_run("killed")
    session.break_off(killed, 3, 1)
    # Killed between a checkpoint and its row, in the middle of the row at that.
    read_checkpoints(killed)[0].unlink()
    text = killed.path("history.csv").read_text()
    killed.path("history.csv").write_text(text[: text.rindex("\n", 0, -1) + 9])
    session.break_off(killed, 3, 2)
    assert read_curves(killed) == read_curves(unbroken)[:3]  # the header and two epochs
    session.train(killed)
    assert_same_end(killed, unbroken)


@pytest.mark.parametrize("is_truncated", [True, False], ids=["truncated", "one bit"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    is_truncated, three_epochs, capsys
):
    session, unbroken = three_epochs
    damaged = session.make_run(f"damaged-{is_truncated}")
    session.break_off(damaged, 3, 2)
    newest, before = read_checkpoints(damaged)
    content = bytearray(newest.read_bytes())
    if is_truncated:
        content = content[: len(content) // 3]
    else:
        content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    session.train(damaged)
    assert_same_end(damaged, unbroken)
    assert capsys.readouterr().out == (
        f"A checkpoint cannot be used, trying the one before: {newest.name} is damaged: the "
        f"checksum of {newest.name} is not that of its content\n"
    )
    assert before.name == "epoch-00002-step-0000000.npz"


def test_with_no_usable_checkpoint_a_run_is_left_as_it_is(three_epochs):
    session, _ = three_epochs
    damaged = session.make_run("all damaged")
    session.break_off(damaged, 2, 1)
    for path in damaged.path("checkpoints").iterdir():
        path.write_bytes(b"")
    before = damaged.path("history.csv").read_bytes()
    with pytest.raises(RunError) as raised:
        session.train(damaged)
    assert str(raised.value) == (
        "No checkpoint of run 'all damaged' can be used, though its history has 1 epoch; "
        "worker.log says why. Expected at least one that is whole. Start a new run with these "
        "settings; this one stays as it is."
    )
    assert damaged.path("history.csv").read_bytes() == before
    assert len(read_checkpoints(damaged)) > 0


def test_a_checkpoint_that_cannot_be_read_just_now_costs_nothing(three_epochs, monkeypatch):
    session, unbroken = three_epochs
    run = session.make_run("refused")
    session.break_off(run, 2, 1)
    before = sorted(path.name for path in run.path("checkpoints").iterdir())

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(training.checkpoints, "_read_arrays", refuse)
        with pytest.raises(PermissionError):
            session.train(run)
    assert sorted(path.name for path in run.path("checkpoints").iterdir()) == before
    assert len(run.read_history()) == 1
    session.train(run)
    assert_same_end(run, unbroken)


def test_a_stop_is_heard_while_a_slow_disk_is_waited_for(data, tmp_path):
    session = Session(data, tmp_path)
    told = []

    def report(**values):
        told.append(values)
        raise WorkStopped

    run = session.make_run("slow")
    trainer = Trainer(run, session.config, session.index, session.images, report)
    trainer._writing = trainer._writer.submit(time.sleep, 0.5)
    trainer._wait_for_writer()
    assert told
    assert trainer._writing is None


def test_a_checkpoint_that_the_history_does_not_know_is_not_used(three_epochs):
    session, unbroken = three_epochs
    cut = session.make_run("cut")
    session.break_off(cut, 3, 1)
    cut.cut_history(0)  # not even the first epoch is known
    session.train(cut)
    assert_same_end(cut, unbroken)


def test_the_best_weights_are_copies_that_training_on_does_not_change(data, tmp_path):
    session = Session(data, tmp_path, "training.keep=best", "training.epochs=2")
    short = session.make_run("short")
    session.train(short)
    best = int(short.read_history()["val_loss"].idxmin()) + 1
    kept = short.path("checkpoints") / f"best-{best:05}.npz"
    before = kept.read_bytes()
    # The same run with a rate that destroys what was learned: none of its epochs is better.
    long = session.make_run("long")
    shutil.copytree(short.path("checkpoints"), long.path("checkpoints"))
    shutil.copy(short.path("history.csv"), long.path("history.csv"))
    session.config = session.config.with_settings(
        ["training.epochs=4", "training.schedule=constant", "training.learning_rate=1"]
    )
    session.train(long)
    assert len(long.read_history()) == 4
    assert (long.path("checkpoints") / kept.name).read_bytes() == before
    assert read_weights(long) == read_weights(short)
    newest = read_checkpoint(read_checkpoints(long)[0])
    assert newest.best_epoch == best
    assert not np.array_equal(newest.variables[0], newest.best_weights[0])


def test_a_kept_last_state_under_averaging_is_the_average(data, tmp_path):
    session = Session(data, tmp_path, "training.ema=0.5", "training.epochs=1")
    run = session.make_run("one")
    session.train(run)
    newest = read_checkpoint(read_checkpoints(run)[0])
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    kernel = np.asarray(model.trainable_variables[0])
    assert not np.array_equal(kernel, newest.variables[0])
    assert any(np.array_equal(kernel, array) for array in newest.variables[1:])


def test_early_stopping_ends_the_run_and_keeps_the_best_epoch(data, tmp_path):
    session = Session(
        data, tmp_path, "training.epochs=200", "training.early_stopping_patience=2",
        "training.learning_rate=0.05", "training.schedule=constant", "training.keep=best",
    )  # fmt: skip
    run = session.make_run("early")
    session.train(run)
    history = run.read_history()
    best = history["val_loss"].idxmin()
    assert len(history) == best + 1 + 2 < 200
    model = keras.saving.load_model(run.path("model.keras"), compile=False)
    validation = session.index.select("validation")
    probabilities = model.predict_on_batch(session.images[validation.index.to_numpy()])[:, 0]
    described = describe_validation(validation["label"].to_numpy(), probabilities)
    assert described["val_loss"] == pytest.approx(history["val_loss"][best])


def test_finish_ends_training_after_the_present_epoch(data, tmp_path):
    session = Session(data, tmp_path, "training.epochs=50", "training.keep=last")
    run = session.make_run("one")
    run.path("finish").touch()  # before there is any epoch: the first one is trained
    session.train(run)
    assert run.read_history()["epoch"].tolist() == [1]
    # One that was broken off within an epoch finishes it: what is kept has been validated.
    other = session.make_run("other")
    session.break_off(other, 2, 3)
    other.path("finish").touch()
    session.train(other)
    assert other.read_history()["epoch"].tolist() == [1, 2]
    newest = read_checkpoint(read_checkpoints(other)[0])
    assert read_weights(other)[0] == newest.variables[0].tobytes()


def test_milestones_keep_the_validation_result_of_their_epoch(data, tmp_path):
    session = Session(data, tmp_path, "training.epochs=3", "training.milestones=1,3,10")
    run = session.make_run("one")
    session.train(run)
    milestones, history = run.read_milestones(), run.read_history()
    assert list(milestones) == [1, 3]
    for epoch, result in milestones.items():
        assert result["image"]["accuracy"]["value"] == history["val_accuracy"][epoch - 1]
        assert result["image"]["accuracy"]["n"] == 4


def test_a_validation_without_one_class_has_no_auc_and_trains_all_the_same(data, tmp_path):
    folder, index = data
    only = index.images[(index.images["split"] == "train") | (index.images["label"] == 1)]
    other = index.__class__(
        folder=index.folder, class_names=index.class_names, unreadable=index.unreadable,
        images=only.reset_index(drop=True),
    )  # fmt: skip
    session = Session((folder, other), tmp_path, "training.epochs=2")
    run = session.make_run("one")
    session.train(run)
    assert run.read_history()["val_auc"].isna().all()
    assert run.read_history()["val_tn"].tolist() == [0, 0]


def test_a_disk_that_fills_up_is_an_error_that_keeps_the_checkpoint_before(
    data, tmp_path, monkeypatch
):
    session = Session(data, tmp_path, "training.epochs=5")
    run = session.make_run("full")
    write, written = training.checkpoints.write_checkpoint, []

    def write_twice(*args):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(write(*args))

    monkeypatch.setattr(training.checkpoints, "write_checkpoint", write_twice)
    with pytest.raises(OSError, match="No space left"):
        session.train(run)
    assert run.read_history()["epoch"].tolist() == [1, 2]
    assert read_checkpoint(read_checkpoints(run)[0]).epoch == 2


def test_balanced_weights_let_both_classes_count_alike():
    settings = TrainingConfig(class_weights="balanced")
    weights = training._weigh_classes(np.array([0, 0, 0, 1]), settings)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    assert 3 * weights[0] == pytest.approx(1 * weights[1])
    assert training._weigh_classes(np.array([0, 1]), TrainingConfig()) is None
    # What counts is what is drawn: here the one positive image as often as all the others.
    chances = np.array([1, 1, 1, 3]) / 6
    weights = training._weigh_classes(np.array([0, 0, 0, 1]), settings, chances)
    assert weights.tolist() == pytest.approx([1, 1])


def test_shuffled_labels_are_the_same_labels_in_another_order(data, tmp_path):
    plain = Session(data, tmp_path)
    shuffled = Session(data, tmp_path, "training.shuffled_labels=true")
    label_lists = []
    for number, session in enumerate((plain, shuffled, shuffled)):
        run = session.make_run(f"run-{number}")
        trainer = Trainer(run, session.config, session.index, session.images, print)
        label_lists.append(trainer._batches.labels.tolist())
    assert label_lists[0] == session.index.select("train")["label"].tolist() != label_lists[1]
    assert sorted(label_lists[0]) == sorted(label_lists[1])
    assert label_lists[1] == label_lists[2]


def test_a_checkpoint_of_another_network_is_refused_with_a_sentence(data, tmp_path):
    session = Session(data, tmp_path)
    run = session.make_run("one")
    session.break_off(run, 1, 2)
    session.config = session.config.with_settings(["model.filters=8,17"])
    with pytest.raises(models.ModelError) as raised:
        session.train(run)
    assert str(raised.value) == (
        "epoch-00000-step-0000002.npz does not fit the network of this version. Expected the "
        "shapes that were written. Resume with the version that wrote it, or train anew."
    )
