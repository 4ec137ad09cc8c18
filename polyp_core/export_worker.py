"""The process that writes a model in other forms: `python -m polyp_core.export_worker DIR`.

DIR is what `exports` has staged: plan.json says which run, which files and what text to put inside.
What it writes is the model as the app serves it: grey levels 0 to 255 in, probability out, with the
mirror image and the temperature inside, made of Keras' own layers alone.
"""

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras

from polyp_core.errors import PolypError
from polyp_core.exports.preprocessing import ASSETS, FILE, KEY
from polyp_core.models import LOGIT
from polyp_core.processes import end_with_parent, say_stage
from polyp_core.runs import Run
from polyp_core.serving import load_network


def main(directory: Path) -> int:
    """Write the files of plan.json; 0 if all is well."""
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    problem = ""
    try:
        write_models(Run(Path(plan["run"])), plan["files"], plan["text"], directory)
    except PolypError as error:
        problem = str(error)
    (directory / "result.json").write_text(json.dumps({"problem": problem}), encoding="utf-8")
    return 1 if problem else 0


def write_models(run: Run, files: dict[str, str], text: str, directory: Path) -> None:
    """Write a run's model in several forms.

    Args:
        run: With a model.keras.
        files: Name of a file by the format's.
        text: Of preprocessing.json.
        directory: Where to write.

    Raises:
        ModelError: If model.keras is not the file that training wrote.
    """
    say_stage(directory, "Building the network")
    network = load_network(run)
    temperature = float(run.read_serving().get("temperature", 1.0))
    deployed = assemble_model(
        network, is_mirrored=run.read_config().model.mirror, temperature=temperature
    )
    writers: dict[str, Callable[[Path], None]] = {
        "keras": lambda path: _write_keras(deployed, path, text),
        "weights": lambda path: _write_weights(network, path, text),
        "saved-model": lambda path: _write_saved_model(deployed, path, text),
        "onnx": lambda path: _write_onnx(deployed, path, text),
    }
    for name, file_name in files.items():
        say_stage(directory, f"Writing {file_name}")
        writers[name](directory / file_name)


def assemble_model(network: keras.Model, *, is_mirrored: bool, temperature: float) -> keras.Model:
    """The model as it is served, of Keras' own layers and operations alone.

    Args:
        network: Of `models.build_model`.
        is_mirrored: Whether the logit is the mean of the image's and its mirror image's.
        temperature: Divides the logit; above 0.

    Returns:
        Input "image" `(n, size, size, channels)` float32 in [0, 255]; output `(n, 1)`, the
        probability of the positive class.
    """
    core = keras.Model(network.input, network.get_layer(LOGIT).output, name="network")
    image = keras.Input(network.input.shape[1:], name="image")
    logit = core(image)
    if is_mirrored:
        logit = keras.layers.Average()([logit, core(keras.ops.flip(image, axis=2))])
    logit = keras.layers.Rescaling(1 / temperature, name="temperature")(logit)
    probability = keras.layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model(image, probability, name="polyp")


def _write_keras(model: keras.Model, path: Path, text: str) -> None:
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FILE, text)


def _write_weights(network: keras.Model, path: Path, text: str) -> None:
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs[KEY] = text


def _write_saved_model(model: keras.Model, path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        model.export(directory, format="tf_saved_model", verbose=False)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(directory).rglob("*")):
                if file.is_file():
                    name = file.relative_to(directory).as_posix()
                    archive.write(file, f"saved_model/{name}")
            archive.writestr(f"saved_model/{ASSETS}", text)


def _write_onnx(model: keras.Model, path: Path, text: str) -> None:
    """Convert with tf2onnx, then give input and output the names that they have elsewhere."""
    import onnx

    model(keras.ops.zeros((1, *model.input.shape[1:])))  # Keras exports what was called once
    model.export(path, format="onnx", verbose=False)
    content = onnx.load(path)
    (output,) = content.graph.output
    for node in content.graph.node:
        node.output[:] = ["probability" if name == output.name else name for name in node.output]
        node.input[:] = ["probability" if name == output.name else name for name in node.input]
    output.name = "probability"
    for value in (*content.graph.input, output):  # any number of images
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    content.metadata_props.add(key=KEY, value=text)
    onnx.checker.check_model(content)
    onnx.save(content, path)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
