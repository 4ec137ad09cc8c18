import numpy as np
import pytest

from polyp_core.config import ModelConfig
from polyp_core.models import build_model, compile_model
from polyp_core.presets import PRESETS, get_preset

keras = pytest.importorskip("keras")


def test_the_thesis_network_is_the_thesis_own_layer_by_layer():
    ours = build_model(get_preset("thesis").model)
    layers = keras.layers
    thesis = keras.Sequential(
        [
            keras.Input((300, 300, 3)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    assert [v.shape for v in ours.weights if "seed" not in v.path] == [
        v.shape for v in thesis.weights if "seed" not in v.path
    ]
    assert ours.count_params() == thesis.count_params() == 5_046_369
    thesis.set_weights([np.asarray(v) for v in ours.trainable_variables])
    grey_levels = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours(grey_levels, training=False), thesis(grey_levels / 255, training=False), atol=1e-6
    )


def test_the_thesis_training_is_the_thesis_own():
    model = build_model(ModelConfig(image_size_px=30))
    compile_model(model, get_preset("thesis").training)
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.loss.name == "binary_crossentropy"


@pytest.mark.parametrize("preset", list(PRESETS.values()), ids=list(PRESETS))
def test_the_card_says_the_true_number_of_weights(preset):
    assert build_model(preset.config.model).count_params() == preset.num_weights


@pytest.mark.parametrize("preset", list(PRESETS.values()), ids=list(PRESETS))
def test_output_is_one_probability_an_image_and_dropout_is_off_in_use(preset):
    model = build_model(preset.config.model)
    size_px, channels = preset.config.model.image_size_px, preset.config.model.channels
    images = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px, channels))
    first = model.predict_on_batch(images.astype(np.uint8))
    assert first.shape == (2, 1)
    assert ((first > 0) & (first < 1)).all()
    assert np.array_equal(first, model.predict_on_batch(images.astype(np.uint8)))
