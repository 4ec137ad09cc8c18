"""The numbers that make up one synthetic image."""

from dataclasses import dataclass

CLASS_NAMES = ("non-calcified", "calcified")  # label 0, label 1
TISSUE_ALPHA = 0.55  # attenuation of plain tissue, dB/cm/MHz one way

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A small bright reflector: a focus in the polyp, or a distractor elsewhere."""

    x_mm: float  # from the middle of the probe, positive to the right
    z_mm: float  # depth below the middle of the probe's face
    radius_mm: float  # half width across the beam
    flatness: float  # height / width
    echo_db: float  # above the tissue
    alpha: float  # attenuation, dB/cm/MHz: what makes the shadow
    tail_mm: float  # decay length of the comet tail; 0: none


@dataclass(frozen=True, kw_only=True)
class PhantomParameters:
    """The drawn numbers of one image; 0 dB is the echo of plain tissue.

    `calcified` switches the attenuation of `foci` on and nothing else: the same parameters with
    the other value give the same speckle without (or with) the shadow.
    """

    calcified: bool
    speckle_seed: int
    # The machine
    sector: bool  # False: a linear probe with a rectangular field
    probe_radius_mm: float  # of the sector's curved face
    field_angle_deg: float  # full opening of the sector
    field_width_mm: float  # of the linear field
    depth_mm: float
    pixel_mm: float
    frequency_mhz: float
    pulse_cycles: float
    f_number: float
    focus_depth_mm: float
    tgc_share: float  # 1: the gain with depth undoes the attenuation of plain tissue
    tgc_wave_db: float  # a badly set slider half way down
    noise_db: float  # electronic noise, before the gain with depth
    clutter_db: float  # side lobes and slice thickness: a blurred ghost of the neighbourhood
    dynamic_range_db: float
    tissue_grey: float  # where plain tissue comes out: 0 black, 1 white
    # The anatomy
    layer_depths_mm: tuple[float, ...]
    layer_phase_rad: float
    variation_db: float
    streak_db: float
    contact_beam: float  # where the probe touches badly: 0 left, 1 right
    contact_loss_db: float
    lumen_center_mm: Point
    lumen_axes_mm: Point  # half length, half height
    lumen_rotation_deg: float
    lumen_bend: float
    lumen_taper: float
    fluid_db: float  # thin bile or sludge
    wall_mm: float
    wall_db: float
    specular_db: float
    refraction_alpha: float  # loss where a beam grazes the wall: the edge shadows
    # The polyp
    polyp_root_mm: Point
    polyp_center_mm: Point
    polyp_radius_mm: float
    polyp_ripple: tuple[float, ...]  # lobes: harmonics 2, 3, 4 of the outline
    stalk_mm: float  # half width
    polyp_db: float
    foci: tuple[Spot, ...]
    distractors: tuple[Spot, ...]
