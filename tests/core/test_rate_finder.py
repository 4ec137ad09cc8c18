import numpy as np
import pandas as pd
import pytest

from polyp_core.dataset import read_index
from polyp_core.runs import Run
from tests.conftest import make_config

rate_finder = pytest.importorskip("polyp_core.rate_finder")


@pytest.fixture
def images():
    """Twenty images, as large as the network of `make_config` sees them."""
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 1)).astype(np.uint8)


def sweep(data_dir, tmp_path, images, name="search"):
    run, told = Run(tmp_path / name), []
    run.directory.mkdir()
    config = make_config(data_dir, "training.batch_size=8", "training.optimizer=sgd")
    index = read_index(config.data)
    rate_finder.find_rate(run, config, index, images, lambda **values: told.append(values))
    return run.read_rates(), told


def test_the_rate_rises_by_one_factor_and_every_step_is_reported(data_dir, tmp_path, images):
    rates, told = sweep(data_dir, tmp_path, images)
    factors = rates["rate"].to_numpy()[1:] / rates["rate"].to_numpy()[:-1]
    assert factors == pytest.approx(factors[0])
    assert rates["rate"].iloc[0] == rate_finder.LOWEST
    steps = [values for values in told if "step" in values]
    assert [values["epoch"] for values in steps if values["step"] == 1] == [1, 2, 3]
    assert {"suggested_rate"} <= told[-1].keys()


def test_the_same_seed_gives_the_same_curve(data_dir, tmp_path, images):
    first, _ = sweep(data_dir, tmp_path, images, "first")
    second, _ = sweep(data_dir, tmp_path, images, "second")
    pd.testing.assert_frame_equal(first, second)


def test_each_sweep_starts_from_the_same_weights(data_dir, tmp_path, images, monkeypatch):
    starts = []
    original = rate_finder._sweep

    def spy(model, *rest):
        starts.append([np.asarray(weight).copy() for weight in model.weights])
        return original(model, *rest)

    monkeypatch.setattr(rate_finder, "_sweep", spy)
    sweep(data_dir, tmp_path, images)
    assert len(starts) == 3
    for other in starts[1:]:
        assert all(map(np.array_equal, starts[0], other))
