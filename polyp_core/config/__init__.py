"""Every setting of a run, once: its default, bounds, unit, help text and check.

Widgets and the command line read all of that from here, so a default never stands in two places.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from polyp_core.config.augmentation import AugmentConfig
from polyp_core.config.data import DataConfig
from polyp_core.config.model import ModelConfig
from polyp_core.config.settings import parse_value
from polyp_core.config.training import TrainingConfig
from polyp_core.errors import ConfigError

__all__ = [
    "SECTIONS",
    "AugmentConfig",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "Section",
    "TrainingConfig",
]

Section = DataConfig | AugmentConfig | ModelConfig | TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of one run; the defaults are the thesis' own."""

    preset: str = "thesis"
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.model.network == "transfer" and self.training.ema:
            raise ConfigError(
                "Weights cannot be averaged while a part of them rests. Expected training.ema=0 "
                "with model.network=transfer. Set either to something else. "
                f"Received: training.ema={self.training.ema:g}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Rebuild from `to_dict`.

        Raises:
            ConfigError: For what is no dictionary, an unknown section or key, or a value out of
                bounds.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                "There are no settings in it. Expected sections with their settings, such as "
                '{"training": {"epochs": 40}}. Use the file as the app wrote it. '
                f"Received: {str(values)[:80]}"
            )
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
            value = parse_value(text.strip(), _field_types(section)[name], key)
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
