"""High-resolution pictures to pairs: each is reduced whole, then cut into tiles."""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fdnf.data import cache, decoding, tiles
from fdnf.data.super_resolution import CHANNELS, Benchmark
from fdnf.data.tabular import DataError

# A change to how pictures are decoded, reduced or cut needs a new one: caches carry it.
RECIPE = "v1"


class Picture(NamedTuple):
    """A picture that is read when it is needed.

    Attributes:
        name: Its file, or what else tells a reader which it is.
        read: Returns the file's bytes, JPEG or PNG.
    """

    name: str
    read: Callable[[], bytes]


class Windows(NamedTuple):
    """How tiles are cut.

    Attributes:
        scale: Sides of high over sides of low resolution.
        side: Of a tile in high resolution, a multiple of the scale.
        stride: From one tile to the next, a multiple of the scale.
        rows: How many tiles to keep, evenly over the pictures; None for all.
        most: Where `rows` is None, the number above which not all are kept.
        seed: Of the choice.
    """

    scale: int
    side: int
    stride: int
    rows: int | None = None
    most: int | None = None
    seed: int = 0


def pixels(picture: Picture, scale: int) -> np.ndarray:
    """Decodes a picture and cuts it at the right and the bottom.

    Args:
        picture: The picture; grey ones get three equal channels, see
            `decoding.picture`.
        scale: What the sides become multiples of.

    Returns:
        Levels, uint8 `[height, width, 3]`.

    Raises:
        DataError: If it does not decode, naming it.
    """
    image = decoding.picture(picture.read(), picture.name)
    decoded = np.asarray(image.convert("RGB"))
    height, width = (side // scale * scale for side in decoded.shape[:2])
    return decoded[:height, :width]


def size(picture: Picture, scale: int) -> tuple[int, int]:
    """Height and width that `pixels` will have, from the file's header alone."""
    width, height = decoding.size(picture.read(), picture.name)
    return height // scale * scale, width // scale * scale


def reduce(image: np.ndarray, scale: int) -> np.ndarray:
    """Low resolution by antialiased bicubic interpolation, as MATLAB's `imresize`.

    Args:
        image: uint8 `[height, width, 3]`, sides multiples of the scale.
        scale: Sides of high over sides of low resolution.

    Returns:
        uint8 `[height / scale, width / scale, 3]`.
    """
    # Imports jax, which sets that are read from the cache do not need.
    from fdnf.ops import resize

    return np.asarray(resize.downscale_uint8(image, scale))


def cut(name: str, pictures: Sequence[Picture], windows: Windows) -> cache.Splits:
    """Cuts tiles out of pictures, in threads, one picture after another.

    Args:
        name: The data set, for errors.
        pictures: Where from.
        windows: Their size, places and number.

    Returns:
        Tiles in high resolution, uint8 `[tiles, side, side, 3]`; the same in low
        resolution; and where each is from, int32 `[tiles, 3]`: picture, top, left.

    Raises:
        DataError: If a picture does not decode or is smaller than a tile, or there
            are fewer tiles than asked for.
    """
    scale, side, stride, rows, most, seed = windows
    sizes = [size(picture, scale) for picture in pictures]
    smallest = min(range(len(sizes)), key=lambda index: min(sizes[index]))
    height, width = sizes[smallest]
    if min(height, width) < side:
        raise DataError(
            f"{pictures[smallest].name} is {width} wide and {height} high (multiples of"
            f" {scale}): too small for a tile of {side}. Give data set '{name}' a"
            f" smaller crop, or a tile of at most {min(height, width)}."
        )
    grids = []
    for height, width in sizes:
        axes = (tiles.starts(length, side, stride) for length in (height, width))
        grids.append(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))
    counts = list(map(len, grids))
    if rows is None and most is not None:
        rows = min(most, sum(counts))
    kept = tiles.quotas(name, counts, rows)
    ends = np.cumsum([0, *kept])
    hr = np.empty((ends[-1], side, side, CHANNELS), np.uint8)
    lr = np.empty((ends[-1], side // scale, side // scale, CHANNELS), np.uint8)
    places = np.empty((ends[-1], 3), np.int32)

    def one(index: int) -> None:
        if not kept[index]:
            return
        high = pixels(pictures[index], scale)
        low = reduce(high, scale)
        chosen = tiles.choose(len(grids[index]), kept[index], (seed, index))
        for row, place in enumerate(grids[index][chosen], start=ends[index]):
            places[row] = (index, *place)
            hr[row] = _window(high, place, side)
            lr[row] = _window(low, place // scale, side // scale)

    with _threads() as pool:
        for _ in pool.map(one, range(len(pictures))):
            pass
    return hr, lr, places


def whole(name: str, pictures: Sequence[Picture], scale: int) -> Benchmark:
    """Reduces pictures that are kept whole.

    Args:
        name: The benchmark's name.
        pictures: Its images, whose names become theirs.
        scale: Sides of high over sides of low resolution.

    Returns:
        The benchmark.

    Raises:
        DataError: If a picture does not decode.
    """
    with _threads() as pool:
        hr = tuple(pool.map(lambda picture: pixels(picture, scale), pictures))
        lr = tuple(pool.map(lambda image: reduce(image, scale), hr))
    return Benchmark(name, tuple(picture.name for picture in pictures), hr, lr)


@contextlib.contextmanager
def _threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads whose matrix products have no threads of their own to wait for."""
    import threadpoolctl

    with (
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        yield pool


def _window(image: np.ndarray, place: np.ndarray, side: int) -> np.ndarray:
    top, left = place
    return image[top : top + side, left : left + side]
