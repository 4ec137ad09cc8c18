"""Write the demo data set: a folder for each class, 3 to 5 PNG files a patient."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from polyp_core.errors import ConfigError
from polyp_core.phantom.drawing import count_images, draw_parameters
from polyp_core.phantom.machine import render_phantom
from polyp_core.phantom.parameters import CLASS_NAMES

MIN_PATIENTS, MAX_PATIENTS = 4, 10_000

_README = """Synthetic ultrasound images of polyps with and without calcification.

No patient was imaged: every picture was computed from random numbers and simple physics.
The images are free to use for any purpose. They show nothing about any real patient.

Made with: python -m polyp_core demo OUT --patients {} --seed {}
"""


def write_demo_data(
    out_dir: Path,
    *,
    num_patients: int = 60,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the demo data set into a new or empty folder; return its number of images.

    It is built beside its final place and renamed when complete. Half of the patients are
    calcified; patient 3 is the same whatever `num_patients` is.

    Args:
        num_patients: 4 to 10000.
        seed: 0 to 2**31 - 1.
        on_progress: Called with (images done, images in all) after each image.

    Raises:
        ConfigError: A number is out of range, or `out_dir` is taken or cannot be written.
    """
    _check_range("num_patients", num_patients, MIN_PATIENTS, MAX_PATIENTS)
    _check_range("seed", seed, 0, 2**31 - 1)
    images = [
        (patient, image)
        for patient in range(1, num_patients + 1)
        for image in range(1, count_images(seed, patient) + 1)
    ]
    out_dir = out_dir.absolute()
    with _make_build_dir(out_dir) as build_dir:
        set_dir = Path(build_dir) / "set"
        for done, (patient, image) in enumerate(images, start=1):
            with _explain_failure(out_dir):
                _write_image(set_dir, seed, patient, image)
            if on_progress is not None:
                on_progress(done, len(images))
        with _explain_failure(out_dir):
            text = _README.format(num_patients, seed)
            (set_dir / "README.txt").write_text(text, encoding="utf-8")
            if out_dir.is_dir():
                out_dir.rmdir()  # Windows replaces no folder, not even an empty one
            os.replace(set_dir, out_dir)
    return len(images)


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(
            f"No demo data set can be made with this {name}. Expected: {low} to {high}. Choose "
            f"another number. Received: {name}={value}"
        )


def _make_build_dir(out_dir: Path) -> TemporaryDirectory[str]:
    with _explain_failure(out_dir):
        if out_dir.is_file() or (out_dir.is_dir() and any(out_dir.iterdir())):
            raise ConfigError(
                "The demo data set cannot be written: its place is taken. Expected: a new or an "
                f"empty folder. Choose another folder. Received: out_dir={out_dir}"
            )
        parent = out_dir.parent
        parent.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(prefix=".demo-data-", dir=parent, ignore_cleanup_errors=True)


def _write_image(set_dir: Path, seed: int, patient: int, image: int) -> None:
    parameters = draw_parameters(seed, patient, image)
    _, data = cv2.imencode(".png", render_phantom(parameters))
    folder = set_dir / CLASS_NAMES[parameters.calcified]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"patient-{patient:03d}_{image}.png").write_bytes(data.tobytes())


@contextmanager
def _explain_failure(out_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The demo data set cannot be written: {error}. Expected: a place "
            "where folders can be made, with room for the images. Choose another folder, or "
            f"change its permissions. Received: out_dir={out_dir}"
        ) from error
