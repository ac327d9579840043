"""Super-resolution on DIV2K, and on DIV2K with Flickr2K, as it is published."""

import functools
import pathlib
from typing import Any

from fdnf.data import high_resolution, prepared, super_resolution
from fdnf.data.high_resolution import Picture
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import DataError

ROWS = 8_000
# Published models train on all 800 and choose by the images they are tested on.
HELD_OUT = 10


def div2k(
    data_dir: str | None = None,
    rows: int | None = None,
    scale: int = 4,
    crop: int = 160,
    tile: int | None = None,
    windows: int = 200,
    flickr2k: bool = False,
    test_images: int | None = None,
) -> Pairs:
    """DIV2K (Agustsson and Timofte, 2017), tested on its 100 validation images.

    Of the 800 training images the last 10 give windows for validation. Archives are
    downloaded once; or they, or the folders unpacked from them, are put into `manual/`
    of the data directory.

    Args:
        data_dir: Where prepared sets and `manual/` are looked for.
        rows: Training tiles to keep, evenly over the images; 8,000 by default, or all
            if there are fewer.
        scale: Sides of high over sides of low resolution.
        crop: Side of a window in high resolution, a multiple of the scale.
        tile: Side of a tile, `2 crop` by default; one starts every `crop`.
        windows: Validation windows, evenly over the images.
        flickr2k: Whether Flickr2K's 2,650 images are trained on too (20 GB).
        test_images: Test images, the first so many; all by default, which take 0.9 GB.

    Returns:
        The data set. By default 8,000 tiles of 320x320, 2.6 GB, which are at most a
        third of DIV2K's pixels.

    Raises:
        DataError: If an archive cannot be had or read, or an argument does not fit.
    """
    tile = super_resolution.check_windows("div2k", scale, crop, tile, windows)
    if test_images is not None and test_images < 1:
        raise DataError(f"div2k: test_images={test_images}; expected at least 1.")
    # Brings TFDS, which sets of other kinds do not need.
    from fdnf.data.builders import div2k as builders
    from fdnf.data.builders import encoded

    directory = encoded.prepare(builders.Div2kHr, data_dir)
    train = pictures(directory, "train", "DIV2K", 1)
    test = pictures(directory, "validation", "DIV2K", 801)[:test_images]
    key = f"div2k-{prepared.fingerprint(directory)}"
    train, val = train[:-HELD_OUT], train[-HELD_OUT:]
    title = f"DIV2K, {len(train)} training images"
    if flickr2k:
        more = encoded.prepare(builders.Flickr2kHr, data_dir)
        train = [*train, *pictures(more, "train", "Flickr2K", 1)]
        key = f"{key}-{prepared.fingerprint(more)}"
        title = f"{title} and Flickr2K"
    return high_resolution.assemble(
        "div2k",
        key,
        (train, val),
        (high_resolution.whole("DIV2K", test, scale, f"{key}-test"),),
        (scale, crop, tile),
        (rows, ROWS, windows),
        f"{title}, tested on {len(test)} of its 100 validation images; figures on all"
        " of them compare with published ones",
    )


def pictures(
    directory: pathlib.Path, split: str, title: str, first: int
) -> list[Picture]:
    """The images of a split of a prepared set, in the order they were prepared in.

    Args:
        directory: The prepared set.
        split: TFDS's name of the split.
        title: What the images' names begin with; numbers from `first` follow.
        first: Number of the first image.

    Returns:
        The images, none of them read yet.

    Raises:
        DataError: If the set does not open.
    """
    from fdnf.data.builders import encoded

    source = encoded.source(directory, split)
    return [
        Picture(f"{title} {first + index:04}", functools.partial(_bytes, source, index))
        for index in range(len(source))
    ]


def _bytes(source: Any, index: int) -> bytes:
    return source[index]["image"]
