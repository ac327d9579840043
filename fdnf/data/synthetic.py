"""Rows whose exact density is known: a warped Gaussian, for tests and smoke runs."""

from typing import NamedTuple

import numpy as np

from fdnf.data import tabular
from fdnf.data.tabular import DataError, Tabular


class Warped(NamedTuple):
    """`x = sinh((arcsinh(mean + scale z) + skew) / tail)`, `z` standard normal.

    Reference: Jones and Pewsey (2009), the sinh-arcsinh transformation.

    Attributes:
        mean: Of the Gaussian, float64 `[dim]`.
        scale: Its lower triangular Cholesky factor, float64 `[dim, dim]`.
        skew: Of each coordinate's warp, float64 `[dim]`; 0 is none.
        tail: Of each coordinate's warp, float64 `[dim]`; 1 is none, below is heavier.
    """

    mean: np.ndarray
    scale: np.ndarray
    skew: np.ndarray
    tail: np.ndarray

    def sample(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """Draws rows, float64 `[rows, dim]`."""
        y = self.mean + rng.standard_normal((rows, len(self.mean))) @ self.scale.T
        return np.sinh((np.arcsinh(y) + self.skew) / self.tail)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-density in nats, float64 `[rows]`, of rows `[rows, dim]`."""
        x = np.asarray(x, np.float64)
        # The warp's inverse y = sinh(u), u = tail arcsinh(x) - skew, has derivative
        # tail cosh(u) / sqrt(1 + x^2).
        u = self.tail * np.arcsinh(x) - self.skew
        log_slope = (
            np.log(self.tail) + np.logaddexp(u, -u) - np.log(2) - np.log(np.hypot(1, x))
        )
        z = np.linalg.solve(self.scale, (np.sinh(u) - self.mean).T).T
        log_normal = -0.5 * (z**2).sum(axis=1) - len(self.mean) / 2 * np.log(2 * np.pi)
        log_scale = np.log(np.diag(self.scale)).sum()
        return log_normal - log_scale + log_slope.sum(axis=1)


def distribution(dim: int, seed: int = 0) -> Warped:
    """The distribution `synthetic` draws from.

    Args:
        dim: Columns, at least 1.
        seed: Of its parameters; the same seed gives the same distribution.

    Returns:
        The distribution.
    """
    rng = np.random.Generator(np.random.PCG64([seed, dim]))
    lower = np.tril(rng.standard_normal((dim, dim)), -1) / np.sqrt(dim)
    return Warped(
        mean=rng.uniform(-0.5, 0.5, dim),
        scale=lower + np.diag(rng.uniform(0.5, 1.0, dim)),
        skew=rng.uniform(-0.5, 0.5, dim),
        tail=rng.uniform(0.8, 1.2, dim),
    )


def synthetic(
    data_dir: str | None = None, rows: int | None = None, dim: int = 4, seed: int = 0
) -> Tabular:
    """Rows of `distribution(dim, seed)`.

    Args:
        data_dir: Not used.
        rows: Training rows, 2,000 by default; val and test have a quarter as many.
        dim: Columns.
        seed: Of the distribution and of the rows.

    Returns:
        The data set.

    Raises:
        DataError: If `rows` or `dim` is below 1.
    """
    del data_dir
    rows = 2_000 if rows is None else rows
    if rows < 1 or dim < 1:
        raise DataError(
            f"synthetic: rows and dim must be at least 1, got rows={rows}, dim={dim}."
        )
    truth = distribution(dim, seed)
    rng = np.random.Generator(np.random.PCG64([seed, dim, 1]))
    train, val, test = (
        truth.sample(rng, count).astype(np.float32)
        for count in (rows, -(-rows // 4), -(-rows // 4))
    )
    source = f"synthetic, seed {seed}: exact log-density known"
    return tabular.validate(Tabular("synthetic", train, val, test, source))


def log_prob(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """Exact log-density of synthetic rows.

    Args:
        x: Rows `[rows, dim]`.
        seed: The seed that `synthetic` was given.

    Returns:
        Log-density in nats, float64 `[rows]`.
    """
    return distribution(x.shape[1], seed).log_prob(x)
