"""The slope of log q at a sample, against differentiating the inverse."""

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.flows.affine import Affine
from fdnf.flows.maf import IAF
from fdnf.losses import density
from tests import laws

IAF_CASE = laws.Case("iaf", IAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
AFFINE = laws.Case("affine", Affine(), (3,), noise=0.2)


def slope_at(case, z):
    return density.density_slope(
        case.module, case.variables, z, None, density.standard_normal
    )


def test_equals_the_gradient_of_log_prob_at_the_sample():
    for case in (IAF_CASE, AFFINE):
        z = (jax.random.normal(jax.random.key(0), (16, *case.event)),)
        x = case.module.apply(case.variables, z, method="decode").x

        def log_q(x, case=case):
            return jnp.sum(case.module.apply(case.variables, x, method="log_prob"))

        expected = jax.grad(log_q)(x)
        np.testing.assert_allclose(slope_at(case, z), expected, rtol=2e-3, atol=2e-4)


def test_of_a_gaussian_is_minus_r_to_the_minus_t_times_z():
    z = jax.random.normal(jax.random.key(1), (16, 3))
    R = np.asarray(AFFINE.variables["params"]["R"])
    expected = -np.asarray(z) @ np.linalg.inv(R)
    np.testing.assert_allclose(slope_at(AFFINE, (z,)), expected, atol=1e-4)


def test_no_gradient_flows_through_it():
    z = (jax.random.normal(jax.random.key(2), (4, 3)),)

    def total(variables, z):
        found = density.density_slope(
            AFFINE.module, variables, z, None, density.standard_normal
        )
        return jnp.sum(found)

    slopes = jax.grad(total, argnums=(0, 1))(AFFINE.variables, z)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slopes))


def test_latents_in_parts_are_one_vector():
    parts = (jnp.ones((2, 2, 2)), jnp.zeros((2, 3)))
    expected = np.array([[1, 1, 1, 1, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(density.flat(parts), expected)
