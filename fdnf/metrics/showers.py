"""What is looked at in a shower: energies of layers, profiles, centroids, sparsity."""

from typing import NamedTuple

import numpy as np


class Cells(NamedTuple):
    """Where the cells of a calorimeter are, each `[cells]`.

    Attributes:
        layer: number of the layer, from 0 on.
        radius: middle of the ring.
        angle: middle of the sector, in radians.
        sectored: whether the layer has sectors.
    """

    layer: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    sectored: np.ndarray


class Profiles(NamedTuple):
    """Of showers, `[showers]` but for the first two.

    Attributes:
        layers: energy in each layer over that of the particle, `[showers, layers]`.
        rings: likewise in each distance from the axis, `[showers, radii]`.
        response: energy in all cells over that of the particle.
        depth: mean number of the layer, weighed by energy.
        width: spread of the distance from the axis, weighed by energy.
        empty: share of cells without energy.
    """

    layers: np.ndarray
    rings: np.ndarray
    response: np.ndarray
    depth: np.ndarray
    width: np.ndarray
    empty: np.ndarray


def profiles(cells: np.ndarray, energy: np.ndarray, where: Cells) -> Profiles:
    """The quantities of a picture.

    Args:
        cells: energies, `[showers, cells]`, not negative.
        energy: of the particles, `[showers]`, in the same unit.
        where: the cells' places.
    """
    cells, energy = _checked(cells, energy, where)
    layers = _summed(cells, where.layer)
    total = np.maximum(cells.sum(axis=1), 1e-12)
    radii = np.unique(where.radius)
    rings = _summed(cells, np.searchsorted(radii, where.radius))
    middle = cells @ where.radius / total
    spread = np.maximum(cells @ where.radius**2 / total - middle**2, 0)
    return Profiles(
        layers / energy[:, None],
        rings / energy[:, None],
        total / energy,
        layers @ np.arange(layers.shape[1]) / total,
        np.sqrt(spread),
        (cells <= 0).mean(axis=1),
    )


def features(cells: np.ndarray, energy: np.ndarray, where: Cells) -> np.ndarray:
    """The high-level features by which classifiers judge, `[showers, features]`.

    The response; of each layer the logarithm of its energy over that of the particle
    (and a millionth), its share of empty cells and, where it has rings, the mean and
    the spread of the distance from the axis; where it has sectors, the centroid's two
    coordinates. A layer without energy has 0 for what is weighed by it.

    Args:
        cells: energies, `[showers, cells]`, not negative.
        energy: of the particles, `[showers]`, in the same unit.
        where: the cells' places.

    Reference: Krause et al. (2024), CaloChallenge 2022, section 4.
    """
    cells, energy = _checked(cells, energy, where)
    found = [cells.sum(axis=1) / energy]
    for layer in range(int(where.layer.max()) + 1):
        inside = where.layer == layer
        own, radius, angle = cells[:, inside], where.radius[inside], where.angle[inside]
        total = own.sum(axis=1)
        found.append(np.log(total / energy + 1e-6))
        if len(radius) > 1:
            found.append((own <= 0).mean(axis=1))
        weights = own / np.maximum(total, 1e-12)[:, None]
        if len(np.unique(radius)) > 1:
            mean = weights @ radius
            found += [mean, np.sqrt(np.maximum(weights @ radius**2 - mean**2, 0))]
        if where.sectored[inside].any():
            found += [weights @ (radius * np.cos(angle))]
            found += [weights @ (radius * np.sin(angle))]
    return np.stack(found, axis=1)


def _checked(
    cells: np.ndarray, energy: np.ndarray, where: Cells
) -> tuple[np.ndarray, np.ndarray]:
    cells, energy = np.asarray(cells, np.float64), np.asarray(energy, np.float64)
    if cells.ndim != 2 or cells.shape[1] != len(where.layer):
        raise ValueError(
            f"cells of shape {cells.shape}: expected [showers, {len(where.layer)}]"
        )
    if energy.shape != cells.shape[:1]:
        raise ValueError(f"energy of shape {energy.shape}: expected {cells.shape[:1]}")
    return cells, energy


def _summed(cells: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sums of the cells of each group, `[showers, groups]`."""
    return cells @ np.eye(int(group.max()) + 1)[group]
