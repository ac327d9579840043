"""Reorderings move numbers and change none."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.combinators import Reverse, Shuffle

X = jnp.arange(2 * 3 * 4, dtype=jnp.float32).reshape(2, 3, 4)


def test_reverse_flips_one_axis():
    y, log_det = Reverse().apply({}, X)
    np.testing.assert_array_equal(y, X[:, :, ::-1])
    np.testing.assert_array_equal(log_det, np.zeros(2))
    y, _ = Reverse(axis=1).apply({}, X)
    np.testing.assert_array_equal(y, X[:, ::-1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffle_is_a_fixed_permutation_of_channels(seed):
    y, _ = Shuffle(seed).apply({}, X)
    again, _ = Shuffle(seed).apply({}, X)
    np.testing.assert_array_equal(y, again)
    np.testing.assert_array_equal(np.sort(y, axis=-1), X)
    # The same order at every position.
    order = np.asarray(y[0, 0], int)
    np.testing.assert_array_equal(y, X[..., order])


def test_seeds_differ():
    x = jnp.arange(32.0)[None]
    assert not np.array_equal(Shuffle(0).apply({}, x)[0], Shuffle(1).apply({}, x)[0])
