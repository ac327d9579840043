"""The form every super-resolution set has, and the checks it passes before training."""

from typing import Any, NamedTuple

import numpy as np

from fdnf.data import images, tabular
from fdnf.data.tabular import DataError

CHANNELS = 3


class Benchmark(NamedTuple):
    """Test images of different sizes, kept whole.

    Attributes:
        name: What the literature calls it.
        names: One name an image, unique.
        hr: High resolution, uint8 `[height, width, 3]` each, sides multiples of the
            scale.
        lr: Low resolution, uint8 `[height / scale, width / scale, 3]` each.
    """

    name: str
    names: tuple[str, ...]
    hr: tuple[np.ndarray, ...]
    lr: tuple[np.ndarray, ...]


class Pairs(NamedTuple):
    """A set of images, each in high and in low resolution.

    A low-resolution pixel at `[i, j]` stands for the high-resolution pixels
    `[i scale : (i + 1) scale, j scale : (j + 1) scale]`. Each was made from its whole
    image, so that what lies around a tile has its part in the tile's low resolution, as
    it has in a test image's.

    Attributes:
        name: The data set's name, as configs spell it.
        train: Tiles for training to cut windows of `crop` from, at multiples of the
            scale: uint8 `[tiles, tile, tile, 3]`.
        train_lr: The same in low resolution, uint8
            `[tiles, tile / scale, tile / scale, 3]`.
        val: Fixed windows of other images, uint8 `[windows, crop, crop, 3]`.
        val_lr: The same in low resolution.
        test: Whole images, in one benchmark or several.
        source: One line: what the images are, whole or subset, and which published
            figures they may be compared with.
        scale: Sides of high over sides of low resolution.
    """

    name: str
    train: np.ndarray
    train_lr: np.ndarray
    val: np.ndarray
    val_lr: np.ndarray
    test: tuple[Benchmark, ...]
    source: str
    scale: int

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one window in high resolution: `(crop, crop, 3)`."""
        return self.val.shape[1:]

    @property
    def dim(self) -> int:
        """Number of values in one window."""
        return int(np.prod(self.event))


def validate(pairs: Pairs) -> Pairs:
    """Checks types and sizes, and that high and low resolution belong together.

    Args:
        pairs: The data set to check.

    Returns:
        The same data set, unchanged.

    Raises:
        DataError: At the first fault, naming the split, or the benchmark and its image.
    """
    if not tabular.is_whole(pairs.scale) or pairs.scale < 2:
        raise DataError(
            f"Data set '{pairs.name}': scale={pairs.scale!r}; expected a whole number"
            " from 2."
        )
    for split in ("train", "val"):
        where = f"Data set '{pairs.name}', split '{split}'"
        hr, lr = getattr(pairs, split), getattr(pairs, f"{split}_lr")
        _check_tiles(hr, f"{where}, high resolution")
        _check_tiles(lr, f"{where}, low resolution")
        if len(hr) != len(lr):
            raise DataError(f"{where}: {len(hr)} in high, {len(lr)} in low resolution.")
        check_sizes(hr.shape[1:3], lr.shape[1:3], pairs.scale, where)
    crop, tile = pairs.val.shape[1], pairs.train.shape[1]
    if crop > tile:
        raise DataError(
            f"Data set '{pairs.name}': windows of {crop} do not fit into training tiles"
            f" of {tile}; give a tile of at least {crop}."
        )
    if not pairs.test:
        raise DataError(
            f"Data set '{pairs.name}': no test images; give one benchmark or more."
        )
    for benchmark in pairs.test:
        _check_benchmark(benchmark, pairs.scale, f"Data set '{pairs.name}'")
    return pairs


def check_windows(name: str, scale: Any, crop: Any, tile: Any, windows: Any = 1) -> int:
    """Checks a data set's arguments before anything is read.

    Args:
        name: Whose, for errors.
        scale: A whole number from 2.
        crop: Side of a window in high resolution, a multiple of the scale.
        tile: Side of a tile, a multiple of the scale, or None for `2 crop`.
        windows: Number of validation windows.

    Returns:
        Side of a tile.

    Raises:
        DataError: If one does not fit.
    """
    tile = 2 * crop if tile is None and tabular.is_whole(crop) else tile
    given = (scale, crop, tile, windows)
    if not all(map(tabular.is_whole, given)) or min(given) < 1 or scale < 2:
        raise DataError(
            f"{name}: scale={scale!r}, crop={crop!r}, tile={tile!r},"
            f" windows={windows!r}; expected whole numbers from 1, scale from 2."
        )
    if crop % scale or tile % scale or tile < crop:
        raise DataError(
            f"{name}: crop={crop} and tile={tile} must be multiples of scale={scale},"
            " and the tile no smaller than the crop."
        )
    return tile


def check_sizes(
    hr: tuple[int, ...], lr: tuple[int, ...], scale: int, where: str
) -> None:
    """Raises `DataError` unless sizes `hr` are `scale` times sizes `lr`."""
    if tuple(hr[:2]) != (scale * lr[0], scale * lr[1]):
        raise DataError(
            f"{where}: high resolution is {hr[0]}x{hr[1]} (height x width), low is"
            f" {lr[0]}x{lr[1]}; at scale {scale} they should be"
            f" {scale * lr[0]}x{scale * lr[1]} and {lr[0]}x{lr[1]}."
        )


def _check_image(pixels: Any, form: str, where: str) -> None:
    tabular.check_array(pixels, np.uint8, form, where, images.STORED)
    if pixels.shape[-1] != CHANNELS:
        raise DataError(f"{where}: expected shape {form}, got {pixels.shape}.")


def _check_tiles(pixels: Any, where: str) -> None:
    _check_image(pixels, "[images, side, side, 3]", where)
    if pixels.shape[1] != pixels.shape[2]:
        raise DataError(f"{where}: expected squares, got {pixels.shape[1:3]}.")


def _check_benchmark(benchmark: Benchmark, scale: int, where: str) -> None:
    where = f"{where}, benchmark '{benchmark.name}'"
    counts = (len(benchmark.names), len(benchmark.hr), len(benchmark.lr))
    if len(set(counts)) > 1 or not counts[0]:
        raise DataError(
            f"{where}: {counts[0]} names, {counts[1]} images in high and {counts[2]} in"
            " low resolution; expected as many of each, and at least one."
        )
    if len(set(benchmark.names)) < counts[0]:
        raise DataError(f"{where}: two images have one name: {benchmark.names}.")
    for name, hr, lr in zip(benchmark.names, benchmark.hr, benchmark.lr, strict=True):
        form = "[height, width, 3]"
        _check_image(hr, form, f"{where}, '{name}', high resolution")
        _check_image(lr, form, f"{where}, '{name}', low resolution")
        check_sizes(hr.shape, lr.shape, scale, f"{where}, '{name}'")
