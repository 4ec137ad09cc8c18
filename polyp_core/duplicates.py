"""Near-duplicates among images: rescaled, re-encoded, slightly cropped or brightened copies.

Each image becomes a grey thumbnail. A coarse comparison of all with all, in which one of the two
may be cropped, gives every image a few candidates. Each candidate pair is then laid one on the
other (Lucas-Kanade, from coarse to fine) and compared in fine detail. Contrast is made the same
everywhere first, so that neither the gain nor the outline of the field counts, but the tissue.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

SIDE_PX = 48  # of the thumbnail; the aspect is not kept, as the network does not keep it either
DESCRIPTOR_LENGTH = SIDE_PX * SIDE_PX + 1
SAME_DETAIL = 0.9  # correlation from which on an aligned pair is one picture

_COARSE_PX = 8  # of the picture for the comparison of all with all
_LEVELS_PX = (24, 48)  # of the pictures for alignment and comparison in detail
_STEPS = (3, 2)  # of the alignment, a level
_DROP_BELOW = 0.8  # correlation at the coarser level under which a pair is given up
_FINE_BLUR_PX = 0.6
_FINE_SIDE_PX = 32  # smaller images have no detail at the finest level
_CANDIDATE = 0.85  # correlation of the coarse pictures from which on a pair is looked at
_MAX_CANDIDATES = 5  # an image
_CROPS = ((0.0, 0.0), (0.06, 0.0), (0.0, 0.06), (0.06, 0.06))  # off either end of an axis
_MAX_CHANGE = 0.2  # of scale (1 = none) and shift (half of the side = 1) in the alignment
_NOISE = 2.0  # grey levels; contrast below it is not raised
_MIN_STRUCTURE = 0.25  # mean square of the evened contrast, 0 to 1; real images have 0.4 or more
_CROWD = 16  # images in a cluster from which on pairs within it are not looked for
_BLOCK_ROWS = 256


def describe_image(picture: np.ndarray) -> np.ndarray:
    """Make what `find_near_duplicates` compares: a grey thumbnail and the size it comes from.

    Args:
        picture: `(height, width, 1 or 3)` uint8.

    Returns:
        `(DESCRIPTOR_LENGTH,)` uint8: 48 × 48 grey levels, then the shorter side in pixels, 255
        if it is longer.
    """
    grey = picture[..., 0] if picture.shape[-1] == 1 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height_px, width_px = grey.shape
    # The mean over whole blocks is exact and fast; the size is brought to a multiple before it.
    whole = (-(-width_px // SIDE_PX) * SIDE_PX, -(-height_px // SIDE_PX) * SIDE_PX)
    if whole != (width_px, height_px):
        grey = cv2.resize(grey, whole, interpolation=cv2.INTER_LINEAR)
    thumbnail = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.append(thumbnail.ravel(), np.uint8(min(height_px, width_px, 255)))


def find_near_duplicates(
    descriptors: np.ndarray, on_progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Find the pairs of images that are one picture, whatever was done to size, file or gain.

    An image is compared in detail with its few nearest alone, and images with one and the same
    descriptor are paired with the first of them alone. So of a large set of copies (a cine loop)
    not every pair is returned, but pairs that connect it: see `cluster_pairs`. An image with
    hardly any structure (blank, or a caption on black) matches none but its exact like. Mirrored
    or turned copies are not looked for.

    Args:
        descriptors: `(num_images, DESCRIPTOR_LENGTH)` uint8 from `describe_image`.
        on_progress: Called with the images compared with all others, and the number of images
            that differ.

    Returns:
        `(num_pairs, 2)` int64, the smaller index first, sorted, none twice. The order of the
        images changes no cluster, and no pair but those of the exactly alike.

    References:
        Baker, S. and Matthews, I., "Lucas-Kanade 20 years on: a unifying framework",
        International Journal of Computer Vision 56 (2004): the inverse compositional algorithm.
    """
    if len(descriptors) < 2:
        return np.empty((0, 2), np.int64)
    # Sorted by content, hence the same work in the same order however the images are numbered.
    texts = [row.tobytes() for row in descriptors]
    numbers = {text: number for number, text in enumerate(sorted(set(texts)))}
    inverse = np.array([numbers[text] for text in texts])
    first = np.unique(inverse, return_index=True)[1]
    unique = descriptors[first]
    thumbnails = unique[:, :-1].reshape(-1, SIDE_PX, SIDE_PX)
    candidates, places = _find_candidates(thumbnails, on_progress)
    pairs = first[_keep_same(thumbnails, unique[:, -1], candidates, places)]
    copies = np.flatnonzero(first[inverse] != np.arange(len(inverse)))
    pairs = np.concatenate([pairs, np.stack([first[inverse[copies]], copies], axis=1)])
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int64)


def cluster_pairs(pairs: np.ndarray, num_images: int) -> np.ndarray:
    """Put together what pairs connect.

    Args:
        pairs: `(num_pairs, 2)` int, indices of images, in any order.
        num_images: How many images there are.

    Returns:
        `(num_images,)` int64: the smallest index in each image's cluster; its own where it is
        in no pair.
    """
    clusters = _Clusters(num_images)
    for one, other in np.asarray(pairs).reshape(-1, 2).tolist():
        clusters.join(one, other)
    return np.array([clusters.find_first(image) for image in range(num_images)], np.int64)


class _Clusters:
    """Images in clusters that can be joined; the smallest index names a cluster."""

    def __init__(self, num_images: int) -> None:
        self._parents = list(range(num_images))
        self._sizes = [1] * num_images

    def find_first(self, image: int) -> int:
        while self._parents[image] != image:
            self._parents[image] = self._parents[self._parents[image]]
            image = self._parents[image]
        return image

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find_first(one), self.find_first(other)))
        if low != high:
            self._parents[high] = low
            self._sizes[low] += self._sizes[high]

    def is_crowd(self, one: int, other: int) -> bool:
        first = self.find_first(one)
        return self._sizes[first] > _CROWD and self.find_first(other) == first


def _find_candidates(
    thumbnails: np.ndarray, on_progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pair each image with the few that a crop of it resembles coarsely.

    Returns:
        `(n, 2)` int, the closest pair first, in each the image to crop first, no two images
        twice; and `(n, 4)` float32, the place of the second in the first: scale and shift along
        x, then along y.
    """
    num_images = len(thumbnails)
    whole = np.concatenate(
        [_describe_coarsely(thumbnails[rows], _CROPS[:1])[0] for rows in _cut(num_images)]
    )
    found = []
    for rows in _cut(num_images):
        cropped = _describe_coarsely(thumbnails[rows], _CROPS)
        similarity = cropped[0] @ whole.T
        for crop in cropped[1:]:
            np.maximum(similarity, crop @ whole.T, out=similarity)
        row, column = _pick_nearest(similarity, rows.start)
        each = np.einsum("cnv,nv->nc", cropped[:, row], whole[column])
        found.append((row + rows.start, column, each.argmax(axis=1), each.max(axis=1)))
        if on_progress is not None:
            on_progress(rows.stop, num_images)
    moving, fixed, crop, closeness = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Of the two directions of a pair, keep the closer one.
    order = np.argsort(-closeness, kind="stable")
    pairs = np.stack([moving, fixed], axis=1)[order]
    kept = np.sort(np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)[1])
    return pairs[kept], _place_crops()[crop[order][kept]]


def _place_crops() -> np.ndarray:
    """Scale and shift along x and y for every crop, in the order of `_describe_coarsely`."""
    low, high = np.array(_CROPS, np.float32).T
    axis = np.stack([1 - low - high, low - high], axis=1)
    along_y, along_x = np.divmod(np.arange(len(_CROPS) ** 2), len(_CROPS))
    return np.concatenate([axis[along_x], axis[along_y]], axis=1)


def _describe_coarsely(
    thumbnails: np.ndarray, crops: tuple[tuple[float, float], ...]
) -> np.ndarray:
    """Every crop along x with every one along y: `(crops², n, values)`, each row of length 1."""
    side_px = _COARSE_PX
    shares = np.array(crops, np.float32)
    sample = _sample(1 - shares.sum(axis=1), shares[:, 0] - shares[:, 1], side_px)[0]
    sample = sample.reshape(-1, SIDE_PX)
    tiles = (sample @ thumbnails.astype(np.float32) @ sample.T).reshape(
        len(thumbnails), len(crops), side_px, len(crops), side_px
    )
    tiles = tiles.transpose(1, 3, 0, 2, 4).reshape(-1, side_px, side_px)
    even = _even_contrast(tiles).reshape(-1, side_px * side_px)
    blank = np.square(even).mean(axis=1) < _MIN_STRUCTURE
    even -= even.mean(axis=1, keepdims=True)
    even /= np.linalg.norm(even, axis=1, keepdims=True) + np.float32(1e-6)
    even[blank] = 0
    return even.reshape(len(crops) ** 2, len(thumbnails), -1)


def _pick_nearest(similarity: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The few columns of each row that are close; row 0 is image `start`."""
    rows = np.arange(len(similarity))
    similarity[rows, start + rows] = -1
    close = similarity > _CANDIDATE
    crowded = np.flatnonzero(close.sum(axis=1) > _MAX_CANDIDATES)
    if len(crowded):
        nearest = np.argpartition(-similarity[crowded], _MAX_CANDIDATES, axis=1)
        close[crowded] = False
        close[crowded[:, None], nearest[:, :_MAX_CANDIDATES]] = True
    row, column = np.nonzero(close)
    return row, column


def _keep_same(
    thumbnails: np.ndarray, sides_px: np.ndarray, pairs: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """The pairs that are the same picture, but of a crowd no more than connect it."""
    clusters = _Clusters(len(thumbnails))
    kept = [pairs[:0]]
    for rows in _cut(len(pairs)):
        new = np.array([not clusters.is_crowd(*pair) for pair in pairs[rows].tolist()], bool)
        block = pairs[rows][new]
        block = block[_score_pairs(thumbnails, sides_px, block, places[rows][new]) >= SAME_DETAIL]
        for one, other in block.tolist():
            clusters.join(one, other)
        kept.append(block)
    return np.concatenate(kept)


def _score_pairs(
    thumbnails: np.ndarray, sides_px: np.ndarray, pairs: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Correlate in detail the pairs laid one on the other: `(n,)`, -1 to 1."""
    scores = np.zeros(len(pairs), np.float32)
    places = places.copy()
    fine = sides_px[pairs].min(axis=1) >= _FINE_SIDE_PX
    alive = np.arange(len(pairs))
    for side_px, steps in zip(_LEVELS_PX, _STEPS, strict=True):
        moving, whole = thumbnails[pairs[alive].T].astype(np.float32)
        fixed = _even_contrast(_shrink(side_px) @ whole @ _shrink(side_px).T)
        places[alive] = _align(moving, fixed, places[alive], steps)
        scores[alive] = _correlate(*_move(moving, places[alive], side_px), fixed)
        alive = alive[fine[alive] & (scores[alive] > _DROP_BELOW)]
    return scores


def _align(moving: np.ndarray, fixed: np.ndarray, places: np.ndarray, steps: int) -> np.ndarray:
    """Find the places in the thumbnails `moving` that look like the even pictures `fixed`."""
    num_pairs, side_px = fixed.shape[:2]
    slope_y, slope_x = (gradient * (side_px / 2) for gradient in np.gradient(fixed, axis=(1, 2)))
    at = _find_centers(side_px)
    descent = np.stack([slope_x * at, slope_x, slope_y * at[:, None], slope_y], axis=1)
    descent = descent.reshape(num_pairs, 4, side_px**2)
    curvature = descent @ descent.transpose(0, 2, 1)
    damping = 1e-3 * (np.trace(curvature, axis1=1, axis2=2) + 1)
    inverse = np.linalg.inv(curvature + damping[:, None, None] * np.eye(4, dtype=np.float32))
    for _ in range(steps):
        moved, inside = _move(moving, places, side_px)
        error = ((moved - fixed) * inside).reshape(num_pairs, side_px**2, 1)
        step = np.clip((inverse @ (descent @ error))[..., 0], -0.1, 0.1)
        scale = places[:, ::2] / (1 + step[:, ::2])
        shift = places[:, 1::2] - scale * step[:, 1::2]
        places = np.empty_like(places)
        places[:, ::2] = np.clip(scale, 1 - _MAX_CHANGE, 1 + _MAX_CHANGE)
        places[:, 1::2] = np.clip(shift, -_MAX_CHANGE, _MAX_CHANGE)
    return places


def _correlate(moved: np.ndarray, inside: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The correlation of the pairs where they overlap: `(n,)`, -1 to 1."""
    both, one, other = (
        np.einsum("nij,nij,nij->n", first, second, inside)
        for first, second in ((moved, fixed), (moved, moved), (fixed, fixed))
    )
    correlation: np.ndarray = both / np.sqrt(one * other + 1e-6)
    return correlation


def _move(
    thumbnails: np.ndarray, places: np.ndarray, side_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """What lies at a place in each thumbnail, in even contrast; and 1 where inside, else 0."""
    across, inside_x = _sample(places[:, 0], places[:, 1], side_px)
    down, inside_y = _sample(places[:, 2], places[:, 3], side_px)
    moved = _even_contrast(down @ thumbnails @ across.transpose(0, 2, 1))
    return moved, inside_y[:, :, None] * inside_x[:, None, :]


def _sample(scale: np.ndarray, shift: np.ndarray, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation along an axis of a thumbnail, then the mean of whole pixels.

    Returns:
        As matrices, `(n, side_px, SIDE_PX)`; and 1 where the result is inside, else 0.
    """
    at = scale[:, None] * _find_centers(SIDE_PX) + shift[:, None]
    at = (at + 1) * np.float32(SIDE_PX / 2) - 0.5
    clipped = np.clip(at, 0, SIDE_PX - 1)
    weights = 1 - np.abs(clipped[:, :, None] - np.arange(SIDE_PX, dtype=np.float32))
    inside = (np.abs(clipped - at) < 0.51).astype(np.float32) @ _shrink(side_px).T
    return _shrink(side_px) @ np.maximum(weights, 0), np.floor(inside + 1e-3)


def _even_contrast(images: np.ndarray) -> np.ndarray:
    """Take the local mean off and divide by the local contrast: about -1 to 1, 0 where blank."""
    side_px = images.shape[-1]
    reach_px = min(3.0, side_px / 6)
    near, wide = _blur(side_px, reach_px), _blur(side_px, reach_px * 4 / 3)
    detail = images - near @ images @ near.T
    spread = np.sqrt(wide @ np.square(detail) @ wide.T)
    even: np.ndarray = detail / (spread + _NOISE)
    return even


@cache
def _blur(side_px: int, reach_px: float) -> np.ndarray:
    """The Gaussian mean along an axis, as a matrix; at the border of what is inside."""
    place = np.arange(side_px)
    weights = np.exp(-0.5 * np.square((place[:, None] - place) / reach_px))
    mean: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return mean


@cache
def _shrink(side_px: int) -> np.ndarray:
    """The mean of whole pixels along an axis of a thumbnail, as a matrix `(side_px, SIDE_PX)`.

    At full size a slight blur instead: interpolation blurs one of two compared, so blur both.
    """
    if side_px == SIDE_PX:
        return _blur(SIDE_PX, _FINE_BLUR_PX)
    factor = SIDE_PX // side_px
    return np.repeat(np.eye(side_px, dtype=np.float32) / factor, factor, axis=1)


def _find_centers(side_px: int) -> np.ndarray:
    """Where the pixels of an axis lie, -1 to 1 from border to border."""
    return (np.arange(side_px, dtype=np.float32) + 0.5) * np.float32(2 / side_px) - 1


def _cut(length: int) -> list[slice]:
    """Blocks of rows, at least one, small enough to work on at once."""
    starts = range(0, max(length, 1), _BLOCK_ROWS)
    return [slice(start, min(start + _BLOCK_ROWS, length)) for start in starts]
