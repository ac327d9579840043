"""Set5, Set14 and BSD100: the images that super-resolution is compared on."""

import csv
import pathlib

import numpy as np

from fdnf.data import decoding, high_resolution, super_resolution
from fdnf.data.high_resolution import Picture
from fdnf.data.super_resolution import Benchmark
from fdnf.data.tabular import DataError

COUNTS = {"Set5": 5, "Set14": 14, "BSD100": 100}
# The low-resolution images that come with the sets were made at this scale.
GIVEN_SCALE = 4
BSD100_LR, MAP = "BSD100_LRx4", "map.csv"
MAP_COLUMNS = ("index", "bsds_id", "hr_height", "hr_width")


def load(
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
