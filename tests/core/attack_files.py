"""A small run as training leaves it, made without training; and what has been tried on others.

Each attack takes the files of a sound run by name, changes them, and gives a zip. The shapes are
those of the published holes in Keras and in archives (CVE-2024-3660, CVE-2025-1550, CVE-2025-8747,
CVE-2025-12058, CVE-2026-0897, CVE-2026-1669, CVE-2026-1462) and what follows from them for a run.
`benchmarks/attacks.py` measures how they are refused.
"""

import csv
import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from polyp_core.config import ModelConfig, RunConfig
from polyp_core.familiarity import write_familiarity
from polyp_core.images import decode_picture, prepare_picture
from polyp_core.network_size import measure_network
from polyp_core.runs import Run

Files = dict[str, bytes]
MODEL = ModelConfig(
    image_size_px=32, channels=1, filters=(8, 16), padding="same", batch_normalization=True,
    head="average", dense_units=0,
)  # fmt: skip


def make_run_files() -> Files:
    """A sound run of four images; its weights have the right shapes and any names."""
    config = {
        "task": "train",
        "settings": RunConfig(model=MODEL).to_dict(),
        "class_names": ["non-calcified", "calcified"],
        "folder": "/home/somebody/polyps",
    }
    rows: list[dict[str, Any]] = [
        {
            "path": f"{name}/patient-{number}_1.png", "frame": 0, "label": label,
            "group": f"patient-{number}", "split": split,
        }
        for number, (name, label, split) in enumerate(
            [("calcified", 1, "train"), ("non-calcified", 0, "train"),
             ("calcified", 1, "validation"), ("non-calcified", 0, "validation")]
        )
    ]  # fmt: skip
    index = [{**row, "width_px": 40, "height_px": 40, "sha256": "a" * 64} for row in rows]
    keys = ("path", "frame", "split", "group", "label")
    judged = [
        {**{key: row[key] for key in keys}, "probability": 0.2 + 0.6 * row["label"]}
        for row in rows[2:]
    ]
    serving = {"sha256": "b" * 64, "threshold": 0.5, "temperature": 1.1, "saliency_scale": 0.3}
    weights = write_weights()
    return {
        "config.json": json.dumps(config).encode(),
        "index.csv": write_table(index),
        "predictions.csv": write_table(judged),
        "history.csv": b"epoch,loss\n1,0.7\n2,0.6\n",
        "serving.json": json.dumps(serving).encode(),
        "serving.tflite": b"never read",
        "status.json": b'{"state": "finished", "started_at": 1795547385.6}',
        "model.keras": write_keras(weights),
    }


def write_table(rows: list[dict[str, Any]]) -> bytes:
    target = io.StringIO(newline="")
    writer = csv.DictWriter(target, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue().encode()


def write_weights(change: Callable[[h5py.File], object] | None = None) -> bytes:
    """The weights of the network, and what somebody does to them."""
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for number, shape in enumerate(measure_network(MODEL).shapes or ()):
            file[f"layers/layer_{number}/vars/0"] = np.full(shape, 0.1, "float32")
        if change is not None:
            change(file)
    return target.getvalue()


def write_keras(
    weights: bytes, layers: list[dict[str, Any]] | None = None, text: str = ""
) -> bytes:
    """A `.keras` file: layers as its config.json names them, or that file's whole text."""
    layers = layers or [{"module": "keras.layers", "class_name": "Conv2D", "config": {}}]
    settings = {"class_name": "Functional", "module": "keras", "config": {"layers": layers}}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", text or json.dumps(settings))
        archive.writestr("model.weights.h5", weights)
    return target.getvalue()


def pack(files: Files, path: Path) -> Path:
    """A zip of a run's folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"a run/{name}", content)
    return path


def change_json(files: Files, name: str, change: Callable[[dict[str, Any]], object]) -> Files:
    values = json.loads(files[name])
    change(values)
    return {**files, name: json.dumps(values).encode()}


def give_familiarity(run: Run) -> None:
    """What a run keeps of its training images, of all of its images: a few are not enough."""
    index, config = run.read_index(), run.read_config()
    pictures = [decode_picture(index.folder / path) for path in index.images["path"]]
    images = [prepare_picture(picture, config.data, config.model) for picture in pictures]
    index = replace(index, images=index.images.assign(split="train"))
    write_familiarity(run, index, np.stack(images))


@dataclass(frozen=True)
class Attack:
    """What is tried, how, and what the refusal says of it."""

    name: str
    make: Callable[[Files, Path], Path]  # files of a sound run, a folder -> what is brought in
    match: str


def _with_layer(**layer: object) -> Callable[[Files, Path], Path]:
    """Our weights in a model.keras that names something else to be made or called."""

    def make(files: Files, folder: Path) -> Path:
        model = write_keras(write_weights(), [layer])
        return pack({**files, "model.keras": model}, folder / "run.zip")

    return make


def _with_weights(change: Callable[[h5py.File, Path], object]) -> Callable[[Files, Path], Path]:
    def make(files: Files, folder: Path) -> Path:
        weights = write_weights(lambda file: change(file, folder))
        return pack({**files, "model.keras": write_keras(weights)}, folder / "run.zip")

    return make


def _with_config(change: Callable[[dict[str, Any]], object]) -> Callable[[Files, Path], Path]:
    def make(files: Files, folder: Path) -> Path:
        return pack(change_json(files, "config.json", change), folder / "run.zip")

    return make


def _with_file(name: str, content: bytes) -> Callable[[Files, Path], Path]:
    return lambda files, folder: pack({**files, name: content}, folder / "run.zip")


def _first(file: h5py.File) -> tuple[str, tuple[int, ...]]:
    name = "layers/layer_0/vars/0"
    shape = file[name].shape
    del file[name]
    return name, shape


def _link_out(file: h5py.File, folder: Path) -> None:
    (folder / "other.h5").write_bytes(write_weights())
    name, _ = _first(file)
    file[name] = h5py.ExternalLink(str(folder / "other.h5"), name)


def _link_softly(file: h5py.File, folder: Path) -> None:
    name, _ = _first(file)
    file[name] = h5py.SoftLink("/layers/layer_1/vars/0")


def _store_outside(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(bytes(10_000))
    name, shape = _first(file)
    outside = [(str(folder / "secret.bin"), 0, int(np.prod(shape)) * 4)]
    file.create_dataset(name, shape, "float32", external=outside)


def _be_virtual(file: h5py.File, folder: Path) -> None:
    (folder / "other.h5").write_bytes(write_weights())
    name, shape = _first(file)
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), name, shape)
    file.create_virtual_dataset(name, layout)


def _claim_much(file: h5py.File, folder: Path) -> None:
    name, _ = _first(file)
    file.create_dataset(name, (1_000_000, 1_000_000), "float32")


def _pack_much(file: h5py.File, folder: Path) -> None:
    name, _ = _first(file)
    zeros = np.zeros((4096, 4096), "float32")
    file.create_dataset(name, data=zeros, chunks=zeros.shape, compression="gzip")


def _hide_nan(file: h5py.File, folder: Path) -> None:
    name, shape = _first(file)
    file[name] = np.full(shape, np.nan, "float32")


def _be_another(file: h5py.File, folder: Path) -> None:
    name, shape = _first(file)
    file[name] = np.zeros((*shape, 2), "float32")


def _nest_deep(files: Files, folder: Path) -> Path:
    deep = b'{"settings": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5001
    return pack({**files, "config.json": deep}, folder / "run.zip")


def _nest_deep_in_keras(files: Files, folder: Path) -> Path:
    text = '{"config": ' + "[" * 5000 + "]" * 5000 + "}"
    model = write_keras(write_weights(), text=text)
    return pack({**files, "model.keras": model}, folder / "run.zip")


def _swell(files: Files, folder: Path) -> Path:
    return pack({**files, "index.csv": bytes(15 * 2**20)}, folder / "run.zip")


def _fill_table(row: str, end: str) -> Callable[[Files, Path], Path]:
    """An index of about as many bytes as it may have, which pack badly."""

    def make(files: Files, folder: Path) -> Path:
        header = files["index.csv"].split(b"\r\n")[0].decode()
        further = "".join(f",column.{number}" for number in range(16))
        digits = np.random.default_rng(0).bytes(32 * 49_999).hex()
        rows = (
            row.format(number=n, sha256=digits[64 * n : 64 * n + 64], more=",12345678" * 16)
            for n in range(49_999)
        )
        table = f"{header}{further}\n{''.join(rows)}{end}\n"
        return pack({**files, "index.csv": table.encode()}, folder / "run.zip")

    return make


def _lead_out(name: str) -> Callable[[Files, Path], Path]:
    def make(files: Files, folder: Path) -> Path:
        path = pack(files, folder / "run.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, "x")
        return path

    return make


def _link_in_zip(files: Files, folder: Path) -> Path:
    less = {name: content for name, content in files.items() if name != "index.csv"}
    path = pack(less, folder / "run.zip")
    entry = zipfile.ZipInfo("a run/index.csv")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


def _link_in_folder(files: Files, folder: Path) -> Path:
    run = folder / "a run"
    run.mkdir()
    for name, content in files.items():
        (run / name).write_bytes(content)
    (run / "index.csv").unlink()
    (run / "index.csv").symlink_to("/etc/passwd")
    return run


def _be_alone(files: Files, folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_bytes(files["model.keras"])
    return path


def _name_path(path: str) -> Callable[[Files, Path], Path]:
    def make(files: Files, folder: Path) -> Path:
        index = files["index.csv"].replace(b"calcified/patient-0_1.png", path.encode())
        return pack({**files, "index.csv": index}, folder / "run.zip")

    return make


_LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "4wEAAAA="}}
_LOOKUP = {"vocabulary": "/etc/passwd"}
ATTACKS = [
    Attack("a model file alone", _be_alone, "is not that of a trained run"),
    Attack("Lambda layer", _with_layer(**_LAMBDA), "names a layer .*Lambda"),
    Attack(
        "keras.utils.get_file",
        _with_layer(module="keras.utils", class_name="get_file", config={"origin": "file:x"}),
        "names a layer .*get_file",
    ),
    Attack(
        "a function as a layer",
        _with_layer(module="builtins", class_name="function", config="eval"),
        "names a layer .*function",
    ),
    Attack(
        "StringLookup on a path",
        _with_layer(module="keras.layers", class_name="StringLookup", config=_LOOKUP),
        "names a layer .*StringLookup",
    ),
    Attack(
        "TFSMLayer",
        _with_layer(module="keras.layers", class_name="TFSMLayer", config={"filepath": "x"}),
        "names a layer .*TFSMLayer",
    ),
    Attack("HDF5 external link", _with_weights(_link_out), "leads elsewhere"),
    Attack("HDF5 soft link", _with_weights(_link_softly), "leads elsewhere"),
    Attack("HDF5 external dataset", _with_weights(_store_outside), "from another file"),
    Attack("HDF5 virtual dataset", _with_weights(_be_virtual), "from another file"),
    Attack("HDF5 shape bomb", _with_weights(_claim_much), "larger than it is"),
    Attack("HDF5 gzip bomb", _with_weights(_pack_much), "packed or in pieces"),
    Attack("weights that are not finite", _with_weights(_hide_nan), "not finite"),
    Attack("somebody else's architecture", _with_weights(_be_another), "not those of the network"),
    Attack(
        "Dense(200_000_000) in the settings",
        _with_config(lambda v: v["settings"]["model"].update(dense_units=200_000_000)),
        "dense_units is out of bounds",
    ),
    Attack(
        "Dense(200_000_000) in model.keras",
        _with_layer(module="keras.layers", class_name="Dense", config={"units": 200_000_000}),
        "names a layer of 200000000 units",
    ),
    Attack(
        "a network of a thousand billion weights",
        _with_config(
            lambda v: v["settings"]["model"].update(
                image_size_px=1024, filters=[2048], head="flatten", dense_units=4096
            )
        ),
        "million weights",
    ),
    Attack("pickle in place of HDF5", _with_file("model.weights.h5", pickle.dumps({"a": 1})),
           "is no HDF5 file"),
    Attack("settings 5000 levels deep", _nest_deep, "is no JSON"),
    Attack("model.keras 5000 levels deep", _nest_deep_in_keras, "is no JSON"),
    Attack("zip bomb", _swell, "is a zip bomb"),
    Attack("a file of the wrong size", _with_file("config.json", b" " * 10_000_000), "too large"),
    Attack("../ in a name", _lead_out("../evil.py"), "leads outside"),
    Attack("an absolute name", _lead_out("/etc/cron.d/evil"), "is an absolute path"),
    Attack("a drive in a name", _lead_out("C:\\evil.exe"), "is an absolute path"),
    Attack("a link in the zip", _link_in_zip, "is a symbolic link"),
    Attack("a link in the folder", _link_in_folder, "is a link"),
    Attack(
        "class names with markup",
        _with_config(lambda v: v.update(class_names=["<img src=x>", "b"])),
        "class names that cannot be used",
    ),
    Attack(
        "class names with control characters",
        _with_config(lambda v: v.update(class_names=["a\x1b[2J", "b"])),
        "class names that cannot be used",
    ),
    Attack(
        "class names of 10 MB",
        _with_config(lambda v: v.update(class_names=["a" * 10_000_000, "b"])),
        "too large",
    ),
    Attack(
        "an unknown setting",
        _with_config(lambda v: v["settings"]["model"].update(loader="os.system")),
        "Unknown setting",
    ),
    Attack(
        "a pattern that takes for ever",
        _with_config(lambda v: v["settings"]["data"].update(group_pattern="(a+)+$")),
        "may take for ever",
    ),
    Attack(
        "a pattern of four open ends",
        _with_config(lambda v: v["settings"]["data"].update(group_pattern="(.*.*.*.*)!")),
        "may take for ever",
    ),
    Attack(
        "a pattern that cannot be compiled",
        _with_config(lambda v: v["settings"]["data"].update(group_pattern="a{9999999999}")),
        "may take for ever",
    ),
    Attack(
        "half a character",
        _with_config(lambda v: v["settings"].update(preset="\ud800")),
        "half a character",
    ),
    Attack(
        "a table of a million cells, the last one wrong",
        _fill_table("a/{number}.png,0,1,g,train,1,1,{sha256}{more}\n", "wrong"),
        "other columns",
    ),
    Attack(
        "a line of a million cells",
        _fill_table("{sha256}" + 40 * ",1", ""),
        "has a line of",
    ),
    Attack(
        "a million cells in a row of many lines",
        _fill_table("{sha256}" + 20 * ',"\n"', ""),
        "break within",
    ),
    Attack("an image outside of the folder", _name_path("../../etc/passwd"), "a path below"),
    Attack("an image anywhere", _name_path("/etc/passwd"), "a path below"),
    Attack("an image of another host", _name_path("//host/share/x.png"), "a path below"),
    Attack(
        "a temperature of nothing",
        _with_file("serving.json", b'{"threshold": 0.5, "temperature": 0, "saliency_scale": 1}'),
        "has a temperature that cannot be used",
    ),
    Attack(
        "a number that is none",
        _with_file("serving.json", b'{"threshold": NaN, "temperature": 1, "saliency_scale": 1}'),
        "is no JSON",
    ),
]  # fmt: skip
