"""The fresh process that opens an exported model: `python -m polyp_core.export_check DIR`.

It has not written the file and opens it as anybody would, with the runtime of the format. DIR holds
plan.json, which names the files, and images.npy; what the models say of the images goes to
result.json, and is compared by `exports`.

Nowhere else does the app open a whole model as Keras or TensorFlow wrote it. It may here, because
the file was written a moment before by `export_worker`, in a folder that is this export's alone;
never give this process a file from elsewhere.
"""

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

_BATCH = 16
Answer = tuple[np.ndarray, str]  # probabilities (n,), and the runtime in words


def main(directory: Path) -> int:
    """Open the files of plan.json and write what they say; 0 unless that raises."""
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    images = np.load(directory / "images.npy", allow_pickle=False)
    said = {}
    for name, file_name in plan["files"]:
        probabilities, runtime = open_model(name, directory / file_name, images)
        said[name] = {"probabilities": probabilities.tolist(), "runtime": runtime}
    (directory / "result.json").write_text(json.dumps(said), encoding="utf-8")
    return 0


def open_model(name: str, path: Path, images: np.ndarray) -> Answer:
    """What an exported model says of images.

    Args:
        name: Of the format.
        path: Of the file.
        images: `(n, size, size, channels)` uint8.

    Returns:
        Probabilities `(n,)`, and the runtime that gave them, such as "ONNX Runtime 1.32.0".
    """
    openers: dict[str, Callable[[Path, np.ndarray], Answer]] = {
        "keras": _open_keras,
        "weights": _open_weights,
        "saved-model": _open_saved_model,
        "litert": _open_litert,
        "onnx": _open_onnx,
    }
    return openers[name](path, images.astype(np.float32))


def _open_keras(path: Path, images: np.ndarray) -> Answer:
    import keras

    # In Keras' safe mode, its default, and without this app: as whoever gets the file opens it.
    model = keras.saving.load_model(path, compile=False)
    return _predict(model.predict_on_batch, images), _name_keras()


def _open_weights(path: Path, images: np.ndarray) -> Answer:
    """By the settings inside the file alone."""
    import h5py
    import keras

    from polyp_core.config import ModelConfig
    from polyp_core.models import LOGIT, build_model

    with h5py.File(path, "r") as file:
        rules = json.loads(file.attrs["preprocessing"])
    settings = rules["network"]
    model = build_model(ModelConfig(**(settings | {"filters": tuple(settings["filters"])})))
    model.load_weights(path)
    network = keras.Model(model.input, model.get_layer(LOGIT).output)
    logits = _predict(network.predict_on_batch, images)
    if rules["mirror"]:
        logits = (logits + _predict(network.predict_on_batch, images[:, :, ::-1])) / 2
    return 1 / (1 + np.exp(-logits / rules["temperature"])), _name_keras()


def _open_saved_model(path: Path, images: np.ndarray) -> Answer:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(directory)
        model = tf.saved_model.load(str(Path(directory, "saved_model")))
        serve = model.signatures["serving_default"]
        ((name, _),) = serve.structured_input_signature[1].items()

        def predict(batch: np.ndarray) -> np.ndarray:
            (output,) = serve(**{name: tf.constant(batch)}).values()
            return np.asarray(output)

        return _predict(predict, images), f"TensorFlow {tf.__version__}"


def _open_litert(path: Path, images: np.ndarray) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path)).get_signature_runner()
    probabilities = [float(run(image=image[np.newaxis])["probability"][0]) for image in images]
    return np.array(probabilities), f"LiteRT {version('ai-edge-litert')}"


def _open_onnx(path: Path, images: np.ndarray) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def predict(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["probability"], {"image": batch})[0])

    return _predict(predict, images), f"ONNX Runtime {version('onnxruntime')}"


def _predict(predict: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(predict(images[start : start + _BATCH]))[:, 0]
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)


def _name_keras() -> str:
    import keras

    return f"Keras {keras.__version__} on TensorFlow {version('tensorflow')}"


if __name__ == "__main__":
    from polyp_core.processes import end_with_parent

    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
