"""Every setting of a run, once: its default, bounds, unit, help text and check.

Widgets and the command line read all of that from here, so a default never stands in two places.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from polyp_core.errors import ConfigError


def setting(
    default: Any,
    help: str,
    *,
    label: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """A dataclass field that carries its own label, unit, bounds and help text."""
    metadata = {
        "label": label,
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, who is positive, and how they are divided."""

    folder: str = setting(
        "",
        "A folder with train/ and validation/, or with one folder per class.",
        label="Folder",
    )
    positive_class: str = setting(
        "",
        "The class the probability speaks of. Empty: chosen from the names, "
        "so that 'non-calcified', 'normal' or 'benign' is the negative one.",
        label="Positive class",
    )
    validation_fraction: float = setting(
        0.25,
        "Part of the images kept apart to test on, where the folder has no split of its own. "
        "More gives a surer number, less gives more to learn from.",
        label="Part kept for validation",
        low=0.05,
        high=0.5,
    )
    group_pattern: str = setting(
        "",
        "A regular expression that finds the patient in the file name; its first bracket counts. "
        "Empty: names that start like 'patient-012' are recognised.",
        label="Patient pattern",
    )
    seed: int = setting(
        0, "The same number gives the same split.", label="Split seed", low=0, high=2**31 - 1
    )

    def __post_init__(self) -> None:
        _check_settings(self, "data")
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise ConfigError(
                f"The patient pattern is not a regular expression: {error}. Expected something "
                r"like ^(\d+)_ for files named 1534_2.jpg. Correct data.group_pattern. "
                f"Received: group_pattern={self.group_pattern!r}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each training image may be changed, drawn anew for every image and epoch."""

    rotation_deg: float = setting(
        40.0,
        "Largest turn to either side. Depth has a direction in ultrasound: 10° to 20° is what a "
        "tilted probe does.",
        label="Rotation",
        unit="°",
        low=0.0,
        high=180.0,
    )
    width_shift: float = setting(
        0.2,
        "Largest move sideways, as a part of the width. Worry when the lesion leaves the picture.",
        label="Width shift",
        low=0.0,
        high=0.5,
    )
    height_shift: float = setting(
        0.2,
        "Largest move in depth, as a part of the height. Worry when the lesion leaves the picture.",
        label="Height shift",
        low=0.0,
        high=0.5,
    )
    shear_deg: float = setting(
        0.2,
        "Largest shear angle. The thesis' 0.2 is in degrees, which nobody can see; 5° to 10° can "
        "be seen.",
        label="Shear",
        unit="°",
        low=0.0,
        high=45.0,
    )
    zoom: float = setting(
        0.2,
        "Largest change of scale, drawn apart for width and height: 0.2 means 80 % to 120 %.",
        label="Zoom",
        low=0.0,
        high=0.9,
    )
    horizontal_flip: bool = setting(
        True, "Mirror every second image, left to right.", label="Horizontal flip"
    )
    fill_mode: str = setting(
        "nearest",
        "What stands where the moved picture leaves a gap: the border smeared out (nearest), "
        "mirrored (reflect), repeated (wrap), or black (constant).",
        label="Fill",
        choices=("nearest", "reflect", "wrap", "constant"),
    )

    def __post_init__(self) -> None:
        _check_settings(self, "augmentation")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A stack of convolution blocks and a head with one sigmoid unit."""

    image_size_px: int = setting(
        300,
        "Width and height the network sees. Small calcifications need pixels; time grows with the "
        "square.",
        label="Image size",
        unit="px",
        low=16,
        high=1024,
    )
    channels: int = setting(
        3, "1 is grey, 3 is colour. B-mode ultrasound is grey.", label="Channels", choices=(1, 3)
    )
    filters: tuple[int, ...] = setting(
        (32, 32, 64),
        "One number a block: a 3×3 convolution with so many filters, ReLU, 2×2 max-pooling.",
        label="Filters a block",
    )
    padding: str = setting(
        "valid",
        "'same' keeps the size through a convolution, 'valid' loses its border.",
        label="Padding",
        choices=("valid", "same"),
    )
    batch_normalization: bool = setting(
        False,
        "Normalise after each convolution: learns faster, steadier.",
        label="Batch normalisation",
    )
    head: str = setting(
        "flatten",
        "'flatten' keeps every place apart; 'average' pools over places: fewer weights, less "
        "over-fitting.",
        label="Head",
        choices=("flatten", "average"),
    )
    dense_units: int = setting(
        64, "Units of the dense layer before the last; 0 leaves it out.", label="Dense units",
        low=0, high=4096,
    )  # fmt: skip
    dropout: float = setting(
        0.5,
        "Part of the units switched off in each training step.",
        label="Dropout",
        low=0.0,
        high=0.9,
    )

    def __post_init__(self) -> None:
        _check_settings(self, "model")
        size_px = self.image_size_px
        for _ in self.filters:
            size_px = (size_px if self.padding == "same" else size_px - 2) // 2
        if not self.filters or min(self.filters) < 1 or size_px < 1:
            raise ConfigError(
                f"{len(self.filters)} convolution blocks do not fit an image of "
                f"{self.image_size_px} px: each one halves it. Expected at least one block, "
                "positive filter counts and at least 1 px left. Use fewer blocks, a larger "
                "model.image_size_px or model.padding=same. "
                f"Received: filters={self.filters}, image_size_px={self.image_size_px}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the network is fitted and which of its states is kept."""

    epochs: int = setting(
        10, "How often every training image is seen.", label="Epochs", low=1, high=10_000
    )
    batch_size: int = setting(
        4, "Images a step. Small is noisy, large is smooth.", label="Batch size", low=1, high=512
    )
    optimizer: str = setting(
        "rmsprop",
        "The rule that turns gradients into steps.",
        label="Optimizer",
        choices=("rmsprop", "adam", "adamw"),
    )
    learning_rate: float = setting(
        1e-3,
        "Size of a step. Ten times too large: the loss jumps. Ten times too small: it creeps.",
        label="Learning rate",
        low=1e-7,
        high=1.0,
    )
    schedule: str = setting(
        "constant",
        "'cosine' lets the learning rate rise over the first tenth and then fall to zero.",
        label="Schedule",
        choices=("constant", "cosine"),
    )
    weight_decay: float = setting(
        0.0,
        "Pulls weights towards zero; used by AdamW alone.",
        label="Weight decay",
        low=0.0,
        high=1.0,
    )
    label_smoothing: float = setting(
        0.0,
        "Trains towards 0.05 and 0.95 instead of 0 and 1 (for 0.1): less sure of itself.",
        label="Label smoothing",
        low=0.0,
        high=0.5,
    )
    early_stopping_patience: int = setting(
        0,
        "Stop after so many epochs without a lower validation loss; 0 never stops early.",
        label="Early stopping after",
        unit="epochs",
        low=0,
        high=10_000,
    )
    keep: str = setting(
        "last",
        "Which state becomes the model: the one with the lowest validation loss, or the last.",
        label="Keep",
        choices=("best", "last"),
    )
    seed: int = setting(
        0, "The same number gives the same run on the same machine.", label="Seed",
        low=0, high=2**31 - 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        _check_settings(self, "training")


Section = DataConfig | AugmentConfig | ModelConfig | TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of one run; the defaults are the thesis' own."""

    preset: str = "thesis"
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Rebuild from `to_dict`.

        Raises:
            ConfigError: For an unknown section or key, or a value out of bounds.
        """
        _refuse_unknown(values, ("preset", *SECTIONS), "the configuration")
        sections: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            given = values.get(name, {})
            if not isinstance(given, Mapping):
                raise ConfigError(
                    f"'{name}' holds no settings. Expected names with their values. Use the file "
                    f"as the app wrote it. Received: {given!r}"
                )
            _refuse_unknown(given, [item.name for item in fields(section)], f"'{name}'")
            lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
            sections[name] = section(**{**given, **lists})
        return cls(preset=str(values.get("preset", cls.preset)), **sections)

    def with_settings(self, assignments: list[str]) -> "RunConfig":
        """A copy with `section.key=value` texts applied, as the command line's `--set` gives them.

        Raises:
            ConfigError: For a text of another form, an unknown key or an unusable value.
        """
        changes: dict[str, dict[str, Any]] = {}
        for assignment in assignments:
            key, separator, text = assignment.partition("=")
            section_name, _, name = key.strip().partition(".")
            section = SECTIONS.get(section_name)
            if not separator or section is None or name not in _field_types(section):
                known = ", ".join(f"{s}.{n}" for s, c in SECTIONS.items() for n in _field_types(c))
                raise ConfigError(
                    f"There is no setting '{key}'. Expected section.key=value with one of: "
                    f"{known}. Received: --set {assignment!r}"
                )
            value = _parse(text.strip(), _field_types(section)[name], key)
            changes.setdefault(section_name, {})[name] = value
        new = {name: replace(getattr(self, name), **change) for name, change in changes.items()}
        return replace(self, **new)


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "augmentation": AugmentConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}


def _field_types(section: type[Section]) -> dict[str, Any]:
    return {item.name: item.type for item in fields(section)}


def _refuse_unknown(values: Mapping[str, Any], known: Any, where: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"Unknown setting in {where}: {', '.join(unknown)}. Expected only: "
            f"{', '.join(known)}. Remove it, or use the version that wrote it."
        )


def _parse(text: str, kind: Any, key: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        if kind in (int, float, str):
            return kind(text)
        return tuple(int(part) for part in text.strip("()[] ").replace(" ", ",").split(",") if part)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            kind, "whole numbers with commas between"
        )
        raise ConfigError(
            f"The value of {key} cannot be read. Expected {expected}. Received: {text!r}"
        ) from None


def _check_settings(config: Section, section: str) -> None:
    for item in fields(config):
        value, limits = getattr(config, item.name), item.metadata
        if not _has_type(value, item.type):
            raise ConfigError(
                f"{section}.{item.name} has the wrong kind of value. Expected "
                f"{getattr(item.type, '__name__', item.type)}. Received: {value!r}"
            )
        if limits["choices"] and value not in limits["choices"]:
            raise ConfigError(
                f"{section}.{item.name} has no such choice. Expected one of: "
                f"{', '.join(map(str, limits['choices']))}. Received: {value!r}"
            )
        if limits["low"] is not None and not limits["low"] <= value <= limits["high"]:
            unit = limits["unit"] and f" {limits['unit']}"
            raise ConfigError(
                f"{section}.{item.name} is out of bounds. Expected {limits['low']:.10g} to "
                f"{limits['high']:.10g}{unit}. Received: {value!r}"
            )


def _has_type(value: Any, kind: Any) -> bool:
    if kind == tuple[int, ...]:
        return isinstance(value, tuple) and all(_has_type(item, int) for item in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)
