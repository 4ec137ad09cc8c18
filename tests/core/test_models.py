import numpy as np
import pytest

from polyp_core.config import ModelConfig, RunConfig, TrainingConfig
from polyp_core.errors import ModelError
from polyp_core.models import (
    FEATURES,
    LOGIT,
    assign_arrays,
    averaged_weights,
    build_model,
    compile_model,
    copy_arrays,
    list_variables,
    make_model,
)
from polyp_core.presets import PRESETS, get_preset

keras = pytest.importorskip("keras")
SMALL = ModelConfig(image_size_px=16, channels=1, filters=(2,), dense_units=0)


def make_small(**training):
    keras.utils.set_random_seed(0)  # of the few filters all may be dead by chance
    return make_model(RunConfig(model=SMALL, training=TrainingConfig(**training)))


def train_a_step(model):
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    model.train_on_batch(images, np.array([[0.0], [1.0], [0.0], [1.0]], dtype=np.float32))


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


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"optimizer": "rmsprop"}, keras.optimizers.RMSprop),
        ({"optimizer": "adam", "gradient_clip": 1.5}, keras.optimizers.Adam),
        ({"optimizer": "adamw", "weight_decay": 0.01}, keras.optimizers.AdamW),
        ({"optimizer": "sgd", "momentum": 0.7, "ema": 0.8}, keras.optimizers.SGD),
    ],
)
def test_the_optimizer_is_the_one_that_was_asked_for(settings, kind):
    optimizer = make_small(learning_rate=0.25, **settings).optimizer
    assert isinstance(optimizer, kind)
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.global_clipnorm == settings.get("gradient_clip")
    assert optimizer.weight_decay == settings.get("weight_decay")
    assert optimizer.use_ema == ("ema" in settings)
    if kind is keras.optimizers.SGD:
        assert optimizer.momentum == 0.7
        for steps, expected in ((0, 0.1), (5, 6 / 15), (35, 36 / 45), (36, 0.8), (5000, 0.8)):
            optimizer.iterations.assign(steps)
            assert float(optimizer.ema_momentum) == pytest.approx(expected)


def test_a_step_changes_what_is_listed_and_nothing_else():
    model = make_small(optimizer="adam", ema=0.9)
    listed = list_variables(model)
    before = copy_arrays(listed)
    train_a_step(model)
    after = copy_arrays(listed)
    names = {
        variable.path.rsplit("/", 1)[-1]
        for variable, old, new in zip(listed, before, after, strict=True)
        if not np.array_equal(old, new)
    }
    assert {"iteration", "seed_generator_state", "kernel"} <= names
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    listed_ids = {id(variable) for variable in listed}
    everything = [*model.variables, *model.optimizer.variables]
    assert {id(variable) for variable in everything} - metrics <= listed_ids


def test_all_variables_are_there_before_the_first_step():
    model = make_small(optimizer="adam", ema=0.9)
    shapes = [tuple(variable.shape) for variable in list_variables(model)]
    train_a_step(model)
    assert [tuple(variable.shape) for variable in list_variables(model)] == shapes


def test_copies_do_not_follow_what_training_does():
    model = make_small()
    copies = copy_arrays(model.trainable_variables)
    kept = [np.array(copy) for copy in copies]
    train_a_step(model)
    assert all(map(np.array_equal, copies, kept))
    assert not np.array_equal(copies[0], np.asarray(model.trainable_variables[0]))


def test_the_average_stands_in_only_for_a_while():
    """By hand: the first step's average is the weights after it, of which 2/11 are left then."""
    model = make_small(optimizer="sgd", ema=0.5)
    states = []
    for _ in range(2):
        train_a_step(model)
        states.append(np.asarray(model.trainable_variables[0]))
    with averaged_weights(model, is_wanted=True):
        average = np.asarray(model.trainable_variables[0])
    np.testing.assert_allclose(average, (2 * states[0] + 9 * states[1]) / 11, rtol=1e-5)
    assert np.array_equal(np.asarray(model.trainable_variables[0]), states[1])
    with averaged_weights(model, is_wanted=False):
        assert np.array_equal(np.asarray(model.trainable_variables[0]), states[1])
    with pytest.raises(KeyError), averaged_weights(model, is_wanted=True):
        raise KeyError
    assert np.array_equal(np.asarray(model.trainable_variables[0]), states[1])


def test_a_processor_goes_on_in_32_bit_and_says_nothing():
    if keras.distribution.list_devices("gpu"):
        pytest.skip("there is a graphics card")
    model = make_small(mixed_precision=True)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_16_bit_keeps_weights_and_output_in_32_bit_and_scales_its_loss(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: ["gpu:0"])
    model = make_small(mixed_precision=True, ema=0.5)
    assert model.get_layer(FEATURES).compute_dtype == "float16"
    assert model.get_layer(LOGIT).compute_dtype == "float32"
    assert {str(weight.dtype) for weight in model.trainable_variables} == {"float32"}
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"
    train_a_step(model)
    with averaged_weights(model, is_wanted=True):  # its optimizer lies one deeper
        assert np.isfinite(np.asarray(model.trainable_variables[0])).all()


def test_arrays_of_another_network_are_refused():
    model = make_small()
    arrays = copy_arrays(model.weights)
    assign_arrays(model.weights, arrays, "x")
    for others in (arrays[:-1], [*arrays[:-1], np.zeros(7)]):
        with pytest.raises(ModelError) as raised:
            assign_arrays(model.weights, others, "epoch-00001.npz")
        assert str(raised.value) == (
            "epoch-00001.npz does not fit the network of this version. Expected the shapes that "
            "were written. Resume with the version that wrote it, or train anew."
        )


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw", "sgd"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_every_optimizer_takes_a_step_with_and_without_weight_decay(optimizer, weight_decay):
    model = make_small(optimizer=optimizer, weight_decay=weight_decay)
    before = copy_arrays(model.trainable_variables)
    train_a_step(model)
    after = copy_arrays(model.trainable_variables)
    assert not all(map(np.array_equal, before, after))
    assert (model.optimizer.weight_decay or 0.0) == weight_decay
