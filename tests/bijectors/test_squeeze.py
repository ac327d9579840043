"""Squeeze as a bijector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.combinators import Squeeze
from fdnf.ops import squeeze

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 6, 2)), jnp.float32)


def test_is_the_operation_with_log_det_0():
    y, log_det = Squeeze().apply({}, X, method="forward")
    np.testing.assert_array_equal(y, squeeze.squeeze(X))
    np.testing.assert_array_equal(log_det, np.zeros(3))
    back, log_det = Squeeze().apply({}, y, method="inverse")
    np.testing.assert_array_equal(back, X)
    np.testing.assert_array_equal(log_det, np.zeros(3))
    assert log_det.dtype == X.dtype


def test_has_no_parameters():
    assert not jax.tree.leaves(Squeeze().init(jax.random.key(0), X))


def test_its_jacobian_is_a_permutation():
    def flat(row):
        y, _ = Squeeze().apply({}, row.reshape(1, 4, 2, 1), method="forward")
        return y.reshape(-1)

    jacobian = jax.jacfwd(flat)(jnp.arange(8.0))
    np.testing.assert_array_equal(np.sort(jacobian, axis=1)[:, -1], np.ones(8))
    np.testing.assert_array_equal(jacobian @ jacobian.T, np.eye(8))


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match="must be even"):
        Squeeze().apply({}, X[:, :3], method="forward")
