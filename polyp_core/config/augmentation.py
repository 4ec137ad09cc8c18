"""Settings of the augmentation: how far geometry and imaging may change a training image."""

from dataclasses import dataclass
from typing import Any

from polyp_core.config.settings import check_settings, setting

# A row holds what stands side by side: the amount of an effect, its chance, then what shapes it.
GEOMETRY: tuple[tuple[str, ...], ...] = (
    ("rotation_deg", "rotation_probability"),
    ("width_shift", "width_shift_probability"),
    ("height_shift", "height_shift_probability"),
    ("shear_deg", "shear_probability"),
    ("zoom", "zoom_probability"),
    ("horizontal_flip", "horizontal_flip_probability"),
    ("vertical_flip", "vertical_flip_probability"),
    ("elastic", "elastic_probability"),
    ("fill_mode",),
)
IMAGING: tuple[tuple[str, ...], ...] = (
    ("gain_db", "gain_probability"),
    ("dynamic_range_db", "dynamic_range_probability"),
    ("depth_gain_db", "depth_gain_probability"),
    ("speckle", "speckle_probability", "speckle_size"),
    ("haze", "haze_probability"),
    ("blur", "blur_probability"),
    ("shadow_db", "shadow_probability"),
    ("erasing", "erasing_probability"),
)
# Amount and chance of every effect.
EFFECTS: tuple[tuple[str, str], ...] = tuple(
    (row[0], row[1]) for row in GEOMETRY + IMAGING if len(row) > 1
)


def _amount(default: float, help: str, *, label: str, high: float, unit: str = "part") -> Any:
    return setting(default, help, label=label, unit=unit, low=0.0, high=high)


def _chance(effect: str, default: float = 1.0) -> Any:
    return setting(
        default,
        f"In how many of the images: {effect}. Drawn anew for every image and epoch.",
        label=f"{effect} chance",
        unit="part",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each training image may be changed, drawn anew for every image and epoch.

    The defaults are the thesis' own. Unit "part" is a share: of the width, of the area, of all
    images. Depth is the vertical of the picture, downwards. Decibels are those of a display of
    60 dB from black to white.
    """

    rotation_deg: float = _amount(
        40.0,
        "Largest turn to either side. Depth has a direction in ultrasound: 10° to 20° is what a "
        "tilted probe does.",
        label="Rotation",
        unit="°",
        high=180.0,
    )
    width_shift: float = _amount(
        0.2,
        "Largest move sideways, as a part of the width: a probe that slides. Worry when the "
        "lesion leaves the picture.",
        label="Width shift",
        high=0.5,
    )
    height_shift: float = _amount(
        0.2,
        "Largest move in depth, as a part of the height: a probe pressed harder or less. Worry "
        "when the lesion leaves the picture.",
        label="Height shift",
        high=0.5,
    )
    shear_deg: float = _amount(
        0.2,
        "Largest shear angle. The thesis' 0.2 is in degrees, which nobody can see; 5° to 10° can "
        "be seen.",
        label="Shear",
        unit="°",
        high=45.0,
    )
    zoom: float = _amount(
        0.2,
        "Largest change of scale, drawn apart for width and height: 20 % means that 80 % to 120 % "
        "of the picture is shown.",
        label="Zoom",
        high=0.9,
    )
    horizontal_flip: bool = setting(
        True,
        "Mirror left to right: the probe turned half round. Every second image, as it stands.",
        label="Horizontal flip",
    )
    vertical_flip: bool = setting(
        False,
        "Mirror top to bottom. No probe does that: shadows would point at the probe.",
        label="Vertical flip",
    )
    elastic: float = _amount(
        0.0,
        "Largest move of a point when the picture is bent softly, as a part of the width: tissue "
        "under a pressing probe. 1 % to 2 % is good. Worry when outlines change their kind.",
        label="Elastic",
        high=0.05,
    )
    fill_mode: str = setting(
        "nearest",
        "What stands where the moved picture leaves a gap: the border smeared out (nearest), "
        "mirrored (reflect), repeated (wrap), or black (constant).",
        label="Fill",
        choices=("nearest", "reflect", "wrap", "constant"),
    )

    gain_db: float = _amount(
        0.0,
        "Largest change of the overall gain, up or down: the gain knob, or a firmer contact. All "
        "echoes shift by as many decibels. 3 to 6 dB is good; worry when tissue turns white.",
        label="Gain",
        unit="dB",
        high=20.0,
    )
    dynamic_range_db: float = _amount(
        0.0,
        "Largest change of the range of echoes between black and white, about 60 dB: the "
        "compression knob. Less is harder and darker, more is softer and milkier. 10 dB is good.",
        label="Dynamic range",
        unit="dB",
        high=30.0,
    )
    depth_gain_db: float = _amount(
        0.0,
        "Largest error of the time-gain compensation at the bottom against the top: attenuation "
        "corrected too little (dark depth) or too much. 6 dB is good.",
        label="Depth gain",
        unit="dB",
        high=30.0,
    )
    speckle: float = _amount(
        0.0,
        "Strongest extra speckle, as the spread of an echo's amplitude about its mean: another "
        "frequency or another slice. 20 % is good; plain speckle itself has 52 %, so stay below.",
        label="Speckle",
        high=1.0,
    )
    speckle_size: float = setting(
        0.015,
        "Width of a grain of that speckle, as a part of the picture's width; in depth it is half "
        "as long. Take it from the images: mostly 1 % to 2 %.",
        label="Speckle size",
        unit="part",
        low=0.005,
        high=0.05,
    )
    haze: float = _amount(
        0.0,
        "Densest veil in a band of depth: clutter from reverberation between skin and probe. It "
        "fills the dark and spares the bright. 15 % is good; worry when fluid looks like tissue.",
        label="Haze",
        high=0.6,
    )
    blur: float = _amount(
        0.0,
        "Widest blur across the beam, as a standard deviation in parts of the width; sharp at a "
        "drawn focal depth, widest farthest from it. 0.5 % is good. Worry about small spots.",
        label="Focus blur",
        high=0.05,
    )
    shadow_db: float = _amount(
        0.0,
        "Darkest acoustic shadow, straight down behind a drawn place: bone, gas or lost contact. "
        "Worry always: a shadow is the very sign of a calcification.",
        label="Acoustic shadow",
        unit="dB",
        high=40.0,
    )
    erasing: float = _amount(
        0.0,
        "Largest part of the area painted over with the picture's mean: a caption or a caliper in "
        "the way. 5 % is good. Worry when it can cover the lesion.",
        label="Erasing",
        high=0.4,
    )

    rotation_probability: float = _chance("Rotation")
    width_shift_probability: float = _chance("Width shift")
    height_shift_probability: float = _chance("Height shift")
    shear_probability: float = _chance("Shear")
    zoom_probability: float = _chance("Zoom")
    horizontal_flip_probability: float = _chance("Horizontal flip", 0.5)
    vertical_flip_probability: float = _chance("Vertical flip", 0.5)
    elastic_probability: float = _chance("Elastic")
    gain_probability: float = _chance("Gain")
    dynamic_range_probability: float = _chance("Dynamic range")
    depth_gain_probability: float = _chance("Depth gain")
    speckle_probability: float = _chance("Speckle", 0.5)
    haze_probability: float = _chance("Haze", 0.5)
    blur_probability: float = _chance("Focus blur", 0.5)
    shadow_probability: float = _chance("Acoustic shadow", 0.5)
    erasing_probability: float = _chance("Erasing", 0.5)

    def __post_init__(self) -> None:
        check_settings(self, "augmentation")
