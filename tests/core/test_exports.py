"""What leaves the app is proved, carries its preprocessing, and names nobody."""

import ast
import csv
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import types
import venv
import zipfile
import zlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from polyp_core import exports, region, study
from polyp_core.checklists import fill_sheet, write_answer
from polyp_core.decision import Band, Decision, Goal, write_decision
from polyp_core.errors import AccessError, ConfigError, ModelError
from polyp_core.exports import (
    FORMATS,
    child,
    export_run,
    formats,
    images,
    is_available,
    making,
    say_obstacle,
    sharing,
    write_bundle,
)
from polyp_core.exports.bundle import list_requirements
from polyp_core.exports.preprocessing import describe_preprocessing, write_preprocessing
from polyp_core.model_import import import_run
from polyp_core.origins import read_origin
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import load_classifier
from polyp_core.report import write_model_card, write_report
from polyp_core.runs import Run
from polyp_core.workspace import DEMO_RUN
from tests.conftest import wait_until
from tests.core.studies import finish_member, make_index, make_study

PREDICT = Path(exports.__file__).with_name("predict.py")


def copy_demo_run(where: Path, **data_settings) -> Run:
    """The run that ships, with other settings of its data."""
    run = Run(where / "shown")
    shutil.copytree(DEMO_RUN.directory, run.directory)
    values = json.loads(run.path("config.json").read_text())
    values["settings"]["data"] |= data_settings
    run.write_json("config.json", values)
    return run


def run_predict(folder: Path, paths: list[Path], python: str = sys.executable):
    """What predict.py prints, as rows, with its exit status and what it complains of."""
    done = subprocess.run(
        [python, "predict.py", *map(str, paths)], cwd=folder, capture_output=True, text=True,
        encoding="utf-8", timeout=120, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return rows, done.returncode, done.stderr


def unpack_by_hand(run: Run, folder: Path) -> Path:
    """What of a bundle predict.py needs."""
    folder.mkdir()
    shutil.copy(PREDICT, folder)
    shutil.copy(region.__file__, folder / "region.py")
    shutil.copy(run.path("serving.tflite"), folder / "model.tflite")
    (folder / "preprocessing.json").write_text(write_preprocessing(run), encoding="utf-8")
    return folder


def draw_screenshots(folder: Path, number: int) -> list[Path]:
    """Scans on a black screen, each elsewhere and of another size."""
    folder.mkdir(exist_ok=True)
    paths = []
    for patient in range(1, number + 1):
        scan = render_phantom(draw_parameters(5, patient, 1))
        screen = np.zeros((scan.shape[0] + 90 + patient, scan.shape[1] + 150, 3), np.uint8)
        screen[40 : 40 + scan.shape[0], 60 + patient : 60 + patient + scan.shape[1]] = scan[
            ..., np.newaxis
        ]
        paths.append(folder / f"screen {patient}.png")
        Image.fromarray(screen).save(paths[-1])
    return paths


def give_sample(monkeypatch) -> images.Sample:
    """Let every model be compared on the same five made-up images."""
    sample = images.Sample(
        pixels=np.zeros((5, 128, 128, 1), np.uint8),
        probabilities=np.linspace(0.1, 0.9, 5),
        origin="validation images",
    )
    monkeypatch.setattr(making, "choose_sample", lambda *_: sample)
    return sample


# --- formats


def test_formats_stand_in_their_order_with_their_endings():
    assert {name: form.suffix for name, form in FORMATS.items()} == {
        "keras": ".keras", "weights": ".weights.h5", "saved-model": ".zip", "litert": ".tflite",
        "onnx": ".onnx",
    }  # fmt: skip
    assert all(name == form.name for name, form in FORMATS.items())
    assert [name for name, form in FORMATS.items() if form.package] == ["onnx"]
    assert [form.file_name for form in FORMATS.values()] == [
        "model.keras", "model.weights.h5", "saved-model.zip", "model.tflite", "model.onnx",
    ]  # fmt: skip


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such format. Expected one of keras, .*'pickle'"):
        export_run(DEMO_RUN, "pickle", tmp_path / "model.pickle")


def test_a_run_without_a_keras_model_says_what_it_can_be_exported_as(tmp_path):
    with pytest.raises(ModelError, match=r"has no model.keras, which Keras takes.*Choose LiteRT"):
        export_run(DEMO_RUN, "keras", tmp_path / "model.keras")
    assert say_obstacle(DEMO_RUN, FORMATS["litert"]) == ""
    assert list(tmp_path.iterdir()) == []


def test_an_ensemble_says_that_it_is_one(tmp_path):
    (tmp_path / "folds" / "ensemble").mkdir(parents=True)
    (tmp_path / "folds" / "study.json").write_text("{}")
    said = say_obstacle(Run(tmp_path / "folds" / "ensemble"), FORMATS["saved-model"])
    assert "'folds' is the ensemble of a study" in said
    assert "Each member of the study can be exported" in said


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_ONNX_PACKAGES", ("json", "no_such_package"))
    assert not is_available(FORMATS["onnx"])
    assert is_available(FORMATS["keras"])
    with pytest.raises(ModelError) as caught:
        export_run(DEMO_RUN, "onnx", tmp_path / "model.onnx")
    assert "not installed (no_such_package)" in str(caught.value)
    assert "python -m pip install -r requirements-onnx.txt" in str(caught.value)


def test_the_optional_packages_are_those_of_the_requirements():
    lines = (Path(exports.__file__).parents[2] / formats.REQUIREMENTS).read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    assert pinned == {*formats._ONNX_PACKAGES}


# --- one file


def test_litert_is_the_serving_model_with_the_preprocessing_inside(tmp_path):
    said = []
    made = export_run(DEMO_RUN, "litert", tmp_path / "new" / "demo.tflite", said.append)
    content = made.path.read_bytes()
    assert content.startswith(DEMO_RUN.path("serving.tflite").read_bytes())
    with zipfile.ZipFile(made.path) as archive:
        assert json.loads(archive.read("preprocessing.json")) == describe_preprocessing(DEMO_RUN)
    assert made.path == tmp_path / "new" / "demo.tflite"
    assert (made.largest_difference, made.num_compared) == (0.0, 10)
    assert made.compared_on.startswith("synthetic images")
    assert made.runtime == f"LiteRT {version('ai-edge-litert')}"
    assert made.sha256 == making.hash_file(made.path)
    assert said[-1].startswith("Opening it again in a fresh process")


@pytest.mark.parametrize(("offset", "is_kept"), [(0.9e-4, True), (1.1e-4, False), (np.nan, False)])
def test_a_file_that_disagrees_is_not_kept(offset, is_kept, tmp_path, monkeypatch):
    expected = give_sample(monkeypatch).probabilities

    def answer(module, staging, plan, say):
        probabilities = expected.copy()
        probabilities[3] += offset
        return {"litert": {"probabilities": probabilities.tolist(), "runtime": "none"}}

    monkeypatch.setattr(making, "run_child", answer)
    target = tmp_path / "demo.tflite"
    if is_kept:
        made = export_run(DEMO_RUN, "litert", target)
        assert made.largest_difference == pytest.approx(0.9e-4)
        return
    with pytest.raises(
        ModelError, match=r"disagrees with the run's own by .* Expected at most 0.0"
    ):
        export_run(DEMO_RUN, "litert", target)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_sure_hides_no_difference(tmp_path, monkeypatch):
    """3e-5 is within 1e-4 of 1e-9, but no conversion takes one for the other."""
    sample = give_sample(monkeypatch)
    monkeypatch.setattr(
        making, "choose_sample", lambda *_: replace(sample, probabilities=np.full(5, 3e-5))
    )
    said = {"probabilities": [1e-9] * 5, "runtime": "none"}
    monkeypatch.setattr(making, "run_child", lambda *_: {"litert": said})
    with pytest.raises(ModelError, match=r"by 3e-05 in probability and 1.1 in logit"):
        export_run(DEMO_RUN, "litert", tmp_path / "demo.tflite")
    said["probabilities"] = [3.0001e-5] * 5
    assert export_run(DEMO_RUN, "litert", tmp_path / "demo.tflite").num_compared == 5


def test_a_file_that_answers_for_fewer_images_is_not_kept(tmp_path, monkeypatch):
    give_sample(monkeypatch)
    answer = {"litert": {"probabilities": [0.5], "runtime": "none"}}
    monkeypatch.setattr(making, "run_child", lambda *_: answer)
    with pytest.raises(ModelError, match="disagrees"):
        export_run(DEMO_RUN, "litert", tmp_path / "demo.tflite")


def test_nothing_is_overwritten_and_the_ending_tells_the_format(tmp_path):
    taken = tmp_path / "taken.tflite"
    taken.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="already something at"):
        export_run(DEMO_RUN, "litert", taken)
    assert taken.read_bytes() == b"mine"
    with pytest.raises(ConfigError, match=r"cannot be called 'model.bin'. Expected .* \.tflite"):
        export_run(DEMO_RUN, "litert", tmp_path / "model.bin")
    with pytest.raises(ConfigError, match=r"ends in \.zip"):
        write_bundle(DEMO_RUN, tmp_path / "bundle.rar")
    with pytest.raises(ConfigError, match="Expected a new or an empty folder"):
        exports.export_all(DEMO_RUN, tmp_path)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_came_meanwhile_is_not_overwritten(has_links, tmp_path, monkeypatch):
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_link, raising=False)
    target = tmp_path / "demo.tflite"
    making.write_new(target, "first")
    with pytest.raises(ConfigError, match="already something at"):
        making.write_new(target, "second")
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["demo.tflite"]


def refuse_link(*_):
    raise OSError("Operation not supported")


def test_a_shared_demo_exports_what_starts_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYP_DEMO", "1")
    with pytest.raises(AccessError, match="Writing a model as ONNX is off on this shared demo"):
        export_run(DEMO_RUN, "onnx", tmp_path / "model.onnx")
    with pytest.raises(AccessError, match="Writing a model as Keras is off"):
        write_bundle(DEMO_RUN, tmp_path / "bundle.zip", formats=["keras"])
    assert export_run(DEMO_RUN, "litert", tmp_path / "model.tflite").path.is_file()


def test_a_child_that_crashes_says_its_last_words(tmp_path):
    with pytest.raises(ModelError, match=r"crashed \(exit status 1\).*No module named.*nowhere"):
        child.run_child("polyp_core.nowhere", tmp_path, {}, lambda _: None)


def test_a_child_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "TIME_LIMIT_S", 0.05)
    with pytest.raises(ModelError, match="took longer than 0 s and was stopped"):
        child.run_child("http.server", tmp_path, {}, lambda _: None)


def test_a_second_export_waits_for_the_first_and_can_be_cancelled(tmp_path, monkeypatch):
    run = copy_demo_run(tmp_path)
    run.path("model.keras").touch()

    def say(stage):
        if stage == "Waiting for another export to end":
            raise InterruptedError

    monkeypatch.setattr(making, "run_child", lambda *_: pytest.fail("started"))
    with making._turn, pytest.raises(InterruptedError):
        export_run(run, "weights", tmp_path / "model.weights.h5", say)
    monkeypatch.setattr(making, "run_child", lambda *_: {"weights": {}})
    with pytest.raises(KeyError, match="probabilities"):  # it was its turn
        export_run(run, "weights", tmp_path / "model.weights.h5", say)
    assert not making._turn.locked()  # given back, whatever happened


def test_a_child_ends_with_a_server_that_is_killed(tmp_path):
    os.mkfifo(tmp_path / "images.npy")  # so that it waits
    code = (
        "import sys; from pathlib import Path; from polyp_core.exports.child import run_child; "
        "run_child('polyp_core.export_check', Path(sys.argv[1]), {'files': []}, print)"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    wait_until(lambda: psutil.Process(server.pid).children(), "the child")
    (process,) = psutil.Process(server.pid).children()
    server.kill()
    server.wait()
    process.wait(30)


# --- what travels with it


def test_preprocessing_says_what_the_app_does(tmp_path):
    run = copy_demo_run(tmp_path, region="box", region_box=[10, 0, 90, 75])
    write_decision(run, Decision(Goal("hand", 0.3), 0.3, Band(0.2, 0.4), level="patient"))
    rules = describe_preprocessing(run)
    assert rules["region"]["kind"] == "box"
    assert rules["region"]["box_percent"] == [10, 0, 90, 75]
    assert (rules["input"]["size_px"], rules["input"]["channels"]) == (128, 1)
    assert rules["class_names"] == ["non-calcified", "calcified"]
    assert (rules["threshold"], rules["band"], rules["level"]) == (0.3, [0.2, 0.4], "patient")
    assert rules["temperature"] == run.read_serving()["temperature"]
    assert "research and teaching" in rules["notice"]
    assert json.loads(write_preprocessing(run)) == rules


@pytest.mark.parametrize("kind", ["off", "box", "automatic"])
def test_predict_gives_what_the_app_gives(kind, tmp_path):
    run = copy_demo_run(tmp_path, region=kind, region_box=[11, 7, 83, 78])
    paths = draw_screenshots(tmp_path / "images", 10)
    rows, code, errors = run_predict(unpack_by_hand(run, tmp_path / "unpacked"), paths)
    assert code == 0, errors
    classifier = load_classifier(run)
    expected = [classifier.classify(path) for path in paths]
    if kind != "off":
        assert all(answer.box != (0, 0, *answer.picture.shape[1::-1]) for answer in expected)
    assert [row[0] for row in rows] == [str(path) for path in paths]
    assert [row[1] for row in rows] == [answer.class_name for answer in expected]
    probabilities = [float(row[2]) for row in rows]
    assert np.std(probabilities) > 0.01  # or anything would do
    np.testing.assert_allclose(
        probabilities, [answer.probability for answer in expected], atol=1e-6
    )


def write_odd_pictures(folder: Path) -> list[Path]:
    """Pictures of every kind that is read."""
    folder.mkdir()
    scan = render_phantom(draw_parameters(5, 3, 1))
    grey = Image.fromarray(scan)
    veil = np.linspace(0, 255, scan.size).reshape(scan.shape).astype(np.uint8)
    colour = Image.merge("RGB", [grey, grey.rotate(90).resize(grey.size), grey])
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = {
        "grey.png": (grey, {}),
        "colour.webp": (colour, {"lossless": True}),
        "see-through.png": (Image.merge("LA", [grey, Image.fromarray(veil)]), {}),
        "palette.png": (colour.quantize(32), {"transparency": 3}),
        "bilevel.bmp": (grey.convert("1"), {}),
        "deep.png": (Image.fromarray(scan.astype(np.uint16) * 200 + 77), {}),
        "turned.jpg": (grey, {"exif": turned}),
        "print.jpg": (colour.convert("CMYK"), {}),
        "tiny.tif": (grey.resize((7, 5)), {}),
    }
    for name, (picture, options) in pictures.items():
        picture.save(folder / name, **options)
    return [folder / name for name in pictures]


def test_predict_reads_every_kind_of_picture_as_the_app_does(tmp_path):
    paths = write_odd_pictures(tmp_path / "images")
    rows, code, errors = run_predict(unpack_by_hand(DEMO_RUN, tmp_path / "unpacked"), paths)
    assert code == 0, errors
    classifier = load_classifier(DEMO_RUN)
    expected = [classifier.classify(path).probability for path in paths]
    np.testing.assert_allclose([float(row[2]) for row in rows], expected, atol=1e-6)


def test_predict_says_not_sure_and_what_it_cannot_read(tmp_path):
    run = copy_demo_run(tmp_path)
    (path,) = draw_screenshots(tmp_path / "images", 1)
    probability = load_classifier(run).classify(path).probability
    band = Band(max(0.0, probability - 0.01), min(1.0, probability + 0.01))
    write_decision(run, Decision(Goal("hand", band.low), band.low, band))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pages = [Image.new("L", (9, 9)), Image.new("L", (9, 9))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    folder = unpack_by_hand(run, tmp_path / "unpacked")
    paths = [tmp_path / "broken.png", tmp_path / "pages.tif", tmp_path / "gone.png", path]
    rows, code, errors = run_predict(folder, paths)
    assert [row[:2] for row in rows] == [[str(path), "not sure"]]
    assert code == 1
    complaints = [line for line in errors.splitlines() if line.startswith(str(tmp_path))]
    assert [line.split(": ")[0] for line in complaints] == [str(bad) for bad in paths[:3]]


def test_predict_passes_over_a_picture_that_is_too_large(tmp_path):
    """Of which there is but the beginning; no more is read of it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, pixels, b"IEND")
    ]
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    (path,) = draw_screenshots(tmp_path / "images", 1)
    folder = unpack_by_hand(DEMO_RUN, tmp_path / "unpacked")
    rows, code, errors = run_predict(folder, [tmp_path / "large.png", path])
    assert [row[0] for row in rows] == [str(path)]
    assert code == 1
    assert f"{tmp_path / 'large.png'}: has over 40 million pixels" in errors
    assert "Traceback" not in errors


def test_predict_needs_numpy_pillow_and_the_runtime_alone():
    tree = ast.parse(PREDICT.read_text())
    imported = {
        (getattr(node, "module", None) or node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - {*sys.stdlib_module_names} == {"numpy", "PIL", "ai_edge_litert"}
    assert list_requirements(DEMO_RUN.read_config()) == [
        f"{name}=={version(name)}" for name in ("ai-edge-litert", "numpy", "pillow")
    ]


def test_the_rule_of_the_scan_area_needs_opencv_alone(tmp_path):
    """It is copied into a bundle as it is, so it may lean on nothing of the project."""
    assert "polyp_core" not in Path(region.__file__).read_text()
    config = copy_demo_run(tmp_path, region="automatic").read_config()
    last = f"opencv-python-headless=={version('opencv-python-headless')}"
    assert list_requirements(config)[-1] == last


# --- the run without names


def test_images_and_patients_are_numbered_alike_in_all_tables(tmp_path):
    run = copy_demo_run(tmp_path)
    shared = sharing.write_shared_run(run, tmp_path / "shared")
    before, after = run.read_index().images, shared.read_index().images
    assert after["path"].is_unique
    assert after["path"].str.fullmatch(r"image-\d{5}\.png").all()
    kept = ["frame", "label", "split", "width_px", "height_px", "sha256"]
    pd.testing.assert_frame_equal(before[kept], after[kept])
    # The same images share a patient, before and after.
    assert (before["group"].factorize()[0] == after["group"].factorize()[0]).all()
    names = dict(zip(before["path"], after["path"], strict=True))
    theirs, mine = run.read_predictions(), shared.read_predictions()
    assert [names[path] for path in theirs["path"]] == list(mine["path"])
    assert (theirs["probability"] == mine["probability"]).all()


def test_what_only_its_own_computer_needs_and_what_names_people_stays_behind(tmp_path):
    run = copy_demo_run(tmp_path, folder="/home/smith/patients/clinic")
    index = pd.read_csv(run.path("index.csv"), dtype={"group": str})
    index["column.name"] = "Jane Doe"
    index.to_csv(run.path("index.csv"), index=False)
    values = json.loads(run.path("config.json").read_text())
    values |= {"folder": "/home/smith/patients/clinic", "imported": {"folder": "/home/jones"}}
    values["settings"]["model"]["backbone_weights"] = "/home/smith/weights.h5"
    run.write_json("config.json", values)
    values["settings"]["data"]["group_pattern"] = "(jones|patient-0)"
    run.write_json("config.json", values)
    run.write_notes("Second try", "Jane Doe is the one with the shadow")
    run.path("worker.log").write_text("/home/smith")
    run.path("batch.png").write_bytes(b"a picture")
    status = run.read_status() | {"message": "Read /home/smith", "host": "ward-3"}
    run.write_json("status.json", status)
    shared = sharing.write_shared_run(run, tmp_path / "shared")
    everything = b"".join(file.read_bytes() for file in sorted(shared.directory.rglob("*.*")))
    for name in (b"Jane Doe", b"smith", b"jones", b"ward-3", b"patient-0", b"a picture", b"clinic"):
        assert name not in everything, name
    assert shared.read_notes() == {"title": "Second try", "note": ""}
    assert shared.read_config().data.folder == "images"
    assert read_origin(shared).has_own_backbone_weights
    assert shared.read_status()["state"] == "finished"
    assert shared.read_status()["elapsed_s"] == 1989.5


def test_unknown_patients_stay_unknown(tmp_path):
    run = copy_demo_run(tmp_path)
    for name in ("index.csv", "predictions.csv"):
        table = pd.read_csv(run.path(name)).assign(group="")
        table.to_csv(run.path(name), index=False)
    shared = sharing.write_shared_run(run, tmp_path / "shared")
    assert not shared.read_index().has_groups
    assert set(shared.read_predictions()["group"]) == {""}
    assert not read_origin(shared).are_patients_known


def test_files_that_stand_for_their_patient_still_do_so(tmp_path):
    run = copy_demo_run(tmp_path)
    for name in ("index.csv", "predictions.csv"):
        table = pd.read_csv(run.path(name))
        table.assign(group=table["path"]).to_csv(run.path(name), index=False)
    shared = sharing.write_shared_run(run, tmp_path / "shared")
    for table in (shared.read_index().images, shared.read_predictions()):
        assert (table["group"] == table["path"]).all()
    assert not read_origin(shared).are_patients_known


def test_the_demo_model_says_that_its_images_are_synthetic_wherever_it_goes(tmp_path):
    shared = sharing.write_shared_run(DEMO_RUN, tmp_path / "demo_run")
    expected = replace(read_origin(DEMO_RUN), is_shared=True)
    assert read_origin(shared) == expected
    assert read_origin(shared).is_synthetic
    again = sharing.write_shared_run(shared, tmp_path / "again")
    assert read_origin(again) == expected
    for text in (write_model_card(shared), write_report(shared)):
        assert "ynthetic" in text


def make_studied(monkeypatch, folder: Path) -> study.Study:
    """A finished study whose folder, pattern and patients are called after people."""
    data_dir = folder / "Meyer_Hans_1950"
    given = make_study(
        monkeypatch, folder / "studies", make_index(data_dir),
        "data.group_pattern=(Schulz|p[0-9])", "training.keep=last", num_seeds=2, name="folds",
    )  # fmt: skip
    for number, member in enumerate(given.members):
        index = given.read_index().images
        guesses = {row.path: 0.3 + 0.4 * row.label + 0.01 * number for row in index.itertuples()}
        finish_member(given, member, guesses)
        member.run.write_json("environment.json", {"python": "3.12.1"})
    summary = study.summarise(given)
    assert summary is not None
    metrics, predictions = summary
    given.files.write_json("metrics.json", metrics)
    ensemble, plan = given.ensemble, given.read_plan()
    ensemble.directory.mkdir()
    kept = {key: plan[key] for key in ("settings", "class_names", "folder")}
    ensemble.write_json("config.json", {"task": "train", **kept})
    ensemble.write_table("index.csv", index.drop(columns="fold").assign(split="train"))
    ensemble.write_table("predictions.csv", predictions)
    ensemble.write_json("metrics.json", metrics)
    ensemble.write_json("status.json", {"state": "finished", "message": "Finished"})
    write_answer(ensemble, "claim", "44", "Nobody.")
    return given


@pytest.mark.parametrize("member", ["", "fold-1-seed-0"])
def test_what_is_of_a_study_says_so_wherever_it_goes(member, monkeypatch, tmp_path):
    given = make_studied(monkeypatch, tmp_path)
    run = Run(given.directory / "members" / member) if member else given.ensemble
    shared = sharing.write_shared_run(run, tmp_path / "shared" / run.name)
    before, after = read_origin(run).study, read_origin(shared).study
    assert before is not None
    assert after is not None
    assert (after.name, after.member, after.caution) == ("folds", member, before.caution)
    assert after.caution.startswith("Each member's temperature was fitted on the images")
    for name in ("num_folds", "seeds", "shares"):
        assert after.plan[name] == before.plan[name]
    assert shared.read_environment() == {"python": "3.12.1"}
    texts = [file.read_bytes() for file in shared.directory.rglob("*.*")]
    for name in (b"Meyer", b"Schulz", b"p1_0", str(tmp_path).encode()):
        assert not [text for text in texts if name in text], name
    answers = {item.number: item for item in fill_sheet(shared, "claim")}
    expected = {item.number: item for item in fill_sheet(run, "claim")}
    assert (answers["44"].origin == "person") == (not member)
    for number in ("19", "20", "27", "32", "42"):
        assert answers[number].answer == expected[number].answer, number
    for text in (write_report(shared), write_model_card(shared)):
        assert "folds" in text
        assert "% were kept for validation" not in text
        assert "Meyer" not in text


def test_the_shared_run_predicts_as_the_run_does(tmp_path):
    shared = sharing.write_shared_run(DEMO_RUN, tmp_path / "shared")
    (path,) = draw_screenshots(tmp_path / "images", 1)
    mine, theirs = (load_classifier(run).classify(path) for run in (shared, DEMO_RUN))
    assert (mine.probability, mine.verdict) == (theirs.probability, theirs.verdict)


# --- the bundle, with every format, of a run that was trained here


@pytest.fixture(scope="module")
def bundle(finished_run, tmp_path_factory):
    target = tmp_path_factory.mktemp("bundle") / "small.zip"
    names = [name for name, form in FORMATS.items() if is_available(form)]
    return write_bundle(finished_run, target, formats=names)


@pytest.fixture(scope="module")
def unpacked(bundle) -> Path:
    folder = bundle.path.parent / "unpacked"
    with zipfile.ZipFile(bundle.path) as archive:
        archive.extractall(folder)
    return folder


def test_each_format_is_proved_on_the_images_of_the_run(bundle, finished_run):
    own = (finished_run.read_index().images["split"] == "validation").sum()
    made = {export.format: export for export in bundle.exports}
    assert list(made)[0] == "litert"
    assert {*made} == {name for name, form in FORMATS.items() if is_available(form)}
    for export in made.values():
        assert export.largest_difference <= 1e-5
        assert export.num_compared >= own + 10
        assert export.compared_on.startswith(f"images ({own} for validation, 10 for training")
    assert made["keras"].runtime.startswith("Keras ")
    assert made["saved-model"].runtime == f"TensorFlow {version('tensorflow')}"


def test_the_preprocessing_is_inside_every_format(unpacked):
    import h5py

    rules = json.loads((unpacked / "preprocessing.json").read_text(encoding="utf-8"))
    with zipfile.ZipFile(unpacked / "model.keras") as archive:
        assert json.loads(archive.read("preprocessing.json")) == rules
    with zipfile.ZipFile(unpacked / "saved-model.zip") as archive:
        assert json.loads(archive.read("saved_model/assets.extra/preprocessing.json")) == rules
    with zipfile.ZipFile(unpacked / "model.tflite") as archive:
        assert json.loads(archive.read("preprocessing.json")) == rules
    with h5py.File(unpacked / "model.weights.h5") as file:
        assert json.loads(file.attrs["preprocessing"]) == rules


def test_the_onnx_file_carries_it_too(unpacked):
    onnx = pytest.importorskip("onnx", reason="requirements-onnx.txt is not installed")
    model = onnx.load(unpacked / "model.onnx")
    (entry,) = [entry for entry in model.metadata_props if entry.key == "preprocessing"]
    assert entry.value == (unpacked / "preprocessing.json").read_text(encoding="utf-8")
    assert [value.name for value in model.graph.output] == ["probability"]


def test_the_keras_file_is_made_of_keras_own_layers(unpacked):
    with zipfile.ZipFile(unpacked / "model.keras") as archive:
        text = archive.read("config.json").decode()
    modules, kinds = (
        set(re.findall(rf'"{key}": "([^"]*)"', text)) for key in ("module", "class_name")
    )
    assert {module.split(".")[0] for module in modules} <= {"keras", "builtins"}
    assert "Conv2D" in kinds
    assert "Lambda" not in kinds


def test_the_bundle_says_what_is_in_it(bundle, unpacked, finished_run):
    facts = json.loads((unpacked / "export.json").read_text())
    assert {model["format"] for model in facts["models"]} == {e.format for e in bundle.exports}
    present = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    assert present - {*facts["files"]} == {"README.txt", "export.json"}
    for name, sha256 in facts["files"].items():
        assert making.hash_file(unpacked / name) == sha256
    assert bundle.num_bytes == bundle.path.stat().st_size
    readme = (unpacked / "README.txt").read_text(encoding="utf-8")
    assert "not a medical device" in readme
    assert "bring this zip in as it is" in readme
    assert (unpacked / "MODEL_CARD.md").read_text(encoding="utf-8").startswith("---")
    assert "<html" in (unpacked / "report.html").read_text(encoding="utf-8")


def test_no_patient_and_no_folder_is_named_anywhere(unpacked, finished_run):
    index = finished_run.read_index()
    secret = {*index.images["path"], *index.images["group"], str(index.folder), str(Path.home())}
    secret |= {str(finished_run.directory), *(Path(path).name for path in index.images["path"])}
    for file in unpacked.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        found = [name for name in secret if name and name.encode() in content]
        assert not found, f"{file.name} names {found}"


def test_the_bundle_comes_into_another_installation(bundle, finished_run, tmp_path):
    there = import_run(bundle.path, "from a bundle", tmp_path / "runs")
    mine, theirs = load_classifier(there), load_classifier(finished_run)
    index = finished_run.read_index()
    for path in index.images["path"]:
        expected = theirs.classify(index.folder / path).probability
        assert mine.classify(index.folder / path).probability == pytest.approx(expected, abs=1e-5)
    assert there.read_metrics() == finished_run.read_metrics()
    assert read_origin(there) == replace(read_origin(finished_run), is_shared=True)
    assert (there.read_index().images["sha256"] == index.images["sha256"]).all()


def test_the_bundle_predicts_in_an_environment_without_this_project(
    bundle, unpacked, finished_run, tmp_path
):
    venv.create(tmp_path / "env")  # without a pip of its own, which would take as long again
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--retries", "1",
         "-r", "requirements.txt"],
        cwd=unpacked, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if installed.returncode and "CI" not in os.environ:
        pytest.skip(f"pip cannot install here: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    missing = subprocess.run(
        [python, "-c", "import polyp_core"], cwd=unpacked, capture_output=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert missing.returncode == 1
    index = finished_run.read_index()
    paths = [index.folder / path for path in index.images["path"][:10]]
    rows, code, errors = run_predict(unpacked, paths, str(python))
    assert code == 0, errors
    classifier = load_classifier(finished_run)
    expected = [classifier.classify(path) for path in paths]
    assert [row[1] for row in rows] == [answer.class_name for answer in expected]
    np.testing.assert_allclose(
        [float(row[2]) for row in rows], [answer.probability for answer in expected], atol=1e-4
    )


def test_the_run_that_ships_is_a_bundle_that_says_it_cannot_be_brought_in(tmp_path):
    made = write_bundle(copy_demo_run(tmp_path, region="automatic"), tmp_path / "demo.zip")
    assert [export.path for export in made.exports] == [Path("model.tflite")]
    with zipfile.ZipFile(made.path) as archive:
        names = archive.namelist()
        assert "run/model.weights.h5" not in names
        assert archive.read("region.py").decode() == Path(region.__file__).read_text()
        readme = archive.read("README.txt").decode()
        rows = list(csv.DictReader(io.StringIO(archive.read("run/index.csv").decode())))
    assert names[0] == "README.txt"
    assert "cannot be brought into another installation" in readme
    assert "10 synthetic images of the app" in " ".join(readme.split())
    assert "region.py finds it here by the same rule" in " ".join(readme.split())
    assert len(rows) == len(DEMO_RUN.read_index().images)


# --- what is compared on


def give_classifier(run: Run, answer):
    """What answers a picture by its mean grey level, from 0 to 1."""
    predictor = types.SimpleNamespace(predict=lambda image: (answer(image.mean() / 255), None))
    return types.SimpleNamespace(config=run.read_config(), predictor=predictor)


def copy_with_data(run: Run, where: Path) -> tuple[Run, Path]:
    """A run and its images, which may be changed."""
    copy, data_dir = Run(where / "copy"), where / "data"
    shutil.copytree(run.directory, copy.directory)
    shutil.copytree(run.read_index().folder, data_dir)
    values = json.loads(copy.path("config.json").read_text()) | {"folder": str(data_dir)}
    copy.write_json("config.json", values)
    return copy, data_dir


def write_splits(run: Run, *splits: str) -> None:
    """Let the first image be of the first split, and so on; the others of the last."""
    table = pd.read_csv(run.path("index.csv"))
    rest = len(table) - len(splits)
    table.assign(split=[*splits, *[splits[-1]] * rest]).to_csv(run.path("index.csv"), index=False)


def test_validation_images_are_compared_on_if_they_are_the_same_files(finished_run, tmp_path):
    copy, data_dir = copy_with_data(finished_run, tmp_path)
    write_splits(copy, "validation")
    classifier = give_classifier(copy, lambda grey: grey)
    whole = images.choose_sample(copy, classifier)
    assert whole.origin == "validation images"
    paths = [data_dir / path for path in copy.read_index().images["path"]]
    expected = [np.asarray(Image.open(path).resize((32, 32), 2)).mean() / 255 for path in paths]
    np.testing.assert_allclose(whole.probabilities, expected)
    paths[0].write_bytes(paths[2].read_bytes())
    paths[1].unlink()
    np.testing.assert_array_equal(images.choose_sample(copy, classifier).pixels, whole.pixels[2:])


def test_a_handful_of_images_is_filled_up_with_others_of_the_run(finished_run, tmp_path):
    copy, _ = copy_with_data(finished_run, tmp_path)
    write_splits(copy, "validation", "validation", "test", "train")
    sample = images.choose_sample(copy, give_classifier(copy, lambda grey: grey))
    assert sample.origin == "images (2 for validation, 1 for testing, 10 for training)"
    assert len(sample.pixels) == len(sample.probabilities) == 13


def test_an_ensemble_of_folds_is_compared_on_its_own_images(finished_run, tmp_path):
    """It has no validation images: some of its members were trained on each image."""
    copy, _ = copy_with_data(finished_run, tmp_path)
    write_splits(copy, "train")
    sample = images.choose_sample(copy, give_classifier(copy, lambda grey: grey))
    assert (sample.origin, len(sample.pixels)) == ("training images", 20)


@pytest.mark.parametrize(
    ("answer", "is_alike"),
    [
        (lambda grey: 0.5, True),  # a constant
        (lambda grey: 1e-9 * grey, True),  # so sure that float32 tells nothing apart
        (lambda grey: min(9e-3, 1e-5 * np.exp(80 * (grey - 0.2))), False),  # sure, but not alike
        (lambda grey: grey, False),
    ],
)
def test_a_model_that_answers_all_alike_is_told_apart(answer, is_alike, finished_run, tmp_path):
    copy, _ = copy_with_data(finished_run, tmp_path)
    write_splits(copy, "validation")
    sample = images.choose_sample(copy, give_classifier(copy, answer))
    assert sample.origin.endswith("answers nearly alike, so that this proves little") == is_alike
    assert ("synthetic" in sample.origin) == is_alike
    assert len(sample.pixels) == (30 if is_alike else 20)


def test_images_that_may_not_be_read_here_are_not_compared_on(finished_run, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(tmp_path))
    sample = images.choose_sample(finished_run, load_classifier(finished_run))
    assert sample.origin.startswith("synthetic images of the app")
    assert sample.pixels.shape == (10, 32, 32, 1)
