"""1x1 convolutions: start as rotations, factors and constants of the PLU form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.invertible_conv import InvertibleConv, InvertibleConvPLU
from tests import floats

CHANNELS = 5
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, CHANNELS)), jnp.float32)
both = pytest.mark.parametrize("conv", [InvertibleConv(), InvertibleConvPLU()])


@both
def test_starts_as_a_rotation(conv):
    (y, log_det), _ = conv.init_with_output(jax.random.key(1), X)
    floats.assert_close(np.linalg.norm(y, axis=1), np.linalg.norm(X, axis=1), rtol=1e-4)
    np.testing.assert_allclose(log_det, np.zeros(3), atol=1e-4)
    assert np.max(np.abs(y - X)) > 0.1


@both
def test_is_linear_and_the_same_at_every_position(conv):
    images = X[:, None, None, :] * jnp.ones((1, 2, 3, 1))
    variables = conv.init(jax.random.key(1), images)
    y, log_det = conv.apply(variables, images)
    row, row_log_det = conv.apply(variables, X)
    floats.assert_close(y, row[:, None, None, :] * np.ones((1, 2, 3, 1)), 1e-5)
    np.testing.assert_allclose(log_det, 6 * row_log_det, atol=1e-5)


def test_plu_constants_get_no_gradient():
    conv = InvertibleConvPLU()
    variables = conv.init(jax.random.key(1), X)
    assert set(variables["constants"]) == {"permutation", "sign"}
    slope = jax.grad(lambda v: jnp.sum(jnp.sin(conv.apply(v, X)[0])))(variables)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slope["constants"]))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slope["params"]))
    upper = np.asarray(slope["params"]["upper"])
    assert np.all(upper[np.tril_indices(CHANNELS)] == 0)


def test_plu_permutation_is_one():
    conv = InvertibleConvPLU()
    permutation = conv.init(jax.random.key(1), X)["constants"]["permutation"]
    np.testing.assert_array_equal(permutation.sum(axis=0), np.ones(CHANNELS))
    np.testing.assert_array_equal(permutation.sum(axis=1), np.ones(CHANNELS))
