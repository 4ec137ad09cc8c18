"""How large each network is, and how fast it predicts: `python -m benchmarks.networks`.

Each preset's network at the sizes it is used at, the backbones of `transfer` at 128 px; weights are
random, which changes neither number. An answer is probability, Grad-CAM and features in one pass of
LiteRT on one core. The median of 100 images, the networks taking turns.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from polyp_core.config import ModelConfig
from polyp_core.models import build_model
from polyp_core.presets import PRESETS
from polyp_core.serving import Served, convert_ensemble

_NUM_TURNS, _NUM_IMAGES = 5, 20
_BACKBONES = ModelConfig.__dataclass_fields__["backbone"].metadata["choices"]


def main() -> None:
    """Print the table."""
    rows = [(name, config, *_open(config)) for name, config in _list_networks()]
    times: list[list[float]] = [[] for _ in rows]
    for _ in range(_NUM_TURNS):
        for (*_, interpreter), seconds in zip(rows, times, strict=True):
            seconds += _time(interpreter)
    print("| network | px | weights | serving file, MB | ms an image, one core |")
    print("|---|---|---|---|---|")
    for (name, config, num_weights, num_bytes, _), seconds in zip(rows, times, strict=True):
        print(
            f"| {name} | {config.image_size_px} | {num_weights:,} | {num_bytes / 1e6:.1f} "
            f"| {1000 * statistics.median(seconds):.2g} |"
        )


def _list_networks() -> Iterator[tuple[str, ModelConfig]]:
    for name, preset in PRESETS.items():
        model = preset.config.model
        if name == "transfer":
            for backbone in _BACKBONES:
                yield f"`transfer`, {backbone}", replace(model, backbone=backbone)
        else:
            for size_px in (64, 128) if preset.is_fitted else (model.image_size_px,):
                yield f"`{name}`", replace(model, image_size_px=size_px)


def _open(config: ModelConfig) -> tuple[int, int, Interpreter]:
    model = build_model(config)
    content = convert_ensemble([Served(model=model)])
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return model.count_params(), len(content), interpreter


def _time(interpreter: Interpreter) -> list[float]:
    place, seconds = interpreter.get_input_details()[0], []
    image = np.random.default_rng(0).integers(0, 256, place["shape"]).astype(np.float32)
    for _ in range(_NUM_IMAGES):
        started = time.perf_counter()
        interpreter.set_tensor(place["index"], image)
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
