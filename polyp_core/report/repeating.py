"""The exact command that repeats a run."""

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from polyp_core.config import SECTIONS, DataConfig, RunConfig
from polyp_core.dataset import Index
from polyp_core.errors import ConfigError
from polyp_core.presets import PRESETS, get_preset
from polyp_core.recipe import find_facts, fit_preset

DATA = "DATA"  # stands for the folder of the images, which is another one elsewhere
WEIGHTS = "WEIGHTS"  # and this for a file of weights that was given


def list_settings(config: RunConfig, index: Index | None = None) -> list[str]:
    """The texts for `--set` that make a preset these settings.

    Args:
        config: Of the run; its folder does not count.
        index: Its images, to which a preset is fitted.

    Returns:
        What differs from the preset as it is, or as it is fitted to the images.
    """
    name = config.preset if config.preset in PRESETS else RunConfig().preset
    bases = [get_preset(name)]
    if index is not None and len(index.images) and "width_px" in index.images:
        bases.append(fit_preset(name, find_facts(index)))
    found = []
    for section, kind in SECTIONS.items():
        own = getattr(config, section)
        for item in fields(kind):
            value = getattr(own, item.name)
            is_folder = kind is DataConfig and item.name == "folder"
            if not is_folder and any(
                getattr(getattr(base, section), item.name) != value for base in bases
            ):
                found.append(f"{section}.{item.name}={_write(value)}")
    return found


def write_command(
    config: RunConfig,
    index: Index | None = None,
    plan: Mapping[str, Any] | None = None,
    *,
    has_own_weights: bool = False,
) -> str:
    """The command line, for a POSIX shell.

    Args:
        config: Of the run.
        index: Its images.
        plan: Of the study, where it is one that is to be repeated.
        has_own_weights: Whether the backbone began from a file of weights that was given.
    """
    name = config.preset if config.preset in PRESETS else RunConfig().preset
    parts = ["python", "-m", "polyp_core", "study" if plan else "train", DATA, "--preset", name]
    if plan is not None:
        parts += ["--folds", str(plan["num_folds"]), "--seeds", str(len(plan["seeds"]))]
        if len(plan["shares"]) > 1:
            shares = ",".join(f"{100 * share:g}" for share in sorted(plan["shares"]))
            parts += ["--shares", shares]
        config = replace(config, training=replace(config.training, seed=plan["seeds"][0]))
    if has_own_weights or config.model.backbone_weights:
        config = replace(config, model=replace(config.model, backbone_weights=WEIGHTS))
    for text in list_settings(config, index):
        parts += ["--set", text]
    return " ".join(map(shlex.quote, parts))


def check_command(config: RunConfig, index: Index | None = None) -> bool:
    """Whether the settings of the command give the run's, to the last one."""
    name = config.preset if config.preset in PRESETS else RunConfig().preset
    try:
        found = get_preset(name).with_settings(list_settings(config, index))
    except ConfigError:  # such as a text with a blank at its end
        return False
    same = replace(config, preset=name, data=replace(config.data, folder=found.data.folder))
    return found == same


def _write(value: Any) -> str:  # noqa: ANN401 - of any setting
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
