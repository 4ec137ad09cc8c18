"""What the child does once the weights are looked at; the whole way stands in test_model_import."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from polyp_core import import_worker
from polyp_core.errors import ModelError
from polyp_core.familiarity import read_familiarity
from polyp_core.runs import Run
from tests.core.attack_files import give_familiarity, make_run_files, write_weights


@pytest.fixture
def staged(tmp_path):
    """A folder as the parent leaves it, as far as the first look needs it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_bytes(make_run_files()["config.json"])
    (tmp_path / "weights.h5").write_bytes(write_weights())
    return tmp_path


def start(directory, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "polyp_core.import_worker", str(directory)],
        stdin=subprocess.PIPE, **how,
    )  # fmt: skip


def end(process):
    process.stdin.close()
    process.wait(60)


def test_the_first_look_needs_neither_tensorflow_nor_pandas(staged):
    code = (
        "import sys; from pathlib import Path; from polyp_core import import_worker as worker\n"
        f"size = worker._look(Path({str(staged)!r}))\n"
        "assert size.num_weights == 1337, size\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'sklearn', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_that_do_not_fit_end_it_before_anything_is_built(staged):
    (staged / "weights.h5").write_bytes(b"junk")
    process = start(staged)
    assert process.wait(60) == 1
    end(process)
    result = json.loads((staged / "result.json").read_text())
    assert "is no HDF5 file" in result["problem"]
    assert not (staged / "stage.txt").exists()


def test_it_ends_with_the_process_that_started_it(staged):
    os.mkfifo(staged / "plan.json")  # so that it waits, with TensorFlow not even begun
    (staged / "weights.h5").unlink()
    os.mkfifo(staged / "weights.h5")
    process = start(staged)
    process.stdin.close()
    assert process.wait(60) == 2
    assert not (staged / "result.json").exists()


def test_memory_is_limited_and_what_takes_more_is_said(staged, monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)
    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, pair: limits.append((what, pair[0])))

    def take_all(directory):
        raise MemoryError

    monkeypatch.setattr(import_worker, "_look", take_all)
    assert import_worker.main(staged) == 1
    assert "takes more memory" in json.loads((staged / "result.json").read_text())["problem"]
    assert (resource.RLIMIT_AS, 400 * 2**20) in limits
    assert (resource.RLIMIT_CPU, 20) in limits
    assert (resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)) == (
        before
    )


def test_a_bug_does_not_end_it_silently(staged, monkeypatch):
    monkeypatch.setattr(import_worker, "_set_limits", lambda *_: None)
    monkeypatch.setattr(import_worker, "_look", lambda _: {}["nothing"])
    assert import_worker.main(staged) == 1
    problem = json.loads((staged / "result.json").read_text())["problem"]
    assert problem.startswith("The model cannot be built (KeyError: 'nothing'). Expected")


def test_images_to_compare_on_are_of_many_kinds():
    images = import_worker._draw_images(40, 3)
    assert images.shape == (16, 40, 40, 3)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 16


@pytest.mark.parametrize(
    ("features", "what"),
    [
        (np.zeros((3, 5), "float32"), r"holds \(3, 5\)"),
        (np.zeros((4, 5), "float64"), "float64"),
        (np.full((4, 5), np.nan, "float32"), "finite"),
        (np.array([[{}] * 5] * 4, dtype=object), "cannot be read"),
    ],
    ids=["rows", "type", "nan", "objects"],
)
def test_features_that_are_not_those_of_the_index_are_refused(tmp_path, features, what):
    np.save(tmp_path / "features.npy", features, allow_pickle=True)
    with pytest.raises(ModelError, match=what):
        import_worker._take_features(tmp_path, Run(tmp_path / "run"), (4, 5))


def test_features_are_written_anew(tmp_path):
    features, run = np.arange(20, dtype="float32").reshape(4, 5), Run(tmp_path / "run")
    run.directory.mkdir()
    import_worker._take_features(tmp_path, run, (4, 5))  # there are none, which is fine
    np.save(tmp_path / "features.npy", features)
    import_worker._take_features(tmp_path, run, (4, 5))
    np.testing.assert_array_equal(run.read_features(), features)


def test_milestones_keep_their_form_or_stay_behind():
    template = {"image": {"auc": {"value": 0.9, "low": None}, "why": "text"}}
    assert import_worker._has_form(
        {"image": {"auc": {"value": None, "low": 1}, "why": "text"}}, template
    )
    for other in (
        {"image": {"auc": {"value": "<b>", "low": 1}, "why": "text"}},
        {"image": {"auc": {"value": 1}, "why": "text"}},
        {"image": {"auc": {"value": 1, "low": True}, "why": "text"}},
        {"image": {"auc": {"value": 1, "low": 1}, "why": "other"}},
        {"image": []},
        [],
    ):
        assert not import_worker._has_form(other, template)


@pytest.fixture
def with_familiarity(finished_run, tmp_path):
    """A copy of the finished run without its familiarity, which lies beside it as it was given."""
    run = Run(tmp_path / "run")
    run.directory.mkdir()
    for name in ("config.json", "index.csv", "features.npy", "serving.json", "serving.tflite"):
        run.path(name).write_bytes(finished_run.path(name).read_bytes())
    give_familiarity(run)
    values = json.loads(run.path("familiarity.json").read_text())
    run.path("familiarity.npy").rename(tmp_path / "familiarity.npy")
    run.path("familiarity.json").unlink()
    return tmp_path, run, values


def test_what_is_known_of_the_training_images_is_bound_to_the_new_model(with_familiarity):
    directory, run, values = with_familiarity
    import_worker._take_familiarity(directory, run, values | {"model": "that of elsewhere"})
    found = read_familiarity(run)
    assert found is not None
    assert found.num_patients == values["num_patients"]


def test_nothing_of_a_file_of_familiarity_is_copied(with_familiarity):
    directory, run, values = with_familiarity
    numbers = np.load(directory / "familiarity.npy")
    content = (directory / "familiarity.npy").read_bytes()
    (directory / "familiarity.npy").write_bytes(content + b"<script>more</script>")
    import_worker._take_familiarity(directory, run, values | {"unknown": "<script>"})
    assert read_familiarity(run) is not None
    assert "script" not in run.path("familiarity.json").read_text()
    assert b"script" not in run.path("familiarity.npy").read_bytes()
    np.testing.assert_array_equal(np.load(run.path("familiarity.npy")), numbers)
    assert json.loads(run.path("familiarity.json").read_text()).keys() == values.keys()


@pytest.mark.parametrize("change", ["arrays", "nan", "shapes", "limit", "list", "name"])
def test_what_cannot_judge_is_left_out(with_familiarity, change):
    directory, run, values = with_familiarity
    if change == "arrays":
        np.save(directory / "familiarity.npy", np.zeros(3, "float32"))
    elif change == "nan":
        numbers = np.load(directory / "familiarity.npy")
        np.save(directory / "familiarity.npy", np.full_like(numbers, np.nan))
    elif change == "list":
        values = {**values, "shapes": [1, 2]}
    elif change == "name":
        values = {**values, "shapes": {**values["shapes"], "<b>": [0]}}
    elif change == "shapes":
        values = {**values, "shapes": {name: [1, 1] for name in values["shapes"]}}
    else:
        values = {**values, "limit": "high"}
    import_worker._take_familiarity(directory, run, values)
    assert read_familiarity(run) is None
    assert not run.path("familiarity.npy").exists()
