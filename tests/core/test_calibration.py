import numpy as np
import pytest

from polyp_core.calibration import describe_calibration, fit_temperature
from polyp_core.metrics import binary_crossentropy


def draw(temperature, num_images=20_000, seed=0):
    """Logits that are too sure by a factor, and labels drawn from what they should have said."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 2, num_images)
    labels = (random.uniform(size=num_images) < 1 / (1 + np.exp(-true))).astype(int)
    return labels, true * temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    assert fit_temperature(*draw(temperature)) == pytest.approx(temperature, rel=0.05)


def test_two_logits_by_hand():
    """Three of four right at logit ±4: without the prior the best says ±ln 3, so T = 4 / ln 3."""
    labels, logits = np.tile([1, 1, 1, 0], 5000), np.full(20_000, 4.0)
    labels = np.concatenate([labels, 1 - labels])
    logits = np.concatenate([logits, -logits])
    assert fit_temperature(labels, logits) == pytest.approx(4 / np.log(3), rel=1e-3)


def test_it_is_a_minimum_of_the_log_loss():
    labels, logits = draw(2.5, num_images=500)
    best = fit_temperature(labels, logits)

    def cost(temperature):
        probabilities = 1 / (1 + np.exp(-logits / temperature))
        return (
            len(labels) * binary_crossentropy(labels, probabilities) + np.log(temperature) ** 2 / 2
        )

    assert cost(best) <= min(cost(best * 0.99), cost(best * 1.01))


@pytest.mark.parametrize(("num_images", "num_wrong", "size"), [(30, 2, 60.0), (50, 5, 100.0)])
def test_a_network_that_is_far_too_sure_is_brought_down(num_images, num_wrong, size):
    labels = np.tile([0, 1], num_images // 2)
    logits = np.where(labels == 1, size, -size)
    logits[:num_wrong] *= -1
    assert fit_temperature(labels, logits) > 5


def test_a_few_images_that_are_all_right_make_nobody_certain():
    assert 0.1 < fit_temperature(np.array([0, 1, 1]), np.array([-1.0, 2.0, 1.0])) < 1


def test_one_class_alone_says_nothing():
    assert fit_temperature(np.ones(5), np.arange(5.0)) == 1.0


def test_before_and_after_by_hand():
    probabilities = 1 / (1 + np.exp(-np.array([1.0, -1.0])))  # at temperature 2: logits were ±2
    found = describe_calibration(np.array([1, 1]), probabilities, 2.0)
    before = 1 / (1 + np.exp(-np.array([2.0, -2.0])))
    assert found["n"] == 2
    assert found["temperature"] == 2.0
    assert found["brier"]["after"] == pytest.approx(np.mean((probabilities - 1) ** 2))
    assert found["brier"]["before"] == pytest.approx(np.mean((before - 1) ** 2))
    assert found["log_loss"]["before"] == pytest.approx(-np.log(before).mean())
    assert found["log_loss"]["after"] == pytest.approx(-np.log(probabilities).mean())
    assert found["log_loss"]["after"] < found["log_loss"]["before"]
