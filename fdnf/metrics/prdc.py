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
# Squared distances that differ by less than this share are one distance: those of
# features that are whole numbers but for a scale, whose sums round differently.
TIE = 1e-12


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

    A point is inside a ball if its distance is strictly below the radius. Equal
    distances, the rule where features are whole numbers, are found equal: what is too
    close for the fast product is decided by differences.

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
    x, y = rows.pair(real, fake, k + 1, ("real", "fake"))
    # A common shift changes no distance and spares digits in |a - b|^2.
    x, y = _Set(x, x.mean(axis=0)), _Set(y, x.mean(axis=0))
    real_radii, fake_radii = _radii(x, k), _radii(y, k)

    balls_around = np.zeros(len(y.rows), np.int64)
    inside_fake = np.zeros(len(x.rows), bool)
    covered = np.zeros(len(x.rows), bool)
    for start in range(0, len(x.rows), BLOCK):
        block = slice(start, start + BLOCK)
        part = x.part(block)
        squared = rows.squared_distances(part.centred, y.centred)
        in_ball = _below(squared, real_radii[block, None], part, y)
        balls_around += in_ball.sum(axis=0)
        covered[block] = in_ball.any(axis=1)
        inside_fake[block] = _below(squared, fake_radii, part, y).any(axis=1)
    return Prdc(
        precision=float((balls_around > 0).mean()),
        recall=float(inside_fake.mean()),
        density=float(balls_around.mean() / k),
        coverage=float(covered.mean()),
    )


class _Set:
    """Rows as given, and centred, with which products lose fewer digits."""

    def __init__(self, given: np.ndarray, center: np.ndarray | float):
        self.rows, self.centred = given, given - center
        self.sizes = np.square(self.centred).sum(axis=1)

    def part(self, block: slice) -> "_Set":
        """Some of the rows."""
        some = object.__new__(_Set)
        some.rows, some.centred = self.rows[block], self.centred[block]
        some.sizes = self.sizes[block]
        return some


def _slack(a: _Set, b: _Set) -> np.ndarray:
    """`[n, m]`: by how much products may be off, as squared distances."""
    eps = np.finfo(np.float64).eps
    return 8 * (a.rows.shape[1] + 4) * eps * (a.sizes[:, None] + b.sizes)


def _directly(a: _Set, i: np.ndarray, b: _Set, j: np.ndarray) -> np.ndarray:
    """|a_i - b_j|^2 of some pairs from their differences: equal where these are."""
    found = np.empty(len(i))
    size = max(1, (1 << 20) // a.rows.shape[1])
    for start in range(0, len(i), size):
        some = slice(start, start + size)
        difference = a.rows[i[some]] - b.rows[j[some]]
        found[some] = np.square(difference).sum(axis=1)
    return found


def _below(squared: np.ndarray, radii: np.ndarray, a: _Set, b: _Set) -> np.ndarray:
    """Whether distances are strictly below radii; close calls are decided directly."""
    below = squared < radii
    i, j = np.nonzero(np.abs(squared - radii) <= _slack(a, b))
    exact = np.broadcast_to(radii, squared.shape)[i, j]
    below[i, j] = _directly(a, i, b, j) < exact * (1 - TIE)
    return below


def _radii(x: _Set, k: int) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row."""
    radii = np.empty(len(x.rows))
    for start in range(0, len(x.rows), BLOCK):
        part = x.part(slice(start, start + BLOCK))
        squared = rows.squared_distances(part.centred, x.centred)
        own = np.arange(len(squared))
        # The row itself is no other row.
        squared[own, own + start] = np.inf
        nearest = np.partition(squared, k - 1, axis=1)[:, k - 1, None]
        slack = _slack(part, x)
        # Those that may be the k-th nearest, by their differences.
        i, j = np.nonzero(np.abs(squared - nearest) <= 2 * slack)
        squared[squared < nearest - 2 * slack] = -1
        squared[i, j] = _directly(part, i, x, j)
        squared.partition(k - 1, axis=1)
        radii[start : start + BLOCK] = squared[:, k - 1]
    return radii
