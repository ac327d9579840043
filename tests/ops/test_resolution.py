"""Copies and means against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import rrdb

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), jnp.float32)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_nearest_up_repeats(times):
    expected = np.repeat(np.repeat(X, times, axis=1), times, axis=2)
    np.testing.assert_array_equal(rrdb.nearest_up(X, times), expected)


def test_nearest_down_undoes_it():
    up = rrdb.nearest_up(X, 2)
    np.testing.assert_array_equal(rrdb.nearest_down(up), X)


def test_mean_down_is_bilinear_resampling():
    expected = jax.image.resize(X, (2, 2, 3, 3), "linear", antialias=False)
    np.testing.assert_allclose(rrdb.mean_down(X), expected, atol=1e-6)
