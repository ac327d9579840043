"""High-resolution pictures to pairs: each is reduced whole, then cut into tiles.

What was made is kept, and read back afterwards.
"""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fdnf.data import cache, decoding, super_resolution, tiles
from fdnf.data.super_resolution import CHANNELS, Benchmark, Pairs
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


def whole(
    name: str, pictures: Sequence[Picture], scale: int, key: str | None = None
) -> Benchmark:
    """Reduces pictures that are kept whole.

    Args:
        name: The benchmark's name.
        pictures: Its images, whose names become theirs.
        scale: Sides of high over sides of low resolution.
        key: What identifies the pictures and their order, to keep what is made and
            read it back, without the pictures, the next time; None not to.

    Returns:
        The benchmark.

    Raises:
        DataError: If a picture does not decode.
    """
    names = tuple(picture.name for picture in pictures)
    if key is not None:
        key = f"{key}-whole-{scale}-{len(pictures)}-{RECIPE}"
    if key is not None and (found := cache.load(key)) is not None:
        hr = _unflatten(found[0], found[2] * np.array([scale, scale, 1]))
        return Benchmark(name, names, hr, _unflatten(found[1], found[2]))
    with _threads() as pool:
        hr = tuple(pool.map(lambda picture: pixels(picture, scale), pictures))
        lr = tuple(pool.map(lambda image: reduce(image, scale), hr))
    if key is not None:
        high, low = (np.concatenate([i.ravel() for i in part]) for part in (hr, lr))
        shapes = np.array([image.shape for image in lr], np.int32)
        cache.save(key, (high, low, shapes))
    return Benchmark(name, names, hr, lr)


def assemble(
    name: str,
    key: str,
    pictures: tuple[Sequence[Picture], Sequence[Picture]],
    test: tuple[Benchmark, ...],
    sides: tuple[int, int, int],
    rows: tuple[int | None, int | None, int],
    source: str,
) -> Pairs:
    """Cuts training tiles and validation windows, or reads them back, and checks all.

    Args:
        name: The data set's name.
        key: What identifies the pictures, their order and their split.
        pictures: Those of train and of val.
        test: The benchmarks.
        sides: Scale, crop and tile.
        rows: Training tiles; training tiles at most if that is None; windows at most.
        source: The data set's line, to which the number of tiles is added.

    Returns:
        The data set.

    Raises:
        DataError: As `cut` and `super_resolution.validate`.
    """
    scale, crop, tile = sides
    train = Windows(scale, tile, crop, rows[0], rows[1])
    train_hr, train_lr = _tiles(f"{key}-train", name, pictures[0], train)
    val = Windows(scale, crop, crop, None, rows[2])
    val_hr, val_lr = _tiles(f"{key}-val", name, pictures[1], val)
    count = f"{len(train_hr):,} training tiles of {tile}x{tile}"
    return super_resolution.validate(
        Pairs(
            name,
            *(train_hr, train_lr, val_hr, val_lr),
            test=test,
            source=f"{source}; {count} from {len(pictures[0])} images, x{scale}",
            scale=scale,
        )
    )


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


def _tiles(
    key: str, name: str, pictures: Sequence[Picture], windows: Windows
) -> tuple[np.ndarray, np.ndarray]:
    options = "-".join("all" if part is None else str(part) for part in windows)
    key = f"{key}-tiles-{options}-{RECIPE}"
    found = cache.load(key)
    if found is None:
        found = cut(name, pictures, windows)
        cache.save(key, found)
    return found[:2]


def _unflatten(flat: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    return tuple(
        flat[start:stop].reshape(shape)
        for start, stop, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    )
