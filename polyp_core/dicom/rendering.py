"""From stored values to what a viewer shows: 8 bits, grey or RGB."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from polyp_core.dicom.picture import CHANNELS, GREY, PALETTE, StoredPicture, read_number

if TYPE_CHECKING:
    from pydicom import Dataset


def render_pixels(pixels: np.ndarray, photometric: str, picture: StoredPicture) -> np.ndarray:
    """Show stored values as a viewer would.

    Args:
        pixels: `(height, width)` or `(height, width, 3)` stored values.
        photometric: The colour model they are in.
        picture: The description they were decoded by.

    Returns:
        `(height, width, 1 or 3)` uint8.
    """
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _convert_to_rgb(pixels)
    if photometric in ("YBR_ICT", "YBR_RCT"):
        raise ValueError("a colour model of JPEG 2000 without JPEG 2000")
    lowest, highest = _get_stored_range(picture)
    if photometric == PALETTE:
        table = _make_palette(picture)
    elif picture.is_signed:
        table = _make_table(picture, int(pixels.min()), int(pixels.max()))
    else:
        table = _make_table(picture, lowest, highest)
    if table.ndim == 2:
        lowest = _read_first(picture.dataset.RedPaletteColorLookupTableDescriptor, lowest)
    shown = table[np.clip(pixels.astype(np.int32) - lowest, 0, len(table) - 1)]
    return shown if shown.ndim == 3 else shown[..., np.newaxis]


def _convert_to_rgb(pixels: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import convert_color_space

    if pixels.dtype != np.uint8:
        raise ValueError("YBR with more than 8 bits")
    converted = np.empty_like(pixels)
    for top in range(0, len(pixels), 256):  # in strips: it calculates with decimal numbers
        strip = slice(top, top + 256)
        converted[strip] = convert_color_space(pixels[strip], "YBR_FULL", "RGB")
    return converted


def _get_stored_range(picture: StoredPicture) -> tuple[int, int]:
    num_values = 1 << picture.bits_stored
    return (-num_values // 2, num_values // 2 - 1) if picture.is_signed else (0, num_values - 1)


@lru_cache(maxsize=8)  # for the frames of the few files that are under way
def _make_table(picture: StoredPicture, smallest: int, largest: int) -> np.ndarray:
    """The grey level 0 to 255 of every value that can be stored, between those that are."""
    low, high = _get_stored_range(picture)
    values = np.arange(low, high + 1, dtype=np.float64)
    span = np.array([smallest, largest], np.float64)
    with np.errstate(all="ignore"):
        if picture.photometric in GREY:
            values, span = _apply_modality(values, span, picture)
            values, span = _apply_window(values, span, picture)
        shares = (values - span.min()) / (np.ptp(span) or 1)
        grey: np.ndarray = np.rint(np.clip(np.nan_to_num(shares), 0, 1) * 255).astype(np.uint8)
    return 255 - grey if picture.photometric == "MONOCHROME1" else grey


def _apply_modality(
    values: np.ndarray, span: np.ndarray, picture: StoredPicture
) -> tuple[np.ndarray, np.ndarray]:
    dataset = picture.dataset
    if dataset.get("ModalityLUTSequence"):
        return _look_up(values, dataset.ModalityLUTSequence[0], picture)
    slope = read_number(dataset, "RescaleSlope") or 1.0
    intercept = read_number(dataset, "RescaleIntercept") or 0.0
    return values * slope + intercept, span * slope + intercept


def _apply_window(
    values: np.ndarray, span: np.ndarray, picture: StoredPicture
) -> tuple[np.ndarray, np.ndarray]:
    dataset = picture.dataset
    if dataset.get("VOILUTSequence"):
        return _look_up(values, dataset.VOILUTSequence[0], picture)
    center, width = read_number(dataset, "WindowCenter"), read_number(dataset, "WindowWidth")
    shape = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width < (1 if shape == "LINEAR" else 1e-6):
        return values, span
    edges = np.array([center - width / 2, center + width / 2])
    if (np.abs(edges - np.sort(span)) <= 0.01 * np.ptp(span)).all():
        return values, np.sort(span)  # it says "show everything", give or take a level
    if shape == "SIGMOID":
        shares = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif shape == "LINEAR" and width > 1:
        shares = (values - (center - 0.5)) / (width - 1) + 0.5
    elif shape == "LINEAR":
        shares = np.where(values > center - 0.5, 1.0, 0.0)
    else:  # LINEAR_EXACT
        shares = (values - center) / width + 0.5
    return shares, np.array([0.0, 1.0])


def _look_up(
    values: np.ndarray, item: "Dataset", picture: StoredPicture
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a modality or VOI table, and their range."""
    num_entries, _, num_bits = (int(number) for number in item.LUTDescriptor)
    entries = _read_entries(item.LUTData, num_entries or 65536, picture)
    places = np.rint(values) - _read_first(item.LUTDescriptor, values.min())
    entries = entries[np.clip(places, 0, len(entries) - 1).astype(np.intp)]
    return entries.astype(np.float64), np.array([0.0, (1 << min(num_bits, 16)) - 1.0])


def _read_first(descriptor: Sequence[int], lowest: float) -> int:
    """The stored value of a table's first entry; it is signed where the values are."""
    first = int(descriptor[1])
    return first - 65536 if first >= 32768 and lowest < 0 else first


def _read_entries(
    raw: bytes | Sequence[int], num_entries: int, picture: StoredPicture
) -> np.ndarray:
    """A table's entries from 16-bit words that hold one entry each, or two of 8 bits."""
    if not isinstance(raw, bytes):
        return np.asarray(raw, np.int64).reshape(-1)[:num_entries]
    words = np.frombuffer(raw + bytes(len(raw) % 2), "<u2" if picture.is_little_endian else ">u2")
    if len(raw) < 2 * num_entries:
        return words.astype("<u2").view(np.uint8)[:num_entries].astype(np.int64)
    return words[:num_entries].astype(np.int64)


@lru_cache(maxsize=8)
def _make_palette(picture: StoredPicture) -> np.ndarray:
    """`(entries, 3)` uint8."""
    columns = []
    for channel in CHANNELS:
        descriptor = picture.dataset[f"{channel}PaletteColorLookupTableDescriptor"].value
        num_entries = int(descriptor[0]) or 65536
        raw = picture.dataset.get(f"{channel}PaletteColorLookupTableData")
        if raw is None:
            raw = picture.dataset[f"Segmented{channel}PaletteColorLookupTableData"].value
            num_words = len(raw) // (1 if descriptor[2] == 8 else 2)
            words = _read_entries(raw, num_words, picture)
            columns.append(_expand_segments(words.tolist(), num_entries))
        else:
            columns.append(_read_entries(raw, num_entries, picture))
    palette = np.stack(columns, axis=1)
    # The high byte is the 8-bit value, both where v is written as 257 v and as 256 v.
    return (palette >> 8 if palette.max() > 255 else palette).astype(np.uint8)


def _expand_segments(words: list[int], num_entries: int) -> np.ndarray:
    """Undo the segments of PS3.3 C.7.9.2: literal entries (0) and ramps (1)."""
    entries: list[int] = []
    at = 0
    while len(entries) < num_entries:
        kind, count = words[at], words[at + 1]
        at += 2
        if kind == 0:
            entries += words[at : at + count]
            at += count
        elif kind == 1:
            start, rise = entries[-1], words[at] - entries[-1]
            entries += [round(start + rise * step / count) for step in range(1, count + 1)]
            at += 1
        else:
            raise ValueError("a segment that points to another")
    return np.array(entries[:num_entries], np.int64)
