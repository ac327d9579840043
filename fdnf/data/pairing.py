"""Pairs out of pictures, made once and read back afterwards."""

from collections.abc import Sequence

import numpy as np

from fdnf.data import cache, high_resolution, super_resolution
from fdnf.data.high_resolution import Picture, Windows
from fdnf.data.super_resolution import Benchmark, Pairs


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
        DataError: As `high_resolution.cut` and `super_resolution.validate`.
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


def whole(key: str, name: str, pictures: Sequence[Picture], scale: int) -> Benchmark:
    """`high_resolution.whole`, or what it returned the first time.

    Args:
        key: What identifies the pictures and their order.
        name: The benchmark's name.
        pictures: Its images; read only if nothing was kept.
        scale: Sides of high over sides of low resolution.
    """
    key = f"{key}-whole-{scale}-{len(pictures)}-{high_resolution.RECIPE}"
    names = tuple(picture.name for picture in pictures)
    found = cache.load(key)
    if found is None:
        made = high_resolution.whole(name, pictures, scale)
        shapes = np.array([image.shape for image in made.lr], np.int32)
        flat = [np.concatenate([i.ravel() for i in part]) for part in made[2:]]
        cache.save(key, (flat[0], flat[1], shapes))
        return made
    hr = _unflatten(found[0], found[2] * np.array([scale, scale, 1]))
    return Benchmark(name, names, hr, _unflatten(found[1], found[2]))


def _tiles(
    key: str, name: str, pictures: Sequence[Picture], windows: Windows
) -> tuple[np.ndarray, np.ndarray]:
    options = "-".join("all" if part is None else str(part) for part in windows)
    key = f"{key}-tiles-{options}-{high_resolution.RECIPE}"
    found = cache.load(key)
    if found is None:
        found = high_resolution.cut(name, pictures, windows)
        cache.save(key, found)
    return found[:2]


def _unflatten(flat: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    return tuple(
        flat[start:stop].reshape(shape)
        for start, stop, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    )
