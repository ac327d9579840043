"""Statistics of features and the Frechet distance between two sets.

FD = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), in squared units of the features;
lower is better. Over the features of one particular Inception network it is called FID;
over any other features it is not (see `extractors.metric_name`).

Everything is float64 on the host: in float32 the distance of rank-deficient features
is off in the fourth digit.
"""

import warnings

import jax
import numpy as np
from jaxtyping import Float

from fdnf.metrics import rows

Features = Float[np.ndarray | jax.Array, "n features"]
Mean = Float[np.ndarray, " features"]
Covariance = Float[np.ndarray, "features features"]


class FewSamplesWarning(UserWarning):
    """A Frechet distance of so few samples that its bias is a large part of it."""


class Statistics:
    """Count, sum and outer products of features, added batch by batch.

    Sums are taken about the mean of the first batch, which keeps the digits that
    sum(x x^T) - n m m^T would lose where the mean is large against the spread.

    Attributes:
        n: rows added.
        shift: what is subtracted from each row, None before the first.
        total: `[features]`, sum of the shifted rows.
        outer: `[features, features]`, sum of the outer products of the shifted rows.
    """

    def __init__(self, features: Features | None = None) -> None:
        """Starts empty, or with the rows of `features`."""
        self.n = 0
        self.shift: np.ndarray | None = None
        self.total = np.zeros(0)
        self.outer = np.zeros((0, 0))
        if features is not None:
            self.update(features)

    def update(self, features: Features) -> "Statistics":
        """Adds rows.

        Args:
            features: rows of any real type; a batch without rows adds nothing.

        Returns:
            Itself.

        Raises:
            ValueError: a row is not finite, or the width is not that of the rows
                before.
        """
        batch = rows.checked(features, "features")
        if len(batch) == 0:
            return self
        if self.shift is None:
            self.shift = batch.mean(axis=0)
            self.total = np.zeros(batch.shape[1])
            self.outer = np.zeros((batch.shape[1], batch.shape[1]))
        elif batch.shape[1] != len(self.shift):
            raise ValueError(
                f"features of width {batch.shape[1]}: expected {len(self.shift)}, as in"
                " the batches before"
            )
        batch = batch - self.shift
        self.n += len(batch)
        self.total += batch.sum(axis=0)
        self.outer += batch.T @ batch
        return self

    @property
    def mean(self) -> Mean:
        """Mean of the rows.

        Raises:
            ValueError: there is no row.
        """
        if self.shift is None:
            raise ValueError("statistics of no rows: call update(features) first")
        return self.shift + self.total / self.n

    @property
    def covariance(self) -> Covariance:
        """Covariance of the rows, with divisor n - 1.

        Raises:
            ValueError: there are fewer than two rows.
        """
        if self.n < 2:
            raise ValueError(f"covariance of {self.n} rows: expected at least 2")
        return (self.outer - np.outer(self.total, self.total) / self.n) / (self.n - 1)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """Frechet distance between Gaussians with the statistics of two sets of rows.

    Args:
        a: of one set, at least two rows.
        b: of the other, likewise.

    Returns:
        The distance; lower is better. Rounding can leave equal sets at about -1e-13
        of the variance.

    Raises:
        ValueError: fewer than two rows, or different numbers of features.

    Warns:
        FewSamplesWarning: a set has fewer than twice as many rows as features.

    Reference: Heusel et al. (2017), GANs Trained by a Two Time-Scale Update Rule.
    """
    moments = (a.mean, a.covariance, b.mean, b.covariance)
    if len(moments[0]) != len(moments[2]):
        raise ValueError(
            f"{len(moments[0])} features against {len(moments[2])}: expected those of"
            " one extractor"
        )
    _warn_of_bias(min(a.n, b.n), len(moments[0]))
    return gaussian_distance(*moments)


def gaussian_distance(
    mean_a: Float[np.ndarray, " d"],
    covariance_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, " d"],
    covariance_b: Float[np.ndarray, "d d"],
) -> float:
    """Frechet distance between two Gaussians, in the singular-value form.

    tr (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2). With
    A = V diag(w) V^T the root is diag(w^(1/2)) V^T up to a rotation, which singular
    values do not see. Unlike the square root of the product A B, which is not
    symmetric, this keeps its digits where a covariance is singular.

    Args:
        mean_a: mean of one Gaussian.
        covariance_a: its covariance.
        mean_b: mean of the other.
        covariance_b: its covariance.

    Returns:
        The distance, in squared units of the features.
    """
    roots = _root(covariance_a) @ _root(covariance_b).T
    trace = np.trace(covariance_a) + np.trace(covariance_b)
    return _combine(mean_a - mean_b, float(trace), roots)


def frechet_distance_of_samples(
    x: Float[np.ndarray | jax.Array, "n features"],
    y: Float[np.ndarray | jax.Array, "m features"],
) -> float:
    """Frechet distance between two sets of rows, without forming covariances.

    With X the centred rows over (n - 1)^(1/2), C1 = X^T X, and tr (C1 C2)^(1/2) is
    the sum of the singular values of X Y^T. Fastest, and most exact, where there are
    fewer rows than features.

    Args:
        x: one set, at least two rows.
        y: the other, likewise.

    Returns:
        The distance, as `frechet_distance` gives it.

    Raises:
        ValueError: fewer than two rows, one not finite, or different numbers of
            features.

    Warns:
        FewSamplesWarning: as in `frechet_distance`.
    """
    first, second = rows.pair(x, y, 2, ("x", "y"))
    n, m = len(first), len(second)
    _warn_of_bias(min(n, m), first.shape[1])
    means = first.mean(axis=0), second.mean(axis=0)
    first = (first - means[0]) / np.sqrt(n - 1)
    second = (second - means[1]) / np.sqrt(m - 1)
    trace = float(np.square(first).sum() + np.square(second).sum())
    return _combine(means[0] - means[1], trace, _slim(first) @ _slim(second).T)


def _combine(gap: np.ndarray, trace: float, roots: np.ndarray) -> float:
    nuclear = np.linalg.svd(roots, compute_uv=False).sum()
    return float(gap @ gap) + trace - 2 * float(nuclear)


def _root(covariance: np.ndarray) -> np.ndarray:
    """R with R^T R = C; eigenvalues that rounding made negative count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _slim(x: np.ndarray) -> np.ndarray:
    """At most as many rows as features, with the same X^T X."""
    return x if x.shape[0] <= x.shape[1] else np.asarray(np.linalg.qr(x, mode="r"))


def _warn_of_bias(n: int, features: int) -> None:
    if n < 2 * features:
        warnings.warn(
            f"Frechet distance of {n} samples with {features} features: below"
            f" {2 * features} samples the covariances are poorly known and the"
            " distance is biased upwards. Compare only distances of equal sample"
            " counts, beside the one between two sets of real data.",
            FewSamplesWarning,
            stacklevel=3,
        )
