"""Settings of the augmentation."""

from dataclasses import dataclass

from polyp_core.config.settings import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far each training image may be changed, drawn anew for every image and epoch."""

    rotation_deg: float = setting(
        40.0,
        "Largest turn to either side. Depth has a direction in ultrasound: 10° to 20° is what a "
        "tilted probe does.",
        label="Rotation",
        unit="°",
        low=0.0,
        high=180.0,
    )
    width_shift: float = setting(
        0.2,
        "Largest move sideways, as a part of the width. Worry when the lesion leaves the picture.",
        label="Width shift",
        low=0.0,
        high=0.5,
    )
    height_shift: float = setting(
        0.2,
        "Largest move in depth, as a part of the height. Worry when the lesion leaves the picture.",
        label="Height shift",
        low=0.0,
        high=0.5,
    )
    shear_deg: float = setting(
        0.2,
        "Largest shear angle. The thesis' 0.2 is in degrees, which nobody can see; 5° to 10° can "
        "be seen.",
        label="Shear",
        unit="°",
        low=0.0,
        high=45.0,
    )
    zoom: float = setting(
        0.2,
        "Largest change of scale, drawn apart for width and height: 0.2 means 80 % to 120 %.",
        label="Zoom",
        low=0.0,
        high=0.9,
    )
    horizontal_flip: bool = setting(
        True, "Mirror every second image, left to right.", label="Horizontal flip"
    )
    fill_mode: str = setting(
        "nearest",
        "What stands where the moved picture leaves a gap: the border smeared out (nearest), "
        "mirrored (reflect), repeated (wrap), or black (constant).",
        label="Fill",
        choices=("nearest", "reflect", "wrap", "constant"),
    )

    def __post_init__(self) -> None:
        check_settings(self, "augmentation")
