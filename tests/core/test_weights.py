"""A file of weights is looked at before anything believes it; each way to lie has its test."""

import json
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from polyp_core.config import ModelConfig
from polyp_core.errors import ModelError
from polyp_core.network_size import ROOM_BYTES, measure_network
from polyp_core.weights import (
    check_recorded,
    check_weights,
    copy_weights,
    extract_weights,
    list_arrays,
    record_model,
)

CONFIG = ModelConfig(image_size_px=16, channels=1, filters=(3,), dense_units=0)
ARRAYS = {
    "layers/conv2d/vars/0": np.arange(27, dtype="float32").reshape(3, 3, 1, 3),
    "layers/conv2d/vars/1": np.ones(3, "float32"),
    "layers/dense/vars/0": np.full((147, 1), 0.5, "float32"),
    "layers/dense/vars/1": np.zeros(1, "float32"),
}
KINDS = {name: (array.shape, "float32") for name, array in ARRAYS.items()}
SIZE = measure_network(CONFIG)
FIRST = "layers/conv2d/vars/0"


def write_weights(path, without=(), **more):
    with h5py.File(path, "w") as file:
        for name, array in {**ARRAYS, **more}.items():
            if name not in without:
                file[name] = array
    return path


@pytest.fixture
def path(tmp_path):
    return write_weights(tmp_path / "weights.h5")


def refuse(path, match):
    for how in ({"expected": KINDS}, {"size": SIZE}):
        with pytest.raises(ModelError, match=match) as caught:
            check_weights(path, **how)
        assert str(caught.value).startswith("The file of weights ")
        assert "Expected " in str(caught.value)


def test_what_keras_has_written_is_accepted(path):
    check_weights(path, expected=KINDS)
    check_weights(path, size=SIZE)
    assert list_arrays(path) == KINDS


def test_arrays_are_copied_into_a_file_of_our_own(path, tmp_path, monkeypatch):
    monkeypatch.setattr("polyp_core.weights._BLOCK", 4)  # in many blocks
    target = write_weights(tmp_path / "own.h5")
    with h5py.File(target, "r+") as file:
        for name in ARRAYS:
            file[name][...] = -1
    copy_weights(path, target)
    with h5py.File(target) as file:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(file[name][()], array)


def test_what_an_optimizer_remembers_is_passed_over_unread(path, tmp_path):
    target = write_weights(tmp_path / "own.h5")
    with h5py.File(path, "r+") as file:
        file["optimizer/vars/0"] = 17
        file["optimizer/vars/1"] = h5py.ExternalLink("nowhere.h5", "/")
    check_weights(path, expected=KINDS)
    check_weights(path, size=SIZE)
    copy_weights(path, target)
    assert list_arrays(target) == KINDS
    with h5py.File(path, "r+") as file:
        del file["optimizer"]
        file["optimizer"] = h5py.SoftLink("/layers")
    refuse(path, "link in it that leads elsewhere")


def test_a_link_to_another_file_is_refused(path, tmp_path):
    write_weights(tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file[FIRST] = h5py.ExternalLink(str(tmp_path / "other.h5"), FIRST)
    refuse(path, "link in it that leads elsewhere")


def test_a_soft_link_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = h5py.SoftLink("/" + FIRST)
    refuse(path, "link in it that leads elsewhere")


def test_one_array_under_two_names_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/7"] = file[FIRST]
    refuse(path, "names one thing twice")


def test_a_group_within_itself_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/again"] = file["layers"]
    refuse(path, "names one thing twice")


def test_numbers_in_another_file_are_refused(path, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(108))
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file.create_dataset(
            FIRST, (3, 3, 1, 3), "float32", external=[(str(tmp_path / "secret.bin"), 0, 108)]
        )
    refuse(path, "takes '.*' from another file")


def test_a_virtual_array_is_refused(path, tmp_path):
    other = write_weights(tmp_path / "other.h5")
    layout = h5py.VirtualLayout((3, 3, 1, 3), "float32")
    layout[...] = h5py.VirtualSource(str(other), FIRST, (3, 3, 1, 3))
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file.create_virtual_dataset(FIRST, layout)
    refuse(path, "takes '.*' from another file")


def test_an_array_that_says_it_is_huge_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file.create_dataset(FIRST, (1_000_000, 1_000_000), "float32")  # which takes no room
    refuse(path, "larger than it is")


@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"chunks": (3, 3, 1, 3)}])
def test_what_is_packed_is_refused_since_it_may_unpack_to_anything(path, how):
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file.create_dataset(FIRST, data=ARRAYS[FIRST], **how)
    refuse(path, "packed or in pieces")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    damaged = ARRAYS[FIRST].copy()
    damaged[1, 1, 0, 2] = value
    refuse(write_weights(tmp_path / "nan.h5", **{FIRST: damaged}), "not finite")


@pytest.mark.parametrize(
    "content",
    [
        np.array([b"text"]),
        np.array(["some text"], dtype=h5py.string_dtype()),
        np.zeros(27, dtype=[("a", "float32")]),
        np.array([h5py.Reference()], dtype=h5py.ref_dtype),
    ],
    ids=["text", "text of any length", "records", "references"],
)
def test_what_are_no_numbers_is_refused(path, content):
    with h5py.File(path, "r+") as file:
        del file[FIRST]
        file.create_dataset(FIRST, data=content)
    refuse(path, "no numbers")


def test_arrays_of_another_network_are_refused(tmp_path):
    other = np.zeros((3, 3, 3, 1), "float32")
    refuse(write_weights(tmp_path / "a.h5", **{FIRST: other}), "network")
    refuse(write_weights(tmp_path / "b.h5", without=[FIRST]), "network")
    refuse(write_weights(tmp_path / "c.h5", more=np.zeros(3, "float32")), "network")
    double = {FIRST: ARRAYS[FIRST].astype("float64")}
    refuse(write_weights(tmp_path / "d.h5", **double), "float64")


def test_a_known_array_under_another_name_is_refused_once_the_names_are_known(tmp_path):
    moved = {"layers/other/vars/0": ARRAYS[FIRST]}
    path = write_weights(tmp_path / "moved.h5", without=[FIRST], **moved)
    with pytest.raises(ModelError, match="has nothing as 'layers/conv2d/vars/0'"):
        check_weights(path, expected=KINDS)


def test_groups_without_end_are_refused(path, tmp_path, monkeypatch):
    with h5py.File(path, "r+") as file:
        file.create_group("/".join(["a"] * 40))
    refuse(path, "nested too deep")
    wide = write_weights(tmp_path / "wide.h5")
    monkeypatch.setattr("polyp_core.weights._MAX_OBJECTS", 50)
    with h5py.File(wide, "r+") as file:
        for number in range(50):
            file.create_group(f"g{number}")
    refuse(wide, "too many groups")


def test_odd_names_and_long_notes_are_refused(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = np.bytes_("x" * 5_000)
    refuse(path, "a note of 5")
    other = write_weights(tmp_path / "odd.h5")
    with h5py.File(other, "r+") as file:
        file.create_group("..\\evil\n")
    refuse(other, "odd name")


def test_other_things_than_arrays_are_refused(path):
    with h5py.File(path, "r+") as file:
        file["a_type"] = np.dtype("float32")
    refuse(path, "holds something else")


def test_what_is_no_hdf5_is_never_given_to_hdf5(tmp_path):
    pickled = tmp_path / "weights.h5"
    pickled.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    refuse(pickled, "is no HDF5 file")
    pickled.write_bytes(b"")
    refuse(pickled, "is no HDF5 file")


def test_a_file_cut_short_or_too_large_is_refused(path, tmp_path):
    data = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(data[: len(data) // 2])
    refuse(cut, "is damaged")
    cut.write_bytes(data + bytes(ROOM_BYTES + 3 * SIZE.num_bytes))
    refuse(cut, "has 8.4 MB")


def test_no_byte_that_was_changed_gets_further_than_a_sentence(path, tmp_path):
    data, generator = path.read_bytes(), np.random.default_rng(0)
    changed = tmp_path / "changed.h5"
    num_refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 4):
            damaged[place] = generator.integers(0, 256)
        changed.write_bytes(damaged)
        try:
            check_weights(changed, expected=KINDS)
        except ModelError:
            num_refused += 1
    assert num_refused > 100


def test_weights_come_out_of_a_keras_file_without_its_settings(path, tmp_path):
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", "this is not even JSON")
        archive.write(path, "model.weights.h5")
    target = tmp_path / "out.h5"
    extract_weights(model, target, SIZE.num_bytes)
    assert target.read_bytes() == path.read_bytes()


def test_a_keras_file_without_weights_or_with_too_many_is_refused(path, tmp_path):
    model = tmp_path / "model.keras"
    model.write_bytes(b"junk")
    with pytest.raises(ModelError, match="The model cannot be read"):
        extract_weights(model, tmp_path / "out.h5", SIZE.num_bytes)
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match="holds no weights"):
        extract_weights(model, tmp_path / "out.h5", SIZE.num_bytes)
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("model.weights.h5", bytes(ROOM_BYTES + 5000))
    with pytest.raises(ModelError, match=r"takes more than 8\.4 MB"):
        extract_weights(model, tmp_path / "out.h5", 1000)


def test_a_model_is_the_one_that_was_written(tmp_path):
    with pytest.raises(ModelError, match="There is no"):
        check_recorded(tmp_path)
    model = tmp_path / "model.keras"
    model.write_bytes(b"weights")
    check_recorded(tmp_path)  # an earlier version recorded nothing
    record_model(tmp_path)
    check_recorded(tmp_path)
    assert list(json.loads((tmp_path / "model.json").read_text())) == ["model.keras"]
    model.write_bytes(b"other weights")
    with pytest.raises(ModelError, match="is not the file that training wrote"):
        check_recorded(tmp_path)
    (tmp_path / "model.json").write_text("[1")
    with pytest.raises(ModelError, match="is not the file that training wrote"):
        check_recorded(tmp_path)
