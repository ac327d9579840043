"""Super-resolution on photographs: BSDS300's, and those that packages carry.

With them Set5, Set14 and BSD100, the images that super-resolution is compared on.
"""

import csv
import pathlib

import numpy as np

from fdnf.data import (
    bsds300,
    cache,
    decoding,
    embedded,
    high_resolution,
    paths,
    super_resolution,
)
from fdnf.data.high_resolution import Picture
from fdnf.data.super_resolution import Benchmark, Pairs
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
COUNTS = {"Set5": 5, "Set14": 14, "BSD100": 100}
# The low-resolution images that come with the sets were made at this scale.
GIVEN_SCALE = 4
BSD100_LR, MAP = "BSD100_LRx4", "map.csv"
MAP_COLUMNS = ("index", "bsds_id", "hr_height", "hr_width")


def bsds300_sr(
    data_dir: str | None = None,
    rows: int | None = None,
    scale: int = 4,
    crop: int = 32,
    tile: int | None = None,
    windows: int = 240,
    test: tuple[str, ...] = tuple(COUNTS),
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
    tested = load_benchmarks(directory / "sr", file, scale, tuple(test))
    pictures = [
        Picture(f"Image {number} of {file}", lambda stream=stream: stream)
        for number, stream in decoding.numbered(file, "train_").items()
    ]
    order = np.random.RandomState(bsds300.SPLIT_SEED).permutation(len(pictures))
    held = [pictures[index] for index in order[-bsds300.HELD_OUT :]]
    rest = [pictures[index] for index in order[: -bsds300.HELD_OUT]]
    return high_resolution.assemble(
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
    return high_resolution.assemble(
        "photographs",
        "-".join(["photographs", *parts]),
        (train, val),
        (high_resolution.whole("photographs", test, scale),),
        (scale, crop, tile),
        (rows, None, windows),
        "nine photographs in scikit-image, scikit-learn and matplotlib, split by"
        " photograph; comparable with nothing published",
    )


def load_benchmarks(
    directory: pathlib.Path, photographs: pathlib.Path, scale: int, names: tuple
) -> tuple[Benchmark, ...]:
    """Loads benchmarks with the low-resolution images that belong to them.

    At scale 4 those are the files given, which MATLAB made. At another scale the high
    resolution is cut to multiples of it and reduced here, by the same rule.

    Args:
        directory: `Set5/` and `Set14/` with `NNN_HR.png` and `NNN_LR.png`;
            `BSD100_LRx4/` with `NNN_LR.png` and `map.csv`.
        photographs: `bsds300_jpeg.npz`, whose test images are BSD100.
        scale: Sides of high over sides of low resolution.
        names: Of `COUNTS`.

    Returns:
        The benchmarks, in the order asked for.

    Raises:
        DataError: For an unknown name, if a file is missing or does not decode, or if
            high and low resolution do not fit.
    """
    if unknown := sorted(set(names) - set(COUNTS)):
        raise DataError(
            f"Unknown benchmark {', '.join(map(repr, unknown))}; known:"
            f" {', '.join(COUNTS)}."
        )
    return tuple(
        _bsd100(directory, photographs, scale)
        if name == "BSD100"
        else _folder(directory / name, scale)
        for name in names
    )


def _folder(directory: pathlib.Path, scale: int) -> Benchmark:
    names = _numbers(directory, "HR", COUNTS[directory.name])
    hr = [_read(directory / f"{name}_HR.png") for name in names]
    return _paired(directory.name, directory, names, hr, scale)


def _bsd100(
    directory: pathlib.Path, photographs: pathlib.Path, scale: int
) -> Benchmark:
    directory = directory / BSD100_LR
    _numbers(directory, "LR", COUNTS["BSD100"])
    by_id = decoding.numbered(photographs, "test_")
    names, hr = [], []
    for number, bsds_id, height, width in _map(directory / MAP):
        if bsds_id not in by_id:
            raise DataError(
                f"{directory / MAP}: image {bsds_id} is no test image of {photographs}."
            )
        stream = by_id[bsds_id]
        where = f"Image {bsds_id} of {photographs}"
        image = high_resolution.pixels(Picture(where, lambda s=stream: s), 1)
        if image.shape[0] < height or image.shape[1] < width:
            raise DataError(
                f"{where} is {image.shape[1]} wide and {image.shape[0]} high; {MAP}"
                f" asks for {width} and {height} of it."
            )
        names.append(number)
        hr.append(image[:height, :width])
    return _paired("BSD100", directory, names, hr, scale)


def _paired(
    name: str,
    directory: pathlib.Path,
    names: list[str],
    hr: list[np.ndarray],
    scale: int,
) -> Benchmark:
    if scale == GIVEN_SCALE:
        lr = [_read(directory / f"{number}_LR.png") for number in names]
        for number, high, low in zip(names, hr, lr, strict=True):
            super_resolution.check_sizes(
                high.shape, low.shape, scale, f"{directory / number}_LR.png"
            )
    else:
        hr = [
            image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]
            for image in hr
        ]
        lr = [high_resolution.reduce(image, scale) for image in hr]
    return Benchmark(name, tuple(names), tuple(hr), tuple(lr))


def _numbers(directory: pathlib.Path, kind: str, expected: int) -> list[str]:
    found = sorted(
        path.name.removesuffix(f"_{kind}.png")
        for path in directory.glob(f"*_{kind}.png")
    )
    if len(found) != expected:
        raise DataError(
            f"{directory} has {len(found)} files *_{kind}.png; expected {expected}. Put"
            " them there, or leave the benchmark out of data.args.test."
        )
    return found


def _map(path: pathlib.Path) -> list[tuple[str, int, int, int]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = []
        for row in rows:
            bsds_id, height, width = (int(row[column]) for column in MAP_COLUMNS[1:])
            found.append((row["index"], bsds_id, height, width))
        return found
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a table with the columns {', '.join(MAP_COLUMNS)}:"
            f" {type(error).__name__}: {error}. Copy it again."
        ) from None


def _read(path: pathlib.Path) -> np.ndarray:
    if not path.is_file():
        raise DataError(f"No such file: {path}. Copy the benchmark again.")
    return high_resolution.pixels(Picture(str(path), path.read_bytes), 1)
