"""Kernel inception distance: MMD^2 of features under a polynomial kernel.

Lower is better. Unlike a Frechet distance its expectation does not depend on the number
of samples: two sets from one distribution have 0, and chance falls on both sides.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from fdnf.metrics import rows

X = Float[np.ndarray | jax.Array, "n features"]
Y = Float[np.ndarray | jax.Array, "m features"]


class Kid(NamedTuple):
    """The distance over random subsets.

    Attributes:
        mean: over the subsets; the KID.
        std: between the subsets (divisor: their number), as it is usually printed.
        subsets: how many there were.
        size: rows of each set in a subset.
    """

    mean: float
    std: float
    subsets: int
    size: int


def kid(
    real: X, fake: Y, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> Kid:
    """Mean and spread of `polynomial_mmd` over random subsets.

    Args:
        real: features of data.
        fake: features of samples.
        subsets: number of subsets, each drawn without replacement.
        size: rows of each subset; fewer where a set has fewer.
        seed: of the draws; keep it between numbers that are compared.

    Returns:
        The distance, without unit for features of unit scale (papers often print it
        times 1000). Where `size` takes all rows of both sets every subset is the
        same, and `std` is 0.

    Raises:
        ValueError: a set of fewer than two rows or not finite, or `subsets` or
            `size` too small.

    Reference: Binkowski et al. (2018), Demystifying MMD GANs, section 4.
    """
    x, y = rows.pair(real, fake, 2, ("real", "fake"))
    if subsets < 1 or size < 2:
        raise ValueError(
            f"subsets={subsets} and size={size}: expected at least 1 and at least 2"
        )
    size = min(size, len(x), len(y))
    if len(x) == len(y) == size:
        return Kid(polynomial_mmd(x, y), 0.0, subsets, size)
    rng = np.random.default_rng(seed)
    values = [
        polynomial_mmd(
            x[rng.choice(len(x), size, replace=False)],
            y[rng.choice(len(y), size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return Kid(float(np.mean(values)), float(np.std(values)), subsets, size)


def polynomial_mmd(x: X, y: Y) -> float:
    """Unbiased MMD^2 with the kernel k(a, b) = (a . b / features + 1)^3.

    mmd = mean_{i!=j} k(x_i, x_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j).

    Args:
        x: first sample, at least two rows.
        y: second sample, at least two rows.

    Returns:
        MMD^2; lower is better, 0 is expected of one distribution, and values below 0
        are chance.

    Raises:
        ValueError: a sample of fewer than two rows, or not finite.

    Reference: Binkowski et al. (2018), Demystifying MMD GANs, eq. 4.
    """
    first, second = rows.pair(x, y, 2, ("x", "y"))
    cross = _kernel(first, second).mean()
    return float(_within(first) + _within(second) - 2 * cross)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = a @ b.T
    product /= a.shape[1]
    product += 1
    return product * product * product


def _within(a: np.ndarray) -> float:
    """Mean of the kernel over pairs of different rows."""
    kernel = _kernel(a, a)
    n = len(a)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
