"""Super-resolution on photographs: BSDS300's, and those that packages carry."""

import numpy as np

from fdnf.data import (
    benchmarks,
    bsds300,
    cache,
    decoding,
    embedded,
    high_resolution,
    pairing,
    paths,
    super_resolution,
)
from fdnf.data.high_resolution import Picture
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import DataError

# Colour photographs, whole on each side; the motorcycle's are a stereo pair.
PHOTOGRAPHS = {
    "train": (
        "skimage/data/astronaut.png",
        "skimage/data/rocket.jpg",
        "skimage/data/motorcycle_left.png",
        "skimage/data/motorcycle_right.png",
        "sklearn/datasets/images/flower.jpg",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
    ),
    "val": ("sklearn/datasets/images/china.jpg",),
    "test": ("skimage/data/chelsea.png", "skimage/data/coffee.png"),
}
BENCHMARKS = tuple(benchmarks.COUNTS)


def bsds300_sr(
    data_dir: str | None = None,
    rows: int | None = None,
    scale: int = 4,
    crop: int = 32,
    tile: int | None = None,
    windows: int = 240,
    test: tuple[str, ...] = BENCHMARKS,
) -> Pairs:
    """BSDS300's photographs (Martin et al., 2001), tested on Set5, Set14 and BSD100.

    Of the 200 training images 180 give tiles and 20 give windows for validation, the
    same 20 as of `bsds300`. BSD100 are its 100 test images.

    Args:
        data_dir: Where `bsds300_jpeg.npz` and the benchmarks' `sr/` are looked for.
        rows: Training tiles to keep, evenly over the images; all by default.
        scale: Sides of high over sides of low resolution.
        crop: Side of a window in high resolution, a multiple of the scale.
        tile: Side of a tile, `2 crop` by default; one starts every `crop`.
        windows: Validation windows, evenly over the images.
        test: The benchmarks, of Set5, Set14 and BSD100.

    Returns:
        The data set. By default 22,680 tiles of 64x64, 0.3 GB.

    Raises:
        DataError: If a file is missing or damaged, or an argument does not fit.
    """
    tile = super_resolution.check_windows("bsds300_sr", scale, crop, tile, windows)
    directory = paths.data_dir(data_dir)
    file = directory / bsds300.FILE
    if not file.is_file():
        raise DataError(
            f"No such file: {file}. Put it there, or set FDNF_DATA_DIR to a directory"
            " that has it. data.name='photographs' trains on images that installed"
            " packages carry."
        )
    tested = benchmarks.load(directory / "sr", file, scale, tuple(test))
    pictures = [
        Picture(f"Image {number} of {file}", lambda stream=stream: stream)
        for number, stream in decoding.numbered(file, "train_").items()
    ]
    order = np.random.RandomState(bsds300.SPLIT_SEED).permutation(len(pictures))
    held = [pictures[index] for index in order[-bsds300.HELD_OUT :]]
    rest = [pictures[index] for index in order[: -bsds300.HELD_OUT]]
    return pairing.assemble(
        "bsds300_sr",
        f"bsds300_sr-{cache.sha256(file)[:16]}",
        (rest, held),
        tested,
        (scale, crop, tile),
        (rows, None, windows),
        "BSDS300's 200 training photographs, 20 of them held out; test figures compare"
        " with published ones on the same benchmarks, of models trained on more",
    )


def photographs(
    data_dir: str | None = None,
    rows: int | None = None,
    scale: int = 4,
    crop: int = 32,
    tile: int | None = None,
    windows: int = 240,
) -> Pairs:
    """Nine colour photographs that installed packages carry, split by photograph.

    Args:
        data_dir: Not used: they lie in scikit-image, scikit-learn and matplotlib.
        rows: Training tiles to keep, evenly over the photographs; all by default.
        scale: Sides of high over sides of low resolution.
        crop: Side of a window in high resolution, a multiple of the scale.
        tile: Side of a tile, `2 crop` by default; one starts every `crop`.
        windows: Validation windows.

    Returns:
        The data set: six photographs to train on, one for validation, and two whole in
        the benchmark "photographs".

    Raises:
        DataError: If a package is not installed or lacks a file, or an argument does
            not fit.
    """
    del data_dir
    tile = super_resolution.check_windows("photographs", scale, crop, tile, windows)
    files = {
        split: [embedded.packaged(name) for name in PHOTOGRAPHS[split]]
        for split in PHOTOGRAPHS
    }
    train, val, test = (
        [Picture(path.stem, path.read_bytes) for path in files[split]]
        for split in ("train", "val", "test")
    )
    parts = [cache.sha256(*group)[:8] for group in files.values()]
    return pairing.assemble(
        "photographs",
        "-".join(["photographs", *parts]),
        (train, val),
        (high_resolution.whole("photographs", test, scale),),
        (scale, crop, tile),
        (rows, None, windows),
        "nine photographs in scikit-image, scikit-learn and matplotlib, split by"
        " photograph; comparable with nothing published",
    )
