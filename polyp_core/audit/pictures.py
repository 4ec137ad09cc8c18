"""Pictures that cannot be used, or are of another kind than the rest."""

from polyp_core.audit.finding import Finding, point_at
from polyp_core.dataset import Index
from polyp_core.words import join_words, say_number

_LEAST_CONTRAST = 4.0  # standard deviation in grey levels; the eye sees nothing below
_TINY_PX = 32
_NARROW = 4.0  # longer side by shorter side


def find_odd_pictures(index: Index) -> list[Finding | None]:
    """Unreadable, blank, tiny, narrow; and sizes or colours that are mixed."""
    return [
        _find_unreadable(index), _find_blank(index), _find_tiny(index), _find_narrow(index),
        _find_mixed_sizes(index), _find_mixed_colours(index),
    ]  # fmt: skip


def _find_unreadable(index: Index) -> Finding | None:
    n = len(index.unreadable)
    if n == 0:
        return None
    return Finding(
        kind="unreadable",
        severity="warning",
        title=say_number(n, "file cannot be read and is left out.",
                         "files cannot be read and are left out."),
        advice="Training goes on without it. Export it again if it matters." if n == 1
        else "Training goes on without them. Export them again if they matter.",
        count=n,
        files=tuple(index.unreadable["path"]),
        reasons=tuple(index.unreadable["reason"]),
    )  # fmt: skip


def _find_blank(index: Index) -> Finding | None:
    blank = index.images[index.measures["contrast"] < _LEAST_CONTRAST]
    if blank.empty:
        return None
    contrasts = index.measures["contrast"][blank.index]
    return Finding(
        kind="blank",
        severity="warning",
        title=say_number(len(blank), "picture is nearly blank.", "pictures are nearly blank."),
        advice="There is nothing to learn from such a picture, but it counts. Remove it.",
        count=len(blank),
        **point_at(index, blank, [f"contrast {value:.1f} grey levels" for value in contrasts]),
    )


def _find_tiny(index: Index) -> Finding | None:
    images = index.images
    tiny = images[images[["width_px", "height_px"]].min(axis=1) < _TINY_PX]
    if tiny.empty:
        return None
    are_all = len(tiny) == len(images)
    title = "picture is tiny" if len(tiny) == 1 else "pictures are tiny"
    return Finding(
        kind="tiny",
        severity="note" if are_all else "warning",
        title=f"{'All ' * are_all}{len(tiny)} {title}: below {_TINY_PX} px.",
        advice="Fine signs such as calcifications are lost at such a size, and enlarging does not "
        "bring them back. Export them larger if that can be.",
        count=len(tiny),
        **point_at(index, tiny, _say_sizes(tiny["width_px"], tiny["height_px"])),
    )


def _find_narrow(index: Index) -> Finding | None:
    sides = index.images[["width_px", "height_px"]]
    narrow = index.images[sides.max(axis=1) > _NARROW * sides.min(axis=1)]
    if narrow.empty:
        return None
    return Finding(
        kind="narrow",
        severity="warning",
        title=say_number(len(narrow), "picture is", "pictures are")
        + f" more than {_NARROW:g} times as long as wide.",
        advice="Squeezed to a square, such a picture is distorted beyond recognition. Look whether "
        "it is what it should be, or cut a region out.",
        count=len(narrow),
        **point_at(index, narrow, _say_sizes(narrow["width_px"], narrow["height_px"])),
    )


def _find_mixed_sizes(index: Index) -> Finding | None:
    aspects = index.images["width_px"] / index.images["height_px"]
    low, high = aspects.quantile(0.02), aspects.quantile(0.98)
    if high <= 1.25 * low:
        return None
    sizes = index.images.groupby(["width_px", "height_px"]).size().sort_values(ascending=False)
    common = [f"{w} × {h} ({n})" for (w, h), n in sizes.head(3).items()]
    return Finding(
        kind="mixed_sizes",
        severity="note",
        title=f"The pictures come in {len(sizes)} sizes; the most frequent: {join_words(common)}.",
        advice="Each is squeezed to the network's square, so shapes are stretched differently. A "
        "region makes them alike if the differences come from the screen around the scan.",
        count=len(sizes),
    )


def _find_mixed_colours(index: Index) -> Finding | None:
    is_colour = index.measures["is_colour"].astype(bool)
    num_colour, num_grey = int(is_colour.sum()), int((~is_colour).sum())
    if not num_colour or not num_grey:
        return None
    fewer = index.images[is_colour if num_colour <= num_grey else ~is_colour]
    return Finding(
        kind="mixed_colours",
        severity="note",
        title=say_number(num_colour, "picture has", "pictures have")
        + f" colour, {num_grey} {'is' if num_grey == 1 else 'are'} grey.",
        advice="Colour may be Doppler, coloured calipers or text: signs that somebody made. A "
        "network that sees grey alone is not misled by colour.",
        count=min(num_colour, num_grey),
        **point_at(index, fewer),
    )


def _say_sizes(widths: object, heights: object) -> list[str]:
    return [f"{w} × {h} px" for w, h in zip(widths, heights, strict=True)]  # type: ignore[call-overload]
