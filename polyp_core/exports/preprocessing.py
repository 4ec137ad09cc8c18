"""All that must happen to a picture before the model, and to its answer after it, as JSON.

It lies beside a model and inside it, wherever the format has a place:

.keras          a further file of the zip, preprocessing.json
.weights.h5     the attribute "preprocessing" of the root
SavedModel      assets.extra/preprocessing.json
LiteRT          preprocessing.json in a zip behind the model, as TensorFlow Lite's metadata have it
ONNX            metadata_props, key "preprocessing"
"""

import io
import json
import zipfile
from typing import Any

from polyp_core import __version__
from polyp_core.config import RunConfig
from polyp_core.decision import read_decision
from polyp_core.runs import Run

FILE, KEY = "preprocessing.json", "preprocessing"
ASSETS = f"assets.extra/{FILE}"
NOTICE = "For research and teaching. This is not a medical device: do not base a diagnosis on it."
_WHOLE = [0, 0, 100, 100]
_REGIONS = {
    "off": "the whole picture",
    "box": "the part of the picture inside box_percent: left, top, right, bottom",
    "automatic": "the scan area, found by region.find_region (the file region.py of a bundle)",
}
_COLOURS = {
    1: "grey: luminance after ITU-R 601, (299 R + 587 G + 114 B) / 1000, as Pillow's mode L",
    3: "RGB; a grey picture is given three times over",
}


def describe_preprocessing(run: Run) -> dict[str, Any]:
    """What another program needs to predict as the app does.

    Args:
        run: A finished one.

    Returns:
        Plain values, ready for JSON. "region", "input" and "resize" say what the model is given,
        "output" what it gives, "threshold" and "band" what follows from that; "network" are the
        settings from which the bare network of a weights file is built.
    """
    config, serving, decision = run.read_config(), run.read_serving(), read_decision(run)
    negative, positive = run.read_class_names()
    temperature = serving.get("temperature") or 1.0  # an earlier version wrote none
    band = None if decision.band is None else [decision.band.low, decision.band.high]
    network = config.to_dict()["model"] | {"backbone_weights": ""}
    return {
        "notice": NOTICE,
        "written_by": f"polyp_core {__version__}",
        "serving_sha256": serving.get("sha256", ""),
        "region": _describe_region(config),
        "input": {
            "name": "image",
            "size_px": config.model.image_size_px,
            "channels": config.model.channels,
            "colour": _COLOURS[config.model.channels],
            "type": "float32",
            "range": [0, 255],
            "scale": "none: the grey levels as they are; the network scales by itself",
        },
        "resize": "to size_px × size_px without keeping the aspect; bilinear with antialiasing, as "
        "Pillow's Image.resize with BILINEAR, on 8 bit",
        "output": f"the probability of '{positive}', with mirror and temperature inside",
        "mirror": config.model.mirror,
        "temperature": temperature,
        "class_names": [negative, positive],
        "threshold": decision.threshold,
        "band": band,
        "level": decision.level,
        "network": network | {"filters": list(config.model.filters)},
    }


def write_preprocessing(run: Run) -> str:
    """`describe_preprocessing` as the text of preprocessing.json."""
    return json.dumps(describe_preprocessing(run), indent=1, ensure_ascii=False)


def attach_text(content: bytes, text: str) -> bytes:
    """A LiteRT model with a text behind it, as a file of a zip; it loads as before.

    References: TensorFlow Lite metadata, "Pack the associated files": the flatbuffer ends where it
    ends, and a zip is read from its end, so that one file is both.
    """
    packed = io.BytesIO()
    packed.write(content)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, text)
    return packed.getvalue()


def _describe_region(config: RunConfig) -> dict[str, Any]:
    kind = config.data.region
    box = list(config.data.region_box) if kind == "box" else _WHOLE
    return {"kind": kind, "box_percent": box, "meaning": _REGIONS[kind]}
