"""The expansion signal: Gaussians in closed form, Proposition 1, centres, who moves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.flows.affine import Affine
from fdnf.flows.maf import IAF, MAF
from fdnf.losses import density, expansion
from tests import laws

DIM = 4
ROWS = 4096
FLOW = Affine()
Z = (jax.random.normal(jax.random.key(3), (ROWS, DIM)),)


def gaussian(seed, mean, dim=DIM):
    """Variables of N(mean, R R^T), R away from the identity."""
    draw = np.random.default_rng(seed)
    R = np.eye(dim) + 0.4 * draw.normal(size=(dim, dim))
    return variables(np.full(dim, mean), R)


def variables(mu, R):
    mu, R = (jnp.asarray(part, jnp.float32) for part in (mu, R))
    return {"params": {"mu": mu, "R": R}}


STUDENT, TEACHER = gaussian(0, 0.5), gaussian(1, 1.0)


def precision(variables):
    R = np.asarray(variables["params"]["R"], np.float64)
    return np.linalg.inv(R @ R.T)


def signal(student, teacher, z=Z, centre=None, flow=FLOW):
    if centre is None:
        centre = teacher["params"]["mu"]
    return float(
        expansion.expansion_signal(flow, flow, student, teacher, z, centre=centre)
    )


def is_share(found, expected, rows=ROWS):
    """Within four standard errors."""
    error = math.sqrt(max(expected * (1 - expected), 1e-12) / rows)
    return abs(found - expected) <= 4 * error + 1e-6


@pytest.mark.parametrize("centre", ["teacher_mode", "student_mean"])
def test_gaussians_in_closed_form(centre):
    (z,) = Z
    mu_s, R_s = (np.asarray(STUDENT["params"][k], np.float64) for k in ("mu", "R"))
    mu_t = np.asarray(TEACHER["params"]["mu"], np.float64)
    x = mu_s + np.asarray(z, np.float64) @ R_s.T
    # g_x = -Sigma_T^-1 (x - mu_T) + Sigma_S^-1 (x - mu_S)
    g = (x - mu_s) @ precision(STUDENT) - (x - mu_t) @ precision(TEACHER)
    about = {"teacher_mode": mu_t, "student_mean": mu_s}[centre]
    expected = np.mean(np.sum((x - about) * g, axis=1) > 0)
    assert 0.05 < expected < 0.95
    at = expansion.CENTRES[centre](FLOW, FLOW, STUDENT, TEACHER, Z)
    np.testing.assert_allclose(at, about, atol=1e-6)
    # A row within rounding of the border may fall on its other side.
    assert signal(STUDENT, TEACHER, centre=at) == pytest.approx(
        expected, abs=1.5 / ROWS
    )


def standard(dim):
    return variables(np.zeros(dim), np.eye(dim))


def test_proposition_1_at_its_ends():
    wide, narrow = (variables(np.zeros(DIM), s * np.eye(DIM)) for s in (1.5, 0.7))
    assert signal(standard(DIM), wide) == 1.0
    assert signal(standard(DIM), narrow) == 0.0


@pytest.mark.parametrize(("wide", "narrow"), [(2.0, 0.5), (1.2, 0.9), (3.0, 0.99)])
def test_proposition_1_in_the_plane(wide, narrow):
    # rho_1 cos^2 + rho_2 sin^2 > 0 holds for |tan| < sqrt(rho_1 / -rho_2).
    teacher = variables(np.zeros(2), np.diag([wide, narrow]))
    z = (jax.random.normal(jax.random.key(4), (ROWS, 2)),)
    ratio = (1 - wide**-2) / (narrow**-2 - 1)
    expected = 2 / math.pi * math.atan(math.sqrt(ratio))
    assert is_share(signal(standard(2), teacher, z), expected)


def test_the_signal_is_that_of_the_relative_covariance():
    # The paper's footnote: x' = R_S^-1 x makes the student standard normal.
    center = {"mu": jnp.zeros(DIM)}
    student = {"params": {**STUDENT["params"], **center}}
    teacher = {"params": {**TEACHER["params"], **center}}
    R_s = np.asarray(student["params"]["R"], np.float64)
    R_t = np.asarray(teacher["params"]["R"], np.float64)
    relative = variables(np.zeros(DIM), np.linalg.solve(R_s, R_t))
    assert signal(student, teacher) == pytest.approx(
        signal(standard(DIM), relative), abs=1.5 / ROWS
    )


def test_flows_that_are_not_gaussian():
    student = laws.Case("student", IAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
    teacher = laws.Case("teacher", MAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
    z = (Z[0][:64],)
    pair = (student.module, teacher.module, student.variables, teacher.variables)

    def ratio(x):
        log_p = teacher.apply(x, method="log_prob")
        return jnp.sum(log_p - student.apply(x, method="log_prob"))

    @jax.jit
    def all_of_it():
        x = student.apply(z, method="decode").x
        centre = expansion.teacher_mode(*pair, z)
        ends = teacher.apply(centre[None], method="encode").z[0]
        found = expansion.expansion_signal(*pair, z, centre=centre)
        return ends, jnp.sum((x - centre) * jax.grad(ratio)(x), axis=1), found

    ends, along, found = all_of_it()
    np.testing.assert_allclose(ends, np.zeros((1, DIM)), atol=1e-5)
    assert float(found) == np.mean(along > 0)
    assert 0 < float(found) < 1


def test_no_gradient_flows_into_anything():
    def loss(student, teacher, z, centre):
        return expansion.expansion_signal(
            FLOW, FLOW, student, teacher, z, centre=centre
        )

    mu = TEACHER["params"]["mu"]
    z = (Z[0][:8],)
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(STUDENT, TEACHER, z, mu)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slopes))


def test_conditions_give_each_row_a_centre():
    def encode(variables, x, cond):
        return FLOW.apply(variables, x - cond, method="encode")

    def decode(variables, z, cond):
        drawn = FLOW.apply(variables, z, method="decode")
        return drawn._replace(x=drawn.x + cond)

    shifted = types.ExternalFlow(encode, decode)
    z = (Z[0][:32],)
    cond = jax.random.normal(jax.random.key(9), (32, DIM))
    for name, at in expansion.CENTRES.items():
        pair = (shifted, shifted, STUDENT, TEACHER, z, cond)
        centre = at(*pair)
        assert centre.shape == (32, DIM)
        found = expansion.expansion_signal(*pair, centre=centre)
        plain = expansion.CENTRES[name](FLOW, FLOW, STUDENT, TEACHER, z)
        assert float(found) == signal(STUDENT, TEACHER, z, plain)


def test_a_row_that_is_not_finite_does_not_count():
    z = (jnp.full((4, DIM), jnp.nan),)
    assert signal(STUDENT, TEACHER, z) == 0.0


def test_a_centre_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\).*\(4,\)"):
        signal(STUDENT, TEACHER, centre=jnp.zeros(3))


def test_another_prior():
    # A prior of scale 2 makes the student twice as wide: every row contracts.
    def log_prior(z):
        return jnp.sum(jax.scipy.stats.norm.logpdf(z[0], scale=2.0), axis=1)

    z = (2 * Z[0],)
    arguments = (FLOW, FLOW, standard(DIM), standard(DIM), z)
    settings = {"centre": jnp.zeros(DIM)}
    wide = expansion.expansion_signal(*arguments, **settings, log_prior=log_prior)
    assert wide == 0.0
    narrow = (FLOW, FLOW, standard(DIM), variables(np.zeros(DIM), 3 * np.eye(DIM)), z)
    assert expansion.expansion_signal(*narrow, **settings, log_prior=log_prior) == 1.0
    assert density.standard_normal(z).shape == (ROWS,)
