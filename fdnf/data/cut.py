"""The BSDS300 recipe: 63-dimensional vectors out of 8x8 patches of grey photographs."""

from collections.abc import Sequence

import numpy as np

from fdnf.data import decoding

# A change to anything below that changes rows needs a new version: caches carry it.
RECIPE = "v1"
SIDE = 8
DIM = SIDE * SIDE - 1
_LUMA = np.array([0.2989, 0.5870, 0.1140])
_CHUNK = 1 << 16


def grey(encoded: bytes, where: str) -> np.ndarray:
    """Decodes an image and rounds its luma: `round(.2989 R + .5870 G + .1140 B)`.

    Args:
        encoded: A JPEG or PNG file's bytes.
        where: What it is, for errors.

    Returns:
        Grey levels, uint8 `[height, width]`. Grey images keep theirs.

    Raises:
        DataError: If it does not decode, see `decoding.picture`.
    """
    image = decoding.picture(encoded, where)
    if image.mode == "L":
        return np.asarray(image)
    rgb = np.asarray(image, np.float64)
    return np.round(rgb @ _LUMA).astype(np.uint8)


def draw(images: Sequence[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Draws patches: `x = (u8 + U[0, 1)) / 256`, less its mean, less its last pixel.

    Image and corner are uniform and independent. Subtracting the mean leaves 63
    degrees of freedom, and dropping a pixel makes the density one over them.

    Args:
        images: Grey levels, uint8 `[height, width]`, each at least 8x8.
        count: Patches to draw.
        seed: Of corners and noise; the same seed gives the same rows.

    Returns:
        Rows, float32 `[count, 63]`.

    Reference: Zoran and Weiss (2011); Uria et al. (2013), section 5.2.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    pixels = np.concatenate([image.ravel() for image in images])
    starts = np.cumsum([0, *(image.size for image in images)])[:-1]
    heights, widths = np.array([image.shape for image in images]).T
    which = rng.integers(len(images), size=count)
    width = widths[which]
    top = rng.integers(heights[which] - SIDE + 1)
    left = rng.integers(width - SIDE + 1)
    corners = starts[which] + top * width + left
    rows = np.empty((count, DIM), np.float32)
    side = np.arange(SIDE)
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        offsets = side[:, None] * width[part, None, None] + side
        levels = pixels[corners[part, None, None] + offsets].reshape(-1, DIM + 1)
        noise = rng.random(levels.shape, dtype=np.float32)
        patches = (levels + noise) / np.float32(256)
        rows[part] = (patches - patches.mean(axis=1, keepdims=True))[:, :DIM]
    return rows
