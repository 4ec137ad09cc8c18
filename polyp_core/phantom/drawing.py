"""Draw the parameters of an image at random, from a seed, a patient and an image number."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from polyp_core.phantom.geometry import trace_lumen
from polyp_core.phantom.parameters import TISSUE_ALPHA, PhantomParameters, Point, Spot

Numbers = dict[str, Any]  # of PhantomParameters, by name


def is_calcified(seed: int, patient: int) -> bool:
    """Return the class of a patient; of patients 1 and 2, of 3 and 4, ... one is calcified."""
    odd_one = bool(_start(seed, (patient - 1) // 2, 0, 1).integers(2))
    return odd_one == (patient % 2 == 1)


def count_images(seed: int, patient: int) -> int:
    """Return how many images (3 to 5) a patient has."""
    return int(_start(seed, patient, 0, 2).integers(3, 6))


def draw_parameters(seed: int, patient: int, image: int) -> PhantomParameters:
    """Draw the numbers of one image: always the same for the same arguments.

    Patients (1, 2, ...) differ in machine, anatomy and class; the images (1, 2, ...) of a patient
    in view, gain and speckle.
    """
    calcified = is_calcified(seed, patient)
    habit = _start(seed, patient, 0, 0)  # shared by the patient's images
    view = _start(seed, patient, image, 0)
    # The two patients of a pair share machine and fluid, so that no class has the better one.
    machine = _draw_machine(_start(seed, (patient - 1) // 2, 0, 3), view)
    tissue = _draw_tissue(habit, view, machine["depth_mm"])
    shape = _draw_shape(habit, view, machine)
    scale = machine["depth_mm"] / 90
    return PhantomParameters(
        calcified=calcified,
        foci=_draw_foci(habit, view, shape, scale, calcified),
        distractors=_draw_distractors(habit, view, shape, scale),
        speckle_seed=int(view.integers(2**62)),
        **machine,
        **tissue,
        **shape,
    )


def _start(*key: int) -> Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _draw_machine(habit: Generator, view: Generator) -> Numbers:
    sector = bool(habit.random() < 0.6)
    depth = habit.uniform(70, 105) if sector else habit.uniform(36, 48)
    rows = habit.uniform(250, 290) if sector else habit.uniform(320, 370)
    return {
        "sector": sector,
        "probe_radius_mm": depth * habit.uniform(0.2, 0.45),
        "field_angle_deg": habit.uniform(54, 68),
        "field_width_mm": habit.uniform(36, 44),
        "depth_mm": depth,
        "pixel_mm": depth / rows,
        "frequency_mhz": habit.uniform(2.9, 4.0) * 90 / depth,  # deeper needs lower
        "pulse_cycles": habit.uniform(2.3, 3.3),
        "f_number": habit.uniform(2.4, 3.4),
        "focus_depth_mm": depth * habit.uniform(0.35, 0.65),
        "tgc_share": habit.uniform(0.8, 1.0),
        "tgc_wave_db": habit.uniform(-2.5, 2.5),
        "noise_db": habit.uniform(-50, -39),
        "fluid_db": habit.uniform(-36, -17),
        "clutter_db": habit.uniform(-22, -15),
        "dynamic_range_db": habit.uniform(54, 68),
        "tissue_grey": habit.uniform(0.30, 0.44) + view.uniform(-0.03, 0.03),
    }


def _draw_tissue(habit: Generator, view: Generator, depth_mm: float) -> Numbers:
    layers = np.sort(habit.uniform(0.02, 0.17, habit.integers(2, 5))) * depth_mm
    return {
        "layer_depths_mm": tuple(layers.tolist()),
        "layer_phase_rad": view.uniform(0, 6.28),
        "variation_db": habit.uniform(1.0, 2.0),
        "streak_db": habit.uniform(1.5, 4.0),
        "contact_beam": view.uniform(0, 1),
        "contact_loss_db": float(view.choice([0.0, view.uniform(3, 9)])),
    }


def _draw_shape(habit: Generator, view: Generator, machine: Numbers) -> Numbers:
    depth = machine["depth_mm"]
    height = depth * habit.uniform(0.12, 0.19)
    outline = {
        "lumen_axes_mm": (height * habit.uniform(1.3, 2.3), height * view.uniform(0.9, 1.1)),
        "lumen_rotation_deg": habit.uniform(-40, 40) + view.uniform(-12, 12),
        "lumen_bend": habit.uniform(-0.35, 0.35),
        "lumen_taper": habit.uniform(-0.4, 0.4),
        "polyp_radius_mm": height * habit.uniform(0.28, 0.46),
    }
    return {
        **outline,
        **_place_polyp(habit, view, machine, outline),
        "wall_mm": depth * habit.uniform(0.014, 0.03),
        "wall_db": habit.uniform(3, 9),
        "specular_db": habit.uniform(10, 22),
        "refraction_alpha": habit.uniform(0.5, 4),
        "polyp_ripple": tuple((habit.normal(0, 0.07, 3) + view.normal(0, 0.02, 3)).tolist()),
        "stalk_mm": outline["polyp_radius_mm"] * habit.uniform(0.3, 0.7),
        "polyp_db": habit.uniform(-2, 6),
    }


def _place_polyp(habit: Generator, view: Generator, machine: Numbers, outline: Numbers) -> Numbers:
    """Root the polyp in the lumen's upper or lower wall; move both to where they are in view."""
    depth = machine["depth_mm"]
    angle = habit.choice([0.5, 1.5]) * np.pi + habit.uniform(-1.1, 1.1) + view.uniform(-0.15, 0.15)
    before, root, after = trace_lumen(angle + np.array([-0.02, 0, 0.02]), outline)
    inward = np.array([before[1] - after[1], after[0] - before[0]])
    reach = outline["polyp_radius_mm"] * habit.uniform(0.5, 1.2)
    offset = root + reach * inward / np.hypot(*inward)
    width = 0.6 * depth if machine["sector"] else machine["field_width_mm"]
    center = np.array([view.normal(0, 0.06), view.uniform(0.38, 0.5)]) * depth
    low, high = (-0.27 * width, 0.27 * depth), (0.27 * width, 0.62 * depth)
    polyp = np.clip(center + offset, low, high)  # in view, with room for a shadow below
    center = polyp - offset
    return {
        "lumen_center_mm": tuple(center.tolist()),
        "polyp_root_mm": tuple((center + root).tolist()),
        "polyp_center_mm": tuple(polyp.tolist()),
    }


def _draw_foci(
    habit: Generator, view: Generator, shape: Numbers, scale: float, calcified: bool
) -> tuple[Spot, ...]:
    """Draw foci as bright in either class; only the calcified ones will attenuate."""
    radius, (x, z) = shape["polyp_radius_mm"], shape["polyp_center_mm"]
    tailed = habit.random() < 0.5 and not calcified
    foci = []
    for _ in range(habit.integers(1, 5) if calcified else habit.integers(0, 4)):
        angle = habit.uniform(0, 2 * np.pi) + view.normal(0, 0.15)
        reach = radius * habit.uniform(0.1, 0.85)
        place = (x + reach * math.cos(angle), z + reach * math.sin(angle))
        size = min(0.5 * radius, scale * math.exp(habit.normal(0.3, 0.35)))
        tail = scale * habit.uniform(2, 5) if tailed else 0.0
        foci.append(_draw_spot(habit, view, place, size, habit.uniform(7, 18), tail))
    return tuple(foci)


def _draw_distractors(
    habit: Generator, view: Generator, shape: Numbers, scale: float
) -> tuple[Spot, ...]:
    x, z = shape["lumen_center_mm"]
    distractors = []
    for _ in range(habit.integers(0, 4)):
        tail = scale * float(habit.choice([0, habit.uniform(1, 4)]))
        reach = habit.uniform(1.0, 1.15)  # on the wall or a little behind it
        across, down = reach * trace_lumen(np.array(habit.uniform(0, 6.28)), shape)
        size = scale * habit.uniform(0.3, 1.0)
        place = (x + across, z + down)
        distractors.append(_draw_spot(habit, view, place, size, TISSUE_ALPHA, tail))
    if habit.random() < 0.3:  # gas in the bowel beside the lumen, on the side without the polyp
        side = 1 if shape["polyp_center_mm"][0] < x else -1
        half_length, half_height = shape["lumen_axes_mm"]
        place = (x + side * habit.uniform(1.1, 1.5) * half_length, z + 0.8 * half_height)
        size = scale * habit.uniform(3, 7)
        gas = _draw_spot(habit, view, place, size, habit.uniform(3, 9), 0.0)
        distractors.append(replace(gas, flatness=0.3 * gas.flatness))
    return tuple(distractors)


def _draw_spot(
    habit: Generator, view: Generator, place: Point, radius_mm: float, alpha: float, tail_mm: float
) -> Spot:
    return Spot(
        x_mm=float(place[0]),
        z_mm=float(place[1]),
        radius_mm=radius_mm * view.uniform(0.8, 1.1),
        flatness=habit.uniform(0.5, 1),
        echo_db=habit.uniform(9, 21) + view.normal(0, 1),
        alpha=alpha,
        tail_mm=tail_mm,
    )
