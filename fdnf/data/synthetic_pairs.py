"""Pairs whose low resolution and whose posterior are known exactly, for tests.

An image is a plane in each channel plus or minus a checkerboard of one pixel. Bicubic
reduction by an even factor gives planes back exactly and has nothing left of the
checkerboard: its weights come in equal pairs, one on each colour. So the low resolution
is known in closed form, tells the planes, and leaves the checkerboard's sign as likely
one as the other.
"""

import numpy as np

from fdnf.data import super_resolution, tabular
from fdnf.data.super_resolution import Benchmark, Pairs
from fdnf.data.tabular import DataError

CONTRAST = 16


def synthetic_pairs(
    data_dir: str | None = None,
    rows: int | None = None,
    scale: int = 4,
    crop: int = 16,
    tile: int | None = None,
    seed: int = 0,
) -> Pairs:
    """Planes plus or minus a checkerboard, with their exact low resolution.

    Args:
        data_dir: Not used.
        rows: Training tiles, 64 by default; val has a quarter as many windows.
        scale: Sides of high over sides of low resolution; even.
        crop: Side of a window in high resolution, a multiple of the scale.
        tile: Side of a tile, `2 crop` by default.
        seed: Of the images.

    Returns:
        The data set. Its test images are `crop` to `2 crop` on a side. Low resolution
        is as if an image went on beyond its border.

    Raises:
        DataError: If a number does not fit.
    """
    del data_dir
    tile = super_resolution.check_windows("synthetic_pairs", scale, crop, tile)
    rows = 64 if rows is None else rows
    if not tabular.is_whole(rows) or rows < 1 or scale % 2:
        raise DataError(
            f"synthetic_pairs: rows={rows!r}, scale={scale}; expected at least one row"
            " and an even scale."
        )
    rng = np.random.Generator(np.random.PCG64([seed, scale, crop, tile]))
    train, train_lr = _draw(rng, rows, tile, tile, scale)
    val, val_lr = _draw(rng, -(-rows // 4), crop, crop, scale)
    sizes = ((crop, crop), (crop, 2 * crop), (2 * crop, crop))
    images = [_draw(rng, 1, *size, scale) for size in sizes]
    benchmark = Benchmark(
        "synthetic",
        tuple(f"{height}x{width}" for height, width in sizes),
        tuple(hr[0] for hr, _ in images),
        tuple(lr[0] for _, lr in images),
    )
    return super_resolution.validate(
        Pairs(
            "synthetic_pairs",
            *(train, train_lr, val, val_lr),
            test=(benchmark,),
            source=f"synthetic pairs, seed {seed}: exact low resolution known",
            scale=int(scale),
        )
    )


def pair(
    level: np.ndarray,
    slope: np.ndarray,
    sign: np.ndarray,
    size: tuple[int, int],
    scale: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Images and their low resolution, from their parameters.

    Args:
        level: Value at the top left, int `[images, 3]`.
        slope: Rise a pixel down and right, even, int `[images, 3, 2]`: planes are
            whole numbers half-way between pixels too, so nothing is rounded.
        sign: Of the checkerboard, 1, -1, or 0 for none, `[images]`.
        size: Height and width in high resolution.
        scale: An even number.

    Returns:
        High and low resolution, uint8, both exact.
    """
    down, right = (np.arange(side)[:, None] for side in size)
    board = CONTRAST * (-1) ** ((down + right.T) % 2)
    centre = (scale - 1) / 2
    hr = _plane(level, slope, down, right) + np.multiply.outer(sign, board)[..., None]
    lr = _plane(level, slope, down[::scale] + centre, right[::scale] + centre)
    return hr.astype(np.uint8), lr.astype(np.uint8)


def _plane(
    level: np.ndarray, slope: np.ndarray, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    level, slope = level[:, None, None, :], slope[:, None, None, :, :]
    return level + slope[..., 0] * down[:, None] + slope[..., 1] * right


def _draw(
    rng: np.random.Generator, count: int, height: int, width: int, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    # Half of what two contrasts leave of 256 levels goes to each direction, in twos.
    steepest = (255 - 2 * CONTRAST) // (4 * (max(height, width) - 1))
    shape = (count, super_resolution.CHANNELS, 2)
    slope = 2 * rng.integers(-steepest, steepest + 1, shape)
    rise = slope * np.array([height - 1, width - 1])
    lowest = CONTRAST - np.minimum(rise, 0).sum(axis=-1)
    highest = 255 - CONTRAST - np.maximum(rise, 0).sum(axis=-1)
    level = rng.integers(lowest, highest + 1)
    sign = rng.choice([-1, 1], count)
    return pair(level, slope, sign, (height, width), scale)
