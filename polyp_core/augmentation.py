"""Random changes of an image: the numbers are drawn in one function and applied in another.

The numbers depend on (seed, epoch, image number) alone. So the preview is exactly what training
sees, a resumed run draws what the unbroken one would have drawn, and threads change nothing.
Geometry comes first, all of it in one warp; then `imaging_effects` shows the moved tissue anew.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from polyp_core.config import AugmentConfig
from polyp_core.config.augmentation import EFFECTS, GEOMETRY
from polyp_core.imaging_effects import (
    NOMINAL_RANGE_DB,
    ImagingParameters,
    apply_imaging,
    make_soft_field,
)

_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}
# One uniform number each, in this order for ever: a slider must not move what another one drew.
_CHANCES = tuple(chance for _, chance in EFFECTS if chance != "horizontal_flip_probability")
_NUMBERS = (
    "rotation", "shift_x", "shift_y", "shear", "zoom_x", "zoom_y", "horizontal_flip_probability",
    *_CHANCES,
    "elastic", "gain", "dynamic_range", "depth_gain", "speckle", "haze", "haze_depth", "blur",
    "focus_depth", "shadow", "shadow_x", "shadow_depth", "shadow_width", "erasing", "erasing_x",
    "erasing_y", "erasing_aspect", "texture",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AugmentParameters:
    """The numbers drawn for one image in one epoch; the defaults change nothing.

    Signs and order are those of Keras' `apply_affine_transform`: they describe where the result
    looks in the original, so a zoom of 1.2 shows more of it (smaller), a zoom of 0.8 less.
    """

    rotation_deg: float = 0.0
    shift_x: float = 0.0  # part of the width
    shift_y: float = 0.0  # part of the height
    shear_deg: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    flip: bool = False
    vertical_flip: bool = False
    elastic: float = 0.0  # longest move of a point, part of the width
    elastic_seed: int = 0
    imaging: ImagingParameters = field(default_factory=ImagingParameters)

    def moves(self) -> bool:
        """Whether any pixel goes elsewhere."""
        still = (0, 0, 0, 0, 1, 1, False, False, 0)
        return still != (
            self.rotation_deg, self.shift_x, self.shift_y, self.shear_deg, self.zoom_x,
            self.zoom_y, self.flip, self.vertical_flip, self.elastic,
        )  # fmt: skip


def draw_parameters(
    config: AugmentConfig, *, seed: int, epoch: int, image_number: int
) -> AugmentParameters:
    """Draw how one image is changed in one epoch; every number uniform within its bounds.

    Args:
        config: The bounds, and the chance of each effect.
        seed: The run's seed.
        epoch: Counted from 1.
        image_number: The image's row in the index.
    """
    random = np.random.default_rng((seed, epoch, image_number))
    drawn = random.uniform(-1, 1, size=len(_NUMBERS)).tolist()
    unit: dict[str, float] = dict(zip(_NUMBERS, drawn, strict=True))
    amount = {
        name: getattr(config, name) if unit[chance] < 2 * getattr(config, chance) - 1 else 0.0
        for name, chance in EFFECTS
    }
    texture_seed = int((unit["texture"] + 1) * 2**31)
    return AugmentParameters(
        rotation_deg=amount["rotation_deg"] * unit["rotation"],
        shift_x=amount["width_shift"] * unit["shift_x"],
        shift_y=amount["height_shift"] * unit["shift_y"],
        shear_deg=amount["shear_deg"] * unit["shear"],
        zoom_x=1 + amount["zoom"] * unit["zoom_x"],
        zoom_y=1 + amount["zoom"] * unit["zoom_y"],
        flip=bool(amount["horizontal_flip"]),
        vertical_flip=bool(amount["vertical_flip"]),
        elastic=amount["elastic"] * _between(unit["elastic"], 0, 1),
        elastic_seed=texture_seed,
        imaging=_make_imaging(amount, unit, config.speckle_size, texture_seed),
    )


def apply_parameters(
    image: np.ndarray, parameters: AugmentParameters, fill_mode: str = "nearest"
) -> np.ndarray:
    """Change an image by the drawn numbers; geometry in one warp with bilinear interpolation.

    Args:
        image: `(height, width, 1 or 3)` uint8.
        parameters: From `draw_parameters`.
        fill_mode: What stands beyond the border: "nearest", "reflect", "wrap" or "constant" (0).

    Returns:
        An array of the same shape and type; the input is not changed. Grey stays neutral.
    """
    changed = _drop_copies(image)
    if parameters.moves():
        changed = _warp(changed, parameters, fill_mode)
    if parameters.imaging.acts():
        planes = apply_imaging(list(cv2.split(changed)), parameters.imaging)
        changed = cv2.merge(planes).reshape(changed.shape)
    if changed.shape != image.shape:
        return cv2.merge([changed] * 3)
    return changed.copy() if changed is image else changed


def augment_image(
    image: np.ndarray, config: AugmentConfig, *, seed: int, epoch: int, image_number: int
) -> np.ndarray:
    """What training sees of an image in an epoch: draw, then apply."""
    parameters = draw_parameters(config, seed=seed, epoch=epoch, image_number=image_number)
    return apply_parameters(image, parameters, config.fill_mode)


def _make_imaging(
    amount: dict[str, float], unit: dict[str, float], speckle_size: float, texture_seed: int
) -> ImagingParameters:
    return ImagingParameters(
        gain_db=amount["gain_db"] * unit["gain"],
        dynamic_range_db=NOMINAL_RANGE_DB + amount["dynamic_range_db"] * unit["dynamic_range"],
        depth_gain_db=amount["depth_gain_db"] * unit["depth_gain"],
        speckle=amount["speckle"] * _between(unit["speckle"], 0, 1),
        speckle_size=speckle_size,
        haze=amount["haze"] * _between(unit["haze"], 0, 1),
        haze_depth=_between(unit["haze_depth"], 0, 1),
        blur=amount["blur"] * _between(unit["blur"], 0, 1),
        focus_depth=_between(unit["focus_depth"], 0, 1),
        shadow_db=amount["shadow_db"] * _between(unit["shadow"], 0, 1),
        shadow_x=_between(unit["shadow_x"], 0, 1),
        shadow_depth=_between(unit["shadow_depth"], 0.1, 0.7),
        shadow_width=_between(unit["shadow_width"], 0.05, 0.25),
        erasing=amount["erasing"] * _between(unit["erasing"], 0, 1),
        erasing_x=_between(unit["erasing_x"], 0, 1),
        erasing_y=_between(unit["erasing_y"], 0, 1),
        erasing_aspect=2 ** unit["erasing_aspect"],
        texture_seed=texture_seed,
    )


def _drop_copies(image: np.ndarray) -> np.ndarray:
    """One plane of a picture that is grey three times over, as most are; else the picture."""
    if image.shape[2] == 3:
        red, green, blue = cv2.split(image)
        if cv2.norm(red, green, cv2.NORM_INF) == cv2.norm(red, blue, cv2.NORM_INF) == 0:
            return red[..., np.newaxis]
    return image


def _between(unit: float, low: float, high: float) -> float:
    """A number drawn from -1 to 1, brought to other bounds."""
    return low + (high - low) * (unit + 1) / 2


def _warp(image: np.ndarray, parameters: AugmentParameters, fill_mode: str) -> np.ndarray:
    """Look up every pixel of the result in the original, between four of its pixels."""
    height_px, width_px, num_channels = image.shape
    matrix, border = _find_matrix(parameters, width_px, height_px), _BORDERS[fill_mode]
    if num_channels == 1 and fill_mode != "constant":
        # OpenCV is slow where it looks beyond the border, so a plane gets a margin that wide.
        margin_px = _measure_overhang(matrix, image.shape, parameters.elastic)
        image = cv2.copyMakeBorder(image, margin_px, margin_px, margin_px, margin_px, border)
        matrix[:, 2] += margin_px
    if parameters.elastic > 0:
        across, down = _place_bent(matrix, (height_px, width_px), parameters)
        warped = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=border)
    else:
        warped = cv2.warpAffine(
            image,
            matrix,
            (width_px, height_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
        )
    return warped.reshape(height_px, width_px, num_channels)


def _measure_overhang(matrix: np.ndarray, shape: tuple[int, ...], elastic: float) -> int:
    """How many pixels beyond the border the result looks."""
    right, bottom = shape[1] - 1, shape[0] - 1
    farthest = 0.0
    for (along, down, start), last in zip(matrix.tolist(), (right, bottom), strict=True):
        ends = (0.0, along * right, down * bottom, along * right + down * bottom)
        farthest = max(farthest, -min(ends) - start, max(ends) + start - last)
    return math.ceil(farthest + elastic * shape[1]) + 1


def _place_bent(
    matrix: np.ndarray, shape: tuple[int, int], parameters: AugmentParameters
) -> list[np.ndarray]:
    """Where each pixel of the result looks, bent: x and y, each `(height, width)` float32."""
    height_px, width_px = shape
    bend = make_soft_field(parameters.elastic_seed, 2) * (parameters.elastic * width_px)
    columns, rows = np.arange(width_px, dtype=np.float32), np.arange(height_px, dtype=np.float32)
    places = []
    for axis, (by_column, by_row, start) in enumerate(matrix.tolist()):
        place = cv2.resize(bend[..., axis].astype(np.float32), (width_px, height_px))
        place += by_column * columns + start
        place += (by_row * rows)[:, np.newaxis]
        places.append(place)
    return places


def _find_matrix(parameters: AugmentParameters, width_px: int, height_px: int) -> np.ndarray:
    """The 2×3 matrix from a pixel (x, y, 1) of the result to its place in the original.

    About the centre: turn, then shift, then shear, then zoom, multiplied out. A flip mirrors the
    result.
    """
    p = parameters
    angle, slant = math.radians(p.rotation_deg), math.radians(p.rotation_deg + p.shear_deg)
    shift_x, shift_y = p.shift_x * width_px, p.shift_y * height_px
    center_x, center_y = (width_px - 1) / 2, (height_px - 1) / 2
    zoom_x = -p.zoom_x if p.flip else p.zoom_x
    zoom_y = -p.zoom_y if p.vertical_flip else p.zoom_y
    a, b = zoom_x * math.cos(angle), -zoom_y * math.sin(slant)
    c, d = zoom_x * math.sin(angle), zoom_y * math.cos(slant)
    x = center_x + math.cos(angle) * shift_x - math.sin(angle) * shift_y
    y = center_y + math.sin(angle) * shift_x + math.cos(angle) * shift_y
    return np.array(
        [[a, b, x - a * center_x - b * center_y], [c, d, y - c * center_x - d * center_y]]
    )


def describe_parameters(parameters: AugmentParameters) -> list[str]:
    """The drawn numbers in words, only what acts: "turned 12°", "moved 5 % right".

    Directions are those that the eye sees in the result.
    """
    p, i = parameters, parameters.imaging
    # The numbers say where the result looks: what it looks at more to the left moves right.
    right = p.shift_x if p.flip else -p.shift_x
    down = p.shift_y if p.vertical_flip else -p.shift_y
    words = [
        _say("turned {:.0f}°", abs(p.rotation_deg)),
        _say(f"moved {{:.0f}} % {'right' if right > 0 else 'left'}", 100 * abs(right)),
        _say(f"moved {{:.0f}} % {'down' if down > 0 else 'up'}", 100 * abs(down)),
        _say("sheared {:.1f}°", abs(p.shear_deg)),
        _say(f"{{:.0f}} % {'narrower' if p.zoom_x > 1 else 'wider'}", 100 * abs(1 / p.zoom_x - 1)),
        _say(f"{{:.0f}} % {'flatter' if p.zoom_y > 1 else 'taller'}", 100 * abs(1 / p.zoom_y - 1)),
        "mirrored" if p.flip else "",
        "upside down" if p.vertical_flip else "",
        _say("bent {:.1f} %", 100 * p.elastic),
        _say("gain {:+.1f} dB", i.gain_db),
        _say("range {:+.0f} dB", i.dynamic_range_db - NOMINAL_RANGE_DB),
        _say("depth gain {:+.1f} dB", i.depth_gain_db),
        _say("speckle {:.0f} %", 100 * i.speckle),
        _say("haze {:.0f} %", 100 * i.haze),
        _say(f"blur {{:.1f}} %, focus at {100 * i.focus_depth:.0f} % depth", 100 * i.blur),
        _say("shadow {:.0f} dB", -i.shadow_db),
        _say("erased {:.0f} %", 100 * i.erasing),
    ]
    return [word for word in words if word]


def _say(text: str, value: float) -> str:
    """The text with its number, or nothing where that would read as zero."""
    said = text.format(value)
    return "" if said == text.format(math.copysign(0.0, value)) else said.replace("-", "−")


def list_cautions(config: AugmentConfig) -> dict[str, str]:
    """Settings that are physically wrong at their values, or that touch the label.

    Returns:
        Name of the setting to one sentence; empty where nothing is to be said.
    """
    c, smears = config, config.fill_mode == "nearest"
    on = {amount: bool(getattr(c, amount) and getattr(c, chance)) for amount, chance in EFFECTS}
    flips = ("horizontal_flip", "vertical_flip")
    on["fill_mode"] = any(on[row[0]] for row in GEOMETRY[:-1] if row[0] not in flips)
    streaks = (
        'Where the picture leaves a gap, the fill "nearest" smears its border into streaks, '
        "which look like shadows."
    )
    gone = "The lesion may leave the picture while its label says that it is there."
    cautions = (  # of two for one setting the later one counts
        ("rotation_deg", c.rotation_deg > 30,
         "Depth has a direction: a picture turned by more than 30° comes from no probe."),
        ("width_shift", smears and c.width_shift > 0.15, streaks),
        ("height_shift", smears and c.height_shift > 0.15, streaks),
        ("zoom", smears and c.zoom > 0.15, streaks),
        ("width_shift", c.width_shift > 0.25, gone),
        ("height_shift", c.height_shift > 0.25, gone),
        ("zoom", c.zoom > 0.3, gone),
        ("shear_deg", c.shear_deg < 1, "It is in degrees: less than 1° cannot be seen."),
        ("shear_deg", c.shear_deg > 20, "Beyond 20° tissue leans as under no probe."),
        ("vertical_flip", True,
         "Depth has a direction: upside down, a shadow points at the probe."),
        ("elastic", c.elastic > 0.03,
         "A smooth outline may turn irregular, which is itself a sign of disease."),
        ("fill_mode", c.fill_mode == "wrap",
         "The far side is repeated in the gap: tissue, a lesion too, stands where it is not."),
        ("fill_mode", c.fill_mode == "reflect",
         "The border is mirrored in the gap: a lesion there is seen twice, and depth runs back."),
        ("gain_db", c.gain_db > 10,
         "Beyond 10 dB tissue turns white, and a bright spot stands out no more."),
        ("dynamic_range_db", c.dynamic_range_db > 20, "Beyond 20 dB faint tissue turns black."),
        ("depth_gain_db", c.depth_gain_db > 15,
         "Beyond 15 dB a lesion in the depth may drown in black or white."),
        ("speckle", c.speckle > 0.5, "Plain speckle has 52 %: more is noise that no probe shows."),
        ("haze", c.haze > 0.3, "Fluid may look like tissue."),
        ("blur", c.blur > 0.01,
         "A small calcification may blur away while its label says that it is there."),
        ("shadow_db", True,
         "A shadow is the very sign of a calcification: this paints it on images without one."),
        ("erasing", c.erasing > 0.1,
         "The lesion may be covered while its label says that it is there."),
    )  # fmt: skip
    return {name: text for name, applies, text in cautions if applies and on[name]}
