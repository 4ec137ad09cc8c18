"""The model in other forms is the model as it is served, and needs nothing of this project."""

import json

import keras
import numpy as np
import pytest

from polyp_core.config import ModelConfig, RunConfig
from polyp_core.export_check import open_model
from polyp_core.export_worker import assemble_model, main, write_models
from polyp_core.exports import FORMATS, is_available, write_preprocessing
from polyp_core.models import LOGIT, build_model
from polyp_core.runs import Run
from polyp_core.weights import record_model

CONFIG = RunConfig(
    preset="compact",
    model=ModelConfig(
        network="residual", image_size_px=32, channels=3, filters=(8, 16), mirror=True,
        head="average",
    ),
)  # fmt: skip
TEMPERATURE = 0.05  # so that random weights give probabilities of all kinds


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    return build_model(CONFIG.model)


@pytest.fixture(scope="module")
def pixels():
    levels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3))
    return (levels * np.linspace(0.05, 1, 20)[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(network, pixels):
    """By hand: the mean of two logits, divided, through the logistic function."""
    inner = keras.Model(network.input, network.get_layer(LOGIT).output)
    both = [inner.predict_on_batch(x)[:, 0] for x in (pixels, pixels[:, :, ::-1])]
    logits = np.mean(both, axis=0, dtype=np.float64)
    assert np.abs(both[0] - both[1]).max() > 0.001  # or the mirror would not matter
    return 1 / (1 + np.exp(-logits / TEMPERATURE))


@pytest.fixture
def run(network, tmp_path) -> Run:
    """All that an export reads of a run."""
    made = Run(tmp_path / "made")
    made.directory.mkdir()
    made.write_json(
        "config.json",
        {"task": "train", "settings": CONFIG.to_dict(), "class_names": ["clear", "spotted"]},
    )
    made.write_json("serving.json", {"temperature": TEMPERATURE, "threshold": 0.5, "sha256": "0"})
    network.save(made.path("model.keras"))
    record_model(made.directory)
    return made


def test_mirror_and_temperature_are_inside_the_model(network, pixels, expected):
    model = assemble_model(network, is_mirrored=True, temperature=TEMPERATURE)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model.predict_on_batch(pixels)[:, 0], expected, atol=1e-6)
    plain = assemble_model(network, is_mirrored=False, temperature=1.0)
    np.testing.assert_allclose(
        plain.predict_on_batch(pixels), network.predict_on_batch(pixels), atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:In the future .np.object:FutureWarning")  # of tf2onnx
def test_every_form_gives_the_same_probabilities_as_by_hand(run, pixels, expected, tmp_path):
    files = {
        name: f"model{form.suffix}"
        for name, form in FORMATS.items()
        if name != "litert" and is_available(form)
    }
    write_models(run, files, write_preprocessing(run), tmp_path)
    for name, file_name in files.items():
        probabilities, runtime = open_model(name, tmp_path / file_name, pixels)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5, err_msg=name)
        assert runtime[0].isupper()


def test_a_model_that_is_not_the_one_that_was_trained_is_refused(run, network, tmp_path):
    network.save(run.path("model.keras"))  # the same weights, but another file
    with run.path("model.keras").open("ab") as file:
        file.write(b"\0")
    plan = {"run": str(run.directory), "files": {"keras": "model.keras"}, "text": "{}"}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert main(tmp_path) == 1
    problem = json.loads((tmp_path / "result.json").read_text())["problem"]
    assert "is not the file that training wrote" in problem
    assert not (tmp_path / "model.keras").exists()
