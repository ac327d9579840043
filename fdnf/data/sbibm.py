"""What the package sbibm publishes of a task: observations and exact posteriors.

It is read from `sbibm.npz` in the data directory, or from the package's wheel, which is
a zip file of compressed CSV tables; the package itself is never installed or imported:

  pip download --no-deps sbibm==1.1.0

References: Lueckmann et al. (2021), section 3; the files of sbibm 1.1.0 (MIT).
"""

import bz2
import io
import os
import pathlib
from typing import NamedTuple

import numpy as np

from fdnf.data import archives, cache, npz, paths, sbi
from fdnf.data.tabular import DataError, told

FILE = "sbibm.npz"
WHEEL = "sbibm-1.1.0-py2.py3-none-any.whl"
SHA256 = "12ecc6b4d327b92f9225f08faa6405e4274fb8e75943d86a53157d1b1bcfaf74"
OBSERVATIONS, SAMPLES = 10, 10_000
# Digits of a number in the tables; those that are larger are damaged.
_DIGITS = 32


class Reference(NamedTuple):
    """What is published of a task.

    Attributes:
        observations: `[10, width]`, x.
        theta: `[10, dim]`, the parameters that made them.
        posterior: `[10, 10000, dim]`, samples of p(theta | x) of each.
    """

    observations: np.ndarray
    theta: np.ndarray
    posterior: np.ndarray


def reference(
    task: str,
    path: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Reference:
    """Observations of a task, and samples of the exact posteriors, in float64.

    Args:
        task: A key of `sbi.TASKS`.
        path: The wheel, or an .npz file with the arrays `<task>/observation`,
            `<task>/theta` and `<task>/reference`; found in the data directory where it
            is not given.
        data_dir: That directory, see `paths.data_dir`.

    Raises:
        DataError: If there is no such file, it is another wheel, or damaged.
    """
    found = sbi.get(task)
    place = _found(data_dir) if path is None else pathlib.Path(path).expanduser()
    if not place.is_file():
        raise DataError(f"No such file: {place}. {_way_out()}")
    if place.suffix == ".whl":
        arrays = _of_wheel(place, found)
    else:
        names = [f"{task}/{part}" for part in ("observation", "theta", "reference")]
        arrays = tuple(npz.read_arrays(place, *names))
    shapes = (
        (OBSERVATIONS, found.width),
        (OBSERVATIONS, found.dim),
        (OBSERVATIONS, SAMPLES, found.dim),
    )
    for name, array, shape in zip(Reference._fields, arrays, shapes, strict=True):
        if array.shape != shape or not np.isfinite(array).all():
            raise DataError(
                f"{place}: {name} of {task} has shape {array.shape}, or numbers that"
                f" are not finite; expected {shape}. {_way_out()}"
            )
    return Reference(*(np.asarray(array, np.float64) for array in arrays))


def available(data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether `reference` finds a file without being told."""
    return _found(data_dir).is_file()


def _found(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    folder = paths.data_dir(data_dir)
    wheel = folder / WHEEL
    return wheel if wheel.is_file() else folder / FILE


def _way_out() -> str:
    return (
        f"Get {WHEEL} by `pip download --no-deps sbibm==1.1.0` and name it, or put it"
        f" or {FILE} into the data directory; it is not installed."
    )


def _of_wheel(path: pathlib.Path, task: sbi.Task) -> tuple[np.ndarray, ...]:
    digest = cache.sha256(path)
    if digest != SHA256:
        raise DataError(
            f"{path} is not sbibm 1.1.0: its SHA-256 is {digest}, expected {SHA256}."
            f" {_way_out()}"
        )
    folder = f"sbibm/tasks/{task.name}/files/"
    tables = {
        "observation.csv": (1, task.width),
        "true_parameters.csv": (1, task.dim),
        "reference_posterior_samples.csv.bz2": (SAMPLES, task.dim),
    }
    texts = dict(
        archives.members(
            path, lambda name: name.startswith(folder) and name.endswith((*tables,))
        )
    )
    found: list[list[np.ndarray]] = [[] for _ in tables]
    for number in range(1, OBSERVATIONS + 1):
        for index, (name, shape) in enumerate(tables.items()):
            member = f"{folder}num_observation_{number}/{name}"
            if member not in texts:
                raise DataError(f"{path} has no member {member!r}. {_way_out()}")
            found[index].append(_table(texts[member], member, shape))
    observations, theta, posterior = found
    return np.concatenate(observations), np.concatenate(theta), np.stack(posterior)


def _table(content: bytes, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Numbers of a CSV table with one line of names."""
    # A few kilobytes that are packed can hold gigabytes.
    most = (shape[0] + 1) * shape[1] * _DIGITS
    try:
        if name.endswith(".bz2"):
            content = bz2.BZ2Decompressor().decompress(content, most)
        text = io.StringIO(content[:most].decode("ascii"))
        found = np.loadtxt(text, delimiter=",", skiprows=1, ndmin=2)
    except (ValueError, *archives.DAMAGE) as error:
        raise DataError(f"{name} is damaged: {told(error)}. {_way_out()}") from None
    if found.shape != shape:
        raise DataError(f"{name} has {found.shape} numbers, expected {shape}.")
    return found
