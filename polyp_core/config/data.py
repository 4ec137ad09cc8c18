"""Settings of the images."""

from dataclasses import dataclass

from polyp_core.config.patterns import compile_pattern
from polyp_core.config.settings import check_settings, setting
from polyp_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, who is positive, and how they are divided."""

    folder: str = setting(
        "",
        "A folder with train/ and validation/ or with one folder per class, or a CSV manifest.",
        label="Folder",
    )
    positive_class: str = setting(
        "",
        "The class the probability speaks of. Empty: chosen from the names, "
        "so that 'non-calcified', 'normal' or 'benign' is the negative one.",
        label="Positive class",
    )
    validation_fraction: float = setting(
        0.25,
        "Part of the images kept apart to test on, where the folder has no split of its own. "
        "More gives a surer number, less gives more to learn from.",
        label="Part kept for validation",
        low=0.05,
        high=0.5,
    )
    group_pattern: str = setting(
        "",
        "A regular expression that finds the patient in the file name (or in folders below its "
        "class folder); its first bracket counts. Empty: names like 'patient-012' and '1534_2' are "
        "recognised.",
        label="Patient pattern",
    )
    region: str = setting(
        "off",
        "The part of each picture that is used. 'automatic' cuts away what surrounds the scan: "
        "dark ground, text, grey-scale bar. 'box' cuts the same part out of every picture.",
        label="Region",
        choices=("off", "automatic", "box"),
    )
    region_box: tuple[int, ...] = setting(
        (0, 0, 100, 100),
        "Left, top, right and bottom of the box, in percent of the picture's width and height.",
        label="Box",
        unit="%",
    )
    seed: int = setting(
        0, "The same number gives the same split.", label="Split seed", low=0, high=2**31 - 1
    )

    def __post_init__(self) -> None:
        check_settings(self, "data")
        compile_pattern(self.group_pattern)
        box = self.region_box
        if len(box) != 4 or not (0 <= box[0] < box[2] <= 100 and 0 <= box[1] < box[3] <= 100):
            raise ConfigError(
                "The region's box is no box. Expected left, top, right and bottom in percent, left "
                "before right and top before bottom, all from 0 to 100. Correct data.region_box. "
                f"Received: region_box={box}"
            )
