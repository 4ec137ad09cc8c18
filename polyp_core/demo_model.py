"""Make the model that ships: `python -m polyp_core.demo_model`.

Draws demo images (200 patients, the first 60 of whom are the demo set), trains the compact preset
on them as any run is trained, and keeps what predicting and showing needs in
polyp_core/demo_run/. Takes about four minutes on two cores.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from polyp_core.__main__ import main as run_command
from polyp_core.workspace import DEMO_RUN

_KEPT = (
    "config.json", "environment.json", "familiarity.json", "familiarity.npy", "features.npy",
    "history.csv", "index.csv", "metrics.json", "predictions.csv", "serving.json", "serving.tflite",
    "status.json",
)  # fmt: skip


def main() -> int:
    """Train in a temporary folder and copy the result; 0 if it went well."""
    with tempfile.TemporaryDirectory() as text:
        data_dir, runs_dir = Path(text, "demo-data"), Path(text)
        code = run_command(["demo", str(data_dir), "--patients", "200"]) or run_command(
            ["train", str(data_dir), "--runs", str(runs_dir), "--name", "demo"]
        )
        if code == 0:
            DEMO_RUN.directory.mkdir(exist_ok=True)
            for name in _KEPT:
                shutil.copy(runs_dir / "demo" / name, DEMO_RUN.path(name))
            _forget_folder()
    return code


def _forget_folder() -> None:
    """What ships names no folder of the machine it was made on."""
    values = DEMO_RUN.read_json("config.json")
    values["settings"]["data"]["folder"] = values["folder"] = "demo-data"
    DEMO_RUN.write_json("config.json", values)


if __name__ == "__main__":
    sys.exit(main())
