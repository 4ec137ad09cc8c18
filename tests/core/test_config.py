import dataclasses
import json
import re
import time

import pytest

from polyp_core.config import (
    SECTIONS,
    AugmentConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from polyp_core.config.patterns import check_given_pattern
from polyp_core.errors import ConfigError

SETTINGS = [
    pytest.param(item, id=f"{section}.{item.name}")
    for section, config in SECTIONS.items()
    for item in dataclasses.fields(config)
]
OTHER_THAN_DEFAULT = RunConfig(
    preset="own",
    data=DataConfig(folder="/data/gallbladder", group_pattern=r"^(\d+)_", seed=7),
    augmentation=AugmentConfig(rotation_deg=10, horizontal_flip=False, fill_mode="reflect"),
    model=ModelConfig(filters=(8, 16), channels=1, padding="same"),
    training=TrainingConfig(
        epochs=3, learning_rate=1e-4, keep="best", monitor="val_auc", optimizer="sgd",
        schedule="plateau", ema=0.9, class_weights="balanced", milestones=(2,), momentum=0.5,
    ),
)  # fmt: skip


@pytest.mark.parametrize("item", SETTINGS)
def test_every_default_is_in_its_bounds_and_among_its_choices(item):
    limits = item.metadata
    if limits["low"] is not None:
        assert limits["low"] <= item.default <= limits["high"]
    if limits["choices"]:
        assert item.default in limits["choices"]


@pytest.mark.parametrize("item", SETTINGS)
def test_every_setting_says_what_it_is(item):
    assert item.metadata["label"]
    assert item.metadata["help"].endswith(".")


@pytest.mark.parametrize("config", [RunConfig(), OTHER_THAN_DEFAULT])
def test_config_survives_the_way_through_json(config):
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_sections_that_are_not_given_keep_their_defaults():
    config = RunConfig.from_dict({"training": {"epochs": 3}})
    assert config.training == TrainingConfig(epochs=3)
    assert (config.data, config.augmentation, config.model) == (
        DataConfig(),
        AugmentConfig(),
        ModelConfig(),
    )


@pytest.mark.parametrize("name", ["preset", *SECTIONS])
def test_config_cannot_be_changed_in_place(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(RunConfig(), name, None)


@pytest.mark.parametrize("section", SECTIONS.values())
def test_section_cannot_be_changed_in_place(section):
    name = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section(), name, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"modell": {}},
            "Unknown setting in the configuration: modell. Expected only: preset, data, "
            "augmentation, model, training. Remove it, or use the version that wrote it.",
        ),
        (
            {"data": {"sed": 1, "fold": 2}},
            "Unknown setting in 'data': fold, sed. Expected only: folder, positive_class, "
            "validation_fraction, group_pattern, region, region_box, seed. Remove it, or use the "
            "version that wrote it.",
        ),
    ],
)
def test_unknown_name_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(values)
    assert str(caught.value) == message


@pytest.mark.parametrize("values", [[1, 2], 5, None, "text"])
def test_what_is_no_dictionary_holds_no_settings(values):
    with pytest.raises(ConfigError, match=f"no settings.*Received: {re.escape(str(values))}"):
        RunConfig.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        {"data": None},
        {"data": "folder"},
        {"model": {"filters": 32}},
        {"model": {"filters": "abc"}},
        {"model": {"filters": [32.5]}},
        {"model": {"filters": [True]}},
    ],
)
def test_config_of_another_shape_is_an_error_the_user_can_repair(values):
    with pytest.raises(ConfigError):
        RunConfig.from_dict(values)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            DataConfig,
            {"folder": 3},
            "data.folder has the wrong kind of value. Expected str. Received: 3",
        ),
        (
            TrainingConfig,
            {"epochs": 2.5},
            "training.epochs has the wrong kind of value. Expected int. Received: 2.5",
        ),
        (
            TrainingConfig,
            {"epochs": True},
            "training.epochs has the wrong kind of value. Expected int. Received: True",
        ),
        (
            ModelConfig,
            {"dropout": "0.5"},
            "model.dropout has the wrong kind of value. Expected float. Received: '0.5'",
        ),
        (
            ModelConfig,
            {"batch_normalization": 1},
            "model.batch_normalization has the wrong kind of value. Expected bool. Received: 1",
        ),
        (
            ModelConfig,
            {"channels": 2},
            "model.channels has no such choice. Expected one of: 1, 3. Received: 2",
        ),
        (
            TrainingConfig,
            {"optimizer": "lion"},
            "training.optimizer has no such choice. Expected one of: rmsprop, adam, adamw, sgd. "
            "Received: 'lion'",
        ),
        (
            TrainingConfig,
            {"monitor": "val_f1"},
            "training.monitor has no such choice. Expected one of: val_loss, val_accuracy, "
            "val_auc, loss, accuracy. Received: 'val_f1'",
        ),
        (
            TrainingConfig,
            {"schedule": "exponential"},
            "training.schedule has no such choice. Expected one of: constant, cosine, step, "
            "plateau. Received: 'exponential'",
        ),
        (
            TrainingConfig,
            {"class_weights": "yes"},
            "training.class_weights has no such choice. Expected one of: none, balanced. "
            "Received: 'yes'",
        ),
        (
            TrainingConfig,
            {"ema": 1.0},
            "training.ema is out of bounds. Expected 0 to 0.9999. Received: 1.0",
        ),
        (
            TrainingConfig,
            {"warm_up": 0.6},
            "training.warm_up is out of bounds. Expected 0 to 0.5. Received: 0.6",
        ),
        (
            TrainingConfig,
            {"milestones": (10, 0)},
            "training.milestones holds an epoch below 1. Expected epochs from 1 on, such as "
            "10,100,250. Received: (10, 0)",
        ),
        (
            TrainingConfig,
            {"epochs": 0},
            "training.epochs is out of bounds. Expected 1 to 10000. Received: 0",
        ),
        (
            AugmentConfig,
            {"rotation_deg": 180.5},
            "augmentation.rotation_deg is out of bounds. Expected 0 to 180 °. Received: 180.5",
        ),
        (
            TrainingConfig,
            {"learning_rate": float("nan")},
            "training.learning_rate is out of bounds. Expected 1e-07 to 1. Received: nan",
        ),
        (
            DataConfig,
            {"seed": -1},
            "data.seed is out of bounds. Expected 0 to 2147483647. Received: -1",
        ),
        (
            DataConfig,
            {"group_pattern": "("},
            "The patient pattern is not a regular expression: missing ), unterminated subpattern "
            r"at position 0. Expected something like ^(\d+)_ for files named 1534_2.jpg. Correct "
            "data.group_pattern. Received: group_pattern='('",
        ),
        (
            ModelConfig,
            {"filters": (8, 8, 8), "image_size_px": 16},
            "3 stages do not fit an image of 16 px: each one halves it. Expected at "
            "least 1 px left. Use fewer stages, a larger model.image_size_px or "
            "model.padding=same. Received: filters=(8, 8, 8), image_size_px=16",
        ),
    ],
)
def test_wrong_value_is_refused_word_for_word(section, values, message):
    with pytest.raises(ConfigError) as caught:
        section(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 20_000 + ")" * 20_000])
def test_a_pattern_that_cannot_be_compiled_is_refused_in_a_sentence(pattern):
    with pytest.raises(ConfigError, match="is not a regular expression") as caught:
        DataConfig(group_pattern=pattern)
    assert len(str(caught.value)) < 600


SLOW = [
    "(a+)+$", "(a|a)*b", "(a*){2}", "(a){5000}", "a*a*a*a*b", "(.*.*.*.*)!", ".*.*!.*x", r"\w*\w*b",
    "x" * 201, "a?" * 20, "(a|a|a)" * 20, "(a*|b)?(a*|b)?!", "a{1,200}" * 3, "a{,}a{,}a{,}",
    "(?:a?){200}", r"(a)\1", "(?P<a>a*)(?P=a)", "(?=a*)a", "(?i)a", "(?>a)", "a{2}{3}", "a**",
    "^a|.*.*.*b", "(" * 99 + ")" * 99, "a{9999999999}", "[[a]", r"\x41",
]  # fmt: skip
PLAIN = [
    "", r"^(\d+)_", r"(?:pat|case)-?(\d+)", r"(P\d{3})[-_]\w+", r"(\d+)_(\d+)\.png", r"[a-z]+(\d+)",
    r"^([^_]+)_.*\.png$", r"(?P<id>\d+)-.*", r"^(.*)_(.*)$", r"(\d+)_(\d+)_(\d+)", "病(\\d+)",
    r"patient[-_ ]?(\d{1,4})(?:_\d+)?\.(?:png|jpe?g)$", r"/(\d+)/", r"[]x]+a",
]  # fmt: skip
# Of half a million drawn at random, those that took longest.
SLOWEST = [
    r"[ab]?.{1,9}\w+?!", r".??[^b]\w\w{1,9}\w*?!", r"^[^b]*?\w??.{1,9}_+?!", r"(.{1,9}(?:\w+?))?!",
    r"^[ab]{1,9}[ab]+[a-c\d]?a*?!", r"^(.*)(.*)(?:a|b)$", "a{1,9}a{1,9}a{1,9}[ab]!", ".*a?a?a?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_from_elsewhere_that_could_take_for_ever_is_refused(pattern):
    with pytest.raises(ConfigError, match="may take for ever. Expected a plain one") as caught:
        check_given_pattern(pattern)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("pattern", ["[z-a]", r"(?P<a>\d)(?P<a>\d)"])
def test_a_pattern_from_elsewhere_that_is_none_is_refused(pattern):
    with pytest.raises(ConfigError, match="is not a regular expression"):
        check_given_pattern(pattern)


@pytest.mark.parametrize("pattern", [*PLAIN, *SLOWEST])
def test_a_plain_pattern_from_elsewhere_is_tried_on_a_long_name_in_no_time(pattern):
    check_given_pattern(pattern)
    expression = re.compile(pattern)
    for name in ("a" * 200, "ab" * 100, "_" * 200, "a_" * 100, "1" * 200, "1_" * 100):
        started = time.process_time()
        expression.search(name)
        assert time.process_time() - started < 0.5  # a guard against a count that is wrong


def test_two_repetitions_that_share_no_letter_are_told_from_two_that_do():
    for apart in (r"[a-z]+\d+_\w+", r"[a-z]+(\d+)_\w+", r"(?:x[a-z]+)?-\w+!", r"\d*[a-z]\d*!"):
        check_given_pattern(apart)
    for alike in (
        r"[a-z]+\w+!\w+",  # letters are both
        r"\d+[^a]+!.+",
        r"\d+(?:[a-z]+)?\d+!.+",  # the bracket need not match
        r"\d+([)]a)?\d+!.+",
        r"\d+[a-z]?\d+!.+",
        r"\w+(é|a)\w+!.+",
    ):
        with pytest.raises(ConfigError, match="for ever"):
            check_given_pattern(alike)


def test_a_residual_network_loses_no_border():
    ModelConfig(network="residual", image_size_px=16, filters=(4,) * 4)
    with pytest.raises(ConfigError, match="^5 stages do not fit an image of 16 px"):
        ModelConfig(network="residual", image_size_px=16, filters=(4,) * 5)


def test_a_backbone_is_refused_what_it_cannot_use():
    with pytest.raises(ConfigError, match=r"Expected 32 px or more.*image_size_px=31$"):
        ModelConfig(network="transfer", image_size_px=31)
    ModelConfig(network="transfer", image_size_px=32, filters=())  # which it does not use
    texts = ["model.network=transfer", "training.ema=0.9"]
    with pytest.raises(ConfigError, match=r"Expected training.ema=0 with model.network=transfer"):
        RunConfig().with_settings(texts)


@pytest.mark.parametrize("filters", [(), (8, 0), (-1,)])
def test_blocks_without_filters_are_refused(filters):
    with pytest.raises(ConfigError, match="Expected at least one stage, of 1 to 2048 filters each"):
        ModelConfig(filters=filters)


@pytest.mark.parametrize(
    ("padding", "num_blocks"),
    [("valid", 2), ("same", 4)],  # 16 → 14/2 = 7 → 5/2 = 2 → 0; and 16 → 8 → 4 → 2 → 1 → 0
)
def test_as_many_blocks_fit_as_leave_one_pixel(padding, num_blocks):
    def make(count):
        return ModelConfig(image_size_px=16, padding=padding, filters=(4,) * count)

    make(num_blocks)
    with pytest.raises(ConfigError, match=f"^{num_blocks + 1} stages do not fit"):
        make(num_blocks + 1)


@pytest.mark.parametrize(
    ("assignment", "section", "name", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("model.dropout=0", "model", "dropout", 0.0),
        (" model.dropout = 0.25 ", "model", "dropout", 0.25),
        ("model.batch_normalization=Yes", "model", "batch_normalization", True),
        ("augmentation.horizontal_flip=false", "augmentation", "horizontal_flip", False),
        ("model.filters=8,16", "model", "filters", (8, 16)),
        ("model.filters=(8, 16)", "model", "filters", (8, 16)),
        ("model.filters=8 16", "model", "filters", (8, 16)),
        ("training.optimizer=adam", "training", "optimizer", "adam"),
        ("training.milestones=5", "training", "milestones", (5,)),
        ("training.milestones=", "training", "milestones", ()),
        ("training.shuffled_labels=true", "training", "shuffled_labels", True),
        ("data.folder=/data/a=b", "data", "folder", "/data/a=b"),
        (r"data.group_pattern=^(\d+)_", "data", "group_pattern", r"^(\d+)_"),
    ],
)
def test_text_sets_one_setting_and_leaves_the_others(assignment, section, name, value):
    config = RunConfig().with_settings([assignment])
    assert getattr(getattr(config, section), name) == value
    changed = dataclasses.replace(getattr(RunConfig(), section), **{name: value})
    assert config == dataclasses.replace(RunConfig(), **{section: changed})


def test_texts_are_applied_together_so_their_order_does_not_matter():
    texts = ["model.image_size_px=16", "model.filters=8,8", "training.epochs=2"]
    config = RunConfig().with_settings(texts)
    assert config == RunConfig().with_settings(texts[::-1])
    assert (config.model.image_size_px, config.model.filters) == (16, (8, 8))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "training.epochs=ten",
            "The value of training.epochs cannot be read. Expected a whole number. Received: 'ten'",
        ),
        (
            "model.dropout=0,5",
            "The value of model.dropout cannot be read. Expected a number. Received: '0,5'",
        ),
        (
            "model.batch_normalization=maybe",
            "The value of model.batch_normalization cannot be read. Expected true or false. "
            "Received: 'maybe'",
        ),
        (
            "model.filters=8,a",
            "The value of model.filters cannot be read. Expected whole numbers with commas "
            "between. Received: '8,a'",
        ),
        (
            "training.epochs=0",
            "training.epochs is out of bounds. Expected 1 to 10000. Received: 0",
        ),
    ],
)
def test_text_with_an_unusable_value_is_refused(assignment, message):
    with pytest.raises(ConfigError) as caught:
        RunConfig().with_settings([assignment])
    assert str(caught.value) == message


@pytest.mark.parametrize("assignment", ["epochs=3", "training.epoch=3", "train.epochs=3", "a"])
def test_text_for_no_setting_lists_every_setting_there_is(assignment):
    every = ", ".join(f"{s}.{f.name}" for s, c in SECTIONS.items() for f in dataclasses.fields(c))
    with pytest.raises(ConfigError) as caught:
        RunConfig().with_settings([assignment])
    assert str(caught.value) == (
        f"There is no setting '{assignment.partition('=')[0]}'. Expected section.key=value with "
        f"one of: {every}. Received: --set {assignment!r}"
    )
