"""Everything that opens what somebody else has made: its seeds, its mutations, what is asked of it.

A check raises a `PolypError` where it refuses an input. Whatever else it raises is a find, and so
is an answer that cannot be right: these are asserted here.
"""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fuzzing import mutation, run_files, seeds
from polyp_core.config import DataConfig, ModelConfig, RunConfig
from polyp_core.dicom import decode_frames, read_header
from polyp_core.errors import ConfigError, DatasetError, PolypError
from polyp_core.evidence.goals import parse_goal
from polyp_core.images import Picture, decode_picture, prepare_picture
from polyp_core.importing import import_zip
from polyp_core.intake import take_files
from polyp_core.manifest import read_manifest, write_manifest

Check = Callable[[bytes], None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of input.

    Attributes:
        make_seeds: Valid inputs to begin with.
        mutate: Changes one of them.
        open_check: Given an empty folder, what tries one input.
    """

    make_seeds: Callable[[], list[bytes]]
    mutate: mutation.Mutator
    open_check: Callable[[Path], Check]


def open_image(scratch: Path) -> Check:
    """A picture as an upload: decoded, its scan area found, brought to what the network sees."""
    data_config, model_config = DataConfig(region="automatic"), ModelConfig(image_size_px=64)

    def check(data: bytes) -> None:
        picture = decode_picture(data, "a.png")
        _check_picture(picture)
        seen = prepare_picture(picture, data_config, model_config)
        assert seen.shape == (64, 64, 3), seen.shape

    return check


def open_dicom(scratch: Path) -> Check:
    """The header of a DICOM file, then its first and its last frame."""

    def check(data: bytes) -> None:
        header = read_header(data, "a.dcm")
        size = header.height_px, header.width_px
        if header.region is not None:
            left, top, right, bottom = header.region
            assert 0 <= left < right <= size[1], header.region
            assert 0 <= top < bottom <= size[0], header.region
        _, frames = decode_frames(data, "a.dcm", sorted({0, header.num_frames - 1}))
        for pixels in frames:
            _check_picture(Picture(pixels=pixels))
            assert pixels.shape[:2] == size, pixels.shape

    return check


def open_zip(scratch: Path) -> Check:
    """A zip that is unpacked into the workspace; nothing may be written anywhere else."""
    imports, marks = scratch / "in" / "imports", {"in"}

    def check(data: bytes) -> None:
        try:
            imported = import_zip(io.BytesIO(data), "a.zip", imports)
            found = [path for path in imported.folder.rglob("*") if not path.is_dir()]
            assert imported.folder.parent == imports, imported.folder
            assert len(found) == imported.num_files, found
            assert not any(path.is_symlink() for path in found), found
        finally:
            assert {path.name for path in scratch.iterdir()} <= marks
            shutil.rmtree(imports, ignore_errors=True)

    return check


def open_intake(scratch: Path) -> Check:
    """A dropped file, a zip for the most part, from which pictures are taken in memory."""

    def check(data: bytes) -> None:
        intake = take_files([("a.zip", io.BytesIO(data))])
        names = [item.name for item in intake.items]
        assert len(set(zip(names, (item.frame for item in intake.items), strict=True))) == len(
            names
        )
        for _, text in intake.problems:
            check_words(PolypError(text))
        assert not any(scratch.iterdir())
        if not intake.items:
            raise DatasetError(f"Nothing is taken. {intake.problems}")

    return check


def open_manifest(scratch: Path) -> Check:
    """A manifest of a folder, which must not lead out of it, and one that may."""
    folder = scratch / "data"
    folder.mkdir()
    path = folder / "manifest.csv"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            _, free = read_manifest(path, may_lead_out=True)
        except PolypError:
            free = None
        where, files = read_manifest(path, may_lead_out=False)
        assert free == files
        assert where == folder
        assert not any(file.path.split("/")[0] in ("..", "") for file in files), files
        copy = folder / "copy.csv"
        write_manifest(copy, folder, files)
        assert read_manifest(copy, may_lead_out=False)[1] == files

    return check


def open_config(scratch: Path) -> Check:
    """The settings of a run from JSON, and back."""

    def check(data: bytes) -> None:
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as error:  # as whoever reads the file does
            raise ConfigError(f"It is no JSON ({error!r}).") from None
        config = RunConfig.from_dict(values)
        again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict(), allow_nan=False)))
        assert again == config

    return check


def open_settings(scratch: Path) -> Check:
    """Lines of `section.key=value`, and each of them as the goal of a threshold."""

    def check(data: bytes) -> None:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        for line in lines[:20]:
            try:
                parse_goal(line).say()
            except PolypError as error:
                check_words(error)
        config = RunConfig().with_settings(lines)
        assert RunConfig.from_dict(config.to_dict()) == config

    return check


def check_words(error: PolypError) -> None:
    """The text of a refusal goes to a browser: it must be text, and not without end."""
    text = str(error)
    text.encode("utf-8")
    assert 10 < len(text) < 20_000, len(text)


def _check_picture(picture: Picture) -> None:
    pixels = picture.pixels
    assert pixels.dtype == np.uint8, pixels.dtype
    assert pixels.ndim == 3, pixels.shape
    assert pixels.shape[2] in (1, 3), pixels.shape
    assert min(pixels.shape) > 0, pixels.shape


TARGETS = {
    "image": Target(
        make_seeds=seeds.make_image_seeds, mutate=mutation.mutate_image, open_check=open_image
    ),
    "dicom": Target(
        make_seeds=seeds.make_dicom_seeds, mutate=seeds.mutate_dicom, open_check=open_dicom
    ),
    "zip": Target(make_seeds=seeds.make_zip_seeds, mutate=seeds.mutate_zip, open_check=open_zip),
    "intake": Target(
        make_seeds=seeds.make_zip_seeds, mutate=seeds.mutate_zip, open_check=open_intake
    ),
    "manifest": Target(
        make_seeds=seeds.make_manifest_seeds,
        mutate=mutation.mutate_table,
        open_check=open_manifest,
    ),
    "config": Target(
        make_seeds=seeds.make_config_seeds, mutate=mutation.mutate_json, open_check=open_config
    ),
    "settings": Target(
        make_seeds=seeds.make_setting_seeds,
        mutate=mutation.mutate_lines,
        open_check=open_settings,
    ),
    "run": Target(
        make_seeds=run_files.make_run_seeds,
        mutate=run_files.mutate_run,
        open_check=run_files.check_run_folder,
    ),
    "bundle": Target(
        make_seeds=run_files.make_run_seeds,
        mutate=run_files.mutate_run,
        open_check=run_files.open_bundle,
    ),
}
