"""Proposition 1: closed forms against each other, against draws, and at their ends."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fdnf.experiments.gaussian import proposition_1
from fdnf.experiments.gaussian.proposition_1 import probability, rho, teacher_variances
from fdnf.flows.affine import Affine
from fdnf.losses import expansion

# Rows of one call of the signal, whose Jacobians are dense.
ROWS = 2048


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


@jax.jit
def share(student, teacher, key):
    """Of draws whose signal is above 0 about the origin."""
    z = jax.random.normal(key, (ROWS, len(student["params"]["mu"])))
    pair = (Affine(), Affine(), student, teacher)
    return expansion.expansion_signal(*pair, (z,), centre=jnp.zeros(z.shape[1]))


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
        share(student, teacher, key)
        for key in jax.random.split(jax.random.key(seed), calls)
    ]
    return case._replace(found=float(np.mean(shares)), rows=calls * ROWS)


def by_numpy(weights, rows=200_000):
    x = np.random.default_rng(0).normal(size=(rows, len(weights)))
    return np.mean(np.square(x) @ np.asarray(weights) > 0)


@pytest.mark.parametrize(
    "weights",
    [(0.5, -0.5), (1.0, -3.0, 0.2), (0.9, 0.9, 0.9, -40.0), (-1.0, -1.0, -1.0, 2.0)],
)
def test_the_integral_is_what_draws_find(weights):
    exact = proposition_1.probability(weights)
    error = math.sqrt(exact * (1 - exact) / 200_000)
    assert 0.05 < exact < 0.95
    assert abs(by_numpy(weights) - exact) < 4 * error


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.9, 30.0), (0.01, 0.5)])
def test_arc_beta_and_integral_agree(a, b):
    arc = in_the_plane(a, -b)
    assert of_two_values(a, 1, -b, 1) == pytest.approx(arc, rel=1e-9)
    assert proposition_1.probability((a, -b)) == pytest.approx(arc, abs=1e-7)


@pytest.mark.parametrize(("k", "m"), [(3, 5), (15, 1), (1, 15), (60, 4), (128, 128)])
def test_beta_and_integral_agree(k, m):
    beta = of_two_values(0.4, k, -1.7, m)
    whole = proposition_1.probability((0.4,) * k + (-1.7,) * m)
    assert whole == pytest.approx(beta, abs=1e-9)


def test_ends_and_symmetry():
    assert proposition_1.probability(proposition_1.rho((1.5, 4.0))) == 1.0
    assert proposition_1.probability(proposition_1.rho((0.5, 0.9))) == 0.0
    assert of_two_values(0.3, 7, -0.3, 7) == pytest.approx(0.5)
    weights = np.array([0.3, -2.0, 0.7])
    one, other = (proposition_1.probability(s * weights) for s in (1, -1))
    assert one + other == pytest.approx(1.0, abs=1e-9)
    # Neither scale nor a weight of zero changes the event.
    assert proposition_1.probability([*(1e4 * weights), 0.0]) == pytest.approx(one)
    for wrong in ([], [0.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="expected finite"):
            proposition_1.probability(wrong)


def test_draws_of_the_signal_are_within_their_error():
    found = [by_draws(case, 4096) for case in cases()]
    assert {case.rows for case in found} == {4096}
    assert all(abs(c.found - c.exact) <= 4 * c.error + 1e-9 for c in found)
    assert sum(0.02 < c.exact < 0.98 for c in found) >= 8


def test_random_teachers_over_dimensions():
    groups = proposition_1.over_dimensions((2, 16), teachers=20)
    assert [len(group) for group in groups[proposition_1.SCALES[0]]] == [20, 20]
    raw, scaled = (np.array(groups[name]) for name in proposition_1.SCALES)
    # At the scale of Marchenko and Pastur thin directions win as T grows.
    assert scaled[1].mean() < 0.5 * scaled[0].mean()
    assert np.all(scaled <= raw + 1e-9)
