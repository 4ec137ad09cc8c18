import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.preprocessing import StandardScaler

from polyp_core import neighbours
from polyp_core.neighbours import find_nearest
from polyp_core.runs import Run

NUM_IMAGES = 60


@pytest.fixture
def run(tmp_path):
    """Sixty images, every third one for validation, with features of four numbers."""
    run, random = Run(tmp_path / "run"), np.random.default_rng(0)
    run.directory.mkdir()
    names = [f"p{number // 2:02}_{number}.png" for number in range(NUM_IMAGES)]
    images = pd.DataFrame(
        {
            "path": names, "frame": 0, "label": [number % 2 for number in range(NUM_IMAGES)],
            "group": [name[:3] for name in names],
            "split": ["validation" if n % 3 == 2 else "train" for n in range(NUM_IMAGES)],
            "width_px": 8, "height_px": 8, "sha256": names,
        }
    )  # fmt: skip
    run.write_table("index.csv", images)
    run.write_json("config.json", {"folder": "x", "class_names": ["a", "b"]})
    spread = np.array([1, 10, 100, 0.1])  # so that standardising matters
    write_features(run, random.normal(5, 1, (NUM_IMAGES, 4)) * spread)
    return run


def write_features(run, features):
    np.save(run.path("features.npy"), features.astype(np.float32))


def find_with_sklearn(run, queries):
    features, images = np.array(run.read_features(), float), run.read_index().images
    trained = np.flatnonzero(images["split"] == "train")
    scaler = StandardScaler().fit(features[trained])
    distances = cdist(scaler.transform(queries), scaler.transform(features[trained]), "cosine")
    return trained, distances


@pytest.mark.parametrize("rows_at_once", [7, 8192])
def test_the_nearest_are_those_of_an_independent_library(run, monkeypatch, rows_at_once):
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", rows_at_once)
    numbers = np.array([2, 5, 59, 8])
    found = find_nearest(run, numbers, num_nearest=3)
    trained, distances = find_with_sklearn(run, np.array(run.read_features(), float)[numbers])
    order = np.argsort(distances, axis=1)[:, :3]
    assert found["query"].tolist() == np.repeat(range(4), 3).tolist()
    assert found["rank"].tolist() == [1, 2, 3] * 4
    assert found["number"].tolist() == trained[order].ravel().tolist()
    expected = np.take_along_axis(distances, order, axis=1).ravel()
    assert found["distance"].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_a_neighbour_bears_its_path_patient_and_label(run):
    row = find_nearest(run, np.array([2])).iloc[0]
    expected = run.read_index().images.loc[row["number"]]
    for name in ("path", "frame", "group", "label"):
        assert row[name] == expected[name]
    assert expected["split"] == "train"


def test_features_of_other_images_find_the_same_as_rows(run):
    numbers = np.array([11, 14])
    by_row = find_nearest(run, numbers)
    by_features = find_nearest(run, run.read_features()[numbers])
    pd.testing.assert_frame_equal(by_row, by_features)


def test_a_training_image_is_not_its_own_neighbour_but_its_copy_is(run):
    features = np.array(run.read_features())
    assert find_nearest(run, np.array([0]))["number"][0] != 0
    features[31] = features[0]
    write_features(run, features)
    found = find_nearest(run, np.array([0]))
    assert found["number"][0] == 31
    assert found["distance"][0] == pytest.approx(0, abs=1e-5)


def test_a_feature_that_never_changes_counts_for_nothing(run):
    features = np.array(run.read_features())
    before = find_nearest(run, np.array([2, 5]), 2)
    write_features(run, np.hstack([features, np.full((NUM_IMAGES, 1), 0.3)]))
    pd.testing.assert_frame_equal(find_nearest(run, np.array([2, 5]), 2), before)


def test_fewer_training_images_than_asked_for_are_all_given(run):
    images = run.read_index().images
    images.loc[images.index > 3, "split"] = "validation"  # 0, 1 and 3 remain
    run.write_table("index.csv", images)
    found = find_nearest(run, np.array([10, 0]), num_nearest=5)
    assert found.groupby("query")["number"].apply(set).tolist() == [{0, 1, 3}, {1, 3}]


def test_without_training_images_nothing_is_found(run):
    run.write_table("index.csv", run.read_index().images.assign(split="test"))
    found = find_nearest(run, np.array([1, 2]))
    assert found.empty
    assert {"query", "rank", "number", "distance", "path"} <= set(found.columns)


@pytest.mark.parametrize("damage", ["missing", "no table", "too short", "of another model"])
def test_without_fitting_features_there_is_no_answer(run, damage):
    path, queries = run.path("features.npy"), np.array([1])
    if damage == "missing":
        path.unlink()
    elif damage == "no table":
        path.write_bytes(b"\x93NUMPY damaged")
    elif damage == "too short":
        write_features(run, np.zeros((3, 4)))
    else:
        queries = np.zeros((1, 9), np.float32)
    assert find_nearest(run, queries) is None


def test_a_real_run_finds_images_of_the_same_class(finished_run):
    """Its two classes differ by a bright spot, which is all that there is to see."""
    images = finished_run.read_index().images
    numbers = images.index[images["split"] == "validation"].to_numpy()
    found = find_nearest(finished_run, numbers)
    assert len(found) == len(numbers)
    assert set(images["split"][found["number"]]) == {"train"}
    assert (found["distance"] < 1).all()
