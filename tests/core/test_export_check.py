"""An exported model is opened by a process that knows nothing of how it was made."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polyp_core import export_check
from polyp_core.prediction import load_classifier
from polyp_core.workspace import DEMO_RUN

SERVING = DEMO_RUN.path("serving.tflite")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 128, 128, 1)).astype(np.uint8)


def test_it_says_what_the_model_says(pixels):
    probabilities, runtime = export_check.open_model("litert", SERVING, pixels)
    predictor = load_classifier(DEMO_RUN).predictor
    np.testing.assert_array_equal(probabilities, [predictor.predict(image)[0] for image in pixels])
    assert runtime.startswith("LiteRT ")


def test_it_reads_a_plan_and_writes_what_each_file_says(pixels, tmp_path):
    np.save(tmp_path / "images.npy", pixels)
    (tmp_path / "model.tflite").write_bytes(SERVING.read_bytes())
    plan = {"files": [["litert", "model.tflite"]]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert export_check.main(tmp_path) == 0
    said = json.loads((tmp_path / "result.json").read_text())["litert"]
    expected, runtime = export_check.open_model("litert", SERVING, pixels)
    assert (said["probabilities"], said["runtime"]) == (expected.tolist(), runtime)


def test_litert_is_opened_without_tensorflow_and_without_the_rest_of_the_project():
    code = (
        "import sys; from pathlib import Path; import numpy; from polyp_core import export_check; "
        "export_check.open_model('litert', Path(sys.argv[1]), "
        "numpy.zeros((1, 128, 128, 1), numpy.uint8)); "
        "print(sorted(n for n in sys.modules if n.split('.')[0] in "
        "('tensorflow', 'keras', 'polyp_core')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SERVING)], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "['polyp_core', 'polyp_core.export_check']"


def test_a_batch_is_not_larger_than_the_images(pixels):
    seen = []

    def predict(batch):
        seen.append(len(batch))
        return batch[:, :1, 0, 0]

    many = np.arange(35, dtype=np.float32).reshape(35, 1, 1, 1)
    np.testing.assert_array_equal(export_check._predict(predict, many), np.arange(35))
    assert seen == [16, 16, 3]
