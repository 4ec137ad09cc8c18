"""A setting: its default, bounds, unit and help text stand once, in a dataclass field."""

from dataclasses import field, fields
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


def check_settings(config: Any, section: str) -> None:
    """Refuse a value of the wrong type, out of its bounds, or none of its choices.

    Raises:
        ConfigError: For the first that is.
    """
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
            unit = "" if limits["unit"] in ("", "part") else f" {limits['unit']}"
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


def parse_value(text: str, kind: Any, key: str) -> Any:
    """A value of a setting's type from its text; `key` is what to call it in an error.

    Raises:
        ConfigError: If it is none.
    """
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
