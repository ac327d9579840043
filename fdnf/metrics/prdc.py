"""Precision and recall, density and coverage of samples against data.

All four look at balls around points, each as large as the distance to the k-th nearest
other point of the same set. Higher is better; data against fresh data of the same size
give the ceiling, which is below 1. Float64 on the host, in blocks of rows: 10,000
against 10,000 need about 100 MB beside the features.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from fdnf.metrics import rows

# Rows whose distances to all others are held at once.
BLOCK = 256


class Prdc(NamedTuple):
    """The four scores.

    Attributes:
        precision: share of samples inside some ball of the data, in [0, 1]: fidelity.
        recall: share of data inside some ball of the samples, in [0, 1]: diversity.
        density: balls of the data around a sample, on average and over k; 1 is
            expected of one distribution, and it can exceed 1.
        coverage: share of the data's balls that hold a sample, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(
    real: Float[np.ndarray | jax.Array, "n features"],
    fake: Float[np.ndarray | jax.Array, "m features"],
    k: int = 5,
) -> Prdc:
    """Precision, recall, density and coverage of `fake` against `real`.

    A point is inside a ball if its distance is strictly below the radius.

    Args:
        real: features of data.
        fake: features of samples. Density and coverage depend on both counts, so
            keep them between numbers that are compared.
        k: neighbours that set the radius, the point itself not counted.

    Returns:
        The four scores.

    Raises:
        ValueError: a set of at most k rows or not finite, or `k` below 1.

    Reference: Kynkaanniemi et al. (2019), Improved Precision and Recall Metric, eq. 1
    and 2; Naeem et al. (2020), Reliable Fidelity and Diversity Metrics, eq. 4 and 6.
    """
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1 neighbour")
    # The radius is the distance to the k-th other row.
    x, y = rows.checked(real, "real", k + 1), rows.checked(fake, "fake", k + 1)
    # A common shift changes no distance and spares digits in |a - b|^2.
    center = x.mean(axis=0)
    x, y = x - center, y - center
    real_radii, fake_radii = _radii(x, k), _radii(y, k)

    balls_around = np.zeros(len(y), np.int64)
    inside_fake = np.zeros(len(x), bool)
    covered = np.zeros(len(x), bool)
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        squared = rows.squared_distances(x[block], y)
        in_ball = squared < real_radii[block, None]
        balls_around += in_ball.sum(axis=0)
        covered[block] = in_ball.any(axis=1)
        inside_fake[block] = (squared < fake_radii).any(axis=1)
    return Prdc(
        precision=float((balls_around > 0).mean()),
        recall=float(inside_fake.mean()),
        density=float(balls_around.mean() / k),
        coverage=float(covered.mean()),
    )


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row."""
    radii = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        squared = rows.squared_distances(x[start : start + BLOCK], x)
        # The row itself is nearest whatever rounding says of its distance.
        own = np.arange(len(squared))
        squared[own, own + start] = -1
        squared.partition(k, axis=1)
        radii[start : start + BLOCK] = squared[:, k]
    return radii
