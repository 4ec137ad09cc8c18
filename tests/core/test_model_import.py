"""A run from elsewhere comes in whole or not at all; what was tried on others is refused."""

import ast
import io
import json
import os
import shutil
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyp_core import model_import
from polyp_core.archives import open_members
from polyp_core.checklists import fill_sheet, write_answer
from polyp_core.decision import Band, Decision, Goal, read_decision, write_decision
from polyp_core.errors import AccessError, ModelError, PolypError, RunError
from polyp_core.familiarity import read_familiarity
from polyp_core.foreign_files.members import select_run
from polyp_core.model_import import import_run, suggest_name
from polyp_core.network_size import measure_network
from polyp_core.origins import read_origin
from polyp_core.prediction import load_classifier
from polyp_core.runs import Run
from polyp_core.summaries import list_summaries
from polyp_core.weights import check_weights
from tests.core.attack_files import (
    ATTACKS,
    MODEL,
    change_json,
    give_familiarity,
    make_run_files,
    pack,
    write_keras,
    write_weights,
)

ROOT = Path(__file__).parents[2]
PRODUCT = [
    ROOT / "app.py",
    *(
        file
        for part in ("polyp_core", "ui", "pages")
        for file in sorted((ROOT / part).rglob("*.py"))
    ),
]
TOLD = {  # as `exports.sharing` writes it
    "synthetic": True, "demo": False, "patients_known": True, "own_backbone_weights": True,
    "study": {
        "name": "My study", "caution": "Too good.", "member": "ensemble",
        "plan": {"num_folds": 5, "seeds": [7, 8], "shares": [1.0], "folder": "/home/somebody"},
    },
}  # fmt: skip
_HANG_S = 20.0  # a guard against building what is to be refused; the times are in the benchmark


def zip_run(run: Run, path: Path, left_out: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(run.directory.rglob("*")):
            if file.is_file() and file.name not in left_out:
                archive.write(file, f"small/{file.relative_to(run.directory)}")
    return path


@pytest.fixture(scope="module")
def given_run(finished_run, tmp_path_factory) -> Run:
    """A copy of the finished run, with what people add to one and what they should not."""
    run = Run(tmp_path_factory.mktemp("given") / "small")
    shutil.copytree(finished_run.directory, run.directory)
    give_familiarity(run)
    run.write_notes("A title", "First line\nsecond line")
    decision = Decision(Goal("sensitivity", 0.95), 0.3, Band(0.2, 0.4), target_error=0.05)
    write_decision(run, decision)
    run.path("serving.tflite").write_bytes(b"what somebody put there")
    values = json.loads(run.path("config.json").read_text())
    values["settings"]["model"]["backbone_weights"] = "/etc/passwd"
    run.write_json("config.json", values)
    run.write_json("shared.json", TOLD)
    write_answer(run, "tripod", "18a", "Nobody paid for it.")
    run.path("evaluations").mkdir(exist_ok=True)
    run.path(
        "evaluations",
    ).joinpath("config.json").write_text("{}")
    return run


@pytest.fixture(scope="module")
def imported(given_run, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("imported")
    said = []
    run = import_run(
        zip_run(given_run, folder / "small.zip"), "from afar", folder / "runs", said.append
    )
    assert said[0] == "Looking at its files"
    assert "Converting it, and comparing the result" in said
    assert [path.name for path in (folder / "runs").iterdir()] == ["from afar"]
    return run


def test_an_imported_run_predicts_what_it_did_where_it_was_trained(imported, finished_run):
    here, there = load_classifier(imported), load_classifier(finished_run)
    index = finished_run.read_index()
    for path in index.images["path"]:
        mine = here.classify(index.folder / path)
        theirs = there.classify(index.folder / path)
        assert mine.probability == pytest.approx(theirs.probability, abs=1e-5)
        np.testing.assert_allclose(mine.saliency, theirs.saliency, atol=1e-3)
    assert here.class_names == there.class_names


def test_it_knows_which_images_are_not_like_its_own(imported, given_run, finished_run):
    mine, theirs = read_familiarity(imported), read_familiarity(given_run)
    assert mine.limit == theirs.limit
    index = finished_run.read_index()
    prediction = load_classifier(imported).classify(index.folder / index.images["path"][0])
    assert not prediction.verdict.is_stranger


def test_its_serving_model_is_made_anew(imported, given_run, finished_run):
    assert imported.path("serving.tflite").read_bytes() != b"what somebody put there"
    mine, theirs = imported.read_serving(), finished_run.read_serving()
    for name in ("threshold", "temperature", "saliency_scale"):
        assert mine[name] == theirs[name]
    assert mine["largest_difference"] < 1e-4
    assert mine["compared_images"] == 16


def test_its_numbers_are_counted_anew_and_are_the_same(imported, finished_run):
    assert imported.read_metrics() == finished_run.read_metrics()
    assert imported.read_milestones() == finished_run.read_milestones()
    assert imported.read_predictions().equals(finished_run.read_predictions())
    assert imported.read_index().images.equals(finished_run.read_index().images)
    np.testing.assert_array_equal(imported.read_features(), finished_run.read_features())
    mine, theirs = imported.read_history(), finished_run.read_history()
    assert mine.equals(theirs)


def test_what_people_have_decided_and_written_comes_along(imported, given_run):
    assert read_decision(imported) == read_decision(given_run)
    assert read_decision(imported).band == Band(0.2, 0.4)
    assert imported.read_notes() == {"title": "A title", "note": "First line\nsecond line"}


def test_where_it_comes_from_and_what_was_answered_is_still_known(imported, given_run):
    mine, theirs = read_origin(imported), read_origin(given_run)
    plan = {name: TOLD["study"]["plan"][name] for name in ("num_folds", "seeds", "shares")}
    assert mine == replace(theirs, study=replace(theirs.study, plan=plan))
    assert mine.ensemble_of.name == "My study"
    assert mine.is_synthetic
    assert mine.has_own_backbone_weights
    (item,) = [item for item in fill_sheet(imported, "tripod") if item.number == "18a"]
    assert (item.answer, item.origin) == ("Nobody paid for it.", "person")


def test_it_is_finished_and_listed_like_any_other(imported, finished_run):
    status = imported.read_status()
    assert (status["state"], status["message"]) == ("finished", "Brought from another computer")
    (row,) = list_summaries(imported.directory.parent).to_dict("records")
    (other,) = list_summaries(finished_run.directory.parent).to_dict("records")
    for name in ("state", "preset", "epochs_done", "accuracy", "accuracy_low", "auc", "n", "curve"):
        assert row[name] == other[name], name
    environment = imported.read_environment()
    assert environment["packages"] == finished_run.read_environment()["packages"]


def test_no_folder_of_the_other_computer_can_be_opened_here(imported, given_run):
    config = imported.read_config()
    assert config.data.folder == "another computer/data"
    assert config.model.backbone_weights == ""
    assert str(imported.read_index().folder) == "another computer/data".replace("/", os.sep)
    kept = json.loads(imported.path("config.json").read_text())["imported"]
    assert kept["backbone_weights"] == "/etc/passwd"  # as a text
    assert kept["folder"] == given_run.read_config().data.folder


def test_only_what_was_made_here_lies_in_its_folder(imported):
    assert {path.name for path in imported.directory.iterdir()} == {
        "checklists.json", "config.json", "decision.json", "environment.json", "familiarity.json",
        "familiarity.npy",
        "features.npy", "history.csv",
        "index.csv", "metrics.json", "model.json", "model.keras", "model.weights.h5",
        "notes.json", "predictions.csv", "serving.json", "serving.tflite", "shared.json",
        "status.json",
    }  # fmt: skip


def test_it_can_be_taken_on_to_the_next_computer(imported, tmp_path):
    again = import_run(imported.directory, "on", tmp_path / "runs")  # as a folder this time
    assert again.read_config() == imported.read_config()
    assert again.read_metrics() == imported.read_metrics()
    assert read_origin(again) == read_origin(imported)
    assert load_classifier(again).threshold == load_classifier(imported).threshold == 0.3


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_in_a_sentence_and_leaves_nothing(attack, tmp_path):
    started, runs_dir = time.monotonic(), tmp_path / "runs"
    source = attack.make(make_run_files(), tmp_path)
    with pytest.raises(PolypError, match=attack.match) as caught:
        import_run(source, "evil", runs_dir)
    assert len(str(caught.value)) < 1200
    assert "Expected" in str(caught.value)
    assert list(runs_dir.iterdir()) == []
    assert time.monotonic() - started < _HANG_S
    assert "tensorflow" not in sys.modules or "keras" in sys.modules  # not by this


def test_nothing_was_written_beside_the_runs(tmp_path):
    before = {path.name for path in tmp_path.parent.iterdir()}
    for attack in ATTACKS:
        if "name" in attack.name:
            folder = tmp_path / attack.name.replace("/", "_")
            folder.mkdir()
            with pytest.raises(PolypError):
                import_run(attack.make(make_run_files(), folder), "evil", folder / "runs")
    assert {path.name for path in tmp_path.parent.iterdir()} == before
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize("name", ["config.json", "serving.json", "index.csv", "model.keras"])
def test_a_run_that_lacks_something_is_refused(name, tmp_path):
    files = make_run_files()
    del files[name]
    with pytest.raises(RunError, match=f"'{name}' is missing"):
        import_run(pack(files, tmp_path / "run.zip"), "run", tmp_path / "runs")


@pytest.mark.parametrize("weights", ["model.weights.h5", "model.keras"])
def test_the_files_that_the_page_names_are_all_that_is_needed(weights, tmp_path):
    files = {**make_run_files(), "model.weights.h5": write_weights()}
    names = ("config.json", "serving.json", "index.csv", weights)
    path = pack({name: files[name] for name in names}, tmp_path / "run.zip")
    with open_members(path, "run.zip") as members:
        model_import._stage(select_run(members), tmp_path)
    check_weights(tmp_path / "weights.h5", size=measure_network(MODEL))


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with pytest.raises(PolypError, match="is no zip"):
        import_run(tmp_path / "junk.zip", "run", tmp_path / "runs")
    with pytest.raises(PolypError, match="is no zip"):
        import_run(tmp_path / "nowhere.zip", "run", tmp_path / "runs")
    with pytest.raises(PolypError, match="is no zip"):
        import_run(io.BytesIO(b"junk"), "run", tmp_path / "runs")


def test_two_runs_in_one_zip_are_refused(tmp_path):
    path = pack(make_run_files(), tmp_path / "run.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("another run/config.json", "{}")
    with pytest.raises(RunError, match="there are several"):
        import_run(path, "run", tmp_path / "runs")


def test_a_name_that_is_taken_or_none_is_refused(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    path = pack(make_run_files(), tmp_path / "run.zip")
    with pytest.raises(RunError, match="already a run named 'mine'"):
        import_run(path, "mine", tmp_path / "runs")
    for name in ("", "../up", ".hidden", "a/b", "x" * 100):
        with pytest.raises(RunError, match="cannot be a folder name"):
            import_run(path, name, tmp_path / "runs")


def test_a_name_is_suggested_that_is_free(tmp_path):
    assert suggest_name("C:\\Users\\me\\my run.zip", tmp_path) == "my-run"
    (tmp_path / "my-run").mkdir()
    assert suggest_name("/home/me/my run.ZIP", tmp_path) == "my-run-2"
    assert suggest_name("../..", tmp_path) == "imported"


def test_a_shared_demo_takes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYP_DEMO", "1")
    with pytest.raises(AccessError, match="Bringing in a model is off"):
        import_run(pack(make_run_files(), tmp_path / "run.zip"), "run", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_child_that_takes_too_long_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(model_import, "TIME_LIMIT_S", 0.05)
    path = pack(make_run_files(), tmp_path / "run.zip")
    with pytest.raises(ModelError, match=r"took longer than 0 s and was stopped"):
        import_run(path, "run", tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_who_cancels_leaves_nothing(tmp_path):
    class CancelledError(BaseException):
        pass

    def cancel(stage):
        if stage.startswith("Starting"):
            raise CancelledError

    with pytest.raises(CancelledError):
        import_run(pack(make_run_files(), tmp_path / "run.zip"), "run", tmp_path / "runs", cancel)
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_a_killed_import_left_is_swept_after_a_day(tmp_path):
    runs_dir = tmp_path / "runs"
    for name, age_s in (("old", 2 * 86400), ("new", 60)):
        (runs_dir / f".bringing-{name}").mkdir(parents=True)
        then = time.time() - age_s
        os.utime(runs_dir / f".bringing-{name}", (then, then))
    files = change_json(make_run_files(), "config.json", lambda values: values.clear())
    with pytest.raises(RunError):
        import_run(pack(files, tmp_path / "run.zip"), "run", runs_dir)
    assert [path.name for path in runs_dir.iterdir()] == [".bringing-new"]


def test_a_decision_for_another_model_stays_behind(tmp_path):
    from polyp_core.foreign_files import translate_files

    files = make_run_files()
    for model, is_kept in (("b" * 64, True), ("c" * 64, False)):
        files["decision.json"] = json.dumps({"model": model, "threshold": 0.4}).encode()
        assert (translate_files(files).decision is not None) == is_kept


def test_weights_of_a_keras_file_are_taken_whatever_its_settings_say(tmp_path):
    """They are not read as settings: a text that is no model at all changes nothing."""
    from polyp_core.archives import Member
    from polyp_core.foreign_files.members import take_model

    content = write_keras(b"the weights", text='{"class_name": "Functional"}')
    member = Member("model.keras", ("model.keras",), len(content), lambda: iter([content]))
    take_model(member, tmp_path, tmp_path / "weights.h5", 10_000)
    assert (tmp_path / "weights.h5").read_bytes() == b"the weights"
    assert not (tmp_path / "model.keras").exists()


# What unpickles or runs what a file says, and what builds a model from such a file.
MODULES = {"cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
NAMES = {
    "load_model", "model_from_json", "deserialize_keras_object", "enable_unsafe_deserialization",
    "TFSMLayer", "Lambda", "read_pickle", "Unpickler",
}  # fmt: skip


def list_dangers(source: str) -> list[str]:
    """Whatever of a source loads what could run code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").split(".")[0], *(name.name for name in node.names)}
            found += modules & (MODULES | NAMES)
        if isinstance(node, ast.Constant) and node.value in MODULES:
            found.append(node.value)  # importlib.import_module("pickle")
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            found += {name} & (MODULES | NAMES)
        if isinstance(node, ast.keyword):
            found += {node.arg} & {"safe_mode", "custom_objects"}
            if node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                found.append("allow_pickle")
    return found


def test_nothing_of_the_product_loads_what_could_run_code():
    found = {path: list_dangers(path.read_text(encoding="utf-8")) for path in PRODUCT}
    assert {str(path.relative_to(ROOT)): dangers for path, dangers in found.items() if dangers} == {
        # What the app wrote itself a moment before, opened to prove that it can be opened.
        "polyp_core/export_check.py": ["load_model"],
    }


def test_the_check_of_exports_opens_files_that_the_export_has_just_written_alone():
    """No other part of the product starts it, and it is started where the export was written."""
    users = [path.name for path in PRODUCT if "export_check" in path.read_text(encoding="utf-8")]
    assert sorted(set(users) - {"export_check.py"}) == [
        "__init__.py",
        "making.py",
    ]  # whose text names it; and who starts it


def test_every_part_of_the_product_is_looked_through():
    seen = {path.relative_to(ROOT).parts[0] for path in PRODUCT}
    assert seen == {"polyp_core", "ui", "pages", "app.py"}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "import json, marshal as m", "import joblib.numpy_pickle",
     "from pickle import loads", "from joblib import load", "from shelve import open",
     "from dill import load as read", "from sklearn.externals import joblib",
     "from keras.saving import load_model as read", "pandas.read_pickle(path)",
     "read_pickle(path)", "importlib.import_module('pickle')", "__import__('marshal')",
     "numpy.load(path, allow_pickle=True)", "numpy.load(path, allow_pickle=is_ours)",
     "keras.models.load_model(path)", "load(path, safe_mode=False)", "keras.layers.Lambda(f)"],
)  # fmt: skip
def test_no_way_of_loading_what_could_run_code_is_overlooked(source):
    assert list_dangers(source)


def test_what_cannot_run_code_is_let_be():
    assert not list_dangers("import json\nnumpy.load(path, allow_pickle=False)\nrun.load(path)")
