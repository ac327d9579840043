"""Proposition 1 of Huang et al. (2019): exact probabilities of the expansion signal.

For a student N(0, I) and a teacher N(0, Sigma), both about one centre, the signal is
the event Q = sum_i rho_i x_i^2 > 0 with x ~ N(0, I) and rho_i = 1 - 1 / d_i^2, d_i^2
the eigenvalues of Sigma. Everything here is float64 on the host.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from fdnf.flows.affine import Affine
from fdnf.losses import expansion

# Rows of one call of the signal, whose Jacobians are dense.
ROWS = 2048
# Points of the integral, on a logarithmic axis, and how far beyond the weights it goes.
_POINTS, _REACH = 4001, 40.0


class Case(NamedTuple):
    """Eigenvalues, and what a closed form and draws say of them.

    Attributes:
      name: what is special about the eigenvalues.
      variances: d_i^2.
      exact: probability in closed form.
      found: share of `rows` draws.
      rows: number of draws.
    """

    name: str
    variances: tuple[float, ...]
    exact: float
    found: float = math.nan
    rows: int = 0

    @property
    def error(self) -> float:
        """Standard error of `found`, by the exact probability."""
        return math.sqrt(self.exact * (1 - self.exact) / max(self.rows, 1))


def rho(variances: Sequence[float] | np.ndarray) -> np.ndarray:
    """1 - 1 / d_i^2."""
    return 1 - 1 / np.asarray(variances, np.float64)


def in_the_plane(positive: float, negative: float) -> float:
    """P[positive x_1^2 + negative x_2^2 > 0], the share of an arc.

    x is uniform in its angle, and positive cos^2 > |negative| sin^2 where |tan| is
    below sqrt(positive / |negative|): P = (2 / pi) atan of that.
    """
    return 2 / math.pi * math.atan(math.sqrt(positive / -negative))


def of_two_values(positive: float, k: int, negative: float, m: int) -> float:
    """P[positive chi2_k > |negative| chi2_m], independent: k and m equal weights.

    B = chi2_k / (chi2_k + chi2_m) is Beta(k / 2, m / 2), and the event is
    B > |negative| / (positive + |negative|).
    """
    border = -negative / (positive - negative)
    return float(special.betainc(m / 2, k / 2, 1 - border))


def probability(weights: Sequence[float] | np.ndarray) -> float:
    """P[sum_i w_i x_i^2 > 0], x ~ N(0, I), for any weights, by one integral.

    P = 1/2 + (1/pi) int_0^inf sin(theta(u)) / (u r(u)) du, with
    theta = 1/2 sum atan(w_i u) and r = prod (1 + w_i^2 u^2)^(1/4). On the axis log u
    the integrand is smooth and falls off at both ends, so that the trapezoidal rule
    is exact to many digits.

    Raises:
      ValueError: for no weight but zeros, or one that is not finite.

    Reference: Imhof (1961), "Computing the distribution of quadratic forms in normal
    variables", eq. 3.2.
    """
    w = np.asarray(weights, np.float64)
    w = w[w != 0]
    if not w.size or not np.all(np.isfinite(w)):
        raise ValueError(
            f"weights {np.asarray(weights).tolist()}: expected finite numbers, and one "
            "that is not 0"
        )
    if np.all(w > 0) or np.all(w < 0):
        return float(w[0] > 0)
    size = np.abs(w)
    low, high = -np.log(size.max()) - _REACH, -np.log(size.min()) + _REACH
    log_u = np.linspace(low, high, _POINTS)
    u = np.exp(log_u)[:, None] * w
    theta = 0.5 * np.sum(np.arctan(u), axis=1)
    log_r = 0.25 * np.sum(np.log1p(u**2), axis=1)
    area = np.trapezoid(np.sin(theta) * np.exp(-log_r), log_u)
    return float(np.clip(0.5 + area / math.pi, 0.0, 1.0))


def cases(seed: int = 0) -> list[Case]:
    """Eigenvalues whose probability is known, each by a formula of its own."""
    found = [
        Case("all d > 1", tuple(np.linspace(1.1, 4, 8)), 1.0),
        Case("all d < 1", tuple(np.linspace(0.1, 0.9, 8)), 0.0),
    ]
    for wide, narrow in ((4.0, 0.25), (1.5, 0.8), (9.0, 0.98)):
        exact = in_the_plane(*rho((wide, narrow)))
        found.append(Case("n = 2, an arc", (wide, narrow), exact))
    for k, m in ((8, 8), (4, 12), (12, 4), (31, 33)):
        # |rho| = 1/2 on both sides.
        variances = (2.0,) * k + (2 / 3,) * m
        exact = of_two_values(0.5, k, -0.5, m)
        found.append(Case(f"{k} x 1/2, {m} x -1/2, Beta", variances, exact))
    for k, m, narrow in ((15, 1, 0.05), (60, 4, 0.05)):
        weights = rho((2.0, narrow))
        exact = of_two_values(float(weights[0]), k, float(weights[1]), m)
        variances = (2.0,) * k + (narrow,) * m
        found.append(Case(f"{k} wide, {m} thin, Beta", variances, exact))
    draw = np.random.default_rng(seed)
    for dim in (8, 32):
        variances = teacher_variances(draw, dim)
        exact = probability(rho(variances))
        name = f"R_ij ~ N(0, 1), T = {dim}, integral"
        found.append(Case(name, tuple(variances), exact))
    return found


def teacher_variances(draw: np.random.Generator, dim: int) -> np.ndarray:
    """d_i^2 of x = R z with R_ij ~ N(0, 1)."""
    return np.linalg.svd(draw.normal(size=(dim, dim)), compute_uv=False) ** 2


def by_draws(case: Case, rows: int, seed: int = 0) -> Case:
    """The case with the share that `expansion_signal` gives for affine flows.

    The teacher's covariance is a rotation of diag(d_i^2); draws come in calls of ROWS,
    so `rows` is rounded up to a multiple.
    """
    dim = len(case.variances)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    R = rotation * np.sqrt(np.asarray(case.variances))
    student, teacher = (
        {"params": {"mu": jnp.zeros(dim), "R": jnp.asarray(r, jnp.float32)}}
        for r in (np.eye(dim), R)
    )
    calls = -(-rows // ROWS)
    shares = [
        expansion.expansion_signal(
            *(Affine(), Affine(), student, teacher),
            (jax.random.normal(key, (ROWS, dim)),),
            centre=jnp.zeros(dim),
        )
        for key in jax.random.split(jax.random.key(seed), calls)
    ]
    return case._replace(found=float(np.mean(shares)), rows=calls * ROWS)


def over_dimensions(
    dimensions: Sequence[int], teachers: int, seed: int = 0
) -> dict[str, list[list[float]]]:
    """Exact probabilities for random teachers, before a student N(0, I) has learnt.

    Args:
      dimensions: T of each group.
      teachers: draws of R_ij ~ N(0, 1) a dimension.
      seed: of the draws.

    Returns:
      "R" and "R/sqrt(T)", the scale at which the eigenvalues have a limit, each a
      list over dimensions of lists over teachers.
    """
    draw = np.random.default_rng(seed)
    drawn = [
        (dim, [teacher_variances(draw, dim) for _ in range(teachers)])
        for dim in dimensions
    ]
    return {
        name: [
            [probability(rho(v / (dim if name != "R" else 1))) for v in group]
            for dim, group in drawn
        ]
        for name in ("R", "R/sqrt(T)")
    }
