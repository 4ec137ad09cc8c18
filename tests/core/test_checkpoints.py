import numpy as np
import pytest

from polyp_core.checkpoints import (
    Checkpoint,
    discard_newer,
    read_checkpoint,
    read_checkpoints,
    write_checkpoint,
)
from polyp_core.runs import HISTORY_COLUMNS, Run

ROW = {name: 0.1 + number for number, name in enumerate(HISTORY_COLUMNS)} | {
    "epoch": 3, "val_tp": 4, "val_fp": 0, "val_tn": 5, "val_fn": 1,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def make_checkpoint(epoch=3, step=0, best_epoch=0, **others):
    """Every shape and type that a model and its optimizer have."""
    variables = [
        np.arange(6, dtype=np.float32).reshape(2, 3) / 7, np.array(5, dtype=np.int64),
        np.array([7, epoch], dtype=np.uint32), np.zeros((0,), dtype=np.float32),
    ]  # fmt: skip
    best = [np.full(4, best_epoch, dtype=np.float32)] if best_epoch else None
    return Checkpoint(
        epoch=epoch, step=step, variables=variables, sums=np.array([0.1, 2.0, 12.0]),
        **{"row": ROW | {"epoch": epoch}, "best_epoch": best_epoch, "best_weights": best} | others,
    )  # fmt: skip


def assert_same(mine, theirs):
    assert (mine.epoch, mine.step, mine.best_epoch) == (
        theirs.epoch,
        theirs.step,
        theirs.best_epoch,
    )
    assert repr(mine.row) == repr(theirs.row)  # so that the history's line is the same to the byte
    assert mine.sums.tolist() == theirs.sums.tolist()
    for one, other in (
        (mine.variables, theirs.variables),
        (mine.best_weights or [], theirs.best_weights or []),
    ):
        assert [(a.dtype, a.shape, a.tobytes()) for a in one] == [
            (b.dtype, b.shape, b.tobytes()) for b in other
        ]


def list_names(run):
    return sorted(path.name for path in run.path("checkpoints").iterdir())


@pytest.mark.parametrize(
    "checkpoint",
    [
        make_checkpoint(),
        make_checkpoint(step=17, best_epoch=2),
        make_checkpoint(epoch=0, step=4, row={}),
        make_checkpoint(row=ROW | {"val_auc": float("nan"), "loss": 1e-300}),
    ],
    ids=["epoch", "step", "before the first epoch", "not a number"],
)
def test_a_checkpoint_comes_back_to_the_bit(run, checkpoint):
    write_checkpoint(run, checkpoint)
    (path,) = read_checkpoints(run)
    assert_same(read_checkpoint(path), checkpoint)


def test_the_newest_two_are_kept_and_the_best_weights_they_name(run):
    for epoch, best_epoch in ((1, 1), (2, 2), (3, 2), (4, 2)):
        write_checkpoint(run, make_checkpoint(epoch, best_epoch=best_epoch))
    write_checkpoint(run, make_checkpoint(4, step=9, best_epoch=2))
    assert [path.stem for path in read_checkpoints(run)] == [
        "epoch-00004-step-0000009", "epoch-00004-step-0000000",
    ]  # fmt: skip
    assert "best-00002.npz" in list_names(run)
    for path in read_checkpoints(run):
        assert read_checkpoint(path).best_weights[0].tolist() == [2.0] * 4


def test_the_best_weights_are_written_once_and_never_touched_again(run):
    write_checkpoint(run, make_checkpoint(1, best_epoch=1))
    path = run.path("checkpoints") / "best-00001.npz"
    before = path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()
    write_checkpoint(run, make_checkpoint(2, best_epoch=1))
    assert (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) == before


def test_a_single_wrong_bit_anywhere_is_noticed(run):
    """NumPy's own format lets a part of these through: here every byte is guarded."""
    write_checkpoint(run, make_checkpoint(best_epoch=3))
    (path,) = read_checkpoints(run)
    best_path = path.with_name("best-00003.npz")
    for damaged in (path, best_path):
        data = damaged.read_bytes()
        for place in range(len(data)):
            wrong = bytearray(data)
            wrong[place] ^= 1 << (place % 8)
            damaged.write_bytes(wrong)
            with pytest.raises(ValueError, match="checksum"):
                read_checkpoint(path)
        damaged.write_bytes(data)
    assert_same(read_checkpoint(path), make_checkpoint(best_epoch=3))


@pytest.mark.parametrize("num_bytes", [0, 1, 31, 32, 33, 500, -1])
def test_a_truncated_file_is_noticed_and_named(run, num_bytes):
    write_checkpoint(run, make_checkpoint())
    (path,) = read_checkpoints(run)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match="checksum") as raised:
        read_checkpoint(path)
    assert str(raised.value) == (
        "epoch-00003-step-0000000.npz is damaged: the checksum of epoch-00003-step-0000000.npz is "
        "not that of its content"
    )


def test_best_weights_that_are_gone_make_a_checkpoint_unusable(run):
    write_checkpoint(run, make_checkpoint(best_epoch=2))
    (path,) = read_checkpoints(run)
    path.with_name("best-00002.npz").unlink()
    with pytest.raises(ValueError, match="No such file"):
        read_checkpoint(path)


def test_what_lies_after_a_checkpoint_is_discarded(run):
    for checkpoint in (make_checkpoint(2, best_epoch=1), make_checkpoint(3, step=5, best_epoch=3)):
        write_checkpoint(run, checkpoint)
    discard_newer(run, make_checkpoint(2, best_epoch=1))
    assert list_names(run) == ["best-00001.npz", "epoch-00002-step-0000000.npz"]


def test_foreign_files_in_the_folder_are_left_alone(run):
    write_checkpoint(run, make_checkpoint(best_epoch=3))
    foreign = ["epoch-00009 (copy).npz", "best-of-all.npz", "notes.txt", "epoch-x-step-y.npz"]
    for name in foreign:
        run.path("checkpoints").joinpath(name).touch()
    discard_newer(run, make_checkpoint(0))
    write_checkpoint(run, make_checkpoint(4, best_epoch=4))
    assert set(foreign) <= set(list_names(run))
    assert len(read_checkpoints(run)) == 1


def test_a_run_without_checkpoints_has_none(run):
    assert read_checkpoints(run) == []
    discard_newer(run, make_checkpoint(0))
