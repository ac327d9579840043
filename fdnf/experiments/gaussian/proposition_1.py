"""Proposition 1 of Huang et al. (2019): exact probabilities of the expansion signal.

For a student N(0, I) and a teacher N(0, Sigma), both about one centre, the signal is
the event Q = sum_i rho_i x_i^2 > 0 with x ~ N(0, I) and rho_i = 1 - 1 / d_i^2, d_i^2
the eigenvalues of Sigma. Everything here is float64 on the host.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fdnf.evaluation.core.scores import Result, Run, Score

# Points of the integral, on a logarithmic axis, and how far beyond the weights it goes.
_POINTS, _REACH = 4001, 40.0
# Of the teachers' R; at the second one the eigenvalues have a limit as T grows.
SCALES = ("R_ij ~ N(0, 1)", "R_ij ~ N(0, 1/T)")


def rho(variances: Sequence[float] | np.ndarray) -> np.ndarray:
    """1 - 1 / d_i^2."""
    return 1 - 1 / np.asarray(variances, np.float64)


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


def teacher_variances(draw: np.random.Generator, dim: int) -> np.ndarray:
    """d_i^2 of x = R z with R_ij ~ N(0, 1)."""
    return np.linalg.svd(draw.normal(size=(dim, dim)), compute_uv=False) ** 2


def over_dimensions(
    dimensions: Sequence[int], teachers: int, seed: int = 0
) -> dict[str, list[list[float]]]:
    """Exact probabilities for random teachers, before a student N(0, I) has learnt.

    Args:
      dimensions: T of each group.
      teachers: draws of R_ij ~ N(0, 1) a dimension.
      seed: of the draws.

    Returns:
      SCALES, each a list over dimensions of lists over teachers.
    """
    draw = np.random.default_rng(seed)
    drawn = [
        (dim, [teacher_variances(draw, dim) for _ in range(teachers)])
        for dim in dimensions
    ]
    return {
        name: [
            [probability(rho(v / (dim if name != SCALES[0] else 1))) for v in group]
            for dim, group in drawn
        ]
        for name in SCALES
    }


def results(
    dimensions: Sequence[int], groups: Mapping[str, list[list[float]]]
) -> list[Result]:
    """The probabilities of `over_dimensions` as scores, for a table."""
    return [
        Result(
            Run("random teachers", name, kind="gaussian"),
            tuple(
                Score("expansion_probability", value, f"T = {dim}", item=str(i))
                for dim, group in zip(dimensions, groups[name], strict=True)
                for i, value in enumerate(group)
            ),
        )
        for name in groups
    ]
