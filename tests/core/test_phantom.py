import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from polyp_core.errors import ConfigError
from polyp_core.phantom import (
    CLASS_NAMES,
    PhantomParameters,
    Spot,
    count_images,
    draw_parameters,
    form_envelope,
    is_calcified,
    locate_polyp,
    render_phantom,
    write_demo_data,
)

NUM_PATIENTS = 40


@pytest.fixture(scope="module")
def drawn() -> list[PhantomParameters]:
    return [
        draw_parameters(0, patient, image)
        for patient in range(1, NUM_PATIENTS + 1)
        for image in range(1, count_images(0, patient) + 1)
    ]


@pytest.fixture(scope="module")
def images(drawn: list[PhantomParameters]) -> list[np.ndarray]:
    return [render_phantom(parameters) for parameters in drawn]


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("demo") / "new" / "data"
    write_demo_data(out_dir, num_patients=6, seed=3)
    return out_dir


def plain_linear(*, calcified: bool) -> PhantomParameters:
    """A linear image, nothing but tissue, a lumen, a polyp in the middle and one big focus."""
    focus = Spot(
        x_mm=0, z_mm=15, radius_mm=1.2, flatness=1, echo_db=15, alpha=15, tail_mm=0
    )  # two ways through: 2 * 15 dB/cm/MHz * 8 MHz * 0.24 cm = 58 dB
    return dataclasses.replace(
        draw_parameters(0, 1, 1),
        calcified=calcified,
        sector=False,
        field_width_mm=40.0,
        depth_mm=40.0,
        pixel_mm=0.1,
        frequency_mhz=8.0,
        contact_loss_db=0.0,
        lumen_center_mm=(0.0, 15.0),
        lumen_axes_mm=(12.0, 6.0),
        polyp_center_mm=(0.0, 15.0),
        polyp_root_mm=(0.0, 21.0),
        polyp_radius_mm=3.0,
        foci=(focus,),
        distractors=(),
    )


def mean_at(image: np.ndarray, x_mm: float, z_mm: float, half_mm: float) -> float:
    """Mean grey of a square of the images of `plain_linear`, 400 px for 40 mm."""
    x, z, half = (int(10 * value) for value in (x_mm + 20, z_mm, half_mm))
    return float(image[z - half : z + half, x - half : x + half].mean())


def form_uniform(axial_px: float, lateral_px: float) -> np.ndarray:
    shape = (336, 280)
    return form_envelope(
        np.full(shape, 3, np.float32),
        np.zeros(shape, np.float32),
        axial_px=axial_px,
        lateral_px=np.full(shape[0], lateral_px, np.float32),
        random=np.random.default_rng(5),
    )


def test_speckle_of_a_uniform_map_is_rayleigh():
    envelope = form_uniform(1.0, 1.5)[12:-12, 12:-12]
    # Rayleigh: mean / std = sqrt(pi / (4 - pi)) = 1.913, mean square = 2 * 3**2 = 18
    assert envelope.mean() / envelope.std() == pytest.approx(1.913, abs=0.05)
    assert (envelope**2).mean() == pytest.approx(18, rel=0.05)
    # and a share exp(-1) = 0.368 lies above the root of the mean square
    assert (envelope > math.sqrt(18)).mean() == pytest.approx(math.exp(-1), abs=0.02)


def test_speckle_is_longer_across_the_beam_than_along_it():
    envelope = form_uniform(1.0, 3.0)
    envelope = envelope - envelope.mean()
    along = (envelope[3:] * envelope[:-3]).mean() / envelope.var()
    across = (envelope[:, 3:] * envelope[:, :-3]).mean() / envelope.var()
    # A blur of sigma s gives the intensity a correlation exp(-lag**2 / (2 * s**2)) (Wagner 1983);
    # that of the envelope is close to it: exp(-4.5) = 0.01 along, exp(-0.5) = 0.61 across.
    assert along == pytest.approx(0.01, abs=0.06)
    assert across == pytest.approx(0.61, abs=0.08)


def test_beam_is_wider_where_the_kernel_is_wider():
    widths = np.where(np.arange(336) < 168, 1.0, 4.0).astype(np.float32)
    shape = (336, 280)
    envelope = form_envelope(
        np.ones(shape, np.float32),
        np.zeros(shape, np.float32),
        axial_px=1.0,
        lateral_px=widths,
        random=np.random.default_rng(5),
    )
    steps = np.abs(np.diff(envelope, axis=1)).mean(axis=1)
    assert steps[:150].mean() > 2 * steps[186:].mean()


def test_same_seed_gives_same_bytes_on_any_number_of_threads():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        first = render_phantom(draw_parameters(7, 3, 2))
        cv2.setNumThreads(4)
        second = render_phantom(draw_parameters(7, 3, 2))
    finally:
        cv2.setNumThreads(before)
    assert first.tobytes() == second.tobytes()


def test_seed_patient_and_image_each_change_the_picture():
    keys = [(0, 1, 1), (1, 1, 1), (0, 2, 1), (0, 1, 2)]
    pictures = {render_phantom(draw_parameters(*key)).tobytes() for key in keys}
    assert len(pictures) == 4


def test_drawn_numbers_are_plain_python_values(drawn):
    for name, value in dataclasses.asdict(drawn[0]).items():
        assert type(value) in (bool, int, float, tuple), name


def test_images_of_a_patient_share_the_machine_and_differ_in_view():
    first, second = draw_parameters(0, 5, 1), draw_parameters(0, 5, 2)
    for name in ("calcified", "sector", "depth_mm", "frequency_mhz", "dynamic_range_db", "wall_db"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("speckle_seed", "lumen_rotation_deg", "tissue_grey"):
        assert getattr(first, name) != getattr(second, name), name


def test_every_prefix_of_patients_is_balanced():
    calcified = np.array([is_calcified(11, patient) for patient in range(1, 61)])
    surplus = np.cumsum(np.where(calcified, 1, -1))
    assert np.abs(surplus).max() <= 1
    assert 5 < calcified[::2].sum() < 25  # and the order within a pair is drawn


def test_images_are_grey_bytes_of_a_sensible_size(images):
    for image in images:
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert 240 <= min(image.shape) <= max(image.shape) <= 460


@pytest.mark.parametrize("statistic", ["mean", "maximum", "percentile 99.9", "deviation", "size"])
def test_no_plain_threshold_tells_the_classes_apart(drawn, images, statistic):
    measure = {
        "mean": np.mean,
        "maximum": np.max,
        "percentile 99.9": lambda image: np.percentile(image, 99.9),
        "deviation": np.std,
        "size": np.size,
    }[statistic]
    labels = [parameters.calcified for parameters in drawn]
    auc = roc_auc_score(labels, [measure(image) for image in images])
    assert len(images) >= 120
    assert max(auc, 1 - auc) < 0.65


def test_both_classes_saturate_about_equally_often(drawn, images):
    saturated = np.array([image.max() == 255 for image in images])
    labels = np.array([parameters.calcified for parameters in drawn])
    assert abs(saturated[labels].mean() - saturated[~labels].mean()) < 0.2


def test_calcification_alone_casts_a_shadow_straight_down():
    with_shadow = render_phantom(plain_linear(calcified=True))
    without = render_phantom(plain_linear(calcified=False))
    assert with_shadow.shape == (400, 400)
    assert mean_at(with_shadow, 0, 30, 0.6) < 0.6 * mean_at(without, 0, 30, 0.6)
    assert mean_at(with_shadow, 0, 30, 0.6) < 0.6 * mean_at(with_shadow, 7, 30, 0.6)
    np.testing.assert_array_equal(with_shadow[:100], without[:100])  # nothing above the focus
    np.testing.assert_array_equal(with_shadow[:, :100], without[:, :100])  # nor far beside it


def test_shadow_of_a_sector_follows_the_ray():
    parameters = dataclasses.replace(
        plain_linear(calcified=True), sector=True, probe_radius_mm=20.0, field_angle_deg=60.0
    )
    (focus,) = parameters.foci
    angle = math.radians(15)  # the focus at 15 degrees, 15 mm below the face
    moved = dataclasses.replace(focus, x_mm=35 * math.sin(angle), z_mm=35 * math.cos(angle) - 20.0)
    dark = render_phantom(dataclasses.replace(parameters, foci=(moved,)))
    bright = render_phantom(dataclasses.replace(parameters, foci=(moved,), calcified=False))
    left_mm, top_mm = -60 * math.sin(math.radians(30)), 20 * (math.cos(math.radians(30)) - 1)
    loss = cv2.blur(bright.astype(np.float32) - dark, (9, 9))
    for radius_mm in (46, 50, 54):
        row = int((radius_mm * math.cos(angle) - 20 - top_mm) / 0.1)
        column = (radius_mm * math.sin(angle) - left_mm) / 0.1
        darkest = np.average(np.arange(loss.shape[1]), weights=np.maximum(loss[row], 0))
        assert darkest == pytest.approx(column, abs=8)


def test_bigger_focus_casts_a_deeper_shadow():
    parameters = plain_linear(calcified=True)
    (focus,) = parameters.foci
    greys = [
        mean_at(
            render_phantom(
                dataclasses.replace(
                    parameters, foci=(dataclasses.replace(focus, radius_mm=radius_mm, alpha=8),)
                )
            ),
            *(0, 30, 0.4),
        )
        for radius_mm in (0.2, 0.5, 1.0)
    ]
    assert greys[0] > greys[1] > greys[2]


def test_tissue_behind_the_fluid_is_enhanced():
    image = render_phantom(
        dataclasses.replace(plain_linear(calcified=False), streak_db=0.0, variation_db=0.0)
    )
    assert mean_at(image, 5, 32, 1.5) > mean_at(image, 17, 32, 1.5) + 10


def test_fluid_is_darker_than_tissue():
    image = render_phantom(plain_linear(calcified=False))
    assert mean_at(image, 6, 15, 1) < 0.7 * mean_at(image, 17, 15, 1)


def test_sector_is_black_outside_the_fan(drawn, images):
    index = next(number for number, parameters in enumerate(drawn) if parameters.sector)
    parameters, image = drawn[index], images[index]
    half = math.radians(parameters.field_angle_deg / 2)
    height, width = image.shape
    x = (np.arange(width) + 0.5 - width / 2) * parameters.pixel_mm
    z = (np.arange(height) + 0.5) * parameters.pixel_mm + parameters.probe_radius_mm * math.cos(
        half
    )
    margin = 0.6 * parameters.pixel_mm + 0.003 * (parameters.probe_radius_mm + parameters.depth_mm)
    radius = np.hypot(x[None, :], z[:, None])
    outside = np.abs(x)[None, :] * math.cos(half) - z[:, None] * math.sin(half) > margin
    outside |= radius > parameters.probe_radius_mm + parameters.depth_mm + margin
    outside |= radius < parameters.probe_radius_mm - margin
    assert outside.mean() > 0.2
    assert image[outside].max() == 0
    assert np.median(image[~outside]) > 10


def test_polyp_box_holds_the_polyp_and_lies_in_the_image(drawn, images):
    for parameters, image in zip(drawn, images, strict=True):
        left, top, right, bottom = locate_polyp(parameters)
        assert 0 <= left < right <= image.shape[1]
        assert 0 <= top < bottom <= image.shape[0]
        assert right - left > 1.5 * parameters.polyp_radius_mm / parameters.pixel_mm
    # by hand: centre (0, 15) mm, radius 3 mm, no lobes, 0.1 mm a pixel, left edge at -20 mm
    smooth = dataclasses.replace(plain_linear(calcified=True), polyp_ripple=())
    assert locate_polyp(smooth) == (170, 120, 230, 180)


def test_demo_data_has_two_balanced_classes_and_several_images_a_patient(demo_dir):
    patients: dict[str, list[str]] = {}
    for path in demo_dir.glob("*/*.png"):
        patients.setdefault(path.name.split("_")[0], []).append(path.parent.name)
    assert sorted(patients) == [f"patient-00{number}" for number in range(1, 7)]
    assert all(3 <= len(classes) <= 5 for classes in patients.values())
    assert all(len(set(classes)) == 1 for classes in patients.values())
    assert (
        sorted(classes[0] for classes in patients.values())
        == ["calcified"] * 3 + ["non-calcified"] * 3
    )


def test_demo_files_hold_the_rendered_images_as_grey_png(demo_dir):
    parameters = draw_parameters(3, 2, 3)
    path = demo_dir / CLASS_NAMES[parameters.calcified] / "patient-002_3.png"
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), render_phantom(parameters))


def test_patients_do_not_depend_on_how_many_are_made(demo_dir, tmp_path):
    steps: list[tuple[int, int]] = []
    count = write_demo_data(
        tmp_path / "few", num_patients=4, seed=3, on_progress=lambda *step: steps.append(step)
    )
    few = sorted((tmp_path / "few").glob("*/*.png"))
    assert steps == [(done, count) for done in range(1, count + 1)]
    assert len(few) == count
    for path in few:
        assert path.read_bytes() == (demo_dir / path.parent.name / path.name).read_bytes()


def test_readme_says_synthetic_and_how_it_was_made(demo_dir):
    text = (demo_dir / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("Synthetic ultrasound images")
    assert "python -m polyp_core demo OUT --patients 6 --seed 3" in text
    assert "free to use" in text


def test_empty_folder_is_used(tmp_path):
    out_dir = tmp_path / "empty"
    out_dir.mkdir()
    write_demo_data(out_dir, num_patients=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
    assert sorted(path.name for path in out_dir.iterdir()) == [
        "README.txt",
        "calcified",
        "non-calcified",
    ]


def test_error_when_the_folder_is_taken(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError) as caught:
        write_demo_data(tmp_path)
    assert str(caught.value) == (
        "The demo data set cannot be written: its place is taken. Expected: a new or an empty "
        f"folder. Choose another folder. Received: out_dir={tmp_path}"
    )


def test_error_when_a_file_stands_in_the_way(tmp_path):
    path = tmp_path / "data"
    path.touch()
    with pytest.raises(ConfigError, match="its place is taken"):
        write_demo_data(path)
    assert path.is_file()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_patients", 3, "4 to 10000"),
        ("num_patients", 10_001, "4 to 10000"),
        ("seed", -1, "0 to 2147483647"),
        ("seed", 2**31, "0 to 2147483647"),
    ],
)
def test_error_when_a_number_is_out_of_range(tmp_path, name, value, expected):
    with pytest.raises(ConfigError) as caught:
        write_demo_data(tmp_path / "data", **{name: value})
    assert str(caught.value) == (
        f"No demo data set can be made with this {name}. Expected: {expected}. "
        f"Choose another number. Received: {name}={value}"
    )
    assert list(tmp_path.iterdir()) == []


def test_stopped_writing_leaves_nothing_behind(tmp_path):
    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "data", num_patients=4, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_second_process_to_finish_is_told_and_cleans_up(tmp_path):
    out_dir = tmp_path / "data"

    def overtake(done: int, total: int) -> None:
        if done == total:
            out_dir.mkdir()
            (out_dir / "first.txt").write_text("first")

    with pytest.raises(ConfigError, match="not empty"):
        write_demo_data(out_dir, num_patients=4, on_progress=overtake)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "first.txt"]


def test_error_when_the_parent_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    out_dir = tmp_path / "file" / "data"
    with pytest.raises(ConfigError) as caught:
        write_demo_data(out_dir)
    text = str(caught.value)
    assert text.startswith("The demo data set cannot be written: ")
    assert repr(str(tmp_path / "file")) in text
    assert text.endswith(
        "Expected: a place where folders can be made, with room for the images. Choose another "
        f"folder, or change its permissions. Received: out_dir={out_dir}"
    )


@pytest.mark.parametrize(
    "name", ["Path.mkdir", "Path.write_bytes", "Path.write_text", "os.replace"]
)
def test_error_when_the_disk_refuses(tmp_path, monkeypatch, name):
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(f"polyp_core.phantom.demo_data.{name}", refuse)
    with pytest.raises(ConfigError, match="cannot be written: .*Permission denied"):
        write_demo_data(tmp_path / "data", num_patients=4)
    assert list(tmp_path.iterdir()) == []


def test_failure_to_report_progress_is_not_blamed_on_the_folder(tmp_path):
    def fail(_done: int, _total: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        write_demo_data(tmp_path / "data", num_patients=4, on_progress=fail)
    assert list(tmp_path.iterdir()) == []
