"""Toy sets in the plane, on which a flow's density can be looked at.

Each is a point drawn on a shape plus noise, or uniform on squares, with spreads near 1.
"""

from collections.abc import Callable

import numpy as np

from fdnf.data import tabular
from fdnf.data.tabular import DataError, Tabular

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""(generator, rows) -> points of the shape, `[rows, 2]`."""
# Radii of the rings, and of the circle that the eight Gaussians lie on.
RADII = (0.5, 1.0, 1.5, 2.0)
CIRCLE = 2.0


def two_moons(
    data_dir: str | None = None,
    rows: int | None = None,
    noise: float = 0.1,
    seed: int = 0,
) -> Tabular:
    """Two half circles of radius 1 that reach into each other.

    Args:
        data_dir: Not used.
        rows: Training rows, 10,000 by default; val and test have a quarter as many.
        noise: Standard deviation of the points about the shape.
        seed: Of the rows.

    Returns:
        The data set, centred at the origin.

    Raises:
        DataError: If `rows` is below 1, or `noise` is not above 0.
    """
    del data_dir

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        angle = rng.uniform(0, np.pi, count)
        moon = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)
        # The lower one is the upper one turned by half a circle.
        return moon * rng.choice([-1.0, 1.0], (count, 1))

    return _made("two_moons", draw, rows, noise, seed)


def rings(
    data_dir: str | None = None,
    rows: int | None = None,
    noise: float = 0.06,
    seed: int = 0,
) -> Tabular:
    """Four rings about the origin, of radius 0.5, 1, 1.5 and 2, as many points each.

    Args:
        data_dir: Not used.
        rows: Training rows, 10,000 by default; val and test have a quarter as many.
        noise: Standard deviation of the points about the shape.
        seed: Of the rows.

    Returns:
        The data set.

    Raises:
        DataError: If `rows` is below 1, or `noise` is not above 0.
    """
    del data_dir

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        angle, radius = rng.uniform(0, 2 * np.pi, count), rng.choice(RADII, count)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    return _made("rings", draw, rows, noise, seed)


def checkerboard(
    data_dir: str | None = None, rows: int | None = None, seed: int = 0
) -> Tabular:
    """Uniform on the eight black squares of a board of 4x4 on [-2, 2] x [-2, 2].

    The entropy is log 8 = 2.079 nats: no model's mean log-likelihood is above -2.079,
    beyond chance.

    Args:
        data_dir: Not used.
        rows: Training rows, 10,000 by default; val and test have a quarter as many.
        seed: Of the rows.

    Returns:
        The data set.

    Raises:
        DataError: If `rows` is below 1.
    """
    del data_dir

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        column = rng.integers(0, 4, count)
        row = 2 * rng.integers(0, 2, count) + column % 2
        corner = np.stack([column, row], axis=1) - 2.0
        return corner + rng.random((count, 2))

    return _made("checkerboard", draw, rows, None, seed)


def eight_gaussians(
    data_dir: str | None = None,
    rows: int | None = None,
    noise: float = 0.2,
    seed: int = 0,
) -> Tabular:
    """Eight Gaussians, evenly on a circle of radius 2.

    Args:
        data_dir: Not used.
        rows: Training rows, 10,000 by default; val and test have a quarter as many.
        noise: Standard deviation of each.
        seed: Of the rows.

    Returns:
        The data set.

    Raises:
        DataError: If `rows` is below 1, or `noise` is not above 0.
    """
    del data_dir

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        angle = rng.integers(0, 8, count) * np.pi / 4
        return CIRCLE * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    return _made("eight_gaussians", draw, rows, noise, seed)


def _made(
    name: str, draw: Draw, rows: int | None, noise: float | None, seed: int
) -> Tabular:
    rows = 10_000 if rows is None else rows
    if not tabular.is_whole(rows) or rows < 1:
        raise DataError(f"{name}: rows={rows!r}; expected a whole number of at least 1")
    if noise is not None and not 0 < noise < np.inf:
        raise DataError(f"{name}: noise={noise!r}; expected a number above 0")
    quarter = -(-rows // 4)
    splits = []
    for index, count in enumerate((rows, quarter, quarter)):
        rng = np.random.Generator(np.random.PCG64([seed, index]))
        points = draw(rng, count)
        if noise is not None:
            points = points + noise * rng.standard_normal(points.shape)
        splits.append(points.astype(np.float32))
    train, val, test = splits
    source = f"{name}, a toy set in the plane, seed {seed}"
    return tabular.validate(Tabular(name, train, val, test, source))
